"""The other end: what a gateway tells its application, and what it puts up with (CONTRACT section 2, PROTOCOL 4.6)."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from lkstt_proto.actions import Connect, Disconnect, Ping
from lkstt_proto.connection import Connection
from lkstt_proto.errors import LocalProtocolError
from lkstt_proto.events import (
    AudioReceived,
    CloseRequested,
    FinalizeRequested,
    PeerLost,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    SpeechEvent,
    TimedWord,
)
from lkstt_proto.gateway import MAX_BRACKETS, Gateway, GatewayLimits
from lkstt_proto.options import Limits, STTOptions
from lkstt_proto.tables import LinkState, SessionState

CREATE: dict[str, Any] = {
    "model": "deepgram/nova-3",
    "settings": {"sample_rate": "16000", "encoding": "pcm_s16le", "language": "en", "extra": {}},
}
HELLO = SpeechData("en", "hello", 0.25, 1.0, 0.9, "S1", (TimedWord("hello", 0.25, 0.75, 0.8),), {"a": 1})


def say(gateway: Gateway, now: float, kind: str, /, **fields: Any) -> None:
    gateway.receive_text(json.dumps({"type": kind, **fields}), now)


def audio(gateway: Gateway, now: float, pcm: bytes) -> None:
    say(gateway, now, "input_audio", audio=b64encode(pcm).decode())


def waiting(now: float = 0.0, **given: Any) -> Gateway:
    """Its transport is open, and nothing was said."""
    gateway = Gateway(**given)
    gateway.transport_opened(now)
    return gateway


def active(now: float = 0.0, **given: Any) -> Gateway:
    """Its session is accepted; everything so far was taken."""
    gateway = waiting(now, **given)
    say(gateway, now, "session.create", **CREATE)
    gateway.accept(now, session_id="s1")
    take(gateway, now)
    gateway.take_events()
    return gateway


def take(gateway: Gateway, now: float, max_messages: int | None = None) -> list[Any]:
    actions = gateway.take_actions(now, max_messages)
    return [json.loads(action) if isinstance(action, bytes) else action for action in actions]


def looks(gateway: Gateway) -> tuple[Any, ...]:
    return (
        gateway.session_state, gateway.speaking, gateway.closing, gateway.audio_seconds, gateway.pending,
        gateway.deadline,
    )  # fmt: skip


def state(gateway: Gateway) -> SessionState:
    """Asked anew each time: what a test did in between may have changed it."""
    return gateway.session_state


def refused(gateway: Gateway, now: float) -> str:
    """It said error 400 and closes; give why."""
    error, disconnect = take(gateway, now)
    assert (error["type"], error["code"]) == ("error", 400)
    assert disconnect == Disconnect(code=1008)
    assert gateway.closing
    assert state(gateway) is SessionState.FAILED
    return str(error["message"])


# A session.


def test_a_session_is_requested_and_accepted() -> None:
    gateway = waiting()
    assert (gateway.session_state, gateway.deadline) == (SessionState.NEW, 10.0)
    say(gateway, 1.0, "session.create", **CREATE)
    assert gateway.take_events() == [SessionRequested("deepgram/nova-3", CREATE["settings"], 16000, "en")]
    assert take(gateway, 1.0) == []
    gateway.accept(1.5, session_id="s1")
    assert gateway.pending
    assert take(gateway, 1.5) == [{"type": "session.created", "session_id": "s1"}]
    assert (gateway.session_state, gateway.pending, gateway.take_events()) == (SessionState.STREAMING, False, [])


def test_a_session_may_leave_everything_to_the_gateway() -> None:
    gateway = waiting()
    say(gateway, 0.0, "session.create")
    assert gateway.take_events() == [SessionRequested(None, {}, 16000, "")]


def test_audio_is_received_with_its_place_in_the_session() -> None:
    gateway = waiting()
    assert gateway.audio_seconds == 0.0
    say(gateway, 0.0, "session.create", **CREATE)
    gateway.take_events()
    # It may come before session.created was sent.
    audio(gateway, 0.1, b"\1\2" * 800)
    audio(gateway, 0.2, b"\3\4" * 400)
    assert gateway.take_events() == [AudioReceived(b"\1\2" * 800, 0.0), AudioReceived(b"\3\4" * 400, 0.05)]
    assert gateway.audio_seconds == 0.075
    assert state(gateway) is SessionState.CREATING


def test_settings_finalize_and_close_are_passed_on() -> None:
    gateway = active()
    audio(gateway, 0.1, bytes(1600))
    say(gateway, 0.2, "session.update", settings={"language": "de"})
    say(gateway, 0.3, "session.finalize")
    assert state(gateway) is SessionState.FINALIZING
    say(gateway, 0.4, "session.finalize")
    say(gateway, 0.5, "session.close")
    assert gateway.take_events()[1:] == [
        SettingsChanged({"language": "de"}),
        FinalizeRequested(0.05),
        FinalizeRequested(0.05),
        CloseRequested(),
    ]
    assert state(gateway) is SessionState.ENDED
    assert take(gateway, 0.5) == []


def test_transcripts_go_out_in_session_time() -> None:
    gateway = active()
    gateway.start_of_speech(0.1)
    gateway.transcript(HELLO._replace(words=(), metadata=None, speaker_id=None), 0.2, final=False)
    gateway.preflight(HELLO, 0.3)
    gateway.transcript(HELLO, 0.4, final=True, request_id="r1")
    start, interim, preflight, final = take(gateway, 0.4)
    assert start == {"type": "start_of_speech"}
    assert interim == {
        "type": "interim_transcript", "transcript": "hello", "language": "en", "start": 0.25, "duration": 0.75,
        "confidence": 0.9, "words": [], "session_id": "s1",
    }  # fmt: skip
    assert preflight["type"] == "preflight_transcript"
    assert final == {
        "type": "final_transcript", "transcript": "hello", "language": "en", "start": 0.25, "duration": 0.75,
        "confidence": 0.9, "words": [{"word": "hello", "start": 0.25, "end": 0.75, "confidence": 0.8}],
        "speaker_id": "S1", "extra": {"a": 1}, "request_id": "r1", "session_id": "s1",
    }  # fmt: skip


def test_turns_open_and_close_as_on_the_other_end() -> None:
    gateway = active()
    empty = HELLO._replace(text="")
    wishes: list[Callable[[], None]] = [
        lambda: gateway.transcript(empty, 0.1, final=False),
        lambda: gateway.start_of_speech(0.1),
        lambda: gateway.transcript(empty, 0.1, final=False),
        lambda: gateway.transcript(empty, 0.1, final=True),
        lambda: gateway.transcript(HELLO, 0.1, final=False),
        lambda: gateway.transcript(HELLO, 0.1, final=True),
        lambda: gateway.preflight(HELLO, 0.1),
    ]
    speaking = []
    for wish in wishes:
        wish()
        speaking.append(gateway.speaking)
    assert speaking == [False, True, True, False, True, False, True]


def test_a_finalize_is_answered_and_the_session_stays_open() -> None:
    gateway = active()
    say(gateway, 0.1, "session.finalize")
    gateway.finalized(0.2)
    assert take(gateway, 0.2) == [{"type": "session.finalized"}]
    audio(gateway, 0.3, bytes(2))
    assert state(gateway) is SessionState.STREAMING
    assert not gateway.closing


def test_a_gateway_closes_politely_and_is_cut_after_two_seconds() -> None:
    gateway = active()
    say(gateway, 1.0, "session.close")
    gateway.close(1.5)
    assert gateway.closing
    assert take(gateway, 1.5) == [{"type": "session.closed"}, Disconnect(code=1000)]
    assert gateway.deadline == 3.5
    gateway.handle_timeout(3.5)
    assert take(gateway, 3.5, 0) == [Disconnect(abort=True)]
    assert take(gateway, 3.5) == []
    assert not gateway.pending


def test_a_cut_leaves_out_what_was_not_taken() -> None:
    gateway = active()
    gateway.transcript(HELLO, 0.1, final=True)
    gateway.close(0.2)
    gateway.handle_timeout(2.2)
    assert take(gateway, 2.2) == [Disconnect(abort=True)]


@pytest.mark.parametrize(
    ("code", "close_code"), [(400, 1008), (413, 1009), (429, 1013), (500, 1011), (599, 1011), (2007, 1008)]
)
def test_a_failure_is_said_and_closes(code: int, close_code: int) -> None:
    gateway = active()
    gateway.fail(1.0, code=code, message="no")
    assert take(gateway, 1.0) == [
        {"type": "error", "code": code, "message": "no", "session_id": "s1"},
        Disconnect(code=close_code),
    ]
    assert state(gateway) is SessionState.FAILED
    assert gateway.deadline == 3.0


def test_a_session_may_be_refused_at_once() -> None:
    gateway = waiting()
    gateway.fail(0.0, code=429, message="too many")
    assert take(gateway, 0.0)[0] == {"type": "error", "code": 429, "message": "too many"}


# Our own mistakes.


@pytest.mark.parametrize(
    "wish",
    [
        lambda gateway: gateway.accept(500.0, session_id="s1"),
        lambda gateway: gateway.start_of_speech(500.0),
        lambda gateway: gateway.transcript(HELLO, 500.0, final=True),
        lambda gateway: gateway.transcript(HELLO, 500.0, final=False),
        lambda gateway: gateway.preflight(HELLO, 500.0),
        lambda gateway: gateway.finalized(500.0),
        lambda gateway: gateway.close(500.0),
    ],
)
@pytest.mark.parametrize("make", [waiting, lambda: closed(active())], ids=["before create", "after close"])
def test_a_message_out_of_place_is_our_mistake_and_changes_nothing(
    make: Callable[[], Gateway], wish: Callable[[Gateway], None]
) -> None:
    gateway = make()
    before = looks(gateway)
    with pytest.raises(LocalProtocolError):
        wish(gateway)
    assert looks(gateway) == before
    # Not even the clock.
    assert take(gateway, 0.0) == []
    if not gateway.closing:
        say(gateway, 1.0, "session.create", **CREATE)
        assert gateway.deadline == 1801.0


def closed(gateway: Gateway) -> Gateway:
    gateway.close(0.0)
    take(gateway, 0.0)
    return gateway


def test_failing_twice_is_a_mistake() -> None:
    gateway = active()
    gateway.fail(0.0, code=500, message="one")
    with pytest.raises(LocalProtocolError):
        gateway.fail(0.0, code=500, message="two")
    assert len(take(gateway, 0.0)) == 2


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_our_mistake(number: float) -> None:
    gateway = active()
    before = looks(gateway)
    with pytest.raises(LocalProtocolError, match="finite"):
        gateway.transcript(HELLO._replace(confidence=number), 0.0, final=True)
    assert looks(gateway) == before


def test_one_gateway_serves_one_transport() -> None:
    for gateway in (waiting(), active(), closed(active())):
        with pytest.raises(LocalProtocolError):
            gateway.transport_opened(500.0)


# The client's mistakes.


@pytest.mark.parametrize("kind", ["input_audio", "session.update", "session.finalize", "session.close"])
def test_create_comes_first(kind: str) -> None:
    gateway = waiting()
    say(gateway, 0.1, kind, audio="", settings={})
    assert kind in refused(gateway, 0.1)
    assert gateway.take_events() == []


def test_create_comes_once() -> None:
    gateway = active()
    say(gateway, 0.1, "session.create", **CREATE)
    assert "session.create" in refused(gateway, 0.1)


def test_nothing_comes_after_close() -> None:
    gateway = active()
    say(gateway, 0.1, "session.close")
    audio(gateway, 0.2, bytes(2))
    refused(gateway, 0.2)
    assert gateway.take_events() == [CloseRequested()]


def test_close_twice_is_heard_once() -> None:
    gateway = active()
    say(gateway, 0.1, "session.close")
    say(gateway, 0.2, "session.close")
    assert gateway.take_events() == [CloseRequested()]
    assert not gateway.closing


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"type":7}',
        '{"type":"input_audio","audio":"AAA"}',
        '{"type":"input_audio","audio":"AAAA"}',
        '{"type":"input_audio"}',
        '{"type":"session.update","settings":7}',
        '{"type":"input_audio","audio":NaN}',
    ],
)
def test_what_cannot_be_read_is_answered_with_error_400(text: str) -> None:
    gateway = active()
    gateway.receive_text(text, 0.1)
    refused(gateway, 0.1)
    assert gateway.take_events() == []


def test_a_refusal_does_not_repeat_what_was_said() -> None:
    for text in ("correct-horse", '{"type":"input_audio","audio":"correct-horse"}'):
        gateway = active()
        gateway.receive_text(text, 0.1)
        assert "correct-horse" not in refused(gateway, 0.1)


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_a_binary_message_is_refused(data: Any) -> None:
    gateway = active()
    gateway.receive_binary(data, 0.1)
    assert "3 bytes" in refused(gateway, 0.1)


def test_an_unknown_type_may_be_of_a_newer_client() -> None:
    gateway = active()
    say(gateway, 0.1, "hologram")
    assert (take(gateway, 0.1), gateway.take_events(), gateway.closing) == ([], [], False)


def test_a_message_over_the_limit_is_refused() -> None:
    gateway = active(limits=Limits(message=200))
    audio(gateway, 0.1, bytes(400))
    refused(gateway, 0.1)


@pytest.mark.parametrize(
    "kind", [str, str.encode, lambda text: bytearray(text.encode()), lambda t: memoryview(t.encode())]
)
@pytest.mark.parametrize("value", ["[]", "{}"])
def test_a_message_of_very_many_objects_is_refused_before_it_is_decoded(value: str, kind: Callable[[str], Any]) -> None:
    for count, refused in ((MAX_BRACKETS - 2, False), (MAX_BRACKETS - 1, True)):
        gateway = active()
        gateway.receive_text(kind(f'{{"type":"newer","values":[{",".join([value] * count)}]}}'), 1.0)
        assert gateway.closing is refused
        assert len(take(gateway, 1.0)) == (2 if refused else 0)


def test_pings_and_pongs_do_not_keep_a_session_alive_that_says_nothing() -> None:
    gateway = active(patience=GatewayLimits(idle=10.0))
    gateway.transport_alive(9.0)
    gateway.handle_timeout(10.0)
    assert gateway.closing


def test_nothing_is_heard_after_the_last_word() -> None:
    gateway = closed(active())
    audio(gateway, 0.1, bytes(2))
    gateway.receive_text("{", 0.1)
    gateway.receive_binary(b"", 0.1)
    assert (take(gateway, 0.1), gateway.take_events()) == ([], [])


def test_text_or_its_utf8() -> None:
    gateway = waiting()
    gateway.receive_text(json.dumps({"type": "session.create", **CREATE}).encode(), 0.0)
    assert len(gateway.take_events()) == 1


# Time.


def test_a_client_that_never_creates_is_refused() -> None:
    gateway = waiting()
    gateway.transport_alive(9.0)
    gateway.handle_timeout(9.9)
    assert not gateway.pending
    gateway.handle_timeout(10.0)
    assert "10 s" in refused(gateway, 10.0)


def test_an_idle_session_ends_with_code_2007() -> None:
    gateway = active()
    audio(gateway, 60.0, bytes(2))
    # A pong is no message.
    gateway.transport_alive(100.0)
    assert gateway.deadline == 1860.0
    gateway.handle_timeout(1860.0)
    assert take(gateway, 1860.0) == [
        {"type": "error", "code": 2007, "message": "session closed due to agent inactivity", "session_id": "s1"},
        Disconnect(code=1008),
    ]


def test_patience_is_a_matter_of_choice() -> None:
    gateway = waiting(patience=GatewayLimits(create=1.0, idle=2.0, close=0.0))
    assert gateway.deadline == 1.0
    say(gateway, 0.5, "session.create", **CREATE)
    assert gateway.deadline == 2.5
    gateway.handle_timeout(2.5)
    # With no patience at all, idle and cut fall together.
    assert take(gateway, 2.5) == [Disconnect(abort=True)]


def test_too_early_and_twice_are_harmless() -> None:
    gateway = waiting()
    before = looks(gateway)
    gateway.handle_timeout(5.0)
    gateway.handle_timeout(5.0)
    assert looks(gateway) == before


# Taking and leaving.


def test_sixteen_messages_at_a_time() -> None:
    gateway = active()
    for _ in range(20):
        gateway.start_of_speech(0.0)
    assert take(gateway, 0.0, 0) == []
    assert len(take(gateway, 0.0, 3)) == 3
    assert len(take(gateway, 0.0, 100)) == 16
    assert len(take(gateway, 0.0)) == 1


def test_a_transport_that_is_gone_is_told_and_ends_everything() -> None:
    gateway = active()
    gateway.transcript(HELLO, 0.1, final=True)
    gateway.transport_closed(1.0, code=1001, reason="going away")
    assert gateway.take_events() == [PeerLost(1001, "going away")]
    assert (take(gateway, 1.0), gateway.deadline, gateway.closing) == ([], None, True)
    say(gateway, 2.0, "session.finalize")
    assert gateway.take_events() == []
    with pytest.raises(LocalProtocolError):
        gateway.finalized(2.0)


def test_a_transport_is_gone_once() -> None:
    gateway = active()
    gateway.transport_closed(1.0)
    gateway.take_events()
    before = looks(gateway)
    with pytest.raises(LocalProtocolError):
        gateway.transport_closed(500.0)
    assert looks(gateway) == before
    assert gateway.take_events() == []


def test_a_session_that_ended_before_its_transport_stays_ended() -> None:
    gateway = closed(active())
    gateway.transport_closed(1.0, code=1000)
    assert state(gateway) is SessionState.ENDED
    assert gateway.take_events() == [PeerLost(1000, "")]


# Both ends in memory.


def exchange(client: Connection, gateway: Gateway, now: float) -> None:
    """Carry messages, pings and closes both ways until nothing moves."""
    moving = True
    while moving:
        moving = False
        for action in client.take_actions(now):
            moving = True
            if isinstance(action, bytes):
                gateway.receive_text(action, now)
            elif isinstance(action, Ping):
                client.transport_alive(now)
            elif isinstance(action, Disconnect):
                gateway.transport_closed(now, code=action.code)
                client.transport_closed(now, code=action.code)
            elif isinstance(action, Connect):
                client.transport_opened(now)
                gateway.transport_opened(now)
        for action in gateway.take_actions(now):
            moving = True
            if isinstance(action, bytes):
                client.receive_text(action, now)


def test_a_client_and_a_gateway_hold_a_conversation() -> None:
    client, gateway = Connection(STTOptions(api_key="k", api_secret="s")), Gateway()
    client.start(0.0)
    exchange(client, gateway, 0.0)
    assert [type(event) for event in gateway.take_events()] == [SessionRequested]
    gateway.accept(0.1, session_id="s1")
    client.send_audio(bytes(32000), 0.1)
    client.end_input(0.2)
    exchange(client, gateway, 0.2)
    *received, finalize = gateway.take_events()
    assert b"".join(event.pcm for event in received if isinstance(event, AudioReceived)) == bytes(32000)
    assert finalize == FinalizeRequested(1.0)
    gateway.transcript(HELLO, 0.3, final=True, request_id="r1")
    gateway.finalized(0.3)
    # The final covers all audio, and so there is nothing to wait for.
    exchange(client, gateway, 0.3)
    assert client.link_state is LinkState.DONE
    spoken = [event for event in client.take_events() if isinstance(event, SpeechEvent)]
    assert [event.type for event in spoken] == [
        "start_of_speech", "recognition_usage", "final_transcript", "end_of_speech",
    ]  # fmt: skip
    assert spoken[2].alternatives == (HELLO,)
    assert gateway.take_events() == [CloseRequested(), PeerLost(1000, "")]
