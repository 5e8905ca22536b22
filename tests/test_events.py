"""What applications see: names and values that code of livekit-agents already knows, frozen, and silent in logs."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from lkstt_proto import events
from lkstt_proto.errors import ConnectionLost
from lkstt_proto.events import (
    AudioDropped,
    AudioReceived,
    CloseRequested,
    Diagnostic,
    Finalized,
    FinalizeRequested,
    GatewayEvent,
    PeerLost,
    RecognitionUsage,
    Reconnecting,
    Resumed,
    SessionCreated,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    TimedWord,
)

FAILURE = ConnectionLost("lost")
STREAM_EVENTS: list[StreamEvent] = [
    SessionCreated("s1"),
    Finalized(),
    Reconnecting(1, 0.1, FAILURE),
    Resumed(1, 2.0, 0.5, 0.0),
    AudioDropped(0.0, 1.0, "overflow"),
    Diagnostic("binary_message", "3 bytes"),
    StreamEnded(0.5),
    StreamFailed(FAILURE, 0.5),
]
GATEWAY_EVENTS: list[GatewayEvent] = [
    SessionRequested("deepgram/nova-3", {}, 16000, "en"),
    AudioReceived(b"\0\0", 0.0),
    SettingsChanged({"language": "de"}),
    FinalizeRequested(1.0),
    CloseRequested(),
    PeerLost(1000, ""),
]


def test_the_event_types_are_livekits() -> None:
    assert list(SpeechEventType) == [
        "start_of_speech",
        "interim_transcript",
        "preflight_transcript",
        "final_transcript",
        "recognition_usage",
        "end_of_speech",
    ]


def test_speech_fields_keep_names_and_defaults() -> None:
    assert TimedWord("a")._asdict() == {
        "text": "a", "start_time": 0.0, "end_time": 0.0, "confidence": 0.0, "speaker_id": None,
    }  # fmt: skip
    assert SpeechData("en", "a")._asdict() == {
        "language": "en", "text": "a", "start_time": 0.0, "end_time": 0.0, "confidence": 1.0, "speaker_id": None,
        "words": (), "metadata": None,
    }  # fmt: skip
    assert SpeechEvent(SpeechEventType.START_OF_SPEECH)._asdict() == {
        "type": "start_of_speech", "request_id": "", "alternatives": (), "recognition_usage": None, "audio_time": 0.0,
        "promoted": False,
    }  # fmt: skip
    assert RecognitionUsage(1.5) == RecognitionUsage(audio_duration=1.5, resent_duration=0.0)


@pytest.mark.parametrize(
    "value",
    [TimedWord("a"), SpeechData("en", "a"), SpeechEvent(SpeechEventType.END_OF_SPEECH), RecognitionUsage(1.0)],
    ids=lambda value: type(value).__name__,
)
def test_speech_is_frozen(value: Any) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value._fields[0], "other")


@pytest.mark.parametrize("event", [*STREAM_EVENTS, *GATEWAY_EVENTS], ids=lambda event: type(event).__name__)
def test_other_events_are_frozen_equal_by_value_and_printable(event: Any) -> None:
    assert event == attrs.evolve(event)
    assert repr(event).startswith(type(event).__name__)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.extra = 1


def test_what_was_said_does_not_show_in_a_repr() -> None:
    secret = "correct horse"
    word = TimedWord(secret, 0.5, 1.0, 0.9, "S1")
    data = SpeechData("en", secret, 0.5, 1.0, words=(word,), metadata={"prompt": secret})
    event = SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, "r1", (data,))
    for shown in (repr(word), repr(data), repr(event), str(event), f"{data}"):
        assert secret not in shown
        assert "13 characters" in shown
    assert "start_time=0.5" in repr(data)
    assert "metadata=<1 keys>" in repr(data)
    assert "metadata=None" in repr(SpeechData("en", secret))


def test_every_event_of_the_module_is_listed_here() -> None:
    bases = (StreamEvent, GatewayEvent)
    defined = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and issubclass(value, bases) and value not in bases
    }
    assert defined == {type(event) for event in [*STREAM_EVENTS, *GATEWAY_EVENTS]}
