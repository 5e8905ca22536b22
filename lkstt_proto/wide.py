"""Messages of the gateway that are too wide to be decoded whole: what they say, in little memory.

A megabyte of JSON can hold half a million values, which take twenty times their size once they are decoded. A wide
message therefore gives its texts, numbers and names, and not its arrays and objects: those are seen to be JSON, and
come out as ``TOO_WIDE``, which no reader of a field can use. More than ``Limits.words`` words are dropped anyway
(CONTRACT decision 8).

The plain decoder is given such a message in windows. Each is cut at a comma outside of texts and completed by the
brackets that are open at either end, so that it is JSON by itself if and only if it is a part of JSON. Nothing is
parsed here: where brackets were counted wrong the message is no JSON, and the decoder says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import accumulate
from json import JSONDecoder
from typing import Any

from .options import Limits
from .speed import REFUSED, decode_envelope
from .wirejson import (
    MAX_NESTING,
    WHITESPACE,
    Data,
    NotUsable,
    decoder_for,
    encoded,
    numbers_are_suspect,
    parse,
    refuse_constant,
    require_nesting_within_limit,
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

_WINDOW = 1 << 15  # bytes that are decoded at a time
_WANTED = frozenset(FIELDS)

_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_CLOSING = str.maketrans("[{", "]}")

# What stands for the brackets that are open where a window begins: the innermost one has something in it already, so
# that neither a missing nor a superfluous comma goes unseen.
_OUTER = {"[": "[", "{": '{"":'}
_INNERMOST = {"[": "[0,", "{": '{"":0,'}

_pairs_of = JSONDecoder(object_pairs_hook=list).decode
# For what only has to be JSON: a float is not worth making, and any callable does.
_skim_values = JSONDecoder(parse_float=len, parse_constant=refuse_constant).raw_decode

# An escape that the end of a piece tears, where doubled backslashes are out of the way.
_TORN = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_ESCAPED = 6  # bytes that a character takes as an escape
_SPARE = 24  # bytes that leave an escape or two when a torn one and a torn character go
# What only one of the decoders takes, or gives another reason for.
_DISPUTED = re.compile(rb"\\u[dD]|NaN|Infinity")
_CONTINUATION = bytes(range(0x80, 0xC0))  # of a character in UTF-8


class _TooWide:
    """Stands for an array or object that was not kept."""


TOO_WIDE = _TooWide()


def is_wide(raw: bytes | bytearray, limits: Limits) -> bool:
    """Whether a message of a gateway is too wide to be decoded whole.

    It is when it has more than half of the bytes that a message may have, or too many commas and opening brackets, of
    which a bracket weighs as much as four commas.
    """
    if len(raw) <= LARGE:
        return False
    weight = 4 * (raw.count(b"[") + raw.count(b"{")) + raw.count(b",")
    return len(raw) > limits.message // 2 or weight > WEIGHT_PER_WORD * limits.words


def parse_message(data: Data, limits: Limits) -> object:
    """Decode a message of a gateway as ``wirejson.parse`` does, but for what a wide one does not give.

    Raises ``NotUsable`` and nothing else.
    """
    if len(data) <= LARGE // 4:
        return parse(data, limits.message)
    raw = encoded(data, limits.message)
    if not is_wide(raw, limits):
        del raw  # a copy
        return parse(data, limits.message)
    if not isinstance(data, str):
        _require_utf8(raw)
    require_nesting_within_limit(raw)
    if not raw.lstrip(WHITESPACE).startswith(b"{"):
        raise NotUsable(f"{len(raw)} bytes that are no JSON object")
    raw = bytes(raw.strip(WHITESPACE))
    suspect = numbers_are_suspect(raw)
    message = None if suspect else _unpack(raw, limits)
    if message is None:
        message = _Skim(raw, limits, suspect=suspect).message()
    kind = message.get("type")
    if type(kind) is str:
        message["type"] = kind[: limits.name + 1]  # as much as is sure to have been kept
    return message


def _no_json(raw: bytes | bytearray) -> NotUsable:
    return NotUsable(f"{len(raw)} bytes that are no JSON")


def _require_utf8(raw: bytes | bytearray) -> None:
    """Raise ``NotUsable`` for what is no UTF-8, without making a text of all of it."""
    if raw.isascii():
        return
    start = 0
    while start < len(raw):
        end = start + _WINDOW
        piece = bytes(raw[start:end])
        piece = _whole_characters(piece) if end < len(raw) else piece
        try:
            str(piece, "utf-8")
        except UnicodeDecodeError:
            piece = b""
        if not piece:
            raise NotUsable(f"{len(raw)} bytes that are no UTF-8")
        start += len(piece)


def _whole_characters(piece: bytes) -> bytes:
    """Leave out the last character unless it is ASCII: nobody knows whether it is whole."""
    piece = piece.rstrip(_CONTINUATION)
    return piece[:-1] if piece[-1:] >= b"\xc0" else piece


def _unpack(raw: bytes, limits: Limits) -> dict[str, Any] | None:
    """Decode a wide message by the ``speed`` extra; None where the plain decoder has to have a look."""
    if decode_envelope is None:
        return None
    try:
        envelope = decode_envelope(raw)
    except RecursionError:
        return None
    except REFUSED:
        envelope = None
    if envelope is None:
        if _DISPUTED.search(raw):
            return None
        raise _no_json(raw)
    message: dict[str, Any] = {}
    for name in FIELDS:
        value = memoryview(getattr(envelope, name))
        if bytes(value[:1]) in (b"[", b"{"):
            message[name] = TOO_WIDE
        elif value:
            text = value[0] == ord('"')
            span = b'"%b"' % _shortened(value[1:-1], _looked_at(limits)) if text else bytes(value)
            message[name] = _decoded(span)
    return message


def _decoded(span: bytes) -> Any:
    """Decode what is known to be JSON, and to hold no number beyond the limits."""
    return decoder_for(False)(str(span, "utf-8", "surrogatepass"))[0]


def _without_escapes(piece: bytes) -> bytes:
    """Hide backslashes and quotes that are escaped; nothing moves."""
    return piece.replace(b"\\\\", b"__").replace(b'\\"', b"__")


def _whole_escapes(piece: bytes) -> bytes:
    """Leave out an escape that the end tears."""
    torn = _TORN.search(_without_escapes(piece), max(0, len(piece) - _ESCAPED))
    return piece[: torn.start()] if torn else piece


def _looked_at(limits: Limits) -> int:
    """How many bytes of a text a reader of fields looks at: names are judged by their characters."""
    return max(limits.text, 4 * limits.name)


def _shortened(text: memoryview, limit: int) -> bytes:
    """Give the beginning of the inside of a JSON text: all of it, or more than ``limit`` bytes once it is decoded."""
    size = limit
    while len(text) > size:
        beginning = _whole_escapes(_whole_characters(bytes(text[: size + _SPARE])))
        if not limit or len(_decoded(b'"%b"' % beginning).encode("utf-8", "surrogatepass")) > limit:
            return beginning
        size = min(2 * size, _ESCAPED * limit)
    return bytes(text)


class _Skim:
    """Decodes one wide message by the plain decoder, window by window."""

    def __init__(self, raw: bytes, limits: Limits, *, suspect: bool) -> None:
        self._raw = raw
        self._limit = _looked_at(limits)
        self._decode = decoder_for(suspect)
        self._skim = self._decode if suspect else _skim_values
        self._message: dict[str, Any] = {}
        self._stack = "{"  # brackets that are open where a window begins
        self._opening = "{"  # what stands for them

    def message(self) -> dict[str, Any]:
        """Decode it. Raises ``NotUsable``."""
        raw = self._raw
        at, size = 1, _WINDOW
        head = b""  # of a member with a long text: what of it came before ``at``
        while at + size < len(raw):
            window = head + raw[at : at + size]
            parts = _without_escapes(window).split(b'"')  # every other one is the inside of a text
            found = _last_comma(parts)
            if found is not None:
                comma, outside = found
                self._take_window(window[:comma], outside)
                at += comma + 1 - len(head)
                head, size = b"", _WINDOW
            elif len(parts) % 2:
                size *= 2  # white space or a number without end, or no JSON
            else:
                start = len(window) - len(parts[-1]) - 1
                text, at = self._long_text(at + start - len(head))
                depth, _ = self._brackets_after(b"".join(parts[:-1:2]))
                kept = self._limit if depth == 1 and len(head) < _WINDOW else 0  # of a key so long, nobody asks
                head = window[:start] + b'"%b"' % _shortened(text, kept)
        rest = str(b"".join((self._opening.encode(), head, memoryview(raw)[at:])), "utf-8", "surrogatepass")
        self._keep(self._decoded(self._decode, rest))
        return self._message

    def _take_window(self, window: bytes, outside: bytes) -> None:
        """Decode a window that ends before a comma; ``outside`` is what of it is no text."""
        if window.rstrip(WHITESPACE)[-1:] in (b"", b"[", b"{"):  # and then a comma: completed, it would be JSON
            raise _no_json(self._raw)
        lowest, stack = self._brackets_after(outside)
        text = f"{self._opening}{str(window, 'utf-8', 'surrogatepass')}{stack[::-1].translate(_CLOSING)}"
        if lowest > 1:
            self._decoded(self._skim, text)
        else:
            self._keep(self._decoded(self._decode, text))
            if len(stack) > 1 and (name := _pairs_of(text)[-1][0]) in _WANTED:
                self._message[name] = TOO_WIDE  # it has only begun
        self._stack = stack
        self._opening = "".join(_OUTER[bracket] for bracket in stack[:-1]) + _INNERMOST[stack[-1]]

    def _brackets_after(self, outside: bytes) -> tuple[int, str]:
        """Give how many of the open brackets stay open throughout, and which are open at the end."""
        brackets = _without_pairs(outside.translate(None, _NO_BRACKETS))
        steps = memoryview(brackets.translate(_STEPS)).cast("b")
        # From the outermost bracket, which stays open until the end.
        depths = list(accumulate(steps, initial=len(self._stack) - 1))
        lowest = min(depths)
        if not 0 <= lowest <= max(depths) < MAX_NESTING:  # what is no JSON may have seemed less deep
            raise _no_json(self._raw)
        levels = bytes(depths)
        # What is open at a depth was opened where that depth was left for the last time.
        opened = bytes(brackets[levels.rfind(depth)] for depth in range(lowest, depths[-1]))
        return lowest + 1, self._stack[: lowest + 1] + opened.decode()

    def _long_text(self, start: int) -> tuple[memoryview, int]:
        """See that what starts at a quote is a text, piece by piece; give its inside and its end."""
        raw = self._raw
        at = start + 1
        while True:
            piece = raw[at : at + _WINDOW]
            length = _without_escapes(piece).find(b'"')
            text = piece[:length] if length >= 0 else _whole_escapes(piece)
            if not text and length < 0:
                raise _no_json(raw)
            # A byte is a character here, whatever it is a part of: only ASCII makes JSON what it is.
            self._decoded(self._skim, f'"{str(text, "latin-1")}"')
            at += len(text)
            if length >= 0:
                return memoryview(raw)[start + 1 : at], at + 1

    def _decoded(self, decode: Callable[[str], tuple[Any, int]], text: str) -> Any:
        failure = _no_json(self._raw)
        try:
            value, end = decode(text)
            if end == len(text):
                return value
        except NotUsable as problem:
            failure = problem
        except RecursionError:
            failure = NotUsable("nested too deep for the stack that is left")
        except ValueError:
            pass
        # Raised out here so that the decoder's own error, which holds the text, is not attached.
        raise failure

    def _keep(self, members: dict[str, Any]) -> None:
        for name in _WANTED & members.keys():
            value = members[name]
            self._message[name] = TOO_WIDE if isinstance(value, dict | list) else value


def _last_comma(parts: list[bytes]) -> tuple[int, bytes] | None:
    """Find the last comma outside of texts; give its place, and what is outside of texts before it."""
    place = sum(map(len, parts)) + len(parts)
    for index in range(len(parts) - 1, -1, -1):
        place -= len(parts[index]) + 1
        if index % 2 == 0 and (comma := parts[index].rfind(b",")) >= 0:
            return place + comma, b"".join(parts[:index:2]) + parts[index][:comma]
    return None


def _without_pairs(brackets: bytes) -> bytes:
    """Leave out brackets that stand next to each other, at C speed, as long as there are many."""
    while brackets:
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) > len(brackets) * 7 // 8:
            return fewer
        brackets = fewer
    return brackets
