"""TLS that cannot be trusted, and TLS that is none: a certificate is refused for good, all else is tried again."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import pytest
import trustme
from attrs import evolve
from runtimes import Runtime
from scripted_server import Act, Visit, gateway

from lkstt_proto import ConnectError, TlsError

from .play import FINE, HURRIED, QUICK, Case, Expected, Outcome, lost, visit_all
from .raw import Peer, RawServer, instead, listen

UNTRUSTED = Expected(TlsError, retryable=False, says="the server's certificate cannot be trusted")
FAILED = Expected(ConnectError)
TOO_LATE = Expected(ConnectError, says="no connection to")
NO_ANSWER = Expected(ConnectError, says="the server closed the connection without an answer")
REFUSED = Expected(ConnectError, retryable=False, status=101)
TODAY = datetime.now(UTC)
AUTHORITY = trustme.CA()


def certified(name: str = "127.0.0.1", authority: trustme.CA = AUTHORITY, **validity: Any) -> SSLContext:
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **validity).configure_cert(context)
    return context


def trusting() -> SSLContext:
    context = create_default_context()
    AUTHORITY.configure_trust(context)
    return context


GOOD = certified()


def under(context: SSLContext, act: Act = gateway) -> Act:
    """Make an act that comes after shaking hands and after the request."""

    async def secured(visit: Visit) -> None:
        await visit.writer.start_tls(context)
        await visit.read_head()
        await act(visit)

    return secured


def below(visit: Visit) -> socket.socket:
    """Give the TCP connection that carries a visit; close it."""
    return socket.socket(fileno=os.dup(visit.writer.get_extra_info("socket").fileno()))


def amid(deed: Callable[[Visit], None]) -> Act:
    """Make an act of something in the middle of a session that is fine until then."""

    def on_audio(visit: Visit) -> None:
        deed(visit)

    return under(GOOD, partial(gateway, every=0.1, on_audio=on_audio))


def end_without_farewell(visit: Visit) -> None:
    with below(visit) as tcp:
        tcp.shutdown(socket.SHUT_WR)


def garbage_below(visit: Visit) -> None:
    with below(visit) as tcp:
        tcp.send(b"garbage" * 9)


def cut(visit: Visit) -> None:
    visit.cut()
    raise EOFError


async def shaking_hands_only(visit: Visit) -> None:
    await visit.writer.start_tls(GOOD)


async def silent_behind_it(visit: Visit) -> None:
    await visit.writer.start_tls(GOOD)
    await listen(visit)


async def hello_dripping(visit: Visit) -> None:
    """Send a record of the handshake that never gets complete."""
    visit.writer.write(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
    await listen(visit)


async def taking_nothing(visit: Visit) -> None:
    """Say no in a way that must not be waited out: the peer takes no farewell."""
    peer = Peer(visit.reader, visit.writer, visit.head)
    visit.writer.write(peer.opening(without="Upgrade"))
    await visit.writer.drain()
    visit.writer.transport.pause_reading()
    await asyncio.sleep(60)


async def refusing_and_taking_nothing(visit: Visit) -> None:
    visit.writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    await visit.writer.drain()
    visit.writer.transport.pause_reading()
    await asyncio.sleep(60)


def hello(version: bytes) -> bytes:
    """Build a ServerHello that chooses a version of TLS."""
    body = version + bytes(32) + b"\x00" + b"\xc0\x13" + b"\x00"
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16" + version + len(message).to_bytes(2, "big") + message


async def renegotiating(visit: Visit) -> None:
    """Say hello twice."""
    visit.writer.write(hello(b"\x03\x03") * 2)
    await listen(visit)


def case(name: str, act: Act, expected: Expected) -> Case:
    return Case(name=name, act=act, expected=expected, retry=HURRIED if expected is TOO_LATE else QUICK)


EXPIRED = {"not_before": TODAY - timedelta(days=9), "not_after": TODAY - timedelta(days=1)}
NOT_YET = {"not_before": TODAY + timedelta(days=1), "not_after": TODAY + timedelta(days=9)}
CASES = [
    case("good", under(GOOD), FINE),
    case("self-signed", under(certified(authority=trustme.CA())), UNTRUSTED),
    case("wrong-host", under(certified("elsewhere.example")), UNTRUSTED),
    case("wrong-address", under(certified("127.0.0.2")), UNTRUSTED),
    case("name-as-address", under(certified("*.0.0.1")), UNTRUSTED),
    case("expired", under(certified(**EXPIRED)), UNTRUSTED),
    case("not-yet-valid", under(certified(**NOT_YET)), UNTRUSTED),
    case("tls-1.0", instead(hello(b"\x03\x01"), end=False), FAILED),
    case("tls-1.1", instead(hello(b"\x03\x02"), end=False), FAILED),
    case("ssl-3", instead(hello(b"\x03\x00"), end=False), FAILED),
    case("two-hellos", renegotiating, FAILED),
    case("alert", instead(b"\x15\x03\x01\x00\x02\x02\x46", end=False), FAILED),
    case("plaintext", instead(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", end=False), FAILED),
    case("ssh", instead(b"SSH-2.0-OpenSSH_9.9\r\n", end=False), FAILED),
    case("nul", instead(bytes(9999), end=False), FAILED),
    case("record-too-long", instead(b"\x16\x03\x03\xff\xff" + bytes(70_000), end=False), FAILED),
    case("end-at-once", instead(), FAILED),
    case("end-in-the-handshake", instead(b"\x16\x03\x03\x00\x7a\x02\x00"), FAILED),
    case("silence", listen, TOO_LATE),
    case("handshake-without-end", hello_dripping, TOO_LATE),
    case("end-behind-the-handshake", shaking_hands_only, FAILED),
    case("silence-behind-the-handshake", silent_behind_it, TOO_LATE),
    case("no-upgrade-and-takes-nothing", under(GOOD, taking_nothing), REFUSED),
    case("503-and-takes-nothing", under(GOOD, refusing_and_taking_nothing), Expected(ConnectError, status=503)),
    case("end-without-farewell", amid(end_without_farewell), lost()),
    case("garbage-below", amid(garbage_below), lost()),
    case("cut", amid(cut), lost()),
]


@pytest.fixture(scope="module")
def outcomes(runtime: Runtime) -> dict[str, Outcome]:
    # Whoever comes again finds what he should have found at first.
    def beginning(act: Act) -> Act:
        acts = [act]

        async def either(visit: Visit) -> None:
            await (acts.pop() if acts else under(GOOD))(visit)

        return either

    with ExitStack() as stack:
        servers = {each.name: stack.enter_context(RawServer(beginning(each.act))) for each in CASES}
        urls = {name: server.base_url.replace("http:", "https:") for name, server in servers.items()}
        connector = runtime.connector(ssl=trusting())
        found = visit_all(runtime, urls, CASES, {each.name: connector for each in CASES})
        return {name: evolve(outcome, visits=len(servers[name].visits)) for name, outcome in found.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_certificate_is_refused_for_good_and_other_trouble_is_tried_again(
    case: Case, outcomes: dict[str, Outcome]
) -> None:
    outcomes[case.name].judge(case.expected)
