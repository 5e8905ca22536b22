"""Audio on its way out: what may be sent now, and the account of what was.

Three things hold audio back: a message that is not full yet, a peer that has not confirmed what it got
(``Limits.ahead``), and the pace of a resumed session's backlog. Nothing is encoded before it is taken.
"""

from __future__ import annotations

from attrs import define, field

from .actions import Action
from .audio import SAMPLE_BYTES, Mark, Ring, Timeline
from .encoding import FINALIZE, encode_audio, encode_pieces
from .ledger import Ledger
from .liveness import Liveness
from .machine import Machine
from .options import Limits
from .tables import SessionState

AUDIO = "client:input_audio"
"""What the session table calls an audio message."""

EPSILON = 1e-6
"""Seconds by which a timer may be early: clocks and sums of floats are not exact."""


BURST = 0.005
"""Seconds. Messages that fill so soon after each other come ten times as fast as speech, and from no microphone: a
transport may keep them for each other that long, and send them together at a fraction of the cost."""


@define
class Sender:
    """Sends one stream's audio, session after session."""

    limits: Limits
    rate: int
    ring: Ring = field(init=False)
    timeline: Timeline = field(init=False)
    ledger: Ledger = field(init=False)
    liveness: Liveness = field(init=False)
    _opened_at: float = 0.0
    backlog: int = 0
    """Samples of this session that waited when it opened, and go at the replay pace: none on a first one."""

    def __attrs_post_init__(self) -> None:
        self.ring = Ring(chunk=max(1, self.rate // 20), capacity=round(self.limits.audio_buffer * self.rate))
        self.timeline = Timeline(self.rate)
        self.timeline.begin(0)
        self.ledger = Ledger(self.rate)
        self.liveness = Liveness(self.limits, self.rate)

    def begin(self, now: float, *, resumed: bool) -> None:
        """A transport opened; what waits for a ``resumed`` session goes out at the replay pace."""
        # Not beyond what any transport was given: no transcript may speak of audio that was dropped unsent.
        self.timeline.begin(min(self.ring.position, self.ring.handed))
        self.liveness.begin(now)
        self._opened_at = now
        self.backlog = self.ring.unsent if resumed else 0

    def may_send(self, now: float) -> bool:
        """Whether neither back-pressure nor pace holds the next message."""
        count = self.timeline.count
        if count + self.ring.chunk > self.liveness.allowed:
            return False
        return count >= self.backlog or self._due(count) <= now + EPSILON

    def pace_deadline(self) -> float | None:
        """When the next message of the backlog may go; None when nothing waits for its pace."""
        count = self.timeline.count
        return self._due(count) if count < self.backlog and self.ring.ready else None

    def take_one(self, session: Machine[SessionState]) -> bytes | None:
        """Give the one message that may go where it is an ordinary one and alone, as a rule; None otherwise."""
        ring, timeline, liveness = self.ring, self.timeline, self.liveness
        count = timeline.count
        after = count + ring.chunk
        if not ring.steady or after > liveness.quiet_until or count < self.backlog:
            return None
        pcm = ring.take_one()
        if pcm is None:
            return None
        if session.steady != AUDIO:
            session.step(AUDIO)
        liveness.accepted = count
        timeline.count = after
        self.ledger.unique += ring.chunk
        return encode_audio(pcm)

    def take(self, actions: list[Action], room: int, now: float, session: Machine[SessionState]) -> int:
        """Append up to ``room`` messages that may go now; return how much room is left."""
        ring, timeline = self.ring, self.timeline
        chunk = ring.chunk
        while room:
            count = timeline.count
            most = (self.liveness.allowed - count) // chunk
            if most > room:
                most = room
            if count < self.backlog:
                # One at a time: each has its own time.
                most = min(most, self._due(count) <= now + EPSILON)
            if most <= 0:
                break
            if not ring.steady:
                left = self._take_special(actions, room, most, session)
                if left == room:
                    break
                room = left
                continue
            pcm = ring.take_steadily(most)
            if pcm is None:
                break
            if session.steady != AUDIO:
                session.step(AUDIO)
            samples = len(pcm) // SAMPLE_BYTES
            timeline.count = count + samples
            self.ledger.unique += samples
            room -= self._append(actions, pcm)
        return room

    def _take_special(self, actions: list[Action], room: int, most: int, session: Machine[SessionState]) -> int:
        """Append what goes next where a mark or a gap is near, or audio goes again; return how much room is left."""
        ring, timeline = self.ring, self.timeline
        position, handed = ring.position, ring.handed
        item = ring.take(most)
        if item is None:
            return room
        if isinstance(item, Mark):
            session.step("client:session.finalize")
            actions.append(FINALIZE)
            return room - 1
        session.step(AUDIO)
        if position - timeline.count != timeline.offset:
            timeline.jump(position)
        samples = len(item) // SAMPLE_BYTES
        timeline.count += samples
        # What lies between was dropped before any transport had it.
        self.ledger.hand_over(samples, min(samples, ring.handed - handed))
        return room - self._append(actions, item)

    def _append(self, actions: list[Action], pcm: bytearray) -> int:
        """Append the messages that hold ``pcm``; return how many."""
        messages = encode_pieces(pcm, self.ring.chunk * SAMPLE_BYTES)
        actions += messages
        return len(messages)

    def _due(self, count: int) -> float:
        return self._opened_at + count / (self.limits.replay_pace * self.rate)
