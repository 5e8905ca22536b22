"""The local gateway: an aiohttp server that LiveKit clients reach by their `base_url` (CONTRACT 6).

`GET /v1/stt` is the WebSocket, `/healthz` tells whether it takes sessions, `/metrics` counts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Self

from aiohttp import web
from attrs import field, frozen

from lkstt_proto.errors import AuthError, LocalProtocolError, Secret

from .auth import authenticate, check_exposure, new_credentials, wrap_secrets
from .metrics import CONTENT_TYPE, Metrics
from .recognizers.base import Recognizer
from .session import GatewaySession, SessionLimits

_RETRY_AFTER_SECONDS = 1  # a slot is free as soon as somebody hangs up
_IDLE_HTTP_SECONDS = 15.0  # a connection kept between requests, of which a monitor makes one now and then
_GIVE_BACK_SECONDS = 1.0  # for what is left of sessions once the recogniser is closed


def _without_details(record: logging.LogRecord) -> bool:
    # What aiohttp says of a request that is not HTTP quotes it, and there may be a token in it.
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"{record.msg}: {record.exc_info[0].__name__}"
        record.exc_info = record.exc_text = None
    return True


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_without_details)


@frozen(kw_only=True)
class ServerLimits:
    """How much a gateway takes on at a time."""

    sessions: int = 64
    sessions_per_key: int = 8
    message_bytes: int = 256 * 1024
    """Of one WebSocket message; a larger one closes with code 1009."""
    finish_seconds: float = 8.0
    """For the sessions to end when the server stops."""
    session: SessionLimits = field(factory=SessionLimits)


class LocalGateway:
    """A gateway on this computer, as an async context manager.

    `recognizer` is started and closed with it. `secrets` maps API keys to their secrets; without it a random pair is
    made. Beyond loopback it listens only with `ssl_context` (or `allow_insecure`) and long secrets. Port 0 is any
    free one.

    Raises InsecureTransport or LocalProtocolError for what would not be safe, and on entering what the recogniser's
    `start` raises, or OSError when the address is not free.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        host: str = "127.0.0.1",
        port: int = 0,
        secrets: Mapping[str, str | Secret] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
        limits: ServerLimits = ServerLimits(),
    ) -> None:
        """Check everything; nothing runs before `start`."""
        self._secrets = dict([new_credentials()]) if secrets is None else wrap_secrets(secrets)
        check_exposure(host, self._secrets, tls=ssl_context is not None, allow_insecure=allow_insecure)
        # localhost may be two addresses, and port 0 would then be two ports.
        self._host = "127.0.0.1" if host == "localhost" else host
        self._port = port
        self._ssl = ssl_context
        self._recognizer = recognizer
        self._limits = limits
        self._metrics = Metrics()
        # Each open session with its API key; its task holds the slot until the socket is gone.
        self._slots: dict[GatewaySession, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._address: tuple[str, int] | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def api_key(self) -> str:
        """The first API key."""
        return next(iter(self._secrets))

    @property
    def api_secret(self) -> str:
        """The secret of `api_key`."""
        return self._secrets[self.api_key].reveal()

    @property
    def base_url(self) -> str:
        """What clients take as their `base_url`. Raises LocalProtocolError before `start`."""
        if self._address is None:
            raise LocalProtocolError("the gateway was not started", phase="configure")
        host, port = self._address
        address = ip_address(host)
        if address.is_unspecified:  # listens everywhere, and that is no address to connect to
            address = ip_address("127.0.0.1" if address.version == 4 else "::1")
        literal = f"[{address}]" if address.version == 6 else str(address)
        return f"{'http' if self._ssl is None else 'https'}://{literal}:{port}/v1"

    async def start(self) -> None:
        """Start the recogniser and listen; `aclose` ends both. Raises as the class says."""
        app = web.Application()
        app.router.add_get("/v1/stt", self._stt)
        app.router.add_get("/v1//stt", self._stt)  # a base_url that ends in a slash (PROTOCOL 1.1)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._show_metrics)
        self._runner = web.AppRunner(
            app,
            access_log=None,  # a query or a header in a log is a secret in a log
            logger=_http_log,
            handler_cancellation=True,  # a connection that is lost is noticed while nobody reads from it
            keepalive_timeout=_IDLE_HTTP_SECONDS,
            shutdown_timeout=_GIVE_BACK_SECONDS,
        )
        try:
            await self._recognizer.start()
            await self._runner.setup()
            await web.TCPSite(self._runner, self._host, self._port, ssl_context=self._ssl).start()
            self._address = self._runner.addresses[0][:2]
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Stop: no new sessions, finals for the open ones, recogniser and port given back. Safe to call twice."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.aclose()

    async def _end(self) -> None:
        # The port stays open meanwhile, so that monitors are told and clients are refused rather than left guessing.
        for session in self._slots:
            session.finish()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._limits.finish_seconds)
        for session in self._slots:
            session.hang_up()
        await self._recognizer.aclose()
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_GIVE_BACK_SECONDS)
            for task in left:
                task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    # Requests.

    async def _healthz(self, _request: web.Request) -> web.Response:
        if self._ending is not None:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")

    async def _show_metrics(self, _request: web.Request) -> web.Response:
        text = self._metrics.render(self._recognizer)
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _stt(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("lost before it was answered")
        admitted = self._admit(request)
        if isinstance(admitted, web.Response):
            self._metrics.refusals[admitted.status] += 1
            return admitted
        socket = web.WebSocketResponse(
            autoping=False,
            autoclose=False,  # the last finals come before the answer to a close
            compress=False,
            max_msg_size=self._limits.message_bytes,
            # The session is the first to lose patience; this is for closes that are not its own.
            timeout=2 * self._limits.session.core.close,
            writer_limit=0,
        )
        if not socket.can_prepare(request):
            self._metrics.refusals[400] += 1
            return _refusal(400, "bad_request", "this is a WebSocket: ask for an upgrade")
        session = GatewaySession(socket, transport, self._recognizer, self._metrics, self._limits.session)
        self._slots[session] = admitted
        try:
            await socket.prepare(request)
        except BaseException:
            del self._slots[session]
            raise
        task = asyncio.create_task(self._serve(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            # Shielded: a lost connection cancels this request, but a session ends in its own order.
            await asyncio.shield(task)
        except asyncio.CancelledError:
            session.hang_up()
            raise
        return socket

    def _admit(self, request: web.Request) -> str | web.Response:
        """Give the API key of a request that may have a session, or the answer that refuses it."""
        if self._ending is not None:
            return _refusal(503, "stopping", "the gateway is stopping: connect again", retry_after=_RETRY_AFTER_SECONDS)
        if "Origin" in request.headers:
            return _refusal(403, "forbidden", "web pages are not served: connect from a program")
        if "Sec-WebSocket-Protocol" in request.headers:
            # aiohttp would log what is offered, and some clients offer their token there.
            return _refusal(400, "bad_request", "no sub-protocol is spoken here: offer none")
        try:
            claims = authenticate(request.headers.getall("Authorization", []), self._secrets, time.time())
        except AuthError as error:
            return _refusal(401, "unauthorized", str(error), authenticate="Bearer")
        mine = sum(key == claims.issuer for key in self._slots.values())
        if len(self._slots) >= self._limits.sessions or mine >= self._limits.sessions_per_key:
            return _refusal(
                429,
                "inference_quota_exceeded",
                "all sessions of this gateway, or of this API key, are taken: close idle ones, or try again",
                retry_after=_RETRY_AFTER_SECONDS,
                quota_type="stt",
                category="MaxConcurrentSessions",
                remaining_limit=0,
                documentation_url="",
            )
        return claims.issuer

    async def _serve(self, session: GatewaySession) -> None:
        self._metrics.sessions += 1
        self._metrics.sessions_total += 1
        try:
            await session.run()
        finally:
            # Before the recogniser is given back, which may take it a moment: whoever connects again finds room.
            del self._slots[session]
            self._metrics.sessions -= 1
            await session.aclose()


def _refusal(
    status: int, kind: str, hint: str, *, retry_after: int | None = None, authenticate: str = "", **fields: object
) -> web.Response:
    """Answer with the JSON of PROTOCOL 1.5."""
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    if authenticate:
        headers["WWW-Authenticate"] = authenticate
    return web.Response(status=status, body=json.dumps({"type": kind, "hint": hint, **fields}), headers=headers)
