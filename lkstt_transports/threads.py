"""Threads for an adapter that blocks: where they wait, and the one that gives a stream its turns.

Nothing in here knows what is waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from typing import Protocol
from weakref import WeakMethod

Deed = Callable[[], object]
"""Something to do, later or elsewhere."""


class Lot(list[threading.Lock]):
    """Where threads wait to be woken, all at once. It is used with the stream's lock, and waited for without.

    So nothing has to be put right when the waiting is interrupted: whoever waits has no lock to take again.
    """

    def queue_up(self) -> Deed:
        """Give what waits until all are woken."""
        ticket = threading.Lock()
        ticket.acquire()
        self.append(ticket)
        return ticket.acquire

    def unpark_all(self) -> None:
        """Wake all who queued up."""
        tickets = self[:]
        self.clear()
        for ticket in tickets:
            ticket.release()


class Place(Protocol):
    """What a thread waits with."""

    def wait(self, seconds: float | None, *, receiving: bool) -> None:
        """Block until something has come, ``wake`` was called, or the time is up."""

    def wake(self) -> None:
        """Have ``wait`` return, now or as soon as it is called."""


class Pause:
    """A place where nothing comes."""

    def __init__(self) -> None:
        # Unlike an Event it survives an interrupt or a finalizer in the middle of anything.
        self._calls: SimpleQueue[None] = SimpleQueue()

    def wait(self, seconds: float | None, *, receiving: bool) -> None:  # noqa: ARG002 (as a Place does)
        """Block until ``wake`` was called, or the time is up."""
        with suppress(Empty):
            self._calls.get(timeout=seconds)

    def wake(self) -> None:
        """Have ``wait`` return."""
        self._calls.put(None)


class Turns(threading.Thread):
    """Gives the owner of a method its turns, until that wants no more or its owner is dropped.

    ``turn`` takes what the last wait raised, and gives what waits until the next turn, None when it wants no more. In
    between its owner is not held; should it be dropped then, ``place`` is woken and ``link`` closed.
    """

    def __init__(self, turn: Callable[[BaseException | None], Deed | None]) -> None:
        # A daemon: a stream that nobody closed must not keep the program from ending.
        super().__init__(name="lkstt-stream", daemon=True)
        self.place: Place = Pause()
        self.link = ExitStack()
        self._turn = WeakMethod(turn, lambda _: self.place.wake())

    def run(self) -> None:
        """Be the thread."""
        trouble: BaseException | None = None
        while (turn := self._turn()) is not None and (wait := turn(trouble)) is not None:
            del turn
            trouble = None
            try:
                wait()
            except BaseException as error:  # whatever it is, the next turn has to hear of it
                trouble = error
        with suppress(Exception):  # there is nobody to tell
            self.link.close()
