"""One process of ``loopback.py`` and ``streams.py``: clients that stream, and what a second of audio costs them.

    python benchmarks/client.py JOB [CALLGRIND_OUTPUT_FILE]

``JOB`` is JSON, see ``Job``. Runs with an interpreter that has livekit-agents, too: nothing of lkstt is
imported for it.

In a burst one stream gets audio as fast as it takes it. In real time every stream gets 20 ms of audio every 20 ms, all
from one ticker.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import threading
import time
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.request import urlopen

from counting import Counter, ProcessorTime, freeze, make_counter, speed_packages, versions
from workload import MESSAGE_BYTES, PUSH_SECONDS, PUSHED, UTTERANCE_SECONDS

CREATE = (
    b'{"type":"session.create","model":"deepgram/nova-3","settings":{"sample_rate":"16000","encoding":"pcm_s16le"}}'
)
READ_BYTES = 65536
PUSHES = round(UTTERANCE_SECONDS / PUSH_SECONDS)
PHASES = 5
"""Pushes in which two messages fill; streams begin that far apart, so that they do not all send at once."""
BATCH, BATCH_SECONDS = 10, 0.05
"""How many streams are opened at a time, and how long after each other."""
GRACE_SECONDS = 10.0
"""For the last finals, where a client is behind."""


class Job(NamedTuple):
    """What to do."""

    url: str
    transport: str
    side: str
    """bare, lkstt or livekit."""
    mode: str
    """burst or real time."""
    speed: bool = True
    """With the packages of the ``speed`` extra."""
    streams: int = 1
    """None at all is the ticker alone."""
    windows: int = 3
    """That are counted, one after the other."""
    utterances: int = 1
    """In a window, per stream."""
    slow: float = 1.0
    """How much longer than its audio a tick lasts: counting takes more time than there is."""
    processor_time: bool = False
    """Count nanoseconds of the processor and not instructions, and keep to the clock."""
    asked: bool = True
    """The gateway can be asked how many streams are connected."""


class Event(Protocol):
    def set(self) -> Any: ...
    async def wait(self) -> Any: ...


class Heard:
    """What reached the application of one stream."""

    def __init__(self, make_event: Callable[[], Event]) -> None:
        self.events = 0
        self.finals = 0
        self.latencies: list[int] | None = None
        """Nanoseconds from the gateway's write to here, where they are wanted."""
        self._make_event = make_event
        self._expected = 0
        self._reached = make_event()

    def hear(self, text: str, *, final: bool) -> None:
        self.events += 1
        if self.latencies is not None:
            self.latencies.append(time.monotonic_ns() - int(text.partition(" ")[0]))
        if final:
            self.finals += 1
            if self.finals == self._expected:
                self._reached.set()

    def expect(self, finals: int) -> Event:
        """Give what is set when so many more have come."""
        self._expected = self.finals + finals
        self._reached = self._make_event()
        return self._reached


class Stream(NamedTuple):
    """One stream, whoever's it is. What pushing gives is awaited, unless it is None."""

    push: Callable[[bytes], Awaitable[Any] | None]
    """Waits for room, where the library knows how."""
    push_now: Callable[[bytes], Awaitable[Any] | None]
    """Does not wait, where the library knows how."""


Spawn = Callable[..., Any]
Open = Callable[[Heard], Coroutine[Any, Any, Stream]]
"""Opens a stream. Nothing is closed: the process ends when it has counted."""
Client = Callable[[Job, Spawn], Coroutine[Any, Any, Open]]


# The bare clients: the least that can be done on the same library. They stop at nothing that goes wrong.


class Codec:
    """Base64 and JSON, as fast as the extra makes them or as the standard library does."""

    def __init__(self, *, speed: bool) -> None:
        self.encode: Callable[[bytes], bytes] = partial(b2a_base64, newline=False)
        self.decode: Callable[[Any], Any] = json.loads
        if speed:
            import msgspec.json
            import pybase64

            self.encode, self.decode = pybase64.b64encode, msgspec.json.decode


class Bare:
    """Bytes pushed to messages of 50 ms, and messages received to what is heard."""

    def __init__(self, codec: Codec, heard: Heard) -> None:
        self._codec = codec
        self._heard = heard
        self._audio = bytearray()

    def message(self, pcm: bytes) -> bytes | None:
        """Add what is pushed; give the message that it fills, if it does."""
        audio = self._audio
        audio += pcm
        if len(audio) < MESSAGE_BYTES:
            return None
        message = b'{"type":"input_audio","audio":"' + self._codec.encode(audio[:MESSAGE_BYTES]) + b'"}'
        del audio[:MESSAGE_BYTES]
        return message

    def hear(self, data: str | bytes) -> None:
        message = self._codec.decode(data)
        if "transcript" in message:
            self._heard.hear(message["transcript"], final=message["type"] == "final_transcript")


class Framed(Bare):
    """The same on ``websockets``' Sans-I/O layer: bytes in, bytes out."""

    def __init__(self, url: str, codec: Codec, heard: Heard) -> None:
        from websockets.client import ClientProtocol
        from websockets.frames import Frame, Opcode
        from websockets.uri import parse_uri

        super().__init__(codec, heard)
        self.uri = parse_uri(websocket_url(url))
        self._protocol = ClientProtocol(self.uri)
        self._frame, self._text = Frame, Opcode.TEXT

    def upgrade(self) -> bytes:
        self._protocol.send_request(self._protocol.connect())
        return self._take()

    def create(self) -> bytes:
        self._protocol.send_text(CREATE)
        return self._take()

    def push(self, pcm: bytes) -> bytes | None:
        message = self.message(pcm)
        if message is None:
            return None
        self._protocol.send_text(message)
        return self._take()

    def receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, self._frame) and event.opcode is self._text:
                self.hear(event.data)

    def _take(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def websocket_url(url: str) -> str:
    return "ws" + url.removeprefix("http") + "/v1/stt"


async def bare_aiohttp(job: Job, spawn: Spawn) -> Open:
    from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector, WSMsgType

    codec = Codec(speed=job.speed)
    session = ClientSession(connector=TCPConnector(limit=0))

    async def listen(websocket: ClientWebSocketResponse, bare: Bare) -> None:
        while (message := await websocket.receive()).type is WSMsgType.TEXT:
            bare.hear(message.data)

    async def open_one(heard: Heard) -> Stream:
        bare = Bare(codec, heard)
        websocket = await session.ws_connect(websocket_url(job.url))

        def push(pcm: bytes) -> Awaitable[None] | None:
            message = bare.message(pcm)
            return None if message is None else websocket.send_frame(message, WSMsgType.TEXT)

        await websocket.send_frame(CREATE, WSMsgType.TEXT)
        spawn(listen, websocket, bare)
        return Stream(push, push)

    return open_one


async def bare_framed(
    connect: Callable[[str, int], Awaitable[Any]], sending: str, receiving: str, job: Job, spawn: Spawn
) -> Open:
    """Open streams on what ``connect`` gives, with its methods to send and to receive."""
    codec = Codec(speed=job.speed)

    async def listen(framed: Framed, receive: Callable[[int], Awaitable[bytes]]) -> None:
        while True:
            framed.receive(await receive(READ_BYTES))

    async def open_one(heard: Heard) -> Stream:
        framed = Framed(job.url, codec, heard)
        connection = await connect(framed.uri.host, framed.uri.port)
        send, receive = getattr(connection, sending), getattr(connection, receiving)

        def push(pcm: bytes) -> Awaitable[None] | None:
            data = framed.push(pcm)
            return None if data is None else send(data)

        await send(framed.upgrade())
        framed.receive(await receive(READ_BYTES))
        await send(framed.create())
        spawn(listen, framed, receive)
        return Stream(push, push)

    return open_one


async def bare_trio(job: Job, spawn: Spawn) -> Open:
    import trio

    return await bare_framed(trio.open_tcp_stream, "send_all", "receive_some", job, spawn)


async def bare_anyio(job: Job, spawn: Spawn) -> Open:
    import anyio

    return await bare_framed(anyio.connect_tcp, "send", "receive", job, spawn)


async def bare_sync(job: Job, spawn: Spawn) -> Open:
    codec = Codec(speed=job.speed)

    def listen(framed: Framed, sock: socket.socket) -> None:
        while data := sock.recv(READ_BYTES):
            framed.receive(data)

    async def open_one(heard: Heard) -> Stream:
        framed = Framed(job.url, codec, heard)
        sock = socket.create_connection((framed.uri.host, framed.uri.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def push(pcm: bytes) -> None:
            data = framed.push(pcm)
            if data is not None:
                sock.sendall(data)

        sock.sendall(framed.upgrade())
        framed.receive(sock.recv(READ_BYTES))
        sock.sendall(framed.create())
        spawn(listen, framed, sock)
        return Stream(push, push)

    return open_one


# Ours and livekit-agents': one STT, and for each stream a task, or a thread, that reads its events.


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


# What is counted.


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
    costs = []
    began = due = time.monotonic()
    for tick in range(ticks + PHASES):
        if tick % window == 0:
            if tick == window and job.processor_time:
                for heard in all_heard:
                    heard.latencies = []
            if window < tick <= ticks:
                costs.append(counter.stop() / (job.streams or 1) / job.utterances / UTTERANCE_SECONDS)
            if window <= tick < ticks:
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
        "latencies": [each for heard in all_heard for each in heard.latencies or ()],
        "began": began,
        "counted": [began + window * interval, began + ticks * interval],
    }


def connected(url: str) -> int:
    return int(urlopen(f"{url}/count").read())  # noqa: S310 (the measuring gateway's own)


def resident_bytes() -> int:
    """Memory in use (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# What it runs on.


class Runtime(NamedTuple):
    """What a transport runs on."""

    run: Callable[[Callable[[Spawn], Coroutine[Any, Any, None]]], Any]
    sleep: Callable[[float], Awaitable[Any]]
    make_event: Callable[[], Event]
    packages: tuple[str, ...]


def make_asyncio(run: Callable[[Coroutine[Any, Any, None]], Any], *packages: str) -> Runtime:
    tasks = set()

    def spawn(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        tasks.add(asyncio.create_task(work(*arguments)))

    return Runtime(lambda main: run(main(spawn)), asyncio.sleep, asyncio.Event, packages)


def make_uvloop() -> Runtime:
    import uvloop

    return make_asyncio(uvloop.run, "uvloop", "aiohttp")


def make_trio() -> Runtime:
    import trio

    async def main(work: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        async with trio.open_nursery() as nursery:
            await work(nursery.start_soon)

    return Runtime(partial(trio.run, main), trio.sleep, trio.Event, ("trio", "websockets"))


def make_anyio(backend: str, *packages: str) -> Runtime:
    import anyio

    async def main(work: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tasks:
            await work(tasks.start_soon)

    return Runtime(partial(anyio.run, main, backend=backend), anyio.sleep, anyio.Event, ("anyio", *packages))


class BlockingEvent(threading.Event):
    async def wait(self) -> None:  # type: ignore[override]  # the harness awaits it, and what it awaits may block
        super().wait()


def make_blocking() -> Runtime:
    """Run a coroutine that never gives way: whatever it waits for blocks."""

    def run(main: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        main(spawn).send(None)

    def spawn(work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    async def sleep(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (there is no loop to block)

    return Runtime(run, sleep, BlockingEvent, ("websockets",))


class Transport(NamedTuple):
    make_runtime: Callable[[], Runtime]
    clients: Mapping[str, Client]


TRANSPORTS = {
    "asyncio": Transport(
        partial(make_asyncio, asyncio.run, "aiohttp"),
        {"bare": bare_aiohttp, "lkstt": partial(lkstt, "asyncio"), "livekit": livekit},
    ),
    "uvloop": Transport(make_uvloop, {"bare": bare_aiohttp, "lkstt": partial(lkstt, "asyncio"), "livekit": livekit}),
    "trio": Transport(make_trio, {"bare": bare_trio, "lkstt": partial(lkstt, "trio")}),
    "anyio-asyncio": Transport(
        partial(make_anyio, "asyncio", "websockets"), {"bare": bare_anyio, "lkstt": partial(lkstt, "anyio")}
    ),
    "anyio-trio": Transport(
        partial(make_anyio, "trio", "trio", "websockets"), {"bare": bare_anyio, "lkstt": partial(lkstt, "anyio")}
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
