"""How each runtime runs, waits and cancels, and how it tells what was left behind.

A test says ``await self.sleep(1)`` and the like; six small classes say what that is. ``RUNTIMES`` lists them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import count
from typing import Any, ClassVar, Self, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import trio
import uvloop
from scripted_server import ScriptedServer

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, Any]]

PATIENCE = 30.0
"""Seconds after which a test has failed."""
POOLS = ("AnyIO worker thread", "Trio thread", "asyncio_")
"""Names of threads that a runtime keeps for its next use."""


def open_files() -> set[tuple[str, str]]:
    """Descriptors of this process that are no files, and what they are, but for those of scripted servers."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # closed meanwhile, as the one that lists them
            target = os.readlink(f"/proc/self/fd/{name}")
            if ":" in target and not (target.startswith("socket:") and is_a_servers(int(name))):
                found.add((name, target))
    return found


def is_a_servers(descriptor: int) -> bool:
    """Whether a socket listens at, or was accepted by, a scripted server."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        if copy.family == socket.AF_UNIX:
            return False
        return copy.getsockname()[1] in ScriptedServer.ports


def threads() -> set[threading.Thread]:
    """All threads but those that wait for work in a runtime's pool."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith(POOLS)}


class Runtime(ABC):
    """A way to run coroutines, and the adapter made for it."""

    name: ClassVar[str]
    """As in the ids of tests."""
    module: ClassVar[str]
    """Of the adapter, within ``lkstt_transports``."""

    @abstractmethod
    def start(self, main: Callable[[], Awaitable[T]]) -> T:
        """Start the runtime, run to the end, and stop it."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    async def together(self, *works: Work) -> None:
        """Run all at once and wait for all."""

    @abstractmethod
    async def within(self, seconds: float, work: Work) -> bool:
        """Cancel what takes longer; tell whether it was done."""

    @abstractmethod
    async def cut_short(self, work: Work, moment: Work, *, again: bool = False) -> None:
        """Begin ``work``, do ``moment``, cancel ``work`` and wait until it is gone. Raises what it raised.

        ``again``: cancel it at every turn, where once is not for good anyway.
        """

    @abstractmethod
    def waiting(self) -> set[Any]:
        """Tasks, timers and sockets that the event loop knows of, beside the running task."""

    def make(self, **settings: Any) -> Any:
        """Make the adapter's ``STT``."""
        return self.adapter().STT(**settings)

    def connector(self, **settings: Any) -> Any:
        """Make the adapter's default connector."""
        return self.adapter().WebSocketConnector(**settings)

    async def let_go(self, connector: Any) -> None:
        """Close a connector."""
        await connector.aclose()

    def adapter(self) -> Any:
        """Import the adapter."""
        return import_module(f"lkstt_transports.{self.module}")

    async def turn(self) -> None:
        """Give all other tasks a turn."""
        await self.sleep(0)

    def run(self, main: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
        """Run to the end, and see that nothing is left."""
        before = threads()
        result = self.start(partial(self._guarded, main, patience))
        assert threads() == before
        gc.collect()  # what was not closed complains now
        return result

    async def _guarded(self, main: Callable[[], Awaitable[T]], patience: float) -> T:
        before = self.left_over()
        results: list[T] = []

        async def work() -> None:
            results.append(await main())

        assert await self.within(patience, work), "it takes too long"
        await self.settle(before)
        return results[0]

    def left_over(self) -> set[Any]:
        """Whatever a stream could leave behind, and what is there anyway."""
        return self.waiting() | open_files() | threads()

    async def gone(self, before: set[Any]) -> None:
        """Give the loop a few turns, then insist that nothing more is there than before."""
        for _ in range(5):
            await self.turn()
        assert self.left_over() - before == set()

    async def settle(self, before: set[Any]) -> None:
        """Give what was closed the time that it takes to be gone, then insist."""
        until = time.monotonic() + 2.0
        while (left := self.left_over() - before) and time.monotonic() < until:
            await self.sleep(0.001)
        assert left == set()


class Asyncio(Runtime):
    """asyncio, cancelled in its own manner: once, by an exception."""

    name = "asyncio"
    module = "asyncio"
    new_loop: ClassVar[Callable[[], asyncio.AbstractEventLoop]] = asyncio.new_event_loop

    def start(self, main: Callable[[], Awaitable[T]]) -> T:
        complaints: list[Any] = []

        async def run() -> T:
            asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
            result = await main()
            assert [complaint for complaint in complaints if not self.to_be_expected(complaint)] == []
            return result

        with asyncio.Runner(loop_factory=type(self).new_loop) as runner:
            return runner.run(run())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def together(self, *works: Work) -> None:
        await asyncio.gather(*(work() for work in works))

    async def within(self, seconds: float, work: Work) -> bool:
        limit = asyncio.timeout(seconds)
        with suppress(TimeoutError):
            async with limit:
                await work()
        return not limit.expired()

    async def cut_short(self, work: Work, moment: Work, *, again: bool = False) -> None:
        async def run() -> None:
            await work()

        task = asyncio.create_task(run())
        await moment()
        done = task.done()
        task.cancel()
        while again and not task.done():
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()
            assert done, "it went on as if nobody had cancelled it"

    def waiting(self) -> set[Any]:
        return asyncio_waiting()

    def connector(self, **settings: Any) -> Any:
        return self.adapter().AiohttpConnector(**settings)

    def to_be_expected(self, complaint: dict[str, Any]) -> bool:
        """Whether the loop complains of itself."""
        return False


class Uvloop(Asyncio):
    """asyncio on uvloop, which keeps its timers to itself; its sockets are seen as descriptors."""

    name = "uvloop"
    new_loop = uvloop.new_event_loop

    def to_be_expected(self, complaint: dict[str, Any]) -> bool:
        # Its TLS may try to answer what came in while the transport was aborted (MagicStack/uvloop issue 506).
        return str(complaint.get("exception")).endswith("the handler is closed")


class Trio(Runtime):
    """trio, cancelled in its own manner: again and again, at every checkpoint."""

    name = "trio"
    module = "trio"

    def start(self, main: Callable[[], Awaitable[T]]) -> T:
        return trio.run(main)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def together(self, *works: Work) -> None:
        async with trio.open_nursery() as nursery:
            for work in works:
                nursery.start_soon(work)

    async def within(self, seconds: float, work: Work) -> bool:
        with trio.move_on_after(seconds) as scope:
            await work()
        return not scope.cancelled_caught

    async def cut_short(self, work: Work, moment: Work, *, again: bool = False) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            await moment()
            nursery.cancel_scope.cancel()

    def waiting(self) -> set[Any]:
        return trio_waiting()


class AnyioOnAsyncio(Runtime):
    """anyio on asyncio, cancelled in anyio's manner."""

    name = "anyio-asyncio"
    module = "anyio"
    backend: ClassVar[str] = "asyncio"

    def start(self, main: Callable[[], Awaitable[T]]) -> T:
        return anyio.run(main, backend=self.backend)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def together(self, *works: Work) -> None:
        async with anyio.create_task_group() as tasks:
            for work in works:
                tasks.start_soon(work)

    async def within(self, seconds: float, work: Work) -> bool:
        with anyio.move_on_after(seconds) as scope:
            await work()
        return not scope.cancelled_caught

    async def cut_short(self, work: Work, moment: Work, *, again: bool = False) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await moment()
            tasks.cancel_scope.cancel()

    def waiting(self) -> set[Any]:
        return asyncio_waiting()


class AnyioCancelledByAsyncio(Asyncio):
    """anyio on asyncio, in a program that knows of asyncio alone."""

    name = "anyio-native"
    module = "anyio"

    def connector(self, **settings: Any) -> Any:
        return Runtime.connector(self, **settings)


class AnyioOnTrio(AnyioOnAsyncio):
    """anyio on trio."""

    name = "anyio-trio"
    backend = "trio"

    def waiting(self) -> set[Any]:
        return trio_waiting()


class Sync(AnyioOnAsyncio):
    """No runtime at all: each call that may block runs in a thread, for tests that await it.

    What is cancelled goes on in its thread, and ends there when the stream does.
    """

    name = "sync"
    module = "sync"

    def make(self, **settings: Any) -> Any:
        return _Awaited(self.adapter().STT(**settings))

    async def let_go(self, connector: Any) -> None:
        connector.aclose()

    def waiting(self) -> set[Any]:
        return super().waiting() | _Awaited.calls


class _Awaited:
    """Lets tests await an object of the sync adapter."""

    calls: ClassVar[set[Any]] = set()
    """Those under way, each with its number."""
    _numbers: ClassVar[Iterator[int]] = count()

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    async def __aenter__(self) -> Self:
        await self._call("__enter__")
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._call("__exit__", *failure)

    def __aiter__(self) -> _Awaited:
        return _Awaited(iter(self._blocking))

    async def __anext__(self) -> Any:
        event = await self._call("__next__")
        if event is _END:
            raise StopAsyncIteration
        return event

    def events(self) -> _Awaited:
        return _Awaited(self._blocking.events())

    def stream(self, **settings: Any) -> _Awaited:
        return _Awaited(self._blocking.stream(**settings))

    async def push_audio(self, pcm: Any) -> None:
        await self._call("push_audio", pcm)

    async def recognize(self, pcm: Any, **settings: Any) -> Any:
        return await self._call("recognize", pcm, **settings)

    async def aclose(self) -> None:
        await self._call("aclose")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blocking, name)

    def __repr__(self) -> str:
        return repr(self._blocking)

    async def _call(self, name: str, *arguments: Any, **settings: Any) -> Any:
        call = (name, next(self._numbers))
        self.calls.add(call)

        def work() -> Any:
            try:
                return getattr(self._blocking, name)(*arguments, **settings)
            except StopIteration:  # which no coroutine may raise
                return _END
            finally:
                self.calls.discard(call)

        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)


_END = object()


def asyncio_waiting() -> set[Any]:
    """Tasks, timers and sockets of the running asyncio loop."""
    loop: Any = asyncio.get_running_loop()
    found: set[Any] = asyncio.all_tasks() - {asyncio.current_task()}
    if isinstance(loop, uvloop.Loop):
        return found
    found |= {handle for handle in loop._scheduled if not handle.cancelled()}
    return found | {transport for transport in loop._transports.values() if transport._sock is not None}


def trio_waiting() -> set[Any]:
    """Tasks and the next deadline of the running trio loop; its sockets are seen as descriptors."""
    found: set[Any] = set()
    tasks = [trio.lowlevel.current_root_task()]
    while tasks:
        task = tasks.pop()
        if task is not None:
            found.add(task)
            tasks += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    remaining = trio.lowlevel.current_statistics().seconds_to_next_deadline
    if remaining < PATIENCE / 2:  # a test's own is further away
        found.add(f"something due in {remaining} s")
    return found - {trio.lowlevel.current_task()}


RUNTIMES: tuple[type[Runtime], ...] = (Asyncio, Uvloop, Trio, AnyioOnAsyncio, AnyioOnTrio, Sync)
