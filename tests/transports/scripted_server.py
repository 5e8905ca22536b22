"""A gateway on loopback, in a thread and event loop of its own, so that adapters of any runtime can be pointed at it.

Each connection gets the next act of a script; the last one is repeated. An act that speaks the protocol stands on
``lkstt_proto.Gateway``; the others misbehave on purpose.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from ssl import SSLContext
from typing import Any, ClassVar, Self

from attrs import define, field

from lkstt_proto import (
    AudioReceived,
    CloseRequested,
    Disconnect,
    FinalizeRequested,
    Gateway,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    TimedWord,
)

RATE = 16000

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@define
class Visit:
    """One TCP connection: the bytes, the frames, and what a gateway would make of them."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str = ""
    """The HTTP request, without its body."""
    messages: int = 0
    """Text messages that came."""
    audio: bytearray = field(factory=bytearray)
    """What ``input_audio`` brought."""
    sessions: list[SessionRequested] = field(factory=list)
    settings: list[dict[str, Any]] = field(factory=list)
    """What ``session.update`` brought."""
    pongs: list[bytes] = field(factory=list)
    close_requested: bool = False
    close_code: int | None = None
    """Of the client's close frame."""
    gateway: Gateway = field(factory=Gateway)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def read_head(self) -> None:
        self.head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")

    def answer(self, status: str, *headers: str, body: bytes = b"") -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
        self.writer.write("\r\n".join((*lines, "", "")).encode() + body)

    def upgrade(self) -> None:
        fields = dict(line.split(": ", 1) for line in self.head.split("\r\n")[1:] if ": " in line)
        key = next(value for name, value in fields.items() if name.lower() == "sec-websocket-key")
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
        accept = base64.b64encode(digest).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade")
        self.writer.write("\r\n".join((*lines, f"Sec-WebSocket-Accept: {accept}", "", "")).encode())

    def send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        if size > 0xFFFF:
            length = b"\x7f" + struct.pack(">Q", size)
        else:
            length = bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size)
        self.writer.write(bytes([0x80 | opcode]) + length + payload)

    async def receive(self) -> tuple[int, bytes]:
        """One frame of the client: never fragmented, always masked."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x80
        assert second & 0x80
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        whole = size // 4 + 1
        masked = int.from_bytes(payload, "big") ^ int.from_bytes((mask * whole)[:size], "big")
        return first & 0x0F, masked.to_bytes(size, "big")

    def cut(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()

    async def hear(self) -> list[Any]:
        """Take one frame; give what the gateway makes of it. Pings are answered, a close frame ends the visit."""
        opcode, payload = await self.receive()
        if opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self.send(CLOSE, payload)
            raise EOFError
        if opcode == PING:
            self.send(PONG, payload)
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == TEXT:
            self.messages += 1
            self.gateway.receive_text(payload, self.now)
        events = self.gateway.take_events()
        for event in events:
            if isinstance(event, SessionRequested):
                self.sessions.append(event)
            elif isinstance(event, AudioReceived):
                self.audio += event.pcm
            elif isinstance(event, SettingsChanged):
                self.settings.append(dict(event.settings))
        return events

    def speak(self) -> None:
        """Send what the gateway has to say."""
        for action in self.gateway.take_actions(self.now):
            if isinstance(action, bytes):
                self.send(TEXT, action)
            elif isinstance(action, Disconnect):
                self.send(CLOSE, action.code.to_bytes(2, "big"))


Act = Callable[[Visit], Awaitable[None]]


def final(start: float, end: float) -> SpeechData:
    """A transcript that says where it lies."""
    text = f"{start:.2f}-{end:.2f}"
    return SpeechData("en", text, start, end, 0.9, words=(TimedWord(text, start, end, 0.9),))


async def gateway(
    visit: Visit,
    *,
    every: float = 1.0,
    finals: int = 1,
    on_upgrade: Callable[[Visit], None] = lambda visit: None,
    on_audio: Callable[[Visit], None] = lambda visit: None,
) -> None:
    """Accept; send finals for every so many seconds of audio, and for what a finalize leaves."""
    visit.upgrade()
    on_upgrade(visit)
    visit.gateway.transport_opened(visit.now)
    said = 0.0

    def say(end: float) -> None:
        nonlocal said
        share = (end - said) / finals
        for index in range(finals if share else 0):
            visit.gateway.transcript(final(said + index * share, said + (index + 1) * share), visit.now, final=True)
        said = end

    while True:
        for event in await visit.hear():
            if isinstance(event, SessionRequested):
                visit.gateway.accept(visit.now, session_id=f"s{id(visit)}")
            elif isinstance(event, AudioReceived):
                on_audio(visit)
                while visit.gateway.audio_seconds >= said + every:
                    say(said + every)
            elif isinstance(event, FinalizeRequested):
                say(visit.gateway.audio_seconds)
                visit.gateway.finalized(visit.now)
            elif isinstance(event, CloseRequested):
                visit.close_requested = True
                visit.gateway.close(visit.now)
        visit.speak()
        await visit.writer.drain()


def answering(status: str, *headers: str, body: bytes = b"") -> Act:
    """Make an act of an HTTP answer."""

    async def act(visit: Visit) -> None:
        visit.answer(status, *headers, body=body)

    return act


async def silent(visit: Visit) -> None:
    """Take the request and say nothing."""
    await asyncio.Event().wait()


async def deaf(visit: Visit) -> None:
    """Open the WebSocket and read nothing more."""
    visit.upgrade()
    await asyncio.Event().wait()


async def resetting(visit: Visit) -> None:
    """Answer the request with a TCP reset."""
    visit.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    visit.cut()


def saying(opcode: int, payload: bytes) -> Act:
    """Make an act that opens the WebSocket, sends one frame, and is a gateway from there on."""
    return partial(gateway, on_upgrade=lambda visit: visit.send(opcode, payload))


def cutting(seconds: float) -> Act:
    """Make an act that is a gateway until it has so many seconds of audio, and then is gone."""

    def on_audio(visit: Visit) -> None:
        if visit.gateway.audio_seconds >= seconds:
            visit.cut()
            raise EOFError

    return partial(gateway, every=0.5, on_audio=on_audio)


async def forwarding(visit: Visit) -> None:
    """Be an HTTP proxy that has no questions: connect to where the request says, and pass bytes on."""
    host, _, port = visit.head.split()[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    visit.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    try:
        await asyncio.gather(pass_on(visit.reader, writer), pass_on(reader, visit.writer))
    finally:
        writer.transport.abort()


class ScriptedServer:
    """Listens while its ``with`` block lasts."""

    ports: ClassVar[set[int]] = set()
    """Of all servers that there are now."""

    def __init__(self, *script: Act, ssl: SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script or (gateway,)
        self._ssl = ssl
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted server")
        self._visiting: set[asyncio.Task[Any]] = set()
        self._socket: socket.socket
        self.visits: list[Visit] = []
        self.port = 0

    @property
    def base_url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._ssl else 'http'}://{host}:{self.port}/v1"

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def go_away(self) -> None:
        """Cut all connections and refuse new ones."""
        self.call(self._go_away())

    def come_back(self) -> None:
        """Listen again, at the same port."""
        self.call(self._listen())

    def __enter__(self) -> Self:
        self._socket = self._bound(0)
        self.port = self._socket.getsockname()[1]
        self.ports.add(self.port)
        self._thread.start()
        self.call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()
        self.ports.discard(self.port)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._socket, ssl=self._ssl)

    async def _go_away(self) -> None:
        visiting = tuple(self._visiting)
        for task in visiting:
            task.cancel()
        await asyncio.gather(*visiting)
        self._server.close()
        # Bound and not listening: the kernel refuses whoever tries, and gives the port to nobody else.
        self._socket = self._bound(self.port)

    def _bound(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio speeds up what says it is TCP
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self._host, port))
        return bound

    async def _close(self) -> None:
        """Leave nothing behind, neither visits nor whoever did not get as far as one."""
        loop: Any = self._loop
        for milliseconds in range(1000):
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            transports = [transport for transport in loop._transports.values() if transport._sock is not None]
            if not tasks and not transports:
                break
            # Visits whose client has gone end by themselves; asyncio's own tasks, which accept, do so always.
            if milliseconds > 100:
                for task in self._visiting:
                    task.cancel()
                for transport in transports:
                    transport.abort()
            await asyncio.sleep(0.001)
        self._server.close()  # not before: asyncio forgets a socket that it was just accepting
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visiting.add(task)
        visit = Visit(reader, writer)
        act = self._script[min(len(self.visits), len(self._script) - 1)]
        self.visits.append(visit)
        try:
            await visit.read_head()
            await act(visit)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()
            writer.transport.abort()
            self._visiting.discard(task)
