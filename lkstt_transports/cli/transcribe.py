"""`lkstt transcribe`: files, standard input and the microphone."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from lkstt_proto import STTOptions
from lkstt_proto.handshake import resolve_credentials

from ..audio_files import STANDARD_INPUT, AudioFile, open_audio
from .display import Display
from .failure import FAILED, Failure, interruptible
from .formats import WRITERS
from .output import Document, NewFile, StandardOutput

_TRANSPORTS = ("asyncio", "trio", "anyio", "sync")


@frozen(kw_only=True)
class Wishes:
    """The command line, checked."""

    files: tuple[str, ...]
    mic: bool
    local: bool
    model: str
    language: str | None
    kind: str
    output: Path | None
    output_dir: Path | None
    words: bool
    realtime: bool
    jobs: int
    transport: str
    base_url: str | None


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE...|-]")
@click.option("--mic", is_flag=True, help="Listen to the microphone until Ctrl-C.")
@click.option("--local", is_flag=True, help="Use the recogniser on this computer: English, no account, no network.")
@click.option("--model", default="deepgram/nova-3", show_default=True, help="PROVIDER/MODEL, see `lkstt models`.")
@click.option("--language", help="Language of the speech, for example en or pt-BR.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(tuple(WRITERS)),
    help="Form of the transcript.  [default: txt, or by --output]",
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to this new file instead of standard output.")
@click.option(
    "--output-dir", type=click.Path(path_type=Path), help="Write a new file for each FILE, named like it, in here."
)
@click.option("--word-timestamps", "words", is_flag=True, help="Give each word its times (not in txt).")
@click.option("--realtime", is_flag=True, help="Send files no faster than they play.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Files transcribed at a time.")
@click.option("--transport", type=click.Choice(_TRANSPORTS), default="asyncio", show_default=True)
@click.option("--base-url", help="Address of another gateway, for example http://127.0.0.1:8080/v1.")
@click.pass_context
def transcribe(context: click.Context, /, **options: Any) -> None:
    """Transcribe sound files, standard input (-) or the microphone.

    Files are WAV; with the extra `audio` also FLAC, OGG, MP3 and others, at any rate. Standard input is WAV if it
    begins like one, and otherwise raw 16 kHz 16-bit little-endian mono.

    The transcript goes to standard output, everything else to standard error. Credentials come from
    LIVEKIT_INFERENCE_API_KEY and _SECRET, or LIVEKIT_API_KEY and _SECRET; --local needs none.

    \b
    Examples:
      lkstt transcribe --local talk.wav
      lkstt transcribe --model deepgram/nova-3 --language en talk.wav
      lkstt transcribe --format srt --output-dir subtitles *.wav
      lkstt transcribe --format json --word-timestamps --output talk.json talk.wav
      ffmpeg -i film.mp4 -ar 16000 -ac 1 -f s16le - | lkstt transcribe --local -
    """
    wishes = check(Wishes(**{**options, "kind": options["kind"] or kind_of(options["output"])}))
    with interruptible():
        failed = carry_out(wishes)
    if failed:
        context.exit(FAILED)


def kind_of(output: Path | None) -> str:
    """Choose the form of the transcript by the name of its file."""
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    return suffix if suffix in WRITERS else "txt"


def check(wishes: Wishes) -> Wishes:
    """Refuse what contradicts itself. Raises `click.UsageError`, and `Failure` for what is not there."""
    if wishes.mic == bool(wishes.files):
        raise click.UsageError("Name files, - for standard input, or --mic" + " alone" * wishes.mic)
    if wishes.files.count(STANDARD_INPUT) > 1:
        raise click.UsageError("Standard input (-) can be read once only")
    if wishes.output and wishes.output_dir:
        raise click.UsageError("--output and --output-dir exclude each other")
    if wishes.local and wishes.base_url:
        raise click.UsageError("--local and --base-url exclude each other")
    if wishes.words and wishes.kind == "txt":
        raise click.UsageError("--word-timestamps needs --format srt, vtt, tsv, json or jsonl")
    if len(wishes.files) > 1 and not wishes.output_dir and not WRITERS[wishes.kind].several:
        raise click.UsageError(f"Several files as {wishes.kind} need --output-dir")
    if not wishes.local and resolve_credentials(os.environ) is None:
        raise Failure(
            "no credentials: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET (or LIVEKIT_INFERENCE_API_KEY and _SECRET), "
            "or use --local, which needs none"
        )
    return wishes


def carry_out(wishes: Wishes, adapt: Callable[[Any], Any] = lambda stt: stt) -> bool:
    """Do it all; give whether a file failed that the others could do without.

    `adapt` may put another class in the place of the transport's `STT`.
    """
    # An event loop is not for those who ask for --help.
    import anyio

    from .adapters import BACKENDS, load_stt
    from .job import Job, run_jobs

    rate = STTOptions(wishes.model, language=wishes.language).sample_rate
    stt = load_stt(wishes.transport, adapt)
    names = ["microphone"] if wishes.mic else list(wishes.files)
    jobs = min(wishes.jobs, len(names))
    with ExitStack() as stack:
        display = stack.enter_context(Display())
        places = _places(wishes, names, display)
        settings: dict[str, Any] = {"base_url": wishes.base_url}
        if wishes.local:
            from .local import local_gateway

            settings = stack.enter_context(local_gateway(workers=jobs))
        for document in dict.fromkeys(document for document, _ in places):
            stack.callback(document.close)
        work = [
            Job(
                name="standard input" if name == STANDARD_INPUT else name,
                source=partial(_open_microphone, rate) if wishes.mic else partial(open_audio, name, rate=rate),
                rate=rate,
                realtime=wishes.realtime,
                words=wishes.words,
                display=display,
                document=document,
                index=index,
            )
            for name, (document, index) in zip(names, places, strict=True)
        ]
        make_stt = partial(stt, wishes.model, language=wishes.language, **settings)
        ctrl_c = work[0].end_source if wishes.mic else None
        anyio.run(run_jobs, work, jobs, make_stt, ctrl_c, backend=BACKENDS[wishes.transport])
        return any(job.failed for job in work)


def _open_microphone(rate: int) -> AudioFile:
    from .microphone import open_microphone

    return open_microphone(rate)


def _places(wishes: Wishes, names: list[str], display: Display) -> list[tuple[Document, int]]:
    """Give the document of each file, and its place in there."""
    kind = WRITERS[wishes.kind]
    if wishes.output_dir is None:
        place = StandardOutput(display) if wishes.output is None else NewFile(wishes.output)
        document = Document(place, kind, names, words=wishes.words)
        return [(document, index) for index in range(len(names))]
    stems = ["stdin" if name == STANDARD_INPUT else Path(name).stem for name in names]
    if double := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise click.UsageError(f"Two files would become {double}{kind.suffix} in --output-dir")
    try:
        wishes.output_dir.mkdir(exist_ok=True)
    except OSError as error:
        raise Failure(f"{wishes.output_dir} cannot be made ({error.strerror}): choose another --output-dir") from None
    return [
        (Document(NewFile(wishes.output_dir / f"{stem}{kind.suffix}"), kind, [name], words=wishes.words), 0)
        for stem, name in zip(stems, names, strict=True)
    ]
