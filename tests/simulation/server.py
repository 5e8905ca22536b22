"""The gateway actor: a real ``Gateway`` for every transport, a recogniser behind it, and many ways to behave badly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lkstt_proto import (
    AudioReceived,
    CloseRequested,
    Disconnect,
    FinalizeRequested,
    Gateway,
    PeerLost,
    SessionRequested,
    SpeechData,
    TimedWord,
)
from lkstt_proto.encoding import encode_json

from .plan import Plan
from .recogniser import Recogniser, Truth
from .tape import RATE, TAPE, position_of
from .world import SECOND, Order, Violation, World

if TYPE_CHECKING:
    from .network import Link

ERROR_CODES = (400, 401, 401, 403, 408, 429, 429, 499, 500, 500, 503, 503, 2007, 1234, 1234)

HOSTILE: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"{",
    b'{"type":7}',
    b'{"type":"session.unheard_of","x":[1,2,3]}',
    b"\xff\xfe",
    b'{"type":"final_transcript","transcript":7}',
    b'{"type":"interim_transcript","transcript":null,"start":null,"duration":null,"words":null,"language":null}',
    b'{"type":"interim_transcript","transcript":"","start":1e999,"duration":0.1}',
    b'{"type":"final_transcript","transcript":"","start":"0.5","duration":{},"words":[null,7,{}],"confidence":"x"}',
    b'{"type":"final_transcript","transcript":null,"start":NaN}',
    b'{"type":"session.created","session_id":null}',
    b'{"type":"session.finalized"}',
    b'{"type":"session.created","session_id":7}',
    b'{"type":"preflight_transcript"}',
    b'{"type":"error_","code":null}',
    b"[" * 3000,
    b"binary",
)


class Session:
    """One transport, seen from the gateway."""

    def __init__(self, world: World, plan: Plan, link: Link, number: int) -> None:
        self.world = world
        self.plan = plan
        self.number = number
        self._link = link
        self._gateway = Gateway()
        self._recogniser = Recogniser(plan, world.random, self._say, self._say_onset)
        self._expected = 0
        self._created = False
        self._received = 0
        self._heard_all_at = 0
        self._busy_until = 0
        self._last_out = 0
        self._last_final_out = 0
        self._final_stated = 0
        self._wake: int | None = None
        self._dripping = False
        self._last_interim: Truth | None = None

    @property
    def end(self) -> int:
        """Position after the last sample that arrived."""
        return self._expected

    @property
    def heard(self) -> int:
        """Samples that a recogniser would have heard by now that takes as long as they were spoken."""
        return self._received - max(0, self._heard_all_at - self.world.now) * RATE // SECOND

    # From the transport.

    def open(self) -> None:
        """The WebSocket is open."""
        self._gateway.transport_opened(self.world.seconds)
        plan = self.plan
        self._some_time(plan.errors, self._fail)
        self._some_time(plan.closed_early, self._close)
        self._some_time(plan.closes, self._drop)
        self._some_time(plan.hostile * 3, self._be_hostile)
        self._some_time(plan.clock_restarts, self._restart_clock)
        self._pump()

    def text(self, data: bytes, hint: int) -> None:
        """A text message arrived; ``hint`` is where its audio begins, should its samples be too few to tell."""
        self._gateway.receive_text(data, self.world.seconds)
        for event in self._gateway.take_events():
            if isinstance(event, AudioReceived):
                self._hear(event.pcm, hint)
            elif isinstance(event, SessionRequested):
                self._requested(event)
            elif isinstance(event, FinalizeRequested):
                self._finalize()
            elif isinstance(event, CloseRequested):
                self._close_requested()
        self._pump()

    def lost(self, code: int) -> None:
        """The transport is gone."""
        self._gateway.transport_closed(self.world.seconds, code=code)
        events = self._gateway.take_events()
        if [type(event) for event in events] != [PeerLost]:
            raise Violation(f"a gateway whose transport closed says {events}")

    # What it hears.

    def _requested(self, request: SessionRequested) -> None:
        if self._created or request.sample_rate != RATE:
            raise Violation(f"a session was requested twice, or with {request.sample_rate} Hz")
        self._created = True
        if self.world.chance(self.plan.errors):
            self._out(self.plan.lag, self._fail)
        elif self.plan.created != "never":
            delay = 3 * SECOND if self.plan.created == "late" else self.plan.lag
            self.world.after(delay, Order.GATEWAY, self._accept)

    def _accept(self) -> None:
        if not self._gateway.closing and self._gateway.session_state != "ended":
            self._gateway.accept(self.world.seconds, session_id=f"s{self.number}")
            self._pump()

    def _hear(self, pcm: bytes, hint: int) -> None:
        position = self._expected
        if TAPE[2 * position : 2 * position + len(pcm)] != pcm:
            position = position_of(pcm, hint)
            if position < 0 or TAPE[2 * position : 2 * position + len(pcm)] != pcm:
                raise Violation("audio arrived that was never pushed")
            if position < self._expected:
                raise Violation(f"audio at {position} arrived after {self._expected}")
        samples = len(pcm) // 2
        self._expected = position + samples
        self._received += samples
        self._heard_all_at = max(self._heard_all_at, self.world.now) + samples * SECOND // RATE
        if self.plan.hearing_speed:
            work = int(samples / RATE / self.plan.hearing_speed * SECOND)
            self._busy_until = max(self._busy_until, self.world.now) + work
        self._recogniser.hear(position, samples)

    def _finalize(self) -> None:
        plan, world = self.plan, self.world
        answer = plan.finalize_answer
        if answer == "finalized_first":
            self._out_last(plan.answer_lag, self._say_finalized)
        if answer in ("both", "finalized_first", "final"):
            self._recogniser.finalize(empty=world.chance(0.5))
        if answer in ("both", "finalized"):
            self._out_last(plan.answer_lag, self._say_finalized)
        if plan.drips and not self._dripping:
            self._dripping = True
            self._drip()
        if world.chance(plan.closed_after_finalize):
            self._out_last(plan.answer_lag, self._close if world.chance(0.5) else self._drop_politely)
        self._link.interesting("finalize")

    def _close_requested(self) -> None:
        if self.plan.close_answer == "final":
            self._recogniser.finalize(empty=False)
        if self.plan.close_answer != "nothing":
            self._out_last(0, self._close)

    @property
    def _lag(self) -> int:
        """Microseconds until the recogniser has worked through what it got."""
        return self.plan.lag + max(0, self._busy_until - self.world.now)

    # What it says.

    def _say_onset(self) -> None:
        self._out(self._lag, self._onset)

    def _onset(self) -> None:
        if not self._gateway.closing:
            self._gateway.start_of_speech(self.world.seconds)
            self._pump()

    def _say(self, truth: Truth) -> None:
        world, plan = self.world, self.plan
        truth.timed = plan.timed
        if truth.kind != "final":
            self._out(self._lag, self._transcribe, truth)
            self._last_interim = truth
            return
        if truth.timed and world.chance(plan.untimed):
            truth.timed = False
        elif truth.timed and world.chance(plan.zero_duration):
            truth.timed, truth.zero = False, True
        if truth.timed and world.chance(plan.overstates):
            truth.beyond = world.random.choice((1, 400, RATE * 1000))
        if truth.words and world.chance(plan.swallows):
            world.trace(f"  gateway {self.number}: keeps the final {truth.text!r} to itself")
            self._link.swallow(truth)
            return
        delay = self._lag
        if world.chance(plan.late_finals):
            delay += int(world.random.choice((0.2, 1, 4)) * world.random.random() * SECOND)
        when = max(world.now + delay, self._last_final_out)
        if not plan.late_finals:
            when = self._last_out = max(when, self._last_out)
        self._last_final_out = when
        world.at(when, Order.GATEWAY, self._transcribe, truth)
        if world.chance(plan.repeats):
            world.at(when, Order.GATEWAY, self._transcribe, truth)
        if self._last_interim is not None and world.chance(plan.late_interims):
            world.at(when + 1000, Order.GATEWAY, self._transcribe, self._last_interim)

    def _transcribe(self, truth: Truth) -> None:
        gateway = self._gateway
        if gateway.closing or not self._created:
            return
        rid, truth = self._link.know(truth)
        zero = self._recogniser.clock_zero
        start = max(0, truth.start_count - zero) / RATE
        end = max(0, truth.end_count + truth.beyond - zero) / RATE
        if truth.timed or truth.zero:
            data = SpeechData(
                "en",
                truth.text,
                start,
                start if truth.zero else end,
                0.5,
                None,
                tuple(
                    TimedWord(
                        f"w{word.number}",
                        max(0, word.start + word.shift - zero) / RATE,
                        max(0, word.end + word.shift - zero) / RATE,
                    )
                    for word in truth.words
                ),
            )
            if truth.kind == "preflight":
                gateway.preflight(data, self.world.seconds, request_id=rid)
            else:
                gateway.transcript(data, self.world.seconds, final=truth.kind == "final", request_id=rid)
            self._pump(truth)
        else:
            message: dict[str, object] = {
                "type": f"{truth.kind}_transcript",
                "transcript": truth.text,
                "request_id": rid,
            }
            if not self.plan.timed:
                message |= {"start": 0, "duration": 3.21, "words": []}  # as billed, not as spoken (PROTOCOL 3.1)
            self._link.to_client("text", encode_json(message), truth)
        if truth.kind == "final":
            self._link.interesting("final")

    def _say_finalized(self) -> None:
        if not self._gateway.closing:
            self._gateway.finalized(self.world.seconds)
            self._pump()

    def _drip(self) -> None:
        """Interims without end: empty ones, or the same again."""
        if self._gateway.closing:
            return
        if self._last_interim is not None and self.world.chance(0.5):
            self._transcribe(self._last_interim)
        else:
            self._link.to_client("text", b'{"type":"interim_transcript","transcript":""}', None)
        self.world.after(0.7 * SECOND, Order.GATEWAY, self._drip)

    def _fail(self) -> None:
        code = self.world.random.choice(ERROR_CODES)
        if self._gateway.closing:
            return
        if self.world.chance(0.5):
            # Said without closing: words may follow, until the client leaves.
            raw = b'{"type":"error","code":%d,"message":null}' % code
            if code == 1234:
                raw = self.world.random.choice((b'{"type":"error"}', b'{"type":"error","code":"x","message":7}'))
            self._link.to_client("text", raw, None)
            return
        if self._gateway.session_state == "failed":
            return
        self._gateway.fail(self.world.seconds, code=code, message="something is wrong")
        self._pump()

    def _close(self) -> None:
        if not self._gateway.closing and self._gateway.session_state not in ("new", "failed"):
            self._link.network.closed_by_gateway = True
            self._gateway.close(self.world.seconds)
            self._pump()

    def _drop_politely(self) -> None:
        self._link.to_client("close", 1000, None)

    def _drop(self) -> None:
        self._link.to_client("close", self.world.random.choice((1000, 1001, 1006, 1011, 1012)), None)

    def _be_hostile(self) -> None:
        if not self._gateway.closing:
            data = self.world.random.choice(HOSTILE)
            self._link.to_client("binary" if data == b"binary" else "text", data, None)
            self._some_time(self.plan.hostile * 3, self._be_hostile)

    def _restart_clock(self) -> None:
        self._recogniser.clock_zero = self._recogniser.count

    # Time and results.

    def _out(self, delay: int, call: Callable[..., None], *args: object) -> None:
        """Have something said after everything that was said before."""
        self._last_out = max(self.world.now + delay, self._last_out)
        self.world.at(self._last_out, Order.GATEWAY, call, *args)

    def _out_last(self, delay: int, call: Callable[[], None]) -> None:
        """Have something said after all that waits to be said now, but hold up nothing that comes later."""
        when = max(self.world.now + delay, self._last_out, self._last_final_out)
        self.world.at(when, Order.GATEWAY, call)

    def _some_time(self, rate: float, call: Callable[[], None]) -> None:
        if rate:
            self.world.after(self.world.random.expovariate(rate) * SECOND, Order.GATEWAY, call)

    def _timeout(self, when: int) -> None:
        if when != self._wake:
            return
        self._wake = None
        self._gateway.handle_timeout(self.world.seconds)
        self._pump()

    def _pump(self, truth: Truth | None = None) -> None:
        gateway = self._gateway
        while actions := gateway.take_actions(self.world.seconds):
            for action in actions:
                if isinstance(action, bytes):
                    self._link.to_client("text", action, truth)
                elif isinstance(action, Disconnect):
                    if action.abort:
                        self._link.cut_by_gateway()
                    else:
                        self._link.to_client("close", action.code, None)
        deadline = gateway.deadline
        if deadline is not None:
            when = max(self.world.now + 1, int(deadline * SECOND) + 1)
            if self._wake is None or when < self._wake:
                self._wake = when
                self.world.at(when, Order.TIMER, self._timeout, when)
