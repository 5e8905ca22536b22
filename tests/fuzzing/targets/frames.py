"""Whatever bytes may come over a client's WebSocket, in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterable

from lkstt_transports.gateway.framing import FRAGMENTS, PROTOCOL_ERROR, TOO_LARGE, FrameGuard
from tests.soundness import check

from ..mutator import plain_bytes
from ..target import Target
from ..work import bounded

LIMITS = (125, 10, 70_000)
"""Bytes of a message."""
PIECES = (1 << 20, 1, 2, 3, 7, 100)

CALLS, CALLS_PER_BYTE = 1000, 60


def run(data: bytes) -> str:
    """The first byte says how, the rest is what came. Nothing may come out."""
    how, stream = data[0] if data else 0, data[1:]
    limit, piece = LIMITS[how % 3], PIECES[how // 3 % 6]
    guard = FrameGuard(limit)
    passed = bytearray()
    with bounded(CALLS + CALLS_PER_BYTE * len(data)):
        for start in range(0, len(stream), piece):
            passed += guard.take(stream[start : start + piece])
            while guard.more:
                passed += guard.take(b"")
    allowed, verdict, frames = _allowed(stream, limit)
    check(guard.verdict == verdict, "what may not be is seen, and nothing else")
    if verdict is None:
        check(stream.startswith(passed), "frames go through as they are")
        check(len(passed) == allowed, "all goes through but the beginning of a header")
    else:
        check(passed[:allowed] == stream[:allowed], "frames go through as they are")
        check(passed[allowed:] == b"\x88\x82\0\0\0\0" + verdict.to_bytes(2, "big"), "and then one close frame")
        check(guard.take(stream) == b"", "nothing goes through behind it")
    return f"{verdict} {min(frames, 5)} {len(passed) == len(stream)}"


def _allowed(stream: bytes, limit: int) -> tuple[int, int | None, int]:
    """Read all of it at once: how many bytes may go through, why no more, and how many frames that were."""
    at = size = fragments = frames = 0
    while at + 2 <= len(stream):
        final, opcode, masked = stream[at] >> 7, stream[at] & 15, stream[at + 1] >> 7
        length, header = stream[at + 1] & 127, 2
        if length > 125:
            header = 4 if length == 126 else 10
            if at + header > len(stream):
                return at, None, frames
            length = int.from_bytes(stream[at + 2 : at + header], "big")
        if not masked:
            return at, PROTOCOL_ERROR, frames
        if opcode < 8:
            size, fragments = size + length, fragments + 1
            if size > limit:
                return at, TOO_LARGE, frames
            if fragments > FRAGMENTS:
                return at, PROTOCOL_ERROR, frames
            if final:
                size = fragments = 0
        frames += 1
        at += header + 4 + length
    return min(at, len(stream)), None, frames


def _frame(payload: bytes, *, first: int = 0x81, masked: bool = True) -> bytes:
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        length = bytes([mark | len(payload)])
    elif len(payload) < 65536:
        length = bytes([mark | 126]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([mark | 127]) + len(payload).to_bytes(8, "big")
    return bytes([first]) + length + (b"mask" if masked else b"") + payload


def seeds() -> Iterable[bytes]:
    """Frames of every length and kind, whole and in pieces."""
    message, long = _frame(b"hello"), _frame(bytes(300))
    streams = (
        message * 3,
        long + message,
        _frame(b"a", first=1) + _frame(b"") + _frame(b"", first=0) + _frame(b"b", first=0x80),
        _frame(b"ping", first=0x89) + message + _frame(b"\x03\xe8", first=0x88),
        message + _frame(b"hello", masked=False),
        _frame(b"", first=0) * 1030,
        b"\x81\xff" + b"\xff" * 8 + b"mask",
        b"\x89\xff" + b"\0" * 7 + b"\x05mask12345" + message,
        _frame(bytes(66_000))[:200],
    )
    yield from (bytes([how]) + stream for how in (0, 1, 2, 5, 11, 17) for stream in streams)


TARGET = Target(
    "frames",
    run,
    permitted=(),
    seeds=seeds,
    mutate=plain_bytes(tokens=[_frame(b"x"), b"\x81\xfe", b"\x81\xff", b"\x80\x80mask", b"\0\x80mask"], longest=16_384),
)
