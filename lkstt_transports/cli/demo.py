"""`lkstt demo`: the whole way, on this computer."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import partial

import click

from ..audio_files import BLOCKS_PER_SECOND, DEFAULT_RATE, AudioFile
from ..demo import demo_clip
from .display import Display
from .failure import Failure, interruptible, say
from .formats import WRITERS
from .output import Document, StandardOutput


@click.command()
def demo() -> None:
    """Transcribe a bundled clip, without an account and offline.

    The clip goes over a real socket to a gateway on this computer, whose recogniser is the real one too.
    """
    clip, text = demo_clip()
    with interruptible():
        said, heard = text.split(), _transcribe(clip).split()
    if not heard:
        raise Failure("nothing was recognised: reinstall with pip install --force-reinstall 'lkstt[local,cli]'")
    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    say(f"{sum(block.size for block in blocks)} of {len(said)} words right")


def _transcribe(clip: bytes) -> str:
    # An event loop and a gateway are not for those who ask for --help.
    import anyio

    from ..asyncio import STT
    from .job import Job, run_jobs
    from .local import local_gateway

    name = "demo clip"
    with Display() as display, local_gateway(workers=1) as settings:
        job = Job(
            name=name,
            source=lambda: _open(name, clip),
            rate=DEFAULT_RATE,
            realtime=False,
            words=False,
            display=display,
            document=Document(StandardOutput(display), WRITERS["txt"], [name], words=False),
            index=0,
        )
        anyio.run(run_jobs, [job], 1, partial(STT, **settings))
    return " ".join(job.texts)


def _open(name: str, clip: bytes) -> AudioFile:
    sound = wave.open(io.BytesIO(clip))  # noqa: SIM115 (the AudioFile closes it)

    def blocks() -> Iterator[bytes]:
        while block := sound.readframes(DEFAULT_RATE // BLOCKS_PER_SECOND):
            yield block

    return AudioFile(name, blocks(), [], sound.getnframes() / sound.getframerate(), sound.close)
