"""Everybody that ``siege.py`` has knock at the gateway: silent connections, and sessions that make noise.

Runs until it is ended. Whoever is closed comes again: the silent ones at once, the noisy ones after a moment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, cycle, repeat
from urllib.parse import urlsplit

from lkstt_proto.handshake import mint_token

RATE = 16000
AGAIN_SECONDS = 0.25
# What silent connections send before they fall silent: nothing, half a request, half a handshake of TLS, rubbish.
OPENINGS = (b"", b"", b"GET /v1/stt HTTP/1.1\r\nHost: localhost\r\nAuthor", b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 9)
PING, TEXT, CONTINUATION = 0x9, 0x1, 0x0


def frame(data: bytes, opcode: int = TEXT, *, last: bool = True) -> bytes:
    """A client's frame, under a mask of zeros."""
    size, more = len(data), b""
    if size >= 1 << 16:
        size, more = 127, len(data).to_bytes(8, "big")
    elif size >= 126:
        size, more = 126, len(data).to_bytes(2, "big")
    return bytes([last << 7 | opcode, 0x80 | size]) + more + bytes(4) + data


def message(**fields: object) -> bytes:
    return frame(json.dumps(fields).encode())


def audio(seconds: float) -> bytes:
    return message(type="input_audio", audio=b64encode(b"\x01\x02" * round(RATE * seconds)).decode())


CREATE = message(type="session.create", settings={"sample_rate": str(RATE), "encoding": "pcm_s16le"})

NOISES: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "audio as fast as it goes": lambda: repeat(audio(0.05) * 20),
    "audio in messages of 6 s": lambda: repeat(audio(6.0)),
    "pings": lambda: repeat(frame(b"?" * 100, PING) * 500),
    "small messages of an unknown type": lambda: repeat(message(type="?") * 500),
    "large messages of an unknown type": lambda: repeat(message(type="?", lists=[[[]]] * 40_000)),
    "finalize without end": lambda: repeat(message(type="session.finalize") * 500),
    "fragments without end": lambda: chain(
        [frame(b"{", last=False)], repeat(frame(b"", CONTINUATION, last=False) * 500)
    ),
    "what is no JSON": lambda: cycle([audio(0.05) * 20, frame(b"{" * 1000)]),
}


def upgrade(url: str, key: str, secret: str) -> bytes:
    lines = [
        "GET /v1/stt HTTP/1.1",
        f"Host: {urlsplit(url).netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}",
        f"Authorization: Bearer {mint_token(key, secret, time.time())}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlsplit(url)
    return await asyncio.open_connection(place.hostname, place.port)


async def be_silent(url: str, opening: bytes) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await connect(url)
            with suppress(OSError):
                writer.write(opening)
                await reader.read()
            writer.close()
        await asyncio.sleep(AGAIN_SECONDS)


async def make_noise(url: str, key: str, secret: str, noise: Callable[[], Iterator[bytes]]) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await connect(url)
            writer.write(upgrade(url, key, secret))
            if b" 101 " in await reader.readuntil(b"\r\n\r\n"):
                writer.write(CREATE)
                listening = asyncio.create_task(listen(reader))
                with suppress(OSError):
                    for data in noise():
                        writer.write(data)
                        await writer.drain()
                        if listening.done():
                            break
                listening.cancel()
            writer.close()
        await asyncio.sleep(AGAIN_SECONDS)


async def listen(reader: asyncio.StreamReader) -> None:
    with suppress(OSError):
        while await reader.read(1 << 16):
            pass


async def main(url: str, silent: int, noisy: int, keys: list[str], secret: str) -> None:
    noises = cycle(NOISES.values())
    async with asyncio.TaskGroup() as group:
        for _, opening in zip(range(silent), cycle(OPENINGS), strict=False):
            group.create_task(be_silent(url, opening))
        for _, key in zip(range(noisy), cycle(keys), strict=False):
            group.create_task(make_noise(url, key, secret, next(noises)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("silent", type=int)
    parser.add_argument("noisy", type=int)
    parser.add_argument("keys", nargs="+")
    given = parser.parse_args()
    asyncio.run(main(given.url, given.silent, given.noisy, given.keys, os.environ["SIEGE_SECRET"]))
