"""The optional extra ``speed``: the same results from faster libraries, where they are installed.

Whatever the fast JSON decoder refuses is left to the plain one, which decides; ``tests/test_speed.py`` holds both
against each other.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

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
REFUSED: tuple[type[Exception], ...]
try:
    from msgspec import DecodeError
    from msgspec.json import Decoder

    decode_json = Decoder().decode
    REFUSED = (DecodeError, UnicodeEncodeError, RecursionError)
except ImportError:
    decode_json = None
    REFUSED = ()
