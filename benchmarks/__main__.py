"""All benchmarks in one go: JSON, a Markdown table and a page of plots.

    python benchmarks [--livekit-python PATH] [--out DIRECTORY] [--quick] [--fresh] [--only LETTERS]

Takes about half an hour, with ``--quick`` a few minutes. ``README.md`` beside this file says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import core
import glance
import local_gateway
import loopback
import reconnect
import streams
import weight
from counting import commit, cpu, has_processor
from harness import HERE, Setup, say

PARTS: dict[str, Any] = {
    "a": core,
    "b": loopback,
    "c": streams,
    "d": reconnect,
    "e": weight,
    "f": local_gateway,
}
FIGURES = "figures.json"


def about(setup: Setup) -> dict[str, Any]:
    return {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "counter": "instructions:u of the processor" if setup.hardware else "callgrind",
        "quick": setup.quick,
        "load": os.getloadavg()[0],
    }


def report(found: dict[str, Any]) -> Iterator[str]:
    """Write it in Markdown."""
    machine = found["about"]
    yield (
        f"Commit {machine['commit']}, {machine['date']}, Python {machine['python']}, {machine['cpu']} "
        f"({machine['cores']} cores, load {machine['load']:.1f} at the start), Linux {machine['kernel']}; instructions "
        f"by {machine['counter']}{'; a quick run' if machine['quick'] else ''}. Where a figure varied: median "
        "(min..max)."
    )
    yield f"Seconds that parts took: {', '.join(f'{letter} {took}' for letter, took in found['seconds'].items())}."
    if not machine["livekit"]:
        yield "livekit-agents was not measured: no interpreter that has it was given."
    yield from ("", "### At a glance", "", *glance.lines(found["parts"]))
    for letter, part in PARTS.items():
        if letter in found["parts"]:
            yield from ("", f"### {part.TITLE}", "", *part.lines(found["parts"][letter]))


def main() -> None:
    parser = argparse.ArgumentParser(description="All benchmarks in one go.")
    parser.add_argument("--livekit-python", metavar="PATH", help="an interpreter that has livekit-agents")
    parser.add_argument("--out", metavar="DIRECTORY", type=Path, default=HERE / "figures", help="where to write")
    parser.add_argument("--quick", action="store_true", help="fewer transports, streams and runs")
    parser.add_argument("--fresh", action="store_true", help="install into fresh environments, to weigh them")
    titles = ", ".join(f"{letter}: {part.TITLE}" for letter, part in PARTS.items())
    parser.add_argument("--only", metavar="LETTERS", default="".join(PARTS), help=f"parts to run ({titles})")
    options = parser.parse_args()
    setup = Setup(has_processor(), options.livekit_python, options.quick, options.fresh)
    found: dict[str, Any] = {"about": {**about(setup), "livekit": bool(setup.livekit)}, "seconds": {}, "parts": {}}
    options.out.mkdir(parents=True, exist_ok=True)
    for letter, part in PARTS.items():
        if letter in options.only:
            began = time.monotonic()
            found["parts"][letter] = part.measure(setup)
            found["seconds"][letter] = round(time.monotonic() - began)
            say(f"{part.TITLE}: {found['seconds'][letter]} s")
            (options.out / FIGURES).write_text(json.dumps(found, indent=1) + "\n")
    text = "\n".join(report(found)) + "\n"
    (options.out / "summary.md").write_text(text)
    print(text)
    from plots import draw  # matplotlib: what was measured is written already where that is missing

    draw(found, options.out / "summary.png")


if __name__ == "__main__":
    main()
