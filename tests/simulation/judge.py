"""The judge: what must hold, at every step and at the end (CONTRACT sections 2 to 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

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

from .account import SLACK, Account, SessionView
from .listener import Listener, samples_of
from .network import Network
from .plan import Plan
from .tape import RATE
from .world import SECOND, Violation, World

PROOF = 10.0
"""Seconds of a live session that end an outage."""

PERMANENT = (200, 302, 400, 403, 404)
"""HTTP statuses, among those that the network answers with, that no attempt would mend."""


class Judge(Account):
    """Watches one run."""

    def __init__(self, world: World, plan: Plan, connection: Connection, network: Network) -> None:
        super().__init__(world, plan, connection)
        self.lost: dict[str, int] = {}
        """Words that never came, by what their audio was acknowledged by."""
        self._network = network
        self._listener = Listener(plan, network.truths)
        # Sessions.
        self._resumed: list[tuple[int, tuple[int, int] | None]] = []  # session; where it began and what was resent
        self._closed_in = LinkState.IDLE
        self._close_code = 0
        self._must_fail = False
        # Time, in seconds.
        self._paused = 0.0
        self._input_ended = False
        self._close_wished = False
        self._drain_at = float("inf")
        self._end_by = float("inf")
        self._closed_at = 0.0
        self._asked_to_wait = 0.0
        self._waits: list[tuple[float, float]] = []

    # How it goes.

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

    # How sessions begin and end.

    def connect(self) -> None:
        """A transport was asked for."""
        if self._session is not None:
            raise Violation("a transport was asked for while there was one")
        if self._closed_at:
            self._waits.append((self._world.seconds - self._closed_at, self._asked_to_wait))

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

    def disconnect(self) -> None:
        """A Disconnect was taken."""
        if self._session is not None:
            self._session.over = True

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
