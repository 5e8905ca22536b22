"""`lkstt replay`: a fixture as a timeline, as a picture, and as a gateway."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lkstt_proto import InsecureTransport, __version__
from lkstt_proto.dialogue import Fixture, load

from ..replaying.text import HEADINGS, Line, facts, lines
from ..replaying.timeline import Lane, Timeline, read_timeline
from .failure import FAILED, Failure, emit, interruptible, say
from .formats import printable
from .keeping import private_file

if TYPE_CHECKING:
    from ..replaying.player import Player

_COLOURS = {Lane.UP: "magenta", Lane.DOWN: "green", Lane.EVENT: "cyan", Lane.LINK: "yellow", Lane.SESSION: "yellow"}


def _speed(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    """Read --speed; None is as fast as the client allows."""
    if value == "max":
        return None
    try:
        speed = float(value)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{value} is neither a number above 0 nor max")
    return speed


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with the timeline as a picture, instead.")
@click.option("--serve", is_flag=True, help="Play the gateway's side to any client, instead.")
@click.option("--listen", default="127.0.0.1:8090", show_default=True, help="With --serve: where clients connect.")
@click.option(
    "--speed",
    metavar="N|max",
    callback=_speed,
    default="1",
    show_default=True,
    help="With --serve: how many times as fast.",
)
@click.pass_context
def replay(
    context: click.Context, /, path: Path, html: Path | None, listen: str, speed: float | None, *, serve: bool
) -> None:
    """Show a recording as a timeline, and say whether it still holds: exit code 1 if this version does otherwise.

    \b
      lkstt replay call.jsonl                      aligned text
      lkstt replay call.jsonl --html call.html     one page with a picture that zooms; opens offline
      lkstt replay call.jsonl --serve --speed max  a gateway that says what it said then

    With --serve each connection gets the next session of the recording, whatever token it brings. What depended on
    audio is said when that audio has come, after as long as it took then; with --speed max at once.
    """
    if html is not None and serve:
        raise click.UsageError("--html and --serve exclude each other")
    if not serve and (given := [name for name in ("listen", "speed") if _is_given(context, name)]):
        raise click.UsageError(f"--{given[0]} needs --serve")
    try:
        fixture = load(path)
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}): check its permissions") from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is no fixture: it is not even UTF-8") from None
    if serve:
        context.exit(_serve(fixture, listen, speed))
    timeline = read_timeline(fixture)
    if html is None:
        _show(timeline)
    else:
        from ..replaying.page import render_page

        with private_file(html) as file:
            file.write(render_page(timeline))
            file.close()
    context.exit(_judge(timeline))


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _judge(timeline: Timeline) -> int:
    if timeline.difference is None:
        say(f"holds: lkstt {__version__} does the same in all {len(timeline.moments)} steps")
        return 0
    say(f"differs with lkstt {__version__}: {timeline.difference}")
    return FAILED


def _show(timeline: Timeline) -> None:
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else None
    emit(f"{printable(f'{timeline.name}: {facts(timeline)}')}\n\n{HEADINGS}\n")
    for line in lines(timeline):
        emit(f"{_styled(line, width)}\n")


def _styled(line: Line, width: int | None) -> str:
    """Put a line together; colours are left out where standard output is no terminal."""
    text = printable(line.text)
    if line.different:
        text += "  \u2190 differs"
    turn = "\u2503" if line.speaking else " "
    room = None if width is None else max(width - len(HEADINGS) - len(line.name) - 4, 20)
    if room is not None and len(text) > room:
        text = text[: room - 1] + "\u2026"
    colour = None if line.lane is None else _COLOURS.get(line.lane)
    name = click.style(line.name, fg="red" if line.different else colour)
    return f"{line.numbers} {turn} {name} {text}".rstrip()


# The gateway's side.


def _serve(fixture: Fixture, listen: str, speed: float | None) -> int:
    # An event loop and a web server are not for those who look only.
    import asyncio

    from ..replaying.player import Player

    try:
        player = Player(fixture, listen=listen, speed=speed, tell=say)
    except InsecureTransport as error:
        raise Failure(str(error)) from None
    with interruptible():
        return asyncio.run(_play(player, listen))


async def _play(player: Player, listen: str) -> int:
    """Serve until a signal comes, and give the exit code."""
    from .serving import exit_code, stop_signals

    with stop_signals() as stopped:
        try:
            await player.__aenter__()
        except OSError as error:
            raise Failure(f"cannot listen at {listen} ({error.strerror}): choose another --listen") from None
        try:
            emit(f"{player.base_url}\n")
            say("ready: clients take this as their base_url, and any token does; Ctrl-C stops")
            return exit_code(await stopped)
        finally:
            await player.__aexit__()
