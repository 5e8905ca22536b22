"""Servers that send a stream elsewhere: nobody goes there, with or without a token."""

from __future__ import annotations

from runtimes import Runtime
from scripted_server import Act, Visit

from lkstt_proto import AuthError, ConnectError, UnexpectedRedirect

from .play import Case, Expected, play
from .raw import Peer, RawServer, instead, listen


def to(first: str, *lines: str, body: bytes = b"") -> Act:
    head = "\r\n".join((f"HTTP/1.1 {first}", f"Content-Length: {len(body)}", *lines, "", ""))
    return instead(head.encode("latin-1") + body)


def redirect(status: int) -> Expected:
    return Expected(UnexpectedRedirect, retryable=False, status=status)


def refused(status: int) -> Expected:
    return Expected(ConnectError, retryable=False, status=status)


def cases(port: int) -> list[Case]:
    """All ways to name a target."""
    elsewhere = f"127.0.0.1:{port}"
    places = {
        "http": f"http://{elsewhere}/v1/stt",
        "https": f"https://{elsewhere}/v1/stt",
        "ws": f"ws://{elsewhere}/v1/stt",
        "wss": f"wss://{elsewhere}/v1/stt",
        "another-name": f"http://localhost:{port}/v1/stt",
        "with-a-user": f"http://user:word@{elsewhere}/",
        "without-scheme": f"//{elsewhere}/v1/stt",
        "relative": "/chain/stt",
        "relative-path": "stt",
        "itself": "",
        "file": "file:///etc/passwd",
        "no-url": "http://[::1",
        "bytes": "http://\xff\x01/",
    }
    found = [
        Case(name=f"{status}-{name}", act=to(f"{status} Go", f"Location: {place}"), expected=redirect(status))
        for status in (300, 301, 302, 303, 304, 305, 307, 308, 399)
        for name, place in places.items()
        if name == "http" or status in (302, 307)
    ]

    async def yes(peer: Peer) -> None:
        peer.writer.write(peer.opening(f"Location: {places['http']}", without="Upgrade"))
        await listen(peer)

    async def chunked(visit: Visit) -> None:
        lines = ("HTTP/1.1 302 Go", f"Location: {places['http']}", "Transfer-Encoding: chunked", "", "")
        visit.writer.write("\r\n".join(lines).encode())
        await listen(visit)

    where = places["http"]
    found += [
        Case(name="chain", act=to("302 Go", f"Location: {where}"), expected=redirect(302)),
        Case(name="no-location", act=to("302 Go"), expected=redirect(302)),
        Case(name="body", act=to("307 Go", f"Location: {where}", body=b"x" * 9999), expected=redirect(307)),
        Case(name="endless-body", act=chunked, expected=redirect(302)),
        Case(name="two", act=to("302 Go", f"Location: {where}", f"Location: {where}2"), expected=redirect(302)),
        Case(name="uri", act=to("302 Go", f"URI: {where}", f"Content-Location: {where}"), expected=redirect(302)),
        Case(name="101", act=yes, expected=refused(101)),
        Case(name="200-refresh", act=to("200 OK", f"Refresh: 0; url={where}"), expected=refused(200)),
        Case(name="200-alt-svc", act=to("200 OK", f'Alt-Svc: h2="{elsewhere}"; ma=9'), expected=refused(200)),
        Case(name="201", act=to("201 Made", f"Location: {where}"), expected=refused(201)),
        Case(name="426", act=to("426 Upgrade", f"Location: {where}", "Upgrade: TLS/1.2"), expected=refused(426)),
        Case(name="401", act=to("401 Who", f"Location: {where}"), expected=Expected(AuthError, False, 401)),
        Case(name="403", act=to("403 No", f"Location: {where}"), expected=Expected(AuthError, False, 403)),
        Case(name="503", act=to("503 Busy", f"Location: {where}"), expected=Expected(ConnectError, status=503)),
    ]
    return found


def test_nobody_goes_where_a_server_points(runtime: Runtime) -> None:
    with RawServer(listen) as target:
        played = cases(target.port)
        outcomes = play(runtime, played)
        assert target.visits == []
    for case in played:
        try:
            outcomes[case.name].judge(case.expected)
        except AssertionError as failure:
            failure.add_note(case.name)
            raise
