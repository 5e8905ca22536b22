"""The gateway that ``loopback.py`` talks to: a process of its own, which counts audio and says its lines on time.

Writes its URL on standard output, and serves until it is ended. An interim follows every 200 ms of received audio and a
final every 3 s; time is what audio has come, and no clock.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from workload import CREATED, INTERIMS, UTTERANCE_SECONDS, transcript, utterances

RATE = 16000
STEP_SECONDS = UTTERANCE_SECONDS / (INTERIMS + 1)


def lines() -> Iterator[tuple[int, str]]:
    """Samples that must have come, and what is said then."""
    start, step = 0.0, 0
    while True:
        for message in utterances(1, start)[0]:
            step += 1
            yield round(step * STEP_SECONDS * RATE), message
        start += UTTERANCE_SECONDS


async def visit(websocket: ServerConnection) -> None:
    """Serve one session; pings are answered by the library."""
    with suppress(ConnectionClosed):  # a bare client leaves without a word
        await converse(websocket)


async def converse(websocket: ServerConnection) -> None:
    samples = 0
    script = lines()
    due, line = next(script)
    async for data in websocket:
        message = json.loads(data)
        kind = message["type"]
        if kind == "input_audio":
            samples += len(b64decode(message["audio"])) // 2
            while samples >= due:
                await websocket.send(line)
                due, line = next(script)
        elif kind == "session.create":
            await websocket.send(CREATED)
        elif kind == "session.finalize":
            rest = samples / RATE % UTTERANCE_SECONDS
            if rest:
                await websocket.send(transcript("final", 0, samples / RATE, rest))
            await websocket.send('{"type":"session.finalized"}')
        elif kind == "session.close":
            await websocket.send('{"type":"session.closed"}')
            return


async def main() -> None:
    async with serve(visit, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        host, port = next(iter(server.sockets)).getsockname()
        print(f"http://{host}:{port}/v1", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
