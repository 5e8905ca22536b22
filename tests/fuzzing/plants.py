"""Deliberate bugs: a fuzzer that asserts nothing would find none of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from lkstt_proto import connection, dialogue, fields, handshake, messages, recording, wide, wirejson
from lkstt_proto.connection import Connection
from lkstt_proto.events import SessionCreated
from lkstt_proto.gateway import Gateway
from lkstt_proto.options import Limits
from lkstt_proto.tables import SessionEffect
from lkstt_transports import audio_files
from lkstt_transports.gateway import framing

from .oracles import replaced

Plant = Callable[[], AbstractContextManager[None]]


def _instead(module: object, name: str, value: object) -> Plant:
    return lambda: replaced((module, name, value))


def _wrapping(module: Any, name: str, make: Callable[[Any], object]) -> Plant:
    return lambda: replaced((module, name, make(getattr(module, name))))


@contextmanager
def _reading_audio(read: Callable[[dict[str, Any], Limits], Any]) -> Iterator[None]:
    decoders = dict(messages.CLIENT_MESSAGES)
    with replaced((messages, "CLIENT_MESSAGES", {**decoders, "input_audio": read})):
        yield


def _any_base64(message: dict[str, Any], _limits: Limits) -> messages.InputAudio:
    from base64 import b64decode

    audio = message.get("audio")
    if not isinstance(audio, str) or not audio.isascii():
        raise messages.BadRequest("audio is not text")
    pcm = b64decode(audio.rstrip("=") + "==")
    return messages.InputAudio(pcm[: len(pcm) // 2 * 2])


def _confident(value: Any, default: float, _name: str, _problems: list[str]) -> float:
    return float(value) if isinstance(value, int | float) else default


class _Gullible:
    def verify(self, _signed: bytes, _key: bytes, _signature: bytes) -> bool:
        return True


def _hasty(read: Callable[..., Any]) -> Callable[..., Any]:
    def read_twice(*args: Any) -> Any:
        for _ in range(1000):
            read(*args)
        return read(*args)

    return read_twice


def _forgetful(method: Callable[..., Any]) -> Callable[..., Any]:
    def forget(self: Connection, *args: Any) -> None:
        self._counters.dropped += args[0].end - args[0].start

    return forget


def _late(method: Callable[..., Any]) -> Callable[..., Any]:
    def require(self: Connection, what: str) -> None:
        self._counters.failures += 1
        method(self, what)
        self._counters.failures -= 1

    return require


def _deaf(method: Callable[..., Any]) -> Callable[..., Any]:
    def hear(self: Gateway, message: Any) -> None:
        before = self._counts
        method(self, message)
        if len(message.pcm) > 4:
            self._counts = before

    return hear


def _short(read: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda file, size: read(file, size)[: 400 if size > 400 else None]


PLANTS: Mapping[str, Mapping[str, Plant]] = {
    "receive_text": {
        "lone surrogates stay": _instead(fields, "_LONE_SURROGATE", re.compile(r"(?!)")),
        "confidence is as it comes": _instead(messages, "read_confidence", _confident),
        "one decoder takes what the other refuses": _instead(wirejson, "decode_json", json.loads),
        "times before the beginning": _instead(messages, "read_seconds", lambda value, *_: value),
        "an error without a code is a crash": _instead(messages, "MAX_CODE", None),
        "work without end": _wrapping(messages, "read_name", _hasty),
    },
    "gateway": {
        "base64 of any kind": lambda: _reading_audio(_any_base64),
        "rates of any kind": _instead(messages, "MAX_SAMPLE_RATE_HZ", 10**6),
        "audio is miscounted": _instead(
            Gateway, "_HEARD", {**Gateway._HEARD, SessionEffect.AUDIO: _deaf(Gateway._on_audio)}
        ),
    },
    "token": {
        "signed by anybody": _instead(handshake, "_hs256", _Gullible),
        "valid for ever": _instead(handshake, "_LONGEST_LIFE_SECONDS", 10**12),
        "times of any kind": _instead(handshake, "_is_time", lambda value: value is not None),
    },
    "fixture": {
        "numbers of any kind": _instead(dialogue._Reader, "number", lambda self, value, what: value),
        "audio is written wrongly": _instead(recording, "audio_json", lambda pcm: {"hex": "", "times": len(pcm)}),
    },
    "wav": {
        "memory by the header": _instead(audio_files, "_LONGEST_BLOCK", 2**40),
        "audio is left out": _wrapping(audio_files, "_read", _short),
    },
    "connection": {
        "audio is dropped in silence": _wrapping(Connection, "_tell_dropped", _forgetful),
        "what is refused changes something": _wrapping(Connection, "_require_input", _late),
        "the end is not told": _instead(connection, "StreamEnded", SessionCreated),
    },
    "wide": {
        "escapes are torn": _instead(wide, "_TORN", re.compile(rb"(?!)")),
        "commas may follow brackets": _instead(wide, "_INNERMOST_END", {"[": "]", "{": "}"}),
    },
    "frames": {
        "fragments without end": _instead(framing, "FRAGMENTS", 10**9),
        "masks are no matter": _instead(framing, "_MASKED", 0xFF),
    },
}
