"""Is anything in the protocol that no fixture tells of? Fields and options are counted only where they matter.

What a core is given (a received field, an argument, an option) is taken out of a fixture, and the fixture has to
notice: it was there, and it meant something. What a core gives (a sent field, an event's field) has to be stated by a
fixture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any

import attrs
import pytest

from lkstt_proto import errors, events
from lkstt_proto.dialogue import CALLS, LOOKS, bundled
from lkstt_proto.events import RecognitionUsage, SpeechData, SpeechEvent, SpeechEventType, TimedWord
from lkstt_proto.gateway import GatewayLimits
from lkstt_proto.options import Limits, RetryPolicy, STTOptions
from lkstt_proto.replay import load, run
from lkstt_proto.stats import Stats
from tests.wire import TRANSCRIPT_FIELDS, WORD_FIELDS

# The messages of PROTOCOL 2 and 3, each with its fields.

TRANSCRIPT = (*TRANSCRIPT_FIELDS, *(f"words[].{name}" for name in WORD_FIELDS))
MESSAGES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "client": {
        "session.create": (
            "model",
            "settings",
            "settings.sample_rate",
            "settings.encoding",
            "settings.language",
            "settings.extra",
            "fallback",
            "fallback.models",
            "fallback.models[].model",
            "fallback.models[].extra",
            "connection",
            "connection.timeout",
            "connection.retries",
        ),
        "input_audio": ("audio",),
        "session.update": ("settings", "settings.model", "settings.language", "settings.extra"),
        "session.finalize": (),
        "session.close": (),
    },
    "gateway": {
        "session.created": ("session_id",),
        "start_of_speech": (),
        "interim_transcript": TRANSCRIPT,
        "preflight_transcript": TRANSCRIPT,
        "final_transcript": TRANSCRIPT,
        "session.finalized": (),
        "session.closed": (),
        # Some servers nest code and message (PROTOCOL 3.3); no gateway of ours does.
        "error": ("code", "message", "session_id"),
    },
}
NESTED = ("error.error.code",)

# Received, but only passed on, or not even that: a core does the same without them.
SILENT = {
    "error.message": "the text of an error is not part of the protocol",
    "session.create.fallback": "the gateway's own matter: its application reads the message's settings alone",
    "session.create.connection": "as above",
}

# Nobody says these, or not in a dialogue.
NOT_TOLD = {
    "api_key": "fixtures hold no credentials",
    "api_secret": "as above",
    "base_url": "where a Connect goes is not in it: see tests/test_handshake.py",
    "headers": "as above",
    "allow_insecure": "as above",
}


def lines_of(file: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


FIXTURES = {name.removesuffix(".jsonl"): lines_of(file) for name, file in bundled().items()}
BY_LENGTH = sorted(FIXTURES.values(), key=len)


def of_role(role: str) -> Iterator[list[dict[str, Any]]]:
    return (lines for lines in BY_LENGTH if lines[0]["role"] == role)


def differs(lines: list[dict[str, Any]]) -> bool:
    """Whether the core does something else than a changed fixture says."""
    try:
        return bool(run(load([json.dumps(line) for line in lines])))
    except errors.LocalProtocolError:
        return True  # it cannot even be played


def holders(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    """Every object in ``value`` that has the last name of ``path``, such as ``words[].start``, with that name."""
    name, _, rest = path.partition(".")
    key = name.removesuffix("[]")
    if isinstance(value, dict) and key in value:
        if not rest:
            yield value, key
        else:
            for item in value[key] if name.endswith("[]") and isinstance(value[key], list) else [value[key]]:
                yield from holders(item, rest)


def matters(role: str, place: str, path: str) -> bool:
    """Whether a fixture of this role notices that ``path`` is taken out of the steps' ``place``."""
    for lines in of_role(role):
        for number, step in enumerate(lines[1:], 1):
            inner = step.get(place)
            kind, _, rest = path.partition(": ")
            if not isinstance(inner, dict) or kind not in (inner.get("type"), step.get("call")):
                continue
            for index in range(len(list(holders(inner, rest)))):
                changed = deepcopy(lines)
                holder, key = list(holders(changed[number][place], rest))[index]
                del holder[key]
                if differs(changed):
                    return True
    return False


def received(sender: str) -> list[str]:
    return [
        f"{kind}: {field}"
        for kind, fields in MESSAGES[sender].items()
        for field in fields
        if not any(f"{kind}.{field}".startswith(silent) for silent in SILENT)
    ]


@pytest.mark.parametrize(("sender", "receiver"), [("client", "gateway"), ("gateway", "client")])
def test_every_field_that_is_received_matters(sender: str, receiver: str) -> None:
    fields = received(sender) + ([f"error: {path.partition('.')[2]}" for path in NESTED] if sender == "gateway" else [])
    assert [field for field in fields if not matters(receiver, "text", field)] == []


# What JSON has in the fields of a gateway's messages (PROTOCOL 3.1).
TYPES = {
    **dict.fromkeys(("start", "duration", "confidence", "end", "code"), int | float),
    "words": list,
    "extra": dict,
}


@cache
def values() -> dict[str, list[Any]]:
    """What the fields of the gateway's messages are in fixtures; a transcript's fields are those of any kind."""
    found: dict[str, list[Any]] = {}
    for lines in of_role("client"):
        for step in lines[1:]:
            message = step.get("text")
            for kind, fields in MESSAGES["gateway"].items():
                if isinstance(message, dict) and message.get("type") == kind:
                    for field in fields:
                        values = [holder[key] for holder, key in holders(message, field)]
                        found.setdefault(f"{kind.rpartition('_')[2]}: {field}", []).extend(values)
    return found


def test_every_field_of_a_gateway_is_null_somewhere() -> None:
    assert [field for field, known in values().items() if None not in known] == []


def test_every_field_of_a_gateway_is_of_a_wrong_type_somewhere() -> None:
    def wrong(field: str, value: Any) -> bool:
        kind = TYPES.get(re.split(r"[. ]", field)[-1], str)
        return value is not None and (not isinstance(value, kind) or isinstance(value, bool))

    assert [field for field, known in values().items() if not any(wrong(field, value) for value in known)] == []


@pytest.mark.parametrize(("sender", "receiver"), [("client", "gateway"), ("gateway", "client")])
def test_every_message_is_received(sender: str, receiver: str) -> None:
    kinds = {
        step["text"].get("type")
        for lines in of_role(receiver)
        for step in lines[1:]
        if isinstance(step.get("text"), dict)
    }
    assert set(MESSAGES[sender]) - kinds == set()


@cache
def sent(role: str) -> dict[str, list[Any]]:
    messages: dict[str, list[Any]] = {kind: [] for kind in MESSAGES[role]}
    for lines in of_role(role):
        for step in lines[1:]:
            for action in step.get("actions", []):
                if "send" in action:
                    messages[action["send"]["type"]].append(action["send"])
    return messages


@pytest.mark.parametrize("role", MESSAGES)
def test_every_message_and_field_is_sent(role: str) -> None:
    assert [kind for kind, messages in sent(role).items() if not messages] == []
    assert [
        f"{kind}: {field}"
        for kind, messages in sent(role).items()
        for field in MESSAGES[role][kind]
        if not any(True for message in messages for _ in holders(message, field))
    ] == []


@pytest.mark.parametrize("role", CALLS)
def test_every_call_is_made_and_every_argument_matters(role: str) -> None:
    made = {step.get("call") for lines in of_role(role) for step in lines[1:]}
    assert set(CALLS[role]) - made == set()
    arguments = [f"{call}: {name}" for call, names in CALLS[role].items() for name in names[0] | names[1]]
    # The reason of a close is for the text of an error.
    silent = {"transport_closed: reason"} if role == "client" else set()
    assert [name for name in sorted({*arguments} - silent) if not matters(role, "args", name)] == []


OPTIONS = [
    *(("client", "options", field.name) for field in attrs.fields(STTOptions) if field.init),
    *(("client", "limits", field.name) for field in attrs.fields(Limits)),
    *(("client", "retry", field.name) for field in attrs.fields(RetryPolicy)),
    *(("gateway", "limits", field.name) for field in attrs.fields(GatewayLimits)),
    *(("gateway", "limits", name) for name in ("message", "name")),  # what else it has is for transcripts
    ("client", "random", ""),
    ("client", "endpointer", ""),
]


def option_matters(role: str, place: str, name: str) -> bool:
    for lines in of_role(role):
        header = deepcopy(lines[0])
        holder, key = (header.get(place, {}), name) if name else (header, place)
        if key in holder:
            del holder[key]
            if differs([header, *lines[1:]]):
                return True
    return False


def test_every_option_matters() -> None:
    told = [option for option in OPTIONS if option[2] not in NOT_TOLD]
    assert [option for option in told if not option_matters(*option)] == []


# Events.

WORDS = [f"words[].{name}" for name in TimedWord._fields]
DATA = [f"alternatives[].{name}" for name in (*SpeechData._fields, *WORDS)]
SPEECH_EVENTS = {
    SpeechEventType.START_OF_SPEECH: [],
    SpeechEventType.INTERIM_TRANSCRIPT: ["request_id", *DATA],
    SpeechEventType.PREFLIGHT_TRANSCRIPT: ["request_id", *DATA],
    SpeechEventType.FINAL_TRANSCRIPT: ["request_id", *DATA, "promoted"],
    SpeechEventType.RECOGNITION_USAGE: [
        "request_id",
        *(f"recognition_usage.{name}" for name in RecognitionUsage._fields),
    ],
    SpeechEventType.END_OF_SPEECH: [],
}


def snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def event_fields() -> dict[str, list[str]]:
    fields = {kind.value: [*names, "audio_time"] for kind, names in SPEECH_EVENTS.items()}
    for base in (events.StreamEvent, events.GatewayEvent):
        for kind in base.__subclasses__():
            fields[snake(kind.__name__)] = [field.name for field in attrs.fields(kind)]
    return fields


@cache
def told_events() -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {}
    for lines in FIXTURES.values():
        for step in lines[1:]:
            for event in step.get("events", []):
                told.setdefault(event["type"], []).append(event)
    return told


def test_every_event_and_field_is_told() -> None:
    names = {name for fields in SPEECH_EVENTS.values() for name in fields} | {"type", "audio_time"}
    assert {name.partition("[")[0].partition(".")[0] for name in names} >= set(SpeechEvent._fields)
    untold = {"diagnostic: detail"}  # in words of the core's own
    assert [
        f"{kind}: {field}"
        for kind, fields in event_fields().items()
        for field in fields
        if f"{kind}: {field}" not in untold
        and not any(True for event in told_events().get(kind, []) for _ in holders(event, field))
    ] == []
    assert [kind for kind in event_fields() if kind not in told_events()] == []


def test_every_kind_of_diagnostic_is_told() -> None:
    kinds = {event["kind"] for event in told_events()["diagnostic"]}
    # The others tell of an application's own mistakes and endpointer, which no dialogue has.
    assert kinds == {"invalid_message", "binary_message", "unknown_type", "unexpected_message", "invalid_field"}


def test_every_cause_of_dropped_audio_is_told() -> None:
    assert {event["cause"] for event in told_events()["audio_dropped"]} == {"overflow", "unacknowledged"}


def test_every_failure_and_all_that_it_knows_is_told() -> None:
    told = [
        event["error"]
        for kind in ("reconnecting", "stream_failed")
        for event in told_events()[kind]
        if "error" in event
    ]
    known = {field for error in told for field in error}
    kinds = {
        kind.__name__
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SttError) and kind.__module__ == errors.__name__
    }
    assert kinds - {error.get("name") for error in told} == {"SttError", "LocalProtocolError"}
    assert known == {
        "name",
        "retryable",
        "phase",
        "close_code",
        "http_status",
        "session_id",
        "retry_after",
        "code",
    }


@pytest.mark.parametrize("role", LOOKS)
def test_every_look_is_taken(role: str) -> None:
    looks = [step["looks"] for lines in of_role(role) for step in lines[1:] if "looks" in step]
    stated = {"link_state", "session_state"}  # by the steps themselves
    assert LOOKS[role] - {name for look in looks for name in look} - stated == set()
    if role == "client":
        stats = {name for look in looks for name in look.get("stats", {})}
        assert {field.name for field in attrs.fields(Stats)} - stats == set()
