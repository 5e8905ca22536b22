"""What accepted messages must be: the same for both decoders, and the same again when written anew."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from lkstt_proto import transcripts, wirejson
from lkstt_proto.encoding import encode_json
from lkstt_proto.messages import (
    Close,
    ErrorMessage,
    Finalize,
    InputAudio,
    SessionClosed,
    SessionCreate,
    SessionCreatedMessage,
    SessionFinalized,
    SessionUpdate,
    StartOfSpeech,
    Transcript,
    Unrecognized,
    decode_client,
)
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable
from tests.decoding import decode_server
from tests.soundness import check

Decoder = Callable[[Any, Limits], Any]

DECODERS: dict[str, Decoder] = {"server": decode_server, "client": decode_client}
"""By who sends."""


EXTRA = [(wirejson, "decode_json"), (transcripts, "decode_transcript")]
"""Where the ``speed`` extra is used for decoding."""


@contextmanager
def plain() -> Iterator[None]:
    """Decode as without the ``speed`` extra."""
    with replaced(*((module, name, None) for module, name in EXTRA)):
        yield


@contextmanager
def replaced(*items: tuple[object, str, object]) -> Iterator[None]:
    """Have attributes of modules be something else; a hundred times faster than what tests use otherwise."""
    before = [(module, name, getattr(module, name)) for module, name, _ in items]
    try:
        for module, name, value in items:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def exact(message: Any) -> str:
    """All that a message holds: 0.0 apart from -0.0, 1 from 1.0, and what its own repr keeps to itself."""
    if isinstance(message, Transcript):
        words = [tuple(word) for word in message.words]
        return repr((type(message), *message._replace(words=()), words))
    return repr((type(message), attrs.asdict(message)))


def outcome(decode: Decoder, data: str | bytes, limits: Limits) -> tuple[str, Any]:
    """What a decoder gives, told exactly, and the message itself; None where it refuses."""
    try:
        message = decode(data, limits)
    except NotUsable as problem:
        return f"{type(problem).__name__}: {problem.reason}", None
    return exact(message), message


def decoded_alike(side: str, data: str | bytes, limits: Limits) -> Any:
    """Check that all ways to decode agree, and give the message; None where it is refused."""
    decode = DECODERS[side]
    told, message = outcome(decode, data, limits)
    with plain():
        plainly, _ = outcome(decode, data, limits)
    check(told == plainly, "both decoders read the same message, or refuse it for the same reason")
    if isinstance(data, str):
        try:
            raw = data.encode()
        except UnicodeEncodeError:
            raw = None  # no transport gives such a text
        if raw is not None:
            as_bytes, other = outcome(decode, raw, limits)
            check((message is None) is (other is None), "a message is refused alike as text and as its bytes")
            check(message is None or told == as_bytes, "a message is read alike as text and as its bytes")
    return message


def written_again(side: str, message: Any, limits: Limits) -> None:
    """Check that an accepted message, written from its values, is read as the same again with nothing left to mend."""
    wire = _wire(message)
    if wire is None:
        return
    # Numbers may take more characters than they came in.
    again = DECODERS[side](encode_json(wire), attrs.evolve(limits, message=limits.message * 16))
    check(
        exact(_without_problems(again)) == exact(_without_problems(message)),
        "an accepted message is the same when it is written again",
    )
    if side == "server":
        check(not again.problems, "what was mended needs no more mending")
    else:
        check(set(again.problems) <= set(message.problems), "what was mended needs no more mending")


def _without_problems(message: Any) -> Any:
    return message._replace(problems=()) if isinstance(message, Transcript) else attrs.evolve(message, problems=())


def _wire(message: Any) -> dict[str, Any] | None:
    """Write a message by its fields; None for one of a type that is not known."""
    if isinstance(message, Unrecognized):
        return None
    kind = message.trigger.partition(":")[2]
    if isinstance(message, Transcript):
        return {
            "type": kind,
            "transcript": message.text,
            "language": message.language,
            "start": message.start,
            "duration": message.duration,
            "confidence": message.confidence,
            "words": [
                {
                    "word": text,
                    "start": start,
                    "end": end,
                    "confidence": confidence,
                    "speaker_id": speaker_id,
                }
                for text, start, end, confidence, speaker_id in message.words
            ],
            "speaker_id": message.speaker_id,
            "extra": message.metadata,
            "request_id": message.request_id,
            "session_id": message.session_id,
        }
    if isinstance(message, ErrorMessage):
        return {"type": kind, "code": message.code, "message": message.message, "session_id": message.session_id}
    if isinstance(message, SessionCreatedMessage):
        return {"type": kind, "session_id": message.session_id}
    if isinstance(message, InputAudio):
        return {"type": kind, "audio": b64encode(message.pcm).decode()}
    if isinstance(message, SessionCreate):
        models = [{"model": fallback.model, "extra": fallback.extra} for fallback in message.fallback]
        return {
            "type": kind,
            "model": message.model,
            "settings": message.settings,
            "fallback": {"models": models},
            "connection": message.connection,
        }
    if isinstance(message, SessionUpdate):
        return {"type": kind, "settings": message.settings}
    check(
        isinstance(message, StartOfSpeech | SessionFinalized | SessionClosed | Finalize | Close),
        "a decoded message is one of those that are told",
    )
    return {"type": kind}
