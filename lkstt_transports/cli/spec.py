"""`lkstt spec`: the protocol as data, for people who write it in another language."""

from __future__ import annotations

from pathlib import Path

import click

import lkstt_proto
from lkstt_proto.page import spec_files

from .failure import Failure, emit

DIRECTORY = Path(lkstt_proto.__file__).parent / "spec"
"""Where the generated files are part of the package."""


@click.command()
@click.option("--write", is_flag=True, help="Write the three files into the package instead.")
def spec(*, write: bool) -> None:
    """Print the tables, constants, messages and algorithms as JSON (machine.json).

    The same as a page is machine.md; every message of both directions is in messages.schema.json.
    """
    files = spec_files()
    if not write:
        emit(files["machine.json"])
        return
    try:
        DIRECTORY.mkdir(exist_ok=True)
        for name, text in files.items():
            # Bytes, so that every machine writes the same line ends.
            (DIRECTORY / name).write_bytes(text.encode())
    except OSError as error:
        raise Failure(
            f"{DIRECTORY} cannot be written ({error.strerror}): run this in a checkout of the project"
        ) from error
    for name in files:
        emit(f"{DIRECTORY / name}\n")
