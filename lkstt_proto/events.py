"""What applications see.

``SpeechEvent`` and its parts keep the names and values of livekit-agents, so that code moves over by changing an
import. Everything else a stream has to tell is a ``StreamEvent``. All of them are complete and frozen when born.

``TimedWord``, ``SpeechData`` and ``SpeechEvent`` are NamedTuples: they are born some forty times a second, and a tuple
costs half of what a frozen attrs object does.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from attrs import field, frozen

from .errors import SttError


class SpeechEventType(StrEnum):
    """What a ``SpeechEvent`` tells; the values are livekit-agents' own."""

    START_OF_SPEECH = "start_of_speech"
    INTERIM_TRANSCRIPT = "interim_transcript"
    PREFLIGHT_TRANSCRIPT = "preflight_transcript"
    FINAL_TRANSCRIPT = "final_transcript"
    RECOGNITION_USAGE = "recognition_usage"
    END_OF_SPEECH = "end_of_speech"


def _private_repr(value: Any) -> str:
    """Show all fields but what was said: a repr ends up in logs and tracebacks, and speech must not."""
    shown = {**value._asdict(), "text": f"<{len(value.text)} characters>"}
    if value.speaker_id is not None:  # with some providers a name
        shown["speaker_id"] = _length(value.speaker_id)
    if shown.get("metadata"):
        shown["metadata"] = f"<{len(shown['metadata'])} keys>"
    return f"{type(value).__name__}({', '.join(f'{name}={field}' for name, field in shown.items())})"


def _length(value: str | bytes) -> str:
    return f"<{len(value)} {'characters' if isinstance(value, str) else 'bytes'}>"


def _names(settings: Mapping[str, Any]) -> str:
    return f"<{', '.join(settings)}>"


class TimedWord(NamedTuple):
    """One word with its place in the stream (PROTOCOL 3.1)."""

    text: str
    start_time: float = 0.0
    """Seconds since the first sample of the stream."""
    end_time: float = 0.0
    """Seconds since the first sample of the stream."""
    confidence: float = 0.0
    """0 to 1; 0 when the gateway gave none."""
    speaker_id: str | None = None

    def __repr__(self) -> str:
        return _private_repr(self)


class SpeechData(NamedTuple):
    """One transcript (PROTOCOL 3.1)."""

    language: str
    """Normalised code; the stream's own where the gateway gave none."""
    text: str
    start_time: float = 0.0
    """Seconds since the first sample of the stream."""
    end_time: float = 0.0
    """Seconds since the first sample of the stream; never beyond the audio sent."""
    confidence: float = 1.0
    """0 to 1; 1 when the gateway gave none."""
    speaker_id: str | None = None
    words: tuple[TimedWord, ...] = ()
    metadata: Mapping[str, Any] | None = None
    """The provider's own ``extra`` object, untouched; None when absent or empty."""

    def __repr__(self) -> str:
        return _private_repr(self)


class RecognitionUsage(NamedTuple):
    """Audio handed to the transport since the last usage event, in seconds (CONTRACT decision 3)."""

    audio_duration: float
    """Handed over for the first time; sums to the unique audio of the stream."""
    resent_duration: float = 0.0
    """Handed over again after a cut."""


class SpeechEvent(NamedTuple):
    """One step of a conversation: an onset, a transcript, a usage report or the end of a turn."""

    type: SpeechEventType
    request_id: str = ""
    """The gateway's id for the request; empty on start and end of speech."""
    alternatives: tuple[SpeechData, ...] = ()
    recognition_usage: RecognitionUsage | None = None
    audio_time: float = 0.0
    """Highest stream position handed to the transport when the event was made, in seconds."""
    promoted: bool = False
    """True for a final made from the last interim, because none came before the end."""


@frozen
class StreamEvent:
    """Base of everything a stream tells beside speech."""


@frozen
class SessionCreated(StreamEvent):
    """The gateway accepted ``session.create``."""

    session_id: str | None = None


@frozen
class Finalized(StreamEvent):
    """The gateway says it finalised what was sent; transcripts may still follow."""


@frozen
class Reconnecting(StreamEvent):
    """A session failed; another attempt follows."""

    attempt: int
    """Failures of this outage so far, this one included."""
    delay: float
    """Seconds until the attempt."""
    error: SttError
    """Why the session failed."""


@frozen
class Resumed(StreamEvent):
    """A new session took over after a failure."""

    attempt: int
    """Failures of the outage that ends here."""
    audio_time: float
    """Stream position of the first sample the new session gets, in seconds."""
    resent_duration: float
    """Seconds of audio that will be handed over again."""
    estimated_duration: float
    """Seconds acknowledged only by estimate since the last exact final: not resent, though perhaps unheard."""


@frozen
class AudioDropped(StreamEvent):
    """Audio that no gateway will get any more."""

    start: float
    """Stream position in seconds."""
    end: float
    """Stream position in seconds."""
    cause: str
    """``overflow``: more waited than ``Limits.audio_buffer``; ``unacknowledged``: sent, cut off, and no longer kept."""


@frozen
class Diagnostic(StreamEvent):
    """Something the peer sent was skipped or mended; never carries content."""

    kind: str
    """One of ``invalid_message``, ``binary_message``, ``unknown_type``, ``unexpected_message``, ``invalid_field``,
    ``settings_refused``, ``endpointer_failed``."""
    detail: str
    """Names of fields, kinds and lengths."""


@frozen
class StreamEnded(StreamEvent):
    """The stream ended as asked."""

    unacknowledged_seconds: float = 0.0
    """Audio pushed that no final and no confirmed silence stands for."""


@frozen
class StreamFailed(StreamEvent):
    """The stream ended with an error; adapters raise ``error`` after this event."""

    error: SttError
    unacknowledged_seconds: float = 0.0
    """Audio pushed that no final and no confirmed silence stands for."""


Event = SpeechEvent | StreamEvent
"""Everything ``Connection.take_events`` may give."""


@frozen
class GatewayEvent:
    """Base of what the gateway role tells its application."""


@frozen
class SessionRequested(GatewayEvent):
    """``session.create`` arrived; answer with ``Gateway.accept`` or ``Gateway.fail``."""

    model: str | None
    settings: Mapping[str, Any] = field(repr=_names)
    """The message's ``settings`` object as sent."""
    sample_rate: int
    """Hz."""
    language: str
    """Empty when none was given."""


@frozen
class AudioReceived(GatewayEvent):
    """Audio arrived."""

    pcm: bytes = field(repr=_length)
    """Signed 16-bit little-endian mono, whole samples."""
    start: float
    """Seconds since the first sample of the session."""


@frozen
class SettingsChanged(GatewayEvent):
    """``session.update`` arrived."""

    settings: Mapping[str, Any] = field(repr=_names)
    """Only what changed."""


@frozen
class FinalizeRequested(GatewayEvent):
    """``session.finalize`` arrived; send what is final, then call ``Gateway.finalized``."""

    audio_time: float
    """Seconds of audio received so far."""


@frozen
class CloseRequested(GatewayEvent):
    """``session.close`` arrived; send what is final, then call ``Gateway.close``."""


@frozen
class PeerLost(GatewayEvent):
    """The transport closed."""

    code: int
    reason: str = field(repr=_length)
