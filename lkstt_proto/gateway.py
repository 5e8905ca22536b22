"""The gateway: the other end of the same session and speech tables, for tests and for the local gateway.

A ``Gateway`` serves one transport. Like a ``Connection`` it reads no clock and opens no socket: after any input take
the actions, take the events, look at the deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from attrs import frozen

from .actions import Action, Disconnect
from .audio import SAMPLE_BYTES
from .encoding import (
    SESSION_CLOSED,
    SESSION_FINALIZED,
    START_OF_SPEECH,
    encode_error,
    encode_session_created,
    encode_transcript,
)
from .errors import LocalProtocolError
from .events import (
    AudioReceived,
    CloseRequested,
    FinalizeRequested,
    GatewayEvent,
    PeerLost,
    SessionRequested,
    SettingsChanged,
    SpeechData,
)
from .machine import Machine, MissingRow
from .messages import (
    ClientMessage,
    InputAudio,
    SessionCreate,
    SessionUpdate,
    TranscriptKind,
    Unrecognized,
    decode_client,
)
from .options import Limits
from .peer import BATCH, Peer, Timer
from .secrecy import discreet
from .tables import SPEECH, SessionEffect, SessionState, SpeechState
from .wirejson import NotUsable

INACTIVITY_CODE = 2007
"""Error code of a session that was idle for too long (PROTOCOL 3.3)."""

MAX_BRACKETS = 4096
"""Of a message, those in its texts included. Each one opened is an object in memory, and with tens of thousands of them
one message would keep all other sessions of a process waiting; clients send a handful."""


@frozen(kw_only=True)
class GatewayLimits:
    """How patient a gateway is, in seconds."""

    create: float = 10.0
    """From the opening of the transport to ``session.create``."""
    idle: float = 1800.0
    """Without any message (PROTOCOL 3.3)."""
    close: float = 2.0
    """For a polite close, before the transport is cut."""


class Gateway(Peer[ClientMessage]):
    """One session, seen from the gateway. Times in what it is told and tells are seconds into the session's audio."""

    __slots__ = ("_closing", "_counts", "_events", "_gone", "_patience", "_rate", "_session_id", "_speech")

    def __init__(
        self,
        *,
        limits: Limits = Limits(),
        patience: GatewayLimits = GatewayLimits(),
    ) -> None:
        super().__init__(limits)
        self._patience = patience
        self._events: list[GatewayEvent] = []
        self._rate = 0
        self._counts = 0
        self._session_id: str | None = None
        self._closing = False
        self._gone = False
        self._speech = Machine(SPEECH)

    # Looks.

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._speech.state is SpeechState.SPEAKING

    @property
    def closing(self) -> bool:
        """Whether this end has said its last word."""
        return self._closing

    @property
    def audio_seconds(self) -> float:
        """Audio received so far."""
        return self._counts / self._rate if self._rate else 0.0

    @property
    def pending(self) -> bool:
        """Whether ``take_actions`` has something to give."""
        return bool(self._outbox)

    # Wishes. Each raises LocalProtocolError, and changes nothing, where the session does not allow it.

    def accept(self, now: float, *, session_id: str) -> None:
        """Answer SessionRequested with ``session.created``."""
        self._tell("gateway:session.created", encode_session_created(session_id), now)
        self._session_id = session_id

    def start_of_speech(self, now: float) -> None:
        """Somebody began to speak."""
        self._tell("gateway:start_of_speech", START_OF_SPEECH, now)
        self._speech.step("gateway:start_of_speech")

    @discreet
    def transcript(self, data: SpeechData, now: float, *, final: bool, request_id: str | None = None) -> None:
        """Send an interim or a final transcript."""
        self._transcribe(TranscriptKind.FINAL if final else TranscriptKind.INTERIM, data, now, request_id)

    @discreet
    def preflight(self, data: SpeechData, now: float, *, request_id: str | None = None) -> None:
        """Send a transcript stable enough to begin an answer."""
        self._transcribe(TranscriptKind.PREFLIGHT, data, now, request_id)

    def finalized(self, now: float) -> None:
        """Say that what was sent is final, or soon will be."""
        self._tell("gateway:session.finalized", SESSION_FINALIZED, now)

    @discreet
    def fail(self, now: float, *, code: int, message: str) -> None:
        """Say what is wrong, and close."""
        self._tell("gateway:error", encode_error(code, message, self._session_id), now)
        self._disconnect(_close_code(code))

    def close(self, now: float) -> None:
        """Say ``session.closed``, and close."""
        self._tell("gateway:session.closed", SESSION_CLOSED, now)
        self._disconnect(1000)

    # Facts.

    def transport_opened(self, now: float) -> None:
        """A client's WebSocket is open; ``session.create`` should follow soon.

        Raises LocalProtocolError when it was opened before.
        """
        if self._session.state is not SessionState.NEW or Timer.CONNECT in self._timers:
            raise LocalProtocolError("a gateway serves one transport: make a new one for the next", phase="connect")
        self._advance(now)
        self._session.step("opened")
        self._arm(Timer.CONNECT, self._now + self._patience.create)

    def receive_text(self, data: str | bytes | bytearray | memoryview, now: float) -> None:
        """A text message arrived. Never raises for what it says; what cannot be is answered with error 400."""
        self._advance(now)
        if self._closing:
            return
        if Timer.QUIET in self._timers:
            self._arm(Timer.QUIET, self._now + self._patience.idle)
        if len(data) > MAX_BRACKETS and _brackets(data) > MAX_BRACKETS:
            self._refuse(f"more than {MAX_BRACKETS} objects and arrays")
            return
        try:
            message = decode_client(data, self._limits)
        except NotUsable as problem:
            self._refuse(problem.reason)
            return
        if isinstance(message, Unrecognized):
            return  # a newer client may know more
        try:
            self._listen(message.trigger, message)
        except MissingRow as missing:
            self._refuse(str(missing))

    def receive_binary(self, data: bytes | bytearray | memoryview, now: float) -> None:
        """A binary message arrived: there are none in this protocol."""
        self._advance(now)
        if not self._closing:
            self._refuse(f"a binary message of {memoryview(data).nbytes} bytes: audio travels as base64 in JSON")

    def transport_alive(self, now: float) -> None:
        """A pong arrived; this end sends no pings, so it only notes the time."""
        self._advance(now)

    def transport_closed(self, now: float, *, code: int = 1006, reason: str = "") -> None:
        """The transport is gone: PeerLost follows, and nothing else ever. Raises LocalProtocolError the second time."""
        if self._gone:
            raise LocalProtocolError("the transport has closed before", phase="close")
        self._gone = True
        self._advance(now)
        self._cancel(*Timer)
        self._outbox.clear()
        self._closing = True
        self._session.step("closed")
        self._events.append(PeerLost(code, reason))

    # Results.

    def take_actions(self, now: float, max_messages: int | None = None) -> list[Action]:
        """What the transport is to do now, in order: at most 16 messages at a time."""
        self._advance(now)
        room = BATCH if max_messages is None else min(max_messages, BATCH)
        actions: list[Action] = []
        while self._outbox and (room > 0 or self._outbox[0] == Disconnect(abort=True)):
            action = self._outbox.popleft()
            room -= isinstance(action, bytes)
            actions.append(action)
        return actions

    def take_events(self) -> list[GatewayEvent]:
        """What the client asked for, in order."""
        events, self._events = self._events, []
        return events

    # What the client said.

    def _on_create(self, message: SessionCreate) -> None:
        self._cancel(Timer.CONNECT)
        self._arm(Timer.QUIET, self._now + self._patience.idle)
        self._rate = message.sample_rate
        self._events.append(
            SessionRequested(message.model, message.settings, message.sample_rate, message.language or "")
        )

    def _on_audio(self, message: InputAudio) -> None:
        self._events.append(AudioReceived(message.pcm, self.audio_seconds))
        self._counts += len(message.pcm) // SAMPLE_BYTES

    def _on_update(self, message: SessionUpdate) -> None:
        self._events.append(SettingsChanged(message.settings))

    def _on_finalize(self, _: ClientMessage) -> None:
        self._events.append(FinalizeRequested(self.audio_seconds))

    def _on_close(self, _: ClientMessage) -> None:
        self._events.append(CloseRequested())

    _HEARD: ClassVar[Mapping[StrEnum, Callable[[Any, Any], None]]] = {
        SessionEffect.CREATE: _on_create,
        SessionEffect.AUDIO: _on_audio,
        SessionEffect.UPDATE: _on_update,
        SessionEffect.FINALIZE: _on_finalize,
        SessionEffect.CLOSE: _on_close,
    }

    # Timers.

    def _no_create(self) -> None:
        self._refuse(f"no session.create within {self._patience.create:g} s")

    def _idle(self) -> None:
        self.fail(self._now, code=INACTIVITY_CODE, message="session closed due to agent inactivity")

    def _abort(self) -> None:
        self._outbox.clear()
        self._outbox.append(Disconnect(abort=True))

    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]] = {
        Timer.CONNECT: _no_create,
        Timer.QUIET: _idle,
        Timer.CLOSE: _abort,
    }

    # Inside.

    def _transcribe(self, kind: TranscriptKind, data: SpeechData, now: float, request_id: str | None) -> None:
        trigger = f"gateway:{kind}_transcript"
        try:
            message = encode_transcript(kind, data, request_id, self._session_id)
        except ValueError:
            raise LocalProtocolError("a transcript's numbers must be finite", phase="session") from None
        self._tell(trigger, message, now)
        if not data.text:
            trigger = "gateway:empty_final" if kind is TranscriptKind.FINAL else "gateway:empty_transcript"
        self._speech.step(trigger)

    def _tell(self, trigger: str, data: bytes, now: float) -> None:
        if self._closing:
            raise LocalProtocolError(f"{trigger} is not possible any more: this end has closed", phase="close")
        try:
            self._say(trigger, data)
        except MissingRow as missing:
            raise LocalProtocolError(str(missing), phase="session") from None
        self._advance(now)

    def _refuse(self, reason: str) -> None:
        self.fail(self._now, code=400, message=reason)

    def _disconnect(self, code: int) -> None:
        self._closing = True
        self._cancel(*Timer)
        self._arm(Timer.CLOSE, self._now + self._patience.close)
        self._outbox.append(Disconnect(code=code))


def _brackets(data: str | bytes | bytearray | memoryview) -> int:
    if isinstance(data, str):
        return data.count("[") + data.count("{")
    raw = bytes(data)
    return raw.count(b"[") + raw.count(b"{")


def _close_code(code: int) -> int:
    """The close code (RFC 6455 7.4.1 and its registry) that goes with an error's code."""
    if code == 413:
        return 1009  # a message too large
    if code == 429:
        return 1013  # try again later
    return 1011 if 500 <= code < 600 else 1008  # our failure, or something that is not allowed here
