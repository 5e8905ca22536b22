"""What a second of streamed audio costs over a real socket: every transport beside its floor and livekit-agents.

Figures are instructions and nanoseconds of the processor per second of audio and stream. The floor is the least client
that the same library allows. In real time, what the ticker costs alone is told, and taken off.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from harness import (
    MILLION,
    Figure,
    Measuring,
    Setup,
    figure,
    measuring_gateway,
    packages,
    ratio_of,
    say,
    show,
    table,
    without,
)
from workload import INTERIMS, UTTERANCE_SECONDS

TITLE = "A second of audio over a socket"
NAMES = {
    "asyncio": "asyncio (aiohttp)",
    "uvloop": "asyncio (aiohttp) on uvloop",
    "trio": "trio",
    "anyio-asyncio": "anyio on asyncio",
    "anyio-trio": "anyio on trio",
    "sync": "sync",
}
PLAIN = ("asyncio", "trio", "sync")
"""Measured without the speed extra, too."""
DIRECT = ("trio", "anyio-asyncio", "anyio-trio")
"""Have a second floor, which goes past the library's own streams."""
STREAMS = 10
"""In real time, so that they share the ticker."""
SLOW = 2.0
UTTERANCES = 4
"""In a window of a burst."""
UNITS = {
    "burst": (MILLION, "Burst: millions of instructions in user space per second of audio"),
    "burst, time": (MILLION, "Burst: milliseconds of the processor, kernel included, per second of audio"),
    "real time": (MILLION, "Real time: millions of instructions in user space per second of audio and stream"),
    "real time, time": (MILLION, "Real time: milliseconds of the processor, kernel included, per second and stream"),
}


def name_of(side: str, *, speed: bool) -> str:
    return f"{side}, speed" if speed else side


def measure(setup: Setup) -> dict[str, Any]:
    """Give mode, transport, side and figure; events per second in a burst; and versions."""
    found: dict[str, Any] = {**{mode: {} for mode in UNITS}, "events": {}, "about": {}}
    with measuring_gateway() as gateway:
        for transport in ("asyncio", "trio") if setup.quick else NAMES:
            measure_transport(setup, gateway, transport, found)
    return found


def measure_transport(setup: Setup, gateway: Measuring, transport: str, found: dict[str, Any]) -> None:
    speeds = (True, False) if transport in PLAIN else (True,)
    sides = [(side, speed, sys.executable) for speed in speeds for side in ("bare", "lkstt")]
    if transport in DIRECT:
        sides.append(("direct", True, sys.executable))
    if setup.livekit and transport == "asyncio":
        sides.append(("livekit", False, setup.livekit))

    def ask(mode: str, side: str, python: str, *, speed: bool, **job: Any) -> Figure:
        name = name_of(side, speed=speed)
        say(f"{transport}, {name}, {mode}")
        job |= {"transport": transport, "mode": mode.partition(",")[0], "side": side, "speed": speed}
        result = gateway.ask(python, hardware=setup.hardware, **job)
        if result.get("finals") != result.get("expected"):
            raise SystemExit(f"finals are missing: {transport}, {name}, {mode}")
        found["about"][f"{transport}, {name}"] = result["about"]
        if mode == "burst, time":
            found["events"].setdefault(transport, {})[name] = result["events"] / result["seconds"]
        return figure(result["costs"])

    costs = {mode: found[mode].setdefault(transport, {}) for mode in UNITS}
    for side, speed, python in sides:
        costs["burst"][name_of(side, speed=speed)] = ask(
            "burst", side, python, speed=speed, utterances=UTTERANCES, windows=2
        )
    for side, speed, python in sides:
        costs["burst, time"][name_of(side, speed=speed)] = ask(
            "burst, time", side, python, speed=speed, utterances=20, windows=9, processor_time=True
        )
    slow = 1.0 if setup.hardware else SLOW
    ways: dict[str, dict[str, Any]] = {"real time": {"slow": slow}, "real time, time": {"processor_time": True}}
    for mode, way in ways.items():
        ticker = ask(mode, "ticker", sys.executable, speed=False, streams=0, windows=2, **{**way, "slow": 1.0})
        for side, speed, python in sides:
            if speed or side == "livekit":
                cost = ask(mode, side, python, speed=speed, streams=STREAMS, windows=2, **way)
                costs[mode][name_of(side, speed=speed)] = without(ticker, cost, STREAMS)
        costs[mode]["ticker"] = ticker


def lines(found: dict[str, Any]) -> Iterator[str]:
    yield "*Bare* is the least client on the library's own streams, *direct* the least on the socket inside of them."
    yield ""
    for mode, (unit, title) in UNITS.items():
        yield from (f"{title}:", "")
        livekit = found[mode].get("asyncio", {}).get("livekit")
        rows = []
        for transport, costs in found[mode].items():
            for speed in (True, False):
                bare, direct, own = (costs.get(name_of(side, speed=speed)) for side in ("bare", "direct", "lkstt"))
                if own:
                    name = NAMES[transport] if speed else f"{NAMES[transport]}, plain"
                    floors = (show(floor, 2, unit) for floor in (bare, direct))
                    ratios = (ratio_of(own, bare), ratio_of(own, direct), ratio_of(livekit, own))
                    rows.append([name, *floors, show(own, 2, unit), *ratios])
        if livekit:
            rows.append(["livekit-agents on asyncio", "", "", show(livekit, 2, unit), "", "", ""])
        heads = ("bare", "direct", "client", "lkstt / bare", "lkstt / direct", "livekit-agents / lkstt")
        yield from table(("transport", *heads), rows)
        count = found[mode]["asyncio"]["lkstt, speed"]["n"]
        yield from ("", f"{count} windows in one process each.", "")
    ticker = {NAMES[transport]: costs["ticker"]["median"] for transport, costs in found["real time"].items()}
    told = ", ".join(f"{name} {cost / MILLION / STREAMS:.2f}" for name, cost in ticker.items())
    yield f"Taken off in real time, for each of {STREAMS} streams its share in the ticker, in million instructions:"
    yield f"{told}."
    yield ""
    events = {
        f"{NAMES[transport]} {name}": told
        for transport, sides in found["events"].items()
        for name, told in sides.items()
        if name in ("lkstt, speed", "livekit")
    }
    sent = (INTERIMS + 1) / UTTERANCE_SECONDS
    yield f"Transcripts delivered per second of audio in the bursts (the gateway sent {sent:.2f}):"
    yield f"{', '.join(f'{name} {told:.2f}' for name, told in events.items())}. What is missing are interims that a"
    yield "newer one replaced before anybody read them."
    yield ""
    yield f"{packages(found['about'])}."
