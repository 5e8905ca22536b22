"""One side of ``loopback.py``: a client that streams for a while, and prints what a second of audio costs it.

    python benchmarks/loopback_client.py TRANSPORT KIND URL [CALLGRIND_OUTPUT_FILE]

``bare`` is the least that a client can do on the same library, and stops at nothing that goes wrong; ``adapter`` is
ours; ``pace`` pushes nothing, and shows what the pushing loop's own sleep costs. ``_speed`` is with the extra.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from importlib import import_module
from threading import Thread
from typing import Any, NamedTuple

from counting import Counter, freeze, make_counter, speed_packages, tell
from workload import INTERIMS, MESSAGE_BYTES, PCM, PUSH_SECONDS, UTTERANCE_SECONDS, piece

WARM, FEW, MANY = 1, 1, 4
"""Utterances before counting, and of the two runs whose difference tells."""
PUSHES = round(UTTERANCE_SECONDS / PUSH_SECONDS)
PUSHED = piece(PUSH_SECONDS)
CREATE = (
    b'{"type":"session.create","model":"deepgram/nova-3","settings":{"sample_rate":"16000","encoding":"pcm_s16le"}}'
)
READ_BYTES = 65536

Push = Callable[[bytes], Awaitable[None]]
Sleep = Callable[[float], Awaitable[Any]]


class Heard:
    """What reached the application: at first that the session began, and then so much for each utterance."""

    def __init__(self, per_utterance: int) -> None:
        self.per_utterance = per_utterance
        self.count = 0


BARE = INTERIMS + 1
ADAPTED = INTERIMS + 4  # START, USAGE and END too


# Pushing. Each piece is followed by a sleep of its length, so the loop goes idle as with a microphone.


async def count(push: Push, sleep: Sleep, heard: Heard, counter: Counter) -> float:
    """Give instructions per second of audio."""

    async def speak(utterances: int) -> None:
        expected = heard.count + utterances * heard.per_utterance
        for _ in range(utterances * PUSHES):
            await push(PUSHED)
            await sleep(PUSH_SECONDS)
        while heard.count < expected:
            await sleep(PUSH_SECONDS)
        assert heard.count == expected

    async def cost(utterances: int) -> int:
        counter.start()
        await speak(utterances)
        return counter.stop()

    while not heard.count:
        await sleep(PUSH_SECONDS)
    await speak(WARM)
    freeze()
    few, many = await cost(FEW), await cost(MANY)
    return (many - few) / (MANY - FEW) / UTTERANCE_SECONDS


def count_sync(push: Callable[[bytes], None], heard: Heard, counter: Counter) -> float:
    """Do as ``count`` does, in a thread."""

    def speak(utterances: int) -> None:
        expected = heard.count + utterances * heard.per_utterance
        for _ in range(utterances * PUSHES):
            push(PUSHED)
            time.sleep(PUSH_SECONDS)
        while heard.count < expected:
            time.sleep(PUSH_SECONDS)
        assert heard.count == expected

    def cost(utterances: int) -> int:
        counter.start()
        speak(utterances)
        return counter.stop()

    while not heard.count:
        time.sleep(PUSH_SECONDS)
    speak(WARM)
    freeze()
    few, many = cost(FEW), cost(MANY)
    return (many - few) / (MANY - FEW) / UTTERANCE_SECONDS


class Nothing(Heard):
    """Nobody listens to what is pushed: what is left is the pace."""

    def __init__(self) -> None:
        super().__init__(PUSHES)
        self.count = 1

    def push_sync(self, _pcm: bytes) -> None:
        self.count += 1

    async def push(self, _pcm: bytes) -> None:
        self.count += 1


# The bare clients.


class Audio:
    """Messages of 50 ms, each made at the first push that fills it."""

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        self._encode = encode
        self._pushed = 0
        self._place = 0

    def message(self, pushed: bytes) -> bytes | None:
        self._pushed += len(pushed)
        if self._pushed < MESSAGE_BYTES:
            return None
        self._pushed -= MESSAGE_BYTES
        pcm = PCM[self._place : self._place + MESSAGE_BYTES]
        self._place = (self._place + MESSAGE_BYTES) % len(PCM)
        return b'{"type":"input_audio","audio":"' + self._encode(pcm) + b'"}'


class Codec:
    """Base64 and JSON, as fast as the extra makes them or as the standard library does."""

    def __init__(self, *, speed: bool) -> None:
        self.encode: Callable[[bytes], bytes] = partial(b2a_base64, newline=False)
        self.decode: Callable[[Any], Any] = json.loads
        if speed:
            import msgspec.json
            import pybase64

            self.encode, self.decode = pybase64.b64encode, msgspec.json.decode


class Framed:
    """A bare client on ``websockets``' Sans-I/O layer: bytes in, bytes out."""

    def __init__(self, url: str, codec: Codec, heard: Heard) -> None:
        from websockets.client import ClientProtocol
        from websockets.frames import Frame, Opcode
        from websockets.uri import parse_uri

        self.uri = parse_uri(url)
        self._protocol = ClientProtocol(self.uri)
        self._frame, self._text = Frame, Opcode.TEXT
        self._decode = codec.decode
        self._audio = Audio(codec.encode)
        self._heard = heard

    def upgrade(self) -> bytes:
        self._protocol.send_request(self._protocol.connect())
        return self._take()

    def create(self) -> bytes:
        self._protocol.send_text(CREATE)
        return self._take()

    def push(self, pcm: bytes) -> bytes | None:
        message = self._audio.message(pcm)
        if message is None:
            return None
        self._protocol.send_text(message)
        return self._take()

    def receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, self._frame) and event.opcode is self._text:
                self._decode(event.data)
                self._heard.count += 1

    def _take(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


async def bare_asyncio(url: str, codec: Codec, counter: Counter) -> float:
    from aiohttp import ClientSession, WSMsgType

    heard = Heard(BARE)
    audio = Audio(codec.encode)
    async with ClientSession() as session, session.ws_connect(url) as websocket:

        async def listen() -> None:
            while (message := await websocket.receive()).type is WSMsgType.TEXT:
                codec.decode(message.data)
                heard.count += 1

        async def push(pcm: bytes) -> None:
            message = audio.message(pcm)
            if message is not None:
                await websocket.send_frame(message, WSMsgType.TEXT)

        listening = asyncio.create_task(listen())
        await websocket.send_frame(CREATE, WSMsgType.TEXT)
        cost = await count(push, asyncio.sleep, heard, counter)
        listening.cancel()
    return cost


async def bare_trio(url: str, codec: Codec, counter: Counter) -> float:
    import trio

    heard = Heard(BARE)
    framed = Framed(url, codec, heard)
    stream = await trio.open_tcp_stream(framed.uri.host, framed.uri.port)

    async def listen() -> None:
        while True:
            framed.receive(await stream.receive_some(READ_BYTES))

    async def push(pcm: bytes) -> None:
        data = framed.push(pcm)
        if data is not None:
            await stream.send_all(data)

    async with stream, trio.open_nursery() as nursery:
        await stream.send_all(framed.upgrade())
        framed.receive(await stream.receive_some(READ_BYTES))
        nursery.start_soon(listen)
        await stream.send_all(framed.create())
        cost = await count(push, trio.sleep, heard, counter)
        nursery.cancel_scope.cancel()
    return cost


async def bare_anyio(url: str, codec: Codec, counter: Counter) -> float:
    import anyio

    heard = Heard(BARE)
    framed = Framed(url, codec, heard)
    stream = await anyio.connect_tcp(framed.uri.host, framed.uri.port)

    async def listen() -> None:
        while True:
            framed.receive(await stream.receive(READ_BYTES))

    async def push(pcm: bytes) -> None:
        data = framed.push(pcm)
        if data is not None:
            await stream.send(data)

    async with stream, anyio.create_task_group() as tasks:
        await stream.send(framed.upgrade())
        framed.receive(await stream.receive(READ_BYTES))
        tasks.start_soon(listen)
        await stream.send(framed.create())
        cost = await count(push, anyio.sleep, heard, counter)
        tasks.cancel_scope.cancel()
    return cost


def bare_sync(url: str, codec: Codec, counter: Counter) -> float:
    heard = Heard(BARE)
    framed = Framed(url, codec, heard)

    def listen() -> None:
        while data := sock.recv(READ_BYTES):
            framed.receive(data)

    def push(pcm: bytes) -> None:
        data = framed.push(pcm)
        if data is not None:
            sock.sendall(data)

    with socket.create_connection((framed.uri.host, framed.uri.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(framed.upgrade())
        framed.receive(sock.recv(READ_BYTES))
        listening = Thread(target=listen)
        listening.start()
        sock.sendall(framed.create())
        cost = count_sync(push, heard, counter)
        sock.shutdown(socket.SHUT_RDWR)
        listening.join()
    return cost


# Ours. Another task, or thread, reads all events.


SETTINGS: dict[str, Any] = {"language": "en", "api_key": "key", "api_secret": "secret" * 8}


async def listen(stream: Any, heard: Heard) -> None:
    async for _event in stream.events():
        heard.count += 1


async def adapter_asyncio(url: str, counter: Counter) -> float:
    from lkstt_transports.asyncio import STT

    heard = Heard(ADAPTED)
    async with STT(base_url=url, **SETTINGS) as stt, stt.stream() as stream:
        listening = asyncio.create_task(listen(stream, heard))
        cost = await count(stream.push_audio, asyncio.sleep, heard, counter)
        listening.cancel()
    return cost


async def adapter_trio(url: str, counter: Counter) -> float:
    import trio

    from lkstt_transports.trio import STT

    heard = Heard(ADAPTED)
    async with STT(base_url=url, **SETTINGS) as stt, stt.stream() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(listen, stream, heard)
        cost = await count(stream.push_audio, trio.sleep, heard, counter)
        nursery.cancel_scope.cancel()
    return cost


async def adapter_anyio(url: str, counter: Counter) -> float:
    import anyio

    from lkstt_transports.anyio import STT

    heard = Heard(ADAPTED)
    async with STT(base_url=url, **SETTINGS) as stt, stt.stream() as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(listen, stream, heard)
        cost = await count(stream.push_audio, anyio.sleep, heard, counter)
        tasks.cancel_scope.cancel()
    return cost


def adapter_sync(url: str, counter: Counter) -> float:
    from lkstt_transports.sync import STT

    heard = Heard(ADAPTED)

    def listen(stream: Any) -> None:
        for _event in stream.events():
            heard.count += 1

    with STT(base_url=url, **SETTINGS) as stt, stt.stream() as stream:
        listening = Thread(target=listen, args=(stream,))
        listening.start()
        cost = count_sync(stream.push_audio, heard, counter)
    listening.join()
    return cost


# One transport and kind.


def run_asyncio(work: Callable[[], Coroutine[Any, Any, float]]) -> float:
    return asyncio.run(work())


def run_uvloop(work: Callable[[], Coroutine[Any, Any, float]]) -> float:
    import uvloop

    return uvloop.run(work())


def run_trio(work: Callable[[], Coroutine[Any, Any, float]]) -> float:
    import trio

    return trio.run(work)


def run_anyio(work: Callable[[], Coroutine[Any, Any, float]], backend: str) -> float:
    import anyio

    return anyio.run(work, backend=backend)


def pace_sync(counter: Counter) -> float:
    nothing = Nothing()
    return count_sync(nothing.push_sync, nothing, counter)


class Transport(NamedTuple):
    """How to run what, on which packages."""

    packages: tuple[str, ...]
    run: Callable[[Callable[[], Any]], float]
    bare: Callable[[str, Codec, Counter], Any]
    adapter: Callable[[str, Counter], Any]
    pace: Callable[[Counter], Any]


def sleeping(module: str) -> Callable[[Counter], Awaitable[float]]:
    """Give the pace of a library's sleep."""

    def pace(counter: Counter) -> Awaitable[float]:
        nothing = Nothing()
        return count(nothing.push, import_module(module).sleep, nothing, counter)

    return pace


def run_plain(work: Callable[[], float]) -> float:
    return work()


TRANSPORTS = {
    "asyncio": Transport(("aiohttp",), run_asyncio, bare_asyncio, adapter_asyncio, sleeping("asyncio")),
    "uvloop": Transport(("aiohttp", "uvloop"), run_uvloop, bare_asyncio, adapter_asyncio, sleeping("asyncio")),
    "trio": Transport(("trio", "websockets"), run_trio, bare_trio, adapter_trio, sleeping("trio")),
    "anyio-asyncio": Transport(
        ("anyio", "websockets"), partial(run_anyio, backend="asyncio"), bare_anyio, adapter_anyio, sleeping("anyio")
    ),
    "anyio-trio": Transport(
        ("anyio", "trio", "websockets"),
        partial(run_anyio, backend="trio"),
        bare_anyio,
        adapter_anyio,
        sleeping("anyio"),
    ),
    "sync": Transport(("websockets",), run_plain, bare_sync, adapter_sync, pace_sync),
}


def main() -> None:
    name, kind, url, *arguments = sys.argv[1:]
    transport = TRANSPORTS[name]
    kind, _, extra = kind.partition("_")
    packages = speed_packages(wanted=extra == "speed")
    counter = make_counter(arguments)
    if kind == "bare":
        address = "ws" + url.removeprefix("http") + "/stt"
        work = partial(transport.bare, address, Codec(speed=bool(packages)), counter)
    elif kind == "adapter":
        work = partial(transport.adapter, url, counter)
    else:
        work = partial(transport.pace, counter)
    cost = transport.run(work)
    tell((*transport.packages, *packages), {"second": cost})


if __name__ == "__main__":
    main()
