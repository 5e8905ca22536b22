"""Is anybody there? In virtual time, with the figures of the contract."""

from __future__ import annotations

import pytest

from lkstt_proto.liveness import Liveness
from lkstt_proto.options import Limits

RATE = 16000


def opened(now: float = 0.0) -> Liveness:
    liveness = Liveness(Limits(), RATE)
    liveness.begin(now)
    return liveness


def test_silence_asks_after_the_ping_interval() -> None:
    liveness = opened(100.0)
    assert liveness.deadline() == 103.0
    assert liveness.expire(103.0) is False
    assert liveness.due
    assert liveness.deadline() is None


def test_inbound_traffic_puts_the_question_off() -> None:
    liveness = opened(100.0)
    liveness.heard = 102.0
    assert liveness.deadline() == 105.0


def test_an_idle_link_is_lost_six_seconds_after_the_last_inbound() -> None:
    liveness = opened(100.0)
    liveness.expire(103.0)
    liveness.take_ping(103.0, 0)
    assert (liveness.due, liveness.deadline()) == (False, 106.0)
    assert liveness.expire(106.0) is True


def test_a_live_microphone_is_lost_nine_seconds_after_the_last_inbound() -> None:
    liveness = opened(0.0)
    assert liveness.ask_at > 3 * RATE - 1
    assert liveness.ask_at <= 3 * RATE
    liveness.take_ping(3.0, 3 * RATE)
    # 3 s unconfirmed when it was taken, and 3 s of patience.
    assert liveness.deadline() == 9.0
    assert liveness.expire(9.0) is True


def test_patience_counts_from_the_later_of_ping_and_last_inbound() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, RATE)
    assert liveness.deadline() == 7.0
    liveness.heard = 5.0
    assert liveness.deadline() == 9.0


def test_a_pong_confirms_the_audio_sent_before_its_ping() -> None:
    liveness = opened(0.0)
    assert liveness.allowed == 10 * RATE
    liveness.take_ping(3.0, 3 * RATE)
    liveness.answered()
    assert (liveness.asked, liveness.confirmed, liveness.allowed) == (None, 3 * RATE, 13 * RATE)


def test_one_ping_is_on_its_way_at_a_time() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, 3 * RATE)
    assert liveness.ask_at > 9 * RATE
    liveness.answered()
    assert liveness.ask_at <= 9 * RATE


def test_a_pong_that_nobody_asked_for_confirms_nothing() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, RATE)
    liveness.answered()
    liveness.pinged = 2 * RATE
    liveness.answered()
    assert liveness.confirmed == RATE


def test_confirmed_audio_was_listened_to_no_faster_than_real_time() -> None:
    liveness = opened(0.0)
    liveness.take_ping(0.5, 3 * RATE)
    liveness.answered()
    assert (liveness.confirmed, liveness.listened) == (3 * RATE, 0.5 * RATE)
    liveness.take_ping(3.5, 3 * RATE)
    liveness.answered()
    assert liveness.listened == 3 * RATE
    # What nobody sent cannot be listened to: time that passed without audio is not saved up for later.
    liveness.take_ping(9.0, 6 * RATE)
    liveness.answered()
    liveness.take_ping(10.0, 12 * RATE)
    liveness.answered()
    assert liveness.listened == 7 * RATE


def test_a_transcript_shows_what_was_listened_to() -> None:
    liveness = opened(0.0)
    liveness.transcribed(2 * RATE, 2.5)
    liveness.transcribed(RATE, 3.0)
    assert liveness.listened == 2 * RATE
    liveness.begin(5.0)
    assert liveness.listened == 0


def test_time_before_a_transcript_is_not_counted_again_on_top_of_it() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, 6 * RATE)
    liveness.transcribed(2 * RATE, 3.5)
    liveness.answered()
    assert liveness.listened == 2 * RATE
    liveness.take_ping(4.5, 6 * RATE)
    liveness.answered()
    assert liveness.listened == 3 * RATE


def test_a_timeout_noticed_a_second_late_still_counts_and_later_asks_again() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, 0)
    assert liveness.expire(7.0) is True
    assert liveness.expire(7.001) is False
    assert (liveness.due, liveness.deadline()) == (True, None)
    liveness.take_ping(7.001, 0)
    assert liveness.expire(10.001) is True


def test_a_pong_after_a_second_ping_may_be_the_first_ones_answer() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, RATE)
    assert liveness.expire(20.0) is False
    liveness.take_ping(20.0, 2 * RATE)
    liveness.answered()
    assert (liveness.confirmed, liveness.asked) == (RATE, 20.0)
    assert liveness.ask_at > 9 * RATE
    liveness.answered()
    assert (liveness.confirmed, liveness.asked) == (2 * RATE, None)


def test_a_late_pong_makes_the_second_ping_unnecessary() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, RATE)
    assert liveness.expire(20.0) is False
    liveness.answered()
    assert (liveness.confirmed, liveness.due) == (RATE, False)


def test_a_transport_that_opens_knows_nothing_of_the_last_one() -> None:
    liveness = opened(0.0)
    liveness.take_ping(3.0, RATE)
    liveness.answered()
    liveness.accepted = RATE
    liveness.take_ping(4.0, 2 * RATE)
    liveness.due = True
    liveness.begin(20.0)
    assert (liveness.heard, liveness.confirmed, liveness.accepted, liveness.pinged) == (20.0, 0, 0, 0)
    assert (liveness.due, liveness.asked, liveness.deadline()) == (False, None, 23.0)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 44100])
@pytest.mark.parametrize("ahead", [0.05, 0.12, 0.5, 2.0, 2.97, 10.0])
def test_a_ping_goes_out_before_back_pressure_sets_in(rate: int, ahead: float) -> None:
    liveness = Liveness(Limits(ahead=ahead), rate)
    liveness.begin(0.0)
    chunk, count = rate // 20, 0
    # Whole messages only: a ping must follow the last one that fits, or nothing would move before the next timer.
    for _ in range(1000):
        if count + chunk > liveness.allowed:
            raise AssertionError("held back with no ping on its way")
        count += chunk
        if count >= liveness.ask_at:
            liveness.take_ping(0.0, count)
            liveness.answered()
    assert liveness.confirmed + round(ahead * rate) >= count


def test_at_least_one_message_is_always_allowed() -> None:
    liveness = Liveness(Limits(ahead=0.05), 11025)
    assert liveness.allowed >= 551
