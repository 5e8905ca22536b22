"""What a transcript means for the stream (CONTRACT decision 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from lkstt_proto.catalogue import lookup
from lkstt_proto.drain import Drain
from lkstt_proto.events import SpeechEvent, SpeechEventType
from lkstt_proto.hearing import Hearing
from lkstt_proto.machine import Machine
from lkstt_proto.messages import Transcript, TranscriptKind
from lkstt_proto.options import Limits
from lkstt_proto.sender import Sender
from lkstt_proto.tables import SESSION, SessionState

RATE = 1000
FINAL, INTERIM, PREFLIGHT = TranscriptKind.FINAL, TranscriptKind.INTERIM, TranscriptKind.PREFLIGHT


class Heard(NamedTuple):
    trigger: str
    event: SpeechEvent
    problems: tuple[str, ...]
    acknowledged: bool


class Stream:
    """A hearing with what it hears about: so many seconds of audio were sent."""

    def __init__(self, seconds: float, model: str = "deepgram/nova-3") -> None:
        self.sender = Sender(Limits(audio_buffer=1000.0, ahead=1000.0), RATE)
        self.drain = Drain(Limits())
        self.hearing = Hearing(self.sender, self.drain, lookup(model))
        self.sender.begin(0.0, resumed=False)
        self.send(seconds)

    def send(self, seconds: float) -> None:
        machine = Machine(SESSION)
        machine.state = SessionState.STREAMING
        self.sender.ring.push(bytes(2 * round(seconds * RATE)))
        self.sender.take([], 1_000_000, 0.0, machine)

    def hear(
        self, kind: TranscriptKind, start: float | None = None, end: float | None = None, text: str = "hi", **given: Any
    ) -> Heard:
        duration = None if start is None or end is None else end - start
        message = Transcript(kind, text, start=start, duration=duration, **given)
        return Heard(*self.hearing.hear(message, 5.0, "fr", "s1"))

    @property
    def unacknowledged(self) -> float:
        return self.sender.ring.unacknowledged / RATE


def test_a_transcript_becomes_an_event() -> None:
    stream = Stream(3.0)
    trigger, event, problems, acknowledged = stream.hear(FINAL, 0.5, 1.0, problems=("words",))
    assert (trigger, problems, acknowledged) == ("gateway:final_transcript", ("words",), True)
    assert (event.type, event.request_id, event.audio_time) == (SpeechEventType.FINAL_TRANSCRIPT, "s1", 3.0)
    (data,) = event.alternatives
    assert (data.text, data.language, data.start_time, data.end_time) == ("hi", "fr", 0.5, 1.0)


@pytest.mark.parametrize(
    ("kind", "text", "trigger"),
    [
        (FINAL, "hi", "gateway:final_transcript"),
        (FINAL, "", "gateway:empty_final"),
        (INTERIM, "hi", "gateway:interim_transcript"),
        (INTERIM, "", "gateway:empty_transcript"),
        (PREFLIGHT, "hi", "gateway:preflight_transcript"),
        (PREFLIGHT, "", "gateway:empty_transcript"),
    ],
)
def test_conditions_become_triggers(kind: TranscriptKind, text: str, trigger: str) -> None:
    assert Stream(3.0).hear(kind, text=text).trigger == trigger


@pytest.mark.parametrize(
    ("ids", "expected"),
    [({"request_id": "r", "session_id": "t"}, "r"), ({"session_id": "t"}, "t"), ({}, "s1")],
)
def test_the_id_is_the_requests_or_the_sessions(ids: dict[str, Any], expected: str) -> None:
    assert Stream(1.0).hear(FINAL, **ids).event.request_id == expected


# Finals.


def test_a_final_acknowledges_exactly_up_to_its_end() -> None:
    stream = Stream(3.0)
    assert stream.hear(FINAL, 0.0, 1.25).acknowledged
    assert (stream.unacknowledged, stream.hearing.exact, stream.hearing.estimated) == (1.75, 1250, 0)
    assert stream.drain.fruitful


def test_a_final_without_times_acknowledges_what_was_sent_by_estimate() -> None:
    stream = Stream(3.0)
    assert stream.hear(FINAL).acknowledged
    assert (stream.unacknowledged, stream.hearing.exact, stream.hearing.estimated) == (0.0, 0, 3000)
    stream.send(1.0)
    stream.hear(FINAL)
    assert stream.hearing.estimated == 4000
    stream.send(1.0)
    stream.hear(FINAL, 4.0, 5.0)
    assert (stream.hearing.exact, stream.hearing.estimated) == (5000, 0)


def test_a_model_whose_times_say_nothing_acknowledges_by_estimate() -> None:
    stream = Stream(3.0, "cartesia/ink-2")
    stream.hear(FINAL, 0.0, 1.0)
    assert (stream.unacknowledged, stream.hearing.estimated) == (0.0, 3000)


def test_a_final_behind_another_acknowledges_nothing_new() -> None:
    stream = Stream(3.0)
    stream.hear(FINAL, 0.5, 2.0)
    heard = stream.hear(FINAL, 1.0, 1.5)
    assert (heard.acknowledged, stream.unacknowledged, stream.hearing.exact) == (False, 1.0, 2000)


def test_an_empty_untimed_final_acknowledges_only_after_the_finalize_of_the_end() -> None:
    stream = Stream(3.0)
    assert not stream.hear(FINAL, text="").acknowledged
    assert stream.unacknowledged == 3.0
    stream.drain.finalize_sent(4.0)
    assert stream.hear(FINAL, text="").acknowledged
    assert stream.unacknowledged == 0.0


def test_a_final_before_any_audio_acknowledges_nothing() -> None:
    stream = Stream(0.0)
    assert not stream.hear(FINAL).acknowledged
    assert not stream.hear(FINAL, 0.0, 1.0).acknowledged


def test_the_drain_learns_of_text_and_answers() -> None:
    stream = Stream(3.0)
    stream.drain.finalize_sent(4.0)
    stream.hear(INTERIM, text="one")
    assert stream.drain.fruitful
    stream.hear(FINAL, text="")
    assert (stream.drain.answered, stream.drain.latency) == (True, 1.0)


# Late and early.


@pytest.mark.parametrize("kind", [INTERIM, PREFLIGHT])
def test_text_within_exactly_acknowledged_audio_is_late(kind: TranscriptKind) -> None:
    stream = Stream(5.0)
    stream.hear(FINAL, 0.0, 3.0)
    assert stream.hear(kind, 1.0, 3.0).trigger == "gateway:late_transcript"
    assert not stream.hearing.hears_onsets
    assert stream.hear(kind, 1.0, 3.1).trigger == f"gateway:{kind}_transcript"
    assert stream.hear(kind).trigger == f"gateway:{kind}_transcript"


def test_text_within_audio_acknowledged_by_estimate_is_not_late_and_is_placed() -> None:
    stream = Stream(5.0)
    stream.hear(FINAL)
    heard = stream.hear(INTERIM, 1.0, 3.0)
    assert heard.trigger == "gateway:interim_transcript"
    assert heard.event.alternatives[0].start_time == 1.0


def test_text_whose_start_had_to_be_mended_is_not_late() -> None:
    stream = Stream(5.0)
    stream.hear(FINAL, 0.0, 3.0)
    message = Transcript(INTERIM, "hi", duration=1.0, problems=("start",))
    heard = Heard(*stream.hearing.hear(message, 5.0, language="", session_id=""))
    assert heard.trigger == "gateway:interim_transcript"


def test_text_before_any_audio_is_not_late() -> None:
    assert Stream(0.0).hear(INTERIM, 0.0, 1.0).trigger == "gateway:interim_transcript"


# Silence.


def test_silence_acknowledges_confirmed_audio_but_for_the_look_back() -> None:
    stream = Stream(20.0)
    stream.hear(INTERIM)
    stream.sender.liveness.take_ping(12.0, 12000)
    stream.hearing.acknowledge_silence()
    assert stream.unacknowledged == 20.0
    stream.sender.liveness.answered()
    stream.hearing.acknowledge_silence()
    assert stream.unacknowledged == 13.0


def test_silence_acknowledges_only_what_there_was_time_to_hear() -> None:
    stream = Stream(20.0)
    stream.hear(INTERIM)
    stream.sender.liveness.take_ping(7.0, 12000)
    stream.sender.liveness.answered()
    stream.hearing.acknowledge_silence()
    assert stream.unacknowledged == 18.0
    # A final about later audio shows that the recogniser is faster.
    stream.hear(FINAL, 6.0, 9.0)
    stream.sender.liveness.take_ping(8.0, 20000)
    stream.sender.liveness.answered()
    stream.hear(INTERIM, 15.0, 19.0)
    stream.hearing.acknowledge_silence()
    assert stream.unacknowledged == 6.0


def test_silence_says_nothing_where_only_finals_were_heard() -> None:
    stream = Stream(20.0)
    stream.hear(FINAL, 0.0, 1.0)
    stream.hear(INTERIM, text="")
    stream.sender.liveness.take_ping(0.0, 12000)
    stream.sender.liveness.answered()
    stream.hearing.acknowledge_silence()
    assert stream.unacknowledged == 19.0


def test_a_new_session_has_a_new_clock() -> None:
    stream = Stream(9.0)
    stream.hear(FINAL, 4.0, 6.0)
    stream.hear(FINAL, 0.5, 2.5)
    assert stream.hearing.estimated == 3000
    stream.sender.begin(10.0, resumed=True)
    stream.hearing.begin()
    stream.send(3.0)
    stream.hear(FINAL, 0.5, 2.5)
    assert (stream.hearing.exact, stream.hearing.estimated) == (11500, 0)
