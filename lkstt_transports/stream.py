"""What the streams of all adapters have in common: what is done between one wait and the next. Nothing here waits.

An adapter adds a clock, tasks and sockets, and waits. Rules and durations of the protocol stay in the core.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from math import inf, nan
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

from lkstt_proto import (
    UNCHANGED,
    Connect,
    Connection,
    Disconnect,
    Event,
    LocalProtocolError,
    Ping,
    Request,
    Stats,
)
from lkstt_proto.actions import Action
from lkstt_proto.secrecy import discreet
from lkstt_proto.sender import BURST
from lkstt_proto.settings import Unchanged
from lkstt_transports.common import DONE, Binary, Pong, Received, Text, closing_facts

if TYPE_CHECKING:
    from typing_extensions import Buffer


# What may be pushed before others get a turn, in bytes: some 0.7 s at 16 kHz, for which they wait a third of a
# millisecond. A push weighs more than it brings, and more still where it sends; one that only fills a message, nothing.
_TURN = 24_000
_PUSH = 100
_SEND = 1_000

_TEXTS = {bytes}  # the types of actions that are nothing else


class Lot(Protocol):
    """Where whoever waits for something is woken, all at once: trio's ParkingLot is one.

    It also has a way to ``park``, which each runtime writes in its own manner.
    """

    def unpark_all(self) -> object:
        """Wake all who wait now."""

    def __len__(self) -> int: ...


LotT = TypeVar("LotT", bound=Lot)


class BaseStream(ABC, Generic[LotT]):
    """The part of a stream that does not wait: what an adapter does between one wait and the next.

    An adapter brings the clock, the timer, the waiting and the link: it dials, calls ``_opened`` once, ``_hand_in``
    with all that comes, ``_fail`` with what is raised, and in any case ``_closed``. What the core wants of the socket
    is done at once, by whoever caused it; a writer waits for what the socket does not take at once, and goes on from
    there. Only in a burst, what is pushed goes out together, in the writer's next turn (``_calm_down``) or with
    whatever happens before that. Events stay in the core until somebody wants them.
    """

    _over: ClassVar[type[Exception]] = StopAsyncIteration  # ends an iteration

    def __init__(self, connection: Connection, lot: Callable[[], LotT], now: Callable[[], float]) -> None:
        self._connection = connection
        self._now = now  # reads the monotonic clock
        self._kept: deque[Event] = deque()  # taken from the core, and not yet given away
        self._socket: Any = None  # of the open link
        self._facts: dict[str, Any] = {}  # how that link ended
        self._undone: Iterator[Action | list[bytes]] = iter(())  # taken from the core for that link
        self._writing = False  # something of that is under way, or will never end
        self._mute = False  # it never will: the writer of this link has failed
        self._stuck: Awaitable[Any] = DONE  # what the writer is to wait for, before it goes on
        self._send: Any = None  # has the socket send a text, and gives what has to be waited for
        self._sends_together = False  # the socket sends many of them at once
        self._deadline: float | None = nan  # the core's, when it was looked at last
        self._armed: float | None = inf  # when the timer goes off; None once it did
        self._rest = memoryview(b"")  # what ``_feed`` has not pushed yet
        self._feeding = False
        self._work = lot()  # for the writer: there is something to wait for, or to calm down
        self._news = lot()  # for readers: there are events, or never will be
        self._moved = lot()  # for who waits for room, or to be read: look again
        self._done = lot()  # for who waits for the end of the stream
        self._until_turn = _TURN  # of what is pushed
        self._pushed_at = -inf  # when messages that pushes have filled were last sent, or held back
        self._hurried = False  # what is pushed now goes out together, a little later

    # What an adapter brings.

    @abstractmethod
    def _arm(self, deadline: float) -> None:
        """Have the one timer go off at that time, and no more at another; infinity is never."""

    @abstractmethod
    def _dial(self, request: Request) -> None:
        """Begin a link."""

    @abstractmethod
    def _cut(self) -> None:
        """End the link, or abandon the dial, at once."""

    @abstractmethod
    def _ping(self) -> None:
        """Ping beside a write that is pending."""

    # For applications.

    @property
    def stats(self) -> Stats:
        """Counters and latencies, a frozen snapshot."""
        return self._connection.stats

    def push_audio_nowait(self, pcm: Buffer) -> None:
        """Push audio without waiting; where there is no room, the oldest unsent audio is dropped (AudioDropped).

        ``pcm``: signed 16-bit little-endian mono at the stream's rate, of any length. Raises the stream's error once
        it failed, and LocalProtocolError after the end of input.
        """
        try:
            rest = self._connection.send_audio(pcm, self._now())
        except LocalProtocolError:
            self._raise_failure()  # if it failed, that says more
            raise
        if rest is not None:
            self._act()

    def flush(self) -> None:
        """Send what was pushed so far without waiting for a full message. Raises as ``push_audio_nowait`` does."""
        self._wish(self._connection.flush)

    def finalize(self) -> None:
        """Ask for finals of what was pushed so far; the stream goes on. Raises as ``push_audio_nowait`` does."""
        self._wish(self._connection.finalize)

    def end_input(self) -> None:
        """Say that no more audio comes: what is left is sent and finalised, then iteration ends.

        Calling it again changes nothing. Raises the stream's error once it failed.
        """
        self._wish(self._connection.end_input)

    @discreet
    def update_options(
        self,
        *,
        model: str | Unchanged = UNCHANGED,
        language: str | Unchanged = UNCHANGED,
        extra: Mapping[str, Any] | Unchanged = UNCHANGED,
        keyterms: list[str] | Unchanged = UNCHANGED,
    ) -> None:
        """Change settings of the live session and of those that follow it.

        Raises LocalProtocolError, and changes nothing, for what a live stream cannot take.
        """
        changes = {"model": model, "language": language, "extra": extra, "keyterms": keyterms}
        self._wish(self._connection.update_options, **changes)

    # Inputs.

    def _wish(self, method: Callable[..., None], *arguments: Any, **changes: Any) -> None:
        self._raise_failure()
        method(*arguments, self._now(), **changes)
        self._act()

    def _offer(self, changes: dict[str, Any]) -> None:
        """Change settings, or have the stream tell that it cannot."""
        self._connection.offer_options(self._now(), **changes)
        self._act()

    def _push(self, pcm: Buffer) -> Buffer | None:
        """Push what there is room for; give the rest, which has to wait, and None where all went.

        An empty rest says that others should have a turn now.
        """
        try:
            rest = self._connection.send_audio(pcm, self._now(), False)
        except LocalProtocolError:
            self._raise_failure()  # if it failed, that says more
            raise
        if rest is None:  # it only fills a message, and changes nothing that anybody waits for
            return None
        if rest:
            return self._push_rest(memoryview(rest), memoryview(pcm).nbytes)
        if not self._hurried:
            self._act_on_push()
            self._until_turn -= _SEND
        self._until_turn -= _PUSH + (len(pcm) if type(pcm) is bytes else memoryview(pcm).nbytes)
        if self._until_turn > 0:
            return None
        self._until_turn = _TURN
        return rest

    def _act_on_push(self) -> None:
        """Send the messages that a push has filled; in a burst a little later, together with all that follow."""
        now = self._now()
        burst = now < self._pushed_at + BURST
        self._pushed_at = now
        if burst and self._socket is not None and not self._writing:
            self._linger()
            self._hurried = True  # not before: an interrupt in between would have nobody send what comes next
        else:
            self._act()

    def _linger(self) -> None:
        """Have somebody ``_calm_down``, in their next turn."""
        self._work.unpark_all()

    def _calm_down(self) -> None:
        """Send together what a burst has pushed until now."""
        self._pushed_at = self._now()
        self._hurried = False
        self._act()

    def _push_rest(self, rest: memoryview, size: int) -> memoryview:
        """See whether there is room for what is left of ``size`` bytes, once all was sent that can be."""
        connection = self._connection
        # Until nothing changes any more: two who wait for room would wake each other for ever.
        while rest and (len(rest) < size or self._hurried):
            size = len(rest)
            self._hurried = False  # what was held back goes now
            self._act()
            rest = memoryview(connection.send_audio(rest, self._now(), False) or b"")
        if not rest:
            self._act()
        return rest

    def _feed(self, data: memoryview) -> None:
        """Push all of it as room comes, and end the input behind it."""
        self._rest = data
        self._feeding = True
        self._go_on_feeding()
        self._act()

    def _go_on_feeding(self) -> None:
        connection, now = self._connection, self._now()
        try:
            self._rest = memoryview(connection.send_audio(self._rest, now, False) or b"")
            if not self._rest:
                self._feeding = False
                connection.end_input(now)
        except LocalProtocolError:  # closed meanwhile, or over
            self._feeding = False

    def _start(self) -> None:
        if not self._connection.finished:  # closed before it began
            self._connection.start(self._now())
            self._act()

    def _begin_close(self) -> None:
        if self._connection.pending:
            self._act()  # what this turn of a loop has pushed goes out before
        self._kept.extend(self._connection.take_events())  # so that the last ones are heard
        self._news.unpark_all()
        self._connection.close(self._now())
        self._act()

    def _opened(self, socket: Any) -> None:
        """The dial came through."""
        self._socket = socket
        self._send = socket.send_text
        self._sends_together = hasattr(socket, "send_texts")
        self._undone = iter(())
        self._writing = self._mute = False
        self._connection.transport_opened(self._now())
        self._act()

    def _hand_in(self, received: Received) -> bool:
        """Take what the socket gave; tell whether that was its end."""
        connection, now = self._connection, self._now()
        if isinstance(received, Text):
            connection.receive_text(received.data, now)
        elif isinstance(received, Pong):
            connection.transport_alive(now)
        elif isinstance(received, Binary):
            connection.receive_binary(received.data, now)
        else:
            self._facts = received._asdict()
            return True
        self._act()
        return False

    def _fail(self, error: BaseException) -> None:
        """Take what a connector or its socket raised: whatever it is, it is a fact for the core."""
        self._facts = closing_facts(error)

    def _closed(self) -> None:
        """The link is gone, or could not be had: the one answer to each ``_dial``."""
        facts, self._facts = self._facts, {}
        self._socket = self._send = None
        self._hurried = False
        stuck = self._take_stuck()
        if isinstance(stuck, Coroutine):
            stuck.close()  # the writer did not come to it
        self._connection.transport_closed(self._now(), **facts)
        self._act()

    def _time_out(self, now: float) -> None:
        """The timer went off, and what had arrived by then was handed in."""
        self._armed, self._deadline = None, nan
        self._connection.handle_timeout(now)
        self._act()

    # After any input: take the actions, take the events, look at the deadline.

    def _act(self) -> None:
        connection = self._connection
        if connection.pending:
            if self._socket is None or self._writing:
                self._do_what_cannot_wait()
            else:
                self._write()
        if connection.unread and self._news:
            self._kept.extend(connection.take_events())
            self._news.unpark_all()
        if self._moved:
            self._moved.unpark_all()
        deadline = connection.deadline
        if deadline is None or deadline != self._deadline:
            self._set_timer(deadline)

    def _do_what_cannot_wait(self) -> None:
        """There is no socket, or it is stuck."""
        for action in self._connection.take_actions(self._now(), None if self._socket is None else 0):
            if isinstance(action, Connect):
                self._dial(action.request(time.time()))
            elif isinstance(action, Ping):
                if not self._mute:  # or a link that takes nothing more would seem alive
                    self._ping()
            elif isinstance(action, Disconnect):
                self._cut()

    def _write(self) -> None:
        """Have the socket do what the core wants of it, until there is no more or something has to be waited for.

        When it raises, leave it at that: the receiving side tells what happened, after everything that came before it,
        and a write that never ends is all the core needs to know.
        """
        connection, send, undone = self._connection, self._send, self._undone
        self._writing = True
        try:
            while True:
                for action in undone:
                    stuck = send(action) if isinstance(action, bytes) else self._do(action)
                    if stuck is not DONE and self._has_to_wait():
                        self._undone, self._stuck = undone, stuck
                        self._wait_to_write()
                        return
                if not connection.pending:
                    break
                actions: list[Any] = connection.take_actions(self._now())
                undone = iter(_together(actions) if len(actions) > 1 and self._sends_together else actions)
                if self._feeding:
                    self._go_on_feeding()
        except Exception:
            self._mute = True
            return
        except BaseException:  # an interrupt in the middle of something: another link has it all again
            self._cut()
            raise
        self._writing = False

    def _has_to_wait(self) -> bool:
        """Whether the socket, which did not say that it is done, takes no more for now."""
        return True

    def _wait_to_write(self) -> None:
        """Have the writer wait for what is stuck."""
        self._work.unpark_all()

    def _do(self, action: Action | list[bytes]) -> Any:
        """Have the socket do something that is not just a text; give what has to be waited for."""
        if isinstance(action, list):
            return self._socket.send_texts(action)
        if isinstance(action, Ping):
            return self._socket.ping()
        if isinstance(action, Disconnect) and not action.abort:
            return self._socket.close(action.code)
        self._cut()
        return DONE

    def _take_stuck(self) -> Awaitable[Any]:
        stuck, self._stuck = self._stuck, DONE
        return stuck

    def _set_timer(self, deadline: float | None) -> None:
        self._deadline = deadline
        if deadline is None:
            deadline = inf
            if self._connection.finished:
                self._done.unpark_all()
        # A timer that goes off too early is harmless, and cheaper than a new one.
        if self._armed is None or deadline < self._armed or deadline == inf > self._armed:
            self._armed = deadline
            self._arm(deadline)

    def _take_event(self) -> Event | None:
        """Give the next event, None when there is none yet; after the last one raise the stream's error, or the end."""
        if not self._kept and self._connection.unread:
            self._kept.extend(self._connection.take_events())
            self._act()  # there is room for more
        if self._kept:
            return self._kept.popleft()
        if self._connection.finished:
            self._raise_failure()
            raise self._over
        return None

    def _raise_failure(self) -> None:
        """Raise what the stream failed with, if it did."""
        if self._connection.error is not None:
            # Raised again and again it would carry all the places where it was raised before.
            raise self._connection.error.with_traceback(None)


def _together(actions: list[Action]) -> list[Action | list[bytes]]:
    """Put the texts that come first into one action."""
    if set(map(type, actions)) == _TEXTS:  # as a rule
        return [cast("list[bytes]", actions)]
    texts = []
    for action in actions:
        if not isinstance(action, bytes):
            break
        texts.append(action)
    return [texts, *actions[len(texts) :]]


class AsyncStream(BaseStream[LotT]):
    """One stream of audio in and events out; made by ``STT.stream``.

    Iterate it for speech events alone, or ``events()`` for everything; both take from the same queue. It runs until
    ``end_input`` was answered, ``aclose`` was called, or it failed. Cancelling what waits for it loses nothing.
    """

    @abstractmethod
    async def push_audio(self, pcm: Buffer) -> None:
        """Push audio, waiting for room; other tasks get a turn.

        ``pcm``: signed 16-bit little-endian mono at the stream's rate, of any length. When cancelled, what had room
        stays pushed. Raises the stream's error once it failed, and LocalProtocolError after the end of input.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End the stream now: politely, and if that takes too long or is cancelled, at once.

        Events that came until then can still be read. Calling it again changes nothing.
        """

    @abstractmethod
    async def _next_event(self) -> Event:
        """Wait for an event and give it; raise what ``_take_event`` raises."""

    def events(self) -> AsyncIterator[Event]:
        """Iterate over speech events and stream events; after the last one the stream's error is raised, if any."""
        return _Events(self._next_event)

    def __aiter__(self) -> Self:
        return self


class _Events:
    """An iterator that may be left and dropped at any time."""

    def __init__(self, next_event: Callable[[], Awaitable[Event]]) -> None:
        self._next_event = next_event

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Event]:
        return self._next_event()
