"""A WebSocket proxy that records: any client speaks through it with any gateway, and neither is the wiser.

Messages, pings, close frames and refusals are passed on as they come, in order and with back-pressure. So are headers,
tokens among them, which are neither kept nor logged. What passes by is noted by a ``Witness``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType, web
from multidict import CIMultiDict
from yarl import URL

from lkstt_proto import LocalProtocolError, STTOptions
from lkstt_transports.common import environment_proxy, retry_after_seconds

from .listening import check_upgrade, listening_address, origin_of, refusal, start_server
from .witness import Witness

_MESSAGE_BYTES = 16 * 2**20  # of one message: a gateway's own bound is lower
_BODY_BYTES = 64 * 2**10  # of a refusal
_DIAL_SECONDS = 30.0  # longer than a client waits
_FAREWELL_SECONDS = 3.0  # for the answer to a close frame

# RFC 6455 7.4.1. The last two are never sent: they say what a close frame did not.
_GOING_AWAY = 1001
_NO_CODE = 1005
_NO_CLOSE = 1006

# What belongs to one connection (RFC 9110 7.6.1), or is made by each handshake for itself.
_HOP_BY_HOP = {
    *("connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
}

Farewell = tuple[int, str]
"""Code and reason of a close frame."""
_LOST: Farewell = (_NO_CLOSE, "")

_Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse[Any]


class RecordingProxy:
    """A proxy in front of the gateway at ``upstream`` (a base URL), as an async context manager.

    ``name`` gives the name of the next session; ``keep`` is awaited with its ``Witness`` when it is over. What cannot
    be recorded any more is still passed on.

    Raises LocalProtocolError or InsecureTransport for addresses that cannot be, and OSError on entering when the one to
    listen at is not free.
    """

    def __init__(
        self, *, upstream: str, listen: str, keep: Callable[[Witness], Awaitable[None]], name: Callable[[], str]
    ) -> None:
        base = STTOptions(base_url=upstream).base_url
        self._upstream = urlsplit("ws" + base.removeprefix("http") if base.startswith("http") else base)
        self._address = listening_address(listen)
        self._keep = keep
        self._name = name
        self._runner: web.AppRunner | None = None
        self._passages: dict[_Passage, asyncio.Task[web.StreamResponse]] = {}
        self._ending = False

    @property
    def base_url(self) -> str:
        """What clients take as their ``base_url``. Raises LocalProtocolError before it listens."""
        if self._runner is None:
            raise LocalProtocolError("the proxy was not started", phase="configure")
        return origin_of(self._runner) + self._upstream.path

    async def __aenter__(self) -> Self:
        """Listen."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = await start_server(self._address, app)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close the open sessions with code 1001, have them kept, and give the port back."""
        self._ending = True
        for passage in self._passages:
            passage.end()
        if self._passages:
            await asyncio.wait(self._passages.values())
        if self._runner is not None:
            await self._runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self._ending:
            return refusal(503, "stopping", "the proxy is stopping")
        if not request.raw_path.startswith("/"):
            return refusal(400, "bad_request", "the request names another server")
        passage = _Passage(request, Witness(self._name()))
        refused = check_upgrade(request, passage.socket)
        if refused is not None:
            return refused
        # A task of its own: a client that goes away cancels its request, but its session is kept in any case.
        task = self._passages[passage] = asyncio.create_task(self._attend(passage, request.raw_path))
        task.add_done_callback(lambda _: self._passages.pop(passage))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            passage.lose()
            raise

    async def _attend(self, passage: _Passage, path: str) -> web.StreamResponse:
        try:
            return await passage.run(f"{self._upstream.scheme}://{self._upstream.netloc}{path}")
        finally:
            await self._keep(passage.witness)


class _Passage:
    """One client and its way to the gateway."""

    def __init__(self, request: web.Request, witness: Witness) -> None:
        self.witness = witness
        self.socket = web.WebSocketResponse(
            timeout=_FAREWELL_SECONDS, autoping=False, autoclose=False, compress=False, max_msg_size=_MESSAGE_BYTES
        )
        self._request = request
        self._started = time.monotonic()
        self._stopped = asyncio.Event()
        self._lost = False

    def end(self) -> None:
        """Say goodbye to both: the proxy stops."""
        self._stopped.set()

    def lose(self) -> None:
        """The client's connection is gone."""
        self._lost = True
        self._stopped.set()

    async def run(self, url: str) -> web.StreamResponse:
        """Dial the gateway, answer the client, and pass on what they say until both have gone."""
        try:
            async with _dial(url, _end_to_end(self._request.headers)) as (upstream, headers):
                self.witness.opened(self._now())
                self.socket.headers.update(headers)
                await self._converse(upstream)
        except _Refused as answer:
            retry_after = retry_after_seconds(answer.headers.get("Retry-After"), time.time())
            self.witness.refused(answer.status, retry_after, self._now())
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            self.witness.refused(HTTPStatus.BAD_GATEWAY, None, self._now())
            return refusal(502, "unreachable", "the gateway cannot be reached")
        return self.socket

    async def _converse(self, upstream: aiohttp.ClientWebSocketResponse[Any]) -> None:
        transport = self._request.transport
        client, gateway = _LOST, _LOST
        try:
            await self.socket.prepare(self._request)
            client, gateway = await self._relay(upstream)
        except ConnectionError:
            pass  # gone before it was answered
        finally:
            self.witness.closed(self._now(), client=client, gateway=gateway)
            if transport is not None:
                # A close frame that was sent must come through; where none was, none must.
                transport.abort() if gateway == _LOST else transport.close()

    async def _relay(self, upstream: aiohttp.ClientWebSocketResponse[Any]) -> tuple[Farewell, Farewell]:
        """Pass everything on, both ways; give how each said goodbye."""
        witness = self.witness
        leaving = asyncio.create_task(
            self._carry(self.socket, upstream, witness.client_said, witness.client_sent, witness.client_left)
        )
        left = asyncio.create_task(
            self._carry(upstream, self.socket, witness.gateway_said, witness.gateway_sent, lambda _: None)
        )
        stopped = asyncio.create_task(self._stopped.wait())
        both = {leaving, left}
        try:
            done, _ = await asyncio.wait({*both, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done and not self._lost:
                for socket in (self.socket, upstream):
                    await _say_goodbye(socket, (_GOING_AWAY, "the proxy stops"))
                await asyncio.wait(both, timeout=_FAREWELL_SECONDS)
                return (_GOING_AWAY, ""), (_GOING_AWAY, "")
            if stopped not in done and all(task.result() != _LOST for task in done):
                await asyncio.wait(both, timeout=_FAREWELL_SECONDS)
            client, gateway = (task.result() if task.done() else _LOST for task in (leaving, left))
            return client, gateway
        finally:
            for task in (*both, stopped):
                task.cancel()
            await asyncio.gather(*both, stopped, return_exceptions=True)

    async def _carry(
        self,
        source: _Socket,
        target: _Socket,
        said: Callable[[str, float], None],
        sent: Callable[[bytes, float], None],
        left: Callable[[float], None],
    ) -> Farewell:
        """Pass on what comes from one end until its goodbye, or until it is lost."""
        with suppress(ConnectionError, aiohttp.ClientError):
            while True:
                message = await source.receive()
                kind, data = message.type, message.data
                if kind is WSMsgType.TEXT:
                    said(data, self._now())
                    await _send(target, data.encode(), kind)
                elif kind is WSMsgType.BINARY:
                    sent(data, self._now())
                    await _send(target, data, kind)
                elif kind is WSMsgType.PING or kind is WSMsgType.PONG:
                    await _send(target, bytes(data), kind)
                elif kind is WSMsgType.CLOSE:
                    left(self._now())
                    farewell = (data or _NO_CODE, message.extra or "")
                    await _say_goodbye(target, farewell)
                    return farewell
                else:  # lost, or told off by aiohttp for breaking the rules of WebSocket
                    break
        return _LOST

    def _now(self) -> float:
        return round(time.monotonic() - self._started, 6)


async def _send(socket: _Socket, data: bytes, kind: WSMsgType) -> None:
    # Whether one end is gone, and how, is told by what is read from it.
    with suppress(ConnectionError, aiohttp.ClientError):
        await socket.send_frame(data, kind)


async def _say_goodbye(socket: _Socket, farewell: Farewell) -> None:
    code, reason = farewell
    # Not with aiohttp's close(), which throws away whatever still comes.
    await _send(socket, b"" if code == _NO_CODE else code.to_bytes(2, "big") + reason.encode(), WSMsgType.CLOSE)


class _Refused(Exception):
    """The gateway answered with another status than 101."""

    def __init__(self, status: int, headers: CIMultiDict[str], body: bytes) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers
        self.body = body


@asynccontextmanager
async def _dial(
    url: str, headers: Mapping[str, str]
) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse[Any], CIMultiDict[str]]]:
    """Connect to the gateway; give the WebSocket, and the headers of its answer. Raises _Refused."""
    answers: list[aiohttp.ClientResponse] = []

    async def judge(
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        seen: aiohttp.TraceRequestEndParams | aiohttp.TraceRequestRedirectParams,
    ) -> None:
        # Before aiohttp follows a redirect, or lets go of the body.
        answers.append(seen.response)
        if seen.response.status != HTTPStatus.SWITCHING_PROTOCOLS:
            body = b""
            with suppress(aiohttp.ClientError):
                while len(body) < _BODY_BYTES and (more := await seen.response.content.readany()):
                    body += more
            raise _Refused(seen.response.status, _end_to_end(seen.response.headers), body[:_BODY_BYTES])

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(judge)
    trace.on_request_end.append(judge)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        auto_decompress=False,
        trace_configs=[trace],
    ) as session:
        async with asyncio.timeout(_DIAL_SECONDS):
            upstream = await session.ws_connect(
                URL(url, encoded=True),
                headers=headers,
                proxy=environment_proxy(url),
                max_msg_size=_MESSAGE_BYTES,
                autoclose=False,
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=_FAREWELL_SECONDS),
            )
        try:
            yield upstream, _end_to_end(answers[-1].headers)
        finally:
            answers[-1].close()


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Leave out what is between two neighbours only."""
    return CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in _HOP_BY_HOP and not name.lower().startswith("sec-websocket-")
    )
