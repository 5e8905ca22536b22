"""How fast a client may talk, in virtual time; and whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from lkstt_transports.gateway.pace import Pace, Turnstile, cost


def pushed(speed: float, seconds: float, chunk: float, start: float = 0.0) -> float:
    """Audio that a gateway takes in `seconds` from a client that sends it at so many times real time."""
    pace, now, audio = Pace(10.0, 60.0), start, 0.0
    while now < start + seconds:
        audio += chunk
        now = max(start + audio / speed, now) + pace.spend(chunk, now)
    return audio


@pytest.mark.parametrize("chunk", [0.01, 0.05, 1.0])
def test_up_to_ten_times_real_time_nobody_waits(chunk: float) -> None:
    pace, waits = Pace(10.0, 60.0), set()
    for number in range(20_000):
        waits.add(pace.spend(chunk, number * chunk / 10.0))
    assert waits == {0.0}


@pytest.mark.parametrize("chunk", [0.05, 1.0, 6.0])
@pytest.mark.parametrize("speed", [20.0, 1000.0])
def test_beyond_that_a_minute_is_taken_at_once_and_the_rest_at_ten_times_real_time(speed: float, chunk: float) -> None:
    assert pushed(speed, 30.0, chunk) == pytest.approx(60.0 + 10.0 * 30.0, abs=2 * chunk)


def test_time_without_audio_is_made_up_for_and_not_saved_beyond_the_burst() -> None:
    pace = Pace(10.0, 60.0)
    assert pace.spend(60.0, 0.0) == 0.0
    assert pace.spend(1.0, 0.0) == pytest.approx(0.1)
    assert pace.owed(3.1) == pytest.approx(30.0)
    assert pace.owed(1e6) == 0.0
    assert pace.spend(60.0, 1e6) == 0.0
    assert pace.spend(0.5, 1e6) == pytest.approx(0.05)


def test_a_clock_that_runs_backwards_forgives_nothing() -> None:
    pace = Pace(10.0, 60.0)
    pace.spend(10.0, 5.0)
    assert pace.owed(4.0) == 10.0


def test_audio_counts_for_what_it_is_and_any_frame_for_something() -> None:
    base64_of_a_second_at_48_khz = 48_000 * 2 * 4 // 3
    assert cost(base64_of_a_second_at_48_khz + 40, 1.0) == 1.0
    assert cost(300, 0.001) == 0.01
    assert cost(2, 0.0) == 0.1
    assert cost(256 * 1024, 0.0) == pytest.approx(1.024)


def test_one_passes_in_each_turn_of_the_loop_in_the_order_of_coming() -> None:
    async def work() -> None:
        turnstile, passed, turns = Turnstile(), [], 0

        async def come(number: int) -> None:
            await turnstile.pass_through()
            passed.append((number, turns))

        tasks = [asyncio.create_task(come(number)) for number in range(20)]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turns += 1
        numbers, when = zip(*passed, strict=True)
        assert numbers == tuple(range(20))
        assert len(set(when)) == 20

    asyncio.run(work())
