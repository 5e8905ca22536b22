"""Speech-to-text for anyio, on asyncio and on trio.

A stream lives in a task group: that of its ``STT`` if that was entered, else that of its own ``async with``. There it
has a task (``_live``) with a task group of its own: for each link one that dials and receives (``_link``) and one that
writes what could not be written at once (``_flush``), and one (``_clock``) that sleeps until the core's deadline. What
is sent, when and why is decided in ``lkstt_proto``.
"""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from math import inf
from typing import TYPE_CHECKING, Self

import anyio
from anyio import CancelScope
from anyio.abc import SocketAttribute, TaskGroup
from anyio.lowlevel import checkpoint

from lkstt_proto import Connection, Event, LocalProtocolError, Request, SpeechEvent
from lkstt_transports.base import AsyncSTT
from lkstt_transports.common import DONE, Closed, Connector, Received, Socket
from lkstt_transports.stream import AsyncStream
from lkstt_transports.websocket import Dialer, TcpSocket

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["STT", "SpeechStream", "WebSocketConnector"]

# Turns of the event loop between a timer and its judgement, so that what the socket already holds is heard first: a
# reader that was woken together with the timer may come after it.
_TURNS_TO_HEAR = 3
# And between the peer's farewell and the end, so that a writer which is not stuck sends ours.
_TURNS_TO_ANSWER = 3


class _Lot(set[anyio.Event]):
    """Where tasks wait to be woken, all at once."""

    async def park(self) -> None:
        flag = anyio.Event()
        self.add(flag)
        try:
            await flag.wait()
        finally:
            self.discard(flag)

    def unpark_all(self) -> None:
        for flag in self:
            flag.set()
        self.clear()


def _clock() -> Callable[[], float]:
    """Give what ``anyio.current_time`` looks for each time anew: the clock of the event loop that runs."""
    clock: Callable[[], float]
    if (trio := sys.modules.get("trio")) is not None:
        with contextlib.suppress(RuntimeError):  # it is not trio that runs
            clock = trio.lowlevel.current_clock().current_time
            return clock
    clock = sys.modules["asyncio"].get_running_loop().time
    return clock


class _Home(ABC):
    """What has a task group of its own while it is entered."""

    _own: TaskGroup | None = None

    @abstractmethod
    async def aclose(self) -> None: ...

    async def _move_in(self) -> TaskGroup:
        self._own = anyio.create_task_group()
        return await self._own.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.aclose()
        finally:
            own, self._own = self._own, None
            if own is not None:
                # It is empty. An error of the block is none of its business, and so does not become a group.
                await own.__aexit__(None, None, None)


class SpeechStream(AsyncStream[_Lot], _Home):
    def __init__(self, connection: Connection, connector: Connector, max_message: int) -> None:
        super().__init__(connection, _Lot, _clock())
        self._connector = connector
        self._max_message = max_message
        self._tasks: TaskGroup  # of its background, and the link's within that
        self._link_tasks: TaskGroup
        # Shielded: a stream ends when whoever uses it is done with it, which cancelling them brings about.
        self._life = CancelScope(shield=True)
        self._link_scope = CancelScope()
        self._alarm = CancelScope()
        self._gone: anyio.Event | None = None  # once it lives: it lives no more

    async def push_audio(self, pcm: Buffer) -> None:
        rest = self._push(pcm)
        if rest is None:  # a look each time whether it is cancelled costs more than all the rest
            return
        while rest:
            await self._park(self._moved)
            rest = self._push(rest)
        await checkpoint()

    async def __anext__(self) -> SpeechEvent:
        while not isinstance(event := await self._next_event(), SpeechEvent):
            pass
        return event

    async def _next_event(self) -> Event:
        await checkpoint()  # before one is taken, so that none gets lost
        while (event := self._take_event()) is None:
            await self._park(self._news)
        return event

    async def _park(self, lot: _Lot) -> None:
        if self._gone is None:
            raise LocalProtocolError("nothing runs this stream: open it with `async with`", phase="configure")
        await lot.park()

    async def aclose(self) -> None:
        self._begin_close()
        if self._gone is None:
            return
        try:
            while not self._connection.finished:
                await self._done.park()
        finally:
            self._life.cancel()
            with CancelScope(shield=True):
                await self._gone.wait()

    async def __aenter__(self) -> Self:
        if self._gone is None:
            self._begin(await self._move_in())
        return self

    # The clock.

    def _arm(self, deadline: float) -> None:
        self._alarm.deadline = deadline

    async def _clock(self) -> None:
        while True:
            with CancelScope(deadline=inf if self._armed is None else self._armed) as self._alarm:
                await anyio.sleep_forever()
            for _ in range(_TURNS_TO_HEAR):
                await checkpoint()
            self._time_out(self._now())

    # The link.

    def _begin(self, tasks: TaskGroup) -> None:
        self._gone = anyio.Event()
        tasks.start_soon(self._live, self._gone)

    async def _live(self, gone: anyio.Event) -> None:
        """Run all that goes on in the background, until the stream is over."""
        try:
            with self._life:
                async with anyio.create_task_group() as self._tasks:
                    self._start()
                    self._tasks.start_soon(self._clock)
                    while not self._connection.finished:
                        await self._done.park()
                    self._tasks.cancel_scope.cancel()
        finally:
            gone.set()

    def _dial(self, request: Request) -> None:
        self._link_scope = CancelScope()  # may be cancelled before it is entered
        self._tasks.start_soon(self._link, request, self._link_scope)

    def _cut(self) -> None:
        self._link_scope.cancel()

    def _ping(self) -> None:
        self._link_tasks.start_soon(self._ping_beside, self._socket)

    async def _link(self, request: Request, scope: CancelScope) -> None:
        """Live one transport from dial to end."""
        try:
            with scope:
                async with (
                    self._connector.open(request, self._max_message) as socket,
                    anyio.create_task_group() as self._link_tasks,
                ):
                    self._opened(socket)
                    self._link_tasks.start_soon(self._flush)
                    ended = False
                    while not ended:
                        while not self._connection.readable:
                            await self._moved.park()
                        ended = self._hand_in(await socket.receive())
                    self._link_tasks.cancel_scope.cancel()
        except* Exception as errors:
            self._fail(errors)
        finally:
            self._closed()

    async def _flush(self) -> None:
        """Wait for what the socket does not do at once, and send what a burst has pushed."""
        with contextlib.suppress(Exception):  # see _write
            while True:
                while (stuck := self._take_stuck()) is DONE:
                    if self._hurried:
                        self._calm_down()
                    else:
                        await self._work.park()
                await stuck
                self._write()
                self._act()
        self._mute = True

    async def _ping_beside(self, socket: Socket) -> None:
        with contextlib.suppress(Exception):  # as in _flush
            await socket.ping()


class STT(AsyncSTT[SpeechStream], _Home):
    """Speech-to-text through a LiveKit Inference gateway, for anyio.

    Once it is entered its streams connect where they are made. Otherwise each connects where it is entered itself.
    """

    _tasks: TaskGroup | None = None

    def _connectors(self) -> Callable[[], WebSocketConnector]:
        return WebSocketConnector

    def _make_stream(self, language: str | None) -> SpeechStream:
        connection = self._make_connection(language, anyio.current_time())
        return SpeechStream(connection, *self._way_to_link)

    def _begin(self, stream: SpeechStream) -> None:
        self._register(stream)
        if self._tasks is not None:
            stream._begin(self._tasks)

    async def recognize(self, pcm: Buffer, *, language: str | None = None) -> SpeechEvent:
        async with self._recording(pcm, language) as stream:
            return self._joined([event async for event in stream], language)

    async def aclose(self) -> None:
        async with anyio.create_task_group() as tasks:
            for stream in self._registered(closing=True):
                tasks.start_soon(stream.aclose)
        if self._own_connector is not None:
            await self._own_connector.aclose()

    async def __aenter__(self) -> Self:
        self._tasks = await self._move_in()
        return self


class WebSocketConnector(Dialer):
    """Opens WebSockets over anyio's streams."""

    @contextlib.asynccontextmanager
    async def open(self, request: Request, max_message: int) -> AsyncIterator[Socket]:
        """Connect; see ``Connector.open``."""
        websocket = self.begin(request, max_message)
        stream = await anyio.connect_tcp(*websocket.address)
        try:
            # The stream stays out of it: each of its writes is a turn of the scheduler.
            with stream.extra_attributes[SocketAttribute.raw_socket]().dup() as tcp:
                socket = _Socket(websocket, tcp)
                await socket.open()
                yield socket
        finally:
            with CancelScope(shield=True):  # it does not wait; cancelled, it would not let go of what is still unsent
                await stream.aclose()

    async def aclose(self) -> None:
        """Let go of everything, which is nothing."""


class _Socket(TcpSocket):
    """A WebSocket that waits as anyio does."""

    async def open(self) -> None:
        await self._write()
        while not self._websocket.opened:
            await self._read()

    async def receive(self) -> Received:
        while (received := self._websocket.receive()) is None:
            await self._read()
        if isinstance(received, Closed):
            for _ in range(_TURNS_TO_ANSWER):
                await checkpoint()
        return received

    async def _read(self) -> None:
        await anyio.wait_readable(self._tcp)
        self._take_in()
        with contextlib.suppress(Exception):  # what is left to receive comes first
            await self._write()

    async def _send_rest(self) -> None:
        if self._waiting:
            return
        self._waiting = True
        try:
            while self._unsent:
                await anyio.wait_writable(self._tcp)
                self._send()
        finally:
            self._waiting = False
