"""The local gateway and those who mean it ill, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from lkstt_proto.errors import LocalProtocolError
from lkstt_transports.asyncio import STT
from lkstt_transports.gateway import LocalGateway, ServerLimits, SessionLimits
from lkstt_transports.gateway.door import Door
from lkstt_transports.gateway.doorkeeper import DoorLimits
from lkstt_transports.gateway.recognizers.script import Answer, EchoRecognizer, Script, ScriptRecognizer

from .test_gateway_framing import CONTINUATION, PING
from .test_gateway_framing import frame as frame_of
from .test_gateway_server import (
    CLOSE,
    KEY,
    RATE,
    SECRET,
    WAIT,
    Message,
    Served,
    blocks,
    create,
    eventually,
    run,
    serve,
    token,
)

SENTINEL = "correct-horse-battery"


def frame(message: Message) -> bytes:
    return frame_of(json.dumps(message).encode())


def request(
    *more: str,
    target: str = "/v1/stt",
    method: str = "GET",
    version: str = "HTTP/1.1",
    without: str = "",
    bearer: str = "{token}",
) -> bytes:
    """An upgrade, with more headers, and without one; ``signed`` gives it its token."""
    headers = [
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Authorization: Bearer {bearer}",
    ]
    kept = [header for header in headers if not without or not header.startswith(f"{without}:")]
    return "\r\n".join([f"{method} {target} {version}", *kept, *more, "", ""]).encode("latin-1")


def signed(said: bytes) -> bytes:
    """Put in a token of this moment: tables are made long before they are used."""
    return said.replace(b"{token}", token().encode())


async def dial(served: Served, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", urlsplit(served.root).port, **options)


async def ask(served: Served, *pieces: bytes) -> tuple[int, bytes]:
    """Send something and read until the gateway closes: status and body; of an upgrade, status alone."""
    reader, writer = await dial(served)
    try:
        for piece in pieces:
            writer.write(signed(piece))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)
        status = int(head.split()[1])
        return status, b"" if status == 101 else await asyncio.wait_for(reader.read(), WAIT)
    finally:
        writer.close()


async def converse(served: Served, *frames: bytes) -> tuple[list[Message], int]:
    """Upgrade, send frames and read all messages up to the close frame: they, and its code."""
    reader, writer = await dial(served)
    writer.write(signed(request()))
    await reader.readuntil(b"\r\n\r\n")
    for data in frames:
        writer.write(data)
    messages = []
    while True:
        first, size = await asyncio.wait_for(reader.readexactly(2), WAIT)
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2), "big")
        payload = await reader.readexactly(size)
        if first == 0x88:
            writer.close()
            return messages, int.from_bytes(payload[:2], "big")
        messages.append(json.loads(payload))


def door(**limits: Any) -> ServerLimits:
    return ServerLimits(door=DoorLimits(**limits))


async def is_closed(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), WAIT)  # it raises when time is up
    return True


class TestDoor:
    @pytest.mark.parametrize(
        "said",
        [b"", b"G", b"GET /v1/stt HTTP/1.1\r\nHost: localhost\r\n", request()[:-1], b"PRI * HTTP/2.0\r\n\r\n", b"\r"],
    )
    def test_whoever_does_not_finish_a_request_is_closed(self, said: bytes) -> None:
        async def work() -> None:
            async with serve(limits=door(head=0.1)) as served:
                reader, writer = await dial(served)
                writer.write(signed(said))
                answer = await asyncio.wait_for(reader.read(), WAIT)
                assert b" 101 " not in answer
                writer.close()
                metrics = await served.metrics()
                assert metrics["sessions_total"] == 0

        run(work())

    def test_a_drop_now_and_then_does_not_extend_the_deadline(self) -> None:
        async def work() -> None:
            async with serve(limits=door(head=0.2)) as served:
                reader, writer = await dial(served)
                closed = asyncio.create_task(is_closed(reader))
                writer.write(b"GET /v1/stt HTTP/1.1\r\n")
                for number in range(1000):
                    writer.write(f"X-{number}: y\r\n".encode())
                    await asyncio.wait([closed], timeout=0.02)
                    if closed.done():
                        break
                assert await closed
                writer.close()
                assert (await served.metrics())['turned_out_total{reason="deadline"}'] == 1

        run(work())

    def test_a_handshake_of_tls_that_comes_to_nothing_counts_and_is_closed(self) -> None:
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)

        async def work() -> None:
            async with serve(ssl_context=server, limits=door(head=0.2)) as served:
                silent = [await dial(served) for _ in range(3)]
                silent[1][1].write(b"\x16\x03\x01\x02\x00\x01")
                silent[2][1].write(b"GET / HTTP/1.1\r\n\r\n")
                for reader, writer in silent:
                    assert await is_closed(reader)
                    writer.close()
                reader, writer = await dial(served, ssl=client)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: any.name\r\n\r\n")
                answer = (await asyncio.wait_for(reader.read(), WAIT)).decode()
                assert "lkstt_gateway_visitors 1\n" in answer
                writer.close()

        run(work())

    def test_of_a_crowd_the_oldest_are_closed_and_a_good_client_gets_in(self) -> None:
        async def work() -> None:
            limits = door(visitors=10, per_address=3, arriving=0.05, moment=0.01)
            async with serve(limits=limits) as served:
                crowd = [await dial(served) for _ in range(40)]
                client = await (await served.connect()).started()
                readers = [asyncio.create_task(is_closed(reader)) for reader, _ in crowd]

                async def thinned_out() -> bool:
                    return sum(not reader.done() for reader in readers) == 3

                await eventually(thinned_out)
                assert not any(reader.done() for reader in readers[-2:])
                await client.send(*blocks(1, 1), CLOSE)
                assert [m["type"] for m in await client.rest()][-1] == "session.closed"
                for reader, (_, writer) in zip(readers, crowd, strict=True):
                    reader.cancel()
                    writer.close()

        run(work())

    def test_in_a_crowd_everybody_has_a_moment_before_the_next_one_comes_in(self) -> None:
        async def work() -> None:
            async with serve(limits=door(visitors=2, moment=0.2)) as served:
                for _ in range(2):
                    slow, writer = await dial(served)
                    others = [await dial(served) for _ in range(2)]
                    await asyncio.sleep(0.01)  # less than a moment, in which a request arrives
                    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    assert b" 200 " in await asyncio.wait_for(slow.read(), WAIT)
                    for _, other in [*others, (slow, writer)]:
                        other.close()

        run(work())

    def test_stopping_does_not_wait_for_the_moment_to_be_over(self) -> None:
        async def work() -> None:
            async with serve(limits=door(visitors=1, moment=WAIT)) as served:
                waiting = [await dial(served) for _ in range(2)]
                await asyncio.sleep(0.01)
            for reader, writer in waiting:
                assert await is_closed(reader)
                writer.close()

        run(work())

    def test_many_good_clients_that_come_all_at_once_get_in(self) -> None:
        async def work() -> None:
            async with serve(limits=ServerLimits(sessions_per_key=64)) as served:
                served.http.connector._limit = 0  # type: ignore[union-attr]  # as many as it takes
                clients = await asyncio.gather(*(served.connect() for _ in range(64)))
                await asyncio.gather(*(client.started() for client in clients))
                metrics = await served.metrics()
                assert metrics["sessions_open"] == 64
                assert metrics["visitors"] == 1  # who asks

        run(work())

    def test_a_connection_serves_one_request(self) -> None:
        async def work() -> None:
            async with serve() as served:
                health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
                assert await ask(served, health * 50) == (200, b"ok\n")
                assert await ask(served, b"GET /healthz HTTP/1.0\r\n\r\n") == (200, b"ok\n")
                assert (await ask(served, health, b"x" * 200_000))[0] == 200

        run(work())

    def test_endless_headers_are_refused(self) -> None:
        async def work() -> None:
            async with serve(limits=door(head_bytes=20_000)) as served:
                assert (await ask(served, request(f"X: {'x' * 30_000}")))[0] == 431
                assert (await ask(served, b"Q" * 30_000))[0] == 431
                assert (await ask(served, b"Q" * 300))[0] == 400
                assert (await ask(served, b"GET /v1/stt?model=" + b"x" * 30_000))[0] == 431
                assert (await ask(served, request(*["X: y"] * 1000)))[0] == 400

        run(work())

    def test_a_failing_accept_is_tried_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        failures = iter([OSError(24, "Too many open files")])

        async def work() -> None:
            loop = asyncio.get_running_loop()
            accept = loop.sock_accept

            async def fail_once(listener: socket.socket) -> Any:
                for failure in failures:
                    raise failure
                return await accept(listener)

            monkeypatch.setattr(loop, "sock_accept", fail_once)
            async with serve() as served:
                await (await served.connect()).started()

        run(work())
        assert list(failures) == []

    def test_what_is_refused_at_once_is_refused_over_tls_as_well(self) -> None:
        authority = trustme.CA()
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)

        async def work() -> None:
            async with serve(ssl_context=server) as served:
                reader, writer = await dial(served, ssl=client)
                writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")
                assert b" 400 " in await asyncio.wait_for(reader.read(), WAIT)
                writer.close()

        run(work())

    def test_stopping_closes_whoever_is_at_the_door(self) -> None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(server)

        async def work() -> None:
            for tls in (None, server):
                async with serve(ssl_context=tls) as served:
                    silent = [await dial(served) for _ in range(3)]
                    silent[1][1].write(b"GET /healthz HT")
                    await asyncio.sleep(0.01)
                for reader, writer in silent:
                    assert await is_closed(reader)
                    writer.close()

        run(work())

    def test_every_address_of_a_name_is_listened_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def work() -> None:
            loop = asyncio.get_running_loop()

            async def two(*_: object, **__: object) -> list[Any]:
                one = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                return [(*one, ("127.0.0.1", 0)), (*one, ("127.0.0.1", 0)), (*one, ("127.0.0.2", 0))]

            with monkeypatch.context() as patch:
                patch.setattr(loop, "getaddrinfo", two)
                gateway = LocalGateway(recognizer=EchoRecognizer(), host="here.test", allow_insecure=True)
                await gateway.start()
            port = urlsplit(gateway.base_url).port
            for host in ("127.0.0.1", "127.0.0.2"):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
            await gateway.aclose()

        if sys.platform == "linux":  # elsewhere loopback is one address
            run(work())

    @pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="the option has another name here")
    def test_a_peer_that_vanished_is_noticed_by_the_kernel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[socket.socket] = []
        let_in = Door._let_in

        def look(self: Door, connection: Any) -> None:
            seen.append(connection.accepted)
            let_in(self, connection)

        monkeypatch.setattr(Door, "_let_in", look)

        async def work() -> None:
            async with serve() as served:
                await (await served.connect()).started()
                (accepted,) = seen
                assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30

        run(work())


class TestRequests:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            (request(), 101),
            (request(target="/v1//stt"), 101),
            (request(target="http://127.0.0.1:80/v1/stt"), 101),
            (request("Host: [::1]:8080", without="Host"), 101),
            (request("Host: LOCALHOST:1", without="Host"), 101),
            (request("Host: ours.test", without="Host"), 101),
            (request("Expect: 100-continue"), 101),
            (request("Content-Length: 0"), 101),
            (request("Upgrade: WebSocket", without="Upgrade"), 101),
            (request("Connection: keep-alive, Upgrade", without="Connection"), 101),
            (request("Sec-WebSocket-Extensions: permessage-deflate"), 101),
            (request(target="/v1/stt?model=" + "x" * 20_000), 101),
            (request("Host: evil.test", without="Host"), 421),
            (request("Host: localhost.evil.test", without="Host"), 421),
            (request("Host: 127.0.0.1.evil.test", without="Host"), 421),
            (request("Host: 127.0.0.1@evil.test", without="Host"), 421),
            (request("Host: evil@127.0.0.1", without="Host"), 421),
            (request("Host: 127.0.0.1:port", without="Host"), 421),
            (request("Host: [::1", without="Host"), 421),
            (request("Host:", without="Host"), 421),
            (request(target="http://evil.test/v1/stt"), 421),
            (request(target="*", method="OPTIONS"), 421),
            (request("Host: evil.test"), 400),
            (request(without="Host"), 400),
            (request(method="POST"), 405),
            (request(method="HEAD"), 405),
            (request("Content-Length: 5") + b"hello", 400),
            (request("Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
            (request("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
            (request(version="HTTP/1.0"), 400),
            (request(version="HTTP/9.9"), 400),
            (request("Sec-WebSocket-Version: 8", without="Sec-WebSocket-Version"), 426),
            (request("Sec-WebSocket-Version: 13"), 426),
            (request(without="Sec-WebSocket-Version"), 400),
            (request(without="Sec-WebSocket-Key"), 400),
            (request("Sec-WebSocket-Key: AAAA", without="Sec-WebSocket-Key"), 400),
            (request("Sec-WebSocket-Key: " + "\xe9" * 24, without="Sec-WebSocket-Key"), 400),
            (request("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
            (request("Upgrade: h2c"), 400),
            (request("Upgrade: websocket, h2c", without="Upgrade"), 400),
            (request(without="Connection"), 400),
            (request("Origin: null"), 403),
            (request("Authorization: Basic x"), 401),
            (request(without="Authorization"), 401),
            (request("X: a\0b"), 400),
            (request("X: a\r\n folded"), 400),
            (request(target="/v1/../healthz"), 404),
            (request(target="/%ff"), 404),
            (request(target="/metrics", method="PUT"), 405),
            (b"GET /healthz HTTP/1.1\r\nHost: evil.test\r\n\r\n", 421),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
            (b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ],
    )
    def test_a_request_is_what_it_should_be_or_refused(self, said: bytes, status: int) -> None:
        async def work() -> None:
            async with serve(names=["Ours.test"]) as served:
                assert (await ask(served, said))[0] == status

        run(work())

    def test_compression_is_declined(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await served.connect(compress=15)
                assert client.socket.compress == 0

        run(work())

    def test_a_token_that_is_too_long_is_one_that_is_no_good(self) -> None:
        async def work() -> None:
            async with serve() as served:
                answers = {await ask(served, request(bearer="x" * size)) for size in (10, 8_193, 9_000, 50_000)}
                assert len(answers) == 1
                assert next(iter(answers))[0] == 401

        run(work())

    def test_its_first_name_is_the_one_it_gives(self) -> None:
        async def work() -> None:
            async with serve(names=["stt.test", "other.test"]) as served:
                assert served.gateway.base_url.startswith("http://stt.test:")

        run(work())
        with pytest.raises(LocalProtocolError, match="host name"):
            LocalGateway(recognizer=EchoRecognizer(), names=["http://stt.test"])

    def test_a_fault_of_its_own_is_answered_without_a_word_about_it(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError(SENTINEL)

        monkeypatch.setattr("lkstt_transports.gateway.server.authenticate", fail)

        async def work() -> None:
            with suppress(RuntimeError):
                async with serve() as served:
                    raise AssertionError("it says at once that it cannot verify tokens")
            monkeypatch.undo()
            async with serve() as served:
                monkeypatch.setattr("lkstt_transports.gateway.server.authenticate", fail)
                status, body = await ask(served, request())
                assert (status, json.loads(body)["type"]) == (500, "internal_error")
                assert SENTINEL.encode() not in body

        with caplog.at_level(logging.DEBUG):
            run(work())
        assert SENTINEL not in caplog.text

    def test_what_the_http_server_logs_of_a_fault_has_no_details(self, caplog: pytest.LogCaptureFixture) -> None:
        log = logging.getLogger("lkstt_transports.gateway.server.http")
        log.error("Unhandled exception", exc_info=RuntimeError(SENTINEL))
        assert "Unhandled exception: RuntimeError" in caplog.text
        assert SENTINEL not in caplog.text

    def test_a_client_that_goes_while_it_is_answered_takes_no_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def fail(*_: object) -> None:
            raise ConnectionResetError

        async def work() -> None:
            async with serve() as served:
                with monkeypatch.context() as patch:
                    patch.setattr("aiohttp.web.WebSocketResponse.prepare", fail)
                    reader, writer = await dial(served)
                    writer.write(signed(request()))
                    assert await is_closed(reader)
                    writer.close()
                assert await served.is_empty()

        run(work())


class TestFrames:
    SAID = (frame(create()), *(frame(block) for block in blocks(1, 3)))

    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (frame_of(b"{}", masked=False), 1002),
            (frame_of(b"", last=False) + frame_of(b"", CONTINUATION, last=False) * 5000, 1002),
            (b"\xc1\x82" + bytes(6), 1002),
            (b"\x83\x80" + bytes(4), 1002),
            (frame_of(b"", PING, last=False), 1002),
            (b"\x89\xfe" + (126).to_bytes(2, "big") + bytes(130), 1002),
            (frame_of(b"", CONTINUATION), 1002),
            (frame_of(b"{", last=False) + frame_of(b"{}"), 1002),
            (frame_of(b"\xff\xfe"), 1007),
        ],
    )
    def test_a_frame_that_may_not_be_ends_the_session(self, bad: bytes, code: int) -> None:
        async def work() -> None:
            async with serve() as served:
                messages, closed = await converse(served, *self.SAID, bad, frame(CLOSE))
                assert closed == code
                assert messages[0]["type"] == "session.created"

        run(work())

    @pytest.mark.parametrize(
        "large",
        [
            frame_of(b"x" * 3001),
            frame_of(b"x" * 3001)[:8],
            frame_of(b"x" * 3000, last=False) + frame_of(b"x", CONTINUATION),
            b"\x81\xff" + b"\xff" * 8 + b"x" * 100_000,
        ],
    )
    def test_behind_a_message_too_large_come_the_finals_of_what_was_said_before(self, large: bytes) -> None:
        async def work() -> None:
            async with serve(limits=ServerLimits(message_bytes=3000)) as served:
                quiet = [frame({"type": "input_audio", "audio": base64.b64encode(bytes(2000)).decode()})] * 5
                messages, code = await converse(served, frame(create()), *quiet, large, frame(CLOSE))
                assert [m["type"] for m in messages[-3:]] == ["final_transcript", "session.finalized", "error"]
                assert (messages[-1]["code"], code) == (413, 1009)
                assert (await served.metrics())['errors_total{code="413"}'] == 1

        run(work())

    def test_a_message_too_large_ends_a_session_that_was_not_begun_and_one_that_does_not_answer(self) -> None:
        async def work() -> None:
            limits = ServerLimits(message_bytes=3000, session=SessionLimits(flush=0.05))
            async with serve(ScriptRecognizer(Script(finalized=Answer.NEVER)), limits=limits) as served:
                for said in ([], [frame(create())]):
                    messages, code = await converse(served, *said, frame_of(b"x" * 3001))
                    assert (messages[-1]["code"], code) == (413, 1009)

        run(work())

    def test_a_bad_frame_of_a_session_that_is_ending_changes_nothing(self) -> None:
        async def work() -> None:
            async with serve() as served:
                messages, code = await converse(served, frame(CLOSE), frame_of(b"x", masked=False))
                assert ([m["code"] for m in messages], code) == ([400], 1008)

        run(work())

    def test_frames_that_came_before_the_upgrade_was_answered_are_heard(self) -> None:
        async def work() -> None:
            async with serve() as served:
                reader, writer = await dial(served)
                writer.write(signed(request()) + b"".join(self.SAID) + frame(CLOSE))
                answer = await asyncio.wait_for(reader.readuntil(b'{"type":"session.closed"}'), WAIT)
                assert b"1 2 3" in answer
                writer.close()

        run(work())

    def test_very_many_small_frames_are_all_heard(self) -> None:
        async def work() -> None:
            async with serve(limits=ServerLimits(session=SessionLimits(speed=1e6))) as served:
                pings = frame_of(b"", PING) * 3000
                reader, writer = await dial(served)
                writer.write(signed(request()))
                await reader.readuntil(b"\r\n\r\n")
                writer.write(frame(create()) + pings + frame(CLOSE))
                answer = await asyncio.wait_for(reader.readuntil(b'{"type":"session.closed"}'), 2 * WAIT)
                assert answer.count(b"\x8a\x00") == 3000
                writer.close()

        run(work())

    def test_a_client_that_goes_in_the_middle_of_them_is_gone(self) -> None:
        async def work() -> None:
            async with serve() as served:
                _, writer = await dial(served)
                writer.write(signed(request()) + frame(create()) + frame_of(b"", PING) * 20_000)
                await writer.drain()
                writer.transport.abort()
                await eventually(served.is_empty)

        run(work())

    def test_tiny_messages_of_an_unknown_kind_are_taken_at_a_rate(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(speed=20.0, burst=0.2))
            async with serve(limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(*[{"type": "?"}] * 10, CLOSE)
                await client.rest()
                assert (await served.metrics())["slowed_total"] > 0

        run(work())


class TestPace:
    def test_audio_too_fast_is_slowed_and_none_of_it_lost(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(speed=50.0, burst=1.0))
            async with serve(limits=limits) as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(0, 100), CLOSE)
                finals = [m["transcript"] for m in await client.rest() if m["type"] == "final_transcript"]
                assert " ".join(finals) == " ".join(map(str, range(100)))
                assert (await served.metrics())["slowed_total"] > 0

        run(work())

    def test_a_client_in_real_time_is_not(self) -> None:
        async def work() -> None:
            async with serve() as served:
                client = await (await served.connect()).started()
                await client.send(*blocks(0, 50), CLOSE)
                await client.rest()
                assert (await served.metrics())["slowed_total"] == 0

        run(work())

    def test_our_own_client_survives_being_slowed(self) -> None:
        async def work() -> None:
            limits = ServerLimits(session=SessionLimits(speed=40.0, burst=1.0))
            async with serve(limits=limits) as served:
                pcm = b"".join(number.to_bytes(2, "little") * (RATE // 10) for number in range(300))
                stt = STT(base_url=served.gateway.base_url, api_key=KEY, api_secret=SECRET, sample_rate=RATE)
                async with stt, stt.stream() as stream:
                    await stream.push_audio(pcm)
                    stream.end_input()
                    finals = [event async for event in stream if event.type == "final_transcript"]
                words = [final.alternatives[0].text for final in finals]
                assert " ".join(words) == " ".join(map(str, range(300)))
                metrics = await served.metrics()
                assert metrics["sessions_total"] == 1
                assert metrics["slowed_total"] > 0

        run(work())


class TestSecrecy:
    @pytest.fixture
    def opened(self) -> Iterator[list[object]]:
        """Files that are opened for writing."""
        files: list[object] = []
        watching = True

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            if watching and event == "open" and isinstance(arguments[2], int) and arguments[2] & writing:
                files.append(arguments[0])

        sys.addaudithook(watch)
        yield files
        watching = False

    def test_nothing_that_came_is_logged_answered_or_kept(
        self, caplog: pytest.LogCaptureFixture, opened: list[object]
    ) -> None:
        bearer = token()
        said = [
            request(f"X-{SENTINEL}: {SENTINEL}", target=f"/v1/stt?model={SENTINEL}"),
            request(f"Sec-WebSocket-Protocol: {SENTINEL}"),
            request(f"Sec-WebSocket-Key: {SENTINEL}", without="Sec-WebSocket-Key"),
            request(f"Host: {SENTINEL}.test", without="Host"),
            request(f"X: {SENTINEL}\0"),
            request(bearer=SENTINEL),
            request(target=f"/{SENTINEL}"),
            f"{SENTINEL}\r\n\r\n".encode(),
            f"GET /{SENTINEL} {SENTINEL}\r\n\r\n".encode(),
            f"GET /v1/stt HTTP/1.1\r\nAuthorization: Bearer {bearer}\x00{SENTINEL}\r\n\r\n".encode(),
            f"BREW /{SENTINEL} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        ]
        frames = [
            frame({"type": SENTINEL}),
            frame_of(SENTINEL.encode()),
            frame_of(SENTINEL.encode(), masked=False),
            frame_of(b"\xff" + SENTINEL.encode()),
            frame_of(SENTINEL.encode(), 2),
            b"\x88\x84" + bytes(4) + b"\x03\xff" + SENTINEL[:2].encode(),
        ]
        answers = []

        async def work() -> None:
            asyncio.get_running_loop().set_debug(True)
            async with serve() as served:
                answers.extend([await ask(served, data) for data in said])
                for data in frames:
                    reader, writer = await dial(served)
                    settings = {
                        "type": "session.create",
                        "settings": {"sample_rate": str(RATE), "extra": {SENTINEL: SENTINEL}},
                    }
                    writer.write(request(bearer=bearer) + frame(settings) + frame(blocks(1, 1)[0]) + data)
                    writer.write(frame(CLOSE) + frame_of((1000).to_bytes(2, "big"), 8))
                    answers.append((0, await asyncio.wait_for(reader.read(), WAIT)))
                    writer.close()

        with caplog.at_level(logging.DEBUG):
            run(work())
        shown = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
        for secret in (SENTINEL, bearer, bearer.split(".")[2], SECRET):
            assert secret not in shown
            assert not any(secret.encode() in body for _, body in answers)
        assert opened == []
