"""Transcripts decoded straight into their fields, where the ``speed`` extra is installed.

Only a transcript whose every field is as it ordinarily is gets decoded here. All else that a gateway sends, however
slightly it differs, is left to ``messages.py``, which decides; ``tests/test_transcripts.py`` holds both against each
other.
"""

from __future__ import annotations

from .fields import Word, read_object
from .messages import ServerMessage, Transcript, TranscriptKind
from .messages import decode_server as decode_leniently
from .options import Limits
from .speed import REFUSED, decode_transcript
from .wide import LARGE
from .wirejson import Data, may_break_rules

_KINDS = {f"{kind}_transcript": kind for kind in TranscriptKind}

# As a NamedTuple's own constructor, at half of the cost.
_new_tuple = tuple.__new__


def decode_server(data: Data, limits: Limits) -> ServerMessage:
    """Decode what a gateway sent, as ``messages.decode_server`` does (PROTOCOL 3). Raises ``NotUsable`` only."""
    return decode_ordinary(data, limits) or decode_leniently(data, limits)


def decode_ordinary(data: Data, limits: Limits) -> Transcript | None:
    """Decode a transcript that needs no mending; None for all else, and without the extra."""
    if decode_transcript is None or type(data) is not str or len(data) > LARGE:
        return None
    try:
        raw = data.encode()
        if len(raw) > min(LARGE, limits.message) or may_break_rules(raw):  # beyond LARGE it may be wide
            return None
        wire = decode_transcript(raw)
    except REFUSED:
        return None
    kind = _KINDS.get(wire.type)
    text = wire.transcript
    text_limit = limits.text // 4  # bytes that a character takes at the most
    if kind is None or len(text) > text_limit or len(wire.words) > limits.words:
        return None
    name_limit = limits.name
    names = wire.language, wire.speaker_id, wire.request_id, wire.session_id
    for name in names:
        if name is not None and not (0 < len(name) <= name_limit and name.isprintable()):
            return None
    start, duration, confidence = wire.start, wire.duration, wire.confidence
    if not (start >= 0.0 and duration >= 0.0 and 0.0 <= confidence <= 1.0):
        return None
    words = []
    for word in wire.words:
        text_of_word, begins, ends = word.word, word.start, word.end
        certainty, speaker_id = word.confidence, word.speaker_id
        if not (
            begins >= 0.0
            and ends >= 0.0
            and 0.0 <= certainty <= 1.0
            and len(text_of_word) <= text_limit
            and (speaker_id is None or (0 < len(speaker_id) <= name_limit and speaker_id.isprintable()))
        ):
            return None
        # To add zero makes -0.0 plain.
        words.append(_new_tuple(Word, (text_of_word, begins + 0.0, ends + 0.0, certainty + 0.0, speaker_id)))
    language, speaker_id, request_id, session_id = names
    return Transcript(
        kind,
        text,
        language,
        start + 0.0,
        duration + 0.0,
        confidence + 0.0,
        tuple(words),
        speaker_id,
        read_object(wire.extra, "extra", []),  # nothing to mend: the decoder takes no lone surrogate
        request_id,
        session_id,
    )
