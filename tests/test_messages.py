"""Wire messages: what each becomes, what is refused, and that whatever comes is sound or not usable."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lkstt_proto import messages
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
    decode_client,
    decode_server,
)
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable
from tests.decoding import Word

from .wire import (
    ANY_JSON,
    ANY_TEXT,
    FINAL,
    LIMITS,
    SMALL,
    TRANSCRIPT_FIELDS,
    WORD_FIELDS,
    final,
    nulls,
    relaxed,
    server,
)

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile" / "messages.jsonl"
"""A collection of hostile frames that may lie beside the checkout."""


def client(kind: str, limits: Limits = LIMITS, **fields: Any) -> Any:
    return decode_client(json.dumps({"type": kind, **fields}), limits)


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
    assert type(Word(*message.words[1]).start) is float
    assert type(Word(*message.words[1]).confidence) is float


@pytest.mark.parametrize("value", [True, 5, 0.5, [], ["a"], {}, False])
def test_a_transcript_that_is_not_text_is_not_usable(value: Any) -> None:
    with pytest.raises(NotUsable, match=r"^transcript is not text$"):
        final(transcript=value)


@pytest.mark.parametrize("value", ["hello", "", 5, 0, True, False, {}, {"0": {}}])
def test_words_that_are_no_list_are_dropped(value: Any) -> None:
    message = final(transcript="x", words=value)
    assert message.words == ()
    assert message.problems == ("words",)


def test_lone_surrogates_are_mended_everywhere() -> None:
    message = final(
        transcript="a\udc00b\ud800",
        words=[{"word": "\udfff"}],
        extra={"\ud800": ["\ud801", {"k\udc00": "v\udc00"}], "fine": "é😀", "n": 1},
    )
    assert message.text == "a\ufffdb\ufffd"
    assert message.words[0][0] == "\ufffd"
    assert message.metadata == {"fine": "é😀", "n": 1, "\ufffd": ["\ufffd", {"k\ufffd": "v\ufffd"}]}
    assert message.problems == ("transcript", "words", "extra")
    assert final(transcript="😀") == Transcript(FINAL, "😀")


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
        "AAB=",
        "AB==",
    ],
)
def test_audio_that_is_no_base64_is_refused(audio: str) -> None:
    assert bad_request("input_audio", audio=audio) == f"audio of {len(audio)} characters is no base64"


def test_half_a_sample_is_refused() -> None:
    assert bad_request("input_audio", audio="AAAA") == "audio of 3 bytes ends within a sample"


# No bits are left over in the last character (RFC 4648 3.5).
STRICT_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?")


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


# Anything at all.

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
        for given in message.words:
            assert type(given) is tuple
            word = Word(*given)
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
