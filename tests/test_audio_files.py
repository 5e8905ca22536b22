"""Sound files as PCM: what is read, what is converted, and what is refused with a cure."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import wave
from importlib.util import find_spec as real_find_spec
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile

from lkstt_transports import audio_files
from lkstt_transports.audio_files import AudioFileError, open_audio

SAMPLES = struct.pack("<8000h", *(n * 7 % 4001 - 2000 for n in range(8000)))  # half a second at 16 kHz


def wav(data: bytes, *, rate: int = 16000, channels: int = 1, bits: int = 16, tag: int = 1, size: int | None = None,
        before: bytes = b"", extra: bytes = b"") -> bytes:  # fmt: skip
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits) + extra
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + before
    return (
        b"RIFF" + struct.pack("<I", 4 + len(chunks) + 8 + len(data)) + b"WAVE" + chunks
        + b"data" + struct.pack("<I", len(data) if size is None else size) + data
    )  # fmt: skip


def read(path: Path, rate: int = 16000) -> tuple[bytes, list[str]]:
    with open_audio(str(path), rate=rate) as audio:
        return b"".join(audio), audio.warnings


def saved(folder: Path, data: bytes, name: str = "a.wav") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path | str, rate: int = 16000) -> str:
    with pytest.raises(AudioFileError) as caught:
        open_audio(str(path), rate=rate)
    assert "\n" not in str(caught.value)
    assert str(caught.value) == f"{caught.value.cause}: {caught.value.cure}"
    return str(caught.value)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra `audio`."""
    missing = {"numpy", "soxr", "soundfile"}
    monkeypatch.setattr(audio_files, "find_spec", lambda name: None if name in missing else real_find_spec(name))


def test_the_usual_wav_needs_the_standard_library_alone(tmp_path: Path, bare: None) -> None:
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(SAMPLES)
    with open_audio(str(path)) as audio:
        assert audio.duration == 0.5
        blocks = list(audio)
    assert b"".join(blocks) == SAMPLES
    assert [len(block) for block in blocks] == [3200] * 5
    assert audio.warnings == []


def test_chunks_before_the_data_and_the_extensible_header_are_understood(tmp_path: Path, bare: None) -> None:
    odd = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    extra = struct.pack("<HHIH", 22, 16, 4, 1) + bytes(14)
    assert read(saved(tmp_path, wav(SAMPLES, tag=0xFFFE, extra=extra, before=odd))) == (SAMPLES, [])


def test_chunks_behind_the_data_are_not_audio(tmp_path: Path, bare: None) -> None:
    trailer = b"LIST" + struct.pack("<I", 4) + b"abcd"
    assert read(saved(tmp_path, wav(SAMPLES) + trailer)) == (SAMPLES, [])


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_streams_that_did_not_know_their_length_are_read_to_the_end(tmp_path: Path, bare: None, size: int) -> None:
    path = saved(tmp_path, wav(SAMPLES, size=size))
    with open_audio(str(path)) as audio:
        assert audio.duration == 0.5
        assert b"".join(audio) == SAMPLES
    assert audio.warnings == []


def test_what_is_left_of_a_truncated_file_is_heard_with_a_warning(tmp_path: Path, bare: None) -> None:
    data, warnings = read(saved(tmp_path, wav(SAMPLES)[:-8001]))
    assert data == SAMPLES[:7998]
    assert len(warnings) == 1
    assert warnings[0].endswith("is cut off: its header promises 0.5 s, 0.2 s are there")


def test_an_odd_byte_at_the_end_is_left_out_with_a_warning(tmp_path: Path, bare: None) -> None:
    data, warnings = read(saved(tmp_path, wav(SAMPLES + b"\1")))
    assert data == SAMPLES
    assert len(warnings) == 1
    assert "ends within a sample" in warnings[0]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty: check the program"),
        (wav(b""), "has no audio in it: check"),
        (wav(b"\1"), "has no audio in it: check"),
        (wav(SAMPLES)[:30], "is a WAV file without audio in it: check"),
        (b"RIFF\0\0\0\0WAVE", "is a WAV file without audio in it: check"),
        (wav(SAMPLES, channels=0), "has a broken WAV header: check"),
        (wav(SAMPLES, rate=0), "has a broken WAV header: check"),
        (wav(SAMPLES, bits=12), "has a broken WAV header: check"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "has a broken WAV header: check"),
    ],
)
def test_files_without_audio_are_refused(tmp_path: Path, content: bytes, cause: str) -> None:
    path = saved(tmp_path, content)
    assert refusal(path).startswith(f"{path} {cause}")


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "b.wav") == f"{tmp_path}/b.wav does not exist: check the path"
    assert refusal(tmp_path) == f"{tmp_path} is a directory: name the files in it"
    assert "cannot be read (not a path): check the path" in refusal("a\0b")


@pytest.mark.parametrize(
    ("error", "cause"), [(PermissionError, "may not be read: check its permissions"), (OSError, "cannot be read (")]
)
def test_unreadable_files_are_refused(monkeypatch: pytest.MonkeyPatch, error: type[OSError], cause: str) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise error(5, "Input/output error")

    monkeypatch.setattr("builtins.open", refuse)
    assert cause in refusal("a.wav")


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"channels": 2}, "16 kHz 16-bit stereo"),
        ({"channels": 6, "bits": 24}, "16 kHz 24-bit 6 channels"),
        ({"bits": 8}, "16 kHz 8-bit mono"),
        ({"rate": 44100}, "44.1 kHz 16-bit mono"),
    ],
)
def test_other_shapes_are_refused_with_the_cure_when_nothing_converts_them(
    tmp_path: Path, bare: None, shape: dict[str, int], told: str
) -> None:
    path = saved(tmp_path, wav(SAMPLES, **shape))
    assert refusal(path) == f"{path} is {told}, and 16 kHz 16-bit mono is needed: pip install 'lkstt[audio]'"


def test_a_rate_that_the_model_requires_is_made_or_refused(tmp_path: Path, bare: None) -> None:
    path = saved(tmp_path, wav(SAMPLES))
    assert "and 24 kHz 16-bit mono is needed: pip install 'lkstt[audio]'" in refusal(path, rate=24000)
    assert read(saved(tmp_path, wav(SAMPLES, rate=24000)), rate=24000) == (SAMPLES, [])


def test_other_formats_are_refused_with_the_cure_when_nothing_reads_them(tmp_path: Path, bare: None) -> None:
    for content in (b"fLaC" + bytes(60), wav(SAMPLES, tag=7, bits=8), b"hello"):
        assert "is not a WAV file of plain samples: pip install 'lkstt[audio]'" in refusal(saved(tmp_path, content))


class TestConverted:
    """What numpy, soxr and soundfile do."""

    def test_equal_channels_and_wider_samples_come_out_exactly(self, tmp_path: Path) -> None:
        samples = numpy.frombuffer(SAMPLES, dtype="<i2")
        stereo = numpy.repeat(samples, 2).tobytes()
        wide = (samples.astype("<i4") << 16).tobytes()
        packed = b"".join(b"\0" + SAMPLES[at : at + 2] for at in range(0, len(SAMPLES), 2))
        floats = (samples / 32768).astype("<f4").tobytes()
        for data, shape in [
            (stereo, {"channels": 2}),
            (wide, {"bits": 32}),
            (packed, {"bits": 24}),
            (floats, {"bits": 32, "tag": 3}),
        ]:
            assert read(saved(tmp_path, wav(data, **shape))) == (SAMPLES, [])

    def test_channels_are_averaged_and_eight_bits_are_widened(self, tmp_path: Path) -> None:
        assert read(saved(tmp_path, wav(struct.pack("<4h", 100, 200, -3, 1), channels=2)))[0] == struct.pack(
            "<2h", 150, -1
        )
        eight = read(saved(tmp_path, wav(bytes([0, 128, 255]), bits=8)))[0]
        assert eight == struct.pack("<3h", -32768, 0, 127 * 256)

    def test_floats_that_are_no_numbers_or_too_loud_do_no_harm(self, tmp_path: Path) -> None:
        data = struct.pack("<4f", float("nan"), 9.0, -9.0, 0.0)
        assert read(saved(tmp_path, wav(data, bits=32, tag=3)))[0] == struct.pack("<4h", 0, 32767, -32768, 0)

    @pytest.mark.parametrize("bits", [32, 64])
    def test_no_float_is_too_large_to_be_heard(self, tmp_path: Path, bits: int) -> None:
        letter, largest = {32: ("f", 3e38), 64: ("d", 1e308)}[bits]
        samples = struct.pack(f"<8{letter}", *[largest] * 4, *[-largest] * 4)
        path = saved(tmp_path, wav(samples, bits=bits, tag=3, channels=2))
        assert read(path)[0] == struct.pack("<4h", 32767, 32767, -32768, -32768)
        assert len(read(path, rate=8000)[0]) == 4

    def test_a_header_claims_no_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        class Counted(io.FileIO):
            def read(self, size: int | None = -1, /) -> Any:
                asked.append(size)
                return super().read(size)

        monkeypatch.setattr(audio_files, "_open", lambda path: Counted(path, "rb"))
        form = struct.pack("<HHIIHH", 3, 8191, 768_000, 0, 8191 * 8, 64)
        header = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data\xff\xff\xff\xff"
        audio, _ = read(saved(tmp_path, header + bytes(2 * 8191 * 8)), rate=768_000)
        assert audio == bytes(4)
        assert max(size or 0 for size in asked) <= 2**20

    @pytest.mark.parametrize(("source", "target"), [(44100, 16000), (8000, 16000), (16000, 24000)])
    def test_a_tone_keeps_its_pitch_and_length_at_another_rate(self, tmp_path: Path, source: int, target: int) -> None:
        tone = numpy.sin(numpy.arange(source) * 2 * numpy.pi * 440 / source)
        data = (tone * 10000).astype("<i2").tobytes()
        out = numpy.frombuffer(read(saved(tmp_path, wav(data, rate=source)), rate=target)[0], dtype="<i2")
        assert abs(len(out) - target) <= 1
        assert numpy.argmax(abs(numpy.fft.rfft(out[: target // 2 * 2]))) == 440

    @pytest.mark.parametrize(("suffix", "subtype"), [("flac", "PCM_16"), ("ogg", "VORBIS"), ("wav", "ULAW")])
    def test_other_formats_are_read_through_soundfile(self, tmp_path: Path, suffix: str, subtype: str) -> None:
        path = tmp_path / f"a.{suffix}"
        samples = numpy.frombuffer(SAMPLES, dtype="<i2")
        soundfile.write(path, samples, 16000, subtype=subtype)
        with open_audio(str(path)) as audio:
            assert audio.duration == pytest.approx(0.5)
            data = b"".join(audio)
        assert len(data) == len(SAMPLES)
        if suffix == "flac":
            assert data == SAMPLES

    @pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.txt"])
    def test_what_is_no_audio_is_refused(self, tmp_path: Path, name: str) -> None:
        path = saved(tmp_path, b"this is a letter, not a recording", name)
        assert refusal(path).startswith(f"{path} is not audio that can be read: convert it to WAV")

    def test_a_broken_flac_is_heard_as_far_as_it_goes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.flac"
        noise = numpy.random.default_rng(1).integers(-9000, 9000, 64000).astype("i2")
        soundfile.write(path, noise, 16000)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        data, _ = read(path)
        assert 0 < len(data) < 2 * 64000
        assert data[:3200] == noise[:1600].astype("<i2").tobytes()

    def test_a_file_of_no_length_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "a.aiff"
        soundfile.write(path, numpy.zeros(0, dtype="i2"), 16000)
        assert refusal(path) == f"{path} has no audio in it: check the program that made it"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a thing of Unix")
def test_named_pipes_are_read_as_they_come_but_only_wav(tmp_path: Path) -> None:
    def through_pipe(content: bytes) -> Path:
        path = tmp_path / f"pipe{len(content)}"
        os.mkfifo(path)
        threading.Thread(target=path.write_bytes, args=[content]).start()
        return path

    with open_audio(str(through_pipe(wav(SAMPLES, size=0xFFFFFFFF)))) as audio:
        assert audio.duration is None
        assert b"".join(audio) == SAMPLES
    assert "is not WAV, and a pipe: save it as a file" in refusal(through_pipe(b"fLaC" + bytes(60)))


def from_standard_input(content: bytes, rate: int = 16000) -> tuple[bytes, str]:
    """Give the PCM and what else is said."""
    script = (
        "import sys; from lkstt_transports.audio_files import *\n"
        "try:\n"
        f"    with open_audio('-', rate={rate}) as audio: data = b''.join(audio)\n"
        "    sys.stdout.buffer.write(data); sys.stderr.write('|'.join(audio.warnings))\n"
        "except AudioFileError as error: sys.stderr.write(str(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=content, capture_output=True, timeout=30)
    return done.stdout, done.stderr.decode()


def test_standard_input_is_wav_or_raw_samples() -> None:
    assert from_standard_input(wav(SAMPLES, size=0)) == (SAMPLES, "")
    data, warning = from_standard_input(SAMPLES + b"\1")
    assert data == SAMPLES
    assert warning == "standard input ends within a sample: its last byte is not heard"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "standard input is empty"),
        (b"\1", "standard input has no audio in it"),
        (b"fLaC" + bytes(60), "standard input is neither WAV nor raw samples"),
        (b"\0\0\0\x20ftypM4A " + bytes(60), "standard input is neither WAV nor raw samples"),
        (b"To whom it may concern\n", "standard input is text, not audio"),
    ],
)
def test_standard_input_that_is_no_audio_is_refused(content: bytes, cause: str) -> None:
    data, said = from_standard_input(content)
    assert data == b""
    assert said.startswith(cause)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_or_nothing_at_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    stdin = io.StringIO()
    stdin.isatty = lambda: terminal  # type: ignore[method-assign]  # stands for a terminal
    if not terminal:
        stdin.close()
    monkeypatch.setattr(sys, "stdin", stdin)
    assert refusal("-").startswith("standard input is " + ("a terminal" if terminal else "closed"))
