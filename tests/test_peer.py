"""What both ends share: the clock, the timers, and the steps of the session table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

import pytest

from lkstt_proto.machine import MissingRow
from lkstt_proto.options import Limits
from lkstt_proto.peer import Peer, Timer
from lkstt_proto.tables import SessionEffect, SessionState


class Ear(Peer[str]):
    """A peer that only notes what it is called for."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        super().__init__(Limits())
        self.notes: list[str] = []

    def created(self, message: str) -> None:
        self.notes.append(f"created {message}")

    def due(self) -> None:
        self.notes.append(f"due at {self._now:g}")

    def arms_another(self) -> None:
        self.notes.append("arms")
        self._arm(Timer.CONNECT, self._now)

    def cancels_another(self) -> None:
        self.notes.append("cancels")
        self._cancel(Timer.DRAIN, Timer.LOST)

    _HEARD: ClassVar[Mapping[StrEnum, Callable[[Any, Any], None]]] = {SessionEffect.CREATED: created}
    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]] = {
        Timer.CONNECT: due,
        Timer.PING: arms_another,
        Timer.QUIET: cancels_another,
        Timer.DRAIN: due,
    }

    def arm(self, **timers: float) -> Ear:
        for name, due in timers.items():
            self._arm(Timer(name), due)
        return self

    def say(self, trigger: str) -> list[Any]:
        self._say(trigger, trigger.encode())
        return list(self._outbox)

    def listen(self, trigger: str, message: str) -> None:
        self._listen(trigger, message)


def test_a_new_peer_waits_for_nothing() -> None:
    ear = Ear()
    assert (ear.session_state, ear.deadline) == (SessionState.NEW, None)
    ear.handle_timeout(1e9)
    assert ear.notes == []


def test_the_deadline_is_the_earliest_timer() -> None:
    assert Ear().arm(drain=30.0, connect=10.0).deadline == 10.0


def test_due_timers_are_stepped_once_and_the_others_stay() -> None:
    ear = Ear().arm(connect=10.0, drain=30.0)
    ear.handle_timeout(9.99)
    assert ear.notes == []
    ear.handle_timeout(10.0)
    ear.handle_timeout(10.0)
    assert ear.notes == ["due at 10"]
    assert ear.deadline == 30.0


def test_a_timer_may_be_a_microsecond_early() -> None:
    ear = Ear().arm(connect=10.0)
    ear.handle_timeout(10.0 - 2e-6)
    assert ear.notes == []
    ear.handle_timeout(10.0 - 9e-7)
    assert len(ear.notes) == 1


def test_timers_that_fall_together_are_stepped_in_their_own_order() -> None:
    ear = Ear().arm(drain=1.0, quiet=3.0, ping=2.0)
    ear.handle_timeout(5.0)
    # A ping armed a timer that was due too; quiet cancelled the drain before its turn.
    assert ear.notes == ["arms", "cancels", "due at 5"]
    assert ear.deadline is None


def test_a_clock_that_runs_backwards_stands_still() -> None:
    ear = Ear().arm(connect=10.0)
    ear.handle_timeout(20.0)
    ear.arm(connect=15.0)
    ear.handle_timeout(5.0)
    assert ear.notes == ["due at 20", "due at 20"]


def test_our_message_is_sent_where_the_table_has_one_to_send() -> None:
    ear = Ear()
    assert ear.say("client:session.create") == [b"client:session.create"]
    assert ear.say("client:session.close")[1:] == [b"client:session.close"]
    # It was said already: a row without an effect.
    assert len(ear.say("client:session.close")) == 2
    with pytest.raises(MissingRow):
        ear.say("client:input_audio")
    assert (len(ear._outbox), ear.session_state) == (2, SessionState.ENDED)


def test_the_peers_message_is_passed_on_by_its_effect() -> None:
    ear = Ear()
    ear.say("client:session.create")
    ear.listen("gateway:session.created", "s1")
    assert (ear.notes, ear.session_state) == (["created s1"], SessionState.STREAMING)
    with pytest.raises(MissingRow):
        ear.listen("client:session.create", "again")
    assert ear.notes == ["created s1"]


def test_timers_are_stepped_in_the_order_of_the_contract() -> None:
    assert list(Timer) == ["connect", "backoff", "close", "ping", "lost", "pace", "quiet", "drain"]
