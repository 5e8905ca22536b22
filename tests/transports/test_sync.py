"""The sync adapter: the contract, and what threads, signals and the end of the interpreter do to it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from contract import KEY, QUICK, SECRET, Changed, StreamContract, pcm, texts
from runtimes import PATIENCE, Sync, open_files, threads
from scripted_server import RATE, Act, ScriptedServer, deaf, gateway, silent

from lkstt_proto import AuthError, ConnectionLost, Limits, LocalProtocolError, Reconnecting, Request, StreamEnded
from lkstt_transports.common import UpgradeRefused
from lkstt_transports.socket_connector import Opened
from lkstt_transports.sync import STT, SpeechStream


class TestSync(Sync, StreamContract):
    def standing_still(self, connector: Any) -> Any:
        return StandingStill(connector)


class StandingStill:
    """A connector after whose pings the stream stands still for longer than the pong may take, which comes in."""

    def __init__(self, connector: Any) -> None:
        self._connector = connector
        self.pings = 0

    @contextmanager
    def open(self, request: Request, max_message: int) -> Iterator[Any]:
        with self._connector.open(request, max_message) as socket:

            def ping_and_stand_still() -> None:
                self.pings += 1
                socket.ping()
                time.sleep(0.1)

            yield Changed(socket, ping=ping_and_stand_still)


def stt(server: ScriptedServer, **settings: Any) -> STT:
    return STT(base_url=server.base_url, api_key=KEY, api_secret=SECRET, retry=QUICK, **settings)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """See that threads and sockets are gone, however a test ended them."""
    before = open_files() | threads()
    yield
    until = time.monotonic() + 2.0
    while (left := (open_files() | threads()) - before) and time.monotonic() < until:
        time.sleep(0.001)
    assert left == set()


@contextmanager
def beside(*works: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Run each in a thread of its own, and wait for them all."""
    with ThreadPoolExecutor(len(works)) as pool:
        yield [pool.submit(work) for work in works]


def begun(stream: SpeechStream, seconds: float) -> None:
    """Wait until so much audio was pushed, and a little longer, so that a push blocks."""
    until = time.monotonic() + PATIENCE
    while stream.stats.audio_pushed < seconds:
        assert time.monotonic() < until
        time.sleep(0.001)
    time.sleep(0.02)


# Threads.


def test_one_thread_pushes_while_another_iterates() -> None:
    with ScriptedServer() as server, stt(server) as speech, speech.stream() as stream:

        def push() -> None:
            for start in range(0, len(pcm(2.0)), 640):
                stream.push_audio(pcm(2.0)[start : start + 640])
            stream.end_input()

        with beside(push) as (pushing,):
            assert texts(list(stream)) == "0.00-1.00 1.00-2.00"
            pushing.result()


def test_many_threads_use_one_stream_and_one_stt() -> None:
    with ScriptedServer(partial(gateway, every=0.1)) as server, stt(server) as speech, speech.stream() as stream:

        def push() -> None:
            for _ in range(50):
                stream.push_audio(pcm(0.01))
                stream.flush()

        def ask() -> str:
            return str(speech.recognize(pcm(0.1)).alternatives[0].text)

        with beside(push, push, push, push, ask, ask, ask) as futures:
            for future in futures:
                assert future.result() in (None, "0.00-0.10")
        stream.end_input()
        assert len(list(stream)) >= 20
        assert stream.stats.audio_sent == pytest.approx(2.0)


def test_a_push_that_could_never_go_on_says_that_nobody_reads() -> None:
    limits = Limits(unread_events=4, audio_buffer=0.2, ahead=0.5)
    with (
        ScriptedServer(partial(gateway, every=0.1, finals=20)) as server,
        stt(server, limits=limits) as speech,
        speech.stream() as stream,
    ):
        with pytest.raises(LocalProtocolError, match="iterate"):
            stream.push_audio(pcm(30.0))
        pushed = stream.stats.audio_pushed
        assert 0.2 <= pushed < 30.0
        with beside(partial(list, stream)) as (reading,):
            while not stream.stats.finals:
                time.sleep(0.001)
            stream.push_audio(pcm(1.0))  # now that somebody does, it waits
            stream.end_input()
            told = [event for event in reading.result() if event.alternatives]
        assert told[-1].alternatives[0].end_time == pytest.approx(pushed + 1.0)


@pytest.mark.parametrize("closed", ["stream", "stt"])
@pytest.mark.parametrize("act", [silent, deaf, gateway])
def test_closing_in_another_thread_ends_what_blocks(act: Act, closed: str) -> None:
    with ScriptedServer(act) as server, stt(server, limits=Limits(audio_buffer=0.2, ahead=0.2, close=0.1)) as speech:
        stream = speech.stream()
        with beside(partial(stream.push_audio, pcm(60.0)), lambda: list(stream.events())) as (pushing, reading):
            begun(stream, 0.2)
            (stream if closed == "stream" else speech).aclose()
            with pytest.raises(LocalProtocolError):
                pushing.result(PATIENCE)
            assert isinstance(reading.result(PATIENCE)[-1], StreamEnded)


def test_closing_in_many_threads_closes_once() -> None:
    with ScriptedServer() as server, stt(server) as speech:
        stream = speech.stream()
        stream.push_audio(pcm(0.1))
        with beside(*[stream.aclose] * 4, *[speech.aclose] * 4) as futures:
            for future in futures:
                future.result(PATIENCE)
        assert [type(event) for event in stream.events()].count(StreamEnded) == 1


def test_a_stream_that_nobody_holds_any_more_can_still_be_closed_by_its_stt() -> None:
    with ScriptedServer() as server, stt(server) as speech:
        speech.stream().push_audio(pcm(0.1))
        gc.collect()


# Connectors.


class Wall:
    """A connector by itself: the first WebSocket takes one message and no more, the next is refused."""

    def __init__(self, trouble: Exception | None) -> None:
        self.trouble = trouble
        self.opened = self.sent = self.pings = 0
        self.sending = False
        self._woken = threading.Event()
        self._told = False

    @contextmanager
    def open(self, request: Request, max_message: int) -> Iterator[Any]:
        self.opened += 1
        if self.opened > 1:
            raise UpgradeRefused(403)
        yield self

    def aclose(self) -> None: ...

    def send_text(self, data: bytes) -> None:
        self.sent += 1
        if self.sent > 1:
            if self.trouble is not None:
                raise self.trouble
            self.sending = True

    def receive(self) -> Any:
        if self._told:
            return None
        self._told = True
        return Opened()

    def ping(self) -> None:
        self.pings += 1

    def close(self, code: int) -> None:
        raise AssertionError

    def wait(self, seconds: float | None, *, receiving: bool) -> None:
        self._woken.wait(seconds)
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()


@pytest.mark.parametrize("trouble", [None, OSError("broken pipe")], ids=["stuck", "broken"])
def test_a_write_that_never_ends_does_not_hide_that_nobody_is_there(trouble: Exception | None) -> None:
    wall = Wall(trouble)
    limits = Limits(ping_interval=0.06, ping_timeout=0.02, close=0.02)
    with (
        STT(api_key=KEY, api_secret=SECRET, retry=QUICK, limits=limits, connector=wall) as speech,
        speech.stream() as stream,
    ):
        stream.push_audio(pcm(0.05))  # one message, which asks for no ping behind it
        told = next(stream.events())
        assert isinstance(told, Reconnecting)
        assert isinstance(told.error, ConnectionLost)
        with pytest.raises(AuthError):
            list(stream)
    assert (wall.opened, wall.sent, wall.pings) == (2, 2, 0 if trouble else 1)  # whoever takes nothing is not asked


def test_a_connector_that_breaks_is_a_failure_and_not_a_crash() -> None:
    class Broken(Wall):
        def open(self, request: Request, max_message: int) -> Any:
            raise ZeroDivisionError("by itself")

    with (
        STT(api_key=KEY, api_secret=SECRET, retry=QUICK, connector=Broken(None)) as speech,
        speech.stream() as stream,
    ):
        told = next(stream.events())
        assert isinstance(told, Reconnecting)
        assert "ZeroDivisionError: by itself" in str(told.error)


# Programs.

PROGRAM = f"""
import sys, threading, time
from lkstt_transports.sync import STT
from lkstt_proto import Limits

stt = STT(base_url=sys.argv[1], api_key={KEY!r}, api_secret={SECRET!r}, limits=Limits(audio_buffer=1.0, close=0.2))
"""

BLOCKED = {
    "iterating": "with stt, stt.stream() as stream:\n  say()\n  list(stream)",
    "iterating without a block": "stream = stt.stream()\nsay()\nlist(stream)",
    "pushing": "with stt, stt.stream() as stream:\n  say()\n  stream.push_audio(bytes(3_200_000))",
    "recognizing": "say()\nstt.recognize(bytes(3_200_000))",
    "elsewhere": "with stt, stt.stream() as stream:\n  say()\n  time.sleep(60)",
    "finishing": "stream = stt.stream()\nstream.push_audio(bytes(320))\nstream.end_input()\nsay()\nlist(stream)",
}
SAY = "def say(): threading.Timer(0.1, print, ['ready'], {'flush': True}).start()\n"


@pytest.mark.parametrize("code", BLOCKED.values(), ids=BLOCKED)
@pytest.mark.parametrize("act", [silent, deaf])
def test_an_interrupt_ends_the_program_and_says_nothing_else(act: Act, code: str) -> None:
    with ScriptedServer(act) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM + SAY + code, server.base_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert errors.count("Traceback") == 1
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert process.returncode == -signal.SIGINT


LEFT_OPEN = {
    "idle": "stream = stt.stream()\ntime.sleep(0.2)",
    "at once": "stream = stt.stream()",
    "with audio": "stream = stt.stream()\nstream.push_audio(bytes(320_000 // 10))\ntime.sleep(0.1)",
    "with a reader": (
        "stream = stt.stream()\nthreading.Thread(target=lambda: list(stream), daemon=True).start()\ntime.sleep(0.2)"
    ),
}


@pytest.mark.parametrize("code", LEFT_OPEN.values(), ids=LEFT_OPEN)
@pytest.mark.parametrize("act", [silent, gateway])
def test_a_program_ends_with_its_main_thread_and_says_nothing(act: Act, code: str) -> None:
    with ScriptedServer(act) as server:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", PROGRAM + code, server.base_url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ten_minutes_pass_through_a_push_of_one_piece() -> None:
    with (
        ScriptedServer(partial(gateway, every=600.0)) as server,
        stt(server) as speech,
        speech.stream() as stream,
        beside(lambda: texts(list(stream))) as (reading,),
    ):
        stream.push_audio(bytes(600 * RATE * 2))
        stream.end_input()
        assert reading.result(PATIENCE) == "0.00-600.00"
