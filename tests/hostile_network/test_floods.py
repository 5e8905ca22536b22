"""Servers that send without end or take nothing: what is held of it stays small, whatever they do."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from runtimes import Runtime
from scripted_server import Act, Visit, gateway

from lkstt_proto import ConnectError, ConnectionLost, Limits, RetryPolicy

from .play import FINE, Case, Expected, Outcome, lost, play
from .raw import BINARY, CONT, PING, PONG, TEXT, frame, instead, pour

HELD = 48 * 2**20
"""Bytes at the most, of all clients and the server together, while gigabytes are sent."""
# For a processor that has all of these at once.
PATIENT = Limits(ping_timeout=60.0, drain=300.0)
NO_LONGER = evolve(PATIENT, ping_interval=0.1, ping_timeout=2.0, close=0.1)
"""For servers that say nothing: the next one may be slow to answer."""
UNHURRIED = RetryPolicy(first_delay=0.01, max_delay=0.02, connect_timeout=60.0, outage=300.0, retry_after=0.02)
NO_HTTP = Expected(ConnectError, says="the answer was no HTTP")
OVERLOADED = Expected(ConnectError, status=503)
SILENCE = Expected(ConnectionLost, says="nothing was heard")
MANY = 5_000


def opening(flood: Callable[[Visit], Any]) -> Act:
    """Make an act of a flood behind an orderly answer, and of a gateway behind that."""

    async def act(visit: Visit) -> None:
        visit.upgrade()
        await flood(visit)
        await gateway(visit)

    return act


def pouring(data: bytes, times: int | None = None, *, before: bytes = b"", after: bytes = b"") -> Act:
    """Make a flood of bytes."""

    async def flood(visit: Visit) -> None:
        visit.writer.write(before)
        await pour(visit, data, times)
        visit.writer.write(after)

    return opening(flood)


def refusing(*lines: str, body: bytes, times: int | None = 1) -> Act:
    """Make an act of an answer with a body of that size."""

    async def act(visit: Visit) -> None:
        visit.writer.write("\r\n".join(("HTTP/1.1 503 Busy", *lines, "", "")).encode())
        await pour(visit, body, times)

    return act


async def deaf(visit: Visit) -> None:
    """Ask without end, and take no answer."""
    visit.upgrade()
    visit.writer.transport.pause_reading()
    await pour(visit, frame(PING, b"x" * 125))


async def never_reading(visit: Visit) -> None:
    visit.upgrade()
    visit.writer.transport.pause_reading()
    await asyncio.sleep(60)


def case(name: str, act: Act, expected: Expected) -> Case:
    limits = NO_LONGER if expected is SILENCE else PATIENT
    return Case(name=name, act=act, expected=expected, retry=UNHURRIED, limits=limits)


BOMB = gzip.compress(bytes(64 * 2**20))
CHUNK = b"400\r\n" + bytes(1024) + b"\r\n"
FRAGMENT = frame(CONT, bytes(1024), fin=False)
MIB = b"x" * 2**20
CASES = [
    case("body-1-gib", refusing(f"Content-Length: {2**30}", body=MIB, times=1024), OVERLOADED),
    case(
        "chunks",
        refusing("Transfer-Encoding: chunked", body=b"400\r\n" + bytes(1024) + b"\r\n", times=None),
        OVERLOADED,
    ),
    case(
        "gzip-bomb", refusing("Content-Encoding: gzip", f"Content-Length: {len(BOMB)}", body=BOMB, times=1), OVERLOADED
    ),
    case("header-64-mib", instead(b"HTTP/1.1 200 OK\r\nX: ", *[MIB] * 64, b"\r\n\r\n"), NO_HTTP),
    case("headers-without-end", instead(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n" * 10_000] * 100), NO_HTTP),
    case("frame-64-mib", pouring(MIB, 64, before=frame(TEXT, declared=64 * 2**20)), lost(1009)),
    case("frame-2-63", pouring(MIB, 64, before=frame(BINARY, declared=2**63 - 1)), lost(1009)),
    case(
        "fragments-without-end", pouring(frame(CONT, bytes(1024), fin=False), before=frame(TEXT, fin=False)), lost(1009)
    ),
    case("largest-message", pouring(frame(TEXT, b"x" * (2**20 + 2**18)), 4), FINE),
    case("too-large-message", pouring(frame(TEXT, b"x" * (2 * 2**20 + 1)), 4), lost(1009)),
    case(
        "fragments",
        pouring(frame(CONT, b"x", fin=False), MANY, before=frame(TEXT, b"{", fin=False), after=frame(CONT, b"}")),
        FINE,
    ),
    case("empty-fragments-without-end", pouring(frame(CONT, fin=False), before=frame(TEXT, fin=False)), SILENCE),
    case("pings", pouring(frame(PING, b"x"), 1_000), FINE),
    case("pongs", pouring(frame(PONG, b"x"), MANY), FINE),
    case("tiny-messages", pouring(frame(TEXT), 1_000), FINE),
    case("pings-and-takes-nothing", deaf, SILENCE),
    case("takes-nothing", never_reading, SILENCE),
]


@pytest.fixture(scope="module")
def played(runtime: Runtime) -> tuple[dict[str, Outcome], int]:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        # Those that wait for a silence by themselves: a process that is late for a second starts waiting anew.
        silent = [case for case in CASES if case.expected is SILENCE]
        outcomes = play(runtime, silent) | play(runtime, [case for case in CASES if case not in silent])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return outcomes, most - before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_flood_is_survived_or_left(case: Case, played: tuple[dict[str, Outcome], int]) -> None:
    outcomes, _ = played
    outcomes[case.name].judge(case.expected)


def test_little_is_held_of_all_floods_together(played: tuple[dict[str, Outcome], int]) -> None:
    _, held = played
    assert held < HELD
