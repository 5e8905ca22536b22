"""A recogniser that is never wrong: which words it hears depends on the marked audio alone.

What it does with them is as gateways do it: turns end after some silence, finals come in mid-turn or at its end, with
times or without, and silence may get a final of its own. The times that it gives count the samples of its session; the
places that it knows besides are read from the samples, so that nothing here depends on the client's reckoning.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from random import Random

from attrs import define, field

from .plan import Plan
from .tape import RATE, Word


@define
class Heard:
    """A word, or the part of it that this session got."""

    number: int
    start: int
    end: int
    shift: int
    """Session count minus position."""


@define
class Truth:
    """What a transcript is about, whatever its text says."""

    kind: str
    """``interim``, ``preflight`` or ``final``."""
    words: list[Heard]
    start: int
    """Position of its first sample."""
    end: int
    """Position after its last sample."""
    start_count: int
    end_count: int
    """The same in samples since the session's first one, as stated on the wire."""
    timed: bool = True
    zero: bool = False
    """Stated with a duration of zero."""
    beyond: int = 0
    """Samples by which the stated end passes the true one."""
    exact_before: int = 0
    """Filled in when it is heard: up to where exact finals spoke then."""
    estimated_before: bool = False
    """Filled in when it is heard: whether audio was acknowledged by estimate before."""
    handed: int = 0
    """Filled in when it is heard: the highest position that any transport had."""
    ledger: tuple[int, int] = (0, 0)
    """Filled in when it is heard: samples handed over for the first time, and again."""

    @property
    def text(self) -> str:
        """What it says."""
        return " ".join(f"w{word.number}" for word in self.words)


Say = Callable[[Truth], None]


@define(eq=False)
class Recogniser:
    """One session's recogniser."""

    plan: Plan
    random: Random
    say: Say
    say_onset: Callable[[], None]
    count: int = 0
    """Samples heard."""
    clock_zero: int = 0
    """Where its clock began again."""
    _cursor: int = -1
    _contiguous_from: int = 0
    _next: int = 0
    _segment: list[Heard] = field(factory=list)
    _last_word_count: int = 0
    _last_word_end: int = 0
    _final_count: int = 0
    _turn: bool = False
    _new_words: int = 0
    _silence_judged: int = 0

    def hear(self, position: int, samples: int) -> None:
        """Hear the audio from ``position`` on."""
        words: list[Word] = self.plan.words
        if position != self._cursor:
            self._contiguous_from = position
            self._next = bisect_right(words, position, key=lambda word: word.end)
        shift = self.count - position
        end = position + samples
        self._cursor = end
        self.count += samples
        while self._next < len(words) and words[self._next].end <= end:
            word = words[self._next]
            self._next += 1
            self._begin_turn()
            self._segment.append(Heard(word.number, max(word.start, self._contiguous_from), word.end, shift))
            self._last_word_end, self._last_word_count = word.end, word.end + shift
            self._new_words += 1
            if self.plan.per_final and len(self._segment) >= self.plan.per_final:
                self._final(word.end, word.end + shift)
        talking = self._next < len(words) and words[self._next].start < end
        if talking:
            self._begin_turn()
        if self.plan.interim_every and self._new_words >= self.plan.interim_every and self._segment:
            self._interim(end, self.count)
        if talking or not self._turn:
            self._judge_silence(talking, end)
        elif self.count - self._last_word_count >= self.plan.endpoint:
            self._end_turn(end)

    def finalize(self, *, empty: bool) -> bool:
        """Say what is pending as final; with ``empty``, say something even if nothing is. Tell whether there was."""
        pending = bool(self._segment)
        if pending or (empty and self.count > self._final_count):
            self._end_turn(self._cursor)
            return True
        self._turn = False
        return False

    def _begin_turn(self) -> None:
        if not self._turn:
            self._turn = True
            self._new_words = 0
            if self.plan.onset:
                self.say_onset()

    def _end_turn(self, end: int) -> None:
        self._turn = False
        if not self._segment:
            if self.count > self._final_count and not self.plan.per_final:
                self._final(end, self.count)
            return
        tail = self.plan.tail
        if tail == "word":
            self._final(self._last_word_end, self._last_word_count)
        elif tail == "now":
            self._final(end, self.count)
        else:
            # Within the silence after the last word, and not at a gap, where one count has two places.
            slack = min(self.count - self._last_word_count, end - max(self._last_word_end, self._contiguous_from + 1))
            back = self.random.randint(0, max(0, slack))
            self._final(end - back, self.count - back)

    def _interim(self, end: int, count: int) -> None:
        self._new_words = 0
        first, last = self._segment[0], self._segment[-1]
        if self.random.random() < 0.5:
            end, count = last.end, last.end + last.shift
        kind = "preflight" if self.plan.preflights and self.random.random() < 0.3 else "interim"
        self.say(Truth(kind, list(self._segment), first.start, end, first.start + first.shift, count))

    def _final(self, end: int, count: int) -> None:
        words, self._segment = self._segment, []
        self._new_words = 0
        if words:
            start, start_count = words[0].start, words[0].start + words[0].shift
        else:
            # Silence, told by its length within the present piece.
            length = min(count - self._final_count, end - self._contiguous_from)
            start, start_count = end - length, count - length
        self._final_count = count
        self.say(Truth("final", words, start, end, start_count, count))

    def _judge_silence(self, talking: bool, end: int) -> None:
        if talking or self.count - self._silence_judged < RATE:
            return
        self._silence_judged = self.count
        if self.random.random() < self.plan.empty_finals and self.count > self._final_count:
            self._final(end, self.count)
