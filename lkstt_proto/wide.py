"""Messages of the gateway that are too wide to be decoded whole: what they say, in little memory and time.

A megabyte of JSON can hold half a million values, which take twenty times their size once they are decoded. A wide
message therefore gives its texts, numbers and names, and not its arrays and objects: those are seen to be JSON, and
come out as ``TOO_WIDE``, which no reader of a field can use. More than ``Limits.words`` words are dropped anyway
(CONTRACT decision 8). What holds too much even for that is refused (``most_weight``).

Such a message is decoded in windows, by the plain decoder whatever is installed. Each is cut at a comma outside of
texts and completed by the brackets that are open at either end, so that it is JSON by itself if and only if it is a
part of JSON. Nothing is parsed here: where brackets were counted wrong the message is no JSON, and the decoder says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate
from json import JSONDecoder
from typing import Any

from .options import Limits
from .wirejson import (
    MAX_NESTING,
    NO_BRACKETS,
    STEPS,
    WHITESPACE,
    Data,
    NotUsable,
    decoder_for,
    encoded,
    numbers_are_suspect,
    parse,
    refuse_constant,
)

LARGE = 1 << 16
"""Bytes up to which no message is wide: whatever they decode to takes 3 MiB at the most."""

WEIGHT_PER_WORD = 13
"""Weight for each of ``Limits.words``: as many words of 8 fields fit, and leave room for the rest of a message."""

FIELDS = (
    *("type", "transcript", "language", "start", "duration", "confidence", "words", "speaker_id", "extra"),
    *("request_id", "session_id", "code", "message", "error"),
)
"""Everything that a reader of the gateway's messages asks for (PROTOCOL 3)."""

_LONGEST_NAME = max(map(len, FIELDS))
_WINDOW = 1 << 14  # bytes that are decoded at a time

_TOO_DEEP = MAX_NESTING - 2  # below the outermost bracket; two more may be out of sight, since ``{[]}`` is taken out

_NO_COMMA = 8 * MAX_NESTING  # more than it takes to open and close as many objects as may be without a comma
_PADDING = WHITESPACE + b"0123456789"  # of which there may be any number

Decoder = Callable[[str], tuple[Any, int]]

# What stands for the brackets that are open where a window begins, and where it ends: the innermost one has something
# in it on either side of the comma, so that neither a missing nor a superfluous one goes unseen.
_OUTER = {"[": "[", "{": '{"":'}
_INNERMOST = {"[": "[0,", "{": '{"":0,'}
_INNERMOST_END = {"[": ",0]", "{": ',"":0}'}
_CLOSING = str.maketrans("[{", "]}")

# For what only has to be JSON: a number is not worth making, and any callable does.
_skim_values = JSONDecoder(parse_float=bool, parse_int=bool, parse_constant=refuse_constant).raw_decode

# An escape that the end of a piece tears, where doubled backslashes are out of the way.
_TORN = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ESCAPED = 6  # bytes that a character takes as an escape
_CONTINUATION = bytes(range(0x80, 0xC0))  # of a character in UTF-8
_SPARE = 24  # bytes that leave an escape or two when a torn one and a torn character go


class _TooWide:
    """Stands for an array or object that was not kept."""


TOO_WIDE = _TooWide()


def is_wide(raw: bytes | bytearray, limits: Limits) -> bool:
    """Whether a message of a gateway is too wide to be decoded whole.

    It is when it has more than half of the bytes that a message may have, or too many commas and opening brackets, of
    which a bracket weighs as much as four commas.
    """
    if not LARGE < len(raw) <= limits.message // 2:
        return len(raw) > LARGE
    return 4 * (raw.count(b"[") + raw.count(b"{")) + raw.count(b",") > WEIGHT_PER_WORD * limits.words


def most_weight(limits: Limits) -> int:
    """Weight beyond which a wide message is refused: half of the bytes that a message may have, or half a MiB.

    A comma outside of texts weighs one, a colon and an opening square bracket four, an array or object that holds
    others 16 more (but for an object of flat arrays), and all of it 16 times as much next to a number that may be
    beyond the limits of ``wirejson``: about as much as they cost. A mebibyte of the shortest words weighs less, and so
    does one of texts or numbers.
    """
    return max(limits.message, 1 << 20) // 2


def parse_message(data: Data, limits: Limits) -> object:
    """Decode a message of a gateway as ``wirejson.parse`` does, but for what a wide one does not give.

    A wide one may be refused that is nested more than 254 deep. Raises ``NotUsable`` and nothing else.
    """
    if len(data) <= LARGE // 4:
        return parse(data, limits.message)
    raw = encoded(data, limits.message)
    if not is_wide(raw, limits):
        del raw  # a copy
        return parse(data, limits.message)
    if not (isinstance(data, str) or raw.isascii() or _is_utf8(raw)):
        raise NotUsable(f"{len(raw)} bytes that are no UTF-8")
    raw = bytes(raw.strip(WHITESPACE))
    if raw[:1] != b"{":
        raise NotUsable(f"{len(raw)} bytes that are no JSON object")
    message = _Skim(raw, limits).message()
    kind = message.get("type")
    if type(kind) is str:
        message["type"] = kind[: limits.name + 1]  # as much as is sure to have been kept
    return message


def _is_utf8(raw: bytes | bytearray) -> bool:
    """Whether it is UTF-8, seen without making a text of all of it."""
    start = 0
    while start < len(raw):
        piece = bytes(raw[start : start + _WINDOW])
        if start + _WINDOW < len(raw):
            piece = _whole_characters(piece)
        try:
            str(piece, "utf-8")
        except UnicodeDecodeError:
            return False
        if not piece:
            return False
        start += len(piece)
    return True


def _whole_characters(piece: bytes) -> bytes:
    """Leave out the last character unless it is ASCII: nobody knows whether it is whole."""
    piece = piece.rstrip(_CONTINUATION)
    return piece[:-1] if piece[-1:] >= b"\xc0" else piece


def _without_escapes(piece: bytes) -> bytes:
    """Hide backslashes and quotes that are escaped; nothing moves."""
    return piece.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in piece else piece


def _whole_escapes(piece: bytes) -> bytes:
    """Leave out an escape that the end tears."""
    torn = _TORN.search(_without_escapes(piece), max(0, len(piece) - _ESCAPED))
    return piece[: torn.start()] if torn else piece


def _shortened(text: memoryview, limit: int) -> bytes:
    """Give the beginning of the inside of a JSON text: all of it, or more than ``limit`` bytes once it is decoded."""
    size = limit
    while len(text) > size:
        beginning = _whole_escapes(_whole_characters(bytes(text[: size + _SPARE])))
        inside, _ = decoder_for(False)(str(b'"%b"' % beginning, "utf-8", "surrogatepass"))
        if len(inside.encode("utf-8", "surrogatepass")) > limit:
            return beginning
        size = min(2 * size, _ESCAPED * limit)
    return bytes(text)


class _Skim:
    """Decodes one wide message, window by window."""

    def __init__(self, raw: bytes, limits: Limits) -> None:
        self._raw = raw
        self._looked_at = max(limits.text, 4 * limits.name)  # bytes of a text: names are judged by their characters
        self._most = most_weight(limits)
        self._weight = 0
        self._message: dict[str, Any] = {}
        self._stack = "{"  # brackets that are open where a window begins
        self._opening = "{"  # what stands for them

    def message(self) -> dict[str, Any]:
        """Decode it. Raises ``NotUsable``."""
        raw = self._raw
        at, size = 1, _WINDOW
        head = b""  # what a long text was shortened to, and what came before it since the last comma
        while at + size < len(raw):
            at, size, head = self._step(at, size, head)
        decode, stack = self._judged(_outside(_parts(head + raw[at:-1])))
        if stack != "{" or not raw.endswith(b"}"):
            raise self._no_json()
        self._take(decode, head, memoryview(raw)[at:])
        return self._message

    def _step(self, at: int, size: int, head: bytes) -> tuple[int, int, bytes]:
        """Decode up to the last comma of what is at hand, or go past a text that is longer: give where to go on."""
        window = head + self._raw[at : at + size]
        parts = _parts(window)
        found = _last_comma(parts)
        if found is not None:
            behind, outside = found
            decode, stack = self._judged(outside)
            closing = _INNERMOST_END[stack[-1]] + stack[-2::-1].translate(_CLOSING)
            self._take(decode, window[:-behind], closing.encode())
            self._stack = stack
            self._opening = "".join(_OUTER[bracket] for bracket in stack[:-1]) + _INNERMOST[stack[-1]]
            return at + size - behind + 1, _WINDOW, b""
        if len(parts) + len(_outside(parts).translate(None, _PADDING)) > _NO_COMMA:
            raise self._too_deep()
        if len(parts) % 2:
            return at, 2 * size, head  # white space or a number without end, or no JSON
        start = len(window) - len(parts[-1]) - 1
        text, end = self._long_text(at + start - len(head))
        inside = b""
        if self._stack == "{":  # of what is deeper within, nobody asks
            before = _outside(parts[:3]).strip(WHITESPACE)
            if before == b"":
                inside = _shortened(text, _LONGEST_NAME)
            elif before == b":":
                if len(parts) > 4:
                    raise self._no_json()  # no comma behind the value
                inside = _shortened(text, self._looked_at)
        return end, _WINDOW, window[:start] + b'"%b"' % inside

    def _judged(self, outside: bytes) -> tuple[Decoder, str]:
        """Judge what of a window is no text: give what is to decode the window, and the brackets open at its end."""
        brackets = outside.translate(None, NO_BRACKETS).replace(b"[]", b"").replace(b"{}", b"")
        suspect = numbers_are_suspect(outside)
        weight = outside.count(b",") + 4 * (outside.count(b":") + outside.count(b"[")) + 8 * len(brackets)
        self._weight += 16 * weight if suspect else weight
        if self._weight > self._most:
            raise NotUsable(f"{len(self._raw)} bytes of too many values")
        steps = memoryview(brackets.translate(STEPS)).cast("b")
        try:
            # From the outermost bracket, which stays open until the end.
            levels = bytes(accumulate(steps, initial=len(self._stack) - 1))
        except ValueError:
            levels = bytes([_TOO_DEEP])
        if _TOO_DEEP in levels:
            raise self._too_deep()
        lowest = min(levels)
        # What is open at a level was opened where that level was left for the last time.
        opened = bytes(brackets[levels.rfind(level)] for level in range(lowest, levels[-1]))
        decode = _skim_values if lowest and not suspect else decoder_for(suspect)
        return decode, self._stack[: lowest + 1] + opened.decode()

    def _take(self, decode: Decoder, window: bytes, end: bytes | memoryview) -> None:
        """Decode a window, completed, and keep what a reader of fields asks for."""
        text = str(b"".join((self._opening.encode(), window, end)), "utf-8", "surrogatepass")
        members = self._decoded(decode, text)
        for name in FIELDS:
            if name in members:
                value = members[name]
                self._message[name] = TOO_WIDE if isinstance(value, dict | list) else value

    def _long_text(self, start: int) -> tuple[memoryview, int]:
        """See that what starts at a quote is a text, piece by piece; give its inside and its end."""
        raw = self._raw
        at = start + 1
        while True:
            piece = raw[at : at + _WINDOW]
            length = _without_escapes(piece).find(b'"')
            text = piece[:length] if length >= 0 else _whole_escapes(piece)
            if not text and length < 0:
                raise self._no_json()
            # A byte is a character here, whatever it is a part of: only ASCII makes JSON what it is.
            self._decoded(_skim_values, f'"{str(text, "latin-1")}"')
            at += len(text)
            if length >= 0:
                return memoryview(raw)[start + 1 : at], at + 1

    def _decoded(self, decode: Decoder, text: str) -> Any:
        failure = self._no_json()
        try:
            return decode(text)[0]  # all of it: its brackets were counted
        except NotUsable as problem:
            failure = problem
        except RecursionError:
            failure = NotUsable("nested too deep for the stack that is left")
        except ValueError:
            pass
        # Raised out here so that the decoder's own error, which holds the text, is not attached.
        raise failure

    def _no_json(self) -> NotUsable:
        return NotUsable(f"{len(self._raw)} bytes that are no JSON")

    def _too_deep(self) -> NotUsable:
        return NotUsable(f"{len(self._raw)} bytes that are nested too deep, or no JSON")


def _parts(window: bytes) -> list[bytes]:
    """Split at quotes: every other part is the inside of a text."""
    return _without_escapes(window).split(b'"')


def _outside(parts: list[bytes]) -> bytes:
    return b"".join(parts[::2])


def _last_comma(parts: list[bytes]) -> tuple[int, bytes] | None:
    """Find the last comma outside of texts: give how many bytes there are from it on, and what before it is no text."""
    behind = 0
    for index in range(len(parts) - 1, -1, -1):
        part = parts[index]
        if index % 2 == 0 and (comma := part.rfind(b",")) >= 0:
            return behind + len(part) - comma, _outside(parts[:index]) + part[:comma]
        behind += len(part) + 1
    return None
