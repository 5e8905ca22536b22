"""The application: it speaks at its own pace, changes its mind, and does not always listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lkstt_proto import Connection, LinkState, LocalProtocolError

from .judge import Judge
from .plan import LONGEST_RANDOM_FRAME, Plan
from .tape import LONGEST, RATE, TAPE
from .world import SECOND, Order, Violation, World

if TYPE_CHECKING:
    from .adapter import Adapter

FRAME = RATE // 50
"""Samples that an endpointer hears at a time."""

PATIENCE = 400 * SECOND
"""After that it has had enough."""


KEYTERM_KEYS = {
    "deepgram/nova-3": "keyterm",
    "cartesia/ink-2": "keyterm",
    "speechmatics/enhanced": "additional_vocab",
}


class EndOfSpeech:
    """An endpointer that knows the tape: speech ends with the frame that a word ends in."""

    def __init__(self, plan: Plan) -> None:
        self.judge: Judge
        self._broken_after = 40 if plan.endpointer == "broken" else LONGEST
        self._ends = {(word.end - 1) // FRAME for word in plan.words}
        self._frames = 0

    def push(self, pcm: bytes) -> bool:
        """Hear 20 ms."""
        start = self._frames * FRAME
        if pcm != TAPE[2 * start : 2 * (start + FRAME)]:
            raise Violation("the endpointer hears audio out of order")
        if self._frames >= self._broken_after:
            raise ZeroDivisionError
        self._frames += 1
        if self._broken_after < LONGEST or self._frames - 1 not in self._ends:
            return False
        self.judge.marked(start + FRAME)
        return True


class Application:
    """Pushes the tape, then ends."""

    def __init__(self, world: World, plan: Plan, adapter: Adapter, connection: Connection, judge: Judge) -> None:
        self._world = world
        self._plan = plan
        self._adapter = adapter
        self._connection = connection
        self._judge = judge
        self._next = 0  # byte on the tape
        self._frame = b""  # what is left of it
        self._waiting = False  # for room
        self._overdue = False  # the next frame was spoken before there was room for this one
        self._ended = False
        self._away = 0
        for when, length in plan.absences:
            world.at(when, Order.APPLICATION, self._leave, length)
        world.at(PATIENCE, Order.APPLICATION, self._close)

    def start(self) -> None:
        """Begin the stream."""
        self._connection.start(self._world.seconds)
        self._adapter.settle()
        self._world.at(0, Order.APPLICATION, self._speak)

    @property
    def listening(self) -> bool:
        """Whether it reads events now."""
        return not self._away

    def noticed(self) -> None:
        """Something happened: there may be room now."""
        if self._waiting and (self._connection.room or self._connection.finished):
            self._waiting = False
            self._world.at(self._world.now, Order.APPLICATION, self._push)

    # Listening.

    def _leave(self, length: int) -> None:
        self._away += 1
        self._judge.away()
        self._world.after(length, Order.APPLICATION, self._return)

    def _return(self) -> None:
        self._away -= 1
        if not self._away:
            if self._adapter.frozen(Order.APPLICATION, self._return_late):
                self._away += 1
                return
            self._judge.away()
            self._adapter.settle()

    def _return_late(self) -> None:
        self._return()

    # Speaking.

    def _speak(self) -> None:
        if self._adapter.frozen(Order.APPLICATION, self._speak) or self._ended:
            return
        plan, world = self._plan, self._world
        if self._next >= plan.samples * 2 or self._connection.finished:
            world.after(plan.ends_after, Order.APPLICATION, self._end)
            return
        size = 2 * (plan.frame or world.random.randint(1, LONGEST_RANDOM_FRAME)) + plan.odd_frames
        self._frame = TAPE[self._next : min(self._next + size, plan.samples * 2)]
        self._next += len(self._frame)
        if plan.speed:
            # A clock of its own: waiting for room does not make up for it.
            world.after(len(self._frame) / 2 / RATE / plan.speed * SECOND, Order.APPLICATION, self._go_on)
        self._push()

    def _go_on(self) -> None:
        if self._frame:
            self._overdue = True
        else:
            self._speak()

    def _push(self) -> None:
        """Push what is left of the frame."""
        if self._adapter.frozen(Order.APPLICATION, self._push):
            return
        connection, plan, now = self._connection, self._plan, self._world.seconds
        if connection.finished or self._ended:
            self._frame = b""
        elif plan.waits:
            room = connection.room
            piece = self._frame[:room]
            if not piece and self._frame:
                self._waiting = True
                return
            self._frame = self._frame[len(piece) :]
            self._judge.pushing(len(piece))
            connection.send_audio(piece, now)
            self._judge.pushed()
        else:
            piece, self._frame = self._frame, b""
            self._judge.pushing(len(piece))
            connection.send_audio(piece, now)
            self._judge.pushed()
        if connection.pending or not plan.asks_first or not plan.waits:
            self._adapter.settle()
        if self._frame:
            self._waiting = True
            self.noticed()
            return
        self._whims()
        if not plan.speed:
            self._world.after(100, Order.APPLICATION, self._speak)
        elif self._overdue:
            self._overdue = False
            self._speak()

    def _whims(self) -> None:
        world, plan, connection = self._world, self._plan, self._connection
        if connection.finished or self._ended:
            return
        if world.chance(plan.flushes):
            connection.flush(world.seconds)
            self._adapter.settle()
            if not self._adapter.writing:
                self._judge.flushed()
        if world.chance(plan.finalizes) and not connection.finished:
            self._judge.finalizing()
            connection.finalize(world.seconds)
            self._adapter.settle()
        if world.chance(plan.updates) and connection.link_state not in (LinkState.CLOSING, LinkState.DONE):
            self._update(str(world.random.randint(0, 99)))

    def _update(self, number: str) -> None:
        connection, judge, now = self._connection, self._judge, self._world.seconds
        what = self._world.random.choice(("number", "keyterms", "model"))
        if what == "number":
            connection.update_options(now, extra={"number": number})
            judge.updated("number", number)
        elif what == "keyterms":
            connection.update_options(now, keyterms=[number])
            key = KEYTERM_KEYS[self._plan.model]
            judge.updated(key, [{"content": number}] if key == "additional_vocab" else [number])
        elif self._plan.model == "deepgram/nova-3":
            connection.update_options(now, model="deepgram/nova-2")
            judge.updated("model", "deepgram/nova-2")
        self._adapter.settle()

    # Ending.

    def _end(self) -> None:
        if self._adapter.frozen(Order.APPLICATION, self._end) or self._ended:
            return
        ending = self._plan.ending
        if ending == "close":
            self._close()
            return
        self._ended = True
        if self._connection.finished:
            return
        self._judge.ending()
        self._connection.end_input(self._world.seconds)
        self._adapter.settle()
        try:
            self._connection.send_audio(b"12", self._world.seconds)
        except LocalProtocolError:
            pass
        else:
            raise Violation("audio was taken after the end of input")
        if ending == "both":
            self._world.after(self._world.random.random() * 4 * SECOND, Order.APPLICATION, self._close)

    def _close(self) -> None:
        if self._adapter.frozen(Order.APPLICATION, self._close):
            return
        self._ended = True
        if not self._connection.finished:
            self._judge.closing_wish()
            self._connection.close(self._world.seconds)
            self._adapter.settle()
