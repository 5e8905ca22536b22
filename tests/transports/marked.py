"""Audio in which every two neighbouring samples tell where they are, and a recogniser that writes down what it got.

So nothing has to be guessed: which samples a gateway received and when, which of them never, whether a word was lost or
doubled, and how far a time is off. Marked audio is all positions of a stream from 0 on. In it every ``WORD`` is a word
named by its number, in utterances with pauses between them.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Collection, Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Any

from attrs import define, field

from lkstt_transports.gateway.faults import CloseSocket, CutTransport, Fault, SendRaw
from lkstt_transports.gateway.recognizers import Final, Finalized, Partial, Result, StartOfSpeech, Word

RATE = 16000
WORD = RATE // 5
"""Samples of a word."""
WORDS = 12
"""In an utterance; a pause of three words' length follows."""
UTTERANCE = (WORDS + 3) * WORD
UTTERANCE_SECONDS = UTTERANCE / RATE
SPOKEN_SECONDS = WORDS * WORD / RATE
"""Of an utterance without its pause."""
ENDPOINT = round(0.3 * RATE)
"""Samples of pause after which a final comes."""

Span = tuple[int, int]
"""Positions from the first up to the second."""

# A block is two samples: the low 15 bits of its number, then the bits above with the sign bit set.
_BITS = 15
_LOWS = array("H", range(1 << _BITS))
_STRETCH = 2 << _BITS  # samples in which the high bits stay the same


@lru_cache(8)
def _stretch(high: int) -> bytes:
    samples = array("H", bytes(2 * _STRETCH))
    samples[0::2] = _LOWS
    samples[1::2] = array("H", [1 << _BITS | high]) * len(_LOWS)
    return samples.tobytes()


def marked(start: int, end: int) -> bytes:
    """Give the audio between two positions."""
    parts = []
    while start < end:
        high, begin = divmod(start, _STRETCH)
        stop = min(_STRETCH, begin + end - start)
        parts.append(_stretch(high)[2 * begin : 2 * stop])
        start += stop - begin
    return b"".join(parts)


def position_of(pcm: bytes) -> int:
    """Find where marked audio of two samples or more begins; any cut through it can be found."""
    first, second = array("H", pcm[:4])
    if first >> _BITS:
        high, low = first & (1 << _BITS) - 1, second
        following = ((high << _BITS | low) + (low == 0) * (1 << _BITS)) * 2
        return following - 1
    return (((second & (1 << _BITS) - 1) << _BITS) | first) * 2


def number_of(position: int) -> int:
    """Give the number of the word that begins at or behind a position."""
    utterance, within = divmod(position, UTTERANCE)
    return utterance * WORDS + min(WORDS, -(-within // WORD))


def begin_of(number: int) -> int:
    """Give the position at which a word begins."""
    utterance, within = divmod(number, WORDS)
    return utterance * UTTERANCE + within * WORD


def numbers_in(text: str) -> list[int]:
    """Read the words of a transcript."""
    return [int(word) for word in text.split()]


def words_within(samples: int) -> list[int]:
    """List the words that end within the first so many samples."""
    return [number for number in range(number_of(samples)) if begin_of(number) + WORD <= samples]


def words_across(start: int, end: int) -> list[int]:
    """List the words that have a sample in a span."""
    return [number for number in range(max(0, number_of(start) - 1), number_of(end)) if begin_of(number) + WORD > start]


class Ending(StrEnum):
    """What a session does when it is asked to finalize."""

    ORDERLY = "orderly"
    """A final for what is left, and ``session.finalized``."""
    SILENCE = "silence"
    """Nothing, for good."""
    ONLY_ACKNOWLEDGED = "only acknowledged"
    """``session.finalized`` without the final."""
    LATE_SECOND = "late second final"
    """Two finals for what is left, the second one after ``session.finalized`` and ``LATE`` seconds."""
    CUT = "cut"
    CLOSE_1011 = "1011"
    DRIP_TEXT = "interim drip of new text"
    """For good, and no final."""
    DRIP_EMPTY = "interim drip of empties"
    """For good, behind an orderly answer."""


LATE = 0.5
DRIP = 0.1
"""Seconds between the interims of a drip."""


@define(eq=False)
class Session:
    """What one session of the gateway heard and said."""

    spans: list[tuple[float, int, int]] = field(factory=list)
    """Time of arrival, first position and end of every piece of audio."""
    finals: list[tuple[float, str]] = field(factory=list)
    finalize_at: float | None = None

    @property
    def heard(self) -> list[Span]:
        """Positions received."""
        return merged((start, end) for _, start, end in self.spans)


class MarkedRecognizer:
    """A ``Recognizer`` for marked audio: what it says depends on the samples alone.

    The first ending is that of the first session, and so on; the last one is that of all others.
    """

    def __init__(self, *endings: Ending) -> None:
        self._endings = endings or (Ending.ORDERLY,)
        self.sessions: list[Session] = []

    async def start(self) -> None:
        """Do nothing."""

    async def open(self, *, sample_rate: int, language: str) -> MarkedSession:
        """Begin the next session."""
        assert sample_rate == RATE
        ending = self._endings[min(len(self.sessions), len(self._endings) - 1)]
        self.sessions.append(Session())
        return MarkedSession(self.sessions[-1], ending)

    async def aclose(self) -> None:
        """Do nothing."""

    def lost(self, samples: int, delivered: Collection[str]) -> list[Span]:
        """Find what of the first ``samples`` no gateway received, or only one that died before it said anything of it.

        ``delivered``: texts of the finals that the application got. All sessions but the last are taken for dead.
        """
        safe: list[Span] = []
        for session in self.sessions:
            until = samples
            if session is not self.sessions[-1]:
                told = [numbers_in(text)[-1] for _, text in session.finals if text in delivered]
                until = begin_of(max(told)) + WORD if told else 0
            safe += [(start, min(end, until)) for start, end in session.heard if start < until]
        return gaps(merged(safe), samples)


class MarkedSession:
    """A ``RecognizerSession``; made by ``MarkedRecognizer.open``."""

    def __init__(self, session: Session, ending: Ending) -> None:
        self._session = session
        self._ending = ending
        self._results: asyncio.Queue[Result | Fault | None] = asyncio.Queue()
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._count = 0  # samples of this session
        self._begin = 0  # position at which the present stretch without a gap began
        self._end = 0  # position behind the newest sample
        self._words: list[Word] = []

    async def accept(self, pcm: bytes) -> None:
        """Hear audio, and write it down. Raises ValueError for audio that is not marked."""
        samples = len(pcm) // 2
        start = self._end
        if pcm != marked(start, start + samples):
            start = position_of(pcm)
            if pcm != marked(start, start + samples):
                raise ValueError("this is no marked audio")
        self._session.spans.append((time.monotonic(), start, start + samples))
        if start != self._end or not self._count:
            self._begin = start
            if self._words and number_of(start) // WORDS != int(self._words[0].text) // WORDS:
                self._final()
        self._end = start + samples
        self._count += samples
        self._hear(start)

    async def finalize(self) -> None:
        """End as it was said."""
        self._session.finalize_at = time.monotonic()
        ending = self._ending
        if ending is Ending.CUT:
            self._give(CutTransport())
        elif ending is Ending.CLOSE_1011:
            self._give(CloseSocket(1011))
        elif ending in (Ending.DRIP_TEXT, Ending.DRIP_EMPTY):
            self._tasks.append(asyncio.create_task(self._drip()))
        elif ending is Ending.LATE_SECOND:
            self._tasks.append(asyncio.create_task(self._say_in_two()))
        elif ending is not Ending.SILENCE:
            if ending is Ending.ORDERLY:
                self._final()
            self._give(Finalized(self._count / RATE))

    def __aiter__(self) -> AsyncIterator[Any]:
        """Iterate over results; faults travel with them."""
        return self

    async def __anext__(self) -> Result | Fault:
        """Wait for the next one."""
        result = None if self._closed else await self._results.get()
        if result is None:
            raise StopAsyncIteration
        return result

    async def aclose(self) -> None:
        """End the iteration."""
        self._closed = True
        self._give(None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, first: int) -> None:
        """Say what became known by the samples from ``first`` on."""
        for number in range(max(0, number_of(first) - 1), number_of(self._end) + 1):
            start, end = begin_of(number), begin_of(number) + WORD
            if self._begin <= start and first < end <= self._end:
                if not self._words:
                    self._give(StartOfSpeech(self._time(end)))
                self._words.append(Word(str(number), self._time(start), self._time(end)))
                self._give(Partial(_text(self._words), self._words[0].start, self._count / RATE, tuple(self._words)))
            endpoint = end + ENDPOINT
            if number % WORDS == WORDS - 1 and first < endpoint <= self._end:
                self._final()

    def _final(self) -> None:
        self._say(len(self._words))

    def _say(self, count: int) -> None:
        words, self._words = tuple(self._words[:count]), self._words[count:]
        if words:
            text = _text(words)
            self._session.finals.append((time.monotonic(), text))
            self._give(Final(text, words[0].start, words[-1].end, words))

    async def _say_in_two(self) -> None:
        self._say(len(self._words) // 2)
        self._give(Finalized(self._count / RATE))
        await asyncio.sleep(LATE)
        self._final()

    async def _drip(self) -> None:
        if self._ending is Ending.DRIP_EMPTY:
            self._final()
            self._give(Finalized(self._count / RATE))
        while True:
            await asyncio.sleep(DRIP)
            if self._ending is Ending.DRIP_EMPTY:
                self._give(SendRaw(b'{"type":"interim_transcript","transcript":""}'))
            else:
                last = self._words[-1]
                self._words.append(Word(str(int(last.text) + 1), last.start, last.end))
                self._give(Partial(_text(self._words), self._words[0].start, last.end, tuple(self._words)))

    def _time(self, position: int) -> float:
        """Session time of a position in the present stretch."""
        return (self._count - (self._end - position)) / RATE

    def _give(self, result: Result | Fault | None) -> None:
        self._results.put_nowait(result)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join spans that touch."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        elif start < end:
            joined.append((start, end))
    return joined


def gaps(spans: list[Span], samples: int) -> list[Span]:
    """List what of the first ``samples`` no span covers."""
    edges = [0, *(edge for span in spans for edge in span), samples]
    return [(start, end) for start, end in zip(edges[0::2], edges[1::2], strict=True) if start < end]


def total(spans: Iterable[Span]) -> float:
    """Sum up seconds."""
    return sum(end - start for start, end in spans) / RATE


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)
