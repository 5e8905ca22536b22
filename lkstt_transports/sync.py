"""Speech-to-text for programs that block, and for threads.

Each stream has one lock and one thread. The thread gives the stream its turns (``_turn``): to dial, to receive, to look
at the clock; in between it waits, for the socket and the core's deadline at once. Whoever holds the lock, an
application's thread as well, writes as far as the socket takes it (``_write``); what a burst of pushes leaves, the
thread does a few milliseconds later. What is sent, when and why is decided in ``lkstt_proto``.

While it waits, the thread does not hold the stream: one that nobody closed and nobody has any more is cut off, and its
thread ends. A stream belongs to the process that made it: after ``os.fork`` leave it to the parent. A signal handler
that wants to close one raises an exception, or leaves it to another thread: it may have interrupted the stream itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Self

from lkstt_proto import Connection, Event, LocalProtocolError, Request, SpeechEvent, Stats
from lkstt_proto.sender import BURST
from lkstt_transports.base import BaseSTT
from lkstt_transports.locks import Lock
from lkstt_transports.socket_connector import Opened, Socket, WebSocketConnector
from lkstt_transports.stream import BaseStream
from lkstt_transports.threads import Deed, Lot, Pause, Turns

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = ["STT", "SpeechStream", "WebSocketConnector"]

_MESSAGES_PER_TURN = 64  # received in a row, after which other threads get a turn


class SpeechStream(BaseStream[Lot]):
    """One stream of audio in and events out; made by ``STT.stream``.

    Iterate it for speech events alone, or ``events()`` for everything; both take from the same queue. It runs until
    ``end_input`` was answered, ``aclose`` was called, it failed, or was dropped. Any number of threads may use it.
    """

    _over = StopIteration

    def __init__(self, connection: Connection, connector: Any, max_message: int) -> None:
        super().__init__(connection, Lot, time.monotonic)
        self._lock = Lock()
        self._connector = connector
        self._max_message = max_message
        self._wanted: Request | None = None
        self._link: Socket | None = None
        self._pause = Pause()  # instead of a link
        self._cutting = False  # the link, or the one that is wanted
        self._waiting = False  # the thread is, and would have to be woken
        self._deaf = False  # it waits, and not for the peer, since nobody reads
        self._iterated = False
        self._crash: BaseException | None = None  # why there are no more turns
        self._thread = Turns(self._turn)

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
        while True:
            with self._lock:
                if self._crash is not None:
                    raise self._crash
                rest = self._push(pcm)
                if rest is None:
                    return
                if not rest:
                    self._act()  # what a burst has pushed goes out together
                    return
                pcm = rest
                if not (self._iterated or self._connection.readable):
                    raise LocalProtocolError(
                        "there is no room for more audio until somebody reads the events: iterate over the stream in "
                        "another thread, or between pushes",
                        phase="session",
                    )
                wait = self._queue_up(self._moved)
            wait()

    def push_audio_nowait(self, pcm: Buffer) -> None:
        with self._lock:
            if self._crash is not None:
                raise self._crash
            super().push_audio_nowait(pcm)

    def events(self) -> Iterator[Event]:
        """Iterate over speech events and stream events; after the last one the stream's error is raised, if any.

        An iterator may be left and dropped at any time.
        """
        return iter(self._next_event, None)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SpeechEvent:
        while not isinstance(event := self._next_event(), SpeechEvent):
            pass
        return event

    def _next_event(self) -> Event:
        while True:
            with self._lock:
                self._iterated = True
                event = self._take_event()
                if event is not None:
                    return event
                wait = self._queue_up(self._news)
            wait()

    def aclose(self) -> None:
        """End the stream now: politely, and if that takes too long or is interrupted, at once.

        Events that came until then can still be read. Calling it again changes nothing.
        """
        try:
            self._begin_close()
            if self._thread.is_alive():
                self._thread.join()
        finally:
            with self._lock:
                self._cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.aclose()

    # Inputs, which may come from any thread.

    def _begin(self) -> None:
        with self._lock:
            if not self._connection.finished:  # closed before it began
                self._start()
                self._thread.start()

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
            self._listen_again()

    # From here on whoever calls has the lock.

    def _queue_up(self, lot: Lot) -> Deed:
        self._raise_failure()
        return lot.queue_up()

    def _raise_failure(self) -> None:
        super()._raise_failure()
        if self._crash is not None:
            raise self._crash

    def _take_event(self) -> Event | None:
        event = super()._take_event()
        self._listen_again()
        return event

    def _listen_again(self) -> None:
        """Wake the thread if it is deaf, once events were taken."""
        if self._deaf and self._connection.readable:
            self._wake()

    def _wake(self) -> None:
        """Have the thread take a turn."""
        if self._waiting:
            self._thread.place.wake()
            self._waiting = False  # not before: an interrupt in between would leave it asleep

    def _linger(self) -> None:
        self._wake()  # to wait no longer than for a burst's next message

    def _calm_down(self) -> None:
        pushed = self._connection.pending
        super()._calm_down()
        # As long as more comes and goes, to look again costs less than to be woken again.
        self._hurried = pushed and not self._connection.pending

    # The clock.

    def _arm(self, deadline: float) -> None:  # noqa: ARG002 (the thread looks at what is armed when it waits)
        self._wake()

    # The thread's turn.

    def _turn(self, trouble: BaseException | None) -> Deed | None:
        """Do all that there is to do; give what waits until there is more, None when there never is.

        ``trouble``: what the last wait raised.
        """
        with self._lock:
            self._waiting = self._deaf = False
            try:
                if self._cutting or trouble is not None:
                    self._leave(trouble)
                if self._wanted is not None:
                    self._open(self._wanted)
                more = self._link is not None and self._receive(self._link)
                if self._writing and not self._mute and self._socket is not None and not self._socket.sending:
                    self._write()
                    self._act()
                # The clock comes after all that has arrived; but in a flood that never ends, after each turn.
                now = self._now()
                if self._hurried and self._pushed_at + BURST <= now:
                    self._calm_down()
                if self._armed is not None and self._armed <= now:
                    self._time_out(now)
            except BaseException as error:  # no connector's: a bug, of which callers have to hear
                self._crash = error
                self._news.unpark_all()
                self._moved.unpark_all()
                return None
            if self._connection.finished:
                return None
            at_once = more or self._cutting or self._wanted is not None
            return partial(time.sleep, 0) if at_once else self._patience()

    def _patience(self) -> Deed:
        """Give what waits for the link, for the deadline, or to be woken; deaf to the link if nobody reads."""
        until = self._armed if self._armed is not None else inf
        if self._hurried:
            until = min(until, self._pushed_at + BURST)
        seconds = None if until == inf else max(0.0, until - self._now())
        self._deaf = self._enough
        self._waiting = True
        self._thread.place = self._pause if self._link is None else self._link
        return partial(self._thread.place.wait, seconds, receiving=not self._deaf)

    # The link.

    def _dial(self, request: Request) -> None:
        self._wanted = request
        self._cutting = False
        self._wake()

    def _cut(self) -> None:
        self._cutting = True
        self._wake()

    def _ping(self) -> None:
        with suppress(Exception):  # see _write
            self._socket.ping()

    def _open(self, request: Request) -> None:
        try:
            self._link = self._thread.link.enter_context(self._connector.open(request, self._max_message))
            self._wanted = None
        except Exception as error:
            self._leave(error)

    def _leave(self, error: BaseException | None = None) -> None:
        """Let go of the link, or of the wish for one, and tell that it is gone."""
        self._cutting = False
        if self._link is None and self._wanted is None:
            return
        try:
            self._thread.link.close()
        except Exception as trouble:
            error = trouble
        if error is not None:
            self._fail(error)
        self._wanted = self._link = None
        self._closed()

    @property
    def _enough(self) -> bool:
        """Whether nothing more is wanted of an open link for now, since nobody reads."""
        return self._socket is not None and not self._connection.readable

    def _receive(self, link: Socket) -> bool:
        """Hand in what has come; tell whether there may be more."""
        for _ in range(_MESSAGES_PER_TURN):
            if self._cutting or self._enough:
                return False
            try:
                received = link.receive()
            except Exception as error:
                self._leave(error)
                return False
            if received is None:
                return False
            if isinstance(received, Opened):
                self._opened(link)
            elif self._hand_in(received):
                self._leave()
                return False
        return True

    def _has_to_wait(self) -> bool:
        sending: bool = self._socket.sending
        return sending

    def _wait_to_write(self) -> None:
        self._wake()  # to wait until the socket takes more


class STT(BaseSTT[SpeechStream]):
    """Speech-to-text through a LiveKit Inference gateway, for programs that block; any number of threads may use it."""

    def _connectors(self) -> Callable[[], WebSocketConnector]:
        return WebSocketConnector

    def _make_stream(self, language: str | None) -> SpeechStream:
        connection = self._make_connection(language, time.monotonic())
        return SpeechStream(connection, *self._way_to_link)

    def _begin(self, stream: SpeechStream) -> None:
        self._register(stream)
        stream._begin()

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
