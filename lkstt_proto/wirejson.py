"""JSON from the network, with limits that are the same on every machine (CONTRACT decision 8).

``json`` alone takes NaN, turns 1e999 into infinity, fails on long integers at a limit that the environment may move,
and runs out of stack on nesting. Here each of these is one refusal, ``NotUsable``, decided before or while decoding and
never dependent on the interpreter's settings.

Judging every number in Python would cost more than the decoding itself. So a message first has its bytes mapped to the
few that matter, which shows whether it could break a rule at all; only such a message is judged number by number. Text
may look like a number, therefore the first look only suspects and the second one decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from json import JSONDecoder
from math import isinf
from typing import Any

from .speed import REFUSED, decode_json

Data = str | bytes | bytearray | memoryview
"""One message as the transport gives it: text, or its UTF-8."""

MAX_NESTING = 256
"""Arrays and objects within each other (CONTRACT decision 8)."""

MAX_INTEGER_DIGITS = 300
"""Decimal digits of an integer (CONTRACT decision 8); every such integer is also a finite float."""

WHITESPACE = b" \t\n\r"
_WHITESPACE = WHITESPACE.decode()

# What the first look sees: one opening bracket for both, one digit for all and for an exponent's plus, one case of e.
_MARKS = bytes.maketrans(b"{123456789+E", b"[0000000000e")

# Without a long number and a long exponent a number is finite and short: 199 digits and an exponent of 99 stay below
# 1e299. Fewer digits suspect more than they need to, and are found in a fraction of the time.
_LONG_NUMBER = b"0" * 40
_VERY_LONG_NUMBER = b"0" * 200
_LONG_EXPONENT = re.compile(rb"e000")  # twice as fast as ``in`` on text, where the letter e is common

# For measuring depth: each opening bracket becomes 1, each closing one -1 as a signed byte, and all else goes.
STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[{]}")
_STRETCH = 64  # brackets that are counted at C speed, and looked at one by one where nesting may be too deep
_PIECE = 1 << 16  # bytes that are looked at together, where all of them would take much memory


class NotUsable(ValueError):
    """A message that cannot be used; ``reason`` tells kinds and lengths, never content."""

    @property
    def reason(self) -> str:
        """Why, in a few words."""
        return str(self.args[0])


def refuse_constant(name: str) -> float:
    """Be a decoder's ``parse_constant``."""
    raise NotUsable(f"{name} is no JSON number")


def _exact_int(digits: str) -> int:
    count = len(digits.lstrip("-"))
    if count > MAX_INTEGER_DIGITS:
        raise NotUsable(f"integer of {count} digits")
    return int(digits)


def _exact_float(literal: str) -> float:
    value = float(literal)
    if isinf(value):
        raise NotUsable("number out of range")
    return value


_decode_plain = JSONDecoder(parse_constant=refuse_constant).raw_decode
_decode_exact = JSONDecoder(parse_constant=refuse_constant, parse_int=_exact_int, parse_float=_exact_float).raw_decode


def decoder_for(suspect: bool) -> Callable[[str], tuple[Any, int]]:
    """Give the decoder for a text with or without suspect numbers: value and end, or an error that holds the text."""
    return _decode_exact if suspect else _decode_plain


def nesting(raw: bytes | bytearray) -> int:
    """Measure the nesting of brackets outside of strings; in broken JSON, of all that comes before the break.

    Exact where it is more than ``MAX_NESTING``.
    """
    depth = deepest = at = inside = 0
    while at < len(raw):
        piece = bytes(raw[at : at + _PIECE])
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece += raw[at + _PIECE : at + _PIECE + 1]  # what is escaped comes along
        at += len(piece)
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        steps = b"".join(parts[inside::2]).translate(STEPS, NO_BRACKETS)
        inside ^= len(parts) % 2 == 0
        for start in range(0, len(steps), _STRETCH):
            stretch = steps[start : start + _STRETCH]
            opened = stretch.count(1)
            if depth + opened > max(deepest, MAX_NESTING):
                deepest = max(deepest, depth + max(accumulate(memoryview(stretch).cast("b"))))
            depth += 2 * opened - len(stretch)
    return deepest


def numbers_are_suspect(raw: bytes | bytearray) -> bool:
    """Whether a number may be beyond its limit, seen without knowing texts from anything else."""
    marks = raw.translate(_MARKS)
    return _VERY_LONG_NUMBER in marks or _LONG_EXPONENT.search(marks) is not None


def may_break_rules(raw: bytes) -> bool:
    """Whether nesting or a number may be beyond its limit, seen without knowing texts from anything else."""
    marks = raw.translate(_MARKS)
    return marks.count(b"[") > MAX_NESTING or _LONG_NUMBER in marks or _LONG_EXPONENT.search(marks) is not None


def _encoded_in_pieces(data: str, limit: int) -> bytes:
    """Encode as Python does, without the four bytes for each character that it asks for meanwhile."""
    size = 0
    pieces = []
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE].encode("utf-8", "surrogatepass")
        size += len(piece)
        if size <= limit:
            pieces.append(piece)
    if size > limit:
        raise NotUsable(f"{size} bytes, over {limit}")
    return b"".join(pieces)


def encoded(data: Data, limit: int) -> bytes | bytearray:
    """Give the UTF-8 of ``data``. Raises ``NotUsable`` for more than ``limit`` bytes, and looks at nothing else."""
    raw: bytes | bytearray
    if isinstance(data, str):
        if len(data) > limit:  # before a copy is made
            raise NotUsable(f"{len(data)} characters, over {limit} bytes")
        if len(data) > _PIECE and not data.isascii():
            raw = _encoded_in_pieces(data, limit)
        else:
            raw = data.encode("utf-8", "surrogatepass")
    else:
        raw = data.tobytes() if isinstance(data, memoryview) else data
    if len(raw) > limit:
        raise NotUsable(f"{len(raw)} bytes, over {limit}")
    return raw


def parse(data: Data, limit: int) -> object:
    """Decode one JSON text of at most ``limit`` bytes of UTF-8.

    Bytes must be UTF-8. A lone surrogate written as an escape stays in its string. Raises ``NotUsable`` for everything
    that is not one JSON value within the limits of CONTRACT decision 8, and nothing else.
    """
    raw = encoded(data, limit)
    size = len(raw)
    try:
        text = (data if isinstance(data, str) else str(raw, "utf-8")).strip(_WHITESPACE)
        marks = raw.translate(_MARKS)
        if marks.count(b"[") > MAX_NESTING and (depth := nesting(raw)) > MAX_NESTING:
            raise NotUsable(f"nested {depth} deep")
        suspect = _LONG_NUMBER in marks or _LONG_EXPONENT.search(marks) is not None
        del raw, marks  # a copy each
        if decode_json is not None and not suspect:
            with suppress(*REFUSED):
                return decode_json(text)
        value, end = decoder_for(suspect)(text)
        if end == len(text):
            return value
        reason = f"{len(text) - end} characters after the JSON value"
    except NotUsable:
        raise
    except UnicodeDecodeError:
        reason = f"{size} bytes that are no UTF-8"
    except RecursionError:
        # 256 levels fit any stack but one that is nearly used up when we are called.
        reason = "nested too deep for the stack that is left"
    except ValueError:
        reason = f"{size} bytes that are no JSON"
    # Raised out here so that the decoder's own error, which holds the text, is not attached.
    raise NotUsable(reason)
