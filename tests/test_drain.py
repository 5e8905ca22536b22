"""When the end of input is answered (CONTRACT decision 5)."""

from __future__ import annotations

import pytest

from lkstt_proto.drain import Drain
from lkstt_proto.options import Limits

T = 1000.0


def drain(*, finalized: bool = False) -> Drain:
    """Input ended and its finalize sent at T; ``finalized``: acknowledged half a second later."""
    draining = Drain(Limits())
    draining.begin_session()
    draining.end_input(T, 0.0)
    draining.finalize_sent(T)
    if finalized:
        draining.finalized(T + 0.5)
    return draining


def settled(
    draining: Drain, *, speaking: bool = False, acknowledged: bool = False, exactly: bool = False
) -> float | None:
    return draining.settled_at(speaking=speaking, acknowledged=acknowledged, exactly=exactly)


def test_the_deadline_is_thirty_seconds_and_what_was_unsent() -> None:
    assert Drain(Limits()).end_input(T, 12.5) == T + 42.5


def test_nothing_is_settled_before_the_finalize_went_out() -> None:
    draining = Drain(Limits())
    draining.end_input(T, 0.0)
    draining.final_came("words", T)
    assert settled(draining) is None


def test_no_answer_at_all_waits_for_the_deadline() -> None:
    assert settled(drain(), acknowledged=True, exactly=True) is None


def test_an_open_turn_waits_for_the_deadline() -> None:
    draining = drain(finalized=True)
    draining.final_came("words", T + 1)
    assert settled(draining, speaking=True, acknowledged=True, exactly=True) is None


def test_a_final_before_the_end_is_answer_enough_to_be_quiet() -> None:
    draining = Drain(Limits())
    draining.begin_session()
    draining.final_came("words", T - 5)
    draining.end_input(T, 0.0)
    draining.finalize_sent(T)
    assert settled(draining) == T + 3
    assert not draining.acknowledged


def test_a_final_of_the_session_before_is_no_answer() -> None:
    draining = Drain(Limits())
    draining.begin_session()
    draining.final_came("words", T - 5)
    draining.begin_session()
    draining.end_input(T, 0.0)
    draining.finalize_sent(T)
    assert settled(draining) is None


def test_quiet_counts_from_the_last_new_text() -> None:
    draining = drain()
    draining.final_came("one", T + 1)
    assert settled(draining) == T + 4
    draining.interim_came("two", T + 2)
    draining.final_came("two", T + 2.5)
    assert settled(draining) == T + 5.5


def test_quiet_counts_from_the_acknowledgement() -> None:
    assert settled(drain(finalized=True)) == T + 3.5


def test_quiet_counts_only_while_somebody_listens() -> None:
    draining = drain()
    draining.final_came("one", T + 1)
    draining.listen_again(T + 20)
    assert settled(draining) == T + 23
    assert settled(draining, speaking=True) is None


@pytest.mark.parametrize("text", ["", "same"])
def test_empty_or_repeated_interims_extend_nothing(text: str) -> None:
    draining = drain(finalized=True)
    draining.interim_came("same", T + 1)
    for second in range(2, 9):
        draining.interim_came(text, T + second)
    assert settled(draining) == T + 4


def test_an_empty_final_answers_but_extends_nothing() -> None:
    draining = drain()
    draining.final_came("", T + 2)
    assert draining.acknowledged
    assert settled(draining) == T + 3


def test_a_final_after_the_finalize_and_the_acknowledgement_settle_in_a_second() -> None:
    draining = drain(finalized=True)
    draining.final_came("words", T + 2)
    assert settled(draining) == T + 3


def test_the_order_of_final_and_acknowledgement_does_not_matter() -> None:
    draining = drain()
    draining.final_came("words", T + 1)
    draining.finalized(T + 2)
    assert settled(draining) == T + 3


def test_all_acknowledged_by_estimate_settles_a_second_after_the_acknowledgement() -> None:
    assert settled(drain(finalized=True), acknowledged=True) == T + 1.5


def test_all_acknowledged_exactly_settles_with_the_acknowledgement() -> None:
    assert settled(drain(finalized=True), acknowledged=True, exactly=True) == T + 0.5


def test_an_acknowledgement_of_an_earlier_finalize_is_not_this_ones() -> None:
    draining = Drain(Limits())
    draining.begin_session()
    draining.finalized(T - 1)
    draining.end_input(T, 0.0)
    draining.finalize_sent(T)
    assert (draining.finalized_at, draining.acknowledged) == (None, False)


@pytest.mark.parametrize("start", [-1e6, 0.0, 1e9])
def test_any_clock_will_do(start: float) -> None:
    draining = Drain(Limits())
    draining.begin_session()
    draining.end_input(start, 0.0)
    draining.finalize_sent(start)
    draining.final_came("", start + 1)
    assert settled(draining) == start + 3
    draining.finalized(start + 2)
    assert settled(draining) == start + 3


def test_latency_runs_from_the_finalize_to_the_first_final_after_it() -> None:
    draining = Drain(Limits())
    draining.final_came("before", T - 1)
    assert draining.latency is None
    draining.finalize_sent(T)
    draining.final_came("first", T + 0.5)
    draining.final_came("second", T + 1)
    assert draining.latency == 0.5


# A second session.


def resumed() -> Drain:
    draining = drain()
    draining.begin_session()
    draining.finalize_sent(T + 5)
    return draining


def test_a_new_session_starts_without_answers() -> None:
    draining = drain(finalized=True)
    draining.final_came("words", T + 1)
    draining.begin_session()
    assert (draining.finalize_at, draining.finalized_at, draining.acknowledged) == (None, None, False)


def test_a_first_session_is_never_barren() -> None:
    assert not drain().barren


def test_a_second_session_without_text_or_acknowledgement_is_barren() -> None:
    draining = resumed()
    draining.interim_came("", T + 6)
    draining.final_came("", T + 7)
    assert draining.barren


def test_a_second_session_that_was_not_asked_yet_is_not_barren() -> None:
    draining = drain()
    draining.begin_session()
    assert not draining.barren


def test_text_or_acknowledgement_make_a_second_session_fruitful() -> None:
    by_interim, by_final, by_acknowledgement = resumed(), resumed(), resumed()
    by_interim.interim_came("words", T + 6)
    by_final.final_came("words", T + 6)
    by_acknowledgement.fruitful = True
    assert not any(draining.barren for draining in (by_interim, by_final, by_acknowledgement))


def test_the_tail_that_is_heard_again_is_text_of_the_second_session() -> None:
    draining = drain()
    draining.interim_came("words", T + 1)
    draining.begin_session()
    draining.finalize_sent(T + 5)
    draining.interim_came("words", T + 6)
    assert not draining.barren


def test_text_does_not_show_in_a_repr() -> None:
    draining = drain()
    draining.final_came("correct horse", T)
    assert "correct horse" not in repr(draining)
