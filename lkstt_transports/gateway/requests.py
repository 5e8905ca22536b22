"""What an HTTP request may be before anybody looks at its token, and the answers to those that are something else."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import HttpVersion11, web

from lkstt_proto.errors import LocalProtocolError

STT_PATHS = ("/v1/stt", "/v1//stt")  # the second one for a base_url that ends in a slash (PROTOCOL 1.1)

_NAME = re.compile(r"[a-z0-9_.-]+")
# Sixteen bytes in base64 (RFC 6455 4.1).
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_WEBSOCKET_VERSION = "13"


def host_names(names: Iterable[str]) -> tuple[str, ...]:
    """Take host names as they are compared. Raises LocalProtocolError for what cannot be one."""
    lowered = tuple(name.lower() for name in names)
    if not all(map(_NAME.fullmatch, lowered)):
        raise LocalProtocolError("a host name has letters, digits, dots and hyphens, and no port", phase="configure")
    return lowered


def refuse(
    status: int, kind: str, hint: str, *, headers: Mapping[str, str] | None = None, **fields: object
) -> web.Response:
    """Answer with the JSON of PROTOCOL 1.5, in words of our own: nothing of the request is repeated."""
    body = json.dumps({"type": kind, "hint": hint, **fields})
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})


def refuse_place(request: web.BaseRequest, names: Collection[str], *, tls: bool) -> web.Response | None:
    """Refuse a request for another host: a web page's own name may have been made to lead here (DNS rebinding).

    Literal addresses and `localhost` cannot be, and `names` are ours. With TLS the certificate has told already.
    """
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (not hosts and request.version >= HttpVersion11):
        return refuse(400, "bad_request", "a request has one Host header")
    if not request.raw_path.startswith("/"):
        hosts = [*hosts, urlsplit(request.raw_path).netloc]
    if tls or all(_is_ours(host, names) for host in hosts):
        return None
    return refuse(
        421, "misdirected_request", "this gateway does not know itself by that name: use its address, or tell it"
    )


def refuse_upgrade(request: web.BaseRequest) -> web.Response | None:
    """Refuse what is no opening of a WebSocket (RFC 6455 4.2.1)."""
    headers = request.headers
    if request.method != "GET":
        return refuse(405, "method_not_allowed", "a WebSocket is opened with GET", headers={"Allow": "GET"})
    versions = headers.getall("Sec-WebSocket-Version", [])
    if versions and versions != [_WEBSOCKET_VERSION]:
        wanted = {"Sec-WebSocket-Version": _WEBSOCKET_VERSION}
        return refuse(426, "bad_request", "this is a WebSocket of version 13", headers=wanted)
    keys = headers.getall("Sec-WebSocket-Key", [])
    is_upgrade = (
        request.version == HttpVersion11
        and versions
        and len(keys) == 1
        and _KEY.fullmatch(keys[0])
        and headers.getall("Upgrade", []) == [headers.get("Upgrade", "")]
        and web.WebSocketResponse(compress=False).can_prepare(request)
        # What comes behind the headers is frames, and nobody is to take it for anything else.
        and not request.body_exists
    )
    return None if is_upgrade else refuse(400, "bad_request", "this is a WebSocket: ask for an upgrade")


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port  # a port that is none raises as well
        if parts.username is not None or parts.path:
            return False
        if name in ("localhost", *names):
            return True
        ip_address(name)
    except ValueError:
        return False
    return True
