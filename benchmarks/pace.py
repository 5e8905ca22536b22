"""How audio is pushed while it is counted: in a burst, or in real time.

In a burst one stream gets audio as fast as it takes it. In real time every stream gets 20 ms of audio every 20 ms, all
from one ticker.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from counting import Counter, freeze
from job import Heard, Job, Open, Stream
from runtimes import Runtime
from workload import PUSH_SECONDS, PUSHED, UTTERANCE_SECONDS

PUSHES = round(UTTERANCE_SECONDS / PUSH_SECONDS)
PHASES = 5
"""Pushes in which two messages fill; streams begin that far apart, so that they do not all send at once."""
BATCH, BATCH_SECONDS = 10, 0.05
"""How many streams are opened at a time, and how long after each other."""
GRACE_SECONDS = 10.0
"""For the last finals, where a client is behind."""


async def burst(job: Job, open_one: Open, runtime: Runtime, counter: Counter) -> dict[str, Any]:
    """Push window after window to one stream; a window ends when its last final was heard."""
    heard = Heard(runtime.make_event)
    stream = await open_one(heard)
    pieces = cycle(PUSHED)

    async def speak() -> None:
        last = heard.expect(job.utterances)
        for pcm in islice(pieces, job.utterances * PUSHES):
            waiting = stream.push(pcm)
            if waiting is not None:
                await waiting
        await last.wait()

    await speak()
    freeze()
    await speak()
    seconds = job.utterances * UTTERANCE_SECONDS
    costs = []
    for _ in range(job.windows):
        counter.start()
        await speak()
        costs.append(counter.stop() / seconds)
    return {"costs": costs, "events": heard.events, "seconds": seconds * (2 + job.windows)}


async def real_time(job: Job, open_one: Open, runtime: Runtime, counter: Counter) -> dict[str, Any]:
    """Push to all streams from one ticker; the first window of so many ticks warms up."""
    gc.collect()
    empty = resident_bytes()
    all_heard = [Heard(runtime.make_event) for _ in range(job.streams)]
    phases: list[list[tuple[Stream, Iterator[bytes]]]] = [[] for _ in range(PHASES)]
    for number, heard in enumerate(all_heard):
        if number % BATCH == 0:
            await runtime.sleep(BATCH_SECONDS)
        phase = number % PHASES
        # Each phase begins at another place of the audio: that is how the gateway's record tells them apart.
        phases[phase].append((await open_one(heard), islice(cycle(PUSHED), PHASES * phase, None)))
    while job.asked and connected(job.url) < job.streams:
        await runtime.sleep(BATCH_SECONDS)
    if not job.processor_time:
        freeze()
    interval = PUSH_SECONDS * job.slow
    window = job.utterances * PUSHES
    ticks = (1 + job.windows) * window
    costs: list[float] = []
    latencies: list[list[int]] = []
    began = due = time.monotonic()
    for tick in range(ticks + PHASES):
        if tick % window == 0:
            if window < tick <= ticks:
                costs.append(counter.stop() / (job.streams or 1) / job.utterances / UTTERANCE_SECONDS)
            if window <= tick < ticks:
                latencies.append([])
                for heard in all_heard:
                    heard.latencies = latencies[-1] if job.processor_time else None
                counter.start()
        for streams in phases[max(0, tick - ticks + 1) : tick + 1]:
            for stream, pieces in streams:
                waiting = stream.push_now(next(pieces))
                if waiting is not None:
                    await waiting
        due += interval
        now = time.monotonic()
        if not job.processor_time:
            # Counting is slow: the loop has to go idle between ticks nevertheless, as it does in life.
            due = max(due, now + interval / 2)
        await runtime.sleep(max(0.0, due - now))
    memory = (resident_bytes() - empty) / (job.streams or 1)
    expected = job.streams * (1 + job.windows) * job.utterances
    patience = time.monotonic() + GRACE_SECONDS
    while sum(heard.finals for heard in all_heard) < expected and time.monotonic() < patience:
        await runtime.sleep(BATCH_SECONDS)
    return {
        "costs": costs,
        "seconds": ticks * PUSH_SECONDS,
        "finals": sum(heard.finals for heard in all_heard),
        "expected": expected,
        "memory": memory,
        "latencies": latencies,
        "began": began,
        "windows": [began + number * window * interval for number in range(1, job.windows + 2)],
    }


def connected(url: str) -> int:
    return int(urlopen(f"{url}/count").read())  # noqa: S310 (the measuring gateway's own)


def resident_bytes() -> int:
    """Memory in use (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
