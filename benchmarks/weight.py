"""What it costs to have the library at all: the time and memory of an import, and the size of an installation."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counting import ROOT
from harness import Setup, figure, packages, ratio_of, say, show, table

TITLE = "Weight"
RUNS = 9
QUICK_RUNS = 3
IMPORTS = {
    "lkstt": "from lkstt_transports.asyncio import STT",
    "livekit": "from livekit.agents.inference import STT",
}
PACKAGES = {"lkstt": ("aiohttp", "attrs"), "livekit": ("livekit-agents", "livekit", "aiohttp")}
VERSIONS = """
import importlib.metadata, json, platform
found = dict((package, importlib.metadata.version(package)) for package in {packages})
print(json.dumps(dict(python=platform.python_version(), **found)))
"""
MAKE = 'STT(model="deepgram/nova-3", base_url="http://127.0.0.1/v1", api_key="key", api_secret="secret" * 8)'
CHILD = """
import json, os, sys, time
before = len(sys.modules), int(open("/proc/self/statm").read().split()[1])
began, processor = time.perf_counter(), time.process_time()
{0}
imported, after = time.perf_counter() - began, time.process_time() - processor
{1}
pages = int(open("/proc/self/statm").read().split()[1]) - before[1]
print(json.dumps(dict(
    imported=imported, processor=after, made=time.perf_counter() - began,
    modules=len(sys.modules) - before[0], memory=pages * os.sysconf("SC_PAGE_SIZE"))))
"""
FIGURES = {
    "imported": ("import, ms", 1e-3, 0),
    "processor": ("import, ms of the processor", 1e-3, 0),
    "made": ("import and make an STT, ms", 1e-3, 0),
    "modules": ("modules imported", 1, 0),
    "memory": ("memory of the import, MiB", 2**20, 1),
    "installed": ("installed with all it requires, MB", 1e6, 1),
}


def measure(setup: Setup) -> dict[str, Any]:
    """Give side, name and figure."""
    pythons = {"lkstt": sys.executable, **({"livekit": setup.livekit} if setup.livekit else {})}
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
    say("imports")
    for number in range((QUICK_RUNS if setup.quick else RUNS) + 1):
        for side, python in pythons.items():
            told = run(python, CHILD.format(IMPORTS[side], MAKE))
            if number:  # the first one writes byte code
                runs[side].append(told)
    found: dict[str, Any] = {
        side: {name: figure(told[name] for told in all_told) for name in all_told[0]} for side, all_told in runs.items()
    }
    found["about"] = {side: run(python, VERSIONS.format(packages=PACKAGES[side])) for side, python in pythons.items()}
    if setup.fresh:
        wanted = {"lkstt": str(ROOT)}
        if setup.livekit:
            wanted["livekit"] = f"livekit-agents=={found['about']['livekit']['livekit-agents']}"
        for side, requirement in wanted.items():
            say(f"installing {side}")
            found[side]["installed"] = figure([installed_bytes(requirement)])
    return found


def run(python: str, code: str) -> Any:
    done = subprocess.run([python, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def installed_bytes(requirement: str) -> int:
    """Install into a fresh environment; give what it holds more than pip."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        before = size_of(Path(directory))
        install = [f"{directory}/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", requirement]
        subprocess.run(install, check=True, stdout=sys.stderr)
        return size_of(Path(directory)) - before


def size_of(directory: Path) -> int:
    """Bytes on the disk, as ``du`` tells them."""
    return sum(512 * path.lstat().st_blocks for path in directory.rglob("*") if not path.is_symlink())


def lines(found: dict[str, Any]) -> Iterator[str]:
    own, livekit = found["lkstt"], found.get("livekit", {})
    rows = [
        [
            title,
            show(own[name], digits, unit),
            show(other := livekit.get(name), digits, unit),
            ratio_of(other, own[name]),
        ]
        for name, (title, unit, digits) in FIGURES.items()
        if name in own
    ]
    yield from table(("", "lkstt", "livekit-agents", "livekit-agents / lkstt"), rows)
    yield ""
    count = own["imported"]["n"]
    yield f"{count} processes each, in turns, with byte code written before; installed once."
    yield f"{packages(found['about'])}."
