"""The client's promises, one by one (CONTRACT sections 2 to 4), in virtual time."""

from __future__ import annotations

import json
from array import array
from base64 import b64decode
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from lkstt_proto.actions import Connect, Disconnect, Ping
from lkstt_proto.connection import Connection
from lkstt_proto.errors import (
    AuthError,
    ConnectError,
    ConnectionLost,
    FinalizeTimeout,
    GatewayError,
    LocalProtocolError,
    OutageExceeded,
    QuotaExceeded,
    SttError,
    TlsError,
)
from lkstt_proto.events import (
    AudioDropped,
    Diagnostic,
    Event,
    Reconnecting,
    Resumed,
    SessionCreated,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamFailed,
)
from lkstt_proto.gateway import Gateway
from lkstt_proto.options import Limits, RetryPolicy, STTOptions
from lkstt_proto.tables import LinkState, SessionState

RATE = 16000
CHUNK = RATE // 20
KEYS: dict[str, Any] = {"api_key": "a-key", "api_secret": "a-secret-of-thirty-two-characters-or-more"}
NEVER = 1e9
LETTERS = {
    SpeechEventType.START_OF_SPEECH: "S",
    SpeechEventType.INTERIM_TRANSCRIPT: "I",
    SpeechEventType.PREFLIGHT_TRANSCRIPT: "P",
    SpeechEventType.RECOGNITION_USAGE: "U",
    SpeechEventType.FINAL_TRANSCRIPT: "F",
    SpeechEventType.END_OF_SPEECH: "E",
}


# Helpers.


def pcm(seconds: float, rate: int = RATE) -> bytes:
    return bytes(2 * round(seconds * rate))


def connection(model: str | None = "deepgram/nova-3", **given: Any) -> Connection:
    settings: dict[str, Any] = {name: given.pop(name) for name in ("language", "sample_rate") if name in given}
    return Connection(STTOptions(model, **KEYS, **settings), **given)


def brief(action: Any) -> Any:
    """A message as its type, audio as its number of samples, an update as its settings; other actions as they are."""
    if not isinstance(action, bytes):
        return action
    message = json.loads(action)
    if message["type"] == "input_audio":
        return len(b64decode(message["audio"])) // 2
    return message["settings"] if message["type"] == "session.update" else message["type"]


def take(stream: Connection, now: float, max_messages: int | None = None) -> list[Any]:
    return [brief(action) for action in stream.take_actions(now, max_messages)]


def take_all(stream: Connection, now: float) -> list[Any]:
    """Take until nothing comes, as an adapter whose socket is never full."""
    taken: list[Any] = []
    while actions := take(stream, now):
        taken += actions
    return taken


def samples(taken: list[Any]) -> int:
    return sum(action for action in taken if isinstance(action, int))


def dialling(now: float = 0.0, **given: Any) -> Connection:
    stream = connection(**given)
    stream.start(now)
    assert isinstance(take(stream, now)[0], Connect)
    return stream


def up(now: float = 0.0, **given: Any) -> Connection:
    """A stream whose session is open; everything so far was taken."""
    stream = dialling(now, **given)
    reopen(stream, now)
    return stream


def reopen(stream: Connection, now: float) -> None:
    stream.transport_opened(now)
    assert take(stream, now, 1) == ["session.create"]
    stream.take_events()


def push(stream: Connection, now: float, seconds: float) -> int:
    """Push and send; give the samples sent."""
    stream.send_audio(pcm(seconds, stream.options.sample_rate), now)
    return samples(take_all(stream, now))


def hear(stream: Connection, now: float, kind: str, /, **fields: Any) -> None:
    stream.receive_text(json.dumps({"type": kind, **fields}), now)


def interim(stream: Connection, now: float, text: str = "hi", **fields: Any) -> None:
    hear(stream, now, "interim_transcript", transcript=text, **fields)


def preflight(stream: Connection, now: float, text: str = "hi", **fields: Any) -> None:
    hear(stream, now, "preflight_transcript", transcript=text, **fields)


def final(
    stream: Connection, now: float, start: float | None = None, end: float | None = None, /, **fields: Any
) -> None:
    if start is not None and end is not None:
        fields = {"start": start, "duration": end - start, **fields}
    hear(stream, now, "final_transcript", **{"transcript": "hi", **fields})


def letters(events: list[Event]) -> str:
    """Speech as PROTOCOL 8 writes it, everything else by name."""
    return " ".join(LETTERS[e.type] if isinstance(e, SpeechEvent) else type(e).__name__ for e in events)


def told(stream: Connection) -> str:
    return letters(stream.take_events())


def speech(stream: Connection, letter: str) -> SpeechEvent:
    """The one event of this kind among those that wait."""
    (event,) = [e for e in stream.take_events() if isinstance(e, SpeechEvent) and LETTERS[e.type] == letter]
    return event


def only(kind: type[Any], events: list[Event]) -> Any:
    (event,) = [event for event in events if isinstance(event, kind)]
    return event


def usages(events: list[Event]) -> list[tuple[float, float]]:
    return [
        (round(e.recognition_usage.audio_duration, 6), round(e.recognition_usage.resent_duration, 6))
        for e in events
        if isinstance(e, SpeechEvent) and e.recognition_usage is not None
    ]


def link(stream: Connection) -> LinkState:
    """Asked anew each time: what a test did in between may have changed it."""
    return stream.link_state


def now_pending(stream: Connection) -> bool:
    return stream.pending


def now_readable(stream: Connection) -> bool:
    return stream.readable


def now_deadline(stream: Connection) -> float | None:
    return stream.deadline


def at_deadline(stream: Connection) -> float:
    """Let time pass up to the deadline, and no further."""
    deadline = stream.deadline
    assert deadline is not None
    stream.handle_timeout(deadline)
    return deadline


def cut(stream: Connection, now: float, **facts: Any) -> None:
    """Lose the transport, dial again at the due time, and have it open."""
    stream.transport_closed(now, **facts)
    assert link(stream) is LinkState.BACKOFF
    then = at_deadline(stream)
    assert isinstance(take(stream, then)[0], Connect)
    reopen(stream, then)


def looks(stream: Connection) -> tuple[Any, ...]:
    return (
        link(stream), stream.session_state, stream.speaking, stream.finished, stream.error, stream.stats,
        stream.unsent_seconds, stream.unacknowledged_seconds, stream.room, stream.readable, stream.pending,
        stream.deadline,
    )  # fmt: skip


def live(
    stream: Connection, begin: float, end: float, *, microphone: bool = False, pong_after: float | None = 0.0
) -> dict[str, list[float]]:
    """Let an adapter run from ``begin`` to ``end``: a socket that is never full, a gateway that answers pings so late.

    Returns when pings went out, and when audio did.
    """
    seen: dict[str, list[float]] = {"ping": [], "audio": []}
    now, tick = begin, begin
    pong = NEVER
    for _ in range(100_000):
        for action in take_all(stream, now):
            if action == Ping():
                seen["ping"].append(now)
                pong = NEVER if pong_after is None else now + pong_after
            elif isinstance(action, int):
                seen["audio"].append(now)
        deadline = stream.deadline
        assert deadline is None or deadline > now - 1e-6
        now = min(NEVER if deadline is None else deadline, tick if microphone else NEVER, pong)
        if now > end:
            return seen
        if now == pong:
            pong = NEVER
            stream.transport_alive(now)
        if microphone and now == tick:
            tick += 0.05
            stream.send_audio(pcm(0.05), now)
        stream.handle_timeout(now)
        assert stream.deadline is None or stream.deadline > now
        if link(stream) is not LinkState.UP:
            return seen
    raise AssertionError("this adapter never sleeps")


# Starting.


def test_a_stream_that_was_not_started_is_idle() -> None:
    stream = connection()
    assert (link(stream), stream.session_state) == (LinkState.IDLE, SessionState.NEW)
    assert (stream.deadline, stream.pending, stream.finished, stream.error) == (None, False, False, None)
    assert (take(stream, 0.0), stream.take_events()) == ([], [])


def test_start_asks_for_a_transport_and_waits_ten_seconds() -> None:
    stream = connection()
    stream.start(5.0)
    assert now_pending(stream)
    (connect,) = take(stream, 5.0)
    assert isinstance(connect, Connect)
    assert (connect.attempt, connect.options) == (0, stream.options)
    assert (link(stream), stream.deadline, stream.pending) == (LinkState.CONNECTING, 15.0, False)


def test_an_opened_transport_begins_with_create() -> None:
    stream = dialling()
    stream.transport_opened(0.2)
    assert now_pending(stream)
    (message,) = stream.take_actions(0.2)
    assert isinstance(message, bytes)
    assert json.loads(message) == {
        "type": "session.create",
        "model": "deepgram/nova-3",
        "settings": {"sample_rate": "16000", "encoding": "pcm_s16le", "extra": {"keyterm": []}},
        "connection": {"timeout": 10.0, "retries": 3},
    }
    assert (link(stream), stream.session_state) == (LinkState.UP, SessionState.CREATING)
    assert stream.deadline == pytest.approx(3.2)
    assert stream.take_events() == []


def test_session_created_is_told() -> None:
    stream = up()
    hear(stream, 0.3, "session.created", session_id="s1")
    assert stream.take_events() == [SessionCreated("s1")]
    assert stream.session_state is SessionState.STREAMING
    assert stream.deadline == pytest.approx(3.3)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda stream, now: stream.start(now),
        lambda stream, now: stream.transport_opened(now),
        lambda stream, now: stream.send_audio(memoryview(bytes(8))[::2], now),
        lambda stream, now: stream.update_options(now, model="openai/gpt-live-transcribe"),
        lambda stream, now: stream.update_options(now, language=7),
        lambda stream, now: stream.update_options(now, language="de", keyterms=7),
    ],
    ids=["start", "opened", "strided", "foreign model", "language", "keyterms"],
)
def test_a_callers_mistake_raises_and_changes_nothing(mistake: Callable[[Connection, float], None]) -> None:
    stream = up()
    push(stream, 0.1, 0.5)
    before = looks(stream)
    with pytest.raises(LocalProtocolError):
        mistake(stream, 500.0)
    assert looks(stream) == before
    assert take(stream, 0.1) == []
    # Not even the clock.
    interim(stream, 1.0)
    assert stream.deadline == 4.0


@pytest.mark.parametrize("state", ["idle", "backoff", "done"])
def test_a_transport_that_nobody_asked_for_is_a_mistake(state: str) -> None:
    stream = connection()
    if state == "backoff":
        stream = up()
        stream.transport_closed(1.0)
    elif state == "done":
        stream.close(1.0)
    assert link(stream) == state
    before = looks(stream)
    for fact in (stream.transport_opened, stream.transport_closed):
        with pytest.raises(LocalProtocolError):
            fact(500.0)
    assert looks(stream) == before


@pytest.mark.parametrize("ended", ["end_input", "close", "failure"])
def test_input_after_the_end_is_a_mistake(ended: str) -> None:
    stream = up()
    if ended == "end_input":
        stream.end_input(1.0)
    elif ended == "close":
        stream.close(1.0)
    else:
        stream.transport_closed(1.0, error=TlsError("certificate"))
    before = looks(stream)
    for wish in (stream.flush, stream.finalize, lambda now: stream.send_audio(pcm(0.1), now)):
        with pytest.raises(LocalProtocolError):
            wish(500.0)
    assert looks(stream) == before


def test_the_end_of_input_after_a_failure_is_a_mistake_and_twice_is_not() -> None:
    stream = up()
    stream.end_input(1.0)
    before = looks(stream)
    stream.end_input(2.0)
    assert looks(stream) == before
    failed = up()
    failed.transport_closed(1.0, error=TlsError("certificate"))
    with pytest.raises(LocalProtocolError):
        failed.end_input(2.0)


def test_options_of_a_stream_that_is_over_cannot_change() -> None:
    stream = up()
    stream.close(1.0)
    with pytest.raises(LocalProtocolError, match="over"):
        stream.update_options(2.0, language="de")


def test_a_clock_that_runs_backwards_stands_still() -> None:
    stream = up(100.0)
    interim(stream, 50.0)
    assert stream.deadline == 103.0


@pytest.mark.parametrize("start", [-1e6, 0.0, 1e7])
def test_any_monotonic_clock_will_do(start: float) -> None:
    stream = up(start)
    push(stream, start + 1, 2.0)
    final(stream, start + 2, 0.0, 1.0)
    stream.end_input(start + 3)
    assert take(stream, start + 3) == ["session.finalize"]
    hear(stream, start + 4, "session.finalized")
    # A final came and its acknowledgement: quiet from the later of them.
    stream.take_events()
    while link(stream) is LinkState.UP:
        now = at_deadline(stream)
        if Ping() in take(stream, now):
            stream.transport_alive(now)
    assert link(stream) is LinkState.CLOSING
    assert now == start + 7


# Audio out.


def test_audio_goes_in_messages_of_fifty_milliseconds_without_waiting_for_created() -> None:
    stream = up()
    stream.send_audio(pcm(0.12), 0.1)
    assert now_pending(stream)
    assert take(stream, 0.1) == [CHUNK, CHUNK]
    assert not now_pending(stream)
    stream.send_audio(pcm(0.03), 0.2)
    assert take(stream, 0.2) == [CHUNK]


def test_a_message_is_exactly_the_samples_pushed() -> None:
    stream = up()
    audio = bytes(range(256)) * 8
    stream.send_audio(audio, 0.0)
    (message,) = stream.take_actions(0.0)
    assert isinstance(message, bytes)
    assert message == b'{"type":"input_audio","audio":"' + json.loads(message)["audio"].encode() + b'"}'
    assert b64decode(json.loads(message)["audio"]) == audio[: 2 * CHUNK]
    assert len(json.loads(message)["audio"]) == 2136


@pytest.mark.parametrize(("rate", "chunk"), [(8000, 400), (11025, 551), (24000, 1200), (44100, 2205)])
def test_a_chunk_is_the_floor_of_fifty_milliseconds(rate: int, chunk: int) -> None:
    stream = up(sample_rate=rate)
    stream.send_audio(pcm(0.25, rate), 0.0)
    assert set(take(stream, 0.0)) == {chunk}


@pytest.mark.parametrize(
    "buffer",
    [bytes(1600), bytearray(1600), memoryview(bytes(1600)), array("h", [0] * 800), array("i", [0] * 400)],
    ids=lambda buffer: type(buffer).__name__,
)
def test_any_contiguous_buffer_is_audio(buffer: Any) -> None:
    stream = up()
    stream.send_audio(buffer, 0.0)
    assert take(stream, 0.0) == [CHUNK]


def test_a_pushed_buffer_may_be_changed_afterwards() -> None:
    stream = up()
    buffer = bytearray(b"\1" * 1600)
    stream.send_audio(buffer, 0.0)
    buffer[:] = bytes(1600)
    (message,) = stream.take_actions(0.0)
    assert isinstance(message, bytes)
    assert b64decode(json.loads(message)["audio"]) == b"\1" * 1600


def test_a_flush_sends_what_there_is_and_says_nothing() -> None:
    stream = up()
    stream.send_audio(pcm(0.025), 0.0)
    assert not now_pending(stream)
    stream.flush(0.0)
    assert now_pending(stream)
    assert take(stream, 0.0) == [400]
    stream.flush(0.0)
    assert not now_pending(stream)
    assert take(stream, 0.0) == []


def test_an_odd_byte_waits_for_its_other_half() -> None:
    stream = up()
    stream.send_audio(b"\1" * 801, 0.0)
    stream.flush(0.0)
    assert take(stream, 0.0) == [400]
    stream.send_audio(b"\1", 0.0)
    stream.flush(0.0)
    assert take(stream, 0.0) == [1]


def test_sixteen_messages_at_a_time() -> None:
    stream = up()
    stream.send_audio(pcm(1.0), 0.0)
    assert take(stream, 0.0) == [CHUNK] * 16
    assert now_pending(stream)
    assert take(stream, 0.0, 3) == [CHUNK] * 3
    assert take(stream, 0.0, 100) == [CHUNK]


def test_audio_waits_as_samples_behind_a_slow_socket() -> None:
    stream = up()
    stream.send_audio(pcm(1.0), 0.0)
    take(stream, 0.0, 4)
    assert (stream.unsent_seconds, stream.unacknowledged_seconds) == (0.8, 1.0)
    stats = stream.stats
    assert (stats.audio_pushed, stats.audio_sent, stats.audio_unsent) == (1.0, 0.2, 0.8)


def test_room_is_what_goes_in_without_dropping() -> None:
    stream = up(limits=Limits(audio_buffer=1.0))
    assert stream.room == 2 * RATE
    stream.send_audio(pcm(0.75), 0.0)
    assert stream.room == RATE // 2
    stream.send_audio(bytes(stream.room), 0.0)
    assert stream.room == 0
    assert stream.take_events() == []
    take(stream, 0.0, 1)
    assert stream.room == 2 * CHUNK


def test_beyond_room_the_oldest_unsent_audio_goes_and_is_told() -> None:
    stream = up(limits=Limits(audio_buffer=1.0))
    stream.send_audio(pcm(1.0), 0.0)
    take(stream, 0.0, 4)
    stream.send_audio(pcm(0.5), 0.0)
    assert stream.take_events() == [AudioDropped(0.2, 0.5, "overflow")]
    assert stream.stats.audio_dropped == 0.3
    assert stream.unacknowledged_seconds == 1.2
    stream.send_audio(pcm(0.25), 0.0)
    stream.send_audio(pcm(0.25), 0.0)
    assert stream.take_events() == [AudioDropped(0.5, 1.0, "overflow")]


def test_what_only_adds_to_a_message_gives_none() -> None:
    stream = up()
    for audio in (bytes(CHUNK), bytearray(CHUNK - 2)):
        assert stream.send_audio(audio, 0.0) is None
        assert not stream.pending
    for audio in (b"", bytearray()):
        assert stream.send_audio(audio, 0.0) is not None
    assert stream.send_audio(bytes(2), 0.0) == b""
    assert stream.pending
    assert take(stream, 0.0) == [CHUNK]


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_what_there_is_no_room_for_is_given_back_where_nothing_may_be_dropped(make: Any) -> None:
    stream = up(limits=Limits(audio_buffer=1.0))
    assert stream.send_audio(make(pcm(0.75)), 0.0, False) == b""
    assert stream.send_audio(make(pcm(0.5)), 0.0, False) == pcm(0.5)[RATE // 2 :]
    assert stream.send_audio(make(pcm(0.5)), 0.0, False) == pcm(0.5)
    assert (stream.unsent_seconds, stream.room, stream.take_events()) == (1.0, 0, [])
    take(stream, 0.0, 1)
    assert stream.send_audio(make(pcm(0.05)), 0.0, False) == b""
    assert stream.stats.audio_pushed == 1.05


def test_an_endpointer_hears_only_what_there_is_room_for() -> None:
    endpointer = Every(1000)
    stream = up(model="speechmatics/enhanced", endpointer=endpointer, limits=Limits(audio_buffer=1.0))
    assert stream.send_audio(pcm(1.5), 0.0, False) == pcm(1.5)[2 * RATE :]
    assert endpointer.heard == 50


def test_audio_before_start_waits_for_the_session() -> None:
    stream = connection()
    stream.send_audio(pcm(0.1), 0.0)
    stream.start(1.0)
    take(stream, 1.0)
    stream.transport_opened(1.5)
    assert take(stream, 1.5) == ["session.create", CHUNK, CHUNK]


# Taking.


def test_while_a_write_is_pending_only_pings_and_aborts_go() -> None:
    stream = up()
    stream.send_audio(pcm(1.0), 0.0)
    stream.update_options(0.0, language="de")
    assert take(stream, 0.0, 0) == []
    at_deadline(stream)
    assert take(stream, 3.0, 0) == [Ping()]
    stream.close(4.0)
    assert take(stream, 4.0, 0) == []
    assert stream.deadline == 6.0
    at_deadline(stream)
    assert now_pending(stream)
    assert take(stream, 6.0, 0) == [Disconnect(abort=True)]
    assert take(stream, 6.0, 0) == []


def test_a_ping_during_a_write_confirms_only_what_was_accepted_before() -> None:
    stream = up(limits=Limits(ahead=1.0))
    stream.send_audio(pcm(3.0), 0.0)
    assert samples(take(stream, 0.0)) == 16 * CHUNK
    at_deadline(stream)
    assert take(stream, 3.0, 0) == [Ping()]
    stream.transport_alive(3.1)
    # The write has not ended: of its audio nothing is confirmed, and a second is what may be ahead.
    assert samples(take_all(stream, 3.2)) == 4 * CHUNK


def test_messages_of_our_own_go_in_order_and_before_audio() -> None:
    stream = dialling()
    stream.transport_opened(0.0)
    stream.send_audio(pcm(0.05), 0.0)
    stream.update_options(0.0, language="de")
    assert take(stream, 0.0) == ["session.create", {"language": "de"}, CHUNK]


def test_messages_of_our_own_count_towards_the_sixteen() -> None:
    stream = up()
    for language in ("de", "fr") * 12:
        stream.update_options(0.0, language=language)
    stream.send_audio(pcm(1.0), 0.0)
    assert take(stream, 0.0) == [{"language": "de"}, {"language": "fr"}] * 8
    assert take(stream, 0.0) == [{"language": "de"}, {"language": "fr"}] * 4 + [CHUNK] * 8


# Timers.


def test_too_early_and_twice_are_harmless() -> None:
    stream = up()
    before = looks(stream)
    stream.handle_timeout(2.9)
    assert looks(stream) == before
    stream.handle_timeout(3.0)
    after = looks(stream)
    stream.handle_timeout(3.0)
    assert looks(stream) == after
    assert take(stream, 3.0) == [Ping()]


def test_a_timer_may_be_a_microsecond_early() -> None:
    stream = up()
    stream.handle_timeout(3.0 - 5e-7)
    assert take(stream, 3.0) == [Ping()]


@pytest.mark.parametrize("early", [0.0, 5e-7])
def test_every_timer_leaves_a_deadline_after_now_or_none(early: float) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    final(stream, 0.1, 0.0, 0.5)
    stream.end_input(0.2)
    take_all(stream, 0.2)
    for _ in range(20):
        if stream.deadline is None:
            break
        now = stream.deadline - early
        stream.handle_timeout(now)
        assert stream.deadline is None or stream.deadline > now
        take_all(stream, now)
    assert link(stream) is LinkState.CLOSING
    assert now_deadline(stream) is None


# Liveness.


def test_an_idle_link_is_asked_after_three_seconds_and_lost_after_six() -> None:
    stream = up()
    assert live(stream, 0.0, 100.0, pong_after=None)["ping"] == [3.0]
    assert link(stream) is LinkState.DROPPING
    assert take(stream, 6.0) == ["session.close", Disconnect()]
    assert stream.deadline == 8.0


def test_a_live_microphone_is_lost_nine_seconds_after_the_last_inbound() -> None:
    stream = up()
    seen = live(stream, 0.0, 100.0, microphone=True, pong_after=None)
    assert seen["ping"] == [pytest.approx(3.0, abs=0.06)]
    assert seen["audio"][-1] == pytest.approx(9.0, abs=0.12)
    assert link(stream) is LinkState.DROPPING


def test_pongs_keep_a_link_alive() -> None:
    stream = up()
    assert live(stream, 0.0, 59.0)["ping"] == pytest.approx(list(range(3, 59, 3)))
    assert link(stream) is LinkState.UP
    assert stream.stats.round_trip == 0.0


def test_a_ping_follows_every_three_seconds_of_audio() -> None:
    stream = up()
    seen = live(stream, 0.0, 30.0, microphone=True, pong_after=0.5)
    assert [later - sooner for sooner, later in pairwise(seen["ping"])] == pytest.approx([3.0] * 9, abs=0.06)
    assert stream.stats.round_trip == pytest.approx(0.5)


def test_the_ping_goes_behind_the_message_that_makes_it_due_though_there_is_other_traffic() -> None:
    stream = up()
    taken = []
    for tick in range(1, 121):
        now = tick * 0.05
        interim(stream, now, f"word {tick}")
        stream.send_audio(pcm(0.05), now)
        assert stream.pending
        taken.append(take(stream, now))  # once, as an adapter does
        assert not stream.pending
        stream.transport_alive(now)
    assert taken == ([[800]] * 59 + [[800, Ping()]]) * 2


def test_other_traffic_proves_life_but_confirms_nothing() -> None:
    stream = up()
    for second in range(60):
        interim(stream, second, f"word {second}")
        stream.handle_timeout(second)
        assert Ping() not in take(stream, second)
    assert link(stream) is LinkState.UP


def test_at_most_ten_seconds_go_ahead_of_what_is_confirmed() -> None:
    stream = up()
    stream.send_audio(pcm(30.0), 0.0)
    taken = take_all(stream, 0.0)
    assert samples(taken) == 10 * RATE
    assert taken.count(Ping()) == 1
    assert not now_pending(stream)
    stream.transport_alive(1.0)
    # The ping went out behind the batch that made three seconds whole.
    assert samples(take_all(stream, 1.0)) == 4 * 16 * CHUNK


def test_a_gateway_slower_than_real_time_is_back_pressure_not_death() -> None:
    stream = up()
    now, sent, done = 0.0, 0, 0
    pings: list[int] = []
    stream.send_audio(pcm(60.0), 0.0)
    while done < 60 * RATE and link(stream) is LinkState.UP:
        for action in take_all(stream, now):
            if isinstance(action, int):
                sent += action
            else:
                assert action == Ping()
                pings.append(sent)
        # It answers a ping once it has worked through the audio before it: four seconds in five.
        now += 0.25
        done = min(sent, done + RATE // 5)
        if pings and done >= pings[0]:
            pings.pop(0)
            stream.transport_alive(now)
        stream.handle_timeout(now)
    assert (link(stream), sent) == (LinkState.UP, 60 * RATE)
    assert now == pytest.approx(75.0, abs=0.5)


def test_a_timeout_noticed_more_than_a_second_late_asks_again_first() -> None:
    stream = up()
    at_deadline(stream)
    take(stream, 3.0)
    assert stream.deadline == 6.0
    stream.handle_timeout(7.5)
    assert link(stream) is LinkState.UP
    assert take(stream, 7.5) == [Ping()]
    assert stream.deadline == 10.5
    at_deadline(stream)
    assert link(stream) is LinkState.DROPPING


def test_a_pong_that_nobody_asked_for_only_proves_life() -> None:
    stream = up()
    stream.transport_alive(2.0)
    assert stream.deadline == 5.0
    assert stream.stats.round_trip is None


def test_a_pong_that_came_late_is_followed_by_a_ping_at_once() -> None:
    stream = up()
    push(stream, 0.0, 9.0)
    stream.transport_alive(1.0)
    assert now_pending(stream)
    assert take(stream, 1.0) == [Ping()]
    assert not now_pending(stream)


# Events wait.


def test_an_unread_interim_gives_way_to_a_newer_one() -> None:
    stream = up()
    interim(stream, 0.1, "a")
    interim(stream, 0.2, "ab")
    start, text = stream.take_events()
    assert letters([start, text]) == "S I"
    assert isinstance(text, SpeechEvent)
    assert text.alternatives[0].text == "ab"


def test_at_the_limit_receiving_stops_and_liveness_stands_still() -> None:
    stream = up(limits=Limits(unread_events=3))
    final(stream, 1.0)
    assert letters(stream.take_events()) == "S F E"
    assert now_readable(stream)
    final(stream, 2.0)
    assert not now_readable(stream)
    assert now_deadline(stream) is None
    stream.handle_timeout(500.0)
    assert take(stream, 500.0) == []
    stream.take_events()
    assert now_readable(stream)
    assert stream.deadline == 503.0


def test_what_is_inbound_at_the_limit_is_still_heard() -> None:
    stream = up(limits=Limits(unread_events=1))
    final(stream, 1.0)
    final(stream, 2.0)
    assert told(stream) == "S F E S F E"


def test_dropped_audio_counts_towards_the_limit() -> None:
    stream = up(limits=Limits(unread_events=1, audio_buffer=0.1))
    stream.send_audio(pcm(1.0), 0.5)
    assert not now_readable(stream)
    assert now_deadline(stream) is None
    assert told(stream) == "AudioDropped"
    assert stream.deadline == 3.5


# Speech (decision 4).


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("I F", "S I U F E"),
        ("F", "S U F E"),
        ("s I F", "S I U F E"),
        ("s s I", "S I"),
        ("F s", "S U F E S"),
        ("i", ""),
        ("I f", "S I U F E"),
        ("f", "U"),
        ("I P", "S I P"),
        ("P F", "S P U F E"),
        ("p", ""),
        ("s p i F", "S U F E"),
    ],
)
def test_turns_balance(script: str, expected: str) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    kinds = {"s": "start_of_speech", "i": "interim_transcript", "p": "preflight_transcript", "f": "final_transcript"}
    for letter in script.split():
        text = {} if letter == "s" else {"transcript": "hi" if letter.isupper() else ""}
        hear(stream, 0.1, kinds[letter.lower()], **text)
    assert told(stream) == expected
    assert stream.speaking == ("S" in expected and not expected.endswith("E")) or expected == "S U F E S"


def test_an_empty_final_of_an_open_turn_is_delivered() -> None:
    stream = up()
    interim(stream, 0.0)
    final(stream, 0.1, transcript="")
    assert speech(stream, "F").alternatives[0].text == ""


def test_no_usage_before_any_audio_and_none_twice() -> None:
    stream = up()
    final(stream, 0.0)
    assert told(stream) == "S F E"
    push(stream, 0.0, 1.0)
    final(stream, 0.1)
    final(stream, 0.2)
    assert told(stream) == "S U F E S F E"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"request_id": "r", "session_id": "t"}, "r"),
        ({"session_id": "t"}, "t"),
        ({}, "created"),
        ({"request_id": "", "session_id": None}, "created"),
        ({"request_id": 7}, "created"),
    ],
)
def test_usage_and_finals_carry_the_effective_id(ids: dict[str, Any], expected: str) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    hear(stream, 0.1, "session.created", session_id="created")
    final(stream, 0.2, **ids)
    by_letter = {LETTERS[e.type]: e.request_id for e in stream.take_events() if isinstance(e, SpeechEvent)}
    assert by_letter == {"S": "", "U": expected, "F": expected, "E": ""}


def test_audio_time_is_what_was_handed_over_when_the_event_was_made() -> None:
    stream = up()
    stream.send_audio(pcm(2.0), 0.0)
    take(stream, 0.0)
    interim(stream, 0.1)
    take(stream, 0.1)
    final(stream, 0.2)
    assert [e.audio_time for e in stream.take_events() if isinstance(e, SpeechEvent)] == [0.8, 0.8, 1.6, 1.6, 1.6]


def test_a_turn_that_is_open_at_a_cut_stays_open_across_it() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    interim(stream, 0.1)
    cut(stream, 1.0)
    assert stream.speaking
    take_all(stream, 2.0)
    interim(stream, 2.1, "hi there")
    final(stream, 2.2, 0.0, 1.0)
    assert told(stream) == "I U F E"


def test_an_open_turn_is_closed_with_its_last_text_at_the_end() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    interim(stream, 0.1, "one")
    preflight(stream, 0.2, "one two")
    stream.close(1.0)
    stream.transport_closed(1.1, code=1000)
    events = stream.take_events()
    assert letters(events) == "S I P F E U StreamEnded"
    promoted = only(SpeechEvent, [e for e in events if isinstance(e, SpeechEvent) and e.promoted])
    assert (promoted.type, promoted.alternatives[0].text) == ("final_transcript", "one two")
    assert stream.stats.finals == 1


def test_a_promoted_final_has_the_audio_time_of_its_making() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    interim(stream, 0.1)
    push(stream, 0.5, 0.5)
    stream.close(1.0)
    stream.transport_closed(1.1)
    assert [e.audio_time for e in stream.take_events() if isinstance(e, SpeechEvent)] == [1.0, 1.0, 1.5, 1.5, 1.5]


def test_an_open_turn_without_text_just_ends() -> None:
    stream = up()
    hear(stream, 0.1, "start_of_speech")
    stream.close(1.0)
    stream.transport_closed(1.1)
    assert told(stream) == "S E StreamEnded"


def test_the_last_turns_text_is_not_promoted_for_the_next() -> None:
    stream = up()
    interim(stream, 0.1, "one")
    final(stream, 0.2, transcript="one")
    hear(stream, 0.3, "start_of_speech")
    stream.close(1.0)
    stream.transport_closed(1.1)
    assert told(stream) == "S I F E S E StreamEnded"


@pytest.mark.parametrize("leaving", ["close", "error"])
def test_transcripts_are_heard_until_the_transport_is_gone(leaving: str) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    if leaving == "close":
        stream.close(0.5)
    else:
        hear(stream, 0.5, "error", code=500, message="trouble")
    interim(stream, 0.6)
    final(stream, 0.7, 0.0, 0.5)
    assert told(stream) == "S I U F E"


# Times (decision 1).


def test_times_are_media_times_of_the_stream() -> None:
    stream = up()
    push(stream, 0.0, 3.0)
    final(stream, 0.1, 0.0, 2.0)
    cut(stream, 50.0)
    # The new session starts at the first sample sent on it, whatever the clock on the wall.
    assert samples(take_all(stream, 90.0)) == RATE
    final(stream, 90.1, 0.25, 0.75, words=[{"word": "hi", "start": 0.25, "end": 0.5}])
    (data,) = speech(stream, "F").alternatives
    assert (data.start_time, data.end_time) == pytest.approx((2.25, 2.75))
    assert (data.words[0].start_time, data.words[0].end_time) == pytest.approx((2.25, 2.5))


def test_audio_dropped_on_a_live_session_starts_a_new_piece() -> None:
    stream = up(limits=Limits(audio_buffer=1.0))
    stream.send_audio(pcm(1.0), 0.0)
    take(stream, 0.0)
    stream.send_audio(pcm(1.5), 0.1)
    assert stream.take_events() == [AudioDropped(0.8, 1.5, "overflow")]
    take_all(stream, 0.2)
    final(stream, 0.3, 0.6, 1.0)
    (data,) = speech(stream, "F").alternatives
    assert (data.start_time, data.end_time) == pytest.approx((0.6, 1.7))


# Acknowledgement (decision 2).


def resent(stream: Connection, now: float) -> float:
    """Cut, and give where the new session begins, in seconds."""
    stream.take_events()
    stream.transport_closed(now)
    then = at_deadline(stream)
    take(stream, then)
    stream.transport_opened(then)
    resumed: Resumed = only(Resumed, stream.take_events())
    return resumed.audio_time


def test_a_new_session_starts_at_the_first_unacknowledged_sample() -> None:
    stream = up()
    push(stream, 0.0, 4.0)
    final(stream, 0.1, 0.0, 1.5)
    assert stream.unacknowledged_seconds == 2.5
    cut(stream, 1.0)
    assert samples(take_all(stream, 10.0)) == 2.5 * RATE


def test_without_a_final_everything_is_sent_again() -> None:
    stream = up()
    push(stream, 0.0, 4.0)
    hear(stream, 0.1, "session.finalized")
    assert resent(stream, 1.0) == 0.0


def test_a_final_acknowledges_no_more_than_was_sent() -> None:
    stream = up()
    push(stream, 0.0, 2.0)
    final(stream, 0.1, 0.0, 3600.0)
    push(stream, 0.2, 1.0)
    assert stream.unacknowledged_seconds == 1.0
    assert told(stream) == "Diagnostic S U F E"


@pytest.mark.parametrize(
    "times", [{}, {"start": 1.0}, {"start": 1.0, "duration": 0}, {"start": None, "duration": None}]
)
def test_a_final_without_times_acknowledges_what_was_sent_when_it_came(times: dict[str, Any]) -> None:
    stream = up()
    push(stream, 0.0, 3.0)
    final(stream, 0.1, **times)
    (data,) = speech(stream, "F").alternatives
    assert (data.start_time, data.end_time) == (0.0, 3.0)
    push(stream, 0.2, 1.0)
    final(stream, 0.3, **times)
    (data,) = speech(stream, "F").alternatives
    assert (data.start_time, data.end_time) == (3.0, 4.0)
    push(stream, 0.4, 2.0)
    assert resent(stream, 1.0) == 4.0


def test_a_model_whose_times_are_billing_acknowledges_by_estimate() -> None:
    stream = up(model="cartesia/ink-2")
    push(stream, 0.0, 3.0)
    final(stream, 0.1, 0.0, 1.0)
    assert stream.unacknowledged_seconds == 0.0


def test_a_resume_tells_what_was_acknowledged_only_by_estimate() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    final(stream, 0.1, 0.0, 1.0)
    push(stream, 0.2, 2.0)
    final(stream, 0.3)
    push(stream, 0.4, 0.5)
    final(stream, 0.5)
    push(stream, 0.6, 0.25)
    stream.transport_closed(1.0)
    take(stream, at_deadline(stream))
    stream.transport_opened(2.0)
    assert only(Resumed, stream.take_events()) == Resumed(1, 3.5, 0.25, 2.5)


def test_an_exact_final_clears_the_estimate() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    final(stream, 0.1)
    push(stream, 0.2, 1.0)
    final(stream, 0.3, 1.0, 2.0)
    stream.transport_closed(1.0)
    take(stream, at_deadline(stream))
    stream.transport_opened(2.0)
    assert only(Resumed, stream.take_events()).estimated_duration == 0.0


def test_an_end_not_past_the_last_finals_acknowledges_nothing() -> None:
    stream = up()
    push(stream, 0.0, 5.0)
    final(stream, 0.1, 1.0, 3.0)
    final(stream, 0.2, 1.5, 2.5)
    assert stream.unacknowledged_seconds == 2.0
    final(stream, 0.3, 1.5, 3.0)
    assert stream.unacknowledged_seconds == 2.0


def test_an_end_before_the_last_finals_start_is_estimated() -> None:
    stream = up()
    push(stream, 0.0, 5.0)
    final(stream, 0.1, 3.0, 4.0)
    stream.take_events()
    final(stream, 0.2, 0.0, 0.5)
    assert stream.unacknowledged_seconds == 0.0
    (data,) = speech(stream, "F").alternatives
    assert (data.start_time, data.end_time) == (4.0, 5.0)


def test_an_empty_untimed_final_acknowledges_only_after_the_end_of_input() -> None:
    stream = up()
    push(stream, 0.0, 2.0)
    final(stream, 0.1, transcript="")
    assert stream.unacknowledged_seconds == 2.0
    stream.finalize(0.2)
    take(stream, 0.2)
    final(stream, 0.3, transcript="")
    assert stream.unacknowledged_seconds == 2.0
    stream.end_input(0.4)
    final(stream, 0.5, transcript="")
    assert stream.unacknowledged_seconds == 2.0
    take(stream, 0.6)
    final(stream, 0.7, transcript="")
    assert stream.unacknowledged_seconds == 0.0


def test_an_empty_final_with_times_acknowledges_up_to_its_end() -> None:
    stream = up()
    push(stream, 0.0, 2.0)
    final(stream, 0.1, 0.0, 1.0, transcript="")
    assert stream.unacknowledged_seconds == 1.0


@pytest.mark.parametrize("sign", ["start_of_speech", "interim_transcript", "preflight_transcript"])
def test_silence_acknowledges_itself_once_turns_announce_themselves(sign: str) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    hear(stream, 0.1, sign, **({} if sign == "start_of_speech" else {"transcript": "hi"}))
    final(stream, 0.2, 0.0, 1.0)
    push(stream, 0.3, 8.0)
    # The first ping went out a little behind three seconds: confirmed, but within the look-back.
    stream.transport_alive(9.0)
    assert stream.unacknowledged_seconds == 8.0
    assert take_all(stream, 9.1) == [Ping()]
    # All nine seconds are sent, and not yet confirmed.
    assert stream.unacknowledged_seconds == 8.0
    stream.transport_alive(16.0)
    assert stream.unacknowledged_seconds == 5.0
    assert resent(stream, 17.0) == 4.0


def test_silence_acknowledges_nothing_that_came_too_fast_to_be_heard() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    hear(stream, 0.1, "interim_transcript", transcript="hi")
    final(stream, 0.2, 0.0, 1.0)
    push(stream, 0.3, 8.0)
    stream.transport_alive(0.4)
    assert take_all(stream, 0.5) == [Ping()]
    stream.transport_alive(0.6)
    assert stream.unacknowledged_seconds == 8.0


def test_an_empty_interim_announces_nothing() -> None:
    stream = up()
    interim(stream, 0.0, "")
    push(stream, 0.1, 9.0)
    stream.transport_alive(0.2)
    assert take_all(stream, 0.3) == [Ping()]
    stream.transport_alive(0.4)
    assert stream.unacknowledged_seconds == 9.0


def test_silence_acknowledges_nothing_while_a_turn_is_open() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    hear(stream, 0.1, "start_of_speech")
    push(stream, 0.2, 8.0)
    stream.transport_alive(0.3)
    assert take_all(stream, 0.4) == [Ping()]
    stream.transport_alive(0.5)
    assert stream.unacknowledged_seconds == 9.0


def test_a_model_that_sends_only_finals_gets_everything_again() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    final(stream, 0.1, 0.0, 0.5)
    live(stream, 0.1, 50.0, microphone=True)
    assert resent(stream, 50.0) == pytest.approx(0.5)


def test_silence_on_a_live_microphone_keeps_the_look_back_and_what_is_unconfirmed() -> None:
    stream = up()
    interim(stream, 0.0)
    final(stream, 0.1)
    live(stream, 0.1, 120.0, microphone=True)
    assert 5.0 <= stream.unacknowledged_seconds <= 8.2


def test_an_interim_within_exactly_acknowledged_audio_is_late() -> None:
    stream = up()
    push(stream, 0.0, 5.0)
    final(stream, 0.1, 1.0, 3.0)
    stream.take_events()
    interim(stream, 0.2, start=1.0, duration=1.5)
    preflight(stream, 0.3, start=2.0, duration=1.0)
    assert told(stream) == ""
    interim(stream, 0.4, start=2.5, duration=1.0)
    assert told(stream) == "S I"


def test_an_interim_whose_place_is_unknown_is_not_late() -> None:
    stream = up()
    push(stream, 0.0, 5.0)
    final(stream, 0.1, 1.0, 3.0)
    stream.take_events()
    interim(stream, 0.2, start="4.0", duration=1.0)
    assert told(stream) == "Diagnostic S I"
    interim(stream, 0.3, "hi there", start=1e15, duration=1.0)
    assert told(stream) == "Diagnostic I"


def test_an_interim_after_an_estimate_is_not_late() -> None:
    stream = up()
    push(stream, 0.0, 5.0)
    final(stream, 0.1)
    stream.take_events()
    interim(stream, 0.2, start=1.0, duration=1.5)
    assert told(stream) == "S I"


def test_an_interim_before_any_final_is_not_late_however_early() -> None:
    stream = up()
    interim(stream, 0.2, start=0.0, duration=1.0)
    assert told(stream) == "Diagnostic S I"
    again = up()
    interim(again, 0.2, start=0.0, duration=0.0)
    assert told(again) == "S I"


def test_sent_audio_that_left_the_ring_is_told_only_at_a_cut() -> None:
    stream = up(limits=Limits(audio_buffer=1.0))
    for _ in range(5):
        push(stream, 0.0, 1.0)
    assert stream.take_events() == []
    final(stream, 0.1, 0.0, 2.5)
    stream.take_events()
    stream.transport_closed(1.0)
    dropped, reconnecting = stream.take_events()
    assert dropped == AudioDropped(2.5, 4.0, "unacknowledged")
    assert isinstance(reconnecting, Reconnecting)
    assert stream.unacknowledged_seconds == 1.0


# Replay.


def test_the_backlog_goes_at_four_times_real_time_and_live_audio_behind_it() -> None:
    stream = up()
    push(stream, 0.0, 8.0)
    cut(stream, 1.0)
    opened = 1.1
    sent = 0
    for step in range(40):
        now = opened + step * 0.05
        stream.handle_timeout(now)
        stream.send_audio(pcm(0.05), now)
        sent += samples(take_all(stream, now))
        # One message may be begun as soon as the clock reaches its place.
        assert sent <= 4 * RATE * (now - opened) + CHUNK + 1
        assert sent >= 4 * RATE * (now - opened) - CHUNK
    assert stream.unsent_seconds == pytest.approx(2.15)
    # All but what came in since the opening: that goes at once.
    now = opened + 2.0
    stream.handle_timeout(now)
    assert sent + samples(take_all(stream, now)) == 10 * RATE


def test_a_backlog_that_waits_for_its_pace_sets_a_deadline() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    cut(stream, 1.0)
    assert take_all(stream, 1.1) == [CHUNK]
    assert not now_pending(stream)
    assert stream.deadline == pytest.approx(1.1125)
    at_deadline(stream)
    assert now_pending(stream)
    assert take_all(stream, 1.1125) == [CHUNK]


def test_a_first_session_is_not_paced() -> None:
    stream = dialling()
    stream.send_audio(pcm(5.0), 0.0)
    stream.transport_opened(1.0)
    assert samples(take_all(stream, 1.0)) == 5 * RATE


def test_a_backlog_held_back_by_a_slow_gateway_does_not_spin() -> None:
    stream = up()
    for second in range(20):
        push(stream, second, 1.0)
        interim(stream, second, str(second))
        stream.transport_alive(second)
    cut(stream, 20.0)
    seen = live(stream, 20.1, 60.0, pong_after=None)
    assert len(seen["audio"]) == 200
    assert link(stream) is LinkState.DROPPING


# The ledger (decision 3).


def test_usage_is_what_was_handed_over_for_the_first_time_and_again() -> None:
    stream = up()
    push(stream, 0.0, 3.0)
    final(stream, 0.1, 0.0, 1.0)
    push(stream, 0.2, 0.5)
    cut(stream, 1.0)
    take_all(stream, 50.0)
    push(stream, 50.0, 0.25)
    final(stream, 50.1, 0.0, 2.75)
    push(stream, 50.2, 1.0)
    stream.close(50.3)
    stream.transport_closed(50.4)
    assert usages(stream.take_events()) == [(0.75, 2.5), (1.0, 0.0)]
    assert (stream.stats.audio_sent, stream.stats.audio_resent) == (4.75, 2.5)


def test_usage_of_a_stream_without_finals_is_told_at_its_end() -> None:
    stream = up()
    push(stream, 0.0, 3.0)
    stream.send_audio(pcm(0.03), 0.1)
    stream.close(1.0)
    stream.transport_closed(1.1)
    events = stream.take_events()
    assert letters(events) == "U StreamEnded"
    assert usages(events) == [(3.0, 0.0)]
    assert only(StreamEnded, events).unacknowledged_seconds == 3.03


# Closing by wish.


def test_close_says_so_and_waits_for_the_transport() -> None:
    stream = up()
    stream.close(1.0)
    assert (link(stream), stream.session_state) == (LinkState.CLOSING, SessionState.ENDED)
    assert take(stream, 1.0) == ["session.close", Disconnect()]
    assert now_deadline(stream) == 3.0
    stream.transport_closed(1.5, code=1000)
    assert (link(stream), stream.session_state) == (LinkState.DONE, SessionState.ENDED)
    assert (told(stream), stream.deadline, stream.finished, stream.error) == ("StreamEnded", None, True, None)


def test_a_close_that_takes_too_long_is_cut() -> None:
    stream = up()
    stream.close(1.0)
    take(stream, 1.0)
    at_deadline(stream)
    assert take(stream, 3.0) == [Disconnect(abort=True)]
    assert (stream.deadline, stream.finished) == (None, False)
    stream.transport_closed(3.1)
    assert told(stream) == "StreamEnded"


def test_close_twice_or_after_the_end_changes_nothing() -> None:
    stream = up()
    stream.close(1.0)
    before = looks(stream)
    stream.close(1.0)
    assert looks(stream) == before
    stream.transport_closed(1.5)
    stream.take_events()
    before = looks(stream)
    stream.close(2.0)
    assert looks(stream) == before
    assert stream.take_events() == []


def test_close_while_dialling_abandons_the_dial() -> None:
    stream = dialling()
    stream.close(1.0)
    assert take(stream, 1.0) == [Disconnect()]
    stream.transport_closed(1.1, error=OSError("cancelled"))
    assert (told(stream), stream.error) == ("StreamEnded", None)


def test_an_opening_that_crosses_the_close_changes_nothing() -> None:
    stream = dialling()
    stream.close(1.0)
    take(stream, 1.0)
    stream.transport_opened(1.1)
    assert take(stream, 1.1) == []
    stream.transport_closed(1.2)
    assert told(stream) == "StreamEnded"


def test_a_dial_that_was_not_even_asked_for_is_asked_for_and_aborted() -> None:
    # Each Connect is answered by one transport_closed, and so every one has to be given.
    stream = connection()
    stream.start(0.0)
    stream.close(0.5)
    at_deadline(stream)
    connect, abort = take(stream, 2.5)
    assert isinstance(connect, Connect)
    assert abort == Disconnect(abort=True)


def test_close_before_start_or_in_backoff_ends_at_once() -> None:
    stream = connection()
    stream.close(0.0)
    assert (told(stream), stream.finished, take(stream, 0.0)) == ("StreamEnded", True, [])
    waiting = up()
    waiting.transport_closed(1.0)
    waiting.take_events()
    waiting.close(1.05)
    assert (told(waiting), take(waiting, 2.0), waiting.deadline) == ("StreamEnded", [], None)


def test_close_while_dropping_waits_for_the_transport() -> None:
    stream = up()
    hear(stream, 0.5, "error", code=500)
    assert take(stream, 0.5) == ["session.close", Disconnect()]
    stream.close(0.6)
    assert take(stream, 0.6) == []
    stream.transport_closed(0.7)
    assert told(stream) == "StreamEnded"


def test_what_comes_after_the_end_is_nobodys() -> None:
    stream = up()
    stream.close(1.0)
    stream.transport_closed(1.1)
    stream.take_events()
    before = looks(stream)
    final(stream, 2.0)
    stream.receive_binary(b"x", 2.0)
    stream.transport_alive(2.0)
    stream.handle_timeout(500.0)
    assert looks(stream) == before
    assert (stream.take_events(), take(stream, 500.0)) == ([], [])


# The finish (decision 5).


def ended(**given: Any) -> Connection:
    """Three seconds were sent, one of them acknowledged; at 10.0 the input ended and its finalize went out."""
    stream = up(9.0, **given)
    push(stream, 9.0, 3.0)
    stream.transport_alive(9.0)
    final(stream, 9.5, 0.0, 1.0)
    stream.end_input(10.0)
    assert take(stream, 10.0) == ["session.finalize"]
    stream.take_events()
    return stream


def unanswered() -> Connection:
    """As ``ended``, without a final before."""
    stream = up(9.0)
    push(stream, 9.0, 3.0)
    stream.transport_alive(9.0)
    stream.end_input(10.0)
    assert take(stream, 10.0) == ["session.finalize"]
    return stream


def leaves_at(stream: Connection) -> float:
    """Let time pass, with pings answered, until the stream leaves; give when that is."""
    for _ in range(100):
        now = at_deadline(stream)
        if link(stream) is not LinkState.UP:
            assert link(stream) is LinkState.CLOSING
            assert take(stream, now) == ["session.close", Disconnect()]
            return now
        if Ping() in take(stream, now):
            stream.transport_alive(now)
    raise AssertionError("it never leaves")


def test_the_end_of_input_flushes_and_finalizes() -> None:
    stream = up()
    stream.send_audio(pcm(0.125), 0.0)
    stream.end_input(0.0)
    assert now_pending(stream)
    assert take(stream, 0.0) == [CHUNK, CHUNK, 400, "session.finalize"]
    assert not now_pending(stream)
    assert stream.session_state is SessionState.FINALIZING


def test_the_finalize_waits_for_all_audio_however_slow_the_socket() -> None:
    stream = up()
    stream.send_audio(pcm(0.125), 0.0)
    stream.end_input(0.0)
    assert take(stream, 0.0, 2) == [CHUNK, CHUNK]
    assert take(stream, 0.0, 1) == [400]
    assert take(stream, 0.0, 1) == ["session.finalize"]


def test_back_pressure_does_not_hold_a_finalize() -> None:
    stream = up()
    push(stream, 0.0, 10.0)
    stream.end_input(0.1)
    # There is something to take, and pending has to say so.
    assert now_pending(stream)
    assert take(stream, 0.1) == ["session.finalize"]
    assert not now_pending(stream)


def test_a_finish_with_a_final_before_is_quiet_for_three_seconds() -> None:
    assert leaves_at(ended()) == 13.0


def test_a_finish_without_any_answer_waits_for_the_drain() -> None:
    stream = unanswered()
    assert leaves_at(stream) == 40.0
    stream.transport_closed(40.1)
    events = stream.take_events()
    assert letters(events) == "U StreamEnded"
    assert only(StreamEnded, events).unacknowledged_seconds == 3.0


def test_drain_grows_by_what_was_unsent() -> None:
    stream = up()
    stream.send_audio(pcm(8.0), 1.0)
    stream.end_input(1.0)
    take_all(stream, 1.0)
    stream.transport_alive(1.0)
    assert leaves_at(stream) == 39.0


def test_quiet_counts_from_the_last_new_text() -> None:
    stream = ended()
    interim(stream, 11.0, "one")
    final(stream, 12.0, 1.0, 2.0, transcript="one two")
    assert leaves_at(stream) == 15.0


def test_quiet_stands_still_while_nobody_reads_but_the_drain_does_not() -> None:
    stream = ended(limits=Limits(unread_events=1))
    hear(stream, 11.0, "session.finalized")
    assert not now_readable(stream)
    assert now_deadline(stream) == 40.0
    stream.handle_timeout(20.0)
    assert told(stream) == "Finalized"
    assert now_deadline(stream) == 23.0
    again = ended(limits=Limits(unread_events=1))
    hear(again, 11.0, "session.finalized")
    at_deadline(again)
    assert link(again) is LinkState.CLOSING


def test_quiet_counts_from_the_acknowledgement_of_the_finalize() -> None:
    stream = unanswered()
    hear(stream, 12.0, "session.finalized")
    assert leaves_at(stream) == 15.0


@pytest.mark.parametrize("text", ["", "one"])
def test_empty_or_repeated_interims_extend_nothing(text: str) -> None:
    stream = ended()
    hear(stream, 10.1, "session.finalized")
    interim(stream, 10.2, "one")
    final(stream, 10.3, 1.0, 2.0, transcript="one")
    at = 11.3
    for tenth in range(4, 13):
        # Late interims of the turn that just ended.
        interim(stream, 10 + tenth / 10, text, start=1.0, duration=1.0)
    assert leaves_at(stream) == pytest.approx(at)


def test_one_second_after_a_final_and_the_acknowledgement() -> None:
    stream = ended()
    final(stream, 10.5, 1.0, 2.0)
    hear(stream, 11.0, "session.finalized")
    assert leaves_at(stream) == 12.0


def test_one_second_when_all_is_acknowledged_by_estimate() -> None:
    stream = unanswered()
    hear(stream, 10.2, "session.finalized")
    final(stream, 10.5, transcript="hi")
    assert stream.unacknowledged_seconds == 0.0
    assert leaves_at(stream) == 11.5


def test_at_once_when_all_is_acknowledged_exactly() -> None:
    stream = ended()
    final(stream, 10.5, 1.0, 3.0)
    assert link(stream) is LinkState.UP
    hear(stream, 10.6, "session.finalized")
    assert link(stream) is LinkState.CLOSING
    assert take(stream, 10.6) == ["session.close", Disconnect()]
    stream.transport_closed(10.7)
    events = stream.take_events()
    assert letters(events) == "S F E Finalized StreamEnded"
    assert only(StreamEnded, events).unacknowledged_seconds == 0.0


def test_the_order_of_final_and_acknowledgement_does_not_matter() -> None:
    stream = ended()
    hear(stream, 10.5, "session.finalized")
    assert link(stream) is LinkState.UP
    final(stream, 10.6, 1.0, 3.0)
    assert link(stream) is LinkState.CLOSING


def test_a_stream_without_audio_ends_with_the_acknowledgement() -> None:
    stream = up()
    stream.end_input(1.0)
    assert take(stream, 1.0) == ["session.finalize"]
    hear(stream, 1.5, "session.finalized")
    assert link(stream) is LinkState.CLOSING


def test_session_closed_ends_at_once_and_is_not_answered() -> None:
    stream = ended()
    hear(stream, 10.5, "session.closed")
    assert link(stream) is LinkState.CLOSING
    assert take(stream, 10.5) == [Disconnect()]
    stream.transport_closed(10.6, code=1000)
    assert told(stream) == "StreamEnded"


@pytest.mark.parametrize("answer", ["final_transcript", "session.finalized"])
def test_an_orderly_close_after_an_answer_is_an_end(answer: str) -> None:
    stream = ended()
    hear(stream, 10.5, answer, **({"transcript": "hi", "start": 1.0, "duration": 1.0} if "final_" in answer else {}))
    stream.transport_closed(10.6, code=1000)
    assert stream.finished
    assert stream.error is None


def test_an_orderly_close_without_an_answer_is_a_cut() -> None:
    # A final before the end of input is no answer to its finalize.
    stream = ended()
    stream.transport_closed(10.6, code=1000)
    assert link(stream) is LinkState.BACKOFF


@pytest.mark.parametrize("code", [1001, 1006, 1011])
def test_another_code_is_a_cut_even_after_an_answer(code: int) -> None:
    stream = ended()
    hear(stream, 10.5, "session.finalized")
    stream.transport_closed(10.6, code=code)
    assert link(stream) is LinkState.BACKOFF


def test_an_orderly_close_with_an_open_turn_is_a_cut() -> None:
    stream = ended()
    hear(stream, 10.5, "session.finalized")
    interim(stream, 10.6)
    stream.transport_closed(10.7, code=1000)
    assert link(stream) is LinkState.BACKOFF


@pytest.mark.parametrize(
    "facts",
    [
        {"code": 1006},
        {"code": 1011},
        {"error": OSError("reset")},
        {"http_status": 503},
        {"error": TlsError("certificate")},
    ],
    ids=str,
)
def test_with_everything_acknowledged_any_cut_is_a_clean_end(facts: dict[str, Any]) -> None:
    stream = ended()
    final(stream, 10.5, 1.0, 3.0)
    stream.transport_closed(10.6, **facts)
    assert (stream.finished, stream.error) == (True, None)
    assert only(StreamEnded, stream.take_events()).unacknowledged_seconds == 0.0


@pytest.mark.parametrize("code", [400, 401, 500, 2007])
def test_with_everything_acknowledged_any_error_is_a_clean_end(code: int) -> None:
    stream = ended()
    final(stream, 10.5, 1.0, 3.0)
    hear(stream, 10.6, "error", code=code, message="too late")
    assert link(stream) is LinkState.CLOSING
    stream.transport_closed(10.7, code=1008)
    assert (stream.finished, stream.error) == (True, None)


def test_the_end_of_input_in_backoff_with_everything_acknowledged_ends_at_once() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    final(stream, 0.1, 0.0, 1.0)
    stream.transport_closed(0.2)
    stream.end_input(0.25)
    assert (stream.finished, stream.error, stream.deadline) == (True, None, None)


def test_a_cut_resends_the_tail_and_finalizes_again_within_the_same_drain() -> None:
    stream = ended()
    stream.transport_closed(20.0)
    then = at_deadline(stream)
    take(stream, then)
    reopen(stream, then)
    sent = take_all(stream, 25.0)
    assert (samples(sent), sent[-1]) == (2 * RATE, "session.finalize")
    interim(stream, 26.0, "almost")
    assert leaves_at(stream) == 40.0


def test_an_error_resends_the_tail_too() -> None:
    stream = ended()
    hear(stream, 10.5, "error", code=500, message="trouble")
    assert take(stream, 10.5) == ["session.close", Disconnect()]
    stream.transport_closed(10.6)
    assert link(stream) is LinkState.BACKOFF


def test_session_closed_with_an_open_turn_is_a_cut() -> None:
    stream = ended()
    interim(stream, 10.4)
    hear(stream, 10.5, "session.closed")
    assert link(stream) is LinkState.DROPPING
    assert take(stream, 10.5) == [Disconnect()]


def test_the_end_of_input_in_an_outage_is_kept() -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    stream.transport_closed(1.0)
    stream.end_input(1.05)
    then = at_deadline(stream)
    take(stream, then)
    reopen(stream, then)
    taken = take_all(stream, 10.0)
    assert (samples(taken), taken[-1]) == (RATE, "session.finalize")


def test_a_second_session_that_brings_nothing_ends_it() -> None:
    stream = unanswered()
    cut(stream, 11.0)
    take_all(stream, 20.0)
    stream.take_events()
    stream.transport_closed(21.0)
    events = stream.take_events()
    assert (stream.finished, stream.error) == (True, None)
    assert letters(events) == "U StreamEnded"
    assert only(StreamEnded, events).unacknowledged_seconds == 3.0


def test_a_second_session_that_brings_text_is_worth_a_third() -> None:
    stream = unanswered()
    cut(stream, 11.0)
    take_all(stream, 20.0)
    interim(stream, 20.5)
    stream.transport_closed(21.0)
    assert link(stream) is LinkState.BACKOFF


def test_a_second_session_that_hears_the_same_again_is_worth_a_third() -> None:
    stream = unanswered()
    interim(stream, 10.5, "same")
    cut(stream, 11.0)
    take_all(stream, 20.0)
    interim(stream, 20.5, "same")
    stream.transport_closed(21.0)
    assert link(stream) is LinkState.BACKOFF


def test_a_second_session_that_was_not_asked_yet_is_no_verdict() -> None:
    stream = unanswered()
    cut(stream, 11.0)
    stream.transport_closed(11.2)
    assert link(stream) is LinkState.BACKOFF


def test_a_second_session_with_an_open_turn_and_nothing_new_is_a_finalize_timeout() -> None:
    stream = unanswered()
    interim(stream, 10.5, "cut off")
    cut(stream, 11.0)
    take_all(stream, 20.0)
    stream.transport_closed(21.0)
    assert isinstance(stream.error, FinalizeTimeout)
    assert told(stream) == "F E U StreamFailed"


def test_an_open_turn_without_a_final_fails_at_the_drain() -> None:
    stream = ended()
    hear(stream, 10.2, "session.finalized")
    interim(stream, 10.5, "the last words")
    assert leaves_at(stream) == 40.0
    assert not stream.finished
    stream.transport_closed(40.1)
    assert isinstance(stream.error, FinalizeTimeout)
    events = stream.take_events()
    assert letters(events) == "Finalized S I F E StreamFailed"
    assert only(StreamFailed, events) == StreamFailed(stream.error, 2.0)


def test_a_final_during_the_closing_saves_the_turn() -> None:
    stream = ended()
    interim(stream, 10.5, "the last words")
    leaves_at(stream)
    final(stream, 40.1, 1.0, 3.0, transcript="the last words")
    stream.transport_closed(40.2)
    assert stream.error is None


def test_audio_that_was_never_handed_over_fails_with_the_last_failure() -> None:
    stream = dialling(retry=RetryPolicy(outage=1000.0))
    stream.send_audio(pcm(2.0), 0.0)
    stream.end_input(1.0)
    now = 1.0
    while link(stream) is LinkState.CONNECTING:
        stream.transport_closed(now, error=OSError("refused"))
        now = at_deadline(stream)
        take_all(stream, now)
    assert (now, stream.finished) == (33.0, True)
    failed: StreamFailed = only(StreamFailed, stream.take_events())
    assert isinstance(failed.error, ConnectError)
    assert "refused" in str(failed.error)
    assert failed.unacknowledged_seconds == 2.0


def test_audio_that_a_slow_gateway_never_took_fails_too() -> None:
    stream = up()
    stream.send_audio(pcm(40.0), 0.0)
    stream.end_input(1.0)
    take_all(stream, 1.0)
    now = 1.0
    while link(stream) is LinkState.UP:
        now += 1.0
        interim(stream, now, "")
        stream.handle_timeout(now)
        take(stream, now)
    stream.transport_closed(now)
    assert now == 71.0
    assert isinstance(stream.error, FinalizeTimeout)


def test_a_stream_that_never_started_may_finish_too() -> None:
    stream = connection()
    stream.end_input(0.0)
    assert stream.deadline == 30.0
    at_deadline(stream)
    assert told(stream) == "StreamEnded"


def test_audio_of_a_stream_that_never_started_was_never_handed_over() -> None:
    stream = connection()
    stream.send_audio(pcm(1.0), 0.0)
    stream.end_input(0.0)
    at_deadline(stream)
    assert isinstance(stream.error, FinalizeTimeout)


def test_transcripts_while_leaving_do_not_start_the_finish_again() -> None:
    stream = ended()
    leaves_at(stream)
    hear(stream, 13.1, "session.finalized")
    final(stream, 13.2, 1.0, 2.0)
    assert stream.deadline == 15.0
    assert take(stream, 13.2) == []


def test_the_drain_does_not_outlive_the_leaving() -> None:
    stream = ended()
    assert leaves_at(stream) == 13.0
    at_deadline(stream)
    take(stream, 15.0)
    assert now_deadline(stream) is None


def test_finalize_latency_is_measured() -> None:
    stream = ended()
    final(stream, 10.25, 1.0, 2.0)
    final(stream, 10.75, 2.0, 2.5)
    assert stream.stats.finalize_latency == 0.25


# Failures and retry (decisions 6 and 7).


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1011, 4000])
def test_every_close_of_a_live_session_is_transient(code: int) -> None:
    stream = up()
    stream.transport_closed(1.0, code=code, reason="because")
    (event,) = stream.take_events()
    assert isinstance(event, Reconnecting)
    assert (event.attempt, event.delay) == (1, 0.1)
    assert isinstance(event.error, ConnectionLost)
    assert (event.error.close_code, event.error.retryable) == (code, True)
    assert "because" in str(event.error)
    assert (link(stream), stream.session_state) == (LinkState.BACKOFF, SessionState.FAILED)
    assert stream.deadline == 1.1


def test_attempts_follow_the_schedule_and_count() -> None:
    stream = dialling()
    delays, attempts = [], []
    now = 0.0
    for _ in range(7):
        stream.transport_closed(now, error=OSError("refused"))
        reconnecting: Reconnecting = only(Reconnecting, stream.take_events())
        delays.append(reconnecting.delay)
        now = at_deadline(stream)
        (connect,) = take(stream, now)
        attempts.append((reconnecting.attempt, connect.attempt))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert attempts == [(n, n) for n in range(1, 8)]


def test_random_spreads_the_delays() -> None:
    stream = dialling(random=lambda: 0.0)
    stream.transport_closed(0.0)
    assert only(Reconnecting, stream.take_events()).delay == 0.05


def test_retry_after_is_a_capped_floor() -> None:
    stream = dialling()
    stream.transport_closed(0.0, http_status=429, retry_after=7.5)
    reconnecting: Reconnecting = only(Reconnecting, stream.take_events())
    assert isinstance(reconnecting.error, QuotaExceeded)
    assert (reconnecting.delay, reconnecting.error.retry_after) == (7.5, 7.5)
    take(stream, at_deadline(stream))
    stream.transport_closed(8.0, http_status=503, retry_after=3600)
    assert stream.deadline == 68.0


def test_a_dial_that_takes_too_long_is_abandoned_and_tried_again() -> None:
    stream = dialling()
    at_deadline(stream)
    assert link(stream) is LinkState.DROPPING
    assert take(stream, 10.0) == [Disconnect()]
    assert stream.deadline == 12.0
    at_deadline(stream)
    assert take(stream, 12.0) == [Disconnect(abort=True)]
    stream.transport_closed(12.1, error=TimeoutError())
    (event,) = stream.take_events()
    assert isinstance(event, Reconnecting)
    assert isinstance(event.error, ConnectError)
    assert "within 10 s" in str(event.error)


def test_an_opening_that_crosses_the_connect_timeout_changes_nothing() -> None:
    stream = dialling()
    at_deadline(stream)
    stream.transport_opened(10.1)
    assert take(stream, 10.1) == [Disconnect()]
    stream.transport_closed(10.2)
    assert link(stream) is LinkState.BACKOFF


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"http_status": 200}, ConnectError),
        ({"http_status": 301}, ConnectError),
        ({"http_status": 400}, ConnectError),
        ({"http_status": 403}, AuthError),
        ({"http_status": 404}, ConnectError),
        ({"error": TlsError("certificate")}, TlsError),
    ],
    ids=str,
)
def test_a_permanent_failure_ends_the_stream_with_itself(facts: dict[str, Any], error: type[SttError]) -> None:
    stream = dialling()
    stream.transport_closed(0.5, **facts)
    (event,) = stream.take_events()
    assert isinstance(event, StreamFailed)
    assert isinstance(event.error, error)
    assert stream.error is event.error
    assert not event.error.retryable
    assert (stream.finished, stream.session_state, stream.deadline) == (True, SessionState.FAILED, None)


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503])
def test_a_transient_status_is_tried_again(status: int) -> None:
    stream = dialling()
    stream.transport_closed(0.5, http_status=status)
    reconnecting: Reconnecting = only(Reconnecting, stream.take_events())
    assert reconnecting.error.http_status == status
    assert link(stream) is LinkState.BACKOFF


def test_a_refused_token_gets_a_new_one_at_once() -> None:
    stream = dialling()
    stream.transport_closed(0.5, http_status=401)
    (reconnecting,) = stream.take_events()
    assert isinstance(reconnecting, Reconnecting)
    assert (reconnecting.attempt, reconnecting.delay) == (1, 0.0)
    assert isinstance(reconnecting.error, AuthError)
    assert link(stream) is LinkState.CONNECTING
    (connect,) = take(stream, 0.5)
    assert connect.attempt == 1
    assert stream.deadline == 10.5
    stream.transport_closed(0.6, http_status=401)
    assert isinstance(stream.error, AuthError)


def test_an_opening_renews_the_token_attempt() -> None:
    stream = dialling()
    stream.transport_closed(0.5, http_status=401)
    take(stream, 0.5)
    reopen(stream, 0.6)
    stream.transport_closed(0.7)
    take(stream, at_deadline(stream))
    stream.transport_closed(0.9, http_status=401)
    assert link(stream) is LinkState.CONNECTING


def test_a_token_refused_by_an_error_gets_a_new_one_at_once() -> None:
    stream = up()
    hear(stream, 0.5, "error", code=401, message="token")
    assert take(stream, 0.5) == ["session.close", Disconnect()]
    stream.transport_closed(0.6)
    assert link(stream) is LinkState.CONNECTING


@pytest.mark.parametrize("code", [400, 403, 404, 2007])
def test_a_permanent_error_is_said_goodbye_to_and_ends_the_stream(code: int) -> None:
    stream = up()
    push(stream, 0.0, 1.0)
    hear(stream, 0.5, "error", code=code, message="no", session_id="s9")
    assert (link(stream), stream.session_state) == (LinkState.CLOSING, SessionState.FAILED)
    assert take(stream, 0.5) == ["session.close", Disconnect()]
    stream.transport_closed(0.6, code=1008)
    events = stream.take_events()
    assert letters(events) == "U StreamFailed"
    failed: StreamFailed = only(StreamFailed, events)
    assert isinstance(failed.error, GatewayError)
    assert (failed.error.code, failed.error.session_id, failed.unacknowledged_seconds) == (code, "s9", 1.0)


@pytest.mark.parametrize("code", [408, 429, 499, 500, 1234, "429", None])
def test_a_transient_error_reconnects(code: Any) -> None:
    stream = up()
    hear(stream, 0.5, "error", code=code, message="later")
    assert link(stream) is LinkState.DROPPING
    assert take(stream, 0.5) == ["session.close", Disconnect()]
    assert stream.deadline == 2.5
    stream.take_events()
    stream.transport_closed(0.6, code=1000)
    reconnecting: Reconnecting = only(Reconnecting, stream.take_events())
    assert isinstance(reconnecting.error, GatewayError)
    assert reconnecting.error.code == (code if isinstance(code, int) else -1)


def test_an_error_before_anything_was_created_counts_as_well() -> None:
    stream = dialling()
    stream.transport_opened(0.1)
    hear(stream, 0.1, "error", code=500)
    assert link(stream) is LinkState.DROPPING
    assert take(stream, 0.1) == ["session.create", "session.close", Disconnect()]


def test_a_second_error_while_leaving_changes_nothing() -> None:
    stream = up()
    hear(stream, 0.5, "error", code=500)
    take(stream, 0.5)
    stream.take_events()
    hear(stream, 0.6, "error", code=400)
    assert letters(stream.take_events()) == "Diagnostic"
    stream.transport_closed(0.7)
    assert link(stream) is LinkState.BACKOFF


def test_an_early_session_closed_is_a_cut_and_gets_no_goodbye() -> None:
    stream = up()
    hear(stream, 0.5, "session.closed")
    assert take(stream, 0.5) == [Disconnect()]
    stream.transport_closed(0.6)
    assert isinstance(only(Reconnecting, stream.take_events()).error, ConnectionLost)


def test_session_closed_while_leaving_changes_nothing() -> None:
    stream = up()
    stream.close(1.0)
    take(stream, 1.0)
    hear(stream, 1.1, "session.closed")
    stream.transport_closed(1.2)
    assert told(stream) == "StreamEnded"


def test_an_outage_that_lasts_a_minute_ends_the_stream() -> None:
    stream = dialling()
    now = 0.0
    while not stream.finished:
        stream.transport_closed(now, error=OSError("refused"))
        if not stream.finished:
            now = at_deadline(stream)
            take(stream, now)
    assert 60.0 <= now <= 62.0
    assert isinstance(stream.error, OutageExceeded)
    assert isinstance(stream.error.__cause__, ConnectError)


def test_an_acknowledging_final_ends_an_outage() -> None:
    stream = dialling()
    stream.transport_closed(0.0)
    take(stream, at_deadline(stream))
    reopen(stream, 50.0)
    push(stream, 50.0, 1.0)
    final(stream, 50.1, 0.0, 1.0)
    stream.take_events()
    stream.transport_closed(51.0)
    assert only(Reconnecting, stream.take_events()).attempt == 1
    take(stream, at_deadline(stream))
    stream.transport_closed(100.0)
    assert link(stream) is LinkState.BACKOFF


def test_a_final_that_acknowledges_nothing_does_not_end_an_outage() -> None:
    stream = dialling()
    stream.transport_closed(0.0)
    take(stream, at_deadline(stream))
    reopen(stream, 0.1)
    final(stream, 0.2, transcript="")
    stream.take_events()
    stream.transport_closed(1.0)
    assert only(Reconnecting, stream.take_events()).attempt == 2


def test_ten_seconds_of_a_live_session_end_an_outage() -> None:
    stream = dialling()
    stream.transport_closed(0.0)
    take(stream, at_deadline(stream))
    reopen(stream, 0.1)
    stream.transport_closed(10.1)
    assert only(Reconnecting, stream.take_events()).attempt == 1


def test_a_session_lost_in_silence_does_not_end_an_outage() -> None:
    stream = dialling()
    stream.transport_closed(0.0)
    take(stream, at_deadline(stream))
    reopen(stream, 0.1)
    live(stream, 0.1, 100.0, pong_after=None)
    assert link(stream) is LinkState.DROPPING
    stream.take_events()
    stream.transport_closed(50.0)
    assert only(Reconnecting, stream.take_events()).attempt == 2


def test_a_lost_link_is_told_as_what_it_is() -> None:
    stream = up()
    hear(stream, 0.5, "session.created", session_id="s1")
    live(stream, 0.5, 100.0, pong_after=None)
    stream.take_events()
    stream.transport_closed(7.0)
    reconnecting: Reconnecting = only(Reconnecting, stream.take_events())
    assert isinstance(reconnecting.error, ConnectionLost)
    assert reconnecting.error.session_id == "s1"
    assert "6.0 s" in str(reconnecting.error)


def test_the_adapters_own_error_is_kept() -> None:
    stream = up()
    mine = ConnectionLost("mine", close_code=1009)
    stream.transport_closed(1.0, error=mine)
    assert only(Reconnecting, stream.take_events()).error is mine
    dial = dialling()
    cause = OSError("refused")
    dial.transport_closed(1.0, error=cause)
    assert only(Reconnecting, dial.take_events()).error.__cause__ is cause


def test_a_servers_credentials_do_not_reach_an_error() -> None:
    stream = up()
    token = "eyJhbGciOiJIUzI1NiJ9.e30.sig"
    hear(stream, 0.5, "error", code=400, message=f"bad header Authorization: Bearer {token}\x1b[2J")
    stream.transport_closed(0.6)
    assert token not in str(stream.error)
    assert "\x1b" not in str(stream.error)


def test_sessions_and_failures_are_counted() -> None:
    stream = dialling()
    stream.transport_closed(0.0)
    take(stream, at_deadline(stream))
    reopen(stream, 0.35)
    assert stream.stats.connect_latency == pytest.approx(0.25)
    stream.close(1.0)
    stream.transport_closed(1.1)
    assert (stream.stats.sessions, stream.stats.failures) == (1, 1)


def test_a_new_session_forgets_the_last_ones_id() -> None:
    stream = up()
    hear(stream, 0.1, "session.created", session_id="old")
    cut(stream, 1.0)
    final(stream, 2.0)
    assert speech(stream, "F").request_id == ""


# Leniency (decision 8).


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("", "invalid_message"),
        ("{", "invalid_message"),
        ("[]", "invalid_message"),
        ("null", "invalid_message"),
        ("{}", "invalid_message"),
        ('{"type":7}', "invalid_message"),
        (b"\xff\xfe", "invalid_message"),
        ('{"type":"final_transcript","transcript":7}', "invalid_message"),
        ('{"type":"final_transcript","start":NaN}', "invalid_message"),
        ('{"type":"hologram.created"}', "unknown_type"),
        ('{"type":"input_audio","audio":"AAAA"}', "unknown_type"),
        ('{"type":"session.created","session_id":7}', "invalid_field"),
        ('{"type":"interim_transcript","transcript":"","confidence":"high"}', "invalid_field"),
    ],
)
def test_what_cannot_be_used_is_a_diagnostic(data: str | bytes, kind: str) -> None:
    stream = up()
    stream.receive_text(data, 0.5)
    events = stream.take_events()
    diagnostic: Diagnostic = only(Diagnostic, events)
    assert diagnostic.kind == kind
    assert stream.stats.diagnostics == 1
    assert stream.stats.messages_received == 1
    assert link(stream) is LinkState.UP
    assert stream.deadline == 3.5


def test_a_message_out_of_place_is_a_diagnostic() -> None:
    stream = up()
    stream.close(0.1)
    take(stream, 0.1)
    hear(stream, 0.2, "session.created")
    assert only(Diagnostic, stream.take_events()).kind == "unexpected_message"


@pytest.mark.parametrize("data", [b"xyz", bytearray(3), memoryview(b"xyz")])
def test_a_binary_message_is_skipped(data: Any) -> None:
    stream = up()
    stream.receive_binary(data, 0.5)
    assert stream.take_events() == [Diagnostic("binary_message", "3 bytes")]
    assert stream.stats.messages_received == 1
    assert stream.deadline == 3.5


def test_a_pong_is_no_message() -> None:
    stream = up()
    stream.transport_alive(0.5)
    assert stream.stats.messages_received == 0


@pytest.mark.parametrize("data", ['{"type":"session.created"}', b'{"type":"session.created"}'])
def test_text_or_its_utf8(data: str | bytes) -> None:
    stream = up()
    stream.receive_text(data, 0.5)
    assert stream.take_events() == [SessionCreated(None)]


def test_a_transcript_with_bad_fields_is_delivered_with_one_diagnostic() -> None:
    stream = up()
    push(stream, 0.0, 2.0)
    final(stream, 0.1, start=0.5, duration=1.0, confidence="high", language=7, words="no", extra=[], speaker_id={})
    events = stream.take_events()
    assert letters(events) == "Diagnostic S U F E"
    (data,) = only(SpeechEvent, [e for e in events if isinstance(e, SpeechEvent) and e.alternatives]).alternatives
    assert (data.confidence, data.language, data.words, data.metadata, data.speaker_id) == (1.0, "en", (), None, None)
    assert (data.start_time, data.end_time) == pytest.approx((0.5, 1.5))


def test_null_is_absent() -> None:
    stream = up()
    hear(stream, 0.1, "final_transcript", **dict.fromkeys(["language", "start", "duration", "confidence", "words"]))
    assert told(stream) == ""
    hear(stream, 0.1, "interim_transcript", transcript="hi", language=None, words=None, extra=None, request_id=None)
    assert told(stream) == "S I"


def test_a_transcript_without_a_language_has_the_streams() -> None:
    stream = up(language="fr")
    final(stream, 0.1)
    assert speech(stream, "F").alternatives[0].language == "fr"
    stream.update_options(0.2, language="de")
    final(stream, 0.3, language="")
    assert speech(stream, "F").alternatives[0].language == "de"


def test_diagnostics_carry_no_content() -> None:
    stream = up()
    word = "correct-horse"
    for data in (
        word,
        json.dumps([word]),
        json.dumps({"type": word}),
        json.dumps({"type": "final_transcript", "transcript": "x", "language": [word]}),
        json.dumps({"type": "session.created", "session_id": {word: word}}),
    ):
        stream.receive_text(data, 0.1)
    stream.receive_binary(word.encode(), 0.1)
    details = [event.detail for event in stream.take_events() if isinstance(event, Diagnostic)]
    assert len(details) == 6
    assert not [detail for detail in details if word in detail]


# Settings (decision 9).


def created(stream: Connection, now: float) -> dict[str, Any]:
    """Cut the link, and give the settings that the next session begins with."""
    stream.transport_closed(now)
    then = at_deadline(stream)
    take(stream, then)
    stream.transport_opened(then)
    message = stream.take_actions(then, 1)[0]
    assert isinstance(message, bytes)
    body: dict[str, Any] = json.loads(message)
    return body


def test_an_update_is_sparse_and_remembered() -> None:
    stream = up()
    stream.update_options(0.1, language="en_us")
    assert now_pending(stream)
    assert take(stream, 0.1) == [{"language": "en-US"}]
    stream.update_options(0.2, language="en-US")
    assert take(stream, 0.2) == []
    stream.update_options(0.3, extra={"punctuate": True}, model="deepgram/nova-2")
    assert take(stream, 0.3) == [{"model": "deepgram/nova-2", "extra": {"punctuate": True}}]
    body = created(stream, 1.0)
    assert (body["model"], body["settings"]["language"]) == ("deepgram/nova-2", "en-US")
    assert body["settings"]["extra"] == {"punctuate": True, "keyterm": []}


def test_the_next_dial_names_the_changed_model() -> None:
    stream = up()
    stream.update_options(0.1, model="deepgram/nova-2")
    stream.transport_closed(1.0)
    (connect,) = take(stream, at_deadline(stream))
    assert "nova-2" in connect.request(0.0).url


def test_an_update_without_a_session_is_part_of_the_next_create() -> None:
    stream = connection()
    stream.update_options(0.0, language="de")
    stream.start(0.0)
    take(stream, 0.0)
    stream.update_options(0.1, extra={"punctuate": True})
    assert take(stream, 0.1) == []
    stream.transport_opened(0.2)
    (message,) = stream.take_actions(0.2)
    assert isinstance(message, bytes)
    settings = json.loads(message)["settings"]
    assert (settings["language"], settings["extra"]) == ("de", {"punctuate": True, "keyterm": []})


def test_before_the_start_any_model_will_do_that_takes_the_rate() -> None:
    stream = connection()
    stream.update_options(0.0, model="assemblyai/universal-streaming")
    stream.start(0.0)
    (connect,) = take(stream, 0.0)
    assert "assemblyai" in connect.request(0.0).url


@pytest.mark.parametrize("model", ["assemblyai/universal-streaming", "openai/gpt-live-transcribe", "auto"])
def test_a_live_stream_refuses_another_provider_or_rate(model: str) -> None:
    stream = up()
    with pytest.raises(LocalProtocolError):
        stream.update_options(0.1, model=model)


def test_a_live_stream_refuses_another_endpointing_need() -> None:
    stream = up(model="speechmatics/enhanced")
    with pytest.raises(LocalProtocolError):
        stream.update_options(0.1, model="speechmatics/linden-1")


def test_keyterms_wait_for_the_end_of_an_open_turn() -> None:
    stream = up()
    hear(stream, 0.1, "start_of_speech")
    stream.update_options(0.2, keyterms=["one"])
    stream.update_options(0.3, keyterms=["two"], language="de")
    assert take(stream, 0.3) == [{"language": "de"}]
    final(stream, 0.4)
    assert told(stream) == "S F E"
    assert take(stream, 0.4) == [{"extra": {"keyterm": ["two"]}}]
    final(stream, 0.5)
    assert take(stream, 0.5) == []


def test_keyterms_that_waited_at_a_cut_are_part_of_the_create_and_cleared() -> None:
    stream = up()
    hear(stream, 0.1, "start_of_speech")
    stream.update_options(0.2, keyterms=["one"])
    assert created(stream, 1.0)["settings"]["extra"] == {"keyterm": ["one"]}
    final(stream, 2.0)
    assert take(stream, 2.0) == []


def test_keyterms_of_a_silent_stream_go_at_once() -> None:
    stream = up()
    stream.update_options(0.1, keyterms=["one"])
    assert take(stream, 0.1) == [{"extra": {"keyterm": ["one"]}}]
    stream.update_options(0.2, keyterms=[])
    assert take(stream, 0.2) == [{"extra": {"keyterm": []}}]


def test_settings_of_a_turn_that_ends_while_leaving_are_not_sent() -> None:
    stream = up()
    hear(stream, 0.1, "start_of_speech")
    stream.update_options(0.2, keyterms=["one"])
    stream.close(0.3)
    assert take(stream, 0.3) == ["session.close", Disconnect()]
    final(stream, 0.4)
    assert take(stream, 0.4) == []


def test_settings_change_while_a_stream_drops() -> None:
    stream = up()
    hear(stream, 0.1, "error", code=500)
    take(stream, 0.1)
    stream.update_options(0.2, language="de")
    assert take(stream, 0.2) == []
    assert created(stream, 0.3)["settings"]["language"] == "de"


# Marks (decision 10).


def test_a_finalize_goes_behind_the_audio_before_it() -> None:
    stream = up()
    stream.send_audio(pcm(0.07), 0.0)
    stream.finalize(0.0)
    stream.send_audio(pcm(0.05), 0.0)
    assert take(stream, 0.0) == [CHUNK, 320, "session.finalize", CHUNK]
    assert stream.session_state is SessionState.STREAMING


def test_a_finalize_leaves_the_session_open() -> None:
    stream = up()
    push(stream, 0.0, 0.1)
    stream.finalize(0.0)
    assert take(stream, 0.0) == ["session.finalize"]
    assert stream.session_state is SessionState.FINALIZING
    hear(stream, 0.1, "session.finalized")
    assert told(stream) == "Finalized"
    assert link(stream) is LinkState.UP
    assert push(stream, 0.2, 0.1) == 2 * CHUNK


def test_marks_go_again_with_their_audio() -> None:
    stream = up()
    push(stream, 0.0, 0.1)
    stream.finalize(0.0)
    push(stream, 0.0, 0.03)
    stream.flush(0.0)
    take_all(stream, 0.0)
    cut(stream, 1.0)
    assert take_all(stream, 9.0) == [CHUNK, CHUNK, "session.finalize", 480]


def test_marks_of_acknowledged_audio_do_not_go_again() -> None:
    stream = up()
    push(stream, 0.0, 0.1)
    stream.finalize(0.0)
    take_all(stream, 0.0)
    final(stream, 0.1, 0.0, 0.1)
    cut(stream, 1.0)
    assert take_all(stream, 9.0) == []


class Every:
    """Finds the end of speech in every so-manyth frame; fails at one if told to."""

    def __init__(self, frames: int, *, fails_at: int = 0) -> None:
        self.frames = frames
        self.fails_at = fails_at
        self.heard = 0

    def push(self, pcm: bytes) -> bool:
        assert len(pcm) == RATE // 50 * 2
        self.heard += 1
        if self.heard == self.fails_at:
            raise RuntimeError("correct-horse")
        return self.heard % self.frames == 0


def test_an_endpointer_sets_a_flush_and_a_finalize() -> None:
    stream = up(model="speechmatics/enhanced", endpointer=Every(6))
    stream.send_audio(pcm(0.3), 0.0)
    assert take(stream, 0.0) == [CHUNK, CHUNK, 320, "session.finalize"] * 2 + [CHUNK]


def test_an_endpointer_hears_each_frame_once_when_pushed() -> None:
    endpointer = Every(1000)
    stream = up(model="speechmatics/enhanced", endpointer=endpointer)
    push(stream, 0.0, 0.31)
    cut(stream, 1.0)
    take_all(stream, 9.0)
    assert endpointer.heard == 15


def test_an_endpointer_is_not_asked_for_a_model_that_needs_none() -> None:
    endpointer = Every(1)
    push(up(endpointer=endpointer), 0.0, 1.0)
    assert endpointer.heard == 0


def test_a_failing_endpointer_is_told_once_and_the_words_go_on() -> None:
    stream = up(model="speechmatics/enhanced", endpointer=Every(2, fails_at=3))
    # The end that it found before it failed counts.
    assert push(stream, 0.0, 0.1) == 640 + CHUNK
    assert push(stream, 0.1, 0.1) == 2 * CHUNK
    (diagnostic,) = stream.take_events()
    assert diagnostic == Diagnostic("endpointer_failed", "RuntimeError")


def test_liveness_stands_still_when_an_endpointers_failure_is_the_event_too_many() -> None:
    limits = Limits(unread_events=1)
    stream = up(model="speechmatics/enhanced", endpointer=Every(9, fails_at=1), limits=limits)
    assert stream.deadline == 3.0
    stream.send_audio(pcm(0.02), 0.0)
    assert (stream.readable, stream.deadline) == (False, None)


def test_an_endpointer_that_ends_late_only_doubles_the_finalize() -> None:
    stream = up(model="speechmatics/enhanced", endpointer=Every(5))
    stream.send_audio(pcm(0.1), 0.0)
    stream.end_input(0.0)
    taken = take_all(stream, 0.0)
    assert taken[:2] == [CHUNK, CHUNK]
    assert set(taken[2:]) == {"session.finalize"}


# Any course of events.


class Course:
    """A stream, whoever uses it and whatever its network does; and what the contract says of every moment."""

    def __init__(self, model: str, seed: int) -> None:
        self.random = Random(seed)
        self.stream = connection(
            model=model,
            limits=Limits(audio_buffer=2.0, ahead=1.0, unread_events=12, drain=5.0, lookback=1.0),
            retry=RetryPolicy(outage=20.0),
            endpointer=Every(7) if "speechmatics" in model else None,
            random=self.random.random,
        )
        self.now = self.random.uniform(-50.0, 50.0)
        self.transport: list[str] = []  # "asked", then "open": as a transport sees it
        self.gateway = Gateway()
        self.events: list[Event] = []
        self.handed = 0

    def check(self) -> None:
        stream = self.stream
        if self.random.random() < 0.3:
            assert stream.pending == bool(deepcopy(stream).take_actions(self.now))
        assert stream.finished == (stream.link_state is LinkState.DONE)
        assert stream.unacknowledged_seconds >= stream.unsent_seconds >= 0
        assert 0 <= stream.room <= 2 * 2 * RATE
        if stream.link_state in (LinkState.IDLE, LinkState.BACKOFF, LinkState.DONE):
            assert not self.transport

    def allowed(self, wish: Callable[[], None]) -> None:
        """Wish for something; a mistake changes nothing."""
        before = looks(self.stream)
        try:
            wish()
        except LocalProtocolError:
            assert looks(self.stream) == before

    def take(self, max_messages: int | None) -> None:
        actions = self.stream.take_actions(self.now, max_messages)
        if max_messages == 0:
            assert {type(action) for action in actions} <= {Ping, Disconnect}
        assert sum(isinstance(action, bytes) for action in actions) <= (16 if max_messages is None else max_messages)
        for action in actions:
            if isinstance(action, Connect):
                assert not self.transport
                self.transport = ["asked"]
            elif isinstance(action, bytes):
                # The other end finds nothing wrong with it.
                assert self.transport == ["asked", "open"]
                self.gateway.receive_text(action, self.now)
                assert not self.gateway.closing
                if "input_audio" in str(action[:30]):
                    self.handed += samples([brief(action)])
            else:
                assert self.transport

    def fact(self, kind: str) -> None:
        stream, random = self.stream, self.random
        if kind == "opened" and self.transport == ["asked"]:
            self.transport.append("open")
            self.gateway = Gateway()
            self.gateway.transport_opened(self.now)
            stream.transport_opened(self.now)
        elif kind == "closed" and self.transport:
            self.transport = []
            code = random.choice([1000, 1006, 1011])
            status = random.choice([None, None, None, 401, 503]) if stream.link_state is LinkState.CONNECTING else None
            stream.transport_closed(self.now, code=code, http_status=status)
        elif kind == "pong":
            stream.transport_alive(self.now)
        elif kind == "text":
            start, duration = random.uniform(0, 4), random.choice([0, random.uniform(0, 3)])
            times = random.choice([{}, {"start": start, "duration": duration}])
            name = random.choice(
                ["start_of_speech", "interim_transcript", "preflight_transcript"] + ["final_transcript"] * 2
                + ["session.created", "session.finalized"]
            )  # fmt: skip
            hear(stream, self.now, name, transcript=random.choice(["", "one", "two"]), **times)
        elif kind == "trouble":
            name = random.choice(["session.closed", "error", "hologram", "error"])
            hear(stream, self.now, name, code=random.choice([400, 401, 500, 500, None]))
        elif kind == "binary":
            stream.receive_binary(b"\0", self.now)

    def step(self, kind: str) -> None:
        stream, random = self.stream, self.random
        if kind == "audio":
            self.allowed(lambda: stream.send_audio(bytes(random.choice([1, 1600, 3333, 16000, 50000])), self.now))
        elif kind == "wish":
            wish = random.choice([stream.flush, stream.finalize, stream.flush, stream.finalize, stream.end_input])
            self.allowed(lambda: wish(self.now))
        elif kind == "settings":
            terms = random.choice([["a"], ["b"], []])
            self.allowed(lambda: stream.update_options(self.now, language=random.choice(["de", "fr"]), keyterms=terms))
        elif kind == "start":
            self.allowed(lambda: stream.start(self.now))
        elif kind == "close":
            stream.close(self.now)
        elif kind == "take":
            self.take(random.choice([None, None, None, 0, 1, 5]))
        elif kind == "events":
            self.events += stream.take_events()
        elif kind == "wait":
            if stream.deadline is not None:
                self.now = max(self.now, stream.deadline + random.choice([0.0, 0.0, 0.0, -5e-7, 0.3, 2.0]))
            self.timeout()
        elif kind == "sleep":
            self.now += random.uniform(0, 1)
            self.timeout()
        else:
            self.fact(kind)
        self.check()

    def timeout(self) -> None:
        self.stream.handle_timeout(self.now)
        assert self.stream.deadline is None or self.stream.deadline > self.now

    def finish(self) -> None:
        """Close, answer what is asked, and read to the end."""
        self.stream.close(self.now)
        self.take(None)
        if self.transport:
            self.stream.transport_closed(self.now)
        self.events += self.stream.take_events()
        assert self.stream.finished

    def judge(self) -> None:
        """What holds for every whole stream."""
        ends = [event for event in self.events if isinstance(event, StreamEnded | StreamFailed)]
        assert ends == self.events[-1:]
        assert (type(ends[0]) is StreamFailed) == (self.stream.error is not None)
        spoken = [event for event in self.events if isinstance(event, SpeechEvent)]
        turns = [event.type for event in spoken if LETTERS[event.type] in "SE"]
        assert turns == ["start_of_speech", "end_of_speech"] * (len(turns) // 2)
        open_turn = False
        for event in spoken:
            letter = LETTERS[event.type]
            open_turn = letter == "S" or (open_turn and letter != "E")
            assert open_turn or letter in "UE"
            for data in event.alternatives:
                assert 0 <= data.start_time <= data.end_time <= event.audio_time
        stats = self.stream.stats
        told = [event.recognition_usage for event in spoken if event.recognition_usage is not None]
        assert sum(usage.audio_duration for usage in told) == pytest.approx(stats.audio_sent)
        assert sum(usage.resent_duration for usage in told) == pytest.approx(stats.audio_resent)
        assert (stats.audio_sent + stats.audio_resent) * RATE == pytest.approx(self.handed)
        dropped = [event for event in self.events if isinstance(event, AudioDropped)]
        assert sum(event.end - event.start for event in dropped) == pytest.approx(stats.audio_dropped)
        assert stats.audio_pushed >= stats.audio_dropped + ends[0].unacknowledged_seconds - 1e-9


KINDS = (
    ["audio"] * 6 + ["take"] * 7 + ["events"] * 2 + ["wait"] * 4 + ["sleep"] * 2 + ["opened"] * 3 + ["text"] * 6
    + ["closed", "pong", "pong", "trouble", "binary", "wish", "settings"]
)  # fmt: skip


@pytest.mark.parametrize("model", ["deepgram/nova-3", "cartesia/ink-2", "speechmatics/enhanced"])
@pytest.mark.parametrize("seed", range(15))
def test_any_course_of_events_keeps_every_promise(model: str, seed: int) -> None:
    course = Course(model, seed)
    rare = course.random.random() < 0.2
    course.step("start")
    for _ in range(course.random.randrange(20, 250)):
        course.step(
            course.random.choice(["start", "close", "closed"] if rare and course.random.random() < 0.1 else KINDS)
        )
        if course.stream.finished:
            break
    course.finish()
    course.judge()


# Secrets.


def test_nothing_shows_credentials() -> None:
    stream = up()
    for shown in (repr(stream.options), repr(stream.stats), repr(stream)):
        assert KEYS["api_secret"] not in shown
        assert KEYS["api_key"] not in shown


def test_an_offer_that_is_refused_is_told_and_one_that_is_taken_is_sent() -> None:
    stream = up()
    stream.take_events()
    stream.offer_options(1.0, model="openai/gpt-live-transcribe")
    (refusal,) = stream.take_events()
    assert isinstance(refusal, Diagnostic)
    assert refusal.kind == "settings_refused"
    assert stream.stats.diagnostics == 1
    stream.offer_options(1.0, language="fr")
    assert take(stream, 1.0) == [{"language": "fr"}]


def test_a_refused_offer_counts_towards_the_limit() -> None:
    stream = up(limits=Limits(unread_events=1))
    stream.offer_options(1.0, model="openai/gpt-live-transcribe")
    assert not now_readable(stream)
    assert now_deadline(stream) is None


def test_an_offer_to_a_stream_that_is_over_changes_nothing() -> None:
    stream = Connection(STTOptions())
    stream.close(0.0)
    stream.take_events()
    stream.offer_options(1.0, language="fr")
    assert stream.take_events() == []
