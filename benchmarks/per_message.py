"""What one audio message and one transcript cost, in user-space instructions, without any socket.

    python benchmarks/per_message.py [--livekit-python PATH] [--json FILE]

Measures the core with and without the ``speed`` extra, the bare floor (slice, base64 and joining; JSON decoding), and
livekit-agents' own path where an interpreter that has it is given. ``README.md`` beside this file says how and why.

Each side runs in child processes. A child builds its stream, warms it up, and counts two runs of different length; the
difference is what an item costs, so that nothing of starting or of counting is in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from counting import REPEATS, commit, cpu, freeze, has_processor, make_counter, measure, speed_packages, tell
from workload import (
    BURST_PUSHES,
    CREATED,
    FILE_SECONDS,
    FINAL_SECONDS,
    INTERIMS,
    LEAD_IN_SECONDS,
    MESSAGE_BYTES,
    MESSAGE_SECONDS,
    PCM,
    PUSH_SECONDS,
    UTTERANCE_SECONDS,
    finals,
    interims,
    piece,
    transcript,
    utterances,
)


class Case(NamedTuple):
    """Something to count: ``prepare(n)`` gives what does ``n`` items."""

    prepare: Callable[[int], Callable[[], None]]
    items: int
    """In the shorter run; the longer one has three times as many."""


def child(
    cases: Callable[[], Mapping[str, Case]],
    packages: Iterable[str],
    arguments: list[str],
    finish: Callable[[dict[str, float]], None],
) -> None:
    """Count all cases and print what an item of each costs, after ``finish`` put the figures right."""
    made = cases()
    freeze()
    counter = make_counter(arguments)

    def count(run: Callable[[], None]) -> int:
        counter.start()
        run()
        return counter.stop()

    costs = {}
    for name, case in made.items():
        case.prepare(case.items)()
        few = count(case.prepare(case.items))
        many = count(case.prepare(3 * case.items))
        costs[name] = (many - few) / (2 * case.items)
    finish(costs)
    tell(packages, costs)


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
        now = self.now
        for _ in range(round(seconds / step)):
            now += step
            connection.send_audio(pcm, now)
            if connection.pending:
                self.now = now
                self.take()
        self.now = now
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

    def burst(self, n: int) -> Callable[[], None]:
        """Push faster than speech: what many pushes fill is sent together."""
        connection, pcm = self.connection, piece(PUSH_SECONDS)

        def run() -> None:
            before = self.sent
            for _ in range(round(n * MESSAGE_SECONDS / FILE_SECONDS)):
                now = self.now
                for _ in range(BURST_PUSHES):
                    now += PUSH_SECONDS
                    connection.send_audio(pcm, now)
                    waiting = connection.pending
                self.now = now
                assert waiting
                self.take()
            self.seconds += n * MESSAGE_SECONDS
            assert self.sent - before == n, "not every sample was sent"

        return run

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
        "audio_burst": Case(core.burst, 240),
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
    costs["audio_burst"] = costs["audio_50ms"] = costs["audio_800ms"] = costs["audio_20ms"]
    transcripts = INTERIMS * costs["interim"] + costs["final"]
    costs["second"] = costs["audio_20ms"] / MESSAGE_SECONDS + transcripts / UTTERANCE_SECONDS


CHILDREN: Mapping[str, tuple[Callable[[], dict[str, Case]], Callable[[dict[str, float]], None]]] = {
    "core": (core_cases, derive),
    "core_speed": (core_cases, derive),
    "floor": (plain_floor, derive_floor),
    "floor_speed": (speed_floor, derive_floor),
}


def own_child(name: str, arguments: list[str]) -> None:
    packages = speed_packages(wanted=name.endswith("_speed"))
    cases, finish = CHILDREN[name]
    child(cases, packages, arguments, finish)


ITEMS = {
    "audio_20ms": "audio message of 50 ms, pushed by 20 ms",
    "audio_burst": "audio message of 50 ms, pushed by 20 ms in a burst",
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions per audio message and transcript.")
    parser.add_argument("--livekit-python", metavar="PATH", help="an interpreter that has livekit-agents")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    hardware = has_processor()
    sides = {side: [sys.executable, __file__, "--child", side] for side in ("core", "core_speed")}
    if options.livekit_python:
        sides["livekit"] = [options.livekit_python, str(Path(__file__).with_name("livekit_path.py"))]
    sides |= {side: [sys.executable, __file__, "--child", side] for side in ("floor", "floor_speed")}
    result = {
        "counter": "instructions:u of the processor" if hardware else "callgrind",
        "cpu": cpu(),
        "kernel": ".".join(platform.release().split(".")[:2]),
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
