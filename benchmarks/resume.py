"""What a broken connection costs: audio lost, times off, seconds until it goes on, memory, and how a stream ends.

    python benchmarks/resume.py [--livekit-python PATH] [--json FILE] [--only WORDS]

One local gateway and one fault proxy per case, in this process; clients in processes of their own, over real sockets on
loopback. With ``--livekit-python`` the same cases are run with livekit-agents beside ours. Takes about six minutes.

The audio is marked: every sample tells its place, and the gateway's recogniser writes down what it received. So "lost"
is counted and not guessed: seconds of audio that no gateway received, or only one that died before it had said anything
about it in a final that reached the application.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "transports"))

from marked import RATE, Ending, MarkedRecognizer, Span, begin_of, marked, merged, numbers_in, total, words_within
from proxy import Act, At, Conduct, Fault
from scenarios import SPEECH, World, read_recording
from scripted_server import TEXT, ScriptedServer, Visit, gateway

from lkstt_transports.gateway.recognizers import PocketsphinxRecognizer, transcribe_directly

ROOT = Path(__file__).resolve().parent.parent
CLIENT = Path(__file__).with_name("resume_client.py")
INTERIMS = 300_000
TWO, THREE = 5.4, 8.4
"""Seconds of so many utterances; the last one ends with the audio."""
MIB = 2**20

Event = dict[str, Any]


class Case(NamedTuple):
    """One thing that is measured."""

    name: str
    figures: Callable[[Result], Mapping[str, str]]
    """What is told of it."""
    conducts: tuple[Conduct, ...] = ()
    endings: tuple[Ending, ...] = ()
    seconds: float = TWO
    speed: float = 1.0
    do: str = "transcribe"
    retry: Mapping[str, Mapping[str, float]] = {}
    patience: float = 60.0
    recording: Path | None = None
    """Real speech instead of marked audio."""


class Result:
    """What came of a case on one side."""

    def __init__(self, case: Case, world: World | None, events: list[Event]) -> None:
        self.case = case
        self.events = events
        self._world = world

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def recognizer(self) -> MarkedRecognizer:
        assert self._world is not None
        assert isinstance(self._world.recognizer, MarkedRecognizer)
        return self._world.recognizer

    @property
    def broken_at(self) -> float:
        assert self._world is not None
        at = self._world.proxy.links[0].broken_at
        assert at is not None
        return at

    @property
    def samples(self) -> int:
        return round(self.case.seconds * RATE)

    @property
    def finals(self) -> list[Event]:
        return [event for event in self.of("final_transcript") if event["text"]]

    @property
    def lost(self) -> list[Span]:
        return self.recognizer.lost(self.samples, {event["text"] for event in self.finals})

    @property
    def how(self) -> str:
        return str(self.of("end")[0]["how"])


# Figures.


def cut(result: Result) -> dict[str, str]:
    after = [event for event in result.finals if event["at"] > result.broken_at]
    errors = [abs(event["start"] - begin_of(numbers_in(event["text"])[0]) / RATE) for event in after]
    again = [session.spans[0][0] for session in result.recognizer.sessions[1:] if session.spans]
    return {
        "audio lost": f"{total(result.lost):.2f} s",
        "start of the next finals off by": f"{max(errors) * 1000:.0f} ms" if errors else "no final",
        "from the cut to the first audio": f"{(again[0] - result.broken_at) * 1000:.0f} ms" if again else "never",
    }


def outage(result: Result) -> dict[str, str]:
    told = merged((round(event["start"] * RATE), round(event["end"] * RATE)) for event in result.of("dropped"))
    lost = f"{total(result.lost):.2f} s"
    if result.lost:
        lost += ", told exactly" if told == result.lost else f", told: {total(told):.2f} s"
    return {"audio lost": lost, "end": how(result)}


def half_open(result: Result) -> dict[str, str]:
    noticed = [event["at"] for event in result.of("Reconnecting")]
    again = [session.spans[0][0] for session in result.recognizer.sessions[1:] if session.spans]
    figures = {"noticed after": "never" if not again else f"{(noticed or again)[0] - result.broken_at:.1f} s"}
    return {**figures, "audio lost": f"{total(result.lost):.2f} s", "end": how(result)}


def memory(result: Result) -> dict[str, str]:
    told = result.of("memory")
    return {"memory above idle": f"{told[0]['above_idle'] / MIB:.1f} MiB" if told else how(result)}


def end(result: Result) -> dict[str, str]:
    said = {number for event in result.finals for number in numbers_in(event["text"])}
    owed = words_within(result.samples)
    promoted = ", the last ones promoted" if any(event.get("promoted") for event in result.finals) else ""
    began = result.of("input_ended")
    after = result.of("end")[0]["at"] - began[0]["at"] if began else inf
    words = f"{len(said.intersection(owed))} of {len(owed)} words{promoted}"
    return {"end": f"{how(result)} after {after:.1f} s, {words}"}


def same_words(result: Result) -> dict[str, str]:
    assert result.case.recording is not None
    whole = " ".join(final.text for final in transcribe_directly(read_recording(result.case.recording)) if final.text)
    heard = " ".join(event["text"] for event in result.finals)
    equal = "the same" if heard == whole else f"{len(heard.split())} words, not the same {len(whole.split())}"
    return {"words": equal}


def how(result: Result) -> str:
    """Say how the stream ended, without what errors quote."""
    return result.how.partition(":")[0]


# Cases.


def cutting(act: Act, messages: int, **more: Any) -> tuple[Conduct, ...]:
    return (Conduct((Fault(act, At(messages=messages), **more),)),)


def cases() -> tuple[list[Case], list[Case]]:
    """What runs alone, for its times, and what runs all at once, as it mostly waits."""
    alone = [
        Case(f"{cut_name} in mid-speech, {speed_name}", cut, cutting(act, 90), seconds=THREE, speed=speed)
        for speed_name, speed in (("1x", 1.0), ("10x", 10.0), ("unlimited speed", inf))
        for cut_name, act in (("reset", Act.RESET), ("orderly end", Act.FIN))
    ]
    alone += [
        Case("the gateway stops reading, 60 minutes pushed", memory, stalls(), do="push_an_hour"),
        Case(f"{INTERIMS:,} interims that nobody reads", memory, do="read_nothing", patience=300.0),
    ]
    for path in sorted(SPEECH.glob("*.wav")):
        messages = len(read_recording(path)) // 1600
        twice = cutting(Act.RESET, messages // 3) * 2
        alone.append(Case(f"real speech, cut twice, {path.stem}", same_words, twice, recording=path))
    at_once = [
        Case("outage of 30 s", outage, cutting(Act.RESET, 90, lasting=30.0), seconds=44.4),
        Case(
            "outage of 90 s, with a policy that allows it",
            outage,
            cutting(Act.RESET, 90, lasting=90.0),
            seconds=110.4,
            retry={"lkstt": {"outage": 180.0}, "livekit": {"max_retry": 90, "retry_interval": 2.0}},
            patience=240.0,
        ),
        Case("half-open link, live microphone", half_open, cutting(Act.HALF_OPEN, 60), seconds=29.4, patience=90.0),
        *(
            Case(f"end of input: {name}", end, conducts, endings)
            for name, endings, conducts in (
                ("orderly", (), ()),
                ("silence", (Ending.SILENCE,), ()),
                ("only an acknowledgement", (Ending.ONLY_ACKNOWLEDGED,), ()),
                ("late second final", (Ending.LATE_SECOND,), ()),
                ("cut once", (Ending.CUT, Ending.ORDERLY), ()),
                ("cut each time", (Ending.CUT,), ()),
                ("close 1011 once", (Ending.CLOSE_1011, Ending.ORDERLY), ()),
                ("close 1011 each time", (Ending.CLOSE_1011,), ()),
                ("interim drip of new text", (Ending.DRIP_TEXT,), ()),
                ("interim drip of empties", (Ending.DRIP_EMPTY,), ()),
                ("dead peer", (), cutting(Act.HALF_OPEN, 1 + round(TWO / 0.05))),
            )
        ),
    ]
    return alone, at_once


def stalls() -> tuple[Conduct, ...]:
    return cutting(Act.STALL, 1) * 8


# Running.


def run_cases(side: str, python: str, batch: list[Case]) -> dict[str, Result]:
    """Run cases at once in one process of a client; give their results by name."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        worlds: dict[str, World | None] = {}
        jobs = []
        for number, case in enumerate(batch):
            pcm = directory / f"{number}.pcm"
            pcm.write_bytes(read_recording(case.recording) if case.recording else marked(0, round(case.seconds * RATE)))
            worlds[case.name], address = serve(case, stack)
            jobs.append(
                {
                    "name": case.name,
                    "do": case.do,
                    "pcm": str(pcm),
                    "speed": None if case.speed == inf else case.speed,
                    "address": address,
                    "retry": case.retry,
                    "patience": case.patience,
                }
            )
        if side == "lkstt" and batch[0].recording:
            lines = [{"about": ABOUT.get(side, {})}, *command(batch[0], address)]
        else:
            lines = ask(side, python, jobs)
        ABOUT[side] = lines[0]["about"]
        results = {}
        for case in batch:
            events = [line for line in lines[1:] if line["job"] == case.name]
            results[case.name] = Result(case, worlds[case.name], events)
        return results


ABOUT: dict[str, dict[str, str]] = {}


def command(case: Case, address: Mapping[str, str]) -> list[Event]:
    """Run the command line on real speech, and read its transcript as one final."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LIVEKIT_INFERENCE_API_KEY": address["api_key"],
        "LIVEKIT_INFERENCE_API_SECRET": address["api_secret"],
    }
    arguments = ["transcribe", "--realtime", "--base-url", address["base_url"], str(case.recording)]
    done = subprocess.run(
        [sys.executable, "-m", "lkstt_transports.cli", *arguments], env=environment, capture_output=True, text=True
    )
    how = "ended" if not done.returncode else f"exit code {done.returncode}"
    final = {"job": case.name, "type": "final_transcript", "text": " ".join(done.stdout.split())}
    return [final, {"job": case.name, "type": "end", "how": how}]


def serve(case: Case, stack: ExitStack) -> tuple[World | None, dict[str, str]]:
    """Start what the case talks to."""
    if case.do == "read_nothing":
        server = stack.enter_context(ScriptedServer(partial(gateway, on_audio=flood)))
        return None, {"base_url": server.base_url, "api_key": "key", "api_secret": "secret" * 6}
    recognizer = PocketsphinxRecognizer(workers=1, limit=4) if case.recording else MarkedRecognizer(*case.endings)
    world = stack.enter_context(World(recognizer, *case.conducts))
    return world, world.address


def flood(visit: Visit) -> None:
    """Send what nobody reads."""
    for number in range(INTERIMS):
        visit.send(TEXT, b'{"type":"interim_transcript","transcript":"so far it goes to %d"}' % number)


def ask(side: str, python: str, jobs: list[dict[str, Any]]) -> list[Event]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    if side == "lkstt":
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [python, str(CLIENT), side], input=json.dumps(jobs), env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{side} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def measure(sides: Mapping[str, str], wanted: Callable[[Case], bool]) -> dict[str, dict[str, dict[str, str]]]:
    """Give case, figure, side and value."""
    alone, at_once = ([case for case in group if wanted(case)] for group in cases())
    found: dict[str, dict[str, Result]] = {}
    for side, python in sides.items():
        found[side] = {}
        for case in alone:
            print(f"{side}: {case.name}", file=sys.stderr)
            found[side] |= run_cases(side, python, [case])
    print(f"at once: {len(at_once)} cases that wait", file=sys.stderr)
    threads = [
        threading.Thread(target=lambda side=side: found[side].update(run_cases(side, sides[side], at_once)))
        for side in sides
    ]
    for thread in threads if at_once else ():
        thread.start()
    for thread in threads if at_once else ():
        thread.join()
    table: dict[str, dict[str, dict[str, str]]] = {}
    for case in (*alone, *at_once):
        for side in sides:
            for figure, value in case.figures(found[side][case.name]).items():
                table.setdefault(case.name, {}).setdefault(figure, {})[side] = value
    return table


def lines(table: Mapping[str, Mapping[str, Mapping[str, str]]], sides: Iterable[str]) -> Iterable[str]:
    """Write it in Markdown."""
    sides = list(sides)
    yield f"| case | figure | {' | '.join(sides)} |"
    yield "| --- " * (2 + len(sides)) + "|"
    for case, figures in table.items():
        for figure, values in figures.items():
            yield f"| {case} | {figure} | {' | '.join(values.get(side, '') for side in sides)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a broken connection costs.")
    parser.add_argument("--livekit-python", metavar="PATH", help="an interpreter that has livekit-agents")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures here as well")
    parser.add_argument("--only", metavar="WORDS", default="", help="cases that have these words in their names")
    options = parser.parse_args()
    sides = {"lkstt": sys.executable}
    if options.livekit_python:
        sides["livekit"] = options.livekit_python
    table = measure(sides, lambda case: options.only in case.name)
    for line in lines(table, sides):
        print(line)
    for side, about in ABOUT.items():
        print(f"{side}: {', '.join(f'{name} {version}' for name, version in about.items())}")
    if options.json:
        options.json.write_text(json.dumps({"about": ABOUT, "figures": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
