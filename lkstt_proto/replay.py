"""Fixtures on the core: play one, compare what happens with what it says, complete one from its inputs.

The format is told in ``dialogue.py``, the writing of fixtures from live streams in ``recording.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from .actions import Action
from .connection import Connection
from .dialogue import LOOKS, STATES, Fixture, FixtureError, Step, action_json, bundled, error_json, event_json, load
from .errors import SttError
from .events import Event, GatewayEvent
from .gateway import Gateway

__all__ = ["Fixture", "FixtureError", "Mismatch", "Stage", "bundled", "complete", "load", "run"]

TOLERANCE = 1e-6
"""By which floats may differ (CONTRACT section 8)."""

NOTHING = "nothing"
"""What a Mismatch names on the side where an item is missing."""

# What applications pass on is compared as it is; of our own objects only the fields that the fixture names.
_WHOLE = frozenset({"metadata", "settings"})


@frozen
class Mismatch:
    """One difference between what a fixture says and what happened."""

    name: str
    """Of the fixture."""
    step: int
    """Counted from 1; the header is none."""
    line: int
    at: float
    field: str
    """Such as ``events[0].alternatives[0].text``."""
    expected: Any
    got: Any

    def __str__(self) -> str:
        return (
            f"{self.name}: step {self.step} (line {self.line}, at {self.at:g}): {self.field}: "
            f"expected {_shown(self.expected)}, got {_shown(self.got)}"
        )


def _shown(value: Any) -> str:
    return value if value is NOTHING else json.dumps(value, ensure_ascii=False, default=str)


def run(fixture: Fixture, stage: Stage | None = None) -> list[Mismatch]:
    """Play a fixture; give the differences of the first step that has any, since later ones follow from it.

    ``stage``: a new one of this fixture, for whoever wants to look at it afterwards. Raises FixtureError where the
    fixture gives fewer random numbers than are asked for.
    """
    stage = stage or Stage(fixture)
    stated: dict[str, Any] = {}
    for number, step in enumerate(fixture.steps, 1):
        stated |= step.states
        mismatches = compare(fixture.name, number, step, expectations(step, stated), stage.play(step))
        if mismatches:
            return mismatches
    return []


def expectations(step: Step, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Say what is to happen in a step; ``stated`` is what was last said of the states and the deadline."""
    return {
        "raises": step.raises,
        "actions": list(step.actions),
        "events": list(step.events),
        "looks": step.looks,
        **stated,
    }


def compare(name: str, number: int, step: Step, expected: Mapping[str, Any], got: Mapping[str, Any]) -> list[Mismatch]:
    """Give the first difference of each field of ``expected`` to what happened in a step of the fixture ``name``.

    Sparse expectations, floats within ``TOLERANCE`` and JSON by value, as CONTRACT section 8 says.
    """
    _forget_texts(step.actions, got.get("actions", []))
    return [
        Mismatch(name, number, step.line, step.at, *difference)
        for field, value in expected.items()
        if (difference := _difference(value, got.get(field, NOTHING), field, partial=field in ("events", "looks")))
    ]


def complete(lines: Iterable[str]) -> list[str]:
    """Write a fixture again with everything that its inputs cause; what it said of that before does not matter.

    ``run`` finds no difference in the result. Raises FixtureError as ``load`` and ``run`` do.
    """
    fixture = load(lines)
    stage = Stage(fixture)
    written = [_line(fixture.header)]
    stated: dict[str, Any] = {}
    for step in fixture.steps:
        got = stage.play(step)
        results = {"raises": got["raises"], "actions": [_short(a, _ACTION) for a in got["actions"]]}
        results["events"] = [_short(event, _EVENT) for event in got["events"]]
        states = {name: got[name] for name in STATES[fixture.role] if name not in stated or got[name] != stated[name]}
        stated |= states
        written.append(_line({**step.source, **{key: value for key, value in results.items() if value}, **states}))
    return written


# What a reader need not be told: the fields of events and actions as they mostly are.
_EVENT: Mapping[str, Any] = {
    "request_id": "",
    "alternatives": [],
    "recognition_usage": None,
    "promoted": False,
    "speaker_id": None,
    "words": [],
    "metadata": None,
    "confidence": 1.0,
}
_ACTION: Mapping[str, Any] = {"abort": False}


def _short(value: Any, defaults: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_short(item, defaults) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if key not in defaults or item != defaults[key]}
    if kept.get("code") == 1000 and "abort" in value:
        del kept["code"]
    return {key: item if key in _WHOLE or key == "send" else _short(item, defaults) for key, item in kept.items()}


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


class Stage:
    """A core made as a fixture says, played step by step."""

    def __init__(self, fixture: Fixture) -> None:
        self.core: Connection | Gateway
        self.events: list[Event | GatewayEvent] = []
        """All that were taken so far."""
        self._role = fixture.role
        if fixture.role == "gateway":
            self.core = Gateway(limits=fixture.limits, patience=fixture.patience)
        else:
            self.core = Connection(
                fixture.options,
                retry=fixture.retry,
                limits=fixture.limits,
                endpointer=None if fixture.endpointer is None else _Ends(fixture.endpointer),
                random=None if fixture.random is None else _drawn(fixture.random),
            )

    def play(self, step: Step) -> dict[str, Any]:
        """Carry out a step and give everything that happened, as JSON."""
        raised = None
        actions: list[Action] = []
        events: Sequence[Event | GatewayEvent] = ()
        try:
            self._input(step)
        except FixtureError:
            raise
        except SttError as error:
            raised = type(error).__name__
        else:
            if step.take is None:
                while batch := self.core.take_actions(step.at):
                    actions += batch
            else:
                actions += self.core.take_actions(step.at, step.take)
            events = self.core.take_events()
            self.events += events
        return {
            "raises": raised,
            "actions": [action_json(action) for action in actions],
            "events": [event_json(event) for event in events],
            "looks": {name: self._look(name) for name in LOOKS[self._role]},
            **{name: self._look(name) for name in STATES[self._role]},
        }

    def _input(self, step: Step) -> None:
        if step.method is None:
            return
        method = getattr(self.core, step.method)
        if step.method in ("send_audio", "receive_text", "receive_binary"):
            method(step.data, step.at)
        elif "data" in step.args:
            method(step.args["data"], step.at, **{key: value for key, value in step.args.items() if key != "data"})
        else:
            method(step.at, **step.args)

    def _look(self, name: str) -> Any:
        value = getattr(self.core, name)
        if isinstance(value, SttError):
            return error_json(value)
        return attrs.asdict(value) if attrs.has(type(value)) else value


class _Ends:
    """An endpointer that was told where speech ends."""

    def __init__(self, ends: tuple[int, ...]) -> None:
        self._ends = frozenset(ends)
        self._position = 0

    def push(self, pcm: bytes) -> bool:
        self._position += len(pcm) // 2
        return self._position in self._ends


def _drawn(numbers: tuple[float, ...]) -> Callable[[], float]:
    left = iter(numbers)

    def draw() -> float:
        for number in left:
            return number
        raise FixtureError("the core asked for more random numbers than the header lists", phase="configure")

    return draw


def _difference(expected: Any, got: Any, path: str, *, partial: bool) -> tuple[str, Any, Any] | None:
    """Give place, expected and actual value of the first difference; with ``partial`` unnamed fields do not matter."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected if partial else {**expected, **got}:
            inner = f"{path}.{key}"
            if key not in got or key not in expected:
                return inner, expected.get(key, NOTHING), got.get(key, NOTHING)
            found = _difference(expected[key], got[key], inner, partial=partial and key not in _WHOLE)
            if found is not None:
                return found
        return None
    if isinstance(expected, list) and isinstance(got, list):
        for index in range(max(len(expected), len(got))):
            inner = f"{path}[{index}]"
            if index >= min(len(expected), len(got)):
                wanted, had = (items[index] if index < len(items) else NOTHING for items in (expected, got))
                return inner, wanted, had
            found = _difference(expected[index], got[index], inner, partial=partial)
            if found is not None:
                return found
        return None
    return None if _equal(expected, got) else (path, expected, got)


def _forget_texts(expected: Sequence[Any], got: list[Any]) -> None:
    """Leave out the text of an error that is sent where the fixture does: it is not part of the protocol."""
    for wanted, had in zip(expected, got, strict=False):
        if wanted.get("send", {}).get("type") == "error" and "message" not in wanted["send"]:
            had.get("send", {}).pop("message", None)


def _equal(expected: Any, got: Any) -> bool:
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    if isinstance(expected, int | float) and isinstance(got, int | float):
        return abs(expected - got) <= TOLERANCE
    return bool(expected == got)
