"""Speech-to-text for asyncio, on aiohttp.

One task per connection attempt (``_link``) dials, receives and reports facts; one beside it (``_flush``) writes what
could not be written at once; one timer (``_arm``) waits for the core's deadline. What is sent, when and why is decided
in ``lkstt_proto``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self

from lkstt_proto import Connection, Event, Request, SpeechEvent
from lkstt_transports.base import AsyncSTT
from lkstt_transports.common import DONE, Connector, Socket
from lkstt_transports.stream import AsyncStream

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

    from lkstt_transports.aiohttp_connector import AiohttpConnector

__all__ = ["STT", "AiohttpConnector", "SpeechStream"]

# Turns of the loop between a timer and its judgement, so that what the socket already holds is heard first. Three do
# for every loop: timers may run before sockets are read, and a reader wakes a turn after that.
_TURNS_TO_HEAR = 3


class _Lot(set[asyncio.Future[None]]):
    """Where tasks wait to be woken, all at once."""

    async def park(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.add(future)
        try:
            await future
        finally:
            self.discard(future)

    def unpark_all(self) -> None:
        for future in self:
            if not future.done():
                future.set_result(None)


class SpeechStream(AsyncStream[_Lot]):
    def __init__(self, connection: Connection, connector: Connector, max_message: int) -> None:
        self._loop = asyncio.get_running_loop()
        # What asyncio's own loops do, without a call of theirs.
        now = time.monotonic if type(self._loop).time is asyncio.BaseEventLoop.time else self._loop.time
        super().__init__(connection, _Lot, now)
        self._connector = connector
        self._max_message = max_message
        self._tasks: set[asyncio.Task[Any]] = set()
        self._link_task: asyncio.Task[None] | None = None
        self._timer: asyncio.Handle | None = None

    async def push_audio(self, pcm: Buffer) -> None:
        rest = self._push(pcm)
        if rest is None:
            return
        while rest:
            await self._moved.park()
            rest = self._push(rest)
        await asyncio.sleep(0)

    async def __anext__(self) -> SpeechEvent:
        while True:
            event = self._take_event()
            if event is None:
                await self._news.park()
            elif isinstance(event, SpeechEvent):
                return event

    async def _next_event(self) -> Event:
        while (event := self._take_event()) is None:
            await self._news.park()
        return event

    async def aclose(self) -> None:
        self._begin_close()
        try:
            while not self._connection.finished:
                await self._done.park()
        finally:
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _linger(self) -> None:
        self._loop.call_soon(self._calm_down)  # cheaper than to wake the writer

    # The clock.

    def _arm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline < float("inf"):
            self._timer = self._loop.call_at(deadline, self._due, deadline, _TURNS_TO_HEAR)

    def _due(self, deadline: float, turns: int) -> None:
        if turns:
            self._timer = self._loop.call_soon(self._due, deadline, turns - 1)
            return
        self._timer = None
        # A coarse clock may still be short of the time that it was waited for.
        self._time_out(max(self._now(), deadline))

    # The link.

    def _dial(self, request: Request) -> None:
        self._link_task = self._spawn(self._link(request))
        self._link_task.add_done_callback(self._gone)

    def _cut(self) -> None:
        if self._link_task is not None:
            self._link_task.cancel()

    def _ping(self) -> None:
        self._spawn(self._ping_beside(self._socket))

    async def _link(self, request: Request) -> None:
        """Live one transport from dial to end."""
        try:
            async with self._connector.open(request, self._max_message) as socket:
                self._opened(socket)
                writer = self._spawn(self._flush())
                try:
                    ended = False
                    while not ended:
                        while not self._connection.readable:
                            await self._moved.park()
                        ended = self._hand_in(await socket.receive())
                finally:
                    writer.cancel()
        except Exception as error:
            self._fail(error)

    def _gone(self, _link: asyncio.Task[None]) -> None:
        """The link's task ended, or was cancelled before it began."""
        self._link_task = None
        self._closed()

    async def _flush(self) -> None:
        """Wait for what the socket does not do at once."""
        with contextlib.suppress(Exception):  # see _write
            while True:
                while (stuck := self._take_stuck()) is DONE:
                    await self._work.park()
                await stuck
                self._write()
                self._act()
        self._mute = True

    async def _ping_beside(self, socket: Socket) -> None:
        with contextlib.suppress(Exception):  # as in _flush
            await socket.ping()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class STT(AsyncSTT[SpeechStream]):
    """Speech-to-text through a LiveKit Inference gateway, for asyncio.

    Streams are made where an event loop runs, and connect at once.
    """

    def _connectors(self) -> Callable[[], AiohttpConnector]:
        # Not before: most of the import's time is aiohttp's, and whoever brings a connector does without it.
        from lkstt_transports.aiohttp_connector import AiohttpConnector

        return AiohttpConnector

    def _make_stream(self, language: str | None) -> SpeechStream:
        # Where no event loop runs there is no clock, and this raises RuntimeError.
        connection = self._make_connection(language, asyncio.get_running_loop().time())
        return SpeechStream(connection, *self._way_to_link)

    def _begin(self, stream: SpeechStream) -> None:
        self._register(stream)
        stream._start()

    async def recognize(self, pcm: Buffer, *, language: str | None = None) -> SpeechEvent:
        async with self._recording(pcm, language) as stream:
            return self._joined([event async for event in stream], language)

    async def aclose(self) -> None:
        try:
            await asyncio.gather(*(stream.aclose() for stream in self._registered(closing=True)))
        finally:
            if self._own_connector is not None:
                await self._own_connector.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def __getattr__(name: str) -> object:
    if name == "AiohttpConnector":
        from lkstt_transports.aiohttp_connector import AiohttpConnector

        return AiohttpConnector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
