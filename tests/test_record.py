"""Recording: our own streams as they transcribe, and sessions of strangers that pass through a proxy unchanged."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from lkstt_proto import InsecureTransport, LocalProtocolError
from lkstt_proto.dialogue import load
from lkstt_proto.replay import run as play
from lkstt_transports.asyncio import STT
from lkstt_transports.cli import local
from lkstt_transports.cli.app import run
from lkstt_transports.gateway import LocalGateway
from lkstt_transports.gateway.faults import FailSession
from lkstt_transports.gateway.recognizers import Recognizer
from lkstt_transports.gateway.recognizers.script import At, EchoRecognizer, Script, ScriptRecognizer
from lkstt_transports.replaying import witness as witness_module
from lkstt_transports.replaying.proxy import RecordingProxy
from lkstt_transports.replaying.witness import Witness

KEY, SECRET = "key-of-a-project", "a secret for tests that nobody has to guess"
WAIT = 10.0  # nothing here takes so long unless it is broken
on_each_transport = pytest.mark.parametrize("transport", ["asyncio", "trio", "anyio", "sync"])


def pcm(words: int) -> bytes:
    """Tenths of a second, each full of its own number, which the gateway spells."""
    return b"".join(struct.pack("<h", word) * 1600 for word in range(1, words + 1))


@pytest.fixture
def clip(tmp_path: Path) -> str:
    with wave.open(str(tmp_path / "clip.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(pcm(25))
    return str(tmp_path / "clip.wav")


@pytest.fixture
def hear(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recognizer], None]:
    """Choose the recogniser of `--local`; it is the one that spells until chosen otherwise."""

    def choose(recognizer: Recognizer) -> None:
        monkeypatch.setattr(local, "PocketsphinxRecognizer", lambda **_: recognizer)

    choose(EchoRecognizer())
    return choose


def steps_of(path: Path) -> list[dict[str, Any]]:
    """Read a recording that holds."""
    assert play(load(path)) == []
    return [json.loads(line) for line in path.read_text().splitlines()]


def last(steps: list[dict[str, Any]], name: str) -> Any:
    """What was said of this for the last time."""
    return next(step[name] for step in reversed(steps) if name in step)


def texts_of(steps: list[dict[str, Any]]) -> list[str]:
    messages = [
        json.loads(step["text"]) if isinstance(step["text"], str) else step["text"]
        for step in steps[1:]
        if "text" in step
    ]
    return [message["transcript"] for message in messages if message["type"] == "final_transcript"]


# Our own streams.


@on_each_transport
def test_a_stream_is_recorded_while_it_is_transcribed(
    hear: object, transport: str, clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.jsonl"
    assert run(["record", "--local", "--transport", transport, "--output", str(out), clip]) == 0
    printed, said = capfd.readouterr()
    assert printed.split() == [str(word) for word in range(1, 26)]
    assert f"lkstt: recorded: {out}\n" in said
    assert out.stat().st_mode & 0o777 == 0o600
    header, *rest = steps_of(out)
    assert (header["name"], header["role"]) == ("call", "client")
    assert rest[0]["at"] == 0.0
    calls = [step["call"] for step in rest if "call" in step]
    assert calls[0] == "start"
    assert "transport_opened" in calls[1:3]  # a clip may be read to its end sooner
    assert last(rest, "link_state") == "done"
    assert " ".join(texts_of([header, *rest])).split() == printed.split()
    assert sum(len(step["audio"]["hex"]) // 2 * step["audio"]["times"] for step in rest if "audio" in step) == len(
        pcm(25)
    )


def test_the_file_is_named_by_the_time_unless_it_is_named(
    hear: object, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["record", "--local", clip]) == 0
    (out,) = tmp_path.glob("lkstt-*.jsonl")
    assert steps_of(out)[0]["name"] == out.stem


@pytest.mark.parametrize("redact", ["text", "audio", "all"])
def test_redacting_keeps_lengths_and_times(hear: object, redact: str, clip: str, tmp_path: Path) -> None:
    out = tmp_path / "call.jsonl"
    assert run(["record", "--local", "--redact", redact, "--output", str(out), clip]) == 0
    steps = steps_of(out)
    expected = ["1 2 3 4 5 6 7 8 9 10", "11 12 13 14 15 16 17 18 19 20", "21 22 23 24 25"]
    assert [len(text) for text in texts_of(steps)] == [len(text) for text in expected]
    assert (texts_of(steps) == expected) is (redact == "audio")
    audio = b"".join(
        bytes.fromhex(step["audio"]["hex"]) * step["audio"]["times"] for step in steps[1:] if "audio" in step
    )
    assert len(audio) == len(pcm(25))
    assert any(audio) is (redact == "text")


def test_a_stream_that_fails_is_recorded_until_then(
    hear: Callable[[Recognizer], None], clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hear(ScriptRecognizer(Script(steps=[At(0.5, FailSession(400, "no such thing"))])))
    out = tmp_path / "call.jsonl"
    assert run(["record", "--local", "--output", str(out), clip]) == 1
    assert last(steps_of(out), "events")[-1]["type"] == "stream_failed"
    assert "recorded" in capfd.readouterr().err


def test_a_name_that_is_taken_is_told_before_anything_is_done(
    hear: object, clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "call.jsonl"
    out.write_text("mine")
    assert run(["record", "--local", "--output", str(out), clip]) == 1
    assert out.read_text() == "mine"
    assert capfd.readouterr().out == ""
    assert run(["record", "--local", "--output", str(tmp_path / "no" / "call.jsonl"), clip]) == 1
    assert "cannot be made (No such file or directory)" in capfd.readouterr().err


def test_what_never_began_leaves_no_file(hear: object, tmp_path: Path) -> None:
    assert run(["record", "--local", "--output", str(tmp_path / "call.jsonl"), str(tmp_path / "missing.wav")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_is_told(
    hear: object, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lkstt_transports.cli.record._write", write)
    assert run(["record", "--local", "--output", str(tmp_path / "call.jsonl"), clip]) == 1
    assert "cannot be written (No space left on device)" in capfd.readouterr().err
    assert not (tmp_path / "call.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Name files"),
        (["--listen", "127.0.0.1:1", "x.wav"], "--listen needs --upstream"),
        (["--output-dir", "there", "x.wav"], "--output-dir needs --upstream"),
        (["--upstream", "http://127.0.0.1:1/v1", "--model", "auto"], "--model and --upstream exclude each other"),
        (["--upstream", "http://127.0.0.1:1/v1", "x.wav"], "SOURCE and --upstream exclude each other"),
        (["--upstream", "http://127.0.0.1:1/v1", "--output", "x"], "--output and --upstream exclude each other"),
    ],
)  # fmt: skip
def test_the_two_forms_are_not_mixed(arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["record", *arguments]) == 2
    assert complaint in capfd.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a process")
def test_an_interrupt_leaves_a_complete_recording(clip: str, tmp_path: Path) -> None:
    out = tmp_path / "call.jsonl"
    code = (
        "import sys; from lkstt_transports.cli import local; from lkstt_transports.cli.app import run\n"
        "from lkstt_transports.gateway.recognizers.script import EchoRecognizer\n"
        "local.PocketsphinxRecognizer = lambda **_: EchoRecognizer()\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "record", "--local", "--realtime", "--output", str(out), clip]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"1 2 3")
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130
    steps = steps_of(out)
    assert last(steps, "link_state") == "done"
    assert texts_of(steps)[0] == "1 2 3 4 5 6 7 8 9 10"


# Sessions that pass by.

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def passing(upstream: str, **settings: Any) -> AsyncIterator[tuple[RecordingProxy, list[Witness]]]:
    """A proxy, and who saw the sessions that are over."""
    seen: list[Witness] = []

    async def keep(witness: Witness) -> None:
        seen.append(witness)

    async with RecordingProxy(
        upstream=upstream, listen="127.0.0.1:0", keep=keep, name=lambda: f"session {len(seen) + 1}", **settings
    ) as proxy:
        yield proxy, seen


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """Any server; gives its base URL."""
    app = web.Application()
    app.router.add_get("/v1/stt", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/v1"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def dialled(base_url: str, **settings: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{base_url}/stt?model=auto", autoping=False, **settings) as socket,
    ):
        yield socket


async def over(seen: list[Witness], count: int = 1) -> None:
    async with asyncio.timeout(WAIT):
        while len(seen) < count:  # noqa: ASYNC110  # a list has no event
            await asyncio.sleep(0.005)


def recordings(witness: Witness, **redact: bool) -> dict[str, list[dict[str, Any]]]:
    kept = witness.recordings(**redact)
    assert [str(mismatch) for lines in kept.values() for mismatch in play(load(lines))] == []
    return {role: [json.loads(line) for line in lines] for role, lines in kept.items()}


def test_a_session_passes_unnoticed_and_becomes_a_fixture_of_each_end() -> None:
    async def scenario() -> None:
        async with (
            LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET}) as gateway,
            passing(gateway.base_url) as (proxy, seen),
            STT("auto", language="en", base_url=proxy.base_url, api_key=KEY, api_secret=SECRET) as stt,
        ):
            assert proxy.base_url.endswith("/v1")
            event = await stt.recognize(pcm(12))
            assert event.alternatives[0].text == "1 2 3 4 5 6 7 8 9 10 11 12"
            await over(seen)
        kept = recordings(seen[0])
        assert list(kept) == ["client", "gateway"]
        client, told = kept["client"], kept["gateway"]
        assert texts_of(client) == ["1 2 3 4 5 6 7 8 9 10", "11 12"]
        assert client[0]["options"]["model"] is None
        assert client[0]["options"]["language"] == "en"
        sent = [json.loads(step["text"])["type"] for step in told[1:] if "text" in step]
        assert sent[0] == "session.create"
        assert sent.count("input_audio") == 24
        assert sent[-2:] == ["session.finalize", "session.close"]
        # Both tell the same story: what one heard, the other said.
        heard = [json.loads(step["text"]) for step in client[1:] if "text" in step]
        said = [action["send"] for step in told[1:] for action in step.get("actions", []) if "send" in action]
        assert [message["type"] for message in heard] == [message["type"] for message in said]
        assert seen[0].outcome == "closed with code 1000"
        assert "Bearer" not in json.dumps(kept)
        assert KEY not in json.dumps(kept)

    asyncio.run(scenario())


def test_every_message_passes_as_it_is_in_both_directions() -> None:
    texts = [
        '{"type":"weather", "a" : 1.50}',
        "no JSON \u00e9\u4e2d\U0001f600\u2028",
        "",
        "[" * 300,
        '{"type":"session.create"}',
    ]

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
                await socket.ping(b"and you?")
            elif message.type is not WSMsgType.PONG:
                kind = WSMsgType.TEXT if message.type is WSMsgType.TEXT else WSMsgType.BINARY
                await socket.send_frame(message.data.encode() if kind is WSMsgType.TEXT else message.data, kind)
        return socket

    async def scenario() -> None:
        async with served(echo) as base_url, passing(base_url) as (proxy, seen):
            async with dialled(proxy.base_url) as socket:
                for text in texts:
                    await socket.send_str(text)
                    assert await socket.receive_str(timeout=WAIT) == text
                await socket.send_bytes(bytes(range(256)))
                assert await socket.receive_bytes(timeout=WAIT) == bytes(range(256))
                await socket.ping(b"there?")
                pong, ping = await socket.receive(WAIT), await socket.receive(WAIT)
                assert (pong.type, pong.data) == (WSMsgType.PONG, b"there?")
                assert (ping.type, ping.data) == (WSMsgType.PING, b"and you?")
                await socket.pong(b"fine")
            await over(seen)
        kept = recordings(seen[0])
        assert [step["text"] for step in kept["client"][1:] if "text" in step] == texts
        assert [step["text"] for step in kept["gateway"][1:] if "text" in step] == texts
        assert [step["binary"]["hex"] for step in kept["client"][1:] if "binary" in step] == [bytes(range(256)).hex()]

    asyncio.run(scenario())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "all is lost"), (4001, "\u00e9\u4e2d"), (1005, "")])
def test_close_frames_pass_as_they_are(code: int, reason: str) -> None:
    frame = b"" if code == 1005 else code.to_bytes(2, "big") + reason.encode()
    ended: list[tuple[int, str]] = []

    async def closing(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        first = await socket.receive(WAIT)
        if first.type is WSMsgType.TEXT:
            await socket.send_frame(frame, WSMsgType.CLOSE)
            await socket.receive(WAIT)
        else:
            ended.append((first.data or 1005, first.extra or ""))
            await socket.send_frame(frame, WSMsgType.CLOSE)
        return socket

    async def scenario() -> None:
        async with served(closing) as base_url, passing(base_url) as (proxy, seen):
            async with dialled(proxy.base_url, autoclose=False) as socket:
                await socket.send_str("close, please")
                message = await socket.receive(WAIT)
                assert (message.type, message.data or 1005, message.extra or "") == (WSMsgType.CLOSE, code, reason)
                await socket.send_frame(frame, WSMsgType.CLOSE)
            async with dialled(proxy.base_url, autoclose=False) as socket:
                await socket.send_frame(frame, WSMsgType.CLOSE)
                answer = await socket.receive(WAIT)
                assert (answer.type, answer.data or 1005) == (WSMsgType.CLOSE, code)
            await over(seen, 2)
            assert ended == [(code, reason)]
        for witness in seen:
            assert witness.outcome == f"closed with code {code}"
            closed = recordings(witness)["client"][-1]
            assert (closed["call"], closed["args"]) == ("transport_closed", {"code": code, "reason": reason})

    asyncio.run(scenario())


def test_a_cut_is_a_cut_for_the_other_end_too() -> None:
    lost = asyncio.Event()

    async def cutting(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if await socket.receive_str(timeout=WAIT) == "cut":
            assert request.transport is not None
            request.transport.abort()
        else:
            await socket.receive(WAIT)
            assert socket.close_code != WSCloseCode.GOING_AWAY
            lost.set()
        return socket

    async def scenario() -> None:
        async with served(cutting) as base_url, passing(base_url) as (proxy, seen):
            async with dialled(proxy.base_url) as socket:
                await socket.send_str("cut")
                message = await socket.receive(WAIT)
                assert message.type in (WSMsgType.CLOSED, WSMsgType.ERROR)
                assert socket.close_code == 1006
            async with aiohttp.ClientSession() as session:
                socket = await session.ws_connect(f"{proxy.base_url}/stt")
                await socket.send_str("stay")
                connection = socket._response.connection  # aiohttp has no public way to a transport
                assert connection is not None
                assert connection.transport is not None
                connection.transport.abort()
                await asyncio.wait_for(lost.wait(), WAIT)
                await socket.close()
            await over(seen, 2)
        assert [witness.outcome for witness in seen] == ["closed with code 1006"] * 2
        assert recordings(seen[0])["gateway"][-1]["args"]["code"] == 1006

    asyncio.run(scenario())


def test_headers_pass_and_so_do_refusals_with_status_and_body() -> None:
    asked: list[web.Request] = []

    async def refusing(request: web.Request) -> web.Response:
        asked.append(request)
        body = b'{"type":"inference_quota_exceeded","hint":"later"}'
        headers = {"Retry-After": "7", "X-Request-Id": "r1", "Content-Type": "application/json"}
        return web.Response(status=429, body=body, headers=headers)

    async def scenario() -> None:
        async with served(refusing) as base_url, passing(base_url) as (proxy, seen), aiohttp.ClientSession() as session:
            headers = {
                "Authorization": "Bearer a.b.c",
                "User-Agent": "somebody",
                "X-LiveKit-Room-ID": "room",
                **UPGRADE,
            }
            async with session.get(f"{proxy.base_url}/stt?model=deepgram%2Fnova-3", headers=headers) as answer:
                assert answer.status == 429
                assert await answer.read() == b'{"type":"inference_quota_exceeded","hint":"later"}'
                assert answer.headers["Retry-After"] == "7"
                assert answer.headers["X-Request-Id"] == "r1"
                assert answer.headers["Content-Type"].startswith("application/json")
            await over(seen)
            assert asked[0].headers["Authorization"] == "Bearer a.b.c"
            assert asked[0].headers["User-Agent"] == "somebody"
            assert asked[0].headers["X-LiveKit-Room-ID"] == "room"
            assert asked[0].headers["Host"] in base_url
            assert asked[0].headers["Sec-WebSocket-Key"] != headers["Sec-WebSocket-Key"]
            assert asked[0].raw_path.startswith("/v1/stt?model=deepgram")
        kept = recordings(seen[0])
        assert list(kept) == ["client"]
        assert kept["client"][2]["args"] == {"http_status": 429, "retry_after": 7.0}
        assert seen[0].outcome == "refused with HTTP 429"
        assert "a.b.c" not in json.dumps(kept)

    asyncio.run(scenario())


def test_redirects_are_passed_on_and_not_followed() -> None:
    async def elsewhere(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"})

    async def scenario() -> None:
        async with (
            served(elsewhere) as base_url,
            passing(base_url) as (proxy, seen),
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{proxy.base_url}/stt", headers=UPGRADE, allow_redirects=False) as answer:
                assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:9/elsewhere")
            await over(seen)
        assert seen[0].outcome == "refused with HTTP 302"

    asyncio.run(scenario())


def test_a_gateway_that_is_not_there_is_told_without_the_token(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with caplog.at_level(logging.DEBUG):
            async with passing("http://127.0.0.1:9/v1") as (proxy, seen), aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    await session.ws_connect(f"{proxy.base_url}/stt", headers={"Authorization": "Bearer a.b.c"})
                assert caught.value.status == 502
                await over(seen)
        assert seen[0].outcome == "refused with HTTP 502"
        assert "a.b.c" not in caplog.text

    asyncio.run(scenario())


def test_only_websockets_to_the_gateway_are_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError

    async def ask(port: int, head: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer

    async def scenario() -> None:
        async with served(never) as base_url, passing(base_url) as (proxy, seen):
            port = int(proxy.base_url.split(":")[2].split("/")[0])
            assert b" 400 " in await ask(port, "GET /v1/stt HTTP/1.1")
            assert b" 400 " in await ask(port, "GET http://elsewhere.example/v1/stt HTTP/1.1")
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with dialled(proxy.base_url, protocols=["token.of.mine"]):
                    pass
            assert caught.value.status == 400
            assert seen == []
        assert "token.of.mine" not in caplog.text

    asyncio.run(scenario())


def test_stopping_says_goodbye_to_both_and_keeps_what_was_said() -> None:
    async def scenario() -> None:
        async with LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET}) as gateway:
            stopping = passing(gateway.base_url)
            proxy, seen = await stopping.__aenter__()
            stt = STT("auto", base_url=proxy.base_url, api_key=KEY, api_secret=SECRET)
            async with stt, stt.stream() as stream:
                await stream.push_audio(pcm(12))
                assert (await anext(stream)).type == "start_of_speech"
                await stopping.__aexit__(None, None, None)
            assert [witness.outcome for witness in seen] == ["closed with code 1001"]
            assert recordings(seen[0])["client"][-1]["args"]["code"] == 1001

    asyncio.run(scenario())


def test_addresses_that_would_show_tokens_are_refused() -> None:
    async def keep(_: Witness) -> None: ...

    def proxy(upstream: str, listen: str) -> RecordingProxy:
        return RecordingProxy(upstream=upstream, listen=listen, keep=keep, name=str)

    with pytest.raises(InsecureTransport):
        proxy("http://gateway.example/v1", "127.0.0.1:0")
    with pytest.raises(InsecureTransport):
        proxy("https://gateway.example/v1", "0.0.0.0:8090")
    for listen in ("8090", "localhost", "localhost:x", "localhost:70000", ":80"):
        with pytest.raises(LocalProtocolError):
            proxy("https://gateway.example/v1", listen)
    with pytest.raises(LocalProtocolError):
        proxy("https://gateway.example/v1", "[::1]:0").base_url  # noqa: B018  # the looking raises


# The witness alone.


def hears(*messages: object, name: str = "heard") -> Witness:
    """A witness of a session whose client says this, all at once."""
    witness = Witness(name)
    witness.opened(0.1)
    for message in messages:
        witness.client_said(message if isinstance(message, str) else json.dumps(message), 0.2)
    return witness


def test_our_client_is_what_the_first_message_says() -> None:
    create = {
        "type": "session.create",
        "model": "deepgram/nova-3",
        "settings": {"sample_rate": "8000", "encoding": "pcm_s16le", "language": "de", "extra": {"keyterm": ["Graz"]}},
        "fallback": {"models": [{"model": "cartesia/ink-whisper", "extra": None}]},
    }
    options = recordings(hears(create))["client"][0]["options"]
    assert options["sample_rate"] == 8000
    assert options["language"] == "de"
    assert options["extra_kwargs"] == {"keyterm": ["Graz"]}
    assert options["fallback"] == [{"model": "cartesia/ink-whisper", "extra_kwargs": {}}]
    impossible = {**create, "settings": {"sample_rate": "8000", "extra": {"keyterm": 5}}}
    options = recordings(hears(impossible))["client"][0]["options"]
    assert (options["model"], options["sample_rate"]) == (None, 8000)
    assert recordings(hears({"type": "session.finalize"}))["client"][0]["options"]["model"] == "deepgram/nova-3"


def test_everything_a_gateway_says_is_said_by_ours() -> None:
    witness = hears(
        {"type": "session.create", "settings": {}}, {"type": "session.update", "settings": {"language": "fr"}}
    )
    word = {"word": "hello", "start": 0.1, "end": 0.4, "confidence": 0.5}
    final = {
        "type": "final_transcript",
        "transcript": "hello",
        "start": 0,
        "duration": 0.5,
        "words": [word, {"word": "x"}],
    }
    for message in (
        {"type": "session.created", "session_id": "s1"},
        {"type": "start_of_speech"},
        {"type": "interim_transcript", "transcript": "hel"},
        {"type": "preflight_transcript", "transcript": "hello", "request_id": "r1"},
        {**final, "request_id": "r1"},
        {"type": "session.finalized"},
        {"type": "tomorrow"},
        {"type": "session.closed"},
        {"type": "session.closed"},
    ):
        witness.gateway_said(json.dumps(message), 0.3)
    witness.gateway_said("{", 0.3)
    witness.closed(0.4, client=(1000, ""), gateway=(1000, ""))
    kept = recordings(witness)
    said = [action["send"] for step in kept["gateway"][1:] for action in step.get("actions", []) if "send" in action]
    assert [message["type"] for message in said] == [
        "session.created",
        "start_of_speech",
        "interim_transcript",
        "preflight_transcript",
        "final_transcript",
        "session.finalized",
        "session.closed",
    ]
    assert said[4]["words"] == [word, {"word": "x", "start": 0.0, "end": 0.0}]
    update = [step for step in kept["client"][1:] if step.get("call") == "update_options"]
    assert [step["args"] for step in update] == [{"language": "fr"}]


def test_an_error_of_the_gateway_is_told_from_both_ends() -> None:
    witness = hears({"type": "session.create", "settings": {}})
    witness.gateway_said('{"type":"error","code":429,"message":"too much"}', 0.3)
    witness.closed(0.4, client=(1006, ""), gateway=(1013, "later"))
    kept = recordings(witness)
    assert kept["gateway"][-2]["args"] == {"code": 429, "message": "too much"}
    assert kept["client"][-1]["events"][-1]["type"] == "reconnecting"


def test_what_the_client_wishes_to_change_and_ours_could_not_is_left_out() -> None:
    witness = hears(
        {"type": "session.create", "model": "deepgram/nova-3", "settings": {}},
        {"type": "session.update", "settings": {"model": "cartesia/ink-2"}},
        {"type": "session.close"},
        {"type": "input_audio", "audio": "AAAA"},
    )
    kept = recordings(witness)
    assert [step["call"] for step in kept["client"][1:] if "call" in step] == ["start", "transport_opened", "close"]
    assert sum("text" in step for step in kept["gateway"][1:]) == 4


def test_a_session_that_is_too_long_is_recorded_as_far_as_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_module, "LONGEST_BYTES", 100)
    witness = hears('{"type":"session.create","settings":{}}')
    witness.gateway_said('{"type":"session.created","session_id":"s1"}', 0.2)
    assert not witness.full
    witness.client_said('{"type":"session.finalize"}', 0.3)
    assert witness.full
    witness.client_sent(b"more", 0.4)
    witness.gateway_sent(b"more", 0.4)
    witness.gateway_said('{"type":"session.finalized"}', 0.4)
    witness.client_left(0.5)
    witness.closed(0.6, client=(1000, ""), gateway=(1000, ""))
    kept = recordings(witness)
    assert [step["at"] for step in kept["client"][1:]] == [0.0, 0.1, 0.2]


def test_redacting_takes_out_what_either_end_said() -> None:
    witness = hears(
        {"type": "session.create", "settings": {"extra": {"keyterm": ["Secretary"]}}},
        {"type": "input_audio", "audio": "AQIDBA=="},
    )
    witness.gateway_said('{"type":"final_transcript","transcript":"my secret","words":[{"word":"secret"}]}', 0.3)
    witness.closed(0.4, client=(1000, "secret"), gateway=(1000, "secret"))
    assert "ecret" in json.dumps(recordings(witness))
    for steps in recordings(witness, redact_text=True, redact_audio=True).values():
        assert "ecret" not in json.dumps(steps)
        assert "01020304" not in json.dumps(steps)
        assert "AQIDBA" not in json.dumps(steps)
        assert [step["at"] for step in steps[1:]] == [
            step["at"] for step in sorted(steps[1:], key=lambda each: each["at"])
        ]


# The command.


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to a process")
def test_the_proxy_on_the_command_line_keeps_open_sessions_when_interrupted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET}) as gateway:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lkstt_transports.cli", "record", "--upstream", gateway.base_url),
                *("--listen", "127.0.0.1:0", "--output-dir", str(tmp_path / "calls")),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            base_url = (await asyncio.wait_for(process.stdout.readline(), WAIT)).decode().strip()
            stt = STT("auto", base_url=base_url, api_key=KEY, api_secret=SECRET)
            async with stt, stt.stream() as stream:
                await stream.push_audio(pcm(12))
                assert (await anext(stream)).type == "start_of_speech"
                process.send_signal(signal.SIGINT)
                _, said = await asyncio.wait_for(process.communicate(), WAIT)
            assert process.returncode == 130
            assert b"session closed with code 1001: " in said
        client, told = sorted((tmp_path / "calls").iterdir())
        assert client.name.endswith("-001.client.jsonl")
        assert told.name.endswith("-001.gateway.jsonl")
        for path in (client, told):
            assert path.stat().st_mode & 0o777 == 0o600
            assert steps_of(path)[-1]["call"] == "transport_closed"
            assert SECRET not in path.read_text()
            assert "eyJ" not in path.read_text()  # how every token begins

    asyncio.run(scenario())


def test_a_port_or_folder_that_cannot_be_is_told_in_a_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    upstream = ["record", "--upstream", "https://gateway.example/v1"]
    assert run([*upstream, "--listen", "192.0.2.1:80"]) == 1
    assert "beyond this computer" in capfd.readouterr().err
    assert run(["record", "--upstream", "http://gateway.example/v1", "--output-dir", str(tmp_path)]) == 1
    assert "use https:// or wss://" in capfd.readouterr().err
    (tmp_path / "file").touch()
    assert run([*upstream, "--output-dir", str(tmp_path / "file" / "calls")]) == 1
    assert "--output-dir" in capfd.readouterr().err

    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run([*upstream, "--listen", address, "--output-dir", str(tmp_path)]) == 1
    assert "choose another --listen" in capfd.readouterr().err


def test_a_session_that_cannot_be_kept_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from lkstt_transports.cli.record import _keep

    witness = hears({"type": "session.create", "settings": {}}, name="taken")
    (tmp_path / "taken.client.jsonl").touch()
    witness.full = True
    _keep(witness, folder=tmp_path, redact={})
    said = capfd.readouterr().err
    assert "exists already" in said
    assert "too long to be recorded whole" in said
    assert os.listdir(tmp_path) == ["taken.client.jsonl"]
