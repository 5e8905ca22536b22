"""Where transcripts go: standard output or files, in the order of the command line however many are made at once."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from lkstt_proto import SpeechData

from .display import Display
from .failure import Failure, emit
from .formats import Writer


class StandardOutput:
    """Prints each piece at once, with the live display out of the way."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def write(self, text: str) -> None:
        """Print. Raises `OutputClosed` or `Failure`."""
        if text:
            with self._display.aside():
                emit(text)

    def close(self) -> None:
        """Nothing is left to do: it was printed when it came."""


class NewFile:
    """A file that appears under its name when it is closed, whole or as far as it came; never, if nothing was written.

    Raises `Failure` when it cannot be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        # Beside the file, because only within one file system is a new name given at once.
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        if os.path.lexists(path):
            raise Failure(f"{path} exists already: remove it, or choose another name")
        if not path.parent.is_dir():
            raise Failure(f"{path.parent} is not a directory: create it, or choose another place")
        if not os.access(path.parent, os.W_OK):
            raise Failure(f"{path.parent} may not be written: check its permissions")

    def write(self, text: str) -> None:
        """Write, and let the system have it, so that a crash leaves it behind."""
        try:
            if self._file is None:
                self._file = open(self._part, "x", encoding="utf-8", newline="\n")  # noqa: SIM115 (close closes it)
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            raise Failure(f"{self._path} cannot be written ({error.strerror}): check the disk") from None

    def close(self) -> None:
        """Give the file its name."""
        if self._file is None:
            return
        # What the disk had no room for was told when it was written.
        with suppress(OSError):
            self._file.close()
        self._file = None
        try:
            os.replace(self._part, self._path)
        except OSError as error:
            raise Failure(f"{self._path} cannot be written ({error.strerror}): see {self._part}") from None


class Document:
    """The transcripts of one or several files in one place.

    The file whose turn it is is written as it comes; the ones after it wait for theirs.
    """

    def __init__(self, place: StandardOutput | NewFile, kind: type[Writer], names: list[str], *, words: bool) -> None:
        self._place = place
        self._kind = kind
        self._names = names
        self._writers = [kind(name, words=words) for name in names]
        self._waiting: list[list[str]] = [[] for _ in names]
        self._ended = [False] * len(names)
        self._turn = 0
        self._begun: int | None = None  # the last file that something was written for
        self._broken = False

    def final(self, index: int, data: SpeechData) -> None:
        """Write one final transcript of one file."""
        self._put(index, self._writers[index].final(data))

    def end(self, index: int, *, duration: float, complete: bool) -> None:
        """Finish one file; one that failed before its first words leaves no trace."""
        if complete or self._waiting[index] or self._begun == index:
            self._put(index, self._writers[index].end(duration=duration, complete=complete))
        self._ended[index] = True
        self._flush()

    def close(self) -> None:
        """Write what still waits for files that never ended, and close the place."""
        self._ended = [True] * len(self._ended)
        self._flush()
        if self._begun is not None:
            self._write(self._kind.foot(several=len(self._names) > 1))
        self._place.close()

    def _put(self, index: int, text: str) -> None:
        self._waiting[index].append(text)
        self._flush()

    def _flush(self) -> None:
        for index in range(self._turn, len(self._names)):
            self._turn = index
            # Even an empty piece counts: it is the transcript of silence, and has a heading.
            if pieces := self._waiting[index]:
                self._waiting[index] = []
                self._write(self._opening(index) + "".join(pieces))
            if not self._ended[index]:
                break

    def _opening(self, index: int) -> str:
        if self._begun == index:
            return ""
        several, first = len(self._names) > 1, self._begun is None
        self._begun = index
        head = self._kind.head(several=several) if first else ""
        return head + (self._kind.heading(self._names[index], first=first) if several else "")

    def _write(self, text: str) -> None:
        # Tried again, a place that failed would say so twice.
        if self._broken:
            return
        try:
            self._place.write(text)
        except BaseException:
            self._broken = True
            raise
