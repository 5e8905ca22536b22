"""The client: PCM in, SpeechEvents out, across as many sessions as it takes.

**After any input: take the actions, take the events, look at the deadline.**

1. Call one or more inputs: ``send_audio``, ``receive_text``, ``transport_closed``, ``handle_timeout``, ...
2. ``take_actions(now)``: send each ``bytes``, open for ``Connect``, ping for ``Ping``, close for ``Disconnect``.
3. ``take_events()``: hand them to the application.
4. Wait for the next input or until ``deadline``, then call ``handle_timeout(now)``.

Audio is kept as samples and encoded when it is taken, so that a slow socket holds samples and not messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from .actions import Action, Connect, Disconnect, Ping
from .audio import SAMPLE_BYTES, Mark, Ring, Span, Timeline
from .drain import Drain
from .endpointing import Endpointer, Endpointing
from .errors import (
    ConnectError,
    ConnectionLost,
    FinalizeTimeout,
    LocalProtocolError,
    OutageExceeded,
    SttError,
    Verdict,
    gateway_failure,
    http_failure,
    lost,
    safe_text,
    verdict,
)
from .events import (
    Diagnostic,
    Event,
    Finalized,
    RecognitionUsage,
    Reconnecting,
    Resumed,
    SessionCreated,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamFailed,
)
from .ledger import Ledger
from .liveness import Liveness
from .machine import Machine, MissingRow
from .messages import (
    CLOSE,
    FINALIZE,
    ErrorMessage,
    ServerMessage,
    SessionCreatedMessage,
    StartOfSpeech,
    Transcript,
    TranscriptKind,
    Unrecognized,
    decode_server,
    encode_audio,
    encode_session_create,
    encode_session_update,
)
from .options import Limits, RetryPolicy, STTOptions
from .peer import BATCH, EPSILON, Peer, Timer
from .retry import PROOF, Outage
from .settings import UNCHANGED, Settings, Unchanged
from .speech import Reader, Reading
from .stats import Counters, Stats
from .tables import LINK, LinkEffect, LinkState, SessionEffect, SpeechEffect
from .unread import Unread
from .wirejson import NotUsable

if TYPE_CHECKING:
    from typing_extensions import Buffer

ABORT = Disconnect(abort=True)
PING = Ping()

_LISTENING = (LinkState.UP, LinkState.DROPPING, LinkState.CLOSING)
_TRANSPORT_TIMERS = (Timer.CONNECT, Timer.CLOSE, Timer.PING, Timer.LOST, Timer.PACE, Timer.QUIET)
_EVENT_TYPES = {
    TranscriptKind.INTERIM: SpeechEventType.INTERIM_TRANSCRIPT,
    TranscriptKind.PREFLIGHT: SpeechEventType.PREFLIGHT_TRANSCRIPT,
    TranscriptKind.FINAL: SpeechEventType.FINAL_TRANSCRIPT,
}


class Connection(Peer[ServerMessage]):
    """One transcription stream.

    ``now`` is seconds on any monotonic clock; the largest one seen counts. ``random`` gives numbers in [0, 1) to
    spread retries; without it delays are exact. ``endpointer`` is used only for models that need one.

    Input from the network never raises. A caller's mistake raises LocalProtocolError and changes nothing.
    """

    __slots__ = (
        "_backlog",
        "_connecting_at",
        "_counters",
        "_delay",
        "_drain",
        "_endpointing",
        "_estimated",
        "_exact",
        "_expired",
        "_failure",
        "_fatal",
        "_hears_speech",
        "_input_ended",
        "_last_failure",
        "_last_text",
        "_ledger",
        "_link",
        "_liveness",
        "_opened_at",
        "_outage",
        "_reader",
        "_reauthorized",
        "_ring",
        "_session_id",
        "_settings",
        "_timeline",
        "_unread",
        "error",
        "options",
    )

    def __init__(
        self,
        options: STTOptions,
        *,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 (frozen)
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        endpointer: Endpointer | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(limits)
        rate = options.sample_rate
        self.options = options
        self.error: SttError | None = None
        """Why the stream failed, once it did."""
        self._link = Machine(LINK)
        self._settings = Settings(options)
        self._ring = Ring(chunk=max(1, rate // 20), capacity=round(limits.audio_buffer * rate))
        self._timeline = Timeline(rate)
        self._timeline.begin(0)
        self._ledger = Ledger(rate)
        self._liveness = Liveness(limits, rate)
        self._drain = Drain(limits)
        self._outage = Outage(retry, random)
        self._reader = Reader(self._timeline, options.info)
        self._unread = Unread(limits.unread_events)
        self._counters = Counters()
        self._endpointing = Endpointing(endpointer, rate) if endpointer and options.info.endpointing else None
        self._input_ended = False
        self._failure: SttError | None = None  # what broke the present session, before its transport is gone
        self._last_failure: SttError | None = None
        self._fatal: SttError | None = None  # a failure that no attempt would mend
        self._delay = 0.0  # until the next attempt
        self._expired = False  # the finish ended without what it waited for
        self._reauthorized = False  # the one new attempt after a refused token was made
        self._hears_speech = False  # this model sends more than finals, so that silence means something
        self._exact = 0  # position up to which finals with times of their own speak
        self._estimated = 0  # samples acknowledged by estimate since the last such final
        self._last_text: SpeechEvent | None = None  # the open turn's last interim or preflight
        self._session_id: str | None = None
        self._connecting_at = 0.0
        self._opened_at: float | None = None  # of the present transport, as long as its age may end an outage
        self._backlog = 0  # samples that a resumed session sends at the replay pace

    # Looks.

    @property
    def link_state(self) -> LinkState:
        """Where the transport is."""
        return self._link.state

    @property
    def finished(self) -> bool:
        """Whether the stream is over; its last event is StreamEnded or StreamFailed."""
        return self._link.state is LinkState.DONE

    @property
    def unsent_seconds(self) -> float:
        """Audio waiting to be sent."""
        return self._ring.unsent / self.options.sample_rate

    @property
    def unacknowledged_seconds(self) -> float:
        """Audio pushed that no final and no confirmed silence stands for yet."""
        return self._ring.unacknowledged / self.options.sample_rate

    @property
    def room(self) -> int:
        """Bytes that ``send_audio`` takes now without dropping any."""
        return self._ring.room

    @property
    def readable(self) -> bool:
        """False while so many events are unread that the transport should not be read."""
        return not self._unread.full

    @property
    def pending(self) -> bool:
        """Whether ``take_actions`` has something to give: cheap enough to ask after every push."""
        if self._outbox or self._liveness.due:
            return True
        if self._link.state is not LinkState.UP:
            return False
        return self._may_send() and (self._ring.ready or self._may_finalize())

    @property
    def stats(self) -> Stats:
        """Counters and latencies, as of now."""
        rate = self.options.sample_rate
        counters = self._counters
        return Stats(
            sessions=counters.sessions,
            failures=counters.failures,
            messages_sent=counters.messages_sent,
            messages_received=counters.messages_received,
            diagnostics=counters.diagnostics,
            finals=counters.finals,
            audio_pushed=self._ring.pushed / rate,
            audio_sent=self._ledger.unique / rate,
            audio_resent=self._ledger.resent / rate,
            audio_dropped=counters.dropped / rate,
            audio_unsent=self._ring.unsent / rate,
            audio_unacknowledged=self._ring.unacknowledged / rate,
            connect_latency=counters.connect_latency,
            round_trip=counters.round_trip,
            finalize_latency=self._drain.latency,
        )

    # Wishes.

    def start(self, now: float) -> None:
        """Begin: a ``Connect`` action follows. Raises LocalProtocolError when the stream was started before."""
        self._advance(now)
        self._require_link("start")
        self._step_link("start")

    def send_audio(self, pcm: Buffer, now: float) -> None:
        """Push signed 16-bit little-endian mono audio at ``options.sample_rate``, of any length.

        An odd byte waits for its other half. Beyond ``room`` the oldest unsent audio is dropped and told by
        AudioDropped. Raises LocalProtocolError after ``end_input`` or the stream's end, or for a buffer that is not
        contiguous.
        """
        data = _contiguous(pcm)
        self._require_input("audio")
        self._advance(now)
        if self._endpointing is not None:
            self._endpoint(self._endpointing, data)
        for span in self._ring.push(data):
            self._tell_dropped(span, "overflow")

    def flush(self, now: float) -> None:
        """Have the audio pushed so far sent without waiting for a full message (PROTOCOL 2.2).

        Raises LocalProtocolError after ``end_input`` or the stream's end.
        """
        self._require_input("a flush")
        self._advance(now)
        self._ring.mark(self._ring.pushed, finalize=False)

    def finalize(self, now: float) -> None:
        """Ask for finals of the audio pushed so far (PROTOCOL 2.4); the session stays open.

        Raises LocalProtocolError after ``end_input`` or the stream's end.
        """
        self._require_input("a finalize")
        self._advance(now)
        self._ring.mark(self._ring.pushed, finalize=True)

    def end_input(self, now: float) -> None:
        """No more audio comes: send what is left, ask for finals, and end the stream when they came.

        Calling it again changes nothing. Raises LocalProtocolError after the stream's end.
        """
        if self._input_ended:
            return
        self._require_input("the end of input")
        self._advance(now)
        self._input_ended = True
        self._ring.mark(self._ring.pushed, finalize=False)
        self._drain.end_input(self._now, self.unsent_seconds)
        if self._drain.deadline is not None:
            self._timers[Timer.DRAIN] = self._drain.deadline
        if self._link.state is LinkState.BACKOFF and not self._ring.unacknowledged:
            self._finish()

    def close(self, now: float) -> None:
        """End the stream now, politely; transcripts under way are still heard until the transport closes.

        Calling it again, or after the end, changes nothing.
        """
        self._advance(now)
        self._input_ended = True
        self._finish()

    def update_options(
        self,
        now: float,
        *,
        model: str | Unchanged = UNCHANGED,
        language: str | Unchanged = UNCHANGED,
        extra: Mapping[str, Any] | Unchanged = UNCHANGED,
        keyterms: list[str] | Unchanged = UNCHANGED,
    ) -> None:
        """Change settings; a live session is told what changed, later ones start with it (PROTOCOL 2.3).

        ``extra`` is merged by key. ``keyterms`` replaces this stream's own list and, while a turn is open, waits for
        its end. Raises LocalProtocolError, and changes nothing, for what a live stream cannot take: a model of another
        provider, sample rate or endpointing need.
        """
        if self._link.state in (LinkState.CLOSING, LinkState.DONE):
            raise LocalProtocolError("the stream is over: open a new one with these options", phase="close")
        self._advance(now)
        settings = self._settings.change(
            model=model,
            language=language,
            extra=extra,
            keyterms=keyterms,
            live=self._link.state is not LinkState.IDLE,
            speaking=self.speaking,
        )
        if settings is not None:
            self._send_settings(settings)

    # Facts.

    def transport_opened(self, now: float) -> None:
        """The WebSocket that ``Connect`` asked for is open. Raises LocalProtocolError when none was asked for."""
        self._advance(now)
        self._require_link("opened")
        self._step_link("opened")

    def receive_text(self, data: str | bytes | bytearray | memoryview, now: float) -> None:
        """A text message arrived. Never raises for what it says; a Diagnostic tells what could not be used."""
        if not self._heard(now):
            return
        self._counters.messages_received += 1
        try:
            message = decode_server(data, self._limits)
        except NotUsable as problem:
            self._diagnose("invalid_message", problem.reason)
            return
        if isinstance(message, Unrecognized):
            self._diagnose("unknown_type", f"type of {message.type_length} characters")
            return
        if message.problems and not isinstance(message, Transcript):
            self._diagnose("invalid_field", ", ".join(message.problems))
        try:
            self._listen(message.trigger, message)
        except MissingRow as missing:
            self._diagnose("unexpected_message", str(missing))
        self._judge_finish()

    def receive_binary(self, data: Buffer, now: float) -> None:
        """A binary message arrived: there are none in this protocol, so it is skipped (PROTOCOL 3.4)."""
        if self._heard(now):
            self._counters.messages_received += 1
            self._diagnose("binary_message", f"{memoryview(data).nbytes} bytes")

    def transport_alive(self, now: float) -> None:
        """A pong arrived: the audio sent before its ping is confirmed."""
        if not self._heard(now):
            return
        liveness = self._liveness
        if liveness.asked is not None:
            self._counters.round_trip = self._now - liveness.asked
        liveness.answered()
        self._arm_liveness()
        if self._hears_speech and not self.speaking:
            # Silence acknowledges itself, but for the stretch in which a turn may just be beginning.
            lookback = round(self._limits.lookback * self.options.sample_rate)
            self._ring.acknowledge(self._timeline.position_of(liveness.confirmed) - lookback)
        self._judge_finish()

    def transport_closed(
        self,
        now: float,
        *,
        code: int = 1006,
        reason: str = "",
        http_status: int | None = None,
        retry_after: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        """The transport is gone, or could not be had: the one answer to each ``Connect``.

        ``code`` and ``reason`` are the close frame's; ``http_status`` and ``retry_after`` (seconds) those of an answer
        that was no WebSocket; ``error`` is what the transport raised, an SttError where the adapter knows the kind.
        Raises LocalProtocolError when there is no transport.
        """
        self._advance(now)
        self._require_link("closed_end")
        self._counters.failures += self._link.state is not LinkState.CLOSING
        failure = self._failure or self._failure_of(code, reason, http_status, retry_after, error)
        self._cancel(*_TRANSPORT_TIMERS)
        self._liveness.due = False
        self._outbox.clear()
        self._session.step("closed")
        self._step_link(self._class_of(failure, code))

    # Time and results.

    def take_actions(self, now: float, max_messages: int | None = None) -> list[Action]:
        """What the transport is to do now, in order: at most 16 messages at a time, encoded here.

        Taking again says that the transport accepted the earlier messages. While a write is pending, ask with
        ``max_messages=0`` and get only a Ping or an aborting Disconnect.
        """
        self._advance(now)
        room = BATCH if max_messages is None else min(max_messages, BATCH)
        actions: list[Action] = []
        if room <= 0:
            if self._outbox and self._outbox[-1] == ABORT:
                actions.append(self._outbox.pop())
            self._take_ping(actions, self._liveness.accepted)
            return actions
        self._liveness.accepted = self._timeline.count
        while self._outbox and room:
            action = self._outbox.popleft()
            room -= isinstance(action, bytes)
            actions.append(action)
        if self._link.state is LinkState.UP and not self._outbox:
            self._take_audio(actions, room)
        self._take_ping(actions, self._timeline.count)
        self._counters.messages_sent += sum(isinstance(action, bytes) for action in actions)
        return actions

    def take_events(self) -> list[Event]:
        """What happened, in order; StreamEnded or StreamFailed comes last and once."""
        full = self._unread.full
        events = self._unread.take()
        if full and self._link.state is LinkState.UP:
            # Liveness stood still while nobody read; it goes on from here.
            self._liveness.heard = self._now
            self._arm_liveness()
        return events

    # Triggers: what is the case, in the words of the tables.

    def _class_of(self, failure: SttError, code: int) -> str:
        """Name what a closed transport means (CONTRACT decisions 5 to 7)."""
        if self._link.state is LinkState.CLOSING:
            return "closed_fail" if self._fatal else "closed_end"
        if self._input_ended:
            orderly = code == 1000 and self._failure is None and self._drain.acknowledged and not self.speaking
            if orderly or not self._ring.unacknowledged:
                return "closed_end"
        self._last_failure = self._fatal = failure
        kind = verdict(failure)
        if kind is Verdict.PERMANENT or (kind is Verdict.UNAUTHORIZED and self._reauthorized):
            return "closed_fail"
        self._fatal = None
        if self._drain.barren:
            self._expired = True
            return "closed_end"
        if self._opened_at is not None and self._now - self._opened_at >= PROOF:
            self._works()
        if not self._outage.failed(self._now):
            seconds = self._outage.policy.outage
            self._fatal = OutageExceeded(
                f"no working session for {seconds:g} s: the last attempt failed with {failure}",
                phase=failure.phase,
                close_code=failure.close_code,
                http_status=failure.http_status,
                session_id=failure.session_id,
            )
            self._fatal.__cause__ = failure
            return "closed_fail"
        if kind is Verdict.UNAUTHORIZED:
            self._reauthorized = True
            self._delay = 0.0
            return "closed_again"
        self._delay = self._outage.delay(failure.retry_after)
        return "closed_retry"

    def _failure_of(
        self, code: int, reason: str, http_status: int | None, retry_after: float | None, error: BaseException | None
    ) -> SttError:
        if isinstance(error, SttError):
            return error
        failure: SttError
        if http_status is not None:
            failure = http_failure(http_status, retry_after=retry_after, detail=reason)
        elif self._link.state is LinkState.UP:
            failure = lost(code, reason, session_id=self._session_id)
        else:
            cause = f"{type(error).__name__}: {error}" if error is not None else reason or "the connection was closed"
            failure = ConnectError(
                f"could not connect to {self.options.base_url} ({safe_text(cause)}): check that the gateway runs there",
                phase="connect",
                close_code=code,
                retry_after=retry_after,
            )
        failure.__cause__ = error
        return failure

    def _break(self, failure: SttError) -> None:
        """The gateway broke off: reconnect, give up, or take it as the end when nothing is missing any more."""
        if self._link.state is not LinkState.UP:
            return
        if self._input_ended and not self._ring.unacknowledged:
            self._finish()
        elif verdict(failure) is Verdict.PERMANENT:
            self._fatal = failure
            self._finish()
        else:
            self._failure = failure
            self._step_link("broken")

    def _judge_finish(self) -> None:
        """See whether the end of input is answered, or when it will be taken as answered."""
        if not self._input_ended or self._link.state is not LinkState.UP:
            return
        acknowledged = not self._ring.unacknowledged
        at = self._drain.settled_at(
            speaking=self.speaking,
            acknowledged=acknowledged,
            exactly=acknowledged and self._exact >= self._ring.handed,
        )
        if at is None:
            self._cancel(Timer.QUIET)
        elif at <= self._now + EPSILON:
            self._finish()
        else:
            self._timers[Timer.QUIET] = at

    def _finish(self) -> None:
        """Nothing more is wanted: leave, however the link stands."""
        self._cancel(Timer.DRAIN)
        self._step_link("finish")

    # Link effects.

    def _step_link(self, trigger: str) -> None:
        for effect in self._link.step(trigger):
            self._LINK[effect](self)

    def _connect(self) -> None:
        self._failure = None
        self._opened_at = None
        self._connecting_at = self._now
        options, model = self.options, self._settings.model
        if model != options.model:
            options = options.replace(model=model)
        self._outbox.append(Connect(self._outage.failures, options))

    def _arm_connect(self) -> None:
        self._timers[Timer.CONNECT] = self._now + self._outage.policy.connect_timeout

    def _arm_backoff(self) -> None:
        self._timers[Timer.BACKOFF] = self._now + self._delay

    def _arm_close(self) -> None:
        self._cancel(*_TRANSPORT_TIMERS)
        self._timers[Timer.CLOSE] = self._now + self._limits.close

    def _open_session(self) -> None:
        rate = self.options.sample_rate
        self._cancel(Timer.CONNECT)
        self._counters.sessions += 1
        self._counters.connect_latency = self._now - self._connecting_at
        self._opened_at = self._now
        self._session_id = None
        self._timeline.begin(self._ring.position)
        self._reader.begin()
        self._drain.begin_session()
        self._liveness.begin(self._now)
        self._arm_liveness()
        self._session.step("opened")
        self._say("client:session.create", encode_session_create(self._settings.create()))
        self._backlog = 0
        if self._outage.failures:
            self._backlog = self._ring.unsent
            self._tell(
                Resumed(
                    self._outage.failures,
                    audio_time=self._ring.position / rate,
                    resent_duration=self._ring.to_resend / rate,
                    estimated_duration=self._estimated / rate,
                )
            )
        if isinstance(self._last_failure, ConnectError):
            self._reauthorized = False

    def _leave_session(self) -> None:
        self._liveness.due = False
        self._say("client:session.close", CLOSE)

    def _disconnect(self) -> None:
        self._outbox.append(Disconnect())

    def _abort(self) -> None:
        # Whatever else waits is pointless, except for a dial that has to be asked for before it can be abandoned.
        dial = [action for action in self._outbox if isinstance(action, Connect)]
        self._outbox.clear()
        self._outbox.extend((*dial, ABORT))

    def _rejoin(self) -> None:
        for span in self._ring.rewind():
            self._tell_dropped(span, "unacknowledged")

    def _tell_retry(self) -> None:
        assert self._last_failure is not None  # noqa: S101 (set by _class_of, which chose the row)
        self._tell(Reconnecting(self._outage.failures, self._delay, self._last_failure))

    def _end(self) -> None:
        failure: SttError | None = None
        if self._expired and self.speaking:
            failure = FinalizeTimeout(
                "the gateway sent no final for the last words: they are delivered as it last heard them",
                phase="finalize",
                session_id=self._session_id,
            )
        elif self._expired and self._ring.never_sent:
            failure = self._last_failure or FinalizeTimeout(
                "the gateway did not take all audio in time: raise Limits.drain, or push no faster than it listens",
                phase="finalize",
                session_id=self._session_id,
            )
        self._conclude(failure)

    def _fail(self) -> None:
        self._conclude(self._fatal)

    def _conclude(self, failure: SttError | None) -> None:
        self._turn("stream_over")
        self._timers.clear()
        self.error = failure
        if failure is None:
            self._session.step("stream_ended")
            self._tell(StreamEnded(self.unacknowledged_seconds))
        else:
            self._session.step("stream_failed")
            self._tell(StreamFailed(failure, self.unacknowledged_seconds))

    _LINK: ClassVar[Mapping[StrEnum, Callable[[Connection], None]]] = {
        LinkEffect.CONNECT: _connect,
        LinkEffect.ARM_CONNECT: _arm_connect,
        LinkEffect.ARM_BACKOFF: _arm_backoff,
        LinkEffect.ARM_CLOSE: _arm_close,
        LinkEffect.OPEN_SESSION: _open_session,
        LinkEffect.LEAVE_SESSION: _leave_session,
        LinkEffect.DISCONNECT: _disconnect,
        LinkEffect.ABORT: _abort,
        LinkEffect.REJOIN: _rejoin,
        LinkEffect.TELL_RETRY: _tell_retry,
        LinkEffect.END: _end,
        LinkEffect.FAIL: _fail,
    }

    # Session effects: what the gateway said.

    def _on_created(self, message: SessionCreatedMessage) -> None:
        self._session_id = message.session_id or self._session_id
        self._tell(SessionCreated(message.session_id))

    def _on_speech(self, message: StartOfSpeech | Transcript) -> None:
        if isinstance(message, StartOfSpeech):
            self._hears_speech = True
            self._turn(message.trigger)
            return
        rate = self.options.sample_rate
        final = message.kind is TranscriptKind.FINAL
        reading = self._reader.read(
            message,
            final=final,
            since=self._ring.acknowledged / rate,
            language=self._settings.language or "",
        )
        if reading.problems:
            self._diagnose("invalid_field", ", ".join(reading.problems))
        text = reading.data.text
        if final:
            self._drain.final_came(text, self._now)
            self._acknowledge(reading)
            trigger = message.trigger if text else "gateway:empty_final"
        elif not text:
            trigger = "gateway:empty_transcript"
        elif reading.end is not None and reading.end <= self._exact:
            trigger = "gateway:late_transcript"
        else:
            self._hears_speech = True
            self._drain.interim_came(text, self._now)
            trigger = message.trigger
        self._turn(
            trigger,
            SpeechEvent(
                _EVENT_TYPES[message.kind],
                message.request_id or message.session_id or self._session_id or "",
                (reading.data,),
                audio_time=self._ring.handed / rate,
            ),
        )

    def _acknowledge(self, final: Reading) -> None:
        """Be done with the audio that a final stands for (CONTRACT decision 2)."""
        drain = self._drain
        if final.end is not None:
            samples = self._ring.acknowledge(final.end)
            self._exact = max(self._exact, final.end)
            self._estimated = 0
        elif final.data.text or drain.finalize_at is not None:
            samples = self._ring.acknowledge(self._timeline.position)
            self._estimated += samples
        else:
            return
        self._timeline.forget(self._ring.acknowledged)
        if samples:
            drain.fruitful = True
            self._works()

    def _on_finalized(self, _: ServerMessage) -> None:
        self._drain.finalized(self._now)
        self._tell(Finalized())

    def _on_closed(self, _: ServerMessage) -> None:
        if self._drain.finalize_at is not None and not self.speaking:
            self._finish()
        else:
            self._break(
                ConnectionLost("the gateway closed the session early", phase="session", session_id=self._session_id)
            )

    def _on_error(self, message: ErrorMessage) -> None:
        self._break(gateway_failure(message.code, message.message, session_id=message.session_id or self._session_id))

    _HEARD: ClassVar[Mapping[StrEnum, Callable[[Any, Any], None]]] = {
        SessionEffect.CREATED: _on_created,
        SessionEffect.HEAR: _on_speech,
        SessionEffect.FINALIZED: _on_finalized,
        SessionEffect.CLOSED: _on_closed,
        SessionEffect.ERROR: _on_error,
    }

    # Speech effects: the turn.

    def _turn(self, trigger: str, transcript: SpeechEvent | None = None) -> None:
        for effect in self._speech.step(trigger):
            self._TURN[effect](self, transcript)

    def _tell_start(self, _: SpeechEvent | None) -> None:
        self._tell_speech(SpeechEventType.START_OF_SPEECH)

    def _tell_interim(self, transcript: SpeechEvent) -> None:
        self._last_text = transcript
        self._unread.interim(transcript)
        self._rest_if_full()

    def _tell_preflight(self, transcript: SpeechEvent) -> None:
        self._last_text = transcript
        self._tell(transcript)

    def _tell_usage(self, transcript: SpeechEvent | None) -> None:
        usage = self._ledger.report()
        if usage is not None:
            request_id = transcript.request_id if transcript is not None else self._session_id or ""
            self._tell_speech(SpeechEventType.RECOGNITION_USAGE, request_id, usage)

    def _tell_final(self, transcript: SpeechEvent) -> None:
        self._counters.finals += 1
        self._tell(transcript)

    def _promote(self, _: SpeechEvent | None) -> None:
        if self._last_text is not None:
            self._tell_final(self._last_text._replace(type=SpeechEventType.FINAL_TRANSCRIPT, promoted=True))

    def _tell_end(self, _: SpeechEvent | None) -> None:
        self._last_text = None
        self._tell_speech(SpeechEventType.END_OF_SPEECH)

    def _deferred_settings(self, _: SpeechEvent | None) -> None:
        settings = self._settings.take_deferred() if self._may_update() else None
        if settings is not None:
            self._send_settings(settings)

    _TURN: ClassVar[Mapping[StrEnum, Callable[[Connection, Any], None]]] = {
        SpeechEffect.START: _tell_start,
        SpeechEffect.INTERIM: _tell_interim,
        SpeechEffect.PREFLIGHT: _tell_preflight,
        SpeechEffect.USAGE: _tell_usage,
        SpeechEffect.FINAL: _tell_final,
        SpeechEffect.PROMOTE: _promote,
        SpeechEffect.END: _tell_end,
        SpeechEffect.SETTINGS: _deferred_settings,
    }

    # Timers.

    def _connect_timeout(self) -> None:
        seconds = self._outage.policy.connect_timeout
        self._failure = ConnectError(
            f"no connection to {self.options.base_url} within {seconds:g} s: check the address and the network",
            phase="connect",
        )
        self._step_link("connect_timeout")

    def _backoff_timeout(self) -> None:
        self._step_link("backoff_timeout")

    def _close_timeout(self) -> None:
        self._step_link("close_timeout")

    def _ask(self) -> None:
        self._liveness.expire(self._now)

    def _lost_timeout(self) -> None:
        if not self._liveness.expire(self._now):
            return
        silent = self._now - self._liveness.heard
        self._failure = ConnectionLost(
            f"nothing was heard from the gateway for {silent:.1f} s: check the network",
            phase="session",
            session_id=self._session_id,
        )
        # A session that only waited proves nothing; one that was heard long enough does.
        if self._opened_at is not None and self._liveness.heard - self._opened_at >= PROOF:
            self._works()
        self._opened_at = None
        self._step_link("lost")

    def _pace(self) -> None:
        """The next stretch of the backlog may go: ``pending`` says so by itself."""

    def _drain_timeout(self) -> None:
        self._expired = True
        self._finish()

    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]] = {
        Timer.CONNECT: _connect_timeout,
        Timer.BACKOFF: _backoff_timeout,
        Timer.CLOSE: _close_timeout,
        Timer.PING: _ask,
        Timer.LOST: _lost_timeout,
        Timer.PACE: _pace,
        Timer.QUIET: _judge_finish,
        Timer.DRAIN: _drain_timeout,
    }

    # Sending.

    def _may_send(self) -> bool:
        """Whether neither back-pressure nor pace holds the next audio message."""
        count = self._timeline.count
        if count + self._ring.chunk > self._liveness.allowed():
            return False
        return count >= self._backlog or self._pace_due(count) <= self._now + EPSILON

    def _pace_due(self, count: int) -> float:
        opened_at = self._opened_at or 0.0
        return opened_at + count / (self._limits.replay_pace * self.options.sample_rate)

    def _may_finalize(self) -> bool:
        return self._input_ended and self._drain.finalize_at is None and not self._ring.unsent

    def _take_audio(self, actions: list[Action], room: int) -> None:
        ring, timeline, ledger = self._ring, self._timeline, self._ledger
        speaks = False
        while room and self._may_send():
            item = ring.take()
            if item is None:
                break
            room -= 1
            if isinstance(item, Mark):
                self._session.step("client:session.finalize")
                actions.append(FINALIZE)
                speaks = False
                continue
            if not speaks:
                # One step for a run of messages: all of them would take the same row.
                self._session.step("client:input_audio")
                speaks = True
            samples = len(item.pcm) // SAMPLE_BYTES
            ledger.hand_over(samples, item.fresh)
            timeline.sent(item.position, samples)
            actions.append(encode_audio(item.pcm))
        if timeline.count < self._backlog and ring.ready:
            self._timers[Timer.PACE] = max(self._now, self._pace_due(timeline.count))
        if room and self._may_finalize():
            self._session.step("client:session.finalize")
            actions.append(FINALIZE)
            self._drain.finalize_sent(self._now)
            self._judge_finish()

    def _take_ping(self, actions: list[Action], sent: int) -> None:
        liveness = self._liveness
        if self._link.state is LinkState.UP and (liveness.due or liveness.wants_ping(sent)):
            liveness.take_ping(self._now, sent)
            actions.append(PING)
            self._arm_liveness()

    def _may_update(self) -> bool:
        """Whether a session is open; one that is not is told by its ``session.create`` instead."""
        return self._link.state is LinkState.UP and self._session.allows("client:session.update")

    def _send_settings(self, settings: Mapping[str, Any]) -> None:
        if self._may_update():
            self._say("client:session.update", encode_session_update(settings))

    # Small things.

    def _heard(self, now: float) -> bool:
        """Note inbound traffic; False when no transport is there to bring any."""
        self._advance(now)
        if self._link.state not in _LISTENING:
            return False
        self._liveness.heard = self._now
        self._arm_liveness()
        return True

    def _works(self) -> None:
        """The stream works: an outage is over."""
        self._outage.over()
        self._reauthorized = False

    def _arm_liveness(self) -> None:
        timers, liveness = self._timers, self._liveness
        timers.pop(Timer.PING, None)
        timers.pop(Timer.LOST, None)
        deadline = liveness.deadline()
        if deadline is not None and self._link.state is LinkState.UP and not self._unread.full:
            timers[Timer.PING if liveness.asked is None else Timer.LOST] = deadline

    def _rest_if_full(self) -> None:
        if self._unread.full:
            self._cancel(Timer.PING, Timer.LOST)

    def _tell(self, event: Event) -> None:
        self._unread.append(event)
        self._rest_if_full()

    def _tell_speech(self, kind: SpeechEventType, request_id: str = "", usage: RecognitionUsage | None = None) -> None:
        audio_time = self._ring.handed / self.options.sample_rate
        self._tell(SpeechEvent(kind, request_id, recognition_usage=usage, audio_time=audio_time))

    def _tell_dropped(self, span: Span, cause: str) -> None:
        rate = self.options.sample_rate
        self._counters.dropped += span.end - span.start
        self._unread.dropped(span.start / rate, span.end / rate, cause)
        self._rest_if_full()

    def _diagnose(self, kind: str, detail: str) -> None:
        self._counters.diagnostics += 1
        self._tell(Diagnostic(kind, detail))

    def _endpoint(self, endpointing: Endpointing, pcm: bytes | memoryview) -> None:
        try:
            ends = endpointing.push(pcm)
        except Exception as error:  # whatever a caller's endpointer raises, the words go on
            self._diagnose("endpointer_failed", type(error).__name__)
            return
        for position in ends:
            self._ring.mark(position, finalize=True)

    def _require_input(self, what: str) -> None:
        if self._input_ended or self.finished:
            raise LocalProtocolError(f"{what} came after the end of input: open a new stream for more", phase="session")

    def _require_link(self, trigger: str) -> None:
        if not self._link.allows(trigger):
            raise LocalProtocolError(f"{trigger} is not possible while the link is {self._link.state}", phase="connect")


def _contiguous(pcm: Buffer) -> bytes | memoryview:
    """See any buffer as bytes without copying it."""
    if isinstance(pcm, bytes):
        return pcm
    try:
        return memoryview(pcm).cast("B")
    except TypeError as error:
        raise LocalProtocolError(
            "audio must be a contiguous buffer of 16-bit samples, as bytes or an array", phase="session"
        ) from error
