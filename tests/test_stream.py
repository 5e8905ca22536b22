"""What the streams of all adapters have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ctypes import c_int16
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto import AuthError, Limits, Reconnecting, Request, SessionCreated
from lkstt_proto.sender import BURST
from lkstt_transports.common import DONE, Binary, Closed, Pong, Text, UpgradeRefused
from tests.idle_adapter import Socket, Stream, stt


def opened(**settings: Any) -> tuple[Stream, Socket]:
    """A stream whose link is open."""
    stream, socket = stt(**settings).stream(), Socket()
    assert isinstance(stream.wanted[0], Request)
    stream._opened(socket)
    assert b"session.create" in told(socket)[0]
    stream.acts = 0
    return stream, socket


def told(socket: Socket) -> list[Any]:
    """Give what the socket was told since the last look."""
    told, socket.told = socket.told, []
    return told


def go_on(stream: Stream) -> None:
    """Be the writer who has waited."""
    stuck = stream._take_stuck()
    assert stuck is not DONE
    assert list(stuck.__await__()) == []
    stream._write()


def test_what_a_socket_gives_is_handed_in() -> None:
    stream, _ = opened()
    for received in (Text(b'{"type":"session.created"}'), Text('{"type":"new"}'), Binary(b"abc"), Pong()):
        assert stream._hand_in(received) is False
    created, *told = stream.events()
    assert isinstance(created, SessionCreated)
    assert [event.kind for event in told] == ["unknown_type", "binary_message"]
    assert stream.stats.messages_received == 3
    assert stream.acts == 5  # and one because there is room for more events


def test_the_end_of_a_socket_is_told_when_the_link_is_gone() -> None:
    stream, _ = opened()
    assert stream._hand_in(Closed(4321, "maintenance")) is True
    assert stream.events() == []
    stream._closed()
    (told,) = stream.events()
    assert (type(told), told.error.close_code) == (Reconnecting, 4321)
    stream.time = stream.wanted[-1]
    stream._time_out(stream.time)
    assert isinstance(stream.wanted[-2], Request)
    stream._fail(ExceptionGroup("of a nursery", [OSError(1, "no way"), UpgradeRefused(403)]))
    stream._closed()
    failed = stream.events
    with pytest.raises(AuthError):
        failed()


def test_a_link_that_just_went_away_is_told_as_that() -> None:
    stream, _ = opened()
    stream._closed()
    assert stream.events()[0].error.close_code == 1006


def test_what_the_socket_takes_is_done_at_once() -> None:
    stream, socket = opened()
    stream.push_audio_nowait(bytes(1598))
    assert told(socket) == []
    stream.push_audio_nowait(bytes(2))
    assert b"input_audio" in told(socket)[0]
    assert (stream._writing, stream._work.woken) == (False, 0)


def test_the_writer_is_woken_for_what_has_to_be_waited_for_and_goes_on_from_there() -> None:
    stream, socket = opened()
    socket.stuck = True
    stream.push_audio_nowait(bytes(4000))
    assert len(told(socket)) == 1
    assert (stream._writing, stream._work.woken) == (True, 1)
    stream.push_audio_nowait(bytes(1600))
    assert told(socket) == []
    go_on(stream)
    assert len(told(socket)) == 1
    socket.stuck = False
    go_on(stream)
    assert len(told(socket)) == 1
    assert stream._writing is False
    assert stream.stats.audio_sent == 4800 / 32000


def test_a_socket_that_can_gets_the_texts_that_come_first_together() -> None:
    class Generous(Socket):
        def send_texts(self, data: list[bytes]) -> Awaitable[None]:
            return self._tell(data)

    stream, socket = stt().stream(), Generous()
    stream._opened(socket)
    assert isinstance(told(socket)[0], bytes)
    stream.push_audio_nowait(bytes(3200))
    (together,) = told(socket)
    assert [b"input_audio" in text for text in together] == [True, True]
    stream._begin_close()
    goodbye, code = told(socket)
    assert (b"session.close" in goodbye[0], code) == (True, 1000)
    stream._closed()


def test_what_raises_is_left_at_that() -> None:
    stream, socket = opened()
    socket.told = None  # type: ignore[assignment] # so that it breaks
    stream.push_audio_nowait(bytes(1600))
    assert (stream._writing, stream._work.woken) == (True, 0)
    socket.told = []
    stream.push_audio_nowait(bytes(1600))
    assert socket.told == []


def test_a_link_that_failed_to_write_is_pinged_no_more_so_that_it_counts_as_lost() -> None:
    stream, socket = opened(limits=Limits(ping_interval=0.5, ping_timeout=0.5, close=0.5))
    socket.told = None  # type: ignore[assignment] # so that it breaks
    stream.push_audio_nowait(bytes(1600))
    for _ in range(3):
        stream.time += 1.0
        stream._time_out(stream.time)
    assert [wish for wish in stream.wanted if isinstance(wish, str)] == ["cut"]
    stream._closed()


def test_nothing_is_left_of_a_write_when_the_link_is_gone() -> None:
    stream, socket = opened()
    socket.stuck = True
    stream.push_audio_nowait(bytes(3200))
    stream._closed()  # before the writer came to wait
    assert stream._take_stuck() is DONE
    stream.time += 1.0
    stream._time_out(stream.time)
    again = Socket()
    stream._opened(again)
    assert [b"input_audio" in said for said in again.told] == [False, True]  # and more at its own pace


def test_pushing_waits_only_for_what_has_no_room() -> None:
    stream, socket = opened(limits=Limits(audio_buffer=0.1))
    assert stream._push(bytes(10_000)) == b""
    assert len(told(socket)) == 6
    socket.stuck = True
    rest = stream._push(bytes(10_000))
    assert rest is not None
    assert len(rest) == 4000
    assert len(told(socket)) == 1
    stream._closed()


@pytest.mark.parametrize("size", [2, 640, 4097, 6000, 10_000, 16_000, 32_000])
def test_pushes_of_any_size_wait_instead_of_dropping_however_little_the_socket_takes(size: int) -> None:
    stream, socket = opened(limits=Limits(audio_buffer=1.0))
    assert not stream._push(bytes(640))
    for _ in range(2):
        socket.stuck = True
        pushed = 640
        while not (rest := stream._push(bytes(size))):
            pushed += size
            assert pushed <= 64_000
        for _ in range(3):  # again, and others, or who was cancelled and comes again
            assert stream._push(rest) == rest
            assert stream._push(bytes(640)) == bytes(640)
        socket.stuck = False
        go_on(stream)
        assert not stream._push(rest)
    assert stream.stats.audio_dropped == 0.0
    assert stream.events() == []
    stream._closed()


def test_who_finds_no_room_wakes_nobody_else_who_waits_for_some() -> None:
    stream, socket = opened(limits=Limits(audio_buffer=0.1))
    socket.stuck = True
    rest = stream._push(bytes(10_000))
    assert rest
    stream._moved.waiting, stream._moved.woken = 1, 0
    assert stream._push(rest) == rest
    assert stream._moved.woken == 0
    stream._closed()


def test_pushes_of_all_kinds_share_the_room() -> None:
    stream = stt(limits=Limits(audio_buffer=0.1)).stream()  # which has no link yet
    assert not stream._push(bytes(1000))
    stream.push_audio_nowait(bytes(2000))
    assert stream._push(bytes(300)) == bytes(100)
    assert stream.stats.audio_dropped == 0.0
    assert stream.stats.audio_unsent == 0.1


def test_messages_that_follow_each_other_too_fast_for_a_microphone_go_together_a_turn_later() -> None:
    stream, socket = opened()
    assert not stream._push(bytes(1600))
    assert len(told(socket)) == 1
    for _ in range(2):  # turns
        for _ in range(4):
            assert not stream._push(bytes(1600))
        assert told(socket) == []
        assert stream._work.woken == 1
        stream._calm_down()
        assert len(told(socket)) == 4
        stream._work.woken = 0
    stream.time += BURST
    for _ in range(3):
        assert not stream._push(bytes(1600))
        assert len(told(socket)) == 1
        stream.time += 0.05
    assert stream._work.woken == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda stream: stream.flush(),
        lambda stream: stream.end_input(),
        lambda stream: stream.push_audio_nowait(bytes(1600)),
        lambda stream: stream._hand_in(Pong()),
        lambda stream: stream._time_out(stream.time),
        lambda stream: stream._begin_close(),
    ],
    ids=["flush", "end of input", "pushed at once", "pong", "timer", "close"],
)
def test_whatever_else_happens_in_a_burst_sends_what_was_held_back(act: Callable[[Stream], object]) -> None:
    stream, socket = opened()
    for _ in range(4):
        stream._push(bytes(1600))
    assert len(told(socket)) == 1
    act(stream)
    assert sum(b"input_audio" in said for said in told(socket) if isinstance(said, bytes)) >= 3
    stream._calm_down()  # as it was to be
    assert stream._connection.pending is False


def test_what_no_burst_holds_back_needs_nobody_to_send_it() -> None:
    stream = stt().stream()  # which has no link yet
    for _ in range(4):
        stream._push(bytes(1600))
    socket = Socket()
    stream._opened(socket)
    assert len(told(socket)) == 5
    socket.stuck = True
    stream.time += BURST
    for _ in range(4):
        stream._push(bytes(1600))
    assert len(told(socket)) == 1
    socket.stuck = False
    go_on(stream)
    assert len(told(socket)) == 3
    stream._push(bytes(1600))
    assert stream._hurried
    stream._closed()  # and with it the writer
    assert not stream._hurried
    stream.time += 1.0
    stream._time_out(stream.time)
    stream._opened(socket)
    told(socket)
    stream.time += 1.0
    stream._push(bytes(1600))
    assert stream.stats.audio_unsent == 0.0
    stream._closed()


STEPS = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 9000)),
    st.tuples(st.just("wait"), st.sampled_from([BURST / 2, BURST, 0.05])),
    st.tuples(st.sampled_from(["turn", "stick", "flush", "push at once"]), st.just(0)),
)


@given(st.lists(STEPS, max_size=60))
def test_audio_that_could_go_waits_only_for_somebody_who_was_woken(steps: list[tuple[str, float]]) -> None:
    def turn() -> None:
        """Be the writer."""
        stream._work.woken = 0
        socket.stuck = False
        if stream._writing:
            go_on(stream)
        if stream._hurried:
            stream._calm_down()

    stream, socket = opened(limits=Limits(audio_buffer=1.0, ahead=60.0))
    for step, amount in steps:
        if step == "push":
            stream._push(bytes(int(amount)))
        elif step == "wait":
            stream.time += amount
        elif step == "turn":
            turn()
        elif step == "stick":
            socket.stuck = True
        elif step == "flush":
            stream.flush()
        else:
            stream.push_audio_nowait(bytes(700))
        if stream._connection.pending:
            assert stream._work.woken
    turn()
    assert stream.stats.audio_unsent < 0.05
    stream._closed()


@pytest.mark.parametrize("size", [0, 160, 640, 1600, 16_000])
def test_others_get_a_turn_after_so_much_audio_or_so_many_pushes(size: int) -> None:
    stream, _ = opened()
    for _ in range(3):
        pushes = 1
        while stream._push(bytes(size)) is None:
            pushes += 1
            assert pushes * size <= 40_000
            assert pushes < 300


def test_others_get_a_turn_before_there_is_a_link_as_well() -> None:
    stream = stt().stream()
    assert {stream._push(bytes(640)) for _ in range(50)} == {None, b""}


def test_a_buffer_without_a_length_may_be_pushed() -> None:
    stream, _ = opened()
    assert [stream._push(c_int16(1)) for _ in range(800)] == [None] * 800
    assert stream.stats.audio_pushed == 0.05


def test_beside_a_stuck_write_there_are_pings_and_the_end() -> None:
    stream, socket = opened(limits=Limits(ping_interval=0.5, ping_timeout=0.5, close=0.5))
    socket.stuck = True
    stream.push_audio_nowait(bytes(1600))  # which nobody waits for
    for _ in range(3):
        stream.time += 1.0
        stream._time_out(stream.time)
    assert [wish for wish in stream.wanted if isinstance(wish, str)] == ["ping", "cut"]
    stream._closed()


def test_a_polite_end_is_said_and_an_impolite_one_done() -> None:
    stream, socket = opened(limits=Limits(close=0.5))
    stream._begin_close()
    goodbye, code = told(socket)
    assert (b"session.close" in goodbye, code) == (True, 1000)
    stream.time += 1.0
    stream._time_out(stream.time)
    assert told(socket) == []
    assert stream.wanted[-2:] == ["cut", float("inf")]


def test_the_timer_is_set_anew_only_for_something_earlier_or_nothing() -> None:
    stream, _ = opened()
    armed = stream.wanted[-1]
    stream.time += 0.5
    stream._hand_in(Pong())  # which puts everything off
    assert stream.wanted[-1] == armed
    deadline = stream._connection.deadline
    assert deadline is not None
    assert deadline > armed
    stream._time_out(armed)
    assert stream.wanted[-1] == deadline


def test_readers_are_woken_for_events_and_the_others_for_anything() -> None:
    stream, _ = opened()
    stream._hand_in(Pong())
    assert (stream._news.woken, stream._moved.woken) == (0, 0)
    stream._news.waiting = stream._moved.waiting = 1
    stream._hand_in(Pong())
    assert (stream._news.woken, stream._moved.woken) == (0, 1)
    stream._hand_in(Text('{"type":"session.created"}'))
    assert (stream._news.woken, stream._moved.woken) == (1, 2)
    assert isinstance(stream._take_event(), SessionCreated)


def test_a_recording_is_fed_as_room_comes_and_the_input_ends_behind_it() -> None:
    stream = Stream(stt(limits=Limits(audio_buffer=0.1))._make_connection(None, 0.0))
    stream._feed(memoryview(bytes(9000)))
    assert stream.stats.audio_pushed == 0.1
    stream._start()
    socket = Socket()
    stream._opened(socket)
    _, *sent = told(socket)
    assert [b"input_audio" in said for said in sent] == [True] * 6 + [False]
    assert b"session.finalize" in sent[-1]
    assert stream.stats.audio_sent == 9000 / 32000


def test_feeding_stops_when_the_stream_is_closed() -> None:
    stream, socket = opened(limits=Limits(audio_buffer=0.1))
    socket.stuck = True
    stream._feed(memoryview(bytes(9000)))
    stream._begin_close()
    pushed = stream.stats.audio_pushed
    assert pushed < 9000 / 32000
    socket.stuck = False
    go_on(stream)
    assert stream.stats.audio_pushed == pushed


def test_a_stream_that_was_closed_before_it_began_stays_so() -> None:
    stream = Stream(stt()._make_connection(None, 0.0))
    stream._begin_close()
    stream._start()
    assert stream.wanted == []
    assert len(stream.events()) == 1


def test_wishes_are_acted_upon_and_a_failure_is_raised_as_it_is() -> None:
    speech = stt(limits=Limits(audio_buffer=0.1))
    stream = speech.stream()
    stream.acts = 0
    stream.push_audio_nowait(bytes(640))  # which fills no message
    stream.flush()
    stream.finalize()
    stream.update_options(language="de")
    stream.end_input()
    assert stream.acts == 4
    assert stream.stats.audio_pushed == 0.02
    stream._fail(UpgradeRefused(403))
    stream._closed()
    error = stream._connection.error
    assert error is not None
    for wish in (stream.flush, stream.finalize, stream.end_input, lambda: stream.push_audio_nowait(b"")):
        with pytest.raises(type(error)) as caught:
            wish()
        assert caught.value is error
