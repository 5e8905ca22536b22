"""The bare clients, which are the floors: the least that can be done on the same library.

They collect what is pushed, and per 50 ms encode and send a message; they receive, decode, and hand the text over. No
state, no timers, no ping, and nothing is done where something goes wrong.

On trio and anyio there are two. *Bare* writes to what the library gives for a connection, where each write is a turn of
the scheduler. *Direct* takes the socket out of it and writes there, as lkstt does.
"""

from __future__ import annotations

import json
import socket
from binascii import b2a_base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from job import Heard, Job, Open, Spawn, Stream
from workload import MESSAGE_BYTES

CREATE = (
    b'{"type":"session.create","model":"deepgram/nova-3","settings":{"sample_rate":"16000","encoding":"pcm_s16le"}}'
)
READ_BYTES = 65536


class Codec:
    """Base64 and JSON, as fast as the extra makes them or as the standard library does."""

    def __init__(self, *, speed: bool) -> None:
        self.encode: Callable[[bytes | bytearray], bytes] = partial(b2a_base64, newline=False)
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

    def hear(self, data: Any) -> None:
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


Send = Callable[[bytes], Awaitable[Any] | None]
Receive = Callable[[int], Awaitable[bytes]]


async def bare_framed(connect: Callable[[str, int], Awaitable[tuple[Send, Receive]]], job: Job, spawn: Spawn) -> Open:
    """Open streams on what ``connect`` gives: what sends and what receives."""
    codec = Codec(speed=job.speed)

    async def finish(sending: Awaitable[Any] | None) -> None:
        if sending is not None:
            await sending

    async def listen(framed: Framed, receive: Receive) -> None:
        while True:
            framed.receive(await receive(READ_BYTES))

    async def open_one(heard: Heard) -> Stream:
        framed = Framed(job.url, codec, heard)
        send, receive = await connect(framed.uri.host, framed.uri.port)

        def push(pcm: bytes) -> Awaitable[Any] | None:
            data = framed.push(pcm)
            return None if data is None else send(data)

        await finish(send(framed.upgrade()))
        framed.receive(await receive(READ_BYTES))
        await finish(send(framed.create()))
        spawn(listen, framed, receive)
        return Stream(push, push)

    return open_one


async def bare_trio(job: Job, spawn: Spawn) -> Open:
    import trio

    async def connect(host: str, port: int) -> tuple[Send, Receive]:
        stream = await trio.open_tcp_stream(host, port)
        tcp = stream.socket

        # The stream's own methods also translate errors, at 20,000 instructions a call.
        async def send(data: bytes) -> None:
            sent = await tcp.send(data)
            if sent < len(data):
                await stream.send_all(data[sent:])

        return send, tcp.recv

    return await bare_framed(connect, job, spawn)


async def bare_anyio(job: Job, spawn: Spawn) -> Open:
    import anyio

    async def connect(host: str, port: int) -> tuple[Send, Receive]:
        stream = await anyio.connect_tcp(host, port)
        return stream.send, stream.receive

    return await bare_framed(connect, job, spawn)


class Direct:
    """A connected socket, of which the library only tells when it can be read and written."""

    def __init__(self, tcp: socket.socket, library: Any) -> None:
        tcp.setblocking(False)
        self._tcp = tcp
        self._library = library  # has wait_readable and wait_writable

    def send(self, data: bytes) -> Awaitable[None] | None:
        try:
            data = data[self._tcp.send(data) :]
        except BlockingIOError:
            return self._send_rest(data)
        return self._send_rest(data) if data else None

    async def _send_rest(self, data: bytes) -> None:
        while data:
            await self._library.wait_writable(self._tcp)
            data = data[self._tcp.send(data) :]

    async def receive(self, most: int) -> bytes:
        await self._library.wait_readable(self._tcp)
        return self._tcp.recv(most)


async def direct_trio(job: Job, spawn: Spawn) -> Open:
    import trio

    async def connect(host: str, port: int) -> tuple[Send, Receive]:
        stream = await trio.open_tcp_stream(host, port)
        direct = Direct(socket.socket(fileno=stream.socket.detach()), trio.lowlevel)
        return direct.send, direct.receive

    return await bare_framed(connect, job, spawn)


async def direct_anyio(job: Job, spawn: Spawn) -> Open:
    import anyio
    from anyio.abc import SocketAttribute

    streams = []  # they close their sockets when they are forgotten

    async def connect(host: str, port: int) -> tuple[Send, Receive]:
        stream = await anyio.connect_tcp(host, port)
        streams.append(stream)
        direct = Direct(stream.extra_attributes[SocketAttribute.raw_socket]().dup(), anyio)
        return direct.send, direct.receive

    return await bare_framed(connect, job, spawn)


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
