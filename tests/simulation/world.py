"""The world: a clock of whole microseconds, what is to happen when, and a trace of what did."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from random import Random
from typing import Any
from zlib import crc32

SECOND = 1_000_000
"""Microseconds."""

MOST_STEPS = 100_000
"""Happenings in one run; more of them mean that it goes round in circles."""


class Violation(AssertionError):
    """Something that must never be."""


class Order(IntEnum):
    """What comes first in the same microsecond: data that has arrived is handed in before timers are judged."""

    NETWORK = 0
    GATEWAY = 1
    APPLICATION = 2
    TIMER = 3


class World:
    """One run's time, luck and trace."""

    __slots__ = ("_heap", "_sequence", "digest", "now", "random", "steps", "stopped", "tell")

    def __init__(self, seed: int) -> None:
        self.now = 0
        """Microseconds since the run began."""
        self.random = Random(f"world {seed}")
        self.digest = 0
        self.steps = 0
        self.stopped = False
        self.tell: Callable[[str], None] | None = None
        """Where the trace goes, if anybody reads it."""
        self._heap: list[tuple[int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    @property
    def seconds(self) -> float:
        """The time as the core is told it."""
        return self.now / SECOND

    def at(self, when: int, order: Order, call: Callable[..., None], *args: Any) -> None:
        """Have ``call`` happen at ``when``."""
        self._sequence += 1
        heappush(self._heap, (when, order, self._sequence, call, args))

    def after(self, delay: float, order: Order, call: Callable[..., None], *args: Any) -> None:
        """Have ``call`` happen ``delay`` microseconds from now."""
        self.at(self.now + int(delay), order, call, *args)

    def run(self) -> None:
        """Let everything happen, in order, until somebody stops it or nothing is left."""
        heap = self._heap
        while heap and not self.stopped:
            self.now, _, _, call, args = heappop(heap)
            call(*args)
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Violation("the run goes round in circles")

    def trace(self, line: str) -> None:
        """Tell what happens, if anybody listens; where it happens often, ask ``tell`` first."""
        if self.tell:
            self.tell(line)

    def note(self, what: bytes) -> None:
        """Add to the digest."""
        self.digest = crc32(what, self.digest ^ self.now & 0xFFFFFFFF)

    def chance(self, probability: float) -> bool:
        """Whether a thing of this probability happens."""
        return probability > 0 and self.random.random() < probability
