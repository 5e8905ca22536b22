"""What a crowd does to one good session: final latency and memory, before and during a siege; then a stop by SIGTERM.

    python benchmarks/siege.py [--json FILE] [--recognizer echo|pocketsphinx] [--seconds 30] [--silent 500] [--noisy 64]

Three processes: the gateway, the crowd, and this one with the good session, which sends audio in real time and asks for
a final each second. The gateway has places for the noisy sessions, for the good one and for a guest who comes and
goes. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
from counting import commit, cpu
from siege_crowd import NOISES, RATE

from lkstt_proto.handshake import mint_token
from lkstt_transports.demo import demo_clip

HERE = Path(__file__).parent
SECRET = "a-secret-of-more-than-thirty-two-bytes"
GOOD, GUEST = "APIgood", "APIguest"
CROWD = [f"APIcrowd{number}" for number in range(8)]
CHUNK_SECONDS = 0.05
CHUNKS_PER_TURN = 20
GUEST_EVERY_SECONDS = 1.0
SETTLE_SECONDS = 3.0  # for imports and first allocations on one side, and the first rush on the other
HEADER_BYTES = 44  # of a WAV file
CREATE = {"type": "session.create", "settings": {"sample_rate": str(RATE), "encoding": "pcm_s16le"}}


@contextmanager
def gateway(recognizer: str, sessions: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the gateway; give its process and URL."""
    command = [sys.executable, str(HERE / "siege_server.py"), recognizer, str(sessions), GOOD, GUEST, *CROWD]
    environ = {**os.environ, "SIEGE_SECRET": SECRET}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@contextmanager
def crowd(url: str, silent: int, noisy: int) -> Iterator[None]:
    """Lay siege."""
    command = [sys.executable, str(HERE / "siege_crowd.py"), url, str(silent), str(noisy), *CROWD]
    process = subprocess.Popen(command, env={**os.environ, "SIEGE_SECRET": SECRET})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def resident_mib(pid: int) -> float:
    """Memory of a process that is in use now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def chunks() -> Iterator[str]:
    """Messages of audio, of the clip that the demo transcribes, without end."""
    pcm = demo_clip()[0][HEADER_BYTES:]
    size = round(RATE * CHUNK_SECONDS) * 2
    for at in cycle(range(0, len(pcm) - size, size)):
        yield json.dumps({"type": "input_audio", "audio": b64encode(pcm[at : at + size]).decode()})


class Client:
    """A session of a well-behaved client."""

    def __init__(self, http: aiohttp.ClientSession, url: str, key: str) -> None:
        self.http, self.url, self.key = http, url, key

    async def open(self) -> float:
        """Open it, and give the seconds it took up to ``session.created``."""
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {mint_token(self.key, SECRET, time.time())}"}
        self.socket = await self.http.ws_connect(f"{self.url}/stt", headers=headers)
        await self.socket.send_json(CREATE)
        await self.until("session.created")
        return time.perf_counter() - began

    async def until(self, kind: str) -> None:
        while (await self.socket.receive_json())["type"] != kind:
            pass

    async def turn(self, audio: Iterator[str]) -> float:
        """Speak for a second, and give the seconds from ``session.finalize`` to the end of the finals."""
        due = time.perf_counter()
        for _ in range(CHUNKS_PER_TURN):
            due += CHUNK_SECONDS
            await asyncio.sleep(due - time.perf_counter())
            await self.socket.send_str(next(audio))
        asked = time.perf_counter()
        await self.socket.send_json({"type": "session.finalize"})
        await self.until("session.finalized")
        return time.perf_counter() - asked


async def measure(good: Client, pid: int, seconds: float) -> tuple[list[float], list[float], list[float]]:
    """Give latencies of finals and of openings, both in ms, and the gateway's memory in MiB, once a second."""
    audio, until = chunks(), time.perf_counter() + seconds
    finals: list[float] = []
    memory: list[float] = []
    openings: list[float] = []

    async def visit() -> None:
        while True:
            guest = Client(good.http, good.url, GUEST)
            # With all workers taken, as a crowd of sessions takes them, there is none for a guest.
            with suppress(aiohttp.WSMessageTypeError):
                openings.append(await guest.open() * 1000)
            await guest.socket.close()
            await asyncio.sleep(GUEST_EVERY_SECONDS)

    visitor = asyncio.create_task(visit())
    while time.perf_counter() < until and not visitor.done():
        finals.append(await good.turn(audio) * 1000)
        memory.append(resident_mib(pid))
    visitor.cancel()
    with suppress(asyncio.CancelledError):
        await visitor  # a guest who was refused is a result, too
    return finals, openings, memory


async def counts(good: Client) -> dict[str, float]:
    """What the gateway says of itself."""
    async with good.http.get(good.url.removesuffix("/v1") + "/metrics") as answer:
        lines = [line for line in (await answer.text()).splitlines() if not line.startswith("#")]
    return {name.removeprefix("lkstt_gateway_"): float(value) for name, value in map(str.rsplit, lines)}


async def besiege(process: subprocess.Popen[str], url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure before and during the siege."""
    async with aiohttp.ClientSession() as http:
        good = Client(http, url, GOOD)
        await good.open()
        await measure(good, process.pid, SETTLE_SECONDS)
        idle = resident_mib(process.pid)
        before, opened_before, _ = await measure(good, process.pid, arguments.seconds / 2)
        with crowd(url, arguments.silent, arguments.noisy):
            _, _, rush = await measure(good, process.pid, SETTLE_SECONDS)
            during, opened_during, memory = await measure(good, process.pid, arguments.seconds)
            seen = await counts(good)
        await good.socket.close()
    return {
        "finals_before_ms": before,
        "finals_during_ms": during,
        "openings_before_ms": opened_before,
        "openings_during_ms": opened_during,
        "idle_mib": idle,
        "peak_mib": max([*rush, *memory]),
        "counts": seen,
    }


async def stop(process: subprocess.Popen[str], url: str, sessions: int) -> dict[str, Any]:
    """Open sessions, speak in each, and end the gateway: how long it takes, and who got the finals."""
    audio = list(zip(range(CHUNKS_PER_TURN // 2), chunks(), strict=False))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        clients = [Client(http, url, CROWD[number % len(CROWD)]) for number in range(sessions)]
        await asyncio.gather(*(client.open() for client in clients))
        for client in clients:
            for _, message in audio:
                await client.socket.send_str(message)
        heard = sessions * len(audio) * CHUNK_SECONDS - 0.01
        while (await counts(clients[0]))["audio_seconds_total"] < heard:  # noqa: ASYNC110 (a number behind HTTP)
            await asyncio.sleep(0.05)
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        ends = await asyncio.gather(*(rest(client) for client in clients))
        code = await asyncio.to_thread(process.wait, 20)
        return {
            "sessions": sessions,
            "seconds": time.perf_counter() - began,
            "exit_code": code,
            "finals_and_close": sum("final_transcript" in kinds and code == 1000 for kinds, code in ends),
        }


async def rest(client: Client) -> tuple[list[str], int | None]:
    kinds = [json.loads(message.data)["type"] async for message in client.socket]
    return kinds, client.socket.close_code


def percentile(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def lines(figures: Mapping[str, Any], stopped: Mapping[str, Any], arguments: argparse.Namespace) -> Iterable[str]:
    """Lines of Markdown."""
    yield f"{arguments.silent} silent connections and {arguments.noisy} noisy sessions, {arguments.seconds:g} s;"
    yield f"recogniser: {arguments.recognizer}. Noise, in equal parts: {'; '.join(NOISES)}."
    yield ""
    yield "| | before | during | growth |"
    yield "| --- | ---: | ---: | ---: |"
    for name, key in (("finalize to final", "finals"), ("opening a session", "openings")):
        before, during = figures[f"{key}_before_ms"], figures[f"{key}_during_ms"]
        if not before or not during:
            yield f"| {name} (ms) | | none | |"
            continue
        for share, label in ((0.5, "median"), (0.95, "95 %"), (1.0, "worst")):
            low, high = percentile(before, share), percentile(during, share)
            yield f"| {name}, {label} (ms) | {low:.1f} | {high:.1f} | {high - low:+.1f} |"
    idle, peak = figures["idle_mib"], figures["peak_mib"]
    yield f"| memory of the gateway (MiB) | {idle:.0f} | {peak:.0f} | {peak - idle:+.0f} |"
    yield ""
    seen = figures["counts"]
    shown = ("visitors", "sessions_open", "audio_seconds_total", "slowed_total")
    turned_out = sum(value for name, value in seen.items() if name.startswith("turned_out"))
    yield "At the end: " + ", ".join(f"{name} {seen[name]:g}" for name in shown) + f", turned_out_total {turned_out:g}."
    yield (
        f"SIGTERM with {stopped['sessions']} sessions: exit after {stopped['seconds']:.1f} s with code "
        f"{stopped['exit_code']}, {stopped['finals_and_close']} of them with their final and close 1000."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Besiege the local gateway.")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--recognizer", choices=("echo", "pocketsphinx"), default="echo")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--silent", type=int, default=500)
    parser.add_argument("--noisy", type=int, default=64)
    parser.add_argument("--stop-sessions", type=int, help="how many are open at SIGTERM; by default --noisy")
    arguments = parser.parse_args()
    places = arguments.noisy + 2
    with gateway(arguments.recognizer, places) as (process, url):
        figures = asyncio.run(besiege(process, url, arguments))
    with gateway(arguments.recognizer, places) as (process, url):
        stopped = asyncio.run(stop(process, url, arguments.stop_sessions or arguments.noisy))
    about = {"cpu": cpu(), "python": platform.python_version(), "aiohttp": version("aiohttp"), "commit": commit()}
    print("\n".join(lines(figures, stopped, arguments)))
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, **figures, "stop": stopped}, indent=1))


if __name__ == "__main__":
    main()
