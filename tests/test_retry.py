"""Failures in a row: what each means, and when to try again (CONTRACT decisions 6 and 7)."""

from __future__ import annotations

import pytest

from lkstt_proto.errors import (
    ConnectError,
    OutageExceeded,
    SttError,
    TlsError,
    dial_failure,
    gateway_failure,
    http_failure,
    lost,
)
from lkstt_proto.options import RetryPolicy
from lkstt_proto.retry import PROOF, Outage

LOST = lost(1006, "")


def outage(**policy: float) -> Outage:
    return Outage(RetryPolicy(**policy))


def delays(failing: Outage, failures: int, *, every: float = 1.0) -> list[float]:
    return [failing.delay for attempt in range(failures) if failing.failed(LOST, attempt * every) == "closed_retry"]


def test_delays_double_up_to_two_seconds() -> None:
    assert delays(outage(), 7) == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_delays_stay_finite_after_any_number_of_failures() -> None:
    assert delays(outage(outage=1e9), 3000)[-1] == 2.0


def test_random_spreads_a_delay_over_its_upper_half() -> None:
    numbers = iter([0.0, 0.5, 0.999])
    failing = Outage(RetryPolicy(), lambda: next(numbers))
    assert delays(failing, 3) == pytest.approx([0.05, 0.15, 0.3998])


def test_retry_after_is_a_floor() -> None:
    failing = outage()
    assert failing.failed(http_failure(503, retry_after=7.0), 0.0) == "closed_retry"
    assert failing.delay == 7.0
    failing.failed(http_failure(503, retry_after=0.0), 1.0)
    assert failing.delay == 0.2


def test_retry_after_is_capped() -> None:
    failing = outage()
    failing.failed(http_failure(429, retry_after=86400.0), 0.0)
    assert failing.delay == 60.0


def test_retry_after_gets_its_attempt_even_past_the_outage() -> None:
    failing = outage()
    failing.failed(LOST, 0.0)
    assert failing.failed(http_failure(429, retry_after=60.0), 59.0) == "closed_retry"
    assert failing.delay == 60.0


def test_an_outage_is_judged_when_an_attempt_fails() -> None:
    failing = outage()
    assert failing.failed(LOST, 100.0) == "closed_retry"
    assert failing.failed(LOST, 159.999) == "closed_retry"
    last = http_failure(503)
    assert failing.failed(last, 160.0) == "closed_fail"
    assert isinstance(failing.fatal, OutageExceeded)
    assert failing.fatal.__cause__ is last
    assert (failing.fatal.http_status, failing.fatal.phase) == (503, "connect")
    assert "60 s" in str(failing.fatal)


def test_no_patience_gives_up_at_the_first_failure() -> None:
    failing = outage(outage=0.0)
    assert failing.failed(LOST, 5.0) == "closed_fail"
    assert isinstance(failing.fatal, OutageExceeded)


@pytest.mark.parametrize(
    "failure",
    [
        *(http_failure(status) for status in (200, 301, 400, 403, 404)),
        *(gateway_failure(code, "") for code in (400, 404, 2007)),
        TlsError("certificate"),
    ],
    ids=str,
)
def test_a_permanent_failure_ends_at_once(failure: SttError) -> None:
    failing = outage()
    assert failing.failed(failure, 0.0) == "closed_fail"
    assert failing.fatal is failure


@pytest.mark.parametrize(
    "failure",
    [
        *(http_failure(status) for status in (408, 429, 499, 500, 503)),
        *(gateway_failure(code, "") for code in (408, 429, 499, 500, -1)),
        *(lost(code, "") for code in (1000, 1001, 1006, 1011, 4000)),
        dial_failure("wss://gateway.example", "", OSError("refused")),
    ],
    ids=str,
)
def test_a_transient_failure_gets_another_attempt(failure: SttError) -> None:
    failing = outage()
    assert failing.failed(failure, 0.0) == "closed_retry"
    assert (failing.fatal, failing.last, failing.failures) == (None, failure, 1)


def test_what_no_attempt_mends_is_judged_before_the_length_of_the_outage() -> None:
    failing = outage(outage=0.0)
    refused = http_failure(403)
    failing.failed(refused, 0.0)
    assert failing.fatal is refused


def test_a_refused_token_gets_one_new_one_at_once() -> None:
    failing = outage()
    assert failing.failed(http_failure(401), 0.0) == "closed_again"
    assert failing.delay == 0.0
    refused = http_failure(401)
    assert failing.failed(refused, 0.1) == "closed_fail"
    assert failing.fatal is refused


def test_an_opening_renews_the_token_attempt() -> None:
    failing = outage()
    failing.failed(http_failure(401), 0.0)
    failing.dialling()
    failing.opened(0.5)
    assert failing.failed(http_failure(401), 1.0) == "closed_again"


def test_a_token_refused_by_error_message_gets_one_new_one_at_once() -> None:
    failing = outage()
    assert failing.failed(gateway_failure(401, ""), 0.0) == "closed_again"
    failing.dialling()
    failing.opened(0.5)
    # The opening proves nothing here: it was not the opening that failed. Else this would go round without a pause.
    assert failing.failed(gateway_failure(401, ""), 1.0) == "closed_fail"


def test_an_acknowledging_final_ends_an_outage_and_renews_everything() -> None:
    failing = outage()
    failing.failed(gateway_failure(401, ""), 0.0)
    failing.works()
    assert (failing.failures, failing.started) == (0, None)
    assert failing.failed(gateway_failure(401, ""), 100.0) == "closed_again"
    assert failing.failures == 1


def test_ten_seconds_of_a_live_session_end_an_outage() -> None:
    failing = outage()
    failing.failed(LOST, 0.0)
    failing.dialling()
    failing.opened(1.0)
    failing.failed(LOST, 1.0 + PROOF)
    assert (failing.failures, failing.started, failing.delay) == (1, 11.0, 0.1)


def test_a_shorter_session_does_not() -> None:
    failing = outage()
    failing.failed(LOST, 0.0)
    failing.dialling()
    failing.opened(1.0)
    failing.failed(LOST, 0.999 + PROOF)
    assert (failing.failures, failing.started) == (2, 0.0)


def test_a_long_dial_is_no_live_session() -> None:
    failing = outage()
    failing.failed(LOST, 0.0)
    failing.dialling()
    failing.opened(1.0)
    failing.failed(LOST, 2.0)
    failing.dialling()
    failing.failed(ConnectError("no connection within 10 s"), 20.0)
    assert (failing.failures, failing.started) == (3, 0.0)


def test_a_session_that_ended_in_silence_counts_as_long_as_it_was_heard() -> None:
    silent, heard = outage(), outage()
    for failing in (silent, heard):
        failing.failed(LOST, 0.0)
        failing.dialling()
        failing.opened(1.0)
    silent.timed_out(10.999)
    silent.failed(LOST, 30.0)
    assert (silent.failures, silent.started) == (2, 0.0)
    heard.timed_out(11.0)
    heard.failed(LOST, 30.0)
    assert (heard.failures, heard.started) == (1, 30.0)
