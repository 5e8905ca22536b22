"""Recognisers that understand nothing: for tests that must know what comes, and when.

Both are pure functions of the audio they are given: no clock, no process, the same results for the same samples however
they are cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from ..faults import Fault
from .base import Final, Finalized, Partial, RecognizerError, RecognizerFailed, Result, StartOfSpeech, Word

# EchoRecognizer makes one word of so much audio.
WORD_SECONDS = 0.1

Step = Result | Fault
"""What a script may give."""


class Answer(StrEnum):
    """When `finalize` is answered with `Finalized`."""

    AFTER = "after"
    """Behind the final."""
    BEFORE = "before"
    """Before the final, which the protocol allows (PROTOCOL 3)."""
    NEVER = "never"


@frozen
class At:
    """One thing that a script gives once so many seconds of audio were heard."""

    seconds: float
    step: Step


def _steps(steps: Iterable[At]) -> tuple[At, ...]:
    return tuple(steps)


@frozen
class Script:
    """One session: what it says at which point of the audio, and how it ends."""

    steps: tuple[At, ...] = field(default=(), converter=_steps)
    """Given in this order; one whose audio never comes, nor those behind it, are never given."""
    final: str | None = None
    """Text of the final that `finalize` brings for audio that no final of a step has covered; None: none comes."""
    finalized: Answer = Answer.AFTER
    refusal: RecognizerError | None = None
    """Raised by `open` instead of a session."""


class ScriptRecognizer:
    """A `Recognizer` that plays the first script in the first session, the next one in the next, then the last."""

    def __init__(self, *scripts: Script) -> None:
        """Take the scripts; none at all is a recogniser that hears nothing and answers `finalize`."""
        self._scripts = scripts or (Script(),)
        self._opened = 0

    async def start(self) -> None:
        """Do nothing."""

    async def open(self, *, sample_rate: int, language: str) -> ScriptSession:  # noqa: ARG002  # nothing is understood
        """Begin the next session. Raises what its script says."""
        script = self._scripts[min(self._opened, len(self._scripts) - 1)]
        self._opened += 1
        if script.refusal is not None:
            raise script.refusal
        return ScriptSession(script, sample_rate)

    async def aclose(self) -> None:
        """Do nothing."""


class EchoRecognizer:
    """A `Recognizer` that spells the audio: each word is the first sample of a tenth of a second.

    After `seconds` of audio comes a final, half-way an interim: lost, doubled or reordered audio shows in the text.
    """

    def __init__(self, seconds: float = 1.0) -> None:
        """Say how long an utterance is; it takes whole tenths of a second."""
        self._words = max(1, round(seconds / WORD_SECONDS))

    async def start(self) -> None:
        """Do nothing."""

    async def open(self, *, sample_rate: int, language: str) -> EchoSession:  # noqa: ARG002  # nothing is understood
        """Begin a session."""
        return EchoSession(self._words, sample_rate)

    async def aclose(self) -> None:
        """Do nothing."""


class _Session:
    """Results wait here for the one who iterates."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._results: asyncio.Queue[Step | None] = asyncio.Queue()
        self._closed = False

    # Any: faults are no results, but travel with them.
    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over the results; one reader at a time."""
        return self

    async def __anext__(self) -> Step:
        """Wait for the next result."""
        result = None if self._closed else await self._results.get()
        if result is None:
            raise StopAsyncIteration
        return result

    async def aclose(self) -> None:
        """End the iteration. Safe to call twice."""
        self._closed = True
        self._give(None)

    def _give(self, *results: Step | None) -> None:
        for result in results:
            self._results.put_nowait(result)

    def _check(self) -> None:
        if self._closed:
            raise RecognizerFailed("the session is closed")


class ScriptSession(_Session):
    """A `RecognizerSession` that plays a script; made by `ScriptRecognizer.open`."""

    def __init__(self, script: Script, sample_rate: int) -> None:
        """Begin it; steps at 0 s are given at once."""
        super().__init__(sample_rate)
        self._script = script
        self._next = 0
        self._bytes = 0
        self._covered = 0.0
        self._play()

    async def accept(self, pcm: bytes) -> None:
        """Hear audio. Raises `RecognizerFailed` once closed."""
        self._check()
        self._bytes += len(pcm)
        self._play()

    async def finalize(self) -> None:
        """Give the script's final for what was not covered, and its answer. Raises `RecognizerFailed` once closed."""
        self._check()
        end, answer = self._seconds, self._script.finalized
        if answer is Answer.BEFORE:
            self._give(Finalized(end))
        if self._script.final is not None and end > self._covered:
            self._give(Final(self._script.final, self._covered, end))
            self._covered = end
        if answer is Answer.AFTER:
            self._give(Finalized(end))

    @property
    def _seconds(self) -> float:
        return self._bytes // 2 / self._rate

    def _play(self) -> None:
        steps = self._script.steps
        while self._next < len(steps) and steps[self._next].seconds <= self._seconds:
            step = steps[self._next].step
            self._next += 1
            self._give(step)
            if isinstance(step, Final):
                self._covered = step.end


class EchoSession(_Session):
    """A `RecognizerSession` that spells the audio; made by `EchoRecognizer.open`."""

    def __init__(self, words: int, sample_rate: int) -> None:
        """Begin it; an utterance has `words` words."""
        super().__init__(sample_rate)
        self._length = words
        self._block = round(sample_rate * WORD_SECONDS) * 2
        self._waiting = bytearray()
        self._heard = 0
        self._covered = 0.0
        self._words: list[Word] = []

    async def accept(self, pcm: bytes) -> None:
        """Hear audio. Raises `RecognizerFailed` once closed."""
        self._check()
        self._waiting += pcm
        while len(self._waiting) >= self._block:
            self._hear(self._block)
            if len(self._words) == self._length:
                self._final()
            elif len(self._words) == self._length // 2:
                words = tuple(self._words)
                self._give(Partial(_text(words), words[0].start, words[-1].end, words))

    async def finalize(self) -> None:
        """Give a final for what was not covered, and `Finalized`. Raises `RecognizerFailed` once closed."""
        self._check()
        if len(self._waiting) >= 2:
            self._hear(len(self._waiting) // 2 * 2)
        if self._words:
            self._final()
        self._give(Finalized(self._covered))

    def _hear(self, count: int) -> None:
        start, self._heard = self._heard, self._heard + count // 2
        sample = int.from_bytes(self._waiting[:2], "little", signed=True)
        del self._waiting[:count]
        self._words.append(Word(str(sample), start / self._rate, self._heard / self._rate))
        if len(self._words) == 1:
            self._give(StartOfSpeech(self._heard / self._rate))

    def _final(self) -> None:
        words, self._words = tuple(self._words), []
        self._covered = words[-1].end
        self._give(Final(_text(words), words[0].start, self._covered, words))


def _text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
