"""Transcripts decoded straight into their fields, where the ``speed`` extra is installed.

Only a transcript whose every field is as it ordinarily is gets decoded here. All else that a gateway sends, however
slightly it differs, is left to ``messages.py``, which decides; ``tests/test_transcripts.py`` holds both against each
other. What is decoded here is no ``messages.Transcript``, but has its attributes: to make one of it would cost as much
as all that is done with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, cast

from .messages import TRANSCRIPT_TRIGGERS, Transcript, TranscriptKind
from .options import Limits
from .speed import REFUSED
from .wide import LARGE
from .wirejson import Data, may_break_rules

ORDINARY_NAME = 256
"""Characters that an ordinary id or language has at most."""

# Does not look at nesting and size of numbers in ``extra``, nor at what names are made of, and lets -0.0 pass; raises
# ``REFUSED`` for all that is not as it ordinarily is. None without the extra.
decode_transcript: Callable[[str | bytes], Any] | None
try:
    from msgspec import Meta, Struct
    from msgspec.json import Decoder
except ImportError:
    decode_transcript = None
else:
    # What is beyond these bounds may be sound or not: the plain decoder says. Seconds: no stream lasts so long, and an
    # integer with too many digits is larger.
    _Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
    _Confidence = Annotated[float, Meta(ge=0.0, le=1.0)]
    _Name = Annotated[str, Meta(min_length=1, max_length=ORDINARY_NAME)]

    class _Word(Struct, gc=False, forbid_unknown_fields=True, rename={"text": "word"}):
        text: str
        start: _Seconds
        end: _Seconds
        confidence: _Confidence = 0.0
        speaker_id: _Name | None = None

        def __repr__(self) -> str:
            return f"<Word of {len(self.text)} characters>"  # what was said is not for logs

    class _Transcript(
        Struct,
        gc=False,
        forbid_unknown_fields=True,
        tag_field="type",
        rename={"text": "transcript", "metadata": "extra"},
    ):
        # The attributes of a ``messages.Transcript``.
        problems: ClassVar[tuple[str, ...]] = ()
        text: str
        start: _Seconds
        duration: _Seconds
        confidence: _Confidence = 1.0
        language: _Name | None = None
        words: tuple[_Word, ...] = ()
        speaker_id: _Name | None = None
        request_id: _Name | None = None
        session_id: _Name | None = None
        metadata: dict[str, Any] | None = None

        def __repr__(self) -> str:
            return f"<Transcript of {len(self.text)} characters and {len(self.words)} words>"

    class _Interim(_Transcript, gc=False, tag="interim_transcript"):
        kind: ClassVar[TranscriptKind] = TranscriptKind.INTERIM
        trigger: ClassVar[str] = TRANSCRIPT_TRIGGERS[kind]

    class _Preflight(_Transcript, gc=False, tag="preflight_transcript"):
        kind: ClassVar[TranscriptKind] = TranscriptKind.PREFLIGHT
        trigger: ClassVar[str] = TRANSCRIPT_TRIGGERS[kind]

    class _Final(_Transcript, gc=False, tag="final_transcript"):
        kind: ClassVar[TranscriptKind] = TranscriptKind.FINAL
        trigger: ClassVar[str] = TRANSCRIPT_TRIGGERS[kind]

    decode_transcript = Decoder(_Interim | _Preflight | _Final).decode


def decode_ordinary(data: Data, limits: Limits) -> Transcript | None:
    """Decode a transcript that needs no mending; None for all else, and without the extra."""
    if decode_transcript is None or type(data) is not str or len(data) > LARGE:
        return None
    raw: str | bytes = data
    size = len(data)
    # Then no text in it has anything else, since JSON escapes all other characters that do not print.
    printable = data.isascii() and "\\" not in data and "\x7f" not in data
    try:
        if not printable:
            raw = data.encode()
            size = len(raw)
        # No text in it is longer than itself; beyond LARGE it may be wide.
        if size > limits.text or size > limits.message or size > LARGE:
            return None
        transcript: Transcript = decode_transcript(raw)
    except REFUSED:
        return None
    words, extra = transcript.words, transcript.metadata
    if len(words) > limits.words or (extra is not None and may_break_rules(data.encode())):
        return None
    if not printable or limits.name < ORDINARY_NAME:
        limit = limits.name
        names = [word.speaker_id for word in cast("Any", words)]
        for name in (transcript.language, transcript.speaker_id, transcript.request_id, transcript.session_id, *names):
            if name is not None and not (len(name) <= limit and (printable or name.isprintable())):
                return None
    return transcript
