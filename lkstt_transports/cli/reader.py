"""Audio for the event loop: files, pipes and the microphone block, so a thread of their own reads them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from ..audio_files import AudioFile, AudioFileError

_BLOCKS_AHEAD = 8  # enough that neither side waits for the other to wake up


class Reader:
    """Opens and reads one source; iterate over it for blocks of PCM once `open` has returned."""

    def __init__(self, name: str, source: Callable[[], AudioFile]) -> None:
        self._name = name
        self._source = source
        self._opened: asyncio.Queue[AudioFile | Exception] = asyncio.Queue()
        self._blocks: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._room = threading.Semaphore(_BLOCKS_AHEAD)
        self._stopped = False

    async def open(self) -> AudioFile:
        """Open the source, and say what it is. Raises what opening raises."""
        self._loop = asyncio.get_running_loop()
        # A daemon: it may wait for a pipe that never ends, and must not hold up the end of the program.
        threading.Thread(target=self._run, name="lkstt-reader", daemon=True).start()
        opened = await self._opened.get()
        if isinstance(opened, Exception):
            raise opened
        return opened

    def stop(self) -> None:
        """End the audio here, as if the source had ended."""
        self._stopped = True
        self._room.release()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (block := await self._blocks.get()) is not None:
            if isinstance(block, Exception):
                raise block
            self._room.release()
            yield block

    def _run(self) -> None:
        # The loop may be closed before a pipe says anything: then nobody is there to hear it.
        with suppress(RuntimeError):
            try:
                source = self._source()
            except Exception as error:
                self._loop.call_soon_threadsafe(self._opened.put_nowait, error)
                return
            with source:
                self._loop.call_soon_threadsafe(self._opened.put_nowait, source)
                self._loop.call_soon_threadsafe(self._blocks.put_nowait, self._read(source))

    def _read(self, source: AudioFile) -> Exception | None:
        """Hand over all blocks; give what ended them, if that was not their end."""
        try:
            for block in source:
                self._room.acquire()
                if self._stopped:
                    break
                self._loop.call_soon_threadsafe(self._blocks.put_nowait, block)
        except OSError as error:
            return AudioFileError(f"{self._name} cannot be read any further ({error.strerror})", "check the disk")
        except Exception as error:  # raised again where somebody waits for it
            return error
        return None
