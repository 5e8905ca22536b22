"""One run: everything put together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import frozen

from lkstt_proto import Connection, STTOptions

from .adapter import Adapter
from .application import Application, EndOfSpeech
from .judge import Judge
from .network import Network
from .plan import Plan, describe, draw
from .tape import RATE
from .world import World


@frozen
class Outcome:
    """What a run came to."""

    seed: int
    digest: int
    seconds: float
    """Simulated."""
    steps: int
    sessions: int
    lost: dict[str, int]
    """Words that never came though their audio was acknowledged, by the reason that the contract gives for it."""


def run(seed: int, tell: Callable[[str], None] | None = None, plan: Plan | None = None) -> Outcome:
    """Run one seed, or a ``plan`` of one's own. Raises Violation for what must never be; ``tell`` gets the trace."""
    plan = plan or draw(seed)
    world = World(seed)
    if tell:
        tell(describe(plan))
        world.tell = lambda line: tell(f"{world.seconds:11.6f} {line}")
    luck = Random(f"retry {seed}")
    endpointer = EndOfSpeech(plan) if plan.endpointer else None
    connection = Connection(
        STTOptions(plan.model, sample_rate=RATE, api_key="k", api_secret="s"),
        retry=plan.retry,
        limits=plan.limits,
        endpointer=endpointer,
        random=luck.random,
    )
    network = Network(world, plan)
    judge = Judge(world, plan, connection, network)
    if endpointer is not None:
        endpointer.judge = judge
    adapter = Adapter(world, plan, connection, network, judge)
    adapter.application = Application(world, plan, adapter, connection, judge)
    adapter.application.start()
    world.run()
    if not world.stopped:
        judge.stuck()
    return Outcome(seed, world.digest, world.seconds, world.steps, network.links, judge.lost)
