"""Messages as they are sent: what the wire gets, and that the other end reads what was meant."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto import encoding
from lkstt_proto.events import SpeechData, TimedWord
from lkstt_proto.messages import (
    MAX_CODE,
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
    decode_client,
    decode_server,
)
from tests.decoding import Word

from .wire import CONFIDENCE, FINAL, LIMITS, NAME, SECONDS, relaxed

SOUND_TEXT = st.text(max_size=20)
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
    encoded = encoding.encode_transcript(kind, data, request_id, session_id)
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
@given(st.integers(-MAX_CODE, MAX_CODE), SOUND_TEXT, st.none() | NAME)
def test_errors_come_back(code: int, message: str, session_id: str | None) -> None:
    encoded = encoding.encode_error(code, message, session_id)
    assert decode_server(encoded, LIMITS) == ErrorMessage(code, message, session_id)


@relaxed
@given(NAME)
def test_session_created_comes_back(session_id: str) -> None:
    encoded = encoding.encode_session_created(session_id)
    assert decode_server(encoded, LIMITS) == SessionCreatedMessage(session_id)


def test_constant_messages_come_back() -> None:
    assert decode_server(encoding.START_OF_SPEECH, LIMITS) == StartOfSpeech()
    assert decode_server(encoding.SESSION_FINALIZED, LIMITS) == SessionFinalized()
    assert decode_server(encoding.SESSION_CLOSED, LIMITS) == SessionClosed()
    assert decode_client(encoding.FINALIZE, LIMITS) == Finalize()
    assert decode_client(encoding.CLOSE, LIMITS) == Close()
    assert encoding.FINALIZE == b'{"type":"session.finalize"}'
    assert encoding.CLOSE == b'{"type":"session.close"}'


@relaxed
@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 2 * 2]))
def test_audio_comes_back(pcm: bytes) -> None:
    for buffer in (pcm, bytearray(pcm), memoryview(pcm)):
        encoded = encoding.encode_audio(buffer)
        assert decode_client(encoded, LIMITS) == InputAudio(pcm)
        assert encoded == b'{"type":"input_audio","audio":"' + base64.b64encode(pcm) + b'"}'


def test_a_chunk_of_50_ms_is_2136_characters() -> None:
    assert len(json.loads(encoding.encode_audio(bytes(1600)))["audio"]) == 2136


@given(pcm=st.binary(max_size=50), size=st.integers(1, 20))
def test_audio_is_encoded_piece_by_piece(pcm: bytes, size: int) -> None:
    pieces = [encoding.encode_audio(pcm[start : start + size]) for start in range(0, len(pcm), size)]
    assert encoding.encode_pieces(bytearray(pcm), size) == pieces


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
    assert decode_client(encoding.encode_session_create(body), LIMITS) == SessionCreate(
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
    assert decode_client(encoding.encode_session_update(changed), LIMITS) == SessionUpdate(changed)


def test_what_is_empty_is_not_sent() -> None:
    encoded = encoding.encode_transcript(FINAL, SpeechData("", "hi", 1.0, 1.5, 0.5, None, (TimedWord("hi"),)))
    assert encoded == (
        b'{"type":"final_transcript","transcript":"hi","start":1.0,"duration":0.5,'
        b'"words":[{"word":"hi","start":0.0,"end":0.0}],"confidence":0.5}'
    )
    assert encoding.encode_error(400, "no") == b'{"type":"error","code":400,"message":"no"}'


def test_json_is_compact_utf8_in_the_order_given() -> None:
    assert encoding.encode_json({"b": [1, 0.5, None], "a": "é😀"}) == '{"b":[1,0.5,null],"a":"é😀"}'.encode()


def test_a_lone_surrogate_is_written_as_an_escape() -> None:
    assert encoding.encode_json({"a": "é\ud800"}) == b'{"a":"\\u00e9\\ud800"}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_the_callers_mistake(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoding.encode_json({"a": value})
