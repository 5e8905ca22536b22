"""An endpointer hears every 20 ms once, whatever the size of the pushes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto.endpointing import FRAMES_PER_SECOND, Endpointing

RATE = 8000
FRAME = RATE // FRAMES_PER_SECOND  # samples


class Listener:
    """Finds the end of speech after frames of these numbers; fails at one if told to."""

    def __init__(self, *ends: int, fails_at: int | None = None) -> None:
        self.heard: list[bytes] = []
        self.ends = ends
        self.fails_at = fails_at

    def push(self, pcm: bytes) -> bool:
        self.heard.append(pcm)
        if len(self.heard) == self.fails_at:
            raise RuntimeError("out of order")
        return len(self.heard) in self.ends


def test_speech_ends_where_its_frame_ends() -> None:
    listener = Listener(2, 3)
    endpointing = Endpointing(listener, RATE)
    assert endpointing.push(bytes(FRAME * 2 - 1)) == []
    assert endpointing.push(bytes(FRAME * 4 + 1)) == [2 * FRAME, 3 * FRAME]
    assert [len(frame) for frame in listener.heard] == [2 * FRAME] * 3


def test_a_failing_endpointer_keeps_the_ends_it_found() -> None:
    listener = Listener(1, fails_at=2)
    endpointing = Endpointing(listener, RATE)
    assert endpointing.push(bytes(FRAME * 2 * 5)) == [FRAME]
    assert isinstance(endpointing.failure, RuntimeError)
    assert len(listener.heard) == 2


@pytest.mark.parametrize("rate", [1, 49, 50])
def test_a_rate_too_low_for_a_whole_frame_still_has_frames(rate: int) -> None:
    listener = Listener(2)
    assert Endpointing(listener, rate).push(bytes(6)) == [2]
    assert listener.heard == [bytes(2)] * 3


@given(
    pushes=st.lists(st.integers(0, 900), max_size=12),
    ends=st.sets(st.integers(1, 20), max_size=5),
    view=st.booleans(),
)
def test_every_byte_is_heard_once_and_in_order(pushes: list[int], ends: set[int], view: bool) -> None:
    audio = bytes(index % 251 for index in range(sum(pushes)))
    listener = Listener(*ends)
    endpointing = Endpointing(listener, RATE)
    found, start = [], 0
    for size in pushes:
        piece = audio[start : start + size]
        found += endpointing.push(memoryview(piece) if view else piece)
        start += size
    whole = len(audio) // (2 * FRAME)
    assert b"".join(listener.heard) == audio[: whole * 2 * FRAME]
    assert all(type(frame) is bytes and len(frame) == 2 * FRAME for frame in listener.heard)
    assert found == [end * FRAME for end in sorted(ends) if end <= whole]
