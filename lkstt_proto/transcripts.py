"""Transcripts decoded straight into their fields, where the ``speed`` extra is installed.

Only a transcript whose every field is as it ordinarily is gets decoded here. All else that a gateway sends, however
slightly it differs, is left to ``messages.py``, which decides; ``tests/test_transcripts.py`` holds both against each
other.
"""

from __future__ import annotations

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
    raw: str | bytes = data
    # Then no text in it has anything else, since JSON escapes all other characters that do not print.
    printable = data.isascii() and "\\" not in data and "\x7f" not in data
    try:
        if not printable:
            raw = data.encode()
        # No text in it is longer than itself; beyond LARGE it may be wide.
        size = len(raw)
        if size > limits.text or size > limits.message or size > LARGE:
            return None
        wire = decode_transcript(raw)
    except REFUSED:
        return None
    kind, words, extra = _KINDS.get(wire.type), wire.words, wire.extra
    if kind is None or len(words) > limits.words or (extra is not None and may_break_rules(data.encode())):
        return None
    language, speaker_id, request_id, session_id = wire.language, wire.speaker_id, wire.request_id, wire.session_id
    limit = limits.name
    for name in (language, speaker_id, request_id, session_id):
        if name is not None and not (0 < len(name) <= limit and (printable or name.isprintable())):
            return None
    for word in words:
        name = word.speaker_id
        if name is not None and not (0 < len(name) <= limit and (printable or name.isprintable())):
            return None
    # As Transcript(...), at half of the cost. To add zero makes -0.0 plain.
    return _new_tuple(
        Transcript,
        (
            kind,
            wire.transcript,
            language,
            wire.start + 0.0,
            wire.duration + 0.0,
            wire.confidence + 0.0,
            words,
            speaker_id,
            extra or None,  # nothing to mend: the decoder takes no lone surrogate
            request_id,
            session_id,
            (),
        ),
    )
