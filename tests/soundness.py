"""What holds of everything that an application is told, whatever the network sent (CONTRACT decisions 1, 3, 4 and 8).

Nothing in here knows what was sent: an ``Ear`` hears the events of one stream in order, a ``GatewayEar`` those of one
gateway, and both raise ``Unsound`` at the first one that no application should ever see. ``sound_action`` does the same
for what a core asks of its transport.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define

from lkstt_proto import (
    Action,
    AudioDropped,
    AudioReceived,
    CloseRequested,
    Connect,
    Diagnostic,
    Disconnect,
    Event,
    Finalized,
    FinalizeRequested,
    GatewayEvent,
    Limits,
    PeerLost,
    Ping,
    RecognitionUsage,
    Reconnecting,
    Resumed,
    SessionCreated,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamFailed,
    SttError,
    TimedWord,
)

DIAGNOSTICS = frozenset(
    [
        "invalid_message",
        "binary_message",
        "unknown_type",
        "unexpected_message",
        "invalid_field",
        "settings_refused",
        "endpointer_failed",
    ]
)
DETAIL_LIMIT = 300
"""Characters of a Diagnostic's detail: names of fields, kinds and lengths need no more."""
ERROR_LIMIT = 600
"""Characters of an error's text: 300 of the server's, and our own around them."""

_SPEECH = (
    SpeechEventType.INTERIM_TRANSCRIPT,
    SpeechEventType.PREFLIGHT_TRANSCRIPT,
    SpeechEventType.FINAL_TRANSCRIPT,
)
_BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class Unsound(AssertionError):
    """An application was told what it never should be."""


def check(holds: object, what: str) -> None:
    """Raise Unsound unless ``holds``; ``what`` says what should."""
    if not holds:
        raise Unsound(what)


def text(value: object, what: str, limit: int | None = None) -> None:
    """A text that encodes to UTF-8, of at most ``limit`` bytes of it."""
    check(type(value) is str, f"{what} is a text")
    try:
        size = len(str(value).encode())
    except UnicodeEncodeError:
        raise Unsound(f"{what} encodes to UTF-8") from None
    check(limit is None or size <= limit, f"{what} has at most {limit} bytes")


def name(value: object, what: str, limit: int | None = None) -> None:
    """An id or a language: text without controls, of at most ``limit`` characters."""
    text(value, what)
    shown = str(value)
    controls = [character for character in shown if unicodedata.category(character) in ("Cc", "Zl", "Zp")]
    check(not controls and not _BIDIRECTIONAL.search(shown), f"{what} has no control characters")
    check(limit is None or len(shown) <= limit, f"{what} has at most {limit} characters")


def number(value: object, what: str, least: float = 0.0, most: float = math.inf) -> float:
    """A finite float, never a bool or an integer, within bounds, and no negative zero."""
    check(type(value) is float, f"{what} is a float")
    found: float = value  # type: ignore[assignment]  # checked above
    check(math.isfinite(found) and least <= found <= most, f"{what} is from {least} to {most}")
    check(math.copysign(1.0, found) > 0, f"{what} is no negative zero")
    return found


def plain_json(value: object, what: str) -> None:
    """JSON that every encoder takes: plain kinds, finite numbers, text that encodes; no deeper than messages may be."""
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        check(depth <= 256, f"{what} is nested at most 256 deep")
        if type(item) is dict:
            for key in item:
                text(key, f"a key of {what}")
            waiting += [(inner, depth + 1) for inner in item.values()]
        elif type(item) is list:
            waiting += [(inner, depth + 1) for inner in item]
        elif type(item) is str:
            text(item, what)
        elif type(item) is float:
            check(math.isfinite(item), f"{what} has finite numbers")
        elif type(item) is int:
            check(abs(item) < 10**300, f"{what} has integers of at most 300 digits")
        else:
            check(item is None or type(item) is bool, f"{what} has plain kinds only")


def failure(error: object, limits: Limits) -> None:
    """An error of ours that may be printed."""
    check(isinstance(error, SttError), "an error is one of ours")
    if not isinstance(error, SttError):
        return
    shown = f"{error}{error!r}"
    text(shown, "an error's text")
    check(shown.isprintable(), "an error's text is printable")
    check(len(str(error)) <= ERROR_LIMIT, f"an error's text has at most {ERROR_LIMIT} characters")
    check(type(error.retryable) is bool, "retryable is true or false")
    if error.session_id is not None:
        name(error.session_id, "an error's session_id", limits.name)


def transcript(data: object, audio_time: float, limits: Limits) -> None:
    """One alternative: in the stream's time, and everything in it usable as it is."""
    check(type(data) is SpeechData, "an alternative is a SpeechData")
    if not isinstance(data, SpeechData):
        return
    name(data.language, "language", limits.name)
    check(data.language, "language is not empty")
    text(data.text, "text", limits.text)
    start = number(data.start_time, "start_time", most=audio_time)
    number(data.end_time, "end_time", start, audio_time)
    number(data.confidence, "confidence", most=1.0)
    _speaker(data.speaker_id, limits)
    check(type(data.words) is tuple and len(data.words) <= limits.words, "words is a tuple within the limit")
    for word in data.words:
        check(type(word) is TimedWord, "a word is a TimedWord")
        text(word.text, "a word's text", limits.text)
        start = number(word.start_time, "a word's start_time", most=audio_time)
        number(word.end_time, "a word's end_time", start, audio_time)
        number(word.confidence, "a word's confidence", most=1.0)
        _speaker(word.speaker_id, limits)
    if data.metadata is not None:
        check(type(data.metadata) is dict and data.metadata, "metadata is an object with something in it")
        plain_json(data.metadata, "metadata")


def _speaker(speaker_id: object, limits: Limits) -> None:
    if speaker_id is not None:
        name(speaker_id, "speaker_id", limits.name)
        check(speaker_id, "speaker_id is not empty")


@define
class Ear:
    """Hears the events of one ``Connection``."""

    limits: Limits = Limits()
    speaking: bool = False
    over: bool = False
    unique: float = 0.0
    """Seconds that usage events told so far."""
    resent: float = 0.0
    dropped: float = 0.0
    """Seconds that were told as dropped."""
    finals: int = 0
    diagnostics: int = 0
    _audio_time: float = 0.0
    _last: SpeechEventType | None = None

    def hear(self, events: Iterable[Event], audio_sent: float) -> None:
        """Events were taken after ``audio_sent`` seconds of the stream were handed to transports."""
        for event in events:
            check(not self.over, "nothing follows the end event")
            if isinstance(event, SpeechEvent):
                self._speech(event, audio_sent)
            else:
                self._stream(event)

    def _speech(self, event: SpeechEvent, audio_sent: float) -> None:
        kind = event.type
        check(type(event) is SpeechEvent and type(kind) is SpeechEventType, "a SpeechEvent has a type")
        name(event.request_id, "request_id", self.limits.name)
        # Of the same float: both are a whole number of samples over the rate.
        self._audio_time = number(event.audio_time, "audio_time", self._audio_time, audio_sent)
        check(type(event.promoted) is bool, "promoted is true or false")
        check(not event.promoted or kind is SpeechEventType.FINAL_TRANSCRIPT, "finals alone are promoted")
        check(
            self._last is not SpeechEventType.FINAL_TRANSCRIPT or kind is SpeechEventType.END_OF_SPEECH,
            "END follows each final",
        )
        check(type(event.alternatives) is tuple, "alternatives is a tuple")
        check(len(event.alternatives) == (kind in _SPEECH), "transcripts alone have an alternative")
        if kind in _SPEECH:
            check(self.speaking, f"{kind} comes within a turn")
            (data,) = event.alternatives
            transcript(data, event.audio_time, self.limits)
            self.finals += kind is SpeechEventType.FINAL_TRANSCRIPT
            check(data.text or kind is SpeechEventType.FINAL_TRANSCRIPT, "an interim or preflight has a text")
        elif kind is SpeechEventType.RECOGNITION_USAGE:
            self._usage(event.recognition_usage, audio_sent)
        else:
            starts = kind is SpeechEventType.START_OF_SPEECH
            check(self.speaking is not starts, "START and END alternate")
            check(not event.request_id, "START and END have no id")
            self.speaking = starts
        check(
            event.recognition_usage is None or kind is SpeechEventType.RECOGNITION_USAGE,
            "usage events alone tell usage",
        )
        self._last = kind

    def _usage(self, usage: object, audio_sent: float) -> None:
        check(type(usage) is RecognitionUsage, "a usage event tells usage")
        if isinstance(usage, RecognitionUsage):
            self.unique += number(usage.audio_duration, "audio_duration")
            self.resent += number(usage.resent_duration, "resent_duration")
            check(usage.audio_duration or usage.resent_duration, "a usage event tells of something")
            check(self.unique <= audio_sent + 1e-6, "no more audio is told of than was sent")

    def _stream(self, event: Event) -> None:
        if isinstance(event, Diagnostic):
            self.diagnostics += 1
            check(event.kind in DIAGNOSTICS, "a Diagnostic has one of the kinds that are told")
            text(event.detail, "detail", DETAIL_LIMIT)
            check(event.detail.isprintable(), "detail is printable")
        elif isinstance(event, SessionCreated):
            if event.session_id is not None:
                name(event.session_id, "session_id", self.limits.name)
                check(event.session_id, "session_id is not empty")
        elif isinstance(event, AudioDropped):
            start = number(event.start, "start of AudioDropped")
            self.dropped += number(event.end, "end of AudioDropped", start) - start
            check(event.start < event.end, "something was dropped")
            check(event.cause in ("overflow", "unacknowledged"), "a drop has a cause")
        elif isinstance(event, Reconnecting):
            check(type(event.attempt) is int and event.attempt >= 1, "attempts count failures")
            number(float(event.delay), "delay")  # a Retry-After is as the caller gave it
            failure(event.error, self.limits)
        elif isinstance(event, Resumed):
            check(type(event.attempt) is int and event.attempt >= 1, "attempts count failures")
            number(event.audio_time, "audio_time of Resumed")
            number(event.resent_duration, "resent_duration of Resumed")
            number(event.estimated_duration, "estimated_duration of Resumed")
        elif isinstance(event, StreamEnded | StreamFailed):
            check(not self.speaking, "turns are closed before the end")
            number(event.unacknowledged_seconds, "unacknowledged_seconds")
            self.over = True
            if isinstance(event, StreamFailed):
                failure(event.error, self.limits)
        else:
            check(isinstance(event, Finalized), f"{type(event).__name__} is an event")


@define
class GatewayEar:
    """Hears the events of one ``Gateway``."""

    limits: Limits = Limits()
    rate: int = 0
    """Hz, once a session was asked for."""
    heard: int = 0
    """Samples received."""
    asked_to_close: bool = False
    gone: bool = False

    def hear(self, events: Iterable[GatewayEvent]) -> None:
        """Events were taken."""
        for event in events:
            check(not self.gone, "nothing follows PeerLost")
            self._hear(event)

    def _hear(self, event: GatewayEvent) -> None:
        if isinstance(event, SessionRequested):
            check(not self.rate, "a session is asked for once")
            check(type(event.sample_rate) is int, "sample_rate is a whole number")
            check(8000 <= event.sample_rate <= 48000, "sample_rate is within bounds")
            self.rate = event.sample_rate
            if event.model is not None:
                name(event.model, "model", self.limits.name)
                check(event.model, "model is not empty")
            name(event.language, "language", self.limits.name)
            self._settings(event.settings)
        elif isinstance(event, PeerLost):
            self.gone = True
            check(type(event.code) is int, "a close code is a whole number")
        else:
            check(self.rate, f"{type(event).__name__} follows SessionRequested")
            if isinstance(event, AudioReceived):
                check(type(event.pcm) is bytes and len(event.pcm) % 2 == 0, "audio is whole samples")
                check(number(event.start, "start") == self.heard / self.rate, "audio follows upon audio")
                self.heard += len(event.pcm) // 2
            elif isinstance(event, SettingsChanged):
                self._settings(event.settings)
            elif isinstance(event, FinalizeRequested):
                check(number(event.audio_time, "audio_time") == self.heard / self.rate, "all audio is counted")
            else:
                check(isinstance(event, CloseRequested), f"{type(event).__name__} is an event")
                self.asked_to_close = True

    def _settings(self, settings: Mapping[str, Any]) -> None:
        check(type(settings) is dict, "settings is an object")
        plain_json(settings, "settings")


def sound_action(action: Action) -> Mapping[str, Any] | None:
    """Check what a transport is asked to do; give a message as an object, None for all else."""
    if not isinstance(action, bytes):
        check(isinstance(action, Connect | Ping | Disconnect), "an action is one of those that are told")
        if isinstance(action, Disconnect):
            check(action.code == 1000 or 1000 < action.code < 5000, "a close code may be sent")
        return None
    message = json.loads(action.decode("utf-8"))
    check(type(message) is dict and type(message.get("type")) is str, "a message has a type")
    plain_json(message, "a message")
    if message["type"] == "input_audio":
        pcm = b64decode(message["audio"], validate=True)
        check(pcm and len(pcm) % 2 == 0, "a message's audio is whole samples")
    return dict(message)
