"""What event loops of commands have in common: task groups, and what Ctrl-C and SIGTERM do; apart from what needs none.

The command line's own code runs on anyio, so that one job serves the adapters of all runtimes.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress

from anyio import TASK_STATUS_IGNORED, create_task_group, open_signal_receiver
from anyio.abc import TaskGroup, TaskStatus

from .failure import Interrupted


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise `Interrupted` out of the block, wherever nothing better is done about them."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, before)


@asynccontextmanager
async def cancelled_by_signals(ctrl_c: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Have Ctrl-C and SIGTERM cancel the block, so that it closes what it has open, and raise `Interrupted` then.

    `ctrl_c` is what the first Ctrl-C does instead. One that comes while things are closed ends the program at once.
    """
    async with task_group() as group:
        await group.start(_heed, ctrl_c)
        yield
        group.cancel_scope.cancel()


async def _heed(ctrl_c: Callable[[], None] | None, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
    with ExitStack() as stack:
        signals: AsyncIterator[signal.Signals] | None = None
        with suppress(NotImplementedError):  # asyncio on Windows: Ctrl-C cancels there
            signals = stack.enter_context(open_signal_receiver(signal.SIGINT, signal.SIGTERM))
        task_status.started()
        if signals is None:
            return
        async for number in signals:
            if ctrl_c is None or number == signal.SIGTERM:
                raise Interrupted
            ctrl_c()
            ctrl_c = None


@asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """Open a task group that raises its first failure as it is: people are told one thing at a time."""
    try:
        async with create_task_group() as group:
            yield group
    except BaseExceptionGroup as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
