"""What hostile frames do to a client, and what one of them may cost it.

    python benchmarks/hostile.py [--livekit-python PATH] [--json PATH] [--only core,asyncio,...]

Every frame of ``tests/hostile`` comes in the middle of a live stream: in memory with and without the extra ``speed``,
and over a socket to every transport, whose process is measured apart from the server's. The next frame is sent when the
client has told of the valid final behind the last one. Processor time is the smaller of two runs, memory the peak of a
run under tracemalloc, both between two finals. livekit-agents gets a new stream for each frame, since few survive.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "transports")]

from scripted_server import ScriptedServer, Visit  # noqa: E402
from test_hostile import DEADLY, FRAMES, Frame, HostileGateway, in_order  # noqa: E402

MIB = 1 << 20
CPU_BAR_MS = 20.0
MEMORY_BAR_MIB = 4.0
ADAPTERS = ["asyncio", "uvloop", "trio", "anyio-asyncio", "anyio-trio", "sync"]


class Lockstep(HostileGateway):
    """Sends a frame when the client has told of the one before."""

    def __init__(self, hostile: list[Frame]) -> None:
        super().__init__(hostile)
        self.heard = -1

    async def _send(self, visit: Visit, frame: Frame) -> None:
        while self.heard < self._next - 2:  # noqa: ASYNC110 (another thread writes it)
            await asyncio.sleep(0.001)
        await super()._send(visit, frame)


def run_adapter(name: str, *flags: str) -> dict[str, Any]:
    """Run one client process through all frames after which a stream goes on."""
    hostile = in_order([frame for frame in FRAMES if frame not in DEADLY])
    gateway = Lockstep(hostile)
    with ScriptedServer(gateway.act) as server:
        command = [sys.executable, str(HERE / "hostile_client.py"), name, server.base_url, *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("{"):
                    result: dict[str, Any] = json.loads(line)
                else:
                    gateway.heard = int(line)
    return result


def measured(name: str) -> dict[str, Any]:
    """Give processor time and memory for each frame, by a transport or by the core."""
    if name.startswith("core"):
        runs = [core(name, *flags) for flags in ([], [], ["--memory"])]
    else:
        runs = [run_adapter(name, *flags) for flags in ([], [], ["--memory"])]
    first, second, memory = runs
    cpu = {frame: min(value, second["cost"][frame]) for frame, value in first["cost"].items()}
    return {
        "cpu_ms": cpu,
        "memory_mib": memory["cost"],
        "resident_mib": first["resident_mib"],
        "problems": first["problems"],
        "untyped": first["untyped"],
        "unsound": first["unsound"],
    }


def core(name: str, *flags: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "hostile_client.py"), name, "", *flags]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output)
    return result


class OneByOne:
    """Says one frame to each visit: the one whose number stands in the path."""

    async def act(self, visit: Visit) -> None:
        """Be a visit's act."""
        number = int(visit.head.split()[1].split("/")[2])
        await HostileGateway([FRAMES[number]]).act(visit)


def run_livekit(python: str, *flags: str) -> dict[str, Any]:
    """Run livekit-agents through all frames."""
    with ScriptedServer(OneByOne().act) as server:
        numbers = json.dumps([[frame.name, frame.expect] for frame in FRAMES])
        command = [python, str(HERE / "hostile_livekit.py"), server.base_url, *flags]
        output = subprocess.run(command, input=numbers, stdout=subprocess.PIPE, text=True, check=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def livekit(python: str) -> dict[str, Any]:
    """Give what becomes of livekit-agents, and what it costs."""
    first = run_livekit(python)
    return {**first, "memory_mib": run_livekit(python, "--memory")["cost"], "cpu_ms": first.pop("cost")}


def worst(values: dict[str, float], count: int = 1) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda item: -item[1])[:count]


def table(results: dict[str, dict[str, Any]]) -> str:
    """Give the results as Markdown."""
    heads = ["client", "frames", "as expected", "untyped exceptions", "unsound values", "otherwise wrong"]
    heads += ["largest CPU, ms", "over 20 ms", "largest memory, MiB", "over 4 MiB"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for name, result in results.items():
        cpu, memory = result["cpu_ms"], result["memory_mib"]
        problems = len(result["problems"])
        frames = len(FRAMES) if name == "livekit-agents" else len(cpu)
        cells = [
            name,
            frames,
            frames - problems - result["untyped"] - result["unsound"],
            result["untyped"],
            result["unsound"],
            problems,
            f"{worst(cpu)[0][1]:.1f}",
            sum(value > CPU_BAR_MS for value in cpu.values()),
            f"{worst(memory)[0][1]:.2f}",
            sum(value > MEMORY_BAR_MIB for value in memory.values()),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--livekit-python")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else ["core", "core with speed", *ADAPTERS]
    results = {name: measured(name) for name in names}
    if arguments.livekit_python:
        results["livekit-agents"] = livekit(arguments.livekit_python)
    expected = Counter(frame.expect for frame in FRAMES)
    print(f"{len(FRAMES)} frames: {', '.join(f'{count} {name}' for name, count in expected.most_common())}.\n")
    print(table(results))
    for name, result in results.items():
        for what, bar in (("cpu_ms", CPU_BAR_MS), ("memory_mib", MEMORY_BAR_MIB)):
            over = [f"{frame} {value:.1f}" for frame, value in worst(result[what], 8) if value > bar]
            if over:
                print(f"\n{name}, {what} over {bar:g}: {'; '.join(over)}")
        for problem in result["problems"][:5]:
            print(f"\n{name}: {problem}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
