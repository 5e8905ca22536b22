"""The recognisers for tests: pure functions of the audio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from lkstt_transports.gateway.faults import CutTransport, FailSession
from lkstt_transports.gateway.recognizers.base import (
    Final,
    Finalized,
    Partial,
    Recognizer,
    RecognizerBusy,
    RecognizerFailed,
    RecognizerSession,
    StartOfSpeech,
    Word,
)
from lkstt_transports.gateway.recognizers.script import Answer, At, EchoRecognizer, Script, ScriptRecognizer, Step

RATE = 8000


def silence(seconds: float) -> bytes:
    return bytes(round(seconds * RATE) * 2)


def marked(first: int, blocks: int) -> bytes:
    """Tenths of a second, each one full of its own number."""
    return b"".join(number.to_bytes(2, "little", signed=True) * (RATE // 10) for number in range(first, first + blocks))


def hear(recognizer: Recognizer, *chunks: bytes, finalize: int = 1) -> list[Step]:
    """All results of one session that hears the chunks."""

    async def run() -> list[Step]:
        session = await recognizer.open(sample_rate=RATE, language="en")
        for chunk in chunks:
            await session.accept(chunk)
        for _ in range(finalize):
            await session.finalize()
        return await taken(session)

    return asyncio.run(run())


async def taken(session: RecognizerSession) -> list[Step]:
    """What waits now."""
    results: list[Step] = []
    iterator = aiter(session)
    while True:
        try:
            results.append(await asyncio.wait_for(anext(iterator), 0.01))
        except TimeoutError:
            return results


def pieces(pcm: bytes, size: int) -> Sequence[bytes]:
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]


def test_a_script_says_each_step_once_its_audio_was_heard() -> None:
    steps = [At(0.0, StartOfSpeech(0.0)), At(0.5, Partial("a", 0.1, 0.5)), At(1.0, Final("a b", 0.1, 1.0))]
    recognizer = ScriptRecognizer(Script(steps))
    assert hear(recognizer, silence(0.4), finalize=0) == [steps[0].step]
    assert hear(recognizer, silence(0.4), silence(0.1), finalize=0) == [steps[0].step, steps[1].step]
    assert hear(recognizer, silence(3), finalize=0) == [at.step for at in steps]


def test_finalize_brings_the_final_of_what_no_step_has_covered() -> None:
    script = Script([At(1.0, Final("first", 0.1, 0.9))], final="rest")
    assert hear(ScriptRecognizer(script), silence(1.5), finalize=2) == [
        Final("first", 0.1, 0.9),
        Final("rest", 0.9, 1.5),
        Finalized(1.5),
        Finalized(1.5),
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer.AFTER, [Final("x", 0.0, 1.0), Finalized(1.0)]),
        (Answer.BEFORE, [Finalized(1.0), Final("x", 0.0, 1.0)]),
        (Answer.NEVER, [Final("x", 0.0, 1.0)]),
    ],
)
def test_the_answer_to_finalize_comes_when_the_script_says(answer: Answer, expected: list[Step]) -> None:
    assert hear(ScriptRecognizer(Script(final="x", finalized=answer)), silence(1)) == expected


def test_without_a_script_nothing_is_heard_and_finalize_is_answered() -> None:
    assert hear(ScriptRecognizer(), silence(2)) == [Finalized(2.0)]


def test_faults_come_among_the_results() -> None:
    script = Script([At(0.1, FailSession(429)), At(0.2, CutTransport())])
    assert hear(ScriptRecognizer(script), silence(1), finalize=0) == [FailSession(429), CutTransport()]


def test_each_session_plays_the_next_script_and_the_last_one_stays() -> None:
    recognizer = ScriptRecognizer(Script(final="one"), Script(refusal=RecognizerBusy("taken")), Script(final="three"))
    assert hear(recognizer, silence(1))[0] == Final("one", 0.0, 1.0)
    with pytest.raises(RecognizerBusy):
        hear(recognizer, silence(1))
    assert hear(recognizer, silence(1))[0] == Final("three", 0.0, 1.0)
    assert hear(recognizer, silence(1))[0] == Final("three", 0.0, 1.0)


def test_an_echo_spells_the_audio_with_an_interim_half_way() -> None:
    words = tuple(Word(str(n), n / 10, (n + 1) / 10) for n in range(4))
    assert hear(EchoRecognizer(0.4), marked(0, 5)) == [
        StartOfSpeech(0.1),
        Partial("0 1", 0.0, 0.2, words[:2]),
        Final("0 1 2 3", 0.0, 0.4, words),
        StartOfSpeech(0.5),
        Final("4", 0.4, 0.5, (Word("4", 0.4, 0.5),)),
        Finalized(0.5),
    ]


def test_an_echo_spells_negative_samples_and_what_is_left_at_finalize() -> None:
    end = 801 / RATE
    assert hear(EchoRecognizer(), marked(-1, 1), b"\x07\x00\x08") == [
        StartOfSpeech(0.1),
        Final("-1 7", 0.0, end, (Word("-1", 0.0, 0.1), Word("7", 0.1, end))),
        Finalized(end),
    ]


def test_an_echo_that_heard_nothing_answers_finalize() -> None:
    assert hear(EchoRecognizer(), b"\x01") == [Finalized(0.0)]


@pytest.mark.parametrize("size", [1, 2, 101, 1600, 100_000])
def test_chunking_changes_nothing(size: int) -> None:
    pcm = marked(-7, 15)
    assert hear(EchoRecognizer(0.5), *pieces(pcm, size)) == hear(EchoRecognizer(0.5), pcm)
    script = Script([At(0.7, Final("x", 0.0, 0.7))], final="y")
    assert hear(ScriptRecognizer(script), *pieces(pcm, size)) == hear(ScriptRecognizer(script), pcm)


@pytest.mark.parametrize("recognizer", [ScriptRecognizer(), EchoRecognizer()])
def test_a_closed_session_is_over(recognizer: Recognizer) -> None:
    async def run() -> None:
        await recognizer.start()
        session = await recognizer.open(sample_rate=RATE, language="")
        await session.finalize()
        await session.aclose()
        await session.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(aiter(session))
        for call in (session.accept(b""), session.finalize()):
            with pytest.raises(RecognizerFailed):
                await call
        await recognizer.aclose()

    asyncio.run(run())


def test_closing_wakes_the_one_who_waits_for_results() -> None:
    async def run() -> list[Step]:
        session = await ScriptRecognizer().open(sample_rate=RATE, language="")
        reader = asyncio.create_task(collect(session))
        await asyncio.sleep(0)
        await session.aclose()
        return await reader

    async def collect(session: RecognizerSession) -> list[Step]:
        return [result async for result in session]

    assert asyncio.run(run()) == []
