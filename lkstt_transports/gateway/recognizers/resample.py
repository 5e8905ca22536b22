"""Conversion of sample rates in a stream, through soxr (extra `audio`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from .base import RecognizerMissing, RecognizerRefused

# Telephones to studios; outside of it a number is a mistake rather than audio.
LOWEST_HZ, HIGHEST_HZ = 8_000, 96_000


def check_rate(source: int, target: int) -> None:
    """Raise `RecognizerRefused` or `RecognizerMissing` unless audio at `source` Hz can be heard at `target` Hz."""
    if source == target:
        return
    if not LOWEST_HZ <= source <= HIGHEST_HZ:
        raise RecognizerRefused(f"a sample rate of {source} Hz is outside {LOWEST_HZ} to {HIGHEST_HZ} Hz")
    if find_spec("soxr") is None or find_spec("numpy") is None:
        raise RecognizerMissing(
            f"this recogniser hears {target} Hz; audio at {source} Hz needs: pip install 'lkstt[audio]'"
        )


class Resampler:
    """Turns 16-bit mono at one rate into another, with the same samples however the input is cut."""

    def __init__(self, source: int, target: int) -> None:
        check_rate(source, target)
        # Imported here because most sessions come at the engine's own rate and need neither.
        import numpy
        import soxr

        self._numpy: Any = numpy
        self._stream: Any = soxr.ResampleStream(source, target, 1, dtype="int16")
        # soxr is fed in blocks of fixed size, so that its rounding cannot depend on the caller's chunks.
        self._block = source // 50 * 2
        self._waiting = bytearray()

    def accept(self, pcm: bytes) -> bytes:
        """Convert whole blocks; the rest waits for more."""
        self._waiting += pcm
        usable = len(self._waiting) // self._block * self._block
        out = b"".join(
            self._convert(bytes(self._waiting[at : at + self._block]), last=False)
            for at in range(0, usable, self._block)
        )
        del self._waiting[:usable]
        return out

    def flush(self) -> bytes:
        """Convert what waits and what the filter holds, then begin anew."""
        out = self._convert(bytes(self._waiting), last=True)
        self._waiting.clear()
        self._stream.clear()
        return out

    def _convert(self, pcm: bytes, *, last: bool) -> bytes:
        samples = self._numpy.frombuffer(pcm, dtype="<i2").astype("int16")
        converted: bytes = self._stream.resample_chunk(samples, last=last).astype("<i2").tobytes()
        return converted
