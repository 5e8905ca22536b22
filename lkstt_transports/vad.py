"""The end of speech by WebRTC's voice detector, for models that want the client to find it (PROTOCOL 6.5)."""

from __future__ import annotations

import sys
from array import array
from itertools import pairwise

from lkstt_proto import LocalProtocolError

_RATES_HZ = (8000, 16000, 32000, 48000)  # what the detector takes
_CONVERTED_HZ = 8000  # what any other rate becomes: a voice detector listens below 4 kHz anyway
_FRAMES_PER_SECOND = 50
_MODE = 2  # of 0 (takes noise for speech) to 3 (takes speech for noise)
_START_FRAMES = 6  # 120 ms: the detector holds on to a click for 4 or 5 frames, and to a syllable for longer
_END_FRAMES = 25  # 0.5 s: longer than a pause between words, shorter than a turn of a conversation


class WebRtcEndpointer:
    """Hears 20 ms frames and says when speech has ended: 0.5 s without voice, after at least 120 ms with it."""

    def __init__(self, sample_rate: int) -> None:
        """Listen to audio at ``sample_rate`` Hz. Raises LocalProtocolError when the package is not installed."""
        try:
            from webrtcvad import Vad
        except ImportError:
            raise LocalProtocolError(
                "this model wants the client to find the end of speech: pip install 'lkstt[vad]', or pass endpointer=",
                phase="configure",
            ) from None
        self._vad = Vad(_MODE)
        self._converts = sample_rate not in _RATES_HZ
        self._rate = _CONVERTED_HZ if self._converts else sample_rate
        self._speaking = False
        self._run = 0  # frames in a row that speak against the present state

    def push(self, pcm: bytes) -> bool:
        """Hear the next 20 ms; return whether speech ended with them."""
        frame = _convert(pcm) if self._converts else pcm
        if self._vad.is_speech(frame, self._rate) == self._speaking:
            self._run = 0
            return False
        self._run += 1
        if self._run < (_END_FRAMES if self._speaking else _START_FRAMES):
            return False
        self._speaking = not self._speaking
        self._run = 0
        return not self._speaking


def _convert(pcm: bytes) -> bytes:
    """Bring a 20 ms frame of any rate to 8 kHz: each sample out is the mean of the samples in that it covers.

    A mean is a poor filter and good enough here: nobody listens to the result but the detector.
    """
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    count, wanted = len(samples), _CONVERTED_HZ // _FRAMES_PER_SECOND
    edges = [i * count // wanted for i in range(wanted + 1)]
    converted = array("h")
    for start, end in pairwise(edges):
        part = samples[start : max(end, start + 1)]  # below 8 kHz samples are repeated
        converted.append(sum(part) // len(part))
    if sys.byteorder == "big":
        converted.byteswap()
    return converted.tobytes()
