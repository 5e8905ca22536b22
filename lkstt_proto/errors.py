"""What can go wrong, whose fault it is, and what to do about it.

Failures of the network are classed once, in `FAILURES`. Text that came from a server passes `safe_text`
before it may stand in a message.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from .masking import safe_text


class SttError(Exception):
    """Base of every error here; the text names cause and cure in one line.

    Errors copy and pickle with their attributes.
    """

    retryable: bool = False
    """Whether the same attempt, made again, may succeed; an instance may differ from its class."""

    def __init__(
        self,
        message: str,
        *,
        phase: str = "",
        close_code: int | None = None,
        http_status: int | None = None,
        session_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.phase = phase
        """Where it happened: "configure", "connect", "session", "finalize", "close", or "" where that says nothing."""
        self.close_code = close_code
        """WebSocket close code, if a close told of the failure."""
        self.http_status = http_status
        """Status of the HTTP answer, if there was one instead of a WebSocket."""
        self.session_id = session_id
        """The gateway's name of the session, if it had given one."""
        self.retry_after = retry_after
        """Seconds the server asked us to wait, if it did."""


class LocalProtocolError(SttError):
    """The caller asked for something that cannot be; nothing was changed."""


class ConnectError(SttError):
    """No WebSocket came up."""

    retryable = True


class AuthError(ConnectError):
    """The token was refused."""

    retryable = False


class QuotaExceeded(ConnectError):
    """The project's credits, rate or concurrency are used up."""


class UnexpectedRedirect(ConnectError):
    """The server pointed elsewhere; redirects are never followed, they would carry the token along."""

    retryable = False


class TlsError(ConnectError):
    """The server's certificate or TLS could not be trusted."""

    retryable = False


class InsecureTransport(ConnectError):
    """Plaintext to a host that is not this computer."""

    retryable = False


class ConnectionLost(SttError):
    """An open WebSocket went away, or fell silent."""

    retryable = True


class GatewayError(SttError):
    """The gateway sent an `error` message (PROTOCOL 3.3)."""

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: int = -1,
        phase: str = "",
        close_code: int | None = None,
        http_status: int | None = None,
        session_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            message,
            phase=phase,
            close_code=close_code,
            http_status=http_status,
            session_id=session_id,
            retry_after=retry_after,
        )
        self.code = code
        """The gateway's code, -1 if it gave none that is a number."""


class RemoteProtocolError(SttError):
    """The other side broke the protocol."""

    retryable = True


class FinalizeTimeout(SttError):
    """The input had ended, and the open turn got no final transcript in time."""

    retryable = True


class OutageExceeded(SttError):
    """No session held for as long as `RetryPolicy.outage` allows; the last failure is the `__cause__`."""

    retryable = True


class Verdict(StrEnum):
    """What a failure means for the next attempt."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    UNAUTHORIZED = "unauthorized"  # one new attempt at once, with a new token


class Source(StrEnum):
    """Who gave the number of a failure."""

    HTTP = "http"
    GATEWAY = "gateway"


@frozen
class FailureRow:
    """Numbers from `first` to `last` (None: no bound) of one source, and what they mean."""

    source: Source
    first: int | None
    last: int | None
    verdict: Verdict
    error: type[SttError]
    text: str
    """Cause and cure; the number stands in parentheses behind the cause."""


_REFUSED = "the gateway refused the token ({}): check API key and secret, and this computer's clock"
_ACCESS = "the gateway denied access ({}): check that the API key's project may use inference"
_QUOTA = "the project's quota is used up ({}): wait, close idle streams, or raise the plan's limits"
_UPGRADE = "the server answered without a WebSocket upgrade ({}): check base_url, and any proxy between"
_REDIRECT = "the server redirects elsewhere ({}): redirects are not followed, set base_url to the final address"
_REQUEST = "the gateway refused the request ({}): check base_url, model, language and options"
_IDLE = "the gateway ended an idle session ({}): open a new stream when there is audio again"
_TROUBLE = "the gateway is in trouble ({}): try again later"

_HTTP, _GATEWAY = Source.HTTP, Source.GATEWAY
_PERMANENT, _TRANSIENT, _UNAUTHORIZED = Verdict.PERMANENT, Verdict.TRANSIENT, Verdict.UNAUTHORIZED

# The first row that matches wins, and the last of each source matches everything (CONTRACT decision 6).
# 101 and 2xx given as failures are answers without a WebSocket upgrade.
FAILURES: tuple[FailureRow, ...] = (
    FailureRow(_HTTP, 101, 101, _PERMANENT, ConnectError, _UPGRADE),
    FailureRow(_HTTP, 200, 299, _PERMANENT, ConnectError, _UPGRADE),
    FailureRow(_HTTP, 300, 399, _PERMANENT, UnexpectedRedirect, _REDIRECT),
    FailureRow(_HTTP, 401, 401, _UNAUTHORIZED, AuthError, _REFUSED),
    FailureRow(_HTTP, 403, 403, _PERMANENT, AuthError, _ACCESS),
    FailureRow(_HTTP, 408, 408, _TRANSIENT, ConnectError, _TROUBLE),
    FailureRow(_HTTP, 429, 429, _TRANSIENT, QuotaExceeded, _QUOTA),
    FailureRow(_HTTP, 499, 499, _TRANSIENT, ConnectError, _TROUBLE),
    FailureRow(_HTTP, 400, 499, _PERMANENT, ConnectError, _REQUEST),
    FailureRow(_HTTP, None, None, _TRANSIENT, ConnectError, _TROUBLE),
    FailureRow(_GATEWAY, 401, 401, _UNAUTHORIZED, GatewayError, _REFUSED),
    FailureRow(_GATEWAY, 408, 408, _TRANSIENT, GatewayError, _TROUBLE),
    FailureRow(_GATEWAY, 429, 429, _TRANSIENT, GatewayError, _QUOTA),
    FailureRow(_GATEWAY, 499, 499, _TRANSIENT, GatewayError, _TROUBLE),
    FailureRow(_GATEWAY, 400, 499, _PERMANENT, GatewayError, _REQUEST),
    FailureRow(_GATEWAY, 2007, 2007, _PERMANENT, GatewayError, _IDLE),
    FailureRow(_GATEWAY, None, None, _TRANSIENT, GatewayError, _TROUBLE),
)


def _row(source: Source, number: int) -> FailureRow:
    return next(
        row
        for row in FAILURES
        if row.source is source
        and (row.first is None or row.first <= number)
        and (row.last is None or number <= row.last)
    )


def _with_detail(text: str, detail: str) -> str:
    detail = safe_text(detail).strip()
    return f"{text}; it said: {detail}" if detail else text


def http_failure(status: int, *, retry_after: float | None = None, detail: str = "") -> SttError:
    """Build the error for an HTTP answer that was no WebSocket; `retry_after` in seconds (PROTOCOL 1.5)."""
    row = _row(Source.HTTP, status)
    message = _with_detail(row.text.format(f"HTTP {status}"), detail)
    error = row.error(message, phase="connect", http_status=status, retry_after=retry_after)
    error.retryable = row.verdict is Verdict.TRANSIENT
    return error


def gateway_failure(code: int, message: str, *, session_id: str | None = None) -> GatewayError:
    """Build the error for an `error` message; `code` -1 when it had none (PROTOCOL 3.3, 4.5)."""
    row = _row(Source.GATEWAY, code)
    text = _with_detail(row.text.format(f"error code {code}" if code != -1 else "no error code"), message)
    error = GatewayError(text, code=code, phase="session", session_id=session_id)
    error.retryable = row.verdict is Verdict.TRANSIENT
    return error


def lost(code: int, reason: str, *, session_id: str | None = None, phase: str = "session") -> ConnectionLost:
    """Build the error for a WebSocket that closed; `code` 1006 when it just went away."""
    message = _with_detail(f"the connection was lost (close code {code}): check the network", reason)
    return ConnectionLost(message, phase=phase, close_code=code, session_id=session_id)


def dial_failure(base_url: str, reason: str, error: BaseException | None) -> ConnectError:
    """Build the error for a transport that did not open and whose server gave no HTTP answer."""
    cause = f"{type(error).__name__}: {error}" if error is not None else reason or "the connection was closed"
    return ConnectError(
        f"could not connect to {base_url} ({safe_text(cause)}): check that the gateway runs there", phase="connect"
    )


def verdict(error: SttError) -> Verdict:
    """Say what a failure means for the next attempt (CONTRACT decision 6)."""
    if isinstance(error, TlsError | InsecureTransport | UnexpectedRedirect | LocalProtocolError):
        return Verdict.PERMANENT
    if isinstance(error, AuthError) and error.http_status == 401:
        return Verdict.UNAUTHORIZED
    if isinstance(error, GatewayError) and error.code == 401:
        return Verdict.UNAUTHORIZED
    return Verdict.TRANSIENT if error.retryable else Verdict.PERMANENT
