"""Whatever may stand in an Authorization header."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from lkstt_proto import AuthError
from lkstt_proto.handshake import Claims, mint_token, verify_token
from tests.soundness import Unsound, check

from ..mutator import Mutator
from ..target import Target
from ..work import bounded

KEY, SECRET = "APIfuzzingkey", "a secret of at least thirty-two characters"
OTHER_KEY, OTHER_SECRET = "APIother", "another secret of more than thirty-two characters"
EMPTY_KEY = "APIempty"
SECRETS = {KEY: SECRET, OTHER_KEY: OTHER_SECRET, EMPTY_KEY: ""}
NOW = 1_700_000_000.0
SEPARATOR = b"\0"

LEEWAY, LONGEST_LIFE, LONGEST_TOKEN = 60, 24 * 60 * 60, 8192
CALLS, CALLS_PER_BYTE = 20_000, 20  # the first token of a process brings the library that reads it

NOBODYS_SECRETS = ("", "there is no such API key, and no token is accepted for it", "secret", OTHER_SECRET)


def run(data: bytes) -> str:
    """The first byte says what the rest is: a token as it is, or its parts to be signed by this or that."""
    how, rest = data[:1], data[1:]
    token = _token(how[0] if how else 0, rest)
    with bounded(CALLS + CALLS_PER_BYTE * len(data)):
        claims = verify_token(token, SECRETS, NOW)
    _judge(token, claims)
    return f"{type(claims.not_before)} {type(claims.expires)} {claims.subject}"


def _token(how: int, rest: bytes) -> str | bytes:
    if how % 4 == 0:
        return rest
    if how % 4 == 1:
        return rest.decode("utf-8", "surrogateescape")
    header, _, claims = rest.partition(SEPARATOR)
    signed = _base64url(header) + b"." + _base64url(claims)
    secret = SECRET if how % 4 == 2 else NOBODYS_SECRETS[how >> 2 & 3]
    return signed + b"." + _base64url(hmac.digest(secret.encode(), signed, hashlib.sha256))


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _from_base64url(part: str) -> bytes:
    """Decode by the letter of RFC 7515: its alphabet, no padding, no bits left over."""
    raw = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    check(_base64url(raw).decode() == part, "an accepted token is written in one way only")
    return raw


def _judge(token: str | bytes, claims: Claims) -> None:
    """Check an accepted token without any library for tokens."""
    text = token.decode("ascii") if isinstance(token, bytes) else token
    check(len(text) <= LONGEST_TOKEN, f"an accepted token has at most {LONGEST_TOKEN} characters")
    parts = text.split(".")
    check(len(parts) == 3, "an accepted token has three parts")
    header = _object(_from_base64url(parts[0]))
    payload = _object(_from_base64url(parts[1]))
    secret = SECRETS.get(payload.get("iss"), "")
    check(secret, "an accepted token is of a known issuer")
    signature = hmac.digest(secret.encode(), f"{parts[0]}.{parts[1]}".encode(), hashlib.sha256)
    check(_from_base64url(parts[2]) == signature, "an accepted token is signed by its issuer's secret")
    check(header.get("alg") == "HS256" and "crit" not in header, "an accepted token is of the one kind there is")
    check(type(payload.get("inference")) is dict, "an accepted token has a grant")
    check(payload["inference"].get("perform") is True, "an accepted token has the grant to perform")
    begins, ends = payload.get("nbf"), payload.get("exp")
    for time in (begins, ends):
        check(type(time) in (int, float) and 0 <= time < 2**53, "an accepted token's times are times")
    check(0 < ends - begins <= LONGEST_LIFE, "an accepted token lives for a day at the most")
    check(begins - LEEWAY <= NOW < ends + LEEWAY, "an accepted token is of the present")
    check(
        (claims.issuer, claims.not_before, claims.expires) == (payload["iss"], begins, ends)
        and claims.subject == payload.get("sub", ""),
        "what was accepted is what the token says",
    )
    check("aud" not in payload, "an accepted token is meant for nobody else")
    check(type(claims.subject) is str, "the subject is a text")


def _object(raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check(len(dict(pairs)) == len(pairs), "an accepted token says nothing twice")
        return dict(pairs)

    try:
        value = json.loads(raw.decode(), object_pairs_hook=unique)
    except UnicodeDecodeError:
        raise Unsound("an accepted token is UTF-8") from None
    check(type(value) is dict, "an accepted token's parts are objects")
    return dict(value)


HEADER = {"alg": "HS256", "typ": "JWT"}
CLAIMS: dict[str, Any] = {
    "iss": KEY,
    "sub": "agent",
    "nbf": int(NOW) - 10,
    "exp": int(NOW) + 600,
    "inference": {"perform": True},
}


def seeds() -> Iterable[bytes]:
    """A valid token, the same by its parts, and one of each that has to be refused."""
    valid = mint_token(KEY, SECRET, NOW).encode()
    yield b"\0" + valid
    yield b"\x01" + valid
    claims = json.dumps(CLAIMS).encode()
    for header in (HEADER, {"alg": "HS256"}, {"alg": "none"}, {"alg": "HS512"}, {**HEADER, "crit": ["exp"]}):
        for how in (2, 3, 7, 11, 15):
            yield bytes([how]) + json.dumps(header).encode() + SEPARATOR + claims
    for changed in (
        {"iss": OTHER_KEY},
        {"iss": EMPTY_KEY},
        {"iss": "APIunknown"},
        {"inference": {"perform": 1}},
        {"exp": int(NOW) - 70},
        {"nbf": int(NOW) + 70},
        {"exp": int(NOW) + LONGEST_LIFE},
        {"exp": NOW + 5.5, "sub": None},
    ):
        for how in (2, 3, 15):
            yield bytes([how]) + json.dumps(HEADER).encode() + SEPARATOR + json.dumps({**CLAIMS, **changed}).encode()


TARGET = Target(
    "token",
    run,
    permitted=(AuthError,),
    seeds=seeds,
    mutate=Mutator(
        separator=SEPARATOR,
        head=1,
        tokens=[
            b".",
            b"=",
            b"eyJhbGciOiJub25lIn0",
            b'"crit":["exp"]',
            b'"alg":"none"',
            b'"b64":false',
            b"\n",
            b"\\u0061",
        ],
        longest=12_000,
    ),
)
