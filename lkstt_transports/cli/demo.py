"""`lkstt demo`: the whole way, on this computer."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from difflib import SequenceMatcher

import click

from ..audio_files import BLOCKS_PER_SECOND, DEFAULT_RATE, AudioFile
from ..demo import demo_clip
from .display import Display
from .failure import Failure, say
from .formats import WRITERS
from .job import Job
from .local import local_gateway
from .output import Document, StandardOutput
from .running import run_async


@click.command()
def demo() -> None:
    """Transcribe a bundled clip, without an account and offline.

    The clip goes over a real socket to a gateway on this computer, whose recogniser is the real one too.
    """
    clip, text = demo_clip()
    said, heard = text.split(), run_async(_transcribe(clip)).split()
    if not heard:
        raise Failure("nothing was recognised: reinstall with pip install --force-reinstall 'lkstt[local,cli]'")
    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    say(f"{sum(block.size for block in blocks)} of {len(said)} words right")


async def _transcribe(clip: bytes) -> str:
    from ..asyncio import STT

    name = "demo clip"
    with Display() as display:
        document = Document(StandardOutput(display), WRITERS["txt"], [name], words=False)
        async with (
            local_gateway(workers=1) as gateway,
            STT(base_url=gateway.base_url, api_key=gateway.api_key, api_secret=gateway.api_secret) as stt,
        ):
            job = Job(
                name=name,
                source=lambda: _open(name, clip),
                rate=DEFAULT_RATE,
                realtime=False,
                words=False,
                live=False,
                stt=stt,
                display=display,
                document=document,
                index=0,
            )
            await job.run()
    return " ".join(job.texts)


def _open(name: str, clip: bytes) -> AudioFile:
    sound = wave.open(io.BytesIO(clip))  # noqa: SIM115 (the AudioFile closes it)

    def blocks() -> Iterator[bytes]:
        while block := sound.readframes(DEFAULT_RATE // BLOCKS_PER_SECOND):
            yield block

    return AudioFile(name, blocks(), [], sound.getnframes() / sound.getframerate(), sound.close)
