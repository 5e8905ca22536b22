"""Event loops for commands; apart from what needs none."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from typing import TypeVar

from .failure import Interrupted

T = TypeVar("T")


def run_async(work: Coroutine[None, None, T]) -> T:
    """Run an event loop for it. Raises `Interrupted` for Ctrl-C and SIGTERM, after the work closed what it had open."""

    async def interruptible() -> T:
        task = asyncio.current_task()
        if task is not None:
            with suppress(NotImplementedError):  # Windows knows no SIGTERM that could be handled
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(interruptible())
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise Interrupted from None
