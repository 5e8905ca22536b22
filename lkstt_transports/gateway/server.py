"""The local gateway: an aiohttp server that LiveKit clients reach by their `base_url` (CONTRACT 6).

`GET /v1/stt` is the WebSocket, `/healthz` tells whether it takes sessions, `/metrics` counts.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Self

from aiohttp import web
from attrs import field, frozen

from lkstt_proto.errors import AuthError, LocalProtocolError
from lkstt_proto.secrecy import Hidden, Secret, discreet

from .auth import authenticate, check_exposure, new_credentials, wrap_secrets
from .door import Connection, Door
from .doorkeeper import DoorLimits
from .metrics import CONTENT_TYPE, Metrics
from .pace import Turnstile
from .recognizers.base import Recognizer
from .requests import STT_PATHS, host_names, refuse, refuse_place, refuse_upgrade
from .session import GatewaySession, SessionLimits

_RETRY_AFTER_SECONDS = 1  # a slot is free as soon as somebody hangs up
_GIVE_BACK_SECONDS = 1.0  # for what is left of sessions once the recogniser is closed
_FRAME_ROOM = 1024  # what the WebSocket library gets in excess of a limit that is kept before it


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
    """Of one WebSocket message; a larger one ends the session, behind the finals of what was said before."""
    finish_seconds: float = 8.0
    """For the sessions to end when the server stops."""
    door: DoorLimits = field(factory=DoorLimits)
    session: SessionLimits = field(factory=SessionLimits)


class _HttpConnection(web.RequestHandler):
    """A server's end that says of a broken request only that it is broken."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (it quotes the request)
    ) -> web.StreamResponse:
        """Answer a request that is not HTTP, or one that found a fault of ours."""
        _http_log.debug("a request failed with status %d: %s", status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer was begun already")
        hint = "this is not HTTP" if status < 500 else "the gateway has a fault of its own"
        response = refuse(status, "bad_request" if status < 500 else "internal_error", hint)
        response.force_close()
        return response


class _HttpServer(web.Server):
    """Serves the requests that a door lets in."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], head_bytes: int) -> None:
        # Cancellation: a connection that is lost is noticed while nobody reads from it.
        super().__init__(answer, handler_cancellation=True)
        self._options: dict[str, Any] = {
            "access_log": None,  # a query or a header in a log is a secret in a log
            "logger": _http_log,
            "keepalive_timeout": 0,  # one request each, and the door has the deadline
            "lingering_time": 0,  # for a body, which nobody wants
            "auto_decompress": False,
            # So that a token that is too long is refused as any other that is no good.
            "max_line_size": head_bytes,
            "max_field_size": head_bytes,
        }

    def __call__(self) -> web.RequestHandler:
        """Make the server's end of a connection."""
        return _HttpConnection(self, loop=asyncio.get_running_loop(), **self._options)


class LocalGateway:
    """A gateway on this computer, as an async context manager.

    `recognizer` is started and closed with it. `secrets` maps API keys to their secrets; without it a random pair is
    made. Beyond loopback it listens only with `ssl_context` (or `allow_insecure`) and long secrets. Port 0 is any
    free one. `names` are host names by which clients may know it besides addresses and `localhost`; without TLS no
    others are served, and the first is the one in `base_url`.

    Raises InsecureTransport or LocalProtocolError for what would not be safe, and on entering what the recogniser's
    `start` raises, or OSError when the address is not free.
    """

    @discreet
    def __init__(
        self,
        *,
        recognizer: Recognizer,
        host: str = "127.0.0.1",
        port: int = 0,
        secrets: Mapping[str, str | Secret] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure: bool = False,
        names: Collection[str] = (),
        limits: ServerLimits = ServerLimits(),
    ) -> None:
        """Check everything; nothing runs before `start`."""
        self._secrets = dict([new_credentials()]) if secrets is None else wrap_secrets(secrets)
        check_exposure(host, self._secrets, tls=ssl_context is not None, allow_insecure=allow_insecure)
        # localhost may be two addresses, and port 0 would then be two ports.
        self._host = "127.0.0.1" if host == "localhost" else host
        self._port = port
        self._ssl = ssl_context
        self._names = host_names(names)
        self._recognizer = recognizer
        self._limits = limits
        self._metrics = Metrics()
        # Each open session with its API key; its task holds the slot until the socket is gone.
        self._slots: dict[GatewaySession, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # One for those who ask and one for those who have a session: neither crowd keeps the other waiting.
        self._requests, self._frames = Turnstile(), Turnstile()
        self._door: Door | None = None
        self._runner: web.ServerRunner | None = None
        self._address: tuple[str, int] | None = None
        self._ending: asyncio.Task[None] | None = None

    @property
    def api_key(self) -> str:
        """The first API key."""
        return next(iter(self._secrets))

    @property
    def api_secret(self) -> str:
        """The secret of `api_key`."""
        return Hidden(self._secrets[self.api_key].reveal())

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
        name = self._names[0] if self._names else literal
        return f"{'http' if self._ssl is None else 'https'}://{name}:{port}/v1"

    async def start(self) -> None:
        """Start the recogniser and listen; `aclose` ends both. Raises as the class says."""
        server = _HttpServer(self._answer, self._limits.door.head_bytes)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GIVE_BACK_SECONDS)
        self._door = Door(
            self._limits.door, server, self._metrics, tls=self._ssl, goodbye=self._limits.session.core.close
        )
        try:
            await self._recognizer.start()
            with suppress(AuthError):  # so that no client, and nobody else meanwhile, waits for what it imports
                authenticate((), self._secrets, time.time())
            await self._runner.setup()
            self._address = await self._door.open(self._host, self._port)
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
        if self._door is not None:
            await self._door.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # Requests.

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._requests.pass_through()
        response: web.StreamResponse | None = refuse_place(request, self._names, tls=self._ssl is not None)
        if response is None:
            response = await self._stt(request) if request.path in STT_PATHS else self._look(request)
        if isinstance(response, web.Response):
            if request.path in STT_PATHS:
                self._metrics.refusals[response.status] += 1
            response.force_close()
        return response

    def _look(self, request: web.BaseRequest) -> web.Response:
        """Answer a monitor."""
        if request.path not in ("/healthz", "/metrics"):
            return refuse(404, "not_found", "there are /v1/stt, /healthz and /metrics")
        if request.method not in ("GET", "HEAD"):
            return refuse(405, "method_not_allowed", "this can only be read", headers={"Allow": "GET, HEAD"})
        if request.path == "/metrics":
            text = self._metrics.render(self._recognizer)
            return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})
        if self._ending is not None:
            return web.Response(status=503, text="stopping\n")
        return web.Response(text="ok\n")

    async def _stt(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        connection = None if transport is None else transport.get_protocol()
        if transport is None or not isinstance(connection, Connection):
            raise ConnectionResetError("lost before it was answered")
        admitted = self._admit(request)
        if isinstance(admitted, web.Response):
            return admitted
        socket = web.WebSocketResponse(
            autoping=False,
            autoclose=False,  # the last finals come before the answer to a close
            compress=False,
            max_msg_size=self._limits.message_bytes + _FRAME_ROOM,
            # The session is the first to lose patience; this is for closes that are not its own.
            timeout=2 * self._limits.session.core.close,
            writer_limit=0,
        )
        session = GatewaySession(
            socket, transport, connection, self._recognizer, self._metrics, self._frames, self._limits.session
        )
        self._slots[session] = admitted
        try:
            await socket.prepare(request)
        except BaseException:
            del self._slots[session]
            raise
        connection.upgrade(self._limits.message_bytes)
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

    def _admit(self, request: web.BaseRequest) -> str | web.Response:
        """Give the API key of a request that may have a session, or the answer that refuses it."""
        again = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        if self._ending is not None:
            return refuse(503, "stopping", "the gateway is stopping: connect again", headers=again)
        if "Origin" in request.headers:
            return refuse(403, "forbidden", "web pages are not served: connect from a program")
        if "Sec-WebSocket-Protocol" in request.headers:
            # aiohttp would log what is offered, and some clients offer their token there.
            return refuse(400, "bad_request", "no sub-protocol is spoken here: offer none")
        try:
            claims = authenticate(request.headers.getall("Authorization", []), self._secrets, time.time())
        except AuthError as error:
            return refuse(401, "unauthorized", str(error), headers={"WWW-Authenticate": "Bearer"})
        refused = refuse_upgrade(request)
        if refused is not None:
            return refused
        mine = sum(key == claims.issuer for key in self._slots.values())
        if len(self._slots) >= self._limits.sessions or mine >= self._limits.sessions_per_key:
            return refuse(
                429,
                "inference_quota_exceeded",
                "all sessions of this gateway, or of this API key, are taken: close idle ones, or try again",
                headers=again,
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
