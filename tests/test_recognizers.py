"""Recognisers: results that cover the audio, worker processes, and the embedded recogniser on real and made speech."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from lkstt_transports.demo import demo_clip
from lkstt_transports.gateway.recognizers import (
    Final,
    Finalized,
    Hypothesis,
    Partial,
    PocketsphinxEngine,
    PocketsphinxRecognizer,
    RecognizerBusy,
    RecognizerFailed,
    RecognizerMissing,
    RecognizerRefused,
    Result,
    StartOfSpeech,
    Transcriber,
    Word,
    WorkerPool,
    WorkerSession,
    transcribe_directly,
)
from lkstt_transports.gateway.recognizers.wire import HEADER, Kind, pack, pack_results, read_result, unpack

SPEECH = Path(__file__).resolve().parent.parent.parent / "shared" / "audio"
SILENT = b"\0\0" * 480
LOUD = b"\1\0" * 480
POISON = b"\xff\x7f" * 480


class LoudEngine:
    """Takes all but zeros for speech; an utterance ends after 0.3 s of zeros; its only word is its length."""

    sample_rate = 16_000

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.start()

    def start(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.heard = self.loud = self.quiet = self.first = 0
        self.speaking = False

    def accept(self, pcm: bytes) -> None:
        if pcm == POISON:
            raise ValueError("secret words")
        self.sizes.append(len(pcm))
        if pcm.strip(b"\0"):
            if not self.loud:
                self.first = self.heard
            self.loud, self.quiet = self.loud + 1, 0
        else:
            self.quiet += 1
        self.heard += len(pcm) // 2
        self.speaking = self.loud >= 3

    def partial(self) -> Hypothesis:
        return self.final()

    def endpoint(self) -> bool:
        return self.quiet >= 10

    def final(self) -> Hypothesis:
        if not self.loud:
            return Hypothesis("")
        text = f"w{self.loud}"
        return Hypothesis(text, (Word(text, self.first / 16_000, self.heard / 16_000 + 0.01),))


class BrokenEngine(LoudEngine):
    """Does not load."""

    def __init__(self) -> None:
        raise ImportError("no such model")


class ExitingEngine(LoudEngine):
    """Ends its process while it loads."""

    def __init__(self) -> None:
        sys.exit(3)


def loud_pool(*, workers: int | None = 1, limit: int | None = 2) -> WorkerPool:
    return WorkerPool(f"{__name__}:LoudEngine", workers=workers, limit=limit)


def chunks(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def heard(transcriber: Transcriber, pieces: list[bytes]) -> list[Result]:
    results: list[Result] = []
    for piece in pieces:
        results += transcriber.accept(piece)
    return results + transcriber.finalize()


def finals(results: list[Result]) -> list[Final]:
    return [result for result in results if isinstance(result, Final)]


async def until_finalized(session: WorkerSession) -> list[Result]:
    results: list[Result] = []
    async for result in session:
        results.append(result)
        if isinstance(result, Finalized):
            break
    return results


def pid_of(session: WorkerSession) -> int:
    return session._worker.process.pid


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Results from an engine


def test_an_utterance_gives_its_start_partials_and_a_final_that_covers_the_silence_around_it() -> None:
    results = heard(Transcriber(LoudEngine(), 16_000), [SILENT * 10 + LOUD * 12 + SILENT * 12])
    assert results == [
        StartOfSpeech(0.39),
        Partial("w10", 0.3, 0.6, (Word("w10", 0.3, 0.6),)),
        Partial("w12", 0.3, 0.84, (Word("w12", 0.3, 0.84),)),
        Final("w12", 0.3, 0.96, (Word("w12", 0.3, 0.96),)),
        Final("", 0.96, 1.02),
        Finalized(1.02),
    ]


def test_a_partial_is_told_again_only_when_its_text_changes() -> None:
    class Steady(LoudEngine):
        def partial(self) -> Hypothesis:
            return Hypothesis("same")

    results = heard(Transcriber(Steady(), 16_000), [LOUD * 40])
    assert [result for result in results if isinstance(result, Partial)] == [Partial("same", 0.0, 0.3)]


def test_chunks_do_not_change_the_results_nor_what_the_engine_hears() -> None:
    dice = random.Random(5)
    pcm = b"".join(dice.choice((SILENT, LOUD)) * dice.randrange(1, 30) for _ in range(20)) + b"\1\0" * 77
    whole = LoudEngine()
    expected = heard(Transcriber(whole, 16_000), [pcm])
    for size in (1, 37, 640, 961, 1600, 32_000):
        engine = LoudEngine()
        assert heard(Transcriber(engine, 16_000), chunks(pcm, size)) == expected
        assert engine.sizes == whole.sizes
    assert set(whole.sizes[:-1]) == {960}


def test_finals_leave_no_audio_uncovered() -> None:
    dice = random.Random(7)
    pcm = b"".join(dice.choice((SILENT, LOUD)) * dice.randrange(1, 30) for _ in range(40)) + b"\0\0" * 123
    results = heard(Transcriber(LoudEngine(), 16_000), [pcm])
    covered = 0.0
    for result in results:
        if isinstance(result, StartOfSpeech):
            assert covered < result.at
        elif isinstance(result, Partial):
            assert covered <= result.start < result.end
        elif isinstance(result, Final):
            assert covered <= result.start < result.end
            assert all(covered <= word.start <= word.end <= result.end for word in result.words)
            covered = result.end
    assert covered == len(pcm) / 32_000
    assert results[-1] == Finalized(covered)


def test_finalizing_ends_the_utterance_and_the_session_goes_on() -> None:
    transcriber = Transcriber(LoudEngine(), 16_000)
    first = heard(transcriber, [LOUD * 5 + b"\1\0" * 7])
    second = heard(transcriber, [LOUD * 5])
    assert finals(first) == [Final("w6", 0.0, 2407 / 16_000, (Word("w6", 0.0, 2407 / 16_000),))]
    assert finals(second) == [Final("w5", 2407 / 16_000, 4807 / 16_000, (Word("w5", 2407 / 16_000, 4807 / 16_000),))]


def test_finalizing_again_without_new_audio_gives_no_final() -> None:
    transcriber = Transcriber(LoudEngine(), 16_000)
    assert transcriber.finalize() == [Finalized(0.0)]
    assert heard(transcriber, [LOUD])[-1] == Finalized(0.03)
    assert transcriber.finalize() == [Finalized(0.03)]


def test_finalizing_silence_gives_one_empty_final_over_all_of_it() -> None:
    results = heard(Transcriber(LoudEngine(), 16_000), [SILENT * 50 + b"\0\0" * 5])
    assert results == [Final("", 0.0, 24_005 / 16_000), Finalized(24_005 / 16_000)]


def test_a_word_too_short_to_start_speech_is_heard_at_the_end() -> None:
    results = heard(Transcriber(LoudEngine(), 16_000), [SILENT + LOUD])
    assert [type(result) for result in results] == [StartOfSpeech, Final, Finalized]
    assert finals(results)[0].text == "w1"


def test_an_odd_byte_waits_for_its_other_half_over_a_finalize() -> None:
    transcriber = Transcriber(LoudEngine(), 16_000)
    assert heard(transcriber, [SILENT + b"\1"])[-1] == Finalized(0.03)
    assert heard(transcriber, [b"\0" + LOUD])[-1] == Finalized(961 / 16_000)


# Other sample rates


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_other_rates_are_converted_and_times_stay_those_of_the_session(rate: int) -> None:
    pytest.importorskip("soxr")
    tone = b"".join(value.to_bytes(2, "little", signed=True) for value in [9000, -9000]) * (rate // 2)
    pcm = tone + b"\0\0" * rate + tone + b"\0\0" * 7
    expected = heard(Transcriber(LoudEngine(), rate), [pcm])
    assert expected[-1] == Finalized(len(pcm) / 2 / rate)
    assert finals(expected)[-1].end == len(pcm) / 2 / rate
    engine = LoudEngine()
    assert heard(Transcriber(engine, rate), chunks(pcm, 333)) == expected
    assert abs(sum(engine.sizes) / 32_000 - len(pcm) / 2 / rate) < 0.001


def test_a_resampled_session_goes_on_after_a_finalize() -> None:
    pytest.importorskip("soxr")
    transcriber = Transcriber(LoudEngine(), 48_000)
    assert heard(transcriber, [b"\0\0" * 4801])[-1] == Finalized(4801 / 48_000)
    assert heard(transcriber, [b"\0\0" * 4800])[-1] == Finalized(9601 / 48_000)


def test_without_a_resampler_other_rates_are_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lkstt_transports.gateway.recognizers.resample.find_spec", lambda name: None)
    with pytest.raises(RecognizerMissing, match=r"pip install 'lkstt\[audio\]'"):
        Transcriber(LoudEngine(), 48_000)


@pytest.mark.parametrize("rate", [-1, 0, 7_999, 96_001])
def test_rates_beyond_speech_are_refused(rate: int) -> None:
    with pytest.raises(RecognizerRefused):
        Transcriber(LoudEngine(), rate)


# Between processes


@pytest.mark.parametrize(
    "result",
    [
        StartOfSpeech(0.5),
        Partial("ä b", 0.1, 0.2, (Word("ä", 0.1, 0.15), Word("b", 0.15, 0.2))),
        Final("", 0.0, 1 / 3),
        Finalized(1e-9),
    ],
)
def test_results_survive_the_way_between_processes(result: Result) -> None:
    (message,) = pack_results([result])
    kind, length = unpack(message[: HEADER.size])
    assert kind is Kind.RESULT
    assert len(message) == HEADER.size + length
    assert read_result(message[HEADER.size :]) == result


def test_a_message_of_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a valid Kind"):
        unpack(HEADER.pack(b"\xff", 0))


def test_a_worker_leaves_ctrl_c_to_its_parent_and_ends_with_its_input() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "lkstt_transports.gateway.recognizers.worker", f"{__name__}:LoudEngine"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = pack(Kind.READY, b"16000")
        assert process.stdout.read(len(ready)) == ready
        process.send_signal(signal.SIGINT)
        process.stdin.write(pack(Kind.AUDIO, LOUD) + pack(Kind.OPEN, b"16000") + pack(Kind.CLOSE))
        process.stdin.close()
        assert process.stdout.read() == pack(Kind.RELEASED)
        assert process.wait() == 0


def test_a_session_in_a_worker_says_what_the_engine_says_here() -> None:
    pcm = SILENT * 10 + LOUD * 40 + SILENT * 12 + LOUD * 4

    async def main() -> list[list[Result]]:
        taken = []
        async with loud_pool() as pool:
            for size in (641, 200_000):
                async with await pool.open(sample_rate=16_000, language="en") as session:
                    for chunk in chunks(pcm, size):
                        await session.accept(chunk)
                    await session.finalize()
                    taken.append(await until_finalized(session))
        return taken

    expected = heard(Transcriber(LoudEngine(), 16_000), [pcm])
    for results in asyncio.run(main()):
        # Partials that nobody read in time give way to newer ones.
        assert [result for result in results if result not in expected] == []
        assert finals(results) == finals(expected)


def test_a_slow_reader_keeps_only_the_newest_partial() -> None:
    async def main() -> list[Result]:
        async with loud_pool() as pool, await pool.open(sample_rate=16_000, language="") as session:
            await session.accept(LOUD * 100)
            while session.behind:
                session._room.clear()
                await session._room.wait()
            await session.finalize()
            return await until_finalized(session)

    assert [type(result) for result in asyncio.run(main())] == [StartOfSpeech, Partial, Final, Finalized]


def test_sessions_beyond_the_limit_are_refused_and_a_closed_one_makes_room() -> None:
    async def main() -> None:
        async with loud_pool(workers=1, limit=2) as pool:
            first = await pool.open(sample_rate=16_000, language="en")
            second = await pool.open(sample_rate=16_000, language="en")
            assert (pool.busy, pool.idle) == (2, 0)
            with pytest.raises(RecognizerBusy) as refused:
                await pool.open(sample_rate=16_000, language="en")
            assert refused.value.code == 429
            await first.accept(LOUD * 50)
            await first.aclose()
            await first.aclose()
            assert (pool.busy, pool.idle) == (1, 1)
            third = await pool.open(sample_rate=16_000, language="en")
            await third.accept(SILENT)
            await third.finalize()
            assert await until_finalized(third) == [Final("", 0.0, 0.03), Finalized(0.03)]
            assert pid_of(third) != pid_of(second)

    asyncio.run(main())


def test_sessions_opened_at_once_share_no_worker() -> None:
    async def main() -> None:
        async with loud_pool(workers=0, limit=2) as pool:
            opened = await asyncio.gather(
                *(pool.open(sample_rate=16_000, language="en") for _ in range(3)), return_exceptions=True
            )
            sessions = [session for session in opened if isinstance(session, WorkerSession)]
            assert len({pid_of(session) for session in sessions}) == 2
            assert [type(one) for one in opened if one not in sessions] == [RecognizerBusy]

    asyncio.run(main())


def test_a_closed_session_ends_its_reader_and_takes_nothing_more() -> None:
    async def main() -> None:
        async with loud_pool() as pool:
            session = await pool.open(sample_rate=16_000, language="en")

            async def read() -> list[Result]:
                return [result async for result in session]

            reader = asyncio.create_task(read())
            await asyncio.sleep(0)
            await session.aclose()
            assert await reader == []
            with pytest.raises(RecognizerFailed, match="closed"):
                await session.accept(LOUD)
            with pytest.raises(RecognizerFailed, match="closed"):
                await session.finalize()

    asyncio.run(main())


def test_audio_waits_while_the_worker_is_seconds_behind() -> None:
    async def main() -> None:
        async with loud_pool() as pool, await pool.open(sample_rate=16_000, language="en") as session:
            os.kill(pid_of(session), signal.SIGSTOP)
            sender = asyncio.create_task(session.accept(SILENT * 500))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not sender.done()
            assert 3.0 <= session.behind <= 3.5
            os.kill(pid_of(session), signal.SIGCONT)
            await sender
            await session.finalize()
            assert await until_finalized(session) == [Final("", 0.0, 15.0), Finalized(15.0)]
            assert session.behind == 0

    asyncio.run(main())


def test_a_killed_worker_fails_its_session_alone_and_is_replaced() -> None:
    async def main() -> None:
        async with loud_pool(workers=2, limit=2) as pool:
            victim = await pool.open(sample_rate=16_000, language="en")
            other = await pool.open(sample_rate=16_000, language="en")
            await victim.accept(LOUD * 3)
            assert await anext(aiter(victim)) == StartOfSpeech(0.09)
            os.kill(pid_of(victim), signal.SIGKILL)
            with pytest.raises(RecognizerFailed, match="a worker died: exit status -9"):
                await anext(aiter(victim))
            with pytest.raises(RecognizerFailed):
                await victim.accept(LOUD)
            await victim.aclose()
            await pool.start()
            assert (pool.busy, pool.idle) == (1, 1)
            async with await pool.open(sample_rate=16_000, language="en") as fresh:
                await fresh.finalize()
                assert await until_finalized(fresh) == [Finalized(0.0)]
            await other.finalize()
            assert await until_finalized(other) == [Finalized(0.0)]

    asyncio.run(main())


def test_a_worker_that_dies_idle_is_given_to_nobody() -> None:
    async def main() -> None:
        async with loud_pool(workers=1, limit=1) as pool:
            (worker,) = pool._idle
            pid = worker.process.pid
            os.kill(pid, signal.SIGKILL)
            assert worker.reader is not None
            await worker.reader
            assert pool.idle == 0
            async with await pool.open(sample_rate=16_000, language="en") as session:
                assert pid_of(session) != pid

    asyncio.run(main())


def test_an_engine_that_raises_fails_its_session_without_quoting_it() -> None:
    async def main() -> str:
        async with loud_pool() as pool, await pool.open(sample_rate=16_000, language="en") as session:
            await session.accept(POISON)
            with pytest.raises(RecognizerFailed) as failed:
                await anext(aiter(session))
            return str(failed.value)

    assert asyncio.run(main()) == "a worker died: ValueError"


@pytest.mark.parametrize(
    ("factory", "reason"),
    [("BrokenEngine", "ImportError: no such model"), ("ExitingEngine", "exit status 3"), ("Nothing", "AttributeError")],
)
def test_an_engine_that_does_not_load_is_told_at_the_start(factory: str, reason: str) -> None:
    async def main() -> None:
        with pytest.raises(RecognizerFailed, match=f"a worker did not start: .*{reason}"):
            async with WorkerPool(f"{__name__}:{factory}", workers=1):
                pytest.fail("it started")

    asyncio.run(main())


def test_closing_the_pool_leaves_no_process_and_fails_open_sessions() -> None:
    async def main() -> list[int]:
        pool = loud_pool(workers=2, limit=3)
        await pool.start()
        session = await pool.open(sample_rate=16_000, language="en")
        pids = [pid_of(session), *(worker.process.pid for worker in pool._idle)]
        assert all(alive(pid) for pid in pids)
        late = [asyncio.create_task(pool.open(sample_rate=16_000, language="en")) for _ in range(2)]
        await asyncio.sleep(0)
        await pool.aclose()
        await pool.aclose()
        with pytest.raises(RecognizerFailed, match="closed"):
            await anext(aiter(session))
        await session.aclose()
        for outcome in await asyncio.gather(*late, return_exceptions=True):
            if isinstance(outcome, WorkerSession):
                pids.append(pid_of(outcome))
            else:
                assert isinstance(outcome, RecognizerFailed)
        for call in (pool.start(), pool.open(sample_rate=16_000, language="en")):
            with pytest.raises(RecognizerFailed, match="closed"):
                await call
        return pids

    assert [pid for pid in asyncio.run(main()) if alive(pid)] == []


def test_a_cancelled_open_loses_no_worker() -> None:
    async def main() -> None:
        async with loud_pool(workers=0, limit=1) as pool:
            opener = asyncio.create_task(pool.open(sample_rate=16_000, language="en"))
            await asyncio.sleep(0)
            opener.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opener
            async with await pool.open(sample_rate=16_000, language="en"):
                assert (pool.busy, pool.idle) == (1, 0)
            assert (pool.busy, pool.idle) == (0, 1)

    asyncio.run(main())


def test_a_pool_needs_room_for_its_workers() -> None:
    assert loud_pool(workers=None, limit=None).workers >= 1
    assert loud_pool(workers=12, limit=None).limit == 12
    assert loud_pool(workers=None, limit=1).workers == 1
    for workers, limit in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="at least one worker"):
            loud_pool(workers=workers, limit=limit)


# The embedded recogniser


def word_errors(reference: str, text: str) -> int:
    words = text.split()
    row = list(range(len(words) + 1))
    for count, expected in enumerate(reference.split(), 1):
        above, row[0] = row[0], count
        for at, word in enumerate(words, 1):
            above, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, above + (expected != word))
    return row[-1]


def samples(wav: bytes) -> bytes:
    with wave.open(io.BytesIO(wav)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (16_000, 1, 2)
        pcm: bytes = clip.readframes(clip.getnframes())
        return pcm


@pytest.fixture(scope="module")
def engine() -> PocketsphinxEngine:
    pytest.importorskip("pocketsphinx")
    return PocketsphinxEngine()


@pytest.fixture(scope="module")
def demo() -> bytes:
    return samples(demo_clip()[0])


def test_the_demo_is_recognised_without_an_error(engine: PocketsphinxEngine, demo: bytes) -> None:
    assert [final.text for final in transcribe_directly(demo, engine=engine) if final.text] == (
        demo_clip()[1].splitlines()
    )


@pytest.mark.parametrize("size", [333, 640, 1600, 32_000])
def test_the_demo_gives_the_same_results_however_it_is_cut(engine: PocketsphinxEngine, demo: bytes, size: int) -> None:
    expected = heard(Transcriber(engine, 16_000), [demo])
    assert heard(Transcriber(engine, 16_000), chunks(demo, size)) == expected
    kinds = [type(result) for result in expected if not isinstance(result, Partial)]
    assert kinds == [StartOfSpeech, Final, StartOfSpeech, Final, Final, Finalized]


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_the_demo_is_recognised_at_other_rates(engine: PocketsphinxEngine, demo: bytes, rate: int) -> None:
    soxr, numpy = pytest.importorskip("soxr"), pytest.importorskip("numpy")
    converted = soxr.resample(numpy.frombuffer(demo, "<i2"), 16_000, rate).astype("<i2").tobytes()
    text = " ".join(final.text for final in transcribe_directly(converted, rate, engine=engine))
    assert text.split() == demo_clip()[1].split()


def test_word_times_do_not_drift_behind_long_silence(engine: PocketsphinxEngine, demo: bytes) -> None:
    words = [word for final in transcribe_directly(demo, engine=engine) for word in final.words]
    late = [word for final in transcribe_directly(SILENT * 1000 + demo, engine=engine) for word in final.words]
    assert [word.text for word in late] == [word.text for word in words]
    for one, other in zip(words, late, strict=True):
        assert other.start - 30.0 == pytest.approx(one.start, abs=0.05)


def test_a_session_is_not_changed_by_the_one_before_it(engine: PocketsphinxEngine, demo: bytes) -> None:
    expected = heard(Transcriber(PocketsphinxEngine(), 16_000), [demo])
    for before in (demo[20_000:70_000], demo[::-1]):
        Transcriber(engine, 16_000).accept(before)
        assert heard(Transcriber(engine, 16_000), [demo]) == expected


def noise(seconds: int, loudness: float) -> bytes:
    dice = random.Random(3)
    values = (max(-32_768, min(32_767, round(dice.gauss(0, loudness)))) for _ in range(16_000 * seconds))
    return b"".join(value.to_bytes(2, "little", signed=True) for value in values)


def test_quiet_noise_holds_no_words(engine: PocketsphinxEngine) -> None:
    assert heard(Transcriber(engine, 16_000), [noise(3, 300)]) == [Final("", 0.0, 3.0), Finalized(3.0)]


def test_sound_without_a_pause_is_cut(engine: PocketsphinxEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lkstt_transports.gateway.recognizers.pocketsphinx.LONGEST_FRAMES", 60)
    ends = [final.end for final in finals(heard(Transcriber(engine, 16_000), [noise(5, 4000)]))]
    assert ends == [1.8, 3.6, 5.0]


def test_a_long_utterance_ends_at_its_first_breath(
    engine: PocketsphinxEngine, demo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = transcribe_directly(demo, engine=engine)[0]
    monkeypatch.setattr("lkstt_transports.gateway.recognizers.pocketsphinx.LONG_FRAMES", 10)
    early = transcribe_directly(demo, engine=engine)[0]
    assert early.text == usual.text
    assert early.end < usual.end


def test_a_last_word_cut_short_is_searched(engine: PocketsphinxEngine, demo: bytes) -> None:
    transcriber = Transcriber(engine, 16_000)
    transcriber.accept(demo[: 16_000 * 2 * 4 // 10])
    result = transcriber.finalize()
    assert [type(one) for one in result if not isinstance(one, StartOfSpeech)] == [Final, Finalized]
    assert finals(result)[0].end == 0.4


def test_real_speech_through_workers_is_what_the_recogniser_says_directly(engine: PocketsphinxEngine) -> None:
    if not SPEECH.is_dir():
        pytest.skip("no recordings beside the repository")
    lines = (SPEECH / "transcripts.tsv").read_text(encoding="utf-8").splitlines()
    references = dict(line.split("\t") for line in lines)
    pcm = {name: samples((SPEECH / name).read_bytes()) for name in references}

    async def hear(pool: PocketsphinxRecognizer, audio: bytes) -> list[Final]:
        async with await pool.open(sample_rate=16_000, language="en-US") as session:
            for chunk in chunks(audio, 1600):
                await session.accept(chunk)
            await session.finalize()
            return finals(await until_finalized(session))

    async def main() -> list[list[Final]]:
        async with PocketsphinxRecognizer(workers=2, limit=3) as pool:
            return await asyncio.gather(*(hear(pool, audio) for audio in pcm.values()))

    direct = [transcribe_directly(audio, engine=engine) for audio in pcm.values()]
    assert asyncio.run(main()) == direct
    errors = sum(
        word_errors(reference, " ".join(final.text for final in result))
        for reference, result in zip(references.values(), direct, strict=True)
    )
    words = sum(len(reference.split()) for reference in references.values())
    assert errors / words < 0.33
    for audio, result in zip(pcm.values(), direct, strict=True):
        assert result[-1].end == len(audio) / 32_000


@pytest.mark.parametrize("language", ["de", "ens", "fr-FR"])
def test_languages_other_than_english_are_refused(language: str) -> None:
    pytest.importorskip("pocketsphinx")

    async def main() -> None:
        with pytest.raises(RecognizerRefused, match="English"):
            await PocketsphinxRecognizer(workers=0).open(sample_rate=16_000, language=language)

    asyncio.run(main())


def test_without_the_recogniser_the_cure_is_told_before_any_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lkstt_transports.gateway.recognizers.pocketsphinx.find_spec", lambda name: None)

    async def main() -> None:
        pool = PocketsphinxRecognizer(workers=1)
        for call in (pool.start(), pool.open(sample_rate=16_000, language="en")):
            with pytest.raises(RecognizerMissing, match=r"pip install 'lkstt\[local\]'"):
                await call
        assert (pool.idle, pool.busy) == (0, 0)

    asyncio.run(main())
    with pytest.raises(RecognizerMissing):
        transcribe_directly(b"")


def test_importing_the_recognisers_imports_none() -> None:
    code = (
        "import sys, lkstt_transports.gateway.recognizers;"
        "sys.exit(bool({'pocketsphinx', 'numpy', 'soxr', '_pocketsphinx'} & sys.modules.keys()))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
