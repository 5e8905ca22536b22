"""What a command prints, and what it says when it cannot go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import click

from .formats import printable

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Failure(Exception):
    """A failure that ends the command with one line of cause and cure."""


class Interrupted(Exception):
    """Somebody wants the command to end, and everything is closed."""


class OutputClosed(Exception):
    """Nobody reads standard output any more: the command ends quietly."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM raise `Interrupted` out of the block, wherever nothing better is done about them."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """Print one line for people on standard error."""
    click.echo(f"lkstt: {printable(text)}", err=True)


def emit(text: str) -> None:
    """Print results on standard output, at once. Raises `OutputClosed`, or `Failure` if they cannot be kept."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise Failure(f"standard output cannot be written ({error.strerror}): send it elsewhere") from None
