"""What a transport runs on: an event loop of its own, or none at all."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, NamedTuple

from job import Event, Spawn


class Runtime(NamedTuple):
    """What a transport runs on."""

    run: Callable[[Callable[[Spawn], Coroutine[Any, Any, None]]], Any]
    sleep: Callable[[float], Awaitable[Any]]
    make_event: Callable[[], Event]
    packages: tuple[str, ...]


def make_asyncio(run: Callable[[Coroutine[Any, Any, None]], Any], *packages: str) -> Runtime:
    tasks = set()

    def spawn(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
        tasks.add(asyncio.create_task(work(*arguments)))

    return Runtime(lambda main: run(main(spawn)), asyncio.sleep, asyncio.Event, packages)


def make_uvloop() -> Runtime:
    import uvloop

    return make_asyncio(uvloop.run, "uvloop", "aiohttp")


def make_trio() -> Runtime:
    import trio

    async def main(work: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        async with trio.open_nursery() as nursery:
            await work(nursery.start_soon)

    return Runtime(partial(trio.run, main), trio.sleep, trio.Event, ("trio", "websockets"))


def make_anyio(backend: str, *packages: str) -> Runtime:
    import anyio

    async def main(work: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        async with anyio.create_task_group() as tasks:
            await work(tasks.start_soon)

    return Runtime(partial(anyio.run, main, backend=backend), anyio.sleep, anyio.Event, ("anyio", *packages))


class BlockingEvent(threading.Event):
    async def wait(self) -> None:  # type: ignore[override]  # the harness awaits it, and what it awaits may block
        super().wait()


def make_blocking() -> Runtime:
    """Run a coroutine that never gives way: whatever it waits for blocks."""

    def run(main: Callable[[Spawn], Coroutine[Any, Any, None]]) -> None:
        main(spawn).send(None)

    def spawn(work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    async def sleep(seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 (there is no loop to block)

    return Runtime(run, sleep, BlockingEvent, ("websockets",))
