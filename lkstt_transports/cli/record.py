"""`lkstt record`: fixtures of our own streams, and of anybody's sessions that pass by."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from lkstt_proto import InsecureTransport
from lkstt_proto.recording import Recorder

from ..replaying.recorded import from_zero, recorded
from .failure import FAILED, Failure, emit, interruptible, say
from .keeping import private_file
from .transcribe import Wishes, carry_out, check, transcribe

if TYPE_CHECKING:
    from ..replaying.witness import Witness

_REDACTIONS = ("text", "audio", "all")
# What this command has in another way, or not at all.
_NOT_OURS = ("files", "output", "output_dir", "jobs")
_OURS = ("source", "output", "redact", "upstream", "listen", "output_dir")


@click.command()
@click.argument("source", required=False, metavar="[FILE|-]")
@click.option("--output", type=click.Path(path_type=Path), help="The new fixture.  [default: named by the time]")
@click.option(
    "--redact",
    type=click.Choice(_REDACTIONS),
    help="Replace speech by other text and silence of the same length.",
)
@click.option("--upstream", metavar="URL", help="Record what passes by: base URL of the gateway to pass it on to.")
@click.option("--listen", default="127.0.0.1:8090", show_default=True, help="With --upstream: where clients connect.")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    default=Path(),
    help="With --upstream: where the fixtures go.  [default: here]",
)
@click.pass_context
def record(context: click.Context, /, **options: Any) -> None:
    """Record a conversation with a gateway as a fixture, which `lkstt replay` shows, checks and plays back.

    \b
      lkstt record [--output FILE.jsonl] FILE|-|--mic
    transcribes as `lkstt transcribe` does, and writes what the client was told and did.

    \b
      lkstt record --upstream URL
    is a proxy in front of any gateway: give clients, livekit-agents for example, its address as their base_url. Each
    session becomes two fixtures, one from each end. A fixture keeps what arrives at its end exactly as it came, and
    tells the rest in our own words: NAME.gateway.jsonl has the client's messages to the letter, NAME.client.jsonl the
    gateway's. Tokens are passed on, and never written.

    What was recorded is in memory until the session ends: about 0.3 MB for each second of speech.
    """
    ours = {name: options.pop(name) for name in _OURS}
    given = [
        parameter.opts[-1]
        for parameter in context.command.params
        if parameter.name
        and context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
        and (parameter.name in _PROXY_ONLY if ours["upstream"] is None else parameter.name not in _PROXY)
    ]
    if given:
        both = "needs --upstream" if ours["upstream"] is None else "and --upstream exclude each other"
        raise click.UsageError(f"{given[0].upper() if given[0] == 'source' else given[0]} {both}")
    redact = {"redact_text": ours["redact"] in ("text", "all"), "redact_audio": ours["redact"] in ("audio", "all")}
    if ours["upstream"] is None:
        source, output = ours["source"], ours["output"]
        files = () if source is None else (source,)
        wishes = check(
            Wishes(**{**options, "kind": options["kind"] or "txt"}, files=files, jobs=1, output=None, output_dir=None)
        )
        failed = _record_stream(wishes, output or Path(f"lkstt-{_stamp()}.jsonl"), redact)
        context.exit(FAILED if failed else 0)
    context.exit(_record_passing(ours["upstream"], ours["listen"], ours["output_dir"], redact))


_PROXY_ONLY = ("listen", "output_dir")
_PROXY = (*_PROXY_ONLY, "upstream", "redact")
record.params.extend(parameter for parameter in transcribe.params if parameter.name not in _NOT_OURS)


def _stamp() -> str:
    return time.strftime("%Y%m%d-%H%M%S")


# Our own streams.


def _record_stream(wishes: Wishes, output: Path, redact: dict[str, bool]) -> bool:
    """Transcribe; give whether that failed. What came of it until then is written in any case."""
    recorders: list[Recorder] = []
    with private_file(output) as file:
        try:
            with interruptible():
                return carry_out(wishes, partial(recorded, name=output.stem, keep=recorders.append))
        finally:
            for recorder in recorders:  # one, unless it failed before
                _write(file, from_zero(recorder.lines(**redact)))
                say(f"recorded: {output}")


def _write(file: TextIO, lines: Iterable[str]) -> None:
    file.writelines(f"{line}\n" for line in lines)
    file.close()


# Anybody's.


def _record_passing(upstream: str, listen: str, folder: Path, redact: dict[str, bool]) -> int:
    # An event loop and a web server are not for those who ask for --help.
    import asyncio

    from ..replaying.listening import listening_address
    from ..replaying.proxy import RecordingProxy

    try:
        listening_address(listen)
    except InsecureTransport as error:
        raise Failure(str(error)) from None
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder} cannot be made ({error.strerror}): choose another --output-dir") from None
    stamp, numbers = _stamp(), count(1)
    proxy = RecordingProxy(
        upstream=upstream,
        listen=listen,
        keep=partial(asyncio.to_thread, partial(_keep, folder=folder, redact=redact)),
        name=lambda: f"lkstt-{stamp}-{next(numbers):03}",
    )
    with interruptible():
        return asyncio.run(_pass_on(proxy, listen))


async def _pass_on(proxy: Any, listen: str) -> int:
    """Serve until a signal comes, and give the exit code."""
    from .serving import exit_code, stop_signals

    with stop_signals() as stopped:
        try:
            await proxy.__aenter__()
        except OSError as error:
            raise Failure(f"cannot listen at {listen} ({error.strerror}): choose another --listen") from None
        try:
            emit(f"{proxy.base_url}\n")
            say("ready: clients take this as their base_url; Ctrl-C stops")
            return exit_code(await stopped)
        finally:
            await proxy.__aexit__()


def _keep(witness: Witness, *, folder: Path, redact: dict[str, bool]) -> None:
    """Write the fixtures of a session; whatever is wrong with that, the next one is passed on."""
    names = []
    try:
        for role, lines in witness.recordings(**redact).items():
            path = folder / f"{witness.name}.{role}.jsonl"
            with private_file(path) as file:
                _write(file, lines)
            names.append(str(path))
    except Failure as failure:
        say(str(failure))
    end = "; it was too long to be recorded whole" if witness.full else ""
    say(f"session {witness.outcome}{end}: {', '.join(names)}")
