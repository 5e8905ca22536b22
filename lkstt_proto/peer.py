"""What both ends share: results, the clock, timers, and the steps of the session and speech tables.

After any input: take the actions, take the events, look at the deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from .actions import Action
from .machine import Machine
from .options import Limits
from .sender import EPSILON
from .tables import SESSION, SessionState

MessageT = TypeVar("MessageT")

BATCH = 16
"""Messages given at a time: enough to fill a socket, few enough that a slow one is noticed soon."""


class Timer(StrEnum):
    """Everything that may wait for the clock, in the order in which due timers are stepped."""

    CONNECT = "connect"
    BACKOFF = "backoff"
    CLOSE = "close"
    PING = "ping"
    LOST = "lost"
    PACE = "pace"
    QUIET = "quiet"
    DRAIN = "drain"


class Peer(Generic[MessageT]):
    """One end of a session in memory."""

    __slots__ = ("_limits", "_now", "_outbox", "_session", "_timers", "deadline")

    # Plain functions and not bound methods: an object that holds methods of its own waits for the garbage collector.
    _HEARD: ClassVar[Mapping[StrEnum, Callable[[Any, Any], None]]]
    """What to do with the peer's message, by the session table's effect."""
    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]]
    """What to do when a timer is due."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._timers: dict[Timer, float] = {}
        self.deadline: float | None = None
        """When to call ``handle_timeout`` at the latest, on the clock of ``now``; None: nothing waits for time."""
        self._now = float("-inf")
        self._outbox: deque[Action] = deque()
        self._session = Machine(SESSION)

    @property
    def session_state(self) -> SessionState:
        """What was said on the present transport."""
        return self._session.state

    def handle_timeout(self, now: float) -> None:
        """Step every timer that is due. Too early or twice is harmless; then look at the results as after any input."""
        self._advance(now)
        while any(due <= self._now + EPSILON for due in self._timers.values()):
            for timer in Timer:
                due = self._timers.get(timer)
                if due is not None and due <= self._now + EPSILON:
                    self._cancel(timer)
                    self._TIMEOUTS[timer](self)

    def _advance(self, now: float) -> None:
        # The largest time seen: a clock that runs backwards stands still instead.
        if now > self._now:
            self._now = now

    def _arm(self, timer: Timer, at: float) -> None:
        timers = self._timers
        timers[timer] = at
        self.deadline = at if len(timers) == 1 else min(timers.values())

    def _cancel(self, *timers: Timer) -> None:
        for timer in timers:
            self._timers.pop(timer, None)
        self.deadline = min(self._timers.values(), default=None)

    def _say(self, trigger: str, data: bytes) -> None:
        """Send our own message where the session table has one to send. Raises MissingRow where it is out of place."""
        if self._session.step(trigger):
            self._outbox.append(data)

    def _listen(self, trigger: str, message: MessageT) -> None:
        """Pass on the peer's message. Raises MissingRow where it is out of place."""
        for effect in self._session.step(trigger):
            self._HEARD[effect](self, message)
