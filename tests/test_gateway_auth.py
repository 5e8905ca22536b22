"""Who may use the gateway, and where it may listen."""

from __future__ import annotations

import pytest

from lkstt_proto.errors import AuthError, InsecureTransport, LocalProtocolError
from lkstt_proto.handshake import mint_token
from lkstt_proto.secrecy import Secret
from lkstt_transports.gateway.auth import (
    authenticate,
    check_exposure,
    is_loopback,
    new_credentials,
    wrap_secrets,
)

NOW = 1_700_000_000.0
KEY, SECRET = "APIfirst", "first-secret-of-more-than-32-bytes"
SECRETS = {KEY: Secret(SECRET), "APIsecond": Secret("second-secret-of-more-than-32-bytes")}


def test_a_token_of_a_known_key_is_accepted_whatever_the_case_of_the_scheme() -> None:
    token = mint_token(KEY, SECRET, NOW)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert authenticate([f"{scheme} {token}"], SECRETS, NOW).issuer == KEY


def test_every_refusal_has_the_same_words() -> None:
    good = mint_token(KEY, SECRET, NOW)
    refused = {
        "none": [],
        "empty": [""],
        "no scheme": [good],
        "another scheme": [f"Basic {good}"],
        "no token": ["Bearer"],
        "two headers": [f"Bearer {good}", f"Bearer {good}"],
        "not a token": ["Bearer abc"],
        "wrong secret": [f"Bearer {mint_token(KEY, 'another-secret-of-more-than-32-bytes', NOW)}"],
        "unknown key": [f"Bearer {mint_token('APIthird', SECRET, NOW)}"],
        "expired": [f"Bearer {mint_token(KEY, SECRET, NOW - 3600)}"],
    }
    words = set()
    for headers in refused.values():
        with pytest.raises(AuthError) as caught:
            authenticate(headers, SECRETS, NOW)
        assert caught.value.http_status == 401
        words.add(str(caught.value))
    assert len(words) == 1


def test_new_credentials_differ_and_are_long_enough_for_any_network() -> None:
    (key, secret), (other_key, other_secret) = new_credentials(), new_credentials()
    assert key != other_key
    assert secret != other_secret
    assert key.startswith("API")
    check_exposure("0.0.0.0", {key: secret}, tls=True, allow_insecure=False)  # noqa: S104 (nothing listens)


def test_secrets_are_wrapped_so_that_they_do_not_show() -> None:
    wrapped = wrap_secrets({"a": "plain", "b": Secret("already")})
    assert {key: value.reveal() for key, value in wrapped.items()} == {"a": "plain", "b": "already"}
    assert "plain" not in repr(wrapped)


@pytest.mark.parametrize("secrets", [{}, {"": "secret"}, {"key": ""}, {"key": Secret("")}])
def test_empty_secrets_are_a_mistake(secrets: dict[str, str | Secret]) -> None:
    with pytest.raises(LocalProtocolError, match="at least one API key"):
        wrap_secrets(secrets)


def test_loopback_is_told_from_everything_else() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.2", "example.org", "")))  # noqa: S104 (nothing listens)


def test_on_loopback_any_secret_will_do() -> None:
    check_exposure("127.0.0.1", {"key": Secret("s")}, tls=False, allow_insecure=False)


def test_plaintext_beyond_this_computer_needs_an_explicit_word() -> None:
    with pytest.raises(InsecureTransport, match="certificate"):
        check_exposure("192.0.2.1", SECRETS, tls=False, allow_insecure=False)
    check_exposure("192.0.2.1", SECRETS, tls=False, allow_insecure=True)
    check_exposure("192.0.2.1", SECRETS, tls=True, allow_insecure=False)


def test_beyond_this_computer_every_secret_has_at_least_32_bytes() -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes") as caught:
        check_exposure("192.0.2.1", {**SECRETS, "weak": Secret("s" * 31)}, tls=True, allow_insecure=False)
    assert "s" * 31 not in str(caught.value)
    check_exposure("192.0.2.1", {"enough": Secret("s" * 32)}, tls=True, allow_insecure=False)
