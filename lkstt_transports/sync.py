"""Speech-to-text for programs that block, and for threads.

Each stream has one lock and one thread. The thread (``_live``) dials, waits for the socket and the core's deadline, and
receives; whoever holds the lock, an application's thread as well, writes as far as the socket takes it (``_flush``).
What is sent, when and why is decided in ``lkstt_proto``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Self

from lkstt_proto import Connection, Event, LocalProtocolError, Request, SpeechEvent, Stats
from lkstt_proto.audio import as_bytes
from lkstt_transports.base import BaseSTT
from lkstt_transports.socket_connector import Opened, Socket, WebSocketConnector
from lkstt_transports.stream import BaseStream

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["STT", "SpeechStream", "WebSocketConnector"]

_MESSAGES_PER_TURN = 64  # received in a row, after which other threads get a turn
_NOTHING = object()


class _Lot:
    """Where threads wait to be woken, all at once. All of it needs the stream's lock, which ``park`` lets go of."""

    def __init__(self, lock: threading.RLock) -> None:
        self._condition = threading.Condition(lock)
        self._parked = 0

    def __len__(self) -> int:
        return self._parked

    def park(self, seconds: float | None = None) -> None:
        self._parked += 1
        try:
            self._condition.wait(seconds)
        finally:
            self._parked -= 1

    def unpark_all(self) -> None:
        self._condition.notify_all()


class SpeechStream(BaseStream[_Lot]):
    """One stream of audio in and events out; made by ``STT.stream``.

    Iterate it for speech events alone, or ``events()`` for everything; both take from the same queue. It runs until
    ``end_input`` was answered, ``aclose`` was called, or it failed. Any number of threads may use it.
    """

    _over = StopIteration

    def __init__(self, connection: Connection, connector: Any, max_message: int) -> None:
        self._lock = threading.RLock()
        super().__init__(connection, partial(_Lot, self._lock))
        self._connector = connector
        self._max_message = max_message
        self._wanted: Request | None = None
        self._link: Socket | None = None
        self._cutting = False  # the link, or the one that is wanted
        self._doing: Iterator[Any] | None = None  # what the writer has begun, None when it cannot go on
        self._idle = _Lot(self._lock)  # for the thread, while there is no link
        self._waiting = False  # the thread is, and would have to be woken
        self._deaf = False  # it waits, and not for the peer, since nobody reads
        self._iterated = False
        # A daemon: a stream that nobody closed must not keep the program from ending.
        self._thread = threading.Thread(target=self._live, name="lkstt-stream", daemon=True)

    @property
    def stats(self) -> Stats:
        """Counters and latencies, a frozen snapshot."""
        with self._lock:
            return super().stats

    def push_audio(self, pcm: Buffer) -> None:
        """Push audio, waiting for room.

        ``pcm``: signed 16-bit little-endian mono at the stream's rate, of any length. Raises the stream's error once it
        failed, and LocalProtocolError after the end of input, or when it would wait for ever because the stream is full
        of events and nothing was ever iterated; what had room stays pushed.
        """
        with self._lock:
            rest = self._push(as_bytes(pcm))
            while rest:
                if not (self._iterated or self._connection.readable):
                    raise LocalProtocolError(
                        "there is no room for more audio until somebody reads the events: iterate over the stream in "
                        "another thread, or between pushes",
                        phase="session",
                    )
                self._moved.park()
                rest = self._push(rest)

    def events(self) -> Iterator[Event]:
        """Iterate over speech events and stream events; after the last one the stream's error is raised, if any."""
        return _Events(self._next_event)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SpeechEvent:
        while not isinstance(event := self._next_event(), SpeechEvent):
            pass
        return event

    def _next_event(self) -> Event:
        with self._lock:
            self._iterated = True
            while (event := self._take_event()) is None:
                self._news.park()
            return event

    def aclose(self) -> None:
        """End the stream now: politely, and if that takes too long or is interrupted, at once.

        Events that came until then can still be read. Calling it again changes nothing.
        """
        with self._lock:
            self._begin_close()
            try:
                while not self._connection.finished:
                    self._moved.park()
            finally:
                self._cut()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.aclose()

    # Inputs, which may come from any thread.

    def _wish(self, method: Callable[..., None], *arguments: Any, **changes: Any) -> None:
        with self._lock:
            super()._wish(method, *arguments, **changes)

    def _offer(self, changes: dict[str, Any]) -> None:
        with self._lock:
            super()._offer(changes)

    def _feed(self, data: memoryview) -> None:
        with self._lock:
            super()._feed(data)

    def _begin_close(self) -> None:
        with self._lock:
            super()._begin_close()

    # From here on whoever calls has the lock.

    def _look(self) -> None:
        super()._look()
        if self._deaf and self._connection.readable:
            self._wake()

    def _wake(self) -> None:
        """Have the thread look again."""
        if self._waiting:
            self._waiting = False
            if self._link is None:
                self._idle.unpark_all()
            else:
                self._link.wake()

    def _wait(self) -> None:
        """Wait for the link, for the deadline, or to be woken; be deaf to the link if nobody reads."""
        seconds = None if self._armed in (None, inf) else max(0.0, self._armed - self._now())
        self._waiting = True
        if self._link is None:
            self._idle.park(seconds)
        else:
            self._deaf = not self._connection.readable
            receiving = not self._deaf
            self._lock.release()
            try:
                self._link.wait(seconds, receiving=receiving)
            finally:
                self._lock.acquire()
        self._waiting = self._deaf = False

    # The clock.

    def _now(self) -> float:
        return time.monotonic()

    def _arm(self, deadline: float) -> None:  # noqa: ARG002 (the thread looks at what is armed when it waits)
        self._wake()

    def _judge(self) -> None:
        """Look at the clock, after all that has arrived was handed in."""
        now = self._now()
        if self._armed is not None and self._armed <= now:
            self._time_out(now)

    # The link.

    def _dial(self, request: Request) -> None:
        self._wanted = request
        self._cutting = False
        self._wake()

    def _cut(self) -> None:
        self._cutting = True
        self._wake()

    def _ping(self) -> None:
        with suppress(Exception):  # as in _flush
            self._socket.ping()

    def _live(self) -> None:
        """Open one link after another, until the stream is over."""
        with self._lock:
            self._start()
            while not self._connection.finished:
                if self._wanted is None:
                    self._wait()
                    self._judge()
                else:
                    self._use(self._wanted)

    def _use(self, request: Request) -> None:
        """Live one transport from dial to end."""
        self._wanted = None
        try:
            with self._connector.open(request, self._max_message) as self._link:
                while not self._hear(self._link):
                    if self._writing:
                        self._flush()
                    self._judge()
                    if self._cutting:
                        break
                    self._wait()
        except Exception as error:
            self._fail(error)
        finally:
            self._link = self._doing = None
            self._closed()

    def _hear(self, link: Socket) -> bool:
        """Hand in what has come; tell whether that was the end of it."""
        heard = 0
        while not self._cutting and self._connection.readable and (received := link.receive()) is not None:
            if isinstance(received, Opened):
                self._doing = self._deeds(link)
                self._opened(link)
            elif self._hand_in(received):
                return True
            heard += 1
            if heard % _MESSAGES_PER_TURN == 0:
                self._lock.release()
                time.sleep(0)
                self._lock.acquire()
        return False

    def _wake_writer(self) -> None:
        self._flush()

    def _flush(self) -> None:
        """Be the writer of the open link, as far as it takes anything."""
        try:
            while self._doing is not None and not self._socket.sending:
                if next(self._doing, _NOTHING) is _NOTHING:
                    self._doing = self._deeds(self._socket)
                    return
        except Exception:  # see _deeds
            self._doing = None
        self._wake()  # to wait until the socket takes more


class _Events:
    """An iterator that may be left and dropped at any time."""

    def __init__(self, next_event: Callable[[], Event]) -> None:
        self._next_event = next_event

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return self._next_event()


class STT(BaseSTT[SpeechStream]):
    """Speech-to-text through a LiveKit Inference gateway, for programs that block; any number of threads may use it."""

    def _make_stream(self, language: str | None) -> SpeechStream:
        connection = self._make_connection(language, time.monotonic())
        return SpeechStream(connection, *self._link_by(WebSocketConnector))

    def _begin(self, stream: SpeechStream) -> None:
        self._register(stream)
        stream._thread.start()

    def recognize(self, pcm: Buffer, *, language: str | None = None) -> SpeechEvent:
        """Transcribe a whole recording; give one final event with all its text and words.

        ``pcm``: signed 16-bit little-endian mono. Raises what a stream raises.
        """
        with self._recording(pcm, language) as stream:
            return self._joined(stream, language)

    def aclose(self) -> None:
        """Close all streams, then the connector unless it was given. Calling it again changes nothing."""
        streams = self._registered(closing=True)
        for stream in streams:
            stream._begin_close()  # all together
        for stream in streams:
            stream.aclose()
        if self._own_connector is not None:
            self._own_connector.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.aclose()
