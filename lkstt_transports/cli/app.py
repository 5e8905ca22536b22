"""The group of commands, and what becomes of their failures: one line each, and an exit code."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from typing import Any

import click

from lkstt_proto import InsecureTransport, SttError, __version__

from ..audio_files import AudioFileError
from .failure import FAILED, INTERRUPTED, USAGE, Failure, Interrupted, OutputClosed, say

_COMMANDS = ("demo", "transcribe", "serve", "models", "conformance", "spec", "record", "replay")


class _Commands(click.Group):
    """Commands by the name of their module, imported when asked for: `lkstt models` needs no event loop."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (as above)
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="lkstt", message="%(prog)s %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """Speech to text through LiveKit Inference, or offline on this computer.

    \b
    Try it, without an account:
      lkstt demo
      lkstt transcribe --local speech.wav

    \b
    With LIVEKIT_API_KEY and LIVEKIT_API_SECRET set:
      lkstt transcribe speech.wav
      lkstt transcribe --model deepgram/nova-3 --language en --format srt speech.wav
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(USAGE)


def run(arguments: list[str]) -> int:
    """Run a command and give the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever a terminal's encoding lacks is escaped rather than fatal.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        result: Any = app.main(arguments, prog_name="lkstt", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "lkstt"
        text = error.format_message().strip().rstrip(".").replace("\n", " ")
        # What is too much may be the rest of a secret with spaces.
        text = re.sub(r"^(Got unexpected extra arguments?) \(.*", r"\1", text)
        say(f"{text}: see {path} --help")
        return USAGE
    except OutputClosed:
        _forget_output()
        return FAILED
    except InsecureTransport:
        say("base_url is plaintext and would show the token and the audio to the network: use https:// or wss://")
        return FAILED
    except (Failure, AudioFileError, SttError) as error:
        say(str(error))
        return FAILED
    except (Interrupted, click.Abort):
        say("interrupted")
        return INTERRUPTED
    return result if isinstance(result, int) else 0


def _forget_output() -> None:
    """Let the interpreter flush into nothing when it ends, because nobody reads any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
