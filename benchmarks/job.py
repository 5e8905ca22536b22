"""What one client process is told, and what its parts hand each other: who opens streams, who pushes, who hears."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol


class Job(NamedTuple):
    """What to do."""

    url: str
    transport: str
    side: str
    """bare, direct (bare too, but past the library's stream), lkstt or livekit."""
    mode: str
    """burst or real time."""
    speed: bool = True
    """With the packages of the ``speed`` extra."""
    streams: int = 1
    """None at all is the ticker alone."""
    windows: int = 3
    """That are counted, one after the other."""
    utterances: int = 1
    """In a window, per stream."""
    slow: float = 1.0
    """How much longer than its audio a tick lasts: counting takes more time than there is."""
    processor_time: bool = False
    """Count nanoseconds of the processor and not instructions, and keep to the clock."""
    asked: bool = True
    """The gateway can be asked how many streams are connected."""


class Event(Protocol):
    def set(self) -> Any: ...
    async def wait(self) -> Any: ...


class Heard:
    """What reached the application of one stream."""

    def __init__(self, make_event: Callable[[], Event]) -> None:
        self.events = 0
        self.finals = 0
        self.latencies: list[int] | None = None
        """Nanoseconds from the gateway's write to here, where they are wanted."""
        self._make_event = make_event
        self._expected = 0
        self._reached = make_event()

    def hear(self, text: str, *, final: bool) -> None:
        self.events += 1
        if self.latencies is not None:
            self.latencies.append(time.monotonic_ns() - int(text.partition(" ")[0]))
        if final:
            self.finals += 1
            if self.finals == self._expected:
                self._reached.set()

    def expect(self, finals: int) -> Event:
        """Give what is set when so many more have come."""
        self._expected = self.finals + finals
        self._reached = self._make_event()
        return self._reached


class Stream(NamedTuple):
    """One stream, whoever's it is. What pushing gives is awaited, unless it is None."""

    push: Callable[[bytes], Awaitable[Any] | None]
    """Waits for room, where the library knows how."""
    push_now: Callable[[bytes], Awaitable[Any] | None]
    """Does not wait, where the library knows how."""


Spawn = Callable[..., Any]
Open = Callable[[Heard], Coroutine[Any, Any, Stream]]
"""Opens a stream. Nothing is closed: the process ends when it has counted."""
Client = Callable[[Job, Spawn], Coroutine[Any, Any, Open]]
