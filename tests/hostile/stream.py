"""A stream in memory that a frame comes into."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from lkstt_proto import Connect, Connection, Disconnect, Event, Limits, Ping, Resumed, SpeechEvent, STTOptions
from tests.hostile.corpus import Frame
from tests.hostile.judge import TRANSCRIPTS
from tests.soundness import Ear, sound_action

RATE = 16000


class Stream:
    """A ``Connection`` whose gateway says what it is told to, and the judge of all that its application hears."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self.now = 0.0
        self.connection = Connection(STTOptions(language="en"), limits=limits)
        self.ear = Ear(limits)
        self.connection.start(self.now)
        self._carry_out()

    def push(self, seconds: float) -> list[Event]:
        """Push audio, half a second at a time, and have it sent."""
        events: list[Event] = []
        for _ in range(round(seconds * 2)):
            self.connection.send_audio(bytes(RATE), self.now)
            events += self._wait(0.5)
        return events

    def say(self, **message: Any) -> list[Event]:
        """Have the gateway say something."""
        return self.hear(json.dumps(message))

    def receive(self, frame: Frame, *, as_bytes: bool = False) -> list[Event]:
        """Have a frame come in, as an adapter would hand it over."""
        if frame.binary:
            self.connection.receive_binary(frame.payload, self.now)
            return self._carry_out()
        try:
            return self.hear(frame.payload if as_bytes else frame.payload.decode())
        except UnicodeDecodeError:
            return self.hear(frame.payload)

    def hear(self, data: str | bytes) -> list[Event]:
        """Have a text message come in."""
        self.connection.receive_text(data, self.now)
        return self._carry_out()

    def settle(self) -> list[Event]:
        """Let pass what it takes until all is sent, or the stream is over."""
        events: list[Event] = []
        while not self.connection.finished and (
            self.connection.link_state != "up" or self.connection.unsent_seconds >= 0.05
        ):
            events += self._wait(0.05)
        return events

    def end(self) -> list[Event]:
        """End the input, and let pass what it takes until the stream is over."""
        self.connection.end_input(self.now)
        events: list[Event] = []
        while not self.connection.finished:
            events += self._wait(0.5)
        return events

    def _wait(self, seconds: float) -> list[Event]:
        self.now += seconds
        self.connection.handle_timeout(self.now)
        return self._carry_out()

    def _carry_out(self) -> list[Event]:
        connection = self.connection
        events: list[Event] = []
        while actions := connection.take_actions(self.now):
            for action in actions:
                sound_action(action)
                if isinstance(action, Connect):
                    connection.transport_opened(self.now)
                    connection.receive_text('{"type":"session.created","session_id":"s"}', self.now)
                elif isinstance(action, Ping):
                    connection.transport_alive(self.now)
                elif isinstance(action, Disconnect):
                    connection.transport_closed(self.now, code=1000)
        taken = connection.take_events()
        self.ear.hear(taken, connection.stats.audio_sent)
        events += taken
        return events


@frozen
class Talk:
    """What an application heard."""

    frame: list[Event]
    """What came of the frame."""
    rest: list[Event]
    """What was said in the end; nothing where the stream was over."""

    @property
    def said(self) -> list[tuple[Any, ...]]:
        """Transcripts of the rest, but for their ids: a frame may well bring a new one."""
        events = [event for event in self.rest if isinstance(event, SpeechEvent) and event.type in TRANSCRIPTS]
        return [(event.type, event.alternatives, event.audio_time, event.promoted) for event in events]


def talk(frame: Frame | None, *, speaking: bool, as_bytes: bool = False) -> Talk:
    """Talk, with a frame in the middle."""
    stream = Stream()
    stream.push(4.0)
    if speaking:
        stream.say(type="interim_transcript", transcript="so", start=0.2, duration=0.5)
    came = [] if frame is None else stream.receive(frame, as_bytes=as_bytes)
    came += stream.settle()
    if stream.connection.finished:
        return Talk(came, [])
    stream.push(2.0)
    came += stream.settle()
    # A session's time begins with its first sample.
    began = next((event.audio_time for event in came if isinstance(event, Resumed)), 0.0)
    times = {"start": 4.5 - began, "duration": 0.5}
    words = [{"word": "and", "start": 4.5 - began, "end": 4.75 - began, "confidence": 0.5}]
    rest = stream.say(type="interim_transcript", transcript="and", **times)
    rest += stream.say(type="final_transcript", transcript="and so on", words=words, **{**times, "duration": 1.0})
    rest += stream.end()
    return Talk(came, rest)
