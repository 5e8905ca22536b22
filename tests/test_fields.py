"""Fields of messages: what each value becomes, shown by transcripts, which have fields of every kind."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto.fields import read_word, read_words
from lkstt_proto.messages import Transcript
from lkstt_proto.options import Limits
from tests.decoding import Word

from .wire import (
    ANY_JSON,
    CONFIDENCE,
    FINAL,
    LIMITS,
    NAME,
    SECONDS,
    SMALL,
    TRANSCRIPT_FIELDS,
    WORD_FIELDS,
    final,
    nulls,
    relaxed,
    server,
)


def test_absent_and_null_are_the_default_and_no_problem() -> None:
    default = Transcript(FINAL, "", None, None, None, 1.0, (), None, None, None, None, ())
    assert final() == default
    assert final(**nulls(TRANSCRIPT_FIELDS)) == default
    word = Word("", None, None, 0.0, None)
    assert final(words=[{}, nulls(WORD_FIELDS), None]).words == (word, word)
    assert final(words=[{}, nulls(WORD_FIELDS), None]).problems == ()
    assert final(language="", speaker_id="", request_id="", session_id="", extra={}, words=[]) == default


@pytest.mark.parametrize("name", ["start", "duration"])
@pytest.mark.parametrize("value", [True, False, "0.5", "", [], [1], {}, -1, -3.5, -1e-9, -(10**299)])
def test_unusable_times_are_absent_and_a_problem(name: str, value: Any) -> None:
    message = final(transcript="x", **{name: value})
    assert getattr(message, name) is None
    assert message.problems == (name,)


@pytest.mark.parametrize("name", ["start", "duration"])
@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1, 0.25, 3.0, 1e15, 10**299, 1.7e308])
def test_usable_times_are_floats(name: str, value: Any) -> None:
    message = final(**{name: value})
    seconds = getattr(message, name)
    assert type(seconds) is float
    assert seconds == float(value)
    assert math.copysign(1, seconds) == 1
    assert message.problems == ()


@pytest.mark.parametrize(
    ("value", "confidence", "sound"),
    [
        (0.5, 0.5, True),
        (0, 0.0, True),
        (1, 1.0, True),
        (-0.0, 0.0, True),
        (0.0, 0.0, True),
        (17.5, 1.0, False),
        (-1, 0.0, False),
        (10**299, 1.0, False),
        (-1e300, 0.0, False),
    ],
)
def test_confidence_is_within_0_and_1(value: float, confidence: float, *, sound: bool) -> None:
    message = final(confidence=value)
    assert message.confidence == confidence
    assert math.copysign(1, message.confidence) == 1
    assert message.problems == (() if sound else ("confidence",))
    message = final(words=[{"confidence": value}])
    assert message.words == (Word("", None, None, confidence, None),)
    assert message.problems == (() if sound else ("words",))


@pytest.mark.parametrize("value", [True, False, "0.5", [], {}])
def test_an_unusable_confidence_takes_its_default(value: Any) -> None:
    assert final(confidence=value) == Transcript(FINAL, "", confidence=1.0, problems=("confidence",))
    message = final(words=[{"confidence": value}])
    assert message.words == (Word("", None, None, 0.0, None),)
    assert message.problems == ("words",)


@pytest.mark.parametrize("item", ["hello", 5, True, [], [{}], 0.5])
def test_an_element_that_is_no_object_is_skipped(item: Any) -> None:
    message = final(words=[item, {"word": "a", "start": 1.0}, item])
    assert message.words == (Word("a", 1.0, None, 0.0, None),)
    assert message.problems == ("words",)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"word": 5}, Word("", 1.0, 2.0, 0.5, "S")),
        ({"word": ["a"]}, Word("", 1.0, 2.0, 0.5, "S")),
        ({"start": "1"}, Word("a", None, 2.0, 0.5, "S")),
        ({"start": True}, Word("a", None, 2.0, 0.5, "S")),
        ({"end": -1}, Word("a", 1.0, None, 0.5, "S")),
        ({"end": {}}, Word("a", 1.0, None, 0.5, "S")),
        ({"confidence": "high"}, Word("a", 1.0, 2.0, 0.0, "S")),
        ({"confidence": 2.5}, Word("a", 1.0, 2.0, 1.0, "S")),
        ({"speaker_id": 7}, Word("a", 1.0, 2.0, 0.5, None)),
        ({"speaker_id": "S\n"}, Word("a", 1.0, 2.0, 0.5, None)),
        ({"speaker_id": "S" * 257}, Word("a", 1.0, 2.0, 0.5, None)),
        ({"word": "a\ud800"}, Word("a\ufffd", 1.0, 2.0, 0.5, "S")),
    ],
)
def test_an_unusable_field_of_a_word_takes_its_default(fields: dict[str, Any], word: Word) -> None:
    whole = {"word": "a", "start": 1.0, "end": 2.0, "confidence": 0.5, "speaker_id": "S"}
    message = final(words=[whole, {**whole, **fields}, {**whole, **fields}])
    assert message.words == (Word("a", 1.0, 2.0, 0.5, "S"), word, word)
    assert message.problems == ("words",)


def test_a_word_may_end_before_it_starts_or_lie_anywhere() -> None:
    message = final(words=[{"word": "a", "start": 900, "end": 0.5}])
    assert message.words == (Word("a", 900.0, 0.5, 0.0, None),)
    assert message.problems == ()


def test_too_many_words_are_all_dropped() -> None:
    assert len(final(SMALL, words=[{}] * 3).words) == 3
    message = final(SMALL, transcript="x", words=[{}] * 4)
    assert message == Transcript(FINAL, "x", problems=("words",))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0123456789", "0123456789"),
        ("01234567890", "0123456789"),
        ("aaaaaaaaaé", "aaaaaaaaa"),
        ("aaaaaaaaé", "aaaaaaaaé"),
        ("😀😀😀", "😀😀"),
        ("\ud800\ud800\ud800\ud800", "\ufffd\ufffd\ufffd"),
    ],
)
def test_long_text_is_cut_at_a_character(text: str, kept: str) -> None:
    changed = text != kept
    message = final(SMALL, transcript=text)
    assert message.text == kept
    assert message.problems == (("transcript",) if changed else ())
    message = final(SMALL, words=[{"word": text, "start": 1.0, "end": 1.0, "confidence": 1.0}])
    assert message.words[0][0] == kept
    assert message.problems == (("words",) if changed else ())
    error = server("error", SMALL, message=text)
    assert error.message == kept
    assert error.problems == (("message",) if changed else ())


def test_keys_that_become_equal_are_all_kept() -> None:
    message = final(extra=dict(zip(["\ud800", "\udc00", "\ufffd", "\ufffd~2", "\udfff"], range(1, 6), strict=True)))
    assert message.metadata == {"\ufffd": 3, "\ufffd~2": 4, "\ufffd~3": 1, "\ufffd~4": 2, "\ufffd~5": 5}
    assert message.problems == ("extra",)


def test_deep_and_wide_metadata_is_mended_too() -> None:
    deep: Any = "\ud800"
    for _ in range(100):
        deep = [{"\ud800": deep}]
    assert "\ud800" not in str(final(extra={"deep": deep}).metadata)
    wide = {"\ud800" * 2 + chr(0xD800 + number): number for number in range(2000)}
    metadata = final(extra=wide).metadata
    assert metadata is not None
    assert sorted(metadata.values()) == list(range(2000))


@pytest.mark.parametrize("value", ["oops", [], [1], 5, 0, True, False, ""])
def test_extra_that_is_no_object_is_a_problem(value: Any) -> None:
    assert final(extra=value) == Transcript(FINAL, "", problems=("extra",))


NAMES = ["language", "speaker_id", "request_id", "session_id"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        99,
        0,
        True,
        ["en"],
        {},
        "a\r\nX-Evil: 1",
        "\x00",
        "a\x7f",
        "\x85",
        "\u202e",
        "\u2066a",
        "\u200f",
        "\u061c",
        "\u2028",
        "\u2029",
        "\ud800",
        "x" * 257,
        "é\udfff",
    ],
)
def test_an_unusable_name_is_absent_and_a_problem(name: str, value: Any) -> None:
    message = final(**{name: value})
    assert getattr(message, name) is None
    assert message.problems == (name,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["en-US", "x" * 256, "req 1", "é", "話者", "\u00a0", "\u200d", "👩\u200d🚀", "%s{0}"])
def test_a_usable_name_stays_as_it_is(name: str, value: str) -> None:
    fields: dict[str, Any] = {name: value}
    message = final(**fields)
    assert getattr(message, name) == value
    assert message.problems == ()


ORDINARY = {
    "word": st.sampled_from(["hello", "", "é", "x" * 11]) | ANY_JSON,
    "start": SECONDS | st.just(-0.0) | ANY_JSON,
    "end": SECONDS | ANY_JSON,
    "confidence": CONFIDENCE | ANY_JSON,
    "speaker_id": st.none() | NAME | ANY_JSON,
}


@relaxed
@given(st.lists(st.fixed_dictionaries({}, optional=ORDINARY), max_size=3), st.sampled_from([LIMITS, SMALL]))
def test_the_short_way_for_words_gives_what_the_long_way_gives(items: list[dict[str, Any]], limits: Limits) -> None:
    short: list[str] = []
    long: list[str] = []
    words = read_words(items, limits, short)
    assert words == tuple(read_word(item, limits, long) for item in items)
    assert [math.copysign(1, start or 0.0) for _, start, *_ in words] == [1.0] * len(words)
    assert short == long


def test_a_sound_object_stays_as_it_is() -> None:
    extra = {"voice": ["calm", None, {"é": "😀"}], "n": 1.5}
    message = final(extra=extra)
    assert message.metadata == extra
    assert message.problems == ()
