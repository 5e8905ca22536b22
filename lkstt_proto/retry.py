"""Failures in a row: what each means for the next attempt, and how long to wait for it (CONTRACT decisions 6 and 7)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from .errors import ConnectError, OutageExceeded, SttError, Verdict, verdict
from .options import RetryPolicy

PROOF = 10.0
"""Seconds of a live session that end an outage as surely as a final does."""


@define
class Outage:
    """Failures since the stream last worked."""

    policy: RetryPolicy
    random: Callable[[], float] | None = None
    failures: int = 0
    started: float | None = None
    """When the first of them happened."""
    last: SttError | None = None
    """The newest failure, of this outage or an earlier one."""
    fatal: SttError | None = None
    """What ends the stream, once no attempt would mend it."""
    delay: float = 0.0
    """Seconds until the next attempt."""
    _opened_at: float | None = None
    _reauthorized: bool = False

    def works(self) -> None:
        """The stream works again: the outage is over."""
        self.failures = 0
        self.started = None
        self._reauthorized = False

    def dialling(self) -> None:
        """An attempt begins."""
        self._opened_at = None

    def opened(self, now: float) -> None:
        """The attempt gave a transport. A token was good, if one was refused before."""
        self._opened_at = now
        if isinstance(self.last, ConnectError):
            self._reauthorized = False

    def timed_out(self, heard: float) -> None:
        """The session ended in silence: it was alive only as long as it was ``heard``."""
        if self._opened_at is not None and heard - self._opened_at >= PROOF:
            self.works()
        self._opened_at = None

    def failed(self, failure: SttError, now: float) -> str:
        """Count a failure and name what it means, as a trigger of the link table.

        ``closed_retry``: another attempt after ``delay``. ``closed_again``: at once, with a new token.
        ``closed_fail``: none, because of ``fatal``.
        """
        self.last = failure
        kind = verdict(failure)
        if kind is Verdict.PERMANENT or (kind is Verdict.UNAUTHORIZED and self._reauthorized):
            self.fatal = failure
            return "closed_fail"
        if self._opened_at is not None and now - self._opened_at >= PROOF:
            self.works()
        self.failures += 1
        if self.started is None:
            self.started = now
        if now - self.started >= self.policy.outage:
            self.fatal = self._exceeded(failure)
            return "closed_fail"
        if kind is Verdict.UNAUTHORIZED:
            self._reauthorized = True
            self.delay = 0.0
            return "closed_again"
        self.delay = self._schedule(failure.retry_after)
        return "closed_retry"

    def _schedule(self, retry_after: float | None) -> float:
        # Past 2^60 the power says nothing that max_delay does not.
        delay = min(self.policy.max_delay, self.policy.first_delay * 2.0 ** min(self.failures - 1, 60))
        if self.random is not None:
            delay *= 0.5 + self.random() / 2
        return delay if retry_after is None else max(delay, min(retry_after, self.policy.retry_after))

    def _exceeded(self, failure: SttError) -> OutageExceeded:
        error = OutageExceeded(
            f"no working session for {self.policy.outage:g} s: the last attempt failed with: {failure}",
            phase=failure.phase,
            close_code=failure.close_code,
            http_status=failure.http_status,
            session_id=failure.session_id,
        )
        error.__cause__ = failure
        return error
