"""The asyncio adapter: the contract on both event loops, and what is aiohttp's and asyncio's own."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiohttp
import pytest
from contract import KEY, QUICK, SECRET, AsyncContract, CancelContract, Certificates, StreamContract, Wall, pcm, texts
from runtimes import Asyncio, Uvloop
from scripted_server import TEXT, ScriptedServer, Visit, answering

import lkstt_transports.asyncio
from lkstt_proto import Request, UnexpectedRedirect
from lkstt_transports import aiohttp_connector
from lkstt_transports.asyncio import STT, AiohttpConnector, SpeechStream
from lkstt_transports.common import Closed


class TestAsyncio(Asyncio, StreamContract, AsyncContract, CancelContract):
    pass


class TestUvloop(Uvloop, StreamContract, AsyncContract, CancelContract):
    pass


def stt(server: ScriptedServer, **settings: Any) -> STT:
    return STT(base_url=server.base_url, api_key=KEY, api_secret=SECRET, retry=QUICK, **settings)


@pytest.mark.parametrize("runtime", [Asyncio(), Uvloop()], ids=["asyncio", "uvloop"])
def test_a_stream_needs_no_block(runtime: Asyncio) -> None:
    async def main() -> None:
        speech = stt(server)
        stream = speech.stream()
        await stream.push_audio(pcm(1.0))
        stream.end_input()
        assert texts([event async for event in stream]) == "0.00-1.00"
        await stream.aclose()
        await speech.aclose()

    with ScriptedServer() as server:
        runtime.run(main)


@pytest.mark.parametrize("runtime", [Asyncio(), Uvloop()], ids=["asyncio", "uvloop"])
def test_what_a_turn_of_the_loop_pushed_goes_out_together_even_if_the_stream_is_closed_in_it(runtime: Asyncio) -> None:
    async def main() -> None:
        async with stt(server) as speech:
            stream = speech.stream()
            await stream.push_audio(pcm(1.0))
            assert (await anext(stream)).type == "start_of_speech"  # all that came before it is there
            for _ in range(4):
                await stream.push_audio(pcm(0.05))
            await asyncio.sleep(0)
            assert stream.stats.audio_sent == 1.2
            for _ in range(4):
                await stream.push_audio(pcm(0.05))
            await stream.aclose()

    with ScriptedServer() as server:
        runtime.run(main)
        assert len(server.visits[0].audio) == len(pcm(1.4))


@pytest.mark.parametrize("trouble", [None, OSError("broken pipe")], ids=["stuck", "broken"])
def test_a_loop_whose_stream_is_stuck_in_a_burst_rests(
    trouble: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = []
    calm_down = SpeechStream._calm_down
    monkeypatch.setattr(SpeechStream, "_calm_down", lambda stream: turns.append(calm_down(stream)))

    async def main() -> None:
        speech = STT(api_key=KEY, api_secret=SECRET, connector=Wall(trouble))
        stream = speech.stream()
        for _ in range(20):
            await asyncio.sleep(0)
        for _ in range(5):
            await stream.push_audio(pcm(0.1))
        assert stream.stats.audio_unsent > 0.3
        turns.clear()
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(turns) < 3
        await stream.aclose()
        await speech.aclose()

    asyncio.run(main())


def test_a_stream_nobody_closed_dies_with_the_loop() -> None:
    async def main() -> None:
        speech = stt(server)
        stream = speech.stream()
        await stream.push_audio(pcm(0.1))
        await asyncio.sleep(0.05)

    with ScriptedServer() as server:
        asyncio.run(main())
        gc.collect()


@pytest.mark.parametrize("runtime", [Asyncio(), Uvloop()], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("past_aiohttp", [True, False])
def test_texts_of_all_sizes_arrive_whoever_frames_them(
    runtime: Asyncio, size: int, past_aiohttp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not past_aiohttp:
        monkeypatch.setattr(aiohttp_connector, "websocket_mask", None)
    heard = []

    async def listen(visit: Visit) -> None:
        visit.upgrade()
        heard.extend([await visit.receive() for _ in range(4)])

    async def main() -> None:
        connector = AiohttpConnector()
        request = Request(f"ws://127.0.0.1:{server.port}/", ())
        async with connector.open(request, 1000) as socket:
            await socket.send_text(b"x" * size)
            await socket.send_text(b"the next")
            await socket.send_texts([b"y" * size, b"the last"])
            assert isinstance(await socket.receive(), Closed)
        await connector.aclose()

    with ScriptedServer(listen) as server:
        runtime.run(main)
    assert heard == [(TEXT, text) for text in (b"x" * size, b"the next", b"y" * size, b"the last")]


def test_the_module_gives_its_connector_where_it_is_asked_for_and_nothing_else() -> None:
    assert lkstt_transports.asyncio.AiohttpConnector is aiohttp_connector.AiohttpConnector
    with pytest.raises(AttributeError, match="no attribute 'AioConnector'"):
        lkstt_transports.asyncio.AioConnector  # noqa: B018


def test_a_stream_needs_a_running_loop() -> None:
    speech = STT(api_key=KEY, api_secret=SECRET)
    with pytest.raises(RuntimeError):
        speech.stream()


def test_a_given_aiohttp_connector_is_used_and_stays_open() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector(ssl=False) as tcp:
            connector = AiohttpConnector(connector=tcp, ssl=certificates.client())
            for _ in range(2):
                async with stt(server, connector=connector) as speech, speech.stream() as stream:
                    await stream.push_audio(pcm(1.0))
                    stream.end_input()
                    assert texts([event async for event in stream]) == "0.00-1.00"
            await connector.aclose()
            assert not tcp.closed

    certificates = Certificates()
    with ScriptedServer(ssl=certificates.server("127.0.0.1")) as server:
        Asyncio().run(main)


def test_a_given_aiohttp_connector_cannot_switch_verification_off() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector(ssl=False) as tcp:
            connector = AiohttpConnector(connector=tcp)
            async with stt(server, connector=connector) as speech, speech.stream() as stream:
                with pytest.raises(Exception, match="certificate"):
                    await anext(stream)

    certificates = Certificates()
    with ScriptedServer(ssl=certificates.server("127.0.0.1")) as server:
        Asyncio().run(main)


def test_a_redirect_through_a_shared_connector_is_refused_too() -> None:
    async def main() -> None:
        async with aiohttp.TCPConnector() as tcp:
            connector = AiohttpConnector(connector=tcp)
            async with stt(server, connector=connector) as speech, speech.stream() as stream:
                with pytest.raises(UnexpectedRedirect):
                    await anext(stream)

    with ScriptedServer() as target, ScriptedServer(answering("307 T", f"Location: {target.base_url}")) as server:
        Asyncio().run(main)
        assert target.visits == []
