"""Whatever may lie in a file, or come through a pipe, that somebody wants transcribed."""

from __future__ import annotations

import io
import struct
import tempfile
import warnings
from collections.abc import Iterable
from math import gcd
from typing import Any

from lkstt_transports import audio_files
from lkstt_transports.audio_files import AudioFileError, open_audio
from tests.soundness import check

from ..mutator import plain_bytes
from ..oracles import replaced
from ..target import Target
from ..work import bounded

LARGEST_READ = 1 << 20
"""Bytes asked for at once: less than any header may make it."""
LARGEST_BLOCK = 1 << 20
"""Bytes given at once."""
LONGEST_WORTH_CONVERTING = 4_000_000
"""Bytes that a conversion may give; to slow down a kilohertz of nothing would take all the time there is."""

READS = 100
CALLS, CALLS_PER_BYTE = 60_000, 200  # libraries that convert are looked up and imported once


class _Counted(io.FileIO):
    """A file that tells how much of it was asked for."""

    asked = 0

    def read(self, size: int | None = -1, /) -> Any:
        assert size is not None
        self.asked += 1
        check(0 <= size <= LARGEST_READ, "no more is read at once than a block")
        return super().read(size)


def run(data: bytes) -> str:
    """The first byte says how it is opened, the rest is the file. AudioFileError may come out."""
    how, content = data[0] if data else 0, data[1:]
    rate = (16_000, 8_000, 24_000, 44_100)[how & 3]
    path = audio_files.STANDARD_INPUT if how & 4 else "sound"
    with tempfile.TemporaryFile(buffering=0) as whole:
        whole.write(content)
        whole.seek(0)
        file = _Counted(whole.fileno(), "rb", closefd=False)
        with (
            warnings.catch_warnings(action="error"),
            replaced((audio_files, "_open", lambda _: file)),
            bounded(CALLS + CALLS_PER_BYTE * len(data)),
            open_audio(path, rate=rate) as audio,
        ):
            told = _heard(audio, content, rate, piped=bool(how & 4))
        check(file.asked <= READS + len(data) // 4, "a file is read in a few pieces")
        return told


def _heard(audio: audio_files.AudioFile, content: bytes, rate: int, *, piped: bool) -> str:
    wav = _plain_wav(content)
    size = 0
    heard = []
    for block in audio:
        check(type(block) is bytes and len(block) % 2 == 0, "blocks are whole samples")
        check(len(block) <= LARGEST_BLOCK, "blocks are short")
        size += len(block)
        heard.append(block if wav or piped else b"")
        if size > LONGEST_WORTH_CONVERTING:
            return "long"
    check(size > 0, "a file without audio is refused")
    check(audio.duration is None or 0 <= audio.duration < 1e10, "a duration is a time")
    check(all(type(warning) is str and warning.isprintable() for warning in audio.warnings), "warnings are printable")
    if wav is None:
        if piped and not content.startswith((b"RIFF", b"RF64")) and rate == audio_files.DEFAULT_RATE:
            check(b"".join(heard) == content[: len(content) // 2 * 2], "raw samples are given as they are")
        return f"other {len(audio.warnings)}"
    source, frames, plain = wav
    if plain is not None and source == rate:
        check(b"".join(heard) == plain, "16-bit mono is given as it is")
    expected = frames * rate / source
    # A resampler may round at both ends.
    check(abs(size // 2 - expected) <= 2 + rate / source, "as many samples come out as there are, at the other rate")
    return f"wav {source} {gcd(source, rate) > 1} {len(audio.warnings)} {plain is not None}"


def _plain_wav(content: bytes) -> tuple[int, int, bytes | None] | None:
    """Read a WAV file of plain samples: rate, frames that are there, and the samples if they are 16-bit mono."""
    if content[:4] not in (b"RIFF", b"RF64") or content[8:12] != b"WAVE":
        return None
    at, form = 12, b""
    while content[at : at + 4] != b"data":
        if at + 8 > len(content):
            return None
        kind, size = struct.unpack_from("<4sI", content, at)
        size += size % 2
        if kind == b"fmt " and size <= 4096:
            form = content[at + 8 : at + 8 + size]
        at += 8 + size
    if len(form) < 16 or at + 8 > len(content):
        return None
    (size,) = struct.unpack_from("<I", content, at + 4)
    there = content[at + 8 :]
    if 0 < size < 0x7FFF_0000:
        there = there[:size]
    tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", form)
    if tag == 0xFFFE and len(form) >= 26:
        (tag,) = struct.unpack_from("<H", form, 24)
    if tag not in (1, 3):
        return None
    frames = len(there) // frame
    return rate, frames, there[: frames * 2] if (tag, channels, bits) == (1, 1, 16) else None


def wav(
    samples: bytes,
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = 16_000,
    bits: int = 16,
    size: int | None = None,
    before: bytes = b"",
    extra: bytes = b"",
) -> bytes:
    """Write a WAV file."""
    frame = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * frame % 2**32, frame, bits) + extra
    size = len(samples) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", size) + samples
    return b"RIFF" + struct.pack("<I", (len(chunks) + 4) & 0xFFFFFFFF) + b"WAVE" + chunks


EXTENSIBLE = struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + bytes(14)
SAMPLES = bytes(range(256)) * 2


def seeds() -> Iterable[bytes]:
    """Plain files of every width, headers that lie, other formats, and raw samples."""
    for how in (0, 1, 4):
        head = bytes([how])
        yield head + wav(SAMPLES)
        yield head + wav(SAMPLES, rate=8_000)
        yield head + wav(SAMPLES, channels=2)
        yield head + wav(SAMPLES, bits=8)
        yield head + wav(SAMPLES, bits=24)
        yield head + wav(SAMPLES, bits=32)
        yield head + wav(SAMPLES, bits=32, tag=3)
        yield head + wav(SAMPLES, bits=64, tag=3, rate=48_000)
        yield head + wav(SAMPLES, tag=0xFFFE, extra=EXTENSIBLE)
        yield head + wav(SAMPLES, size=0)
        yield head + wav(SAMPLES, size=0xFFFFFFFF)
        yield head + wav(SAMPLES, size=0x7FFEFFFF)
        yield head + wav(SAMPLES[:-1], before=b"LIST" + struct.pack("<I", 5) + b"INFO\0\0")
        yield head + wav(SAMPLES, tag=7, bits=8)  # mu-law: for another reader
        yield head + wav(SAMPLES, rate=768_000, channels=8191, bits=64, tag=3, size=0xFFFFFFFF)
        yield head + b"fLaC" + SAMPLES
        yield head + b"OggS" + SAMPLES
        yield head + b"FORM" + struct.pack(">I", 512) + b"AIFF" + SAMPLES
        yield head + SAMPLES
        yield head + wav(SAMPLES)[:40]


TARGET = Target(
    "wav",
    run,
    permitted=(AudioFileError,),
    seeds=seeds,
    mutate=plain_bytes(
        tokens=[
            *(b"RIFF", b"RF64", b"WAVE", b"fmt ", b"data", b"LIST", b"ds64", b"fact", b"\xfe\xff", b"fLaC", b"OggS"),
            *(b"ID3", b"FORM", b"AIFF", b"caff", b"\x01\0", b"\x03\0", b"\x10\0", b"\x08\0", b"\x18\0", b"\x20\0"),
            *(struct.pack("<I", value) for value in (0, 1, 15, 16, 18, 40, 999, 1000, 44_100, 768_000, 768_001)),
            *(struct.pack("<I", value) for value in (0x7FFEFFFF, 0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
        ]
    ),
)
