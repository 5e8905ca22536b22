"""A WebSocket without its socket: bytes in, bytes out, shared by the adapters that bring their own streams.

A proxy's tunnel, TLS, the upgrade and the frames, one over the other, each by a library that does no I/O either.
Nothing in here waits, and nothing knows what the messages mean.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections import deque
from collections.abc import Awaitable, Generator, Iterable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from logging import Logger
from socket import socket
from ssl import SSLCertVerificationError, SSLContext, SSLError
from urllib.parse import SplitResult, unquote, urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHeader, NegotiationError, PayloadTooBig, ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

try:
    from websockets.speedups import apply_mask
except ImportError:  # not built for this computer
    from websockets.utils import apply_mask

from lkstt_proto import Request
from lkstt_proto.secrecy import discreet
from lkstt_transports.common import (
    CLOSED_HERE,
    DONE,
    Binary,
    Closed,
    Pings,
    Received,
    Text,
    UpgradeRefused,
    proxy_for,
    refusal_detail,
    retry_after_seconds,
    text_of,
    tls_error,
    usable_proxy,
    verifying,
)
from lkstt_transports.frames import LONG, TEXT, VERY_LONG, text_head
from lkstt_transports.tls import Tls, default_context

CHUNK = 4096
"""Bytes to read at a time: a message or two, and not so many empty frames that others would wait long for a turn."""
_HEAD_BYTES = 65_536  # of an answer to the upgrade request; an honest one has some hundred
_DETAIL_BYTES = 4096  # of a refusal's body that are looked at
_DEFAULT_PORTS = {"ws": 80, "wss": 443, "http": 80}
# Frames that may wait behind a write that is stuck. Ours are few, since there is one writer: it is pongs that pile up.
_MOST_UNWRITTEN = 4096
# Of the head of a frame (RFC 6455 5.2).
_USUAL = (TEXT, 0x89, 0x8A)  # whole messages of text, pings and pongs
_HEAD_SIZE = 2
_LENGTH_SIZE = 2  # where the length does not fit in there
_HTTP = b"HTTP/"
_END_OF_HEAD = b"\r\n\r\n"
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)\d\d[ \r]")  # an answer that another one follows (RFC 9110 15.2)
_NO_HTTP = "the answer was no HTTP"
_NO_ANSWER = "the server closed the connection without an answer"
# What the peer did to the rules of WebSocket, and how websockets tells it so.
_FAULTS: dict[type[Exception], CloseCode] = {
    ProtocolError: CloseCode.PROTOCOL_ERROR,
    UnicodeDecodeError: CloseCode.INVALID_DATA,
    PayloadTooBig: CloseCode.MESSAGE_TOO_BIG,
}

# websockets would write the request, and with it the token, to its log at level DEBUG.
_SILENT = Logger("websockets.client")  # noqa: LOG001 (one that nobody can find and switch on)
_SILENT.disabled = True


class Dialer:
    """What opens WebSockets, but for the stream below: settings of a connector.

    ``ssl``: a context that trusts your private authority. ``proxy``: ``http://`` URL of a proxy; by default what
    ``HTTPS_PROXY`` and ``NO_PROXY`` say, for ``wss://`` alone.

    Raises LocalProtocolError for a context that does not verify, and for a proxy that cannot be used.
    """

    @discreet
    def __init__(self, *, ssl: SSLContext | None = None, proxy: str | None = None) -> None:
        self._ssl = verifying(ssl)
        self._proxy = proxy and usable_proxy(proxy)

    def begin(self, request: Request, max_message: int) -> WebSocket:
        """Give a WebSocket to be; connect to its ``address`` and go on.

        Raises LocalProtocolError when the environment names a proxy that cannot be used.
        """
        proxy = proxy_for(request.url, self._proxy)
        return WebSocket(request, max_message, self._ssl, urlsplit(proxy) if proxy else None)


class WebSocket:
    """One WebSocket, from the first byte of a TCP connection on.

    Once it is made, and after any call, write all there is to ``take``. Until ``opened``, ``feed`` raises what is
    wrong: UpgradeRefused for an HTTP answer, TlsError for a certificate, an OSError for the rest; leave it then. Once
    it is ``opened``, ``feed`` raises nothing, and ``receive`` tells.
    """

    def __init__(self, request: Request, max_message: int, ssl: SSLContext | None, proxy: SplitResult | None) -> None:
        self._request = request
        self._url = urlsplit(request.url)
        self._proxy = proxy
        self._ssl = ssl
        self._tls: Tls | None = None
        # No extensions: compression would cost more than it saves, and let a small message become a large one.
        self._protocol = ClientProtocol(parse_uri(request.url), max_size=max_message, logger=_SILENT)
        self._heard = bytearray()  # while opening: what nobody has read yet
        self._tunnel = b""  # the request for one
        self._max_message = max_message
        self._usual = True  # all that was heard until now
        self._begun: bytes | bytearray = b""  # what there is of a usual frame
        self._message = bytearray()  # what there is of it so far
        self._kind: type[Text | Binary] = Text  # of that message
        self._pings = Pings()
        self._received: deque[Received] = deque()
        self._ended = False  # nothing comes any more
        self._closed = False  # and that was told
        self.opened = False
        """Whether the upgrade is done."""
        self._opening = self._open()
        next(self._opening)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to: the gateway's, or the proxy's."""
        return _address(self._proxy or self._url)

    # Bytes.

    def feed(self, data: bytes | bytearray) -> None:
        """Take what came from the network; nothing when it ended."""
        if self._ended:  # a word of farewell under TLS comes before the end of what carries it
            return
        self._ended = not data
        if self._tls is not None:
            data = self._decrypt(self._tls, data)
        if self.opened:
            self._hear(data)
        else:
            self._heard += data
            next(self._opening, None)

    @property
    def waiting(self) -> bool:
        """Whether there may be something to ``take``: cheaper to ask."""
        return bool(self._protocol.writes or self._tunnel) or self._tls is not None

    def take(self) -> bytes:
        """Give what is to be written now; empty when there is nothing."""
        data = b""
        if self._protocol.writes or self._tunnel:
            data = self._tunnel + b"".join(self._protocol.data_to_send())
            self._tunnel = b""
        return data if self._tls is None else self._tls.encrypt(data)

    # Messages. What cannot be sent any more raises a WebSocketException.

    def send_texts(self, texts: Iterable[bytes]) -> None:
        """Have each sent, which is UTF-8, as a text message of its own."""
        protocol = self._protocol
        usual = protocol.state is State.OPEN
        for data in texts:
            if usual and len(data) < VERY_LONG:
                head, mask = text_head(len(data))
                protocol.writes.append(head + apply_mask(data, mask))
            else:
                protocol.send_text(data)

    def take_text(self, data: bytes) -> bytes:
        """Give what is to be written now, and UTF-8 as one text message behind it."""
        protocol = self._protocol
        if protocol.writes or self._tls is not None or protocol.state is not State.OPEN or len(data) >= VERY_LONG:
            self.send_texts((data,))
            return self.take()
        head, mask = text_head(len(data))  # as they would, in a quarter of the time
        return head + apply_mask(data, mask)

    def ping(self) -> None:
        """Have a ping sent."""
        self._protocol.send_ping(self._pings.next())

    def close(self, code: int) -> None:
        """Have a close frame sent; what the peer still says is received until its own comes."""
        self._protocol.send_close(code)

    def receive(self) -> Received | None:
        """Give what has come, None when nothing has; after ``Closed`` nothing follows."""
        return self._received.popleft() if self._received else None

    # Opening, one layer after the other; ``feed`` goes on with it.

    def _open(self) -> Generator[None, None, None]:
        if self._proxy is not None:
            self._tunnel = _tunnel_request(self._proxy, self._url)
            answer = yield from self._answer()
            if answer.status != HTTPStatus.OK:
                raise ConnectionError(f"the proxy answered with HTTP {answer.status}")
            self._take_head()
        if self._url.scheme == "wss":
            yield from self._secure()
        self._ask()
        answer = yield from self._answer()
        if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
            retry_after = retry_after_seconds(answer.headers.get("Retry-After"), time.time())
            raise UpgradeRefused(answer.status, retry_after, refusal_detail(_body(answer)))
        self._protocol.receive_data(self._take_head())
        trouble = self._protocol.handshake_exc
        if isinstance(trouble, InvalidHeader | NegotiationError):  # it said 101, and did not mean it
            raise UpgradeRefused(answer.status)
        if trouble is not None:
            raise ConnectionError(_NO_HTTP)
        self.opened = True
        self._hear(self._heard)

    def _secure(self) -> Generator[None, None, None]:
        self._tls = tls = Tls(self._ssl or default_context(), self._url.hostname or "")
        tls.decrypt(self._heard)
        self._heard.clear()
        try:
            while not tls.shake_hands():
                if self._ended:
                    raise ConnectionError(_NO_ANSWER)
                yield
        except SSLCertVerificationError as error:
            raise tls_error(error.verify_message or type(error).__name__) from error
        self._heard += self._decrypt(tls, b"")

    def _ask(self) -> None:
        upgrade = self._protocol.connect()
        if any(name.lower() == "host" for name, _ in self._request.headers):
            del upgrade.headers["Host"]
        for name, value in self._request.headers:
            upgrade.headers[name] = value
        self._protocol.send_request(upgrade)

    def _answer(self) -> Generator[None, None, HTTPResponse]:
        """Wait for the head of an answer, and for no more: a body may never come."""
        heard = self._heard
        while _END_OF_HEAD not in heard or _INTERIM.match(heard):
            if _END_OF_HEAD in heard:
                self._take_head()
                continue
            if not heard.startswith(_HTTP[: len(heard)]) or len(heard) > _HEAD_BYTES:
                raise ConnectionError(_NO_HTTP)
            if self._ended:
                raise self._trouble or ConnectionError(_NO_ANSWER)
            yield
        answer = HTTPResponse(_Heard(bytes(heard)))  # type: ignore[arg-type] # all that it wants of a socket
        try:
            answer.begin()
        except HTTPException:
            raise ConnectionError(_NO_HTTP) from None
        return answer

    def _take_head(self) -> bytearray:
        end = self._heard.index(_END_OF_HEAD) + len(_END_OF_HEAD)
        head = self._heard[:end]
        del self._heard[:end]
        return head

    def _decrypt(self, tls: Tls, data: bytes | bytearray) -> bytes:
        data = tls.decrypt(data)
        self._ended = self._ended or tls.ended
        return data

    @property
    def _trouble(self) -> SSLError | None:
        return self._tls.error if self._tls is not None else None

    # Frames.

    def _hear(self, data: bytes | bytearray) -> None:
        # Whoever writes has had a turn since the last time.
        if len(self._protocol.writes) > _MOST_UNWRITTEN:
            self._tell(Closed(error=ConnectionError("the peer asks without end and takes no answer")))
        if self._usual:
            data = self._read_usual(self._begun + data)
        if not self._usual:
            self._read(data)
        if self._ended:
            self._protocol.receive_eof()  # not before all is read: it may not fail any more after that
            self._tell(Closed(error=self._trouble))

    def _read_usual(self, data: bytes | bytearray) -> bytes | bytearray:
        """Read whole text messages in a fifth of the time that websockets takes; give what it has to read instead.

        That is all that comes from the first unusual frame on. Until then it only gets whole pings and pongs.
        """
        start, size = 0, len(data)
        while (body := start + _HEAD_SIZE) <= size:
            kind, length = data[start], data[start + 1]
            if length == LONG:
                body += _LENGTH_SIZE
                length = int.from_bytes(data[start + _HEAD_SIZE : body], "big")
            elif length > LONG:
                self._usual = False
            end = body + length
            self._usual = self._usual and kind in _USUAL and length <= self._max_message
            if not self._usual or end > size:
                break
            if kind == TEXT:
                self._kind = Text
                self._read_message(bytes(data[body:end]))
            else:
                self._read(data[start:end])
            start = end
        rest = data[start:]
        self._begun, rest = (rest, b"") if self._usual else (b"", rest)
        return rest

    def _read(self, data: bytes | bytearray) -> None:
        self._protocol.receive_data(data)
        for frame in self._protocol.events_received():
            if isinstance(frame, Frame):
                self._read_frame(frame)
        said, fault = self._protocol.close_rcvd, self._protocol.parser_exc
        if said is not None:
            self._tell(Closed(said.code, said.reason))
        elif fault is not None:
            self._tell(Closed(_FAULTS.get(type(fault), CloseCode.INTERNAL_ERROR), CLOSED_HERE))

    def _read_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            for pong in self._pings.answered(frame.data):
                self._tell(pong)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._kind = Text if frame.opcode is Opcode.TEXT else Binary
            self._message += frame.data
            if frame.fin:
                data = bytes(self._message)
                self._message.clear()
                self._read_message(data)

    def _read_message(self, data: bytes) -> None:
        if self._kind is Binary:
            self._tell(Binary(data))
            return
        try:
            self._tell(Text(text_of(data)))
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA)
            self._tell(Closed(CloseCode.INVALID_DATA, CLOSED_HERE))

    def _tell(self, received: Received) -> None:
        if not self._closed:
            self._closed = isinstance(received, Closed)
            self._received.append(received)


def send_waiting(tcp: socket, websocket: WebSocket, unsent: bytes | memoryview) -> bytes | memoryview:
    """Send what is left of the last time and all that waits, as much as the socket takes now; give what is left."""
    data = unsent or websocket.take()
    try:
        while data:
            sent = tcp.send(data)
            data = memoryview(data)[sent:] if sent < len(data) else websocket.take()
    except BlockingIOError:
        return data
    return b""


def send_text(tcp: socket, websocket: WebSocket, text: bytes) -> bytes | memoryview:
    """Send a text message where nothing is left of the last time; give what is left of it."""
    data = websocket.take_text(text)
    try:
        sent = tcp.send(data)
    except BlockingIOError:
        return data
    return b"" if sent == len(data) else memoryview(data)[sent:]


class TcpSocket(ABC):
    """A ``Socket`` over a TCP socket that never blocks, but for the waiting.

    What can be sent at once is sent by whoever wants it sent, without a turn of the scheduler.
    """

    def __init__(self, websocket: WebSocket, tcp: socket) -> None:
        tcp.setblocking(False)
        self._websocket = websocket
        self._tcp = tcp
        self._unsent: bytes | memoryview = b""
        self._waiting = False  # somebody does, and will send whatever else there is by then

    @abstractmethod
    async def _send_rest(self) -> None:
        """Wait for the socket and ``_send``, until nothing is ``_unsent``."""

    def send_text(self, data: bytes) -> Awaitable[None]:
        if self._unsent or self._waiting:
            return self.send_texts([data])
        self._unsent = send_text(self._tcp, self._websocket, data)
        return self._send_rest() if self._unsent else DONE

    def send_texts(self, data: list[bytes]) -> Awaitable[None]:
        self._websocket.send_texts(data)
        return self._write()

    def ping(self) -> Awaitable[None]:
        self._websocket.ping()
        return self._write()

    def close(self, code: int) -> Awaitable[None]:
        self._websocket.close(code)
        return self._write()

    def _write(self) -> Awaitable[None]:
        if self._waiting:
            return DONE
        self._send()
        return self._send_rest() if self._unsent else DONE

    def _send(self) -> None:
        """Send as much as the socket takes now."""
        self._unsent = send_waiting(self._tcp, self._websocket, self._unsent)

    def _take_in(self) -> None:
        """Receive what has come."""
        with suppress(BlockingIOError):  # nothing, after all
            self._websocket.feed(self._tcp.recv(CHUNK))


class _Heard:
    """What an HTTPResponse reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        """Be read."""
        return BytesIO(self._data)


def _body(answer: HTTPResponse) -> bytes:
    """Give what came of a body with the head, and nothing to wait for."""
    try:
        return answer.read(_DETAIL_BYTES)
    except IncompleteRead as error:
        return error.partial
    except HTTPException:
        return b""


def _address(url: SplitResult) -> tuple[str, int]:
    return url.hostname or "", url.port or _DEFAULT_PORTS[url.scheme]


def _tunnel_request(proxy: SplitResult, target: SplitResult) -> bytes:
    host, port = _address(target)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.username is not None:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}")
    return "\r\n".join((*lines, "", "")).encode()
