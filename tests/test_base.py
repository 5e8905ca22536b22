"""What all adapters have in common for applications."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from lkstt_proto import (
    Diagnostic,
    InsecureTransport,
    LocalProtocolError,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    TimedWord,
)
from lkstt_transports.base import STTCapabilities, join_finals
from tests.idle_adapter import SECRET, STT, Socket, stt

VARIABLES = [f"LIVEKIT_{prefix}API_{name}" for prefix in ("INFERENCE_", "") for name in ("KEY", "SECRET")]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "LIVEKIT_INFERENCE_URL", "LIVEKIT_URL"):
        monkeypatch.delenv(name, raising=False)


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
    assert speech.label == "tests.idle_adapter.STT"
    assert repr(speech).startswith("<tests.idle_adapter.STT ")
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
    assert b'"Longbourn"' in socket.told[0]


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
