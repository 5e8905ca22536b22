"""What a connector is, and what it has to tell: shared by all adapters. Nothing here waits."""

from __future__ import annotations

import json
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Awaitable, Generator
from contextlib import AbstractAsyncContextManager
from os import urandom
from ssl import CERT_REQUIRED, SSLContext
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from lkstt_proto import InsecureTransport, Limits, LocalProtocolError, Request, SttError, TlsError
from lkstt_proto.masking import safe_text
from lkstt_proto.secrecy import discreet

if TYPE_CHECKING:
    from typing_extensions import Buffer

CLOSED_HERE = "this end closed it"
"""The reason of ``Closed`` where the peer broke the rules of WebSocket: the code says which."""
_YEAR = 365 * 86_400.0  # finite, however many digits a server may send
_PING_BYTES = 4  # as many as nobody guesses while a ping is on its way

_PIECE = 65_536  # bytes that are decoded at a time
_Utf8Decoder = getincrementaldecoder("utf-8")


class Text(NamedTuple):
    """A text message arrived."""

    data: str | bytes


class Binary(NamedTuple):
    """A binary message arrived."""

    data: bytes


class Pong(NamedTuple):
    """A ping was answered; a pong that nobody asked for is none."""


class Closed(NamedTuple):
    """The WebSocket is closed; nothing follows."""

    code: int = 1006
    """The peer's close code, or the one this end had to send; 1006 when the connection just went away."""
    reason: str = ""
    error: BaseException | None = None
    """What the transport raised, if it did."""


Received = Text | Binary | Pong | Closed
"""What ``Socket.receive`` gives."""


class _Done(Awaitable[None]):
    """Nothing to wait for."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


DONE: Awaitable[None] = _Done()
"""What a method of a ``Socket`` gives when there is nothing to wait for: whoever knows it saves the waiting."""


class Socket(Protocol):
    """An open WebSocket. Pings of the peer are its own business.

    Its methods may be coroutines; those that only send may as well do what they can at once and give ``DONE``.
    """

    def send_text(self, data: bytes) -> Awaitable[None]:
        """Send UTF-8 as one text message; done when the transport can take more."""

    async def receive(self) -> Received:
        """Wait for what comes next."""

    def ping(self) -> Awaitable[None]:
        """Send a ping; ``receive`` gives the pong. May be called while ``send_text`` waits."""

    def close(self, code: int) -> Awaitable[None]:
        """Send a close frame; ``receive`` goes on, and gives ``Closed`` when the peer has answered."""


class GenerousSocket(Socket, Protocol):
    """A ``Socket`` that spares the trouble of many writes where much is to be sent; none has to be one."""

    def send_texts(self, data: list[bytes]) -> Awaitable[None]:
        """Send each as one text message, in order; done when the transport can take more."""


class Connector(Protocol):
    """Opens WebSockets: the pluggable part of an adapter."""

    def open(self, request: Request, max_message: int) -> AbstractAsyncContextManager[Socket]:
        """Connect, and cut the connection at once where the block is left.

        Never follows a redirect. A message of more than ``max_message`` bytes is answered with close code 1009.
        Raises UpgradeRefused for an HTTP answer, TlsError for a certificate, and anything else that goes wrong.
        """

    async def aclose(self) -> None:
        """Let go of everything."""


class Pings:
    """Pings on their way. Each has a payload of its own: a pong that nobody asked for must not pass for an answer."""

    def __init__(self) -> None:
        self._sent: deque[bytes] = deque()

    def next(self) -> bytes:
        """Give the payload of a ping that is about to be sent."""
        payload = urandom(_PING_BYTES)
        self._sent.append(payload)
        return payload

    def answered(self, payload: Buffer) -> list[Pong]:
        """Give a ``Pong`` for each ping that a pong answers: its own, and those before it (RFC 6455 5.5.3)."""
        payload = bytes(payload)
        count = self._sent.index(payload) + 1 if payload in self._sent else 0
        for _ in range(count):
            self._sent.popleft()
        return [Pong()] * count


class UpgradeRefused(Exception):
    """The server answered the upgrade request with something else; the core makes the error of it."""

    def __init__(self, status: int, retry_after: float | None = None, detail: str = "") -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after
        """Seconds."""
        self.detail = detail


def text_of(data: bytes) -> str | bytes:
    """Give a message's text; as its UTF-8 where a text may take four times as much. Raises UnicodeDecodeError."""
    if len(data) <= _PIECE or data.isascii():
        return data.decode()
    decoder = _Utf8Decoder()
    for start in range(0, len(data), _PIECE):
        decoder.decode(data[start : start + _PIECE])
    decoder.decode(b"", final=True)
    return data


def closing_facts(error: BaseException) -> dict[str, Any]:
    """Give the arguments of ``Connection.transport_closed`` for what a connector raised.

    Of an exception group, which a connector with tasks of its own may raise, the one that tells most counts.
    """
    while isinstance(error, BaseExceptionGroup):
        telling = error.subgroup((UpgradeRefused, SttError)) or error
        error = telling.exceptions[0]
    if isinstance(error, UpgradeRefused):
        return {"http_status": error.status, "retry_after": error.retry_after, "reason": error.detail}
    return {"error": error}


def tls_error(reason: str) -> TlsError:
    """Build the error for a certificate that cannot be trusted."""
    return TlsError(
        f"the server's certificate cannot be trusted ({safe_text(reason)}): check the host in base_url and this "
        "computer's clock, or give the connector an SSLContext that knows the private authority",
        phase="connect",
    )


def retry_after_seconds(value: str | None, unix_time: float) -> float | None:
    """Read a ``Retry-After`` header: seconds or an HTTP date; None when absent or neither (RFC 9110 10.2.3).

    Nobody waits longer than a year.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _YEAR)
    from email.utils import parsedate_to_datetime  # rarely needed

    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - unix_time), _YEAR)
    except (ValueError, OverflowError):
        return None


def refusal_detail(body: bytes) -> str:
    """Find the sentence for people in the JSON body of an HTTP answer (PROTOCOL 1.5); empty when there is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    texts = [content.get(key) for key in ("hint", "message", "error")] if isinstance(content, dict) else []
    return next((text for text in texts if isinstance(text, str)), "")


@discreet
def proxy_for(url: str, given: str | None) -> str | None:
    """Choose the proxy on the way to a URL: the given one, else the environment's, or None.

    Raises InsecureTransport for plaintext through the given one, where its loopback would not be ours either, and
    LocalProtocolError for one that cannot be used.
    """
    if not given:
        return environment_proxy(url)
    if urlsplit(url).scheme != "wss":
        raise InsecureTransport(
            "base_url is plaintext and would show the token and the audio to the proxy: use https:// or wss://, "
            "or no proxy",
            phase="connect",
        )
    return given


@discreet
def environment_proxy(url: str) -> str | None:
    """Give the proxy that ``HTTPS_PROXY`` and ``NO_PROXY`` name for a ``wss://`` URL, or None.

    Plaintext takes no detour: a proxy would see the token. Raises LocalProtocolError for one that cannot be used.
    """
    # The public proxy_bypass, which is all that typeshed knows, asks the system too, and may block.
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

    parts = urlsplit(url)
    proxies = getproxies_environment()
    if parts.scheme != "wss" or proxy_bypass_environment(parts.netloc, proxies):
        return None
    return usable_proxy(proxies["https"]) if proxies.get("https") else None


@discreet
def usable_proxy(url: str) -> str:
    """Give the URL of a proxy back. Raises LocalProtocolError for one that cannot be used."""
    try:
        proxy = urlsplit(url)
        usable = proxy.scheme == "http" and proxy.hostname and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:  # and it is not shown: there may be a password in it
        raise LocalProtocolError(
            "the proxy's URL has to begin with http:// and to name a host (and no impossible port): no other kind of "
            "proxy can be used",
            phase="configure",
        )
    return url


def verifying(ssl: SSLContext | None) -> SSLContext | None:
    """Give a context back. Raises LocalProtocolError for one that trusts everybody."""
    if ssl is not None and not (ssl.verify_mode is CERT_REQUIRED and ssl.check_hostname):
        raise LocalProtocolError(
            "the SSLContext verifies no certificates: load the private authority into it instead", phase="configure"
        )
    return ssl


def largest_message(limits: Limits) -> int:
    """Bytes of a message that a connector still lets through.

    More than ``Limits.message``, so that the core skips what is only somewhat too large instead of losing the session.
    """
    return limits.message + limits.message // 4
