"""A ``Connection`` of which every result is checked, whoever drives it."""

from __future__ import annotations

import math
from array import array
from base64 import b64decode
from sys import byteorder
from typing import Any

from attrs import define, field

from lkstt_proto import (
    Action,
    AudioDropped,
    Connect,
    Connection,
    Disconnect,
    Event,
    LinkState,
    LocalProtocolError,
    SttError,
)
from tests.soundness import Ear, check, sound_action

LOOKS = (
    "link_state",
    "session_state",
    "speaking",
    "finished",
    "error",
    "stats",
    "unsent_seconds",
    "unacknowledged_seconds",
    "room",
    "readable",
    "pending",
    "deadline",
)
FACTS = ("receive_text", "receive_binary", "transport_alive", "handle_timeout", "offer_options", "close")
"""Calls that may come at any time."""
PATIENCE = 5000
"""Steps of a finish, and much more than any takes."""
PRECISE = 1e6
"""Seconds up to which floats tell microseconds apart with ease."""


def _marked() -> bytes:
    samples = array("H", range(65536)) * 2
    if byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


_MARKED = _marked()
_CYCLE = len(_MARKED) // 2

LONGEST_PUSH = _CYCLE
"""Bytes."""


@define
class Client:
    """Calls a ``Connection`` with the time, takes its results and holds them against each other.

    The audio that ``push`` makes tells in every sample where in the stream it lies, modulo 65,536.
    """

    connection: Connection
    ear: Ear
    now: float = 0.0
    dialling: bool = False
    """A Connect was taken that has not been answered."""
    hanging_up: bool = False
    """A Disconnect was taken that has not been answered."""
    pushed: int = 0
    """Bytes."""
    handed: int = 0
    """Samples in the messages taken."""
    messages: int = 0
    refused: int = 0
    """Calls that were a caller's mistake."""
    ended_by: float = math.inf
    """When the stream must be over, if somebody looks at the clock in time."""
    heard: list[Event] = field(factory=list)
    """Everything, in order."""
    _next: int | None = None
    _jumps: list[tuple[int | None, int]] = field(factory=list)
    _gaps: list[tuple[int, int]] = field(factory=list)

    def call(self, method: str, *args: Any, **kwargs: Any) -> bool:
        """Call the connection; False where that was a caller's mistake, which must change nothing."""
        before = None if method in FACTS else self.looks()
        try:
            getattr(self.connection, method)(*args, **kwargs)
        except LocalProtocolError:
            check(method not in FACTS, f"{method} is nobody's mistake")
            check(self.looks() == before, f"{method} was refused and changed nothing")
            self.refused += 1
            return False
        self.look()
        if method == "handle_timeout" and abs(self.now) < PRECISE:
            deadline = self.connection.deadline
            check(deadline is None or deadline > self.now, "no deadline lies behind after handle_timeout")
        return True

    def looks(self) -> tuple[Any, ...]:
        """Everything that may be looked at."""
        return tuple(getattr(self.connection, name) for name in LOOKS)

    def look(self) -> None:
        """Check that what may be looked at fits together."""
        connection = self.connection
        stats = connection.stats
        check(connection.room >= 0, "room is not negative")
        check(0 <= connection.unsent_seconds <= connection.unacknowledged_seconds, "what is unsent is unacknowledged")
        check(stats.audio_unsent == connection.unsent_seconds, "stats tell the unsent audio")
        check(stats.audio_unacknowledged == connection.unacknowledged_seconds, "stats tell the unacknowledged audio")
        check(
            stats.audio_sent + stats.audio_dropped + connection.unsent_seconds + 1e-6 >= stats.audio_pushed,
            "all audio was sent, was dropped or waits",
        )
        check(connection.deadline is None or not math.isnan(connection.deadline), "the deadline is a time")
        check(connection.finished is (connection.link_state is LinkState.DONE), "finished and done are the same")
        check(connection.error is None or isinstance(connection.error, SttError), "an error is one of ours")
        if connection.finished:
            check(connection.deadline is None, "who is finished waits for nothing")
            check(not connection.pending, "who is finished wants nothing")

    def push(self, size: int) -> bool:
        """Push so many bytes of marked audio."""
        start = self.pushed % _CYCLE
        room = self.connection.room
        dropped = self.connection.stats.audio_dropped
        if not self.call("send_audio", _MARKED[start : start + size], self.now):
            return False
        self.pushed += size
        check(size > room or self.connection.stats.audio_dropped == dropped, "within room nothing is dropped")
        return True

    def take(self, max_messages: int | None = None) -> list[Action]:
        """Take actions once, and the events."""
        connection = self.connection
        pending = connection.pending
        actions = connection.take_actions(self.now, max_messages)
        if max_messages is None:
            check(bool(actions) is pending, "pending tells whether there is something to take")
        texts = 0
        for action in actions:
            message = sound_action(action)
            if message is not None:
                texts += 1
                self._sent(message)
            elif isinstance(action, Connect):
                check(not self.dialling and not self.hanging_up, "a Connect waits for the answer to the one before")
                self.dialling = True
            elif isinstance(action, Disconnect):
                self.hanging_up = True
        self.messages += texts
        check(texts <= 16, "at most 16 messages are given at a time")
        check(max_messages is None or texts <= max(0, max_messages), "no more is given than was wanted")
        self.hear()
        self.look()
        return actions

    def hear(self) -> None:
        """Take events, and check the accounts."""
        connection, ear = self.connection, self.ear
        events = connection.take_events()
        stats = connection.stats
        ear.hear(events, stats.audio_sent + stats.audio_dropped + 1e-6)
        self.heard += events
        for event in events:
            if isinstance(event, AudioDropped):
                self._gap(
                    round(event.start * connection.options.sample_rate),
                    round(event.end * connection.options.sample_rate),
                )
        for jump in self._jumps:
            gaps = {(start % 65536, end % 65536) for start, end in self._gaps}
            check(jump in gaps, "audio follows upon audio, or upon what was told as dropped")
        self._jumps.clear()
        check(connection.readable, "who has read everything may be sent more")
        check(stats.messages_sent == self.messages, "messages sent are counted")
        check(stats.finals == ear.finals, "finals are counted")
        check(stats.diagnostics == ear.diagnostics, "diagnostics are counted")
        check(abs(stats.audio_dropped - ear.dropped) < 1e-6, "all that was dropped is told")
        rate = connection.options.sample_rate
        check(
            round((stats.audio_sent + stats.audio_resent) * rate) == self.handed,
            "the ledger tells what was handed over",
        )
        check(ear.over is connection.finished, "the end is told when it comes, and not before")
        check(connection.speaking is ear.speaking, "the turn is told when it opens and closes")
        if ear.over:
            check(abs(ear.unique - stats.audio_sent) < 1e-6, "usage sums to the unique audio")
            check(abs(ear.resent - stats.audio_resent) < 1e-6, "usage sums to the resent audio")
            check(round(stats.audio_pushed * rate) == self.pushed // 2, "every whole sample pushed is counted")

    def _sent(self, message: Any) -> None:
        if message["type"] == "session.create":
            self._next = None
        if message["type"] != "input_audio":
            return
        pcm = b64decode(message["audio"])
        first, count = int.from_bytes(pcm[:2], "little"), len(pcm) // 2
        check(pcm == _MARKED[first * 2 : (first + count) * 2], "a message holds what was pushed, without a gap")
        if self._next not in (None, first):
            self._jumps.append((self._next, first))
        self._next = (first + count) % 65536
        self.handed += count

    def _gap(self, start: int, end: int) -> None:
        touching = [gap for gap in self._gaps if gap[0] <= end and start <= gap[1]]
        self._gaps = [gap for gap in self._gaps if gap not in touching]
        self._gaps.append((min([start, *(gap[0] for gap in touching)]), max([end, *(gap[1] for gap in touching)])))

    # The end.

    def wish_end(self) -> None:
        """End the input, and note by when the stream must be over."""
        limits, connection = self.ear.limits, self.connection
        waiting = connection.unsent_seconds
        ended = connection.stats
        if self.call("end_input", self.now) and math.isinf(self.ended_by):
            self.ended_by = self.now + limits.drain + limits.close + waiting
        check(connection.stats.audio_pushed == ended.audio_pushed, "an end adds no audio")

    def closed(self, **facts: Any) -> bool:
        """The transport closed."""
        if self.call("transport_closed", self.now, **facts):
            self.dialling = self.hanging_up = False
            return True
        return False

    def finish(self) -> None:
        """End the input and have nobody answer but to what must be answered: a finish always finishes."""
        connection = self.connection
        if not connection.finished:
            self.wish_end()
        # Whoever comes late finds some timers due, and waits for a polite close from then on.
        ended_by = max(self.ended_by, self.now) + self.ear.limits.close
        for _ in range(PATIENCE):
            if connection.finished:
                break
            while self.take():
                pass
            if self.hanging_up:
                self.closed(code=1000)
            elif self.dialling and connection.link_state is LinkState.CONNECTING:
                self.closed()
            elif connection.deadline is not None:
                self.now = max(self.now, connection.deadline)
                self.call("handle_timeout", self.now)
            else:
                check(connection.finished or connection.pending, "a stream that is not over waits for something")
        while self.take():
            pass
        check(connection.finished, "a finish finishes")
        check(self.now <= ended_by + 1e-3 or self.now >= PRECISE, "a finish finishes in time")
        check(self.ear.over, "the end was told")
