"""The endpointer on WebRTC's voice detector."""

from __future__ import annotations

import math
import sys
from array import array

import pytest

from lkstt_proto import LocalProtocolError
from lkstt_transports import vad
from lkstt_transports.vad import WebRtcEndpointer

RATES_HZ = [6000, 8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000]


def silence(rate: int, seconds: float) -> bytes:
    return bytes(2 * round(rate * seconds))


def voice(rate: int, seconds: float) -> bytes:
    """Something with the harmonics and the rhythm of a voice."""

    def sample(index: int) -> int:
        time = index / rate
        tone = sum(math.sin(2 * math.pi * 140 * k * time) / k for k in range(1, 12))
        return int(3000 * tone * (0.6 + 0.4 * math.sin(2 * math.pi * 4 * time)))

    return array("h", map(sample, range(round(rate * seconds)))).tobytes()


def ends(rate: int, pcm: bytes) -> list[float]:
    """Seconds at which speech ended."""
    endpointer = WebRtcEndpointer(rate)
    size = rate // 50 * 2
    return [
        (start + size) / 2 / rate
        for start in range(0, len(pcm) - size + 1, size)
        if endpointer.push(pcm[start : start + size])
    ]


@pytest.mark.parametrize("rate", RATES_HZ)
def test_speech_ends_after_half_a_second_without_voice(rate: int) -> None:
    pcm = silence(rate, 0.5) + voice(rate, 0.6) + silence(rate, 1.0) + voice(rate, 0.4) + silence(rate, 1.0)
    first, second = ends(rate, pcm)
    assert first == pytest.approx(1.1 + 0.5, abs=0.15)  # the detector holds on for a moment
    assert second == pytest.approx(2.5 + 0.5, abs=0.15)


def test_a_pause_between_words_ends_nothing() -> None:
    pcm = voice(16000, 0.4) + silence(16000, 0.25) + voice(16000, 0.4) + silence(16000, 1.0)
    assert len(ends(16000, pcm)) == 1


@pytest.mark.parametrize("rate", [16000, 24000])
def test_silence_and_clicks_are_no_speech(rate: int) -> None:
    click = array("h", [20000, -20000] * 10).tobytes()
    assert ends(rate, silence(rate, 1.0) + click + silence(rate, 1.0)) == []


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(LocalProtocolError, match=r"pip install 'lkstt\[vad\]'"):
        WebRtcEndpointer(16000)


def test_samples_are_little_endian_whatever_computer_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = voice(24000, 0.02)
    expected = array("h", vad._convert(pcm))
    # To a computer of the other kind these bytes look as the swapped ones do here.
    swapped = array("h", pcm)
    swapped.byteswap()
    monkeypatch.setattr(sys, "byteorder", {"little": "big", "big": "little"}[sys.byteorder])
    converted = array("h", vad._convert(swapped.tobytes()))
    converted.byteswap()
    assert converted == expected
