"""What a run is like, drawn from its seed before anything happens."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field, fields

from lkstt_proto import Limits, RetryPolicy

from .tape import RATE, Word, speak
from .world import SECOND

LONGEST_RANDOM_FRAME = 6400
"""Samples."""


@define
class Plan:
    """Knobs of one run. Times are in microseconds unless they say otherwise; faults are rates or chances."""

    # Application.
    samples: int = 0
    words: list[Word] = field(factory=list)
    frame: int = 160
    """Samples; 0: a random number each time."""
    odd_frames: bool = False
    """Frames of an odd number of bytes."""
    speed: float = 1.0
    """Times real time; 0: unlimited."""
    waits: bool = True
    """Waits for room, or lets the oldest go."""
    asks_first: bool = True
    """Looks at ``pending`` before it takes actions."""
    batch: int = 16
    needless_timeouts: float = 0.0
    """How often timers are judged though none may be due."""
    flushes: float = 0.0
    finalizes: float = 0.0
    updates: float = 0.0
    ending: str = "end_input"
    """``end_input``, ``close``, or ``both``."""
    ends_after: int = 0
    absences: list[tuple[int, int]] = field(factory=list)
    """When nobody reads events, and for how long."""
    freezes: list[tuple[int, int]] = field(factory=list)
    """When the whole process stands still, and for how long."""
    model: str = "deepgram/nova-3"
    endpointer: str = ""
    """How the endpointer of a model that needs one is: ``sound`` or ``broken``."""
    limits: Limits = field(factory=Limits)
    retry: RetryPolicy = field(factory=RetryPolicy)

    # Network.
    latency: int = 20_000
    jitter: int = 0
    per_byte: float = 0.0
    buffer: int = 1 << 20
    slow_dial: float = 0.0
    refusals: float = 0.0
    statuses: float = 0.0
    silent_dials: float = 0.0
    down_from: int = 0
    down_for: int = 0
    """An outage: no dial succeeds for so long."""
    cuts: float = 0.0
    """Per second and link, as the four below."""
    one_way_cuts: float = 0.0
    half_opens: float = 0.0
    stalls: float = 0.0
    closes: float = 0.0
    cut_at_event: float = 0.0
    """The chance of a cut at an interesting moment."""
    deaf_at_close: float = 0.0

    # Gateway.
    created: str = "soon"
    """``soon``, ``late`` or ``never``."""
    endpoint: int = 4000
    """Samples of silence that end a turn."""
    lag: int = 50_000
    hearing_speed: float = 0.0
    """Times real time that the recogniser manages; 0: any."""
    onset: bool = True
    interim_every: int = 1
    """Words between interims; 0: none."""
    preflights: bool = False
    per_final: int = 0
    """Words after which a final comes in mid-turn; 0: only at the endpoint."""
    tail: str = "word"
    """Where a final ends: at its last ``word``, ``now``, or ``between``."""
    untimed: float = 0.0
    zero_duration: float = 0.0
    swallows: float = 0.0
    late_finals: float = 0.0
    late_interims: float = 0.0
    empty_finals: float = 0.0
    drips: bool = False
    finalize_answer: str = "both"
    """``both``, ``finalized_first``, ``final``, ``finalized``, ``neither``."""
    answer_lag: int = 50_000
    close_answer: str = "final"
    """What ``session.close`` gets: a ``final``, ``closed`` or nothing."""
    errors: float = 0.0
    closed_early: float = 0.0
    closed_after_finalize: float = 0.0
    hostile: float = 0.0
    repeats: float = 0.0
    """Finals sent twice."""
    clock_restarts: float = 0.0
    overstates: float = 0.0
    """Finals that claim to reach far beyond the audio."""

    @property
    def longest_frame(self) -> int:
        """The most samples that are pushed at once."""
        return self.frame or LONGEST_RANDOM_FRAME

    @property
    def bursts(self) -> bool:
        """Whether audio may be held up on its way, to come all at once."""
        return bool(self.stalls or self.freezes or self.per_byte)

    @property
    def timed(self) -> bool:
        """Whether this model's times mean anything."""
        return self.model != "cartesia/ink-2"

    @property
    def honest(self) -> bool:
        """Whether what the gateway says of time is true, and said once."""
        return not (self.clock_restarts or self.repeats or self.overstates)

    @property
    def prompt(self) -> bool:
        """Whether each turn is told while its beginning is still looked back upon, if recognisers hear in real time."""
        return (
            self.onset
            and not self.late_finals
            and not self.hostile
            and not self.swallows
            and self.limits.lookback * SECOND > self.lag + self.latency + self.jitter + SECOND
        )

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong at all."""
        return (
            self.prompt
            and self.flawless_link
            and self.flawless_gateway
            and self.limits == Limits()
            and self.waits
            and not self.hearing_speed
        )

    @property
    def flawless_link(self) -> bool:
        """Whether the first transport lasts to the end."""
        return not (
            self.refusals
            or self.statuses
            or self.silent_dials
            or self.slow_dial
            or self.down_for
            or self.cuts
            or self.one_way_cuts
            or self.half_opens
            or self.closes
            or self.cut_at_event
            or self.stalls
            or self.per_byte
            or self.freezes
            or self.absences
        )

    @property
    def flawless_gateway(self) -> bool:
        """Whether every word comes back, in a final with times, and a finalize is answered."""
        return not (
            self.swallows
            or self.errors
            or self.closed_early
            or self.closed_after_finalize
            or self.finalize_answer in ("finalized", "neither", "final")
            or self.untimed
            or self.zero_duration
            or not self.honest
            or self.drips
            or self.late_interims
            or not self.timed
        )


def describe(plan: Plan) -> str:
    """Tell what is not as in a plan without any faults."""
    usual = Plan()
    lines = [
        f"{name} = {value}"
        for name in (attribute.name for attribute in fields(Plan))
        if name != "words" and (value := getattr(plan, name)) != getattr(usual, name)
    ]
    spoken = " ".join(f"{word.text}[{word.start}..{word.end}]" for word in plan.words)
    return "\n".join([*lines, f"words {spoken or 'none'}"])


def draw(seed: int) -> Plan:
    """Draw the plan of a run.

    Every subject has luck of its own, so that a change to one leaves the others as they are.
    """
    plan = Plan()
    mood = Random(f"mood {seed}").choices(("calm", "mixed", "awful"), (30, 50, 20))[0]
    weight = {"calm": 0.0, "mixed": 0.25, "awful": 0.6}[mood]
    _draw_application(plan, Random(f"application {seed}"), weight)
    _draw_limits(plan, Random(f"limits {seed}"), weight)
    _draw_network(plan, Random(f"network {seed}"), weight)
    _draw_gateway(plan, Random(f"gateway {seed}"), weight)
    return plan


def _sometimes(random: Random, weight: float) -> Callable[..., float]:
    """Make a function that draws the strength of a fault, often zero."""

    def strength(low: float, high: float, scale: float = 1.0) -> float:
        return random.uniform(low, high) if random.random() < weight * scale else 0.0

    return strength


def _draw_application(plan: Plan, random: Random, weight: float) -> None:
    chance = random.random
    seconds = random.choice((0.0, 0.5, 1.5, 3.0, 5.0, 9.0)) + chance() * 3
    if chance() < 0.02:
        seconds *= 5
    plan.frame = random.choice((8, 80, 160, 160, 400, 800, 800, 1600, 8000, 24000, 0))
    if 0 < plan.frame <= 80:
        seconds = min(seconds, plan.frame / 20)  # a push costs as much as a message
    plan.samples = 0 if chance() < 0.01 else int(seconds * RATE)
    plan.words = speak(random, plan.samples)
    plan.odd_frames = chance() < 0.1
    plan.speed = random.choice((1.0, 1.0, 1.0, 1.0, 0.5, 2.0, 10.0, 0.0))
    plan.waits = chance() < 0.7
    plan.asks_first = chance() < 0.5
    plan.batch = random.choice((16, 16, 16, 1, 3))
    plan.needless_timeouts = random.choice((0.0, 0.0, 0.05))
    plan.flushes = random.choice((0.0, 0.0, 0.0, 0.02, 0.3))
    plan.finalizes = random.choice((0.0, 0.0, 0.0, 0.01, 0.1))
    plan.updates = random.choice((0.0, 0.0, 0.03))
    plan.ending = random.choices(("end_input", "close", "both"), (85, 8, 7))[0]
    plan.ends_after = int(random.choice((0, 0, 0.1, 1, 5)) * SECOND * chance())
    plan.model = random.choices(("deepgram/nova-3", "cartesia/ink-2", "speechmatics/enhanced"), (90, 5, 5))[0]
    if plan.model == "speechmatics/enhanced":
        plan.endpointer = random.choice(("sound", "sound", "broken"))
    if chance() < weight * 0.5:
        plan.absences = [(int(chance() * (seconds + 5) * SECOND), int(chance() * 20 * SECOND)) for _ in range(2)]
    if chance() < weight * 0.3:
        plan.freezes = [
            (int(chance() * (seconds + 3) * SECOND), int(random.choice((0.5, 2, 8, 40)) * chance() * SECOND))
            for _ in range(2)
        ]


def _draw_limits(plan: Plan, random: Random, weight: float) -> None:
    if random.random() > 0.15 + weight:
        return

    def some(**choices: tuple[Any, ...]) -> dict[str, Any]:
        return {name: random.choice(values) for name, values in choices.items() if random.random() < 0.4}

    plan.limits = Limits(
        **some(
            audio_buffer=(0.05, 0.3, 1.0, 5.0),
            lookback=(0.0, 0.3, 2.0),
            replay_pace=(1.0, 2.0, 16.0),
            ahead=(0.05, 0.3, 2.0, 60.0),
            ping_interval=(0.2, 1.0, 10.0),
            ping_timeout=(0.5, 1.0, 10.0),
            drain=(0.0, 0.5, 3.0, 100.0),
            quiet=(0.0, 0.3, 10.0),
            close=(0.0, 0.1, 5.0),
            unread_events=(1, 2, 8, 64),
        )
    )
    plan.retry = RetryPolicy(
        **some(connect_timeout=(0.3, 2.0), outage=(0.0, 1.0, 5.0), retry_after=(0.0, 1.0), max_delay=(0.1, 10.0))
    )


def _draw_network(plan: Plan, random: Random, weight: float) -> None:
    chance, sometimes = random.random, _sometimes(random, weight)
    plan.latency = random.choice((200, 20_000, 20_000, 100_000, 400_000 if weight else 50_000))
    plan.jitter = random.choice((0, 0, plan.latency, 300_000 if weight else 0))
    plan.per_byte = sometimes(1, 60, 0.5)  # up to 17 kB/s, less than the audio's base64 needs
    plan.buffer = random.choice((1 << 20, 64 << 10, 3000)) if weight else 1 << 20
    plan.slow_dial = sometimes(0.2, 1.0, 0.4)
    plan.refusals = sometimes(0.1, 0.8, 0.5)
    plan.statuses = sometimes(0.05, 0.5, 0.4)
    plan.silent_dials = sometimes(0.05, 0.5, 0.3)
    if chance() < weight * 0.4:
        plan.down_from = int(chance() * 5 * SECOND)
        plan.down_for = int(random.choice((1, 5, 30, 90)) * SECOND * chance())
    rate = 8 / (plan.samples / RATE + 3)  # a fault or so in a run of any length
    plan.cuts = sometimes(0.02, 0.4) * rate
    plan.one_way_cuts = sometimes(0.02, 0.2, 0.5) * rate
    plan.half_opens = sometimes(0.02, 0.2, 0.5) * rate
    plan.stalls = sometimes(0.02, 0.5) * rate
    plan.closes = sometimes(0.02, 0.3, 0.6) * rate
    plan.cut_at_event = sometimes(0.02, 0.4)
    plan.deaf_at_close = sometimes(0.1, 1.0, 0.5)


def _draw_gateway(plan: Plan, random: Random, weight: float) -> None:
    chance, sometimes = random.random, _sometimes(random, weight)
    plan.created = random.choices(("soon", "late", "never"), (80, 10, 10))[0]
    plan.endpoint = int(random.choice((0.1, 0.3, 0.5, 1.0)) * RATE)
    plan.lag = random.choice((0, 10_000, 50_000, 200_000, 1_000_000 if weight else 100_000))
    plan.hearing_speed = random.choice((0.0, 0.0, 20.0, 4.0, 1.2))
    plan.onset = chance() < 0.6
    plan.interim_every = random.choice((1, 1, 2, 4, 0))
    plan.preflights = chance() < 0.2
    plan.per_final = random.choice((0, 0, 0, 1, 3))
    plan.tail = random.choice(("word", "word", "now", "between"))
    plan.untimed = random.choice((0.3, 0.5, 1.0)) if chance() < 0.2 else 0.0
    plan.zero_duration = 0.3 if chance() < 0.05 else 0.0
    plan.swallows = sometimes(0.05, 0.5, 0.4)
    plan.late_finals = sometimes(0.1, 0.8, 0.4)
    plan.late_interims = sometimes(0.1, 0.8, 0.4)
    plan.empty_finals = 0.5 if chance() < 0.15 else 0.0
    plan.drips = chance() < 0.08
    plan.finalize_answer = random.choices(
        ("both", "finalized_first", "final", "finalized", "neither"), (60, 15, 10, 8, 7)
    )[0]
    plan.answer_lag = random.choice((0, 50_000, 300_000, 2_500_000 if weight else 500_000))
    plan.close_answer = random.choice(("final", "closed", "nothing"))
    plan.errors = sometimes(0.02, 0.2, 0.4)
    plan.closed_early = sometimes(0.02, 0.2, 0.3)
    plan.closed_after_finalize = 0.5 if chance() < 0.1 else 0.0
    plan.hostile = sometimes(0.02, 0.3, 0.4)
    plan.repeats = sometimes(0.05, 0.3, 0.1)
    plan.clock_restarts = sometimes(0.02, 0.2, 0.1)
    plan.overstates = sometimes(0.05, 0.3, 0.1)
