"""A thousand runs of the whole system in virtual time, and proof that the judge would notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import failing_seeds, killer
from tests.simulation.mutations import MUTATIONS
from tests.simulation.run import run

SEEDS = 1000
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("first", range(0, SEEDS, 100))
def test_no_promise_is_broken_whatever_happens(first: int) -> None:
    for seed in range(first, first + 100):
        run(seed)


def test_seeds_that_once_failed_pass() -> None:
    for seed in failing_seeds():
        run(seed)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_judge_notices(name: str) -> None:
    assert killer(name, 500) is not None


def test_a_seed_is_the_same_run_every_time() -> None:
    program = "from tests.simulation.run import run; print([run(seed).digest for seed in range(40)])"
    here = [run(seed).digest for seed in range(40)]
    for hash_seed in ("0", "1"):
        there = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            cwd=ROOT,
            text=True,
        )
        assert there.stdout.strip() == str(here)


def test_a_replay_tells_what_happened() -> None:
    lines: list[str] = []
    outcome = run(0, lines.append)
    assert outcome == run(0)
    assert any("> Connect" in line for line in lines)
    assert any("> audio 0.." in line for line in lines)
    assert any("* Stream" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--seed", "56"), "> Connect(attempt=0)"), (("--runs", "3"), " 0 violations.")],
)
def test_the_command_replays_one_run_or_runs_many(arguments: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    ran = subprocess.run(command, capture_output=True, cwd=ROOT, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert told in ran.stdout
