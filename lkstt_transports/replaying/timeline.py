"""A fixture as a timeline: what happened when, with the positions in the audio. Pure, and read from the file alone.

Only the verdict, whether the recording still holds, comes from the core of this version.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from attrs import define, field, frozen

from lkstt_proto import SttError
from lkstt_proto.dialogue import Fixture, Step
from lkstt_proto.messages import InputAudio, SessionCreate, decode_client
from lkstt_proto.replay import run
from lkstt_proto.wirejson import NotUsable, parse

_MESSAGE_BYTES = 2**26  # whatever fits a line of a fixture
_LONGEST_SECONDS = 1e9
_TEXT_FIRST = ("transcript", "text", "message", "session_id", "model")  # what tells most about a message or event


class Lane(StrEnum):
    """Where a thing stands."""

    CALL = "call"
    """What an application, a transport or the clock told the core."""
    UP = "up"
    """To the gateway."""
    DOWN = "down"
    """From the gateway."""
    EVENT = "event"
    """What the core told the application."""
    LINK = "link"
    SESSION = "session"
    DEADLINE = "deadline"


@frozen
class Item:
    """One thing that happened in a step."""

    lane: Lane
    label: str
    """A few words; may hold what was said, and whatever strangers wrote."""
    detail: Any
    """All of it, as JSON; audio as its length."""


@frozen
class Moment:
    """One step of the fixture."""

    number: int
    """From 1."""
    line: int
    at: float
    pushed: float
    """Seconds of audio pushed (client) or received (gateway) so far."""
    sent: float
    """Seconds into the stream up to which audio was handed to the transport; for a gateway as ``pushed``."""
    handed: float
    """Seconds of audio that passed the transport in this step, those sent again among them."""
    audio: bool
    """Whether audio was pushed, or passed the transport."""
    items: tuple[Item, ...]
    """All but audio, in order."""


@frozen
class Turn:
    """From the onset to the end of a turn, on the clock of the recording."""

    start: float
    end: float | None
    """None: still open at the end."""
    text: str
    """Of its final, or of the last interim."""


@frozen
class Segment:
    """A stretch of audio with what was heard in it; times are positions in the stream, in seconds."""

    start: float
    end: float
    text: str


@frozen
class Timeline:
    """All of a fixture, for showing it."""

    name: str
    role: str
    model: str
    rate: int
    """Hz."""
    moments: tuple[Moment, ...]
    turns: tuple[Turn, ...]
    segments: tuple[Segment, ...]
    """Words where their times are known, whole finals elsewhere."""
    pcm: bytes
    """Everything that was pushed or received."""
    difference: str | None
    """Why the recording does not hold against this version's core, in a line; None when it does."""
    different_step: int | None
    """The number of the step where it shows."""

    @property
    def end(self) -> float:
        """When the last step was."""
        return max((moment.at for moment in self.moments), default=0.0)

    @property
    def audio_seconds(self) -> float:
        """Audio pushed or received in all."""
        return self.moments[-1].pushed if self.moments else 0.0


def read_timeline(fixture: Fixture) -> Timeline:
    """Make the timeline of a fixture, and play it to see whether it holds."""
    reader = _Reader(fixture)
    moments = tuple(reader.moment(number, step) for number, step in enumerate(fixture.steps, 1))
    difference, step = _judge(fixture)
    return Timeline(
        name=fixture.name,
        role=fixture.role,
        model=reader.model,
        rate=reader.rate,
        moments=moments,
        turns=tuple(reader.turns),
        segments=tuple(reader.segments),
        pcm=bytes(reader.pcm),
        difference=difference,
        different_step=step,
    )


def _judge(fixture: Fixture) -> tuple[str | None, int | None]:
    try:
        mismatches = run(fixture)
    except SttError as error:  # asked for more random numbers than there are: it plays otherwise
        return str(error), None
    if not mismatches:
        return None, None
    first = mismatches[0]
    return str(first).removeprefix(f"{first.name}: "), first.step


@define
class _Reader:
    """Goes through the steps and keeps count."""

    fixture: Fixture
    model: str = ""
    rate: int = 0
    pcm: bytearray = field(factory=bytearray)
    segments: list[Segment] = field(factory=list)
    turns: list[Turn] = field(factory=list)
    _pushed: int = 0
    _sent: int = 0
    _handed: int = 0
    _states: dict[str, Any] = field(factory=dict)
    _speaking: bool = False

    def __attrs_post_init__(self) -> None:
        options = self.fixture.options
        self.model = options.model or "auto" if self.fixture.role == "client" else "?"
        self.rate = options.sample_rate

    def moment(self, number: int, step: Step) -> Moment:
        pushed, self._handed = self._pushed, 0
        items = tuple(self._items(step))
        return Moment(
            number=number,
            line=step.line,
            at=step.at,
            pushed=self._pushed / self.rate,
            sent=self._sent / self.rate,
            handed=self._handed / self.rate,
            audio=bool(self._handed) or pushed != self._pushed,
            items=items,
        )

    def _items(self, step: Step) -> Iterator[Item]:
        yield from self._input(step)
        if step.raises is not None:
            yield Item(Lane.EVENT, f"raised {step.raises}", {"raises": step.raises})
        # Where a session begins again is told by events, and what it is sent by actions.
        for event in step.events:
            self._locate(event)
        for action in step.actions:
            yield from self._action(action, step.at)
        for event in step.events:
            yield from self._event(event, step.at)
        yield from self._changes(step)

    def _input(self, step: Step) -> Iterator[Item]:
        if step.method is None:
            return  # only taken from: what came of it shows
        if step.method == "send_audio":
            self._push(step.data)
        elif step.method == "receive_binary":
            size = len(step.data)
            yield Item(self._inbound, f"binary, {size} bytes", {"binary": size})
        elif step.method == "receive_text":
            yield from self._heard(str(step.data))
        else:
            args = step.source.get("args", {})
            yield Item(Lane.CALL, " ".join([step.method, *_told(args)]), {"call": step.method, "args": args})

    def _heard(self, text: str) -> Iterator[Item]:
        if self.fixture.role == "gateway" and self._listen(text):
            return
        try:
            message = parse(text, _MESSAGE_BYTES)
        except NotUsable as problem:
            yield Item(self._inbound, f"unusable: {problem.reason}", {"text": text})
            return
        yield Item(self._inbound, _named(message), message)

    def _listen(self, text: str) -> bool:
        """Hear a client; tell whether it was nothing but audio."""
        try:
            message = decode_client(text, self.fixture.limits)
        except NotUsable:
            return False
        if isinstance(message, SessionCreate):
            self.model, self.rate = message.model or "auto", message.sample_rate
        if not isinstance(message, InputAudio):
            return False
        self._push(message.pcm)
        self._sent = self._pushed
        self._handed += len(message.pcm) // 2
        return True

    def _push(self, pcm: bytes | str) -> None:
        self.pcm += pcm if isinstance(pcm, bytes) else b""
        self._pushed = len(self.pcm) // 2

    @property
    def _inbound(self) -> Lane:
        return Lane.DOWN if self.fixture.role == "client" else Lane.UP

    def _action(self, action: Mapping[str, Any], at: float) -> Iterator[Item]:
        outbound = Lane.UP if self.fixture.role == "client" else Lane.DOWN
        ((kind, content),) = action.items()
        if kind != "send":
            yield Item(outbound, " ".join([kind, *_told({k: v for k, v in content.items() if v})]), {kind: content})
        elif content.get("type") == "input_audio" and isinstance(content.get("audio"), dict):
            samples = len(content["audio"]["hex"]) // 2 * content["audio"]["times"] // 2
            self._sent += samples
            self._handed += samples
        else:
            if outbound is Lane.DOWN:
                self._follow_gateway(content, at)
            yield Item(outbound, _named(content), content)

    def _event(self, event: Mapping[str, Any], at: float) -> Iterator[Item]:
        kind = event["type"]
        if kind == "audio_received":
            return
        for data in _objects(event.get("alternatives")) if kind.endswith("_transcript") else ():
            self._transcript(data, kind)
        if kind == "start_of_speech":
            self._begin(at)
        elif kind == "end_of_speech":
            self._end(at)
        yield Item(Lane.EVENT, _named(event), event)

    def _locate(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "resumed":
            self._sent = round(_number(event.get("audio_time")) * self.rate)
        elif event["type"] == "audio_dropped" and event.get("cause") == "overflow":
            self._sent = max(self._sent, round(_number(event.get("end")) * self.rate))

    def _changes(self, step: Step) -> Iterator[Item]:
        for name, value in step.states.items():
            before = self._states.get(name)
            if name in self._states and before == value:
                continue
            self._states[name] = value
            lane = Lane(name.removesuffix("_state"))
            if lane is Lane.DEADLINE:
                label = "none" if value is None else f"{_number(value):.3f}"
            else:
                label = str(value) if before is None else f"{before} \u2192 {value}"
            yield Item(lane, label, value)

    # Turns, and what was said in them.

    def _begin(self, at: float) -> None:
        if not self._speaking:
            self._speaking = True
            self.turns.append(Turn(at, None, ""))

    def _end(self, at: float) -> None:
        if self._speaking:
            self._speaking = False
            self.turns[-1] = Turn(self.turns[-1].start, at, self.turns[-1].text)

    def _transcript(self, data: Mapping[str, Any], kind: str) -> None:
        text = _text(data.get("text"))
        if self._speaking and text:
            self.turns[-1] = Turn(self.turns[-1].start, None, text)
        if kind == "final_transcript" and text:
            self.segments.extend(
                Segment(_number(word.get("start_time")), _number(word.get("end_time")), _text(word.get("text")))
                for word in _objects(data.get("words")) or [dict(data)]
            )

    def _follow_gateway(self, message: Mapping[str, Any], at: float) -> None:
        """Find the turns in what a gateway says: it has no events for them."""
        kind, text = _text(message.get("type")), _text(message.get("transcript"))
        if kind == "start_of_speech" or (text and kind.endswith("_transcript")):
            self._begin(at)
        if kind.endswith("_transcript"):
            words = [
                {"text": word.get("word"), "start_time": word.get("start"), "end_time": word.get("end")}
                for word in _objects(message.get("words"))
            ]
            start = _number(message.get("start"))
            end = start + _number(message.get("duration"))
            self._transcript({"text": text, "start_time": start, "end_time": end, "words": words}, kind)
        if kind == "final_transcript":
            self._end(at)


# A fixture may be written by strangers, and what it says of results is whatever they say.


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) < _LONGEST_SECONDS else 0.0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def transcript_text(message: Any) -> str:
    """Give the text of a transcript, whether it is a message or an event."""
    if not isinstance(message, dict):
        return ""
    texts = [_text(data.get("text")) for data in _objects(message.get("alternatives"))]
    return " ".join(texts) or _text(message.get("transcript"))


def _named(message: Any) -> str:
    """Name a message or an event in a few words."""
    if not isinstance(message, dict):
        return f"unusable: {type(message).__name__}"
    kind = _text(message.get("type")) or "no type"
    rest: dict[str, Any] = dict(message)
    if kind.endswith("_transcript"):
        rest.pop("session_id", None)
    for data in _objects(message.get("alternatives")):
        rest |= {key: data[key] for key in ("text", "start_time", "end_time") if key in data}
    if isinstance(message.get("recognition_usage"), dict):
        rest |= message["recognition_usage"]
    for name in ("type", "alternatives", "recognition_usage", "audio_time", "request_id", "words", "connection"):
        rest.pop(name, None)
    shown = {name: rest.pop(name) for name in _TEXT_FIRST if name in rest}
    return " ".join([kind, *_told(shown | rest)])


def _told(fields: Mapping[str, Any]) -> Iterator[str]:
    """Write fields shortly: texts in quotes, what is empty not at all."""
    for name, value in fields.items():
        if value is None or value is False or value in ("", [], {}):
            continue
        if isinstance(value, float):
            value = round(value, 3)
        shown = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        yield shown if name in _TEXT_FIRST else f"{name}={shown}"


def peaks(pcm: bytes, count: int) -> bytes:
    """Give the loudness of at most ``count`` equal stretches of audio, a byte each."""
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    length = max(1, -(-len(samples) // count))
    stretches = (samples[start : start + length] for start in range(0, len(samples), length))
    return bytes(min(255, max(max(stretch), -min(stretch)) >> 7) for stretch in stretches)  # noqa: PLW3301 (or each sample is an argument)
