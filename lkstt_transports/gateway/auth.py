"""Who may use the gateway, and where it may listen (PROTOCOL 1.4, 4.6)."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from lkstt_proto.errors import InsecureTransport, LocalProtocolError
from lkstt_proto.handshake import Claims, verify_token
from lkstt_proto.secrecy import Secret, discreet

# Off this computer a secret must not be guessable: as many bytes as the signature has (RFC 7518 3.2).
LONG_SECRET_BYTES = 32


def new_credentials() -> tuple[str, Secret]:
    """Make an API key and its secret, shaped like LiveKit's own."""
    return f"API{randomness.token_hex(6)}", Secret(randomness.token_urlsafe(LONG_SECRET_BYTES))


@discreet
def authenticate(authorization: Sequence[str], secrets: Mapping[str, Secret], unix_time: float) -> Claims:
    """Verify the token in a request's `Authorization` headers, of which there must be one: `Bearer` and a JWT.

    Raises AuthError with HTTP status 401, in the same words whatever was wrong.
    """
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    # What is no bearer token is verified nevertheless: it fails in the same words as a bad one.
    return verify_token(token.lstrip(" ") if scheme.lower() == "bearer" else "", secrets, unix_time)


@discreet
def wrap_secrets(secrets: Mapping[str, str | Secret]) -> dict[str, Secret]:
    """Wrap the secrets by API key. Raises LocalProtocolError when there is none, or an empty key or secret."""
    wrapped = {key: value if isinstance(value, Secret) else Secret(value) for key, value in secrets.items()}
    if not wrapped or not all(wrapped) or not all(wrapped.values()):
        raise LocalProtocolError("secrets needs at least one API key with its secret, none empty", phase="configure")
    return wrapped


def is_loopback(host: str) -> bool:
    """Whether listening on `host`, a literal address or `localhost`, reaches this computer only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, secrets: Mapping[str, Secret], *, tls: bool, allow_insecure: bool) -> None:
    """Refuse to listen where others can listen in, or guess.

    Off this computer there must be TLS, or an explicit word that the network is trusted, and secrets of 32 bytes.
    Raises InsecureTransport or LocalProtocolError.
    """
    if is_loopback(host):
        return
    if not tls and not allow_insecure:
        raise InsecureTransport(
            "listening beyond this computer in plaintext would show tokens and audio to the network: give a "
            "certificate, or pass allow_insecure=True if that network is trusted",
            phase="configure",
        )
    if any(len(secret.reveal().encode()) < LONG_SECRET_BYTES for secret in secrets.values()):
        raise LocalProtocolError(
            f"listening beyond this computer needs secrets of at least {LONG_SECRET_BYTES} bytes: shorter ones can be "
            "guessed from a single token",
            phase="configure",
        )
