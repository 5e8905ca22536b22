"""What the tests of all adapters need from pytest."""

from __future__ import annotations

import gc

import pytest

pytest.register_assert_rewrite("cancelling", "contract", "runtimes", "scenarios", "scripted_server")


def pytest_collection_finish() -> None:
    """Let each test's search for leaks look at what was made since, and not at all modules again."""
    gc.collect()
    gc.freeze()
