"""The messages of the wire, decoded and encoded for both ends (PROTOCOL 2 and 3).

What the gateway sends is read leniently, field by field (CONTRACT decision 8): null is absent, and a field that cannot
be used takes its default and is named in the message's ``problems``, so that the receiver can tell of all of them in
one Diagnostic. What a client sends is read strictly where audio would be misunderstood otherwise (PROTOCOL 4.6).

Transcripts arrive five times a second and stream, with a handful of words each. Their decoder first asks whether a word
is as it ordinarily is, in one straight condition, and only the others take the longer way, which gives the same result.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from itertools import count
from json import JSONEncoder
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from attrs import field, frozen

from .events import SpeechData, TimedWord
from .options import DEFAULT_SAMPLE_RATE_HZ, Limits
from .speed import encode_base64
from .wirejson import NotUsable, parse

if TYPE_CHECKING:
    from typing_extensions import Buffer

Data = str | bytes | bytearray | memoryview
"""One message as the transport gives it: text, or its UTF-8."""

ENCODING = "pcm_s16le"
"""Signed 16-bit little-endian, the only encoding there is (PROTOCOL 2.1)."""

MIN_SAMPLE_RATE_HZ = 8000
MAX_SAMPLE_RATE_HZ = 48000

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


class Word(NamedTuple):
    """One word of a transcript; times in seconds since the session's first sample."""

    text: str
    start: float | None
    """None when absent or unusable."""
    end: float | None
    """None when absent or unusable; may come before ``start``."""
    confidence: float
    """0 to 1; 0 when absent."""
    speaker_id: str | None

    def __repr__(self) -> str:
        return f"<Word of {len(self.text)} characters>"  # what was said is not for logs


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
        return _TRANSCRIPT_TRIGGERS[self.kind]

    def __repr__(self) -> str:
        return f"<Transcript, {self.kind}, of {len(self.text)} characters and {len(self.words)} words>"


_TRANSCRIPT_TRIGGERS = {kind: f"gateway:{kind}_transcript" for kind in TranscriptKind}


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


ServerMessage = (
    Transcript | StartOfSpeech | SessionCreatedMessage | SessionFinalized | SessionClosed | ErrorMessage | Unrecognized
)


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


# Fields. Each helper takes the value as decoded, gives one that is sound, and names the field where they differ.
# ``type(x) is`` and not ``isinstance``: the decoder makes plain types only, and a bool is no number.

_Problems = list[str]

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Categories Cc, Zl and Zp, the controls of writing direction, and lone surrogates: nothing that an id or a language
# needs, and all that makes one dangerous to print or to echo.
_UNSAFE_IN_NAME = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_SAMPLE_RATE = re.compile(r"[1-9][0-9]{3,4}")


def _named(problems: _Problems) -> tuple[str, ...]:
    return tuple(dict.fromkeys(problems)) if problems else ()


def _text(value: str, limit: int, name: str, problems: _Problems) -> str:
    """Mend lone surrogates and cut to ``limit`` bytes of UTF-8, at a character."""
    if _LONE_SURROGATE.search(value):
        problems.append(name)
        value = _LONE_SURROGATE.sub("\ufffd", value)
    raw = value.encode()
    if len(raw) > limit:
        problems.append(name)
        value = raw[:limit].decode("utf-8", "ignore")
    return value


def _name(value: object, limit: int, name: str, problems: _Problems) -> str | None:
    """An id, a language or the name of a model; empty is absent (PROTOCOL 3.1, 3.2)."""
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= limit and (value.isprintable() or not _UNSAFE_IN_NAME.search(value)):
        return value
    problems.append(name)
    return None


def _seconds(value: Any, name: str, problems: _Problems) -> float | None:
    if value is None:
        return None
    if (type(value) is float or type(value) is int) and value >= 0:
        return abs(float(value))  # no -0.0; the parser takes no integer that would overflow
    problems.append(name)
    return None


def _confidence(value: Any, default: float, name: str, problems: _Problems) -> float:
    if value is None:
        return default
    if type(value) is float or type(value) is int:
        if 0 <= value <= 1:
            return abs(float(value))
        problems.append(name)
        return 1.0 if value > 1 else 0.0
    problems.append(name)
    return default


def _word(item: dict[str, Any], limits: Limits, problems: _Problems) -> Word:
    get = item.get
    text = get("word")
    if type(text) is str:
        text = _text(text, limits.text, "words", problems)
    elif text is None:
        text = ""
    else:
        problems.append("words")
        text = ""
    return Word(
        text,
        _seconds(get("start"), "words", problems),
        _seconds(get("end"), "words", problems),
        _confidence(get("confidence"), 0.0, "words", problems),
        _name(get("speaker_id"), limits.name, "words", problems),
    )


_new_tuple = tuple.__new__


def _words(items: list[Any], limits: Limits, problems: _Problems) -> tuple[Word, ...]:
    if len(items) > limits.words:
        problems.append("words")
        return ()
    text_limit = limits.text
    name_limit = limits.name
    words = []
    for item in items:
        if type(item) is not dict:
            if item is not None:
                problems.append("words")
            continue
        get = item.get
        text = get("word")
        start = get("start")
        end = get("end")
        confidence = get("confidence")
        speaker_id = get("speaker_id")
        if (
            type(text) is str
            and type(start) is float
            and type(end) is float
            and type(confidence) is float
            and start > 0.0
            and end > 0.0
            and 0.0 < confidence <= 1.0
            and text.isascii()
            and len(text) <= text_limit
            and (
                speaker_id is None
                or (type(speaker_id) is str and 0 < len(speaker_id) <= name_limit and speaker_id.isprintable())
            )
        ):
            # As Word(...), at half of the cost.
            words.append(_new_tuple(Word, (text, start, end, confidence, speaker_id)))
        else:
            words.append(_word(item, limits, problems))
    return tuple(words)


def _mend(holder: dict[str, Any] | list[Any]) -> bool:
    """Mend lone surrogates in all keys and texts, in place; tell whether there were any.

    A key that becomes another one's equal gets a number. Not recursive: nesting must not depend on the stack.
    """
    mended = False
    waiting: list[dict[str, Any] | list[Any]] = [holder]
    while waiting:
        inner: Any = waiting.pop()
        if type(inner) is dict:
            numbers = count(2)  # never begun again, so that many equal keys take no more than linear time
            for key in [key for key in inner if not key.isascii() and _LONE_SURROGATE.search(key)]:
                mended = True
                sound = name = _LONE_SURROGATE.sub("\ufffd", key)
                while name in inner:
                    name = f"{sound}~{next(numbers)}"
                inner[name] = inner.pop(key)
        for key, value in inner.items() if type(inner) is dict else enumerate(inner):
            if type(value) is str:
                if not value.isascii() and _LONE_SURROGATE.search(value):
                    mended = True
                    inner[key] = _LONE_SURROGATE.sub("\ufffd", value)
            elif type(value) is dict or type(value) is list:
                waiting.append(value)
    return mended


def _object(value: Any, name: str, problems: _Problems) -> dict[str, Any] | None:
    """A JSON object, mended; an empty one is absent (PROTOCOL 3.1)."""
    if type(value) is dict:
        if _mend(value):
            problems.append(name)
        return value or None
    if value is not None:
        problems.append(name)
    return None


# Decoders, one for each type. Their messages are dicts that nobody else holds.


def _session_created(message: dict[str, Any], limits: Limits) -> SessionCreatedMessage:
    problems: _Problems = []
    session_id = _name(message.get("session_id"), limits.name, "session_id", problems)
    return SessionCreatedMessage(session_id, problems=_named(problems))


def _start_of_speech(_message: dict[str, Any], _limits: Limits) -> StartOfSpeech:
    return StartOfSpeech()


def _transcript(kind: TranscriptKind, message: dict[str, Any], limits: Limits) -> Transcript:
    get = message.get
    problems: _Problems = []
    text = get("transcript")
    if type(text) is str:
        if len(text) > limits.text or not text.isascii():
            text = _text(text, limits.text, "transcript", problems)
    elif text is None:
        text = ""
    else:
        raise NotUsable("transcript is not text")
    start = get("start")
    if type(start) is not float or not start > 0.0:
        start = _seconds(start, "start", problems)
    duration = get("duration")
    if type(duration) is not float or not duration > 0.0:
        duration = _seconds(duration, "duration", problems)
    confidence = get("confidence")
    if type(confidence) is not float or not 0.0 < confidence <= 1.0:
        confidence = _confidence(confidence, 1.0, "confidence", problems)
    items = get("words")
    if type(items) is list:
        words = _words(items, limits, problems)
    else:
        words = ()
        if items is not None:
            problems.append("words")
    name_limit = limits.name
    return Transcript(
        kind,
        text,
        _name(get("language"), name_limit, "language", problems),
        start,
        duration,
        confidence,
        words,
        _name(get("speaker_id"), name_limit, "speaker_id", problems),
        _object(get("extra"), "extra", problems),
        _name(get("request_id"), name_limit, "request_id", problems),
        _name(get("session_id"), name_limit, "session_id", problems),
        _named(problems),
    )


def _session_finalized(_message: dict[str, Any], _limits: Limits) -> SessionFinalized:
    return SessionFinalized()


def _session_closed(_message: dict[str, Any], _limits: Limits) -> SessionClosed:
    return SessionClosed()


def _error(message: dict[str, Any], limits: Limits) -> ErrorMessage:
    problems: _Problems = []
    code = message.get("code")
    text = message.get("message")
    inner = message.get("error")
    if type(inner) is dict:  # some servers nest both one level down
        code = inner.get("code") if code is None else code
        text = inner.get("message") if text is None else text
    if type(text) is str:
        text = _text(text, limits.text, "message", problems)
    elif text is None:
        text = ""
    else:
        problems.append("message")
        text = ""
    number = -1
    if (type(code) is int or (type(code) is float and code.is_integer())) and -MAX_CODE <= code <= MAX_CODE:
        number = int(code)
    elif code is not None:
        problems.append("code")
    session_id = _name(message.get("session_id"), limits.name, "session_id", problems)
    return ErrorMessage(number, text, session_id, problems=_named(problems))


def _settings(message: dict[str, Any], problems: _Problems) -> dict[str, Any]:
    settings = message.get("settings")
    if settings is not None and type(settings) is not dict:
        raise BadRequest("settings are no object")
    return _object(settings, "settings", problems) or {}


def _sample_rate(value: Any, problems: _Problems) -> int:
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


def _fallback(value: Any, limits: Limits, problems: _Problems) -> tuple[Fallback, ...]:
    models = (_object(value, "fallback", problems) or {}).get("models")
    if type(models) is not list:
        if models is not None:
            problems.append("fallback")
        return ()
    fallback = []
    for item in models:
        model = _name(item.get("model"), limits.name, "fallback", problems) if type(item) is dict else None
        if model is None:
            problems.append("fallback")
        else:
            fallback.append(Fallback(model, _object(item.get("extra"), "fallback", problems) or {}))
    return tuple(fallback)


def _session_create(message: dict[str, Any], limits: Limits) -> SessionCreate:
    problems: _Problems = []
    model = _name(message.get("model"), limits.name, "model", problems)
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
        _name(settings.get("language"), limits.name, "language", problems) or "",
        _object(settings.get("extra"), "extra", problems) or {},
        _fallback(message.get("fallback"), limits, problems),
        _object(message.get("connection"), "connection", problems),
        problems=_named(problems),
    )


def _input_audio(message: dict[str, Any], _limits: Limits) -> InputAudio:
    audio = message.get("audio")
    if type(audio) is not str:
        raise BadRequest("audio is not text")
    try:
        pcm = a2b_base64(audio, strict_mode=True)
    except ValueError:
        pcm = None
    # The strict mode of some interpreters lets padding follow that belongs to nothing.
    if pcm is None or (len(pcm) + 2) // 3 * 4 != len(audio):
        raise BadRequest(f"audio of {len(audio)} characters is no base64")
    if len(pcm) % 2:
        raise BadRequest(f"audio of {len(pcm)} bytes ends within a sample")
    return InputAudio(pcm)


def _session_update(message: dict[str, Any], limits: Limits) -> SessionUpdate:
    problems: _Problems = []
    settings = _settings(message, problems)
    for key in ("model", "language"):
        value = settings.get(key)
        if value != "" and _name(value, limits.name, key, problems) is None:
            settings.pop(key, None)
    value = settings.get("extra")
    if value != {} and _object(value, "extra", problems) is None:
        settings.pop("extra", None)
    return SessionUpdate(settings, problems=_named(problems))


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


def _message(data: Data, limits: Limits) -> tuple[str, dict[str, Any]]:
    message = parse(data, limits.message)
    if type(message) is not dict:
        raise NotUsable(f"{type(message).__name__} instead of an object")
    kind = message.get("type")
    if type(kind) is not str:
        raise NotUsable("no text as its type")
    return kind, message


def decode_server(data: Data, limits: Limits) -> ServerMessage:
    """Decode what a gateway sent (PROTOCOL 3). Raises ``NotUsable`` and nothing else."""
    kind, message = _message(data, limits)
    decoder = SERVER_MESSAGES.get(kind)
    return decoder(message, limits) if decoder else Unrecognized(len(kind))


def decode_client(data: Data, limits: Limits) -> ClientMessage:
    """Decode what a client sent (PROTOCOL 2).

    Raises ``BadRequest`` for what a gateway must refuse, other ``NotUsable`` for what is no message, and nothing else.
    """
    kind, message = _message(data, limits)
    decoder = CLIENT_MESSAGES.get(kind)
    return decoder(message, limits) if decoder else Unrecognized(len(kind))


# Encoders give the UTF-8 of one text message.

_encode_utf8 = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def encode_json(value: Mapping[str, Any]) -> bytes:
    """Encode one message, compactly, keys in the order given.

    A message with a lone surrogate, which UTF-8 does not have, is written in escapes. Raises ValueError for NaN and
    infinity.
    """
    try:
        return _encode_utf8(value).encode()
    except UnicodeEncodeError:
        return _encode_ascii(value).encode()


FINALIZE = encode_json({"type": "session.finalize"})
CLOSE = encode_json({"type": "session.close"})
START_OF_SPEECH = encode_json({"type": "start_of_speech"})
SESSION_FINALIZED = encode_json({"type": "session.finalized"})
SESSION_CLOSED = encode_json({"type": "session.closed"})


def encode_audio(pcm: Buffer) -> bytes:
    """Encode ``input_audio`` (PROTOCOL 2.2)."""
    return b'{"type":"input_audio","audio":"%b"}' % encode_base64(pcm)


def encode_session_create(body: Mapping[str, Any]) -> bytes:
    """Encode ``session.create`` (PROTOCOL 2.1); ``body`` is all but the type."""
    return encode_json({"type": "session.create", **body})


def encode_session_update(settings: Mapping[str, Any]) -> bytes:
    """Encode ``session.update`` (PROTOCOL 2.3); ``settings`` is only what changed."""
    return encode_json({"type": "session.update", "settings": settings})


def encode_session_created(session_id: str) -> bytes:
    """Encode ``session.created``."""
    return encode_json({"type": "session.created", "session_id": session_id})


def encode_transcript(
    kind: TranscriptKind,
    data: SpeechData,
    request_id: str | None = None,
    session_id: str | None = None,
) -> bytes:
    """Encode a transcript (PROTOCOL 3.1). Times are seconds since the session's first sample.

    Raises ValueError for numbers that are not finite.
    """
    return encode_json(
        {
            "type": f"{kind}_transcript",
            "transcript": data.text,
            "start": data.start_time,
            "duration": data.end_time - data.start_time,
            "words": [_wire_word(word) for word in data.words],
            # Absent means 1.0, without a claim to have measured it; a word's absent means 0.0.
            **({} if data.confidence == 1.0 else {"confidence": data.confidence}),
            **_given(
                language=data.language,
                speaker_id=data.speaker_id,
                extra=data.metadata,
                request_id=request_id,
                session_id=session_id,
            ),
        }
    )


def _wire_word(word: TimedWord) -> dict[str, Any]:
    text, start_time, end_time, confidence, speaker_id = word
    return {
        "word": text,
        "start": start_time,
        "end": end_time,
        **_given(confidence=confidence, speaker_id=speaker_id),
    }


def _given(**fields: object) -> dict[str, object]:
    """Leave out what is empty: the other end reads absent fields alike."""
    return {name: value for name, value in fields.items() if value}


def encode_error(code: int, message: str, session_id: str | None = None) -> bytes:
    """Encode ``error`` (PROTOCOL 3.3)."""
    return encode_json({"type": "error", "code": code, "message": message, **_given(session_id=session_id)})
