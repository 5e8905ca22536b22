"""A loopback proxy that breaks connections on purpose: cut, stall, half-open, slow, sliced, refused, answered in HTTP.

Each connection gets the next ``Conduct``; after the last one the proxy only forwards. Faults come at an exact place of
the byte stream, so that a run repeats: after so many text messages, so many bytes behind them, so many seconds later.

It runs on the event loop that starts it. All times it notes are ``time.monotonic``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Coroutine
from enum import StrEnum
from math import inf
from typing import Any

from attrs import frozen

_BLOCK = 64 * 1024
_TEXT = 1
_HEAD_END = b"\r\n\r\n"


class Way(StrEnum):
    """A direction."""

    UP = "up"
    """From the client to the gateway."""
    DOWN = "down"


class Act(StrEnum):
    """What a fault does."""

    RESET = "reset"
    """Cut: both ends see a TCP reset."""
    FIN = "fin"
    """Cut: the client sees an orderly end of the stream without a WebSocket close, the gateway a reset."""
    HALF_OPEN = "half_open"
    """The gateway sees a reset, the client nothing at all: what it sends is swallowed."""
    MUTE = "mute"
    """From here on what goes this way is swallowed; the other way lives on."""
    STALL = "stall"
    """From here on nothing is read or written this way, for a time or for good: buffers fill up."""


@frozen
class At:
    """A place: after ``messages`` whole text messages, ``bytes`` behind them, and then ``seconds`` later."""

    way: Way = Way.UP
    messages: int = 0
    bytes: int = 0
    """Counted from the beginning of the connection, its HTTP head included, when ``messages`` is 0."""
    seconds: float = 0.0


@frozen
class Fault:
    """What happens to a connection, and where."""

    act: Act
    at: At = At()
    lasting: float | None = None
    """Seconds. Of a STALL: how long, None for good. Of a cut: for how long nobody listens after it, None for not."""


@frozen
class Wire:
    """How fast a direction is."""

    latency: float = 0.0
    """Seconds."""
    bandwidth: float = inf
    """Bytes per second."""
    slices: int = _BLOCK
    """Largest TCP write in bytes."""


@frozen
class Conduct:
    """What becomes of one connection."""

    faults: tuple[Fault, ...] = ()
    up: Wire = Wire()
    down: Wire = Wire()
    answer: str | None = None
    """HTTP status line and headers, by lines, given instead of anything else: ``503 Busy\\r\\nRetry-After: 1``."""


class Proxy:
    """Listens while its ``async with`` block lasts; forwards to ``port`` on this computer."""

    def __init__(self, port: int, *conducts: Conduct) -> None:
        self._target = port
        self._conducts = conducts
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self.links: list[Link] = []
        """All connections so far, in order."""
        self.port = 0

    async def __aenter__(self) -> Proxy:
        self._listen(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def go_away(self, seconds: float) -> None:
        """Listen to nobody for a time: dials are refused."""
        self._spawn(self._rest(seconds))

    async def _rest(self, seconds: float) -> None:
        accepting = self._accepting
        if accepting is None:
            return  # already away
        self._accepting = None
        accepting.cancel()
        await asyncio.wait([accepting])
        # Bound and not listening: the port stays ours, and the kernel refuses whoever tries it.
        with _bound(self.port):
            await asyncio.sleep(seconds)
        self._listen(self.port)

    def _listen(self, port: int) -> None:
        listener = _bound(port)
        listener.listen()
        self.port = listener.getsockname()[1]
        self._accepting = self._spawn(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                await _somebody(listener)
                try:
                    client, _ = listener.accept()
                except (BlockingIOError, ConnectionError):  # gone again
                    continue
                client.setblocking(False)
                number = len(self.links)
                conduct = self._conducts[number] if number < len(self._conducts) else Conduct()
                link = Link(self, client, conduct)
                self.links.append(link)
                self._spawn(link.run(self._target))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: socket.socket, conduct: Conduct) -> None:
        self.broken_at: float | None = None
        """When the first fault came."""
        self._proxy = proxy
        self._client = client
        self._conduct = conduct
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[Act | None] = self._loop.create_future()
        self._flows: dict[Way, Flow] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._left = 0

    @property
    def messages(self) -> dict[Way, int]:
        """Whole text messages that came, each way."""
        return {way: flow.frames.messages for way, flow in self._flows.items()}

    async def run(self, port: int) -> None:
        """Forward until both ends are gone, or a fault ends it."""
        with self._client as client, socket.socket() as gateway:
            _tune(client)
            _tune(gateway)
            try:
                if self._conduct.answer is not None:
                    await self._answer(self._conduct.answer)
                    return
                await self._loop.sock_connect(gateway, ("127.0.0.1", port))
            except OSError:
                return
            self._flows = {
                Way.UP: Flow(self, client, gateway, self._conduct.up),
                Way.DOWN: Flow(self, gateway, client, self._conduct.down),
            }
            for fault in self._conduct.faults:
                self._flows[fault.at.way].expect(fault)
            for flow in self._flows.values():
                self._start(flow.read())
                self._start(flow.write())
            try:
                how = await self._over
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._part(how, gateway)

    def left(self) -> None:
        """One direction has passed everything on, its end included."""
        self._left += 1
        if self._left == len(self._flows):
            self._end(None)

    def suffer(self, fault: Fault) -> None:
        """Do what a fault says, or begin to wait for its time."""
        if fault.at.seconds:
            self._start(self._strike_later(fault))
        else:
            self._strike(fault)

    def mend(self) -> None:
        """Let move again what stalls."""
        for flow in self._flows.values():
            flow.moving.set()

    async def _strike_later(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at.seconds)
        self._strike(fault)

    def _strike(self, fault: Fault) -> None:
        self.broken_at = self.broken_at or time.monotonic()
        flow = self._flows[fault.at.way]
        if fault.act is Act.MUTE:
            flow.muted = True
        elif fault.act is Act.STALL:
            flow.moving.clear()
            if fault.lasting is not None:
                self._start(self._move_later(flow, fault.lasting))
        else:
            if fault.lasting is not None:
                self._proxy.go_away(fault.lasting)
            self._end(fault.act)

    async def _move_later(self, flow: Flow, seconds: float) -> None:
        await asyncio.sleep(seconds)
        flow.moving.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._loop.create_task(self._guard(work)))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except OSError:
            self._end(Act.RESET)  # one end was reset: the other is told

    def _end(self, how: Act | None) -> None:
        if not self._over.done():
            self._over.set_result(how)

    async def _part(self, how: Act | None, gateway: socket.socket) -> None:
        if how is None:
            return
        _reset(gateway)
        if how is Act.RESET:
            _reset(self._client)
            return
        with contextlib.suppress(OSError):
            if how is Act.FIN:
                self._client.shutdown(socket.SHUT_WR)
            # Read on, for the kernel answers what nobody reads with a reset.
            while await self._loop.sock_recv(self._client, _BLOCK):
                pass

    async def _answer(self, answer: str) -> None:
        head = b""
        while _HEAD_END not in head:
            if not (data := await self._loop.sock_recv(self._client, _BLOCK)):
                return
            head += data
        await self._loop.sock_sendall(self._client, f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode())


class Flow:
    """One direction of a connection."""

    def __init__(self, link: Link, source: socket.socket, sink: socket.socket, wire: Wire) -> None:
        self.frames = Frames()
        self.muted = False
        self.moving = asyncio.Event()
        self.moving.set()
        self._link = link
        self._source = source
        self._sink = sink
        self._wire = wire
        self._faults: list[Fault] = []  # whose message did not come yet
        self._places: list[tuple[int, Fault]] = []  # by bytes from the beginning, the next one first
        # What is under way, each with the time before which it does not arrive; empty data is the end.
        self._queue: asyncio.Queue[tuple[float, bytes | Fault]] = asyncio.Queue(16)

    def expect(self, fault: Fault) -> None:
        """Take a fault whose place will come."""
        if fault.at.messages:
            self._faults.append(fault)
        else:
            self._place(fault.at.bytes, fault)

    async def read(self) -> None:
        """Take from the source, and find the places of faults in it."""
        loop = asyncio.get_running_loop()
        position = 0
        while self._places and self._places[0][0] == position:
            await self._put(self._places.pop(0)[1])
        while True:
            await self.moving.wait()
            data = await loop.sock_recv(self._source, _BLOCK)
            if not data:
                await self._put(b"")
                return
            for count, end in self.frames.feed(data):
                for fault in self._faults:
                    if fault.at.messages == count:
                        self._place(end + fault.at.bytes, fault)
            end = position + len(data)
            while self._places and self._places[0][0] <= end:
                place, fault = self._places.pop(0)
                if place > position:
                    await self._put(data[: place - position])
                    data = data[place - position :]
                    position = place
                await self._put(fault)
            if data:
                await self._put(data)
            position = end

    async def write(self) -> None:
        """Deliver to the sink, at the speed of the wire."""
        loop = asyncio.get_running_loop()
        while True:
            due, item = await self._queue.get()
            await asyncio.sleep(due - time.monotonic())
            await self.moving.wait()
            if isinstance(item, Fault):
                self._link.suffer(item)
            elif self.muted:
                continue
            elif not item:
                self._sink.shutdown(socket.SHUT_WR)
                self._link.left()
                return
            else:
                for start in range(0, len(item), self._wire.slices):
                    await self.moving.wait()
                    part = item[start : start + self._wire.slices]
                    await loop.sock_sendall(self._sink, part)
                    await asyncio.sleep(len(part) / self._wire.bandwidth)

    async def _put(self, item: bytes | Fault) -> None:
        await self._queue.put((time.monotonic() + self._wire.latency, item))

    def _place(self, position: int, fault: Fault) -> None:
        self._places.append((position, fault))
        self._places.sort(key=lambda place: place[0])


class Frames:
    """Finds where the text messages of one direction end."""

    def __init__(self) -> None:
        self.messages = 0
        self._position = 0  # of what waits, in bytes from the beginning
        self._waiting = bytearray()
        self._head = True
        self._left = 0  # bytes of the frame under way
        self._text = False

    def feed(self, data: bytes) -> list[tuple[int, int]]:
        """Give the number and the end of each text message that ends in ``data``."""
        self._waiting += data
        ends = []
        while self._advance():
            if self._text and not self._left:
                self._text = False
                self.messages += 1
                ends.append((self.messages, self._position))
        return ends

    def _advance(self) -> bool:
        waiting = self._waiting
        if self._head:
            end = waiting.find(_HEAD_END)
            if end >= 0:
                self._head = False
                self._consume(end + len(_HEAD_END))
            return end >= 0
        if self._left:
            size = min(self._left, len(waiting))
            self._left -= size
            self._consume(size)
            return size > 0
        if len(waiting) < 2:
            return False
        short = waiting[1] & 0x7F
        head = 2 + (0 if short < 126 else 2 if short == 126 else 8)
        if len(waiting) < head:
            return False
        size = short if short < 126 else int.from_bytes(waiting[2:head], "big")
        self._text = waiting[0] & 0x0F == _TEXT
        self._left = size + (4 if waiting[1] & 0x80 else 0)
        self._consume(head)
        return True

    def _consume(self, size: int) -> None:
        del self._waiting[:size]
        self._position += size


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BLOCK)  # a stall is felt soon
    bound.setblocking(False)
    bound.bind(("127.0.0.1", port))
    return bound


def _tune(end: socket.socket) -> None:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # slices stay slices


def _reset(end: socket.socket) -> None:
    """Close with a TCP reset."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()


async def _somebody(listener: socket.socket) -> None:
    """Wait for a connection, and leave it to the caller: cancelled while accepting, asyncio would drop it unclosed."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    loop.add_reader(listener, came.set)
    try:
        await came.wait()
    finally:
        loop.remove_reader(listener)
