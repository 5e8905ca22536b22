"""``python -m tests.fuzzing``: fuzz one target, or all of them in turn."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import traceback
from contextlib import ExitStack
from pathlib import Path

from . import guided

NAMES = ("receive_text", "gateway", "token", "fixture", "wav", "connection", "wide", "frames")
FOUND = 1


def _guided(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    corpus, findings = folder / name, folder / f"{name}-findings"
    for made in (corpus, findings):
        made.mkdir(parents=True, exist_ok=True)
    guided.fuzz(
        guided.load(name),
        corpus,
        findings,
        executions=arguments.executions,
        seconds=arguments.seconds,
        seed=arguments.seed,
    )


def _seeded(name: str, folder: Path, arguments: argparse.Namespace) -> int:
    from .engine import Finding, fuzz
    from .targets import TARGETS

    corpus = folder / name
    known = [file.read_bytes() for file in sorted(corpus.glob("*"))]
    try:
        result = fuzz(
            TARGETS[name],
            executions=arguments.executions,
            seconds=arguments.seconds,
            seed=arguments.seed,
            corpus=known,
        )
    except Finding as finding:
        findings = folder / f"{name}-findings"
        findings.mkdir(parents=True, exist_ok=True)
        findings.joinpath("finding").write_bytes(finding.data)
        traceback.print_exception(finding)
        return FOUND
    print(
        f"{name}: {result.executions} executions in {result.seconds:.1f} s "
        f"({result.executions / result.seconds:.0f} per second), {result.behaviours} behaviours, no findings"
    )
    return 0


def main() -> int:
    """Do what the arguments say; exit code 1 tells of a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--target", choices=NAMES, help="one target; otherwise all of them, one after another")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument("--seconds", type=float, help="for each target (default: 60)")
    limit.add_argument("--executions", type=int, help="for each target")
    parser.add_argument("--corpus", type=Path, help="where inputs and findings are kept (default: nowhere)")
    parser.add_argument("--engine", choices=("guided", "seeded"), help="default: guided where atheris is installed")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    arguments = parser.parse_args()
    if arguments.seconds is None and arguments.executions is None:
        arguments.seconds = 60.0
    if arguments.engine is None:
        arguments.engine = "guided" if guided.available() else "seeded"
    if arguments.target is None:
        # Each in its own process: coverage is instrumented once, and libFuzzer ends the process that it ran in.
        given = [*sys.argv[1:], "--engine", arguments.engine]
        codes = [
            subprocess.run([sys.executable, "-m", "tests.fuzzing", *given, "--target", name]).returncode
            for name in NAMES
        ]
        return FOUND if any(codes) else 0
    with ExitStack() as stack:
        folder = arguments.corpus or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if arguments.engine == "seeded":
            return _seeded(arguments.target, folder, arguments)
        _guided(arguments.target, folder, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
