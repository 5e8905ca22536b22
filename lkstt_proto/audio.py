"""The ring: where every sample is, between the microphone and its acknowledgement.

A *position* counts samples since the first one pushed to the stream. Audio passes through three places:

    pushed -> unsent -> sent -> acknowledged (forgotten)

Unsent audio and sent-but-unacknowledged audio each get ``capacity`` samples. Unsent audio beyond it is dropped from
its old end; sent audio beyond it leaves the ring quietly, because it will most likely be acknowledged, and is told as
dropped only when a cut comes first. A cut makes what is left of the sent audio unsent again.

Audio is kept as *runs*: bytes and the position at which they start, without a gap. Only dropping makes gaps, so there
is one run as a rule, sent up to ``position``, and to send means to move that place, to cut means to move it back.
Thresholds that are judged with every push and every message are kept ready: whatever else moves calls ``_settle``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from .errors import LocalProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

SAMPLE_BYTES = 2
"""Signed 16-bit mono (PROTOCOL 2.2)."""

_BYTE_ORDERS, _FLOATS = "@=<>!", ("e", "f", "d", "g")  # in the format of a buffer

SLACK = 1e-3
"""Samples by which a time may miss a position: far above the error of a float, far below anything audible."""


@frozen
class Span:
    """Positions from ``start`` up to ``end``."""

    start: int
    end: int


@define
class Run:
    """A stretch of audio without a gap."""

    start: int
    pcm: bytearray

    @property
    def end(self) -> int:
        """The position after it; half a sample is none."""
        return self.start + len(self.pcm) // SAMPLE_BYTES

    def cut(self, position: int) -> int:
        """Let go of what lies before ``position``; return how many samples that were."""
        samples = min(position, self.end) - self.start
        del self.pcm[: samples * SAMPLE_BYTES]
        self.start += samples
        return samples


@define
class Mark:
    """A place in the audio where something has to be said (CONTRACT decision 10)."""

    position: int
    finalize: bool
    """True: ask for finals here. False: only let no chunk cross it."""


class Ring:
    """Audio from push to acknowledgement.

    ``chunk`` is the size of an audio message in samples: floor(rate / 20), which is 50 ms (PROTOCOL 2.2). ``capacity``
    is at least as much.
    """

    __slots__ = (
        "_capacity",
        "_due",
        "_forgotten",
        "_jumped",
        "_keep",
        "_later",
        "_marks",
        "_rejoined",
        "_run",
        "_sent",
        "_size",
        "acknowledged",
        "chunk",
        "full",
        "handed",
        "position",
        "steady",
        "tail",
        "wanted",
    )

    tail: bytearray
    """Where pushed audio goes."""
    # Thresholds, all of them lengths of a run in bytes.
    wanted: int
    """Of the run, where ``take`` gives a chunk; 0 where a mark or a gap is near, and it looks closer."""
    full: int
    """Of the tail, above which there may be more than there is room for."""
    _keep: int  # of what is sent of the run, above which sent audio leaves the ring

    def __init__(self, *, chunk: int, capacity: int) -> None:
        self.chunk = chunk
        self.position = 0
        """Position of the next sample to send."""
        self.acknowledged = 0
        """Everything before this position is done with."""
        self.handed = 0
        """Position after the newest sample that was ever handed to a transport."""
        self.steady = True
        """Whether nothing is near that makes what is sent next special: no mark, no gap, nothing to send again."""
        self._size = chunk * SAMPLE_BYTES
        self._capacity = capacity
        self._jumped = False  # nothing was sent yet that follows on what was sent last
        self._rejoined = 0
        self._sent: deque[Run] = deque()  # sent whole
        self._run = Run(0, bytearray())  # sent up to ``position``
        self._later: deque[Run] = deque()  # nothing of them was sent; if there are any, something of ``_run`` was not
        self._forgotten: deque[Span] = deque()
        self._marks: list[Mark] = []
        self._due = 0  # index of the first mark that was not sent on the present transport
        self._settle()

    # What is where, in samples.

    @property
    def pushed(self) -> int:
        """Position after the newest whole sample."""
        return (self._later[-1] if self._later else self._run).end

    @property
    def unsent(self) -> int:
        """Samples waiting to be sent, the resent ones included."""
        return self._unsent_bytes // SAMPLE_BYTES

    @property
    def to_resend(self) -> int:
        """Samples waiting that a transport was given before."""
        again = max(0, min(self._run.end, self.handed) - self.position)
        return again + sum(max(0, min(run.end, self.handed) - run.start) for run in self._later)

    @property
    def never_sent(self) -> bool:
        """Whether samples wait that no transport was ever given."""
        return self.unsent > 0 and self.pushed > self.handed

    @property
    def unacknowledged(self) -> int:
        """Samples pushed and neither acknowledged nor told as dropped."""
        return self.held // SAMPLE_BYTES + sum(span.end - span.start for span in self._forgotten)

    @property
    def room(self) -> int:
        """Bytes that ``push`` takes without dropping any."""
        room = (self._capacity + self._rejoined) * SAMPLE_BYTES - self._unsent_bytes
        return max(0, room)

    @property
    def held(self) -> int:
        """Bytes of whole samples kept."""
        return self._unsent_bytes // SAMPLE_BYTES * SAMPLE_BYTES + self._sent_bytes

    @property
    def _unsent_bytes(self) -> int:
        unsent = len(self._run.pcm) - (self.position - self._run.start) * SAMPLE_BYTES
        return unsent + sum(len(run.pcm) for run in self._later) if self._later else unsent

    @property
    def _sent_bytes(self) -> int:
        return (self.position - self._run.start) * SAMPLE_BYTES + sum(len(run.pcm) for run in self._sent)

    # From the application.

    def push(self, pcm: bytes | memoryview) -> Sequence[Span] | None:
        """Take audio of any length; an odd byte waits for its other half.

        Return None as long as there is nothing to take, otherwise what was dropped to make room.
        """
        tail = self.tail
        tail += pcm
        return None if len(tail) < self.wanted else self.make_room()

    def make_room(self) -> Sequence[Span]:
        """Drop the oldest unsent audio beyond the capacity, if there is any; return what that was."""
        return self._drop() if len(self.tail) > self.full else ()

    def give_back(self, most: int) -> bytes:
        """Take off the newest unsent audio beyond the capacity, at most so many bytes; return it."""
        excess = min(self._unsent_bytes - (self._capacity + self._rejoined) * SAMPLE_BYTES, most)
        if excess <= 0:
            return b""
        rest = bytes(self.tail[-excess:])
        del self.tail[-excess:]
        return rest

    def mark(self, position: int, *, finalize: bool) -> None:
        """Let no chunk cross ``position``; with ``finalize``, have ``session.finalize`` sent there."""
        if self._marks and self._marks[-1].position == position:
            if finalize:
                self._marks[-1].finalize = True
                self._due = min(self._due, len(self._marks) - 1)
        elif finalize or position > self.position:
            self._marks.append(Mark(position, finalize))
        self._settle()

    # To the transport.

    @property
    def ready(self) -> bool:
        """Whether ``take`` has something to give."""
        return len(self._run.pcm) >= self.wanted

    def take(self, most: int = 1) -> bytearray | Mark | None:
        """The next thing to send: a mark that is due, audio, or None while a chunk is filling.

        Audio starts at ``position`` and is one chunk, or as many as there are, up to ``most``; less than a chunk where
        a mark or a gap ends it.
        """
        return self.take_steadily(most) if self.steady else self._take_special(most)

    def take_steadily(self, most: int) -> bytearray | None:
        """As ``take`` where the ring is ``steady``, which it is as a rule."""
        size, tail = self._size, self.tail
        start = self.wanted - size
        chunks = min(most, (len(tail) - start) // size)
        if chunks <= 0:
            return None
        end = start + chunks * size
        pcm = tail[start:end]
        self.wanted = end + size
        self.position = self.handed = self.position + chunks * self.chunk
        if end > self._keep:
            self._forget()
        return pcm

    def take_one(self) -> bytearray | None:
        """As ``take_steadily`` where there is one chunk and no more, which is the case as a rule; None otherwise."""
        size, end, tail = self._size, self.wanted, self.tail
        after = end + size
        if not end <= len(tail) < after or end > self._keep:
            return None
        self.wanted = after
        self.position = self.handed = self.position + self.chunk
        return tail[end - size : end]

    def _take_special(self, most: int) -> bytearray | Mark | None:
        if self._due < len(self._marks):
            mark = self._marks[self._due]
            if mark.position <= self.position:
                self._due += 1
                self._settle()
                return mark
        elif not self.ready:
            return None
        run = self._run
        samples = self._samples_before_obstacle(most)
        start = (self.position - run.start) * SAMPLE_BYTES
        end = start + samples * SAMPLE_BYTES
        pcm = run.pcm[start:end]
        self.position += samples
        self.handed = max(self.handed, self.position)
        self._rejoined = max(0, self._rejoined - samples)
        self._jumped = False
        if end > self._keep:
            self._forget()
        if self._later and self.position == run.end:
            self._sent.append(run)
            self._next_run()
        self._settle()
        return pcm

    def rewind(self) -> Sequence[Span]:
        """The transport is gone: all unacknowledged audio waits again. Return what is no longer kept."""
        lost = tuple(self._forgotten)
        self._forgotten.clear()
        self._rejoined += self._sent_bytes // SAMPLE_BYTES
        self._later.appendleft(self._run)
        self._later.extendleft(reversed(self._sent))
        self._sent.clear()
        self._next_run()
        self._due = 0
        self._settle()
        return lost

    # From the gateway.

    def acknowledge(self, position: int) -> int:
        """Be done with everything sent before ``position``; return how many samples that newly is."""
        samples = self._release(min(position, self.position))
        while self._forgotten and self._forgotten[0].start < position:
            span = self._forgotten.popleft()
            if position < span.end:
                self._forgotten.appendleft(Span(position, span.end))
            samples += min(position, span.end) - span.start
        self.acknowledged = max(self.acknowledged, min(position, self.position))
        self._settle()
        return samples

    # Inside.

    def _samples_before_obstacle(self, most: int) -> int:
        """How many samples ``take`` gives where a mark or a gap is near: as nothing that comes later could add to them,
        fewer than a chunk go alone.
        """
        end = self._run.end
        if self._due < len(self._marks):
            end = min(end, self._marks[self._due].position)
        samples = min(end - self.position, most * self.chunk)
        return samples - samples % self.chunk if samples > self.chunk else samples

    def _next_run(self) -> None:
        self._run = self._later.popleft()
        self.position = self._run.start
        self._jumped = True

    def _drop(self) -> Sequence[Span]:
        excess = self.unsent - self._capacity - self._rejoined
        spans = []
        while excess > 0:
            run, position = self._run, self.position
            if position > run.start:
                self._sent.append(Run(run.start, run.pcm[: (position - run.start) * SAMPLE_BYTES]))
                run.cut(position)
            samples = run.cut(position + excess)
            spans.append(Span(position, position + samples))
            excess -= samples
            self.position = run.start
            self._jumped = True
            if self._later and run.start == run.end:
                self._next_run()
        self._settle()
        return spans

    def _release(self, position: int) -> int:
        """Let go of sent audio before ``position``; return how many samples that were."""
        samples = 0
        while self._sent and self._sent[0].start < position:
            samples += self._sent[0].cut(position)
            if not self._sent[0].pcm:
                self._sent.popleft()
        if self._run.start < position:
            samples += self._run.cut(position)
        return samples

    def _forget(self) -> None:
        """Let go of sent audio beyond the capacity, and remember where it was."""
        excess = self._sent_bytes // SAMPLE_BYTES - self._capacity
        while excess:
            oldest = self._sent[0] if self._sent else self._run
            start = oldest.start
            end = start + self._release(min(start + excess, oldest.end))
            excess -= end - start
            if self._forgotten and self._forgotten[-1].end == start:
                start = self._forgotten.pop().start
            self._forgotten.append(Span(start, end))
        self._settle()

    def _settle(self) -> None:
        """Work out anew what depends on everything: which marks are to come, and the thresholds."""
        marks, due, run, position = self._marks, self._due, self._run, self.position
        # A flush that the audio has passed says nothing.
        while due < len(marks) and marks[due].position <= position and not marks[due].finalize:
            due += 1
        # No resending could bring back a mark with no audio before it that is still kept.
        kept = self._sent[0].start if self._sent else run.start
        while due and marks[0].position <= kept:
            del marks[0]
            due -= 1
        self._due = due
        sent = (position - run.start) * SAMPLE_BYTES
        self.wanted = 0 if self._later or due < len(marks) else sent + self._size
        again = position < self.handed or self._rejoined
        self.steady = not (again or self._jumped) and self.wanted > 0
        self._keep = self._capacity * SAMPLE_BYTES
        if self._sent:
            self._keep -= sum(len(earlier.pcm) for earlier in self._sent)
        self.tail = run.pcm
        before = -sent
        if self._later:
            self.tail = self._later[-1].pcm
            before = self._unsent_bytes - len(self.tail)
        # Right until audio is acknowledged; to send some only makes it too low, and then nothing is found to drop.
        self.full = (self._capacity + self._rejoined) * SAMPLE_BYTES + 1 - before


@frozen
class Piece:
    """From ``count`` samples into the session on, positions run from ``position``."""

    count: int
    position: int


@define
class Timeline:
    """Session time to stream positions, piece by piece (CONTRACT decision 1).

    A session's clock starts at the first sample sent on it. Audio dropped on a live session never reaches the gateway,
    so its clock goes on while the positions jump: a new piece.
    """

    rate: int
    pieces: list[Piece] = field(factory=list)
    count: int = 0
    """Samples sent on this session: whoever sends them counts them here, and calls ``jump`` before where they jump."""
    offset: int = 0
    """From counts to positions in the last piece."""
    shift: float | None = 0.0
    """Seconds from session times to stream times, the same for all; None where pieces differ."""

    def begin(self, position: int) -> None:
        """Start a session whose first sample will be the one at ``position``."""
        self.count = 0
        self.jump(position)

    @property
    def position(self) -> int:
        """Position after the last sample sent on this session."""
        return self.count + self.offset

    def jump(self, position: int) -> None:
        """What is sent next is at ``position``, and not where the audio before it ended."""
        if not self.count:
            self.pieces.clear()
        self.pieces.append(Piece(self.count, position))
        self.offset = position - self.count
        self._find_shift()

    def start(self, seconds: float) -> float:
        """Stream time in seconds of session time ``seconds``, read as the start of something."""
        count = seconds * self.rate + SLACK
        return self._place(seconds, bisect_right(self.pieces, count, key=lambda piece: piece.count) - 1)

    def end(self, seconds: float) -> float:
        """Stream time in seconds of session time ``seconds``, read as the end of something: before a gap, not after."""
        count = seconds * self.rate - SLACK
        return self._place(seconds, bisect_left(self.pieces, count, key=lambda piece: piece.count) - 1)

    def span(self, start: float, end: float) -> tuple[float, float, int]:
        """Stream times of a stretch of session time, and the last position that its end covers whole."""
        begins, ends = self.start(start), self.end(end)
        return begins, max(begins, ends), int(ends * self.rate + SLACK)

    def count_of(self, position: int) -> int:
        """How many samples were sent on this session up to ``position``, which lies in one of its pieces."""
        pieces, offset = self.pieces, self.offset
        if len(pieces) > 1:
            piece = pieces[max(0, bisect_left(pieces, position, key=lambda piece: piece.position) - 1)]
            offset = piece.position - piece.count
        return position - offset if position > offset else 0

    def position_of(self, count: int) -> int:
        """The position before which ``count`` samples were sent on this session."""
        piece = self.pieces[max(0, bisect_left(self.pieces, count, key=lambda piece: piece.count) - 1)]
        return piece.position + count - piece.count

    @property
    def seconds(self) -> float:
        """Session time sent so far."""
        return self.count / self.rate

    def forget(self, position: int) -> None:
        """Let go of pieces that end before ``position``."""
        while len(self.pieces) > 1 and self.pieces[1].position <= position:
            del self.pieces[0]
        self._find_shift()

    def _find_shift(self) -> None:
        self.shift = self.offset / self.rate if len(self.pieces) == 1 else None

    def _place(self, seconds: float, index: int) -> float:
        piece = self.pieces[max(0, index)]
        return min(seconds + (piece.position - piece.count) / self.rate, self.position / self.rate)


def as_bytes(pcm: Buffer) -> memoryview:
    """See any contiguous buffer as bytes, so that it can be cut.

    Raises LocalProtocolError for what is none, and for floats, which would be noise.
    """
    try:
        view = memoryview(pcm)
    except TypeError as error:
        raise LocalProtocolError(
            "audio must be a buffer of 16-bit samples, as bytes or an array", phase="session"
        ) from error
    if view.format == "B" and view.ndim == 1 and view.c_contiguous:
        return view
    if not view.c_contiguous:
        raise LocalProtocolError(
            "audio must be contiguous: copy the samples into an array of their own", phase="session"
        )
    if view.format.lstrip(_BYTE_ORDERS) in _FLOATS:
        raise LocalProtocolError("audio must be 16-bit samples, and not floats: convert them", phase="session")
    if len(view.format) > 1:  # it names a byte order, which no cast takes
        return memoryview(view.tobytes())
    return view.cast("B") if view.nbytes else memoryview(b"")
