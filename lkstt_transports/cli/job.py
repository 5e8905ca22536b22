"""The transcription of one source, from its first byte to its last word; shared by the commands that transcribe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from anyio import CancelScope, current_time, get_cancelled_exc_class, sleep_until
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
from .running import cancelled_by_signals, task_group

# A gateway that never answered is down, or the address is wrong: so many attempts or seconds tell it.
_FIRST_ATTEMPTS = 5
_FIRST_SECONDS = 10.0


async def run_jobs(
    work: list[Job],
    jobs: int,
    make_stt: Callable[[], AbstractAsyncContextManager[Any]],
    ctrl_c: Callable[[], None] | None = None,
) -> None:
    """Run so many jobs at a time, in order; the first failure that concerns all of them ends all.

    So do Ctrl-C and SIGTERM, with `Interrupted`, unless the first Ctrl-C has another meaning: `ctrl_c`.
    """
    waiting = iter(work)

    async def worker(stt: Any) -> None:
        for job in waiting:
            await job.run(stt)

    # Streams end politely only while what moves them, which the STT owns, is not cancelled.
    async with make_stt() as stt, cancelled_by_signals(ctrl_c), task_group() as group:
        for _ in range(jobs):
            group.start_soon(worker, stt)


@define(kw_only=True, eq=False)
class Job:
    """The transcription of one source."""

    name: str
    "What people read; that in the document may be another."
    source: Callable[[], AudioFile]
    rate: int
    realtime: bool
    words: bool
    display: Display
    document: Document
    index: int
    texts: list[str] = field(init=False, factory=list)
    "What was said, final by final."
    failed: bool = field(init=False, default=False)
    "Whether it failed, and the others may succeed."
    _reader: Reader = field(init=False)
    _row: int = field(init=False, default=0)
    _heard: float = field(init=False, default=0.0)
    "Seconds of audio pushed."
    _read_error: Exception | None = field(init=False, default=None)
    _untimed: bool = field(init=False, default=False)
    _lost: bool = field(init=False, default=False)
    "Whether it was said that the connection is lost."

    def __attrs_post_init__(self) -> None:
        self._reader = Reader(self.name, self.source)

    def end_source(self) -> None:
        """End the source here, as if there was no more of it; what was said is still transcribed."""
        self._reader.stop()

    async def run(self, stt: Any) -> None:
        """Transcribe. Raises what ends all jobs: an `SttError` or `Failure`."""
        complete = False
        try:
            await self._transcribe(stt)
            complete = True
        except (AudioFileError, FinalizeTimeout) as error:
            self.failed = True
            self.display.note(str(error) if isinstance(error, AudioFileError) else f"{self.name}: {error}")
        finally:
            self.document.end(self.index, duration=self._heard, complete=complete)

    async def _transcribe(self, stt: Any) -> None:
        try:
            audio = await self._reader.open()
            self._row = self.display.add(self.name, audio.duration)
            started = current_time()
            try:
                async with stt.stream() as stream:
                    await self._listen(stream)
            finally:
                self.display.remove(self._row)
                for warning in audio.warnings:
                    self.display.note(warning)
        finally:
            self._reader.stop()
        if self._read_error is not None:
            raise self._read_error
        if self._untimed:
            self.display.note(f"{self.name}: the model gave no word times, so whole sentences have them")
        elapsed = max(current_time() - started, 0.001)
        self.display.note(
            f"{self.name}: {self._heard:.1f} s of audio in {elapsed:.1f} s, {self._heard / elapsed:.1f} times real time"
        )

    async def _listen(self, stream: Any) -> None:
        started = current_time()
        async with task_group() as group:
            group.start_soon(self._feed, stream)
            try:
                async for event in stream.events():
                    self._take(event)
                    if isinstance(event, Reconnecting):
                        self._judge(event, stream, current_time() - started)
            except get_cancelled_exc_class():
                # What the open turn has so far becomes its final when the stream is closed.
                with CancelScope(shield=True), suppress(SttError):
                    await stream.aclose()
                    async for event in stream.events():
                        self._take(event)
                raise
            group.cancel_scope.cancel()

    async def _feed(self, stream: Any) -> None:
        started = current_time()
        try:
            async for block in self._reader:
                self._heard += len(block) / 2 / self.rate
                if self.realtime:
                    await sleep_until(started + self._heard)
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
