"""What one audio message and one transcript cost, in user-space instructions, without any socket.

    python benchmarks/per_message.py [--livekit-python PATH] [--json FILE]

Measures the core with and without the ``speed`` extra, the bare floor (slice, base64 and joining; JSON decoding), and
livekit-agents' own path where an interpreter that has it is given. ``README.md`` beside this file says how and why.

Each side runs in child processes. A child builds its stream, warms it up, and counts two runs of different length; the
difference is what an item costs, so that nothing of starting or of counting is in it.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
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
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 2

# The workload: 16 kHz mono, an interim every 200 ms, a final every 3 s.

MESSAGE_SECONDS = 0.05
MESSAGE_BYTES = 1600
PUSH_SECONDS = 0.02
FILE_SECONDS = 0.8
"""A push of a file: 16 messages, which is what the core gives at a time."""
FINAL_SECONDS = 0.2
"""Audio before each final of the final's own figure: whole messages, and something for its usage event to tell."""
UTTERANCE_SECONDS = 3.0
INTERIMS = 14
PCM = bytes((37 * i + (i >> 3)) % 251 for i in range(16 * MESSAGE_BYTES))


def piece(seconds: float) -> bytes:
    return PCM[: round(seconds / MESSAGE_SECONDS * MESSAGE_BYTES)]


_WORDS = ("so", "then", "we", "could", "meet", "again", "on", "friday", "afternoon", "near", "the", "old", "station")


def transcript(kind: str, number: int, end: float, seconds: float) -> str:
    """A transcript of eight words that lie in the ``seconds`` up to session time ``end``, as a gateway writes it."""
    start = end - seconds
    words = [_WORDS[(number + i) % len(_WORDS)] for i in range(8)]
    step = seconds / 8
    message = {
        "type": f"{kind}_transcript",
        "session_id": "3f0c6a52-8a5e-4f5c-9a63-51f2ce4b1c9d",
        "request_id": "stt_request_5b1f0c9e22d4",
        "transcript": " ".join(words),
        "language": "en",
        "start": round(start, 3),
        "duration": round(seconds, 3),
        "confidence": 0.9871,
        "words": [
            {
                "word": word,
                "start": round(start + i * step, 3),
                "end": round(start + (i + 1) * step, 3),
                "confidence": round(0.9 + 0.01 * i, 3),
            }
            for i, word in enumerate(words)
        ],
    }
    return json.dumps(message, separators=(",", ":"))


CREATED = '{"type":"session.created","session_id":"3f0c6a52-8a5e-4f5c-9a63-51f2ce4b1c9d"}'
LEAD_IN_SECONDS = 12.0
"""Audio before anything is measured, with one turn in it: more than the core looks back."""


def interims(end: float) -> list[str]:
    """A few interims that differ, as those of a growing sentence do."""
    return [transcript("interim", number, end, 2.4) for number in range(8)]


def finals(count: int, end: float) -> list[str]:
    """``count`` finals, each with the audio of its own before it; ``end`` is the session time before the first."""
    return [transcript("final", n, end + FINAL_SECONDS * (n + 1), FINAL_SECONDS) for n in range(count)]


def utterances(count: int, end: float) -> list[list[str]]:
    """``count`` times the interims and the final of three seconds, each to come 200 ms after the one before it."""
    return [
        [
            transcript(
                "final" if i == INTERIMS else "interim", i, end + n * UTTERANCE_SECONDS + 0.2 * (i + 1), 0.2 * (i + 1)
            )
            for i in range(INTERIMS + 1)
        ]
        for n in range(count)
    ]


# Counting. Both counters count instructions of this process in user space, between two points.

Counter = Callable[[Callable[[], None]], int]


def hardware_counter() -> Counter | None:
    """The processor's own counter, what ``perf stat -e instructions:u`` shows; None where there is none to be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    perf_event_open, ioctl_enable, ioctl_disable, ioctl_reset = 298, 0x2400, 0x2401, 0x2403
    disabled, pinned, exclude_kernel, exclude_hypervisor = 1 << 0, 1 << 2, 1 << 5, 1 << 6
    flags = disabled | pinned | exclude_kernel | exclude_hypervisor
    hardware, instructions = 0, 1
    attributes = struct.pack("<IIQQQQQQQ", hardware, 64, instructions, 0, 0, 0, flags, 0, 0)
    this_process, any_cpu, no_group = 0, -1, -1
    fd = ctypes.CDLL(None, use_errno=True).syscall(
        perf_event_open, attributes, this_process, any_cpu, no_group, ctypes.c_ulong(0)
    )
    if fd < 0:
        return None

    def count(run: Callable[[], None]) -> int:
        fcntl.ioctl(fd, ioctl_reset, 0)
        fcntl.ioctl(fd, ioctl_enable, 0)
        run()
        fcntl.ioctl(fd, ioctl_disable, 0)
        return int(struct.unpack("<Q", os.read(fd, 8))[0])

    return count


# A client request as valgrind.h makes it on x86-64: the address of six words in rax, four rotations that cancel out,
# and an exchange of rbx with itself. The processor does nothing; valgrind notices and does what the first word asks.
_CLIENT_REQUEST = bytes.fromhex("4889f8 31d2 48c1c703 48c1c70d 48c1c73d 48c1c733 4887db 4889d0 c3")
_CALLGRIND = ord("C") << 24 | ord("T") << 16
_DUMP, _ZERO, _START = _CALLGRIND, _CALLGRIND + 1, _CALLGRIND + 4


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

    def __call__(self, run: Callable[[], None]) -> int:
        self._ask(_ZERO)
        run()
        self._ask(_DUMP)
        self._dumps += 1
        with Path(f"{self._out}.{self._dumps}").open() as file:
            return int(next(line for line in file if line.startswith("summary:")).split()[1])

    def _ask(self, what: int) -> None:
        self._request((ctypes.c_ulong * 6)(what))


class Case(NamedTuple):
    """Something to count: ``prepare(n)`` gives what does ``n`` items."""

    prepare: Callable[[int], Callable[[], None]]
    items: int
    """In the shorter run; the longer one has three times as many."""


def child(
    cases: Callable[[], Mapping[str, Case]],
    about: Mapping[str, str],
    arguments: list[str],
    finish: Callable[[dict[str, float]], None],
) -> None:
    """Count all cases and print what an item of each costs, after ``finish`` put the figures right.

    ``arguments`` are a callgrind output file, or nothing where the processor counts.
    """
    made = cases()
    gc.collect()
    gc.freeze()
    gc.disable()  # the collector would charge each side for the size of what it imported
    counter = Callgrind(arguments[0]) if arguments else hardware_counter()
    assert counter is not None
    costs = {}
    for name, case in made.items():
        case.prepare(case.items)()
        few = counter(case.prepare(case.items))
        many = counter(case.prepare(3 * case.items))
        costs[name] = (many - few) / (2 * case.items)
    finish(costs)
    print(json.dumps({"about": {"python": platform.python_version(), **about}, "costs": costs}))


def derive(costs: dict[str, float]) -> None:
    """Take the audio before it from the final's figure, and a second's share from the utterance's."""
    costs["final"] -= costs["audio_20ms"] * FINAL_SECONDS / MESSAGE_SECONDS
    costs["second"] /= UTTERANCE_SECONDS


# The core.


class Core:
    """One stream of the core, driven as an adapter drives it: inputs, then actions, events and deadline."""

    def __init__(self) -> None:
        from lkstt_proto import Connection, Ping, STTOptions

        self.ping = Ping
        self.now = 1000.0
        self.sent = 0
        self.events = 0
        self.seconds = 0.0
        self.connection = Connection(STTOptions(language="en", api_key="key", api_secret="secret"))
        self.connection.start(self.now)
        self.connection.take_actions(self.now)
        self.connection.transport_opened(self.now)
        self.take()
        self.sent = 0
        self.hear(CREATED)
        self.push(LEAD_IN_SECONDS / 2, MESSAGE_SECONDS)
        self.hear(transcript("interim", 0, 2.0, 1.0))
        self.hear(transcript("final", 0, 2.0, 1.0))
        self.push(LEAD_IN_SECONDS / 2, MESSAGE_SECONDS)
        assert not self.connection.speaking

    def take(self) -> None:
        connection = self.connection
        alive = False
        for action in connection.take_actions(self.now):
            if isinstance(action, bytes):
                self.sent += 1
            elif isinstance(action, self.ping):
                alive = True
        if alive:
            connection.transport_alive(self.now)
            self.events += len(connection.take_events())
        connection.deadline  # noqa: B018  (an adapter reads it to set its timer)

    def push(self, seconds: float, step: float) -> None:
        """Push that much audio in pieces of ``step`` seconds, and send every message that it fills."""
        connection = self.connection
        pcm = piece(step)
        before = self.sent
        for _ in range(round(seconds / step)):
            self.now += step
            connection.send_audio(pcm, self.now)
            if connection.pending:
                self.take()
        self.seconds += seconds
        assert self.sent - before == round(seconds / MESSAGE_SECONDS), "not every sample was sent"

    def hear(self, message: str) -> None:
        connection = self.connection
        connection.receive_text(message, self.now)
        self.events += len(connection.take_events())
        if connection.pending:
            self.take()
        connection.deadline  # noqa: B018  (as above)

    def audio(self, step: float) -> Callable[[int], Callable[[], None]]:
        return lambda n: lambda: self.push(n * MESSAGE_SECONDS, step)

    def interim(self, n: int) -> Callable[[], None]:
        messages = interims(self.seconds)

        def run() -> None:
            before = self.events
            for i in range(n):
                self.hear(messages[i & 7])
            assert self.events - before >= n

        return run

    def final(self, n: int) -> Callable[[], None]:
        if self.connection.speaking:  # the interims' turn
            self.push(FINAL_SECONDS, PUSH_SECONDS)
            self.hear(transcript("final", 0, self.seconds, FINAL_SECONDS))
        messages = finals(n, self.seconds)

        def run() -> None:
            before = self.events
            for message in messages:
                self.push(FINAL_SECONDS, PUSH_SECONDS)
                self.hear(message)
            assert self.events - before == 4 * n  # START, USAGE, FINAL, END

        return run

    def utterance(self, n: int) -> Callable[[], None]:
        turns = utterances(n, self.seconds)

        def run() -> None:
            before = self.events
            for turn in turns:
                for message in turn:
                    self.push(UTTERANCE_SECONDS / (INTERIMS + 1), PUSH_SECONDS)
                    self.hear(message)
            assert self.events - before == n * (INTERIMS + 4)

        return run


def core_cases() -> dict[str, Case]:
    core = Core()
    return {
        "audio_20ms": Case(core.audio(PUSH_SECONDS), 240),
        "audio_50ms": Case(core.audio(MESSAGE_SECONDS), 240),
        "audio_800ms": Case(core.audio(FILE_SECONDS), 240),
        "interim": Case(core.interim, 40),
        "final": Case(core.final, 30),
        "second": Case(core.utterance, 2),
    }


# The floor: what no client can do without.


def floor_cases(encode: Callable[[bytes], bytes], decode: Callable[[str], object]) -> dict[str, Case]:
    pcm = PCM * 12

    def audio(n: int) -> Callable[[], None]:
        def run() -> None:
            place = 0
            for _ in range(n):
                b'{"type":"input_audio","audio":"' + encode(pcm[place : place + MESSAGE_BYTES]) + b'"}'
                place = (place + MESSAGE_BYTES) % len(pcm)

        return run

    def transcripts(messages: list[str]) -> Callable[[int], Callable[[], None]]:
        def run(n: int) -> None:
            for i in range(n):
                decode(messages[i & 7])

        return lambda n: lambda: run(n)

    return {
        "audio_20ms": Case(audio, 600),
        "interim": Case(transcripts(interims(12.0)), 80),
        "final": Case(transcripts(finals(8, 12.0)), 80),
    }


def plain_floor() -> dict[str, Case]:
    return floor_cases(lambda pcm: b2a_base64(pcm, newline=False), json.loads)


def speed_floor() -> dict[str, Case]:
    from msgspec.json import decode
    from pybase64 import b64encode

    return floor_cases(b64encode, decode)


def derive_floor(costs: dict[str, float]) -> None:
    """Put a second together from its parts: the floor has no state, and does not care how audio was pushed."""
    costs["audio_50ms"] = costs["audio_800ms"] = costs["audio_20ms"]
    transcripts = INTERIMS * costs["interim"] + costs["final"]
    costs["second"] = costs["audio_20ms"] / MESSAGE_SECONDS + transcripts / UTTERANCE_SECONDS


CHILDREN: Mapping[str, tuple[Callable[[], dict[str, Case]], Callable[[dict[str, float]], None]]] = {
    "core": (core_cases, derive),
    "core_speed": (core_cases, derive),
    "floor": (plain_floor, derive_floor),
    "floor_speed": (speed_floor, derive_floor),
}


def own_child(name: str, arguments: list[str]) -> None:
    packages = []
    if name.endswith("_speed"):
        packages = ["msgspec", "pybase64"]
    else:
        # None stops an import: the plain path is what runs without them.
        sys.modules |= dict.fromkeys(("msgspec", "pybase64"))  # type: ignore[arg-type]  # import's documented None
    cases, finish = CHILDREN[name]
    child(cases, {package: version(package) for package in packages}, arguments, finish)


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
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
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


ITEMS = {
    "audio_20ms": "audio message of 50 ms, pushed by 20 ms",
    "audio_50ms": "audio message of 50 ms, pushed whole",
    "audio_800ms": "audio message of 50 ms, pushed 16 at a time",
    "interim": "interim of 8 words",
    "final": "final of 8 words, with START, USAGE and END",
    "second": "second of streamed audio, all in",
}
RATIOS = (
    ("livekit", "core"),
    ("livekit", "core_speed"),
    ("core", "floor"),
    ("core_speed", "floor_speed"),
)
NAMES = {
    "core": "core",
    "core_speed": "core, speed",
    "livekit": "livekit-agents",
    "floor": "floor",
    "floor_speed": "floor, speed",
}


def table(figures: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterable[str]:
    """Lines of a Markdown table: instructions of each side, then the ratios."""
    ratios = [(over, under) for over, under in RATIOS if over in figures and under in figures]
    heads = ["per", *(NAMES[side] for side in figures), *(f"{NAMES[over]} / {NAMES[under]}" for over, under in ratios)]
    yield f"| {' | '.join(heads)} |"
    yield f"|{' --- |' + ' ---: |' * (len(heads) - 1)}"
    for item, name in ITEMS.items():
        cells = [f"{figures[side][item]['instructions']:,}" for side in figures]
        cells += [
            f"{figures[over][item]['instructions'] / figures[under][item]['instructions']:.2f}"
            for over, under in ratios
        ]
        yield f"| {' | '.join([name, *cells])} |"


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def commit() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions per audio message and transcript.")
    parser.add_argument("--livekit-python", metavar="PATH", help="an interpreter that has livekit-agents")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    hardware = hardware_counter() is not None
    if not hardware and not (shutil.which("valgrind") and platform.machine() == "x86_64"):
        raise SystemExit("no hardware counter here: install valgrind (on x86-64)")
    sides = {side: [sys.executable, __file__, "--child", side] for side in ("core", "core_speed")}
    if options.livekit_python:
        sides["livekit"] = [options.livekit_python, str(Path(__file__).with_name("livekit_path.py"))]
    sides |= {side: [sys.executable, __file__, "--child", side] for side in ("floor", "floor_speed")}
    result = {
        "counter": "instructions:u of the processor" if hardware else "callgrind",
        "cpu": cpu(),
        "kernel": platform.release(),
        "commit": commit(),
        **measure(sides, hardware=hardware),
    }
    for line in table(result["figures"]):
        print(line)
    spread = max(figure["spread"] for side in result["figures"].values() for figure in side.values())
    print(f"\n{result['counter']}, {REPEATS} runs, largest spread {spread:.2%}; {result['cpu']}; {result['commit']}")
    for side, versions in result["about"].items():
        print(f"{NAMES[side]}: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        own_child(sys.argv[2], sys.argv[3:])
    else:
        main()
