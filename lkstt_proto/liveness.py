"""Is anybody there, and how far ahead of them are we? (CONTRACT section 2, Liveness)

A ping follows silence, or a stretch of audio sent; its pong *confirms* the audio sent before it. Nothing but inbound
traffic proves life, and a peer that has audio to work through may take that long to answer, so that a slow gateway
is back-pressure and not death.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

from .options import Limits


@define
class Liveness:
    """Pings of one session. Counts are samples sent on it; times are on the stream's clock."""

    limits: Limits
    rate: int
    heard: float = 0.0
    """When the last traffic came in, or the transport opened."""
    confirmed: int = 0
    """Samples that a pong answered for."""
    accepted: int = 0
    """Samples that the transport has surely taken: what was taken before the last time of asking."""
    pinged: int = 0
    """Samples sent when the last ping was taken."""
    listened: float = 0.0
    """Samples that were not only confirmed: a recogniser that keeps up with real time has had the time to hear them."""
    due: bool = False
    """A ping waits to be taken."""
    asked: float | None = None
    """When the last ping was taken, while a pong is to come."""
    _unanswered: deque[tuple[float, int]] = field(factory=deque)
    # When each ping without a pong was taken, and behind how many samples: pongs come in the order of their pings.
    _listened_at: float = 0.0
    _allowance: float = 0.0
    _ahead: int = field(init=False)
    _stretch: int = field(init=False)
    allowed: int = field(init=False)
    """How many samples may have been sent on this session at the most, for now."""
    ask_at: int = field(init=False)
    """How many samples have been sent when it is time to ask again; ``NEVER`` while a pong is to come."""
    quiet_until: int = field(init=False)
    """How many samples may have been sent before there is anything to do here."""

    def __attrs_post_init__(self) -> None:
        # An audio message at least, or nothing would ever be sent; and a ping before the next one would not fit.
        chunk = self.rate // 20
        self._ahead = max(round(self.limits.ahead * self.rate), chunk)
        self._stretch = max(1, min(round(self.limits.ping_interval * self.rate), self._ahead - chunk))
        self._settle()

    def begin(self, now: float) -> None:
        """A transport opened."""
        self.heard = now
        self.confirmed = self.accepted = self.pinged = 0
        self.listened = 0.0
        self._listened_at = now
        self.due = False
        self.asked = None
        self._unanswered.clear()
        self._settle()

    def take_ping(self, now: float, sent: int) -> None:
        """A ping goes out behind ``sent`` samples."""
        self._unanswered.append((now, sent))
        self.due = False
        self.asked = now
        self.pinged = sent
        self._allowance = self.limits.ping_timeout + (sent - self.confirmed) / self.rate
        self._settle()

    def answered(self) -> None:
        """The pong came. One that nobody asked for says nothing.

        It answers for the socket and not for the recogniser behind it, which may be far behind when audio comes faster
        than it was spoken. What a slow pong confirms may have arrived together with it: time counts up to its ping.
        """
        if not self._unanswered:
            return
        taken_at, self.confirmed = self._unanswered.popleft()
        self.due = False
        if not self._unanswered:
            self.asked = None
        self._settle()
        if taken_at > self._listened_at:
            heard = self.listened + (taken_at - self._listened_at) * self.rate
            self.listened = max(self.listened, min(self.confirmed, heard))
            self._listened_at = taken_at

    def transcribed(self, count: int, now: float) -> None:
        """A transcript speaks of the first ``count`` samples: they were heard by now, however fast."""
        if count > self.listened:
            self.listened = count
            self._listened_at = now

    def deadline(self) -> float | None:
        """When to ask, or, with a ping on its way, when to give up; None while a ping waits to be taken."""
        if self.due:
            return None
        if self.asked is None:
            return self.heard + self.limits.ping_interval
        return max(self.asked, self.heard) + self._allowance

    def expire(self, now: float) -> bool:
        """The deadline passed; return whether the link is lost. Otherwise a ping is due.

        A timeout noticed more than a second late says more about us than about the peer: ask again first.
        """
        deadline = self.deadline()
        if self.asked is not None and deadline is not None and now - deadline <= LATE:
            return True
        self.due = True
        self._settle()
        return False

    def _settle(self) -> None:
        self.allowed = self.confirmed + self._ahead
        self.ask_at = self.pinged + self._stretch if self.asked is None else NEVER
        self.quiet_until = 0 if self.due else min(self.allowed, self.ask_at - 1)


LATE = 1.0
"""Seconds; a process that was not run for so long has not listened either."""

NEVER = 1 << 62
"""More samples than any session has."""
