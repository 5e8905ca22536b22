"""One client's session: a WebSocket, the core's `Gateway` and a recogniser, brought together.

Three tasks share the core. One reads the socket and hands audio to the recogniser; it waits while the recogniser is
behind, so that the socket is not read, the client is not confirmed, and back-pressure needs no queue. One relays
results. The session's own task writes, and keeps the core's deadlines.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Any, TypeVarTuple

from aiohttp import WSMessage, WSMsgType, web
from attrs import field, frozen

from lkstt_proto.actions import Action, Disconnect
from lkstt_proto.audio import SAMPLE_BYTES
from lkstt_proto.events import (
    AudioReceived,
    CloseRequested,
    FinalizeRequested,
    GatewayEvent,
    SessionRequested,
    SpeechData,
    TimedWord,
)
from lkstt_proto.gateway import Gateway, GatewayLimits
from lkstt_proto.masking import safe_text

from .door import Connection
from .faults import CloseSocket, CutTransport, FailSession, Fault, SendRaw
from .framing import TOO_LARGE
from .metrics import Metrics
from .pace import Pace, Turnstile, cost
from .recognizers.base import (
    Final,
    Finalized,
    Partial,
    Recognizer,
    RecognizerError,
    RecognizerSession,
    Result,
    StartOfSpeech,
)

Args = TypeVarTuple("Args")

_log = logging.getLogger(__name__)

# RFC 6455 7.4.1. The last two are never sent: they say what a close frame did not.
_OK = 1000
_GOING_AWAY = 1001
_NO_CODE = 1005
_NO_CLOSE = 1006

# Of the kernel's, which takes twice as much: three seconds of audio at 16 kHz, and no long work for a turn of the loop.
_UNREAD_BYTES = 64 * 1024
_LARGE_BYTES = 16 * 1024  # a frame whose decoding is felt by others; 100 ms of 48 kHz are less
# Who sends much faster than one speaks is in a hurry, and lets those pass who speak.
_CALM_SPEED, _CALM_SECONDS = 1.25, 1.0

_TOO_LARGE = "a message is too large: send less audio at a time"

_FRAMES = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)


@frozen(kw_only=True)
class SessionLimits:
    """How patient a session is, in seconds, and how fast its client may be."""

    core: GatewayLimits = field(factory=GatewayLimits)
    write: float = 10.0
    """For a client that does not read what was sent; then it is cut off."""
    flush: float = 1.5
    """For the last finals after `session.close`, or a close frame; clients wait two seconds for its answer."""
    finish: float = 5.0
    """For the last finals when the server stops."""
    speed: float = 10.0
    """Times real time, at which a client may send for ever. A faster one is read no faster."""
    burst: float = 60.0
    """Seconds of audio that it may send at any speed before: what clients keep of a cut connection."""


class _CountingGateway(Gateway):
    """Counts the errors that the core itself finds, beside those of the recogniser."""

    __slots__ = ("_metrics",)

    def __init__(self, patience: GatewayLimits, metrics: Metrics) -> None:
        super().__init__(patience=patience)
        self._metrics = metrics

    def fail(self, now: float, *, code: int, message: str) -> None:
        super().fail(now, code=code, message=message)
        self._metrics.errors[code] += 1


class GatewaySession:
    """Serves one WebSocket from its opening to its end."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        connection: Connection,
        recognizer: Recognizer,
        metrics: Metrics,
        turnstile: Turnstile,
        limits: SessionLimits,
    ) -> None:
        """Take a socket that is, or is about to be, prepared; `turnstile` is one for all sessions."""
        self.session_id = f"session_{secrets.token_hex(6)}"
        self._socket = socket
        self._transport = transport
        self._connection = connection
        self._turnstile = turnstile
        self._pace = Pace(limits.speed, limits.burst)
        self._calm = Pace(_CALM_SPEED, _CALM_SECONDS)
        self._recognizer = recognizer
        self._metrics = metrics
        self._limits = limits
        self._core = _CountingGateway(limits.core, metrics)
        self._now = asyncio.get_running_loop().time
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader: asyncio.Task[None] | None = None
        # Whether nothing is taken any more but the client's close frame, and whether that came.
        self._deaf = False
        self._farewell = asyncio.Event()
        self._closer: asyncio.Task[None] | None = None
        self._hearing: RecognizerSession | None = None
        self._rate = 0
        self._language = ""
        # Only the newest interim waits, and only while the socket is busy.
        self._interim: Partial | None = None
        # When each finalize that was not answered yet was asked for.
        self._asked: deque[float] = deque()
        # Once nothing more is to be heard: when to close, final or not.
        self._close_by: float | None = None
        # Whether that is for a message over the limit.
        self._too_large = False
        self._gone = False
        self._news = asyncio.Event()
        self._flushed = asyncio.Event()

    async def run(self) -> None:
        """Serve until the socket is gone; then `aclose` gives the recogniser back."""
        # Every byte that the kernel does not take at once is waited for: that is how a client that does not read shows.
        self._transport.set_write_buffer_limits(0)
        # And what the kernel holds unread is audio of a client that may be gone, heard for nobody.
        self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, _UNREAD_BYTES)
        self._core.transport_opened(self._now())
        self._reader = self._start(self._read)
        try:
            await self._write()
        except Exception as error:
            self._log_fault(error)
            self._cut()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._closer is not None:
            self._transport.close()  # or aiohttp would send a close frame of its own
        code = self._socket.close_code
        if not code:
            code = _NO_CLOSE if code is None else _NO_CODE
        self._core.transport_closed(self._now(), code=code)
        _log.info("%s ended with code %d after %.1f s of audio", self.session_id, code, self._core.audio_seconds)

    async def aclose(self) -> None:
        """Give the recogniser back."""
        if self._hearing is not None:
            self._metrics.recognizing -= 1
            await self._hearing.aclose()

    def finish(self) -> None:
        """Hear no more, send the finals of what was heard, and close: the server stops."""
        if self._reader is None or self._close_by is not None or self._core.closing:
            return
        if self._hearing is None:
            self._shut(_GOING_AWAY)
        else:
            self._hear_no_more()
            self._start(self._wind_up, self._hearing, self._limits.finish)

    def hang_up(self) -> None:
        """End at once: the connection is lost, or time is up."""
        self._gone = True
        self._news.set()

    # What the client says.

    async def _read(self) -> None:
        while (message := await self._socket.receive()).type in _FRAMES:
            size = len(message.data)
            if size > _LARGE_BYTES or self._calm.owed(self._now()) > _CALM_SECONDS:
                await self._turnstile.pass_through()
            seconds = cost(size, await self._take(message))
            self._calm.spend(seconds, self._now())
            wait = self._pace.spend(seconds, self._now())
            if wait:
                # Unread, the client's frames fill its own buffers. Pongs wait as well, behind the audio before them.
                self._metrics.slowed += 1
            await asyncio.sleep(wait)  # for nothing as well: whoever has sent much is not heard at one go
        self._left(message)

    async def _take(self, message: WSMessage) -> float:
        """Act on a frame, and give the seconds of audio in it."""
        if message.type is WSMsgType.PING:
            # In its turn, behind the audio before it: the client takes the pong for a receipt.
            await self._send(message.data, WSMsgType.PONG)
        elif message.type is WSMsgType.PONG:
            self._core.transport_alive(self._now())
        else:
            before = self._core.audio_seconds
            if message.type is WSMsgType.TEXT:
                self._core.receive_text(message.data, self._now())
            else:
                self._core.receive_binary(message.data, self._now())
            if self._core.pending:  # a deadline that has moved is seen when the one before it comes
                self._news.set()
            for event in self._core.take_events():
                await self._handle(event)
            return self._core.audio_seconds - before
        return 0.0

    def _hear_no_more(self) -> None:
        if self._reader is not None and not self._deaf:
            self._deaf = True
            self._reader.cancel()
            self._start(self._ignore, self._reader)

    async def _ignore(self, reader: asyncio.Task[None]) -> None:
        """Take nothing any more but the client's close. Pings go unanswered: the audio before them was not heard."""
        await asyncio.wait([reader])
        while (message := await self._socket.receive()).type in _FRAMES:
            await self._turnstile.pass_through()
        self._left(message)

    def _left(self, last: WSMessage) -> None:
        if last.type is not WSMsgType.CLOSE:
            self.hang_up()  # it is gone, or aiohttp has sent it away
            return
        if self._connection.verdict is not None and not self._deaf:
            self._send_away(self._connection.verdict)
            return
        self._deaf = True
        self._farewell.set()
        if self._close_by is not None:
            # It listens until its close is answered, and that comes behind the last finals.
            self._close_by = min(self._close_by, self._now() + self._limits.flush)
            self._news.set()
        else:
            self._shut(_OK)  # not an echo: its code may be one that none may send

    def _send_away(self, code: int) -> None:
        """End for frames that may not be. The client's own close is not to be seen behind them."""
        self._deaf = True
        if code != TOO_LARGE or self._core.closing:
            self._shut(code)
        elif self._hearing is None:
            self._fail(413, _TOO_LARGE)
        else:
            self._too_large = True
            self._start(self._wind_up, self._hearing, self._limits.flush)

    async def _handle(self, event: GatewayEvent) -> None:
        if isinstance(event, SessionRequested):
            await self._open(event)
        elif self._hearing is not None:
            await self._pass_on(event, self._hearing)

    async def _open(self, request: SessionRequested) -> None:
        began = self._now()
        self._hearing = await self._recognizer.open(sample_rate=request.sample_rate, language=request.language)
        self._metrics.recognizing += 1
        self._rate = request.sample_rate
        # A language that stands for "whatever you hear" is none to put on a transcript.
        self._language = request.language if request.language not in ("", "multi") else "en"
        self._core.accept(self._now(), session_id=self.session_id)
        self._metrics.opening.observe(self._now() - began)
        self._start(self._relay, self._hearing)
        self._news.set()

    async def _pass_on(self, event: GatewayEvent, hearing: RecognizerSession) -> None:
        if isinstance(event, AudioReceived):
            self._metrics.audio_seconds += len(event.pcm) / SAMPLE_BYTES / self._rate
            await hearing.accept(event.pcm)
        elif isinstance(event, FinalizeRequested):
            self._asked.append(self._now())
            await hearing.finalize()
        elif isinstance(event, CloseRequested):
            await self._wind_up(hearing, self._limits.flush)
        # SettingsChanged: a recogniser hears one language, and has no other settings.

    async def _wind_up(self, hearing: RecognizerSession, seconds: float) -> None:
        """Close once everything heard is final, or after `seconds`."""
        self._close_by = self._now() + seconds
        self._asked.append(self._now())
        self._news.set()
        await hearing.finalize()

    # What the recogniser says.

    async def _relay(self, hearing: RecognizerSession) -> None:
        results: AsyncIterator[Result | Fault] = aiter(hearing)
        async for result in results:
            if self._core.closing:
                return
            await self._tell(result, self._now())
            self._news.set()
            # The writer's turn: an interim is skipped for a slow socket only, never for a quick recogniser.
            await asyncio.sleep(0)

    async def _tell(self, result: Result | Fault, now: float) -> None:
        if isinstance(result, StartOfSpeech):
            self._core.start_of_speech(now)
        elif isinstance(result, Partial):
            self._interim = result
        elif isinstance(result, Final):
            self._interim = None
            self._core.transcript(self._data(result), now, final=True)
            self._metrics.finals += 1
        elif isinstance(result, Finalized):
            if self._asked:
                self._metrics.finalizing.observe(now - self._asked.popleft())
            self._core.finalized(now)
            if self._close_by is not None and not self._asked:
                self._say_goodbye(now)
        elif isinstance(result, FailSession):
            self._core.fail(now, code=result.code, message=result.message)
        else:
            await self._strike(result)

    async def _strike(self, fault: SendRaw | CloseSocket | CutTransport) -> None:
        self._flushed.clear()
        self._news.set()
        await self._flushed.wait()
        if isinstance(fault, SendRaw):
            await self._send(fault.data, WSMsgType.BINARY if fault.binary else WSMsgType.TEXT)
        elif isinstance(fault, CloseSocket):
            self._shut(fault.code)
        else:
            self._cut()

    def _data(self, result: Partial | Final) -> SpeechData:
        words = tuple(TimedWord(word.text, word.start, word.end) for word in result.words)
        return SpeechData(self._language, result.text, result.start, result.end, words=words)

    def _say_goodbye(self, now: float) -> None:
        if self._too_large:
            self._core.fail(now, code=413, message=_TOO_LARGE)
        else:
            self._core.close(now)

    # What goes out.

    async def _write(self) -> None:
        core = self._core
        while not self._gone:
            self._news.clear()
            now = self._now()
            core.handle_timeout(now)
            if not core.closing:
                if self._close_by is not None and now >= self._close_by:
                    self._say_goodbye(now)
                elif self._interim is not None and not core.pending:
                    interim, self._interim = self._interim, None
                    core.transcript(self._data(interim), now, final=False)
            actions = core.take_actions(now)
            for action in actions:
                await self._act(action)
            if not actions:
                self._flushed.set()
                await self._wait()

    async def _wait(self) -> None:
        """Wait for news, at most until something is due."""
        close_by = None if self._core.closing else self._close_by
        due = [time for time in (self._core.deadline, close_by) if time is not None]
        try:
            async with asyncio.timeout_at(min(due, default=None)):
                await self._news.wait()
        except TimeoutError:
            pass

    async def _act(self, action: Action) -> None:
        if isinstance(action, bytes):
            await self._send(action)
        elif isinstance(action, Disconnect):
            if action.abort:
                self._cut()
            else:
                self._shut(action.code)

    async def _send(self, data: bytes, kind: WSMsgType = WSMsgType.TEXT) -> None:
        if self._gone or (self._closer is not None and kind is not WSMsgType.CLOSE):
            return
        try:
            async with asyncio.timeout(self._limits.write):
                await self._socket.send_frame(data, kind)
        except TimeoutError:
            self._metrics.unread += 1
            self._cut()
        except ConnectionError:
            self.hang_up()

    def _shut(self, code: int) -> None:
        """Begin the closing handshake."""
        if self._closer is None:
            self._closer = self._start(self._close, code)
            # What the client still sends is read all the same: left unread at the end, it would make the kernel reset
            # the connection, and what was said last would be lost on its way.
            self._hear_no_more()

    async def _close(self, code: int) -> None:
        # Not with aiohttp's close(), which does not wait for the client's while another task receives.
        try:
            async with asyncio.timeout(self._limits.core.close):
                await self._send(code.to_bytes(2, "big"), WSMsgType.CLOSE)
                await self._farewell.wait()
        except TimeoutError:
            self._cut()
        else:
            self.hang_up()

    def _cut(self) -> None:
        self._transport.abort()
        self.hang_up()

    # Tasks.

    def _start(self, work: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guard(work, *args))
        self._tasks.add(task)
        return task

    async def _guard(self, work: Callable[[*Args], Coroutine[Any, Any, None]], *args: *Args) -> None:
        """Turn what goes wrong into an `error` message."""
        try:
            await work(*args)
        except RecognizerError as error:
            self._fail(error.code, safe_text(str(error)))
        except Exception as error:
            self._log_fault(error)
            self._fail(500, "the gateway has a fault of its own: another session may work")

    def _fail(self, code: int, message: str) -> None:
        if not self._core.closing:
            self._core.fail(self._now(), code=code, message=message)
            self._news.set()

    def _log_fault(self, error: Exception) -> None:
        # The type alone: its message, and the values in a traceback, may hold what was said.
        _log.error("%s failed: %s", self.session_id, type(error).__name__)
