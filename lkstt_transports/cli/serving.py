"""What the commands that serve until they are stopped have in common."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .failure import INTERRUPTED


@contextmanager
def stop_signals() -> Iterator[asyncio.Future[signal.Signals]]:
    """Give what the first Ctrl-C or SIGTERM sets; more of them change nothing until the block is left."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        with suppress(NotImplementedError):  # Windows: Ctrl-C cancels there
            loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in numbers:
            with suppress(NotImplementedError):  # as above
                loop.remove_signal_handler(number)


def exit_code(number: signal.Signals) -> int:
    """Give the exit code of a command that was stopped as commands like it are."""
    return INTERRUPTED if number is signal.SIGINT else 0
