"""What the streams of all adapters have in common."""

from __future__ import annotations

from typing import Any

import pytest

from lkstt_proto import AuthError, Limits, Reconnecting, Request, SessionCreated
from lkstt_transports.common import Binary, Closed, Pong, Text, UpgradeRefused
from tests.idle_adapter import Socket, Stream, stt


def opened(**settings: Any) -> tuple[Stream, Socket]:
    """A stream whose link is open and whose writer waits."""
    stream, socket = stt(**settings).stream(), Socket()
    assert isinstance(stream.wanted[0], Request)
    stream._opened(socket)
    assert b"session.create" in deeds(stream, socket)[0]
    stream.acts = 0
    return stream, socket


def deeds(stream: Stream, socket: Socket) -> list[Any]:
    """Let the writer do all there is; what was it?"""
    del socket.told[:]
    for _ in stream._deeds(socket):
        assert stream._writing
    assert not stream._writing
    return socket.told


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


def test_the_writer_is_woken_when_there_is_something_to_do_and_only_then() -> None:
    stream, socket = opened()
    woken = stream._work.woken
    stream.push_audio_nowait(bytes(1598))
    assert stream._work.woken == woken
    stream.push_audio_nowait(bytes(2))
    assert stream._work.woken == woken + 1
    assert b"input_audio" in deeds(stream, socket)[0]


def test_beside_a_stuck_write_there_are_pings_and_the_end() -> None:
    stream, socket = opened(limits=Limits(ping_interval=0.5, ping_timeout=0.5, close=0.5))
    stream.push_audio_nowait(bytes(1600))
    writing = stream._deeds(socket)
    next(writing)  # and never comes back
    for _ in range(3):
        stream.time += 1.0
        stream._time_out(stream.time)
    assert [wish for wish in stream.wanted if isinstance(wish, str)] == ["ping", "cut"]


def test_a_polite_end_is_said_and_an_impolite_one_done() -> None:
    stream, socket = opened(limits=Limits(close=0.5))
    stream._begin_close()
    goodbye, code = deeds(stream, socket)
    assert (b"session.close" in goodbye, code) == (True, 1000)
    stream.time += 1.0
    stream._time_out(stream.time)
    assert deeds(stream, socket) == []
    assert stream.wanted[-2:] == [float("inf"), "cut"]


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
    stream, socket = opened(limits=Limits(audio_buffer=0.1))
    stream._feed(memoryview(bytes(9000)))
    assert stream.stats.audio_pushed == 0.1
    sent = deeds(stream, socket)
    assert [b"input_audio" in told for told in sent] == [True] * 6 + [False]
    assert b"session.finalize" in sent[-1]
    assert stream.stats.audio_sent == 9000 / 32000


def test_feeding_stops_when_the_stream_is_closed() -> None:
    stream, socket = opened(limits=Limits(audio_buffer=0.1))
    stream._feed(memoryview(bytes(9000)))
    stream._begin_close()
    deeds(stream, socket)
    assert stream.stats.audio_pushed == 0.1


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
    stream.push_audio_nowait(bytes(640))
    stream.flush()
    stream.finalize()
    stream.update_options(language="de")
    stream.end_input()
    assert stream.acts == 5
    assert stream.stats.audio_pushed == 0.02
    stream._fail(UpgradeRefused(403))
    stream._closed()
    error = stream._connection.error
    assert error is not None
    for wish in (stream.flush, stream.finalize, stream.end_input, lambda: stream.push_audio_nowait(b"")):
        with pytest.raises(type(error)) as caught:
            wish()
        assert caught.value is error
