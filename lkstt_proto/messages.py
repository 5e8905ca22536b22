"""The messages of the wire and their decoders, for both ends (PROTOCOL 2 and 3).

What the gateway sends is read leniently, field by field, as ``fields.py`` tells; a message names its ``problems``. What
a client sends is read strictly where audio would be misunderstood otherwise (PROTOCOL 4.6).
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, NamedTuple

from attrs import field, frozen

from .fields import (
    Problems,
    Word,
    each_once,
    read_confidence,
    read_name,
    read_object,
    read_seconds,
    read_text,
    read_words,
)
from .options import DEFAULT_SAMPLE_RATE_HZ, Limits
from .wide import parse_message
from .wirejson import Data, NotUsable, parse

ENCODING = "pcm_s16le"
"""Signed 16-bit little-endian, the only encoding there is (PROTOCOL 2.1)."""

MIN_SAMPLE_RATE_HZ = 8000
MAX_SAMPLE_RATE_HZ = 48000

_SAMPLE_RATE = re.compile(r"[1-9][0-9]{3,4}")

MAX_CODE = 2**53 - 1
"""Error codes beyond it, to either side, are no codes: JSON numbers are exact up to here in every language."""


class BadRequest(NotUsable):
    """A client's message that a gateway answers with error 400 (PROTOCOL 4.6); ``reason`` never holds content."""


@frozen
class _Message:
    problems: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of fields that could not be used as they came, each once."""


@frozen
class Unrecognized(_Message):
    """A message of a type that this side does not take; there may be new ones any day."""

    type_length: int
    """Characters of its ``type``, which may be anything."""


# What a client receives.


@frozen
class SessionCreatedMessage(_Message):
    """``session.created``: the gateway accepted ``session.create``."""

    trigger: ClassVar[str] = "gateway:session.created"
    session_id: str | None = None


@frozen
class StartOfSpeech(_Message):
    """``start_of_speech``: somebody began to speak."""

    trigger: ClassVar[str] = "gateway:start_of_speech"


class TranscriptKind(StrEnum):
    """How settled a transcript is."""

    INTERIM = "interim"
    """May still change."""
    PREFLIGHT = "preflight"
    """Stable enough to begin an answer."""
    FINAL = "final"
    """Will not change."""


class Transcript(NamedTuple):
    """``interim_transcript``, ``preflight_transcript`` or ``final_transcript`` (PROTOCOL 3.1)."""

    kind: TranscriptKind
    text: str
    language: str | None = None
    """As sent; None when absent, empty or unusable."""
    start: float | None = None
    """Seconds since the session's first sample; None when absent or unusable."""
    duration: float | None = None
    """Seconds; None when absent or unusable."""
    confidence: float = 1.0
    """0 to 1; 1 when absent."""
    words: tuple[Word, ...] = ()
    speaker_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    """The ``extra`` object; None when absent or empty."""
    request_id: str | None = None
    session_id: str | None = None
    problems: tuple[str, ...] = ()
    """Names of fields that could not be used as they came, each once."""

    @property
    def trigger(self) -> str:
        """What the session table calls this message."""
        return TRANSCRIPT_TRIGGERS[self.kind]

    def __repr__(self) -> str:
        return f"<Transcript, {self.kind}, of {len(self.text)} characters and {len(self.words)} words>"


TRANSCRIPT_TRIGGERS = {kind: f"gateway:{kind}_transcript" for kind in TranscriptKind}


@frozen
class SessionFinalized(_Message):
    """``session.finalized``: what was sent is final, or soon will be."""

    trigger: ClassVar[str] = "gateway:session.finalized"


@frozen
class SessionClosed(_Message):
    """``session.closed``: nothing follows."""

    trigger: ClassVar[str] = "gateway:session.closed"


@frozen
class ErrorMessage(_Message):
    """``error``: the session failed (PROTOCOL 3.3)."""

    trigger: ClassVar[str] = "gateway:error"
    code: int
    """-1 when absent or no number."""
    message: str = field(repr=False)
    """May hold what was said: not for logs."""
    session_id: str | None = None


KnownMessage = Transcript | StartOfSpeech | SessionCreatedMessage | SessionFinalized | SessionClosed | ErrorMessage
ServerMessage = KnownMessage | Unrecognized


# What a gateway receives.


@frozen
class Fallback:
    """A model to use when the first one fails."""

    model: str
    extra: Mapping[str, Any] = field(factory=dict, repr=False)
    """Its provider options."""


@frozen
class SessionCreate(_Message):
    """``session.create`` (PROTOCOL 2.1)."""

    trigger: ClassVar[str] = "client:session.create"
    model: str | None = None
    """None: the gateway chooses."""
    settings: Mapping[str, Any] = field(factory=dict, repr=False)
    """As sent; what is usable of it stands in the fields below."""
    sample_rate: int = DEFAULT_SAMPLE_RATE_HZ
    """Hz, within ``MIN_SAMPLE_RATE_HZ`` and ``MAX_SAMPLE_RATE_HZ``."""
    encoding: str = ENCODING
    language: str = ""
    """Empty when none was given."""
    extra: Mapping[str, Any] = field(factory=dict, repr=False)
    """Provider options."""
    fallback: tuple[Fallback, ...] = ()
    connection: Mapping[str, Any] | None = None
    """Hints for the gateway's own attempts, as sent."""


@frozen
class InputAudio(_Message):
    """``input_audio`` (PROTOCOL 2.2)."""

    trigger: ClassVar[str] = "client:input_audio"
    pcm: bytes = field(repr=False)
    """Signed 16-bit little-endian mono, whole samples."""


@frozen
class SessionUpdate(_Message):
    """``session.update`` (PROTOCOL 2.3)."""

    trigger: ClassVar[str] = "client:session.update"
    settings: Mapping[str, Any] = field(factory=dict, repr=False)
    """Only what changed; ``model`` and ``language`` are texts and ``extra`` is an object where present."""


@frozen
class Finalize(_Message):
    """``session.finalize`` (PROTOCOL 2.4)."""

    trigger: ClassVar[str] = "client:session.finalize"


@frozen
class Close(_Message):
    """``session.close`` (PROTOCOL 2.5)."""

    trigger: ClassVar[str] = "client:session.close"


ClientMessage = InputAudio | SessionCreate | SessionUpdate | Finalize | Close | Unrecognized


# Decoders, one for each type. Their messages are dicts that nobody else holds.


def _session_created(message: dict[str, Any], limits: Limits) -> SessionCreatedMessage:
    problems: Problems = []
    session_id = read_name(message.get("session_id"), limits.name, "session_id", problems)
    return SessionCreatedMessage(session_id, problems=each_once(problems))


def _start_of_speech(_message: dict[str, Any], _limits: Limits) -> StartOfSpeech:
    return StartOfSpeech()


def _transcript(kind: TranscriptKind, message: dict[str, Any], limits: Limits) -> Transcript:
    get = message.get
    problems: Problems = []
    text = get("transcript")
    if type(text) is str:
        if len(text) > limits.text or not text.isascii():
            text = read_text(text, limits.text, "transcript", problems)
    elif text is None:
        text = ""
    else:
        raise NotUsable("transcript is not text")
    start = get("start")
    if type(start) is not float or not start > 0.0:
        start = read_seconds(start, "start", problems)
    duration = get("duration")
    if type(duration) is not float or not duration > 0.0:
        duration = read_seconds(duration, "duration", problems)
    confidence = get("confidence")
    if type(confidence) is not float or not 0.0 < confidence <= 1.0:
        confidence = read_confidence(confidence, 1.0, "confidence", problems)
    items = get("words")
    if type(items) is list:
        words = read_words(items, limits, problems)
    else:
        words = ()
        if items is not None:
            problems.append("words")
    name_limit = limits.name
    fields = (
        kind,
        text,
        read_name(get("language"), name_limit, "language", problems),
        start,
        duration,
        confidence,
        words,
        read_name(get("speaker_id"), name_limit, "speaker_id", problems),
        read_object(get("extra"), "extra", problems),
        read_name(get("request_id"), name_limit, "request_id", problems),
        read_name(get("session_id"), name_limit, "session_id", problems),
    )
    return tuple.__new__(Transcript, (*fields, each_once(problems)))  # as Transcript(...), at half of the cost


def _session_finalized(_message: dict[str, Any], _limits: Limits) -> SessionFinalized:
    return SessionFinalized()


def _session_closed(_message: dict[str, Any], _limits: Limits) -> SessionClosed:
    return SessionClosed()


def _error(message: dict[str, Any], limits: Limits) -> ErrorMessage:
    problems: Problems = []
    code = message.get("code")
    text = message.get("message")
    inner = message.get("error")
    if type(inner) is dict:  # some servers nest both one level down
        code = inner.get("code") if code is None else code
        text = inner.get("message") if text is None else text
    text = read_text(text, limits.text, "message", problems)
    number = -1
    if (type(code) is int or (type(code) is float and code.is_integer())) and -MAX_CODE <= code <= MAX_CODE:
        number = int(code)
    elif code is not None:
        problems.append("code")
    session_id = read_name(message.get("session_id"), limits.name, "session_id", problems)
    return ErrorMessage(number, text, session_id, problems=each_once(problems))


def _settings(message: dict[str, Any], problems: Problems) -> dict[str, Any]:
    settings = message.get("settings")
    if settings is not None and type(settings) is not dict:
        raise BadRequest("settings are no object")
    return read_object(settings, "settings", problems) or {}


def _sample_rate(value: Any, problems: Problems) -> int:
    if value is None:
        return DEFAULT_SAMPLE_RATE_HZ
    rate = 0
    if type(value) is str:
        if _SAMPLE_RATE.fullmatch(value):
            rate = int(value)
    elif type(value) is int or (type(value) is float and value.is_integer()):
        problems.append("sample_rate")  # it works here, but a string is what the protocol has
        rate = int(value)
    if not MIN_SAMPLE_RATE_HZ <= rate <= MAX_SAMPLE_RATE_HZ:
        raise BadRequest(f"sample_rate is no number of Hz from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ}")
    return rate


def _fallback(value: Any, limits: Limits, problems: Problems) -> tuple[Fallback, ...]:
    models = (read_object(value, "fallback", problems) or {}).get("models")
    if type(models) is not list:
        if models is not None:
            problems.append("fallback")
        return ()
    fallback = []
    for item in models:
        model = read_name(item.get("model"), limits.name, "fallback", problems) if type(item) is dict else None
        if model is None:
            problems.append("fallback")
        else:
            fallback.append(Fallback(model, read_object(item.get("extra"), "fallback", problems) or {}))
    return tuple(fallback)


def _session_create(message: dict[str, Any], limits: Limits) -> SessionCreate:
    problems: Problems = []
    model = read_name(message.get("model"), limits.name, "model", problems)
    if problems:
        raise BadRequest("model is no name")
    settings = _settings(message, problems)
    encoding = settings.get("encoding")
    if encoding is not None and encoding != ENCODING:
        raise BadRequest(f"encoding is not {ENCODING}")
    return SessionCreate(
        model,
        settings,
        _sample_rate(settings.get("sample_rate"), problems),
        ENCODING,
        read_name(settings.get("language"), limits.name, "language", problems) or "",
        read_object(settings.get("extra"), "extra", problems) or {},
        _fallback(message.get("fallback"), limits, problems),
        read_object(message.get("connection"), "connection", problems),
        problems=each_once(problems),
    )


def read_base64(text: str) -> bytes | None:
    """Decode base64 of which each value has one spelling (RFC 4648 3.5); None for all else."""
    try:
        data = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    # The strict mode takes several spellings of the last byte, and that of some interpreters too much padding.
    return data if b2a_base64(data, newline=False) == text.encode() else None


def _input_audio(message: dict[str, Any], _limits: Limits) -> InputAudio:
    audio = message.get("audio")
    if type(audio) is not str:
        raise BadRequest("audio is not text")
    pcm = read_base64(audio)
    if pcm is None:
        raise BadRequest(f"audio of {len(audio)} characters is no base64")
    if len(pcm) % 2:
        raise BadRequest(f"audio of {len(pcm)} bytes ends within a sample")
    return InputAudio(pcm)


def _session_update(message: dict[str, Any], limits: Limits) -> SessionUpdate:
    problems: Problems = []
    settings = _settings(message, problems)
    for key in ("model", "language"):
        value = settings.get(key)
        if value != "" and read_name(value, limits.name, key, problems) is None:
            settings.pop(key, None)
    value = settings.get("extra")
    if value != {} and read_object(value, "extra", problems) is None:
        settings.pop("extra", None)
    return SessionUpdate(settings, problems=each_once(problems))


def _finalize(_message: dict[str, Any], _limits: Limits) -> Finalize:
    return Finalize()


def _close(_message: dict[str, Any], _limits: Limits) -> Close:
    return Close()


SERVER_MESSAGES: Mapping[str, Callable[[dict[str, Any], Limits], ServerMessage]] = {
    "session.created": _session_created,
    "start_of_speech": _start_of_speech,
    "interim_transcript": partial(_transcript, TranscriptKind.INTERIM),
    "preflight_transcript": partial(_transcript, TranscriptKind.PREFLIGHT),
    "final_transcript": partial(_transcript, TranscriptKind.FINAL),
    "session.finalized": _session_finalized,
    "session.closed": _session_closed,
    "error": _error,
}
"""Decoders of what a gateway sends, by ``type``; ``gateway:`` and the type is what the tables call it."""

CLIENT_MESSAGES: Mapping[str, Callable[[dict[str, Any], Limits], ClientMessage]] = {
    "session.create": _session_create,
    "input_audio": _input_audio,
    "session.update": _session_update,
    "session.finalize": _finalize,
    "session.close": _close,
}
"""Decoders of what a client sends, by ``type``; ``client:`` and the type is what the tables call it."""


def _of_kind(message: object) -> tuple[str, dict[str, Any]]:
    if type(message) is not dict:
        raise NotUsable(f"{type(message).__name__} instead of an object")
    kind = message.get("type")
    if type(kind) is not str:
        raise NotUsable("no text as its type")
    return kind, message


def decode_server(data: Data, limits: Limits) -> ServerMessage:
    """Decode what a gateway sent (PROTOCOL 3). Raises ``NotUsable`` and nothing else."""
    kind, message = _of_kind(parse_message(data, limits))
    decoder = SERVER_MESSAGES.get(kind)
    return decoder(message, limits) if decoder else Unrecognized(len(kind))


def decode_client(data: Data, limits: Limits) -> ClientMessage:
    """Decode what a client sent (PROTOCOL 2).

    Raises ``BadRequest`` for what a gateway must refuse, other ``NotUsable`` for what is no message, and nothing else.
    """
    kind, message = _of_kind(parse(data, limits.message))
    decoder = CLIENT_MESSAGES.get(kind)
    return decoder(message, limits) if decoder else Unrecognized(len(kind))
