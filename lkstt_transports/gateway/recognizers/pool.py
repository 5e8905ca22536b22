"""Worker processes that recognise, and the sessions an asyncio server has with them.

A decoder holds the interpreter lock for as long as it decodes, so each one lives in a process of its own, with its
model loaded before the first session. One worker serves one session at a time and then the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from typing import Self, cast

from attrs import define, field

from .base import Final, Partial, RecognizerBusy, RecognizerError, RecognizerFailed, Result
from .resample import check_rate
from .wire import HEADER, Kind, pack, read_result, unpack

# Seconds of audio a worker may be behind before `accept` waits: enough for a burst, little enough that a closed
# session gives its worker back soon.
AHEAD_SECONDS = 3.0
# Audio goes to a worker in pieces of at most so many seconds, so that it tells often how far it is.
PIECE_SECONDS = 0.5
# A model loads in half a second; a minute is for a machine in great trouble.
LOAD_SECONDS = 60.0
DEFAULT_LIMIT = 8
WORKER = f"{__package__}.worker"


@define(eq=False)
class _Worker:
    """A process that is ready, and the session it serves."""

    process: Process
    sample_rate: int
    session: WorkerSession | None = None
    reader: asyncio.Task[None] | None = None

    def send(self, kind: Kind, body: bytes = b"") -> None:
        _stdin(self.process).write(pack(kind, body))


@define(eq=False)
class WorkerSession:
    """A `RecognizerSession` in a worker process; made by `WorkerPool.open`."""

    _worker: _Worker
    _bytes_per_second: int
    _results: deque[Result] = field(init=False, factory=deque)
    _error: RecognizerError | None = field(init=False, default=None)
    _closed: bool = field(init=False, default=False)
    _behind: int = field(init=False, default=0)
    _over: asyncio.Event = field(init=False, factory=asyncio.Event)
    _news: asyncio.Event = field(init=False, factory=asyncio.Event)
    _room: asyncio.Event = field(init=False, factory=asyncio.Event)

    @property
    def behind(self) -> float:
        """Seconds of audio that the worker has not heard yet."""
        return self._behind / self._bytes_per_second

    async def accept(self, pcm: bytes) -> None:
        """Hear more audio. Waits while the worker is more than 3 s behind. Raises `RecognizerFailed`."""
        piece = int(self._bytes_per_second * PIECE_SECONDS)
        for at in range(0, len(pcm), piece):
            while self._error is None and not self._closed and self.behind >= AHEAD_SECONDS:
                self._room.clear()
                await self._room.wait()
            self._check()
            body = bytes(pcm[at : at + piece])
            self._behind += len(body)
            self._worker.send(Kind.AUDIO, body)

    async def finalize(self) -> None:
        """Ask for finals that cover all audio accepted; `Finalized` follows them. Raises `RecognizerFailed`."""
        self._check()
        self._worker.send(Kind.FINALIZE)

    def __aiter__(self) -> AsyncIterator[Result]:
        """Iterate over the results; one reader at a time."""
        return self

    async def __anext__(self) -> Result:
        """Wait for the next result. Raises `RecognizerFailed` behind the last one of a session that failed."""
        while not self._closed:
            if self._results:
                return self._results.popleft()
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the worker back and wait until it is free. Results not taken are dropped. Safe to call twice."""
        if not self._closed:
            self._closed = True
            self._results.clear()
            self._wake()
            if self._error is None:
                self._worker.send(Kind.CLOSE)
        await self._over.wait()

    async def __aenter__(self) -> Self:
        """Use as `async with await recognizer.open(...) as session`."""
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close it."""
        await self.aclose()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise RecognizerFailed("the session is closed")

    def _wake(self) -> None:
        self._news.set()
        self._room.set()

    # What the pool tells.

    def _heard(self, count: int) -> None:
        self._behind -= count
        self._room.set()

    def _add(self, result: Result) -> None:
        if self._closed:
            return
        # Only the newest text of an utterance matters, so a slow reader does not collect partials.
        if self._results and isinstance(self._results[-1], Partial) and isinstance(result, Partial | Final):
            self._results.pop()
        self._results.append(result)
        self._news.set()

    def _fail(self, error: RecognizerError) -> None:
        self._error = error
        self._over.set()
        self._wake()

    def _release(self) -> None:
        self._over.set()


class WorkerPool:
    """A `Recognizer` over worker processes.

    `factory` names a callable without arguments that makes an `Engine`, as `"module:callable"`; each worker imports it.
    `workers` processes (default: one for each core) are ready from `start` on and replaced when they die; more are
    started when all are taken, up to `limit` (default 8, or `workers` if that is more).
    """

    def __init__(self, factory: str, *, workers: int | None = None, limit: int | None = None) -> None:
        """Make the pool; nothing runs before `start` or the first `open`."""
        self.workers = workers if workers is not None else min(_cores(), limit or DEFAULT_LIMIT)
        self.limit = limit if limit is not None else max(DEFAULT_LIMIT, self.workers)
        if not 0 <= self.workers <= self.limit or self.limit < 1:
            raise ValueError("a pool has at least one worker, and no more than its limit")
        self._factory = factory
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._loading: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    @property
    def idle(self) -> int:
        """Workers that wait for a session."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """Workers in a session."""
        return len(self._busy)

    async def start(self) -> None:
        """Have all workers ready. Raises `RecognizerFailed`, with what the first one that failed said."""
        self._refuse_closed()
        while (missing := self.workers - len(self._idle) - len(self._busy)) > 0:
            while len(self._loading) < missing:
                self._load()
            await self._one_loaded()

    async def open(self, *, sample_rate: int, language: str) -> WorkerSession:  # noqa: ARG002  # for subclasses
        """Begin a session on a free worker, or on a new one.

        Raises `RecognizerBusy` when `limit` sessions are open, `RecognizerRefused` or `RecognizerMissing` for the
        sample rate, `RecognizerFailed` when a worker does not start.
        """
        self._refuse_closed()
        if len(self._busy) + self._waiting >= self.limit:
            raise RecognizerBusy(f"all {self.limit} workers are taken")
        self._waiting += 1
        try:
            while not self._idle:
                if len(self._loading) < self._waiting:
                    self._load()
                await self._one_loaded()
        finally:
            self._waiting -= 1
        worker = self._idle[-1]
        check_rate(sample_rate, worker.sample_rate)
        self._idle.pop()
        self._busy.add(worker)
        worker.session = session = WorkerSession(worker, sample_rate * 2)
        worker.send(Kind.OPEN, b"%d" % sample_rate)
        return session

    async def aclose(self) -> None:
        """End all workers; open sessions fail. No process is left. Safe to call twice."""
        self._closed = True
        workers = [*self._idle, *self._busy]
        for worker in workers:
            _kill(worker.process)
        for task in self._loading:
            task.cancel()
        tasks = [*self._loading, *(worker.reader for worker in workers if worker.reader is not None)]
        if tasks:
            await asyncio.wait(tasks)

    async def __aenter__(self) -> Self:
        """Start."""
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Close."""
        await self.aclose()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RecognizerFailed("the recogniser is closed")

    def _load(self) -> None:
        # A task of the pool's own: whoever waits for it may be cancelled and the worker is not lost.
        task = asyncio.create_task(self._start_worker())
        self._loading.add(task)
        task.add_done_callback(self._loaded)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loading.discard(task)
        # A replacement may fail with nobody waiting; the next `open` tries again and tells.
        if not task.cancelled():
            task.exception()

    async def _one_loaded(self) -> None:
        done, _ = await asyncio.wait(self._loading, return_when=asyncio.FIRST_COMPLETED)
        self._refuse_closed()
        for task in done:
            task.result()

    async def _start_worker(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # what lies in the current directory is not imported by accident
            "-m",
            WORKER,
            self._factory,
            stdin=PIPE,
            stdout=PIPE,
            # The worker finds what this process finds, installed or not.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
            # Ctrl-C on the terminal is for the parent alone.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                kind, body = await _receive(process)
        except TimeoutError:
            _kill(process)
            await _end(process)
            raise RecognizerFailed(f"a worker was not ready after {LOAD_SECONDS:.0f} s") from None
        except asyncio.IncompleteReadError:
            await _end(process)
            raise RecognizerFailed(f"a worker did not start: exit status {process.returncode}") from None
        except BaseException:
            _kill(process)
            await _end(process)
            raise
        if kind is not Kind.READY:
            await _end(process)
            raise RecognizerFailed(f"a worker did not start: {body.decode(errors='replace')}")
        worker = _Worker(process, int(body))
        worker.reader = asyncio.create_task(self._read(worker))
        self._idle.append(worker)

    async def _read(self, worker: _Worker) -> None:
        reason = ""
        try:
            while True:
                kind, body = await _receive(worker.process)
                session = worker.session
                if kind is Kind.FAILED:
                    reason = body.decode(errors="replace")
                elif session is None:
                    continue
                elif kind is Kind.RESULT:
                    session._add(read_result(body))
                elif kind is Kind.HEARD:
                    session._heard(int(body))
                elif kind is Kind.RELEASED:
                    worker.session = None
                    self._busy.discard(worker)
                    self._idle.append(worker)
                    session._release()
        except asyncio.IncompleteReadError:
            pass
        except BaseException:
            _kill(worker.process)
            raise
        finally:
            # First of all, so that nobody is given a dead worker.
            self._busy.discard(worker)
            with contextlib.suppress(ValueError):
                self._idle.remove(worker)
            await _end(worker.process)
            if worker.session is not None:
                why = reason or f"exit status {worker.process.returncode}"
                worker.session._fail(
                    RecognizerFailed("the recogniser is closed" if self._closed else f"a worker died: {why}")
                )
        if not self._closed and len(self._idle) + len(self._busy) + len(self._loading) < self.workers:
            self._load()


async def _receive(process: Process) -> tuple[Kind, bytes]:
    source = cast("asyncio.StreamReader", process.stdout)
    kind, length = unpack(await source.readexactly(HEADER.size))
    return kind, await source.readexactly(length)


def _stdin(process: Process) -> asyncio.StreamWriter:
    # Both pipes were asked for when the process was made.
    return cast("asyncio.StreamWriter", process.stdin)


async def _end(process: Process) -> None:
    """Close the pipes of a process that is ending, and wait until it is gone."""
    _stdin(process).close()
    with contextlib.suppress(ConnectionError):
        await _stdin(process).wait_closed()
    await process.wait()


def _kill(process: Process) -> None:
    """End a process that runs. A worker holds nothing that would need a goodbye."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _cores() -> int:
    # Containers and taskset give a process fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
