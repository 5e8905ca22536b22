"""Proxies that do as they like: they see where a stream goes, and nothing else."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
from attrs import evolve
from runtimes import Runtime
from scripted_server import Act, ScriptedServer, Visit, answering, forwarding, resetting

from lkstt_proto import ConnectError, InsecureTransport

from .play import FINE, HURRIED, QUICK, Case, Expected, Outcome, stream, visit_all
from .raw import RawServer, instead, listen, pour
from .test_tls import GOOD, UNTRUSTED, certified, trusting

NO_HTTP = Expected(ConnectError, says="the answer was no HTTP")
NO_ANSWER = Expected(ConnectError)
TOO_LATE = Expected(ConnectError, says="no connection to")
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
WORD = "the-word-for-the-proxy"


def said(status: int) -> Expected:
    return Expected(ConnectError, says=f"the proxy answered with HTTP {status}")


def case(name: str, act: Act, expected: Expected) -> Case:
    return Case(name=name, act=act, expected=expected, retry=HURRIED if expected is TOO_LATE else QUICK)


def reading(act: Act) -> Act:
    """Make an act that comes after the request for a tunnel."""

    async def after(visit: Visit) -> None:
        await visit.read_head()
        await act(visit)

    return after


async def endless_headers(visit: Visit) -> None:
    visit.writer.write(b"HTTP/1.1 200 OK\r\n")
    await pour(visit, b"X: y\r\n")


async def reading_along(visit: Visit) -> None:
    """Open a tunnel to nowhere, and pose as the gateway."""
    visit.writer.write(ESTABLISHED)
    await visit.writer.start_tls(certified("elsewhere.example"))


def cases(elsewhere: int) -> list[Case]:
    location = f"Location: http://127.0.0.1:{elsewhere}/"
    return [
        case("good", reading(forwarding), FINE),
        case("garbage", instead(b"SSH-2.0-proxy\r\n\r\n", end=False), NO_HTTP),
        case("nul", instead(bytes(9999), end=False), NO_HTTP),
        case("tls", instead(b"\x15\x03\x01\x00\x02\x02\x16", end=False), NO_HTTP),
        case("nothing", reading(instead()), NO_ANSWER),
        case("reset", reading(resetting), Expected(ConnectError)),
        case("silence", listen, TOO_LATE),
        case("endless-headers", endless_headers, NO_HTTP),
        case("101", reading(answering("101 Switching Protocols", "Upgrade: websocket")), said(101)),
        case("204", reading(answering("204 None")), said(204)),
        case("302", reading(answering("302 Found", location)), said(302)),
        case("307", reading(answering("307 Go", location)), said(307)),
        case("401", reading(answering("401 Who", "WWW-Authenticate: Basic")), said(401)),
        case("407", reading(answering("407 Who", "Proxy-Authenticate: Basic", location)), said(407)),
        case("429", reading(answering("429 Slow", "Retry-After: 9")), said(429)),
        case("503", reading(answering("503 Busy", body=b"x" * 9999)), said(503)),
        case("200-and-plaintext", reading(instead(ESTABLISHED + b"HTTP/1.1 101 Go\r\n\r\n")), NO_ANSWER),
        case("200-and-end", reading(instead(ESTABLISHED)), NO_ANSWER),
        case("200-and-silence", reading(instead(ESTABLISHED, end=False)), TOO_LATE),
        case("in-the-middle", reading(reading_along), UNTRUSTED),
    ]


def test_a_proxy_is_told_where_to_and_no_more(runtime: Runtime) -> None:
    # Whoever comes again finds a proxy that does what it should.
    def beginning(act: Act) -> Act:
        acts = [act]

        async def either(visit: Visit) -> None:
            await (acts.pop() if acts else reading(forwarding))(visit)

        return either

    with RawServer(listen) as elsewhere, ScriptedServer(ssl=GOOD) as target, ExitStack() as stack:
        played = cases(elsewhere.port)
        servers = {each.name: stack.enter_context(RawServer(beginning(each.act))) for each in played}
        connectors = {
            name: runtime.connector(ssl=trusting(), proxy=f"http://user:{WORD}@127.0.0.1:{server.port}")
            for name, server in servers.items()
        }
        outcomes = visit_all(runtime, dict.fromkeys(servers, target.base_url), played, connectors)
        for each in played:
            visits = servers[each.name].visits
            try:
                evolve(outcomes[each.name], visits=len(visits)).judge(each.expected)
                assert WORD not in repr(outcomes[each.name])
                for visit in visits:
                    assert visit.head.partition(" ")[0] in ("CONNECT", "")
                    assert "Bearer" not in visit.head
            except AssertionError as failure:
                failure.add_note(each.name)
                raise
        assert elsewhere.visits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "gateway.example"])
def test_plaintext_is_shown_to_no_proxy(runtime: Runtime, host: str) -> None:
    with RawServer(listen) as proxy, ScriptedServer() as target:
        outcomes: list[Outcome] = []

        async def main() -> None:
            connector: Any = runtime.connector(proxy=f"http://127.0.0.1:{proxy.port}")
            url = target.base_url.replace("127.0.0.1", host)
            outcomes.append(await stream(runtime, base_url=url, allow_insecure=True, connector=connector))
            await runtime.let_go(connector)

        runtime.run(main)
        assert proxy.visits == []
    assert type(outcomes[0].raised) is InsecureTransport
    assert outcomes[0].raised is outcomes[0].failure
