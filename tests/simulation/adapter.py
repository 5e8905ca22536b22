"""The adapter loop, as the contract asks for it.

After any input take the actions, take the events, look at the deadline. One writer; while it writes, only a ping or an
aborting disconnect may be had. Each ``Connect`` is answered by one ``transport_closed``. Nothing is received while the
core is not readable.
"""

from __future__ import annotations

import math
from binascii import a2b_base64
from collections.abc import Callable
from typing import TYPE_CHECKING

from lkstt_proto import Connect, Connection, Disconnect, Event, Ping, SpeechEvent
from lkstt_proto.encoding import encode_audio

from .judge import Judge
from .network import Link, Network
from .plan import Plan
from .recogniser import Truth
from .tape import position_of
from .world import SECOND, Order, Violation, World

if TYPE_CHECKING:
    from .application import Application

AUDIO = encode_audio(b"")[:-2]
"""How an audio message begins."""


class Adapter:
    """Moves the messages of one ``Connection``."""

    def __init__(self, world: World, plan: Plan, connection: Connection, network: Network, judge: Judge) -> None:
        self.world = world
        self.connection = connection
        self.application: Application
        self._plan = plan
        self._network = network
        self._judge = judge
        self._link: Link | None = None
        self._wake: int | None = None
        self._frozen_until = 0
        self._blocked = False
        for when, length in plan.freezes:
            world.at(when, Order.NETWORK, self._freeze, length)

    # Standing still.

    def _freeze(self, length: int) -> None:
        self._frozen_until = max(self._frozen_until, self.world.now + length)
        self._judge.paused(length)

    def frozen(self, order: Order, call: Callable[..., None], *args: object) -> bool:
        """Whether this process stands still; if so, ``call`` comes again when it goes on."""
        if self.world.now < self._frozen_until:
            self.world.at(self._frozen_until, order, call, *args)
            return True
        return False

    @property
    def writing(self) -> bool:
        """Whether a write is not done yet."""
        return self._link is not None and self._link.writing

    # From the network.

    def opened(self) -> None:
        """The dial succeeded."""
        self._judge.opening()
        self.connection.transport_opened(self.world.seconds)
        self.settle()

    def received(self, data: bytes, truth: Truth | None) -> None:
        """A text message arrived."""
        if self.world.tell:
            self.world.tell(f"< {data[:160]!r}")
        self.world.note(data)
        before = self._judge.hearing(data, truth)
        text = data.decode() if len(data) % 2 and data.isascii() else data
        self.connection.receive_text(text, self.world.seconds)
        self._judge.heard(truth, before)
        self.settle()

    def received_binary(self, data: bytes) -> None:
        """A binary message arrived."""
        self._judge.hearing(b"", None)
        self.connection.receive_binary(data, self.world.seconds)
        self.settle()

    def alive(self, confirmed: int, heard: int) -> None:
        """A pong arrived; ``confirmed`` samples had gone before its ping, and ``heard`` were heard in real time."""
        if self.world.tell:
            self.world.tell(f"< pong for {confirmed}")
        before = self._judge.hearing(None, None)
        self.connection.transport_alive(self.world.seconds)
        self._judge.confirmed(confirmed, heard, before)
        self.settle()

    def closed(
        self, *, code: int, http_status: int | None, retry_after: float | None, error: BaseException | None
    ) -> None:
        """The transport is gone."""
        if self.world.tell:
            self.world.tell(f"< closed {code} {http_status or ''} {error or ''}")
        self.world.note(b"closed %d %d" % (code, http_status or 0))
        self._link = None
        self._judge.closing(code, http_status, retry_after)
        self.connection.transport_closed(
            self.world.seconds, code=code, http_status=http_status, retry_after=retry_after, error=error
        )
        self._judge.closed()
        self.settle()

    # After any input.

    def settle(self) -> None:
        """Take the actions, take the events, look at the deadline."""
        if self.world.chance(self._plan.needless_timeouts):
            self.connection.handle_timeout(self.world.seconds)
        self._take_actions()
        self.take_events()
        connection = self.connection
        link = self._link
        if link is not None:
            if self._blocked and connection.readable:
                self._blocked = False
                link.resume()
            self._blocked = not connection.readable
        deadline = connection.deadline
        if deadline is not None:
            when = max(self.world.now, math.ceil(deadline * SECOND - 0.01))
            if self._wake is None or when < self._wake:
                self._wake = when
                self.world.at(when, Order.TIMER, self._timeout, when)
        self._judge.settled()
        self.application.noticed()

    def take_events(self) -> None:
        """Hand events to the application, if it wants them."""
        if self.application.listening or self.connection.finished:
            events = self.connection.take_events()
            for event in events:
                if self.world.tell:
                    self.world.tell(f"* {_short(event)}")
                self.world.note(repr(event).encode())
            self._judge.events(events)
            if self.connection.finished:
                self.world.stopped = True

    def _take_actions(self) -> None:
        connection, now = self.connection, self.world.seconds
        while True:
            link = self._link
            if link is not None and link.writing:
                for action in connection.take_actions(now, 0):
                    self._act(action, overtakes=True)
                return
            # What is pending is as of the last input: the pace may allow more since.
            stale = connection._now < now
            pending = connection.pending
            if not pending and self._plan.asks_first:
                return
            actions = connection.take_actions(now, self._plan.batch)
            if not pending and not stale and any(not isinstance(action, Ping) for action in actions):
                raise Violation(f"nothing was pending, but there was {actions}")
            if len([action for action in actions if isinstance(action, bytes)]) > self._plan.batch:
                raise Violation("more messages than asked for")
            if not actions:
                return
            for action in actions:
                self._act(action, overtakes=False)

    def _act(self, action: object, *, overtakes: bool) -> None:
        world, link, judge = self.world, self._link, self._judge
        if isinstance(action, bytes):
            world.note(action)
            if overtakes or link is None:
                raise Violation(f"a message while {'writing' if link else 'there is no transport'}")
            if action.startswith(AUDIO):
                start = len(AUDIO)
                samples = ((len(action) - start - 2) // 4 * 3 - action[-4:].count(b"=")) // 2
                expected = judge.place_of_next if samples == 1 else 0
                position = position_of(a2b_base64(action[start : start + 8]), expected)
                if world.tell:
                    world.tell(f"> audio {position}..{position + samples}")
                judge.sent_audio(position, samples)
                link.send("text", action, samples, position)
            else:
                if world.tell:
                    world.tell(f"> {action[:160]!r}")
                judge.sent(action)
                link.send("text", action)
            return
        if world.tell:
            world.tell(f"> {action}" if not isinstance(action, Connect) else f"> Connect(attempt={action.attempt})")
        if isinstance(action, Ping):
            if link is None:
                raise Violation("a ping without a transport")
            before = judge.pinged(link.accepted if overtakes else None)
            if overtakes:
                link.send_now("ping", before)
            else:
                link.send("ping", number=before)
        elif isinstance(action, Disconnect):
            if link is None or (overtakes and not action.abort):
                raise Violation(f"{action} while {'writing' if link else 'there is no transport'}")
            judge.disconnect()
            if action.abort:
                link.abort()
            else:
                link.abandon()
        elif isinstance(action, Connect):
            if link is not None:
                raise Violation("a second transport was asked for")
            judge.connect()
            self._link = self._network.dial(self)
        else:
            raise Violation(f"an unknown action {action!r}")

    def _timeout(self, when: int) -> None:
        if when != self._wake:
            return
        if self.frozen(Order.TIMER, self._timeout, when):
            return
        self._wake = None
        connection, now = self.connection, self.world.seconds
        deadline = connection.deadline
        if deadline is not None and deadline <= now + 1e-6:
            if self.world.tell:
                self.world.tell("timeout")
            before = connection.link_state
            connection.handle_timeout(now)
            self._judge.timed_out(before)
            deadline = connection.deadline
            if deadline is not None and deadline <= now:
                raise Violation(f"the deadline {deadline} did not move beyond {now}")
        self.settle()


def _short(event: Event) -> str:
    """Tell an event in one line, with its words."""
    if not isinstance(event, SpeechEvent):
        return str(event)
    usage = event.recognition_usage
    return " ".join(
        [
            *(part for part in (event.type.value, event.request_id, "(promoted)" if event.promoted else "") if part),
            *([f"{usage.audio_duration:g} s, {usage.resent_duration:g} s again"] if usage else ()),
            *(f"{data.text!r} from {data.start_time:g} to {data.end_time:g}" for data in event.alternatives),
        ]
    )
