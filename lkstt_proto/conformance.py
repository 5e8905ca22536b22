"""Is a port the same machine? A fixture's inputs are put to it line by line, and its answers are judged.

Theory of operation
===================

A *port* is a program that speaks this package's protocol in any language. It reads lines from its standard input and
answers each with exactly one line on its standard output, flushed; every line is one JSON object in UTF-8.

1. A fixture begins with its header, as in the file. The answer is ``{"ready":true}``; or ``{"unsupported":"why"}``, and
   then the fixture counts as skipped and its steps are not sent.
2. Each step follows as in the file, but the input alone: ``at``; ``call`` with ``args``, ``text``, ``binary`` or
   ``audio``, or none of them; and ``take``. What it should cause is withheld. The answer is everything that happened,
   in the notation of fixtures and complete each time: ``actions``, ``events``, ``link_state`` (of a client),
   ``session_state``, ``deadline`` (a number or null) and ``looks``, where ``speaking`` and ``finished`` may also stand
   beside the looks. A caller's mistake is answered ``{"raises":"LocalProtocolError"}``: nothing else happened.
3. The next header ends a dialogue; the end of input ends the port, with exit code 0.

What a port has no use for may be left out of ``looks`` as long as no fixture looks at it. All rules of comparison are
those of fixtures (``dialogue.py``, ``replay.py``), which tell every format, too.

``Judge`` is one fixture from this side, ``CorePort`` is the Python core on the other. Neither reads nor writes
anything: whoever runs the port carries the lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from attrs import define, field, frozen

from .dialogue import Fixture, FixtureError, Step, load, read_results, read_step
from .replay import NOTHING, Mismatch, Stage, compare, expectations
from .wirejson import NotUsable, parse

_ANSWER_LIMIT = 2**26  # bytes, as of a fixture's line
_SHOWN = 400  # characters of one value
_BEFORE = 40  # characters that two long values are shown to share


class Outcome(StrEnum):
    """What became of a fixture."""

    PASSED = "pass"
    FAILED = "fail"
    SKIPPED = "skip"


@frozen
class Report:
    """What became of a fixture, and why."""

    fixture: str
    """Its name."""
    role: str
    outcome: Outcome
    reason: str = ""
    """Why it was skipped, or why it failed if not by a difference."""
    step: Step | None = None
    """Where it failed; None: at the header."""
    differences: tuple[Mismatch, ...] = ()
    """Those of the first step that has any: later ones follow from it."""

    def explanation(self) -> list[str]:
        """Tell why, in lines for people: the input, and of what was expected and what came only what differs."""
        if self.outcome is not Outcome.FAILED:
            return [self.reason] if self.reason else []
        if self.step is None:
            return [f"line 1: {self.reason}"]
        source = {key: value for key, value in self.step.source.items() if key != "at"}
        lines = [f"line {self.step.line}, at {self.step.at:g}: {_shown(source)}"]
        lines += [f"  {self.reason}"] if self.reason else []
        for difference in self.differences:
            expected, got = _text(difference.expected), _text(difference.got)
            same = next(
                (index for index, (one, other) in enumerate(zip(expected, got, strict=False)) if one != other), 0
            )
            lines += [
                f"  {difference.field}",
                f"    expected  {_cut(expected, same)}",
                f"    got       {_cut(got, same)}",
            ]
        return lines


def _shown(value: Any) -> str:
    return _cut(_text(value))


def _text(value: Any) -> str:
    return value if value is NOTHING else json.dumps(value, ensure_ascii=False)


def _cut(text: str, same: int = 0) -> str:
    """Cut a long text; what it has in common with another one is not what matters."""
    start = same - _BEFORE if same > _SHOWN // 2 else 0
    before, after = "..." if start else "", "..." if len(text) > start + _SHOWN else ""
    return f"{before}{text[start : start + _SHOWN]}{after}"


@define
class Judge:
    """One fixture put to a port. Until there is a ``report``: send ``line``, and hand in what comes to ``answer``."""

    fixture: Fixture
    report: Report | None = field(init=False, default=None)
    """None until it is decided."""
    _number: int = field(init=False, default=0)
    """Of the step that was sent, from 1; 0: the header."""
    _stated: dict[str, Any] = field(init=False, factory=dict)

    @property
    def line(self) -> str:
        """What the port is to be sent now, without the line's end."""
        step = self._step
        return json.dumps(self.fixture.header if step is None else step.source, separators=(",", ":"))

    def answer(self, data: str | bytes) -> None:
        """Take the answer to ``line``. Whatever it is, it makes the fixture fail at worst."""
        try:
            answer = parse(data, _ANSWER_LIMIT)
        except NotUsable as problem:
            self.fail(f"answered what is no JSON ({problem.reason}): {_quoted(data)}")
            return
        if not isinstance(answer, dict):
            self.fail(f"answered no object: {_shown(answer)}")
        elif (step := self._step) is None:
            self._begin(answer)
        else:
            self._judge(step, answer)

    def fail(self, reason: str) -> None:
        """The port did something else than to answer."""
        self._decide(Outcome.FAILED, reason)

    @property
    def _step(self) -> Step | None:
        return self.fixture.steps[self._number - 1] if self._number else None

    def _begin(self, answer: Mapping[str, Any]) -> None:
        if "unsupported" in answer:
            self._decide(Outcome.SKIPPED, str(answer["unsupported"]))
        elif answer.get("ready") is True:
            self._proceed()
        else:
            self.fail(f'answered neither {{"ready":true}} nor {{"unsupported":"why"}}: {_shown(answer)}')

    def _judge(self, step: Step, answer: Mapping[str, Any]) -> None:
        self._stated |= step.states
        raised = answer.get("raises")
        if raised is not None or step.raises is not None:
            expected, got = {"raises": step.raises or NOTHING}, {"raises": raised or NOTHING}
        else:
            expected = expectations(step, self._stated)
            try:
                got = _results(answer, step.line)
            except FixtureError as problem:
                self.fail(f"answered what cannot be: {problem}")
                return
        differences = compare(self.fixture.name, self._number, step, expected, got)
        if differences:
            self._decide(Outcome.FAILED, differences=tuple(differences))
        else:
            self._proceed()

    def _proceed(self) -> None:
        if self._number == len(self.fixture.steps):
            self._decide(Outcome.PASSED)
        else:
            self._number += 1

    def _decide(self, outcome: Outcome, reason: str = "", differences: tuple[Mismatch, ...] = ()) -> None:
        where = self._step if outcome is Outcome.FAILED else None
        self.report = Report(self.fixture.name, self.fixture.role, outcome, reason, where, differences)


def _results(answer: Mapping[str, Any], line: int) -> dict[str, Any]:
    """Bring an answer into the form in which a ``Stage`` tells what happened. Raises FixtureError if it has none."""
    actions, events = read_results(answer.get("actions"), answer.get("events"), line)
    looks = answer.get("looks", {})
    if isinstance(looks, dict):
        looks = {key: answer[key] for key in ("speaking", "finished") if key in answer} | looks
    return {**answer, "raises": None, "actions": actions, "events": events, "looks": looks}


def _quoted(data: str | bytes) -> str:
    return _shown(data if isinstance(data, str) else data.decode("utf-8", "replace"))


@define
class CorePort:
    """The Python core as a port: it stands on the other side of a ``Judge``."""

    _role: str = field(init=False, default="")
    _stage: Stage | None = field(init=False, default=None)

    def answer(self, line: str) -> str:
        """Answer one line with one, without line ends.

        Raises FixtureError for what is neither a header nor a step, and for a step that comes before any header: no
        port can go on from there.
        """
        try:
            value = parse(line, _ANSWER_LIMIT)
        except NotUsable as problem:
            raise FixtureError(f"no line can be read ({problem.reason})", phase="configure") from None
        if isinstance(value, dict) and "fixture" in value:
            return json.dumps(self._begin(line), separators=(",", ":"))
        if self._stage is None:
            raise FixtureError("the first line must be a header", phase="configure")
        return json.dumps(_answer(self._stage.play(read_step(line, 1, self._role))), separators=(",", ":"))

    def _begin(self, line: str) -> dict[str, Any]:
        self._stage = None
        try:
            fixture = load([line])
        except FixtureError as problem:
            return {"unsupported": str(problem)}
        self._role, self._stage = fixture.role, Stage(fixture)
        return {"ready": True}


def _answer(got: dict[str, Any]) -> dict[str, Any]:
    if got["raises"] is not None:
        return {"raises": got["raises"]}
    del got["raises"]
    return {**got, **{key: got["looks"][key] for key in ("speaking", "finished") if key in got["looks"]}}
