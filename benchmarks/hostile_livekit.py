"""livekit-agents' side of ``hostile.py``: a stream of its own for each frame, over the same socket.

Run with an interpreter that has livekit-agents; nothing of lkstt is needed there. Gets ``[name, expect]`` of each frame
as JSON on standard input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
import resource
import sys
import time
import tracemalloc
from importlib import import_module
from typing import Any

# Not imported by name: the type checker runs where livekit-agents is not installed.
aiohttp: Any = import_module("aiohttp")
rtc: Any = import_module("livekit.rtc")
agents: Any = import_module("livekit.agents")
inference: Any = import_module("livekit.agents.inference")

MIB = 1 << 20
MEMORY = "--memory" in sys.argv
SECONDS = 6.0
PATIENCE = 3.0
"""Seconds after which the valid final behind a frame will not come any more."""
FAILS = ("error", "failure", "limit")
"""What a stream without a retry may fail of."""
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def name(value: Any) -> bool:
    return text(value) and len(value) <= 256 and not _UNSAFE.search(value)


def number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and least <= value <= most


def sound(event: Any) -> bool:
    """Whether an event is one that an application can use as it is: the same rules as for lkstt."""
    if event.request_id and not name(event.request_id):
        return False
    for data in event.alternatives or ():
        words = data.words or ()
        fine = (
            text(data.text)
            and name(str(data.language))
            and number(data.start_time, 0.0, SECONDS + 1.0)
            and number(data.end_time, data.start_time, SECONDS + 1.0)
            and number(data.confidence, 0.0, 1.0)
            and (data.speaker_id is None or name(data.speaker_id))
            and all(
                text(str(word)) and number(word.start_time, 0.0, SECONDS + 1.0) and number(word.confidence, 0.0, 1.0)
                for word in words
                if isinstance(word.start_time, float | int)
            )
            and all(isinstance(word.start_time, float | int) for word in words)
        )
        if not fine:
            return False
    return True


async def hear(stt: Any) -> tuple[str, str]:
    """Give what becomes of one stream, and why."""
    outcome = ("deaf", "")
    stream = stt.stream(conn_options=agents.APIConnectOptions(max_retry=0, timeout=5.0))
    samples = round(SECONDS * 16000)
    frame = rtc.AudioFrame(data=bytes(2 * samples), sample_rate=16000, num_channels=1, samples_per_channel=samples)
    stream.push_frame(frame)
    try:
        async with asyncio.timeout(PATIENCE):
            async for event in stream:
                if not sound(event):
                    outcome = ("unsound", "")
                said = event.alternatives[0].text if event.alternatives else None
                if said == "after 0":
                    outcome = ("ok", "") if outcome[0] == "deaf" else outcome
                    break
    except TimeoutError:
        pass
    except agents.APIError as error:
        outcome = ("typed", type(error).__name__) if outcome[0] == "deaf" else outcome
    except Exception as error:
        outcome = ("untyped", type(error).__name__)
    try:
        async with asyncio.timeout(2.0):
            await stream.aclose()
    except Exception as error:
        outcome = ("untyped", type(error).__name__)
    return outcome


async def run(base_url: str, frames: list[tuple[str, str]]) -> dict[str, Any]:
    """Hear every frame."""
    cost: dict[str, float] = {}
    problems: list[str] = []
    untyped = unsound = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    async with aiohttp.ClientSession() as session:
        for index, (label, expect) in enumerate(frames):
            stt = inference.STT(
                "deepgram/nova-3",
                language="en",
                base_url=f"{base_url}/{index}",
                api_key="APIabcdefgh",
                api_secret="a-secret-of-at-least-thirty-two-bytes",
                http_session=session,
            )
            if MEMORY:
                tracemalloc.reset_peak()
                start = float(tracemalloc.get_traced_memory()[0])
            else:
                start = time.process_time()
            outcome, why = await hear(stt)
            if MEMORY:
                cost[label] = (tracemalloc.get_traced_memory()[1] - start) / MIB
            else:
                cost[label] = (time.process_time() - start) * 1e3
            untyped += outcome == "untyped"
            unsound += outcome == "unsound"
            if outcome in ("untyped", "unsound"):
                print(f"{label}: {outcome} {why}", file=sys.stderr)
            elif expect != "limit" and (outcome == "deaf" or (outcome == "typed" and expect not in FAILS)):
                problems.append(f"{label} ({expect}): {outcome} {why}")
    usual = sorted(cost.values())[len(cost) // 10]  # a stream by itself
    return {
        "cost": {label: value - usual for label, value in cost.items()},
        "problems": problems,
        "untyped": untyped,
        "unsound": unsound,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    if MEMORY:
        tracemalloc.start()
    print(json.dumps(asyncio.run(run(sys.argv[1], json.load(sys.stdin)))))
