"""Speech-to-text for asyncio, on aiohttp.

One task per connection attempt (``_link``) dials, receives and reports facts; one beside it (``_flush``) writes; one
timer (``_arm``) waits for the core's deadline. What is sent, when and why is decided in ``lkstt_proto``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self

from lkstt_proto import Action, Connect, Connection, Disconnect, Event, Ping, SpeechEvent, SpeechEventType
from lkstt_proto.audio import as_bytes
from lkstt_transports.aiohttp_connector import AiohttpConnector
from lkstt_transports.base import BaseStream, BaseSTT, join_finals
from lkstt_transports.common import Closed, Connector, Socket, closing_facts, largest_message

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["STT", "AiohttpConnector", "SpeechStream"]

_PUSHES_PER_TURN = 16  # pushes that need no writing, after which other tasks get a turn nevertheless
# Turns of the loop between a timer and its judgement, so that what the socket already holds is heard first. Three do
# for every loop: timers may run before sockets are read, and a reader wakes a turn after that.
_TURNS_TO_HEAR = 3


class SpeechStream(BaseStream):
    """One stream of audio in and events out; made by ``STT.stream``.

    Iterate it for speech events alone, or ``events()`` for everything; both take from the same queue. It runs until
    ``end_input`` was answered, ``aclose`` was called, or it failed.
    """

    def __init__(self, connection: Connection, connector: Connector, max_message: int) -> None:
        super().__init__(connection)
        self._connector = connector
        self._max_message = max_message
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dial: asyncio.Task[dict[str, Any]] | None = None
        self._socket: Socket | None = None
        self._writing = False  # a write is pending, or will never end
        self._work = asyncio.Event()  # for the writer: there is something to take
        self._news = asyncio.Event()  # for readers: there are events, or never will be
        self._readers = 0
        self._moved = asyncio.Event()  # for everybody else: look again
        self._waiting = 0
        self._pushes = 0
        self._timer: asyncio.Handle | None = None
        self._armed = float("inf")
        connection.start(self._now())
        self._act()

    # For applications.

    async def push_audio(self, pcm: Buffer) -> None:
        """Push audio, waiting for room; other tasks get a turn.

        ``pcm``: signed 16-bit little-endian mono at the stream's rate, of any length. When cancelled, what had room
        stays pushed. Raises the stream's error once it failed, and LocalProtocolError after the end of input.
        """
        data = as_bytes(pcm)
        while True:
            room = self._connection.room
            self.push_audio_nowait(data[:room])
            data = data[room:]
            if not data:
                break
            await self._wait()
        self._pushes += 1
        if self._connection.pending or self._pushes % _PUSHES_PER_TURN == 0:
            await asyncio.sleep(0)

    def events(self) -> AsyncIterator[Event]:
        """Iterate over speech events and stream events; after the last one the stream's error is raised, if any."""
        return _Events(self._next_event)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SpeechEvent:
        while not isinstance(event := await self._next_event(), SpeechEvent):
            pass
        return event

    async def aclose(self) -> None:
        """End the stream now: politely, and if that takes too long or is cancelled, at once.

        Events that came until then can still be read. Calling it again changes nothing.
        """
        self._kept.extend(self._connection.take_events())  # so that the last ones are heard
        self._connection.close(self._now())
        self._act()
        try:
            while not self._connection.finished:
                await self._wait()
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

    # After any input: take the actions, take the events, look at the deadline.

    def _now(self) -> float:
        return self._loop.time()

    def _act(self) -> None:
        if self._connection.pending:
            if self._socket is None:
                self._obey(self._connection.take_actions(self._now()))
            elif self._writing:
                self._obey(self._connection.take_actions(self._now(), 0))
            else:
                self._work.set()
        self._look()

    def _obey(self, actions: list[Action]) -> None:
        """Do what cannot wait for the writer, or has none."""
        for action in actions:
            if isinstance(action, Connect):
                self._dial = self._spawn(self._link(action))
                self._dial.add_done_callback(self._closed)
            elif isinstance(action, Disconnect):
                self._cut()
            elif isinstance(action, Ping) and self._socket is not None:
                self._spawn(self._ping(self._socket))

    def _cut(self) -> None:
        if self._dial is not None:
            self._dial.cancel()

    def _look(self) -> None:
        if self._readers:
            self._kept.extend(self._connection.take_events())
            if self._kept or self._connection.finished:
                self._news.set()
        if self._waiting:
            self._moved.set()
        self._arm()

    async def _next_event(self) -> Event:
        while (event := self._take_kept()) is None:
            if self._connection.finished:
                self._raise_failure()
                raise StopAsyncIteration
            self._news.clear()
            self._readers += 1
            try:
                await self._news.wait()
            finally:
                self._readers -= 1
        return event

    async def _wait(self) -> None:
        """Wait until something changed."""
        self._moved.clear()
        self._waiting += 1
        try:
            await self._moved.wait()
        finally:
            self._waiting -= 1

    # The clock.

    def _arm(self) -> None:
        """Have the timer go off at the deadline or before: too early is harmless, and cheaper than a new timer."""
        deadline = self._connection.deadline
        if self._timer is not None and (deadline is None or deadline < self._armed):
            self._timer.cancel()
            self._timer = None
        if self._timer is None and deadline is not None:
            self._armed = deadline
            self._timer = self._loop.call_at(deadline, self._due, _TURNS_TO_HEAR)

    def _due(self, turns: int) -> None:
        if turns:
            self._timer = self._loop.call_soon(self._due, turns - 1)
            return
        self._timer = None
        # A coarse clock may still be short of the time that it was waited for.
        self._connection.handle_timeout(max(self._now(), self._armed))
        self._act()

    # The link.

    async def _link(self, connect: Connect) -> dict[str, Any]:
        """Live one transport from dial to end; give the arguments of ``transport_closed``."""
        connection = self._connection
        try:
            request = connect.request(time.time())
            async with self._connector.open(request, self._max_message) as socket:
                self._socket = socket
                self._writing = False
                connection.transport_opened(self._now())
                writer = self._spawn(self._flush(socket))
                self._act()
                try:
                    while True:
                        while not connection.readable:
                            await self._wait()
                        received = await socket.receive()
                        if isinstance(received, Closed):
                            return received._asdict()
                        self._hand_in(received)
                finally:
                    writer.cancel()
        except Exception as error:  # whatever a transport raises is a fact for the core
            return closing_facts(error)

    def _closed(self, dial: asyncio.Task[dict[str, Any]]) -> None:
        """The link's task ended, or was cancelled before it began: report it."""
        self._socket = self._dial = None
        self._connection.transport_closed(self._now(), **({} if dial.cancelled() else dial.result()))
        self._act()

    async def _flush(self, socket: Socket) -> None:
        """Be the one writer of a transport: whatever the core gives, in its order."""
        while True:
            self._work.clear()
            actions = self._connection.take_actions(self._now())
            self._look()
            if not actions:
                await self._work.wait()
                continue
            self._writing = True
            for action in actions:
                try:
                    if isinstance(action, bytes):
                        await socket.send_text(action)
                    elif isinstance(action, Ping):
                        await socket.ping()
                    elif isinstance(action, Disconnect) and not action.abort:
                        await socket.close(action.code)
                    else:
                        self._cut()
                except Exception:
                    # The receiving side tells what happened, after everything that came before it. A write that
                    # never ends is all that the core needs to know.
                    return
            self._writing = False

    async def _ping(self, socket: Socket) -> None:
        with contextlib.suppress(Exception):  # as in _flush
            await socket.ping()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class _Events:
    """An iterator that may be left and dropped at any time."""

    def __init__(self, next_event: Callable[[], Awaitable[Event]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Event]:
        return self._next_event()


class STT(BaseSTT[SpeechStream]):
    """Speech-to-text through a LiveKit Inference gateway, for asyncio."""

    _own_connector: AiohttpConnector | None = None

    def stream(self, *, language: str | None = None) -> SpeechStream:
        """Open a stream; it connects at once. ``language`` is for this stream alone.

        Must be called where an event loop runs. Raises LocalProtocolError after ``aclose``.
        """
        connection = self._make_connection(language, asyncio.get_running_loop().time())
        if self._connector is None:
            self._connector = self._own_connector = AiohttpConnector()
        stream = SpeechStream(connection, self._connector, largest_message(self._limits))
        self._streams.add(stream)
        return stream

    async def recognize(self, pcm: Buffer, *, language: str | None = None) -> SpeechEvent:
        """Transcribe a whole recording; give one final event with all its text and words.

        ``pcm``: signed 16-bit little-endian mono. Raises what a stream raises.
        """
        data = as_bytes(pcm)
        finals: list[SpeechEvent] = []
        if len(data) > 1:
            async with self.stream(language=language) as stream:
                pushing = asyncio.create_task(_push_all(stream, data))
                try:
                    finals = [event async for event in stream if event.type is SpeechEventType.FINAL_TRANSCRIPT]
                finally:
                    pushing.cancel()
                    await asyncio.gather(pushing, return_exceptions=True)  # iteration raises what it raises
        return join_finals(finals, language or self._options.language)

    async def aclose(self) -> None:
        """Close all streams, then the connector unless it was given. Calling it again changes nothing."""
        self._closed = True
        try:
            await asyncio.gather(*(stream.aclose() for stream in tuple(self._streams)))
        finally:
            if self._own_connector is not None:
                await self._own_connector.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


async def _push_all(stream: SpeechStream, pcm: memoryview) -> None:
    await stream.push_audio(pcm)
    stream.end_input()
