"""What blocks, for the event loop: files, pipes, the microphone, and streams of the sync transport."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from typing import Any, Generic, TypeVar

from anyio import Event, from_thread
from anyio.lowlevel import EventLoopToken, current_token

from ..audio_files import AudioFile, AudioFileError

_ITEMS_AHEAD = 8  # enough that neither side waits for the other to wake up

T = TypeVar("T")


class ThreadIterator(Generic[T]):
    """Iterates in a thread of its own; the event loop gets the items, and what was raised behind them.

    The thread is a daemon, as anyio's own are not: it may wait for a pipe that never ends, and must not hold up the
    end of the program.
    """

    def __init__(self, items: Generator[T]) -> None:
        self._items = items
        self._room = threading.Semaphore(_ITEMS_AHEAD)
        self._ready: deque[T | Exception] = deque()
        self._news: Event | None = None  # what the loop waits for, if it does
        self._started = False
        self._stopped = False

    def stop(self) -> None:
        """End the items here, as if there were no more."""
        self._stopped = True
        self._room.release()

    def __aiter__(self) -> ThreadIterator[T]:
        return self

    async def __anext__(self) -> T:
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, args=(current_token(),), name="lkstt-reader", daemon=True).start()
        while not self._ready:
            self._news = Event()
            if not self._ready:  # which the thread may have changed before it could see that somebody waits
                await self._news.wait()
            self._news = None
        item = self._ready[0]
        if isinstance(item, Exception):
            raise item
        self._room.release()
        self._ready.popleft()
        return item

    def _run(self, token: EventLoopToken) -> None:
        end: Exception = StopAsyncIteration()
        # The loop may end before a pipe says anything: then nobody is there to hear it.
        with suppress(RuntimeError):
            try:
                with closing(self._items):
                    for item in self._items:
                        self._room.acquire()
                        if self._stopped:
                            break
                        self._put(item, token)
            except Exception as error:  # raised again where somebody waits for it
                end = error
            self._put(end, token)

    def _put(self, item: T | Exception, token: EventLoopToken) -> None:
        self._ready.append(item)
        if (news := self._news) is not None:
            from_thread.run_sync(news.set, token=token)


class Reader:
    """Opens and reads one source of audio; iterate over it for blocks of PCM once `open` has returned."""

    def __init__(self, name: str, source: Callable[[], AudioFile]) -> None:
        self._name = name
        self._source = source
        self._items = ThreadIterator(self._read())

    async def open(self) -> AudioFile:
        """Open the source, and say what it is. Raises what opening raises."""
        audio: AudioFile = await anext(self._items)
        return audio

    def stop(self) -> None:
        """End the audio here, as if the source had ended."""
        self._items.stop()

    def __aiter__(self) -> ThreadIterator[Any]:
        return self._items

    def _read(self) -> Generator[Any]:
        """Give the file, open, and then its blocks."""
        with self._source() as audio:
            yield audio
            try:
                yield from audio
            except OSError as error:
                raise AudioFileError(
                    f"{self._name} cannot be read any further ({error.strerror})", "check the disk"
                ) from None
