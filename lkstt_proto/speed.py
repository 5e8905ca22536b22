"""The optional extra ``speed``: the same results from faster libraries, where they are installed.

Whatever the fast JSON decoder refuses is left to the plain one, which decides; ``tests/test_speed.py`` holds both
against each other.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

encode_base64: Callable[[Buffer], bytes]
"""Standard alphabet, padded, without line breaks."""
try:
    from pybase64 import b64encode as encode_base64
except ImportError:
    encode_base64 = partial(b2a_base64, newline=False)

decode_json: Callable[[str], Any] | None
"""One JSON text; raises ``REFUSED`` where the plain decoder should have a look. None without the extra."""
decode_transcript: Callable[[str | bytes], Any] | None
"""An ordinary transcript as an object with its fields, of which it does not look at nesting and size of numbers in
``extra``; raises ``REFUSED`` for all else. None without the extra."""
REFUSED: tuple[type[Exception], ...]
try:
    from msgspec import DecodeError, Meta, Struct
    from msgspec.json import Decoder

    # What is beyond these bounds may be sound or not: the plain decoder says. Seconds: no stream lasts so long, and an
    # integer with too many digits is larger.
    _Seconds = Annotated[float, Meta(ge=0.0, le=1e9)]
    _Confidence = Annotated[float, Meta(ge=0.0, le=1.0)]

    class _Word(Struct, gc=False, forbid_unknown_fields=True, rename={"text": "word"}):
        text: str
        start: _Seconds
        end: _Seconds
        confidence: _Confidence = 0.0
        speaker_id: str | None = None

        def __repr__(self) -> str:
            return f"<Word of {len(self.text)} characters>"  # what was said is not for logs

    class _Transcript(Struct, gc=False, forbid_unknown_fields=True):
        type: str
        transcript: str
        start: _Seconds
        duration: _Seconds
        confidence: _Confidence = 1.0
        language: str | None = None
        words: tuple[_Word, ...] = ()
        speaker_id: str | None = None
        request_id: str | None = None
        session_id: str | None = None
        extra: dict[str, Any] | None = None

    decode_json = Decoder().decode
    decode_transcript = Decoder(_Transcript).decode
    REFUSED = (DecodeError, UnicodeEncodeError, RecursionError)
except ImportError:
    decode_json = None
    decode_transcript = None
    REFUSED = ()
