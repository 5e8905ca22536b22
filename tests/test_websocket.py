"""A WebSocket without its socket: what comes of bytes, wherever they are cut."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache, partial
from ssl import (
    CERT_NONE,
    PROTOCOL_TLS_CLIENT,
    PROTOCOL_TLS_SERVER,
    MemoryBIO,
    SSLContext,
    SSLError,
    SSLObject,
    SSLWantReadError,
    TLSVersion,
    create_default_context,
)
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.exceptions import WebSocketException
from websockets.frames import Frame
from websockets.http11 import Request as Head
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.utils import accept_key

from lkstt_proto import InsecureTransport, LocalProtocolError, Request, TlsError
from lkstt_transports import websocket as module
from lkstt_transports.common import CLOSED_HERE, DONE, Binary, Closed, Pong, Received, Text, UpgradeRefused
from lkstt_transports.websocket import CHUNK, Dialer, TcpSocket, WebSocket

HOST = "gateway.example"
URL = f"ws://{HOST}/v1/stt?model=a%2Fb"
SECURE_URL = f"wss://{HOST}/v1/stt"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJBUEkifQ.c2lnbmF0dXJl"
NOON = 1_700_049_600.0  # Wed, 15 Nov 2023 12:00:00 GMT
LARGEST = 1000
SILENT = logging.getLogger("peer")  # the peer's own log is not what is looked at
SILENT.disabled = True
SAID = "Mrs. Bennet"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NO_ANSWER = "the server closed the connection without an answer"
NO_HTTP = "the answer was no HTTP"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


# The other end.


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def a_trusting_one() -> SSLContext:
    context = create_default_context()
    authority().configure_trust(context)
    return context


@cache
def trusting() -> SSLContext:
    return a_trusting_one()


@cache
def certified(name: str = HOST, *, newest: TLSVersion = TLSVersion.TLSv1_3, **validity: Any) -> SSLContext:
    """Make the other end's context; until TLS 1.2 it ends the handshake, and may say something in the same bytes."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    authority().issue_cert(name, **validity).configure_cert(context)
    return context


def begin(
    url: str = URL, *, headers: tuple[tuple[str, str], ...] = (), max_message: int = LARGEST, **settings: Any
) -> WebSocket:
    request = Request(url, (*headers, ("Authorization", f"Bearer {TOKEN}")))
    return Dialer(**settings).begin(request, max_message)


class Far:
    """The other end of the wire, which sends pieces of some size; in plaintext until ``secure``."""

    def __init__(self, websocket: WebSocket, piece: int = CHUNK) -> None:
        self._websocket = websocket
        self._piece = piece
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._tls: SSLObject | None = None

    def hear(self) -> bytes:
        """Take what the client has to say."""
        data = self._websocket.take()
        if self._tls is None:
            return data
        self._incoming.write(data)
        heard = b""
        try:
            while piece := self._tls.read(CHUNK):
                heard += piece
        except SSLWantReadError:
            pass
        return heard

    def frames(self) -> list[tuple[int, bytes]]:
        """Take what the client has to say once it is open: opcodes and payloads."""
        data, frames = self.hear(), []
        while data:
            head, size = data[0], data[1] & 127
            assert head & 0xF0 == 0x80, "a frame is final, and has no reserved bits"
            assert data[1] & 128, "a client masks"
            assert size < 126, "nothing here is longer"
            mask, payload = data[2:6], data[6 : 6 + size]
            frames.append((head & 15, bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))))
            data = data[6 + size :]
        return frames

    def say(self, data: bytes) -> None:
        self.transmit(self.encrypt(data))

    def encrypt(self, data: bytes) -> bytes:
        if self._tls is None:
            return data
        self._tls.write(data)
        return self._outgoing.read()

    def transmit(self, data: bytes) -> None:
        for start in range(0, len(data), self._piece):
            self._websocket.feed(data[start : start + self._piece])

    def end(self) -> None:
        self._websocket.feed(b"")

    def farewell(self) -> bytes:
        """Give the end of a TLS session."""
        assert self._tls is not None
        with pytest.raises(SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def secure(self, context: SSLContext, last: Callable[[], bytes] = lambda: b"") -> None:
        """Shake hands; send what ``last`` gives in the same bytes as the end of it."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        done = False
        while not done:
            self._incoming.write(self._websocket.take())
            try:
                self._tls.do_handshake()
                done = True
            except SSLWantReadError:
                pass
            flight = self._outgoing.read()
            self.transmit(flight + last() if done else flight)


def switching(head: bytes, *, accept: str | None = None, lines: Iterable[str] = ()) -> bytes:
    """Say yes to an upgrade request."""
    key = re.findall(rb"Sec-WebSocket-Key: (.+)\r\n", head)[0].decode()
    told = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key) if accept is None else accept}",
        *lines,
    ]
    return "\r\n".join((*told, "", "")).encode()


def opened(more: bytes = b"", *, secure: bool = False, piece: int = CHUNK) -> tuple[WebSocket, Far]:
    websocket = begin(SECURE_URL if secure else URL, ssl=trusting() if secure else None)
    far = Far(websocket, piece)
    if secure:
        far.secure(certified())
    far.say(switching(far.hear()) + more)
    assert websocket.opened
    return websocket, far


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False) -> bytes:
    head, size = fin << 7 | rsv << 4 | opcode, len(data)
    if size < 126:
        return bytes((head, masked << 7 | size)) + bytes(4 * masked) + data
    return bytes((head, 126)) + size.to_bytes(2, "big") + data


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def told(websocket: WebSocket) -> list[Received]:
    received: list[Received] = []
    while (item := websocket.receive()) is not None:
        received.append(item)
    return received


def sendings(websocket: WebSocket) -> list[Callable[[], None]]:
    return [partial(websocket.send_texts, [SAID.encode()]), partial(websocket.close, 1000), websocket.ping]


def broken(code: int) -> Closed:
    return Closed(code, CLOSED_HERE)


# The request.


def test_the_request_asks_for_a_websocket_and_nothing_more() -> None:
    websocket = begin(headers=(("X-Trace", "1"), ("X-Trace", "2")))
    assert websocket.address == (HOST, 80)
    head = Far(websocket).hear().decode()
    assert head.startswith("GET /v1/stt?model=a%2Fb HTTP/1.1\r\n")
    assert head.endswith("\r\n\r\n")
    lines = head.split("\r\n")
    for line in (f"Host: {HOST}", "Upgrade: websocket", "Connection: Upgrade", f"Authorization: Bearer {TOKEN}"):
        assert lines.count(line) == 1
    assert [line for line in lines if line.startswith("X-")] == ["X-Trace: 1", "X-Trace: 2"]
    assert "Extensions" not in head
    assert "Sec-WebSocket-Protocol" not in head


def test_a_host_of_ones_own_takes_the_place_of_the_urls() -> None:
    head = Far(begin(headers=(("host", "inner.example"),))).hear().decode()
    assert [line for line in head.split("\r\n") if line.lower().startswith("host:")] == ["host: inner.example"]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://gateway.example/v1", ("gateway.example", 443)),
        ("ws://127.0.0.1:8080/v1", ("127.0.0.1", 8080)),
        ("wss://[::1]:8443/v1", ("::1", 8443)),
    ],
)
def test_the_address_is_the_urls(url: str, address: tuple[str, int]) -> None:
    assert begin(url).address == address


# The upgrade.


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("piece", [1, 7, CHUNK])
def test_it_opens_wherever_the_answer_is_cut(piece: int, secure: bool) -> None:
    websocket, far = opened(secure=secure, piece=piece)
    assert told(websocket) == []
    far.say(frame(TEXT, b"hello"))
    assert told(websocket) == [Text("hello")]
    websocket.send_texts([b'{"a":"\xc3\xa9"}'])
    assert far.frames() == [(TEXT, b'{"a":"\xc3\xa9"}')]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_comes_with_the_answer_is_heard(secure: bool) -> None:
    websocket, far = opened(frame(TEXT, b"first") + frame(PING, b"p") + closing(1001, b"later"), secure=secure)
    assert told(websocket) == [Text("first"), Closed(1001, "later")]
    assert far.frames() == [(PONG, b"p"), (CLOSE, b"\x03\xe9later")]


@pytest.mark.parametrize("piece", [1, CHUNK])
def test_interim_answers_are_skipped(piece: int) -> None:
    websocket = begin()
    far = Far(websocket, piece)
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 102\r\n\r\n"
    far.say(interim + switching(far.hear()))
    assert websocket.opened


def test_two_protocols_understand_each_other() -> None:
    websocket = begin()
    peer = ServerProtocol(logger=SILENT)

    def exchange() -> list[Any]:
        peer.receive_data(websocket.take())
        events = peer.events_received()
        for data in peer.data_to_send():
            websocket.feed(data)
        return events

    (head,) = exchange()
    assert isinstance(head, Head)
    assert head.headers["Authorization"] == f"Bearer {TOKEN}"
    peer.send_response(peer.accept(head))
    exchange()
    assert websocket.opened
    peer.send_text("é".encode())
    peer.send_binary(b"\x00\xff")
    websocket.ping()
    exchange()
    exchange()
    assert told(websocket) == [Text("é"), Binary(b"\x00\xff"), Pong()]
    websocket.close(1000)
    exchange()
    assert told(websocket) == [Closed(1000)]
    assert peer.close_rcvd is not None
    assert peer.close_rcvd.code == 1000


# Refusals.


@pytest.mark.parametrize(
    ("answer", "status", "retry_after", "detail"),
    [
        ("401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401, None, ""),
        ('403 Forbidden\r\nContent-Length: 18\r\n\r\n{"message":"nope"}', 403, None, "nope"),
        ('429 Slow\r\nRetry-After: 7\r\nContent-Length: 15\r\n\r\n{"hint":"wait"}', 429, 7.0, "wait"),
        ("429 Slow\r\nretry-after: Wed, 15 Nov 2023 12:01:30 GMT\r\n\r\n", 429, 90.0, ""),
        ("429 Slow\r\nRetry-After: 7\r\nRetry-After: 9\r\n\r\n", 429, 7.0, ""),
        ("429 Slow\r\nRetry-After: soon\r\n\r\n<html>", 429, None, ""),
        (
            '403 No\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"hint":\r\n7\r\n"apart"\r\n1\r\n}\r\n0\r\n\r\n',
            *(403, None, "apart"),
        ),
        ('403 No\r\nTransfer-Encoding: chunked\r\n\r\ne\r\n{"hint":"most"}'[:-1] + '"}\r\n', 403, None, ""),
        ('403 No\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n{"hint":"going"}\r\n', 403, None, ""),
        ('403 No\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{"hint":"going"}\r\n', 403, None, "going"),
        ("403 No\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n", 403, None, ""),
        (f"403 No\r\nTransfer-Encoding: chunked\r\n\r\n{'1' * 70_000}", 403, None, ""),
        ("503 Later\r\nContent-Length: 100\r\n\r\n", 503, None, ""),
        ('503 Later\r\nContent-Length: 100\r\n\r\n{"hint":"cut', 503, None, ""),
        (f'400 Bad\r\nContent-Length: 5000\r\n\r\n{{"hint":"{"x" * 4990}"}}', 400, None, ""),
        ("302 Found\r\nLocation: http://elsewhere.example/\r\n\r\n", 302, None, ""),
        ("200 OK\r\n\r\n", 200, None, ""),
        ("204 None\r\n\r\n", 204, None, ""),
    ],
)
def test_a_refusal_is_told_with_what_came_with_it(
    answer: str, status: int, retry_after: float | None, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: NOON))
    for version in ("1.0", "1.1"):
        websocket = begin()
        websocket.take()
        with pytest.raises(UpgradeRefused) as caught:
            websocket.feed(f"HTTP/{version} {answer}".encode())
        error = caught.value
        assert (error.status, error.retry_after, error.detail) == (status, retry_after, detail)
        assert not websocket.opened
        assert told(websocket) == []


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_refusal_waits_for_no_body(secure: bool) -> None:
    websocket = begin(SECURE_URL if secure else URL, ssl=trusting())
    far = Far(websocket, 1)
    if secure:
        far.secure(certified())
    with pytest.raises(UpgradeRefused) as caught:
        far.say(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 15\r\n\r\n")
    assert (caught.value.status, caught.value.retry_after, caught.value.detail) == (429, 1.0, "")


@pytest.mark.parametrize(
    "change",
    [
        {"accept": "bm9wZQ=="},
        {"accept": ""},
        {"lines": ["Sec-WebSocket-Extensions: permessage-deflate"]},
        {"lines": ["Sec-WebSocket-Protocol: chat"]},
        {"lines": ["Upgrade: h2c"]},
    ],
    ids=["wrong accept", "no accept", "extension", "subprotocol", "another upgrade"],
)
def test_a_yes_that_is_none_is_a_refusal(change: dict[str, Any]) -> None:
    websocket = begin()
    far = Far(websocket)
    answer = switching(far.hear(), **change)
    with pytest.raises(UpgradeRefused) as caught:
        far.say(answer + frame(TEXT, b"never heard"))
    assert caught.value.status == 101
    assert not websocket.opened
    assert told(websocket) == []
    assert far.hear() == b""


@pytest.mark.parametrize("missing", ["Upgrade: websocket", "Connection: Upgrade"])
def test_a_yes_without_what_belongs_to_it_is_a_refusal(missing: str) -> None:
    websocket = begin()
    far = Far(websocket)
    with pytest.raises(UpgradeRefused) as caught:
        far.say(switching(far.hear()).replace(missing.encode(), b"X: y"))
    assert caught.value.status == 101


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Upgrade: websocket", b"Upgrade websocket"),
        (b"Upgrade: websocket", b"Upgrade : websocket"),
        (b"Upgrade: websocket\r\n", b"Upgrade: websocket\n"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nX: " + b"y" * 20_000),
    ],
    ids=["version", "no colon", "space", "line", "too long"],
)
def test_a_yes_that_is_no_http_is_no_answer(good: bytes, bad: bytes) -> None:
    websocket = begin()
    far = Far(websocket)
    with pytest.raises(ConnectionError, match=NO_HTTP):
        far.say(switching(far.hear()).replace(good, bad))
    assert not websocket.opened


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-server\r\n",
        b"SSH-2.0-server\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"\r\n\r\n",
        b"HTTP/1.1 yes\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 100\t\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=["other", "whole", "tls", "empty", "no status", "version", "interim", "headers"],
)
@pytest.mark.parametrize("piece", [1, 7, 2 * CHUNK])
def test_an_answer_that_is_no_http_is_told(answer: bytes, piece: int) -> None:
    websocket = begin()
    websocket.take()
    with pytest.raises(ConnectionError, match=NO_HTTP) as caught:
        Far(websocket, piece).say(answer)
    assert caught.value.__cause__ is None
    assert not websocket.opened


def test_a_head_without_end_is_not_waited_for() -> None:
    websocket = begin()
    far = Far(websocket, 1000)
    far.hear()
    far.say(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000)
    with pytest.raises(ConnectionError, match=NO_HTTP):
        far.say(b"X: y\r\n" * 1000)


@pytest.mark.parametrize("part", [b"", b"HT", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"])
def test_an_end_instead_of_an_answer_is_told(part: bytes) -> None:
    websocket = begin()
    far = Far(websocket)
    far.hear()
    far.say(part)
    with pytest.raises(ConnectionError, match=NO_ANSWER):
        far.end()
    far.end()
    assert not websocket.opened


# TLS.


@pytest.mark.parametrize(
    ("make", "trusted", "reason"),
    [
        (certified, False, "self-signed|self signed|local issuer"),
        (lambda: certified("elsewhere.example"), True, "ostname mismatch"),
        (lambda: certified(not_after=datetime(2020, 1, 1, tzinfo=UTC)), True, "expired"),
    ],
    ids=["authority", "name", "expired"],
)
@pytest.mark.parametrize("piece", [1, CHUNK])
def test_a_certificate_that_cannot_be_trusted_is_told(
    make: Callable[[], SSLContext], trusted: bool, reason: str, piece: int
) -> None:
    websocket = begin(SECURE_URL, ssl=trusting() if trusted else None)
    far = Far(websocket, piece)
    with pytest.raises(TlsError, match=reason):
        far.secure(make())
    assert not websocket.opened
    with pytest.raises(SSLError, match=r"(?i)alert"):  # which says why
        far.hear()


def test_a_session_is_only_shared_with_who_has_the_name() -> None:
    websocket = begin("wss://[::1]:8443/v1", ssl=trusting())
    far = Far(websocket)
    far.secure(certified("::1"))
    assert b"\r\nHost: [::1]:8443\r\n" in far.hear()


def test_garbage_instead_of_tls_is_told() -> None:
    websocket = begin(SECURE_URL)
    with pytest.raises(SSLError):
        Far(websocket).say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    websocket.take()
    assert not websocket.opened


def test_an_end_while_shaking_hands_is_told() -> None:
    websocket = begin(SECURE_URL)
    with pytest.raises(ConnectionError, match=NO_ANSWER):
        websocket.feed(b"")


def test_garbage_instead_of_an_answer_under_tls_is_told_while_opening() -> None:
    websocket = begin(SECURE_URL, ssl=trusting())
    far = Far(websocket)
    far.secure(certified())
    with pytest.raises(SSLError):
        far.transmit(far.encrypt(b"HTTP/1.1 1") + b"garbage that no TLS is made of")
    assert not websocket.opened
    assert told(websocket) == []
    websocket.take()


def test_an_answer_counts_although_garbage_follows() -> None:
    websocket = begin(SECURE_URL, ssl=trusting())
    far = Far(websocket)
    far.secure(certified())
    far.transmit(far.encrypt(switching(far.hear()) + frame(TEXT, b"hello")) + b"garbage that no TLS is made of")
    assert websocket.opened
    text, closed = told(websocket)
    assert text == Text("hello")
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, SSLError)


def test_an_answer_may_come_with_the_end_of_the_handshake() -> None:
    websocket = begin(SECURE_URL, ssl=trusting())
    far = Far(websocket)
    with pytest.raises(UpgradeRefused) as caught:
        far.secure(certified(newest=TLSVersion.TLSv1_2), lambda: far.encrypt(b"HTTP/1.1 503 Later\r\n\r\n"))
    assert caught.value.status == 503


def test_a_farewell_may_come_with_the_end_of_the_handshake() -> None:
    websocket = begin(SECURE_URL, ssl=trusting())
    far = Far(websocket)
    with pytest.raises(ConnectionError, match=NO_ANSWER):
        far.secure(certified(newest=TLSVersion.TLSv1_2), far.farewell)


@pytest.mark.parametrize("answered", [False, True])
def test_a_farewell_is_an_end(answered: bool) -> None:
    websocket = begin(SECURE_URL, ssl=trusting())
    far = Far(websocket)
    far.secure(certified())
    head = far.hear()
    if answered:
        far.transmit(far.encrypt(switching(head) + frame(TEXT, b"\xff") + frame(TEXT, b"hello")) + far.farewell())
        assert told(websocket) == [broken(1007)]
    else:
        with pytest.raises(ConnectionError, match=NO_ANSWER):
            far.transmit(far.farewell())


@pytest.mark.parametrize("word", [False, True], ids=["cut", "farewell"])
def test_an_end_under_tls_is_an_end(word: bool) -> None:
    websocket, far = opened(secure=True)
    if word:
        far.transmit(far.encrypt(frame(TEXT, b"last")) + far.farewell())
    else:
        far.say(frame(TEXT, b"last"))
        far.end()
    assert told(websocket) == [Text("last"), Closed()]
    far.transmit(b"whatever comes now")
    far.end()
    assert told(websocket) == []
    with pytest.raises(WebSocketException):
        websocket.send_texts([b"too late"])


def test_what_breaks_tls_ends_the_websocket_behind_what_came_before_it() -> None:
    websocket, far = opened(secure=True)
    websocket.send_texts([b"on its way"])
    far.transmit(far.encrypt(frame(TEXT, b"last")) + b"garbage that no TLS is made of")
    last, closed = told(websocket)
    assert last == Text("last")
    assert isinstance(closed, Closed)
    assert isinstance(closed.error, SSLError)
    assert (closed.code, closed.reason) == (1006, "")
    for send in sendings(websocket):
        with pytest.raises(WebSocketException):
            send()
    websocket.take()
    far.end()
    assert told(websocket) == []


class Waiting(SSLObject):
    """A session whose peer wants to shake hands again."""

    again = False

    def write(self, data: Any) -> int:
        if self.again:
            raise SSLWantReadError
        return super().write(data)


def test_nothing_gets_lost_while_the_peer_shakes_hands_again(monkeypatch: pytest.MonkeyPatch) -> None:
    context = a_trusting_one()
    context.sslobject_class = Waiting
    websocket = begin(SECURE_URL, ssl=context)
    far = Far(websocket)
    far.secure(certified())
    far.say(switching(far.hear()))
    monkeypatch.setattr(Waiting, "again", True)
    websocket.send_texts([b"one", b"two"])
    assert far.frames() == []
    monkeypatch.undo()
    assert far.frames() == [(TEXT, b"one"), (TEXT, b"two")]


@pytest.mark.parametrize("hostname", [False, True])
def test_a_context_that_does_not_verify_is_refused(hostname: bool) -> None:
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if hostname:
        context.verify_mode = CERT_NONE
    with pytest.raises(LocalProtocolError, match="SSLContext"):
        Dialer(ssl=context)


# Proxies.


@pytest.mark.parametrize("piece", [1, CHUNK])
@pytest.mark.parametrize(
    ("proxy", "credentials"),
    [
        ("http://proxy.example:3128", None),
        ("http://user:word@proxy.example:3128", "dXNlcjp3b3Jk"),
        ("HTTP://us%40er:w%C3%A9%3Ard@proxy.example:3128/", "dXNAZXI6d8OpOnJk"),
        ("http://user@proxy.example:3128", "dXNlcjo="),
    ],
)
def test_a_proxy_sees_where_to_and_nothing_else(proxy: str, credentials: str | None, piece: int) -> None:
    websocket = begin(SECURE_URL, ssl=trusting(), proxy=proxy)
    assert websocket.address == ("proxy.example", 3128)
    far = Far(websocket, piece)
    lines = [f"CONNECT {HOST}:443 HTTP/1.1", f"Host: {HOST}:443"]
    if credentials is not None:
        lines.append(f"Proxy-Authorization: Basic {credentials}")
    assert far.hear().decode().split("\r\n") == [*lines, "", ""]
    far.say(b"HTTP/1.0 200 Connection established\r\nVia: proxy\r\n\r\n")
    far.secure(certified())
    head = far.hear()
    assert b"Proxy-" not in head
    far.say(switching(head))
    assert websocket.opened


def test_a_tunnel_may_lead_to_an_ipv6_address() -> None:
    websocket = begin("wss://[::1]:8080/v1", proxy="http://[::2]")
    assert websocket.address == ("::2", 80)
    assert Far(websocket).hear() == b"CONNECT [::1]:8080 HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"


def test_plaintext_goes_through_no_proxy() -> None:
    proxy = "http://user:pass-word@proxy.example"
    with pytest.raises(InsecureTransport, match="proxy") as caught:
        begin(URL, proxy=proxy)
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n\r\n", "the proxy answered with HTTP 407"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n<html>", "the proxy answered with HTTP 502"),
        (b"SSH-2.0-server\r\n", NO_HTTP),
        (b"HTTP/1.1 200", NO_ANSWER),
    ],
)
def test_a_proxy_that_does_not_connect_is_told(answer: bytes, message: str) -> None:
    websocket = begin(SECURE_URL, proxy="http://user:word@proxy.example")
    websocket.take()
    with pytest.raises(ConnectionError) as caught:
        feed_all(websocket, [answer])
    assert str(caught.value) == message
    assert websocket.take() == b""


@pytest.mark.parametrize(
    "proxy",
    [
        "https://proxy.example",
        "socks5://user:pass-word@proxy.example:1080",
        "proxy.example:3128",
        "http://",
        "http://:pass-word@:3128",
        "http://user:pass-word",
        "http://user:pass-word@proxy.example:0",
        "http://user:pass-word@proxy.example:70000",
        "http://user:pass-word@[::1",
        "http://user:pass-word@prox\u2100y.example",
    ],
)
@pytest.mark.parametrize("given", [False, True], ids=["environment", "argument"])
def test_a_proxy_that_cannot_be_is_told_without_its_password(
    proxy: str, given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not given:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(LocalProtocolError, match="http://") as caught:
        begin(SECURE_URL, proxy=proxy if given else None)
    assert "pass-word" not in "".join(traceback.format_exception(caught.value))


def test_the_environments_proxy_is_for_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    assert begin(SECURE_URL).address == ("proxy.example", 3128)
    assert begin(URL).address == (HOST, 80)
    assert begin(SECURE_URL, proxy="http://other.example:1").address == ("other.example", 1)
    monkeypatch.setenv("NO_PROXY", HOST)
    assert begin(SECURE_URL).address == (HOST, 443)


# Messages.


@pytest.mark.parametrize("piece", [1, 3, CHUNK])
def test_messages_come_whole_whatever_they_came_in(piece: int) -> None:
    websocket, far = opened(piece=piece)
    word = "schön".encode()
    far.say(
        frame(TEXT, word[:4], fin=False)
        + frame(PING, b"now?")
        + frame(CONT, b"", fin=False)
        + frame(PONG)
        + frame(CONT, word[4:])
        + frame(BINARY, b"\xff", fin=False)
        + frame(PING, b"and now?")
        + frame(CONT, b"\x00")
        + frame(TEXT)
        + frame(BINARY, bytes(300))
    )
    assert told(websocket) == [Text("schön"), Binary(b"\xff\x00"), Text(""), Binary(bytes(300))]
    assert far.frames() == [(PONG, b"now?"), (PONG, b"and now?")]


def test_a_pong_answers_its_ping_and_those_before_it() -> None:
    websocket, far = opened()
    for _ in range(4):
        websocket.ping()
    pings = far.frames()
    assert [(opcode, len(payload)) for opcode, payload in pings] == [(PING, 4)] * 4
    assert len(set(pings)) == 4
    far.say(frame(PONG, pings[0][1]))
    assert told(websocket) == [Pong()]
    far.say(frame(PONG, pings[2][1]) + frame(PONG, pings[1][1]) + frame(PONG, pings[2][1]))
    assert told(websocket) == [Pong(), Pong()]
    far.say(frame(PONG, pings[3][1]))
    assert told(websocket) == [Pong()]


def test_a_pong_that_nobody_asked_for_is_no_answer() -> None:
    websocket, far = opened()
    websocket.ping()
    ((_, payload),) = far.frames()
    far.say(b"".join(frame(PONG, other) for other in (b"", b"unasked", payload[:3], payload + b"\x00", bytes(4))))
    assert told(websocket) == []


def test_a_message_may_be_as_large_as_allowed() -> None:
    websocket, far = opened()
    far.say(frame(TEXT, b"x" * LARGEST) + frame(TEXT, b"x" * 600, fin=False) + frame(CONT, b"x" * 400))
    assert told(websocket) == [Text("x" * LARGEST)] * 2


# What breaks the rules.


@pytest.mark.parametrize("piece", [1, CHUNK])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, "é".encode()[:1], fin=False) + frame(CONT), 1007),
        (closing(1000, b"\xff"), 1007),
        (frame(TEXT, b"x" * (LARGEST + 1)), 1009),
        (frame(BINARY, b"x" * 600, fin=False) + frame(CONT, b"x" * 401), 1009),
        (b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 1009),
        (frame(3, b"reserved"), 1002),
        (frame(11), 1002),
        (frame(TEXT, b"x", rsv=4), 1002),
        (frame(TEXT, b"x", rsv=2), 1002),
        (frame(PING, b"x", rsv=1), 1002),
        (frame(TEXT, b"x", masked=True), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CONT, b"x"), 1002),
        (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
        (frame(CLOSE, b"x"), 1002),
        *((closing(code), 1002) for code in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535)),
    ],
)
def test_a_peer_that_breaks_the_rules_is_told_which(data: bytes, code: int, piece: int) -> None:
    websocket, far = opened(piece=piece)
    far.say(frame(TEXT, b"before") + data + frame(TEXT, b"after"))
    assert told(websocket) == [Text("before"), broken(code)]
    far.say(closing(1000))
    ((opcode, payload),) = far.frames()
    assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2, "big"))
    far.end()
    assert told(websocket) == []
    assert far.hear() == b""


@pytest.mark.parametrize(
    ("data", "code"), [(frame(TEXT, b"\xff"), 1007), (frame(3), 1002), (frame(BINARY, bytes(LARGEST + 1)), 1009)]
)
def test_rules_hold_after_our_close_and_nothing_more_is_sent(data: bytes, code: int) -> None:
    websocket, far = opened()
    websocket.close(1000)
    assert far.frames() == [(CLOSE, b"\x03\xe8")]
    far.say(data)
    assert told(websocket) == [broken(code)]
    assert far.hear() == b""


def test_the_first_fault_counts() -> None:
    websocket, far = opened(frame(TEXT, b"\xff") + frame(PING, b"p") + frame(3))
    assert told(websocket) == [broken(1007)]
    far.end()
    assert told(websocket) == []


# The end.


@pytest.mark.parametrize("piece", [1, CHUNK])
@pytest.mark.parametrize(
    ("said", "closed", "answer"),
    [
        (closing(1000), Closed(1000), b"\x03\xe8"),
        (closing(1001, b"going"), Closed(1001, "going"), b"\x03\xe9going"),
        (closing(1011, "müde".encode()), Closed(1011, "müde"), b"\x03\xf3" + "müde".encode()),
        (closing(3000), Closed(3000), b"\x0b\xb8"),
        (closing(4999, b"x" * 123), Closed(4999, "x" * 123), b"\x13\x87" + b"x" * 123),
        (frame(CLOSE), Closed(1005), b""),
    ],
)
def test_a_close_of_the_peer_is_told_and_answered(said: bytes, closed: Closed, answer: bytes, piece: int) -> None:
    websocket, far = opened(piece=piece)
    far.say(frame(TEXT, b"last") + said + frame(TEXT, b"never") + frame(3))
    far.end()
    assert told(websocket) == [Text("last"), closed]
    assert far.frames() == [(CLOSE, answer)]


def test_a_close_amid_a_message_is_still_the_peers() -> None:
    websocket, far = opened(frame(TEXT, b"half", fin=False) + closing(1011, b"crashed"))
    assert told(websocket) == [Closed(1011, "crashed")]
    assert [opcode for opcode, _ in far.frames()] == [CLOSE]


def test_after_our_close_the_peer_is_heard_until_its_own() -> None:
    websocket, far = opened()
    websocket.close(1000)
    far.say(frame(TEXT, b"more") + frame(PING, b"p") + frame(BINARY, b"and more", fin=False))
    assert told(websocket) == [Text("more")]
    assert far.frames() == [(CLOSE, b"\x03\xe8"), (PONG, b"p")]
    far.say(frame(CONT, b"!") + closing(1001, b"bye") + frame(TEXT, b"never"))
    assert told(websocket) == [Binary(b"and more!"), Closed(1001, "bye")]
    assert far.frames() == []


def test_a_peer_may_go_away_instead_of_answering_our_close() -> None:
    websocket, far = opened()
    websocket.close(1000)
    far.end()
    assert told(websocket) == [Closed()]


@pytest.mark.parametrize("part", [b"", frame(TEXT, b"half")[:3], frame(TEXT, b"half", fin=False), b"\x81"])
def test_an_end_without_a_close_is_told_once(part: bytes) -> None:
    websocket, far = opened(frame(TEXT, b"last"))
    far.say(part)
    assert told(websocket) == [Text("last")]
    far.end()
    far.end()
    far.say(frame(TEXT, b"never"))
    assert told(websocket) == [Closed()]
    assert far.hear() == b""


@pytest.mark.parametrize("ending", ["ours", "theirs", "fault", "end"])
def test_sending_after_the_end_raises_and_does_no_harm(ending: str) -> None:
    websocket, far = opened()
    if ending == "ours":
        websocket.close(1000)
    elif ending == "end":
        far.end()
    else:
        far.say(closing(1000) if ending == "theirs" else frame(3))
    far.frames()
    before = told(websocket)
    for send in sendings(websocket)[:2]:
        with pytest.raises(WebSocketException):
            send()
    assert far.hear() == b""
    if ending == "ours":
        far.say(closing(1000))
    assert before + told(websocket) == [{"fault": broken(1002), "end": Closed()}.get(ending, Closed(1000))]


def test_nothing_can_be_sent_before_it_is_open() -> None:
    websocket = begin()
    for send in sendings(websocket):
        with pytest.raises(WebSocketException):
            send()
    assert Far(websocket).hear().count(b"\r\n\r\n") == 1


# Writing.


class Slow:
    """A TCP socket that takes so many bytes, and after some waiting as many again."""

    def __init__(self, room: int) -> None:
        self.room = self._left = room
        self.sent = b""
        self.said: list[bytes] = []

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def send(self, data: bytes | memoryview) -> int:
        if not self._left:
            raise BlockingIOError
        taken = bytes(data[: self._left])
        self._left -= len(taken)
        self.sent += taken
        return len(taken)

    def recv(self, size: int) -> bytes:
        assert size == CHUNK
        if not self.said:
            raise BlockingIOError
        return self.said.pop(0)

    def __await__(self) -> Iterator[None]:
        yield
        self._left = self.room


class Sparing(TcpSocket):
    """A socket that waits for a slow one."""

    _tcp: Any

    async def _send_rest(self) -> None:
        if self._waiting:
            return
        self._waiting = True
        try:
            while self._unsent:
                await self._tcp
                self._send()
        finally:
            self._waiting = False


def over(tcp: Slow) -> tuple[Sparing, Callable[[], list[bytes]]]:
    """Give an open WebSocket over a slow socket, and what tells the texts that the peer was sent."""
    websocket, _ = opened()
    peer = ServerProtocol(state=State.OPEN, logger=SILENT)

    def heard() -> list[bytes]:
        data, tcp.sent = tcp.sent, b""
        peer.receive_data(data)
        return [bytes(frame.data) for frame in peer.events_received() if isinstance(frame, Frame)]

    return Sparing(websocket, tcp), heard  # type: ignore[arg-type] # all that it wants of a socket


def test_what_the_socket_takes_is_sent_without_waiting() -> None:
    socket, heard = over(Slow(CHUNK))
    assert socket.send_text(b"one") is socket.ping() is socket.send_text(b"two") is DONE
    one, _, two = heard()
    assert (one, two) == (b"one", b"two")
    assert socket.close(1000) is DONE
    with pytest.raises(WebSocketException):
        socket.send_text(b"late")


def test_nothing_to_wait_for_is_no_wait() -> None:
    assert list(DONE.__await__()) == []


def test_one_who_waits_sends_everything() -> None:
    socket, heard = over(Slow(10))
    first = socket.send_text(b"one" * 10).__await__()
    assert heard() == []
    next(first)
    assert socket.send_text(b"two") is DONE
    assert list(socket._send_rest().__await__()) == []
    assert list(first) != []
    assert heard() == [b"one" * 10, b"two"]
    assert socket._unsent == b""


def test_one_who_gave_up_is_in_nobodys_way() -> None:
    socket, heard = over(Slow(10))
    first = socket.send_text(b"one" * 10)
    waiting = first.__await__()
    next(waiting)
    first.close()
    list(socket.send_text(b"two").__await__())
    assert heard() == [b"one" * 10, b"two"]


def test_what_has_come_is_taken_in() -> None:
    tcp = Slow(CHUNK)
    socket, _ = over(tcp)
    socket._take_in()
    assert socket._websocket.receive() is None
    tcp.said.append(frame(TEXT, b"{}"))
    socket._take_in()
    assert socket._websocket.receive() == Text("{}")


# Secrets.


def test_secrets_show_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.DEBUG)
    shown: list[str] = []

    def show(error: BaseException | None) -> None:
        while error is not None:
            shown.extend((repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)))
            error = error.__cause__ or error.__context__

    for answer in (
        b"HTTP/1.1 401 No\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        b"HTTP/1.1 101 Yes\r\n\r\n",
        b"SSH\r\n",
        b"",
    ):
        websocket = begin()
        assert TOKEN.encode() in websocket.take()
        with pytest.raises((UpgradeRefused, OSError)) as caught:
            websocket.feed(answer)
        show(caught.value)
        shown.extend((repr(websocket), str(websocket)))
    websocket = begin(SECURE_URL, proxy="http://user:pass-word@proxy.example")
    assert b"dXNlcjpwYXNzLXdvcmQ=" in websocket.take()
    with pytest.raises(ConnectionError) as failed:
        websocket.feed(b"HTTP/1.1 407 Who\r\n\r\n")
    show(failed.value)
    shown.extend((repr(websocket), repr(Dialer(proxy="http://user:pass-word@proxy.example"))))
    websocket, far = opened(frame(TEXT, SAID.encode()))
    far.say(frame(TEXT, b"\xff"))
    for send in sendings(websocket)[:2]:
        with pytest.raises(WebSocketException) as late:
            send()
        show(late.value)
    shown.append(repr(websocket))
    everything = "\n".join(shown) + caplog.text
    for secret in (TOKEN, TOKEN.rpartition(".")[2], "pass-word", "dXNlcjpwYXNzLXdvcmQ", SAID):
        assert secret not in everything
    assert [record for record in caplog.records if record.name.startswith("websockets")] == []


# Anything at all.

HTTP = st.sampled_from(
    [
        *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"101 ", b"100 ", b"200 OK", b"429 ", b"\r\n", b"\r\n\r\n", b"\n", b":", b" "),
        *(b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Retry-After: ", b"Transfer-Encoding: chunked\r\n"),
        *(b"Content-Length: ", b"-1", b"99999999999999999999", b"\xff", b"{", b'"hint":"x"}', b"Content-Type: "),
    ]
)
FRAMES = st.builds(
    frame,
    st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG]),
    st.binary(max_size=6) | st.sampled_from([b"\x03\xe8", b"\x13\x88bye", bytes(130), bytes(LARGEST + 1)]),
    fin=st.booleans(),
    rsv=st.sampled_from([0] * 9 + [1]),
    masked=st.sampled_from([False] * 9 + [True]),
)
CUTS = st.lists(st.integers(1, 40), max_size=12)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes into pieces; none is empty, and the last one is what is left."""
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


def feed_all(websocket: WebSocket, pieces: list[bytes]) -> None:
    """Feed all pieces and the end, as whoever has a socket does."""
    for piece in (*pieces, b"", b""):
        websocket.feed(piece)
        websocket.take()


@given(st.lists(HTTP | st.binary(max_size=8), max_size=16).map(b"".join), CUTS, st.sampled_from(["ws", "wss", "proxy"]))
@example(b"HTTP/1.1 101 \r\n\r\n", [], "ws")
@example(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03", [], "proxy")
def test_whatever_comes_instead_of_an_answer_is_told_in_the_same_words(data: bytes, sizes: list[int], way: str) -> None:
    websocket = begin(URL if way == "ws" else SECURE_URL, proxy="http://proxy.example" if way == "proxy" else None)
    websocket.take()
    with pytest.raises((UpgradeRefused, TlsError, OSError)):
        feed_all(websocket, cut(data, sizes))
    assert not websocket.opened
    assert told(websocket) == []


@given(st.lists(FRAMES | st.binary(max_size=8), max_size=8).map(b"".join), CUTS, st.sampled_from([0, 1, 2]))
@example(frame(TEXT, b"\xff"), [], 2)
@example(frame(TEXT, b"\xff"), [], 1)
def test_whatever_comes_once_it_is_open_ends_in_one_closed(data: bytes, sizes: list[int], way: int) -> None:
    websocket, far = opened(secure=way > 0)
    if way:
        data = far.encrypt(data) + far.farewell() if way == 1 else far.encrypt(data) + data
    pieces = cut(data, sizes)
    feed_all(websocket, pieces)
    received = told(websocket)
    assert [type(item) for item in received].count(Closed) == 1
    assert isinstance(received[-1], Closed)


def outcome(data: bytes, sizes: list[int], *, usual: bool) -> list[list[tuple[object, ...]]]:
    """Tell what each piece gave."""
    websocket, _ = opened()
    websocket._usual = usual
    outcomes = []
    for piece in (*cut(data, sizes), b""):
        websocket.feed(piece)
        facts = [(type(item), *(type(f) if isinstance(f, Exception) else f for f in item)) for item in told(websocket)]
        outcomes.append(facts)
    return outcomes


@given(st.lists(FRAMES | st.binary(max_size=8), max_size=8).map(b"".join), CUTS)
@example(frame(TEXT, bytes(125)) + frame(TEXT, bytes(126)) + frame(PONG, b"x") + frame(TEXT, b"{}"), [3, 200])
@example(frame(TEXT, bytes(LARGEST)) + frame(TEXT, bytes(LARGEST + 1)), [])
@example(frame(TEXT, b"a") + frame(PING, b"b") + frame(TEXT, b"c", fin=False) + frame(TEXT, b"d"), [1, 1, 1, 1])
@example(frame(TEXT, b"\xff") + frame(TEXT, b"a"), [])
def test_what_is_usual_is_read_as_everything_is(data: bytes, sizes: list[int]) -> None:
    assert outcome(data, sizes, usual=True) == outcome(data, sizes, usual=False)


def test_only_what_is_not_usual_is_left_to_the_library() -> None:
    websocket, _ = opened(frame(TEXT, b"a"))
    for data in (frame(TEXT, b"b"), frame(PING), frame(PONG), frame(TEXT, bytes(200))):
        websocket.feed(data)
        assert websocket._usual
    websocket.feed(frame(BINARY, b"c"))
    assert not websocket._usual


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_text_of_any_length_is_framed(size: int) -> None:
    websocket, _ = opened()
    websocket.send_texts([bytes(size)])
    websocket.send_texts([b"{}"])
    peer = ServerProtocol(state=State.OPEN, logger=SILENT)
    peer.receive_data(websocket.take())
    frames = [frame for frame in peer.events_received() if isinstance(frame, Frame)]
    assert [(frame.opcode, frame.data) for frame in frames] == [(TEXT, bytes(size)), (TEXT, b"{}")]


def test_pongs_do_not_pile_up_behind_a_write_that_is_stuck() -> None:
    websocket, _ = opened()
    websocket.send_texts([b"{}"])
    websocket.take()  # and nothing more
    for pings in (4000, 100):
        websocket.feed(frame(PING) * pings + frame(TEXT, b"{}"))
        assert told(websocket) == [Text("{}")]
    websocket.feed(frame(PING) * 4000 + frame(TEXT, b"{}"))
    (end,) = told(websocket)
    assert isinstance(end, Closed)
    assert isinstance(end.error, ConnectionError)
    assert len(websocket.take()) < 100_000


def test_pongs_that_are_written_may_be_any_number() -> None:
    websocket, far = opened()
    for _ in range(3):
        websocket.feed(frame(PING) * 5000)
        assert far.frames() == [(PONG, b"")] * 5000
    assert told(websocket) == []
