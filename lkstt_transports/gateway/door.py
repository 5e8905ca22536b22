"""Listens, and stands between the sockets and the HTTP server until a client has shown its token.

A connection serves one request: an answer closes it, or it becomes a WebSocket. So there is one deadline and no
pipelining, bodies and whatever else follows the headers reach nobody, and a monitor takes a place for a moment only.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast

from .doorkeeper import Doorkeeper, DoorLimits, origin_of
from .framing import FrameGuard
from .metrics import Metrics

_log = logging.getLogger(__name__)

_BACKLOG = 1024  # a crowd waits here while those before it are asked what they want
_OUT_OF_FILES_SECONDS = 0.1  # before another accept is tried; somebody may have hung up by then
_AT_ONCE = 4  # so many are let in in one turn of the event loop, however many wait
_END_OF_HEAD = b"\r\n\r\n"
_EARLY_BYTES = 64 * 1024  # of frames sent before the upgrade was answered, which a client should not do
_METHOD = re.compile(rb"[A-Z]{0,16}(?: |\Z)")  # what a request begins with, so far
_NOT_HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

# A peer that is gone without a word, as after a power cut, is noticed after a minute: by the kernel, so that no client
# has to know pings. Names that a system does not have are left out.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPALIVE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class Connection(asyncio.Protocol):
    """One client, in front of the HTTP server's own protocol for it."""

    def __init__(self, door: Door, accepted: socket.socket, origin: str, since: float) -> None:
        """Take a socket that was accepted at `since`."""
        self.origin = origin
        self.since = since
        self._door = door
        self.accepted = accepted
        self._transport: asyncio.Transport | None = None
        # The server's own protocol, which costs more than a silent connection is worth, once there is a request.
        self._server: asyncio.Protocol | None = None
        self._head: bytearray | None = bytearray()
        self._early = bytearray()
        self._guard: FrameGuard | None = None
        self._again: asyncio.Handle | None = None

    @property
    def asked(self) -> bool:
        """Whether its request is here, and the answer is our business."""
        return self._head is None

    @property
    def verdict(self) -> int | None:
        """The close code for frames that may not be, once some came.

        The session sees a close frame in their place, behind everything that was said before.
        """
        return None if self._guard is None else self._guard.verdict

    def dismiss(self) -> None:
        """Close at once, whatever it was about to do."""
        if self._transport is not None:
            self._transport.abort()
        else:
            with suppress(OSError):
                self.accepted.shutdown(socket.SHUT_RDWR)

    def upgrade(self, message_bytes: int) -> None:
        """It is a WebSocket now, of a client that has shown its token: no visitor any more."""
        self._door.leave(self)
        self._guard = FrameGuard(message_bytes)
        early, self._early = self._early, bytearray()
        self.data_received(bytes(early))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open, with TLS if there is some."""
        self._transport = cast("asyncio.Transport", transport)
        _keep_alive(self.accepted)

    def data_received(self, data: bytes) -> None:
        """Pass on what the server may see."""
        if self._head is not None:
            self._head += data
            self._look(self._head, len(data))
        elif self._guard is None:
            # Beyond that nobody has sent frames; it is a body, or rubbish.
            self._early += data[: _EARLY_BYTES - len(self._early)]
        else:
            self._pass_on(self._guard, data)

    def eof_received(self) -> bool | None:
        """The client sends no more: nothing will come of it."""
        return None

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._server is not None:
            self._server.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._server is not None:
            self._server.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._door.leave(self)
        if self._again is not None:
            self._again.cancel()
        if self._server is not None:
            self._server.connection_lost(exc)

    def _look(self, head: bytearray, new: int) -> None:
        end = head.find(_END_OF_HEAD, max(0, len(head) - new - len(_END_OF_HEAD) + 1))
        end = end + len(_END_OF_HEAD) if end >= 0 else len(head) + 1
        if min(end, len(head)) > self._door.limits.head_bytes:
            self._head = None
            self._refuse(_TOO_LONG)
        elif end <= len(head):
            self._head, self._early = None, head[end:]
            self._serve(bytes(head[:end]))
        elif not _METHOD.match(head):
            self._head = None
            self._refuse(_NOT_HTTP)

    def _serve(self, request: bytes) -> None:
        self._server = self._door.new_protocol()
        self._server.connection_made(cast("asyncio.Transport", self._transport))
        self._server.data_received(request)

    def _pass_on(self, guard: FrameGuard, data: bytes) -> None:
        # What the guard keeps is read nevertheless: left unread, it would make the kernel drop our last words.
        data = guard.take(data)
        if data and self._server is not None:
            self._server.data_received(data)
        if guard.more and self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._go_on, guard)

    def _go_on(self, guard: FrameGuard) -> None:
        self._again = None
        self._pass_on(guard, b"")

    def _refuse(self, answer: bytes) -> None:
        transport = cast("asyncio.Transport", self._transport)
        transport.write(answer)
        if transport.can_write_eof():
            # What comes is still read: left unread, it would make the kernel drop the answer.
            transport.write_eof()
        else:
            transport.close()


class Door:
    """Accepts connections, and closes what overstays."""

    def __init__(
        self,
        limits: DoorLimits,
        new_protocol: Callable[[], asyncio.Protocol],
        metrics: Metrics,
        *,
        tls: ssl.SSLContext | None,
        goodbye: float,
    ) -> None:
        """`new_protocol` makes the server's end of a connection; `goodbye` is for the last words of TLS, in seconds."""
        self.limits = limits
        self.new_protocol = new_protocol
        self._keeper: Doorkeeper[Connection] = Doorkeeper(limits)
        self._timers: dict[Connection, asyncio.TimerHandle] = {}
        self._metrics = metrics
        self._tls = tls
        self._goodbye = goodbye
        self._listeners: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = asyncio.Event()

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen at every address of `host`, and give the first with its port. Raises OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            at = (*address[:1], port, *address[2:])
            listener = socket.create_server(at, family=family, backlog=_BACKLOG)
            listener.setblocking(False)
            self._listeners.append(listener)
            port = port or listener.getsockname()[1]  # the same one everywhere
        for listener in self._listeners:
            self._start(self._accept(listener))
        first: tuple[str, int] = self._listeners[0].getsockname()[:2]
        return first

    async def close(self) -> None:
        """Accept no more, and end what is not yet a connection of the server."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listener in self._listeners:
            listener.close()
        for connection in list(self._timers):
            if not connection.asked:  # the server knows the others, and answers them
                self.leave(connection)
                connection.dismiss()

    def leave(self, connection: Connection) -> None:
        """It is closed, or no visitor any more. Safe to call twice."""
        self._keeper.leave(connection)
        timer = self._timers.pop(connection, None)
        if timer is not None:
            timer.cancel()
        self._metrics.visitors = len(self._keeper)
        self._left.set()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for count in itertools.count(1):
            try:
                accepted, address = await loop.sock_accept(listener)
            except OSError as error:
                _log.error("a connection could not be accepted: %s", error.strerror)
                await asyncio.sleep(_OUT_OF_FILES_SECONDS)
                continue
            try:
                await self._make_room()
            except BaseException:
                accepted.close()
                raise
            self._let_in(Connection(self, accepted, origin_of(address[0]), loop.time()))
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _make_room(self) -> None:
        loop = asyncio.get_running_loop()
        while (oldest := self._keeper.make_room()) is not None:
            moment_over = oldest.since + self.limits.moment
            if moment_over <= loop.time():
                self._turn_out(oldest, "crowd")
                continue
            self._left.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(moment_over):
                    await self._left.wait()

    def _let_in(self, connection: Connection) -> None:
        self._keeper.enter(connection)
        self._metrics.visitors = len(self._keeper)
        self._wait_until(connection.since + min(self.limits.arriving, self.limits.head), connection, self._settle)
        self._thin_out(connection.origin, connection.since)
        self._start(self._connect(connection))

    async def _connect(self, connection: Connection) -> None:
        limits = {"ssl_handshake_timeout": self.limits.head, "ssl_shutdown_timeout": self._goodbye} if self._tls else {}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, connection.accepted, ssl=self._tls, **limits
            )
        except (OSError, asyncio.CancelledError):
            # A handshake that came to nothing, or a server that stops.
            self.leave(connection)
            connection.dismiss()

    def _wait_until(self, time: float, connection: Connection, then: Callable[[Connection, float], None]) -> None:
        self._timers[connection] = asyncio.get_running_loop().call_at(time, then, connection, time)

    def _settle(self, connection: Connection, now: float) -> None:
        self._wait_until(connection.since + self.limits.head, connection, self._overdue)
        self._thin_out(connection.origin, now)

    def _overdue(self, connection: Connection, _now: float) -> None:
        self._turn_out(connection, "deadline")

    def _thin_out(self, origin: str, now: float) -> None:
        for connection in self._keeper.crowding(origin, now):
            self._turn_out(connection, "crowd")

    def _turn_out(self, connection: Connection, reason: str) -> None:
        self._metrics.turned_out[reason] += 1
        self.leave(connection)
        connection.dismiss()


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError):  # a system that knows the name and not the option
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
