"""The judge: what must hold, at every step and at the end (CONTRACT sections 2 to 4).

It reckons for itself, from what is pushed, what is taken, and what the gateway's messages are about. Audio is told by
one number, the *frontier*: all audio before it is acknowledged or was dropped, none behind it is acknowledged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from attrs import define, field

from lkstt_proto import (
    AuthError,
    Connection,
    Event,
    FinalizeTimeout,
    GatewayError,
    LinkState,
    SessionState,
    StreamEnded,
    StreamFailed,
)

from .listener import Listener, samples_of
from .network import Network
from .plan import Plan
from .recogniser import Truth
from .tape import RATE
from .world import SECOND, Violation, World

PROOF = 10.0
"""Seconds of a live session that end an outage."""

PERMANENT = (200, 302, 400, 403, 404)
"""HTTP statuses, among those that the network answers with, that no attempt would mend."""

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


class Judge:
    """Watches one run."""

    def __init__(self, world: World, plan: Plan, connection: Connection, network: Network) -> None:
        self.lost: dict[str, int] = {}
        """Words that never came, by what their audio was acknowledged by."""
        self._world = world
        self._plan = plan
        self._connection = connection
        self._network = network
        self._listener = Listener(plan, network.truths)
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
        # Words.
        self._next_word = 0
        self._causes: dict[int, tuple[str, int]] = {}
        self._exact = 0
        self._estimated = False
        self._hears = False
        self._finals: list[Truth] = []
        # Messages.
        self._sent = 0
        self._received = 0
        # Sessions.
        self._session: SessionView | None = None
        self._sessions = 0
        self._resumed: list[tuple[int, tuple[int, int] | None]] = []  # session; where it began and what was resent
        self._settings: dict[str, Any] = {}
        self._closed_in = LinkState.IDLE
        self._close_code = 0
        self._must_fail = False
        # Time, in seconds.
        self._heard_at = 0.0
        self._paused = 0.0
        self._input_ended = False
        self._close_wished = False
        self._drain_at = float("inf")
        self._end_by = float("inf")
        self._finalized_at = 0.0
        self._closed_at = 0.0
        self._asked_to_wait = 0.0
        self._waits: list[tuple[float, float]] = []
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

    def ending(self) -> None:
        """``end_input`` is about to be called."""
        self._input_ended = True
        limits = self._plan.limits
        self._drain_at = self._world.seconds + limits.drain + self._connection.unsent_seconds
        self._end_by = min(self._end_by, self._drain_at + limits.close)

    def closing_wish(self) -> None:
        """``close`` is about to be called."""
        self._close_wished = True
        self._end_by = min(self._end_by, self._world.seconds + self._plan.limits.close)

    def away(self) -> None:
        """The application stops or goes on reading events."""
        self._heard_at = max(self._heard_at, self._world.seconds)

    def paused(self, length: int) -> None:
        """The process stands still for ``length`` microseconds."""
        self._paused += length / SECOND
        self._heard_at = max(self._heard_at, self._world.seconds + length / SECOND)

    # What is taken.

    def connect(self) -> None:
        """A transport was asked for."""
        if self._session is not None:
            raise Violation("a transport was asked for while there was one")
        if self._closed_at:
            self._waits.append((self._world.seconds - self._closed_at, self._asked_to_wait))

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

    def disconnect(self) -> None:
        """A Disconnect was taken."""
        if self._session is not None:
            self._session.over = True

    def timed_out(self, before: LinkState) -> None:
        """Timers were judged, with the link in the state ``before``."""
        session, connection, plan = self._session, self._connection, self._plan
        if before is not LinkState.UP or connection.link_state is not LinkState.DROPPING or session is None:
            return
        # After a standstill of either side the core counts from when it went on.
        if not plan.freezes and not plan.absences and plan.limits.unread_events > 8:
            early = max(session.pinged_at or 0.0, self._heard_at) + session.least - self._world.seconds
            if early > 1e-3 or session.pinged_at is None:
                raise Violation(f"given up {early:.3f} s too early")

    def _gap(self, start: int, end: int) -> None:
        """Audio that was jumped over: it must have been dropped."""
        apart = [gap for gap in self._gaps if gap[1] < start or end < gap[0]]
        touching = [gap for gap in self._gaps if not (gap[1] < start or end < gap[0])]
        apart.append((min([start, *(gap[0] for gap in touching)]), max([end, *(gap[1] for gap in touching)])))
        self._gaps = apart

    # What is heard.

    def opening(self) -> None:
        """A transport opens."""
        if self._connection.link_state is not LinkState.CONNECTING:
            return  # it crossed our Disconnect
        resumed = self._outage.failures > 0
        backlog = self._ring.unsent if resumed else 0
        self._sessions += 1
        self._session = SessionView(self._sessions, self._world.seconds, self._frontier, backlog)
        if resumed:
            # Which audio was dropped is not known before it is told.
            plain = None if self._counters.dropped else (self._frontier, max(0, self._handed - self._frontier))
            self._resumed.append((self._sessions, plain))
        self._heard_at = max(self._heard_at, self._world.seconds)

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

    # How sessions end.

    def closing(self, code: int, http_status: int | None, retry_after: float | None) -> None:
        """``transport_closed`` is about to be called."""
        now, session = self._world.seconds, self._session
        self._closed_in = self._connection.link_state
        self._close_code = code
        self._closed_at = now
        self._asked_to_wait = min(retry_after or 0.0, self._plan.retry.retry_after)
        settled = self._input_ended and not self._ring.unacknowledged
        self._must_fail = http_status in PERMANENT and self._closed_in is LinkState.CONNECTING and not settled
        if session is not None and now - session.opened >= PROOF:
            self._outage_since = None

    def closed(self) -> None:
        """It was."""
        self._session = None
        if self._must_fail and self._connection.error is None:
            raise Violation("a permanent failure was not the end")
        if self._closed_in is LinkState.CLOSING:
            return
        if self._outage_since is None:
            self._outage_since = self._closed_at
        lasted = self._closed_at - self._outage_since
        if lasted >= self._plan.retry.outage and not self._connection.finished:
            raise Violation(f"an outage of {lasted:.3f} s goes on")

    # At every step.

    def settled(self) -> None:
        """Everything that an input caused was taken."""
        connection, limits, now = self._connection, self._plan.limits, self._world.seconds
        self._conserve()
        ledger = self._ledger
        if ledger.unique != self._unique or ledger.resent != self._resent:
            raise Violation(
                f"{ledger.unique} and {ledger.resent} samples in the ledger, {self._unique} and {self._resent} sent"
            )
        if self._ring.held > 4 * round(limits.audio_buffer * RATE) + 2:
            raise Violation(f"{self._ring.held} bytes of audio are held")
        attempts = self._counters.failures + self._counters.sessions
        # What a cut takes is told stretch by stretch, and there is one for each gap.
        if len(connection._unread) > limits.unread_events + 8 + 4 * attempts + self._jumps:
            raise Violation(f"{len(connection._unread)} events are held")
        if now > self._end_by + self._paused + 1e-3:
            raise Violation(f"not over {now - self._end_by:.3f} s after its limit")
        if connection.link_state is LinkState.UP:
            self._settled_up()
        else:
            self._heard_at = max(self._heard_at, now)
            if connection.finished and (
                connection.deadline is not None
                or connection.session_state not in (SessionState.ENDED, SessionState.FAILED)
            ):
                raise Violation("a finished stream waits for something")

    def _settled_up(self) -> None:
        connection, session, now = self._connection, self._session, self._world.seconds
        if not connection.readable or self._plan.limits.unread_events <= 8:
            # Each time that so few unread events are read, the peer gets its time anew.
            self._heard_at = max(self._heard_at, now)
        elif session is not None:
            until = self._heard_at + self._plan.limits.ping_interval
            if session.pinged_at is not None:
                until = max(session.pinged_at, self._heard_at) + session.most
            if now > until + 1e-3:
                raise Violation(f"nothing was heard for {now - self._heard_at:.3f} s, and nothing is done about it")
        if self._settings and session is not None and session.settings is not None and not connection.pending:
            for key, value in self._settings.items():
                waits = key in ("keyterm", "additional_vocab") and connection.speaking
                if session.settings.get(key) != value and not waits:
                    raise Violation(f"the gateway was not told of {key}")

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

    def events(self, events: Sequence[Event]) -> None:
        """Events were taken."""
        self._listener.hear(events)
        if self._listener.end is not None and events:
            self._finish(self._listener.end)

    # At the end.

    def stuck(self) -> None:
        """Nothing is left to happen."""
        raise Violation(f"nothing happens any more while the link is {self._connection.link_state}")

    @property
    def _time_over(self) -> bool:
        return self._world.seconds + SLACK >= self._drain_at

    def _finish(self, end: StreamEnded | StreamFailed) -> None:
        connection, plan, listener = self._connection, self._plan, self._listener
        truths = self._network.truths
        if not connection.finished or connection.error is not getattr(end, "error", None):
            raise Violation("the end event and the looks differ")
        left = self._pushed - self._acknowledged - self._counters.dropped
        if samples_of(end.unacknowledged_seconds) != left:
            raise Violation(f"{end.unacknowledged_seconds} s told as unacknowledged, {left} samples are")
        if (listener.unique, listener.resent) != (self._unique, self._resent):
            raise Violation(
                f"usage told of {listener.unique} and {listener.resent} samples, {self._unique} and {self._resent} went"
            )
        told = [truths[rid] for rid in listener.finals if rid in truths]
        if len(told) != len(self._finals) or any(one is not two for one, two in zip(told, self._finals, strict=True)):
            raise Violation(f"{len(self._finals)} finals came, {len(told)} were told")
        self._judge_stats()
        self._judge_drops()
        self._judge_waits()
        if isinstance(end, StreamEnded):
            self._judge_reason(left)
        elif isinstance(end.error, FinalizeTimeout) and not (self._time_over or self._drain.barren):
            raise Violation("FinalizeTimeout before the time was over")
        if plan.honest:
            self._judge_words()
        if plan.calm and plan.ending == "end_input":
            self._judge_calm(end)

    def _judge_stats(self) -> None:
        stats, left = self._connection.stats, self._ring.unacknowledged
        told = [
            samples_of(seconds)
            for seconds in (
                *(stats.audio_pushed, stats.audio_sent, stats.audio_resent),
                *(stats.audio_dropped, stats.audio_unacknowledged),
            )
        ]
        if told != [self._pushed, self._unique, self._resent, self._counters.dropped, left]:
            raise Violation(f"the stats differ: {stats}")
        if (stats.sessions, stats.messages_sent, stats.messages_received) != (
            self._sessions,
            self._sent,
            self._received,
        ):
            raise Violation(f"{self._sessions} sessions, {self._sent} sent, {self._received} received: {stats}")

    def _judge_drops(self) -> None:
        told = sorted(self._listener.dropped)
        if any(one[1] > two[0] for one, two in pairwise(told)) or (told and told[-1][1] > self._pushed):
            raise Violation(f"dropped twice, or before it was pushed: {told}")
        if sum(end - start for start, end in told) != self._counters.dropped:
            raise Violation("the events told of other drops than the counter")
        for start, end in self._gaps:
            missing = end - start - sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in told)
            if missing:
                raise Violation(f"audio from {start} to {end} was never sent, and {missing} samples of it not told")

    def _judge_waits(self) -> None:
        listener = self._listener
        for (waited, asked), told in zip(self._waits, listener.reconnecting, strict=False):
            if abs(waited - told.delay) > 1e-4 and not self._paused:
                raise Violation(f"waited {waited} s instead of {told.delay}")
            if waited < asked - SLACK:
                raise Violation(f"waited {waited} s where the server asked for {asked}")
            retry = self._plan.retry
            most = min(retry.max_delay, retry.first_delay * 2.0 ** (told.attempt - 1))
            refused = isinstance(told.error, AuthError | GatewayError) and not told.delay
            if not refused and not max(asked, most / 2) <= told.delay <= max(asked, most):
                raise Violation(f"a delay of {told.delay} s after {told.attempt} failures")
        if len(listener.resumed) != len(self._resumed):
            raise Violation("not every resumed session was told")
        for (_, plain), resumed in zip(self._resumed, listener.resumed, strict=True):
            if plain is not None and plain != (samples_of(resumed.audio_time), samples_of(resumed.resent_duration)):
                raise Violation(f"a session began at {plain}, which is not what was told: {resumed}")

    def _judge_reason(self, left: int) -> None:
        """A clean end needs a reason (CONTRACT decision 5)."""
        if not left or self._close_wished or self._time_over:
            return
        answered = self._drain.final or self._drain.acknowledged or self._network.closed_by_gateway
        if self._closed_in is LinkState.CLOSING:
            if not answered:
                raise Violation(f"ended with {left} samples open, before the finalize was answered")
        elif not (self._close_code == 1000 and self._drain.acknowledged) and not self._drain.barren:
            raise Violation(f"a cut with {left} samples open was taken for the end")

    def _judge_words(self) -> None:
        """Each word once, unless something was told, or the contract takes it for acknowledged."""
        listener, plan = self._listener, self._plan
        for word in plan.words:
            number, anchor = word.number, word.end - 1
            count = listener.delivered.get(number, 0)
            total = count + listener.promoted.get(number, 0)
            if anchor >= self._pushed and total:
                raise Violation(f"{word.text} was heard before it was spoken")
            if count > 1 or (total > 1 and not listener.stale_promoted):
                raise Violation(f"{word.text} was delivered {total} times")
            if total or number not in self._causes or number in self._network.swallowed:
                continue
            if any(start <= anchor < end for start, end in listener.dropped):
                continue
            cause, session = self._causes[number]
            reason = "end" if cause == "estimate" and session == self._sessions else cause
            self.lost[reason] = self.lost.get(reason, 0) + 1
            if cause == "exact" or (cause == "silence" and plan.prompt):
                raise Violation(f"{word.text} is lost, acknowledged ({cause})")
            if cause == "estimate" and session < self._sessions and not self._told_as_estimated(anchor, session + 1):
                raise Violation(f"{word.text} is lost, acknowledged by an estimate that was not told")

    def _judge_calm(self, end: StreamEnded | StreamFailed) -> None:
        """Nothing went wrong: every word came, and the end came soon."""
        plan = self._plan
        missing = [word.text for word in plan.words if self._listener.delivered.get(word.number) != 1]
        if missing or isinstance(end, StreamFailed):
            raise Violation(f"nothing went wrong, and yet {missing} are missing: {end}")
        answer = (2 * (plan.lag + plan.answer_lag) + 4 * (plan.latency + plan.jitter)) / SECOND
        patience = answer + plan.limits.quiet + (plan.limits.close if plan.deaf_at_close else 0.0)
        if self._world.seconds - self._finalized_at > patience + 0.1:
            raise Violation(f"ended {self._world.seconds - self._finalized_at:.3f} s after the finalize")

    def _told_as_estimated(self, position: int, session: int) -> bool:
        """Whether the Resumed of ``session``, or of a later one, covers this place."""
        for (number, _), resumed in zip(self._resumed, self._listener.resumed, strict=True):
            if number >= session:
                end = samples_of(resumed.audio_time)
                estimated = samples_of(resumed.estimated_duration)
                estimated += sum(max(0, min(stop, end) - start) for start, stop in self._gaps if start < end)
                return end - estimated <= position
        return True  # nothing failed: there was no later session to tell of it
