"""Random moments at which a life is cut short, the same ones each time; ``cancelling.py`` runs more of them."""

from __future__ import annotations

import pytest
from cancelling import Stage, run
from runtimes import RUNTIMES, Runtime

POINTS = 8 * len(Stage)


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_nothing_is_left_of_a_life_that_was_cut_short(runtime: type[Runtime]) -> None:
    counts = run(runtime(), POINTS, seed=7)
    assert set(counts) == {*Stage}
    assert min(counts.values()) > 0
