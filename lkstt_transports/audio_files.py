"""Sound files and pipes as signed 16-bit little-endian mono at the rate a model takes, one block after another.

WAV is read here, because what streams and crashes leave behind is still worth hearing: lengths of 0 or 0xFFFFFFFF, and
data that ends early. 16-bit mono at the wanted rate needs the standard library alone; other widths, channels and rates
need numpy and soxr, other formats soundfile (extra `audio`). Memory stays bounded whatever the length.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import TracebackType
from typing import Any, BinaryIO

from attrs import frozen

DEFAULT_RATE = 16_000  # Hz; also what raw audio on standard input has
BLOCKS_PER_SECOND = 10

STANDARD_INPUT = "-"

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format tags of WAV
# Programs that do not know the length write 0 or nearly the highest number there is; no honest WAV comes near 2 GiB.
_UNKNOWN_LENGTH = 0x7FFF_0000
_LOWEST_HZ, _HIGHEST_HZ = 1_000, 768_000
_LONGEST_FORMAT = 4096  # bytes of a "fmt " chunk
# Bytes of one block: a header may claim thousands of channels, and what is asked for is allocated.
_LONGEST_BLOCK = 2**20
_LOUDEST = 2.0**15  # far beyond the full scale of 1, and no sum of it overflows
# How files begin that somebody may pipe in by mistake: as raw samples they would be noise.
_NOT_RAW = (b"fLaC", b"OggS", b"ID3", b"FORM", b"caff", b"\x1aE\xdf\xa3", b"RIFF", b"RF64", b"RIFX")

_INSTALL = "pip install 'lkstt[audio]'"
_CONVERT = "convert it to WAV, or pipe raw 16 kHz 16-bit mono samples to: lkstt transcribe -"


class AudioFileError(Exception):
    """A file that cannot be transcribed; printed, it is one line of cause and cure."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause}: {cure}")
        self.cause = cause
        self.cure = cure


class AudioFile:
    """Audio as `open_audio` gives it: iterate over it once, for blocks of about 0.1 s; close it, or use `with`.

    The first block is read already, so that a file without audio is refused before anything is done for it.
    """

    def __init__(
        self, name: str, blocks: Iterator[bytes], warnings: list[str], duration: float | None, close: Callable[[], None]
    ) -> None:
        self.name = name
        self.warnings = warnings
        """One line each for what is wrong with the file though it can be heard; complete after the last block."""
        self.duration = duration
        """Seconds, as far as is known beforehand."""
        self._blocks = blocks
        self._close = close
        self._first = next((block for block in blocks if block), b"")
        if not self._first:
            raise AudioFileError(f"{name} has no audio in it", "check the program that made it")

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            first, self._first = self._first, b""
            yield first
        yield from self._blocks

    def close(self) -> None:
        """Close the file."""
        self._close()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_audio(path: str, *, rate: int = DEFAULT_RATE) -> AudioFile:
    """Open a file, or standard input for "-", to be heard at `rate` Hz; it blocks where the file does.

    Standard input is WAV if it says so, and otherwise raw 16 kHz 16-bit mono. Raises `AudioFileError`.
    """
    name = "standard input" if path == STANDARD_INPUT else path
    try:
        file = _open(path)
        try:
            return _audio(file, path, name, rate)
        except BaseException:
            file.close()
            raise
    except FileNotFoundError:
        raise AudioFileError(f"{name} does not exist", "check the path") from None
    except IsADirectoryError:
        raise AudioFileError(f"{name} is a directory", "name the files in it") from None
    except PermissionError:
        raise AudioFileError(f"{name} may not be read", "check its permissions") from None
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not a path"
        raise AudioFileError(f"{name} cannot be read ({cause})", "check the path") from None


def _open(path: str) -> BinaryIO:
    if path != STANDARD_INPUT:
        # Unbuffered, because blocks are large, and because a thread that waits for a pipe must hold no lock at exit.
        return open(path, "rb", buffering=0)
    if sys.stdin is None or sys.stdin.closed:
        raise AudioFileError("standard input is closed", "pipe audio in, or name a file")
    if sys.stdin.isatty():
        raise AudioFileError("standard input is a terminal", "pipe audio in, or name a file")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _audio(file: BinaryIO, path: str, name: str, rate: int) -> AudioFile:
    head = _read(file, 12)
    if not head:
        raise AudioFileError(f"{name} is empty", "check the program that made it")
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        wav = _wav_format(file, name)
        if wav is not None:
            return _from_wav(file, name, wav, rate)
    elif path == STANDARD_INPUT:
        return _from_raw(file, name, head, rate)
    return _from_soundfile(file, name, rate)


@frozen
class _Wav:
    """The shape of the samples in a WAV file, whose data comes next."""

    rate: int
    channels: int
    bits: int
    floats: bool
    size: int
    """Bytes of data as the header says them."""

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8

    def text(self) -> str:
        """Name what differs from the usual."""
        channels = {1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        return f"{self.rate / 1000:g} kHz {self.bits}-bit {channels}"


def _wav_format(file: BinaryIO, name: str) -> _Wav | None:
    """Read up to the data; None for an encoding that is not plain samples."""
    form = b""
    while len(header := _read(file, 8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind == b"data":
            break
        size += size % 2  # chunks begin at even positions
        if kind == b"fmt " and size <= _LONGEST_FORMAT:
            form = _read(file, size)
        else:
            _skip(file, size)
    else:
        raise AudioFileError(f"{name} is a WAV file without audio in it", "check the program that made it")
    broken = AudioFileError(f"{name} has a broken WAV header", "check the program that made it, or make it anew")
    if len(form) < 16:
        raise broken
    tag, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == _EXTENSIBLE and len(form) >= 26:
        (tag,) = struct.unpack("<H", form[24:26])
    if tag not in (_PCM, _FLOAT):
        return None
    wav = _Wav(rate, channels, bits, tag == _FLOAT, size)
    widths = (32, 64) if wav.floats else (8, 16, 24, 32)
    if not channels or bits not in widths or frame != wav.frame or not _LOWEST_HZ <= rate <= _HIGHEST_HZ:
        raise broken
    return wav


def _from_wav(file: BinaryIO, name: str, wav: _Wav, rate: int) -> AudioFile:
    warnings: list[str] = []
    promised = 0 < wav.size < _UNKNOWN_LENGTH
    size = wav.size if promised else None
    there = _bytes_left(file)
    known = min((length for length in (size, there) if length is not None), default=None)
    duration = None if known is None else known / (wav.rate * wav.frame)

    def data() -> Iterator[bytes]:
        heard = 0
        block = _block(wav.rate, wav.frame) * wav.frame
        while piece := _read(file, block if size is None else min(block, size - heard)):
            heard += len(piece)
            whole = len(piece) // wav.frame * wav.frame
            yield piece[:whole]
        seconds = wav.rate * wav.frame
        if size is not None and heard < size:
            warnings.append(
                f"{name} is cut off: its header promises {size / seconds:.1f} s, {heard / seconds:.1f} s are there"
            )
        elif heard % wav.frame:
            warnings.append(f"{name} ends within a sample: what was left of it is not heard")

    if (wav.rate, wav.channels, wav.bits, wav.floats) == (rate, 1, 16, False):
        blocks = data()
    else:
        _require(name, wav.text(), wav.rate, rate)
        blocks = _converted((_samples(piece, wav) for piece in data()), wav.rate, rate)
    return AudioFile(name, blocks, warnings, duration, file.close)


def _from_raw(file: BinaryIO, name: str, head: bytes, rate: int) -> AudioFile:
    warnings: list[str] = []
    block = DEFAULT_RATE // BLOCKS_PER_SECOND * 2
    head += _read(file, block - len(head))
    if head.startswith(_NOT_RAW) or head[4:8] == b"ftyp":
        raise AudioFileError(f"{name} is neither WAV nor raw samples", "save it as a file and name that")
    if head.isascii() and not head.translate(None, bytes(range(32, 127)) + b"\t\n\r\f\x1b"):
        raise AudioFileError(f"{name} is text, not audio", "pipe in WAV, or raw 16 kHz 16-bit mono samples")
    there = _bytes_left(file)
    duration = None if there is None else (len(head) + there) / (2 * DEFAULT_RATE)

    def data() -> Iterator[bytes]:
        piece = head
        while piece:
            yield piece[: len(piece) // 2 * 2]
            if len(piece) % 2:
                warnings.append(f"{name} ends within a sample: its last byte is not heard")
            piece = _read(file, block)

    blocks = data()
    if rate != DEFAULT_RATE:
        raw = _Wav(DEFAULT_RATE, 1, 16, floats=False, size=0)
        _require(name, raw.text(), DEFAULT_RATE, rate)
        blocks = _converted((_samples(piece, raw) for piece in data()), DEFAULT_RATE, rate)
    return AudioFile(name, blocks, warnings, duration, file.close)


def _from_soundfile(file: BinaryIO, name: str, rate: int) -> AudioFile:
    """Read what is not plain WAV: FLAC, OGG, MP3, AIFF, compressed WAV and others."""
    if not file.seekable():
        raise AudioFileError(f"{name} is not WAV, and a pipe", "save it as a file and name that")
    if find_spec("soundfile") is None or find_spec("numpy") is None:
        raise AudioFileError(f"{name} is not a WAV file of plain samples", f"{_INSTALL} for FLAC, OGG and MP3")
    try:
        import soundfile
    except OSError:
        raise AudioFileError("soundfile does not find libsndfile", "install libsndfile") from None
    not_audio = AudioFileError(f"{name} is not audio that can be read", _CONVERT)
    file.seek(0)
    try:
        sound = soundfile.SoundFile(file)
    # TypeError: soundfile asks for the shape of a file that is called .raw.
    except (soundfile.LibsndfileError, TypeError):
        raise not_audio from None
    warnings: list[str] = []
    if not _LOWEST_HZ <= sound.samplerate <= _HIGHEST_HZ:
        raise not_audio
    _require(name, f"{sound.samplerate / 1000:g} kHz", sound.samplerate, rate)

    def data() -> Iterator[Any]:
        heard = 0
        try:
            block = _block(sound.samplerate, sound.channels * 4)
            while len(samples := sound.read(block, dtype="float32", always_2d=True)):
                heard += len(samples)
                yield samples
        except soundfile.LibsndfileError:
            warnings.append(f"{name} is broken after {heard / sound.samplerate:.1f} s: the rest is not heard")

    def close() -> None:
        sound.close()
        file.close()

    # libsndfile says the highest number there is when it does not know.
    duration = sound.frames / sound.samplerate if sound.frames < 2**62 else None
    return AudioFile(name, _converted(data(), sound.samplerate, rate), warnings, duration, close)


def _block(rate: int, frame: int) -> int:
    """Give how many frames of so many bytes to read at once."""
    return max(1, min(rate // BLOCKS_PER_SECOND, _LONGEST_BLOCK // frame))


def _require(name: str, shape: str, source: int, target: int) -> None:
    """Refuse what cannot be converted, with the cure."""
    needed = ("numpy",) if source == target else ("numpy", "soxr")
    if any(find_spec(package) is None for package in needed):
        raise AudioFileError(f"{name} is {shape}, and {target / 1000:g} kHz 16-bit mono is needed", _INSTALL)


def _samples(data: bytes, wav: _Wav) -> Any:
    """Give the samples in the range of -1 to 1 (floats may say anything), one row for each frame."""
    import numpy

    if wav.floats:
        samples = numpy.frombuffer(data, dtype=f"<f{wav.bits // 8}")
    elif wav.bits == 8:
        samples = (numpy.frombuffer(data, dtype="u1").astype("f4") - 128) / 128
    elif wav.bits == 24:
        padded = numpy.zeros((len(data) // 3, 4), dtype="u1")
        padded[:, 1:] = numpy.frombuffer(data, dtype="u1").reshape(-1, 3)
        samples = padded.view("<i4").ravel() / 2**31
    else:
        samples = numpy.frombuffer(data, dtype=f"<i{wav.bits // 8}") / 2 ** (wav.bits - 1)
    return samples.reshape(-1, wav.channels)


def _converted(blocks: Iterator[Any], source: int, target: int) -> Iterator[bytes]:
    """Mix to one channel, and resample."""
    import numpy

    def mono(block: Any) -> Any:
        # Floats may be anything: no NaN reaches the resampler, whose memory it would never leave.
        return numpy.clip(numpy.nan_to_num(block), -_LOUDEST, _LOUDEST).mean(axis=1).astype("f4")

    def pcm(samples: Any) -> bytes:
        rounded = numpy.clip(numpy.rint(samples * 32768), -32768, 32767)
        data: bytes = rounded.astype("<i2").tobytes()
        return data

    if source == target:
        for block in blocks:
            yield pcm(mono(block))
        return
    import soxr

    stream = soxr.ResampleStream(source, target, 1, dtype="float32")
    for block in blocks:
        yield pcm(stream.resample_chunk(mono(block)))
    yield pcm(stream.resample_chunk(numpy.zeros(0, dtype="f4"), last=True))


def _read(file: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: pipes give what they have."""
    data = bytearray()
    while len(data) < size and (piece := file.read(size - len(data))):
        data += piece
    return bytes(data)


def _skip(file: BinaryIO, size: int) -> None:
    while size > 0 and (piece := file.read(min(size, 65_536))):
        size -= len(piece)


def _bytes_left(file: BinaryIO) -> int | None:
    status = os.fstat(file.fileno())
    return max(0, status.st_size - file.tell()) if stat.S_ISREG(status.st_mode) else None
