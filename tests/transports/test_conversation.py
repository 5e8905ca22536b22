"""The same recorded conversations through every runtime: equal events, field by field, and equal counters.

A fixture of the core says what the gateway sends and what the application does, step by step. Here a server on loopback
sends it, and each step waits until both ends have got what the one before caused. Times of our own clock differ, so the
latencies in ``Stats`` are not compared; everything else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import attrs
import pytest
from contract import KEY, SECRET
from runtimes import RUNTIMES, Asyncio, Runtime
from scripted_server import BINARY, CLOSE, TEXT, ScriptedServer, Visit

from lkstt_proto import SttError
from lkstt_proto.dialogue import Fixture, Step, bundled, event_json, load

LATENCIES = ("connect_latency", "round_trip", "finalize_latency")
CONVERSATIONS = (
    "binary_message",
    "fields_absent_or_null",
    "final_after_finalized",
    "finalized_after_more_audio",
    "finish_at_once_with_the_last_final",
    "finish_on_an_orderly_close",
    "finish_on_session_closed",
    "gateway_error_400",
    "keyterms_wait_for_the_end_of_a_turn",
    "languages_of_transcripts",
    "late_interims_are_dropped",
    "malformed_messages",
    "metadata",
    "preflight_in_a_turn",
    "speakers",
    "surrogates_become_replacement",
    "turn_after_turn",
    "usage_is_told_once",
)
"""Fixtures with one session and nothing that waits for the clock."""


async def listening(visit: Visit) -> None:
    """Open the WebSocket, take what comes, and say nothing by oneself."""
    visit.upgrade()
    while True:
        await visit.hear()


class Conversation:
    """One fixture with a real stream in the place of the core."""

    def __init__(self, runtime: Runtime, fixture: Fixture, server: ScriptedServer) -> None:
        self._runtime = runtime
        self._fixture = fixture
        self._server = server
        self._stream: Any
        self.events: list[Any] = []
        self.stats: dict[str, Any] = {}

    async def hold(self) -> None:
        """Play it to its end, and close what is still open."""
        fixture = self._fixture
        stt = self._runtime.make(
            base_url=self._server.base_url,
            api_key=KEY,
            api_secret=SECRET,
            limits=fixture.limits,
            retry=fixture.retry,
            **fixture.header["options"],
        )
        async with stt, stt.stream() as self._stream:
            await self._runtime.together(self._read, self._play)
        self.stats = attrs.asdict(self._stream.stats)
        for latency in LATENCIES:
            del self.stats[latency]

    async def _read(self) -> None:
        try:
            async for event in self._stream.events():
                self.events.append(event)
        except SttError:
            return

    async def _play(self) -> None:
        sent = told = heard = 0
        leaving = False
        for step in self._fixture.steps:
            await self._do(step, leaving)
            heard += step.method in ("receive_text", "receive_binary")
            sent += sum("send" in action for action in step.actions)
            leaving |= any("disconnect" in action for action in step.actions)
            told += len(step.events)
            await self._until(self._heard, heard, step)
            await self._until(self._told, told, step)
            await self._until(self._sent, sent, step)
        assert not leaving or step.method == "transport_closed", "what comes next is a matter of time"
        await self._stream.aclose()

    async def _do(self, step: Step, leaving: bool) -> None:
        if step.method in ("receive_text", "receive_binary"):
            data = step.data.encode() if isinstance(step.data, str) else step.data
            self._server.call(self._say(TEXT if step.method == "receive_text" else BINARY, data))
        elif step.method == "send_audio":
            await self._stream.push_audio(step.data)
        elif step.method == "transport_closed":
            if not leaving:  # else the server answers the client's close frame by itself
                self._server.call(self._say(CLOSE, step.args.get("code", 1000).to_bytes(2, "big")))
        elif step.method not in ("start", "transport_opened", None):
            getattr(self._stream, step.method)(**step.args)

    async def _say(self, opcode: int, data: bytes) -> None:
        self._server.visits[-1].send(opcode, data)

    async def _until(self, count: Callable[[], int], wanted: int, step: Step) -> None:
        until = time.monotonic() + 5.0
        while count() < wanted:
            assert time.monotonic() < until, f"{self._fixture.name}, line {step.line}: {count.__name__} {wanted}"
            await self._runtime.sleep(0.0005)

    def _heard(self) -> int:
        """Messages that the stream got."""
        return int(self._stream.stats.messages_received)

    def _told(self) -> int:
        """Events that the application got."""
        return len(self.events)

    def _sent(self) -> int:
        """Messages that the server got."""
        return sum(visit.messages for visit in self._server.visits)


@cache
def held(runtime: type[Runtime]) -> dict[str, Conversation]:
    """Hold all conversations with one runtime."""
    conversations = {}
    files = bundled()
    for name in CONVERSATIONS:
        with ScriptedServer(listening) as server:
            conversations[name] = Conversation(runtime(), load(files[f"{name}.jsonl"]), server)
            runtime().run(conversations[name].hold)
    return conversations


def agree(said: Any, told: Any) -> bool:
    """Whether an event has all that a fixture says of it."""
    if isinstance(said, dict):
        return all(agree(value, told[name]) for name, value in said.items())
    if isinstance(said, list):
        return len(said) == len(told) and all(agree(*pair) for pair in zip(said, told, strict=True))
    return bool(said == (pytest.approx(told) if isinstance(told, float) else told))


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation_is_that_of_the_core(name: str) -> None:
    said = [event for step in load(bundled()[f"{name}.jsonl"]).steps for event in step.events]
    told = [event_json(event) for event in held(Asyncio)[name].events]
    assert len(said) > 0
    assert [(event["type"], agree(event, one)) for event, one in zip(said, told[: len(said)], strict=True)] == [
        (event["type"], True) for event in said
    ]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_a_conversation_is_the_same_through_every_runtime(runtime: type[Runtime]) -> None:
    reference, conversations = held(Asyncio), held(runtime)
    for name in CONVERSATIONS:
        assert [event_json(event) for event in conversations[name].events] == [
            event_json(event) for event in reference[name].events
        ]
        assert conversations[name].stats == reference[name].stats
