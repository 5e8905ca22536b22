"""What a recogniser is to the gateway: values, errors and protocols (CONTRACT 6).

There are two sides. An `Engine` is synchronous and hears one utterance after another; it is what somebody writes to
bring their own recogniser. A `Recognizer` is asynchronous and gives the gateway one `RecognizerSession` per socket.
`Transcriber` makes results out of an engine, `WorkerPool` makes a recogniser out of engines in processes of their own.

All times are seconds since the start of the session's audio, exact to the sample.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar, Protocol

from attrs import field, frozen


@frozen
class Word:
    """One recognised word."""

    text: str = field(repr=False)
    start: float
    end: float


@frozen
class Hypothesis:
    """What an engine has understood of one utterance; word times count from the start of that utterance."""

    text: str = field(repr=False)
    words: tuple[Word, ...] = ()


@frozen
class StartOfSpeech:
    """Speech began; a `Final` of the same utterance follows, perhaps an empty one."""

    at: float
    "How far the audio was heard when speech was noticed."


@frozen
class Partial:
    """The text so far of the utterance under way; each one replaces the one before."""

    text: str = field(repr=False)
    start: float
    "Start of the first word."
    end: float
    "How far the audio was heard."
    words: tuple[Word, ...] = ()


@frozen
class Final:
    """The text of an utterance. It stands for all audio from the end of the final before it up to its own end."""

    text: str = field(repr=False)
    "Empty when that audio held no words."
    start: float
    "Start of the first word; without words, the end of the final before."
    end: float
    "How far the audio was heard: silence behind the last word is included."
    words: tuple[Word, ...] = ()


@frozen
class Finalized:
    """The answer to `finalize`: all audio before it is covered by the finals sent so far."""

    end: float


Result = StartOfSpeech | Partial | Final | Finalized


class RecognizerError(Exception):
    """Base of the failures of a recogniser. `code` is the HTTP status, or error code, a gateway answers with."""

    code: ClassVar[int] = 500


class RecognizerMissing(RecognizerError):
    """A package the recogniser needs is not installed; the message names the cure."""

    code = 503


class RecognizerRefused(RecognizerError):
    """The recogniser does not serve this language or sample rate."""

    code = 400


class RecognizerBusy(RecognizerError):
    """All workers are taken: try again later."""

    code = 429


class RecognizerFailed(RecognizerError):
    """A worker died, could not start, or was closed under its session. Another session may work."""


class Engine(Protocol):
    """One synchronous recogniser that hears one session at a time, utterance by utterance."""

    @property
    def sample_rate(self) -> int:
        """The only sample rate that `accept` takes, in Hz."""

    def start(self) -> None:
        """Begin a new session: forget the speaker, the noise and any open utterance."""

    def accept(self, pcm: bytes) -> None:
        """Hear the next samples: 16-bit little-endian mono, 30 ms at a time (less before a `final`)."""

    @property
    def speaking(self) -> bool:
        """Whether the current utterance has come to its speech."""

    def partial(self) -> Hypothesis:
        """What is understood so far of the current utterance."""

    def endpoint(self) -> bool:
        """Whether the utterance is over, so that `final` and `reset` should follow."""

    def final(self) -> Hypothesis:
        """End the utterance and say what it was. Called once, before `reset`."""

    def reset(self) -> None:
        """Begin the next utterance with the next sample accepted."""


class RecognizerSession(Protocol):
    """The recognition of one stream of audio. Iterate over it for results."""

    async def accept(self, pcm: bytes) -> None:
        """Hear more audio; waits while the recogniser is seconds behind. Raises `RecognizerFailed`."""

    async def finalize(self) -> None:
        """Ask for finals of all audio so far; `Finalized` follows them. The session goes on."""

    def __aiter__(self) -> AsyncIterator[Result]:
        """Results until `aclose`; after a failure the results that came before it, then `RecognizerFailed`."""

    async def aclose(self) -> None:
        """Give the worker back. Results not yet taken are dropped. Safe to call twice."""


class Recognizer(Protocol):
    """Where sessions come from."""

    async def start(self) -> None:
        """Get ready, so that the first session does not wait. Raises `RecognizerMissing`, `RecognizerFailed`."""

    async def open(self, *, sample_rate: int, language: str) -> RecognizerSession:
        """Begin a session. Raises `RecognizerBusy`, `RecognizerRefused`, `RecognizerMissing`, `RecognizerFailed`."""

    async def aclose(self) -> None:
        """End all sessions and everything that runs for them. Safe to call twice."""
