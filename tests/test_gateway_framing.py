"""What frames a client may send."""

from __future__ import annotations

import pytest

from lkstt_transports.gateway.framing import FRAGMENTS, FRAMES_AT_ONCE, PROTOCOL_ERROR, TOO_LARGE, FrameGuard

LIMIT = 70_000
TEXT, CONTINUATION, CLOSE, PING = 0x1, 0x0, 0x8, 0x9


def frame(data: bytes = b"", opcode: int = TEXT, *, last: bool = True, masked: bool = True) -> bytes:
    size, more = len(data), b""
    if size >= 1 << 16:
        size, more = 127, len(data).to_bytes(8, "big")
    elif size >= 126:
        size, more = 126, len(data).to_bytes(2, "big")
    return bytes([last << 7 | opcode, masked << 7 | size]) + more + bytes(4 * masked) + data


def close(code: int) -> bytes:
    return frame(code.to_bytes(2, "big"), CLOSE)


GOOD = b"".join(
    [
        frame(),
        frame(b"x" * 125),
        frame(b"x" * 126),
        frame(b"x" * LIMIT),
        frame(b"x" * (LIMIT - 1), last=False),
        frame(b"ping", PING),
        frame(b"y", CONTINUATION),
        frame(b"x", last=False),
        *[frame(b"", CONTINUATION, last=False)] * (FRAGMENTS - 2),
        frame(b"x", CONTINUATION),
    ]
)


def everything(guard: FrameGuard, *pieces: bytes) -> bytes:
    passed = b""
    for piece in pieces:
        passed += guard.take(piece)
        while guard.more:
            passed += guard.take(b"")
    return passed


def test_what_may_be_is_passed_on_as_it_is() -> None:
    guard = FrameGuard(LIMIT)
    assert everything(guard, GOOD) == GOOD
    assert guard.verdict is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_wherever_it_is_cut(size: int) -> None:
    guard = FrameGuard(LIMIT)
    short = GOOD[:2000] if size < 7 else GOOD
    assert everything(guard, *(short[at : at + size] for at in range(0, len(short), size))) == short


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (frame(b"text", masked=False), PROTOCOL_ERROR),
        (frame(b"", PING, masked=False), PROTOCOL_ERROR),
        (frame(b"x" * (LIMIT + 1)), TOO_LARGE),
        (b"\x81\xff" + b"\xff" * 8, TOO_LARGE),
        (frame(b"x" * LIMIT, last=False) + frame(b"y", CONTINUATION), TOO_LARGE),
        (frame(b"", last=False) + frame(b"", CONTINUATION, last=False) * FRAGMENTS, PROTOCOL_ERROR),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_in_place_of_what_may_not_be_comes_a_close_frame_and_nothing_behind(bad: bytes, code: int, cut: bool) -> None:
    guard = FrameGuard(LIMIT)
    data = frame(b"before") + bad + frame(b"behind")
    # The frame that breaks the rule begins behind those of the same message that do not.
    fine = everything(guard, *(data[at : at + 1] for at in range(len(data)))) if cut else everything(guard, data)
    assert guard.verdict == code
    assert fine.startswith(frame(b"before"))
    assert fine.endswith(close(code))
    assert data.startswith(fine.removesuffix(close(code)))
    assert guard.take(frame()) == b""


def test_a_message_too_large_is_known_by_its_header_alone() -> None:
    guard = FrameGuard(LIMIT)
    assert guard.take(frame(b"x" * (LIMIT + 1))[:10]) == close(TOO_LARGE)


def test_very_many_frames_are_looked_at_in_several_turns() -> None:
    guard = FrameGuard(LIMIT)
    data = frame(b"", PING) * (FRAMES_AT_ONCE + 1)
    first = guard.take(data)
    assert (len(first), guard.more) == (len(frame(b"", PING)) * FRAMES_AT_ONCE, True)
    assert first + guard.take(b"") == data
    assert not guard.more
