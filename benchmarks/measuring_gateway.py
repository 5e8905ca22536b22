"""The gateway that clients are measured against: a process of its own, which checks audio and says its lines on time.

Writes its address on standard output, and serves until it is ended. An interim follows every 200 ms of received audio
and a final every 3 s; time is what audio has come, and no clock. Each transcript begins with the time at which it was
sent. ``GET /heard`` tells of the sessions since it was last asked, and forgets them.
"""

from __future__ import annotations

import asyncio
import json
import time
from array import array
from base64 import b64decode
from collections.abc import Iterator
from functools import cache
from typing import Any

from aiohttp import WSMsgType, web
from workload import CREATED, INTERIMS, PCM, RATE, UTTERANCE_SECONDS, utterances

STEP_SECONDS = UTTERANCE_SECONDS / (INTERIMS + 1)
PCM_TWICE = PCM * 2
"""The audio is one piece over and over: whatever follows a place is a part of this."""
TEXT = '"transcript":"'


class Session:
    """What was heard of one client."""

    def __init__(self) -> None:
        self.first = 0
        """The byte of ``PCM`` at which it began."""
        self.bytes = 0
        self.intact = True
        self.samples = array("q")
        """How many had come at each of ``times``, in seconds of the monotonic clock."""
        self.times = array("d")

    def hear(self, pcm: bytes) -> None:
        if not self.bytes:
            self.first = PCM_TWICE.find(pcm)
        place = (self.first + self.bytes) % len(PCM)
        self.intact = self.intact and PCM_TWICE.startswith(pcm, place)
        self.bytes += len(pcm)
        self.samples.append(self.bytes // 2)
        self.times.append(time.monotonic())

    def told(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "intact": self.intact,
            "samples": self.samples.tolist(),
            "times": self.times.tolist(),
        }


@cache
def turn(start: float) -> list[str]:
    """Write what is said from then to the next final, once for all sessions: they come to it at the same time."""
    return utterances(1, start)[0]


def lines() -> Iterator[tuple[int, str]]:
    """Samples that must have come, and what is said then."""
    start, step = 0.0, 0
    while True:
        for message in turn(start):
            step += 1
            yield round(step * STEP_SECONDS * RATE), message
        start += UTTERANCE_SECONDS


class Gateway:
    """Serves any number of clients."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []

    async def stt(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one session; pings are answered by the library."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        session = Session()
        script = lines()
        due, line = next(script)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            data = json.loads(message.data)
            kind = data["type"]
            if kind == "input_audio":
                session.hear(b64decode(data["audio"]))
                while session.bytes // 2 >= due:
                    await socket.send_str(line.replace(TEXT, f"{TEXT}{time.monotonic_ns()} ", 1))
                    due, line = next(script)
            elif kind == "session.create":
                self.sessions.append(session)
                await socket.send_str(CREATED)
            elif kind == "session.close":
                await socket.send_str('{"type":"session.closed"}')
                break
        return socket

    async def heard(self, _request: web.Request) -> web.Response:
        sessions, self.sessions = self.sessions, []
        return web.json_response({"processor": time.process_time(), "sessions": [each.told() for each in sessions]})

    async def count(self, _request: web.Request) -> web.Response:
        return web.json_response(len(self.sessions))


async def main() -> None:
    gateway = Gateway()
    app = web.Application()
    app.add_routes(
        [web.get("/v1/stt", gateway.stt), web.get("/heard", gateway.heard), web.get("/count", gateway.count)]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print("http://{}:{}".format(*runner.addresses[0]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
