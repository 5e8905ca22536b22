"""When the end of input is answered (CONTRACT decision 5).

Gateways differ in how they answer a finalize: with a final, with ``session.finalized``, with both in either order, or
not at all. Here is what was heard, and until when it is worth listening.
"""

from __future__ import annotations

from attrs import define, field

from .options import Limits

SETTLED = 1.0
"""Seconds for trailing transcripts once ``session.finalized`` came and nothing in particular is missing."""


@define
class Drain:
    """The finish of a stream. Times are on the stream's clock."""

    limits: Limits
    sessions: int = 0
    """Sessions on which the end-of-input finalize was sent."""
    finalize_at: float | None = None
    """When it was sent on this session."""
    finalized_at: float | None = None
    """When it was acknowledged on this session."""
    final: bool = False
    """This session brought a final."""
    answered: bool = False
    """A final followed this session's finalize."""
    fruitful: bool = False
    """This session brought new text or an acknowledgement."""
    latency: float | None = None
    """From a finalize to the first final after it."""
    _text: str = field(default="", repr=False)
    _text_at: float = float("-inf")
    _listening_since: float = float("-inf")

    def begin_session(self) -> None:
        """A transport opened: nothing was heard on it yet."""
        self.finalize_at = self.finalized_at = None
        self.final = self.answered = self.fruitful = False
        self._text = ""  # what is heard again is new to this session

    def end_input(self, now: float, unsent_seconds: float) -> float:
        """The application has no more audio; return the one hard limit, which never moves."""
        return now + self.limits.drain + unsent_seconds

    def finalize_sent(self, now: float) -> None:
        """All audio went out on this session, and the finalize behind it."""
        self.finalize_at = now
        self.sessions += 1

    def finalized(self, now: float) -> None:
        """``session.finalized`` came; one that no finalize of the end preceded means an earlier one."""
        if self.finalize_at is not None:
            self.finalized_at = now

    def listen_again(self, now: float) -> None:
        """Nobody listened until now: what was said meanwhile is still to come."""
        self._listening_since = now

    def interim_came(self, text: str, now: float) -> None:
        """An interim or preflight came; empty or repeated text extends nothing."""
        if text and text != self._text:
            self._text = text
            self._text_at = now
            self.fruitful = True

    def final_came(self, text: str, now: float) -> None:
        """A final came; it answers whatever its text, and what it says is news even if an interim said it before."""
        self.final = True
        if self.finalize_at is not None and not self.answered:
            self.answered = True
            self.latency = now - self.finalize_at
        if text:
            self._text = ""  # what a final says is news even if an interim said it
            self.interim_came(text, now)

    @property
    def acknowledged(self) -> bool:
        """A final or ``session.finalized`` answered the finalize, so that an orderly close is an end."""
        return self.answered or self.finalized_at is not None

    @property
    def barren(self) -> bool:
        """A second session was asked to finalize and brought neither text nor acknowledgement."""
        return self.sessions > 1 and self.finalize_at is not None and not self.fruitful

    def settled_at(self, *, speaking: bool, acknowledged: bool, exactly: bool) -> float | None:
        """When there is nothing left to wait for; None: only the deadline ends it.

        ``acknowledged``: all audio is; ``exactly``: by finals that said so.
        """
        if speaking or self.finalize_at is None:
            return None
        since = max(self.finalize_at, self._text_at, self._listening_since)
        if self.finalized_at is None:
            return since + self.limits.quiet if self.final else None
        since = max(since, self.finalized_at)
        if acknowledged and exactly:
            return self.finalized_at
        if acknowledged or self.answered:
            return since + SETTLED
        return since + self.limits.quiet
