"""What the tests of a hostile network take from those of the adapters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The adapters' own tests lie in no package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "transports"))
pytest.register_assert_rewrite("cancelling", "contract", "runtimes", "scripted_server")


from runtimes import RUNTIMES, Runtime  # noqa: E402 (it lies where the path leads since the line above)


@pytest.fixture(scope="module", params=RUNTIMES, ids=lambda runtime: runtime.name)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Give each adapter in turn."""
    made: Runtime = request.param()
    return made


@pytest.fixture(autouse=True, scope="module")
def no_proxies() -> Iterator[None]:
    """Forget what the environment of the tests says."""
    from contract import clear_proxies

    with pytest.MonkeyPatch.context() as patch:
        clear_proxies(patch)
        yield
