"""What one stream told its gateway in confidence, and what it heard: none of it may come back in an error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from .events import SpeechEvent
from .masking import SHOWN_CHARACTERS, hidden_characters, safe_text
from .secrecy import Secret

E = TypeVar("E", bound=BaseException)

# Of the interpreter's own: they hold what they print, and no more.
_PLAIN_MODULES = ("builtins", "ssl", "socket")
_FINALS = 16  # that a gateway may still speak of


class Confidences:
    """Kept by a stream for as long as it lives."""

    __slots__ = ("_credentials", "_finals", "_options", "newest")

    def __init__(self, credentials: Iterable[Secret | str | None], options: Callable[[], object]) -> None:
        """Take the credentials, and what gives the provider options of the moment: keyterms and prompts are content."""
        self._credentials = [credential for credential in credentials if credential]
        self._options = options
        self._finals: deque[SpeechEvent] = deque(maxlen=_FINALS)
        self.newest: SpeechEvent | None = None
        """The last transcript of any kind: set by whoever hears it."""

    def hear_final(self, final: SpeechEvent) -> None:
        """Remember a final, for a while."""
        self._finals.append(final)

    def safe(self, text: str, limit: int = 300) -> str:
        """Make a server's text fit for a message, as `safe_text` does."""
        return safe_text(text, limit, known=self._known(), heard=self._said())

    def bare(self, error: BaseException) -> BaseException:
        """Give what a transport raised without its frames, or a stand-in if it still shows too much.

        The frames of a transport hold the request, and with it the token; types that are not the interpreter's own may
        hold it in their attributes.
        """
        told = f"{_printed(error, repr)} {_printed(error, str)}"
        plain = type(error).__module__ in _PLAIN_MODULES and not isinstance(error, UnicodeError | BaseExceptionGroup)
        if plain and len(told) <= SHOWN_CHARACTERS and not any(hidden_characters(told, self._known(), self._said())):
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        if isinstance(error, OSError) and isinstance(error.errno, int):
            return OSError(error.errno, self.safe(str(error.strerror)))
        return ConnectionError(f"{type(error).__name__}: {self.safe(_printed(error, str))}")

    def clean(self, error: E) -> E:
        """Give an error of ours that came by way of a transport, without frames and without what must not show."""
        told = _printed(error, str)
        safe = self.safe(told, len(told))
        if safe != told:
            error.args = (safe,)
        error.__cause__ = None if error.__cause__ is None else self.bare(error.__cause__)
        error.__context__ = None
        return error.with_traceback(None)

    def _known(self) -> list[str]:
        return [
            credential.reveal() if isinstance(credential, Secret) else credential for credential in self._credentials
        ]

    def _said(self) -> list[str]:
        said = list(_texts(self._options()))
        for heard in (*self._finals, self.newest):
            for data in () if heard is None else heard.alternatives:
                speakers = {data.speaker_id, *(word.speaker_id for word in data.words)}
                said += [data.text, *(name for name in speakers if name is not None), *_texts(data.metadata)]
        return said


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


def _printed(error: BaseException, form: Callable[[object], str]) -> str:
    try:
        return form(error)
    except Exception:  # of somebody else's
        return "it cannot be printed"
