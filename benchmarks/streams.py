"""How many live streams one process carries: real-time streams, all from one ticker, on one event loop.

For each number of streams: how much of a core the client takes; how far audio is behind real time when it reaches the
gateway; how long a transcript takes from the gateway's write to the application; and memory per stream.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from harness import MILLION, Measuring, Setup, figure, measuring_gateway, packages, percentile, say, show, table
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
NUMBERS = (1, 10, 50, 100, 200, 400)
QUICK_NUMBERS = (1, 50)
FEW, MANY = 10, 200
"""Streams between which the cost of each should not grow."""
SOME = 50
"""Streams from which on memory is told: with fewer, what is loaded late would be."""
KIB = 1024


def measure(setup: Setup) -> dict[str, Any]:
    """Give name, number of streams and figures; and what the processes told of themselves."""
    found: dict[str, Any] = {"about": {}, "streams": {}, "growth": {}}
    with measuring_gateway() as gateway:
        for number in QUICK_NUMBERS if setup.quick else NUMBERS:
            for name in NAMES:
                side, _, transport = name.partition(" ")
                python = setup.livekit if side == "livekit" else sys.executable
                if python:
                    say(f"{name}, {number} streams")
                    result = run(gateway, python, side, transport, number)
                    found["about"][name] = result["about"]
                    found["streams"].setdefault(name, {})[str(number)] = look(result, number)
        if not setup.quick:
            for number in (FEW, MANY):
                say(f"instructions of {number} streams")
                result = gateway.ask(
                    sys.executable,
                    hardware=setup.hardware,
                    transport="asyncio",
                    side="lkstt",
                    mode="real time",
                    streams=number,
                    windows=1,
                )
                found["growth"][str(number)] = figure(result["costs"])
    return found


def run(gateway: Measuring, python: str, side: str, transport: str, number: int) -> dict[str, Any]:
    speed = side != "livekit"
    return gateway.ask(
        python,
        hardware=True,
        transport=transport,
        side=side,
        mode="real time",
        speed=speed,
        streams=number,
        windows=2,
        processor_time=True,
    )


def look(result: dict[str, Any], number: int) -> dict[str, Any]:
    began, (start, end) = result["began"], result["counted"]
    behind = [lag for session in result["sessions"] for due, lag in lags(session, began) if start <= due < end]
    latencies = [nanoseconds / 1e9 for nanoseconds in result["latencies"]]
    return {
        # Nanoseconds per second and stream, to cores.
        "cores": figure(cost * number / 1e9 for cost in result["costs"]),
        "lag": spread(behind),
        "latency": spread(latencies),
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


def spread(values: list[float]) -> dict[str, float]:
    return {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "n": len(values)}


def lines(found: dict[str, Any]) -> Iterator[str]:
    yield "Two windows of 3 s for each number. *Lag*: from the time at which the last sample of a message was due to be"
    yield "pushed to its arrival at the gateway. *Latency*: from the gateway's write of a transcript to the"
    yield "application."
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
                        *(f"{1000 * told[what][p]:.1f}" for what in ("lag", "latency") for p in ("p50", "p99")),
                        f"{told['memory'] / KIB:.0f}" if number >= SOME else "",
                        f"{told['gateway']:.2f}",
                    ]
                )
    yield from table((*heads, "memory per stream, KiB", "cores of the gateway"), rows)
    yield ""
    if found["growth"]:
        few, many = (found["growth"][str(number)]["median"] for number in (FEW, MANY))
        yield (
            f"Instructions per second of audio and stream, lkstt on asyncio, its share in the ticker included: "
            f"{few / MILLION:.2f} million with {FEW} streams, {many / MILLION:.2f} million with {MANY} "
            f"({many / few - 1:+.1%})."
        )
        yield ""
    yield f"{packages(found['about'])}."
