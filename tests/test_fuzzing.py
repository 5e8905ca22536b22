"""Fuzzing for a moment in each target, the findings of the past, and proof that bugs are found (tests/fuzzing)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzzing import guided
from tests.fuzzing.__main__ import NAMES
from tests.fuzzing.engine import Finding, fuzz
from tests.fuzzing.plants import PLANTS
from tests.fuzzing.target import REGRESSIONS, Target
from tests.fuzzing.targets import TARGETS
from tests.fuzzing.work import TooMuchWork, bounded

ROOT = Path(__file__).resolve().parent.parent
EXECUTIONS = {
    "receive_text": 500,
    "gateway": 1000,
    "token": 4000,
    "fixture": 250,
    "wav": 1200,
    "connection": 120,
    "wide": 2000,
    "frames": 2000,
}
PLANT_EXECUTIONS = 4000


def test_every_target_can_be_named_and_has_plants() -> None:
    assert set(NAMES) == set(TARGETS) == set(EXECUTIONS) == set(PLANTS)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found(name: str) -> None:
    result = fuzz(TARGETS[name], executions=EXECUTIONS[name])
    assert result.executions >= EXECUTIONS[name]
    assert result.behaviours > 5


REGRESSION_FILES = sorted(REGRESSIONS.glob("*/*"))


@pytest.mark.parametrize("file", REGRESSION_FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_what_was_found_once_stays_mended(file: Path) -> None:
    assert TARGETS[file.parent.name].execute(file.read_bytes())


@pytest.mark.parametrize(("name", "plant"), [(name, plant) for name in PLANTS for plant in PLANTS[name]])
def test_planted_bugs_are_found(name: str, plant: str) -> None:
    target = TARGETS[name]
    with PLANTS[name][plant](), pytest.raises(Finding) as found:
        fuzz(target, executions=PLANT_EXECUTIONS)
    # It was the bug, not the input.
    assert target.execute(found.value.data)


def test_only_the_permitted_may_come_out() -> None:
    def run(data: bytes) -> str:
        raise (ValueError if data == b"permitted" else KeyError)(data)

    target = Target("example", run, (ValueError,), lambda: [b"permitted"], lambda data, random: b"another")
    assert target.execute(b"permitted") == "ValueError"
    with pytest.raises(Finding) as found:
        fuzz(target, executions=10)
    assert found.value.data == b"another"
    assert isinstance(found.value.__cause__, KeyError)


def test_a_seed_is_the_same_run_every_time() -> None:
    target = TARGETS["token"]
    assert fuzz(target, executions=300, seed=7).corpus == fuzz(target, executions=300, seed=7).corpus


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_differ_from_what_they_are_made_of(name: str) -> None:
    target = TARGETS[name]
    random = Random(0)
    seeds = list(target.seeds())
    assert sum(target.mutate(seed, random) != seed for seed in seeds) > len(seeds) / 2


def test_work_is_counted() -> None:
    with bounded(1000):
        sum(len("") for _ in range(100))
    with pytest.raises(TooMuchWork), bounded(1000):
        sum(len("") for _ in range(1000))


@pytest.mark.parametrize("engine", ["seeded", *(["guided"] if guided.available() else [])])
def test_the_command_runs_either_engine(engine: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzzing", "--target", "token", "--executions", "200", "--engine", engine]
    ran = subprocess.run([*command, "--corpus", tmp_path], capture_output=True, cwd=ROOT, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ("no findings" if engine == "seeded" else "DONE") in ran.stdout + ran.stderr
