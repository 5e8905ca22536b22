"""Random moments at which a life is cut short, the same ones each time; ``cancelling.py`` runs more of them."""

from __future__ import annotations

import pytest
from cancelling import Point, Stage, cut_all, run
from runtimes import RUNTIMES, Runtime

POINTS = 8 * len(Stage)


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_nothing_is_left_of_a_life_that_was_cut_short(runtime: type[Runtime]) -> None:
    counts = run(runtime(), POINTS, seed=7)
    assert set(counts) == {*Stage}
    assert min(counts.values()) > 0


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_no_farewell_is_waited_for_when_a_dial_ends_with_its_handshake(runtime: type[Runtime]) -> None:
    turns = [*range(2, 6)] * 6
    cut_all(runtime(), [Point(Stage.FULL, secure=True, turns=each, seconds=0.0, more=False) for each in turns])
