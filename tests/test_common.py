"""What a connector has to tell."""

from __future__ import annotations

from ssl import CERT_NONE, create_default_context

import pytest

from lkstt_proto import InsecureTransport, Limits, LocalProtocolError
from lkstt_transports.common import (
    UpgradeRefused,
    closing_facts,
    environment_proxy,
    largest_message,
    proxy_for,
    refusal_detail,
    retry_after_seconds,
    text_of,
    tls_error,
    usable_proxy,
    verifying,
)

YEAR = 365 * 86_400.0
NOON = 1_700_049_600.0  # Wed, 15 Nov 2023 12:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Wed, 15 Nov 2023 12:01:30 GMT", 90.0),
        ("Wed, 15 Nov 2023 11:00:00 GMT", 0.0),
        ("9" * 400, YEAR),
        ("Fri, 31 Dec 9999 23:59:59 GMT", YEAR),
        ("Mon, 01 Jan 0001 00:00:00 +0000", 0.0),
        ("Wed, 15 Nov 2023 12:00:00 +99999999", None),
        ("nan", None),
        ("inf", None),
        ("-3", None),
        ("1.5", None),
        ("\u00b2", None),
        ("soon", None),
        ("Wed, 99 Nov 2023 12:00:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOON) == seconds


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"hint": "wait", "message": "no"}', "wait"),
        (b'{"message": "no", "error": 3}', "no"),
        (b'{"hint": 1, "error": "bad"}', "bad"),
        (b'{"type": "x"}', ""),
        (b'["hint"]', ""),
        (b"<html>", ""),
        (b"\xff", ""),
        (b"", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_a_refusal_has_a_sentence_or_none(body: bytes, detail: str) -> None:
    assert refusal_detail(body) == detail


def test_an_http_answer_becomes_facts_and_anything_else_stays_an_error() -> None:
    assert closing_facts(UpgradeRefused(429, 3.0, "wait")) == {"http_status": 429, "retry_after": 3.0, "reason": "wait"}
    error = OSError("gone")
    assert closing_facts(error) == {"error": error}


def test_a_certificate_error_says_why_and_what_to_do() -> None:
    error = tls_error("self-signed\ncertificate")
    assert "self-signed\\ncertificate" in str(error)
    assert "SSLContext" in str(error)
    assert not error.retryable


def test_more_than_the_core_takes_is_let_through() -> None:
    assert largest_message(Limits(message=1000)) > 1000


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_the_proxy_is_for_tls_and_for_hosts_not_excepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(other, raising=False)
    assert environment_proxy("wss://gateway.example/v1/stt") is None
    monkeypatch.setenv(name, "http://proxy.example:3128")
    assert environment_proxy("wss://gateway.example/v1/stt") == "http://proxy.example:3128"
    assert environment_proxy("ws://127.0.0.1:8080/v1/stt") is None
    monkeypatch.setenv("NO_PROXY", "other.example, gateway.example")
    assert environment_proxy("wss://gateway.example/v1/stt") is None
    assert environment_proxy("wss://third.example/v1/stt") == "http://proxy.example:3128"


def test_a_proxy_that_is_given_comes_first_and_sees_no_plaintext(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", "gateway.example")
    assert proxy_for("wss://gateway.example/v1/stt", "http://mine.example") == "http://mine.example"
    assert proxy_for("wss://gateway.example/v1/stt", None) is None
    assert proxy_for("wss://third.example/v1/stt", "") == "http://proxy.example"
    assert proxy_for("ws://127.0.0.1/v1/stt", None) is None
    for url in ("ws://127.0.0.1/v1/stt", "ws://gateway.example/v1/stt"):
        with pytest.raises(InsecureTransport, match="https://") as caught:
            proxy_for(url, "http://user:word@mine.example")
        assert "word" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://proxy:1", "socks5://proxy", "proxy:3128", "http://", "http://a:99999", ""])
def test_a_proxy_that_cannot_be_used_is_told_without_being_shown(url: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        usable_proxy(url.replace("proxy", "user:word@proxy"))
    assert "word" not in str(caught.value)


def test_a_proxy_that_can_be_used_is() -> None:
    assert usable_proxy("http://user:word@proxy.example") == "http://user:word@proxy.example"


def test_a_context_has_to_verify() -> None:
    context = create_default_context()
    assert verifying(context) is context
    assert verifying(None) is None
    context.check_hostname = False
    with pytest.raises(LocalProtocolError):
        verifying(context)
    context.verify_mode = CERT_NONE
    with pytest.raises(LocalProtocolError):
        verifying(context)


def test_of_a_group_the_error_that_tells_most_counts() -> None:
    refused = UpgradeRefused(429, 7.0, "later")
    group = ExceptionGroup("outer", [OSError("pipe"), ExceptionGroup("inner", [ValueError(), refused])])
    assert closing_facts(group) == {"http_status": 429, "retry_after": 7.0, "reason": "later"}
    pipe = OSError("pipe")
    assert closing_facts(ExceptionGroup("outer", [pipe, ValueError()])) == {"error": pipe}


def test_a_text_comes_as_text_unless_it_would_take_four_times_as_much() -> None:
    for text in ("", "é", "a" * 200_000, "é" * 30_000):
        assert text_of(text.encode()) == text
    large = ("\U0001f600" + "a" * 199_999 + "é").encode()
    assert text_of(large) is large
    for bad in (b"\xff", large + b"\xff", large[:-1], b"\xed\xa0\x80" + large, large[:65_530] + b"\xc3" * 9 + large):
        with pytest.raises(UnicodeDecodeError):
            text_of(bad)
