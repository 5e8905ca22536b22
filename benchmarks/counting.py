"""Counting instructions: a child process per side, and callgrind where the processor's counter is not to be had.

Nothing in here knows what is measured.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import platform
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 2
PATIENCE_SECONDS = 900.0
"""For one child: one that waits for what was lost never ends."""


class Counter(Protocol):
    """Counts what this process does, with all its threads, between two points: instructions in user space mostly."""

    def start(self) -> None:
        """Begin at zero."""

    def stop(self) -> int:
        """Give what was counted since ``start``."""


class Processor:
    """The processor's own counter, what ``perf stat -e instructions:u`` shows; OSError where there is none to be had.

    Threads that were there before it are not counted.
    """

    def __init__(self) -> None:
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise OSError("no perf_event_open known here")
        perf_event_open = 298
        inherit, pinned, exclude_kernel, exclude_hypervisor = 1 << 1, 1 << 2, 1 << 5, 1 << 6
        flags = inherit | pinned | exclude_kernel | exclude_hypervisor
        hardware, instructions = 0, 1
        attributes = struct.pack("<IIQQQQQQQ", hardware, 64, instructions, 0, 0, 0, flags, 0, 0)
        this_process, any_cpu, no_group = 0, -1, -1
        self._fd: int = ctypes.CDLL(None, use_errno=True).syscall(
            perf_event_open, attributes, this_process, any_cpu, no_group, ctypes.c_ulong(0)
        )
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "perf_event_open")
        self._began = 0

    def start(self) -> None:
        self._began = self._read()

    def stop(self) -> int:
        return self._read() - self._began

    def _read(self) -> int:
        return int(struct.unpack("<Q", os.read(self._fd, 8))[0])


# A client request as valgrind.h makes it on x86-64: the address of six words in rax, four rotations that cancel out,
# and an exchange of rbx with itself. The processor does nothing; valgrind notices and does what the first word asks.
_CLIENT_REQUEST = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_CALLGRIND = ord("C") << 24 | ord("T") << 16
_DUMP, _START = _CALLGRIND, _CALLGRIND + 4


class Callgrind:
    """Callgrind's counter, from inside of the process it runs; ``out`` is its output file."""

    def __init__(self, out: str) -> None:
        self._out = out
        self._dumps = 0
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(_CLIENT_REQUEST)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._request = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)(address)
        self._ask(_START)

    def start(self) -> None:
        self._dump()  # zeroing would leave what other threads did

    def stop(self) -> int:
        self._dump()
        with Path(f"{self._out}.{self._dumps}").open() as file:
            return int(next(line for line in file if line.startswith("summary:")).split()[1])

    def _dump(self) -> None:
        self._ask(_DUMP)
        self._dumps += 1

    def _ask(self, what: int) -> None:
        self._request((ctypes.c_ulong * 6)(what))


class ProcessorTime:
    """Nanoseconds of the processor, in user space and in the kernel: what varies with the machine and the moment."""

    def __init__(self) -> None:
        self._began = 0

    def start(self) -> None:
        self._began = time.process_time_ns()

    def stop(self) -> int:
        return time.process_time_ns() - self._began


def has_processor() -> bool:
    """Whether the processor's counter can be had. Raises SystemExit where no callgrind can stand in for it."""
    try:
        Processor()
    except OSError:
        if not (shutil.which("valgrind") and platform.machine() == "x86_64"):
            raise SystemExit("no hardware counter here: install valgrind (on x86-64)") from None
        return False
    return True


def make_counter(arguments: list[str]) -> Counter:
    """``arguments``, as ``run_child`` gives them: a callgrind output file, or nothing where the processor counts."""
    return Callgrind(arguments[0]) if arguments else Processor()


def freeze() -> None:
    """Stop the garbage collector: it would charge each side for the size of what it imported."""
    gc.collect()
    gc.freeze()
    gc.disable()


def speed_packages(*, wanted: bool) -> list[str]:
    """Name the packages of the ``speed`` extra, or hide them, before anything of lkstt is imported."""
    if wanted:
        return ["msgspec", "pybase64"]
    # None stops an import: the plain path is what runs without them.
    sys.modules |= dict.fromkeys(("msgspec", "pybase64"))  # type: ignore[arg-type]  # import's documented None
    return []


def tell(packages: Iterable[str], costs: Mapping[str, float]) -> None:
    """Print what ``run_child`` reads."""
    print(json.dumps({"about": versions(packages), "costs": costs}))


def versions(packages: Iterable[str]) -> dict[str, str]:
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


# The parent.


def run_child(command: list[str], *, hardware: bool) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    # Callgrind would count one instruction for each byte of a long string move; a processor does not.
    environment["GLIBC_TUNABLES"] = "glibc.cpu.x86_rep_movsb_threshold=1000000000"
    with tempfile.TemporaryDirectory() as directory:
        if not hardware:
            out = f"{directory}/out"
            valgrind = ["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no"]
            command = [*valgrind, f"--callgrind-out-file={out}", *command, out]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(sides: Mapping[str, list[str]], *, hardware: bool) -> dict[str, Any]:
    """Run every side ``REPEATS`` times, in turns; give the mean of each figure and its spread."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    about = {}
    for repeat in range(REPEATS):
        for side, command in sides.items():
            print(f"run {repeat + 1} of {REPEATS}: {side}", file=sys.stderr)
            result = run_child(command, hardware=hardware)
            about[side] = result["about"]
            runs[side].append(result["costs"])
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for side, all_costs in runs.items():
        figures[side] = {}
        for name in all_costs[0]:
            values = [costs[name] for costs in all_costs]
            mean = sum(values) / len(values)
            figures[side][name] = {"instructions": round(mean), "spread": (max(values) - min(values)) / mean}
    return {"about": about, "figures": figures}


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
