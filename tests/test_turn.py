"""The turn: effects of the speech table as events."""

from __future__ import annotations

from lkstt_proto.audio import Ring
from lkstt_proto.events import Event, RecognitionUsage, SpeechData, SpeechEvent, SpeechEventType
from lkstt_proto.ledger import Ledger
from lkstt_proto.turn import Turn
from lkstt_proto.unread import Unread

INTERIM = SpeechEvent(SpeechEventType.INTERIM_TRANSCRIPT, "r1", (SpeechData("en", "hi"),), audio_time=1.0)
PREFLIGHT = INTERIM._replace(type=SpeechEventType.PREFLIGHT_TRANSCRIPT)
FINAL = INTERIM._replace(type=SpeechEventType.FINAL_TRANSCRIPT)


def turn(samples: int = 16000) -> tuple[Turn, Unread]:
    """After so many samples went out, at stream time 2.5."""
    ledger, unread = Ledger(16000), Unread(100)
    ledger.hand_over(samples, samples)
    ring = Ring(chunk=800, capacity=16000)
    ring.handed = 40000
    new = Turn(unread, ledger, ring)
    new.request_id = "s1"
    return new, unread


def made(kind: SpeechEventType, request_id: str = "", usage: RecognitionUsage | None = None) -> SpeechEvent:
    return SpeechEvent(kind, request_id, (), usage, 2.5)


START, END = made(SpeechEventType.START_OF_SPEECH), made(SpeechEventType.END_OF_SPEECH)
USAGE = made(SpeechEventType.RECOGNITION_USAGE, "r1", RecognitionUsage(1.0))


def told(unread: Unread) -> list[Event]:
    return unread.take()


def test_a_whole_turn() -> None:
    speech, unread = turn()
    due = [
        speech.step("gateway:start_of_speech"),
        speech.step("gateway:interim_transcript", INTERIM),
        speech.step("gateway:preflight_transcript", PREFLIGHT),
    ]
    speaking = [speech.speaking]
    due.append(speech.step("gateway:final_transcript", FINAL))
    speaking.append(speech.speaking)
    assert told(unread) == [START, INTERIM, PREFLIGHT, USAGE, FINAL, END]
    # Settings that waited are due with the end of the turn, and only then.
    assert due == [False, False, False, True]
    assert speaking == [True, False]
    assert speech.finals == 1


def test_usage_is_told_where_there_is_any() -> None:
    speech, unread = turn(0)
    speech.step("gateway:final_transcript", FINAL)
    assert told(unread) == [START, FINAL, END]


def test_usage_without_a_transcript_has_the_streams_id() -> None:
    speech, unread = turn()
    speech.step("stream_over")
    assert told(unread) == [USAGE._replace(request_id="s1")]


def test_an_unread_interim_gives_way() -> None:
    speech, unread = turn()
    speech.step("gateway:interim_transcript", INTERIM)
    newer = INTERIM._replace(request_id="r2")
    speech.step("gateway:interim_transcript", newer)
    assert told(unread) == [START, newer]


def test_an_open_turns_last_text_is_promoted_at_the_end() -> None:
    speech, unread = turn()
    speech.step("gateway:interim_transcript", INTERIM._replace(request_id="older"))
    speech.step("gateway:preflight_transcript", PREFLIGHT)
    told(unread)
    speech.step("stream_over")
    promoted = FINAL._replace(audio_time=2.5, promoted=True)
    assert told(unread) == [promoted, END, USAGE._replace(request_id="s1")]
    assert (speech.finals, speech.speaking) == (1, False)


def test_text_of_a_turn_that_ended_is_not_promoted() -> None:
    speech, unread = turn(0)
    speech.step("gateway:interim_transcript", INTERIM)
    speech.step("gateway:final_transcript", FINAL)
    speech.step("gateway:start_of_speech")
    told(unread)
    speech.step("stream_over")
    assert told(unread) == [END]
    assert speech.finals == 1
