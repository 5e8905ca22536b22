"""Fixtures as data: one dialogue with a core, line by line (CONTRACT section 8).

The first line says what the core is made of, every further line is one *step*: an input and everything that it causes.

    {"fixture":1,"name":...,"role":"client","options":{...},"limits":{...},"retry":{...},"random":[...],"endpointer":[...]}
    {"at":0.0,"call":"start","actions":[{"connect":{"attempt":0}}],"link_state":"connecting","deadline":10.0}

Header
    ``options``, ``limits`` and ``retry`` are arguments of ``STTOptions``, ``Limits`` and ``RetryPolicy``; for the role
    ``gateway`` there are only ``limits``, those of ``GatewayLimits`` among them. ``random`` lists the numbers that the
    core will be given, ``endpointer`` the positions (in samples) at which speech ends. ``scenarios`` names what the
    dialogue tells (PROTOCOL section 8).
Input
    ``call`` with ``args``, ``text``, ``binary`` or ``audio``; a step without any of them only takes results. ``text``
    is an object, or a string for exact bytes. A transport's ``error`` among the arguments is an object with a ``name``.
Audio
    ``{"hex":"0001","times":800}``: these bytes, so many times (once by default). The same form stands for the audio of
    an ``input_audio`` in either direction, for a binary message, and for the ``pcm`` of an event.
Taking
    After the input actions are taken until none is given, or once with ``max_messages`` where ``take`` says so; then
    events; then looks. A step that ``raises`` takes nothing.
Results
    Actions are ``{"send":{...}}``, ``{"connect":{"attempt":0}}``, ``{"ping":{}}`` and ``{"disconnect":{}}``, the last
    with ``abort`` or ``code`` where they are not false and 1000. An event's ``type`` is its class in snake_case, or the
    type of a ``SpeechEvent``; its other fields have the names they have in ``events.py``. An error is an object:
    ``name`` is its class; ``retryable``, ``phase``, ``close_code``, ``http_status``, ``session_id``, ``retry_after``
    and ``code`` are what it knows; its text is not part of the protocol. Neither is that of an ``error`` that a gateway
    sends: its ``message`` may be left out.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import attrs
from attrs import field, frozen

from . import errors
from .actions import Action, Connect, Ping
from .encoding import encode_json
from .errors import GatewayError, LocalProtocolError, SttError
from .events import Event, GatewayEvent, SpeechData, SpeechEvent, TimedWord
from .gateway import GatewayLimits
from .options import Limits, RetryPolicy, STTOptions
from .wirejson import NotUsable, parse

VERSION = 1
"""Of the format, in the header's ``fixture``."""

_TIMES_LIMIT = 2**24  # samples or bytes of one audio: a fixture is written by strangers, too
_LINE_LIMIT = 2**26  # bytes

_NO_ARGS: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
_FACTS = {"transport_opened": _NO_ARGS, "transport_alive": _NO_ARGS, "handle_timeout": _NO_ARGS}

CALLS: Mapping[str, Mapping[str, tuple[frozenset[str], frozenset[str]]]] = {
    "client": {
        **_FACTS,
        "start": _NO_ARGS,
        "flush": _NO_ARGS,
        "finalize": _NO_ARGS,
        "end_input": _NO_ARGS,
        "close": _NO_ARGS,
        "update_options": (frozenset(), frozenset({"model", "language", "extra", "keyterms"})),
        "transport_closed": (frozenset(), frozenset({"code", "reason", "http_status", "retry_after", "error"})),
    },
    "gateway": {
        **_FACTS,
        "accept": (frozenset({"session_id"}), frozenset()),
        "start_of_speech": _NO_ARGS,
        "transcript": (frozenset({"data", "final"}), frozenset({"request_id"})),
        "preflight": (frozenset({"data"}), frozenset({"request_id"})),
        "finalized": _NO_ARGS,
        "fail": (frozenset({"code", "message"}), frozenset()),
        "close": _NO_ARGS,
        "transport_closed": (frozenset(), frozenset({"code", "reason"})),
    },
}
"""What each role may be called for, with the arguments that must and may be given."""

STATES = {"client": ("link_state", "session_state", "deadline"), "gateway": ("session_state", "deadline")}
"""What stays as last stated until a step says otherwise."""

LOOKS = {
    "client": frozenset(
        [
            "link_state",
            "session_state",
            "speaking",
            "finished",
            "error",
            "stats",
            "unsent_seconds",
            "unacknowledged_seconds",
            "room",
            "readable",
            "pending",
        ]
    ),
    "gateway": frozenset(["session_state", "speaking", "closing", "audio_seconds", "pending"]),
}

INPUTS = ("call", "text", "binary", "audio")
METHODS = {"text": "receive_text", "binary": "receive_binary", "audio": "send_audio"}
_ACTIONS = frozenset({"send", "connect", "ping", "disconnect"})
_PATIENCE = frozenset(attribute.name for attribute in attrs.fields(GatewayLimits))


class FixtureError(LocalProtocolError):
    """A fixture cannot be read; the text names the line and the cure."""


@frozen
class Step:
    """One line after the first."""

    line: int
    """Where it stands in the file, from 1."""
    at: float
    method: str | None
    """What to call on the core; None: only take."""
    data: str | bytes = field(repr=False)
    """For ``receive_text``, ``receive_binary`` and ``send_audio``."""
    args: Mapping[str, Any] = field(repr=False)
    """Ready to be passed on."""
    take: int | None
    raises: str | None
    actions: tuple[Any, ...] = field(repr=False)
    """In the form that ``action_json`` gives."""
    events: tuple[Any, ...] = field(repr=False)
    looks: Mapping[str, Any]
    states: Mapping[str, Any]
    """The states and the deadline that this step states."""
    source: Mapping[str, Any] = field(repr=False)
    """The line's own input, for writing it again."""


@frozen
class Fixture:
    """One dialogue."""

    name: str
    role: str
    scenarios: tuple[str, ...]
    options: STTOptions
    """Of a client; a gateway has none."""
    limits: Limits
    patience: GatewayLimits
    """Of a gateway."""
    retry: RetryPolicy
    random: tuple[float, ...] | None
    endpointer: tuple[int, ...] | None
    header: Mapping[str, Any] = field(repr=False)
    """The first line, for writing it again."""
    steps: tuple[Step, ...]


class Readable(Protocol):
    """A path, or a file inside of a package."""

    def read_text(self, encoding: str) -> str: ...


def bundled() -> dict[str, Readable]:
    """Give the fixtures that come with this package, by file name, sorted; each does for ``load``."""
    from importlib.resources import files  # drags in tempfile and zipfile: not before it is needed

    found = files(__package__).joinpath("fixtures").iterdir()
    return {file.name: file for file in sorted(found, key=lambda file: file.name) if file.name.endswith(".jsonl")}


def load(source: Readable | Iterable[str]) -> Fixture:
    """Read a fixture from a path or from its lines. Raises FixtureError for what is none."""
    # Not splitlines: JSON may hold other line separators, and they end no line here.
    lines = source if isinstance(source, Iterable) else source.read_text("utf-8").split("\n")
    numbered = [(number, _parse(line, number)) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise FixtureError("the fixture is empty: its first line is the header", phase="configure")
    (line, header), *rest = numbered
    return _Reader(line).fixture(header, rest)


def read_step(line: str, number: int, role: str) -> Step:
    """Read one line after the first. Raises FixtureError for what is none, and names the line by ``number``."""
    return _Reader(number).step(_parse(line, number), role)


def read_results(actions: Any, events: Any, number: int) -> tuple[list[Any], list[Any]]:
    """Bring actions and events that others wrote into the form that ``action_json`` and ``event_json`` give.

    Raises FixtureError as ``read_step`` does.
    """
    reader = _Reader(number)
    return reader.actions(actions), reader.events(events)


def _parse(line: str, number: int) -> Any:
    try:
        return parse(line, _LINE_LIMIT)
    except NotUsable as problem:
        raise FixtureError(
            f"line {number} is not usable ({problem.reason}): each line is one JSON object", phase="configure"
        ) from None


class _Reader:
    """Reads objects, and knows the line for complaints."""

    def __init__(self, line: int) -> None:
        self.line = line

    def fail(self, what: str) -> FixtureError:
        return FixtureError(f"line {self.line}: {what}", phase="configure")

    def object(self, value: Any, what: str, allowed: Iterable[str]) -> dict[str, Any]:
        """Check that ``value`` is an object with no keys but ``allowed``."""
        if not isinstance(value, dict):
            raise self.fail(f"{what} must be an object")
        unknown = sorted(set(value) - set(allowed))
        if unknown:
            raise self.fail(f"{what} has no {', '.join(unknown)}: take it out, or see the format for its name")
        return value

    def fields(self, value: Any, what: str, allowed: Iterable[str]) -> dict[str, Any]:
        """As ``object``, with the kinds of values that such names have; null is absent."""
        fields = {key: item for key, item in self.object(value, what, allowed).items() if item is not None}
        for key, item in fields.items():
            kind = _KINDS.get(key)
            if kind is not None and (not isinstance(item, kind) or isinstance(item, bool) is not (kind is bool)):
                raise self.fail(f"{key} of {what} cannot be a {type(item).__name__}")
        return fields

    def array(self, value: Any, what: str) -> list[Any]:
        if not isinstance(value, list):
            raise self.fail(f"{what} must be a list")
        return value

    def number(self, value: Any, what: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fail(f"{what} must be a number")
        return value

    def count(self, value: Any, what: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _TIMES_LIMIT:
            raise self.fail(f"{what} must be a whole number from 0 to {_TIMES_LIMIT}")
        return value

    def text(self, value: Any, what: str) -> str:
        if not isinstance(value, str):
            raise self.fail(f"{what} must be a text")
        return value

    def audio(self, value: Any, what: str) -> bytes:
        audio = self.object(value, what, ("hex", "times"))
        times = self.count(audio.get("times", 1), f"times of {what}")
        try:
            unit = bytes.fromhex(audio["hex"])
        except (KeyError, TypeError, ValueError):
            raise self.fail(f"hex of {what} must be pairs of hexadecimal digits") from None
        if len(unit) * times > _TIMES_LIMIT:
            raise self.fail(f"{what} is too long: make it several steps")
        return unit * times

    def fixture(self, value: Any, rest: Iterable[tuple[int, Any]]) -> Fixture:
        header = self.object(value, "the header", _HEADER)
        if header.get("fixture") != VERSION:
            raise self.fail(
                f'the header must say "fixture":{VERSION}: other formats need another version of this package'
            )
        role = header.get("role")
        if not isinstance(role, str) or role not in CALLS:
            raise self.fail("role must be client or gateway")
        limits = header.get("limits", {})
        patience = {}
        if role == "gateway":
            self.object(header, "the header of a gateway", _HEADER - {"options", "retry", "random", "endpointer"})
            known = _PATIENCE & set(self.object(limits, "limits", limits))
            patience = {key: self.number(limits[key], f"{key} of limits") for key in known}
            limits = {key: limits[key] for key in set(limits) - _PATIENCE}
        random, endpointer = header.get("random"), header.get("endpointer")
        return Fixture(
            name=self.text(header.get("name"), "name"),
            role=role,
            scenarios=tuple(
                self.text(item, "a scenario") for item in self.array(header.get("scenarios", []), "scenarios")
            ),
            options=self._make(STTOptions, header.get("options", {}), "options"),
            limits=self._make(Limits, limits, "limits"),
            patience=self._make(GatewayLimits, patience, "limits"),
            retry=self._make(RetryPolicy, header.get("retry", {}), "retry"),
            random=None
            if random is None
            else tuple(self.number(item, "a random number") for item in self.array(random, "random")),
            endpointer=None
            if endpointer is None
            else tuple(self.count(item, "an end position") for item in self.array(endpointer, "endpointer")),
            header=header,
            steps=tuple(_Reader(line).step(step, role) for line, step in rest),
        )

    def _make(self, kind: type[Any], value: Any, what: str) -> Any:
        known = {attribute.name for attribute in attrs.fields(kind) if attribute.init}
        try:
            return kind(**self.object(value, what, known))
        except FixtureError:
            raise
        except SttError as error:
            raise self.fail(f"{what} cannot be: {error}") from error

    def step(self, value: Any, role: str) -> Step:
        states = STATES[role]
        step = self.object(value, "a step", (*_STEP, *states))
        given = [kind for kind in INPUTS if kind in step]
        if len(given) > 1 or (not given and "take" not in step):
            raise self.fail("a step has one input: call, text, binary or audio; or none, and take")
        method: str | None = None
        data: str | bytes = b""
        args: dict[str, Any] = {}
        if "call" in step:
            method, args = self._call(step, role)
        elif "args" in step:
            raise self.fail("args belong to a call")
        elif given:
            kind = given[0]
            if kind == "audio" and role == "gateway":
                raise self.fail("a gateway is sent audio as a text of type input_audio")
            method = METHODS[kind]
            data = self._message(step["text"]) if kind == "text" else self.audio(step[kind], kind)
        return Step(
            line=self.line,
            at=self.number(step.get("at"), "at"),
            method=method,
            data=data,
            args=args,
            take=None if "take" not in step else self.count(step["take"], "take"),
            raises=None if "raises" not in step else self.text(step["raises"], "raises"),
            actions=tuple(self.actions(step.get("actions", []))),
            events=tuple(self.events(step.get("events", []))),
            looks=self.object(step.get("looks", {}), "looks", LOOKS[role]),
            states={name: step[name] for name in states if name in step},
            source={key: step[key] for key in ("at", *INPUTS, "args", "take") if key in step},
        )

    def _call(self, step: dict[str, Any], role: str) -> tuple[str, dict[str, Any]]:
        method = self.text(step["call"], "call")
        calls = CALLS[role]
        if method not in calls:
            raise self.fail(f"a {role} has no such call: use one of {', '.join(sorted(calls))}")
        required, optional = calls[method]
        args = self.fields(step.get("args", {}), f"the arguments of {method}", required | optional)
        missing = sorted(required - set(args))
        if missing:
            raise self.fail(f"{method} needs the arguments {', '.join(missing)}")
        if "data" in args:
            args["data"] = self._speech_data(args["data"])
        if "error" in args:
            args["error"] = self._error(args["error"])
        return method, args

    def _speech_data(self, value: Any) -> SpeechData:
        data = self.fields(value, "data", SpeechData._fields)
        words = [
            TimedWord(**{"text": "", **self.fields(word, "a word", TimedWord._fields)})
            for word in self.array(data.get("words", []), "words")
        ]
        return SpeechData(**{"language": "", "text": "", **data, "words": tuple(words)})

    def _error(self, value: Any) -> BaseException:
        """Make the error that a transport raised; what is none of ours is as good as any other."""
        known = self.fields(value, "error", ("name", "retryable", *_ERROR_FIELDS))
        kind = getattr(errors, self.text(known.pop("name", None), "name of error"), None)
        if not isinstance(kind, type) or not issubclass(kind, SttError):
            return OSError()
        if not issubclass(kind, GatewayError):
            known.pop("code", None)
        retryable = known.pop("retryable", kind.retryable)
        error = kind("", **known)
        error.retryable = retryable
        return error

    def _message(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, dict):
            raise self.fail("text must be an object or a text")
        if isinstance(value.get("audio"), dict):
            value = {**value, "audio": b64encode(self.audio(value["audio"], "audio")).decode()}
        return encode_json(value).decode()

    def actions(self, value: Any) -> list[Any]:
        return [self._action(item) for item in self.array(value, "actions")]

    def events(self, value: Any) -> list[Any]:
        return [self._event(item) for item in self.array(value, "events")]

    def _action(self, value: Any) -> dict[str, Any]:
        action = self.object(value, "an action", _ACTIONS)
        if len(action) != 1:
            raise self.fail("an action has one key: send, connect, ping or disconnect")
        ((kind, content),) = action.items()
        if not isinstance(content, dict):
            raise self.fail(f"{kind} must be an object")
        if kind == "disconnect":
            content = {"abort": False, "code": 1000, **self.fields(content, kind, ("abort", "code"))}
        elif isinstance(content.get("audio"), dict):
            content = {**content, "audio": audio_json(self.audio(content["audio"], "audio"))}
        return {kind: content}

    def _event(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or not isinstance(value.get("type"), str):
            raise self.fail("an event must be an object with a type")
        if not isinstance(value.get("pcm"), dict):
            return value
        return {**value, "pcm": audio_json(self.audio(value["pcm"], "pcm"))}


_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("code", "close_code", "http_status"), int),
    **dict.fromkeys(("retry_after", "start_time", "end_time", "confidence"), int | float),
    **dict.fromkeys(("reason", "message", "session_id", "request_id", "speaker_id", "text", "name", "phase"), str),
    **dict.fromkeys(("final", "retryable", "abort"), bool),
    "metadata": dict,
}
_HEADER = frozenset(["fixture", "name", "role", "scenarios", "options", "limits", "retry", "random", "endpointer"])
_STEP = (*INPUTS, "at", "args", "take", "raises", "actions", "events", "looks")
_ERROR_FIELDS = ("phase", "close_code", "http_status", "session_id", "retry_after", "code")


# The other way: what the core gave, as JSON.


def audio_json(pcm: bytes) -> dict[str, Any]:
    """Write audio shortly: equal audio is written equally."""
    samples = len(pcm) // 2
    if samples and pcm == pcm[:2] * samples:
        return {"hex": pcm[:2].hex(), "times": samples}
    return {"hex": pcm.hex(), "times": 1}


def action_json(action: Action) -> dict[str, Any]:
    """Write an action."""
    if isinstance(action, bytes):
        message = json.loads(action)
        if message["type"] == "input_audio":
            message["audio"] = audio_json(b64decode(message["audio"]))
        return {"send": message}
    if isinstance(action, Connect):
        return {"connect": {"attempt": action.attempt}}
    if isinstance(action, Ping):
        return {"ping": {}}
    return {"disconnect": {"abort": action.abort, "code": action.code}}


def event_json(event: Event | GatewayEvent) -> dict[str, Any]:
    """Write an event with all of its fields."""
    if isinstance(event, SpeechEvent):
        return {
            **event._asdict(),
            "type": event.type.value,
            "alternatives": [
                {**data._asdict(), "words": [word._asdict() for word in data.words]} for data in event.alternatives
            ],
            "recognition_usage": event.recognition_usage and event.recognition_usage._asdict(),
        }
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    fields = {attribute.name: getattr(event, attribute.name) for attribute in attrs.fields(type(event))}
    for key, value in fields.items():
        if isinstance(value, SttError):
            fields[key] = error_json(value)
        elif isinstance(value, bytes):
            fields[key] = audio_json(value)
    return {"type": name, **fields}


def error_json(error: BaseException) -> dict[str, Any]:
    """Write an error: what it knows, without its text."""
    name = type(error).__name__
    if not isinstance(error, SttError):
        return {"name": name}
    fields = {key: getattr(error, key, None) for key in _ERROR_FIELDS}
    return {
        "name": name,
        "retryable": error.retryable,
        **{key: value for key, value in fields.items() if value is not None},
    }
