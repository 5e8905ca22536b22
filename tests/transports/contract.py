"""What every adapter has to do, whatever runs it.

``StreamContract`` is for all of them, ``AsyncContract`` and ``CancelContract`` for those whose waiting can be
cancelled, ``NurseryContract`` for those that have to be entered. An adapter's test module makes a ``Test...`` of them
and of a ``Runtime``.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import anyio
import pytest
import trustme
from runtimes import Runtime
from scripted_server import (
    BINARY,
    CLOSE,
    PING,
    RATE,
    TEXT,
    Act,
    ScriptedServer,
    answering,
    cutting,
    deaf,
    forwarding,
    gateway,
    resetting,
    saying,
    silent,
)

from lkstt_proto import (
    AudioDropped,
    AuthError,
    ConnectError,
    ConnectionLost,
    Diagnostic,
    GatewayError,
    InsecureTransport,
    Limits,
    LocalProtocolError,
    OutageExceeded,
    QuotaExceeded,
    Reconnecting,
    Request,
    Resumed,
    RetryPolicy,
    SessionCreated,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamFailed,
    SttError,
    TlsError,
    UnexpectedRedirect,
)
from lkstt_transports.common import Received, Socket, UpgradeRefused

KEY, SECRET = "APIabcdefgh", "a-secret-of-at-least-thirty-two-bytes"
QUICK = RetryPolicy(first_delay=0.01, max_delay=0.02)
HOSTS = ["127.0.0.1"]
try:
    socket.create_server(("::1", 0), family=socket.AF_INET6).close()
except OSError:
    pass
else:
    HOSTS.append("::1")


def pcm(seconds: float) -> bytes:
    """Audio that tells its position: no two samples within a second are alike."""
    return array("h", (index % RATE for index in range(round(seconds * RATE)))).tobytes()


def finals(events: list[Any]) -> list[SpeechEvent]:
    return [event for event in events if getattr(event, "type", None) is SpeechEventType.FINAL_TRANSCRIPT]


def texts(events: list[Any]) -> str:
    return " ".join(event.alternatives[0].text for event in finals(events))


def of_type(kind: type[Any], events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class Certificates:
    """A private authority."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def server(self, name: str) -> SSLContext:
        context = SSLContext(PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        return context

    def client(self) -> SSLContext:
        context = create_default_context()
        self._authority.configure_trust(context)
        return context


def clear_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the environment of the tests says."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def saying_garbage(visit: Any) -> None:
    """Answer with what is no HTTP."""
    visit.writer.write(b"SSH-2.0-server\r\n\r\n")


class StandingStill:
    """A connector after whose pings the loop stands still for longer than the pong may take; meanwhile it comes in."""

    def __init__(self, connector: Any) -> None:
        self._connector = connector
        self.pings = 0

    @asynccontextmanager
    async def open(self, request: Request, max_message: int) -> AsyncIterator[Socket]:
        async with self._connector.open(request, max_message) as socket:
            ping = socket.ping

            async def ping_and_stand_still() -> None:
                self.pings += 1
                await ping()
                time.sleep(0.1)  # noqa: ASYNC251 (that is the point)

            yield Changed(socket, ping=ping_and_stand_still)

    async def aclose(self) -> None: ...


class Changed:
    """An object with some attributes changed, whether it has slots or not."""

    def __init__(self, inner: Any, **changes: Any) -> None:
        self._inner = inner
        self.__dict__ |= changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Contract(Runtime):
    """What the tests of adapters need."""

    def stt(self, server: ScriptedServer, **settings: Any) -> Any:
        settings.setdefault("retry", QUICK)
        return self.make(base_url=server.base_url, api_key=KEY, api_secret=SECRET, **settings)

    def trusting(self, certificates: Certificates) -> Any:
        """Make a connector that trusts a private authority."""
        return self.connector(ssl=certificates.client())

    async def listen(self, stream: Any, audio: bytes = b"", *, end: bool = True) -> list[Any]:
        """Push audio in 20 ms pieces while collecting all events."""
        events: list[Any] = []

        async def push() -> None:
            for start in range(0, len(audio), 640):
                await stream.push_audio(audio[start : start + 640])
            if end:
                stream.end_input()

        async def read() -> None:
            async for event in stream.events():
                events.append(event)  # noqa: PERF401 (they are wanted even if iteration raises)

        await self.together(push, read)
        return events

    async def failure(self, stream: Any) -> tuple[SttError, list[Any]]:
        """Collect events until the stream fails."""
        events: list[Any] = []

        async def read() -> None:
            async for event in stream.events():
                events.append(event)  # noqa: PERF401 (they are wanted even if iteration raises)

        with pytest.raises(SttError) as caught:
            await read()
        return caught.value, events

    def transcribe(self, *script: Act, seconds: float = 1.3, **settings: Any) -> tuple[ScriptedServer, list[Any]]:
        """Run one stream over a script to its end; return the server and all events."""
        collected: list[Any] = []
        with ScriptedServer(*script) as server:

            async def main() -> None:
                async with self.stt(server, **settings) as stt, stt.stream() as stream:
                    collected.extend(await self.listen(stream, pcm(seconds)))

            self.run(main)
        return server, collected

    def fail(self, *script: Act, **settings: Any) -> tuple[ScriptedServer, SttError, list[Any]]:
        """Run one stream that fails; return the server, the error and all events."""
        caught: list[Any] = []
        with ScriptedServer(*script) as server:

            async def main() -> None:
                async with self.stt(server, **settings) as stt, stt.stream() as stream:
                    caught.extend(await self.failure(stream))

            self.run(main)
        return server, caught[0], caught[1]

    async def heard(self, stream: Any) -> list[Any]:
        """Push something and wait for its final, so that everything before it has arrived."""
        events: list[Any] = []
        await stream.push_audio(pcm(0.1))
        stream.finalize()
        async for event in stream.events():
            events.append(event)
            if getattr(event, "type", None) is SpeechEventType.END_OF_SPEECH:
                break
        return events


class StreamContract(Contract):
    """What all adapters do."""

    # The way it should be.

    @pytest.mark.parametrize("host", HOSTS)
    def test_speech_comes_out_in_order_and_every_sample_arrives(self, host: str) -> None:
        events: list[Any] = []
        with ScriptedServer(host=host) as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    events.extend(await self.listen(stream, pcm(2.5)))
                    assert stream.stats.audio_sent == 2.5
                    assert stream.stats.sessions == 1

            self.run(main)
        visit = server.visits[0]
        assert bytes(visit.audio) == pcm(2.5)
        assert visit.head.startswith("GET /v1/stt?model=deepgram%2Fnova-3 HTTP/1.1\r\n")
        assert (visit.close_requested, visit.close_code) == (True, 1000)
        assert isinstance(events[0], SessionCreated)
        assert isinstance(events[-1], StreamEnded)
        assert texts(events) == "0.00-1.00 1.00-2.00 2.00-2.50"
        assert [str(event.type) for event in of_type(SpeechEvent, events) if event.recognition_usage is None] == [
            "start_of_speech",
            "final_transcript",
            "end_of_speech",
        ] * 3
        usage = [event.recognition_usage for event in of_type(SpeechEvent, events) if event.recognition_usage]
        assert round(sum(item.audio_duration for item in usage) * RATE) == 2.5 * RATE

    def test_iterating_the_stream_gives_speech_events_alone(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    await stream.push_audio(pcm(1.0))
                    stream.end_input()
                    events = [event async for event in stream]
                    assert of_type(SpeechEvent, events) == events
                    assert texts(events) == "0.00-1.00"

            self.run(main)

    def test_finalize_brings_finals_and_the_stream_goes_on(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    for _ in range(2):
                        await stream.push_audio(pcm(0.33))
                        stream.finalize()
                        async for event in stream:
                            if event.type is SpeechEventType.END_OF_SPEECH:
                                break
                    assert stream.stats.finals == 2

            self.run(main)

    def test_flush_sends_less_than_a_full_message(self) -> None:
        with ScriptedServer(partial(gateway, every=0.01)) as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    await stream.push_audio(pcm(0.02))
                    stream.flush()
                    async for event in stream:
                        if event.type is SpeechEventType.END_OF_SPEECH:
                            break
                    assert stream.stats.audio_sent == 0.02

            self.run(main)

    def test_a_burst_arrives_whole_and_without_another_push(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    for second in range(1, 4):
                        for start in range(0, len(pcm(1.0)), 640):
                            await stream.push_audio(pcm(1.0)[start : start + 640])
                        async for event in stream:
                            if event.type is SpeechEventType.END_OF_SPEECH:
                                break
                        assert stream.stats.audio_sent == second

            self.run(main)
        assert bytes(server.visits[0].audio) == pcm(1.0) * 3

    def test_recognize_joins_finals_and_dials_nobody_for_nothing(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    nothing = await stt.recognize(b"", language="de")
                    assert (nothing.alternatives[0].text, nothing.alternatives[0].language) == ("", "de")
                    assert server.visits == []
                    event = await stt.recognize(pcm(2.5))
                    data = event.alternatives[0]
                    assert event.type is SpeechEventType.FINAL_TRANSCRIPT
                    assert data.text == "0.00-1.00 1.00-2.00 2.00-2.50"
                    assert (data.start_time, data.end_time, len(data.words)) == (0.0, 2.5, 3)

            self.run(main)

    def test_leaving_iteration_early_keeps_the_rest(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    await stream.push_audio(pcm(3.0))
                    stream.end_input()
                    seen: list[Any] = []
                    for _ in range(40):
                        async for event in stream.events():
                            seen.append(event)
                            break
                    assert texts(seen) == "0.00-1.00 1.00-2.00 2.00-3.00"
                    assert isinstance(seen[-1], StreamEnded)

            self.run(main)

    # Settings.

    def test_options_reach_live_streams_and_new_ones(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server, language="en") as stt, stt.stream() as stream:
                    await self.heard(stream)
                    stream.update_options(extra={"punctuate": True})
                    stt.update_options(language="de", keyterms=["Longbourn"])
                    await self.heard(stream)
                    async with stt.stream() as second, stt.stream(language="fr") as third:
                        await self.heard(second)
                        await self.heard(third)

            self.run(main)
        first, *later = server.visits
        assert first.settings[0] == {"extra": {"punctuate": True}}
        assert first.settings[1] == {"language": "de", "extra": {"keyterm": ["Longbourn"]}}
        assert sorted(visit.sessions[0].language for visit in later) == ["de", "fr"]
        assert [visit.sessions[0].settings["extra"] for visit in later] == [{"keyterm": ["Longbourn"]}] * 2

    def test_a_live_stream_says_so_when_it_cannot_change(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    await self.heard(stream)
                    stt.update_options(model="assemblyai/universal-streaming")
                    with pytest.raises(LocalProtocolError):
                        stream.update_options(model="assemblyai/universal-streaming")
                    events = await self.heard(stream)
                    assert [event.kind for event in of_type(Diagnostic, events)] == ["settings_refused"]
                    async with stt.stream() as second:
                        await self.heard(second)

            self.run(main)
        assert [visit.sessions[0].model for visit in server.visits] == [
            "deepgram/nova-3",
            "assemblyai/universal-streaming",
        ]

    # Too much.

    def test_push_waits_for_room_and_pushing_at_once_drops_the_oldest(self) -> None:
        with ScriptedServer(silent) as server:

            async def main() -> None:
                limits = Limits(audio_buffer=0.2, close=0.05)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    assert await self.within(5.0, lambda: stream.push_audio(pcm(0.2)))
                    assert not await self.within(0.05, lambda: stream.push_audio(pcm(0.1)))
                    assert stream.stats.audio_pushed == 0.2
                    stream.push_audio_nowait(pcm(0.1))
                    async for event in stream.events():
                        assert event == AudioDropped(0.0, 0.1, "overflow")
                        break

            self.run(main)

    def test_a_push_larger_than_all_room_arrives_whole(self) -> None:
        audio = pcm(3.0)
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server, limits=Limits(audio_buffer=0.2)) as stt, stt.stream() as stream:

                    async def push() -> None:
                        await stream.push_audio(array("h", audio))
                        stream.end_input()

                    async def read() -> None:
                        assert texts([event async for event in stream]) == "0.00-1.00 1.00-2.00 2.00-3.00"

                    assert await self.within(3.0, partial(self.together, push, read)), "it waits without need"

            self.run(main)
        assert bytes(server.visits[0].audio) == audio

    def test_a_slow_reader_misses_nothing(self) -> None:
        with ScriptedServer(partial(gateway, finals=20)) as server:

            async def main() -> None:
                limits = Limits(unread_events=4, audio_buffer=0.5)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    seen: list[Any] = []

                    async def push() -> None:
                        await stream.push_audio(pcm(3.0))
                        stream.end_input()

                    async def read() -> None:
                        async for event in stream:
                            seen.append(event)
                            if len(seen) % 16 == 0:
                                await self.sleep(0.005)

                    await self.together(read, push)
                    assert len(finals(seen)) == 60
                    ends = [event.alternatives[0].end_time for event in finals(seen)]
                    assert ends == sorted(ends)

            self.run(main)

    # The end.

    def test_closing_at_once_twice_and_pushing_after_it(self) -> None:
        with ScriptedServer(silent) as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    stream = stt.stream()
                    await stream.aclose()
                    await stream.aclose()
                    with pytest.raises(LocalProtocolError):
                        await stream.push_audio(pcm(0.1))
                    with pytest.raises(LocalProtocolError):
                        stream.finalize()
                    stream.end_input()
                    assert [event async for event in stream.events()] == [StreamEnded(0.0)]
                    assert [event async for event in stream] == []

            self.run(main)

    def test_nothing_is_left_when_close_returns(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    before = self.left_over()
                    stream = stt.stream()
                    await self.heard(stream)
                    await stream.aclose()
                    await self.gone(before)
                    stream = stt.stream()
                    await self.heard(stream)
                    await stt.aclose()
                    await self.gone(before)

            self.run(main)

    def test_closing_the_stt_closes_its_streams(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    streams = [stt.stream() for _ in range(3)]
                    for stream in streams:
                        await self.heard(stream)
                    await stt.aclose()
                    await stt.aclose()
                    for stream in streams:
                        assert isinstance([event async for event in stream.events()][-1], StreamEnded)
                    with pytest.raises(LocalProtocolError):
                        stt.stream()

            self.run(main)
        assert [(visit.close_requested, visit.close_code) for visit in server.visits] == [(True, 1000)] * 3

    def test_closing_does_not_wait_for_a_peer_that_takes_nothing(self) -> None:
        with ScriptedServer(deaf) as server:

            async def main() -> None:
                limits = Limits(audio_buffer=600.0, ahead=600.0, close=0.05)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    await self.within(0.5, lambda: stream.push_audio(bytes(300 * RATE * 2)))
                    await self.sleep(0.1)
                    assert await self.within(3.0, stream.aclose)
                    assert stream.stats.audio_unsent > 0.0  # the socket was full

            self.run(main)

    def test_the_input_may_end_while_nobody_is_there(self) -> None:
        refused = answering("503 Service Unavailable")
        server, events = self.transcribe(refused, refused, gateway)
        assert len(of_type(Reconnecting, events)) == 2
        assert texts(events) == "0.00-1.00 1.00-1.30"
        assert bytes(server.visits[2].audio) == pcm(1.3)
        assert isinstance(events[-1], StreamEnded)

    @pytest.mark.parametrize("act", [silent, gateway])
    def test_leaving_at_once_before_anything_happened(self, act: Act) -> None:
        with ScriptedServer(act) as server:

            async def main() -> None:
                async with self.stt(server):
                    pass
                async with self.stt(server) as stt, stt.stream():
                    pass
                async with self.stt(server) as stt:
                    before = self.left_over()
                    await stt.stream().aclose()
                    await self.gone(before)
                    stt.stream()

            self.run(main)

    def test_an_exception_of_the_body_comes_out_as_it_is(self) -> None:
        refused = answering("403 Forbidden")
        for script in ((gateway,), (refused,), (silent,)):
            for mine in (ValueError("mine"), ExceptionGroup("mine", [ValueError("mine")]), StopIteration()):
                with ScriptedServer(*script) as server:

                    async def main(server: ScriptedServer = server, mine: Exception = mine) -> None:
                        caught: list[BaseException] = []
                        for within in (False, True):
                            try:
                                async with self.stt(server) as stt:
                                    stream = stt.stream()
                                    if within:
                                        async with stream:
                                            await self.sleep(0.01)
                                            raise mine
                                    raise mine
                            except Exception as error:
                                caught.append(error)
                        assert [error is mine for error in caught] == [True, True]

                    self.run(main)

    def test_a_stream_that_its_consumer_leaves_by_an_exception_says_goodbye(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                mine = ValueError("mine")
                async with self.stt(server) as stt:
                    stream = stt.stream()

                    async def consume() -> None:
                        async with stream:
                            await stream.push_audio(pcm(1.0))
                            async for _ in stream:
                                raise mine

                    with pytest.raises(ValueError, match="mine") as caught:
                        await consume()
                    assert caught.value is mine
                    assert isinstance([event async for event in stream.events()][-1], StreamEnded)
                    async with stt.stream() as second:
                        assert texts(await self.listen(second, pcm(1.0))) == "0.00-1.00"

            self.run(main)
        assert [(visit.close_requested, visit.close_code) for visit in server.visits] == [(True, 1000)] * 2

    def test_many_short_streams_leave_nothing(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    before = self.left_over()
                    for count in range(200):
                        async with stt.stream() as stream:
                            assert texts(await self.listen(stream, pcm(0.02))) == "0.00-0.02"
                        if count % 50 == 49:
                            await self.settle(before)

            self.run(main)

    # Refusals.

    def test_a_refused_token_is_tried_once_more_with_a_new_one(self) -> None:
        server, error, events = self.fail(answering("401 Unauthorized"))
        assert (type(error), error.http_status, error.retryable) == (AuthError, 401, False)
        assert len(server.visits) == 2
        assert isinstance(events[-1], StreamFailed)
        assert events[-1].error is error

    @pytest.mark.parametrize(
        ("status", "kind"),
        [("403 Forbidden", AuthError), ("404 Not Found", ConnectError), ("200 OK", ConnectError)],
    )
    def test_a_refusal_that_stays_is_not_tried_again(self, status: str, kind: type[SttError]) -> None:
        server, error, _ = self.fail(answering(status))
        assert (type(error), error.http_status, error.retryable) == (kind, int(status[:3]), False)
        assert len(server.visits) == 1

    def test_a_quota_says_when_to_come_back(self) -> None:
        body = b'{"type": "inference_quota_exceeded", "hint": "close idle streams"}'
        retry = RetryPolicy(first_delay=0.01, retry_after=0.05)
        _, events = self.transcribe(
            answering("429 Too Many Requests", "Retry-After: 7", body=body), gateway, retry=retry
        )
        told = of_type(Reconnecting, events)[0]
        assert type(told.error) is QuotaExceeded
        assert told.error.retry_after == 7.0
        assert told.delay == 0.05
        assert "close idle streams" in str(told.error)
        assert texts(events) == "0.00-1.00 1.00-1.30"

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_a_redirect_is_never_followed(self, status: str) -> None:
        with ScriptedServer() as target:
            redirect = answering(status, f"Location: {target.base_url}/stt")
            server, error, _ = self.fail(redirect)
            assert target.visits == []
        assert (type(error), error.http_status) == (UnexpectedRedirect, int(status[:3]))
        assert len(server.visits) == 1

    def test_nobody_listens(self) -> None:
        with ScriptedServer() as server:
            pass

        async def main() -> None:
            async with self.stt(server, retry=RetryPolicy(outage=0.0)) as stt, stt.stream() as stream:
                error, _ = await self.failure(stream)
                assert type(error) is OutageExceeded
                assert type(error.__cause__) is ConnectError
                assert isinstance(error.__cause__.__cause__, OSError)
                with pytest.raises(OutageExceeded) as again:
                    await stream.push_audio(pcm(0.1))
                assert again.value is error
                with pytest.raises(OutageExceeded):
                    stream.end_input()

        self.run(main)

    @pytest.mark.parametrize("act", [resetting, answering("101 Switching Protocols")], ids=["reset", "no upgrade"])
    def test_a_broken_handshake_is_told(self, act: Act) -> None:
        _, error, _ = self.fail(act, retry=RetryPolicy(outage=0.0))
        failure = error.__cause__ if type(error) is OutageExceeded else error
        assert type(failure) is ConnectError

    def test_an_answer_that_is_no_http_is_told(self) -> None:
        _, error, _ = self.fail(saying_garbage, retry=RetryPolicy(outage=0.0))
        assert type(error) is OutageExceeded
        assert type(error.__cause__) is ConnectError

    def test_an_error_of_the_gateway_reaches_every_reader_and_pusher(self) -> None:
        heard = threading.Event()

        def refuse(visit: Any) -> None:
            if heard.is_set():
                visit.gateway.fail(visit.now, code=400, message="no such thing")

        with ScriptedServer(partial(gateway, on_audio=refuse)) as server:

            async def main() -> None:
                limits = Limits(audio_buffer=0.2)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    await self.heard(stream)
                    raised: list[Any] = []
                    events: list[Any] = []

                    async def read(iterator: Any) -> None:
                        try:
                            while True:
                                events.append(await anext(iterator))
                        except GatewayError as error:
                            raised.append(error)

                    async def push() -> None:
                        heard.set()
                        try:
                            while True:
                                await stream.push_audio(pcm(0.1))
                        except GatewayError as error:
                            raised.append(error)

                    await self.together(partial(read, stream.events()), partial(read, stream.events()), push, push)
                    for wish in (stream.finalize, stream.flush, stream.end_input):
                        with pytest.raises(GatewayError) as caught:
                            wish()
                        raised.append(caught.value)
                    for iterator in (stream.events(), aiter(stream)):
                        await read(iterator)
                    failed = events[-1]
                    assert isinstance(failed, StreamFailed)
                    assert [error is failed.error for error in raised] == [True] * 9
                    assert (raised[0].code, raised[0].retryable) == (400, False)

            self.run(main)
        assert len(server.visits) == 1

    # Trouble.

    def test_a_gateway_that_goes_away_and_comes_back_misses_nothing(self) -> None:
        with ScriptedServer(partial(gateway, every=0.5)) as server:

            async def main() -> None:
                events: list[Any] = []
                async with self.stt(server) as stt, stt.stream() as stream:

                    async def push() -> None:
                        for start in range(0, len(pcm(3.0)), 3200):
                            await stream.push_audio(pcm(3.0)[start : start + 3200])
                            if start == 32_000:
                                while not stream.stats.finals:
                                    await self.sleep(0.001)
                                server.go_away()
                            elif start == 64_000:
                                while stream.stats.failures < 3:
                                    await self.sleep(0.001)
                                server.come_back()
                        stream.end_input()

                    async def read() -> None:
                        async for event in stream.events():
                            events.append(event)  # noqa: PERF401 (they are read as they come)

                    await self.together(push, read)
                told = [event.alternatives[0] for event in finals(events)]
                assert [data.start_time for data in told] == [0.0, *(data.end_time for data in told[:-1])]
                assert told[-1].end_time == 3.0
                assert len(of_type(Resumed, events)) == 1
                refusals = of_type(Reconnecting, events)[1:]
                assert [type(event.error) for event in refusals] == [ConnectError] * len(refusals)

            self.run(main)
        first, last = server.visits
        assert bytes(last.audio) == pcm(3.0)[len(pcm(3.0)) - len(last.audio) :]
        assert len(first.audio) + len(last.audio) >= len(pcm(3.0))

    def test_a_gateway_that_restarts_gets_everything_it_did_not_acknowledge(self) -> None:
        server, events = self.transcribe(cutting(0.8), gateway, seconds=2.0)
        first, second = server.visits
        assert len(of_type(Resumed, events)) == 1
        begin = len(pcm(2.0)) - len(second.audio)
        assert bytes(second.audio) == pcm(2.0)[begin:]
        assert begin <= len(first.audio)
        told = [event.alternatives[0] for event in finals(events)]
        assert told[0].start_time == 0.0
        assert [data.start_time for data in told[1:]] == [data.end_time for data in told[:-1]]
        assert told[-1].end_time == 2.0

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (saying(TEXT, b'{"type":"' + b"x" * 4000 + b'"}'), 1009),
            (saying(TEXT, b'{"type":"\xff"}'), 1007),
            (saying(3, b"reserved"), 1002),
        ],
        ids=["oversize", "no utf-8", "reserved opcode"],
    )
    def test_a_frame_that_cannot_be_ends_the_session_with_its_code(self, frame: Act, code: int) -> None:
        server, events = self.transcribe(frame, gateway, limits=Limits(message=1500))
        told = of_type(Reconnecting, events)[0]
        assert (type(told.error), told.error.close_code) == (ConnectionLost, code)
        assert server.visits[0].close_code in (code, None)  # None: more was on its way when it hung up
        assert texts(events) == "0.00-1.00 1.00-1.30"

    @pytest.mark.parametrize(
        ("frame", "kind"),
        [
            (saying(BINARY, b"\x00" * 9), "binary_message"),
            (saying(TEXT, b'{"type":"' + b"x" * 1600 + b'"}'), "invalid_message"),
            (saying(TEXT, b"[]"), "invalid_message"),
        ],
        ids=["binary", "somewhat too large", "no object"],
    )
    def test_a_message_that_says_nothing_is_skipped(self, frame: Act, kind: str) -> None:
        server, events = self.transcribe(frame, limits=Limits(message=1500))
        assert [event.kind for event in of_type(Diagnostic, events)] == [kind]
        assert len(server.visits) == 1
        assert texts(events) == "0.00-1.00 1.00-1.30"

    def test_a_close_code_is_kept(self) -> None:
        async def closing(visit: Any) -> None:
            visit.upgrade()
            visit.send(CLOSE, (4321).to_bytes(2, "big") + b"maintenance")
            while True:
                await visit.hear()

        _, events = self.transcribe(closing, gateway)
        told = of_type(Reconnecting, events)[0]
        assert told.error.close_code == 4321
        assert "maintenance" in str(told.error)

    def test_a_peer_that_fell_silent_is_left(self) -> None:
        limits = Limits(ping_interval=0.05, ping_timeout=0.05, close=0.05)
        _, events = self.transcribe(deaf, gateway, seconds=0.3, limits=limits)
        told = of_type(Reconnecting, events)[0]
        assert type(told.error) is ConnectionLost
        assert "nothing was heard" in str(told.error)
        assert texts(events) == "0.00-0.30"

    def test_pings_keep_an_idle_stream(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                limits = Limits(ping_interval=0.02, ping_timeout=2.0)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    await self.sleep(0.3)
                    assert stream.stats.round_trip is not None
                    assert stream.stats.failures == 0

            self.run(main)

    def test_the_peers_pings_are_answered(self) -> None:
        server, _ = self.transcribe(saying(PING, b"are you there"))
        assert server.visits[0].pongs == [b"are you there"]

    def test_what_has_arrived_is_heard_before_a_timer_is_judged(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                inner = self.connector()
                connector = self.standing_still(inner)
                limits = Limits(ping_interval=0.02, ping_timeout=0.05)
                async with self.stt(server, connector=connector, limits=limits) as stt, stt.stream() as stream:
                    await self.sleep(0.5)
                    assert connector.pings > 2
                    assert stream.stats.failures == 0
                await self.let_go(inner)

            self.run(main)

    def standing_still(self, connector: Any) -> Any:
        """Make a connector after whose pings everything stands still for longer than a pong may take."""
        return StandingStill(connector)

    def test_two_readers_share_the_events(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    seen: list[Any] = []

                    async def read() -> None:
                        async for event in stream:
                            seen.append(event)  # noqa: PERF401 (both append)

                    async def push() -> None:
                        await stream.push_audio(pcm(2.0))
                        stream.end_input()

                    await self.together(read, read, push)
                    assert len(seen) == len(set(map(id, seen)))
                    assert sorted(texts(seen).split()) == ["0.00-1.00", "1.00-2.00"]

            self.run(main)

    def test_audio_must_be_a_buffer(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    with pytest.raises(LocalProtocolError):
                        await stream.push_audio("text")
                    with pytest.raises(LocalProtocolError):
                        await stream.push_audio(memoryview(pcm(0.1))[::2])
                    with pytest.raises(LocalProtocolError):
                        await stt.recognize("text")

            self.run(main)

    # The way there.

    def test_cookies_are_neither_kept_nor_sent(self) -> None:
        server, _ = self.transcribe(answering("503 Service Unavailable", "Set-Cookie: who=you"), gateway)
        assert "cookie" not in server.visits[1].head.lower()

    def test_the_proxy_of_the_environment_is_for_tls_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        certificates = Certificates()

        async def main(target: ScriptedServer) -> None:
            connector = self.trusting(certificates)
            async with self.stt(target, connector=connector) as stt, stt.stream() as stream:
                assert texts(await self.listen(stream, pcm(1.0))) == "0.00-1.00"
            await self.let_go(connector)

        clear_proxies(monkeypatch)
        with (
            ScriptedServer(forwarding) as proxy,
            ScriptedServer() as plain,
            ScriptedServer(ssl=certificates.server("127.0.0.1")) as secure,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
            self.run(partial(main, plain))
            assert proxy.visits == []
            self.run(partial(main, secure))
            heads = [visit.head for visit in proxy.visits]
            assert len(heads) == 1
            assert heads[0].startswith(f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in heads[0]
            assert "Bearer" not in heads[0]
            assert "Proxy-" not in secure.visits[0].head
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            self.run(partial(main, secure))
            assert len(proxy.visits) == 1

    def test_a_proxy_that_is_given_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        certificates = Certificates()
        clear_proxies(monkeypatch)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with (
            ScriptedServer(forwarding) as proxy,
            ScriptedServer(ssl=certificates.server("127.0.0.1")) as secure,
        ):

            async def main() -> None:
                connector = self.connector(ssl=certificates.client(), proxy=f"http://127.0.0.1:{proxy.port}")
                async with self.stt(secure, connector=connector) as stt, stt.stream() as stream:
                    assert texts(await self.listen(stream, pcm(1.0))) == "0.00-1.00"
                await self.let_go(connector)

            self.run(main)
            assert [visit.head.split()[0] for visit in proxy.visits] == ["CONNECT"]

    @pytest.mark.parametrize(
        "act",
        [answering("502 Bad Gateway"), answering("407 Who are you"), resetting, saying_garbage],
        ids=["502", "407", "reset", "garbage"],
    )
    def test_a_proxy_that_does_not_connect_is_trouble_on_the_way(self, act: Act) -> None:
        certificates = Certificates()
        with ScriptedServer(act) as proxy, ScriptedServer(ssl=certificates.server("127.0.0.1")) as secure:

            async def main() -> None:
                connector = self.connector(ssl=certificates.client(), proxy=f"http://u:pass@127.0.0.1:{proxy.port}")
                retry = RetryPolicy(outage=0.0)
                async with self.stt(secure, connector=connector, retry=retry) as stt, stt.stream() as stream:
                    error, _ = await self.failure(stream)
                    assert type(error) is OutageExceeded
                    assert type(error.__cause__) is ConnectError
                    assert "pass" not in "".join(traceback.format_exception(error))
                await self.let_go(connector)

            self.run(main)
            assert secure.visits == []

    def test_a_dial_given_up_waits_for_no_farewell(self) -> None:
        stalling = threading.Event()

        async def stalled(visit: Any) -> None:
            visit.writer.transport.pause_reading()
            stalling.set()
            await silent(visit)

        certificates = Certificates()
        with ScriptedServer(stalled, ssl=certificates.server("127.0.0.1")) as server:

            async def main() -> None:
                connector = self.trusting(certificates)
                async with self.stt(server, connector=connector) as stt:
                    before = self.left_over()
                    stream = stt.stream()
                    while not stalling.is_set():
                        await self.sleep(0.001)
                    assert await self.within(1.0, stream.aclose)
                    await self.gone(before)
                await self.let_go(connector)

            self.run(main)

    # Secrets.

    def test_a_private_authority_is_trusted_when_given(self) -> None:
        certificates = Certificates()
        with ScriptedServer(ssl=certificates.server("127.0.0.1")) as server:

            async def main() -> None:
                connector = self.trusting(certificates)
                async with self.stt(server, connector=connector) as stt, stt.stream() as stream:
                    assert texts(await self.listen(stream, pcm(1.0))) == "0.00-1.00"
                await self.let_go(connector)

            self.run(main)

    @pytest.mark.parametrize("wrong", ["authority", "name"])
    def test_a_wrong_certificate_is_refused_for_good(self, wrong: str) -> None:
        certificates = Certificates()
        name = "elsewhere.example" if wrong == "name" else "127.0.0.1"
        client = certificates.client() if wrong == "name" else create_default_context()
        with ScriptedServer(ssl=certificates.server(name)) as server:

            async def main() -> None:
                connector = self.connector(ssl=client)
                async with self.stt(server, connector=connector) as stt, stt.stream() as stream:
                    error, events = await self.failure(stream)
                    assert type(error) is TlsError
                    assert of_type(Reconnecting, events) == []
                await self.let_go(connector)

            self.run(main)
        assert all(visit.head == "" for visit in server.visits)

    def test_a_context_that_does_not_verify_is_refused(self) -> None:
        context = create_default_context()
        context.check_hostname = False
        with pytest.raises(LocalProtocolError):
            self.connector(ssl=context)

    def test_plaintext_to_another_computer_is_refused(self) -> None:
        with pytest.raises(InsecureTransport):
            self.make(base_url="http://192.0.2.1/v1", api_key=KEY, api_secret=SECRET)

    def test_secrets_show_nowhere(self, caplog: pytest.LogCaptureFixture) -> None:
        async def echoing(visit: Any) -> None:
            token = visit.head.partition("Bearer ")[2].partition("\r\n")[0]
            visit.answer("403 Forbidden", body=f'{{"message":"no token {token}"}}'.encode())

        async def redirecting(visit: Any) -> None:
            visit.answer("302 Found", "Location: /elsewhere")

        caplog.set_level(logging.DEBUG)
        shown: list[str] = []
        heads: list[str] = []
        for act in (echoing, redirecting, resetting, answering("401 Unauthorized"), answering("101 Switching")):
            with ScriptedServer(act) as server:

                async def main(server: ScriptedServer = server) -> None:
                    async with self.stt(server, retry=RetryPolicy(outage=0.0)) as stt, stt.stream() as stream:
                        error, events = await self.failure(stream)
                        shown.extend((repr(stt), repr(stream), repr(events), *traceback.format_exception(error)))
                        chain: BaseException | None = error
                        while chain is not None:
                            shown.extend((repr(chain), str(chain), repr(vars(chain))))
                            chain = chain.__cause__ or chain.__context__

                self.run(main)
            heads.extend(visit.head for visit in server.visits)
        tokens = {head.partition("Bearer ")[2].partition("\r\n")[0] for head in heads}
        everything = "\n".join(shown) + caplog.text
        assert len(tokens) >= 1
        assert "" not in tokens
        for secret in (KEY, SECRET, *tokens, *(token.rpartition(".")[2] for token in tokens)):
            assert secret not in everything


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
            await anyio.sleep_forever()

    async def receive(self) -> Received:
        await anyio.sleep_forever()
        raise AssertionError

    async def ping(self) -> None:
        self.pings += 1

    async def close(self, code: int) -> None:
        raise AssertionError


class Broken:
    """A connector that only raises."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def open(self, request: Request, max_message: int) -> Any:
        raise self._error

    async def aclose(self) -> None: ...


class AsyncContract(Contract):
    """What adapters do that take turns with other tasks, and connectors with ``async`` in their names."""

    def test_pushing_gives_other_tasks_their_turn(self) -> None:
        with ScriptedServer(silent) as server:

            async def main() -> None:
                turns = 0
                pushed = False

                async def count() -> None:
                    nonlocal turns
                    while not pushed:
                        turns += 1
                        await self.turn()

                async with self.stt(server) as stt, stt.stream() as stream:

                    async def push() -> None:
                        nonlocal pushed
                        for _ in range(500):
                            await stream.push_audio(pcm(0.02))
                        pushed = True

                    await self.together(count, push)
                    assert turns >= 10

            self.run(main)

    @pytest.mark.parametrize("trouble", [None, OSError("broken pipe")], ids=["stuck", "broken"])
    def test_a_write_that_never_ends_does_not_hide_that_nobody_is_there(self, trouble: Exception | None) -> None:
        async def main() -> None:
            wall = Wall(trouble)
            limits = Limits(ping_interval=0.06, ping_timeout=0.02, close=0.02)
            stt = self.make(api_key=KEY, api_secret=SECRET, retry=QUICK, limits=limits, connector=wall)
            async with stt, stt.stream() as stream:
                await stream.push_audio(pcm(0.05))  # one message, which asks for no ping behind it
                told = await anext(stream.events())
                assert isinstance(told, Reconnecting)
                assert isinstance(told.error, ConnectionLost)
                error, _ = await self.failure(stream)
                assert type(error) is AuthError
            assert (wall.opened, wall.sent, wall.pings) == (
                2,
                2,
                0 if trouble else 1,
            )  # whoever takes nothing is not asked

        self.run(main)

    @pytest.mark.parametrize("in_group", [False, True], ids=["plain", "in a group"])
    def test_a_connector_that_breaks_is_a_failure_and_not_a_crash(self, in_group: bool) -> None:
        broken: Exception = ZeroDivisionError("by itself")
        refused: Exception = UpgradeRefused(403)
        if in_group:
            broken = ExceptionGroup("of one", [broken])
            refused = ExceptionGroup("of one", [ExceptionGroup("of one", [refused])])

        async def main() -> None:
            stt = self.make(api_key=KEY, api_secret=SECRET, retry=QUICK, connector=Broken(broken))
            async with stt, stt.stream() as stream:
                told = await anext(stream.events())
                assert isinstance(told, Reconnecting)
                assert "ZeroDivisionError: by itself" in str(told.error)
            stt = self.make(api_key=KEY, api_secret=SECRET, retry=QUICK, connector=Broken(refused))
            async with stt, stt.stream() as stream:
                error, _ = await self.failure(stream)
                assert type(error) is AuthError

        self.run(main)


class CancelContract(Contract):
    """What adapters do whose waiting can be cancelled."""

    async def whole_life(self, server: ScriptedServer, connector: Any) -> None:
        """Use everything once."""
        async with (
            self.stt(server, connector=connector, limits=Limits(close=0.5)) as stt,
            stt.stream() as stream,
        ):
            for _ in range(5):
                await stream.push_audio(pcm(0.2))
            stream.finalize()
            async for event in stream:
                if event.alternatives:
                    break
            stt.update_options(language="de")
            stream.end_input()
            async for _ in stream.events():
                pass

    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
    def test_cancelling_anywhere_leaks_nothing(self, secure: bool) -> None:
        certificates = Certificates()
        client = certificates.client() if secure else None
        with ScriptedServer(ssl=certificates.server("127.0.0.1") if secure else None) as server:

            async def main() -> None:
                before = self.left_over()
                for turns in range(60 if secure else 40):

                    async def moment(turns: int = turns) -> None:
                        for _ in range(turns):
                            await self.sleep(0 if turns % 2 else 0.0005)

                    connector = self.connector(ssl=client)
                    await self.cut_short(partial(self.whole_life, server, connector), moment)
                    await self.let_go(connector)
                    await self.settle(before)

            self.run(main)

    def test_a_task_cancelled_before_its_first_step_breaks_nothing(self) -> None:
        async def moment() -> None: ...

        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt:
                    before = self.left_over()
                    async with stt.stream() as stream:
                        await self.cut_short(stream.events().__anext__, moment)
                        await self.cut_short(stream.__anext__, moment)
                        await self.cut_short(partial(stream.push_audio, b""), moment)
                        assert texts(await self.listen(stream, pcm(1.0))) == "0.00-1.00"
                        await self.cut_short(stream.aclose, moment)
                    await self.cut_short(partial(stt.recognize, pcm(0.1)), moment)
                    await self.settle(before)
                    assert (await stt.recognize(pcm(0.1))).alternatives[0].text == "0.00-0.10"
                    await self.cut_short(stt.aclose, moment)

            self.run(main)

    @pytest.mark.parametrize("act", [silent, deaf, gateway])
    def test_cancelling_the_close_closes_at_once(self, act: Act) -> None:
        with ScriptedServer(act) as server:

            async def main() -> None:
                async with self.stt(server, limits=Limits(close=60.0)) as stt:
                    before = self.left_over()
                    stream = stt.stream()
                    await self.sleep(0.05)
                    await self.cut_short(stream.aclose, self.turn)
                    await self.gone(before)
                    assert isinstance([event async for event in stream.events()][-1], StreamEnded)

            self.run(main)

    def test_a_cancelled_read_loses_no_event(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server) as stt, stt.stream() as stream:
                    await stream.push_audio(pcm(3.0))
                    stream.end_input()
                    seen: list[Any] = []
                    events = stream.events()

                    async def read() -> None:
                        try:
                            seen.append(await anext(events))
                        except StopAsyncIteration:
                            seen.append(None)

                    reads = 0
                    while None not in seen:
                        reads += 1
                        if reads % 2:
                            await self.within(0.0005, read)
                        else:
                            await self.cut_short(read, self.turn)
                    assert texts(seen) == "0.00-1.00 1.00-2.00 2.00-3.00"
                    assert reads > len(seen)

            self.run(main)

    def test_a_cancelled_push_keeps_what_had_room(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                limits = Limits(audio_buffer=0.2)
                async with self.stt(server, limits=limits) as stt, stt.stream() as stream:
                    before = self.left_over()
                    assert not await self.within(0.0, partial(stream.push_audio, pcm(3.0)))
                    pushed = stream.stats.audio_pushed
                    assert 0.2 <= pushed < 3.0
                    await self.sleep(0.05)
                    assert stream.stats.audio_pushed == pushed
                    assert texts(await self.listen(stream)) == f"0.00-{pushed:.2f}"
                    await self.settle(before)

            self.run(main)


class NurseryContract(Contract):
    """What adapters do whose tasks live in a nursery of the user's."""

    def test_a_stream_that_was_entered_needs_no_entered_stt(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                async with self.stt(server).stream() as stream:
                    assert texts(await self.listen(stream, pcm(1.0))) == "0.00-1.00"
                assert (await self.stt(server).recognize(pcm(0.1))).alternatives[0].text == "0.00-0.10"

            self.run(main)

    def test_waiting_without_a_nursery_says_what_is_missing(self) -> None:
        with ScriptedServer() as server:

            async def main() -> None:
                stream = self.stt(server, limits=Limits(audio_buffer=0.2)).stream()
                works: list[Callable[[], Any]] = [
                    stream.__anext__,
                    stream.events().__anext__,
                    partial(stream.push_audio, pcm(1.0)),
                ]
                for work in works:
                    with pytest.raises(LocalProtocolError, match="async with"):
                        await work()
                assert server.visits == []
                await stream.aclose()

            self.run(main)
