"""What must not come back: credentials, and what was said, in texts of servers, in reprs and in tracebacks.

Credentials live in a `Secret`. Text that came from a server passes `safe_text` before it may stand in a message. What
is called with secrets is `discreet`: its exceptions leave without the frames in which the values stood, because tools
that report errors print the locals of every frame.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import NamedTuple, NoReturn, ParamSpec, SupportsIndex, TypeVar
from urllib.parse import quote

P = ParamSpec("P")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException)

# Values.


class Secret:
    """A text that never shows itself: printed it is `***`; `reveal` gives the value.

    Equal by value, false when empty. Copies share the object; pickling raises TypeError.
    """

    __slots__ = ("_read",)

    def __init__(self, value: str) -> None:
        # Within a function, where what walks through attributes does not look.
        self._read: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """Give the value; keep it out of logs and messages."""
        return self._read()

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __bool__(self) -> bool:
        return bool(self._read())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._read() == other._read()

    def __hash__(self) -> int:
        return hash(self._read())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not pickled: let the other process read the credentials from its own environment")


class Hidden(str):
    """A text like any other, for those who use it, and `***` for those who only look: its repr is that of a secret.

    For what libraries want as plain text, such as the value of a header.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


# Exceptions.

_OURS = ("lkstt_proto", "lkstt_transports")
_PLAIN_MODULES = ("builtins", "ssl", "socket")
_FINALS = 16  # that a server may still speak of


def discreet(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function raise without the frames of this project, whose locals may be secrets.

    Frames of others that it called, an application's endpointer for example, stay.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failure = bare(error)
        del args, kwargs  # the locals of this frame, which does show
        try:
            raise failure
        finally:
            del failure  # it would hold itself, through its traceback

    return call


def bare(error: BaseException) -> BaseException:
    """Take the frames of this project, and what they were handling, off an exception; give it back."""
    trace = error.__traceback__
    frames = trace
    while frames is not None:
        if str(frames.tb_frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
            trace = frames.tb_next
        frames = frames.tb_next
    if trace is None:  # raised here, because of something that may show what it was given
        error.__context__ = None
    return error.with_traceback(trace)


class Confidences:
    """What one stream told its gateway in confidence, and what was said on it: none of it may come back in an error."""

    __slots__ = ("_credentials", "_finals", "_newest", "_options")

    def __init__(self, credentials: Iterable[Secret | str | None], options: Callable[[], object]) -> None:
        """Take the credentials, and what gives the provider options of the moment: keyterms and prompts are content."""
        self._credentials = [credential for credential in credentials if credential]
        self._options = options
        self._finals: deque[str] = deque(maxlen=_FINALS)
        self._newest = ""

    def hear(self, text: str, *, final: bool) -> None:
        """Remember a transcript, for a while."""
        self._newest = text
        if final:
            self._finals.append(text)

    def safe(self, text: str, limit: int = 300) -> str:
        """Make a server's text fit for a message, as `safe_text` does."""
        return safe_text(text, limit, known=self._known(), heard=self._said())

    def bare(self, error: BaseException) -> BaseException:
        """Give what a transport raised without its frames, or a stand-in if it still shows too much.

        The frames of a transport hold the request, and with it the token; types that are not the interpreter's own may
        hold it in their attributes.
        """
        told = repr(error)
        plain = type(error).__module__ in _PLAIN_MODULES and not isinstance(error, UnicodeError | BaseExceptionGroup)
        if plain and len(told) <= _SHOWN_CHARACTERS and not any(_hidden(told, self._known(), self._said())):
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        if isinstance(error, OSError) and isinstance(error.errno, int):
            return OSError(error.errno, self.safe(str(error.strerror)))
        return ConnectionError(f"{type(error).__name__}: {self.safe(_printed(error))}")

    def clean(self, error: E) -> E:
        """Give an error of ours that came by way of a transport, without frames and without what must not show."""
        told = str(error)
        safe = self.safe(told, len(told))
        if safe != told:
            error.args = (safe,)
        error.__cause__ = error.__cause__ and self.bare(error.__cause__)
        error.__context__ = None
        return error.with_traceback(None)

    def _known(self) -> list[str]:
        return [
            credential.reveal() if isinstance(credential, Secret) else credential for credential in self._credentials
        ]

    def _said(self) -> list[str]:
        return [*_texts(self._options()), *self._finals, self._newest]


def _texts(value: object, least: int = 8) -> Iterator[str]:
    """Give the texts of JSON that are content: items of lists, and all but the short words that settings have."""
    if isinstance(value, str):
        if len(value) >= least or not value.isalnum():
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, 0)


def _printed(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # of somebody else's
        return "it cannot be printed"


# Texts of servers.

# What is looked at; and of that, what may be shown: a credential across the end of the former is not recognised.
_WINDOW_CHARACTERS = 8192
_SHOWN_CHARACTERS = 4096
_CONTENT_CHARACTERS = 8192  # of what was said that are compared with, the newest
_SHORTEST_KNOWN = 4  # shorter ones stand within too many words

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
    hidden = _hidden(text, known, heard)
    shown: list[str] = []
    length = 0
    for index, character in enumerate(text[:_SHOWN_CHARACTERS]):
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
    if length > limit or len(text) > _SHOWN_CHARACTERS:
        safe = safe[: limit - 3] + "..."
    return safe


class _View(NamedTuple):
    """A text as somebody might read it: some characters left out, others decoded."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    """Of each character, where it stands in the original."""


def _hidden(text: str, known: Iterable[str], heard: Iterable[str]) -> bytearray:
    """Mark the characters that must not be shown, among the first of a text."""
    text = text[:_WINDOW_CHARACTERS]
    hidden = bytearray(len(text))
    said = list(heard)
    spelt = {
        _folded(spelling)
        for value in (*known, *said)
        if _SHORTEST_KNOWN <= len(value) <= _SHOWN_CHARACTERS
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
