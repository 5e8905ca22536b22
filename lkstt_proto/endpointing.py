"""Client endpointing: the end of speech, found here for models that do not find it (PROTOCOL 6.5)."""

from __future__ import annotations

from typing import Protocol

from .audio import SAMPLE_BYTES

FRAMES_PER_SECOND = 50
"""An endpointer hears 20 ms at a time: the frame that voice detectors agree on."""


class Endpointer(Protocol):
    """Finds the end of speech."""

    def push(self, pcm: bytes) -> bool:
        """Hear the next 20 ms (16-bit mono at the stream's rate); return whether speech ended with it."""


class Endpointing:
    """Cuts pushed audio into frames and has an endpointer hear each of them once."""

    __slots__ = ("_endpointer", "_frame_bytes", "_partial", "_position", "failure")

    def __init__(self, endpointer: Endpointer, rate: int) -> None:
        self._endpointer = endpointer
        self._frame_bytes = max(1, rate // FRAMES_PER_SECOND) * SAMPLE_BYTES
        self._partial = bytearray()
        self._position = 0
        self.failure: Exception | None = None
        """What the endpointer raised; it is not to be asked again."""

    def push(self, pcm: bytes | memoryview) -> list[int]:
        """Hear more audio; return the positions at which speech ended. Afterwards look at ``failure``."""
        self._partial += pcm
        size = self._frame_bytes
        ends = []
        whole = len(self._partial) // size * size
        frames = bytes(self._partial[:whole])
        del self._partial[:whole]
        for start in range(0, whole, size):
            self._position += size // SAMPLE_BYTES
            try:
                ended = self._endpointer.push(frames[start : start + size])
            except Exception as failure:  # whatever a caller's endpointer raises, the words go on
                self.failure = failure
                break
            if ended:
                ends.append(self._position)
        return ends
