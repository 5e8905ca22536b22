"""Wire messages: what each field becomes, what is refused, and that encoding and decoding are each other's inverse."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lkstt_proto import messages
from lkstt_proto.events import SpeechData, TimedWord
from lkstt_proto.messages import (
    BadRequest,
    Close,
    ErrorMessage,
    Fallback,
    Finalize,
    InputAudio,
    SessionClosed,
    SessionCreate,
    SessionCreatedMessage,
    SessionFinalized,
    SessionUpdate,
    StartOfSpeech,
    Transcript,
    TranscriptKind,
    Unrecognized,
    Word,
    decode_client,
    decode_server,
)
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable

LIMITS = Limits()
SMALL = Limits(message=100_000, words=3, text=10, name=8)
FINAL = TranscriptKind.FINAL

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine proves nothing."""

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile" / "messages.jsonl"
"""A collection of hostile frames that may lie beside the checkout."""


def server(kind: str, limits: Limits = LIMITS, **fields: Any) -> Any:
    return decode_server(json.dumps({"type": kind, **fields}), limits)


def final(limits: Limits = LIMITS, **fields: Any) -> Transcript:
    message = server("final_transcript", limits, **fields)
    assert type(message) is Transcript
    return message


def client(kind: str, limits: Limits = LIMITS, **fields: Any) -> Any:
    return decode_client(json.dumps({"type": kind, **fields}), limits)


def nulls(names: list[str]) -> dict[str, Any]:
    return dict.fromkeys(names)


def outcome(decode: Callable[[str | bytes, Limits], Any], data: str | bytes, limits: Limits) -> Any:
    """The message, or the refusal, which is the only thing that may be raised."""
    try:
        return decode(data, limits)
    except NotUsable as error:
        return error


def bad_request(kind: str, **fields: Any) -> str:
    with pytest.raises(BadRequest) as caught:
        client(kind, **fields)
    assert caught.value.__cause__ is None
    return caught.value.reason


def not_usable(data: str | bytes) -> str:
    reasons = set()
    for decode in (decode_server, decode_client):
        with pytest.raises(NotUsable) as caught:
            decode(data, LIMITS)
        assert type(caught.value) is NotUsable
        reasons.add(caught.value.reason)
    (reason,) = reasons
    return reason


# Any message.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "0 bytes that are no JSON"),
        ("null", "NoneType instead of an object"),
        ("[{}]", "list instead of an object"),
        ('"final_transcript"', "str instead of an object"),
        ("7", "int instead of an object"),
        ("{}", "no text as its type"),
        ('{"type":null}', "no text as its type"),
        ('{"type":7}', "no text as its type"),
        ('{"type":{"a":1}}', "no text as its type"),
        ('{"type":["error"]}', "no text as its type"),
    ],
)
def test_what_is_no_object_with_a_text_type_is_not_usable(text: str, reason: str) -> None:
    assert not_usable(text) == reason
    assert not_usable(text.encode()) == reason


def test_an_unknown_type_is_told_by_its_length() -> None:
    assert server("hologram.created", payload={"a": 1}) == Unrecognized(16)
    assert client("hologram.create") == Unrecognized(15)
    assert server("\ud800") == Unrecognized(1)
    assert server("") == Unrecognized(0)


def test_each_end_takes_the_other_ends_messages_only() -> None:
    assert not set(messages.SERVER_MESSAGES) & set(messages.CLIENT_MESSAGES)
    for kind in messages.CLIENT_MESSAGES:
        assert server(kind) == Unrecognized(len(kind))
    for kind in messages.SERVER_MESSAGES:
        assert client(kind) == Unrecognized(len(kind))


def test_triggers_are_the_sender_and_the_type() -> None:
    for kind in messages.SERVER_MESSAGES:
        assert server(kind).trigger == f"gateway:{kind}"
    for kind in messages.CLIENT_MESSAGES:
        assert client(kind, audio="").trigger == f"client:{kind}"


def test_the_limit_on_messages_holds() -> None:
    for decode in (decode_server, decode_client):
        text = '{"type":"x"}'
        assert decode(text, Limits(message=len(text))) == Unrecognized(1)
        with pytest.raises(NotUsable):
            decode(text, Limits(message=len(text) - 1))


def test_no_repr_shows_what_was_said_or_set() -> None:
    transcript = final(transcript="hush", words=[{"word": "hush"}], extra={"hush": "hush"})
    shown = [
        transcript,
        transcript.words,
        server("error", message="hush", code=5),
        client(
            "session.create",
            settings={"extra": {"prompt": "hush"}},
            fallback={"models": [{"model": "a/b", "extra": {"prompt": "hush"}}]},
        ),
        client("session.update", settings={"extra": {"prompt": "hush"}}),
        InputAudio(b"hush"),
    ]
    assert "hush" not in repr(shown)
    assert repr(transcript) == "<Transcript, final, of 4 characters and 1 words>"
    assert repr(transcript.words[0]) == "<Word of 4 characters>"


# What a client receives.


def test_plain_messages_of_the_gateway() -> None:
    assert server("session.created", session_id="s1") == SessionCreatedMessage("s1")
    assert server("session.created") == SessionCreatedMessage(None)
    assert server("session.created", session_id=5) == SessionCreatedMessage(None, problems=("session_id",))
    assert server("start_of_speech", payload=1) == StartOfSpeech()
    assert server("session.finalized") == SessionFinalized()
    assert server("session.closed") == SessionClosed()


@pytest.mark.parametrize("kind", TranscriptKind)
def test_a_complete_transcript(kind: TranscriptKind) -> None:
    message = server(
        f"{kind}_transcript",
        transcript="hello you",
        language="en-US",
        start=1.5,
        duration=0.75,
        confidence=0.9,
        words=[
            {"word": "hello", "start": 1.5, "end": 1.75, "confidence": 0.8, "speaker_id": "S1", "extra": {}},
            {"word": "you", "start": 2, "end": 2.25, "confidence": 1, "speaker_id": None},
        ],
        speaker_id="S1",
        extra={"voice": ["calm"]},
        request_id="r1",
        session_id="s1",
        unknown=[1],
    )
    words = (Word("hello", 1.5, 1.75, 0.8, "S1"), Word("you", 2.0, 2.25, 1.0, None))
    assert message == Transcript(
        kind, "hello you", "en-US", 1.5, 0.75, 0.9, words, "S1", {"voice": ["calm"]}, "r1", "s1", ()
    )
    assert type(message.words[1].start) is float
    assert type(message.words[1].confidence) is float


TRANSCRIPT_FIELDS = [
    "transcript",
    "language",
    "start",
    "duration",
    "confidence",
    "words",
    "speaker_id",
    "extra",
    "request_id",
    "session_id",
]
WORD_FIELDS = ["word", "start", "end", "confidence", "speaker_id"]


def test_absent_and_null_are_the_default_and_no_problem() -> None:
    default = Transcript(FINAL, "", None, None, None, 1.0, (), None, None, None, None, ())
    assert final() == default
    assert final(**nulls(TRANSCRIPT_FIELDS)) == default
    word = Word("", None, None, 0.0, None)
    assert final(words=[{}, nulls(WORD_FIELDS), None]).words == (word, word)
    assert final(words=[{}, nulls(WORD_FIELDS), None]).problems == ()
    assert final(language="", speaker_id="", request_id="", session_id="", extra={}, words=[]) == default


@pytest.mark.parametrize("value", [True, 5, 0.5, [], ["a"], {}, False])
def test_a_transcript_that_is_not_text_is_not_usable(value: Any) -> None:
    with pytest.raises(NotUsable, match=r"^transcript is not text$"):
        final(transcript=value)


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


@pytest.mark.parametrize("value", ["hello", "", 5, 0, True, False, {}, {"0": {}}])
def test_words_that_are_no_list_are_dropped(value: Any) -> None:
    message = final(transcript="x", words=value)
    assert message.words == ()
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
    assert message.words[0].text == kept
    assert message.problems == (("words",) if changed else ())
    error = server("error", SMALL, message=text)
    assert error.message == kept
    assert error.problems == (("message",) if changed else ())


def test_lone_surrogates_are_mended_everywhere() -> None:
    message = final(
        transcript="a\udc00b\ud800",
        words=[{"word": "\udfff"}],
        extra={"\ud800": ["\ud801", {"k\udc00": "v\udc00"}], "fine": "é😀", "n": 1},
    )
    assert message.text == "a\ufffdb\ufffd"
    assert message.words[0].text == "\ufffd"
    assert message.metadata == {"fine": "é😀", "n": 1, "\ufffd": ["\ufffd", {"k\ufffd": "v\ufffd"}]}
    assert message.problems == ("transcript", "words", "extra")
    assert final(transcript="😀") == Transcript(FINAL, "😀")


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


def test_each_problem_is_named_once_and_in_order() -> None:
    message = final(start="1", duration=-1, confidence=2, words=[1, {"word": 1}], request_id=1, session_id=1, extra=1)
    assert message.problems == ("start", "duration", "confidence", "words", "extra", "request_id", "session_id")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ErrorMessage(-1, "")),
        ({"code": None, "message": None, "session_id": None}, ErrorMessage(-1, "")),
        ({"code": 429, "message": "slow"}, ErrorMessage(429, "slow")),
        ({"code": 429.0, "session_id": "s"}, ErrorMessage(429, "", "s")),
        ({"code": 2007}, ErrorMessage(2007, "")),
        ({"code": -7}, ErrorMessage(-7, "")),
        ({"code": "429"}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": True}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": 429.5}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": []}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": 2**53 - 1}, ErrorMessage(2**53 - 1, "")),
        ({"code": 2**53}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": 10**299}, ErrorMessage(-1, "", problems=("code",))),
        ({"code": -1e300}, ErrorMessage(-1, "", problems=("code",))),
        ({"message": 5}, ErrorMessage(-1, "", problems=("message",))),
        ({"message": "a\ud800"}, ErrorMessage(-1, "a\ufffd", problems=("message",))),
        ({"session_id": 5}, ErrorMessage(-1, "", problems=("session_id",))),
        ({"error": {"code": 429, "message": "slow"}}, ErrorMessage(429, "slow")),
        ({"error": {"code": "x", "message": 1}}, ErrorMessage(-1, "", problems=("message", "code"))),
        ({"code": 400, "message": "a", "error": {"code": 429, "message": "b"}}, ErrorMessage(400, "a")),
        ({"message": "a", "error": {"code": 429, "message": "b"}}, ErrorMessage(429, "a")),
        ({"error": "slow down"}, ErrorMessage(-1, "")),
        ({"error": None}, ErrorMessage(-1, "")),
    ],
)
def test_errors(fields: dict[str, Any], expected: ErrorMessage) -> None:
    message = server("error", **fields)
    assert message == expected
    assert type(message.code) is int


# What a gateway receives.


def test_a_complete_session_create() -> None:
    message = client(
        "session.create",
        model="deepgram/nova-3",
        settings={"sample_rate": "24000", "encoding": "pcm_s16le", "language": "en", "extra": {"keyterm": ["LiveKit"]}},
        fallback={"models": [{"model": "a/b", "extra": {"format_turns": True}}, {"model": "c/d", "extra": None}]},
        connection={"timeout": 10.0, "retries": 3},
    )
    assert message == SessionCreate(
        model="deepgram/nova-3",
        settings={"sample_rate": "24000", "encoding": "pcm_s16le", "language": "en", "extra": {"keyterm": ["LiveKit"]}},
        sample_rate=24000,
        encoding="pcm_s16le",
        language="en",
        extra={"keyterm": ["LiveKit"]},
        fallback=(Fallback("a/b", {"format_turns": True}), Fallback("c/d", {})),
        connection={"timeout": 10.0, "retries": 3},
    )


def test_an_empty_session_create_takes_defaults() -> None:
    default = SessionCreate(None, {}, 16000, "pcm_s16le", "", {}, (), None)
    assert client("session.create") == default
    assert client("session.create", **nulls(["model", "settings", "fallback", "connection"])) == default
    settings_of_null = nulls(["sample_rate", "encoding", "language", "extra"])
    message = client("session.create", settings=settings_of_null, fallback={"models": None})
    assert message == SessionCreate(settings=settings_of_null)


@pytest.mark.parametrize("value", ["8000", "16000", "44100", "48000"])
def test_a_sample_rate_is_a_string_of_hz(value: str) -> None:
    message = client("session.create", settings={"sample_rate": value})
    assert message.sample_rate == int(value)
    assert message.problems == ()


@pytest.mark.parametrize("value", [16000, 16000.0])
def test_a_number_as_sample_rate_works_and_is_named(value: float) -> None:
    message = client("session.create", settings={"sample_rate": value})
    assert message.sample_rate == 16000
    assert type(message.sample_rate) is int
    assert message.problems == ("sample_rate",)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "7999",
        "48001",
        "016000",
        "16000.0",
        "16 kHz",
        "16000\n",
        "-16000",
        "+16000",
        "1_600",
        "\u0661\u0666000",
        "1e4",
        0,
        -16000,
        7999,
        48001,
        16000.5,
        1e300,
        10**299,
        True,
        [],
        ["16000"],
        {},
    ],
)
def test_other_sample_rates_are_refused(value: Any) -> None:
    reason = bad_request("session.create", settings={"sample_rate": value})
    assert reason == "sample_rate is no number of Hz from 8000 to 48000"


@pytest.mark.parametrize("value", ["", "opus", "PCM_S16LE", 5, [], {}, True, False])
def test_other_encodings_are_refused(value: Any) -> None:
    assert bad_request("session.create", settings={"encoding": value}) == "encoding is not pcm_s16le"


@pytest.mark.parametrize("kind", ["session.create", "session.update"])
@pytest.mark.parametrize("value", [5, "x", [], True, False, ""])
def test_settings_that_are_no_object_are_refused(kind: str, value: Any) -> None:
    assert bad_request(kind, settings=value) == "settings are no object"


@pytest.mark.parametrize("value", [5, "a\nb", "x" * 257, [], True])
def test_a_model_that_is_no_name_is_refused(value: Any) -> None:
    assert bad_request("session.create", model=value) == "model is no name"


def test_other_fields_of_session_create_are_read_leniently() -> None:
    message = client(
        "session.create",
        settings={"language": 5, "extra": "x"},
        fallback={"models": [{"model": 5}, "a/b", {}, {"model": "a/b", "extra": 5}, None, {"model": "c\ud800"}]},
        connection=5,
    )
    assert (message.language, message.extra, message.connection) == ("", {}, None)
    assert message.fallback == (Fallback("a/b"), Fallback("c\ufffd"))
    assert message.problems == ("language", "extra", "fallback", "connection")


@pytest.mark.parametrize("value", ["a/b", 5, [], {"models": "a/b"}, {"models": {}}, {"models": 0}])
def test_an_unusable_fallback_is_none(value: Any) -> None:
    assert client("session.create", fallback=value) == SessionCreate(problems=("fallback",))


def test_settings_of_a_client_are_mended() -> None:
    message = client("session.create", settings={"extra": {"\ud800": "\ud800"}}, connection={"a": "\ud800"})
    assert message.settings == {"extra": {"\ufffd": "\ufffd"}}
    assert message.extra == {"\ufffd": "\ufffd"}
    assert message.connection == {"a": "\ufffd"}
    assert message.problems == ("settings", "connection")
    message = client("session.update", settings={"x": "\ud800"})
    assert message == SessionUpdate({"x": "\ufffd"}, problems=("settings",))


def test_a_session_update_keeps_what_is_usable() -> None:
    usable = {"model": "a/b", "language": "de", "extra": {"a": None}, "unknown": [1]}
    assert client("session.update", settings=usable) == SessionUpdate(usable)
    assert client("session.update") == SessionUpdate({})
    assert client("session.update", settings=None) == SessionUpdate({})
    empty: dict[str, Any] = {"language": "", "extra": {}}
    assert client("session.update", settings=empty) == SessionUpdate(empty)
    of_null = nulls(["model", "language", "extra", "unknown"])
    assert client("session.update", settings=of_null) == SessionUpdate({"unknown": None})
    wrong = {"model": 5, "language": "a\n", "extra": []}
    assert client("session.update", settings=wrong) == SessionUpdate(problems=("model", "language", "extra"))


def test_finalize_and_close() -> None:
    assert client("session.finalize", unknown=1) == Finalize()
    assert client("session.close") == Close()


@pytest.mark.parametrize("value", [None, 5, [], {}, True])
def test_audio_that_is_no_text_is_refused(value: Any) -> None:
    assert bad_request("input_audio", audio=value) == "audio is not text"
    assert bad_request("input_audio") == "audio is not text"


@pytest.mark.parametrize(
    "audio",
    [
        "A",
        "AA",
        "AAA",
        "AA=",
        "AAA=A",
        "AAAA=",
        "AAAA==",
        "AAAA====",
        "====",
        "=",
        "AA==AAA=",
        "AA= =",
        "AAAA\n",
        " AAA",
        "AA-_",
        "AAAé",
        "AAA\ud800",
        "AA\u0000=",
        "AAA==",
        "A===",
        "AAA=\n",
        "AAA=AAA=",
        "AA\r\nAA",
    ],
)
def test_audio_that_is_no_base64_is_refused(audio: str) -> None:
    assert bad_request("input_audio", audio=audio) == f"audio of {len(audio)} characters is no base64"


def test_half_a_sample_is_refused() -> None:
    assert bad_request("input_audio", audio="AAAA") == "audio of 3 bytes ends within a sample"


STRICT_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


@relaxed
@given(st.text(alphabet="AQz+/=-_ \n", max_size=12))
@example("AAAA====")
@example("+/+/+/8=")
def test_audio_is_taken_exactly_when_it_is_strict_base64(audio: str) -> None:
    result = outcome(decode_client, json.dumps({"type": "input_audio", "audio": audio}), LIMITS)
    if not STRICT_BASE64.fullmatch(audio):
        assert "no base64" in result.reason
    elif len(base64.b64decode(audio)) % 2:
        assert "within a sample" in result.reason
    else:
        assert result == InputAudio(base64.b64decode(audio))


# Encoding, and back.

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
"""Lone surrogates and controls included."""
SOUND_TEXT = st.text(max_size=20)
NAME = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
SECONDS = st.floats(0, 1e6).map(abs)
CONFIDENCE = st.floats(0, 1).map(abs)
SOUND_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | SOUND_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SOUND_TEXT, inner, max_size=4),
    max_leaves=8,
)
SOUND_OBJECT = st.dictionaries(SOUND_TEXT, SOUND_JSON, max_size=4)
FULL_OBJECT = st.dictionaries(SOUND_TEXT, SOUND_JSON, min_size=1, max_size=4)


@st.composite
def speech_data(draw: st.DrawFn) -> SpeechData:
    def span() -> tuple[float, float]:
        low, high = sorted((draw(SECONDS), draw(SECONDS)))
        return low, high

    words = tuple(
        TimedWord(draw(SOUND_TEXT), *span(), draw(CONFIDENCE), draw(st.none() | NAME))
        for _ in range(draw(st.integers(0, 4)))
    )
    return SpeechData(
        draw(NAME | st.just("")),
        draw(SOUND_TEXT),
        *span(),
        draw(CONFIDENCE),
        draw(st.none() | NAME),
        words,
        draw(st.none() | FULL_OBJECT),
    )


@relaxed
@given(st.sampled_from(TranscriptKind), speech_data(), st.none() | NAME, st.none() | NAME)
def test_transcripts_come_back(
    kind: TranscriptKind, data: SpeechData, request_id: str | None, session_id: str | None
) -> None:
    encoded = messages.encode_transcript(kind, data, request_id, session_id)
    assert decode_server(encoded, LIMITS) == Transcript(
        kind,
        data.text,
        data.language or None,
        data.start_time,
        data.end_time - data.start_time,
        data.confidence,
        tuple(Word(*word) for word in data.words),
        data.speaker_id,
        data.metadata,
        request_id,
        session_id,
    )


@relaxed
@given(st.integers(-messages.MAX_CODE, messages.MAX_CODE), SOUND_TEXT, st.none() | NAME)
def test_errors_come_back(code: int, message: str, session_id: str | None) -> None:
    encoded = messages.encode_error(code, message, session_id)
    assert decode_server(encoded, LIMITS) == ErrorMessage(code, message, session_id)


@relaxed
@given(NAME)
def test_session_created_comes_back(session_id: str) -> None:
    encoded = messages.encode_session_created(session_id)
    assert decode_server(encoded, LIMITS) == SessionCreatedMessage(session_id)


def test_constant_messages_come_back() -> None:
    assert decode_server(messages.START_OF_SPEECH, LIMITS) == StartOfSpeech()
    assert decode_server(messages.SESSION_FINALIZED, LIMITS) == SessionFinalized()
    assert decode_server(messages.SESSION_CLOSED, LIMITS) == SessionClosed()
    assert decode_client(messages.FINALIZE, LIMITS) == Finalize()
    assert decode_client(messages.CLOSE, LIMITS) == Close()
    assert messages.FINALIZE == b'{"type":"session.finalize"}'
    assert messages.CLOSE == b'{"type":"session.close"}'


@relaxed
@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 2 * 2]))
def test_audio_comes_back(pcm: bytes) -> None:
    for buffer in (pcm, bytearray(pcm), memoryview(pcm)):
        encoded = messages.encode_audio(buffer)
        assert decode_client(encoded, LIMITS) == InputAudio(pcm)
        assert encoded == b'{"type":"input_audio","audio":"' + base64.b64encode(pcm) + b'"}'


def test_a_chunk_of_50_ms_is_2136_characters() -> None:
    assert len(json.loads(messages.encode_audio(bytes(1600)))["audio"]) == 2136


@relaxed
@given(
    st.none() | NAME,
    st.integers(8000, 48000),
    st.none() | NAME,
    SOUND_OBJECT,
    st.lists(st.tuples(NAME, SOUND_OBJECT), max_size=3),
    st.none() | FULL_OBJECT,
)
def test_session_create_comes_back(
    model: str | None,
    rate: int,
    language: str | None,
    extra: dict[str, Any],
    fallback: list[tuple[str, dict[str, Any]]],
    connection: dict[str, Any] | None,
) -> None:
    sent = {"sample_rate": str(rate), "encoding": "pcm_s16le", "extra": extra}
    if language:
        sent["language"] = language
    body = {
        "model": model,
        "settings": sent,
        "fallback": {"models": [{"model": name, "extra": options} for name, options in fallback]},
        "connection": connection,
    }
    assert decode_client(messages.encode_session_create(body), LIMITS) == SessionCreate(
        model,
        sent,
        rate,
        "pcm_s16le",
        language or "",
        extra,
        tuple(Fallback(name, options) for name, options in fallback),
        connection,
    )


@relaxed
@given(st.none() | NAME, st.none() | NAME, st.none() | SOUND_OBJECT)
def test_session_update_comes_back(model: str | None, language: str | None, extra: dict[str, Any] | None) -> None:
    fields = {"model": model, "language": language, "extra": extra}
    changed = {name: value for name, value in fields.items() if value is not None}
    assert decode_client(messages.encode_session_update(changed), LIMITS) == SessionUpdate(changed)


def test_what_is_empty_is_not_sent() -> None:
    encoded = messages.encode_transcript(FINAL, SpeechData("", "hi", 1.0, 1.5, 0.5, None, (TimedWord("hi"),)))
    assert encoded == (
        b'{"type":"final_transcript","transcript":"hi","start":1.0,"duration":0.5,'
        b'"words":[{"word":"hi","start":0.0,"end":0.0}],"confidence":0.5}'
    )
    assert messages.encode_error(400, "no") == b'{"type":"error","code":400,"message":"no"}'


def test_json_is_compact_utf8_in_the_order_given() -> None:
    assert messages.encode_json({"b": [1, 0.5, None], "a": "é😀"}) == '{"b":[1,0.5,null],"a":"é😀"}'.encode()


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    assert messages.encode_json({"a": "é\ud800"}) == b'{"a":"\\u00e9\\ud800"}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_the_callers_mistake(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        messages.encode_json({"a": value})


# Anything at all.

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -0.0, 1, 16000, "16000", 1e308, 10**299, -(10**299), 2**63, "pcm_s16le", "AAAA", "AAA="])
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ANY_TEXT, inner, max_size=5),
    max_leaves=10,
)
ANY_WORD = ANY_JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(WORD_FIELDS, ANY_JSON))
ANY_TRANSCRIPT = st.fixed_dictionaries(
    {"type": st.sampled_from([f"{kind}_transcript" for kind in TranscriptKind])},
    optional={
        **dict.fromkeys(TRANSCRIPT_FIELDS, ANY_JSON),
        "transcript": ANY_TEXT,
        "words": ANY_JSON | st.lists(ANY_WORD, max_size=5),
        "extra": ANY_JSON | st.dictionaries(ANY_TEXT, ANY_JSON, max_size=5),
    },
)
ANY_SERVER_MESSAGE = ANY_TRANSCRIPT | st.fixed_dictionaries(
    {"type": st.sampled_from([*messages.SERVER_MESSAGES])},
    optional=dict.fromkeys([*TRANSCRIPT_FIELDS, "code", "message", "error"], ANY_JSON),
)
ANY_SETTINGS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["sample_rate", "encoding", "language", "extra", "model", "unknown"], ANY_JSON)
)
ANY_FALLBACK = st.fixed_dictionaries(
    {"models": st.lists(ANY_JSON | st.fixed_dictionaries({}, optional={"model": ANY_JSON, "extra": ANY_JSON}))}
)
ANY_CLIENT_MESSAGE = st.fixed_dictionaries(
    {"type": st.sampled_from([*messages.CLIENT_MESSAGES])},
    optional={
        "model": ANY_JSON,
        "settings": ANY_JSON | ANY_SETTINGS,
        "fallback": ANY_JSON | ANY_FALLBACK,
        "connection": ANY_JSON,
        "audio": ANY_JSON,
    },
)


def assert_sound_json(value: Any) -> None:
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def assert_sound_name(value: str | None, limits: Limits) -> None:
    if value is not None:
        assert 0 < len(value) <= limits.name
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", value)


def assert_sound_seconds(value: float | None) -> None:
    if value is not None:
        assert type(value) is float
        assert math.isfinite(value)
        assert math.copysign(1, value) == 1


def assert_sound_confidence(value: float) -> None:
    assert type(value) is float
    assert 0 <= value <= 1
    assert math.copysign(1, value) == 1


def assert_sound_problems(problems: tuple[str, ...], message: dict[str, Any]) -> None:
    assert type(problems) is tuple
    assert len(set(problems)) == len(problems)
    assert all(name.isascii() for name in problems)
    assert all(message.get(name, ...) is not None for name in problems)


@relaxed
@given(ANY_SERVER_MESSAGE, st.booleans(), st.sampled_from([LIMITS, SMALL]))
def test_whatever_a_gateway_sends_is_sound_or_not_usable(
    sent: dict[str, Any], ascii_only: bool, limits: Limits
) -> None:
    message = outcome(decode_server, json.dumps(sent, ensure_ascii=ascii_only), limits)
    if isinstance(message, NotUsable):
        assert message.reason == "transcript is not text"
        assert not isinstance(sent["transcript"], str)
        return
    assert not isinstance(message, Unrecognized)
    assert message.trigger == f"gateway:{sent['type']}"
    nested = sent.get("error")
    assert_sound_problems(
        message.problems,
        {**nested, **{name: value for name, value in sent.items() if value is not None}}
        if isinstance(nested, dict)
        else sent,
    )
    if isinstance(message, Transcript):
        assert len(message.text.encode()) <= limits.text
        for seconds in (message.start, message.duration):
            assert_sound_seconds(seconds)
        assert_sound_confidence(message.confidence)
        for name in (message.language, message.speaker_id, message.request_id, message.session_id):
            assert_sound_name(name, limits)
        assert_sound_json(message.metadata)
        assert message.metadata is None or (isinstance(message.metadata, dict) and message.metadata)
        assert len(message.words) <= limits.words
        for word in message.words:
            assert type(word) is Word
            assert len(word.text.encode()) <= limits.text
            assert_sound_seconds(word.start)
            assert_sound_seconds(word.end)
            assert_sound_confidence(word.confidence)
            assert_sound_name(word.speaker_id, limits)
    elif isinstance(message, ErrorMessage):
        assert type(message.code) is int
        assert abs(message.code) <= messages.MAX_CODE
        assert len(message.message.encode()) <= limits.text
        assert_sound_name(message.session_id, limits)
    elif isinstance(message, SessionCreatedMessage):
        assert_sound_name(message.session_id, limits)


@relaxed
@given(ANY_CLIENT_MESSAGE, st.booleans())
def test_whatever_a_client_sends_is_sound_or_not_usable(sent: dict[str, Any], ascii_only: bool) -> None:
    message = outcome(decode_client, json.dumps(sent, ensure_ascii=ascii_only), LIMITS)
    if isinstance(message, NotUsable):
        assert type(message) is BadRequest
        assert len(message.reason) < 100
        return
    assert not isinstance(message, Unrecognized)
    assert message.trigger == f"client:{sent['type']}"
    if isinstance(message, SessionCreate):
        assert_sound_name(message.model, LIMITS)
        assert_sound_name(message.language or None, LIMITS)
        assert 8000 <= message.sample_rate <= 48000
        assert message.encoding == "pcm_s16le"
        assert_sound_json([message.settings, message.extra, message.connection])
        for fallback in message.fallback:
            assert_sound_name(fallback.model, LIMITS)
            assert_sound_json(fallback.extra)
    elif isinstance(message, SessionUpdate):
        assert_sound_json(message.settings)
        assert_sound_name(message.settings.get("model") or None, LIMITS)
        assert_sound_name(message.settings.get("language") or None, LIMITS)
        assert isinstance(message.settings.get("extra", {}), dict)
    elif isinstance(message, InputAudio):
        assert len(message.pcm) % 2 == 0


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
    words = messages._words(items, limits, short)
    assert words == tuple(messages._word(item, limits, long) for item in items)
    assert [math.copysign(1, word.start or 0.0) for word in words] == [1.0] * len(words)
    assert short == long


# Frames collected elsewhere.

MENDED_BY_SPEECH = {"start_huge", "final_beyond_audio"}
"""What only the audio sent can judge."""


def hostile() -> list[Any]:
    if not HOSTILE.exists():
        return []
    lines = [json.loads(line) for line in HOSTILE.read_text("utf-8").splitlines()]
    return [pytest.param(line, id=line["name"]) for line in lines if line["encoding"] != "binary"]


@pytest.mark.parametrize("line", hostile())
def test_hostile_frames_do_what_they_are_expected_to(line: dict[str, Any]) -> None:
    frame: str | bytes = line["frame"]
    if line["encoding"] == "text-bytes":
        frame = base64.b64decode(line["frame"])
    if "gen" in line:
        gen = line["gen"]
        frame = gen["prefix"] + gen["unit"] * gen["times"] + gen["suffix"]
    expect = line["expect"]
    message = outcome(decode_server, frame, LIMITS)
    if isinstance(message, NotUsable):
        assert expect in {"skip", "limit", "default_or_skip", "ok_or_limit"} or line["name"] == "type_1mib"
        assert len(message.reason) < 100
    elif expect == "ignore":
        assert isinstance(message, Unrecognized)
    elif expect == "ok":
        assert message.problems == ()
    elif expect == "error":
        assert isinstance(message, (ErrorMessage, SessionClosed))
    else:
        assert expect in {"default", "default_or_skip", "clamp", "repair", "no_words", "ok_or_limit"}
        assert isinstance(message, Transcript)
        harmless = "null" in line["name"] or line["name"] in MENDED_BY_SPEECH or "or" in expect
        assert harmless or message.problems
