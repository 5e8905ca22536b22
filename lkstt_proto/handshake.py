"""The upgrade request: URL, headers and access token, for both ends (PROTOCOL 1.1 to 1.4, CONTRACT 11 and 12)."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import quote

from attrs import field, frozen

from .errors import AuthError, LocalProtocolError
from .options import DEFAULT_BASE_URL, STTOptions, shown_names
from .secrecy import Hidden, Secret, discreet
from .version import VERSION
from .wirejson import MAX_NESTING, nesting

if TYPE_CHECKING:
    from jwt import PyJWS
    from jwt.algorithms import Algorithm

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
_LONGEST_TOKEN_BYTES = 8192
_TOKEN = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")  # the signature of HS256 has 32 bytes
_HEADER_NAMES = {"alg", "typ", "kid"}
# Tokens of strangers are checked against this, so that an unknown key takes as long as a wrong secret.
_NO_SECRET = Secret("")
_NOBODY = Secret("there is no such API key, and no token is accepted for it")


@frozen
class Request:
    """What to open a WebSocket with. The URL carries no secret, and printing shows header names only."""

    url: str
    """`ws://` or `wss://`."""
    headers: tuple[tuple[str, str], ...] = field(repr=shown_names)
    """`Authorization` is the last one; values are `Hidden` texts."""


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


@discreet
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


def _hs256() -> Algorithm:
    return _jws().get_algorithm_by_name("HS256")


@discreet
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
    except (PyJWTError, UnicodeEncodeError):
        raise LocalProtocolError(
            "api_secret is empty or another kind of key: copy the secret that belongs to the API key", phase="connect"
        ) from None


@discreet
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
    return Request(f"{base_url}/stt{query}", (*given, ("Authorization", Hidden(f"Bearer {token}"))))


@discreet
def verify_token(token: str | bytes, secrets: Mapping[str, Secret | str], unix_time: float) -> Claims:
    """Verify an access token for the gateway (PROTOCOL 1.4, 4.6).

    `secrets` maps API keys to their secrets. HS256 only; issuer, times and `inference.perform` are required;
    clocks may differ by a minute; a token that lives longer than a day is refused, and so is one that is spelt
    in another way than its issuer spelt it.
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
    parts = _parts(token)
    if parts is None:
        return None
    signed, header, claims, signature = parts
    if not _is_plain(header):
        return None
    # From here to the signature nothing may depend on whether the key is known.
    issuer = claims.get("iss")
    secret = _wrapped(secrets.get(issuer, _NO_SECRET)) if isinstance(issuer, str) else _NO_SECRET
    holds = _hs256().verify(signed, (secret or _NOBODY).reveal().encode("utf-8", "surrogatepass"), signature)
    # The secret is asked again: what nobody signs with is written above for everybody to read.
    return _judged(claims, unix_time) if holds and secret else None


def _parts(token: object) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes] | None:
    """Give what is signed, header, claims and signature; None for what is no token, or spelt in a second way."""
    if not isinstance(token, str | bytes) or len(token) > _LONGEST_TOKEN_BYTES:
        return None
    try:
        text = token if isinstance(token, bytes) else token.encode("ascii")
        if not _TOKEN.fullmatch(text):
            return None
        signed, _, signature = text.rpartition(b".")
        header, claims = (_object(_decoded(part)) for part in signed.split(b"."))
        return signed, header, claims, _decoded(signature)
    except (ValueError, RecursionError):  # not ASCII, not base64, not JSON, nested without end
        return None


def _decoded(part: bytes) -> bytes:
    """Decode base64url; raises ValueError for bits that are left over, which would spell the same bytes again."""
    value = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    if urlsafe_b64encode(value).rstrip(b"=") != part:
        raise ValueError
    return value


def _object(text: bytes) -> dict[str, Any]:
    """Read a JSON object that says everything once; raises ValueError for anything else."""
    if nesting(text) > MAX_NESTING:  # what the decoder's stack takes differs between interpreters
        raise ValueError
    value: object = json.loads(text.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    if isinstance(value, dict):
        return value
    raise ValueError


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of two values one reader takes the first and another the last.
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


def _no_number(_: str) -> None:
    raise ValueError  # NaN and Infinity are no JSON


def _is_plain(header: dict[str, Any]) -> bool:
    """Whether a header says HS256 and nothing that would have to be understood, such as where a key is found."""
    kind, key_id = header.get("typ", "JWT"), header.get("kid", "")
    return (
        header.keys() <= _HEADER_NAMES
        and header.get("alg") == "HS256"
        and isinstance(kind, str)
        and kind.upper() == "JWT"
        and isinstance(key_id, str)
    )


def _judged(claims: dict[str, Any], unix_time: float) -> Claims | None:
    """Judge what a token says once its signature holds."""
    issuer, subject, grant = claims["iss"], claims.get("sub", ""), claims.get("inference")
    not_before, expires, issued = claims.get("nbf"), claims.get("exp"), claims.get("iat", 0)
    if not isinstance(subject, str) or not isinstance(grant, dict) or grant.get("perform") is not True:
        return None
    if "aud" in claims:  # meant for somebody, and nothing says that it is us (RFC 7519 4.1.3)
        return None
    if not _is_time(not_before) or not _is_time(expires) or not _is_time(issued):
        return None
    if not 0 < expires - not_before <= _LONGEST_LIFE_SECONDS:
        return None
    latest = unix_time + _LEEWAY_SECONDS
    if not_before > latest or issued > latest or expires <= unix_time - _LEEWAY_SECONDS:
        return None
    return Claims(issuer, subject, not_before, expires)


def _is_time(value: object) -> TypeGuard[float]:
    # The bound keeps out infinity and integers too long to calculate with.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
