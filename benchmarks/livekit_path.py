"""livekit-agents' side of ``per_message.py``: its real stream over a WebSocket object that does nothing.

Run by ``per_message.py`` with an interpreter that has livekit-agents; nothing of lkstt is needed there. The stream, its
tasks, channels and decoders are livekit-agents' own: ``SpeechStream._run`` dials, and gets an object whose ``send_str``
returns at once and whose ``receive`` waits for what this file hands it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

from per_message import Case, child, derive
from workload import (
    BURST_PUSHES,
    CREATED,
    FILE_SECONDS,
    FINAL_SECONDS,
    INTERIMS,
    LEAD_IN_SECONDS,
    MESSAGE_SECONDS,
    PUSH_SECONDS,
    UTTERANCE_SECONDS,
    finals,
    interims,
    piece,
    transcript,
    utterances,
)

# Not imported by name: the type checker runs where livekit-agents is not installed.
aiohttp: Any = import_module("aiohttp")
rtc: Any = import_module("livekit.rtc")
inference: Any = import_module("livekit.agents.inference")


class Socket:
    """What ``ws_connect`` gives, without a socket."""

    closed = False
    close_code = None

    def __init__(self) -> None:
        self.sent = 0
        self.waiter: asyncio.Future[Any] | None = None
        self.listened_to = asyncio.Event()

    async def send_str(self, _data: str) -> None:
        self.sent += 1

    async def receive(self) -> Any:
        self.waiter = asyncio.get_running_loop().create_future()
        self.listened_to.set()
        return await self.waiter

    async def close(self) -> None:
        self.closed = True


class Session:
    """What stands for ``aiohttp.ClientSession``."""

    closed = False

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def ws_connect(self, _url: str, **_options: object) -> Socket:
        return self.socket


def frame(pcm: bytes) -> Any:
    return rtc.AudioFrame(data=pcm, sample_rate=16000, num_channels=1, samples_per_channel=len(pcm) // 2)


class Livekit:
    """One stream of livekit-agents; frames and received messages are made beforehand and cost nothing here."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.socket = Socket()
        self.seconds = 0.0
        self.speaking = False
        self.frames = {step: frame(piece(step)) for step in (PUSH_SECONDS, MESSAGE_SECONDS, FILE_SECONDS)}
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        stt = inference.STT(
            "deepgram/nova-3",
            language="en",
            base_url="http://127.0.0.1",
            api_key="key",
            api_secret="secret" * 8,
            http_session=Session(self.socket),
        )
        self.stream = stt.stream()
        await self.socket.listened_to.wait()
        self.socket.sent = 0
        self.deliver(self.message(CREATED))
        await asyncio.sleep(0)
        await self.push(LEAD_IN_SECONDS / 2, MESSAGE_SECONDS)
        await self.hear(self.message(transcript("interim", 0, 2.0, 1.0)), 2)  # START too
        await self.hear(self.message(transcript("final", 0, 2.0, 1.0)), 3)
        await self.push(LEAD_IN_SECONDS / 2, MESSAGE_SECONDS)

    def message(self, data: str) -> Any:
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, data, None)

    def deliver(self, message: Any) -> None:
        assert self.socket.waiter is not None
        self.socket.waiter.set_result(message)

    async def push(self, seconds: float, step: float) -> None:
        """Push that much audio in pieces of ``step`` seconds; one turn of the loop lets each be sent."""
        pushed = self.frames[step]
        before = self.socket.sent
        for _ in range(round(seconds / step)):
            self.stream.push_frame(pushed)
            await asyncio.sleep(0)
        self.seconds += seconds
        assert self.socket.sent - before == round(seconds / MESSAGE_SECONDS), "not every sample was sent"

    async def hear(self, message: Any, events: int) -> None:
        """Receive a message and read the events that it makes, as the application does."""
        self.deliver(message)
        for _ in range(events):
            await self.stream.__anext__()

    def running(self, work: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        async def run() -> None:
            await work()

        return lambda: self.loop.run_until_complete(run())

    def turns(self, n: int) -> Callable[[], None]:
        """Turns of the loop in which nothing happens."""

        async def work() -> None:
            for _ in range(n):
                await asyncio.sleep(0)

        return self.running(work)

    def audio(self, step: float) -> Callable[[int], Callable[[], None]]:
        return lambda n: self.running(lambda: self.push(n * MESSAGE_SECONDS, step))

    def burst(self, n: int) -> Callable[[], None]:
        """Push many frames without a turn of the loop, then let all of them be sent."""
        pushed = self.frames[PUSH_SECONDS]

        async def work() -> None:
            before = self.socket.sent
            for _ in range(round(n * MESSAGE_SECONDS / FILE_SECONDS)):
                for _ in range(BURST_PUSHES):
                    self.stream.push_frame(pushed)
                await asyncio.sleep(0)
            self.seconds += n * MESSAGE_SECONDS
            assert self.socket.sent - before == n, "not every sample was sent"

        return self.running(work)

    def interim(self, n: int) -> Callable[[], None]:
        if not self.speaking:
            self.speaking = True
            self.running(lambda: self.hear(self.message(interims(self.seconds)[0]), 2))()  # START too
        messages = [self.message(data) for data in interims(self.seconds)]

        async def work() -> None:
            for i in range(n):
                await self.hear(messages[i & 7], 1)

        return self.running(work)

    def final(self, n: int) -> Callable[[], None]:
        if self.speaking:
            self.speaking = False
            self.running(lambda: self.push(FINAL_SECONDS, PUSH_SECONDS))()
            self.running(lambda: self.hear(self.message(finals(1, self.seconds)[0]), 3))()
        messages = [self.message(data) for data in finals(n, self.seconds)]

        async def work() -> None:
            for message in messages:
                await self.push(FINAL_SECONDS, PUSH_SECONDS)
                await self.hear(message, 4)  # START, USAGE, FINAL, END

        return self.running(work)

    def utterance(self, n: int) -> Callable[[], None]:
        turns = [[self.message(data) for data in turn] for turn in utterances(n, self.seconds)]
        events = [2, *(1 for _ in range(INTERIMS - 1)), 3]

        async def work() -> None:
            for turn in turns:
                for message, count in zip(turn, events, strict=True):
                    await self.push(UTTERANCE_SECONDS / (INTERIMS + 1), PUSH_SECONDS)
                    await self.hear(message, count)

        return self.running(work)


def livekit_cases() -> dict[str, Case]:
    livekit = Livekit()
    return {
        "turn": Case(livekit.turns, 1000),
        "audio_20ms": Case(livekit.audio(PUSH_SECONDS), 240),
        "audio_burst": Case(livekit.burst, 240),
        "audio_50ms": Case(livekit.audio(MESSAGE_SECONDS), 240),
        "audio_800ms": Case(livekit.audio(FILE_SECONDS), 240),
        "interim": Case(livekit.interim, 40),
        "final": Case(livekit.final, 30),
        "second": Case(livekit.utterance, 2),
    }


def without_turns(costs: dict[str, float]) -> None:
    """Take off the turn of the loop behind each push: it is ours, an application pushes from turns of its own."""
    turn = costs.pop("turn")
    derive(costs)
    costs["audio_20ms"] -= turn * MESSAGE_SECONDS / PUSH_SECONDS
    costs["audio_50ms"] -= turn
    costs["audio_800ms"] -= turn * MESSAGE_SECONDS / FILE_SECONDS
    costs["audio_burst"] -= turn * MESSAGE_SECONDS / FILE_SECONDS
    costs["second"] -= turn / PUSH_SECONDS


if __name__ == "__main__":
    child(livekit_cases, ("livekit-agents", "livekit", "aiohttp"), sys.argv[1:], without_turns)
