"""Bytes on an open WebSocket that no server should send."""

from __future__ import annotations

import asyncio

import pytest
from runtimes import Asyncio, Runtime
from scripted_server import Visit, gateway, resetting

from lkstt_proto import ConnectionLost, Limits

from .play import FINE, IMPATIENT, Case, Expected, Outcome, lost, play
from .raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, amid, closing, frame, listen

SILENCE = Expected(ConnectionLost, says="nothing was heard")
MASK = b"\x01\x02\x03\x04"
BELOW = b'{"type":"unheard of"}'


def case(name: str, *pieces: bytes, expected: Expected, limits: Limits = Limits()) -> Case:
    return Case(name=name, act=amid(*pieces), expected=expected, limits=limits)


def nonsense(code: int) -> Case:
    return case(f"close-code-{code}", closing(code), expected=lost(1002))


async def half_closing(visit: Visit) -> None:
    """Open the WebSocket, say that nothing more comes, and listen."""
    visit.upgrade()
    visit.writer.write_eof()
    await listen(visit)


async def never_reading(visit: Visit) -> None:
    visit.upgrade()
    visit.writer.transport.pause_reading()
    await asyncio.sleep(60)


async def reading_slowly(visit: Visit) -> None:
    visit.upgrade()
    for _ in range(600):
        await visit.reader.readexactly(1)
        await asyncio.sleep(0.1)


async def answering_with_foreign_pongs(visit: Visit) -> None:
    """Take everything, and say nothing but pongs that nobody asked for."""
    visit.upgrade()
    while await visit.receive():
        visit.writer.write(frame(PONG) + frame(PONG, b"\x00\x00\x00\x00"))


async def dripping(visit: Visit) -> None:
    """Be a gateway whose every byte comes in a segment of its own."""
    inner = visit.writer

    class Dripping:
        transport = inner.transport

        def write(self, data: bytes) -> None:
            for index in range(len(data)):
                inner.write(data[index : index + 1])

        async def drain(self) -> None:
            await inner.drain()

    visit.writer = Dripping()  # type: ignore[assignment] (all that a gateway wants of it)
    await gateway(visit)


async def never_answering_the_close(visit: Visit) -> None:
    """Be a gateway that hears no close frame."""
    visit.upgrade()
    visit.gateway.transport_opened(visit.now)
    await listen(visit)


async def half_a_frame(visit: Visit) -> None:
    visit.upgrade()
    visit.writer.write(frame(TEXT, b"x", declared=1000))
    await listen(visit)


async def resetting_amid(visit: Visit) -> None:
    visit.upgrade()
    await visit.receive()
    visit.writer.write(frame(TEXT, BELOW)[:5])
    await resetting(visit)


CASES = [
    case("masked", frame(TEXT, BELOW, mask=MASK), expected=lost(1002)),
    *(case(f"rsv-{rsv}", frame(TEXT, BELOW, rsv=rsv), expected=lost(1002)) for rsv in (1, 2, 4, 7)),
    case("rsv-on-a-ping", frame(PING, b"x", rsv=4), expected=lost(1002)),
    *(case(f"opcode-{opcode}", frame(opcode), expected=lost(1002)) for opcode in (3, 7, 11, 15)),
    case("fragmented-ping", frame(PING, b"x", fin=False), expected=lost(1002)),
    case("fragmented-close", frame(CLOSE, b"\x03\xe8", fin=False), expected=lost(1002)),
    case("long-ping", frame(PING, b"x" * 126), expected=lost(1002)),
    case("long-close", closing(1000, b"x" * 124), expected=lost(1002)),
    case("long-pong", frame(PONG, b"x" * 70_000), expected=lost(1002)),
    case("continuation-without-start", frame(CONT, BELOW), expected=lost(1002)),
    case("start-amid-a-message", frame(TEXT, b"x", fin=False) + frame(TEXT, BELOW), expected=lost(1002)),
    case("start-amid-an-empty-message", frame(TEXT, fin=False) + frame(TEXT, BELOW), expected=lost(1002)),
    case(
        "fragments",
        *(
            frame(CONT if index else TEXT, BELOW[index : index + 1], fin=index == len(BELOW) - 1)
            for index in range(len(BELOW))
        ),
        expected=FINE,
    ),
    case(
        "fragments-with-pings-between",
        frame(TEXT, BELOW[:3], fin=False),
        frame(PING, b"x"),
        frame(CONT, BELOW[3:]),
        expected=FINE,
    ),
    case(
        "fragments-too-large",
        frame(TEXT, b"x" * 2**20, fin=False),
        frame(CONT, b"x" * 2**20, fin=False),
        frame(CONT, b"x"),
        expected=lost(1009),
    ),
    case("declared-64-mib", frame(TEXT, declared=64 * 2**20), expected=lost(1009)),
    case("declared-2-63", frame(TEXT, declared=2**63), expected=lost(1009)),
    case("declared-2-64", frame(BINARY, declared=2**64 - 1), expected=lost(1009)),
    case("not-utf-8", frame(TEXT, b'{"type":"\xff"}'), expected=lost(1007)),
    case("not-utf-8-across", frame(TEXT, b'{"type":"\xe2', fin=False), frame(CONT, b'\x28\xa1"}'), expected=lost(1007)),
    case("utf-8-across", frame(TEXT, b'{"type":"\xe2', fin=False), frame(CONT, b'\x82\xac"}'), expected=FINE),
    case("utf-8-cut", frame(TEXT, b'{"type":"\xe2'), expected=lost(1007)),
    case("surrogate", frame(TEXT, b'{"type":"\xed\xa0\x80"}'), expected=lost(1007)),
    case("binary", frame(BINARY, bytes(999)), expected=FINE),
    case("close-without-code", frame(CLOSE), expected=lost(1005)),
    case("close-of-one-byte", frame(CLOSE, b"\x03"), expected=lost(1002)),
    case("close-1000", closing(1000, b"enough"), expected=lost(1000, "enough")),
    case("close-3000", closing(3000), expected=lost(3000)),
    case("close-4999", closing(4999, b"x" * 123), expected=lost(4999, "***")),
    *map(nonsense, (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)),
    case("close-reason-not-utf-8", closing(1000, b"\xff"), expected=lost(1007)),
    case("close-reason-with-controls", closing(1001, "\x1b[2J\x00\u202egood\n".encode()), expected=lost(1001, "good")),
    case("data-after-close", closing(1001), frame(TEXT, BELOW), frame(3), expected=lost(1001)),
    case("close-amid-a-message", frame(TEXT, b"x", fin=False), closing(1011), expected=lost(1011)),
    case("unasked-pongs", *[frame(PONG), frame(PONG, b"\x00\x00\x00\x00")] * 50, expected=FINE),
    case("pings", *[frame(PING, b"x" * 125)] * 200, expected=FINE),
    case("tiny-messages", *[frame(TEXT)] * 2000, expected=FINE),
    case(
        "empty-fragments", frame(TEXT, BELOW, fin=False), *[frame(CONT, fin=False)] * 2000, frame(CONT), expected=FINE
    ),
    Case(name="half-a-frame-for-ever", act=half_a_frame, expected=SILENCE, limits=IMPATIENT),
    Case(name="half-closed", act=half_closing, expected=lost()),
    Case(name="never-reading", act=never_reading, expected=SILENCE, limits=IMPATIENT),
    Case(name="reading-slowly", act=reading_slowly, expected=SILENCE, limits=IMPATIENT),
    Case(name="foreign-pongs", act=answering_with_foreign_pongs, expected=SILENCE, limits=IMPATIENT),
    Case(name="close-never-answered", act=never_answering_the_close, expected=SILENCE, limits=IMPATIENT),
    Case(name="reset-amid-a-frame", act=resetting_amid, expected=lost()),
    Case(name="bytes-one-by-one", act=dripping, expected=FINE),
]

# What aiohttp takes and ``websockets`` does not. Neither changes what is heard: a mask hides bytes from those in
# between and not from us, and of a message that began with nothing, nothing is lost.
AIOHTTP = {"masked": FINE, "start-amid-an-empty-message": FINE}


@pytest.fixture(scope="module")
def outcomes(runtime: Runtime) -> dict[str, Outcome]:
    return play(runtime, CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whatever_comes_is_skipped_or_ends_the_session_with_its_code_and_nothing_is_lost(
    case: Case, runtime: Runtime, outcomes: dict[str, Outcome]
) -> None:
    aiohttp = isinstance(runtime, Asyncio)
    outcomes[case.name].judge(AIOHTTP.get(case.name, case.expected) if aiohttp else case.expected)
