"""The upgrade request carries a fresh token and no secret in its URL; the gateway's side verifies it."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import math
import warnings
from typing import Any

import jwt
import pytest
from jwt.algorithms import HMACAlgorithm

from lkstt_proto.errors import AuthError, LocalProtocolError
from lkstt_proto.handshake import (
    STAGING_BASE_URL,
    Claims,
    Request,
    build_request,
    mint_token,
    resolve_base_url,
    resolve_credentials,
    verify_token,
)
from lkstt_proto.options import DEFAULT_BASE_URL, STTOptions
from lkstt_proto.secrecy import Secret
from lkstt_proto.version import VERSION

NOW = 1_800_000_000.75
SECRET = "a secret of more than thirty-two bytes"
SECRETS = {"APIkey": Secret(SECRET), "devkey": "secret", "emptykey": ""}


def options(model: str | None = "deepgram/nova-3", **kwargs: Any) -> STTOptions:
    return STTOptions(model, api_key="APIkey", api_secret=SECRET, **kwargs)


def claims_of(**changes: Any) -> dict[str, Any]:
    claims = {"iss": "APIkey", "sub": "agent", "nbf": NOW, "exp": NOW + 600, "inference": {"perform": True}}
    return {key: value for key, value in (claims | changes).items() if value is not ...}


def segment(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def forged(payload: bytes | dict[str, Any], header: bytes | dict[str, Any] | None = None, secret: str = SECRET) -> str:
    """Sign anything by hand, also what no library would."""
    if header is None:
        header = {"alg": "HS256", "typ": "JWT"}
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signed = ".".join(segment(part) for part in parts)
    return f"{signed}.{segment(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


# C12: URL


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("http://localhost:8080/v1", "ws://localhost:8080/v1/stt"),
        ("https://h/v1", "wss://h/v1/stt"),
        ("wss://h/v1", "wss://h/v1/stt"),
        ("ws://127.0.0.1", "ws://127.0.0.1/stt"),
        ("https://h/v1/", "wss://h/v1/stt"),
        ("https://http.example/http", "wss://http.example/http/stt"),
    ],
)
def test_the_url_is_rewritten_for_websockets(base_url: str, expected: str) -> None:
    assert build_request(options(base_url=base_url), NOW).url == expected + "?model=deepgram%2Fnova-3"


@pytest.mark.parametrize(
    ("model", "query"),
    [
        ("deepgram/nova-3:en", "?model=deepgram%2Fnova-3"),
        ("a&b#c=d e/é", "?model=a%26b%23c%3Dd%20e%2F%C3%A9"),
        ("auto", ""),
        (None, ""),
    ],
)
def test_the_model_is_percent_encoded_or_left_out(model: str | None, query: str) -> None:
    assert build_request(options(model), NOW).url == "wss://agent-gateway.livekit.cloud/v1/stt" + query


# Headers


def test_headers_end_with_the_token_and_cannot_replace_it() -> None:
    request = build_request(options(headers=[("X-A", "1"), ("aUTHORIZATION", "Bearer mine"), ("X-A", "2")]), NOW)
    token = mint_token("APIkey", SECRET, NOW)
    assert request.headers == (
        ("User-Agent", f"lkstt/{VERSION}"),
        ("X-A", "1"),
        ("X-A", "2"),
        ("Authorization", f"Bearer {token}"),
    )


def test_a_user_agent_of_the_users_own_is_kept() -> None:
    request = build_request(options(headers={"user-agent": "mine/1"}), NOW)
    assert [name for name, _ in request.headers] == ["user-agent", "Authorization"]


def test_a_request_shows_no_token() -> None:
    request = build_request(options(headers={"X-Worker": "hunter2"}), NOW)
    assert repr(request) == (
        "Request(url='wss://agent-gateway.livekit.cloud/v1/stt?model=deepgram%2Fnova-3',"
        " headers=<User-Agent, X-Worker, Authorization>)"
    )
    assert "eyJ" not in request.url
    assert copy.copy(request) == request == Request(request.url, request.headers)


@pytest.mark.parametrize("given", [{}, {"api_key": "APIkey"}, {"api_secret": SECRET}])
def test_missing_credentials_name_the_variables_to_set(given: dict[str, str]) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        build_request(STTOptions(**given), NOW)
    for name in (
        "api_key and api_secret",
        "LIVEKIT_INFERENCE_API_KEY and LIVEKIT_INFERENCE_API_SECRET",
        "LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
    ):
        assert name in str(caught.value)
    assert SECRET not in str(caught.value)


# C13: token


def test_a_token_has_exactly_five_claims() -> None:
    token = mint_token("APIkey", SECRET, NOW)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False})
    assert claims == {
        "iss": "APIkey",
        "sub": "agent",
        "nbf": 1_799_999_990,
        "exp": 1_800_000_600,
        "inference": {"perform": True},
    }
    assert type(claims["nbf"]) is type(claims["exp"]) is int


def test_the_same_second_gives_the_same_token() -> None:
    assert mint_token("APIkey", SECRET, 5.0) == mint_token("APIkey", SECRET, 5.9) != mint_token("APIkey", SECRET, 6.0)


def test_a_short_secret_signs_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token = mint_token("devkey", "secret", NOW)
        assert verify_token(token, SECRETS, NOW).issuer == "devkey"


@pytest.mark.parametrize(
    "secret", ["", "hunter2\ud800", "-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----"]
)
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(LocalProtocolError, match="api_secret") as caught:
        mint_token("APIkey", secret, NOW)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


# Verification


def test_our_own_token_is_verified() -> None:
    token = mint_token("APIkey", SECRET, NOW)
    expected = Claims("APIkey", "agent", 1_799_999_990, 1_800_000_600)
    assert verify_token(token, SECRETS, NOW) == expected
    assert verify_token(token.encode(), SECRETS, NOW) == expected


@pytest.mark.parametrize(
    "token",
    [
        forged(claims_of(), {"alg": "HS256"}),
        forged(claims_of(sub=...)),
        forged(claims_of(nbf=NOW + 59)),
        forged(claims_of(nbf=NOW - 600, exp=NOW - 59)),
        forged(claims_of(nbf=NOW, exp=NOW + 24 * 3600)),
        forged(claims_of(iat=NOW + 59, jti=[], video={}, inference={"perform": True, "more": 1})),
    ],
)
def test_tokens_within_the_rules_are_accepted(token: str) -> None:
    assert verify_token(token, SECRETS, NOW).issuer == "APIkey"


def swapped_payload() -> str:
    header, _, signature = forged(claims_of()).split(".")
    return f"{header}.{segment(json.dumps(claims_of(exp=NOW + 601)).encode())}.{signature}"


REFUSED = {
    "nothing": "",
    "no token": "x.y.z",
    "no text": None,
    "a lone surrogate": "\ud800",
    "bytes that are no text": b"\xff.\xff.\xff",
    "too long": forged(claims_of(padding="x" * 8192)),
    "unsigned": forged(claims_of()).rpartition(".")[0] + ".",
    "alg none": jwt.encode(claims_of(), None, algorithm="none"),
    "alg HS512": jwt.encode(claims_of(), SECRET * 2, algorithm="HS512"),
    "alg absent": forged(claims_of(), {"typ": "JWT"}),
    "alg misspelt": forged(claims_of(), {"alg": "hs256"}),
    "crit": forged(claims_of(), {"alg": "HS256", "crit": ["exp"]}),
    "crit empty": forged(claims_of(), {"alg": "HS256", "crit": []}),
    "b64": forged(claims_of(), {"alg": "HS256", "b64": False}),
    "header no object": forged(claims_of(), b"[]"),
    "header nested": forged(claims_of(), b"[" * 3000),
    "wrong secret": forged(claims_of(), secret="another"),
    "swapped payload": swapped_payload(),
    "unknown key": forged(claims_of(iss="somebody")),
    "unknown key signed with the text for nobody": forged(
        claims_of(iss="somebody"), secret="there is no such API key, and no token is accepted for it"
    ),
    "key with an empty secret": forged(claims_of(iss="emptykey"), secret=""),
    "two spellings": forged(claims_of()) + "=",
    "bits left over": forged(claims_of())[:-1] + "_",
    "said twice": forged(b'{"iss":"APIkey","iss":"APIkey"}'),
    "meant for another": forged(claims_of(aud="another")),
    "iat to come": forged(claims_of(iat=NOW + 61)),
    "typ of another kind": forged(claims_of(), {"alg": "HS256", "typ": "JWE"}),
    "kid no text": forged(claims_of(), {"alg": "HS256", "kid": 1}),
    "iss absent": forged(claims_of(iss=...)),
    "iss no text": forged(claims_of(iss=["APIkey"])),
    "payload no object": forged(b"[]"),
    "payload no JSON": forged(b"{"),
    "payload no UTF-8": forged(b"\xff"),
    "payload nested": forged(b"[" * 4000),
    "payload with endless number": forged(b'{"iss":"APIkey","exp":' + b"9" * 4400 + b"}"),
    "sub no text": forged(claims_of(sub=3)),
    "inference absent": forged(claims_of(inference=...)),
    "inference no object": forged(claims_of(inference=True)),
    "perform absent": forged(claims_of(inference={})),
    "perform false": forged(claims_of(inference={"perform": False})),
    "perform one": forged(claims_of(inference={"perform": 1})),
    "exp absent": forged(claims_of(exp=...)),
    "exp text": forged(claims_of(exp="1800000600")),
    "exp true": forged(claims_of(exp=True)),
    "exp NaN": forged(claims_of(exp=math.nan)),
    "exp infinite": forged(claims_of(exp=math.inf)),
    "exp huge": forged(claims_of(exp=10**4000)),
    "exp passed": forged(claims_of(nbf=NOW - 600, exp=NOW - 60)),
    "nbf absent": forged(claims_of(nbf=...)),
    "nbf negative": forged(claims_of(nbf=-1)),
    "nbf to come": forged(claims_of(nbf=NOW + 60.5)),
    "lives too long": forged(claims_of(exp=NOW + 24 * 3600 + 1)),
    "ends before it begins": forged(claims_of(nbf=NOW + 30, exp=NOW + 30)),
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_every_other_token_gets_the_same_answer(token: Any) -> None:
    with pytest.raises(AuthError) as caught:
        verify_token(token, SECRETS, NOW)
    error = caught.value
    assert str(error) == "the token is not valid: check API key and secret, and the clocks of both computers"
    assert (error.http_status, error.phase, error.__cause__, error.__context__) == (401, "connect", None, None)


@pytest.mark.parametrize("issuer", ["APIkey", "somebody"])
def test_unknown_keys_are_checked_like_wrong_secrets(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    original = HMACAlgorithm.verify

    def verify(self: HMACAlgorithm, signed: bytes, key: bytes, signature: bytes) -> bool:
        verified.append(signed)
        return original(self, signed, key, signature)

    monkeypatch.setattr(HMACAlgorithm, "verify", verify)
    token = forged(claims_of(iss=issuer), secret="wrong")
    with pytest.raises(AuthError):
        verify_token(token, SECRETS, NOW)
    assert verified == [token.rpartition(".")[0].encode()]


# C14 and decision 11: where credentials and URL come from


@pytest.mark.parametrize(
    ("environ", "arguments", "expected"),
    [
        ({}, (), None),
        ({}, ("k", "s"), ("k", "s")),
        ({}, (Secret("k"), Secret("s")), ("k", "s")),
        ({"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, (), ("k", "s")),
        ({"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, ("a", "b"), ("a", "b")),
        ({"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, ("", ""), ("k", "s")),
        ({"LIVEKIT_API_KEY": "k"}, (), None),
        (
            {
                "LIVEKIT_INFERENCE_API_KEY": "ik",
                "LIVEKIT_INFERENCE_API_SECRET": "is",
                "LIVEKIT_API_KEY": "k",
                "LIVEKIT_API_SECRET": "s",
            },
            (),
            ("ik", "is"),
        ),
        ({"LIVEKIT_INFERENCE_API_KEY": "", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, (), ("k", "s")),
        ({"LIVEKIT_INFERENCE_API_KEY": "ik", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, (), ("k", "s")),
    ],
)
def test_credentials_come_from_one_pair(environ: dict[str, str], arguments: tuple[Any, ...], expected: Any) -> None:
    assert resolve_credentials(environ, *arguments) == (expected and (Secret(expected[0]), Secret(expected[1])))


@pytest.mark.parametrize("arguments", [("k", None), (None, "s"), ("k", ""), (Secret(""), Secret("s"))])
def test_one_credential_alone_is_a_mistake(arguments: tuple[Any, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="together"):
        resolve_credentials({"LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}, *arguments)


@pytest.mark.parametrize(
    ("environ", "argument", "expected"),
    [
        ({}, None, DEFAULT_BASE_URL),
        ({}, "", DEFAULT_BASE_URL),
        ({"LIVEKIT_INFERENCE_URL": ""}, None, DEFAULT_BASE_URL),
        ({"LIVEKIT_INFERENCE_URL": "https://i"}, None, "https://i"),
        ({"LIVEKIT_INFERENCE_URL": "https://i"}, "https://a", "https://a"),
        ({"LIVEKIT_URL": "wss://p.staging.livekit.cloud"}, None, STAGING_BASE_URL),
        ({"LIVEKIT_URL": "wss://p.staging.livekit.cloud", "LIVEKIT_INFERENCE_URL": "https://i"}, None, "https://i"),
        ({"LIVEKIT_URL": "wss://p.livekit.cloud"}, None, DEFAULT_BASE_URL),
    ],
)
def test_the_gateway_is_chosen_in_order(environ: dict[str, str], argument: str | None, expected: str) -> None:
    assert resolve_base_url(environ, argument) == expected
