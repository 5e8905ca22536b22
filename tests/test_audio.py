"""The ring and the timeline, against lists that are too slow and too plain to be wrong."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from copy import deepcopy
from ctypes import c_double, c_int16
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lkstt_proto.audio import SAMPLE_BYTES, Mark, Ring, Span, Timeline, as_bytes
from lkstt_proto.errors import LocalProtocolError


def samples(start: int, end: int) -> bytes:
    """Audio whose every sample tells its own position."""
    return b"".join((position % 65536).to_bytes(SAMPLE_BYTES, "little") for position in range(start, end))


def stream(start_byte: int, size: int) -> bytes:
    """``size`` bytes of the same audio from any byte on."""
    first = start_byte // SAMPLE_BYTES
    whole = samples(first, first + size // SAMPLE_BYTES + 2)
    return whole[start_byte % SAMPLE_BYTES :][:size]


def positions(spans: Iterable[Span]) -> list[int]:
    return [position for span in spans for position in range(span.start, span.end)]


def filled(seconds: int = 0, *, chunk: int = 4, capacity: int = 40) -> Ring:
    ring = Ring(chunk=chunk, capacity=capacity)
    ring.push(samples(0, seconds))
    return ring


def take_all(ring: Ring) -> list[tuple[int, int] | str]:
    """Everything that can be taken: chunks as (position, samples), marks as a word."""
    taken: list[tuple[int, int] | str] = []
    while (item := take(ring)) is not None:
        taken.append("finalize" if isinstance(item, Mark) else item)
    return taken


def take(ring: Ring, most: int = 1) -> tuple[int, int] | Mark | None:
    """What comes next: where audio starts, and how many samples it is."""
    position = ring.position
    item = ring.take(most)
    if item is None or isinstance(item, Mark):
        return item
    assert item == samples(position, position + len(item) // SAMPLE_BYTES)
    return position, len(item) // SAMPLE_BYTES


# Chunks.


def test_whole_chunks_go_and_the_rest_waits() -> None:
    ring = filled(10)
    assert take_all(ring) == [(0, 4), (4, 4)]
    assert (ring.unsent, ring.position, ring.handed) == (2, 8, 8)
    ring.push(samples(10, 12))
    assert take_all(ring) == [(8, 4)]


def test_an_empty_push_changes_nothing() -> None:
    ring = filled()
    assert not ring.push(b"")
    assert (ring.pushed, ring.unsent, ring.room) == (0, 0, 80)
    assert ring.take() is None


def test_an_odd_byte_waits_for_its_other_half() -> None:
    ring = filled()
    whole = samples(0, 4)
    ring.push(whole[:3])
    assert (ring.pushed, ring.room) == (1, 40 * SAMPLE_BYTES - 3)
    ring.push(memoryview(whole)[3:4])
    assert ring.pushed == 2
    ring.push(whole[4:])
    assert take_all(ring) == [(0, 4)]


def test_an_odd_byte_alone_is_not_audio_yet() -> None:
    ring = filled()
    ring.push(b"\x07")
    assert (ring.pushed, ring.unsent, ring.held) == (0, 0, 0)
    ring.push(b"")
    ring.push(b"\x08")
    ring.mark(1, finalize=False)
    assert ring.take() == b"\x07\x08"


def test_room_less_than_an_odd_byte_is_none() -> None:
    ring = filled(40)
    assert ring.room == 0
    assert not ring.push(b"\x07")
    assert ring.room == 0


def test_more_is_dropped_than_lies_before_a_gap() -> None:
    ring = filled(40)
    take(ring, 2)
    ring.push(samples(40, 60))  # which drops what follows on what was sent
    ring.rewind()
    assert (ring.position, ring.room) == (0, 0)
    assert ring.push(samples(60, 72)) == [Span(0, 8), Span(20, 24)]
    assert (ring.position, ring.unsent) == (24, 48)


def test_a_flush_may_be_what_lets_the_oldest_audio_go() -> None:
    ring = filled(40)
    take_all(ring)
    ring.push(samples(40, 42))
    ring.mark(42, finalize=False)
    assert take_all(ring) == [(40, 2)]
    assert (ring.held, ring.unacknowledged) == (40 * SAMPLE_BYTES, 42)
    assert ring.rewind() == (Span(0, 2),)


def test_what_goes_again_waits_for_a_whole_chunk_as_well() -> None:
    ring = filled(6)
    assert take(ring) == (0, 4)
    ring.acknowledge(3)
    ring.rewind()
    assert take(ring) is None
    ring.push(samples(6, 7))
    assert take(ring) == (3, 4)


def test_what_there_is_no_room_for_is_given_back() -> None:
    ring = filled(36)
    ring.tail += samples(36, 43)
    assert ring.give_back(14) == samples(40, 43)
    assert (ring.pushed, ring.room, ring.give_back(0)) == (40, 0, b"")


def test_nothing_is_given_back_but_what_was_pushed_last() -> None:
    ring = filled(40)
    ring.push(b"\x07")
    assert ring.give_back(0) == b""
    ring.tail += b"\x08"
    assert ring.give_back(1) == b"\x08"


# Flush and finalize.


def test_a_flush_ends_a_chunk_and_says_nothing() -> None:
    ring = filled(6)
    ring.mark(6, finalize=False)
    assert take_all(ring) == [(0, 4), (4, 2)]
    ring.push(samples(6, 10))
    assert take_all(ring) == [(6, 4)]


def test_a_flush_with_nothing_waiting_is_forgotten() -> None:
    ring = filled(4)
    take_all(ring)
    ring.mark(4, finalize=False)
    assert not ring.ready
    assert ring.take() is None


def test_a_finalize_comes_after_the_audio_before_it() -> None:
    ring = filled(6)
    ring.mark(6, finalize=True)
    ring.push(samples(6, 12))
    assert take_all(ring) == [(0, 4), (4, 2), "finalize", (6, 4)]


def test_a_finalize_before_any_audio_is_said_at_once() -> None:
    ring = filled()
    ring.mark(0, finalize=True)
    assert ring.ready
    assert take_all(ring) == ["finalize"]


def test_finalizes_at_one_place_that_wait_are_one() -> None:
    ring = filled(2)
    ring.mark(2, finalize=False)
    ring.mark(2, finalize=True)
    ring.mark(2, finalize=True)
    ring.mark(2, finalize=False)
    assert take_all(ring) == [(0, 2), "finalize"]


def test_a_finalize_that_was_said_is_said_again_when_asked_again() -> None:
    ring = filled(2)
    ring.mark(2, finalize=True)
    assert take_all(ring) == [(0, 2), "finalize"]
    ring.mark(2, finalize=True)
    assert take_all(ring) == ["finalize"]


def test_a_finalize_after_a_flush_that_was_passed_is_still_said() -> None:
    ring = filled(2)
    ring.mark(2, finalize=False)
    assert take_all(ring) == [(0, 2)]
    ring.mark(2, finalize=True)
    assert take_all(ring) == ["finalize"]


def test_ready_is_false_once_a_flush_is_behind() -> None:
    ring = filled(2)
    ring.mark(2, finalize=False)
    ring.take()
    assert not ring.ready


def test_marks_go_again_with_the_audio_before_them() -> None:
    ring = filled(6)
    ring.mark(2, finalize=True)
    ring.mark(6, finalize=True)
    first = take_all(ring)
    assert first == [(0, 2), "finalize", (2, 4), "finalize"]
    ring.acknowledge(3)
    assert not ring.rewind()
    assert take_all(ring) == [(3, 3), "finalize"]
    assert ring.handed == 6


# Acknowledgement.


def test_acknowledged_audio_is_let_go() -> None:
    ring = filled(12)
    take_all(ring)
    assert ring.acknowledge(5) == 5
    assert (ring.acknowledged, ring.unacknowledged, ring.held) == (5, 7, 14)
    assert ring.acknowledge(5) == 0
    assert ring.acknowledge(2) == 0
    assert ring.acknowledged == 5


def test_only_sent_audio_is_acknowledged() -> None:
    ring = filled(6)
    take_all(ring)
    assert ring.acknowledge(100) == 4
    assert (ring.acknowledged, ring.unacknowledged) == (4, 2)


def test_a_position_before_the_stream_acknowledges_nothing() -> None:
    ring = filled(4)
    take_all(ring)
    assert ring.acknowledge(-3) == 0
    assert ring.acknowledged == 0


def test_sent_audio_that_left_the_ring_is_acknowledged_like_any_other() -> None:
    ring = filled(chunk=4, capacity=8)
    for start in (0, 8, 16):
        ring.push(samples(start, start + 8))
        take_all(ring)
    assert (ring.held, ring.unacknowledged) == (16, 24)
    assert ring.acknowledge(10) == 10
    assert ring.acknowledge(20) == 10
    assert not ring.rewind()
    assert take_all(ring) == [(20, 4)]


# Dropping and cuts.


def test_the_oldest_unsent_audio_gives_way() -> None:
    ring = filled(chunk=4, capacity=10)
    assert not ring.push(samples(0, 10))
    assert ring.push(samples(10, 13)) == [Span(0, 3)]
    assert take_all(ring) == [(3, 4), (7, 4)]


def test_a_chunk_ends_at_a_gap() -> None:
    ring = filled(3, chunk=4, capacity=8)
    ring.mark(3, finalize=False)
    take_all(ring)
    ring.push(samples(3, 8))
    ring.rewind()
    assert ring.push(samples(8, 14)) == [Span(0, 3)]
    # A hole may also open between what was sent and what waits.
    assert take_all(ring) == [(3, 4), (7, 4)]
    assert ring.push(samples(14, 24)) == [Span(11, 16)]
    ring.rewind()
    assert take_all(ring) == [(3, 4), (7, 4), (16, 4), (20, 4)]


def test_a_cut_joins_sent_and_unsent_audio_without_dropping() -> None:
    ring = filled(8, chunk=4, capacity=8)
    take_all(ring)
    ring.push(samples(8, 16))
    assert ring.room == 0
    assert not ring.rewind()
    assert (ring.unsent, ring.to_resend, ring.room, ring.position) == (16, 8, 0, 0)
    assert take_all(ring) == [(0, 4), (4, 4), (8, 4), (12, 4)]


def test_what_left_the_ring_is_told_at_the_cut() -> None:
    ring = filled(chunk=4, capacity=8)
    for start in (0, 8, 16):
        ring.push(samples(start, start + 8))
        take_all(ring)
    ring.acknowledge(2)
    assert positions(ring.rewind()) == list(range(2, 16))
    assert (ring.unacknowledged, ring.position) == (8, 16)


def test_a_finalize_whose_audio_is_gone_is_said_before_what_is_left() -> None:
    ring = filled(chunk=4, capacity=8)
    ring.push(samples(0, 8))
    ring.mark(6, finalize=True)
    assert ring.push(samples(8, 16)) == [Span(0, 8)]
    assert take_all(ring) == ["finalize", (8, 4), (12, 4)]


def test_whether_a_transport_was_ever_given_everything() -> None:
    ring = filled()
    never_sent = [ring.never_sent]
    ring.push(samples(0, 4))
    never_sent.append(ring.never_sent)
    take_all(ring)
    ring.rewind()
    never_sent.append(ring.never_sent)
    ring.push(samples(4, 5))
    never_sent.append(ring.never_sent)
    assert never_sent == [False, True, False, True]


def test_chunks_go_together_and_a_short_one_alone() -> None:
    ring = filled(23, capacity=40)
    ring.mark(18, finalize=True)
    assert take(ring, 3) == (0, 12)
    assert take(ring, 3) == (12, 4)
    assert take(ring, 3) == (16, 2)
    assert isinstance(take(ring, 3), Mark)
    assert take(ring, 3) == (18, 4)
    assert take(ring, 3) is None


def test_handed_never_goes_back() -> None:
    ring = filled(6)
    ring.mark(6, finalize=False)
    take_all(ring)
    ring.acknowledge(3)
    ring.rewind()
    ring.push(samples(6, 8))
    ring.mark(8, finalize=False)
    handed = []
    while (item := take(ring)) is not None:
        handed.append((item, ring.handed))
    assert handed == [((3, 3), 6), ((6, 2), 8)]


def test_one_chunk_alone_is_taken_in_fewer_steps() -> None:
    ring = Ring(chunk=8, capacity=16)
    ring.push(samples(0, 7))
    assert ring.take_one() is None
    ring.push(samples(7, 12))
    assert ring.take_one() == samples(0, 8)
    assert (ring.position, ring.handed, ring.unsent) == (8, 8, 4)
    ring.push(samples(12, 24))
    assert ring.take_one() is None  # two
    assert ring.take(2) == samples(8, 24)
    ring.push(samples(24, 32))
    assert ring.take_one() is None  # the oldest has to go for it
    assert ring.take() == samples(24, 32)


class RingAgainstLists(RuleBasedStateMachine):
    """Every sample is a number in a list; the ring has to say and do what the lists say."""

    @initialize(chunk=st.integers(1, 6), capacity=st.integers(6, 20))
    def begin(self, chunk: int, capacity: int) -> None:
        self.ring = Ring(chunk=chunk, capacity=capacity)
        self.chunk = chunk
        self.capacity = capacity
        self.bytes_pushed = 0
        self.unsent: list[int] = []
        self.sent: list[int] = []  # not acknowledged
        self.gone: list[int] = []  # of these, the ones that the ring no longer keeps
        self.handed: set[int] = set()
        self.joined = 0  # how much a cut put over the capacity
        self.acknowledged = 0
        self.counted = 0
        self.dropped: list[int] = []
        self.marks: list[tuple[int, bool]] = []
        self.said = 0  # how many of the marks are behind

    @property
    def pushed(self) -> int:
        return self.bytes_pushed // SAMPLE_BYTES

    @property
    def position(self) -> int:
        return self.unsent[0] if self.unsent else self.pushed

    @rule(size=st.integers(0, 200))
    def push_what_there_is_room_for(self, size: int) -> None:
        old, room, data = self.pushed, self.ring.room, stream(self.bytes_pushed, size)
        self.ring.tail += data
        rest = self.ring.give_back(size)
        assert rest == data[room:]
        self.bytes_pushed += size - len(rest)
        assert not self.ring.make_room()
        self.unsent += range(old, self.pushed)

    @rule(size=st.integers(0, 60), ahead=st.none() | st.integers(1, 30), view=st.booleans())
    def push(self, size: int, ahead: int | None, view: bool) -> None:
        old, data = self.pushed, stream(self.bytes_pushed, size)
        self.bytes_pushed += size
        if ahead is not None and old + ahead <= self.pushed:
            # As an endpointer does, which hears audio before the ring has it.
            self.ring.mark(old + ahead, finalize=True)
            self.marks.append((old + ahead, True))
        room = self.ring.room
        spans = self.ring.push(memoryview(data) if view else data)
        self.unsent += range(old, self.pushed)
        excess = max(0, len(self.unsent) - self.capacity - self.joined)
        assert positions(spans or ()) == self.unsent[:excess]
        assert (spans is None) <= (not self.ring.ready)
        if size <= room:
            assert not spans
        self.dropped += self.unsent[:excess]
        del self.unsent[:excess]

    @rule(finalize=st.booleans())
    def mark(self, finalize: bool) -> None:
        self.ring.mark(self.pushed, finalize=finalize)
        if self.marks and self.marks[-1][0] == self.pushed:
            if finalize:
                self.said = min(self.said, len(self.marks) - 1)
                self.marks[-1] = (self.pushed, True)
        elif finalize or self.unsent:
            self.marks.append((self.pushed, finalize))

    @precondition(lambda self: self.ring.steady)
    @rule()
    def take_one(self) -> None:
        twin = deepcopy(self.ring)
        item = self.ring.take_one()
        if item is None:  # and nothing has changed
            assert not self.chunk <= len(self.unsent) < 2 * self.chunk or twin.held > self.capacity * SAMPLE_BYTES
            return
        assert item == twin.take()
        assert len(self.unsent) < 2 * self.chunk
        self.handed.update(self.unsent[: self.chunk])
        self.sent += self.unsent[: self.chunk]
        del self.unsent[: self.chunk]

    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        ready = self.ring.ready
        position = self.ring.position
        item = self.ring.take(most)
        assert ready == (item is not None)
        while self.said < len(self.marks) and self.marks[self.said][0] <= self.position:
            self.said += 1
            if self.marks[self.said - 1][1]:
                assert isinstance(item, Mark)
                return
        stop = self.marks[self.said][0] if self.said < len(self.marks) else None
        run: list[int] = []
        for sample in self.unsent[: most * self.chunk]:
            if run and sample != run[-1] + 1:
                break
            if sample == stop:
                break
            run.append(sample)
        ended = run and (run[-1] + 1 == stop or len(run) < len(self.unsent[: most * self.chunk]))
        if len(run) >= self.chunk:
            del run[len(run) - len(run) % self.chunk :]
        elif not ended:
            assert item is None
            return
        assert position == run[0]
        assert item == samples(run[0], run[-1] + 1)
        del self.unsent[: len(run)]
        self.handed.update(run)
        self.sent += run
        self.joined = max(0, self.joined - len(run))
        kept = len(self.sent) - len(self.gone)
        self.gone += self.sent[len(self.gone) :][: max(0, kept - self.capacity)]

    @rule(back=st.integers(-3, 30))
    def acknowledge(self, back: int) -> None:
        position = self.position - back
        done = [sample for sample in self.sent if sample < position]
        assert self.ring.acknowledge(position) == len(done)
        self.counted += len(done)
        self.sent = self.sent[len(done) :]
        self.gone = [sample for sample in self.gone if sample >= position]
        self.acknowledged = max(self.acknowledged, min(position, self.position))

    @rule()
    def rewind(self) -> None:
        assert positions(self.ring.rewind()) == self.gone
        self.dropped += self.gone
        kept = self.sent[len(self.gone) :]
        self.unsent = kept + self.unsent
        self.joined += len(kept)
        self.sent, self.gone = [], []
        while self.said and kept and self.marks[self.said - 1][0] > kept[0]:
            self.said -= 1

    @precondition(lambda self: self.ring.ready)
    @rule()
    def take_until_nothing_is_ready(self) -> None:
        while self.ring.ready:
            self.take(1)

    @invariant()
    def looks_agree(self) -> None:
        ring = self.ring
        assert ring.pushed == self.pushed
        assert ring.position == self.position
        assert ring.unsent == len(self.unsent)
        assert ring.to_resend == sum(position in self.handed for position in self.unsent)
        assert ring.never_sent == any(position not in self.handed for position in self.unsent)
        assert ring.handed == max(self.handed, default=-1) + 1
        assert ring.acknowledged == self.acknowledged

    @invariant()
    def every_sample_is_somewhere_once(self) -> None:
        waiting = self.unsent + self.sent
        assert self.ring.unacknowledged == len(waiting)
        assert self.counted + len(self.dropped) + len(waiting) == self.pushed
        assert len(set(waiting + self.dropped)) == len(waiting + self.dropped)

    @invariant()
    def memory_is_bounded(self) -> None:
        ring = self.ring
        assert ring.held == SAMPLE_BYTES * (len(self.unsent) + len(self.sent) - len(self.gone))
        assert ring.held <= 2 * SAMPLE_BYTES * self.capacity
        assert self.joined <= self.capacity

    @invariant()
    def ready_says_whether_there_is_something_to_take(self) -> None:
        assert self.ring.ready == (deepcopy(self.ring).take() is not None)


RingAgainstLists.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestRingAgainstLists = RingAgainstLists.TestCase


def test_marks_whose_audio_is_gone_are_not_said_again() -> None:
    ring = filled(chunk=4, capacity=8)
    for start in (0, 8, 16):
        ring.push(samples(start, start + 8))
        ring.mark(start + 8, finalize=True)
        assert take_all(ring)[-1] == "finalize"
    assert positions(ring.rewind()) == list(range(16))
    assert take_all(ring) == [(16, 4), (20, 4), "finalize"]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_marks_do_not_pile_up(acknowledged: bool) -> None:
    ring = filled(chunk=4, capacity=40)
    for start in range(0, 4000, 4):
        ring.push(samples(start, start + 4))
        ring.mark(start + 4, finalize=True)
        assert take_all(ring) == [(start, 4), "finalize"]
        if acknowledged:
            ring.acknowledge(start + 4)
    assert len(ring._marks) == (0 if acknowledged else 10)


# The timeline.


RATE = 1000


def send(timeline: Timeline, position: int, samples: int) -> None:
    if position != timeline.position:
        timeline.jump(position)
    timeline.count += samples


def sent(*runs: tuple[int, int], begin: int | None = None) -> Timeline:
    """A session on which these runs of (position, samples) were sent."""
    timeline = Timeline(RATE)
    timeline.begin(runs[0][0] if begin is None else begin)
    for position, count in runs:
        send(timeline, position, count)
    return timeline


def test_a_session_without_gaps_is_shifted_by_its_first_sample() -> None:
    timeline = sent((500, 1000))
    assert timeline.start(0.25) == pytest.approx(0.75)
    assert timeline.shift == pytest.approx(0.5)
    assert timeline.end(0.25) == pytest.approx(0.75)
    assert timeline.span(0.0, 0.25)[2] == 750
    assert (timeline.count, timeline.position, timeline.seconds) == (1000, 1500, 1.0)


def test_a_session_starts_at_the_first_sample_that_is_really_sent() -> None:
    # More may be dropped between the opening and the first message.
    timeline = sent((800, 100), begin=500)
    assert timeline.start(0.0) == pytest.approx(0.8)
    assert len(timeline.pieces) == 1


def test_the_end_before_a_gap_and_the_start_after_it_are_different_places() -> None:
    timeline = sent((0, 100), (400, 100))
    assert timeline.end(0.1) == pytest.approx(0.1)
    assert timeline.start(0.1) == pytest.approx(0.4)
    assert timeline.span(0.0, 0.1)[2] == 100
    assert timeline.shift is None
    assert timeline.end(0.15) == pytest.approx(0.45)
    assert timeline.span(0.0, 0.15)[2] == 450


def test_times_beyond_the_audio_sent_end_with_it() -> None:
    timeline = sent((0, 100), (400, 100))
    assert timeline.end(9.0) == timeline.start(9.0) == pytest.approx(0.5)
    assert timeline.end(float("inf")) == pytest.approx(0.5)
    assert timeline.span(0.0, 1e300)[2] == 500


def test_a_span_lies_within_the_audio_sent() -> None:
    timeline = sent((500, 100))
    assert timeline.span(0.02, 0.05) == (pytest.approx(0.52), pytest.approx(0.55), 550)
    assert timeline.span(0.05, 9.0) == (pytest.approx(0.55), 0.6, 600)
    assert timeline.span(8.0, 9.0) == (0.6, 0.6, 600)
    assert timeline.span(0.05, 0.02) == (pytest.approx(0.55), pytest.approx(0.55), 520)


@pytest.mark.parametrize("runs", [((500, 100),), ((500, 100), (900, 50))])
def test_a_count_before_the_session_is_none(runs: tuple[tuple[int, int], ...]) -> None:
    timeline = sent(*runs)
    assert (timeline.count_of(400), timeline.count_of(560)) == (0, 60)


def test_an_end_within_a_sample_does_not_cover_it() -> None:
    timeline = sent((0, 100))
    assert timeline.span(0.0, 0.0505)[2] == 50


def test_the_position_of_a_count_is_where_the_gateway_stood() -> None:
    timeline = sent((10, 100), (400, 100))
    assert [timeline.position_of(count) for count in (0, 50, 100, 101, 200)] == [10, 60, 110, 401, 500]


def test_pieces_that_are_acknowledged_are_let_go() -> None:
    timeline = sent((0, 100), (400, 100), (900, 100))
    timeline.forget(399)
    assert len(timeline.pieces) == 3
    timeline.forget(400)
    assert len(timeline.pieces) == 2
    assert timeline.start(0.15) == pytest.approx(0.45)
    timeline.forget(10_000)
    assert len(timeline.pieces) == 1
    assert timeline.start(0.25) == pytest.approx(0.95)
    assert timeline.position_of(210) == 910


def test_a_new_session_forgets_the_last_ones_clock() -> None:
    timeline = sent((0, 100), (400, 100))
    timeline.begin(450)
    assert (timeline.count, timeline.position, timeline.seconds) == (0, 450, 0.0)
    assert timeline.start(0.0) == timeline.end(5.0) == pytest.approx(0.45)


@given(
    begin=st.integers(0, 50),
    runs=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), min_size=1, max_size=8),
    rate=st.sampled_from([8000, 11025, 16000, 24000, 44100, 48000]),
    data=st.data(),
)
def test_every_session_time_lies_where_its_sample_was_sent(
    begin: int, runs: list[tuple[int, int]], rate: int, data: st.DataObject
) -> None:
    timeline = Timeline(rate)
    timeline.begin(begin)
    counted: list[int] = []
    position = begin
    for gap, count in runs:
        position += gap
        send(timeline, position, count)
        counted += range(position, position + count)
        position += count
    acknowledged = data.draw(st.integers(0, position))
    timeline.forget(acknowledged)
    for count in range(1, len(counted) + 1):
        if counted[count - 1] < acknowledged:
            continue
        seconds = count / rate
        end = counted[count - 1] + 1
        start = counted[count] if count < len(counted) else end
        assert timeline.end(seconds) == pytest.approx(end / rate)
        assert timeline.start(seconds) == pytest.approx(start / rate)
        assert timeline.span(0.0, seconds)[2] == end
        assert timeline.position_of(count) == end
    assert timeline.seconds == len(counted) / rate


def test_positions_and_counts_of_a_session_translate_both_ways() -> None:
    timeline = Timeline(1000)
    timeline.begin(5000)
    send(timeline, 5000, 300)
    send(timeline, 7000, 200)  # 1,700 samples were dropped on the way
    assert [timeline.position_of(count) for count in (0, 300, 301, 500)] == [5000, 5300, 7001, 7200]
    assert [timeline.count_of(position) for position in (5000, 5300, 7001, 7200)] == [0, 300, 301, 500]
    assert timeline.count_of(4000) == 0


SHORTS = (c_int16 * 1)(0x0201)  # whose format has a byte order


@pytest.mark.parametrize(
    "pcm", [b"\x01\x02", bytearray(b"\x01\x02"), memoryview(b"\x01\x02"), array("h", [0x0201]), memoryview(SHORTS)]
)
def test_any_contiguous_buffer_is_bytes(pcm: Any) -> None:
    assert as_bytes(pcm) == b"\x01\x02"
    assert len(as_bytes(pcm[:0])) == 0


@pytest.mark.parametrize(
    ("pcm", "cure"),
    [
        *(("text", "as bytes or an array"), (None, "as bytes or an array"), (3, "as bytes or an array")),
        *((memoryview(bytes(8))[::2], "copy the samples"), (array("f", [0.5]), "convert them")),
        ((c_double * 1)(0.5), "convert them"),
    ],
)
def test_anything_else_is_refused(pcm: Any, cure: str) -> None:
    with pytest.raises(LocalProtocolError, match=cure):
        as_bytes(pcm)
