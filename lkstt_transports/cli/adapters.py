"""The adapters by the names of `--transport`, all with the manners of the asynchronous ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Self

from anyio import CancelScope, to_thread

from lkstt_proto import Stats

from .failure import Failure
from .reader import ThreadIterator

BACKENDS = {"asyncio": "asyncio", "trio": "trio", "anyio": "asyncio", "sync": "asyncio"}
"""The event loop that anyio runs for each."""


def load_stt(transport: str, adapt: Callable[[Any], Any] = lambda stt: stt) -> Callable[..., Any]:
    """Give what makes an `STT`; `adapt` may put another class in its place.

    Raises `Failure` when a package of its extra is missing.
    """
    try:
        adapter = import_module(f"lkstt_transports.{transport}")
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise Failure(f"--transport {transport} needs {package}: pip install 'lkstt[{transport}]'") from None
    make: Callable[..., Any] = adapt(adapter.STT)
    return partial(_ThreadedSTT, make) if transport == "sync" else make


class _ThreadedSTT:
    """The sync transport for the event loop, as far as a job needs it: whatever blocks does so in a thread."""

    def __init__(self, make: Callable[..., Any], *arguments: Any, **settings: Any) -> None:
        self._stt = make(*arguments, **settings)

    def stream(self) -> _ThreadedStream:
        return _ThreadedStream(self._stt.stream())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stt.aclose()  # waits for nothing: its streams are closed


class _ThreadedStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        # A thread for each: of those that anyio shares there may be too few for all streams, and each would block.
        self._events = ThreadIterator(event for event in stream.events())

    @property
    def stats(self) -> Stats:
        stats: Stats = self._stream.stats
        return stats

    async def push_audio(self, pcm: bytes) -> None:
        # An abandoned push ends when the stream is closed.
        await to_thread.run_sync(self._stream.push_audio, pcm, abandon_on_cancel=True)

    def end_input(self) -> None:
        self._stream.end_input()

    def events(self) -> ThreadIterator[Any]:
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(self._stream.aclose)

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
        self._events.stop()
