"""What all adapters have in common for applications."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lkstt_proto import (
    AuthError,
    Connection,
    Diagnostic,
    InsecureTransport,
    Limits,
    LocalProtocolError,
    Reconnecting,
    Request,
    SessionCreated,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    TimedWord,
)
from lkstt_transports.base import BaseStream, BaseSTT, STTCapabilities, join_finals
from lkstt_transports.common import Binary, Closed, Pong, Text, UpgradeRefused

SECRET = "a-secret-of-at-least-thirty-two-bytes"
VARIABLES = [f"LIVEKIT_{prefix}API_{name}" for prefix in ("INFERENCE_", "") for name in ("KEY", "SECRET")]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "LIVEKIT_INFERENCE_URL", "LIVEKIT_URL"):
        monkeypatch.delenv(name, raising=False)


class Lot:
    """Nobody waits here, unless said otherwise."""

    def __init__(self) -> None:
        self.waiting = self.woken = 0

    def __len__(self) -> int:
        return self.waiting

    def unpark_all(self) -> None:
        self.woken += 1


class Socket:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def send_text(self, data: bytes) -> None:
        self.told.append(data)

    def ping(self) -> None:
        self.told.append("ping")

    def close(self, code: int) -> None:
        self.told.append(code)


class Stream(BaseStream[Lot]):
    """A stream whose clock stands still until it is moved, and whose adapter writes down what is wanted of it."""

    def __init__(self, connection: Connection) -> None:
        self.time = 1.0
        self.wanted: list[Any] = []
        self.acts = 0
        super().__init__(connection, Lot)

    def _now(self) -> float:
        return self.time

    def _arm(self, deadline: float) -> None:
        self.wanted.append(deadline)

    def _dial(self, request: Request) -> None:
        self.wanted.append(request)

    def _cut(self) -> None:
        self.wanted.append("cut")

    def _ping(self) -> None:
        self.wanted.append("ping")

    def _act(self) -> None:
        self.acts += 1
        super()._act()

    def events(self) -> list[Any]:
        events = []
        try:
            while (event := self._take_event()) is not None:
                events.append(event)
        except StopAsyncIteration:
            pass
        return events


class STT(BaseSTT[Stream]):
    def stream(self, language: str | None = None) -> Stream:
        stream = Stream(self._make_connection(language, 0.0))
        self._register(stream)
        stream._start()
        return stream


def stt(model: str | None = "deepgram/nova-3", **settings: Any) -> STT:
    return STT(model, api_key="key", api_secret=SECRET, **settings)


class Endpointer:
    def __init__(self, rate: int = 0) -> None:
        self.rate = rate
        self.frames = 0

    def push(self, pcm: bytes) -> bool:
        self.frames += 1
        return False


# Making one.


def test_missing_credentials_name_the_variables() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        STT()
    assert all(name in str(caught.value) for name in VARIABLES)


def test_the_environment_is_read_where_nothing_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    monkeypatch.setenv("LIVEKIT_INFERENCE_URL", "https://gateway.example/v1")
    shown = repr(STT())
    assert "https://gateway.example/v1" in shown
    assert SECRET not in shown
    assert "https://other.example/v1" in repr(STT(base_url="https://other.example/v1"))


def test_values_that_cannot_be_are_refused_at_once() -> None:
    with pytest.raises(LocalProtocolError):
        stt(sample_rate=0)
    with pytest.raises(InsecureTransport):
        stt(base_url="http://192.0.2.1/v1")
    assert stt(base_url="http://192.0.2.1/v1", allow_insecure=True).model == "deepgram/nova-3"


def test_it_names_itself() -> None:
    speech = STT.from_model_string("assemblyai/universal-streaming:fr", api_key="key", api_secret=SECRET)
    assert (speech.model, speech.provider) == ("assemblyai/universal-streaming", "livekit")
    assert speech.label == f"{__name__}.STT"
    assert repr(speech).startswith(f"<{__name__}.STT ")
    assert "'fr'" in repr(speech)
    assert stt(None).model == "auto"


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("deepgram/nova-3", {}, STTCapabilities(aligned_transcript="word", keyterms=True)),
        ("auto", {}, STTCapabilities()),
        ("deepgram/nova-3", {"fallback": "cartesia/ink-2"}, STTCapabilities(keyterms=True)),
        (
            "deepgram/nova-3",
            {"fallback": ["assemblyai/universal-streaming:fr"]},
            STTCapabilities(aligned_transcript="word", keyterms=True),
        ),
        (
            "assemblyai/u3-rt-pro",
            {"extra_kwargs": {"speaker_labels": True}},
            STTCapabilities(aligned_transcript="word", keyterms=True, chat_context=True, diarization=True),
        ),
        (
            "xai/stt-1",
            {"extra_kwargs": {"diarize": "false"}},
            STTCapabilities(aligned_transcript="word", diarization=True),
        ),
        ("xai/stt-1", {"extra_kwargs": {"diarization": "None"}}, STTCapabilities(aligned_transcript="word")),
        ("xai/stt-1", {"extra_kwargs": {"diarize": False}}, STTCapabilities(aligned_transcript="word")),
    ],
)
def test_capabilities_come_from_the_catalogue(model: str, settings: Any, expected: STTCapabilities) -> None:
    assert stt(model, **settings).capabilities == expected


def test_capabilities_are_frozen_and_follow_the_model() -> None:
    speech = stt()
    with pytest.raises(AttributeError):
        speech.capabilities.keyterms = False  # type: ignore[misc] # what is tested
    speech.update_options(model="inworld/inworld-stt-1")
    assert speech.capabilities == STTCapabilities()


# Endpointers.


def test_an_endpointer_is_made_for_models_that_need_one() -> None:
    made: list[Endpointer] = []

    def make(rate: int) -> Endpointer:
        made.append(Endpointer(rate))
        return made[-1]

    speech = stt("openai/gpt-live-transcribe", endpointer=make)
    for _ in range(2):
        speech.stream().push_audio_nowait(bytes(960))
    assert [(endpointer.rate, endpointer.frames) for endpointer in made] == [(24000, 1), (24000, 1)]


def test_a_given_endpointer_is_used_as_it_is() -> None:
    endpointer = Endpointer()
    stt("speechmatics/enhanced", endpointer=endpointer).stream().push_audio_nowait(bytes(640))
    assert endpointer.frames == 1


def test_models_that_need_none_get_none() -> None:
    endpointer = Endpointer()
    stt(endpointer=endpointer).stream().push_audio_nowait(bytes(640))
    assert endpointer.frames == 0


def test_the_default_endpointer_is_missed_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    stt("openai/gpt-live-transcribe").stream().push_audio_nowait(bytes(960))
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(LocalProtocolError, match="lkstt\\[vad\\]"):
        stt("openai/gpt-live-transcribe")
    speech = stt()
    with pytest.raises(LocalProtocolError, match="lkstt\\[vad\\]"):
        speech.update_options(model="speechmatics/enhanced")
    assert speech.model == "deepgram/nova-3"


# Options.


def test_new_streams_take_new_options() -> None:
    speech = stt(language="en", extra_kwargs={"punctuate": True})
    speech.update_options(language="de", extra={"diarize": True})
    speech.update_options(model="deepgram/nova-2:fr")
    assert speech.capabilities.diarization
    assert speech.model == "deepgram/nova-2"
    assert "'fr'" in repr(speech)
    assert "punctuate" in repr(speech)


def test_wrong_values_change_nothing_and_are_the_callers_fault() -> None:
    speech = stt()
    stream = speech.stream()
    wrong: Any = [{"keyterms": 3}, {"extra": {"x": object()}}, {"language": 3}, {"model": 3}]
    for changes in wrong:
        with pytest.raises(LocalProtocolError):
            speech.update_options(**{"model": "deepgram/nova-2", **changes})
    assert speech.model == "deepgram/nova-3"
    assert stream.events() == []


def test_a_live_stream_that_cannot_change_says_so_once() -> None:
    speech = stt()
    stream = speech.stream()
    ended = speech.stream()
    ended._begin_close()
    ended._closed()
    assert ended._connection.finished
    before = len(ended.events())
    speech.update_options(model="assemblyai/universal-streaming")
    (told,) = stream.events()
    assert isinstance(told, Diagnostic)
    assert told.kind == "settings_refused"
    assert before
    assert ended.events() == []


def test_keyterms_are_kept_for_new_streams() -> None:
    speech = stt()
    speech.update_options(keyterms=["Longbourn"])
    stream = speech.stream()
    socket = Socket()
    stream._opened(socket)
    assert list(stream._deeds(socket)) == [None]
    assert b'"Longbourn"' in socket.told[0]


# Streams.


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


def test_no_stream_after_the_end() -> None:
    speech = stt()
    assert speech._registered(closing=True) == ()
    with pytest.raises(LocalProtocolError):
        speech.stream()


# Recognising.


def final(text: str, start: float, end: float, *, speaker: str | None = None, promoted: bool = False) -> SpeechEvent:
    words = (TimedWord(text, start, end),)
    data = SpeechData("en", text, start, end, end / 4, speaker, words)
    return SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, f"r{end}", (data,), audio_time=end, promoted=promoted)


def test_finals_join_to_one() -> None:
    event = join_finals([final("one", 0.5, 1.0), final("", 1.0, 1.0), final("two", 1.0, 2.0, promoted=True)], None)
    (data,) = event.alternatives
    assert (event.type, event.request_id, event.audio_time, event.promoted) == (
        SpeechEventType.FINAL_TRANSCRIPT,
        "r2.0",
        2.0,
        True,
    )
    assert (data.language, data.text, data.start_time, data.end_time) == ("en", "one two", 0.5, 2.0)
    assert data.confidence == 0.375
    assert [word.text for word in data.words] == ["one", "two"]


def test_a_speaker_is_kept_if_it_is_the_only_one() -> None:
    same = join_finals([final("a", 0, 1, speaker="A"), final("b", 1, 2, speaker="A")], None)
    mixed = join_finals([final("a", 0, 1, speaker="A"), final("b", 1, 2, speaker="B")], None)
    assert same.alternatives[0].speaker_id == "A"
    assert mixed.alternatives[0].speaker_id is None


@pytest.mark.parametrize("finals", [[], [final("", 0.0, 1.0)]])
def test_nothing_said_is_an_empty_final(finals: list[SpeechEvent]) -> None:
    event = join_finals(finals, "de")
    assert event.type is SpeechEventType.FINAL_TRANSCRIPT
    assert (event.alternatives[0].language, event.alternatives[0].text) == ("de", "")
