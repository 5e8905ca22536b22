"""Texts of servers, made fit for messages: masked, printable and short."""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

# What is looked at; and of that, what may be shown: a credential across the end of the former is not recognised.
_WINDOW_CHARACTERS = 4096
SHOWN_CHARACTERS = 1024
_CONTENT_CHARACTERS = 8192  # of what was said that are compared with, the newest
_SHORTEST_KNOWN = 4  # shorter ones stand within too many words
_LONGEST_KNOWN = _WINDOW_CHARACTERS - SHOWN_CHARACTERS  # longer ones are not seen whole

# Every repetition is either bounded or ends at a character outside of its set: work stays linear. The first group, if
# there is one, may be shown.
_CREDENTIALS = (
    re.compile(r"(?i)(bearer[\s:=]{1,4})[^\s\"',;]+"),
    re.compile(r"eyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"),
    re.compile(
        r"(?i)((?:key|secret|token|password|passwd|passphrase|pwd|credential|cookie)s?"
        r"[\\\"']{0,2}\s{0,4}[:=]\s{0,4}[\\\"']{0,2})(?!bearer\b)[^\s\\\"',;&}]+"
    ),
    re.compile(
        r"(?i)(authorization[\\\"']{0,2}\s{0,4}[:=]\s{0,4}[\\\"']{0,2})(?!bearer\b)[^\s\\\"',;&}]+"
        r"(?:\s{1,4}[^\s\\\"',;&}]+)?"
    ),
    re.compile(r"(://)[^\s/@]+@"),  # user and password
    re.compile(r"API[A-Za-z0-9]{8,}"),  # how LiveKit's own API keys begin
    re.compile(r"[A-Za-z0-9+/_-]{32,}={0,2}"),
    re.compile(r"(?:[0-9A-Fa-f]{2}[:-]){11,}[0-9A-Fa-f]{2}"),
)
# Characters written as something else: in URLs, JSON, Python and HTML.
_UNITS = re.compile(
    r"%([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|&#x([0-9A-Fa-f]{1,6});|&#([0-9]{1,7});|.", re.DOTALL
)
_COMMANDS = re.compile(r"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]")  # of a terminal, such as colours
_WORDS = (re.compile(r"[^\s\"'`<>()\[\]{},;:]+"), re.compile(r"[^\W_]+"))


def safe_text(text: str, limit: int = 300, *, known: Iterable[str] = (), heard: Iterable[str] = ()) -> str:
    """Make a server's text fit for a message: masked, printable, at most `limit` characters.

    What looks like a credential becomes `***`, and so do the texts of `known` in any usual spelling and the words of
    `heard`, also where invisible characters stand in between. Control, bidirectional and surrogate characters are
    escaped as `repr` does.
    """
    hidden = hidden_characters(text, known, heard)
    shown: list[str] = []
    length = 0
    for index, character in enumerate(text[:SHOWN_CHARACTERS]):
        if not hidden[index]:
            piece = character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        elif index and hidden[index - 1]:
            continue
        else:
            piece = "***"
        shown.append(piece)
        length += len(piece)
        if length > limit:
            break
    safe = "".join(shown)
    if length > limit or len(text) > SHOWN_CHARACTERS:
        safe = safe[: limit - 3] + "..."
    return safe


class _View(NamedTuple):
    """A text as somebody might read it: some characters left out, others decoded."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    """Of each character, where it stands in the original."""


def hidden_characters(text: str, known: Iterable[str], heard: Iterable[str]) -> bytearray:
    """Mark the characters that must not be shown, among the first of a text."""
    text = text[:_WINDOW_CHARACTERS]
    hidden = bytearray(len(text))
    said = list(heard)
    spelt = {
        _folded(spelling)
        for value in (*known, *said)
        if _SHORTEST_KNOWN <= len(value) <= _LONGEST_KNOWN
        for spelling in _spellings(value)
    }
    content = _folded("\n".join(said)[-_CONTENT_CHARACTERS:])
    for view in _views(text):
        folded = _folded(view.text)
        for start, end in (*_credentials(view.text), *_found(folded, spelt), *_repeated(folded, content)):
            first, last = view.starts[start], view.ends[end - 1]
            while last < len(text) and not (text[last].isprintable() or text[last].isspace()):
                last += 1
            hidden[first:last] = b"\1" * (last - first)
    return hidden


def _views(text: str) -> Iterator[_View]:
    """Read a text as it looks, without all that is not ASCII, and with its escapes decoded."""
    unseen = {index for match in _COMMANDS.finditer(text) for index in range(*match.span())}
    plain = _view(
        (" " if c.isspace() else c, index, index + 1)
        for index, c in enumerate(text)
        if (c.isspace() or c.isprintable()) and index not in unseen
    )
    yield plain
    if not plain.text.isascii():
        yield _view(unit for unit in zip(*plain, strict=True) if unit[0].isascii())
    if any(mark in plain.text for mark in "%\\&"):
        decoded = (
            (_decoded(match), plain.starts[match.start()], plain.ends[match.end() - 1])
            for match in _UNITS.finditer(plain.text)
        )
        yield _view(unit for unit in decoded if unit[0].isascii() and unit[0].isprintable())


def _view(units: Iterable[tuple[str, int, int]]) -> _View:
    kept = list(units)
    return _View("".join(unit[0] for unit in kept), [unit[1] for unit in kept], [unit[2] for unit in kept])


def _decoded(match: re.Match[str]) -> str:
    for group, base in zip(match.groups(), (16, 16, 16, 16, 10), strict=True):
        if group is not None:
            return chr(min(int(group, base), 0x10FFFF))
    return match[0]


def _folded(text: str) -> str:
    # Character by character: the few that become two would move all behind them.
    return text.lower() if text.isascii() else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _spellings(value: str) -> Iterator[str]:
    """Give a text as it is, and as it looks in URLs, JSON, hexadecimal and base64."""
    yield value
    yield quote(value, safe="")
    yield json.dumps(value)[1:-1]
    data = value.encode("utf-8", "surrogatepass")
    yield data.hex()
    for skipped in range(3):
        # Within a longer text it begins at any of three places; characters that share bits with neighbours differ.
        padded = b"\0" * skipped + data
        first, last = (skipped * 8 + 5) // 6, len(padded) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(padded).decode()[first:last]


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _CREDENTIALS:
        for match in pattern.finditer(text):
            yield match.end(1) if pattern.groups else match.start(), match.end()


def _found(text: str, values: Iterable[str]) -> Iterator[tuple[int, int]]:
    for value in values:
        at = text.find(value)
        while at >= 0:
            yield at, at + len(value)
            at = text.find(value, at + len(value))


def _repeated(text: str, content: str) -> Iterator[tuple[int, int]]:
    """Find the words of a text that are in the content as well."""
    if content:
        for words in _WORDS:
            for match in words.finditer(text):
                if len(match[0]) >= _shortest(match[0]) and match[0] in content:
                    yield match.span()


def _shortest(word: str) -> int:
    if not word.isascii():
        return 2  # where a character may be a word
    return 4 if word.isalpha() else 3  # as with numbers
