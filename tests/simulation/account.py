"""The account: where every sample is, by the wire alone (CONTRACT decisions 1 to 3 and 10).

It is kept from what is pushed, what is taken, and what the gateway's messages are about. Audio is told by one number,
the *frontier*: all audio before it is acknowledged or was dropped, none behind it is acknowledged.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from attrs import define, field

from lkstt_proto import Connection, LinkState

from .plan import Plan
from .recogniser import Truth
from .tape import RATE
from .world import SECOND, Violation, World

GRAIN = RATE // 4
"""Samples by which the core may take audio for heard too early, beside what arrives in one piece."""

LISTENING = (LinkState.UP, LinkState.DROPPING, LinkState.CLOSING)

SLACK = 1e-5
"""Seconds: above the error of a sum of floats, far below any patience."""


@define
class SessionView:
    """What the wire carried in one session."""

    number: int
    opened: float
    cursor: int
    """Position of the next sample, if nothing is dropped."""
    backlog: int
    """Samples to be sent at the replay pace."""
    count: int = 0
    pieces: list[tuple[int, int]] = field(factory=list)
    """Counts and the positions they stand for, one for each stretch without a gap."""
    confirmed: int = 0
    told: float = float("-inf")
    """Samples that some transcript has spoken of, less those of the time that had passed when it came."""
    settings: dict[str, Any] | None = None
    """What the gateway was told; None before ``session.create``."""
    over: bool = False
    """``session.close`` or a Disconnect went out."""
    owes_finalize: bool = False
    unanswered: int = 0
    """Pings without their pongs."""
    pinged_at: float | None = None
    """When the last of them was taken."""
    least: float = 0.0
    """How long that pong may surely take."""
    most: float = 0.0
    """How long it may take at all."""

    def position(self, count: int) -> int:
        """The position before which ``count`` samples were sent."""
        for start, position in reversed(self.pieces):
            if count > start:
                return position + count - start
        return self.pieces[0][1] if self.pieces else self.cursor


class Before(NamedTuple):
    """How things stood before a message was handed in."""

    speaking: bool
    listening: bool
    finalize_sent: bool
    data: bytes


class Account:
    """Keeps the account of one stream's audio."""

    def __init__(self, world: World, plan: Plan, connection: Connection) -> None:
        self._world = world
        self._plan = plan
        self._connection = connection
        # The only looks behind the curtain: counters that have no public name in samples.
        self._ring = connection._ring
        self._ledger = connection._sender.ledger
        self._drain = connection._drain
        self._outage = connection._outage
        self._counters = connection._counters
        # Audio, in samples.
        self._bytes = 0
        self._pushed = 0
        self._frontier = 0
        self._acknowledged = 0
        self._gaps: list[tuple[int, int]] = []
        self._jumps = 0
        self._handed = 0
        self._unique = 0
        self._resent = 0
        self._room = 0
        self._dropped_before = 0
        self._marks: list[int] = []
        # Words: why each of them is acknowledged, and in which session.
        self._next_word = 0
        self._causes: dict[int, tuple[str, int]] = {}
        self._exact = 0
        self._estimated = False
        self._hears = False
        # Messages.
        self._sent = 0
        self._received = 0
        self._finals: list[Truth] = []
        # Sessions.
        self._session: SessionView | None = None
        self._sessions = 0
        self._settings: dict[str, Any] = {}
        # Time, in seconds.
        self._heard_at = 0.0
        self._finalized_at = 0.0
        self._outage_since: float | None = None

    @property
    def place_of_next(self) -> int:
        """Where the core says that the next sample to be sent lies: for a message too short to tell."""
        count = self._session.count if self._session else 0
        return self._connection._sender.timeline.position_of(count + 1) - 1

    # What the application does.

    def pushing(self, size: int) -> None:
        """``size`` bytes are about to be pushed."""
        self._bytes += size
        self._room = self._connection.room - size
        self._dropped_before = self._counters.dropped

    def pushed(self) -> None:
        """They were."""
        self._pushed = self._bytes // 2
        dropped = self._counters.dropped - self._dropped_before
        if dropped > max(0, (1 - self._room) // 2):
            raise Violation(f"{dropped} samples were dropped though {self._room} bytes of room were left")
        self._conserve()

    def flushed(self) -> None:
        """``flush`` was called, and the actions were taken."""
        session, connection = self._session, self._connection
        if session is None or session.over or connection.link_state is not LinkState.UP:
            return
        if session.cursor != self._pushed and connection._sender.may_send(self._world.seconds):
            raise Violation(f"flushed at {self._pushed}, but sent up to {session.cursor}")

    def marked(self, position: int) -> None:
        """A finalize is to be sent at ``position``."""
        self._marks.append(position)
        session = self._session
        if session is not None and session.count and session.cursor == position:
            session.owes_finalize = True

    def finalizing(self) -> None:
        """``finalize`` is about to be called."""
        self.marked(self._pushed)

    def updated(self, key: str, value: object) -> None:
        """A setting was changed."""
        self._settings[key] = value

    # What is taken.

    def sent(self, data: bytes) -> None:
        """A message other than audio was taken."""
        session = self._session
        self._sent += 1
        message = json.loads(data)
        kind = message["type"]
        if session is None or session.over or (session.settings is None) is not (kind == "session.create"):
            raise Violation(f"{kind} is out of order")
        if kind == "session.create":
            session.settings = {"model": message["model"], **message["settings"]["extra"]}
        elif kind == "session.update":
            assert session.settings is not None
            session.settings |= message["settings"].get("extra", {})
            session.settings["model"] = message["settings"].get("model", session.settings["model"])
        elif kind == "session.finalize":
            session.owes_finalize = False
            self._finalized_at = self._world.seconds
        elif kind == "session.close":
            session.over = True

    def sent_audio(self, position: int, samples: int) -> None:
        """Audio was taken."""
        session, limits = self._session, self._plan.limits
        self._sent += 1
        if session is None or session.over or session.settings is None:
            raise Violation("audio without a session")
        end = position + samples
        if position < session.cursor or samples < 1 or end > self._pushed:
            raise Violation(f"audio at {position} to {end} where {session.cursor} should follow")
        if session.owes_finalize:
            raise Violation(f"audio at {position} before the finalize that its mark asks for")
        if position > session.cursor:
            self._jumps += 1
            self._gap(session.cursor, position)
        elif self._gaps and any(start < end and position < stop for start, stop in self._gaps):
            raise Violation(f"audio at {position} was told as dropped")
        if not session.pieces or position != session.cursor:
            session.pieces.append((session.count, position))
        if session.count < session.backlog:
            due = session.opened + session.count / (limits.replay_pace * RATE)
            if due > self._world.seconds + SLACK:
                raise Violation(f"replayed {due - self._world.seconds:.3f} s too early")
        session.count += samples
        if session.count > session.confirmed + max(limits.ahead * RATE, RATE // 20) + 0.5:
            raise Violation("too far ahead of what is confirmed")
        session.cursor = end
        if self._marks:
            if any(position < mark < end for mark in self._marks):
                raise Violation("a message goes across a finalize mark")
            session.owes_finalize = end in self._marks
        fresh = max(0, end - max(position, self._handed))
        self._handed = max(self._handed, end)
        self._unique += fresh
        self._resent += samples - fresh

    def pinged(self, accepted: int | None) -> int:
        """A ping was taken; return how many samples have gone before it."""
        session, limits = self._session, self._plan.limits
        if session is None:
            raise Violation("a ping without a session")
        session.unanswered += 1
        session.pinged_at = self._world.seconds
        # A ping that overtakes what is being written has less audio before it; how much, the core may not know exactly.
        liveness = self._connection._sender.liveness
        before = session.count if accepted is None else liveness.accepted
        session.least = limits.ping_timeout + (before - session.confirmed) / RATE
        session.most = limits.ping_timeout + (session.count - liveness.confirmed) / RATE
        return session.count if accepted is None else accepted

    def _gap(self, start: int, end: int) -> None:
        """Audio that was jumped over: it must have been dropped."""
        apart = [gap for gap in self._gaps if gap[1] < start or end < gap[0]]
        touching = [gap for gap in self._gaps if not (gap[1] < start or end < gap[0])]
        apart.append((min([start, *(gap[0] for gap in touching)]), max([end, *(gap[1] for gap in touching)])))
        self._gaps = apart

    # What is heard.

    def hearing(self, data: bytes | None, truth: Truth | None) -> Before:
        """A message is about to be handed in, or None for a pong."""
        connection = self._connection
        if data is None:
            data = b""
        elif connection.link_state in LISTENING:
            self._received += 1
        self._heard_at = max(self._heard_at, self._world.seconds)
        if truth is not None:
            truth.exact_before = self._exact
            truth.estimated_before = self._estimated
            truth.handed = self._handed
            truth.ledger = self._unique, self._resent
        return Before(
            connection.speaking, connection.link_state in LISTENING, self._drain.finalize_at is not None, data
        )

    def heard(self, truth: Truth | None, before: Before) -> None:
        """A message was handed in."""
        session = self._session
        if not before.listening or session is None:
            return
        if truth is not None and truth.timed:
            end = min(truth.end_count + truth.beyond, session.count)
            session.told = max(session.told, end - self._world.seconds * RATE)
        if truth is not None and truth.kind == "final" and (truth.words or before.speaking):
            self._finals.append(truth)
        if truth is None:
            if before.data == b'{"type":"start_of_speech"}':
                self._hears = True
            elif b'"final_transcript"' in before.data and before.finalize_sent:
                # Whether a hostile one was a final at all is for the core to say; if so, it was an untimed one.
                self._acknowledge_to(self._ring.acknowledged, "estimate", session.cursor)
        elif truth.kind != "final":
            if truth.words and not (truth.timed and truth.end <= self._exact):
                self._hears = True
        elif self._plan.clock_restarts:
            self._exact = self._connection._hearing.exact
            self._acknowledge_to(self._ring.acknowledged, "unclear", session.cursor)
        else:
            self._acknowledged_by(truth, session, finalize_sent=before.finalize_sent)

    def _acknowledged_by(self, final: Truth, session: SessionView, *, finalize_sent: bool) -> None:
        """What a final acknowledges (CONTRACT decision 2)."""
        cause, target = "exact", self._frontier
        if final.timed:
            end = min(final.end_count + final.beyond, session.count)
            target = session.position(end)
            if not final.beyond and target != final.end:
                raise Violation(f"{end} samples into the session are {target} to us and {final.end} to the gateway")
            self._exact = max(self._exact, target)
        elif final.words or finalize_sent:
            cause, target = "estimate", session.cursor
            self._estimated = True
        target = max(target, self._frontier)
        if self._ring.acknowledged != target:
            raise Violation(f"acknowledged up to {self._ring.acknowledged} and not {target} ({cause})")
        self._acknowledge_to(target, cause, session.cursor)

    def confirmed(self, count: int, heard: int, before: Before) -> None:
        """A pong was handed in: it speaks for ``count`` samples.

        ``heard`` is what a recogniser that hears in real time has heard by now; one that was faster said so.
        """
        session = self._session
        if not before.listening or session is None:
            return
        session.confirmed = max(session.confirmed, count)
        session.unanswered -= 1
        if not session.unanswered:
            session.pinged_at = None
        if self._plan.bursts:
            heard = session.confirmed  # the core cannot know how long ago all of it came
        # A recogniser that was faster goes on from where it told to be; and audio comes in pieces.
        faster = session.told + self._world.seconds * RATE
        piece = self._plan.longest_frame + self._plan.jitter * RATE // SECOND
        heard = min(session.confirmed, round(max(heard, faster)) + GRAIN + piece)
        limit = self._frontier
        if self._hears and not before.speaking and session.pieces:
            limit = max(limit, session.position(heard) - round(self._plan.limits.lookback * RATE))
        self._acknowledge_to(self._ring.acknowledged, "silence", limit)

    def _acknowledge_to(self, position: int, cause: str, limit: int) -> None:
        """Audio before ``position`` is acknowledged; more than ``limit`` must not be."""
        if position > max(self._frontier, limit):
            raise Violation(f"acknowledged up to {position}, beyond {limit} ({cause})")
        if position <= self._frontier:
            return
        if cause != "silence":
            self._outage_since = None
        start, self._frontier = self._frontier, position
        self._acknowledged += position - start
        for gap_start, gap_end in self._gaps:
            self._acknowledged -= max(0, min(gap_end, position) - max(gap_start, start))
        words = self._plan.words
        while self._next_word < len(words) and words[self._next_word].end <= position:
            self._causes[self._next_word] = cause, self._sessions
            self._next_word += 1

    # At every step.

    def _conserve(self) -> None:
        """No sample is lost, and none is acknowledged without a reason."""
        ring, dropped = self._ring, self._counters.dropped
        if ring.acknowledged != self._frontier:
            raise Violation(f"acknowledged up to {ring.acknowledged} and not {self._frontier}, without a reason")
        if self._pushed != self._acknowledged + dropped + ring.unacknowledged:
            raise Violation(
                f"{self._pushed} samples were pushed, {self._acknowledged} acknowledged, {dropped} dropped, "
                f"{ring.unacknowledged} are left"
            )
