"""What a client makes of a message by either way of decoding, in one form."""

from __future__ import annotations

from typing import Any, NamedTuple

from lkstt_proto import messages, transcripts
from lkstt_proto.messages import ServerMessage, Transcript
from lkstt_proto.options import Limits


class Word(NamedTuple):
    """A word as the long way gives it, with names for its parts."""

    text: str
    start: float | None
    end: float | None
    confidence: float
    speaker_id: str | None


def decode_server(data: str | bytes, limits: Limits) -> ServerMessage:
    """Decode as a ``Connection`` does: the short way where it goes, else the long one."""
    ordinary = transcripts.decode_ordinary(data, limits)
    return messages.decode_server(data, limits) if ordinary is None else in_full(ordinary)


def in_full(ordinary: Any) -> Transcript:
    """Give what the short way decoded as the long way would. Where zero is added later, as with words, it is here."""
    values = {name: getattr(ordinary, name) for name in Transcript._fields}
    for name in ("start", "duration", "confidence"):
        values[name] += 0.0
    words = ((w.text, w.start + 0.0, w.end + 0.0, w.confidence + 0.0, w.speaker_id) for w in ordinary.words)
    return Transcript(**{**values, "words": tuple(words), "metadata": ordinary.metadata or None})
