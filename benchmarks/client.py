"""One process of ``loopback.py`` and ``streams.py``: clients that stream, and what a second of audio costs them.

    python benchmarks/client.py JOB [CALLGRIND_OUTPUT_FILE]

``JOB`` is JSON, see ``Job``. Runs with an interpreter that has livekit-agents, too: nothing of lkstt is
imported for it. Here are the clients that make a stream of a library: one STT, and for each stream a task, or a
thread, that reads its events.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from bare import bare_aiohttp, bare_anyio, bare_sync, bare_trio, direct_anyio, direct_trio
from counting import ProcessorTime, make_counter, speed_packages, versions
from job import Client, Heard, Job, Open, Spawn, Stream
from pace import burst, real_time
from runtimes import Runtime, make_anyio, make_asyncio, make_blocking, make_trio, make_uvloop
from workload import PUSHED


def settings(job: Job) -> dict[str, Any]:
    return {"language": "en", "base_url": f"{job.url}/v1", "api_key": "key", "api_secret": "secret" * 8}


async def listen(stream: Any, heard: Heard) -> None:
    async for event in stream:
        if event.alternatives:
            heard.hear(event.alternatives[0].text, final=event.type == "final_transcript")


def listen_blocking(stream: Any, heard: Heard) -> None:
    for event in stream:
        if event.alternatives:
            heard.hear(event.alternatives[0].text, final=event.type == "final_transcript")


async def lkstt(adapter: str, job: Job, spawn: Spawn) -> Open:
    stt = import_module(f"lkstt_transports.{adapter}").STT(**settings(job))
    if adapter != "sync":
        await stt.__aenter__()

    async def open_one(heard: Heard) -> Stream:
        stream = stt.stream()
        spawn(listen_blocking if adapter == "sync" else listen, stream, heard)
        return Stream(stream.push_audio, stream.push_audio_nowait)

    return open_one


async def livekit(job: Job, spawn: Spawn) -> Open:
    aiohttp: Any = import_module("aiohttp")
    inference: Any = import_module("livekit.agents.inference")
    rtc: Any = import_module("livekit.rtc")
    # Its own session takes 50 connections.
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    stt = inference.STT("deepgram/nova-3", http_session=session, **settings(job))
    # Frames come from elsewhere in an application, and are not charged.
    frames = {pcm: rtc.AudioFrame(pcm, 16000, 1, len(pcm) // 2) for pcm in PUSHED}

    async def open_one(heard: Heard) -> Stream:
        stream = stt.stream()
        spawn(listen, stream, heard)

        def push(pcm: bytes) -> None:
            stream.push_frame(frames[pcm])

        return Stream(push, push)

    return open_one


async def nobody(_job: Job, _spawn: Spawn) -> Open:
    """Stand for the client where there are no streams, and the ticker is alone."""

    async def open_one(_heard: Heard) -> Stream:
        raise AssertionError("there are no streams")

    return open_one


class Transport(NamedTuple):
    make_runtime: Callable[[], Runtime]
    clients: Mapping[str, Client]


TRANSPORTS = {
    "asyncio": Transport(
        partial(make_asyncio, asyncio.run, "aiohttp"),
        {"bare": bare_aiohttp, "lkstt": partial(lkstt, "asyncio"), "livekit": livekit},
    ),
    "uvloop": Transport(make_uvloop, {"bare": bare_aiohttp, "lkstt": partial(lkstt, "asyncio"), "livekit": livekit}),
    "trio": Transport(make_trio, {"bare": bare_trio, "direct": direct_trio, "lkstt": partial(lkstt, "trio")}),
    "anyio-asyncio": Transport(
        partial(make_anyio, "asyncio", "websockets"),
        {"bare": bare_anyio, "direct": direct_anyio, "lkstt": partial(lkstt, "anyio")},
    ),
    "anyio-trio": Transport(
        partial(make_anyio, "trio", "trio", "websockets"),
        {"bare": bare_anyio, "direct": direct_anyio, "lkstt": partial(lkstt, "anyio")},
    ),
    "sync": Transport(make_blocking, {"bare": bare_sync, "lkstt": partial(lkstt, "sync")}),
}
MODES = {"burst": burst, "real time": real_time}


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    counter = ProcessorTime() if job.processor_time else make_counter(sys.argv[2:])
    transport = TRANSPORTS[job.transport]
    runtime = transport.make_runtime()
    packages = (*runtime.packages, *(["livekit-agents"] if job.side == "livekit" else speed_packages(wanted=job.speed)))

    async def work(spawn: Spawn) -> None:
        open_one = await transport.clients.get(job.side, nobody)(job, spawn)
        result = await MODES[job.mode](job, open_one, runtime, counter)
        print(json.dumps({"about": versions(packages), **result}), flush=True)
        os._exit(0)  # how a client leaves is not what is measured

    runtime.run(work)


if __name__ == "__main__":
    main()
