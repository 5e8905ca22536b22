"""The blocking adapter among threads: what they do at once, what they leave undone, and what breaks beneath them.

Nothing here needs a network: ``Memory`` is a connector whose gateway is in the same process.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import pytest

from lkstt_proto import (
    AudioReceived,
    CloseRequested,
    Diagnostic,
    Finalized,
    FinalizeRequested,
    Gateway,
    Limits,
    LocalProtocolError,
    OutageExceeded,
    Reconnecting,
    Request,
    RetryPolicy,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
)
from lkstt_transports import socket_connector, stream, sync
from lkstt_transports.common import Closed, Pong, Text
from lkstt_transports.socket_connector import Opened
from lkstt_transports.sync import STT, SpeechStream

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 10.0
RATE = 16000
SECOND = bytes(2 * RATE)
QUICK = RetryPolicy(first_delay=0.001, max_delay=0.001)


class Memory:
    """A connector: each link is a ``Socket`` with a gateway of its own, or what ``kind`` makes of it."""

    def __init__(self, kind: Callable[[], Any] | None = None) -> None:
        self.links: list[Any] = []
        self._kind = kind or Link

    @contextmanager
    def open(self, request: Request, max_message: int) -> Iterator[Any]:
        link = self._kind()
        self.links.append(link)
        yield link

    def aclose(self) -> None: ...

    def stt(self, **settings: Any) -> STT:
        settings.setdefault("retry", QUICK)
        return STT(api_key="key", api_secret="a-secret-of-at-least-thirty-two-bytes", connector=self, **settings)


class Link:
    """A WebSocket without a network: the gateway answers every finalize with a word."""

    sending = False
    words = 0
    """To say for every message of audio."""

    def __init__(self) -> None:
        self.gateway, self.facts, self.calls = Gateway(), deque[Any]([Opened()]), SimpleQueue[None]()
        self.audio, self.extra, self.waits = bytearray(), dict[str, Any](), 0
        self.gateway.transport_opened(0.0)

    def send_text(self, data: bytes) -> None:
        self.gateway.receive_text(data, 0.0)
        for event in self.gateway.take_events():
            if isinstance(event, SessionRequested):
                self.gateway.accept(0.0, session_id="in memory")
                self.extra |= event.settings.get("extra", {})
            elif isinstance(event, AudioReceived):
                self.audio += event.pcm
                for _ in range(self.words):
                    self.say()
            elif isinstance(event, SettingsChanged):
                self.extra |= event.settings["extra"]
            elif isinstance(event, FinalizeRequested):
                self.say()
                self.gateway.finalized(0.0)
            elif isinstance(event, CloseRequested):
                self.gateway.close(0.0)
        self.tell(*(Text(action.decode()) for action in self.gateway.take_actions(0.0) if isinstance(action, bytes)))

    def say(self) -> None:
        self.gateway.transcript(SpeechData("en", "hello", 0.0, self.gateway.audio_seconds), 0.0, final=True)

    def ping(self) -> None:
        self.tell(Pong())

    def close(self, code: int) -> None:
        self.tell(Closed(code))

    def receive(self) -> Any:
        return self.facts.popleft() if self.facts else None

    def wait(self, seconds: float | None, *, receiving: bool) -> None:
        self.waits += 1
        with suppress(Empty):
            self.calls.get(timeout=seconds)

    def wake(self) -> None:
        self.calls.put(None)

    def tell(self, *facts: Any) -> None:
        self.facts.extend(facts)
        self.wake()


class Full(Link):
    """Takes one message and never comes to the end of it."""

    def send_text(self, data: bytes) -> None:
        self.sending = True


class Filling(Link):
    """Takes ten messages, and never comes to the end of the eleventh."""

    room = 10

    def send_text(self, data: bytes) -> None:
        super().send_text(data)
        self.room -= 1
        self.sending = self.room < 0


def living() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "lkstt-stream"}


def eventually(happened: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _threads_end_and_say_nothing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    cried: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", cried.append)
    yield
    eventually(lambda: not living())
    assert cried == []


@contextmanager
def beside(*works: Callable[[], Any]) -> Iterator[list[Future[Any]]]:
    """Run each in a thread of its own, and wait for them all."""
    pool = ThreadPoolExecutor(len(works))
    try:
        yield [pool.submit(work) for work in works]
    except BaseException:
        pool.shutdown(wait=False)  # what failed may be just that they end
        raise
    pool.shutdown()


def final(stream: SpeechStream) -> str:
    stream.finalize()
    return next(event.alternatives[0].text for event in stream if event.type is SpeechEventType.FINAL_TRANSCRIPT)


# Together.


def test_everything_at_once_loses_nothing() -> None:
    memory = Memory()

    def push() -> None:
        for _ in range(100):
            stream.push_audio(SECOND[:320])

    def ask() -> None:
        for _ in range(200):
            assert stream.stats.audio_pushed <= 4.0

    def wish(key: str) -> None:
        for index in range(50):
            stream.finalize()
            stream.flush()
            stream.update_options(extra={key: index})

    def work() -> None:
        with beside(push, push, push, push, ask, ask, partial(wish, "one"), partial(wish, "two")) as working:
            for future in working:
                future.result(PATIENCE)
        stream.end_input()

    def read() -> list[Any]:
        return list(stream.events())

    with memory.stt() as stt, stt.stream() as stream, beside(read, read, work) as futures:
        first, second, _ = (future.result(PATIENCE) for future in futures)
    (link,) = memory.links
    assert len(link.audio) == 4 * len(SECOND)
    assert (link.extra["one"], link.extra["two"]) == (49, 49)
    assert [type(event) for event in first + second].count(StreamEnded) == 1
    assert stream.stats.audio_sent == 4.0


def test_closing_ends_what_blocks_in_other_threads() -> None:
    memory = Memory(Full)
    with memory.stt(limits=Limits(audio_buffer=0.1, close=0.01)) as stt:
        stream = stt.stream()
        pushing: Callable[[], None] = lambda: stream.push_audio(SECOND)  # noqa: E731
        with beside(pushing, pushing, lambda: list(stream.events()), lambda: list(stream)) as futures:
            eventually(lambda: stream.stats.audio_pushed >= 0.1)  # or 0.2, where the link opened later
            stream.aclose()
            for future in futures[:2]:
                with pytest.raises(LocalProtocolError):
                    future.result(PATIENCE)
            for future in futures[2:]:
                future.result(PATIENCE)


def test_a_stream_may_be_made_while_its_stt_is_closed() -> None:
    def make(stt: STT) -> None:
        with suppress(LocalProtocolError):
            while True:
                stt.stream()

    memory = Memory()
    for stt in [memory.stt() for _ in range(50)]:
        with beside(partial(make, stt), stt.aclose) as futures:
            for future in futures:
                future.result(PATIENCE)
        assert all(stream._connection.finished for stream in stt._registered())
        with pytest.raises(LocalProtocolError):
            stt.stream()


def test_a_push_that_is_written_at_once_waits_for_nobody() -> None:
    class Asleep(Link):
        def wait(self, seconds: float | None, *, receiving: bool) -> None:
            asleep.set()
            awake.wait()

    asleep, awake = Event(), Event()
    memory = Memory(Asleep)
    with memory.stt(limits=Limits(audio_buffer=0.1)) as stt, stt.stream() as stream:
        asleep.wait(PATIENCE)
        stream.push_audio(5 * SECOND)
        stream.flush()
        assert len(memory.links[0].audio) == 5 * len(SECOND)
        awake.set()


# Reading.


def test_iterators_may_be_mixed_and_abandoned() -> None:
    heard: list[Any] = []
    with Memory().stt() as stt, stt.stream() as stream:
        for _ in range(3):
            stream.push_audio(SECOND)
            stream.finalize()
            for event in stream.events():
                heard.append(event)
                if isinstance(event, Finalized):
                    break
            stream.finalize()
            heard.append(next(stream))
        iterator = stream.events()
        stream.end_input()
        heard += [next(stream), *iterator, *stream, *iterator]
    words = [event for event in heard if isinstance(event, SpeechEvent) and event.alternatives]
    assert len(words) == stream.stats.finals == 7
    assert sum(isinstance(event, StreamEnded) for event in heard) == 1


def test_a_push_that_nobody_makes_room_for_says_so_and_can_go_on_later() -> None:
    class Talking(Link):
        words = 8

    memory = Memory(Talking)
    with memory.stt(limits=Limits(unread_events=16, audio_buffer=0.1)) as stt, stt.stream() as stream:
        with pytest.raises(LocalProtocolError, match="iterate over the stream") as caught:
            stream.push_audio(60 * SECOND)
        assert "no room for more audio" in str(caught.value)
        pushed = int(stream.stats.audio_pushed * 2 * RATE)
        assert 0 < pushed < 60 * len(SECOND)
        with beside(lambda: sum(event.type is SpeechEventType.FINAL_TRANSCRIPT for event in stream)) as (reading,):
            eventually(lambda: stream.stats.finals > 0)
            stream.push_audio((60 * SECOND)[pushed:])
            stream.end_input()
            assert reading.result(PATIENCE) >= 8
    assert len(memory.links[0].audio) == 60 * len(SECOND)
    assert stream.stats.audio_dropped == 0.0


# Fairness.


class Flood(Link):
    """Always has one more to give, and answers no close."""

    heard = 0

    def receive(self) -> Any:
        self.heard += 1
        return Pong() if (received := super().receive()) is None else received

    def close(self, code: int) -> None: ...


def test_a_flood_of_messages_starves_nobody() -> None:
    def push() -> None:
        for _ in range(50):
            stream.push_audio(SECOND[:640])

    memory = Memory(Flood)
    with memory.stt(limits=Limits(close=0.01)) as stt, stt.stream() as stream:
        eventually(lambda: stream.stats.connect_latency is not None)
        (link,) = memory.links
        before = link.heard
        with beside(push, push, push, push) as futures:
            for future in futures:
                future.result(PATIENCE)
        assert link.heard - before < 200 * 1000
        stream.aclose()  # whose time is up although there is always more to hear


def test_many_questions_do_not_starve_the_thread() -> None:
    def ask() -> None:
        while not done.is_set():
            assert stream.stats.failures == 0

    done = Event()
    with Memory().stt() as stt, stt.stream() as stream, beside(ask, ask):
        try:
            for _ in range(20):
                stream.push_audio(SECOND[:640])
                assert final(stream) == "hello"
        finally:
            done.set()


def test_nobody_reads_and_the_thread_sleeps() -> None:
    """Also while it dials again: turns are counted, not time."""

    class Talking(Link):
        words = 8

    memory = Memory(Talking)
    with memory.stt(limits=Limits(unread_events=16, close=0.01)) as stt, stt.stream() as stream:
        for _ in range(50):
            stream.push_audio(SECOND[:640])
        eventually(lambda: stream.stats.finals >= 2 and memory.links[0].waits)
        time.sleep(0.01)
        before = memory.links[0].waits
        time.sleep(0.05)
        assert memory.links[0].waits - before < 5


def test_a_stream_that_nobody_reads_hears_the_answer_to_its_farewell() -> None:
    class Silent(Link):
        """Wakes nobody who does not want to receive."""

        words = 1
        listened_to = True

        def wait(self, seconds: float | None, *, receiving: bool) -> None:
            self.listened_to = receiving
            super().wait(seconds, receiving=receiving)

        def tell(self, *facts: Any) -> None:
            self.facts.extend(facts)
            if self.listened_to:
                self.wake()

    memory = Memory(Silent)
    stream = memory.stt(limits=Limits(unread_events=16, drain=1800.0, close=3600.0)).stream()
    for _ in range(5):
        stream.push_audio(SECOND[:1600])  # which makes three events, or four
    eventually(lambda: memory.links and not memory.links[0].listened_to)
    (link,) = memory.links
    waits = link.waits
    stream.end_input()  # which sets a timer that goes off before the farewell's
    eventually(lambda: link.waits > waits and not link.listened_to)
    threading.Thread(target=stream.aclose, daemon=True).start()
    eventually(lambda: not living())
    assert not link.facts


# What breaks.


def broken(method: str, trouble: BaseException) -> Callable[[], Link]:
    """Make links of which one method always raises."""

    def fail(*arguments: Any, **settings: Any) -> Any:
        raise trouble

    return type("Broken", (Link,), {method: fail})


@pytest.mark.parametrize("method", ["__init__", "receive", "wait", "send_text", "ping", "close"])
def test_a_connector_that_raises_anywhere_is_a_failure_and_not_a_hang(method: str) -> None:
    limits = Limits(ping_interval=0.01, ping_timeout=0.02, close=0.01, drain=0.1)
    retry = RetryPolicy(first_delay=0.001, max_delay=0.001, outage=0.02)
    memory = Memory(broken(method, ZeroDivisionError("by itself")))
    with memory.stt(limits=limits, retry=retry) as stt, stt.stream() as stream:
        stream.push_audio(SECOND)
        if method == "close":
            stream.end_input()
            list(stream)
        else:
            with pytest.raises(OutageExceeded):
                list(stream)


def test_leaving_a_link_that_raises_is_a_failure_of_that_link() -> None:
    class Stuck(Memory):
        @contextmanager
        def open(self, request: Request, max_message: int) -> Iterator[Any]:
            with super().open(request, max_message) as link:
                yield link
            if len(self.links) == 1:
                raise ZeroDivisionError("while leaving")

    memory = Stuck()
    with memory.stt() as stt, stt.stream() as stream:
        stream.push_audio(SECOND)
        assert final(stream) == "hello"
        memory.links[0].tell(Closed(1001))
        told = next(event for event in stream.events() if isinstance(event, Reconnecting))
        assert repr(told.error.__cause__) == "ZeroDivisionError('while leaving')"
        stream.push_audio(SECOND)
        assert final(stream) == "hello"


@pytest.mark.parametrize("method", ["receive", "__init__", "wait"])
def test_what_is_no_exception_reaches_the_callers_or_is_a_failure(method: str) -> None:
    memory = Memory(broken(method, SystemExit("of a thread")))
    retry = RetryPolicy(first_delay=0.001, max_delay=0.001, outage=0.02)
    with memory.stt(retry=retry, limits=Limits(audio_buffer=0.1)) as stt, stt.stream() as stream:
        with pytest.raises(OutageExceeded if method == "wait" else SystemExit):
            list(stream)
        with pytest.raises(OutageExceeded if method == "wait" else SystemExit):
            stream.push_audio(SECOND)


class Endpointer:
    """Does what the test wants at every frame."""

    def __init__(self, hear: Callable[[], object]) -> None:
        self._hear = hear

    def push(self, pcm: bytes) -> bool:
        self._hear()
        return False


ENDPOINTING = "speechmatics/enhanced"


def test_an_endpointer_that_raises_is_told_and_done_without() -> None:
    heard: list[int] = []

    def hear() -> None:
        heard.append(1)
        if len(heard) % 30 == 0:
            raise ZeroDivisionError("in the endpointer")

    settings: dict[str, Any] = {"model": ENDPOINTING, "endpointer": Endpointer(hear)}
    with Memory().stt(**settings, limits=Limits(audio_buffer=0.2)) as stt, stt.stream() as stream:
        assert stt.recognize(5 * SECOND).alternatives[0].text == "hello"
        stream.push_audio(SECOND)
        stream.end_input()
        told = [event for event in stream.events() if isinstance(event, Diagnostic)]
        assert ("endpointer_failed", "ZeroDivisionError") in [(event.kind, event.detail) for event in told]


def test_an_endpointer_that_blocks_holds_up_its_stream_alone() -> None:
    go_on = Event()
    with Memory().stt(model=ENDPOINTING, endpointer=Endpointer(lambda: go_on.wait(PATIENCE))) as stt:
        stream = stt.stream()
        with beside(lambda: stream.push_audio(SECOND)) as (pushing,):
            try:
                other = stt.stream()
                other.aclose()
                assert isinstance([*other.events()][-1], StreamEnded)
                assert not pushing.done()
            finally:
                go_on.set()
            pushing.result(PATIENCE)
        assert stream.stats.audio_pushed == 1.0
        stream.aclose()


# What is dropped.


@pytest.mark.parametrize("kind", [Link, Flood])
def test_a_stream_that_is_dropped_ends_at_once(kind: type[Link]) -> None:
    stt = Memory(kind).stt()
    gc.collect()
    gc.disable()  # it does not even take the garbage collector
    try:
        stream = stt.stream()
        stream.push_audio(SECOND)
        assert final(stream) == "hello"
        del stream
        eventually(lambda: not living())
    finally:
        gc.enable()


def test_a_stream_that_is_dropped_in_trouble_ends_with_the_garbage() -> None:
    memory = Memory(broken("__init__", ConnectionRefusedError("nobody there")))
    stream = memory.stt(retry=RetryPolicy(first_delay=3600.0, max_delay=3600.0)).stream()
    assert isinstance(next(stream.events()), Reconnecting)
    del stream
    memory = Memory(Full)
    stream = memory.stt().stream()
    stream.push_audio(SECOND)
    eventually(lambda: memory.links and memory.links[0].sending and memory.links[0].waits)
    del stream
    gc.collect()
    eventually(lambda: not living())


def test_a_cell_that_is_run_again_and_again_leaves_one_stream() -> None:
    memory = Memory()
    cell = "stt = memory.stt(); stream = stt.stream(); stream.push_audio(bytes(3200)); events = stream.events()"
    namespace = {"memory": memory}
    for _ in range(5):
        exec(cell, namespace)  # noqa: S102 (as a notebook does)
        eventually(lambda: len(living()) == 1)
    assert final(namespace["stream"]) == "hello"  # type: ignore[arg-type] # out of a notebook
    namespace.clear()


def test_what_is_read_from_keeps_a_stream() -> None:
    def speak() -> Iterator[Any]:
        stream = Memory().stt().stream()
        stream.push_audio(SECOND)
        stream.end_input()
        return stream.events()

    events = speak()
    gc.collect()
    assert isinstance(list(events)[-1], StreamEnded)


# The example of the documentation.


def test_the_documented_connector_works() -> None:
    _, _, example = (socket_connector.Socket.__doc__ or "").partition("::\n")
    needed = (contextmanager, suppress, deque, Empty, SimpleQueue, Opened, Text, Pong, Closed)
    namespace: dict[str, Any] = {name.__name__: name for name in needed}
    exec(textwrap.dedent(example), namespace)  # noqa: S102 (it is ours)
    with STT(api_key="key", api_secret="s" * 32, connector=namespace["EchoConnector"]()) as stt:
        stream = stt.stream()
        assert isinstance(next(stream.events()), Diagnostic)  # a gateway does not repeat what it hears
        stream.aclose()
        assert isinstance(list(stream.events())[-1], StreamEnded)


# Interrupts, and the end of the program.

PROGRAM = """
import faulthandler, random, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
from lkstt_proto import Limits, LocalProtocolError
from tests.test_sync_threads import SECOND, Full, Memory, final, living
faulthandler.dump_traceback_later(20, exit=True)
cried = []
threading.excepthook = cried.append
"""

INTERRUPTED = """
signal.signal(signal.SIGALRM, signal.default_int_handler)
chance = random.Random(int(sys.argv[2]))
stt = Memory().stt(limits=Limits(audio_buffer=0.05, close=0.01))
interrupted = 0

def live():
    with stream:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 6e-3))
        for _ in range(4):
            stream.push_audio(SECOND[:6400])
            final(stream)
        stream.end_input()
        list(stream.events())

for _ in range(400):
    stream = stt.stream()
    try:
        try:
            live()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        interrupted += 1
    stream.aclose()
while living():
    time.sleep(0.001)
assert not cried, cried
assert interrupted > 100, interrupted
"""


def run(code: str, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", PROGRAM + code, str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=90,
    )
    return done.returncode, done.stdout, done.stderr


def test_an_interrupt_at_any_moment_is_nothing_but_an_interrupt() -> None:
    assert run(INTERRUPTED, "7") == (0, "", "")


LOCKED = """
from lkstt_transports.locks import Lock
signal.signal(signal.SIGALRM, signal.default_int_handler)
chance = random.Random(7)

def use(lock):
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-5, 1e-4))
    while True:
        with lock:
            pass
        with lock, lock:
            pass

def is_free(lock):
    free = []
    other = threading.Thread(target=lambda: free.append(lock.acquire(blocking=False)))
    other.start()
    other.join()
    return free[0]

for _ in range(1000):
    lock = Lock()
    try:
        use(lock)
    except KeyboardInterrupt:
        assert is_free(lock)
"""


def test_an_interrupt_leaves_no_lock_locked() -> None:
    assert run(LOCKED) == (0, "", "")


def test_an_interrupt_ends_the_program_by_itself() -> None:
    status, _, errors = run(
        "with Memory(Full).stt(limits=Limits(close=0.01)) as stt, stt.stream() as stream:\n"
        "  threading.Timer(0.2, signal.pthread_kill, [threading.get_ident(), signal.SIGINT]).start()\n"
        "  list(stream)\n"
    )
    assert (status, errors.count("Traceback")) == (-signal.SIGINT, 1)


ENDS = {
    "open": "stream = Memory().stt().stream(); stream.push_audio(SECOND); final(stream)",
    "stuck": "stream = Memory(Full).stt().stream(); stream.push_audio(SECOND)",
    "dropped": "Memory().stt().stream().push_audio(SECOND)",
    "in a pair of threads": (
        "stream = Memory(Full).stt(limits=Limits(audio_buffer=0.1)).stream()\n"
        "for work in (lambda: list(stream), lambda: stream.push_audio(SECOND)):\n"
        "  threading.Thread(target=work, daemon=True).start()\n"
        "time.sleep(0.1)"
    ),
    "in the middle of TLS": (
        "import socket\n"
        "from lkstt_transports.sync import STT\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "url = f'https://127.0.0.1:{listener.getsockname()[1]}/v1'\n"
        "stream = STT(base_url=url, api_key='key', api_secret='s' * 32).stream()\n"
        "peer, _ = listener.accept(); assert peer.recv(1) == b'\\x16'; peer.close(); listener.close()"
    ),
    "while it resolves": (
        "import socket\n"
        "from lkstt_transports.sync import STT\n"
        "asked = threading.Event()\n"
        "def slow(host, *_, flags=0, **__):\n"
        "  if flags: raise socket.gaierror(socket.EAI_NONAME, 'a name')\n"
        "  asked.set(); time.sleep(3600)\n"
        "socket.getaddrinfo = slow\n"
        "stream = STT(base_url='https://gateway.example', api_key='key', api_secret='s' * 32).stream()\n"
        "asked.wait()"
    ),
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_a_program_that_closes_nothing_ends_and_says_nothing(code: str) -> None:
    assert run(code) == (0, "", "")


# Bursts.


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything be a burst, however slow this computer is."""
    for module in (sync, stream):
        monkeypatch.setattr(module, "BURST", 0.05)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", [Link, Filling])
def test_the_thread_sends_what_a_burst_leaves_and_rests(kind: type[Link]) -> None:
    memory = Memory(kind)
    with memory.stt(limits=Limits(close=0.01)) as stt, stt.stream() as speech:
        eventually(lambda: speech.stats.sessions)
        for messages in (1, 4, 7):
            for _ in range(messages):
                speech.push_audio(SECOND[:1600])
            eventually(lambda: not speech._hurried)
        (link,) = memory.links
        assert len(link.audio) == (12 if kind is Link else 10) * 1600
        waits = link.waits
        time.sleep(0.2)
        assert link.waits - waits <= 1
        speech.push_audio(SECOND[:1600])
        eventually(lambda: len(link.audio) == 13 * 1600 or link.sending)
