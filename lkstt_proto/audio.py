"""The ring: where every sample is, between the microphone and its acknowledgement.

A *position* counts samples since the first one pushed to the stream. Audio passes through three places:

    pushed -> unsent -> sent -> acknowledged (forgotten)

Unsent audio and sent-but-unacknowledged audio each get ``capacity`` samples. Unsent audio beyond it is dropped from
its old end; sent audio beyond it leaves the ring quietly, because it will most likely be acknowledged, and is told as
dropped only when a cut comes first. A cut puts what is left of the sent audio in front of the unsent again.

Unsent audio is kept as bytes with the *runs* of positions they stand for, since dropping leaves gaps; sent audio as the
very chunks that were sent.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from attrs import define, field, frozen

from .errors import LocalProtocolError

if TYPE_CHECKING:
    from typing_extensions import Buffer

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


# As a NamedTuple's own constructor, at half of the cost: chunks are born in a loop.
_new_tuple = tuple.__new__


class _Unsent:
    """Bytes and the runs of positions they stand for."""

    __slots__ = ("data", "runs", "samples")

    def __init__(self) -> None:
        self.data = bytearray()
        self.runs: deque[Run] = deque()
        self.samples = 0

    def extend(self, start: int, pcm: bytes | memoryview) -> None:
        """Append audio that starts at ``start``."""
        samples = len(pcm) // SAMPLE_BYTES
        runs = self.runs
        if runs and runs[-1].end == start:
            runs[-1].end = start + samples
        else:
            runs.append(Run(start, start + samples))
        self.data += pcm
        self.samples += samples

    def take(self, samples: int) -> bytes:
        """Remove ``samples`` from the oldest run, which has as many."""
        size = samples * SAMPLE_BYTES
        data = self.data
        pcm = bytes(data[:size])
        del data[:size]
        self.samples -= samples
        run = self.runs[0]
        run.start += samples
        if run.start == run.end:
            self.runs.popleft()
        return pcm

    def drop(self, samples: int) -> Iterator[Span]:
        """Remove ``samples`` from the old end, across runs; yield the spans that they were."""
        while samples:
            run = self.runs[0]
            span = Span(run.start, min(run.start + samples, run.end))
            self.take(span.end - span.start)
            samples -= span.end - span.start
            yield span


class _Sent:
    """Chunks that the transport has, in order of their positions."""

    __slots__ = ("chunks", "samples")

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.samples = 0

    def release(self, position: int) -> int:
        """Let go of everything before ``position``; return how many samples that were."""
        chunks = self.chunks
        before = self.samples
        while chunks and chunks[0].position < position:
            chunk = chunks.popleft()
            samples = len(chunk.pcm) // SAMPLE_BYTES
            released = position - chunk.position
            if released < samples:
                chunks.appendleft(Chunk(position, chunk.pcm[released * SAMPLE_BYTES :], 0))
                samples = released
            self.samples -= samples
        return before - self.samples


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
        self._unsent = _Unsent()
        self._sent = _Sent()
        self._forgotten: deque[Run] = deque()
        self._marks: list[Mark] = []
        self._due = 0  # index of the first mark that was not sent on the present transport

    # What is where, in samples.

    @property
    def unsent(self) -> int:
        """Samples waiting to be sent, the resent ones included."""
        return self._unsent.samples

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
        return self._unsent.samples + self._sent.samples + sum(run.end - run.start for run in self._forgotten)

    @property
    def position(self) -> int:
        """Position of the next sample to send."""
        runs = self._unsent.runs
        return runs[0].start if runs else self.pushed

    @property
    def room(self) -> int:
        """Bytes that ``push`` takes without dropping any."""
        samples = self._capacity + self._rejoined - self._unsent.samples
        return max(0, samples * SAMPLE_BYTES - len(self._odd))

    @property
    def held(self) -> int:
        """Bytes of audio kept."""
        return (self._unsent.samples + self._sent.samples) * SAMPLE_BYTES

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
        excess = self._unsent.samples - self._capacity - self._rejoined
        return list(self._unsent.drop(excess)) if excess > 0 else []

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
        unsent = self._unsent
        if unsent.samples >= self.chunk or len(unsent.runs) > 1:
            return True
        if self._due == len(self._marks):
            return False
        # A flush that the audio has passed gives nothing.
        position = self.position
        return any(mark.finalize or mark.position > position for mark in self._marks[self._due :])

    def take(self) -> Mark | Chunk | None:
        """The next thing to send: a mark that is due, a chunk, or None while one is filling."""
        marks = self._marks
        runs = self._unsent.runs
        position = runs[0].start if runs else self.pushed
        while self._due < len(marks) and marks[self._due].position <= position:
            mark = marks[self._due]
            self._due += 1
            self._prune_marks()
            if mark.finalize:
                return mark
        if not runs:
            return None
        # A chunk is short where a mark or a gap ends it; the rest of a growing run waits until it is whole.
        limit = runs[0].end - position
        complete = len(runs) > 1
        if self._due < len(marks) and marks[self._due].position - position <= limit:
            limit = marks[self._due].position - position
            complete = True
        samples = self.chunk
        if limit < samples:
            if not complete:
                return None
            samples = limit
        pcm = self._unsent.take(samples)
        if self._rejoined:
            self._rejoined = max(0, self._rejoined - samples)
        fresh = position + samples - self.handed
        if fresh > 0:
            self.handed += fresh
            if fresh > samples:  # what lies between was dropped before any transport had it
                fresh = samples
        else:
            fresh = 0
        chunk: Chunk = _new_tuple(Chunk, (position, pcm, fresh))
        sent = self._sent
        sent.chunks.append(chunk)
        sent.samples += samples
        if sent.samples > self._capacity:
            self._forget_oldest(sent.samples - self._capacity)
        return chunk

    def rewind(self) -> list[Span]:
        """The transport is gone: all unacknowledged audio waits again. Return what is no longer kept."""
        lost = [Span(run.start, run.end) for run in self._forgotten]
        self._forgotten.clear()
        if self._sent.chunks:
            self._rejoined += self._sent.samples
            unsent, sent, self._unsent, self._sent = self._unsent, self._sent, _Unsent(), _Sent()
            for chunk in sent.chunks:
                self._unsent.extend(chunk.position, chunk.pcm)
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
        samples = self._sent.release(position)
        while self._forgotten and self._forgotten[0].start < position:
            run = self._forgotten[0]
            start = min(position, run.end)
            samples += start - run.start
            run.start = start
            if start == run.end:
                self._forgotten.popleft()
        self.acknowledged = max(self.acknowledged, min(position, self.position))
        self._prune_marks()
        return samples

    # Inside.

    def _prune_marks(self) -> None:
        """Forget marks that no resending could bring back: sent, with no audio before them that is still kept."""
        kept = self._sent.chunks[0].position if self._sent.chunks else self.position
        while self._due and self._marks[0].position <= kept:
            del self._marks[0]
            self._due -= 1

    def _forget_oldest(self, excess: int) -> None:
        """Let ``excess`` samples of the sent audio go, and remember where they were."""
        while excess:
            start, pcm, _ = self._sent.chunks[0]
            end = start + min(excess, len(pcm) // SAMPLE_BYTES)
            excess -= self._sent.release(end)
            if self._forgotten and self._forgotten[-1].end == start:
                self._forgotten[-1].end = end
            else:
                self._forgotten.append(Run(start, end))
        self._prune_marks()


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
        pieces = self.pieces
        index = bisect_left(pieces, position, key=lambda piece: piece.position) - 1 if len(pieces) > 1 else 0
        piece = pieces[max(0, index)]
        return max(0, piece.count + position - piece.position)

    def position_of(self, count: int) -> int:
        """The position before which ``count`` samples were sent on this session."""
        piece = self.pieces[max(0, bisect_left(self.pieces, count, key=lambda piece: piece.count) - 1)]
        return piece.position + count - piece.count

    @property
    def seconds(self) -> float:
        """Session time sent so far."""
        return self.count / self.rate

    @property
    def shift(self) -> float | None:
        """Seconds from session times to stream times, the same for all; None where pieces differ."""
        if len(self.pieces) > 1:
            return None
        piece = self.pieces[0]
        return (piece.position - piece.count) / self.rate

    def forget(self, position: int) -> None:
        """Let go of pieces that end before ``position``."""
        while len(self.pieces) > 1 and self.pieces[1].position <= position:
            del self.pieces[0]

    def _place(self, seconds: float, index: int) -> float:
        piece = self.pieces[index]
        return min(seconds + (piece.position - piece.count) / self.rate, self.position / self.rate)


def as_bytes(pcm: Buffer) -> memoryview:
    """See any contiguous buffer as bytes, so that it can be cut. Raises LocalProtocolError for what is none."""
    try:
        view = memoryview(pcm)
        return view.cast("B") if view.nbytes else memoryview(b"")
    except TypeError as error:
        raise LocalProtocolError(
            "audio must be a contiguous buffer of 16-bit samples, as bytes or an array", phase="session"
        ) from error
