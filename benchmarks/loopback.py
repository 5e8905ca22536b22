"""What a second of streamed audio costs over a real socket, in user-space instructions, beside a bare client.

    python benchmarks/loopback.py [--json FILE] [--only NAME]...

Each transport of lkstt streams to a small gateway in another process, as a microphone would; and so does the least
client that the same library allows. Takes about half an hour. ``README.md`` beside this file says how and why.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from counting import REPEATS, commit, cpu, has_processor, measure

CLIENT = str(Path(__file__).with_name("loopback_client.py"))
SERVER = str(Path(__file__).with_name("loopback_server.py"))

NAMES = {
    "asyncio": "asyncio (aiohttp)",
    "uvloop": "asyncio (aiohttp) on uvloop",
    "trio": "trio",
    "anyio-asyncio": "anyio on asyncio",
    "anyio-trio": "anyio on trio",
    "sync": "sync",
}
KINDS = ("pace", "bare", "adapter", "bare_speed", "adapter_speed")
HEADS = ("transport", "bare", "lkstt", "ratio", "bare, speed", "lkstt, speed", "ratio, speed", "taken off")


@contextmanager
def server() -> Iterator[str]:
    """Run the gateway; give its URL."""
    process = subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


def net(figures: Mapping[str, Mapping[str, Mapping[str, float]]], transport: str) -> dict[str, float]:
    """Give instructions per second of each kind, without those of the pace; of the pace, its own."""
    costs = {kind: figures[f"{transport} {kind}"]["second"]["instructions"] for kind in KINDS}
    return {kind: cost if kind == "pace" else cost - costs["pace"] for kind, cost in costs.items()}


def table(costs: Mapping[str, Mapping[str, float]]) -> Iterable[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(HEADS)} |"
    yield f"|{' --- |' + ' ---: |' * (len(HEADS) - 1)}"
    for transport, cost in costs.items():
        cells = [NAMES[transport]]
        for bare, adapter in (("bare", "adapter"), ("bare_speed", "adapter_speed")):
            cells += [f"{cost[bare]:,}", f"{cost[adapter]:,}", f"{cost[adapter] / cost[bare]:.2f}"]
        yield f"| {' | '.join([*cells, format(cost['pace'], ',')])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions per second of audio over a loopback socket.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    parser.add_argument("--only", metavar="NAME", action="append", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    options = parser.parse_args()
    hardware = has_processor()
    transports = options.only or list(NAMES)
    with server() as url:
        sides = {
            f"{transport} {kind}": [sys.executable, CLIENT, transport, kind, url]
            for transport in transports
            for kind in KINDS
        }
        measured = measure(sides, hardware=hardware)
    costs = {transport: net(measured["figures"], transport) for transport in transports}
    result: dict[str, Any] = {
        "counter": "instructions:u of the processor" if hardware else "callgrind",
        "cpu": cpu(),
        "kernel": platform.release(),
        "commit": commit(),
        "net": costs,
        **measured,
    }
    for line in table(costs):
        print(line)
    spread = max(side["second"]["spread"] for side in result["figures"].values())
    print(f"\n{result['counter']}, {REPEATS} runs, largest spread {spread:.2%}; {result['cpu']}; {result['commit']}")
    versions = {name: version for about in result["about"].values() for name, version in about.items()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
