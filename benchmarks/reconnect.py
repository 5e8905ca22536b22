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

from harness import Setup, packages, say, table
from resume import ABOUT, RATE, Act, Case, Result, cutting, run_cases, total

TITLE = "Catching up after an outage"
BACKLOGS = (1, 10, 60)
QUICK_BACKLOGS = (1, 10)
CUT_AFTER_MESSAGES = 90
SPOKEN_SECONDS = 4.8
"""Before the cut, and a little."""
CURRENT_SECONDS = 0.25
RETRY = {"lkstt": {"outage": 180.0}, "livekit": {"max_retry": 90, "retry_interval": 2.0}}


def case(backlog: int) -> Case:
    # A third of the backlog is said while it is sent at four times the speed; then the present has to be seen.
    seconds = SPOKEN_SECONDS + backlog * 1.5 + 6.0
    seconds -= seconds % 3.0 - 2.4  # an utterance's last word ends with the audio
    return Case(
        f"outage of {backlog} s",
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
    """Give backlog, side and figures. All cases run at once: they mostly wait."""
    batch = [case(backlog) for backlog in (QUICK_BACKLOGS if setup.quick else BACKLOGS)]
    sides = {"lkstt": sys.executable, **({"livekit": setup.livekit} if setup.livekit else {})}
    results: dict[str, dict[str, Result]] = {}

    def run(side: str) -> None:
        results[side] = run_cases(side, sides[side], batch)

    say(", ".join(each.name for each in batch))
    threads = [threading.Thread(target=run, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outages = {each.name: {side: each.figures(results[side][each.name]) for side in sides} for each in batch}
    return {"outages": outages, "about": dict(ABOUT)}


def lines(found: dict[str, Any]) -> Iterator[str]:
    yield "One run, live audio at 1x. Seconds count from the moment at which the gateway can be reached again."
    yield ""
    rows = [
        [outage, side, seconds(told["connected"]), seconds(told["caught up"]), f"{told['lost']:.2f}", told["end"]]
        for outage, sides in found["outages"].items()
        for side, told in sides.items()
    ]
    yield from table(("outage", "client", "first audio after, s", "caught up after, s", "audio lost, s", "end"), rows)
    yield ""
    yield f"{packages(found['about'])}."


def seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"
