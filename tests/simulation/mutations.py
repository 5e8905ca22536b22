"""Deliberate mistakes: each of them must be noticed, or the judge is worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from lkstt_proto import Connection, events, retry
from lkstt_proto.audio import Ring, Span, Timeline
from lkstt_proto.drain import Drain
from lkstt_proto.errors import SttError, Verdict
from lkstt_proto.hearing import Hearing
from lkstt_proto.ledger import Ledger
from lkstt_proto.liveness import Liveness
from lkstt_proto.peer import Timer
from lkstt_proto.sender import Sender
from lkstt_proto.settings import Settings
from lkstt_proto.tables import LinkEffect, SpeechEffect
from lkstt_proto.turn import Turn
from lkstt_proto.unread import Unread

MUTATIONS: dict[str, Callable[[], AbstractContextManager[None]]] = {}


def _mutation(make: Callable[[], Any]) -> Callable[[], Any]:
    """Register what ``make`` returns: one patch, or some."""

    @contextmanager
    def mutated() -> Iterator[None]:
        patches = make()
        with ExitStack() as stack:
            for one in patches if isinstance(patches, tuple) else (patches,):
                stack.enter_context(one)
            yield

    MUTATIONS[make.__name__] = mutated
    return make


def _instead(holder: Any, name: str, call: Any) -> Any:
    return patch.object(holder, name, call)


# Audio across a cut.


@_mutation
def nothing_is_replayed() -> Any:
    original = Ring.rewind

    def rewind(self: Ring) -> Sequence[Span]:
        self._release(self.position)
        return original(self)

    return _instead(Ring, "rewind", rewind)


@_mutation
def everything_is_replayed_with_the_acknowledged() -> Any:
    original = Ring.acknowledge

    def acknowledge(self: Ring, position: int) -> int:
        return original(self, position - self.chunk)

    return _instead(Ring, "acknowledge", acknowledge)


@_mutation
def the_rest_of_a_message_is_lost_in_a_cut() -> Any:
    original = Ring.rewind

    def rewind(self: Ring) -> Sequence[Span]:
        capacity, self._capacity = self._capacity, self.unsent - self.unsent % self.chunk - self._rejoined
        self._drop()
        self._capacity = capacity
        return original(self)

    return _instead(Ring, "rewind", rewind)


@_mutation
def the_odd_byte_is_lost() -> Any:
    original = Connection.send_audio

    def send_audio(self: Connection, *args: Any) -> Any:
        tail = self._ring.tail
        del tail[len(tail) & ~1 :]
        return original(self, *args)

    return _instead(Connection, "send_audio", send_audio)


@_mutation
def drops_are_not_told() -> Any:
    return _instead(Unread, "dropped", lambda self, start, end, cause: None)


@_mutation
def marks_are_not_sent_again() -> Any:
    original = Ring.rewind

    def rewind(self: Ring) -> Sequence[Span]:
        due = self._due
        spans = original(self)
        self._due = due
        return spans

    return _instead(Ring, "rewind", rewind)


@_mutation
def messages_cross_marks() -> Any:
    original = Ring._samples_before_obstacle

    def samples_before_gap(self: Ring, most: int) -> int:
        due, self._due = self._due, len(self._marks)
        samples = original(self, most)
        self._due = due
        return samples

    return _instead(Ring, "_samples_before_obstacle", samples_before_gap)


@_mutation
def the_pace_is_ignored() -> Any:
    original = Sender.begin

    def begin(self: Sender, now: float, *, resumed: bool) -> None:
        original(self, now, resumed=False)

    return _instead(Sender, "begin", begin)


@_mutation
def nothing_holds_back_what_is_far_ahead() -> Any:
    original = Liveness._settle

    def settle(self: Liveness) -> None:
        original(self)
        self.allowed = 1 << 60

    return _instead(Liveness, "_settle", settle)


# Acknowledgement.


@_mutation
def all_that_was_sent_is_acknowledged() -> Any:
    original = Hearing._acknowledge

    def acknowledge(self: Hearing, end: int | None, text: str) -> bool:
        done = original(self, end, text)
        self._sender.ring.acknowledge(self._sender.timeline.position)
        return done

    return _instead(Hearing, "_acknowledge", acknowledge)


@_mutation
def one_sample_too_many_is_acknowledged() -> Any:
    original = Timeline.span

    def span(self: Timeline, start: float, end: float) -> tuple[float, float, int]:
        begins, ends, position = original(self, start, end)
        return begins, ends, position + 1

    return _instead(Timeline, "span", span)


@_mutation
def silence_is_acknowledged_without_lookback() -> Any:
    def acknowledge_silence(self: Hearing) -> None:
        if self.hears_onsets:
            self._sender.ring.acknowledge(self._sender.timeline.position_of(self._sender.liveness.confirmed))

    return _instead(Hearing, "acknowledge_silence", acknowledge_silence)


@_mutation
def silence_is_acknowledged_before_it_was_heard() -> Any:
    def acknowledge_silence(self: Hearing) -> None:
        if self.hears_onsets:
            confirmed = self._sender.timeline.position_of(self._sender.liveness.confirmed)
            self._sender.ring.acknowledge(confirmed - round(self._sender.limits.lookback * self._sender.rate))

    return _instead(Hearing, "acknowledge_silence", acknowledge_silence)


@_mutation
def silence_is_acknowledged_in_an_open_turn() -> Any:
    original = Connection.transport_alive

    def transport_alive(self: Connection, now: float) -> None:
        original(self, now)
        self._hearing.acknowledge_silence()

    return _instead(Connection, "transport_alive", transport_alive)


@_mutation
def a_pong_confirms_what_came_after_its_ping() -> Any:
    original = Connection.transport_alive

    def transport_alive(self: Connection, now: float) -> None:
        unanswered = self._sender.liveness._unanswered
        if unanswered:
            unanswered[0] = unanswered[0][0], self._sender.timeline.count
        original(self, now)

    return _instead(Connection, "transport_alive", transport_alive)


@_mutation
def the_unacknowledged_tail_is_forgotten_at_the_end() -> Any:
    return _instead(Connection, "unacknowledged_seconds", 0.0)


# Times.


@_mutation
def times_follow_the_wall_clock() -> Any:
    begin, place, find_shift = Sender.begin, Timeline._place, Timeline._find_shift
    drift = 0.0

    def begin_by_clock(self: Sender, now: float, *, resumed: bool) -> None:
        nonlocal drift
        drift = max(0.0, now - self.ring.position / self.rate)
        begin(self, now, resumed=resumed)

    def place_by_clock(self: Timeline, seconds: float, index: int) -> float:
        return min(place(self, seconds, index) + drift, self.position / self.rate)

    def shift_by_clock(self: Timeline) -> None:
        find_shift(self)
        self.shift = None if self.shift is None else self.shift + drift

    return (
        _instead(Sender, "begin", begin_by_clock),
        _instead(Timeline, "_place", place_by_clock),
        _instead(Timeline, "_find_shift", shift_by_clock),
    )


@_mutation
def the_offset_stays_after_a_drop() -> Any:
    original = Timeline.jump

    def jump(self: Timeline, position: int) -> None:
        if self.count:
            self.offset = position - self.count
        else:
            original(self, position)

    return _instead(Timeline, "jump", jump)


@_mutation
def late_interims_are_shown() -> Any:
    original = Hearing.hear

    def hear(self: Hearing, message: Any, now: float, *names: Any) -> Any:
        exact, self.exact = self.exact, -1
        heard = original(self, message, now, *names)
        self.exact = max(exact, self.exact)
        return heard

    return _instead(Hearing, "hear", hear)


# Turns and usage.


@_mutation
def start_is_repeated() -> Any:
    original = Turn._TELL[SpeechEffect.INTERIM]

    def interim(self: Turn, transcript: Any) -> None:
        Turn._TELL[SpeechEffect.START](self, None)
        original(self, transcript)

    return patch.dict(Turn._TELL, {SpeechEffect.INTERIM: interim})


@_mutation
def an_open_turn_gets_no_end() -> Any:
    original = Turn.step

    def step(self: Turn, trigger: str, transcript: Any = None) -> bool:
        if trigger == "stream_over":
            self._usage(None)
            return False
        return original(self, trigger, transcript)

    return _instead(Turn, "step", step)


@_mutation
def nothing_is_promoted() -> Any:
    return patch.dict(Turn._TELL, {SpeechEffect.PROMOTE: lambda self, transcript: None})


@_mutation
def usage_is_counted_twice() -> Any:
    original = Ledger.report

    def report(self: Ledger) -> events.RecognitionUsage | None:
        before = self._reported_unique
        usage = original(self)
        self._reported_unique = before
        return usage

    return _instead(Ledger, "report", report)


@_mutation
def resent_audio_is_counted_as_new() -> Any:
    return _instead(Ledger, "hand_over", lambda self, samples, fresh: setattr(self, "unique", self.unique + samples))


@_mutation
def the_last_usage_is_not_reported() -> Any:
    original = Turn.step

    def step(self: Turn, trigger: str, transcript: Any = None) -> bool:
        if trigger == "stream_over":
            self._ledger.report()
        return original(self, trigger, transcript)

    return _instead(Turn, "step", step)


# The end.


@_mutation
def a_cut_in_the_drain_is_success() -> Any:
    original = Connection._class_of

    def class_of(self: Connection, failure: SttError, code: int) -> str:
        return "closed_end" if self._input_ended else original(self, failure, code)

    return _instead(Connection, "_class_of", class_of)


@_mutation
def a_drip_extends_the_drain() -> Any:
    original = Connection._after_inbound

    def after_inbound(self: Connection) -> None:
        original(self)
        if Timer.DRAIN in self._timers:
            self._arm(Timer.DRAIN, self._now + self._limits.drain)

    return _instead(Connection, "_after_inbound", after_inbound)


@_mutation
def the_finish_waits_for_nothing() -> Any:
    def settled_at(self: Drain, *, speaking: bool, acknowledged: bool, exactly: bool) -> float | None:
        return self.finalize_at

    return _instead(Drain, "settled_at", settled_at)


@_mutation
def a_slow_close_is_not_cut_short() -> Any:
    return patch.dict(Connection._LINK, {LinkEffect.ABORT: lambda self: None})


# Failures.


@_mutation
def nobody_asks_who_is_alive() -> Any:
    return _instead(Connection, "_arm_liveness", lambda self: None)


@_mutation
def permanent_failures_are_tried_again() -> Any:
    return _instead(retry, "verdict", lambda error: Verdict.TRANSIENT)


@_mutation
def retry_after_is_ignored() -> Any:
    original = retry.Outage._schedule
    return _instead(retry.Outage, "_schedule", lambda self, retry_after: original(self, None))


@_mutation
def an_outage_never_ends_the_stream() -> Any:
    original = retry.Outage.opened

    def opened(self: retry.Outage, now: float) -> None:
        self.works()
        original(self, now)

    return _instead(retry.Outage, "opened", opened)


@_mutation
def settings_are_forgotten_with_the_session() -> Any:
    original = Settings.change

    def change(self: Settings, **changes: Any) -> dict[str, Any] | None:
        extra, keyterms = self.extra, self.keyterms
        settings = original(self, **changes)
        self.extra, self.keyterms = extra, keyterms
        return settings

    return _instead(Settings, "change", change)


# Mistakes that the simulation found.


@_mutation
def the_pace_is_armed_for_what_is_due() -> Any:
    original = Connection._after_audio

    def after_audio(self: Connection, actions: list[Any], room: int) -> int:
        left = original(self, actions, room)
        due = self._sender.pace_deadline()
        if due is not None and due > self._now:
            self._arm(Timer.PACE, due)
        return left

    return _instead(Connection, "_after_audio", after_audio)


@_mutation
def back_pressure_hides_the_last_finalize() -> Any:
    original = Connection._may_finalize
    asked = False

    def may_finalize(self: Connection) -> bool:
        return original(self) and not (asked and not self._sender.may_send(self._now))

    look = Connection._look

    def look_and_ask(self: Connection) -> None:
        nonlocal asked
        asked = True
        try:
            look(self)
        finally:
            asked = False

    return _instead(Connection, "_may_finalize", may_finalize), _instead(Connection, "_look", look_and_ask)


@_mutation
def places_are_forgotten_with_an_estimate() -> Any:
    original = Hearing._acknowledge

    def acknowledge(self: Hearing, end: int | None, text: str) -> bool:
        done = original(self, end, text)
        self._sender.timeline.forget(self._sender.ring.acknowledged)
        return done

    return _instead(Hearing, "_acknowledge", acknowledge)


@_mutation
def any_exact_final_makes_estimates_good() -> Any:
    original = Hearing._acknowledge

    def acknowledge(self: Hearing, end: int | None, text: str) -> bool:
        done = original(self, end, text)
        if end is not None:
            self.estimated = 0
        return done

    return _instead(Hearing, "_acknowledge", acknowledge)


@_mutation
def any_pong_answers_the_newest_ping() -> Any:
    original = Liveness.take_ping

    def take_ping(self: Liveness, now: float, sent: int) -> None:
        self._unanswered.clear()
        original(self, now, sent)

    return _instead(Liveness, "take_ping", take_ping)


@_mutation
def messages_are_counted_twice() -> Any:
    original = Connection.receive_text

    def receive_text(self: Connection, data: Any, now: float) -> None:
        self._counters.messages_received += 1
        original(self, data, now)

    return _instead(Connection, "receive_text", receive_text)


@_mutation
def time_before_a_transcript_counts_twice() -> Any:
    original = Liveness.transcribed

    def transcribed(self: Liveness, count: int, now: float) -> None:
        before = self._listened_at
        original(self, count, now)
        self._listened_at = before

    return _instead(Liveness, "transcribed", transcribed)


@_mutation
def what_goes_again_is_taken_for_new() -> Any:
    original = Ring._settle

    def settle(self: Ring) -> None:
        original(self)
        self.steady = self.wanted > 0

    return _instead(Ring, "_settle", settle)


@_mutation
def what_follows_a_gap_is_taken_for_what_follows_on() -> Any:
    original = Ring._settle

    def settle(self: Ring) -> None:
        self._jumped = False
        original(self)

    return _instead(Ring, "_settle", settle)


@_mutation
def an_ordinary_message_is_not_held_back() -> Any:
    original = Liveness._settle

    def settle(self: Liveness) -> None:
        original(self)
        self.quiet_until = self.ask_at - 1

    return _instead(Liveness, "_settle", settle)
