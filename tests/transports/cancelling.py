"""Cancel a stream's life at random points, and see that nothing is left of it.

    python -m tests.transports.cancelling --runtime trio --points 1000 [--seed 7]

Each point is a stage of that life, and a number of turns of the event loop or of milliseconds behind its beginning.
Where nothing can be cancelled another thread closes the stream or its STT instead.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parent))

from contract import KEY, QUICK, SECRET, Certificates, pcm
from runtimes import RUNTIMES, Runtime, Sync
from scripted_server import ScriptedServer, answering, silent

from lkstt_proto import Limits, LocalProtocolError

TURNS = 40
"""The most that a point lies behind the beginning of its stage."""
SECONDS = 0.004
"""As ``TURNS``."""
PATIENCE = 5.0
"""Seconds after which a life that was cut short should long have ended."""


class Stage(StrEnum):
    """Where a life is cut short."""

    DIAL = "dial"
    """No answer to the first packet."""
    TLS = "tls"
    """No answer to the first word of TLS."""
    UPGRADE = "upgrade"
    """No answer to the HTTP request."""
    BACKOFF = "backoff"
    """Refused, and waiting for the next attempt."""
    OPEN = "open"
    """All of that, with a gateway that answers."""
    PUSH = "push"
    FULL = "full"
    """Pushing more than there is room for."""
    FINALIZE = "finalize"
    ITERATE = "iterate"
    IDLE = "idle"
    """Iterating when there is nothing to come."""
    END_INPUT = "end_input"
    CLOSE = "aclose"
    CLOSE_STT = "STT.aclose"


NOBODY = {Stage.DIAL, Stage.TLS, Stage.UPGRADE, Stage.BACKOFF}
"""Stages without a gateway."""


@frozen
class Point:
    """One moment to cancel at."""

    stage: Stage
    secure: bool
    turns: int
    """Of the event loop behind the beginning of the stage."""
    seconds: float
    """As ``turns``, and after them."""
    more: bool
    """Cancel again and again; where nothing can be cancelled, close the STT and not only its stream."""


def point(random: Random, stage: Stage) -> Point:
    """Choose one within a stage."""
    by_turns = random.random() < 0.5
    far = random.random() ** 3  # most of what goes wrong does so at the beginning
    return Point(
        stage,
        secure=stage is Stage.TLS or (stage not in (Stage.DIAL, Stage.BACKOFF) and random.random() < 0.5),
        turns=int(far * TURNS) if by_turns else 0,
        seconds=0.0 if by_turns else far * SECONDS,
        more=random.random() < 0.5,
    )


@define(eq=False)
class Life:
    """All that can be done with a stream."""

    runtime: Runtime
    address: str
    connector: Any
    wanted: Stage
    reached: bool = False
    over: bool = False
    stt: Any = field(init=False)
    stream: Any = None

    def __attrs_post_init__(self) -> None:
        """Make the STT."""
        limits = Limits(audio_buffer=1.5, close=60.0)
        self.stt = self.runtime.make(
            base_url=self.address, api_key=KEY, api_secret=SECRET, retry=QUICK, limits=limits, connector=self.connector
        )

    def at(self, stage: Stage) -> bool:
        """Note that a stage begins; tell whether it is the one."""
        self.reached |= stage is self.wanted
        return stage is self.wanted

    async def live(self) -> None:
        """Do it, all of it unless a stage takes for good."""
        async with self.stt:
            await self._stream()
            async with self.stt.stream() as second:
                await second.push_audio(pcm(0.1))
                second.finalize()
                async for event in second:
                    if event.alternatives:
                        break
                self.at(Stage.CLOSE_STT)
                await self.stt.aclose()
        self.over = True

    async def _stream(self) -> None:
        self.reached |= self.wanted in NOBODY
        self.at(Stage.OPEN)
        async with self.stt.stream() as self.stream:
            self.at(Stage.PUSH)
            for _ in range(5):
                await self.stream.push_audio(pcm(0.2))
            if self.wanted in NOBODY or self.at(Stage.FULL):
                await self.stream.push_audio(pcm(30.0))
            self.at(Stage.FINALIZE)
            self.stream.finalize()
            self.at(Stage.ITERATE)
            events = self.stream.events()
            while not (getattr(await anext(events), "alternatives", None)):
                pass
            if self.at(Stage.IDLE):
                async for _ in events:
                    pass
            if self.wanted is not Stage.CLOSE:
                self.at(Stage.END_INPUT)
                self.stream.end_input()
                async for _ in events:
                    pass
            self.at(Stage.CLOSE)

    async def close(self, point: Point) -> None:
        """Be another thread that closes."""
        await (self.stt if point.more or self.stream is None else self.stream).aclose()


class Servers:
    """Whom a life may meet, as a context manager."""

    def __init__(self) -> None:
        certificates = Certificates()
        server, self._client = certificates.server("127.0.0.1"), certificates.client()
        self._gateways = {False: ScriptedServer(), True: ScriptedServer(ssl=server)}
        self._silent = {False: ScriptedServer(silent), True: ScriptedServer(silent, ssl=server)}
        self._refusing = ScriptedServer(answering("503 Busy"))
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        for entered in (*self._gateways.values(), *self._silent.values(), self._refusing):
            self._stack.enter_context(entered)
        self._mute = self._stack.enter_context(listening(100))
        full = self._stack.enter_context(listening(0))
        for _ in range(2):
            waiting = self._stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        self._full = full
        return self

    def __exit__(self, *failure: object) -> None:
        self._stack.close()

    def address(self, point: Point) -> str:
        """Where the stage of a point is met."""
        if point.stage in (Stage.DIAL, Stage.TLS):
            listener = self._full if point.stage is Stage.DIAL else self._mute
            return f"{'https' if point.secure else 'http'}://127.0.0.1:{listener.getsockname()[1]}/v1"
        if point.stage is Stage.BACKOFF:
            return self._refusing.base_url
        servers = self._silent if point.stage is Stage.UPGRADE else self._gateways
        return servers[point.secure].base_url

    def connector(self, runtime: Runtime) -> Any:
        """Make one that trusts them."""
        return runtime.connector(ssl=self._client)

    def forget(self) -> None:
        """Drop who called where nobody answers."""
        try:
            while True:
                self._mute.accept()[0].close()
        except BlockingIOError:
            return


@contextmanager
def listening(backlog: int) -> Iterator[socket.socket]:
    """Listen, and accept nobody."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(backlog)
        listener.setblocking(False)
        yield listener


async def cut_short(runtime: Runtime, servers: Servers, point: Point) -> bool:
    """Cut one life short; tell whether it was before its end. Raises AssertionError for what is left of it."""
    before = runtime.left_over()
    connector = servers.connector(runtime)
    life = Life(runtime, servers.address(point), connector, point.stage)
    early = True

    async def moment() -> None:
        nonlocal early
        until = time.monotonic() + PATIENCE
        while not life.reached:
            assert time.monotonic() < until, "it never came there"
            await runtime.turn()
        for _ in range(point.turns):
            await runtime.turn()
        await runtime.sleep(point.seconds)
        early = not life.over

    async def cut() -> None:
        if isinstance(runtime, Sync):
            await runtime.together(closed_by_another, close)
        else:
            await runtime.cut_short(life.live, moment, again=point.more)

    async def closed_by_another() -> None:
        # It is told, or sees the end of the events where there should be more.
        with suppress(LocalProtocolError, StopAsyncIteration):
            await life.live()

    async def close() -> None:
        await moment()
        await life.close(point)

    assert await runtime.within(PATIENCE * 2, cut), "it did not end"
    await runtime.let_go(connector)
    await runtime.gone(before)
    servers.forget()
    return early


def run(runtime: Runtime, points: int, seed: int) -> Counter[Stage]:
    """Cut so many lives short, the same ones for the same seed; count by stage those that had not ended before."""
    random = Random(seed)
    return cut_all(runtime, [point(random, stage) for stage in [*Stage] * (points // len(Stage) + 1)][:points])


def cut_all(runtime: Runtime, chosen: list[Point]) -> Counter[Stage]:
    """Cut lives short at these moments; count by stage those that had not ended before."""
    counts: Counter[Stage] = Counter()

    async def main() -> None:
        for each in chosen:
            try:
                counts[each.stage] += await cut_short(runtime, servers, each)
            except BaseException as failure:
                failure.add_note(f"{runtime.name}, {each}")
                raise

    with Servers() as servers, complaining():
        runtime.run(main, patience=len(chosen))
    return counts


@contextmanager
def complaining() -> Iterator[None]:
    """Fail for what was dropped and not closed."""
    dropped: list[str] = []
    hook = sys.unraisablehook
    sys.unraisablehook = lambda dropping: dropped.append(f"{dropping.exc_value!r} in {dropping.object!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert dropped == []


def main() -> None:
    """Be the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    runtimes = {runtime.name: runtime for runtime in RUNTIMES}
    parser.add_argument("--runtime", choices=runtimes, required=True)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    began = time.monotonic()
    counts = run(runtimes[arguments.runtime](), arguments.points, arguments.seed)
    for stage in Stage:
        print(f"{stage:12} {counts[stage]:6} cut short")
    print(f"{arguments.points} points in {time.monotonic() - began:.1f} s: 0 tasks, sockets, threads and timers left")


if __name__ == "__main__":
    main()
