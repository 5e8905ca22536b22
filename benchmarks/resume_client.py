"""The client side of ``resume.py``: runs jobs on lkstt or on livekit-agents, and prints what the application gets.

    python benchmarks/resume_client.py lkstt|livekit < jobs.json

Reads a JSON list of jobs, runs them at once, and prints a JSON object per line, each with its job and the time in
``time.monotonic``. Nothing of lkstt is imported for livekit-agents, and the other way round.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

PAGE = 4096
SETTLED_SECONDS = 3.0
"""Memory that has not changed for so long will not change any more."""
STALLED_SECONDS = 15.0
"""After an hour of audio was pushed to a gateway that does not read: long enough for a reconnection."""

Tell = Callable[..., None]


class Client(NamedTuple):
    """One stream, whichever library it is of."""

    push: Callable[[bytes], Any]
    """May give something to await."""
    push_at_once: Callable[[bytes], None]
    end_input: Callable[[], None]
    events: Callable[[], AsyncIterator[dict[str, Any]]]


@asynccontextmanager
async def open_lkstt(job: dict[str, Any]) -> AsyncIterator[Client]:
    lkstt = import_module("lkstt_proto")
    adapter = import_module("lkstt_transports.asyncio")
    policy = lkstt.RetryPolicy(**job["retry"].get("lkstt", {}))
    async with adapter.STT(**job["address"], retry=policy) as stt, stt.stream() as stream:

        async def events() -> AsyncIterator[dict[str, Any]]:
            async for event in stream.events():
                if isinstance(event, lkstt.SpeechEvent):
                    yield speech(event) | {"promoted": event.promoted}
                elif isinstance(event, lkstt.AudioDropped):
                    yield {"type": "dropped", "start": event.start, "end": event.end}
                else:
                    yield {"type": type(event).__name__}

        yield Client(stream.push_audio, stream.push_audio_nowait, stream.end_input, events)


@asynccontextmanager
async def open_livekit(job: dict[str, Any]) -> AsyncIterator[Client]:
    aiohttp: Any = import_module("aiohttp")
    agents: Any = import_module("livekit.agents")
    inference: Any = import_module("livekit.agents.inference")
    rtc: Any = import_module("livekit.rtc")
    options = agents.APIConnectOptions(**job["retry"].get("livekit", {}))
    async with aiohttp.ClientSession() as session:
        stt = inference.STT(model="deepgram/nova-3", sample_rate=16000, http_session=session, **job["address"])
        stream = stt.stream(conn_options=options)

        def push(pcm: bytes) -> None:
            stream.push_frame(rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2))

        async def events() -> AsyncIterator[dict[str, Any]]:
            async for event in stream:
                yield speech(event)

        try:
            yield Client(push, push, stream.end_input, events)
        finally:
            await stream.aclose()


OPEN = {"lkstt": open_lkstt, "livekit": open_livekit}
PACKAGES = {"lkstt": ["aiohttp"], "livekit": ["livekit-agents", "aiohttp"]}


def speech(event: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"type": str(getattr(event.type, "value", event.type))}
    if event.alternatives:
        data = event.alternatives[0]
        told |= {"text": data.text, "start": data.start_time, "end": data.end_time}
    return told


async def run(side: str, job: dict[str, Any], tell: Tell) -> None:
    """Run one job for as long as it may take."""
    try:
        async with asyncio.timeout(job["patience"]), OPEN[side](job) as client:
            await DO[job["do"]](client, job, tell)
    except TimeoutError:
        tell(type="end", how="does not end")
    except Exception as error:
        tell(type="end", how=f"{type(error).__name__}: {str(error)[:120]}")
    else:
        tell(type="end", how="ended")


async def transcribe(client: Client, job: dict[str, Any], tell: Tell) -> None:
    """Push a recording while reading: as fast as there is room for it, or at a speed as a microphone does."""
    pcm, speed = job["audio"], job["speed"]

    async def push() -> None:
        began = time.monotonic()
        step = 640
        for place in range(0, len(pcm), step):
            if speed:
                await asyncio.sleep(began + place / 32000 / speed - time.monotonic())
                client.push_at_once(pcm[place : place + step])
            elif (waiting := client.push(pcm[place : place + step])) is not None:
                await waiting
        tell(type="input_ended")
        client.end_input()

    pushing = asyncio.create_task(push())
    try:
        async for event in client.events():
            tell(**event)
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)


async def push_an_hour(client: Client, _job: dict[str, Any], tell: Tell) -> None:
    """Push an hour as fast as it goes, and say how much memory that took at the most."""
    second = bytearray(32000)
    await asyncio.sleep(2.0)  # connected, and with everything imported
    gc.collect()
    idle = most = resident()
    for _ in range(3600):
        client.push_at_once(bytes(second))
        await asyncio.sleep(0)
        most = max(most, resident())
    until = time.monotonic() + STALLED_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(0.1)
        most = max(most, resident())
    tell(type="memory", above_idle=most - idle)


async def read_nothing(client: Client, _job: dict[str, Any], tell: Tell) -> None:
    """Ask for a flood of events by a message of audio, and say how much memory it took."""
    await asyncio.sleep(2.0)
    gc.collect()
    idle = most = last = resident()
    client.push_at_once(bytes(1600))
    settled = time.monotonic() + 2 * SETTLED_SECONDS
    began = time.process_time()
    busy = began
    while time.monotonic() < settled:
        await asyncio.sleep(0.1)
        last = resident()
        most = max(most, last)
        if time.process_time() - busy > 0.05:
            busy = time.process_time()
            settled = time.monotonic() + SETTLED_SECONDS
    tell(type="memory", above_idle=most - idle, processor_seconds=busy - began)


DO = {"transcribe": transcribe, "push_an_hour": push_an_hour, "read_nothing": read_nothing}


def resident() -> int:
    """Bytes of memory in use (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


async def main(side: str, jobs: list[dict[str, Any]]) -> None:
    def tell(name: str, /, **event: Any) -> None:
        print(json.dumps({"job": name, "at": time.monotonic(), **event}), flush=True)

    print(json.dumps({"about": {package: version(package) for package in PACKAGES[side]}}), flush=True)
    await asyncio.gather(*(run(side, job, partial(tell, job["name"])) for job in jobs))


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    for each in wanted:
        each["audio"] = Path(each["pcm"]).read_bytes()
    asyncio.run(main(sys.argv[1], wanted))
