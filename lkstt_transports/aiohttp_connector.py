"""WebSockets on aiohttp, as the asyncio adapter wants them: ping and close are told, redirects are refused.

Nothing in here knows what the messages mean.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from ssl import SSLContext, create_default_context
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import HttpVersion11, WSCloseCode, WSMsgType
from aiohttp.connector import Connection
from yarl import URL

from lkstt_proto import Request
from lkstt_proto.secrecy import discreet
from lkstt_transports.common import (
    CLOSED_HERE,
    DONE,
    Binary,
    Closed,
    Pings,
    Pong,
    Received,
    Socket,
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
from lkstt_transports.frames import VERY_LONG, text_head

try:
    from aiohttp._websocket.helpers import websocket_mask
except ImportError:  # aiohttp does not promise it
    websocket_mask = None  # type: ignore[assignment]

_DETAIL_BYTES = 4096  # of an HTTP answer's body that are looked at
_NO_STATUS = 1005  # RFC 6455 7.1.5: the close frame had no code
# Close codes that aiohttp lets through, and that no frame may carry (RFC 6455 7.4).
_LOST = 1006
_CODES_END = 5000
_NO_HTTP = "the answer was no HTTP"
_NEVER_OFFERED = ("Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")

_dialled: ContextVar[list[socket.socket]] = ContextVar("_dialled")  # the sockets of the attempt under way


class AiohttpConnector:
    """Opens WebSockets with aiohttp; may be shared by any number of ``STT``s of one event loop.

    ``connector``: your own aiohttp connector, which stays yours to close; its ``ssl`` is not used. ``ssl``: a context
    that trusts your private authority. ``proxy``: ``http://`` URL of a proxy; by default what ``HTTPS_PROXY`` and
    ``NO_PROXY`` say, for ``wss://`` alone.

    Raises LocalProtocolError for a context that does not verify, and for a proxy that cannot be used.
    """

    @discreet
    def __init__(
        self,
        *,
        connector: aiohttp.BaseConnector | None = None,
        ssl: SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        self._given = connector
        self._own: aiohttp.TCPConnector | None = None
        self._ssl = verifying(ssl)
        self._proxy = proxy and usable_proxy(proxy)

    async def aclose(self) -> None:
        """Close what this object opened itself."""
        own, self._own = self._own, None
        if own is not None:
            await own.close()

    @asynccontextmanager
    async def open(self, request: Request, max_message: int) -> AsyncIterator[Socket]:
        """Connect; see ``Connector.open``."""
        answer = _Answer()
        failure: BaseException | None = None
        try:
            try:
                with _hanging_up():
                    websocket = await self._connect(request, max_message, answer)
            except aiohttp.ClientError as error:
                # aiohttp's own errors show the request, and with it the token: none may hang on to ours.
                failure = _translated(error)
            if failure is not None:
                raise failure
            yield _AiohttpSocket(websocket, answer.transport)
        finally:
            answer.cut()

    async def _connect(
        self, request: Request, max_message: int, answer: _Answer
    ) -> aiohttp.ClientWebSocketResponse[Any]:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(answer.expect)
        trace.on_request_redirect.append(answer.judge)
        trace.on_request_end.append(answer.judge)
        # A session is light, and one for each connection needs no names for whose answer it is. Its connector stays.
        async with aiohttp.ClientSession(
            connector=self._connector(),
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # the core has the only timers
            skip_auto_headers=("Accept-Encoding",),
            auto_decompress=False,  # little could become much
            response_class=_Response,
            trace_configs=[trace],
        ) as session:
            return await session.ws_connect(
                URL(request.url, encoded=True),
                headers=request.headers,
                ssl=self._context(),
                proxy=proxy_for(request.url, self._proxy),
                max_msg_size=max_message + 1,  # which is one too many
                autoclose=False,
                autoping=False,
                decode_text=False,
            )

    def _connector(self) -> aiohttp.BaseConnector:
        if self._given is not None:
            return self._given
        if self._own is None:
            # No limit: a stream that had to wait would be deaf.
            self._own = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_dial)
        return self._own

    def _context(self) -> SSLContext | bool:
        if self._ssl is None and self._given is not None:
            self._ssl = create_default_context()  # the given connector may have been told not to verify
        return self._ssl or True


def _dial(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    dialled = socket.socket(family, kind, protocol)
    _dialled.get().append(dialled)
    return dialled


@contextmanager
def _hanging_up() -> Iterator[None]:
    """Shut the sockets of an attempt that came to nothing.

    A handshake of TLS that is cancelled closes with a farewell, for which asyncio would wait half a minute.
    """
    sockets: list[socket.socket] = []
    token = _dialled.set(sockets)
    try:
        yield
    except BaseException:
        for dialled in sockets:
            with suppress(OSError):  # closed already
                dialled.shutdown(socket.SHUT_RDWR)
        raise
    finally:
        _dialled.reset(token)


class _Response(aiohttp.ClientResponse):
    """Lets go of the socket at once; aiohttp alone would wait for the peer's TLS farewell, and to be read."""

    transport: asyncio.Transport | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        self.transport = connection.transport
        try:
            return await super().start(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()  # first: once closed it may be past that
        super().close()


class _Answer:
    """The HTTP answer to an upgrade request, seen before aiohttp follows a redirect or lets go of it."""

    def __init__(self) -> None:
        self._expected = False
        self._response: aiohttp.ClientResponse | None = None

    async def expect(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        _params: aiohttp.TraceConnectionCreateStartParams,
    ) -> None:
        """Be called by aiohttp when it connects. It would try again on its own, which is the core's to decide."""
        if self._expected:
            raise aiohttp.ServerDisconnectedError
        self._expected = True

    async def judge(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        seen: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestRedirectParams,
    ) -> None:
        """Be called by aiohttp with the answer. Raises UpgradeRefused unless a WebSocket may come of it."""
        self._response = response = seen.response
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            # aiohttp itself lets both pass. An extension that nobody asked for changes what every frame means.
            if response.version != HttpVersion11:
                raise ConnectionError(_NO_HTTP)
            if not any(name in response.headers for name in _NEVER_OFFERED):
                return
        body = b""
        with suppress(aiohttp.ClientError):
            body = response.content.read_nowait(_DETAIL_BYTES)  # what came with the headers, and nothing to wait for
        retry_after = retry_after_seconds(response.headers.get("Retry-After"), time.time())
        raise UpgradeRefused(response.status, retry_after, refusal_detail(body))

    @property
    def transport(self) -> asyncio.Transport | None:
        """What the answer came over."""
        return self._response.transport if isinstance(self._response, _Response) else None

    def cut(self) -> None:
        """Close the connection now, if there is one. What the kernel has is still sent, and under TLS a farewell."""
        if self._response is not None:
            self._response.close()


class _AiohttpSocket:
    """One open WebSocket."""

    def __init__(
        self, websocket: aiohttp.ClientWebSocketResponse[Any], transport: asyncio.WriteTransport | None
    ) -> None:
        self._websocket = websocket
        # Where texts are written past aiohttp, at a third of its cost; None where that is not possible.
        self._past_aiohttp = None if websocket_mask is None else transport
        self._closing = False
        self._pings = Pings()
        self._answers: list[Pong] = []  # that came with another one

    def send_text(self, data: bytes) -> Awaitable[None]:
        transport = self._free()
        if transport is None or len(data) >= VERY_LONG:
            return _begun(self._websocket.send_frame(data, WSMsgType.TEXT))
        transport.write(b"".join(_framed(data)))
        return DONE

    def send_texts(self, data: list[bytes]) -> Awaitable[None]:
        transport = self._free()
        if transport is None or len(max(data, key=len)) >= VERY_LONG:
            return self._send_each(data)
        parts: list[bytes | bytearray] = []
        for text in data:
            parts += _framed(text)
        transport.write(b"".join(parts))
        return DONE

    async def _send_each(self, data: list[bytes]) -> None:
        for text in data:
            await self._websocket.send_frame(text, WSMsgType.TEXT)

    def _free(self) -> asyncio.WriteTransport | None:
        """Give what takes frames past aiohttp; None where something waits to be written, which aiohttp knows to do."""
        transport = self._past_aiohttp
        if transport is None or transport.get_write_buffer_size():
            return None
        return None if self._websocket.closed or transport.is_closing() else transport

    def ping(self) -> Awaitable[None]:
        return _begun(self._websocket.ping(self._pings.next()))

    def close(self, code: int) -> Awaitable[None]:
        # Not with aiohttp's close(), which throws away whatever still comes.
        self._closing = True
        return _begun(self._websocket.send_frame(code.to_bytes(2, "big"), WSMsgType.CLOSE))

    async def receive(self) -> Received:
        while not self._answers:
            message = await self._websocket.receive()
            kind = message.type
            if kind is WSMsgType.TEXT:
                try:
                    return Text(text_of(message.data))
                except UnicodeDecodeError:
                    with suppress(aiohttp.ClientError):
                        await self.close(WSCloseCode.INVALID_TEXT)
                    return Closed(WSCloseCode.INVALID_TEXT, CLOSED_HERE)
            if kind is WSMsgType.PONG:
                self._answers = self._pings.answered(message.data)
            elif kind is WSMsgType.BINARY:
                return Binary(message.data)
            elif kind is WSMsgType.PING:
                with suppress(aiohttp.ClientError):  # too late for a pong: what is left to receive comes first
                    await self._websocket.pong(message.data)
            elif kind is WSMsgType.CLOSE:
                return await self._take_close(message.data or _NO_STATUS, message.extra or "")
            elif kind is WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
                # aiohttp has answered with this code: the peer broke the rules, or sent too much.
                return Closed(message.data.code, CLOSED_HERE)
            else:
                return Closed(error=message.data)
        return self._answers.pop()

    async def _take_close(self, code: int, reason: str) -> Closed:
        possible = code != _LOST and code < _CODES_END
        if not self._closing:
            with suppress(aiohttp.ClientError):
                # Not an echo: the peer's code may be one that this end may not send.
                await self.close(WSCloseCode.OK if possible else WSCloseCode.PROTOCOL_ERROR)
        return Closed(code, reason) if possible else Closed(WSCloseCode.PROTOCOL_ERROR, CLOSED_HERE)


def _framed(data: bytes) -> tuple[bytes, bytearray]:
    head, mask = text_head(len(data))
    body = bytearray(data)
    websocket_mask(mask, body)
    return head, body


def _begun(sending: Coroutine[Any, Any, None]) -> Awaitable[None]:
    """Have aiohttp write a frame now, which it does before it waits for anything; give what it waits for: room."""
    try:
        room: asyncio.Future[None] = sending.send(None)
    except StopIteration:
        return DONE
    sending.close()
    # A link that ends while nobody waits for room is no error that asyncio has to complain of.
    room.add_done_callback(lambda _: room.cancelled() or room.exception())
    return room


def _translated(error: aiohttp.ClientError) -> BaseException:
    """Say what happened, without the request."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "")
        return tls_error(reason or type(error.certificate_error).__name__)
    if isinstance(error, aiohttp.WSServerHandshakeError):  # it said 101, and did not mean it
        return UpgradeRefused(error.status)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionError(f"the proxy answered with HTTP {error.status}")
    if isinstance(error, aiohttp.ClientResponseError):
        return ConnectionError(_NO_HTTP)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionError("the server closed the connection without an answer")
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error if isinstance(error, OSError) else ConnectionError(type(error).__name__)
