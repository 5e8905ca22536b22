"""Seconds handed over, told once."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto.events import RecognitionUsage
from lkstt_proto.ledger import Ledger

RATE = 16000


def test_nothing_handed_over_is_nothing_to_tell() -> None:
    assert Ledger(RATE).report() is None


def test_fresh_and_resent_audio_are_told_apart() -> None:
    ledger = Ledger(RATE)
    ledger.hand_over(800, 800)
    ledger.hand_over(800, 300)
    assert ledger.report() == RecognitionUsage(1100 / RATE, 500 / RATE)


def test_what_was_told_is_not_told_again() -> None:
    ledger = Ledger(RATE)
    ledger.hand_over(800, 800)
    assert ledger.report() == RecognitionUsage(0.05, 0.0)
    assert ledger.report() is None
    ledger.hand_over(800, 0)
    assert ledger.report() == RecognitionUsage(0.0, 0.05)
    assert ledger.report() is None


@given(
    rate=st.sampled_from([8000, 11025, 16000, 48000]),
    steps=st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 5000), st.booleans()), max_size=40),
)
def test_reports_add_up_to_the_sample(rate: int, steps: list[tuple[int, int, bool]]) -> None:
    ledger = Ledger(rate)
    reports = []
    unique = total = 0
    for samples, fresh, ask in steps:
        fresh = min(samples, fresh)
        ledger.hand_over(samples, fresh)
        unique += fresh
        total += samples
        if ask:
            reports.append(ledger.report())
    reports.append(ledger.report())
    told = [report for report in reports if report is not None]
    assert sum(round(Fraction(report.audio_duration) * rate) for report in told) == unique == ledger.unique
    assert sum(round(Fraction(report.resent_duration) * rate) for report in told) == total - unique == ledger.resent
