"""How many live streams a core carries at the local gateway: with a scripted recogniser and with PocketSphinx.

    python benchmarks/local_gateway.py script|pocketsphinx      (the gateway itself, in a process of its own)

Streams per core are the seconds of audio that a second of the processor served, workers and kernel included.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from counting import run_child, versions
from harness import HERE, Figure, Setup, figure, packages, say, show, table
from workload import INTERIMS, RATE, UTTERANCE_SECONDS

from lkstt_transports.asyncio import STT
from lkstt_transports.gateway import LocalGateway, ServerLimits
from lkstt_transports.gateway.recognizers import Final, Partial, PocketsphinxRecognizer, Recognizer, Word
from lkstt_transports.gateway.recognizers.script import At, Script, ScriptRecognizer

TITLE = "The local gateway"
NAMES = {"script": "scripted recogniser", "pocketsphinx": "PocketSphinx"}
STREAMS = 50
RUNS = 3
KEY, SECRET = "key", "secret" * 8
SPEECH = HERE.parent / "lkstt_transports" / "demo" / "demo.wav"
SESSIONS = 500


# The gateway's process.


def script(seconds: float) -> Script:
    """Say what the measuring gateway says: an interim every 200 ms, a final every 3 s, of eight words."""
    step = UTTERANCE_SECONDS / (INTERIMS + 1)
    steps = []
    for number in range(1, round(seconds / step) + 1):
        end = number * step
        begin = (number - 1) // (INTERIMS + 1) * UTTERANCE_SECONDS
        words = tuple(Word("0", begin + (end - begin) * i / 8, begin + (end - begin) * (i + 1) / 8) for i in range(8))
        kind = Partial if number % (INTERIMS + 1) else Final
        steps.append(At(end, kind("0 0 0 0 0 0 0 0", begin, end, words)))
    return Script(steps=steps)


async def serve(recognizer: Recognizer) -> None:
    """Serve until standard input ends."""
    limits = ServerLimits(sessions=SESSIONS, sessions_per_key=SESSIONS)
    async with LocalGateway(recognizer=recognizer, secrets={KEY: SECRET}, limits=limits) as gateway:
        print(gateway.base_url.removesuffix("/v1"), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main(name: str) -> None:
    asyncio.run(serve(ScriptRecognizer(script(60.0)) if name == "script" else PocketsphinxRecognizer(workers=1)))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(sum(each.ru_utime + each.ru_stime for each in used))


# The suite's.


def measure(setup: Setup) -> dict[str, Any]:
    """Give recogniser and processor seconds per second of audio."""
    runs = 1 if setup.quick else RUNS
    return {
        "recognizers": {name: figure(cost(name) for _ in range(runs)) for name in NAMES},
        "about": {"gateway": versions(("aiohttp", "pocketsphinx"))},
    }


def cost(name: str) -> float:
    """Give processor seconds of the gateway, its start taken off, per second of audio."""
    say(f"local gateway, {NAMES[name]}")
    idle, _ = serving(name, lambda _url: 0.0)
    used, audio = serving(name, stream_script if name == "script" else stream_speech)
    return (used - idle) / audio


def serving(name: str, work: Any) -> tuple[float, float]:
    """Run a gateway around some work; give its processor seconds, and what the work gave."""
    with subprocess.Popen(
        [sys.executable, __file__, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        result = work(process.stdout.readline().strip())
        told, _ = process.communicate()
        return float(told), result


def stream_script(url: str) -> float:
    """Stream in real time; give seconds of audio."""
    job = {
        "url": url,
        "transport": "asyncio",
        "side": "lkstt",
        "mode": "real time",
        "streams": STREAMS,
        "windows": 2,
        "processor_time": True,
        "asked": False,
    }
    result = run_child([sys.executable, str(HERE / "client.py"), json.dumps(job)], hardware=True)
    assert result["finals"] == result["expected"], "finals are missing"
    seconds: float = STREAMS * result["seconds"]
    return seconds


def stream_speech(url: str) -> float:
    """Stream real speech as fast as it is taken; give seconds of audio."""
    with wave.open(str(SPEECH)) as file:
        assert file.getframerate() == RATE
        pcm = file.readframes(file.getnframes())

    async def stream() -> None:
        async with STT(base_url=f"{url}/v1", api_key=KEY, api_secret=SECRET) as stt:
            for _ in range(2):
                assert (await stt.recognize(pcm)).alternatives[0].text

    asyncio.run(stream())
    return 2 * len(pcm) / 2 / RATE


def carried(cost: Figure) -> Figure:
    """Turn seconds of the processor per second of audio into streams per core."""
    return {"median": 1 / cost["median"], "min": 1 / cost["max"], "max": 1 / cost["min"], "n": cost["n"]}


def lines(found: dict[str, Any]) -> Iterator[str]:
    rows = [
        [NAMES[name], show(cost, 2, 1e-3), show(carried(cost), 0 if cost["median"] < 0.01 else 1)]
        for name, cost in found["recognizers"].items()
    ]
    yield from table(("recogniser", "ms of the processor per second of audio", "streams per core"), rows)
    yield ""
    runs = found["recognizers"]["script"]["n"]
    yield f"Runs: {runs}. Scripted: {STREAMS} streams in real time. PocketSphinx: the demo's speech, unpaced."
    yield f"{packages(found['about'])}."


if __name__ == "__main__":
    main(sys.argv[1])
