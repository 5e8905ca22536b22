"""How long an outage may last and how long to wait in it (CONTRACT decision 7)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from .options import RetryPolicy

PROOF = 10.0
"""Seconds of a live session that end an outage as surely as a final does."""


@define
class Outage:
    """Failures in a row since the stream last worked."""

    policy: RetryPolicy
    random: Callable[[], float] | None = None
    failures: int = 0
    started: float | None = None
    """When the first of them happened."""

    def over(self) -> None:
        """The stream works again."""
        self.failures = 0
        self.started = None

    def failed(self, now: float) -> bool:
        """Count a failure; return whether another attempt is worth making, or the outage has lasted long enough."""
        self.failures += 1
        if self.started is None:
            self.started = now
        return now - self.started < self.policy.outage

    def delay(self, retry_after: float | None) -> float:
        """Seconds to wait for the next attempt; ``Retry-After``, capped, is a floor."""
        # Past 2^60 the power says nothing that max_delay does not.
        delay = min(self.policy.max_delay, self.policy.first_delay * 2.0 ** min(self.failures - 1, 60))
        if self.random is not None:
            delay *= 0.5 + self.random() / 2
        return delay if retry_after is None else max(delay, min(retry_after, self.policy.retry_after))
