"""Every frame that a server could send, over real sockets and by every adapter."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count

from attrs import frozen
from marked import Span
from scenarios import Driver, Job, Outcome, everywhere
from scripted_server import BINARY, RATE, TEXT, ScriptedServer, Visit

from lkstt_proto import (
    CloseRequested,
    Event,
    FinalizeRequested,
    Limits,
    Reconnecting,
    RetryPolicy,
    SessionRequested,
    SpeechEvent,
    StreamEnded,
    StreamFailed,
)
from lkstt_transports.common import largest_message
from tests.hostile.corpus import Frame, frames
from tests.hostile.judge import TRANSCRIPTS, judge
from tests.hostile.stream import talk
from tests.soundness import Ear

LARGEST = largest_message(Limits())
PIECE = 1 << 16
CREDENTIALS = {"api_key": "APIabcdefgh", "api_secret": "a-secret-of-at-least-thirty-two-bytes"}
LEAD_IN = 5.0
"""Seconds of audio that frames may be about."""
PATIENCE = 30.0


def fails_in_memory(frame: Frame, kind: type[Event]) -> bool:
    """Whether a frame ends the session or the stream of a core alone."""
    errs = frame.expect in ("error", "failure")
    return errs and any(isinstance(event, kind) for event in talk(frame, speaking=False).frame)


def start_of(frame: Frame) -> float:
    """When a frame says that it starts; 0 where it says nothing of the kind."""
    try:
        start = json.loads(frame.payload)["start"] if frame.size < PIECE else 0.0
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    return start if isinstance(start, float | int) else 0.0


def in_order(hostile: list[Frame]) -> list[Frame]:
    """Have what ends sessions come last, what speaks of later audio before it, and interims first: they may be late."""

    def rank(frame: Frame) -> int:
        if frame in BREAKING:
            return 3
        if start_of(frame) > 0:
            return 2
        return not (b'"interim_' in frame.payload[:PIECE] or b'"preflight_' in frame.payload[:PIECE])

    return sorted(hostile, key=rank)


FRAMES = frames()
DEADLY = [frame for frame in FRAMES if fails_in_memory(frame, StreamFailed)]
"""After these there is no stream any more."""
BREAKING = {
    frame
    for frame in FRAMES
    if frame.size > LARGEST or frame.expect == "limit" or (frame not in DEADLY and fails_in_memory(frame, Reconnecting))
}
"""After these there is another session."""


def marker(number: int) -> str:
    return f"after {number}"


class HostileGateway:
    """Says one frame after another, each followed by a valid final; goes on in the next session where one ends."""

    def __init__(self, hostile: list[Frame]) -> None:
        self.hostile = hostile
        self.done = threading.Event()
        self._next = 0

    async def act(self, visit: Visit) -> None:
        """Be a visit's act."""
        visit.upgrade()
        visit.gateway.transport_opened(visit.now)
        while not visit.sessions or (self._next == 0 and len(visit.audio) < LEAD_IN * RATE * 2):
            await self._hear(visit)
        listening = asyncio.create_task(self._listen(visit))
        try:
            self._say(visit, marker(self._next - 1))
            while self._next < len(self.hostile):
                frame = self.hostile[self._next]
                self._next += 1
                await self._send(visit, frame)
                if frame in BREAKING:
                    break
                self._say(visit, marker(self._next - 1))
                await visit.writer.drain()
            else:
                if self.hostile[-1] not in DEADLY:  # the end of input would make a clean end of it
                    self.done.set()
            await listening  # until the client has gone
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def _listen(self, visit: Visit) -> None:
        while True:
            await self._hear(visit)

    async def _hear(self, visit: Visit) -> None:
        for event in await visit.hear():
            if isinstance(event, FinalizeRequested):
                visit.gateway.finalized(visit.now)
            elif isinstance(event, CloseRequested):
                visit.gateway.close(visit.now)
            elif isinstance(event, SessionRequested):
                visit.gateway.accept(visit.now, session_id="s")
        visit.speak()

    def _say(self, visit: Visit, text: str) -> None:
        """Send a final without times: it is never late."""
        visit.send(TEXT, json.dumps({"type": "final_transcript", "transcript": text}).encode())

    async def _send(self, visit: Visit, frame: Frame) -> None:
        if frame.size <= LARGEST:
            visit.send(BINARY if frame.binary else TEXT, frame.payload)
            await visit.writer.drain()
            return
        # Piece by piece: the other end does not want it.
        with suppress(ConnectionError):
            visit.writer.write(struct.pack(">BBQ", 0x80 | TEXT, 127, frame.size) + frame.prefix)
            unit = frame.unit * (PIECE // len(frame.unit))
            for _ in range(frame.size // len(unit)):
                visit.writer.write(unit)
                await visit.writer.drain()


@frozen(kw_only=True)
class Microphone(Job):
    """Some audio at once, and then more in real time until the gateway is done."""

    done: threading.Event
    seconds: float = LEAD_IN
    speed: float = 1.0

    def pieces(self) -> Iterator[tuple[float, Span]]:  # type: ignore[override]  # nobody knows how many
        step = RATE // 10
        lead_in = round(self.seconds * 10)
        for number in count():
            if number > lead_in and self.done.is_set():
                return
            yield max(0.0, (number - lead_in) / 10), (number * step, (number + 1) * step)


def heard(driver: Driver, hostile: list[Frame]) -> Outcome:
    """Have an adapter hear frames."""
    gateway = HostileGateway(hostile)
    with ScriptedServer(gateway.act) as server:
        job = Microphone(
            done=gateway.done,
            audio=lambda start, end: bytes(2 * (end - start)),
            retry=RetryPolicy(first_delay=0.01, max_delay=0.02),
            limits=Limits(quiet=0.5, close=0.5),
            patience=PATIENCE * 4,
        )
        outcome = driver.run({"base_url": server.base_url, **CREDENTIALS}, job)
    assert outcome.stats is not None
    Ear().hear((event for _, event in outcome.events), outcome.stats.audio_sent)
    return outcome


def between_markers(events: list[Event]) -> list[list[Event]]:
    """What was told for each frame, but for the turns and the accounts of audio."""
    told: list[list[Event]] = [[]]
    for event in events:
        if isinstance(event, SpeechEvent):
            if event.type not in TRANSCRIPTS:
                continue
            if event.alternatives[0].text == marker(len(told) - 2):
                told.append([])
                continue
        told[-1].append(event)
    return told


def lives_through(driver: Driver) -> None:
    """Hear all frames after which a stream goes on."""
    hostile = in_order([frame for frame in FRAMES if frame not in DEADLY])
    outcome = heard(driver, hostile)
    events = [event for _, event in outcome.events]
    assert isinstance(events[-1], StreamEnded)
    _, *told = between_markers(events)
    problems = []
    for frame, came in zip(hostile, told, strict=False):
        try:
            judge(frame, came, transport=True)
        except AssertionError as problem:
            problems.append(f"{frame.name} ({frame.expect}): {problem}: {came}"[:400])
    assert problems == [], "\n".join(problems)
    assert len(told) == len(hostile) + 1  # nothing is missing


def fails_for(driver: Driver) -> None:
    """Hear each of the frames after which there is no stream any more."""
    for frame in DEADLY:
        outcome = heard(driver, [frame])
        assert isinstance(outcome.events[-1][1], StreamFailed), frame
        judge(frame, [event for _, event in outcome.events if isinstance(event, StreamFailed)], transport=True)


def test_every_adapter_lives_through_hostile_frames() -> None:
    everywhere(lives_through)


def test_every_adapter_tells_what_a_stream_fails_of() -> None:
    everywhere(fails_for)
