"""The microphone as a source of audio, through sounddevice (extra `mic`)."""

from __future__ import annotations

from collections.abc import Iterator

from ..audio_files import BLOCKS_PER_SECOND, AudioFile
from .failure import Failure


def open_microphone(rate: int) -> AudioFile:
    """Start to record 16-bit mono at `rate` Hz from the default device. Raises `Failure`."""
    try:
        import sounddevice
    except ImportError:
        raise Failure("the microphone needs sounddevice: pip install 'lkstt[mic]'") from None
    except OSError:
        raise Failure(
            "sounddevice does not find PortAudio: install it (Debian, Ubuntu: apt install libportaudio2)"
        ) from None
    try:
        stream = sounddevice.RawInputStream(samplerate=rate, channels=1, dtype="int16")
        stream.start()
    except sounddevice.PortAudioError as error:
        raise Failure(f"the microphone cannot be opened ({error}): check that one is connected and allowed") from None
    warnings: list[str] = []

    def blocks() -> Iterator[bytes]:
        while True:
            try:
                data, overflowed = stream.read(rate // BLOCKS_PER_SECOND)
            except sounddevice.PortAudioError as error:
                raise Failure(f"the microphone went away ({error}): check that it is connected") from None
            if overflowed and not warnings:
                warnings.append("the microphone was faster than this computer: some of it is lost")
            yield bytes(data)

    return AudioFile("microphone", blocks(), warnings, None, stream.close)
