"""Messages of both ends as they are sent: each encoder gives the UTF-8 of one text message (PROTOCOL 2 and 3).

Where a message never changes, it is a constant. Where audio goes, it is a prefix, base64 and a closing brace.
"""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONEncoder
from struct import iter_unpack
from typing import TYPE_CHECKING, Any

from .events import SpeechData, TimedWord
from .messages import TranscriptKind
from .speed import encode_base64

if TYPE_CHECKING:
    from typing_extensions import Buffer

_encode_utf8 = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Encode one message, compactly, keys in the order given.

    A message with a lone surrogate, which UTF-8 does not have, is written in escapes. Raises ValueError for NaN and
    infinity.
    """
    try:
        return _encode_utf8(value).encode()
    except UnicodeEncodeError:
        return _encode_ascii(value).encode()


FINALIZE = encode_json({"type": "session.finalize"})
CLOSE = encode_json({"type": "session.close"})
START_OF_SPEECH = encode_json({"type": "start_of_speech"})
SESSION_FINALIZED = encode_json({"type": "session.finalized"})
SESSION_CLOSED = encode_json({"type": "session.closed"})


_AUDIO, _END = b'{"type":"input_audio","audio":"', b'"}'
_join = b"".join


def encode_audio(pcm: Buffer) -> bytes:
    """Encode ``input_audio`` (PROTOCOL 2.2)."""
    return _join((_AUDIO, encode_base64(pcm), _END))


def encode_pieces(pcm: bytes | bytearray, size: int) -> list[bytes]:
    """Encode an ``input_audio`` for each ``size`` bytes, the last one for what is left."""
    left = len(pcm) % size
    if left:
        return [*encode_pieces(pcm[:-left], size), encode_audio(pcm[-left:])]
    # As ``encode_audio``, without a call for each.
    return [_join((_AUDIO, encode_base64(piece), _END)) for (piece,) in iter_unpack(f"{size}s", pcm)]


def encode_session_create(body: Mapping[str, Any]) -> bytes:
    """Encode ``session.create`` (PROTOCOL 2.1); ``body`` is all but the type."""
    return encode_json({"type": "session.create", **body})


def encode_session_update(settings: Mapping[str, Any]) -> bytes:
    """Encode ``session.update`` (PROTOCOL 2.3); ``settings`` is only what changed."""
    return encode_json({"type": "session.update", "settings": settings})


def encode_session_created(session_id: str) -> bytes:
    """Encode ``session.created``."""
    return encode_json({"type": "session.created", "session_id": session_id})


def encode_transcript(
    kind: TranscriptKind,
    data: SpeechData,
    request_id: str | None = None,
    session_id: str | None = None,
) -> bytes:
    """Encode a transcript (PROTOCOL 3.1). Times are seconds since the session's first sample.

    Raises ValueError for numbers that are not finite.
    """
    return encode_json(
        {
            "type": f"{kind}_transcript",
            "transcript": data.text,
            "start": data.start_time,
            "duration": data.end_time - data.start_time,
            "words": [_wire_word(word) for word in data.words],
            # Absent means 1.0, without a claim to have measured it; a word's absent means 0.0.
            **({} if data.confidence == 1.0 else {"confidence": data.confidence}),
            **_given(
                language=data.language,
                speaker_id=data.speaker_id,
                extra=data.metadata,
                request_id=request_id,
                session_id=session_id,
            ),
        }
    )


def _wire_word(word: TimedWord) -> dict[str, Any]:
    text, start_time, end_time, confidence, speaker_id = word
    return {
        "word": text,
        "start": start_time,
        "end": end_time,
        **_given(confidence=confidence, speaker_id=speaker_id),
    }


def _given(**fields: object) -> dict[str, object]:
    """Leave out what is empty: the other end reads absent fields alike."""
    return {name: value for name, value in fields.items() if value}


def encode_error(code: int, message: str, session_id: str | None = None) -> bytes:
    """Encode ``error`` (PROTOCOL 3.3)."""
    return encode_json({"type": "error", "code": code, "message": message, **_given(session_id=session_id)})
