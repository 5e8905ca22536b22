"""The client: PCM in, SpeechEvents out, across as many sessions as it takes.

**After any input: take the actions, take the events, look at the deadline.**

1. Call one or more inputs: ``send_audio``, ``receive_text``, ``transport_closed``, ``handle_timeout``, ...
2. ``take_actions(now)``: send each ``bytes``, open for ``Connect``, ping for ``Ping``, close for ``Disconnect``.
3. ``take_events()``: hand them to the application.
4. Wait for the next input or until ``deadline``, then call ``handle_timeout(now)``.

Audio is kept as samples and encoded when it is taken, so that a slow socket holds samples and not messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, cast

from .actions import Action, Ping
from .audio import Span, as_bytes
from .drain import Drain
from .encoding import CLOSE, FINALIZE, encode_session_create, encode_session_update
from .endpointing import Endpointer, Endpointing
from .errors import (
    ConnectionLost,
    FinalizeTimeout,
    LocalProtocolError,
    SttError,
    Verdict,
    gateway_failure,
    verdict,
)
from .events import (
    Diagnostic,
    Event,
    Finalized,
    Reconnecting,
    Resumed,
    SessionCreated,
    StreamEnded,
    StreamFailed,
)
from .hearing import Hearing
from .link import ABORT, Link
from .machine import MissingRow
from .messages import (
    ErrorMessage,
    KnownMessage,
    ServerMessage,
    SessionCreatedMessage,
    StartOfSpeech,
    Transcript,
    Unrecognized,
    decode_server,
)
from .options import Limits, RetryPolicy, STTOptions
from .peer import BATCH, Timer
from .retry import Outage
from .secrecy import discreet
from .sender import EPSILON, Sender
from .settings import UNCHANGED, Unchanged
from .stats import Counters, Stats
from .tables import LinkEffect, LinkState, SessionEffect
from .transcripts import decode_ordinary
from .turn import Turn
from .unread import Unread
from .wirejson import NotUsable

if TYPE_CHECKING:
    from typing_extensions import Buffer

PING = Ping()

# For the hottest lines: to look a member up in its class costs as much as a small call.
_UP, _DONE = LinkState.UP, LinkState.DONE
_PING, _LOST = Timer.PING, Timer.LOST

_LARGE = 1 << 14  # bytes that are dearer to copy than to look at closely

_LISTENING = (LinkState.UP, LinkState.DROPPING, LinkState.CLOSING)


class Connection(Link):
    """One transcription stream.

    ``now`` is seconds on any monotonic clock; the largest one seen counts. ``random`` gives numbers in [0, 1) to
    spread retries; without it delays are exact. ``endpointer`` is used only for models that need one.

    Input from the network never raises. A caller's mistake raises LocalProtocolError and changes nothing.
    """

    __slots__ = (
        "_counters",
        "_drain",
        "_endpointing",
        "_expired",
        "_hearing",
        "_input_ended",
        "_plain",
        "_ring",
        "_sender",
        "_turn",
        "_unread",
        "error",
        "pending",
        "unread",
    )

    def __init__(
        self,
        options: STTOptions,
        *,
        retry: RetryPolicy = RetryPolicy(),
        limits: Limits = Limits(),
        endpointer: Endpointer | None = None,
        random: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(options, limits, Outage(retry, random))
        rate = options.sample_rate
        self.error: SttError | None = None
        """Why the stream failed, once it did."""
        self.pending = False
        """Whether ``take_actions`` has something to give: cheap enough to ask after every push."""
        self._sender = Sender(limits, rate)
        self._ring = self._sender.ring
        self._drain = Drain(limits)
        self._hearing = Hearing(self._sender, self._drain, options.info)
        self._unread = Unread(limits.unread_events)
        self.unread: Sized = self._unread
        """The events that ``take_events`` has to give: whether there are any is cheap to ask."""
        self._turn = Turn(self._unread, self._sender.ledger, self._ring)
        self._counters = Counters()
        self._endpointing = Endpointing(endpointer, rate) if endpointer and options.info.endpointing else None
        self._input_ended = False
        self._plain = self._endpointing is None  # to push audio is all there is to it
        self._expired = False  # the finish ended without what it waited for

    # Looks.

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._turn.speaking

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
            finals=self._turn.finals,
            audio_pushed=self._ring.pushed / rate,
            audio_sent=self._sender.ledger.unique / rate,
            audio_resent=self._sender.ledger.resent / rate,
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
        self._require_link("start")
        self._advance(now)
        self._step_link("start")
        self._look()

    def send_audio(self, pcm: Buffer, now: float, drop: bool = True) -> Buffer | None:
        """Push signed 16-bit little-endian mono audio at ``options.sample_rate``, of any length.

        An odd byte waits for its other half. Beyond ``room`` the oldest unsent audio is dropped and told by
        AudioDropped; or, with ``drop`` false, what there is no room for is given back, empty where there is for all.
        None means that this only added to a message which is not full yet: there is nothing new to take.

        Raises LocalProtocolError after ``end_input`` or the stream's end, or for a buffer that is not contiguous or
        holds floats.
        """
        if not (self._plain and type(pcm) is bytes):
            return self._send_with_care(pcm, now, drop)
        if now > self._now:  # as ``_advance``, without the call
            self._now = now
        ring = self._ring
        tail = ring.tail
        tail += pcm  # as ``Ring.push``, without the call
        size = len(tail)
        if size < ring.wanted:
            return None if pcm else pcm
        rest = b""
        if size > ring.full:
            if drop:
                self._tell_overflow(ring.make_room())
            else:
                rest = ring.give_back(len(pcm))
        if not self.pending and self._link.state is _UP:
            self.pending = self._sender.may_send(self._now)
        return rest

    def flush(self, now: float) -> None:
        """Have the audio pushed so far sent without waiting for a full message (PROTOCOL 2.2).

        Raises LocalProtocolError after ``end_input`` or the stream's end.
        """
        self._require_input("a flush")
        self._advance(now)
        self._ring.mark(self._ring.pushed, finalize=False)
        self._look()

    def finalize(self, now: float) -> None:
        """Ask for finals of the audio pushed so far (PROTOCOL 2.4); the session stays open.

        Raises LocalProtocolError after ``end_input`` or the stream's end.
        """
        self._require_input("a finalize")
        self._advance(now)
        self._ring.mark(self._ring.pushed, finalize=True)
        self._look()

    def end_input(self, now: float) -> None:
        """No more audio comes: send what is left, ask for finals, and end the stream when they came.

        Calling it again changes nothing. Raises LocalProtocolError after the stream's end.
        """
        if self._input_ended:
            return
        self._require_input("the end of input")
        self._advance(now)
        self._input_ended = True
        self._plain = False
        self._ring.mark(self._ring.pushed, finalize=False)
        self._arm(Timer.DRAIN, self._drain.end_input(self._now, self.unsent_seconds))
        if self._link.state is LinkState.BACKOFF and not self._ring.unacknowledged:
            self._finish()
        self._look()

    def close(self, now: float) -> None:
        """End the stream now, politely; transcripts under way are still heard until the transport closes.

        Calling it again, or after the end, changes nothing.
        """
        self._advance(now)
        self._input_ended = True
        self._plain = False
        self._finish()
        self._look()

    @discreet
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
        settings = self._settings.change(
            model=model,
            language=language,
            extra=extra,
            keyterms=keyterms,
            live=self._link.state is not LinkState.IDLE,
            speaking=self.speaking,
        )
        self._advance(now)
        if settings is not None:
            self._send_settings(settings)
            self._look()

    def offer_options(self, now: float, **changes: Any) -> None:
        """Change settings as ``update_options`` does, for somebody who speaks to many streams.

        What this stream cannot take is told by ``Diagnostic("settings_refused")`` instead of raised. After the stream's
        end nothing happens.
        """
        if self.finished:
            return
        try:
            self.update_options(now, **changes)
        except LocalProtocolError as refusal:
            self._advance(now)
            self._diagnose("settings_refused", str(refusal))
            if self._unread.full:
                self._arm_liveness()

    # Facts.

    def transport_opened(self, now: float) -> None:
        """The WebSocket that ``Connect`` asked for is open. Raises LocalProtocolError when none was asked for."""
        self._require_link("opened")
        self._advance(now)
        self._step_link("opened")
        self._look()

    def receive_text(self, data: str | bytes | bytearray | memoryview, now: float) -> None:
        """A text message arrived. Never raises for what it says; a Diagnostic tells what could not be used."""
        if now > self._now:  # as ``_heard``, without the call
            self._now = now
        if self._link.state not in _LISTENING:
            return
        self._sender.liveness.heard = self._now
        self._counters.messages_received += 1
        message: KnownMessage | None = decode_ordinary(data, self._limits) or self._decode(data)
        if message is not None:
            try:
                for effect in self._session.step(message.trigger):  # as ``_listen``, without the call
                    self._HEARD[effect](self, message)
            except MissingRow as missing:
                self._diagnose("unexpected_message", str(missing))
        self._arm_liveness()
        if self._input_ended:
            self._judge_finish()
        # As ``_look`` would find: a message only adds to what waits, but a backlog may go on as time passes.
        if self._outbox:
            self.pending = True
        elif self._sender.backlog:
            self._look()

    def receive_binary(self, data: Buffer, now: float) -> None:
        """A binary message arrived: there are none in this protocol, so it is skipped (PROTOCOL 3.4)."""
        if self._heard(now):
            self._counters.messages_received += 1
            self._diagnose("binary_message", f"{memoryview(data).nbytes} bytes")
            self._after_inbound()

    def transport_alive(self, now: float) -> None:
        """A pong arrived: the audio sent before its ping is confirmed."""
        if not self._heard(now):
            return
        liveness = self._sender.liveness
        if liveness.asked is not None:
            self._counters.round_trip = self._now - liveness.asked
        liveness.answered()
        if not self.speaking:
            self._hearing.acknowledge_silence()
        self._after_inbound()

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
        self._require_link("closed_end")
        self._advance(now)
        self._counters.failures += self._link.state is not LinkState.CLOSING
        failure = self._failure_of(code, reason, http_status, retry_after, error)
        self._sender.liveness.due = False
        self._transport_gone()
        self._step_link(self._class_of(failure, code))
        self._look()

    # Time and results.

    def handle_timeout(self, now: float) -> None:
        """Step every timer that is due. Too early or twice is harmless; then look at the results as after any input."""
        super().handle_timeout(now)
        self._look()

    def take_actions(self, now: float, max_messages: int | None = None) -> list[Action]:
        """What the transport is to do now, in order: at most 16 messages at a time, encoded here.

        Taking again says that the transport accepted the earlier messages. While a write is pending, ask with
        ``max_messages=0`` and get only a Ping or an aborting Disconnect.
        """
        if now > self._now:  # as ``_advance``, without the call
            self._now = now
        if max_messages != 0 and self._plain and not self._outbox and self._link.state is _UP:
            message = self._sender.take_one(self._session)
            if message is not None:
                self._counters.messages_sent += 1
                self.pending = False
                return [message]
        room = BATCH if max_messages is None or max_messages > BATCH else max_messages
        actions: list[Action] = []
        sender, outbox = self._sender, self._outbox
        liveness, timeline = sender.liveness, sender.timeline
        if room > 0:
            liveness.accepted = timeline.count
            left = room
            while outbox and left:
                action = outbox.popleft()
                left -= isinstance(action, bytes)
                actions.append(action)
            if not outbox and self._link.state is _UP:
                left = sender.take(actions, left, self._now, self._session)
                if sender.backlog or self._input_ended:
                    left = self._after_audio(actions, left)
            self._counters.messages_sent += room - left
            sent = timeline.count
        else:
            left = 0
            if outbox and outbox[0] == ABORT:
                actions.append(outbox.popleft())
            sent = liveness.accepted
        if (sent >= liveness.ask_at or liveness.due) and self._link.state is _UP:
            liveness.take_ping(self._now, sent)
            actions.append(PING)
            self._arm_liveness()
        if left and not outbox:
            self.pending = False  # as ``_look`` would find: all that could go went
        else:
            self._look()
        return actions

    def take_events(self) -> list[Event]:
        """What happened, in order; StreamEnded or StreamFailed comes last and once."""
        if not self._unread.full:
            return self._unread.take()
        events = self._unread.take()
        if self._link.state is _UP:
            # Liveness and quiet stood still while nobody read; they go on from here.
            self._sender.liveness.heard = self._now
            self._drain.listen_again(self._now)
            self._after_inbound()
        return events

    # Triggers: what is the case, in the words of the tables.

    def _class_of(self, failure: SttError, code: int) -> str:
        """Name what a closed transport means (CONTRACT decisions 5 to 7)."""
        if self._link.state is LinkState.CLOSING:
            return "closed_fail" if self._outage.fatal else "closed_end"
        if self._input_ended:
            orderly = code == 1000 and self._failure is None and self._drain.acknowledged and not self.speaking
            if orderly or not self._ring.unacknowledged:
                return "closed_end"
        trigger = self._outage.failed(failure, self._now)
        if trigger != "closed_fail" and self._drain.barren:
            self._expired = True
            return "closed_end"
        return trigger

    def _break(self, failure: SttError) -> None:
        """The gateway broke off: reconnect, give up, or take it as the end when nothing is missing any more."""
        if self._link.state is not LinkState.UP:
            return
        if self._input_ended and not self._ring.unacknowledged:
            self._finish()
        elif verdict(failure) is Verdict.PERMANENT:
            self._outage.fatal = failure
            self._finish()
        else:
            self._failure = failure
            self._step_link("broken")

    def _judge_finish(self) -> None:
        """See whether the end of input is answered, or when it will be taken as answered."""
        if not self._input_ended or self._link.state is not _UP:
            return
        acknowledged = not self._ring.unacknowledged
        at = self._drain.settled_at(
            speaking=self.speaking,
            acknowledged=acknowledged,
            exactly=acknowledged and self._hearing.exact >= self._ring.handed,
        )
        if at is None or (self._unread.full and at > self._now):
            self._cancel(Timer.QUIET)
        elif at <= self._now + EPSILON:
            self._finish()
        else:
            self._arm(Timer.QUIET, at)

    # Link effects.

    def _open_session(self) -> None:
        self._cancel(Timer.CONNECT)
        self._counters.sessions += 1
        self._counters.connect_latency = self._now - self._connecting_at
        failures = self._outage.failures
        self._outage.opened(self._now)
        self._session_id = None
        self._turn.request_id = ""
        self._hearing.begin()
        self._drain.begin_session()
        self._sender.begin(self._now, resumed=failures > 0)
        self._session.step("opened")
        self._say("client:session.create", encode_session_create(self._settings.create()))
        if failures:
            rate = self.options.sample_rate
            self._tell(
                Resumed(
                    failures,
                    audio_time=self._ring.position / rate,
                    resent_duration=self._ring.to_resend / rate,
                    estimated_duration=self._hearing.estimated / rate,
                )
            )
        self._arm_liveness()

    def _leave_session(self) -> None:
        self._sender.liveness.due = False
        self._say("client:session.close", CLOSE)

    def _rejoin(self) -> None:
        for span in self._ring.rewind():
            self._tell_dropped(span, "unacknowledged")

    def _tell_retry(self) -> None:
        outage = self._outage
        error = cast("SttError", outage.last)  # the failure that chose this row
        self._tell(Reconnecting(outage.failures, outage.delay, error))

    def _end(self) -> None:
        failure: SttError | None = None
        if self._expired and self.speaking:
            failure = FinalizeTimeout(
                "the gateway sent no final for the last words: they are delivered as it last heard them",
                phase="finalize",
                session_id=self._session_id,
            )
        elif self._expired and self._ring.never_sent:
            failure = self._outage.last or FinalizeTimeout(
                "the gateway did not take all audio in time: raise Limits.drain, or push no faster than it listens",
                phase="finalize",
                session_id=self._session_id,
            )
        self._conclude(failure)

    def _fail(self) -> None:
        self._conclude(self._outage.fatal)

    def _conclude(self, failure: SttError | None) -> None:
        self._plain = False
        self._turn.step("stream_over")
        self._cancel(*Timer)
        self.error = failure
        if failure is None:
            self._session.step("stream_ended")
            self._tell(StreamEnded(self.unacknowledged_seconds))
        else:
            self._session.step("stream_failed")
            self._tell(StreamFailed(failure, self.unacknowledged_seconds))

    _LINK: ClassVar[Mapping[StrEnum, Callable[[Any], None]]] = {
        **Link._LINK,
        LinkEffect.OPEN_SESSION: _open_session,
        LinkEffect.LEAVE_SESSION: _leave_session,
        LinkEffect.REJOIN: _rejoin,
        LinkEffect.TELL_RETRY: _tell_retry,
        LinkEffect.END: _end,
        LinkEffect.FAIL: _fail,
    }

    # Session effects: what the gateway said.

    def _on_created(self, message: SessionCreatedMessage) -> None:
        self._session_id = message.session_id or self._session_id
        self._turn.request_id = self._session_id or ""
        self._tell(SessionCreated(message.session_id))

    def _on_speech(self, message: StartOfSpeech | Transcript) -> None:
        if isinstance(message, StartOfSpeech):
            self._hearing.hears_onsets = True
            self._turn.step(message.trigger)
            return
        trigger, event, problems, acknowledged = self._hearing.hear(
            message, self._now, self._settings.language or "", self._session_id or ""
        )
        self._confidences.newest = event
        if problems:
            self._diagnose("invalid_field", ", ".join(problems))
        if acknowledged is not None:
            self._confidences.hear_final(event)
            if acknowledged:
                self._outage.works()
        if self._turn.step(trigger, event):
            self._send_deferred()

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
        said = self._confidences.safe(message.message)
        self._break(gateway_failure(message.code, said, session_id=message.session_id or self._session_id))

    _HEARD: ClassVar[Mapping[StrEnum, Callable[[Any, Any], None]]] = {
        SessionEffect.CREATED: _on_created,
        SessionEffect.HEAR: _on_speech,
        SessionEffect.FINALIZED: _on_finalized,
        SessionEffect.CLOSED: _on_closed,
        SessionEffect.ERROR: _on_error,
    }

    def _send_deferred(self) -> None:
        """Send the settings that waited for the end of the turn."""
        if self._may_update():
            settings = self._settings.take_deferred()
            if settings is not None:
                self._send_settings(settings)

    # Timers.

    def _ping_timeout(self) -> None:
        self._sender.liveness.expire(self._now)

    def _lost_timeout(self) -> None:
        liveness = self._sender.liveness
        if not liveness.expire(self._now):
            return
        self._failure = ConnectionLost(
            f"nothing was heard from the gateway for {self._now - liveness.heard:.1f} s: check the network",
            phase="session",
            session_id=self._session_id,
        )
        self._outage.timed_out(liveness.heard)
        self._step_link("lost")

    def _pace(self) -> None:
        """The next stretch of the backlog may go: ``pending`` says so by itself."""

    def _drain_timeout(self) -> None:
        self._expired = True
        self._finish()

    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]] = {
        **Link._TIMEOUTS,
        Timer.PING: _ping_timeout,
        Timer.LOST: _lost_timeout,
        Timer.PACE: _pace,
        Timer.QUIET: _judge_finish,
        Timer.DRAIN: _drain_timeout,
    }

    # Sending.

    def _may_finalize(self) -> bool:
        """Whether the finalize that the end of input asks for may go."""
        return self._drain.finalize_at is None and not self._ring.unsent

    def _after_audio(self, actions: list[Action], room: int) -> int:
        """See what is to come behind the audio that could go; return how much room is left."""
        sender = self._sender
        if sender.backlog:
            due = sender.pace_deadline()
            if due is not None and due > self._now + EPSILON:
                self._arm(Timer.PACE, due)
        if self._input_ended and room and self._may_finalize():
            self._session.step("client:session.finalize")
            actions.append(FINALIZE)
            room -= 1
            self._drain.finalize_sent(self._now)
            self._judge_finish()
        return room

    def _may_update(self) -> bool:
        """Whether a session is open; one that is not is told by its ``session.create`` instead."""
        return self._link.state is _UP and self._session.allows("client:session.update")

    def _send_settings(self, settings: Mapping[str, Any]) -> None:
        if self._may_update():
            self._say("client:session.update", encode_session_update(settings))

    # Small things.

    def _heard(self, now: float) -> bool:
        """Note inbound traffic; False when no transport is there to bring any."""
        if now > self._now:  # as ``_advance``, without the call
            self._now = now
        if self._link.state not in _LISTENING:
            return False
        self._sender.liveness.heard = self._now
        return True

    def _decode(self, data: str | bytes | bytearray | memoryview) -> KnownMessage | None:
        """Decode what is not as it ordinarily is; None, and a Diagnostic, for what means nothing here."""
        try:
            message = decode_server(data, self._limits)
        except NotUsable as problem:
            self._diagnose("invalid_message", problem.reason)
            return None
        if isinstance(message, Unrecognized):
            self._diagnose("unknown_type", f"type of {message.type_length} characters")
            return None
        if message.problems and not isinstance(message, Transcript):  # of which more may be found later
            self._diagnose("invalid_field", ", ".join(message.problems))
        return message

    def _after_inbound(self) -> None:
        self._arm_liveness()
        if self._input_ended:
            self._judge_finish()
        self._look()

    def _look(self) -> None:
        """See what waits to be taken now: the end of every input."""
        sender = self._sender
        liveness = sender.liveness
        if self._outbox or liveness.due:
            self.pending = True
        elif self._link.state is not _UP:
            self.pending = False
        else:
            self.pending = (
                (self._ring.ready and sender.may_send(self._now))
                or sender.timeline.count >= liveness.ask_at
                or (self._input_ended and self._may_finalize())
            )

    def _arm_liveness(self) -> None:
        """Wait for what liveness waits for; while nobody reads, it stands still."""
        liveness, timers = self._sender.liveness, self._timers
        timer, other = (_PING, _LOST) if liveness.asked is None else (_LOST, _PING)
        if other in timers:
            del timers[other]
        deadline = liveness.deadline()
        if deadline is None or self._link.state is not _UP or self._unread.full:
            self._cancel(timer)
        else:
            timers[timer] = deadline  # as ``_arm``, without the call
            self.deadline = deadline if len(timers) == 1 else min(timers.values())

    def _tell(self, event: Event) -> None:
        self._unread.tell(event)

    def _tell_dropped(self, span: Span, cause: str) -> None:
        rate = self.options.sample_rate
        self._counters.dropped += span.end - span.start
        self._unread.dropped(span.start / rate, span.end / rate, cause)

    def _diagnose(self, kind: str, detail: str) -> None:
        self._counters.diagnostics += 1
        self._tell(Diagnostic(kind, detail))

    def _send_with_care(self, pcm: Buffer, now: float, drop: bool) -> Buffer | None:
        """Do as ``send_audio`` does, with any buffer, for an endpointer, and where nothing may come any more."""
        data = as_bytes(pcm)
        if self._plain and len(data) < _LARGE:
            return self.send_audio(bytes(data), now, drop)
        self._require_input("audio")
        self._advance(now)
        rest: Buffer = b""
        if not drop:
            room = self._ring.room
            data, rest = data[:room], data[room:]
        if self._endpointing is not None:
            self._hear_for_endpoints(self._endpointing, data)
        self._tell_overflow(self._ring.push(data) or ())
        self._look()
        return rest

    def _hear_for_endpoints(self, endpointing: Endpointing, data: memoryview) -> None:
        for position in endpointing.push(data):
            self._ring.mark(position, finalize=True)
        if endpointing.failure is not None:
            self._diagnose("endpointer_failed", type(endpointing.failure).__name__)
            self._endpointing = None
            self._plain = True
            if self._unread.full:
                self._arm_liveness()

    def _tell_overflow(self, dropped: Sequence[Span]) -> None:
        for span in dropped:
            self._tell_dropped(span, "overflow")
        if dropped and self._unread.full:
            self._arm_liveness()

    def _require_input(self, what: str) -> None:
        if self._input_ended or self._link.state is _DONE:
            raise LocalProtocolError(
                f"{what} came after the end of the input or the stream: open a new stream for more", phase="session"
            )
