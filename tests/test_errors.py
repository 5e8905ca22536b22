"""Errors carry what happened, classed once, without anybody's secrets."""

from __future__ import annotations

import copy
import pickle

import pytest

from lkstt_proto.errors import (
    FAILURES,
    AuthError,
    ConnectError,
    ConnectionLost,
    FinalizeTimeout,
    GatewayError,
    InsecureTransport,
    LocalProtocolError,
    OutageExceeded,
    QuotaExceeded,
    RemoteProtocolError,
    Source,
    SttError,
    TlsError,
    UnexpectedRedirect,
    Verdict,
    dial_failure,
    gateway_failure,
    http_failure,
    lost,
    verdict,
)

FAMILY = {
    LocalProtocolError: (SttError, False),
    ConnectError: (SttError, True),
    AuthError: (ConnectError, False),
    QuotaExceeded: (ConnectError, True),
    UnexpectedRedirect: (ConnectError, False),
    TlsError: (ConnectError, False),
    InsecureTransport: (ConnectError, False),
    ConnectionLost: (SttError, True),
    GatewayError: (SttError, True),
    RemoteProtocolError: (SttError, True),
    FinalizeTimeout: (SttError, True),
    OutageExceeded: (SttError, True),
}


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_its_parent_and_default(kind: type[SttError]) -> None:
    parent, retryable = FAMILY[kind]
    error = kind("what happened")
    assert kind.__mro__[1] is parent
    assert error.retryable is retryable
    assert str(error) == "what happened"
    assert (error.phase, error.close_code, error.http_status, error.session_id, error.retry_after) == (
        "",
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 (our own bytes)
def test_errors_copy_and_pickle_with_their_attributes(kind: type[SttError], clone) -> None:
    error = kind("m", phase="connect", close_code=1001, http_status=503, session_id="s", retry_after=2.5)
    error.retryable = not error.retryable
    again = clone(error)
    assert type(again) is kind
    assert str(again) == "m"
    assert vars(again) == vars(error)
    assert again.retryable is error.retryable


def test_a_gateway_error_keeps_its_code_through_pickle() -> None:
    assert GatewayError("m").code == -1
    assert pickle.loads(pickle.dumps(GatewayError("m", code=2007))).code == 2007  # noqa: S301 (our own bytes)


HTTP = {
    -1: (Verdict.TRANSIENT, ConnectError),
    0: (Verdict.TRANSIENT, ConnectError),
    101: (Verdict.PERMANENT, ConnectError),
    103: (Verdict.TRANSIENT, ConnectError),
    200: (Verdict.PERMANENT, ConnectError),
    204: (Verdict.PERMANENT, ConnectError),
    300: (Verdict.PERMANENT, UnexpectedRedirect),
    302: (Verdict.PERMANENT, UnexpectedRedirect),
    399: (Verdict.PERMANENT, UnexpectedRedirect),
    400: (Verdict.PERMANENT, ConnectError),
    401: (Verdict.UNAUTHORIZED, AuthError),
    403: (Verdict.PERMANENT, AuthError),
    404: (Verdict.PERMANENT, ConnectError),
    408: (Verdict.TRANSIENT, ConnectError),
    429: (Verdict.TRANSIENT, QuotaExceeded),
    499: (Verdict.TRANSIENT, ConnectError),
    500: (Verdict.TRANSIENT, ConnectError),
    503: (Verdict.TRANSIENT, ConnectError),
    10**30: (Verdict.TRANSIENT, ConnectError),
}


@pytest.mark.parametrize("status", HTTP)
def test_http_answers_are_classed_by_the_table(status: int) -> None:
    expected, kind = HTTP[status]
    error = http_failure(status, retry_after=7.0)
    assert type(error) is kind
    assert verdict(error) is expected
    assert error.retryable is (expected is Verdict.TRANSIENT)
    assert (error.http_status, error.retry_after, error.phase) == (status, 7.0, "connect")
    assert f"(HTTP {status}): " in str(error)
    assert "\n" not in str(error)


def test_the_refused_token_names_cause_and_cure() -> None:
    assert str(http_failure(401)) == (
        "the gateway refused the token (HTTP 401): check API key and secret, and this computer's clock"
    )


def test_http_detail_is_made_safe() -> None:
    assert str(http_failure(429, detail="token=abc\x1b[2J")).endswith("; it said: token=***[2J")
    assert "; it said: slow\\x1bdown" in str(http_failure(429, detail=" slow\x1bdown "))


GATEWAY = {
    -1: Verdict.TRANSIENT,
    0: Verdict.TRANSIENT,
    400: Verdict.PERMANENT,
    401: Verdict.UNAUTHORIZED,
    403: Verdict.PERMANENT,
    408: Verdict.TRANSIENT,
    429: Verdict.TRANSIENT,
    498: Verdict.PERMANENT,
    499: Verdict.TRANSIENT,
    500: Verdict.TRANSIENT,
    2006: Verdict.TRANSIENT,
    2007: Verdict.PERMANENT,
    2008: Verdict.TRANSIENT,
    -(10**30): Verdict.TRANSIENT,
}


@pytest.mark.parametrize("code", GATEWAY)
def test_gateway_codes_are_classed_by_the_table(code: int) -> None:
    error = gateway_failure(code, "rate limited", session_id="s1")
    assert type(error) is GatewayError
    assert verdict(error) is GATEWAY[code]
    assert error.retryable is (GATEWAY[code] is Verdict.TRANSIENT)
    assert (error.code, error.session_id, error.phase) == (code, "s1", "session")
    assert str(error).endswith("; it said: rate limited")


def test_a_gateway_error_without_a_code_says_so() -> None:
    assert str(gateway_failure(-1, "")) == "the gateway is in trouble (no error code): try again later"


def test_gateway_text_is_escaped_masked_and_cut() -> None:
    text = str(gateway_failure(500, "Bearer abc.def\u202e\ud800" + " x" * 1000))
    assert "Bearer ***\\u202e\\ud800" not in text  # the mask takes the whole run
    assert "abc" not in text
    assert text.endswith("...")
    assert len(text) < 400


def test_every_source_ends_in_a_row_for_everything() -> None:
    for source in Source:
        rows = [row for row in FAILURES if row.source is source]
        assert [(row.first, row.last) for row in rows if row.first is None or row.last is None] == [(None, None)]
        assert rows[-1].first is None


def test_the_table_is_reached_row_by_row() -> None:
    for row in FAILURES:
        number = 599 if row.first is None else row.first
        number = {400: 402, 200: 200, 300: 300}.get(number, number)
        error = http_failure(number) if row.source is Source.HTTP else gateway_failure(number, "", session_id=None)
        assert type(error) is row.error
        assert verdict(error) is row.verdict


def test_a_lost_connection_tells_close_code_and_safe_reason() -> None:
    error = lost(1011, "going\ndown", session_id="s", phase="finalize")
    assert type(error) is ConnectionLost
    assert (error.close_code, error.session_id, error.phase) == (1011, "s", "finalize")
    assert str(error) == ("the connection was lost (close code 1011): check the network; it said: going\\ndown")
    assert verdict(error) is Verdict.TRANSIENT
    assert lost(1006, "").phase == "session"


@pytest.mark.parametrize("kind", [TlsError, InsecureTransport, UnexpectedRedirect, LocalProtocolError])
def test_some_errors_are_permanent_whatever_the_instance_says(kind: type[SttError]) -> None:
    error = kind("m")
    error.retryable = True
    assert verdict(error) is Verdict.PERMANENT


def test_other_verdicts_follow_the_instance() -> None:
    error = ConnectError("m")
    assert verdict(error) is Verdict.TRANSIENT
    error.retryable = False
    assert verdict(error) is Verdict.PERMANENT
    assert verdict(AuthError("m")) is Verdict.PERMANENT
    assert verdict(AuthError("m", http_status=401)) is Verdict.UNAUTHORIZED


def test_a_dial_that_failed_names_where_to_and_why():
    error = dial_failure("http://127.0.0.1:1/v1", "", ConnectionRefusedError(111, "refused\x1b[2J"))
    assert str(error) == (
        "could not connect to http://127.0.0.1:1/v1 (ConnectionRefusedError: [Errno 111] refused\\x1b[2J): "
        "check that the gateway runs there"
    )
    assert (error.phase, error.retryable) == ("connect", True)


def test_a_dial_that_failed_without_an_exception_names_the_reason():
    assert "(reset by peer)" in str(dial_failure("http://localhost/v1", "reset by peer", None))
    assert "(the connection was closed)" in str(dial_failure("http://localhost/v1", "", None))
