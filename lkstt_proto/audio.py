"""The ring: where every sample is, between the microphone and its acknowledgement.

A *position* counts samples since the first one pushed to the stream. Audio passes through three places:

    pushed -> unsent -> sent -> acknowledged (forgotten)

Unsent audio and sent-but-unacknowledged audio each get ``capacity`` samples. Unsent audio beyond it is dropped from
its old end; sent audio beyond it leaves the ring quietly, because it will most likely be acknowledged, and is told as
dropped only when a cut comes first. A cut puts what is left of the sent audio in front of the unsent again.

Places are kept as *runs* of positions beside the bytes, since dropping leaves gaps between runs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from attrs import define, field, frozen

SAMPLE_BYTES = 2
"""Signed 16-bit mono (PROTOCOL 2.2)."""

SLACK = 1e-3
"""Samples by which a time may miss a position: far above the error of a float, far below anything audible."""


@frozen
class Span:
    """Positions from ``start`` up to ``end``."""

    start: int
    end: int


@define
class Run:
    """A stretch of positions without a gap, growing at its end and shrinking from its start."""

    start: int
    end: int


@define
class Mark:
    """A place in the audio where something has to be said (CONTRACT decision 10)."""

    position: int
    finalize: bool
    """True: ask for finals here. False: only let no chunk cross it."""


class Chunk(NamedTuple):
    """Audio for one message."""

    position: int
    pcm: bytes
    fresh: int
    """How many of its samples no transport had before."""


class _Place:
    """Bytes and the runs of positions they stand for."""

    __slots__ = ("data", "runs")

    def __init__(self) -> None:
        self.data = bytearray()
        self.runs: deque[Run] = deque()

    def __len__(self) -> int:
        return len(self.data) // SAMPLE_BYTES

    def extend(self, start: int, pcm: bytes | memoryview) -> None:
        """Append audio that starts at ``start``."""
        end = start + len(pcm) // SAMPLE_BYTES
        if self.runs and self.runs[-1].end == start:
            self.runs[-1].end = end
        else:
            self.runs.append(Run(start, end))
        self.data += pcm

    def skip(self, samples: int) -> None:
        """Remove ``samples`` from the old end; ``cut_front`` for those who need not know what they were."""
        del self.data[: samples * SAMPLE_BYTES]
        runs = self.runs
        while samples:
            run = runs[0]
            length = run.end - run.start
            if samples < length:
                run.start += samples
                return
            samples -= length
            runs.popleft()

    def cut_front(self, samples: int) -> Iterator[Span]:
        """Remove ``samples`` from the old end; yield the spans that they were."""
        del self.data[: samples * SAMPLE_BYTES]
        while samples:
            run = self.runs[0]
            taken = min(samples, run.end - run.start)
            yield Span(run.start, run.start + taken)
            run.start += taken
            samples -= taken
            if run.start == run.end:
                self.runs.popleft()


class Ring:
    """Audio from push to acknowledgement.

    ``chunk`` is the size of an audio message in samples: floor(rate / 20), which is 50 ms (PROTOCOL 2.2).
    """

    __slots__ = (
        "_capacity",
        "_due",
        "_forgotten",
        "_marks",
        "_odd",
        "_rejoined",
        "_sent",
        "_unsent",
        "acknowledged",
        "chunk",
        "handed",
        "pushed",
    )

    def __init__(self, *, chunk: int, capacity: int) -> None:
        self.chunk = chunk
        self.pushed = 0
        """Position after the newest whole sample."""
        self.acknowledged = 0
        """Everything before this position is done with."""
        self.handed = 0
        """Position after the newest sample that was ever handed to a transport."""
        self._capacity = capacity
        self._rejoined = 0
        self._odd = b""
        self._unsent = _Place()
        self._sent = _Place()
        self._forgotten: deque[Run] = deque()
        self._marks: list[Mark] = []
        self._due = 0  # index of the first mark that was not sent on the present transport

    # What is where, in samples.

    @property
    def unsent(self) -> int:
        """Samples waiting to be sent, the resent ones included."""
        return len(self._unsent)

    @property
    def to_resend(self) -> int:
        """Samples waiting that a transport was given before."""
        return sum(max(0, min(run.end, self.handed) - run.start) for run in self._unsent.runs)

    @property
    def never_sent(self) -> bool:
        """Whether samples wait that no transport was ever given."""
        return self.unsent > 0 and self.pushed > self.handed

    @property
    def unacknowledged(self) -> int:
        """Samples pushed and neither acknowledged nor told as dropped."""
        return len(self._unsent) + len(self._sent) + sum(run.end - run.start for run in self._forgotten)

    @property
    def position(self) -> int:
        """Position of the next sample to send."""
        runs = self._unsent.runs
        return runs[0].start if runs else self.pushed

    @property
    def room(self) -> int:
        """Bytes that ``push`` takes without dropping any."""
        samples = self._capacity + self._rejoined - len(self._unsent)
        return max(0, samples * SAMPLE_BYTES - len(self._odd))

    @property
    def held(self) -> int:
        """Bytes of audio kept."""
        return len(self._unsent.data) + len(self._sent.data)

    # From the application.

    def push(self, pcm: bytes | memoryview) -> list[Span]:
        """Take audio of any length; an odd byte waits for its other half. Return what was dropped to make room."""
        if self._odd:
            pcm = self._odd + bytes(pcm)
            self._odd = b""
        if len(pcm) % SAMPLE_BYTES:
            self._odd = bytes(pcm[-1:])
            pcm = pcm[:-1]
        if not pcm:
            return []
        self._unsent.extend(self.pushed, pcm)
        self.pushed += len(pcm) // SAMPLE_BYTES
        excess = len(self._unsent) - self._capacity - self._rejoined
        return list(self._unsent.cut_front(excess)) if excess > 0 else []

    def mark(self, position: int, *, finalize: bool) -> None:
        """Let no chunk cross ``position``; with ``finalize``, have ``session.finalize`` sent there."""
        if self._marks and self._marks[-1].position == position:
            if finalize:
                self._marks[-1].finalize = True
                self._due = min(self._due, len(self._marks) - 1)
        elif finalize or position > self.position:
            self._marks.append(Mark(position, finalize))

    # To the transport.

    @property
    def ready(self) -> bool:
        """Whether ``take`` has something to give."""
        if len(self._unsent) >= self.chunk or len(self._unsent.runs) > 1:
            return True
        if self._due == len(self._marks):
            return False
        # A flush that the audio has passed gives nothing.
        position = self.position
        return any(mark.finalize or mark.position > position for mark in self._marks[self._due :])

    def take(self) -> Mark | Chunk | None:
        """The next thing to send: a mark that is due, a chunk, or None while one is filling."""
        position = self.position
        marks = self._marks
        while self._due < len(marks) and marks[self._due].position <= position:
            mark = marks[self._due]
            self._due += 1
            self._prune_marks()
            if mark.finalize:
                return mark
        runs = self._unsent.runs
        if not runs:
            return None
        # A chunk is short where a mark or a gap ends it; the rest of a growing run waits until it is whole.
        limit = runs[0].end - position
        complete = len(runs) > 1
        if self._due < len(marks) and marks[self._due].position - position <= limit:
            limit = marks[self._due].position - position
            complete = True
        samples = min(self.chunk, limit)
        if samples < self.chunk and not complete:
            return None
        pcm = bytes(memoryview(self._unsent.data)[: samples * SAMPLE_BYTES])
        self._unsent.skip(samples)
        self._rejoined = max(0, self._rejoined - samples)
        self._sent.extend(position, pcm)
        end = position + samples
        fresh = max(0, end - max(position, self.handed))
        self.handed = max(self.handed, end)
        excess = len(self._sent) - self._capacity
        if excess > 0:
            for span in self._sent.cut_front(excess):
                self._forget(span)
            self._prune_marks()
        return Chunk(position, pcm, fresh)

    def rewind(self) -> list[Span]:
        """The transport is gone: all unacknowledged audio waits again. Return what is no longer kept."""
        lost = [Span(run.start, run.end) for run in self._forgotten]
        self._forgotten.clear()
        if self._sent.runs:
            self._rejoined += len(self._sent)
            unsent, self._unsent, self._sent = self._unsent, self._sent, _Place()
            start = 0
            for run in unsent.runs:
                size = (run.end - run.start) * SAMPLE_BYTES
                self._unsent.extend(run.start, memoryview(unsent.data)[start : start + size])
                start += size
        self._due = 0
        return lost

    # From the gateway.

    def acknowledge(self, position: int) -> int:
        """Be done with everything sent before ``position``; return how many samples that newly is."""
        before = self.unacknowledged
        while self._forgotten and self._forgotten[0].start < position:
            run = self._forgotten[0]
            run.start = min(position, run.end)
            if run.start == run.end:
                self._forgotten.popleft()
        samples = 0
        for run in self._sent.runs:
            if run.start >= position:
                break
            samples += min(position, run.end) - run.start
        self._sent.skip(samples)
        self.acknowledged = max(self.acknowledged, min(position, self.position))
        self._prune_marks()
        return before - self.unacknowledged

    # Inside.

    def _prune_marks(self) -> None:
        """Forget marks that no resending could bring back: sent, with no audio before them that is still kept."""
        kept = self._sent.runs[0].start if self._sent.runs else self.position
        while self._due and self._marks[0].position <= kept:
            del self._marks[0]
            self._due -= 1

    def _forget(self, span: Span) -> None:
        if self._forgotten and self._forgotten[-1].end == span.start:
            self._forgotten[-1].end = span.end
        else:
            self._forgotten.append(Run(span.start, span.end))


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
    """Samples sent on this session."""
    position: int = 0
    """Position after the last sample sent on this session."""

    def begin(self, position: int) -> None:
        """Start a session whose first sample will be the one at ``position``."""
        self.pieces = [Piece(0, position)]
        self.count = 0
        self.position = position

    def sent(self, position: int, samples: int) -> None:
        """``samples`` from ``position`` on were handed to the transport."""
        if position != self.position:
            if not self.count:
                self.pieces.clear()
            self.pieces.append(Piece(self.count, position))
        self.count += samples
        self.position = position + samples

    def start(self, seconds: float) -> float:
        """Stream time in seconds of session time ``seconds``, read as the start of something."""
        if len(self.pieces) == 1:
            return self._place(seconds, 0)
        count = seconds * self.rate + SLACK
        return self._place(seconds, max(0, bisect_right(self.pieces, count, key=lambda piece: piece.count) - 1))

    def end(self, seconds: float) -> float:
        """Stream time in seconds of session time ``seconds``, read as the end of something: before a gap, not after."""
        if len(self.pieces) == 1:
            return self._place(seconds, 0)
        count = seconds * self.rate - SLACK
        return self._place(seconds, max(0, bisect_left(self.pieces, count, key=lambda piece: piece.count) - 1))

    def end_position(self, seconds: float) -> int:
        """The last position that ``end`` covers whole."""
        return min(self.position, int(self.end(seconds) * self.rate + SLACK))

    def count_of(self, position: int) -> int:
        """How many samples were sent on this session up to ``position``, which lies in one of its pieces."""
        piece = self.pieces[max(0, bisect_left(self.pieces, position, key=lambda piece: piece.position) - 1)]
        return max(0, piece.count + position - piece.position)

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

    def _place(self, seconds: float, index: int) -> float:
        piece = self.pieces[index]
        return min(seconds + (piece.position - piece.count) / self.rate, self.position / self.rate)
