"""The local gateway over real sockets on loopback."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import jwt
import pytest
import trustme
from attrs import define, field

from lkstt_proto.errors import InsecureTransport, LocalProtocolError
from lkstt_proto.gateway import GatewayLimits
from lkstt_proto.handshake import mint_token
from lkstt_transports.gateway import LocalGateway, ServerLimits, SessionLimits
from lkstt_transports.gateway.faults import CloseSocket, CutTransport, FailSession, SendRaw
from lkstt_transports.gateway.recognizers.base import (
    Final,
    Finalized,
    Partial,
    Recognizer,
    RecognizerBusy,
    RecognizerError,
    RecognizerFailed,
    RecognizerRefused,
    StartOfSpeech,
    Word,
)
from lkstt_transports.gateway.recognizers.script import (
    Answer,
    At,
    EchoRecognizer,
    EchoSession,
    Script,
    ScriptRecognizer,
    ScriptSession,
)

KEY, SECRET = "APItester", "a-secret-of-at-least-thirty-two-bytes"
OTHER_KEY, OTHER_SECRET = "APIother", "another-secret-of-at-least-32-bytes"
RATE = 16_000
WAIT = 10.0  # nothing here takes so long unless it is broken

Message = dict[str, Any]


def token(key: str = KEY, secret: str = SECRET, at: float | None = None) -> str:
    return mint_token(key, secret, time.time() if at is None else at)


def create(**settings: object) -> Message:
    return {"type": "session.create", "settings": {"sample_rate": str(RATE), "encoding": "pcm_s16le", **settings}}


def audio(pcm: bytes) -> Message:
    return {"type": "input_audio", "audio": base64.b64encode(pcm).decode()}


def blocks(first: int, count: int) -> list[Message]:
    """Tenths of a second of audio, each full of its own number."""
    return [audio(number.to_bytes(2, "little") * (RATE // 10)) for number in range(first, first + count)]


FINALIZE, CLOSE = {"type": "session.finalize"}, {"type": "session.close"}

OFTEN = 50  # for what depends on who is quicker


@define
class Client:
    """A WebSocket to the gateway."""

    socket: aiohttp.ClientWebSocketResponse

    @property
    def transport(self) -> asyncio.Transport:
        connection = self.socket._response.connection  # aiohttp has no public way to a transport that is not read
        assert connection is not None
        assert isinstance(connection.transport, asyncio.Transport)
        return connection.transport

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.socket.send_json(message)

    async def next(self) -> Message:
        message: Message = json.loads(await self.socket.receive_str(timeout=WAIT))
        return message

    async def until(self, kind: str) -> list[Message]:
        messages = [await self.next()]
        while messages[-1]["type"] != kind:
            messages.append(await self.next())
        return messages

    async def rest(self) -> list[Message]:
        """Everything up to the close."""
        messages = []
        while (message := await self.socket.receive(timeout=WAIT)).type is aiohttp.WSMsgType.TEXT:
            messages.append(json.loads(message.data))
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        return messages

    async def send_on(self, first: Message, *messages: Message) -> None:
        """Send a message, and all the others while the gateway acts on it."""
        await self.send(first)
        await asyncio.sleep(0.005)
        for message in messages:
            await self.send(message)
            await asyncio.sleep(0)

    async def say_goodbye(self) -> None:
        """Send a close frame and nothing else: what still comes can be received."""
        await self.socket.send_frame((1000).to_bytes(2, "big"), aiohttp.WSMsgType.CLOSE)

    async def started(self, **settings: object) -> Client:
        await self.send(create(**settings))
        assert (await self.next())["type"] == "session.created"
        return self


@define
class Served:
    """A gateway with an HTTP client."""

    gateway: LocalGateway
    http: aiohttp.ClientSession
    headers: dict[str, str] = field(factory=lambda: {"Authorization": f"Bearer {token()}"})

    @property
    def root(self) -> str:
        return self.gateway.base_url.removesuffix("/v1")

    async def connect(self, path: str = "/v1/stt?model=deepgram/nova-3", **options: Any) -> Client:
        return Client(await self.http.ws_connect(self.root + path, headers=self.headers, **options))

    async def refused(self, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
        """Status, body and headers of an upgrade that is refused."""
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade["Sec-WebSocket-Key"] = base64.b64encode(bytes(16)).decode()
        async with self.http.get(f"{self.root}/v1/stt", headers={**upgrade, **headers}) as answer:
            return answer.status, await answer.read(), answer.headers

    async def is_empty(self) -> bool:
        return (await self.metrics())["sessions_open"] == 0

    async def metrics(self) -> dict[str, float]:
        async with self.http.get(f"{self.root}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
        return {name.removeprefix("lkstt_gateway_"): float(value) for name, value in map(str.rsplit, lines)}


@asynccontextmanager
async def serve(recognizer: Recognizer | None = None, **options: Any) -> AsyncIterator[Served]:
    options.setdefault("secrets", {KEY: SECRET, OTHER_KEY: OTHER_SECRET})
    async with (
        LocalGateway(recognizer=recognizer or EchoRecognizer(), **options) as gateway,
        aiohttp.ClientSession() as http,
    ):
        yield Served(gateway, http)


def run(work: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(2 * WAIT):
            await work

    asyncio.run(limited())


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT):
        while not await true():  # noqa: ASYNC110 (what is asked for is a number behind HTTP)
            await asyncio.sleep(0.01)


def frame(data: bytes | Message, opcode: int = 1) -> bytes:
    """One frame of a client, of less than 64 KiB, under a mask of zeros."""
    payload = data if isinstance(data, bytes) else json.dumps(data).encode()
    short = len(payload) < 126
    length = bytes([0x80 | len(payload)]) if short else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def goodbye(code: int) -> bytes:
    """The gateway's close frame."""
    return b"\x88\x02" + code.to_bytes(2, "big")


async def raw(served: Served, *frames: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Upgrade without a WebSocket library, and send this."""
    host, port = served.root.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    headers = {"Host": host, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers |= {"Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(), **served.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET /v1/stt HTTP/1.1\r\n{lines}\r\n".encode() + b"".join(frames))
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    return reader, writer


class Thoughtful(EchoRecognizer):
    """An echo that takes a moment for its last words."""

    async def open(self, *, sample_rate: int, language: str) -> EchoSession:
        return Thinking(10, sample_rate)


class Thinking(EchoSession):
    async def finalize(self) -> None:
        self.thought = asyncio.create_task(self.think())

    async def think(self) -> None:
        await asyncio.sleep(0.01)
        await super().finalize()


@define(eq=False)
class Recorder(EchoRecognizer):
    """An echo that tells what happened to it."""

    opened: int = 0
    closed: int = 0
    stopped: bool = False

    def __attrs_post_init__(self) -> None:
        EchoRecognizer.__init__(self)

    async def open(self, *, sample_rate: int, language: str) -> Any:
        session = await super().open(sample_rate=sample_rate, language=language)
        self.opened += 1
        close = session.aclose

        async def aclose() -> None:
            self.closed += 1
            await close()

        session.aclose = aclose  # type: ignore[method-assign]  # a session of this test alone
        return session

    async def aclose(self) -> None:
        self.stopped = True


class TestSession:
    def test_a_session_from_create_to_closed(self) -> None:
        async def work() -> None:
            async with serve(EchoRecognizer(0.4)) as served:
                client = await served.connect()
                await client.send(create(language="en-US"), *blocks(1, 5), FINALIZE)
                created, start, interim, final, *rest = await client.until("session.finalized")
                assert created["type"] == "session.created"
                assert created["session_id"].startswith("session_")
                assert start == {"type": "start_of_speech"}
                assert interim["type"] == "interim_transcript"
                assert interim["transcript"] == "1 2"
                assert final["type"] == "final_transcript"
                assert final["transcript"] == "1 2 3 4"
                assert final["language"] == "en-US"
                assert final["session_id"] == created["session_id"]
                assert (final["start"], final["duration"]) == (0.0, 0.4)
                assert [(w["word"], w["start"], w["end"]) for w in final["words"]][1:3] == [
                    ("2", 0.1, 0.2),
                    ("3", 0.2, 0.3),
                ]
                assert [m["type"] for m in rest] == ["start_of_speech", "final_transcript", "session.finalized"]
                assert rest[1]["start"] + rest[1]["duration"] == pytest.approx(0.5)
                await client.send(CLOSE)
                assert [m["type"] for m in await client.rest()] == ["session.finalized", "session.closed"]
                assert client.socket.close_code == 1000

        run(work())

    def test_close_gives_the_finals_of_what_was_heard(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 3), CLOSE)
                texts = [m.get("transcript") for m in await client.rest()]
                assert texts == [None, "1 2 3", None, None]

        run(work())

    def test_a_recogniser_that_does_not_answer_a_close_is_not_waited_for(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(flush=0.05))
            async with serve(ScriptRecognizer(Script(finalized=Answer.NEVER)), limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(CLOSE)
                assert [m["type"] for m in await client.rest()] == ["session.closed"]

        run(work())

    def test_finalize_is_answered_each_time_even_with_nothing_pending(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started()
                await client.send(FINALIZE, FINALIZE, *blocks(7, 1), FINALIZE)
                kinds = [(await client.next())["type"] for _ in range(5)]
                assert kinds == ["session.finalized"] * 2 + ["start_of_speech", "final_transcript", "session.finalized"]

        run(work())

    @pytest.mark.parametrize(
        "path",
        ["/v1/stt", "/v1/stt?model=any%2Fmodel", "/v1/stt?model=any/model", "/v1/stt?model=auto", "/v1//stt"],
    )
    def test_the_model_may_be_spelled_anyhow_or_missing(self, path: str) -> None:
        async def work() -> None:
            async with serve() as served:
                await (await served.connect(path)).started()

        run(work())

    @pytest.mark.parametrize(("asked", "said"), [("", "en"), ("multi", "en"), ("de", "de")])
    def test_transcripts_carry_the_language_that_was_asked_for(self, asked: str, said: str) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started(language=asked)
                await client.send(*blocks(1, 1), FINALIZE)
                assert (await client.until("final_transcript"))[-1]["language"] == said

        run(work())

    def test_settings_may_change_and_nothing_is_answered(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started()
                await client.send({"type": "session.update", "settings": {"language": "de"}}, FINALIZE)
                assert (await client.next())["type"] == "session.finalized"

        run(work())

    def test_pings_are_answered_and_pongs_are_taken(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await served.connect(autoping=False)
                await client.started()
                await client.socket.pong(b"unasked")
                await client.socket.ping(b"there?")
                pong = await client.socket.receive(timeout=WAIT)
                assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"there?")

        run(work())


class TestWhatAClientDoesWrong:
    @pytest.mark.parametrize(
        ("messages", "code"),
        [
            ([FINALIZE], 400),
            ([create(), create()], 400),
            ([create(sample_rate="7")], 400),
            ([create(), {"type": "input_audio", "audio": "AA"}], 400),
            ([create(), audio(b"odd")], 400),
        ],
    )
    def test_a_mistake_is_answered_with_an_error_and_a_close(self, messages: list[Message], code: int) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await served.connect()
                await client.send(*messages)
                assert (await client.rest())[-1]["code"] == code
                assert client.socket.close_code == 1008
                assert (await served.metrics())[f'errors_total{{code="{code}"}}'] == 1

        run(work())

    def test_a_binary_frame_is_a_mistake(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started()
                await client.socket.send_bytes(b"pcm")
                assert (await client.rest())[-1]["code"] == 400

        run(work())

    def test_a_client_that_creates_nothing_is_sent_away(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(create=0.05)))
            async with serve(limits=limits) as served:
                client = await served.connect()
                assert [m["code"] for m in await client.rest()] == [400]

        run(work())

    def test_an_idle_session_ends_with_2007(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(idle=0.05)))
            async with serve(limits=limits) as served:
                client = await (await served.connect()).started()
                assert [m["code"] for m in await client.rest()] == [2007]

        run(work())

    def test_a_client_that_does_not_answer_the_close_is_cut(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(create=0.05, close=0.05)))
            async with serve(limits=limits) as served:
                client = await served.connect(autoclose=False)
                assert (await client.next())["code"] == 400
                assert (await client.socket.receive(timeout=WAIT)).type is aiohttp.WSMsgType.CLOSE

                async def ended() -> bool:
                    return (await served.metrics())["sessions_open"] == 0

                await eventually(ended)

        run(work())


class TestClosing:
    @pytest.mark.parametrize(
        ("fault", "kinds", "code"),
        [
            (FailSession(500), ["final_transcript", "error"], 1011),
            (CloseSocket(4000), ["final_transcript"], 4000),
        ],
    )
    def test_a_client_that_keeps_sending_gets_the_last_words_and_the_close(
        self, fault: Any, kinds: list[str], code: int
    ) -> None:
        async def work() -> None:
            script = Script([At(0.1, Final("heard", 0.0, 0.1)), At(0.1, fault), At(0.2, Final("never", 0.1, 0.2))])
            async with serve(ScriptRecognizer(script)) as served:
                for _ in range(OFTEN):
                    client = await (await served.connect()).started()
                    client.transport.pause_reading()
                    await client.send_on(*blocks(1, 30))
                    client.transport.resume_reading()
                    assert [m["type"] for m in await client.rest()] == kinds
                    assert client.socket.close_code == code

        run(work())

    def test_a_client_that_keeps_sending_after_its_own_mistake_is_told_so(self) -> None:
        async def work() -> None:
            async with serve() as served:
                for _ in range(OFTEN):
                    client = await (await served.connect()).started()
                    client.transport.pause_reading()
                    await client.send_on(create(), *blocks(1, 30))
                    client.transport.resume_reading()
                    assert [m.get("code") for m in await client.rest()] == [400]
                    assert client.socket.close_code == 1008

        run(work())

    def test_it_gets_them_while_the_recogniser_is_behind_too(self) -> None:
        class Stuck(EchoRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                session = await super().open(sample_rate=sample_rate, language=language)

                async def hang(_pcm: bytes) -> None:
                    await asyncio.Event().wait()

                session.accept = hang  # type: ignore[method-assign, assignment]  # a session of this test alone
                return session

        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(idle=0.05)))
            async with serve(Stuck(), limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 30))
                assert [m["code"] for m in await client.rest()] == [2007]
                assert client.socket.close_code == 1008

        run(work())

    @pytest.mark.parametrize("recognizer", [EchoRecognizer(), Thoughtful()])
    def test_a_client_that_closes_during_speech_gets_the_final_and_the_close(self, recognizer: Recognizer) -> None:
        async def work() -> None:
            async with serve(recognizer) as served:
                for _ in range(OFTEN):
                    client = await (await served.connect()).started()
                    await client.send(*blocks(1, 3), CLOSE)
                    await client.say_goodbye()
                    started, final, *rest = await client.rest()
                    assert started["type"] == "start_of_speech"
                    assert final["transcript"] == "1 2 3"
                    assert [m["type"] for m in rest] == ["session.finalized", "session.closed"]
                    assert client.socket.close_code == 1000

        run(work())

    def test_it_is_not_waited_for_when_the_recogniser_does_not_answer(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(flush=0.05))
            async with serve(ScriptRecognizer(Script(finalized=Answer.NEVER)), limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(CLOSE)
                await client.say_goodbye()
                assert [m["type"] for m in await client.rest()] == ["session.closed"]
                assert client.socket.close_code == 1000

        run(work())

    def test_it_is_not_answered_when_it_is_gone(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(flush=10 * WAIT))
            async with serve(ScriptRecognizer(Script(finalized=Answer.NEVER)), limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(CLOSE)
                await client.say_goodbye()
                client.transport.close()
                await eventually(served.is_empty)

        run(work())

    @pytest.mark.parametrize(
        ("frames", "code"),
        [
            ([frame((1000).to_bytes(2, "big"), 8)], 1000),
            ([frame(b"", 8)], 1000),
            ([frame(create()), frame(CLOSE), frame((1000).to_bytes(2, "big"), 8)], 1000),
            ([frame(create()), frame(CLOSE), frame(CLOSE)], 1000),
            ([frame(FINALIZE)], 1008),
            ([frame(FINALIZE), frame(FINALIZE), frame(b"ping", 9)], 1008),
        ],
    )
    def test_one_close_frame_is_sent_and_nothing_behind_it(self, frames: list[bytes], code: int) -> None:
        async def work() -> None:
            async with serve() as served:
                reader, writer = await raw(served, *frames)
                said = await reader.readuntil(goodbye(code))
                assert said.endswith(goodbye(code))
                if frames[-1][0] != 0x88:
                    writer.write(frame(b"late", 9) + frame(code.to_bytes(2, "big"), 8))
                assert await reader.read() == b""
                writer.close()
                await writer.wait_closed()
                await eventually(served.is_empty)

        run(work())

    def test_a_close_that_only_the_recogniser_wanted_is_not_waited_for_either(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(close=0.05)))
            async with serve(ScriptRecognizer(Script([At(0.1, CloseSocket(4000))])), limits=limits) as served:
                client = await (await served.connect(autoclose=False)).started()
                await client.send(*blocks(1, 1))
                assert (await client.socket.receive(timeout=WAIT)).data == 4000
                await eventually(served.is_empty)

        run(work())

    def test_a_client_that_neither_reads_nor_closes_nor_stops_sending_is_cut(self) -> None:
        async def send_for_ever(client: Client) -> None:
            for message in itertools.cycle([create(), *blocks(1, 30)]):
                await client.send(message)
                await asyncio.sleep(0)

        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(core=GatewayLimits(close=0.05)))
            async with serve(limits=limits) as served:
                client = await (await served.connect()).started()
                client.transport.pause_reading()
                with pytest.raises(ConnectionError):
                    await send_for_ever(client)
                await eventually(served.is_empty)

        run(work())


class TestRefusals:
    def test_every_401_is_the_same(self) -> None:
        async def work() -> None:
            async with serve() as served:
                now = int(time.time())
                claims = {"iss": KEY, "sub": "agent", "nbf": now, "exp": now + 600}
                answers = [
                    await served.refused(**headers)
                    for headers in (
                        {},
                        {"Authorization": "Bearer"},
                        {"Authorization": f"Basic {token()}"},
                        {"Authorization": f"Bearer {token(secret=OTHER_SECRET)}"},
                        {"Authorization": f"Bearer {token('APInobody')}"},
                        {"Authorization": f"Bearer {token(at=now - 3600)}"},
                        {"Authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}"},
                        {"Authorization": f"Bearer {jwt.encode({**claims, 'inference': {}}, SECRET, 'HS256')}"},
                    )
                ]
                status, body, headers = answers[0]
                assert status == 401
                assert json.loads(body)["type"] == "unauthorized"
                assert headers["WWW-Authenticate"] == "Bearer"
                different = {(s, b, tuple((k, v) for k, v in h.items() if k != "Date")) for s, b, h in answers}
                assert len(different) == 1
                assert (await served.metrics())['refused_upgrades_total{status="401"}'] == len(answers)

        run(work())

    def test_web_pages_are_refused(self) -> None:
        async def work() -> None:
            async with serve() as served:
                status, body, _ = await served.refused(Origin="https://example.org", **served.headers)
                assert (status, json.loads(body)["type"]) == (403, "forbidden")

        run(work())

    def test_a_sub_protocol_and_a_request_without_upgrade_are_refused(self) -> None:
        async def work() -> None:
            async with serve() as served:
                assert (await served.refused(**{"Sec-WebSocket-Protocol": "x"}, **served.headers))[0] == 400
                async with served.http.get(f"{served.root}/v1/stt", headers=served.headers) as answer:
                    assert answer.status == 400
                    assert (await answer.json())["type"] == "bad_request"
                assert (await served.metrics())['refused_upgrades_total{status="400"}'] == 2

        run(work())

    def test_the_sessions_of_one_key_are_limited_and_a_free_slot_is_free_at_once(self) -> None:
        async def work() -> None:
            async with serve(limits=ServerLimits(sessions_per_key=1)) as served:
                first = await served.connect()
                status, body, headers = await served.refused(**served.headers)
                assert status == 429
                assert headers["Retry-After"] == "1"
                answer = json.loads(body)
                assert (answer["type"], answer["quota_type"]) == ("inference_quota_exceeded", "stt")
                assert {"hint", "category", "remaining_limit", "documentation_url"} <= answer.keys()
                other = {"Authorization": f"Bearer {token(OTHER_KEY, OTHER_SECRET)}"}
                async with served.http.ws_connect(f"{served.root}/v1/stt", headers=other):
                    assert (await served.metrics())["sessions_open"] == 2
                await first.socket.close()
                await (await served.connect()).started()

        run(work())

    def test_the_sessions_of_all_keys_are_limited(self) -> None:
        async def work() -> None:
            async with serve(limits=ServerLimits(sessions=1)) as served:
                first = await served.connect()
                other = {"Authorization": f"Bearer {token(OTHER_KEY, OTHER_SECRET)}"}
                assert (await served.refused(**other))[0] == 429
                await first.socket.close()

        run(work())

    def test_compression_is_declined(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await served.connect(compress=15)
                assert client.socket.compress == 0
                await client.started()

        run(work())


class TestRecogniser:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (RecognizerBusy("all workers are taken"), 429),
            (RecognizerRefused("8000 Hz are not heard: send 16000 Hz"), 400),
            (RecognizerFailed("it died"), 500),
        ],
    )
    def test_a_session_it_does_not_take_fails_with_its_code_and_cure(self, error: RecognizerError, code: int) -> None:
        async def work() -> None:
            async with serve(ScriptRecognizer(Script(refusal=error))) as served:
                client = await served.connect()
                await client.send(create())
                (answer,) = await client.rest()
                assert (answer["type"], answer["code"], answer["message"]) == ("error", code, str(error))

        run(work())

    def test_audio_that_comes_before_it_is_ready_is_heard_in_order(self) -> None:
        class Late(EchoRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                await asyncio.sleep(0.05)
                return await super().open(sample_rate=sample_rate, language=language)

        async def work() -> None:
            async with serve(Late()) as served:
                client = await served.connect()
                await client.send(create(), *blocks(1, 3), FINALIZE)
                messages = await client.until("session.finalized")
                assert messages[0]["type"] == "session.created"
                assert messages[-2]["transcript"] == "1 2 3"

        run(work())

    def test_when_it_is_behind_the_socket_is_not_read_and_pings_wait(self) -> None:
        gate = asyncio.Event()

        class Slow(EchoRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                session = await super().open(sample_rate=sample_rate, language=language)
                accept = session.accept

                async def wait(pcm: bytes) -> None:
                    heard.append(pcm)
                    await gate.wait()
                    await accept(pcm)

                session.accept = wait  # type: ignore[method-assign]  # a session of this test alone
                return session

        heard: list[bytes] = []

        async def work() -> None:
            async with serve(Slow()) as served:
                client = await (await served.connect(autoping=False)).started()
                await client.send(*blocks(1, 5))
                await client.socket.ping()
                with pytest.raises(TimeoutError):
                    await client.socket.receive(timeout=0.1)
                assert len(heard) == 1
                gate.set()
                while (await client.socket.receive(timeout=WAIT)).type is not aiohttp.WSMsgType.PONG:
                    pass
                assert len(heard) == 5
                await client.send(FINALIZE)
                assert (await client.until("final_transcript"))[-1]["transcript"] == "1 2 3 4 5"

        run(work())

    def test_when_it_dies_the_results_before_come_first_and_then_error_500(self) -> None:
        class Mortal(ScriptRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                return Dying(Script([At(0.1, Final("last words", 0.0, 0.1))]), sample_rate)

        class Dying(ScriptSession):
            async def __anext__(self) -> Any:
                if self._bytes and self._results.empty():
                    raise RecognizerFailed("a worker died: exit status -9")
                return await super().__anext__()

        async def work() -> None:
            async with serve(Mortal()) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 1))
                final, error = await client.rest()
                assert final["transcript"] == "last words"
                assert (error["code"], error["message"]) == (500, "a worker died: exit status -9")

        run(work())

    def test_an_exception_nobody_expected_is_error_500_without_its_text(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(EchoRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                raise ZeroDivisionError("what was said")

        async def work() -> None:
            async with serve(Broken()) as served:
                client = await served.connect()
                await client.send(create())
                (error,) = await client.rest()
                assert error["code"] == 500
                assert "what was said" not in error["message"]

        with caplog.at_level(logging.DEBUG):
            run(work())
        assert "ZeroDivisionError" in caplog.text
        assert "what was said" not in caplog.text

    def test_a_result_that_cannot_be_sent_cuts_the_session_and_not_the_gateway(self) -> None:
        async def work() -> None:
            script = Script([At(0.1, Partial("x", float("nan"), 0.1))])
            async with serve(ScriptRecognizer(script, Script())) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 1))
                assert await client.rest() == []
                assert client.socket.close_code == 1006
                await (await served.connect()).started()

        run(work())

    def test_a_lost_client_gives_its_slot_and_its_recogniser_back(self) -> None:
        recorder = Recorder()

        async def work() -> None:
            async with serve(recorder) as served:
                client = await (await served.connect()).started()
                client.transport.abort()

                async def gone() -> bool:
                    return (await served.metrics())["sessions_open"] == 0 and recorder.closed == 1

                await eventually(gone)

        run(work())
        assert recorder.stopped


class TestSlowClient:
    """A client that stops reading: the kernel's buffers fill up, and then the gateway waits."""

    def test_it_is_cut_once_the_write_deadline_is_over(self) -> None:
        async def work() -> None:
            steps = [At(0.1, Final("x" * 60_000, 0.0, 0.1))] * 300
            limits = ServerLimits(session=SessionLimits(write=0.1))
            async with serve(ScriptRecognizer(Script(steps)), limits=limits) as served:
                client = await (await served.connect()).started()
                client.transport.pause_reading()
                await client.send(*blocks(1, 1))

                async def cut() -> bool:
                    metrics = await served.metrics()
                    return metrics["unread_total"] == 1 and metrics["sessions_open"] == 0

                await eventually(cut)

        run(work())

    def test_interims_that_went_stale_meanwhile_are_not_sent(self) -> None:
        count = 400

        class Chatty(ScriptRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                return Talking(Script(), sample_rate)

        class Talking(ScriptSession):
            async def accept(self, pcm: bytes) -> None:
                for number in range(count):
                    self._give(Partial(f"{number} {'x' * 60_000}", 0.0, 0.1))
                    await asyncio.sleep(0.001)
                self._give(Partial("newest", 0.0, 0.1))
                talked.set()

        talked = asyncio.Event()

        async def work() -> None:
            async with serve(Chatty()) as served:
                client = await (await served.connect()).started()
                client.transport.pause_reading()
                await client.send(*blocks(1, 1))
                await asyncio.wait_for(talked.wait(), WAIT)
                client.transport.resume_reading()
                texts = [(await client.next())["transcript"].split()[0]]
                while texts[-1] != "newest":
                    texts.append((await client.next())["transcript"].split()[0])
                numbers = [int(text) for text in texts[:-1]]
                assert numbers == sorted(set(numbers))
                assert len(numbers) < count

        run(work())


class TestFaults:
    def test_a_raw_frame_is_sent_as_it_is_and_in_its_place(self) -> None:
        async def work() -> None:
            script = Script(
                [
                    At(0.1, StartOfSpeech(0.1)),
                    At(0.1, SendRaw(b'{"type":"final_transcript","transcript":null}')),
                    At(0.1, SendRaw(b"\x00", binary=True)),
                    At(0.1, Final("after", 0.0, 0.1)),
                ]
            )
            async with serve(ScriptRecognizer(script)) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 1))
                assert (await client.next())["type"] == "start_of_speech"
                assert (await client.next())["transcript"] is None
                assert await client.socket.receive_bytes(timeout=WAIT) == b"\x00"
                assert (await client.next())["transcript"] == "after"

        run(work())

    @pytest.mark.parametrize(
        ("fault", "messages", "code"),
        [
            (FailSession(429, "slow down"), ["start_of_speech", "error"], 1013),
            (CloseSocket(4000), ["start_of_speech"], 4000),
            (CutTransport(), ["start_of_speech"], 1006),
        ],
    )
    def test_a_session_ends_the_way_a_script_says(self, fault: Any, messages: list[str], code: int) -> None:
        async def work() -> None:
            script = Script([At(0.1, StartOfSpeech(0.1)), At(0.1, fault), At(0.1, Final("never", 0.0, 0.1))])
            async with serve(ScriptRecognizer(script)) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 1))
                assert [m["type"] for m in await client.rest()] == messages
                assert client.socket.close_code == code

        run(work())


class TestStopping:
    def test_open_sessions_get_their_finals_and_a_close(self) -> None:
        recorder = Recorder()

        async def work() -> None:
            async with serve(recorder) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 2))
                assert (await client.next())["type"] == "start_of_speech"

                async def heard() -> bool:
                    return (await served.metrics())["audio_seconds_total"] == pytest.approx(0.2)

                await eventually(heard)
                reader = asyncio.create_task(client.rest())
                await served.gateway.aclose()
                final, *rest = await reader
                assert final["transcript"] == "1 2"
                assert [m["type"] for m in rest] == ["session.finalized", "session.closed"]
                assert client.socket.close_code == 1000

        run(work())
        assert (recorder.opened, recorder.closed, recorder.stopped) == (1, 1, True)

    def test_a_session_that_was_not_created_is_closed_as_going_away(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await served.connect()
                reader = asyncio.create_task(client.rest())
                await asyncio.sleep(0.05)
                await served.gateway.aclose()
                assert await reader == []
                assert client.socket.close_code == 1001

        run(work())

    def test_meanwhile_it_says_that_it_is_stopping_and_takes_nobody(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(flush=0.05))
            async with serve(ScriptRecognizer(Script(finalized=Answer.NEVER)), limits=limits) as served:
                client = await (await served.connect()).started()
                async with served.http.get(f"{served.root}/healthz") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok\n")
                stop = asyncio.create_task(served.gateway.aclose())
                await asyncio.sleep(0.05)
                async with served.http.get(f"{served.root}/healthz") as answer:
                    assert answer.status == 503
                status, _, headers = await served.refused(**served.headers)
                assert (status, headers["Retry-After"]) == (503, "1")
                await client.send(*blocks(1, 1), CLOSE)
                await client.socket.close()
                await stop
                with pytest.raises(aiohttp.ClientConnectionError):
                    await served.connect()

        run(work())

    def test_a_session_that_does_not_end_is_not_waited_for_longer_than_the_limit(self) -> None:
        class Stuck(ScriptRecognizer):
            async def open(self, *, sample_rate: int, language: str) -> Any:
                session = await super().open(sample_rate=sample_rate, language=language)

                async def hang() -> None:
                    await asyncio.Event().wait()

                session.finalize = session.aclose = hang  # type: ignore[method-assign]  # sessions of this test alone
                return session

        async def work() -> None:
            async with serve(Stuck(), limits=ServerLimits(finish_seconds=0.05)) as served:
                client = await (await served.connect()).started()
                await served.gateway.aclose()
                await client.rest()

        run(work())

    def test_a_session_that_its_client_is_closing_ends_as_it_would_have(self) -> None:
        async def work() -> None:
            async with serve(Thoughtful()) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(1, 1), CLOSE)
                await client.say_goodbye()
                assert (await client.next())["type"] == "start_of_speech"
                reader = asyncio.create_task(client.rest())
                await served.gateway.aclose()
                assert [m["type"] for m in await reader] == ["final_transcript", "session.finalized", "session.closed"]
                assert client.socket.close_code == 1000

        run(work())

    def test_what_was_not_started_may_be_closed(self) -> None:
        recorder = Recorder()
        run(LocalGateway(recognizer=recorder).aclose())
        assert recorder.stopped

    def test_stopping_twice_is_stopping_once(self) -> None:
        async def work() -> None:
            async with serve() as served:
                await asyncio.gather(served.gateway.aclose(), served.gateway.aclose())

        run(work())


class TestListening:
    def test_a_pair_of_credentials_is_made_when_none_is_given(self) -> None:
        async def work() -> None:
            async with serve(secrets=None) as served:
                gateway = served.gateway
                assert gateway.api_secret not in repr(gateway)
                served.headers = {"Authorization": f"Bearer {token(gateway.api_key, gateway.api_secret)}"}
                await (await served.connect()).started()

        run(work())

    def test_the_first_pair_is_the_one_it_names(self) -> None:
        gateway = LocalGateway(recognizer=EchoRecognizer(), secrets={"first": "one", "second": "two"})
        assert (gateway.api_key, gateway.api_secret) == ("first", "one")
        with pytest.raises(LocalProtocolError, match="not started"):
            _ = gateway.base_url

    def test_beyond_loopback_it_listens_only_when_that_is_safe(self) -> None:
        with pytest.raises(InsecureTransport):
            LocalGateway(recognizer=EchoRecognizer(), host="0.0.0.0")  # noqa: S104 (refused)
        with pytest.raises(LocalProtocolError, match="32 bytes"):
            LocalGateway(recognizer=EchoRecognizer(), host="::", secrets={"key": "short"}, allow_insecure=True)

    def test_an_address_that_is_everywhere_is_reached_at_loopback(self) -> None:
        async def work() -> None:
            async with serve(host="0.0.0.0", allow_insecure=True) as served:  # noqa: S104 (for a moment, with a token)
                assert served.gateway.base_url.startswith("http://127.0.0.1:")
                await (await served.connect()).started()

        run(work())

    def test_localhost_is_one_address(self) -> None:
        async def work() -> None:
            async with serve(host="localhost") as served:
                assert served.gateway.base_url.startswith("http://127.0.0.1:")

        run(work())

    def test_with_a_certificate_it_speaks_tls(self) -> None:
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)

        async def work() -> None:
            async with serve(ssl_context=server) as served:
                assert served.gateway.base_url.startswith("https://127.0.0.1:")
                await (await served.connect(ssl=client)).started()

        run(work())

    def test_a_port_that_is_taken_is_an_error_and_the_recogniser_is_closed(self) -> None:
        recorder = Recorder()

        async def work() -> None:
            async with serve() as served:
                port = int(served.root.rsplit(":", 1)[1])
                with pytest.raises(OSError, match="in use"):
                    await LocalGateway(recognizer=recorder, port=port).start()

        run(work())
        assert recorder.stopped


class TestCounting:
    def test_metrics_count_and_hold_neither_names_nor_text(self, caplog: pytest.LogCaptureFixture) -> None:
        async def work() -> None:
            async with serve(EchoRecognizer(0.2)) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(4711, 5), FINALIZE)
                await client.until("session.finalized")
                metrics = await served.metrics()
                assert metrics["sessions_open"] == metrics["sessions_total"] == metrics["recognizer_sessions"] == 1
                assert metrics["audio_seconds_total"] == pytest.approx(0.5)
                assert metrics["finals_total"] == 3
                assert metrics["finalize_seconds_count"] == metrics["open_seconds_count"] == 1
                assert metrics['finalize_seconds_bucket{le="+Inf"}'] == 1
                async with served.http.get(f"{served.root}/metrics") as answer:
                    text = await answer.text()
                assert "# TYPE lkstt_gateway_finalize_seconds histogram" in text
                await client.send(CLOSE)
                await client.rest()
            assert "4711" not in text + caplog.text
            assert KEY not in text + caplog.text
            assert served.headers["Authorization"].split()[1] not in caplog.text
            assert "session_" in caplog.text

        with caplog.at_level(logging.DEBUG):
            run(work())

    def test_workers_are_shown_for_a_recogniser_that_has_some(self) -> None:
        class Pool(EchoRecognizer):
            idle, busy = 3, 1

        async def work() -> None:
            async with serve(Pool()) as served:
                metrics = await served.metrics()
                assert metrics['workers{state="idle"}'] == 3
                assert metrics['workers{state="busy"}'] == 1

        run(work())

    def test_a_request_that_is_not_http_does_not_bring_its_token_into_the_log(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def work() -> None:
            async with serve() as served:
                host, port = served.root.removeprefix("http://").split(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(f"GET /v1/stt HTTP/1.1\r\nAuthorization: Bearer {token()}\x00\r\n\r\n".encode())
                assert b" 400 " in await reader.readline()
                writer.close()
                await writer.wait_closed()

        with caplog.at_level(logging.DEBUG):
            run(work())
        assert "a request failed with status 400" in caplog.text
        assert "Bearer" not in caplog.text


def test_a_finalized_nobody_asked_for_is_passed_on() -> None:
    async def work() -> None:
        async with serve(ScriptRecognizer(Script([At(0.1, Finalized(0.1))]))) as served:
            client = await (await served.connect()).started()
            await client.send(*blocks(1, 1))
            assert await client.next() == {"type": "session.finalized"}

    run(work())


def test_words_carry_no_confidence_of_their_own() -> None:
    async def work() -> None:
        script = Script([At(0.1, Final("a", 0.0, 0.1, (Word("a", 0.0, 0.1),)))])
        async with serve(ScriptRecognizer(script)) as served:
            client = await (await served.connect()).started()
            await client.send(*blocks(1, 1))
            (word,) = (await client.next())["words"]
            assert "confidence" not in word

    run(work())
