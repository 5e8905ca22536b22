"""What event loops of commands have in common: task groups, and what Ctrl-C and SIGTERM do; apart from what needs none.

The command line's own code runs on anyio, so that one job serves the adapters of all runtimes.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

from anyio import CancelScope, create_task_group, open_signal_receiver
from anyio.abc import TaskGroup

from .failure import Interrupted


@asynccontextmanager
async def cancelled_by_signals(ctrl_c: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Have Ctrl-C and SIGTERM cancel the block, so that it closes what it has open, and raise `Interrupted` then.

    `ctrl_c` is what the first Ctrl-C does instead. While the block closes, which it does soon, more change nothing.
    """
    with ExitStack() as stack:
        async with task_group() as group:
            with CancelScope() as scope:
                with suppress(NotImplementedError):  # asyncio on Windows: Ctrl-C cancels there
                    signals = stack.enter_context(open_signal_receiver(signal.SIGINT, signal.SIGTERM))
                    group.start_soon(_heed, signals, scope, ctrl_c)
                yield
            group.cancel_scope.cancel()
    if scope.cancelled_caught:
        raise Interrupted


async def _heed(signals: AsyncIterator[signal.Signals], scope: CancelScope, ctrl_c: Callable[[], None] | None) -> None:
    async for number in signals:
        if ctrl_c is None or number == signal.SIGTERM:
            scope.cancel()
        else:
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
