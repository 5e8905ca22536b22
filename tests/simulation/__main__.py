"""``python -m tests.simulation``: replay one seed with its trace, run many, or see the mutations die."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import chain
from pathlib import Path

from .mutations import MUTATIONS
from .run import run
from .world import Violation

FAILING = Path(__file__).with_name("failing_seeds.txt")
"""Seeds that once failed: they run first, and always."""


def failing_seeds() -> list[int]:
    """Read the list; a ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in FAILING.read_text("utf-8").splitlines())
    return [int(line) for line in lines if line]


def killer(name: str, seeds: int) -> int | None:
    """The first seed, of those that failed once and then ``seeds`` more, that notices a mutation."""
    with MUTATIONS[name]():
        for seed in chain(failing_seeds(), range(seeds)):
            try:
                run(seed)
            except Violation:
                return seed
    return None


class Trace:
    """Prints a run, with neighbouring audio messages in one line."""

    def __init__(self) -> None:
        self._audio = ""
        self._messages = 0

    def __call__(self, line: str) -> None:
        """Print a line, sooner or later."""
        before, audio, span = line.partition(" > audio ")
        start, _, end = span.partition("..")
        if audio and self._audio.startswith(before) and self._audio.endswith(f"..{start}"):
            self._audio = f"{self._audio.rpartition('..')[0]}..{end}"
            self._messages += 1
            return
        self.flush()
        if audio:
            self._audio, self._messages = line, 1
        else:
            print(line)

    def flush(self) -> None:
        """Print what waits for more of its kind."""
        if self._messages:
            print(f"{self._audio} ({self._messages} messages)" if self._messages > 1 else self._audio)
            self._audio, self._messages = "", 0


def _replay(seed: int) -> int:
    trace = Trace()
    try:
        outcome = run(seed, trace)
    except Violation as violation:
        trace.flush()
        print(f"VIOLATION: {violation}")
        return 1
    print(outcome)
    return 0


def _many(seeds: list[int]) -> int:
    began = time.perf_counter()
    violations: dict[int, str] = {}
    seconds = 0.0
    sessions = 0
    lost: Counter[str] = Counter()
    for count, seed in enumerate(seeds, 1):
        try:
            outcome = run(seed)
        except Violation as violation:
            violations[seed] = str(violation)
            print(f"seed {seed}: {violation}")
            continue
        seconds += outcome.seconds
        sessions += outcome.sessions
        lost.update(outcome.lost)
        if sys.stderr.isatty() and count % 100 == 0:
            print(f"{count} runs, {len(violations)} violations", end="\r", file=sys.stderr)
    took = time.perf_counter() - began
    print(
        f"{len(seeds)} runs in {took:.1f} s ({len(seeds) / took:.0f} per second), {len(violations)} violations.\n"
        f"{seconds / 3600:.1f} simulated hours with {sessions} attempts to connect.\n"
        f"Words that never came though the contract takes them for acknowledged: "
        f"{lost['estimate']} by an estimate before a cut (told by Resumed), {lost['end']} by one before the end, "
        f"{lost['silence']} by silence."
    )
    return 1 if violations else 0


def _mutants(seeds: int) -> int:
    alive = 0
    for name in MUTATIONS:
        seed = killer(name, seeds)
        alive += seed is None
        print(f"{name.replace('_', ' ')}: {'ALIVE' if seed is None else f'seed {seed}'}", flush=True)
    print(f"{len(MUTATIONS)} mutations, {alive} alive after {seeds} seeds")
    return 1 if alive else 0


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="replay one run with a trace")
    what.add_argument("--runs", type=int, help="run so many seeds, after those that failed once")
    what.add_argument("--mutants", action="store_true", help="see that every deliberate mistake is noticed")
    parser.add_argument("--first", type=int, default=0, help="the first seed of --runs")
    parser.add_argument("--within", type=int, default=500, help="seeds that each mutation gets")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    if arguments.mutants:
        return _mutants(arguments.within)
    return _many([*failing_seeds(), *range(arguments.first, arguments.first + arguments.runs)])


if __name__ == "__main__":
    sys.exit(main())
