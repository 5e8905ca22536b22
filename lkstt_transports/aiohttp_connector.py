"""WebSockets on aiohttp, as the asyncio adapter wants them: ping and close are told, redirects are refused.

Nothing in here knows what the messages mean.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from ssl import SSLContext, create_default_context
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType
from aiohttp.connector import Connection
from yarl import URL

from lkstt_proto import Request
from lkstt_transports.common import (
    CLOSED_HERE,
    Binary,
    Closed,
    Pong,
    Received,
    Socket,
    Text,
    UpgradeRefused,
    environment_proxy,
    refusal_detail,
    retry_after_seconds,
    tls_error,
    usable_proxy,
    verifying,
)

_DETAIL_BYTES = 4096  # of an HTTP answer's body that are looked at
_NO_STATUS = 1005  # RFC 6455 7.1.5: the close frame had no code


class AiohttpConnector:
    """Opens WebSockets with aiohttp; may be shared by any number of ``STT``s of one event loop.

    ``connector``: your own aiohttp connector, which stays yours to close; its ``ssl`` is not used. ``ssl``: a context
    that trusts your private authority. ``proxy``: ``http://`` URL of a proxy; by default what ``HTTPS_PROXY`` and
    ``NO_PROXY`` say, for ``wss://`` alone.

    Raises LocalProtocolError for a context that does not verify, and for a proxy that cannot be used.
    """

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
            websocket = await self._connect(request, max_message, answer)
        except aiohttp.ClientError as error:
            # aiohttp's own errors show the request, and with it the token: none may hang on to ours.
            failure = _translated(error)
        if failure is not None:
            raise failure
        try:
            yield _AiohttpSocket(websocket)
        finally:
            answer.cut()

    async def _connect(
        self, request: Request, max_message: int, answer: _Answer
    ) -> aiohttp.ClientWebSocketResponse[Any]:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(answer.judge)
        trace.on_request_end.append(answer.judge)
        # A session is light, and one for each connection needs no names for whose answer it is. Its connector stays.
        async with aiohttp.ClientSession(
            connector=self._connector(),
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # the core has the only timers
            response_class=_Response,
            trace_configs=[trace],
        ) as session:
            return await session.ws_connect(
                URL(request.url, encoded=True),
                headers=request.headers,
                ssl=self._context(),
                proxy=self._proxy or environment_proxy(request.url),
                max_msg_size=max_message + 1,  # which is one too many
                autoclose=False,
                autoping=False,
            )

    def _connector(self) -> aiohttp.BaseConnector:
        if self._given is not None:
            return self._given
        if self._own is None:
            self._own = aiohttp.TCPConnector(limit=0, force_close=True)  # a stream that had to wait would be deaf
        return self._own

    def _context(self) -> SSLContext | bool:
        if self._ssl is None and self._given is not None:
            self._ssl = create_default_context()  # the given connector may have been told not to verify
        return self._ssl or True


class _Response(aiohttp.ClientResponse):
    """Lets go of the socket when the dial is given up; aiohttp alone would wait for the peer's TLS farewell."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        try:
            return await super().start(connection)
        except BaseException:
            if transport is not None:
                transport.abort()
            raise


class _Answer:
    """The HTTP answer to an upgrade request, seen before aiohttp follows a redirect or lets go of it."""

    _response: aiohttp.ClientResponse

    async def judge(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        seen: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestRedirectParams,
    ) -> None:
        """Be called by aiohttp with the answer. Raises UpgradeRefused unless a WebSocket may come of it."""
        self._response = response = seen.response
        if response.status == HTTPStatus.SWITCHING_PROTOCOLS:
            return
        body = b""
        with suppress(aiohttp.ClientError):
            body = response.content.read_nowait(_DETAIL_BYTES)  # what came with the headers, and nothing to wait for
        retry_after = retry_after_seconds(response.headers.get("Retry-After"), time.time())
        self.cut()
        raise UpgradeRefused(response.status, retry_after, refusal_detail(body))

    def cut(self) -> None:
        """Close the connection now. What the kernel has is still sent, and under TLS a word of farewell."""
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        self._response.close()
        if transport is not None:
            transport.abort()  # a peer that takes nothing more must not keep the socket


class _AiohttpSocket:
    """One open WebSocket."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._websocket = websocket
        self._closing = False

    async def send_text(self, data: bytes) -> None:
        await self._websocket.send_frame(data, WSMsgType.TEXT)

    async def ping(self) -> None:
        await self._websocket.ping()

    async def close(self, code: int) -> None:
        # Not with aiohttp's close(), which throws away whatever still comes.
        self._closing = True
        await self._websocket.send_frame(code.to_bytes(2, "big"), WSMsgType.CLOSE)

    async def receive(self) -> Received:
        while True:
            message = await self._websocket.receive()
            kind = message.type
            if kind is WSMsgType.TEXT:
                return Text(message.data)
            if kind is WSMsgType.PONG:
                return Pong()
            if kind is WSMsgType.BINARY:
                return Binary(message.data)
            if kind is WSMsgType.PING:
                with suppress(aiohttp.ClientError):  # too late for a pong: what is left to receive comes first
                    await self._websocket.pong(message.data)
                continue
            if kind is WSMsgType.CLOSE:
                if not self._closing:
                    with suppress(aiohttp.ClientError):
                        await self.close(WSCloseCode.OK)  # not an echo: the peer's code may be one that none may send
                return Closed(message.data or _NO_STATUS, message.extra or "")
            if kind is WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
                # aiohttp has answered with this code: the peer broke the rules, or sent too much.
                return Closed(message.data.code, CLOSED_HERE)
            return Closed(error=message.data)


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
        return ConnectionError("the answer was no HTTP")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return ConnectionError("the server closed the connection without an answer")
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error
    return error if isinstance(error, OSError) else ConnectionError(type(error).__name__)
