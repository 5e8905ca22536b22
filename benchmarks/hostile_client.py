"""The client's side of ``hostile.py``: one process, one transport or the core, all frames."""

from __future__ import annotations

import gc
import json
import resource
import sys
import threading
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests" / "transports")]

import scenarios  # noqa: E402
import test_hostile  # noqa: E402

from lkstt_proto import Limits, RetryPolicy, SpeechEvent, SttError, transcripts, wirejson  # noqa: E402
from tests.hostile.judge import TRANSCRIPTS, judge  # noqa: E402
from tests.hostile.stream import Stream  # noqa: E402
from tests.soundness import Ear, Unsound  # noqa: E402

MIB = 1 << 20
MEMORY = "--memory" in sys.argv
HOSTILE = test_hostile.in_order([frame for frame in test_hostile.FRAMES if frame not in test_hostile.DEADLY])


class Meter:
    """Measures between two calls: milliseconds of processor time, or the peak of memory in MiB."""

    def __init__(self) -> None:
        if MEMORY:
            tracemalloc.start()
        self.restart()

    def restart(self) -> None:
        if MEMORY:
            tracemalloc.reset_peak()
            self._before = tracemalloc.get_traced_memory()[0]
        else:
            self._began = time.process_time()

    def read(self) -> float:
        if MEMORY:
            return (tracemalloc.get_traced_memory()[1] - self._before) / MIB
        return (time.process_time() - self._began) * 1e3


class Told(list[Any]):
    """Events as they are told to the application; each valid final is reported to the server."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.cost: dict[str, float] = {}
        self.done = threading.Event()

    def append(self, item: Any) -> None:
        super().append(item)
        event = item[1]
        if not (isinstance(event, SpeechEvent) and event.type in TRANSCRIPTS):
            return
        said, _, number = event.alternatives[0].text.partition(" ")
        if said != "after":
            return
        if int(number) >= 0:
            self.cost[HOSTILE[int(number)].name] = self.meter.read()
        if int(number) == len(HOSTILE) - 1:
            self.done.set()
        print(number, flush=True)
        self.meter.restart()


def resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def judged(told: list[list[Any]]) -> dict[str, Any]:
    """Count what is not as it should be."""
    problems, unsound = [], 0
    for frame, came in zip(HOSTILE, told, strict=False):
        try:
            judge(frame, came, transport=True)
        except Unsound as problem:
            problems.append(f"{frame.name}: {problem}")
    return {"problems": problems, "untyped": 0, "unsound": unsound}


def over_a_socket(name: str, base_url: str) -> dict[str, Any]:
    """Be one transport."""
    told = Told()
    scenarios.Outcome = lambda: outcome  # type: ignore[assignment, misc]
    outcome = OUTCOME(events=told)
    driver = next(driver for driver in scenarios.ADAPTERS if driver.name == name)
    job = test_hostile.Microphone(
        done=told.done,
        audio=lambda start, end: bytes(2 * (end - start)),
        retry=RetryPolicy(first_delay=0.01, max_delay=0.02),
        limits=Limits(quiet=0.5, close=0.5),
        patience=900.0,
    )
    before = resident()
    driver.run({"base_url": base_url, **test_hostile.CREDENTIALS}, job)
    events = [event for _, event in told]
    result = judged(test_hostile.between_markers(events)[1:])
    if outcome.error is not None:
        result["untyped"] += not isinstance(outcome.error, SttError)
    try:
        assert outcome.stats is not None
        Ear().hear(events, outcome.stats.audio_sent)
    except Unsound as problem:
        result["unsound"] += 1
        result["problems"].append(str(problem))
    return {**result, "cost": told.cost, "resident_mib": resident() - before}


def in_memory(name: str) -> dict[str, Any]:
    """Be the core."""
    if name == "core":
        wirejson.decode_json = transcripts.decode_transcript = None
    cost, problems, untyped, unsound = {}, [], 0, 0
    before = resident()
    for frame in test_hostile.FRAMES:
        stream = Stream()
        stream.push(4.0)
        data: Any = frame.payload
        if not frame.binary:
            with suppress(UnicodeDecodeError):
                data = data.decode()
        connection = stream.connection
        receive = connection.receive_binary if frame.binary else connection.receive_text
        gc.collect()
        meter = Meter()
        try:
            receive(data, stream.now)
            came = connection.take_events()
            cost[frame.name] = meter.read()
            stream.ear.hear(came, connection.stats.audio_sent)
            judge(frame, came + stream.settle())
        except Unsound as problem:
            problems.append(f"{frame.name}: {problem}")
        except Exception as problem:
            untyped += 1
            problems.append(f"{frame.name}: {type(problem).__name__}")
    result = {"problems": problems, "untyped": untyped, "unsound": unsound}
    return {**result, "cost": cost, "resident_mib": resident() - before}


OUTCOME = scenarios.Outcome

if __name__ == "__main__":
    who, url = sys.argv[1:3]
    print(json.dumps(in_memory(who) if who.startswith("core") else over_a_socket(who, url)), flush=True)
