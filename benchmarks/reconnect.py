"""How soon a live stream is up to date again after an outage: with 1, 10 and 60 s of audio that waits.

A microphone goes on while nobody listens. A client has caught up when the gateway hears audio that is no older than
``CURRENT_SECONDS`` again. What was lost on the way is told beside it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from harness import SPREAD, Figure, Setup, figure, packages, say, show, table
from resume import ABOUT, RATE, Act, Case, Result, cutting, run_cases, total

TITLE = "Catching up after an outage"
BACKLOGS = (1, 10, 60)
QUICK_BACKLOGS = (1, 10)
RUNS = 3
NAMES = {"lkstt": "lkstt", "livekit": "livekit-agents"}
CUT_AFTER_MESSAGES = 90
SPOKEN_SECONDS = 4.8
"""Before the cut, and a little."""
CURRENT_SECONDS = 0.25
RETRY = {"lkstt": {"outage": 180.0}, "livekit": {"max_retry": 90, "retry_interval": 2.0}}


def case(backlog: int, number: int) -> Case:
    # A third of the backlog is said while it is sent at four times the speed; then the present has to be seen.
    seconds = SPOKEN_SECONDS + backlog * 1.5 + 6.0
    seconds -= seconds % 3.0 - 2.4  # an utterance's last word ends with the audio
    return Case(
        f"{backlog} s, run {number}",
        partial(look, backlog),
        cutting(Act.RESET, CUT_AFTER_MESSAGES, lasting=float(backlog)),
        seconds=seconds,
        retry=RETRY,
        patience=4 * seconds,
    )


def look(backlog: int, result: Result) -> Mapping[str, Any]:
    """Give seconds from the moment at which the gateway could be reached again, and what else came of it."""
    first, *later = result.recognizer.sessions
    # When position 0 was spoken, by the piece that was on its way for the shortest time.
    began = min(at - end / RATE for at, _, end in first.spans)
    back = result.broken_at + backlog
    arrivals = [(at, at - began - end / RATE) for session in later for at, _, end in session.spans]
    current = [at for at, behind in arrivals if behind <= CURRENT_SECONDS]
    return {
        "connected": min(at for at, _ in arrivals) - back if arrivals else None,
        "caught up": min(current) - back if current else None,
        "lost": total(result.lost),
        "end": result.how.partition(":")[0],
    }


def measure(setup: Setup) -> dict[str, Any]:
    """Give backlog, side and figures. All cases and runs go on at once: they mostly wait."""
    backlogs = QUICK_BACKLOGS if setup.quick else BACKLOGS
    runs = {backlog: [case(backlog, number) for number in range(RUNS)] for backlog in backlogs}
    batch = [each for cases in runs.values() for each in cases]
    sides = {"lkstt": sys.executable, **({"livekit": setup.livekit} if setup.livekit else {})}
    results: dict[str, dict[str, Result]] = {}

    def run(side: str) -> None:
        results[side] = run_cases(side, sides[side], batch)

    say(f"outages of {', '.join(str(backlog) for backlog in backlogs)} s")
    threads = [threading.Thread(target=run, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outages = {
        f"{backlog} s": {side: summary([each.figures(results[side][each.name]) for each in cases]) for side in sides}
        for backlog, cases in runs.items()
    }
    return {"outages": outages, "about": dict(ABOUT)}


def summary(told: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the figures of several runs; None for what did not come in one of them."""
    columns = {name: [each[name] for each in told] for name in told[0]}
    return {
        "end": ", ".join(sorted(set(columns.pop("end")))),
        **{name: None if None in values else figure(values) for name, values in columns.items()},
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{RUNS} runs at once, live audio at 1x. Seconds count from the moment at which the gateway can be reached"
    yield "again, but for those after the cut."
    yield ""
    rows = []
    for outage, sides in found["outages"].items():
        for side, told in sides.items():
            caught_up = told["caught up"]
            cut = caught_up and {**caught_up, **{name: caught_up[name] + float(outage.split()[0]) for name in SPREAD}}
            cells = (never(told["connected"]), never(caught_up), never(cut), show(told["lost"]), told["end"])
            rows.append([outage, NAMES[side], *cells])
    heads = ("first audio after, s", "caught up after, s", "caught up after the cut, s", "audio lost, s", "end")
    yield from table(("outage", "client", *heads), rows)
    yield ""
    yield f"{packages(found['about'])}."


def never(value: Figure | None) -> str:
    return "never" if value is None else show(value)
