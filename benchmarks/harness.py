"""What the parts of the suite share: a measuring gateway, a client process, figures and tables."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

from counting import run_child

HERE = Path(__file__).parent
MILLION = 1e6
BEGAN = time.monotonic()
Figure = dict[str, float]
"""Median, min and max of ``n`` values."""
SPREAD = ("median", "min", "max")


class Setup(NamedTuple):
    """How a suite is run."""

    hardware: bool
    """The processor counts instructions, not callgrind."""
    livekit: str | None = None
    """An interpreter that has livekit-agents."""
    quick: bool = False
    fresh: bool = False
    """Install into fresh environments, to weigh them."""


class Measuring:
    """A measuring gateway that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def heard(self) -> dict[str, Any]:
        """Tell of all sessions since this was last asked, and of the gateway's own processor time."""
        told: dict[str, Any] = json.loads(urlopen(f"{self.url}/heard").read())  # noqa: S310 (its own)
        return told

    def ask(self, python: str, *, hardware: bool, **job: Any) -> dict[str, Any]:
        """Run one client process; give what it and the gateway tell. Fails if audio was lost or changed."""
        before = self.heard()
        command = [python, str(HERE / "client.py"), json.dumps({"url": self.url, **job})]
        result = run_child(command, hardware=hardware or job.get("processor_time", False))
        after = self.heard()
        sessions = after["sessions"]
        if not all(session["intact"] for session in sessions):
            raise SystemExit(f"the gateway heard something else than was said: {job}")
        whole = all(session["samples"][-1] == result["seconds"] * 16000 for session in sessions)
        if not whole and job["mode"] == "burst":
            raise SystemExit(f"the gateway did not hear all: {job}")
        gateway_seconds = after["processor"] - before["processor"]
        return {**result, "whole": whole, "sessions": sessions, "gateway_seconds": gateway_seconds}


@contextmanager
def measuring_gateway() -> Iterator[Measuring]:
    command = [sys.executable, str(HERE / "measuring_gateway.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Measuring(process.stdout.readline().strip())
        finally:
            process.terminate()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:5.0f} s  {text}", file=sys.stderr, flush=True)


def figure(values: Iterable[float]) -> Figure:
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def without(ticker: Figure, cost: Figure, streams: int) -> Figure:
    """Take off a stream's share in the ticker that all of them are pushed from: it is ours, not a client's."""
    share = ticker["median"] / streams
    return {**cost, **{name: cost[name] - share for name in SPREAD}}


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(value: Figure | None, digits: int = 2, unit: float = 1.0) -> str:
    """Write a figure in units of ``unit``, with its spread where that can be seen."""
    if value is None:
        return ""
    median, low, high = (format(value[name] / unit, f",.{digits}f") for name in SPREAD)
    return median if low == high else f"{median} ({low}..{high})"


def ratio(over: float | None, under: float | None) -> str:
    """Write it where both were measured, and where noise left anything of them: of both, something is taken off."""
    return f"{over / under:.2f}" if over and under and min(over, under) > 0 else ""


def ratio_of(over: Figure | None, under: Figure | None) -> str:
    return ratio(over and over["median"], under and under["median"])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table; the first column is text."""
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def packages(about: Mapping[str, Mapping[str, str]]) -> str:
    """Name the versions that several processes told, each once."""
    return ", ".join(sorted({f"{name} {number}" for each in about.values() for name, number in each.items()}))
