"""Every message with every field: what it means, what it may hold, and what a receiver makes of the rest.

``schema`` gives ``spec/messages.schema.json``: what a sender may send, and what ``messages.py`` takes without a word.
What a receiver forgives is no part of it; that stands in ``describe``, for ``spec/machine.json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .fields import _LONE_SURROGATE, _UNSAFE_IN_NAME
from .messages import ENCODING, MAX_CODE, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from .options import DEFAULT_SAMPLE_RATE_HZ, Limits


def _without(characters: str) -> str:
    """Turn the pattern of a class of characters into that of a text without any of them."""
    return f"^[^{characters[1:-1]}]*$"


_LIMITS = Limits()
_SOUND = _without(_LONE_SURROGATE.pattern)
_NAME = {"maxLength": _LIMITS.name, "pattern": _without(_UNSAFE_IN_NAME.pattern)}


@frozen
class Kind:
    """What a field may hold."""

    schema: Mapping[str, Any]
    """Of a value that is there; null is told by ``nullable``."""
    rule: str
    """What a receiver makes of it, and of what it may not hold."""
    nullable: bool = True
    """Whether null does for absent."""


KINDS: Mapping[str, Kind] = {
    "transcript": Kind(
        {"type": "string", "maxLength": _LIMITS.text, "pattern": _SOUND},
        "As `text`; but a transcript whose text is neither a text nor null is no message that can be used.",
    ),
    "text": Kind(
        {"type": "string", "maxLength": _LIMITS.text, "pattern": _SOUND},
        "At most `limits.text` bytes of UTF-8. Mended, with a problem: each lone surrogate becomes U+FFFD, and what is "
        "longer is cut before the character that does not fit. No text: the default, with a problem.",
    ),
    "name": Kind(
        {"type": "string", **_NAME},
        "At most `limits.name` characters (code points), no controls, line or paragraph separators, direction controls "
        "or lone surrogates (see the schema's pattern). Otherwise, as for what is no text: the default, with a "
        "problem. Empty: the default.",
    ),
    "seconds": Kind(
        {"type": "number", "minimum": 0},
        "A number of at least 0; -0 is 0. Otherwise absent, with a problem.",
    ),
    "confidence": Kind(
        {"type": "number", "minimum": 0, "maximum": 1},
        "A number from 0 to 1; -0 is 0. Mended, with a problem: beyond either end it becomes that end. No number: the "
        "default, with a problem.",
    ),
    "metadata": Kind(
        {"type": "object", "$ref": "#/$defs/sound"},
        "An object, passed on as it is; empty is absent. Mended, with a problem: each lone surrogate in any text or "
        "key, at any depth, becomes U+FFFD; a key that then equals another gets `~2`, `~3` and so on behind it. "
        "No object: absent, with a problem.",
    ),
    "words": Kind(
        {"type": "array", "maxItems": _LIMITS.words},
        "A list of objects. An element that is null is skipped, any other that is no object as well, with a problem. A "
        "problem of a word's field is one of `words`. More than `limits.words` elements, or no list: none at all, with "
        "a problem.",
    ),
    "code": Kind(
        {"type": "integer", "minimum": -MAX_CODE, "maximum": MAX_CODE},
        "A whole number (400.0 is one) whose distance from 0 is at most `constants.max_code`. Otherwise -1, with a "
        "problem.",
    ),
    "nested": Kind(
        {"type": "object"},
        "Where `code` or `message` is absent beside it, the one within this object counts. Anything but an object is "
        "ignored.",
    ),
    "audio": Kind(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^(?:[A-Za-z0-9+/]{8})*(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{6}==)?$",
        },
        "Base64 with the standard alphabet, padding and no line breaks, of whole 16-bit samples. Otherwise refused.",
        nullable=False,
    ),
    "settings": Kind(
        {"type": "object", "$ref": "#/$defs/sound"},
        "An object, mended as `metadata`, all of it at once. Null is empty. No object: refused.",
        nullable=False,
    ),
    "model": Kind(
        {"type": "string", **_NAME},
        "As `name`, but what is none is refused.",
    ),
    "sample_rate": Kind(
        {"type": "string", "pattern": "^(?:[89][0-9]{3}|[1-3][0-9]{4}|4[0-7][0-9]{3}|48000)$"},
        f"A decimal text from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ}; a whole number does too, with a problem. "
        f"Null is {DEFAULT_SAMPLE_RATE_HZ}. Otherwise refused.",
    ),
    "encoding": Kind(
        {"const": ENCODING},
        f"`{ENCODING}`, or null for it. Otherwise refused.",
    ),
    "fallback": Kind(
        {"type": "object"},
        "An object with a list `models`; each of its objects with a usable `model` counts, anything else is skipped "
        "with a problem.",
    ),
    "models": Kind({"type": "array"}, "See `fallback`."),
    "timeout": Kind({"type": "number", "minimum": 0}, "Passed on as it is."),
    "retries": Kind({"type": "integer", "minimum": 0}, "Passed on as it is."),
}
"""By name. A problem is the field's name; a client tells them all in one ``invalid_field``."""


@frozen
class Field:
    """One field of a message, or of an object within."""

    kind: str
    meaning: str
    default: Any = None
    """What absent means; None: it has none."""
    required: bool = False
    """Whether a sender must say it."""
    fields: Mapping[str, Field] = field(factory=dict)
    """What the object, or each object of the list, has within."""


@frozen
class Message:
    """One type of message."""

    meaning: str
    fields: Mapping[str, Field] = field(factory=dict)


_SESSION_ID = Field("name", "The session's id.")
_SPEAKER_ID = Field("name", "Who speaks, where speakers are told apart.")
_EXTRA = "Provider options."

_TRANSCRIPT = {
    "transcript": Field("transcript", "What was said.", ""),
    "language": Field("name", "In which language; absent: the stream's own, else `constants.default_language`."),
    "start": Field("seconds", "Where it begins, in seconds since the session's first sample."),
    "duration": Field("seconds", "How long it is; absent or 0: its times say nothing."),
    "confidence": Field("confidence", "How sure the provider is.", 1.0),
    "words": Field(
        "words",
        "The same, word by word.",
        [],
        fields={
            "word": Field("text", "The word.", ""),
            "start": Field("seconds", "Where it begins, in seconds since the session's first sample."),
            "end": Field("seconds", "Where it ends, likewise."),
            "confidence": Field("confidence", "How sure the provider is.", 0.0),
            "speaker_id": _SPEAKER_ID,
        },
    ),
    "speaker_id": _SPEAKER_ID,
    "extra": Field("metadata", "What else the provider says; told as `metadata`."),
    "request_id": Field("name", "The provider's id of the request."),
    "session_id": _SESSION_ID,
}

_UPDATABLE = {
    "model": Field("name", "Another model of the same provider; null: the gateway chooses."),
    "language": Field("name", "Another language; empty: none."),
    "extra": Field("metadata", "Options to merge by key; keyterms are always the whole list."),
}

MESSAGES: Mapping[str, Mapping[str, Message]] = {
    "client": {
        "session.create": Message(
            "Begins the session: first, and once on each transport.",
            {
                "model": Field("model", "`provider/model`; absent: the gateway chooses."),
                "settings": Field(
                    "settings",
                    "What to listen to, and how.",
                    required=True,
                    fields={
                        "sample_rate": Field("sample_rate", "Hz, as a text.", str(DEFAULT_SAMPLE_RATE_HZ), True),
                        "encoding": Field("encoding", "Signed 16-bit little-endian mono.", ENCODING, True),
                        "language": Field("name", "The language spoken.", ""),
                        "extra": Field("metadata", _EXTRA, {}, True),
                    },
                ),
                "fallback": Field(
                    "fallback",
                    "Models to use when the first one fails.",
                    fields={
                        "models": Field(
                            "models",
                            "In order.",
                            fields={
                                "model": Field("name", "`provider/model`.", required=True),
                                "extra": Field("metadata", _EXTRA, {}),
                            },
                        )
                    },
                ),
                "connection": Field(
                    "metadata",
                    "Hints for the gateway's own attempts.",
                    fields={
                        "timeout": Field("timeout", "Seconds for one attempt."),
                        "retries": Field("retries", "Attempts after the first one."),
                    },
                ),
            },
        ),
        "input_audio": Message("Audio, in order.", {"audio": Field("audio", "The samples.", required=True)}),
        "session.update": Message(
            "Changes settings of the open session: only what changed.",
            {"settings": Field("settings", "What changed.", required=True, fields=_UPDATABLE)},
        ),
        "session.finalize": Message("Asks for finals of the audio so far; the last one says that no more comes."),
        "session.close": Message("Says goodbye: nothing follows."),
    },
    "gateway": {
        "session.created": Message(
            "`session.create` was accepted. It may come late or never.", {"session_id": _SESSION_ID}
        ),
        "start_of_speech": Message("Somebody began to speak."),
        "interim_transcript": Message("What was said, which may still change.", _TRANSCRIPT),
        "preflight_transcript": Message("What was said, stable enough to begin an answer.", _TRANSCRIPT),
        "final_transcript": Message("What was said, which will not change.", _TRANSCRIPT),
        "session.finalized": Message("What was sent is final, or soon will be. It may come early or never."),
        "session.closed": Message("Says goodbye: nothing follows."),
        "error": Message(
            "The session failed.",
            {
                "code": Field("code", "What failed; see the failure table.", -1),
                "message": Field("text", "The same for people; it may hold what was said.", ""),
                "session_id": _SESSION_ID,
                "error": Field(
                    "nested",
                    "Some servers nest code and message.",
                    fields={
                        "code": Field("code", "As above.", -1),
                        "message": Field("text", "As above.", ""),
                    },
                ),
            },
        ),
    },
}
"""By sender and ``type``. Types and fields that are not here are ignored."""


def describe() -> dict[str, Any]:
    """Give kinds and messages with their meaning and leniency, for ``machine.json``."""
    return {
        "kinds": {name: {"rule": kind.rule, "schema": kind.schema} for name, kind in KINDS.items()},
        **{
            sender: {
                name: {
                    "trigger": f"{sender}:{name}",
                    "meaning": message.meaning,
                    "fields": _described(message.fields),
                }
                for name, message in messages.items()
            }
            for sender, messages in MESSAGES.items()
        },
    }


def _described(fields: Mapping[str, Field]) -> dict[str, Any]:
    return {
        name: {
            "kind": item.kind,
            "default": item.default,
            "required": item.required,
            "meaning": item.meaning,
            **({"fields": _described(item.fields)} if item.fields else {}),
        }
        for name, item in fields.items()
    }


def schema() -> dict[str, Any]:
    """Give the JSON Schema (2020-12) of one message in either direction."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Generated by `lkstt spec --write` from lkstt_proto/schema.py: change that.",
        "title": "A message of LiveKit Inference speech-to-text",
        "description": "What a sender may send. Receivers ignore fields and types that are not here.",
        "oneOf": [{"$ref": f"#/$defs/{sender}"} for sender in MESSAGES],
        "$defs": {
            **{
                sender: {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in messages]}
                for sender, messages in MESSAGES.items()
            },
            **{
                name: {"description": message.meaning, **_object(message.fields, {"type": {"const": name}})}
                for messages in MESSAGES.values()
                for name, message in messages.items()
            },
            "sound": {
                "description": "Texts and keys without lone surrogates, at any depth.",
                "pattern": _SOUND,
                "propertyNames": {"pattern": _SOUND},
                "additionalProperties": {"$ref": "#/$defs/sound"},
                "items": {"$ref": "#/$defs/sound"},
            },
        },
    }


def _object(fields: Mapping[str, Field], properties: Mapping[str, Any]) -> dict[str, Any]:
    required = [*properties, *(name for name, item in fields.items() if item.required)]
    return {
        "type": "object",
        "properties": {**properties, **{name: _value(item) for name, item in fields.items()}},
        **({"required": required} if required else {}),
    }


def _value(item: Field) -> dict[str, Any]:
    kind = KINDS[item.kind]
    value = dict(kind.schema)
    if value.get("type") == "array":
        value["items"] = _nullable(_object(item.fields, {}))
    elif item.fields:
        value |= _object(item.fields, {})
    if kind.nullable and not item.required:
        value = _nullable(value)
    return {"description": item.meaning, **({} if item.default is None else {"default": item.default}), **value}


def _nullable(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "type": [value["type"], "null"]}
