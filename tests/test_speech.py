"""Transcripts to speech data, against audio that was really sent."""

from __future__ import annotations

from copy import copy
from math import isfinite
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto.audio import Timeline
from lkstt_proto.catalogue import lookup
from lkstt_proto.events import SpeechData, TimedWord
from lkstt_proto.messages import Transcript, TranscriptKind
from lkstt_proto.speech import Reader
from tests.decoding import Word

RATE = 1000


class Reading(NamedTuple):
    data: SpeechData
    end: int | None
    problems: tuple[str, ...]


def send(timeline: Timeline, position: int, samples: int) -> None:
    if position != timeline.position:
        timeline.jump(position)
    timeline.count += samples


def reader(*runs: tuple[int, int], model: str = "deepgram/nova-3") -> Reader:
    """A session on which these runs of (position, samples) were sent."""
    timeline = Timeline(RATE)
    timeline.begin(runs[0][0] if runs else 0)
    for position, count in runs:
        send(timeline, position, count)
    return Reader(timeline, lookup(model))


def said(
    start: float | None = None,
    duration: float | None = None,
    *words: tuple[str, float | None, float | None, float, str | None],
    kind: TranscriptKind = TranscriptKind.FINAL,
    language: str | None = None,
    problems: tuple[str, ...] = (),
) -> Transcript:
    return Transcript(kind, "text", language, start, duration, words=words, problems=problems)


def read(reading: Reader, message: Transcript, *, since: float = 0.0, language: str = "") -> Reading:
    """Read a message, with words of both kinds where the short way of decoding could make them."""
    other, final = copy(reading), message.kind is TranscriptKind.FINAL
    ordinary = all(None not in word[1:3] for word in message.words)
    result = Reading(*reading.read(message, final, since, language))
    if ordinary:
        words: Any = tuple(SimpleNamespace(**Word(*word)._asdict()) for word in message.words)
        assert repr(other.read(message._replace(words=words), final, since, language)) == repr(tuple(result))
    return result


def times(reading: Reading) -> tuple[float, float]:
    return round(reading.data.start_time, 6), round(reading.data.end_time, 6)


def word(start: float | None, end: float | None) -> tuple[str, float | None, float | None, float, str | None]:
    return "w", start, end, 0.5, "S1"


def test_times_are_shifted_to_the_first_sample_of_the_session() -> None:
    reading = read(reader((2000, 5000)), said(1.0, 0.5, word(1.1, 1.3)))
    assert times(reading) == (3.0, 3.5)
    assert reading.end == 3500
    (timed,) = reading.data.words
    assert timed._replace(start_time=0.0, end_time=0.0) == TimedWord("w", 0.0, 0.0, 0.5, "S1")
    assert (timed.start_time, timed.end_time) == pytest.approx((3.1, 3.3))
    assert reading.problems == ()


@pytest.mark.parametrize("runs", [((0, 2000),), ((0, 1000), (5000, 1000))])
def test_no_zero_is_negative(runs: tuple[tuple[int, int], ...]) -> None:
    word: Any = SimpleNamespace(**Word("w", -0.0, -0.0, -0.0, None)._asdict())
    message = said(-0.0, 1.0, word, kind=TranscriptKind.INTERIM)._replace(confidence=-0.0)
    data, _, _ = reader(*runs).read(message, False, 0.0, "")
    assert repr((data.start_time, data.confidence, data.words[0][1:4])) == "(0.0, 0.0, (0.0, 0.0, 0.0))"


def test_a_word_within_the_tolerance_ends_with_the_audio_sent() -> None:
    last = read(reader((2000, 1000)), said(0.0, 1.0, word(0.9, 1.0005), word(1.0004, 1.0005))).data.words
    assert [(timed.start_time, timed.end_time) for timed in last] == [(pytest.approx(2.9), 3.0), (3.0, 3.0)]


def test_a_start_within_the_tolerance_is_the_end_of_the_audio_sent() -> None:
    assert times(read(reader((2000, 1000)), said(1.0005, 0.5))) == (3.0, 3.0)


def test_everything_else_passes_as_it_came() -> None:
    message = Transcript(
        TranscriptKind.FINAL, "hello", "en_us", 0.0, 1.0, 0.25, (), "S2", {"a": 1}, problems=("confidence",)
    )
    data, _, problems = read(reader((0, 2000)), message)
    assert data._replace(start_time=0.0, end_time=0.0)._asdict() == {
        "language": "en-US", "text": "hello", "start_time": 0.0, "end_time": 0.0, "confidence": 0.25,
        "speaker_id": "S2", "words": (), "metadata": {"a": 1},
    }  # fmt: skip
    assert problems == ("confidence",)


@pytest.mark.parametrize(
    ("sent", "stream", "expected"),
    [("de", "fr", "de"), (None, "fr", "fr"), (None, "", "en"), ("ENG", "", "en"), (" ", "fr", "fr")],
)
def test_a_transcript_without_a_language_has_the_streams(sent: str | None, stream: str, expected: str) -> None:
    assert read(reader((0, 10)), said(language=sent), language=stream).data.language == expected


def test_an_absent_start_is_the_sessions() -> None:
    reading = read(reader((500, 1000)), said(None, 0.5))
    assert (times(reading), reading.end) == ((0.5, 1.0), 1000)


@pytest.mark.parametrize(("start", "duration"), [(None, None), (0.5, None), (0.5, 0.0), (None, 0.0)])
def test_times_that_are_absent_or_empty_are_estimated(start: float | None, duration: float | None) -> None:
    reading = read(reader((0, 3000)), said(start, duration), since=1.25)
    assert (times(reading), reading.end, reading.problems) == ((1.25, 3.0), None, ())


def test_an_estimate_never_begins_after_it_ends() -> None:
    assert times(read(reader((0, 1000)), said(), since=4.0)) == (1.0, 1.0)


def test_a_model_whose_times_say_nothing_is_estimated() -> None:
    reading = read(reader((0, 3000), model="cartesia/ink-2"), said(0.5, 1.0, word(0.6, 0.7)), since=1.0)
    assert (times(reading), reading.end) == ((1.0, 3.0), None)
    assert reading.data.words == (TimedWord("w", 1.0, 1.0, 0.5, "S1"),)


def test_a_start_that_could_not_be_read_is_the_default() -> None:
    reading = read(reader((0, 3000)), said(None, 1.0, problems=("start",)), since=1.0)
    assert (times(reading), reading.end, reading.problems) == ((0.0, 1.0), 1000, ("start",))


def test_a_start_beyond_the_audio_sent_is_mended() -> None:
    reading = read(reader((0, 3000)), said(1e15, 1.0), since=1.0)
    assert (times(reading), reading.end, reading.problems) == ((0.0, 1.0), 1000, ("start",))


def test_a_mended_start_is_no_sign_that_the_clock_began_again() -> None:
    listener = reader((0, 9000))
    read(listener, said(5.0, 1.0))
    read(listener, said(None, 1.0, problems=("start",)))
    assert times(read(listener, said(7.0, 1.0))) == (7.0, 8.0)


def test_an_end_beyond_the_audio_sent_is_cut_and_told() -> None:
    reading = read(reader((0, 3000)), said(1.0, 3600.0))
    assert (times(reading), reading.end, reading.problems) == ((1.0, 3.0), 3000, ("duration",))


def test_rounding_past_the_audio_sent_is_no_mistake() -> None:
    reading = read(reader((0, 3000)), said(1.0, 2.0009))
    assert (times(reading), reading.end, reading.problems) == ((1.0, 3.0), 3000, ())


def test_a_transcript_that_spans_a_gap_starts_before_and_ends_after_it() -> None:
    reading = read(reader((0, 1000), (5000, 1000)), said(0.5, 1.0, word(0.5, 1.0), word(1.0, 1.5)))
    assert (times(reading), reading.end) == ((0.5, 5.5), 5500)
    assert [(round(w.start_time, 6), round(w.end_time, 6)) for w in reading.data.words] == [
        (0.5, 1.0),
        (5.0, 5.5),
    ]


@pytest.mark.parametrize(
    ("start", "end"), [(None, 1.0), (0.5, None), (1.0, 0.2), (900.0, 901.0), (0.5, 901.0), (None, None)]
)
def test_a_bad_words_times_fall_to_its_segments_start(start: float | None, end: float | None) -> None:
    reading = read(reader((1000, 3000)), said(0.25, 1.0, word(start, end)))
    assert reading.data.words == (TimedWord("w", 1.25, 1.25, 0.5, "S1"),)


# The gateway's own clock.


def test_a_repeated_end_is_still_a_time() -> None:
    reading = reader((0, 5000))
    assert read(reading, said(1.0, 2.0)).end == 3000
    assert read(reading, said(1.5, 1.0)).end == 2500
    assert read(reading, said(3.0, 1.0)).end == 4000


def test_an_end_before_the_last_finals_start_tells_that_the_clock_began_again() -> None:
    reading = reader((0, 9000))
    read(reading, said(4.0, 2.0))
    again = read(reading, said(0.5, 2.0), since=6.0)
    assert (times(again), again.end) == ((6.0, 9.0), None)
    # And nothing that this session says of time can be placed any more.
    assert read(reading, said(7.0, 1.0), since=6.0).end is None
    assert read(reading, said(7.0, 1.0, kind=TranscriptKind.INTERIM), since=6.0).end is None


def test_an_interim_says_nothing_about_the_clock() -> None:
    reading = reader((0, 9000))
    read(reading, said(4.0, 2.0))
    assert read(reading, said(0.5, 2.0, kind=TranscriptKind.INTERIM)).end == 2500
    assert read(reading, said(6.0, 1.0)).end == 7000


def test_a_new_session_has_a_new_clock() -> None:
    reading = reader((0, 9000))
    read(reading, said(4.0, 2.0))
    read(reading, said(0.5, 2.0))
    reading.begin()
    assert read(reading, said(0.5, 2.0)).end == 2500


SECONDS = st.none() | st.floats(0, 20) | st.floats(min_value=0, allow_infinity=False, allow_nan=False)


@given(
    runs=st.lists(st.tuples(st.integers(0, 500), st.integers(1, 3000)), max_size=4),
    begin=st.integers(0, 5000),
    messages=st.lists(
        st.tuples(SECONDS, SECONDS, st.lists(st.tuples(SECONDS, SECONDS), max_size=3), st.sampled_from(TranscriptKind)),
        max_size=5,
    ),
    since=st.floats(0, 30),
)
def test_every_reading_is_sound(
    runs: list[tuple[int, int]],
    begin: int,
    messages: list[tuple[float | None, float | None, list[tuple[float | None, float | None]], TranscriptKind]],
    since: float,
) -> None:
    timeline = Timeline(RATE)
    timeline.begin(begin)
    for gap, count in runs:
        send(timeline, timeline.position + gap, count)
    reading = Reader(timeline, lookup(None))
    sent = timeline.position / RATE
    for start, duration, words, kind in messages:
        data, end, problems = read(
            reading, said(start, duration, *(word(*item) for item in words), kind=kind), since=since
        )
        assert 0 <= data.start_time <= data.end_time <= sent
        for timed in data.words:
            assert 0 <= timed.start_time <= timed.end_time <= sent
            assert isfinite(timed.start_time)
        assert end is None or begin <= end <= timeline.position
        assert set(problems) <= {"start", "duration"}
