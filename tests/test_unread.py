"""Events that wait: in order, bounded where the network could flood them."""

from __future__ import annotations

from lkstt_proto.events import AudioDropped, Event, Finalized, SpeechData, SpeechEvent, SpeechEventType
from lkstt_proto.unread import Unread

START = SpeechEvent(SpeechEventType.START_OF_SPEECH)
END = SpeechEvent(SpeechEventType.END_OF_SPEECH)


def interim(text: str) -> SpeechEvent:
    return SpeechEvent(SpeechEventType.INTERIM_TRANSCRIPT, alternatives=(SpeechData("en", text),))


def told(*events: Event, limit: int = 10) -> Unread:
    unread = Unread(limit)
    for event in events:
        unread.tell(event)
    return unread


def test_events_come_out_once_and_in_order() -> None:
    unread = told(START, Finalized(), END)
    assert len(unread) == 3
    assert unread.take() == [START, Finalized(), END]
    assert unread.take() == []


def test_a_new_interim_takes_the_place_of_the_unread_one() -> None:
    unread = told(START)
    unread.interim(interim("a"))
    unread.tell(Finalized())
    unread.interim(interim("ab"))
    assert unread.take() == [START, interim("ab"), Finalized()]


def test_an_interim_that_was_read_stays_read() -> None:
    unread = told(START)
    unread.interim(interim("a"))
    unread.take()
    unread.interim(interim("ab"))
    assert unread.take() == [interim("ab")]


def test_an_interim_does_not_move_in_front_of_its_own_turn() -> None:
    unread = told(START)
    unread.interim(interim("a"))
    unread.tell(END)
    unread.tell(START)
    unread.interim(interim("b"))
    assert unread.take() == [START, interim("a"), END, START, interim("b")]


def test_stretches_of_dropped_audio_that_touch_are_one() -> None:
    unread = Unread(10)
    unread.dropped(0.0, 1.0, "overflow")
    unread.tell(START)
    unread.dropped(1.0, 2.0, "overflow")
    assert unread.take() == [AudioDropped(0.0, 2.0, "overflow"), START]


def test_stretches_that_do_not_touch_or_have_another_cause_stay_apart() -> None:
    unread = Unread(10)
    unread.dropped(0.0, 1.0, "overflow")
    unread.dropped(1.5, 2.0, "overflow")
    unread.dropped(2.0, 3.0, "unacknowledged")
    assert unread.take() == [
        AudioDropped(0.0, 1.0, "overflow"),
        AudioDropped(1.5, 2.0, "overflow"),
        AudioDropped(2.0, 3.0, "unacknowledged"),
    ]
    unread.dropped(3.0, 4.0, "unacknowledged")
    assert unread.take() == [AudioDropped(3.0, 4.0, "unacknowledged")]


def test_full_at_the_limit_and_nothing_is_refused() -> None:
    unread = told(START, limit=2)
    full = [unread.full]
    unread.interim(interim("a"))
    full.append(unread.full)
    unread.interim(interim("ab"))
    assert full == [False, True]
    assert len(unread) == 2
    unread.tell(END)
    assert unread.take() == [START, interim("ab"), END]
    assert len(unread) == 0
