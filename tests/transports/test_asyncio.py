"""The asyncio adapter: the contract, and what is aiohttp's and asyncio's own."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from ssl import SSLContext
from typing import Any

import aiohttp
import pytest
import uvloop
from contract import KEY, QUICK, SECRET, Certificates, StreamContract, pcm, texts
from scripted_server import ScriptedServer, answering, deaf, gateway, silent

from lkstt_proto import (
    AuthError,
    ConnectionLost,
    Limits,
    LocalProtocolError,
    Reconnecting,
    Request,
    SpeechEvent,
    StreamEnded,
    UnexpectedRedirect,
)
from lkstt_transports.asyncio import STT, AiohttpConnector, SpeechStream
from lkstt_transports.common import Received, Socket, UpgradeRefused


def left_over() -> list[Any]:
    """Tasks, timers and sockets beside the running task."""
    loop: Any = asyncio.get_running_loop()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if isinstance(loop, uvloop.Loop):
        return tasks
    timers = [handle for handle in loop._scheduled if not handle.cancelled()]
    return tasks + timers + [transport for transport in loop._transports.values() if transport._sock is not None]


async def settle(expected: list[Any]) -> None:
    """Give what was closed the time that it takes to be gone, then insist."""
    for _ in range(1000):
        if left_over() == expected:
            return
        await asyncio.sleep(0.001)
    assert left_over() == expected


async def guarded(main: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(20):
        await main()
    await settle([])


class TestAsyncio(StreamContract):
    STT = STT

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        asyncio.run(guarded(main))
        gc.collect()  # what was not closed complains now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def together(self, *works: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.gather(*(work() for work in works))

    async def within(self, seconds: float, work: Callable[[], Awaitable[Any]]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await work()
        except TimeoutError:
            return False
        return True

    def connector(self, ssl: SSLContext) -> AiohttpConnector:
        return AiohttpConnector(ssl=ssl)


def stt(server: ScriptedServer, **settings: Any) -> STT:
    return STT(base_url=server.base_url, api_key=KEY, api_secret=SECRET, retry=QUICK, **settings)


async def read_all(stream: SpeechStream) -> list[SpeechEvent]:
    return [event async for event in stream]


async def whole_life(server: ScriptedServer, connector: AiohttpConnector | None) -> None:
    """Use everything once."""
    async with stt(server, connector=connector, limits=Limits(close=0.5)) as speech, speech.stream() as stream:
        for _ in range(5):
            await stream.push_audio(pcm(0.2))
        stream.finalize()
        async for event in stream:
            if event.alternatives:
                break
        speech.update_options(language="de")
        stream.end_input()
        async for _ in stream.events():
            pass


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_cancelling_anywhere_leaks_nothing(secure: bool) -> None:
    certificates = Certificates()
    trusting = certificates.client()

    async def main() -> None:
        before = left_over()  # the test's own timeout
        for turns in range(70 if secure else 50):
            connector = AiohttpConnector(ssl=trusting) if secure else None
            life = asyncio.create_task(whole_life(server, connector))
            for _ in range(turns):
                await asyncio.sleep(0 if turns % 2 else 0.0005)
            life.cancel()
            await asyncio.wait({life})
            if connector is not None:
                await connector.aclose()
            await settle(before)

    with ScriptedServer(ssl=certificates.server("127.0.0.1") if secure else None) as server:
        asyncio.run(guarded(main))
        gc.collect()


@pytest.mark.parametrize("act", [silent, deaf, gateway])
def test_cancelling_the_close_closes_at_once(act: Any) -> None:
    async def main() -> None:
        speech = stt(server)
        stream = speech.stream()
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(stream.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
        assert isinstance([event async for event in stream.events()][-1], StreamEnded)
        await speech.aclose()

    with ScriptedServer(act) as server:
        asyncio.run(guarded(main))
        gc.collect()


def test_a_dial_given_up_waits_for_no_farewell() -> None:
    stalling = threading.Event()

    async def stalled(visit: Any) -> None:
        visit.writer.transport.pause_reading()
        stalling.set()
        await asyncio.Event().wait()

    async def main() -> None:
        before = left_over()
        connector = AiohttpConnector(ssl=certificates.client())
        async with stt(server, connector=connector) as speech:
            stream = speech.stream()
            await asyncio.to_thread(stalling.wait)
            await stream.aclose()
            for _ in range(3):
                await asyncio.sleep(0)
            assert left_over() == before
        await connector.aclose()

    certificates = Certificates()
    with ScriptedServer(stalled, ssl=certificates.server("127.0.0.1")) as server:
        asyncio.run(guarded(main))


def test_a_stream_nobody_closed_dies_with_the_loop() -> None:
    async def main() -> None:
        speech = stt(server)
        stream = speech.stream()
        await stream.push_audio(pcm(0.1))
        await asyncio.sleep(0.05)

    with ScriptedServer() as server:
        asyncio.run(main())
        gc.collect()


def test_a_cancelled_read_loses_no_event() -> None:
    async def main() -> None:
        async with stt(server) as speech, speech.stream() as stream:
            await stream.push_audio(pcm(3.0))
            stream.end_input()
            seen: list[Any] = []
            events = stream.events()
            while True:
                try:
                    async with asyncio.timeout(0.0005):
                        seen.append(await anext(events))
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    break
            assert texts(seen) == "0.00-1.00 1.00-2.00 2.00-3.00"

    with ScriptedServer() as server:
        asyncio.run(guarded(main))


def test_two_readers_share_the_events() -> None:
    async def main() -> None:
        async with stt(server) as speech, speech.stream() as stream:

            async def read() -> list[SpeechEvent]:
                return [event async for event in stream]

            readers = [asyncio.create_task(read()) for _ in range(2)]
            await stream.push_audio(pcm(2.0))
            stream.end_input()
            seen = [event for reader in readers for event in await reader]
            assert len(seen) == len(set(map(id, seen)))
            assert sorted(texts(seen).split()) == ["0.00-1.00", "1.00-2.00"]

    with ScriptedServer() as server:
        asyncio.run(guarded(main))


def test_pushing_gives_other_tasks_their_turn() -> None:
    async def main() -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with stt(server) as speech, speech.stream() as stream:
            counting = asyncio.create_task(count())
            for _ in range(320):
                await stream.push_audio(pcm(0.001))
            counting.cancel()
            assert turns >= 20

    with ScriptedServer(silent) as server:
        asyncio.run(guarded(main))


def test_uvloop_runs_it() -> None:
    async def main() -> None:
        for speech in (stt(server), stt(server, limits=Limits(ping_interval=0.01))):
            async with speech, speech.stream() as stream:
                await stream.push_audio(pcm(2.0))
                stream.end_input()
                assert texts(await read_all(stream)) == "0.00-1.00 1.00-2.00"
                assert stream.stats.failures == 0

    with ScriptedServer() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(guarded(main))


class StandingStill(AiohttpConnector):
    """After each ping the loop stands still for longer than the pong may take; meanwhile it comes in."""

    pings = 0

    @asynccontextmanager
    async def open(self, request: Request, max_message: int) -> AsyncIterator[Socket]:
        async with super().open(request, max_message) as opened:
            socket: Any = opened
            ping = socket.ping

            async def ping_and_stand_still() -> None:
                self.pings += 1
                await ping()
                time.sleep(0.1)  # noqa: ASYNC251 (that is the point)

            socket.ping = ping_and_stand_still
            yield socket


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_has_arrived_is_heard_before_a_timer_is_judged(new_loop: Any) -> None:
    async def main() -> None:
        connector = StandingStill()
        limits = Limits(ping_interval=0.02, ping_timeout=0.05)
        async with stt(server, connector=connector, limits=limits) as speech, speech.stream() as stream:
            await asyncio.sleep(0.5)
            assert connector.pings > 2
            assert stream.stats.failures == 0
        await connector.aclose()

    with ScriptedServer() as server, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(guarded(main))


def test_a_given_aiohttp_connector_is_used_and_stays_open() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector(ssl=False) as tcp:
            connector = AiohttpConnector(connector=tcp, ssl=certificates.client())
            for _ in range(2):
                async with stt(server, connector=connector) as speech, speech.stream() as stream:
                    await stream.push_audio(pcm(1.0))
                    stream.end_input()
                    assert texts(await read_all(stream)) == "0.00-1.00"
            await connector.aclose()
            assert not tcp.closed

    certificates = Certificates()
    with ScriptedServer(ssl=certificates.server("127.0.0.1")) as server:
        asyncio.run(guarded(main))


def test_a_given_aiohttp_connector_cannot_switch_verification_off() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector(ssl=False) as tcp:
            connector = AiohttpConnector(connector=tcp)
            async with stt(server, connector=connector) as speech, speech.stream() as stream:
                with pytest.raises(Exception, match="certificate"):
                    await anext(stream)

    certificates = Certificates()
    with ScriptedServer(ssl=certificates.server("127.0.0.1")) as server:
        asyncio.run(guarded(main))


def test_cookies_are_neither_kept_nor_sent() -> None:
    async def main() -> None:
        async with stt(server) as speech, speech.stream() as stream:
            await stream.push_audio(pcm(0.1))
            stream.end_input()
            async for _ in stream:
                pass

    with ScriptedServer(answering("503 Service Unavailable", "Set-Cookie: who=you"), gateway) as server:
        asyncio.run(guarded(main))
    assert "cookie" not in server.visits[1].head.lower()


def test_the_environment_proxy_is_asked_for_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = Certificates()

    async def main(target: ScriptedServer) -> None:
        connector = AiohttpConnector(ssl=certificates.client())
        async with stt(target, connector=connector) as speech, speech.stream() as stream:
            await asyncio.sleep(0.1)
            assert stream.stats.audio_pushed == 0.0
        await connector.aclose()

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ScriptedServer(answering("502 Bad Gateway")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with ScriptedServer() as plain:
            asyncio.run(guarded(partial(main, plain)))
        assert len(plain.visits) == 1
        assert proxy.visits == []
        with ScriptedServer(ssl=certificates.server("127.0.0.1")) as secure:
            asyncio.run(guarded(partial(main, secure)))
            assert secure.visits == []
            heads = [visit.head for visit in proxy.visits if visit.head]
            assert heads
            assert all(head.startswith("CONNECT ") and "Bearer" not in head for head in heads)
            assert all("Proxy-Authorization: Basic " in head for head in heads)
            count = len(proxy.visits)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            asyncio.run(guarded(partial(main, secure)))
            assert len(secure.visits) == 1
            assert len(proxy.visits) == count


def test_a_redirect_through_a_shared_connector_is_refused_too() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector() as tcp:
            connector = AiohttpConnector(connector=tcp)
            async with stt(server, connector=connector) as speech, speech.stream() as stream:
                with pytest.raises(UnexpectedRedirect):
                    await anext(stream)

    with ScriptedServer() as target, ScriptedServer(answering("307 T", f"Location: {target.base_url}")) as server:
        asyncio.run(guarded(main))
        assert target.visits == []


class Wall:
    """A connector by itself: the first WebSocket takes one message and no more, the next is refused."""

    def __init__(self, trouble: Exception | None) -> None:
        self.trouble = trouble
        self.opened = self.sent = self.pings = 0

    @asynccontextmanager
    async def open(self, request: Request, max_message: int) -> AsyncIterator[Socket]:
        self.opened += 1
        if self.opened > 1:
            raise UpgradeRefused(403)
        yield self

    async def aclose(self) -> None: ...

    async def send_text(self, data: bytes) -> None:
        self.sent += 1
        if self.sent > 1:
            if self.trouble is not None:
                raise self.trouble
            await asyncio.Event().wait()

    async def receive(self) -> Received:
        await asyncio.Event().wait()
        raise AssertionError

    async def ping(self) -> None:
        self.pings += 1

    async def close(self, code: int) -> None:
        raise AssertionError


@pytest.mark.parametrize("trouble", [None, OSError("broken pipe")], ids=["stuck", "broken"])
def test_a_write_that_never_ends_does_not_hide_that_nobody_is_there(trouble: Exception | None) -> None:
    async def main() -> None:
        wall = Wall(trouble)
        limits = Limits(ping_interval=0.06, ping_timeout=0.02, close=0.02)
        speech = STT(api_key=KEY, api_secret=SECRET, retry=QUICK, limits=limits, connector=wall)
        async with speech, speech.stream() as stream:
            await stream.push_audio(pcm(0.05))  # one message, which asks for no ping behind it
            events = stream.events()
            told = await anext(events)
            assert isinstance(told, Reconnecting)
            assert isinstance(told.error, ConnectionLost)
            with pytest.raises(AuthError):
                await read_all(stream)
        assert (wall.opened, wall.sent, wall.pings) == (2, 2, 1)

    asyncio.run(guarded(main))


def test_a_connector_that_breaks_is_a_failure_and_not_a_crash() -> None:
    class Broken(Wall):
        def open(self, request: Request, max_message: int) -> Any:
            raise ZeroDivisionError("by itself")

    async def main() -> None:
        speech = STT(api_key=KEY, api_secret=SECRET, retry=QUICK, connector=Broken(None))
        async with speech, speech.stream() as stream:
            async for event in stream.events():
                assert isinstance(event, Reconnecting)
                assert "ZeroDivisionError: by itself" in str(event.error)
                break

    asyncio.run(guarded(main))


def test_a_stream_needs_a_running_loop() -> None:
    speech = STT(api_key=KEY, api_secret=SECRET)
    with pytest.raises(RuntimeError):
        speech.stream()


def test_audio_must_be_a_buffer() -> None:
    async def main() -> None:
        async with stt(server) as speech, speech.stream() as stream:
            wrong: Any = "text"
            with pytest.raises(LocalProtocolError):
                await stream.push_audio(wrong)
            with pytest.raises(LocalProtocolError):
                await stream.push_audio(memoryview(pcm(0.1))[::2])
            with pytest.raises(LocalProtocolError):
                await speech.recognize(wrong)

    with ScriptedServer() as server:
        asyncio.run(guarded(main))


def test_importing_an_adapter_imports_only_its_own_runtime() -> None:
    def loaded(module: str) -> set[str]:
        code = f"import sys, {module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert loaded("lkstt_transports").isdisjoint({"asyncio", "trio", "anyio", "aiohttp", "websockets"})
    assert loaded("lkstt_transports.base").isdisjoint({"asyncio", "trio", "anyio", "aiohttp", "websockets"})
    adapter = loaded("lkstt_transports.asyncio")
    assert adapter.isdisjoint({"trio", "anyio", "websockets", "webrtcvad", "jwt"})
    assert {"asyncio", "aiohttp"} <= adapter
