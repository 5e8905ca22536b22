"""The transcription of one source, from its first byte to its last word; shared by the commands that transcribe."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field

from lkstt_proto import (
    AudioDropped,
    ConnectError,
    Event,
    FinalizeTimeout,
    QuotaExceeded,
    Reconnecting,
    Resumed,
    SpeechEvent,
    SpeechEventType,
    SttError,
)

from ..audio_files import AudioFile, AudioFileError
from .display import Display
from .output import Document
from .reader import Reader

# A gateway that never answered is down, or the address is wrong: so many attempts or seconds tell it.
_FIRST_ATTEMPTS = 5
_FIRST_SECONDS = 10.0


async def run_jobs(work: list[Job], jobs: int) -> None:
    """Run so many jobs at a time, in order; the first failure that concerns all of them ends all."""
    waiting = iter(work)

    async def worker() -> None:
        for job in waiting:
            await job.run()

    workers = [asyncio.create_task(worker()) for _ in range(jobs)]
    try:
        done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


@define(kw_only=True, eq=False)
class Job:
    """The transcription of one source."""

    name: str
    "What people read; that in the document may be another."
    source: Callable[[], AudioFile]
    rate: int
    realtime: bool
    words: bool
    live: bool
    "Whether Ctrl-C is how the source ends."
    stt: Any
    display: Display
    document: Document
    index: int
    texts: list[str] = field(init=False, factory=list)
    "What was said, final by final."
    failed: bool = field(init=False, default=False)
    "Whether it failed, and the others may succeed."
    _row: int = field(init=False, default=0)
    _heard: float = field(init=False, default=0.0)
    "Seconds of audio pushed."
    _read_error: Exception | None = field(init=False, default=None)
    _untimed: bool = field(init=False, default=False)
    _lost: bool = field(init=False, default=False)
    "Whether it was said that the connection is lost."

    async def run(self) -> None:
        """Transcribe. Raises what ends all jobs: an `SttError` or `Failure`."""
        complete = False
        try:
            await self._transcribe()
            complete = True
        except (AudioFileError, FinalizeTimeout) as error:
            self.failed = True
            self.display.note(str(error) if isinstance(error, AudioFileError) else f"{self.name}: {error}")
        finally:
            self.document.end(self.index, duration=self._heard, complete=complete)

    async def _transcribe(self) -> None:
        reader = Reader(self.name, self.source)
        loop = asyncio.get_running_loop()
        try:
            audio = await reader.open()
            self._row = self.display.add(self.name, audio.duration)
            started = loop.time()
            if self.live:
                with suppress(NotImplementedError):  # Windows: Ctrl-C cancels there
                    loop.add_signal_handler(signal.SIGINT, self._end_live, reader)
            try:
                async with self.stt.stream() as stream:
                    await self._listen(stream, reader)
            finally:
                self.display.remove(self._row)
                for warning in audio.warnings:
                    self.display.note(warning)
        finally:
            reader.stop()
        if self._read_error is not None:
            raise self._read_error
        if self._untimed:
            self.display.note(f"{self.name}: the model gave no word times, so whole sentences have them")
        elapsed = max(loop.time() - started, 0.001)
        self.display.note(
            f"{self.name}: {self._heard:.1f} s of audio in {elapsed:.1f} s, {self._heard / elapsed:.1f} times real time"
        )

    def _end_live(self, reader: Reader) -> None:
        reader.stop()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)  # the second Ctrl-C interrupts

    async def _listen(self, stream: Any, reader: Reader) -> None:
        started = asyncio.get_running_loop().time()
        feeder = asyncio.create_task(self._feed(stream, reader))
        try:
            async for event in stream.events():
                self._take(event)
                if isinstance(event, Reconnecting):
                    self._judge(event, stream, asyncio.get_running_loop().time() - started)
        except asyncio.CancelledError:
            # What the open turn has so far becomes its final when the stream is closed.
            await stream.aclose()
            with suppress(SttError):
                async for event in stream.events():
                    self._take(event)
            raise
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    async def _feed(self, stream: Any, reader: Reader) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async for block in reader:
                self._heard += len(block) / 2 / self.rate
                if self.realtime:
                    await asyncio.sleep(started + self._heard - loop.time())
                await stream.push_audio(block)
        except SttError:
            return  # the stream says so to those who read its events
        except Exception as error:  # what was heard so far is finished first
            self._read_error = error
        with suppress(SttError):
            stream.end_input()

    def _judge(self, event: Reconnecting, stream: Any, elapsed: float) -> None:
        """Say that the connection is lost; a gateway that was never there, and does not ask to wait, is given up."""
        if stream.stats.sessions or isinstance(event.error, QuotaExceeded):
            if not self._lost:
                self._lost = True
                self.display.note(f"{self.name}: {event.error}; trying again")
        elif isinstance(event.error, ConnectError) and (event.attempt >= _FIRST_ATTEMPTS or elapsed >= _FIRST_SECONDS):
            raise event.error

    def _take(self, event: Event) -> None:
        if isinstance(event, SpeechEvent):
            self._hear(event)
        elif isinstance(event, AudioDropped):
            self.display.note(
                f"{self.name}: {event.end - event.start:.1f} s of audio from {event.start:.1f} s on are lost"
            )
        elif isinstance(event, Resumed) and self._lost:
            self._lost = False
            self.display.note(f"{self.name}: connected again")

    def _hear(self, event: SpeechEvent) -> None:
        if not event.alternatives:
            return
        data = event.alternatives[0]
        if event.type is SpeechEventType.FINAL_TRANSCRIPT:
            self.display.interim(self._row, "")
            if data.text.strip():
                self._untimed |= self.words and not data.words
                self.texts.append(data.text)
                self.document.final(self.index, data)
        else:
            self.display.interim(self._row, data.text)
        self.display.heard(self._row, data.end_time)
