"""The upgrade request: URL, headers and access token, for both ends (PROTOCOL 1.1 to 1.4, CONTRACT 11 and 12)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

from attrs import field, frozen

from .errors import AuthError, LocalProtocolError, Secret
from .options import DEFAULT_BASE_URL, STTOptions, shown_names
from .version import VERSION

if TYPE_CHECKING:
    from jwt import PyJWS

STAGING_BASE_URL = "https://agent-gateway.staging.livekit.cloud/v1"  # PROTOCOL 1.1

_CREDENTIAL_PAIRS = (
    ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET"),
    ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"),
)
_MISSING_CREDENTIALS = "credentials are missing: pass api_key and api_secret, or set " + ", or ".join(
    f"{key} and {secret}" for key, secret in _CREDENTIAL_PAIRS
)

_TOKEN_SECONDS = 600  # PROTOCOL 1.4
_TOKEN_BACKDATED_SECONDS = 10  # for a gateway whose clock is behind ours
_LEEWAY_SECONDS = 60  # what livekit's own verifier allows
_LONGEST_LIFE_SECONDS = 24 * 60 * 60
_LONGEST_TOKEN_CHARACTERS = 8192
# Tokens of strangers are checked against this, so that an unknown key takes as long as a wrong secret.
_NOBODY = Secret("there is no such API key, and no token is accepted for it")


@frozen
class Request:
    """What to open a WebSocket with. The URL carries no secret, and printing shows header names only."""

    url: str
    """`ws://` or `wss://`."""
    headers: tuple[tuple[str, str], ...] = field(repr=shown_names)
    """`Authorization` is the last one."""


@frozen
class Claims:
    """What a verified token says; times are Unix times in seconds."""

    issuer: str
    """The API key."""
    subject: str
    """Who it was made for, by default "agent"; empty if the token does not say."""
    not_before: float
    expires: float


def resolve_base_url(environ: Mapping[str, str], base_url: str | None = None) -> str:
    """Choose the gateway: argument, `LIVEKIT_INFERENCE_URL`, staging for a staging `LIVEKIT_URL`, production.

    What is empty counts as absent (PROTOCOL 1.2).
    """
    staging = ".staging.livekit.cloud" in environ.get("LIVEKIT_URL", "")
    return base_url or environ.get("LIVEKIT_INFERENCE_URL") or (STAGING_BASE_URL if staging else DEFAULT_BASE_URL)


def resolve_credentials(
    environ: Mapping[str, str], api_key: str | Secret | None = None, api_secret: str | Secret | None = None
) -> tuple[Secret, Secret] | None:
    """Choose API key and secret, always of one pair: the arguments, or the first pair of variables that is whole.

    What is empty counts as absent; None if there is no pair (CONTRACT decision 11). Raises LocalProtocolError
    for one argument without the other.
    """
    if bool(api_key) != bool(api_secret):
        raise LocalProtocolError("pass api_key and api_secret together, or neither", phase="configure")
    pairs = [(api_key, api_secret), *((environ.get(key), environ.get(secret)) for key, secret in _CREDENTIAL_PAIRS)]
    for key, secret in pairs:
        if key and secret:
            return _wrapped(key), _wrapped(secret)
    return None


def _wrapped(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


@cache
def _jws() -> PyJWS:
    """Make the signer and verifier of HS256, which is all that is ever used."""
    from jwt import PyJWS  # drags in sockets and cryptography: not before a token is needed
    from jwt.algorithms import HMACAlgorithm

    class Hs256(HMACAlgorithm):
        def check_key_length(self, _key: bytes) -> None:
            # LiveKit chose the secret; that a development server's is short is not this process's to warn about.
            return None

    jws = PyJWS(algorithms=["HS256"])
    jws.unregister_algorithm("HS256")
    jws.register_algorithm("HS256", Hs256(HMACAlgorithm.SHA256))
    return jws


def mint_token(api_key: str, api_secret: str, unix_time: float) -> str:
    """Sign an access token for one connection attempt, good for ten minutes (PROTOCOL 1.4).

    Raises LocalProtocolError if the secret cannot be one.
    """
    from jwt import PyJWTError

    claims = {
        "iss": api_key,
        "sub": "agent",
        "nbf": int(unix_time) - _TOKEN_BACKDATED_SECONDS,
        "exp": int(unix_time) + _TOKEN_SECONDS,
        "inference": {"perform": True},
    }
    try:
        return _jws().encode(json.dumps(claims, separators=(",", ":")).encode(), api_secret, "HS256")
    except PyJWTError:
        raise LocalProtocolError(
            "api_secret is empty or another kind of key: copy the secret that belongs to the API key", phase="connect"
        ) from None


def build_request(options: STTOptions, unix_time: float) -> Request:
    """Build the upgrade request with a fresh token (PROTOCOL 1.1, 1.3).

    Raises LocalProtocolError if the options have no credentials.
    """
    if options.api_key is None or options.api_secret is None:
        raise LocalProtocolError(_MISSING_CREDENTIALS, phase="connect")
    base_url = options.base_url
    if base_url.startswith("http"):
        base_url = "ws" + base_url.removeprefix("http")
    query = "" if options.model is None else f"?model={quote(options.model, safe='')}"
    given = tuple((name, value) for name, value in options.headers if name.lower() != "authorization")
    if not any(name.lower() == "user-agent" for name, _ in given):
        given = (("User-Agent", f"lkstt/{VERSION}"), *given)
    token = mint_token(options.api_key.reveal(), options.api_secret.reveal(), unix_time)
    return Request(f"{base_url}/stt{query}", (*given, ("Authorization", f"Bearer {token}")))


def verify_token(token: str | bytes, secrets: Mapping[str, Secret | str], unix_time: float) -> Claims:
    """Verify an access token for the gateway (PROTOCOL 1.4, 4.6).

    `secrets` maps API keys to their secrets. HS256 only; issuer, times and `inference.perform` are required;
    clocks may differ by a minute; a token that lives longer than a day is refused.
    Raises AuthError with HTTP status 401, in the same words whatever was wrong.
    """
    claims = _verified(token, secrets, unix_time)
    if claims is None:
        raise AuthError(
            "the token is not valid: check API key and secret, and the clocks of both computers",
            phase="connect",
            http_status=401,
        )
    return claims


def _verified(token: object, secrets: Mapping[str, Secret | str], unix_time: float) -> Claims | None:
    if not isinstance(token, str | bytes) or len(token) > _LONGEST_TOKEN_CHARACTERS:
        return None
    from jwt import PyJWTError

    try:
        unverified = _jws().decode_complete(token, options={"verify_signature": False})
        header, claims = unverified["header"], json.loads(unverified["payload"].decode())
        if header.get("alg") != "HS256" or "crit" in header or not isinstance(claims, dict):
            return None
        issuer = claims.get("iss")
        secret = _wrapped(secrets.get(issuer, "")) if isinstance(issuer, str) else Secret("")
        _jws().decode(token, (secret or _NOBODY).reveal(), algorithms=["HS256"])
    except (PyJWTError, ValueError, RecursionError):  # not a token, not JSON, nested without end, not signed by it
        return None
    # The secret is asked again: what nobody signs with is written above for everybody to read.
    return _judged(claims, unix_time) if secret else None


def _judged(claims: dict[str, Any], unix_time: float) -> Claims | None:
    """Judge what a token says once its signature holds."""
    issuer, subject, grant = claims["iss"], claims.get("sub", ""), claims.get("inference")
    not_before, expires = claims.get("nbf"), claims.get("exp")
    if not isinstance(subject, str) or not isinstance(grant, dict) or grant.get("perform") is not True:
        return None
    if not _is_time(not_before) or not _is_time(expires):
        return None
    if not 0 < expires - not_before <= _LONGEST_LIFE_SECONDS:
        return None
    if not not_before - _LEEWAY_SECONDS <= unix_time < expires + _LEEWAY_SECONDS:
        return None
    return Claims(issuer, subject, not_before, expires)


def _is_time(value: object) -> TypeGuard[float]:
    # The bound keeps out NaN, infinity and integers too long to calculate with.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
