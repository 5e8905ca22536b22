"""How many live streams one process carries: real-time streams, all from one ticker, on one event loop.

For each number of streams: how much of a core the client takes; how far audio is behind real time when it reaches the
gateway; how long a transcript takes from the gateway's write to the application; and memory per stream.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from harness import (
    MILLION,
    Figure,
    Measuring,
    Setup,
    figure,
    measuring_gateway,
    packages,
    percentile,
    say,
    show,
    table,
    without,
)
from pace import PHASES
from workload import PUSH_SECONDS, PUSHED

TITLE = "Concurrent streams in real time"
NAMES = {
    "lkstt asyncio": "lkstt on asyncio",
    "lkstt uvloop": "lkstt on uvloop",
    "lkstt trio": "lkstt on trio",
    "livekit asyncio": "livekit-agents",
    "bare asyncio": "bare aiohttp",
}
NUMBERS = (1, 10, 50, 200, 400)
QUICK_NUMBERS = (1, 50)
FEW, MANY = 10, 200
"""Streams between which the cost of each should not grow."""
WINDOWS = 3
QUICK_WINDOWS = 2
PERCENTILES = {"p50": 0.5, "p99": 0.99}
SOME = 50
"""Streams from which on memory is told: with fewer, what is loaded late would be."""
KIB = 1024


def measure(setup: Setup) -> dict[str, Any]:
    """Give name, number of streams and figures; and what the processes told of themselves."""
    found: dict[str, Any] = {"about": {}, "streams": {}, "growth": {}}
    with measuring_gateway() as gateway:
        for number in QUICK_NUMBERS if setup.quick else NUMBERS:
            for name in NAMES:
                python = setup.livekit if name.startswith("livekit") else sys.executable
                if python:
                    say(f"{name}, {number} streams")
                    result = run(gateway, python, name, number, QUICK_WINDOWS if setup.quick else WINDOWS)
                    found["about"][name] = result["about"]
                    found["streams"].setdefault(name, {})[str(number)] = look(result, number)
        if not setup.quick:
            found["growth"] = growth(setup, gateway)
    return found


def growth(setup: Setup, gateway: Measuring) -> dict[str, Figure]:
    """Give what a second of audio takes with few streams and with many, by their number, without the ticker."""

    def count(side: str, number: int) -> Figure:
        say(f"instructions of {number} streams")
        job = {"transport": "asyncio", "side": side, "mode": "real time", "streams": number, "windows": 2}
        result = gateway.ask(sys.executable, hardware=setup.hardware, **job)
        if result["finals"] != result["expected"]:
            raise SystemExit(f"finals are missing: {number} streams")
        return figure(result["costs"])

    ticker = count("ticker", 0)
    return {str(number): without(ticker, count("lkstt", number), number) for number in (FEW, MANY)}


def run(gateway: Measuring, python: str, name: str, number: int, windows: int) -> dict[str, Any]:
    side, _, transport = name.partition(" ")
    return gateway.ask(
        python,
        hardware=True,
        transport=transport,
        side=side,
        mode="real time",
        speed=side != "livekit",
        streams=number,
        windows=windows,
        processor_time=True,
    )


def look(result: dict[str, Any], number: int) -> dict[str, Any]:
    began, windows = result["began"], result["windows"]
    behind = [lag for session in result["sessions"] for lag in lags(session, began)]
    heard = [[nanoseconds / 1e9 for nanoseconds in window] for window in result["latencies"]]
    return {
        # Nanoseconds per second and stream, to cores.
        "cores": figure(cost * number / 1e9 for cost in result["costs"]),
        "lag": spread([[lag for due, lag in behind if start <= due < end] for start, end in pairwise(windows)]),
        "latency": spread(heard),
        "memory": result["memory"],
        "whole": result["whole"],
        "gateway": result["gateway_seconds"] / result["seconds"],
    }


def lags(session: dict[str, Any], began: float) -> Iterator[tuple[float, float]]:
    """Give for each arrival when its last piece was due to be pushed, and how long after that it came."""
    pushed = len(PUSHED[0]) // 2
    phase = session["first"] // (PHASES * len(PUSHED[0]))  # as the client laid them
    for samples, at in zip(session["samples"], session["times"], strict=True):
        due = began + (phase + -(-samples // pushed) - 1) * PUSH_SECONDS
        yield due, at - due


def spread(windows: list[list[float]]) -> dict[str, Figure]:
    """Give percentiles of each window: how they vary from one to the next."""
    whole = [window for window in windows if window]
    return {name: figure(percentile(window, share) for window in whole) for name, share in PERCENTILES.items()}


def lines(found: dict[str, Any]) -> Iterator[str]:
    windows = max(told["cores"]["n"] for each in found["streams"].values() for told in each.values())
    yield f"{windows} windows of 3 s in one process for each number; memory once. *Lag*: from the time at which the"
    yield "last sample of a message was due to be pushed to its arrival at the gateway. *Latency*: from the gateway's"
    yield "write of a transcript to the application."
    yield ""
    heads = ("streams", "client", "cores", "lag p50, ms", "lag p99, ms", "latency p50, ms", "latency p99, ms")
    rows = []
    numbers = sorted({int(number) for each in found["streams"].values() for number in each})
    for number in numbers:
        for name, by_number in found["streams"].items():
            told = by_number.get(str(number))
            if told:
                rows.append(
                    [
                        str(number),
                        NAMES[name] if told["whole"] else f"{NAMES[name]}: does not keep up",
                        show(told["cores"], 3),
                        *(show(told[what][p], 1, 1e-3) for what in ("lag", "latency") for p in PERCENTILES),
                        f"{told['memory'] / KIB:.0f}" if number >= SOME else "",
                        f"{told['gateway']:.2f}",
                    ]
                )
    yield from table((*heads, "memory per stream, KiB", "cores of the gateway"), rows)
    yield ""
    if found["growth"]:
        few, many = (found["growth"][str(number)]["median"] for number in (FEW, MANY))
        yield (
            f"Instructions per second of audio and stream, lkstt on asyncio, its share in the ticker taken off: "
            f"{few / MILLION:.2f} million with {FEW} streams, {many / MILLION:.2f} million with {MANY} "
            f"({many / few - 1:+.1%})."
        )
        yield ""
    yield f"{packages(found['about'])}."
