"""Plays the gateway side of a fixture to any client.

It follows the client. What the gateway said after so much audio, or after a finalize, is said when this client's audio
or finalize has come, as much later as it was then. ``Player`` has the socket; everything else is pure.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Self

import attrs
from aiohttp import WSMsgType, web
from attrs import define, field, frozen

from lkstt_proto import Limits, LocalProtocolError
from lkstt_proto.dialogue import Fixture, Step
from lkstt_proto.encoding import encode_json
from lkstt_proto.messages import Close, Finalize, InputAudio, SessionCreate, decode_client
from lkstt_proto.wirejson import NotUsable

from .listening import check_upgrade, listening_address, origin_of, refusal, start_server

_FAREWELL_SECONDS = 3.0  # for the answer to a close frame
_MESSAGE_BYTES = 4 * 2**20
_NEARLY_SECONDS = 0.001  # another client may round otherwise

_NO_CODE = 1005  # RFC 6455 7.1.5: the close frame had no code
_NO_CLOSE = 1006
_CODES = range(1000, 5000)  # RFC 6455 7.4.2
_REASON_BYTES = 123  # RFC 6455 5.5: a control frame's 125 without the code
_ANSWERS = range(200, 600)  # statuses that end an HTTP exchange


# What happened then.


@frozen
class Heard:
    """What a client has said in a session."""

    created: bool = False
    audio: float = 0.0
    """Seconds."""
    finalizes: int = 0
    closed: bool = False
    """It said ``session.close``."""


@frozen
class Send:
    """A message."""

    data: bytes
    binary: bool = False


@frozen
class Shut:
    """A close frame; code 1005 has none."""

    code: int
    reason: str = ""


@frozen
class Cut:
    """The end of the connection without a close frame."""


@frozen
class Refuse:
    """An HTTP answer instead of a WebSocket."""

    status: int
    retry_after: float | None = None


@frozen
class Ignore:
    """No answer at all."""


@frozen
class Cue:
    """One thing that the gateway did."""

    needs: Heard
    """What the client had said before."""
    lag: float
    """Seconds since the later of that and the cue before."""
    deed: Send | Shut | Cut


@frozen
class Session:
    """What one connection came to."""

    delay: float
    """Seconds until it was answered."""
    answer: Refuse | Cut | Ignore | None = None
    """None: with a WebSocket."""
    cues: tuple[Cue, ...] = ()
    finalizes: int = 0
    """How often the client finalized in all."""
    pongs: bool = True
    """Whether pings are answered; not, if the recorded client pinged in vain."""


def read_script(fixture: Fixture) -> tuple[Session, ...]:
    """Read what the gateway did, session by session."""
    return (_Client() if fixture.role == "client" else _Gateway()).read(fixture)


@define
class _Reader(ABC):
    """Goes through the steps of one end."""

    sessions: list[Session] = field(factory=list)
    _asked: float | None = None
    _opened: float | None = None
    _heard: Heard = Heard()
    _changed: float = 0.0
    _cues: list[Cue] = field(factory=list)

    def read(self, fixture: Fixture) -> tuple[Session, ...]:
        for step in fixture.steps:
            if step.raises is None:
                self._step(step, fixture)
        if self._opened is not None:
            self._finish()
        return tuple(self.sessions)

    @abstractmethod
    def _step(self, step: Step, fixture: Fixture) -> None:
        """Take note of one."""

    def _open(self, at: float) -> None:
        self._opened = self._changed = at
        self._heard, self._cues = Heard(), []

    def _hear(self, at: float, **changes: Any) -> None:
        self._heard = attrs.evolve(self._heard, **changes)
        self._changed = at

    def _cue(self, at: float, deed: Send | Shut | Cut) -> None:
        self._cues.append(Cue(self._heard, max(0.0, at - self._changed), deed))
        self._changed = max(at, self._changed)

    def _finish(self, **facts: Any) -> None:
        opened = self._asked if self._opened is None else self._opened
        delay = 0.0 if self._asked is None or opened is None else max(0.0, opened - self._asked)
        known = {"cues": tuple(self._cues), "finalizes": self._heard.finalizes}
        self.sessions.append(Session(**{"delay": delay, **known, **facts}))
        self._asked = self._opened = None
        self._heard, self._cues = Heard(), []


@define
class _Client(_Reader):
    """What arrived at a client is what the gateway said."""

    _left: bool = False
    _pings: int = 0
    _pongs: int = 0

    def _step(self, step: Step, fixture: Fixture) -> None:
        if step.method == "transport_opened" and self._asked is not None:
            self._open(step.at)
            self._pings = self._pongs = 0
        elif step.method == "transport_alive":
            self._pongs += 1
        elif self._opened is not None and step.method == "receive_text":
            self._cue(step.at, Send(str(step.data).encode("utf-8", "replace")))
        elif self._opened is not None and step.method == "receive_binary":
            self._cue(step.at, Send(bytes(step.data) if isinstance(step.data, bytes) else b"", binary=True))
        elif step.method == "transport_closed":
            self._close(step.at, step.args)
        for action in step.actions:
            ((kind, content),) = action.items()
            if kind == "send":
                self._said(step.at, content, fixture.options.sample_rate)
            elif kind == "connect":
                self._asked, self._left = step.at, False
            elif kind == "ping":
                self._pings += 1
            else:
                self._left = True

    def _said(self, at: float, message: Mapping[str, Any], rate: int) -> None:
        kind = message.get("type")
        if kind == "session.create":
            self._hear(at, created=True)
        elif kind == "input_audio" and isinstance(message.get("audio"), dict):
            samples = len(message["audio"]["hex"]) // 2 * message["audio"]["times"] // 2
            self._hear(at, audio=self._heard.audio + samples / rate)
        elif kind == "session.finalize":
            self._hear(at, finalizes=self._heard.finalizes + 1)
        elif kind == "session.close":
            self._hear(at, closed=True)

    def _close(self, at: float, facts: Mapping[str, Any]) -> None:
        if self._opened is None:
            status = facts.get("http_status")
            answer: Refuse | Cut | Ignore = Ignore() if self._left else Cut()
            if status is not None and status in _ANSWERS:
                answer = Refuse(status, facts.get("retry_after"))
            if self._asked is not None:
                self._finish(answer=answer, delay=max(0.0, at - self._asked))
            return
        if not self._left or self._heard.closed:
            code = facts.get("code", _NO_CLOSE)
            lost = facts.get("error") is not None
            self._cue(at, Cut() if lost else _farewell(code, facts.get("reason", "")))
        self._finish(pongs=not self._pings or bool(self._pongs))


@define
class _Gateway(_Reader):
    """What a gateway did is among its actions."""

    _rate: int = 1

    def _step(self, step: Step, fixture: Fixture) -> None:
        if step.method == "transport_opened":
            self._open(step.at)
        elif step.method == "receive_text":
            with suppress(NotUsable):
                self._listen(step.at, decode_client(step.data, fixture.limits))
        elif step.method == "transport_closed" and self._opened is not None:
            self._finish()
        for action in step.actions if self._opened is not None else ():
            ((kind, content),) = action.items()
            if kind == "send":
                self._cue(step.at, Send(encode_json(content)))
            elif kind == "disconnect":
                self._cue(step.at, Cut() if content["abort"] else _farewell(content["code"]))

    def _listen(self, at: float, message: object) -> None:
        heard = _after(self._heard, message, self._rate)
        if isinstance(message, SessionCreate):
            self._rate = message.sample_rate
        if heard != self._heard:
            self._heard, self._changed = heard, at


def _farewell(code: int, reason: str = "") -> Shut | Cut:
    """How a transport closes; what no close frame can say is a cut."""
    if code == _NO_CLOSE or code not in _CODES:
        return Cut()
    return Shut(code, reason.encode("utf-8", "replace")[:_REASON_BYTES].decode("utf-8", "ignore"))


def _after(heard: Heard, message: object, rate: int) -> Heard:
    """What was heard once that message has come, too."""
    if isinstance(message, SessionCreate):
        return attrs.evolve(heard, created=True)
    if isinstance(message, InputAudio):
        return attrs.evolve(heard, audio=heard.audio + len(message.pcm) / 2 / rate)
    if isinstance(message, Finalize):
        return attrs.evolve(heard, finalizes=heard.finalizes + 1)
    return attrs.evolve(heard, closed=True) if isinstance(message, Close) else heard


# What happens now.


class Follower:
    """Says when each cue of a session is due, from what the present client says.

    ``speed``: how many times faster than it was; None waits for the client alone. After each input call ``take``.
    """

    def __init__(self, session: Session, speed: float | None) -> None:
        self._cues = deque(session.cues)
        self._finalizes = session.finalizes
        self._speed = speed
        self._heard = Heard()
        self._rate = 1
        self._ready: float | None = None  # since when the next cue has what it needs

    @property
    def left(self) -> int:
        """Messages that were not said."""
        return sum(isinstance(cue.deed, Send) for cue in self._cues)

    def hear(self, text: str | bytes) -> None:
        """The client said something."""
        with suppress(NotUsable):
            message = decode_client(text, _LIMITS)
            if isinstance(message, SessionCreate):
                self._rate = message.sample_rate
            self._heard = _after(self._heard, message, self._rate)

    def take(self, now: float) -> list[Send | Shut | Cut]:
        """Give what is due; then look at ``deadline``."""
        deeds = []
        while self._cues:
            cue = self._cues[0]
            if self._ready is None:
                if not self._has(cue.needs):
                    break
                self._ready = now
            due = self._due(cue)
            if due > now:
                break
            deeds.append(self._cues.popleft().deed)
            # The next one counts from when this one was due, unless it waits for the client.
            self._ready = due if self._cues and self._has(self._cues[0].needs) else None
        return deeds

    @property
    def deadline(self) -> float | None:
        """When to call ``take`` at the latest; None: the client's turn, or nothing is left."""
        return None if self._ready is None or not self._cues else self._due(self._cues[0])

    def _due(self, cue: Cue) -> float:
        return (self._ready or 0.0) + (0.0 if self._speed is None else cue.lag / self._speed)

    def _has(self, needs: Heard) -> bool:
        heard = self._heard
        # After the last finalize, or a goodbye, no more audio comes: a shorter recording is answered, too.
        no_more = heard.closed or 0 < self._finalizes <= heard.finalizes
        return (
            heard.created >= needs.created
            and (no_more or heard.audio + _NEARLY_SECONDS >= needs.audio)
            and (heard.closed or heard.finalizes >= needs.finalizes)
            and heard.closed >= needs.closed
        )


_LIMITS = Limits(message=_MESSAGE_BYTES)


class Player:
    """A gateway that says what it said in a fixture, as an async context manager.

    Each connection gets the next session of the recording, and after the last one the first again. No token is asked
    for. ``tell`` is told, in a line, what became of each.

    Raises LocalProtocolError for a fixture without a session, and for an address that cannot be; InsecureTransport for
    one that others reach; on entering, OSError when it is not free.
    """

    def __init__(
        self, fixture: Fixture, *, listen: str, speed: float | None = 1.0, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._sessions = read_script(fixture)
        if not self._sessions:
            raise LocalProtocolError("the recording has no session that could be played", phase="configure")
        self._address = listening_address(listen)
        self._speed = speed
        self._tell = tell
        self._next = 0
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """What clients take as their ``base_url``. Raises LocalProtocolError before it listens."""
        if self._runner is None:
            raise LocalProtocolError("the player was not started", phase="configure")
        return f"{origin_of(self._runner)}/v1"

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = await start_server(self._address, app)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop, whatever is being played."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if "Origin" in request.headers:
            # Any page in a browser on this computer could otherwise listen to the recording.
            return refusal(403, "forbidden", "web pages are not served: connect from a program")
        socket = web.WebSocketResponse(
            timeout=_FAREWELL_SECONDS, autoping=False, compress=False, max_msg_size=_MESSAGE_BYTES
        )
        refused = check_upgrade(request, socket)
        if refused is not None:
            return refused
        index, self._next = self._next, (self._next + 1) % len(self._sessions)
        session, title = self._sessions[index], f"session {index + 1} of {len(self._sessions)}"
        if isinstance(session.answer, Ignore):
            self._tell(f"{title}: not answered")
            await asyncio.Event().wait()  # until the client gives up, which cancels this
        await asyncio.sleep(0.0 if self._speed is None else session.delay / self._speed)
        if isinstance(session.answer, Refuse):
            self._tell(f"{title}: refused with HTTP {session.answer.status}")
            return _refuse(session.answer)
        if isinstance(session.answer, Cut):
            self._tell(f"{title}: cut before it was answered")
            _cut(request)
            return socket
        await socket.prepare(request)
        follower = Follower(session, self._speed)
        total = follower.left
        try:
            await self._play(follower, socket, request, pongs=session.pongs)
        finally:
            self._tell(f"{title}: said {total - follower.left} of {total} messages")
        return socket

    async def _play(
        self, follower: Follower, socket: web.WebSocketResponse, request: web.Request, *, pongs: bool
    ) -> None:
        with suppress(ConnectionError):
            while not socket.closed:
                for deed in follower.take(_now()):
                    await _do(deed, socket, request)
                deadline = follower.deadline
                try:
                    message = await socket.receive(None if deadline is None else max(deadline - _now(), 1e-6))
                except TimeoutError:
                    continue
                if message.type is WSMsgType.TEXT:
                    follower.hear(message.data)
                elif message.type is WSMsgType.PING and pongs:
                    await socket.pong(message.data)


async def _do(deed: Send | Shut | Cut, socket: web.WebSocketResponse, request: web.Request) -> None:
    if isinstance(deed, Send):
        await socket.send_frame(deed.data, WSMsgType.BINARY if deed.binary else WSMsgType.TEXT)
    elif isinstance(deed, Cut):
        _cut(request)
    elif deed.code == _NO_CODE:
        await socket.send_frame(b"", WSMsgType.CLOSE)
    else:
        await socket.close(code=deed.code, message=deed.reason.encode())


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _refuse(answer: Refuse) -> web.Response:
    headers = {} if answer.retry_after is None else {"Retry-After": f"{answer.retry_after:g}"}
    return refusal(answer.status, "recorded", "refused, as it was when this was recorded", headers)


def _now() -> float:
    return asyncio.get_running_loop().time()
