"""The application's ears: what the events say, and whether they say it in order (CONTRACT decisions 1, 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

from lkstt_proto import AudioDropped, Event, Reconnecting, Resumed, SpeechEvent, StreamEnded, StreamFailed
from lkstt_proto.events import SpeechEventType

from .plan import Plan
from .recogniser import Truth
from .tape import RATE
from .world import Violation

CLOSE_MATCH = 1e-4
"""Samples by which a time may miss its place."""


class Listener:
    """Hears every event of one stream."""

    def __init__(self, plan: Plan, truths: Mapping[str, Truth]) -> None:
        self.dropped: list[tuple[int, int]] = []
        """Spans told as dropped."""
        self.unique = 0
        """Samples reported as handed over for the first time."""
        self.resent = 0
        """Samples reported as handed over again."""
        self.delivered: dict[int, int] = {}
        """How often each word came in a final."""
        self.promoted: dict[int, int] = {}
        """The same for promoted finals."""
        self.finals: list[str] = []
        """Request ids of finals that the gateway made."""
        self.stale_promoted = False
        """Whether the promoted text may have been heard before: by the letter of the contract it did not come late."""
        self.reconnecting: list[Reconnecting] = []
        self.resumed: list[Resumed] = []
        self.end: StreamEnded | StreamFailed | None = None
        self._plan = plan
        self._truths = truths
        self._speaking = False
        self._final_said = False
        self._last_text: SpeechEvent | None = None

    def hear(self, events: Sequence[Event]) -> None:
        """Take what waited unread."""
        speech = [event for event in events if isinstance(event, SpeechEvent)]
        interim = SpeechEventType.INTERIM_TRANSCRIPT
        if any(one.type is interim is two.type for one, two in pairwise(speech)):
            raise Violation("an unread interim was kept beside a newer one")
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if self.end is not None:
            raise Violation(f"{type(event).__name__} came after the end")
        if isinstance(event, SpeechEvent):
            self._SPEECH[event.type](self, event)
        elif isinstance(event, AudioDropped):
            span = samples_of(event.start), samples_of(event.end)
            if not 0 <= span[0] < span[1]:
                raise Violation(f"dropped audio that cannot be: {event}")
            self.dropped.append(span)
        elif isinstance(event, Reconnecting):
            self.reconnecting.append(event)
        elif isinstance(event, Resumed):
            self.resumed.append(event)
        elif isinstance(event, StreamEnded | StreamFailed):
            if self._speaking:
                raise Violation("the stream ended within a turn")
            self.end = event

    def _start(self, event: SpeechEvent) -> None:
        if self._speaking:
            raise Violation("START while speaking")
        self._speaking = True
        self._last_text = None

    def _text(self, event: SpeechEvent) -> None:
        self._within_turn(event)
        truth = self._placed(event)
        if truth is not None and truth.timed and truth.end <= truth.exact_before and self._plan.honest:
            raise Violation("a late interim was delivered")
        self._last_text = event

    def _usage(self, event: SpeechEvent) -> None:
        usage = event.recognition_usage
        if usage is None or (not usage.audio_duration and not usage.resent_duration):
            raise Violation("an empty usage report")
        self.unique += samples_of(usage.audio_duration)
        self.resent += samples_of(usage.resent_duration)

    def _final(self, event: SpeechEvent) -> None:
        self._within_turn(event)
        self._final_said = True
        words = self.delivered
        if event.promoted:
            words = self.promoted
            if self._last_text is None or event.alternatives != self._last_text.alternatives:
                raise Violation("the promoted final is not the last interim")
            last = self._truths[event.request_id]
            self.stale_promoted = not last.timed or last.start < last.exact_before or last.estimated_before
        else:
            truth = self._placed(event)
            if truth is not None and truth.ledger != (self.unique, self.resent):
                raise Violation(f"usage of {self.unique}, {self.resent} before a final, and not {truth.ledger}")
            self.finals.append(event.request_id)
        for word in event.alternatives[0].text.split():
            number = int(word.removeprefix("w"))
            words[number] = words.get(number, 0) + 1

    def _end(self, event: SpeechEvent) -> None:
        if not self._speaking:
            raise Violation("END while silent")
        if self._last_text is not None and not self._final_said:
            raise Violation("a turn ended without its last words")
        self._speaking = self._final_said = False

    _SPEECH: ClassVar[Mapping[SpeechEventType, Callable[[Listener, SpeechEvent], None]]] = {
        SpeechEventType.START_OF_SPEECH: _start,
        SpeechEventType.INTERIM_TRANSCRIPT: _text,
        SpeechEventType.PREFLIGHT_TRANSCRIPT: _text,
        SpeechEventType.FINAL_TRANSCRIPT: _final,
        SpeechEventType.RECOGNITION_USAGE: _usage,
        SpeechEventType.END_OF_SPEECH: _end,
    }

    def _within_turn(self, event: SpeechEvent) -> None:
        if not self._speaking or self._final_said:
            raise Violation(f"{event.type} outside of a turn")

    def _placed(self, event: SpeechEvent) -> Truth | None:
        """Check the times of a transcript against where its words lie on the tape."""
        data = event.alternatives[0]
        if not 0 <= data.start_time <= data.end_time <= event.audio_time:
            raise Violation(f"times that cannot be: {data.start_time} to {data.end_time} of {event.audio_time}")
        truth = self._truths.get(event.request_id)
        if truth is None:
            return None
        if truth.text != data.text or samples_of(event.audio_time) != truth.handed:
            raise Violation(f"another text under this id, or another time than {truth.handed}")
        if not truth.timed or self._plan.clock_restarts or truth.beyond:
            return truth
        _match("start", data.start_time, truth.start)
        _match("end", data.end_time, truth.end)
        for timed, heard in zip(data.words, truth.words, strict=True):
            _match(f"start of {timed.text}", timed.start_time, heard.start)
            _match(f"end of {timed.text}", timed.end_time, heard.end)
        return truth


def samples_of(seconds: float) -> int:
    """Whole samples of a duration that must be some."""
    samples = round(seconds * RATE)
    if abs(seconds * RATE - samples) > CLOSE_MATCH:
        raise Violation(f"{seconds} s are no whole samples")
    return samples


def _match(what: str, seconds: float, position: int) -> None:
    if abs(seconds * RATE - position) > CLOSE_MATCH:
        raise Violation(f"{what} is told at sample {seconds * RATE:.3f} and lies at {position}")
