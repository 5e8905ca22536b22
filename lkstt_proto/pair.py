"""A Connection and the Gateways it dials, joined in memory in virtual time.

Nothing waits: ``step`` jumps to whatever happens next, be it a message that arrives or a timer of either end. Messages
arrive in order, ``latency`` seconds after they were sent. Each Connect that succeeds makes a ``Session`` with a Gateway
of its own; the application on its side is a function called with the session and each of its events: see ``attend``.

    pair = Pair(Connection(STTOptions()))
    pair.wish(lambda: pair.connection.start(pair.now))
    pair.end_input(pair.microphone(bytes(32000)))
    pair.at(0.8, pair.cut)
    pair.run()
    assert pair.told("stream_ended")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, cast

from attrs import define, field

from .actions import Action, Connect, Disconnect, Ping
from .connection import Connection
from .dialogue import event_json
from .errors import LocalProtocolError
from .events import (
    AudioReceived,
    CloseRequested,
    Event,
    FinalizeRequested,
    GatewayEvent,
    SessionRequested,
    SpeechData,
)
from .gateway import Gateway

ENDLESS = 500_000
"""Steps after which two ends that never come to rest are a mistake: two hours of a microphone take fewer."""


@define(eq=False)
class Session:
    """One transport, with the gateway at its far end."""

    pair: Pair
    number: int
    """From 1."""
    gateway: Gateway
    audio: bytearray = field(factory=bytearray)
    """All that the gateway heard."""
    told: float = 0.0
    """Seconds of it up to which ``say`` gave finals."""
    events: list[GatewayEvent] = field(factory=list)
    alive: bool = True
    """False once the transport is gone: what was under way is lost."""
    stalled: bool = False
    """Half-open: whatever is sent, either way, goes nowhere."""
    busy_until: float = 0.0
    """When the gateway will have worked through what it has."""

    @property
    def now(self) -> float:
        return self.pair.now

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Have the application do something after a while, if the transport is still there."""
        self.pair.at(self.now + seconds, lambda: self.do(act))

    def do(self, act: Callable[[], object]) -> None:
        """Do something at the gateway and carry out what follows; nothing once the transport is gone."""
        if self.alive:
            act()
            self.pair.serve(self)

    def say(self, text: str, *, final: bool = True) -> None:
        """Send a transcript of what was heard since the last final; nothing once the transport is gone."""
        heard = self.gateway.audio_seconds
        data = SpeechData("en", text, self.told, heard)
        self.do(lambda: self.gateway.transcript(data, self.now, final=final))
        if final:
            self.told = heard


Application = Callable[[Session, GatewayEvent], None]


def attend(session: Session, event: GatewayEvent) -> None:
    """Do what every gateway does, and no more: accept, answer a finalize with one final word, and close when asked."""
    gateway = session.gateway
    if isinstance(event, SessionRequested):
        gateway.accept(session.now, session_id=f"s{session.number}")
    elif isinstance(event, FinalizeRequested):
        if gateway.audio_seconds > session.told:
            session.say("hello")
        gateway.finalized(session.now)
    elif isinstance(event, CloseRequested):
        gateway.close(session.now)


class Pair:
    """Both ends, the wire between them, and the clock."""

    def __init__(
        self,
        connection: Connection,
        application: Application = attend,
        *,
        gateway_factory: Callable[[], Gateway] = Gateway,
        latency: float = 0.05,
        speed: float | None = None,
    ) -> None:
        """``latency``: seconds one way. ``speed``: how many times real time a gateway hears audio; None: at once."""
        self.connection = connection
        self.now = 0.0
        self.sessions: list[Session] = []
        self.events: list[tuple[float, Event]] = []
        """What the client's application read, and when."""
        self.sent: list[tuple[float, Action]] = []
        """What the client asked of its transport, and when."""
        self.reading = True
        """Whether the client's application reads events."""
        self.muted = False
        """Whether the microphone pushes no more."""
        self.down = False
        """No dial succeeds."""
        self._application = application
        self._gateway_factory = gateway_factory
        self._latency = latency
        self._speed = speed
        self._order = count()
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._inbox: list[tuple[Session, bytes]] = []  # arrived, while the client was not readable
        self._dial: Connect | None = None  # under way

    # What a test does.

    def at(self, time: float, act: Callable[[], object]) -> None:
        """Have ``act`` called at a time."""
        heappush(self._agenda, (max(time, self.now), next(self._order), act))

    def wish(self, act: Callable[[], object]) -> None:
        """Do something to the connection and carry out what follows."""
        act()
        self.settle()

    def microphone(self, pcm: bytes, *, start: float = 0.5, chunk: float = 0.05) -> float:
        """Push audio as a microphone does, in real time; give the time of the last push."""
        size = round(chunk * self.connection.options.sample_rate) * 2
        time = start
        for number, offset in enumerate(range(0, len(pcm), size), 1):
            time = start + number * chunk
            self.at(time, partial(self._push, pcm[offset : offset + size]))
        return time

    def end_input(self, time: float) -> None:
        """Have the input end at a time."""
        self.at(time, lambda: self.wish(lambda: self.connection.end_input(self.now)))

    def cut(self, code: int = 1006) -> None:
        """Break the transport: both ends notice at once, and what was under way is lost.

        Raises LocalProtocolError where there is none.
        """
        session = self.session
        self._gone(session, code)
        self.wish(lambda: self.connection.transport_closed(self.now, code=code))

    def stall(self) -> None:
        """Let the transport go half-open. Raises LocalProtocolError before the first."""
        self.session.stalled = True

    def read(self) -> None:
        """Let the client's application read again; what waited for that is received."""
        self.reading = True
        self.settle()

    @property
    def session(self) -> Session:
        """The present one, or the last. Raises LocalProtocolError before the first."""
        if not self.sessions:
            raise LocalProtocolError("no dial has succeeded yet: run until one has", phase="connect")
        return self.sessions[-1]

    def step(self) -> bool:
        """Jump to the next wake-up and let it happen; False when there is none."""
        if self._agenda and self._agenda[0][0] <= min(self._deadlines(), default=self._agenda[0][0]):
            time, _, act = heappop(self._agenda)
            self.now = max(self.now, time)
            act()
            return True
        deadline = min(self._deadlines(), default=None)
        if deadline is None:
            return False
        self.now = max(self.now, deadline)
        self.connection.handle_timeout(self.now)
        self.settle()
        for session in self.sessions:
            session.do(partial(session.gateway.handle_timeout, self.now))
        return True

    def run(self, until: float | Callable[[], bool] | None = None) -> None:
        """Step until a time, until something is so, or until the stream is finished.

        Raises AssertionError where both ends go on for ever.
        """
        reached = False

        def alarm() -> None:
            nonlocal reached
            reached = True

        if isinstance(until, int | float):
            self.at(until, alarm)
        for _ in range(ENDLESS):
            if reached or (callable(until) and until()) or (until is None and self.connection.finished):
                return
            if not self.step():
                return
        raise AssertionError("the pair never comes to rest: end the input, or say until when to run")

    def told(self, *kinds: str) -> list[dict[str, Any]]:
        """What the client's application read, as JSON; of these types, if any are named."""
        told = [{**event_json(event), "at": time} for time, event in self.events]
        return [event for event in told if not kinds or event["type"] in kinds]

    # What follows.

    def settle(self) -> None:
        """After any input of the client: take the actions, take the events, receive what waits."""
        while True:
            while actions := self.connection.take_actions(self.now):
                self._carry_out(actions)
            if self.reading:
                self.events += [(self.now, event) for event in self.connection.take_events()]
            if not self._inbox or not self.connection.readable:
                return
            session, data = self._inbox.pop(0)
            if session.alive:
                self.connection.receive_text(data, self.now)

    def serve(self, session: Session) -> None:
        """After any input of a gateway: hand its events to the application, and send what it says."""
        gateway = session.gateway
        while True:
            for action in gateway.take_actions(self.now):
                if isinstance(action, bytes):
                    self._travel(session, partial(self._receive, session, action))
                else:  # a gateway neither dials nor pings
                    self._travel(session, partial(self._closed, session, cast("Disconnect", action).code))
            events = gateway.take_events()
            if not events and not gateway.pending:
                return
            for event in events:
                session.events.append(event)
                if isinstance(event, AudioReceived):
                    session.audio += event.pcm
                self._application(session, event)

    def _push(self, pcm: bytes) -> None:
        if not self.muted:
            self.wish(lambda: self.connection.send_audio(pcm, self.now))

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.sent.append((self.now, action))
            if isinstance(action, Connect):
                self._dial = action
                self.at(self.now + 2 * self._latency, partial(self._dialled, action))
            elif isinstance(action, bytes):
                self._deliver(self.session, action)
            elif isinstance(action, Ping):
                self._ping(self.session)
            elif self._dial is not None:
                self._dial = None
                self.at(self.now, partial(self._refused, code=1006))
            elif action.abort:
                # Cut from this side: the answer does not depend on the peer any more.
                self.at(self.now, partial(self._closed, self.session, 1006))
            else:
                self._travel(self.session, partial(self._left, self.session))

    def _dialled(self, dial: Connect) -> None:
        if self._dial is not dial:
            return  # abandoned
        self._dial = None
        if self.down:
            self._refused(http_status=503)
            return
        session = Session(self, len(self.sessions) + 1, self._gateway_factory())
        self.sessions.append(session)
        session.gateway.transport_opened(self.now)
        self.wish(lambda: self.connection.transport_opened(self.now))

    def _refused(self, **facts: Any) -> None:
        self.wish(lambda: self.connection.transport_closed(self.now, **facts))

    def _travel(self, session: Session, arrive: Callable[[], object]) -> None:
        def arrived() -> None:
            if session.alive and not session.stalled:
                arrive()

        self.at(self.now + self._latency, arrived)

    def _deliver(self, session: Session, data: bytes) -> None:
        def hear() -> None:
            session.do(lambda: session.gateway.receive_text(data, self.now))

        if self._speed is None:
            self._travel(session, hear)
            return
        # 4 characters of base64 are 3 bytes; the rest of the message is too short to matter.
        seconds = len(data) * 3 / 4 / 2 / self.connection.options.sample_rate / self._speed
        session.busy_until = max(session.busy_until, self.now + self._latency) + seconds
        self.at(session.busy_until, hear)

    def _ping(self, session: Session) -> None:
        # A pong comes when the gateway has worked through what was sent before its ping.
        answered = max(session.busy_until, self.now + self._latency)
        self.at(answered, lambda: self._travel(session, self._pong))

    def _pong(self) -> None:
        self.wish(lambda: self.connection.transport_alive(self.now))

    def _receive(self, session: Session, data: bytes) -> None:
        self._inbox.append((session, data))
        self.settle()

    def _left(self, session: Session) -> None:
        """The client's close frame arrived, and is answered."""
        self._travel(session, lambda: self._closed(session, 1000))

    def _closed(self, session: Session, code: int) -> None:
        if session.alive:
            self._gone(session, code)
            self.wish(lambda: self.connection.transport_closed(self.now, code=code))

    def _gone(self, session: Session, code: int) -> None:
        session.gateway.transport_closed(self.now, code=code)
        session.events += session.gateway.take_events()
        session.alive = False

    def _deadlines(self) -> list[float]:
        ends = [self.connection.deadline, *(session.gateway.deadline for session in self.sessions if session.alive)]
        return [deadline for deadline in ends if deadline is not None]
