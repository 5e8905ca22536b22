"""Faults on real sockets, written once for all adapters.

A ``World`` is a local gateway with a fault proxy before it, in a thread of its own. A ``Driver`` runs one stream of one
adapter through it, by a ``Job``, and gives an ``Outcome``. Scenarios put both together and judge what came out.
"""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc
import wave
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any, Protocol, Self

import anyio
from anyio.lowlevel import checkpoint
from attrs import define, field, frozen
from marked import (
    RATE,
    SPOKEN_SECONDS,
    UTTERANCE_SECONDS,
    WORDS,
    Ending,
    MarkedRecognizer,
    Span,
    begin_of,
    marked,
    merged,
    numbers_in,
    total,
    words_across,
    words_within,
)
from proxy import Act, At, Conduct, Fault, Proxy, Way, Wire
from scripted_server import TEXT, ScriptedServer, Visit, gateway

from lkstt_proto import (
    AudioDropped,
    Event,
    FinalizeTimeout,
    Limits,
    Reconnecting,
    Resumed,
    RetryPolicy,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    Stats,
    StreamEnded,
    StreamFailed,
    SttError,
)
from lkstt_transports.gateway import LocalGateway
from lkstt_transports.gateway.recognizers import (
    PocketsphinxEngine,
    PocketsphinxRecognizer,
    Recognizer,
    transcribe_directly,
)

QUICK = RetryPolicy(first_delay=0.01, max_delay=0.05)
BRIEF = Limits(replay_pace=20.0, quiet=0.5, drain=5.0, close=0.2)
"""For finishes that a test can wait for."""


class World:
    """A gateway and its proxy, as a context manager."""

    def __init__(self, recognizer: Recognizer, *conducts: Conduct) -> None:
        self.recognizer = recognizer
        self._conducts = conducts
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="world")
        self.gateway: LocalGateway
        self.proxy: Proxy

    @property
    def address(self) -> dict[str, str]:
        """What an ``STT`` needs to come here."""
        return {
            "base_url": f"http://127.0.0.1:{self.proxy.port}/v1",
            "api_key": self.gateway.api_key,
            "api_secret": self.gateway.api_secret,
        }

    def mend(self) -> None:
        """Let everything move again that stalls."""
        for link in self.proxy.links:
            self._loop.call_soon_threadsafe(link.mend)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)

    async def _open(self) -> None:
        self.gateway = LocalGateway(recognizer=self.recognizer)
        await self.gateway.start()
        port = int(self.gateway.base_url.rpartition(":")[2].partition("/")[0])
        self.proxy = await Proxy(port, *self._conducts).__aenter__()

    async def _close(self) -> None:
        await self.proxy.__aexit__()
        await self.gateway.aclose()


@frozen(kw_only=True)
class Job:
    """What one stream is to do."""

    seconds: float
    """Of audio."""
    audio: Callable[[int, int], bytes] = marked
    """Gives the samples between two positions."""
    speed: float = inf
    """Seconds of audio pushed in a second."""
    piece: float = 0.02
    """Seconds of audio in one push."""
    at_once: bool = False
    """Push without waiting for room."""
    read: Callable[[Stats], bool] | None = None
    """Do not read before this holds."""
    retry: RetryPolicy = QUICK
    limits: Limits = BRIEF
    patience: float = 300.0
    """Seconds after which the test has failed."""

    def pieces(self) -> list[tuple[float, Span]]:
        """When to push what, counted from the beginning."""
        size, samples = round(self.piece * RATE), round(self.seconds * RATE)
        return [(start / RATE / self.speed, (start, min(samples, start + size))) for start in range(0, samples, size)]


@define(eq=False)
class Outcome:
    """What came of it."""

    events: list[tuple[float, Event]] = field(factory=list)
    """With the time at which the application got them."""
    error: SttError | None = None
    stats: Stats | None = None
    input_ended: float = 0.0
    """When; 0 when it never did."""

    def of(self, *kinds: type[Any]) -> list[Any]:
        """Events of these kinds."""
        return [event for _, event in self.events if isinstance(event, kinds)]

    @property
    def finals(self) -> list[SpeechData]:
        """All that were said."""
        return [
            event.alternatives[0]
            for event in self.of(SpeechEvent)
            if event.type is SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text
        ]

    @property
    def words(self) -> list[int]:
        """All words of marked audio, in the order in which they were delivered."""
        return [number for data in self.finals for number in numbers_in(data.text)]

    @property
    def took(self) -> float:
        """Seconds from the end of input to the last event."""
        return self.events[-1][0] - self.input_ended


class Driver(Protocol):
    """Runs streams of one adapter."""

    name: str

    def run(self, address: dict[str, str], job: Job) -> Outcome:
        """Push all audio while reading all events, end the input, and wait for the end."""


class AsyncDriver:
    """Drives an adapter with ``async`` in its names, on whatever event loop."""

    def __init__(self, name: str, adapter: str, backend: str, **options: Any) -> None:
        self.name = name
        self._adapter = adapter
        self._backend = backend
        self._options = options

    def run(self, address: dict[str, str], job: Job) -> Outcome:
        """See ``Driver``."""
        outcome = Outcome()
        anyio.run(self._run, address, job, outcome, backend=self._backend, backend_options=self._options)
        return outcome

    async def _run(self, address: dict[str, str], job: Job, outcome: Outcome) -> None:
        adapter = import_module(f"lkstt_transports.{self._adapter}")
        with anyio.fail_after(job.patience):
            async with (
                adapter.STT(**address, retry=job.retry, limits=job.limits) as stt,
                stt.stream() as stream,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._push, stream, job, outcome)
                while job.read is not None and not job.read(stream.stats):  # noqa: ASYNC110 (it is asked, not told)
                    await anyio.sleep(0.01)
                try:
                    async for event in stream.events():
                        outcome.events.append((time.monotonic(), event))
                except SttError as error:
                    outcome.error = error
                outcome.stats = stream.stats
                tasks.cancel_scope.cancel()

    async def _push(self, stream: Any, job: Job, outcome: Outcome) -> None:
        began = time.monotonic()
        try:
            for due, span in job.pieces():
                if job.speed != inf:
                    await anyio.sleep(max(0.0, began + due - time.monotonic()))
                if job.at_once:
                    stream.push_audio_nowait(job.audio(*span))
                    await checkpoint()
                else:
                    await stream.push_audio(job.audio(*span))
            outcome.input_ended = time.monotonic()
            stream.end_input()
        except SttError:
            return  # the one who reads is told


class SyncDriver:
    """Drives the adapter that blocks: one thread pushes, and this one reads."""

    name = "sync"

    def run(self, address: dict[str, str], job: Job) -> Outcome:
        """See ``Driver``."""
        outcome = Outcome()
        adapter = import_module("lkstt_transports.sync")
        with adapter.STT(**address, retry=job.retry, limits=job.limits) as stt, stt.stream() as stream:
            pushing = threading.Thread(target=self._push, args=(stream, job, outcome))
            pushing.start()
            impatience = threading.Timer(job.patience, stream.aclose)
            impatience.start()
            while job.read is not None and not job.read(stream.stats):
                time.sleep(0.01)
            try:
                for event in stream.events():
                    outcome.events.append((time.monotonic(), event))
            except SttError as error:
                outcome.error = error
            outcome.stats = stream.stats
            assert not impatience.finished.is_set(), "it takes too long"
            impatience.cancel()
        pushing.join()
        return outcome

    def _push(self, stream: Any, job: Job, outcome: Outcome) -> None:
        began = time.monotonic()
        try:
            for due, span in job.pieces():
                if job.speed != inf:
                    time.sleep(max(0.0, began + due - time.monotonic()))
                if job.at_once:
                    stream.push_audio_nowait(job.audio(*span))
                else:
                    stream.push_audio(job.audio(*span))
            outcome.input_ended = time.monotonic()
            stream.end_input()
        except SttError:
            return  # the one who reads is told


ADAPTERS: list[Driver] = [
    AsyncDriver("asyncio", "asyncio", "asyncio"),
    AsyncDriver("uvloop", "asyncio", "asyncio", use_uvloop=True),
    AsyncDriver("trio", "trio", "trio"),
    AsyncDriver("anyio-asyncio", "anyio", "asyncio"),
    AsyncDriver("anyio-trio", "anyio", "trio"),
    SyncDriver(),
]


def everywhere(scenario: Callable[..., None], *arguments: Any, at_once: int = len(ADAPTERS)) -> None:
    """Put every adapter through a scenario, all at once: most of it is waiting, each in a world of its own."""
    with ThreadPoolExecutor(at_once) as pool:
        runs = {driver.name: pool.submit(scenario, driver, *arguments) for driver in ADAPTERS}
    failures = []
    for name, future in runs.items():
        if (failure := future.exception()) is not None:
            failure.add_note(f"by {name}")
            failures.append(failure)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(ADAPTERS)} adapters", failures)


@define(eq=False)
class Run:
    """One job that was run in a world with marked audio."""

    world: World
    recognizer: MarkedRecognizer
    job: Job
    outcome: Outcome

    @property
    def samples(self) -> int:
        """How many were pushed."""
        return round(self.job.seconds * RATE)

    @property
    def dropped(self) -> list[Span]:
        """What the application was told to be lost."""
        return merged((round(event.start * RATE), round(event.end * RATE)) for event in self.outcome.of(AudioDropped))

    @property
    def lost(self) -> list[Span]:
        """What was lost."""
        return self.recognizer.lost(self.samples, {data.text for data in self.outcome.finals})

    @property
    def start_errors(self) -> list[float]:
        """How far the start of each final is off, in seconds."""
        return [data.start_time - begin_of(numbers_in(data.text)[0]) / RATE for data in self.outcome.finals]


def run(driver: Driver, job: Job, *conducts: Conduct, endings: tuple[Ending, ...] = ()) -> Run:
    """Run a job with marked audio."""
    recognizer = MarkedRecognizer(*endings)
    with World(recognizer, *conducts) as world:
        outcome = driver.run(world.address, job)
    return Run(world, recognizer, job, outcome)


# What is true of every run.


def judge(run: Run, *, dropped: bool = False) -> None:
    """See that every word came once, in its place, and that the account is right; ``dropped``: what was told aside."""
    outcome = run.outcome
    missing = {number for start, end in run.dropped for number in words_across(start, end)}
    assert outcome.words == [number for number in words_within(run.samples) if number not in missing]
    assert bool(run.dropped) is dropped
    assert run.lost == run.dropped
    assert max(map(abs, run.start_errors), default=0.0) < 0.001
    usage = [event.recognition_usage for event in outcome.of(SpeechEvent) if event.recognition_usage]
    handed = round(sum(item.audio_duration for item in usage) * RATE)
    assert outcome.stats is not None
    assert handed == round(outcome.stats.audio_sent * RATE)
    assert handed == run.samples or dropped
    assert round(sum(item.resent_duration for item in usage) * RATE) == round(outcome.stats.audio_resent * RATE)
    judge_turns(outcome)


def judge_turns(outcome: Outcome) -> None:
    """See that turns alternate, and that one event ends the stream."""
    edges = (SpeechEventType.START_OF_SPEECH, SpeechEventType.END_OF_SPEECH)
    turns = [event.type for event in outcome.of(SpeechEvent) if event.type in edges]
    assert turns == [edges[index % 2] for index in range(len(turns))]
    assert len(turns) % 2 == 0
    last = outcome.events[-1][1]
    assert outcome.of(StreamEnded, StreamFailed) == [last]
    assert outcome.error is (last.error if isinstance(last, StreamFailed) else None)


def recovered(run: Run, failures: int) -> None:
    """See that it came through so many failures."""
    assert isinstance(run.outcome.events[-1][1], StreamEnded)
    assert run.outcome.stats is not None
    assert run.outcome.stats.failures == failures
    assert [event.attempt for event in run.outcome.of(Resumed)] != []


# Scenarios. Messages are counted with ``session.create``; each of the others is 50 ms of audio.

SENTENCE = SPOKEN_SECONDS
"""An utterance that ends with the audio: its final is what the finalize brings."""
TWO_SENTENCES = UTTERANCE_SECONDS + SPOKEN_SECONDS


def cut_in_mid_speech(driver: Driver, act: Act, speed: float) -> None:
    """Cut once, before the first final at real time and within the second utterance otherwise."""
    seconds, messages = (SENTENCE, 25) if speed == 1.0 else (TWO_SENTENCES, 80)
    result = run(driver, Job(seconds=seconds, speed=speed), Conduct((Fault(act, At(messages=messages)),)))
    judge(result)
    recovered(result, 1)


def cut_at_any_byte(driver: Driver) -> None:
    """Cut in the request, in the answer, in a message up and in a message down, before the wire is whole."""
    places = (
        At(bytes=100),
        At(Way.DOWN, bytes=50),
        At(messages=1, bytes=3),
        At(Way.DOWN, messages=1, bytes=1),
        At(messages=10, bytes=1000),
        At(Way.DOWN, messages=3, bytes=60),
    )
    conducts = [Conduct((Fault(act, at),)) for at in places for act in (Act.RESET, Act.FIN)]
    result = run(driver, Job(seconds=TWO_SENTENCES), *conducts)
    judge(result)
    # Not by failures: aiohttp itself dials once more when the answer breaks off.
    assert [link.broken_at is not None for link in result.world.proxy.links] == [True] * len(conducts) + [False]


def outage(driver: Driver) -> None:
    """Nobody listens for a while that the ring outlasts."""
    fault = Fault(Act.RESET, At(messages=30), lasting=0.5)
    result = run(driver, Job(seconds=2 * UTTERANCE_SECONDS + SPOKEN_SECONDS, speed=8.0), Conduct((fault,)))
    judge(result)
    assert len(result.outcome.of(Reconnecting)) > 1


def outage_beyond_the_ring(driver: Driver) -> None:
    """Nobody listens for longer than the ring is: what is lost is told to the sample."""
    fault = Fault(Act.RESET, At(messages=30), lasting=0.7)
    limits = Limits(audio_buffer=2.0, replay_pace=40.0, quiet=0.5, drain=5.0, close=0.2)
    job = Job(seconds=3 * UTTERANCE_SECONDS + SPOKEN_SECONDS, speed=10.0, at_once=True, limits=limits)
    judge(run(driver, job, Conduct((fault,))), dropped=True)


def refusals(driver: Driver) -> None:
    """HTTP answers of every passing kind, and after them a cut."""
    answers = ("503 Busy", "429 Slow down\r\nRetry-After: 0", "401 Unauthorized", "500 Broken", "408 Late")
    conducts = [Conduct(answer=answer) for answer in answers]
    conducts.insert(2, Conduct((Fault(Act.FIN, At(messages=20)),)))
    result = run(driver, Job(seconds=TWO_SENTENCES), *conducts)
    judge(result)
    recovered(result, 6)


def bad_wire(driver: Driver) -> None:
    """Slow, far away, and in single bytes: nothing is wrong with that."""
    wire = Wire(latency=0.05, bandwidth=150_000, slices=500)
    conduct = Conduct(up=wire, down=Wire(latency=0.05, slices=1))
    # Single bytes take their time where many are under way at once.
    limits = Limits(replay_pace=20.0, quiet=3.0, drain=10.0, close=1.0)
    result = run(driver, Job(seconds=TWO_SENTENCES, limits=limits), conduct)
    judge(result)
    assert result.outcome.stats is not None
    assert result.outcome.stats.failures == 0


LIVELY = Limits(replay_pace=20.0, ping_interval=0.1, ping_timeout=0.6, quiet=1.5, drain=8.0, close=0.1)
"""Liveness that a test can wait for."""


def silent_link(driver: Driver, conduct: Conduct) -> None:
    """The link is there and nothing comes through, or only one way: it is noticed, and nothing is lost."""
    result = run(driver, Job(seconds=TWO_SENTENCES, speed=10.0, limits=LIVELY), conduct)
    judge(result)
    told = result.outcome.of(Reconnecting)
    recovered(result, len(told))  # one, or another where the machine itself stood still for so long
    assert "nothing was heard" in str(told[0].error)


FIRST_UTTERANCE = 1 + 1 + WORDS + 1
"""Messages of the gateway up to its final: ``session.created``, the onset, an interim for each word, the final."""

SILENCES = {
    # Behind the first word of the second utterance: of words not begun, nobody would know that they are missing.
    "half-open": Conduct((Fault(Act.HALF_OPEN, At(Way.DOWN, messages=FIRST_UTTERANCE + 2)),)),
    "muted up": Conduct((Fault(Act.MUTE, At(messages=70)),)),
    "muted down": Conduct((Fault(Act.MUTE, At(Way.DOWN, messages=5)),)),
    "stalled": Conduct((Fault(Act.STALL, At(messages=70)), Fault(Act.STALL, At(Way.DOWN, messages=8)))),
}


def stall_that_passes(driver: Driver) -> None:
    """A stall shorter than the patience of liveness is no failure."""
    faults = (
        Fault(Act.STALL, At(messages=40), lasting=0.3),
        Fault(Act.STALL, At(Way.DOWN, messages=20), lasting=0.3),
    )
    result = run(driver, Job(seconds=TWO_SENTENCES), Conduct(faults))
    judge(result)
    assert result.outcome.stats is not None
    assert result.outcome.stats.failures == 0


MEMORY = 8 * 2**20
"""Bytes above idle that a stream may hold, whatever happens to it."""


class Meter:
    """Measures memory, from the first piece of audio on, as a context manager."""

    def __init__(self, audio: Callable[[int, int], bytes]) -> None:
        self._audio = audio
        self._idle = 0
        self.used = 0
        """Bytes above idle, at the most."""

    def audio(self, start: int, end: int) -> bytes:
        """Give audio, and note what idle is."""
        if not start:
            tracemalloc.reset_peak()
            self._idle = tracemalloc.get_traced_memory()[0]
        return self._audio(start, end)

    def __enter__(self) -> Self:
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.used = tracemalloc.get_traced_memory()[1] - self._idle
        tracemalloc.stop()


def an_hour_that_nobody_reads(driver: Driver) -> None:
    """The gateway stops reading, and the application goes on for an hour: bounded memory, and all loss is told."""

    def pushed(stats: Stats) -> bool:
        if stats.audio_pushed < job.seconds or world.proxy.links[0].broken_at is None:
            return False
        world.mend()
        return True

    recognizer = MarkedRecognizer()
    with World(recognizer, Conduct((Fault(Act.STALL, At(messages=30)),))) as world, Meter(marked) as meter:
        limits = Limits(replay_pace=1000.0, quiet=0.2, close=0.2)
        job = Job(seconds=3600.0, audio=meter.audio, piece=1.0, at_once=True, read=pushed, limits=limits)
        outcome = driver.run(world.address, job)
    result = Run(world, recognizer, job, outcome)
    assert total(result.dropped) > 3400
    assert result.lost == result.dropped
    judge_turns(outcome)
    assert meter.used < 8 * 2**20


def interims_that_nobody_reads(driver: Driver) -> None:
    """Thousands of interims: only the newest one waits."""
    count = 10_000

    def flood(visit: Visit) -> None:
        for number in range(count):
            visit.send(TEXT, b'{"type":"interim_transcript","transcript":"so far it goes to %d"}' % number)

    server = ScriptedServer(partial(gateway, on_audio=flood))
    with server, Meter(lambda start, end: bytes(2 * (end - start))) as meter:
        address = {"base_url": server.base_url, "api_key": "key", "api_secret": "secret" * 6}
        job = Job(seconds=0.05, audio=meter.audio, read=lambda stats: stats.messages_received > count)
        outcome = driver.run(address, job)
    judge_turns(outcome)
    assert len(outcome.events) < 20
    assert meter.used < 4 * 2**20


@frozen
class End:
    """How a stream ends after one behaviour of the gateway."""

    endings: tuple[Ending, ...] = ()
    conducts: tuple[Conduct, ...] = ()
    complete: bool = True
    """Whether it is a success. If not, what the gateway owes is made of its last interim."""
    interim: int = 2 * WORDS
    """Words that the last interim has at the least."""


ENDS = {
    "orderly": End(),
    "silence": End((Ending.SILENCE,), complete=False),
    "only an acknowledgement": End((Ending.ONLY_ACKNOWLEDGED,), complete=False),
    "late second final": End((Ending.LATE_SECOND,)),
    "cut once": End((Ending.CUT, Ending.ORDERLY)),
    "cut each time": End((Ending.CUT,), complete=False, interim=WORDS),
    "1011 once": End((Ending.CLOSE_1011, Ending.ORDERLY)),
    "1011 each time": End((Ending.CLOSE_1011,), complete=False, interim=WORDS),
    "drip of new text": End((Ending.DRIP_TEXT,), complete=False, interim=2 * WORDS + 5),
    "drip of empties": End((Ending.DRIP_EMPTY,)),
    # Behind the interim of the last word, which the last audio brought.
    "dead peer": End(conducts=(Conduct((Fault(Act.HALF_OPEN, At(Way.DOWN, messages=FIRST_UTTERANCE + 1 + WORDS)),)),)),
}


def end_of_input(driver: Driver, end: End) -> None:
    """However the gateway takes the end of input, the stream ends, and says how."""
    # Fast enough that little is unsent at the end, as the seconds unsent are waited for as well.
    drain = 8.0 if end.complete else 2.0
    limits = Limits(replay_pace=20.0, ping_interval=0.1, ping_timeout=0.6, quiet=1.5, drain=drain, close=0.2)
    job = Job(seconds=TWO_SENTENCES, speed=20.0, limits=limits)
    result = run(driver, job, *end.conducts, endings=end.endings)
    outcome = result.outcome
    if end.complete:
        judge(result)
        assert isinstance(outcome.events[-1][1], StreamEnded)
        return
    judge_turns(outcome)
    assert isinstance(outcome.error, FinalizeTimeout)
    assert outcome.words == list(range(len(outcome.words)))
    assert len(outcome.words) >= end.interim
    finals = [event for event in outcome.of(SpeechEvent) if event.type is SpeechEventType.FINAL_TRANSCRIPT]
    assert [event.promoted for event in finals] == [False, True]


SPEECH = Path(__file__).resolve().parents[3] / "shared" / "audio"


def real_speech(driver: Driver) -> None:
    """Two cuts in each recording: the recogniser hears the whole utterance again, and so the same words."""
    recordings = transcribed()
    conducts = []
    for pcm in recordings:
        messages = len(pcm) // 2 // (RATE // 20)
        conducts += [Conduct((Fault(Act.RESET, At(messages=messages // 3)),))] * 2 + [Conduct()]
    with World(PocketsphinxRecognizer(workers=1, limit=4), *conducts) as world:
        for pcm, words in recordings.items():

            def audio(start: int, end: int, pcm: bytes = pcm) -> bytes:
                return pcm[2 * start : 2 * end]

            # Slow enough that both cuts come before the end of input: a second cut behind it may end the stream.
            job = Job(seconds=len(pcm) / 2 / RATE, audio=audio, speed=4.0, limits=Limits(replay_pace=100.0))
            outcome = driver.run(world.address, job)
            assert [data.text for data in outcome.finals] == words
    assert [link.broken_at is not None for link in world.proxy.links] == [True, True, False] * len(recordings)


@cache
def transcribed() -> dict[bytes, list[str]]:
    """Give all recordings, each with what the recogniser hears in it when nothing comes between."""
    engine = PocketsphinxEngine()
    recordings = [read_recording(path) for path in sorted(SPEECH.glob("*.wav"))]
    return {pcm: [final.text for final in transcribe_directly(pcm, engine=engine) if final.text] for pcm in recordings}


def read_recording(path: Path) -> bytes:
    """Read the samples of a WAV file that has the rate."""
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE
        pcm: bytes = file.readframes(file.getnframes())
        return pcm
