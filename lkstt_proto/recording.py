"""Fixtures from live streams.

A ``Recorder`` stands between an adapter and the core, notes every input, and in the end writes a fixture of them. What
the inputs cause is not noted but played again: the same inputs give the same results, so a recording replays green,
also where its text and audio were taken out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import attrs
from attrs import define, field

from .actions import Action
from .audio import SAMPLE_BYTES, as_bytes
from .connection import Connection
from .dialogue import CALLS, INPUTS, METHODS, VERSION, audio_json, error_json
from .endpointing import Endpointer
from .events import SpeechData
from .gateway import Gateway, GatewayLimits
from .messages import read_base64
from .options import Limits, RetryPolicy, STTOptions
from .peer import BATCH
from .replay import complete
from .settings import UNCHANGED
from .wirejson import NotUsable, parse

if TYPE_CHECKING:
    from typing_extensions import Buffer

_KINDS = {method: kind for kind, method in METHODS.items()}

# What a redacted message keeps: kinds, and names that no speaker chose.
_KEPT = frozenset({"type", "model", "language", "sample_rate", "encoding", "session_id", "request_id"})


@define
class _Tape:
    """What the core learned by asking: nobody else could tell it again."""

    random: list[float] = field(factory=list)
    ends: list[int] = field(factory=list)

    def draw(self, random: Callable[[], float]) -> float:
        self.random.append(random())
        return self.random[-1]


@define
class _Heard:
    """An endpointer whose answers are noted."""

    endpointer: Endpointer
    tape: _Tape
    position: int = 0

    def push(self, pcm: bytes) -> bool:
        self.position += len(pcm) // SAMPLE_BYTES
        ended = self.endpointer.push(pcm)
        if ended:
            self.tape.ends.append(self.position)
        return ended


class Recorder:
    """A core that remembers what it was told. It has the methods and looks of the core, and is used as one.

    ``client`` and ``gateway`` make it; ``lines`` gives the fixture so far. Tokens and headers are not in it: they are
    not among what the core is told.
    """

    def __init__(self, core: Connection | Gateway, header: Mapping[str, Any], tape: _Tape) -> None:
        self._core = core
        self._header = header
        self._tape = tape
        self._inputs = frozenset({*CALLS[header["role"]], *_KINDS})
        self._steps: list[dict[str, Any]] = []
        self._taken = True  # before the first input there is nothing to take
        self._waiting: list[Action] = []

    @classmethod
    def client(
        cls,
        name: str,
        options: STTOptions,
        *,
        retry: RetryPolicy = RetryPolicy(),
        limits: Limits = Limits(),
        endpointer: Endpointer | None = None,
        random: Callable[[], float] | None = None,
    ) -> Recorder:
        """Make a ``Connection`` to be recorded as the fixture ``name``; the rest is as there."""
        tape = _Tape()
        core = Connection(
            options,
            retry=retry,
            limits=limits,
            endpointer=None if endpointer is None else _Heard(endpointer, tape),
            random=None if random is None else lambda: tape.draw(random),
        )
        header: dict[str, Any] = {
            "options": options.public(),
            "limits": attrs.asdict(limits),
            "retry": attrs.asdict(retry),
        }
        # The lists go on growing; they are written when ``lines`` is asked for.
        if random is not None:
            header["random"] = tape.random
        if endpointer is not None:
            header["endpointer"] = tape.ends
        return cls(core, {"fixture": VERSION, "name": name, "role": "client", **header}, tape)

    @classmethod
    def gateway(
        cls,
        name: str,
        *,
        limits: Limits = Limits(),
        patience: GatewayLimits = GatewayLimits(),
    ) -> Recorder:
        """Make a ``Gateway`` to be recorded as the fixture ``name``; the rest is as there."""
        # The two share the name ``close``; a gateway knows no other than its own.
        header = {"limits": attrs.asdict(limits) | attrs.asdict(patience)}
        core = Gateway(limits=limits, patience=patience)
        return cls(core, {"fixture": VERSION, "name": name, "role": "gateway", **header}, _Tape())

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._core, name)
        if name not in self._inputs:
            return method

        def noted(*args: Any, **kwargs: Any) -> None:
            self._settle()
            method(*args, **kwargs)  # what raises has changed nothing, and is not noted
            self._steps.append(_step(name, args, kwargs))
            self._taken = False

        return noted

    def send_audio(self, pcm: Buffer, now: float, drop: bool = True) -> Buffer | None:
        """Push audio to the client's core, and note what it took."""
        self._settle()
        rest = cast("Connection", self._core).send_audio(pcm, now, drop)
        data = as_bytes(pcm)
        self._steps.append(_step("send_audio", (data[: len(data) - len(as_bytes(rest or b""))], now), {}))
        self._taken = False
        return rest

    @property
    def pending(self) -> bool:
        """Whether ``take_actions`` has something to give."""
        return bool(self._waiting) or self._core.pending

    def take_actions(self, now: float, max_messages: int | None = None) -> list[Action]:
        """Take the core's actions, and note how many were wanted."""
        wanted = BATCH if max_messages is None else max_messages
        if not self._taken and now != self._steps[-1]["at"]:
            self._settle()
        taken = self._core.take_actions(now, max_messages)
        last: dict[str, Any] = self._steps[-1] if self._steps else {"at": None}
        if not self._taken:
            self._taken = True
            if taken or wanted < BATCH:
                last["take"] = wanted
        elif taken or wanted < BATCH or now != last["at"]:
            self._steps.append({"at": now, "take": wanted})
        elif last.get("take") == BATCH and any(kind in last for kind in INPUTS):
            # Taken until there was nothing left: what a step does by itself.
            del last["take"]
        actions, self._waiting = self._waiting + taken, []
        return actions

    def lines(self, *, redact_text: bool = False, redact_audio: bool = False) -> list[str]:
        """Give the fixture so far, line by line.

        Redacted text keeps its length, and equal texts stay equal; redacted audio keeps its length and is silence.
        Times, ids, languages and the model's name stay.
        """
        self._settle()
        redactor = _Redactor(text=redact_text, audio=redact_audio)
        lines = [redactor.header(self._header), *(redactor.step(step) for step in self._steps)]
        return complete(json.dumps(line) for line in lines)

    def _settle(self) -> None:
        """Before another input: a step that nobody took from takes what may be taken at any time."""
        if not self._taken:
            self._taken = True
            self._steps[-1]["take"] = 0
            self._waiting += self._core.take_actions(self._steps[-1]["at"], 0)


def _step(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Write an input."""
    if name in _KINDS:
        data, now = args
        if name == "receive_text":
            text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
            return {"at": now, "text": text}
        return {"at": now, _KINDS[name]: audio_json(bytes(memoryview(data).cast("B")))}
    given = {key: value for key, value in kwargs.items() if value is not UNCHANGED}
    if isinstance(args[0], SpeechData):
        data, now = args
        given["data"] = {**data._asdict(), "words": [word._asdict() for word in data.words]}
    else:
        (now,) = args
    if isinstance(given.get("error"), BaseException):
        given["error"] = error_json(given["error"])
    return {"at": now, "call": name, "args": given} if given else {"at": now, "call": name}


@define
class _Redactor:
    """Takes content out of a fixture's inputs."""

    _text: bool
    _audio: bool
    _known: dict[str, str] = field(init=False, factory=dict)

    def header(self, header: Mapping[str, Any]) -> dict[str, Any]:
        options = header.get("options")
        if options is None:
            return dict(header)
        content = {key: self._content(options[key]) for key in ("extra_kwargs", "fallback")}
        return {**header, "options": {**options, **content}}

    def step(self, step: Mapping[str, Any]) -> dict[str, Any]:
        redacted = dict(step)
        if "text" in step:
            redacted["text"] = self._message(step["text"])
        if "args" in step:
            redacted["args"] = self._content(step["args"])
            if "error" in step["args"]:
                redacted["args"]["error"] = step["args"]["error"]
        for kind in ("audio", "binary"):
            if kind in step:
                redacted[kind] = self._silence(step[kind])
        return redacted

    def _silence(self, audio: Mapping[str, Any]) -> Mapping[str, Any]:
        return audio_json(bytes(len(audio["hex"]) // 2 * audio["times"])) if self._audio else audio

    def _message(self, text: str) -> Any:
        try:
            message = parse(text, len(text) * 4)
        except NotUsable:
            return self._content(text)
        if not isinstance(message, dict):
            return self._content(text)
        audio = message.get("audio")
        if message.get("type") != "input_audio" or not isinstance(audio, str):
            return self._content(message) if self._text else text
        if not self._audio:
            return text
        pcm = read_base64(audio)
        # What was no base64 must not become any: another answer would follow.
        return {**message, "audio": "-" * len(audio) if pcm is None else audio_json(bytes(len(pcm)))}

    def _content(self, value: Any) -> Any:
        if not self._text:
            return value
        if isinstance(value, str):
            return self._filler(value)
        if isinstance(value, dict):
            return {key: item if key in _KEPT else self._content(item) for key, item in value.items()}
        return [self._content(item) for item in value] if isinstance(value, list) else value

    def _filler(self, text: str) -> str:
        """Give other text of the same length, the same each time: a repeated interim means something."""
        return self._known.setdefault(text, (f"{len(self._known)}" + "x" * len(text))[: len(text)])
