"""What the proxy and the player share as servers on this computer."""

from __future__ import annotations

import logging

from aiohttp import web

from lkstt_proto import InsecureTransport, LocalProtocolError
from lkstt_transports.gateway.auth import is_loopback


def _without_details(record: logging.LogRecord) -> bool:
    # What aiohttp says of a request that is not HTTP quotes it, and there may be a token in it.
    if record.exc_info and record.exc_info[0] is not None:
        record.msg = f"{record.msg}: {record.exc_info[0].__name__}"
        record.exc_info = record.exc_text = None
    return True


_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(_without_details)


def listening_address(listen: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, of this computer; port 0 is any free one.

    Raises LocalProtocolError, and InsecureTransport for an address that others reach: clients send their tokens there,
    and speech is recorded or played back.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise LocalProtocolError("an address to listen at is HOST:PORT, such as 127.0.0.1:8090", phase="configure")
    if not is_loopback(host):
        raise InsecureTransport(
            "listening beyond this computer in plaintext would show tokens and speech to the network: listen at "
            "127.0.0.1, behind a server with TLS",
            phase="configure",
        )
    # localhost may be two addresses, and port 0 would then be two ports.
    return ("127.0.0.1" if host == "localhost" else host), int(port)


async def start_server(address: tuple[str, int], app: web.Application) -> web.AppRunner:
    """Serve at that address, without a log that a token could be in; ``cleanup`` ends it. Raises OSError if taken."""
    runner = web.AppRunner(app, access_log=None, logger=_http_log, handler_cancellation=True, shutdown_timeout=1.0)
    try:
        await runner.setup()
        await web.TCPSite(runner, *address).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def origin_of(runner: web.AppRunner) -> str:
    """Give the scheme, host and port of a server of ours."""
    host, port = runner.addresses[0][:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_upgrade(request: web.Request, socket: web.WebSocketResponse) -> web.Response | None:
    """Give the answer to what is no request for a WebSocket as we speak it; None where it is one."""
    if "Sec-WebSocket-Protocol" in request.headers:
        # aiohttp would log what is offered, and some clients offer their token there.
        return refusal(400, "bad_request", "no sub-protocol is spoken here: offer none")
    if request.transport is None or not socket.can_prepare(request):
        return refusal(400, "bad_request", "this is a WebSocket: ask for an upgrade")
    return None


def refusal(status: int, kind: str, hint: str, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with the JSON of PROTOCOL 1.5."""
    return web.json_response({"type": kind, "hint": hint}, status=status, headers=headers)
