"""The seeded engine: the same inputs in the same order on every machine, without anything to install."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import Random

from attrs import frozen

from .mutator import splice
from .target import Target


class Finding(Exception):
    """A target let something out that it may not; the cause is attached."""

    def __init__(self, target: Target, data: bytes) -> None:
        super().__init__(f"{target.name}: {data!r}")
        self.data = data


@frozen
class Result:
    """What a run without findings was."""

    executions: int
    seconds: float
    behaviours: int
    """Different things that the target told of its inputs."""
    corpus: tuple[bytes, ...]


def fuzz(
    target: Target,
    *,
    executions: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    corpus: Iterable[bytes] = (),
) -> Result:
    """Run the seeds, the regressions and ``corpus``, and mutate what did something new, up to either limit.

    Raises Finding at the first one.
    """
    random = Random(seed)
    began = time.perf_counter()
    known: set[str] = set()
    kept: list[bytes] = []
    count = 0

    def put(data: bytes, *, keep: bool = False) -> None:
        nonlocal count
        count += 1
        try:
            told = target.execute(data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Finding(target, data) from error
        if keep or told not in known:
            known.add(told)
            kept.append(data)

    for data in (*target.seeds(), *target.regressions().values(), *corpus):
        put(data, keep=True)
    given = len(kept)
    while (executions is None or count < executions) and (seconds is None or time.perf_counter() - began < seconds):
        # What did something new is near to what does something wrong; but there is much of it, and it grows.
        data = random.choice(kept if random.random() < 0.5 else kept[:given])
        if random.random() < 0.1:
            data = splice(data, random.choice(kept), random)
        put(target.mutate(data, random))
    return Result(count, time.perf_counter() - began, len(known), tuple(kept))
