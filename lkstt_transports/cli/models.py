"""`lkstt models`: what is known about models."""

from __future__ import annotations

import click

from lkstt_proto.catalogue import ModelEntry
from lkstt_proto.catalogue import models as known_models

from .failure import emit
from .formats import dumps

_HEADINGS = ("MODEL", "SAMPLE RATE", "WORD TIMES", "KEYTERMS", "REMARKS")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array instead of a table.")
def models(*, as_json: bool) -> None:
    """List the models known by name.

    The set is open: any other name is passed on to the gateway as it is.
    """
    entries = known_models()
    if as_json:
        emit(dumps([_facts(entry) for entry in entries]) + "\n")
        return
    rows = [_HEADINGS, *(_row(entry) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _facts(entry: ModelEntry) -> dict[str, object]:
    info = entry.info
    return {
        "model": entry.model,
        "provider": info.provider,
        "sample_rate": info.sample_rate,
        "word_timings": info.word_timings,
        "keyterm_key": info.keyterm_key,
        "endpointing": info.endpointing,
        "context": info.context,
        "times": info.times,
        "raw_languages": sorted(info.raw_languages),
    }


def _row(entry: ModelEntry) -> tuple[str, ...]:
    info = entry.info
    remarks = {
        "the client finds the end of speech": info.endpointing,
        "takes context": info.context,
        "times are estimates": not info.times,
    }
    return (
        entry.model,
        f"{info.sample_rate} Hz" if info.sample_rate else "any",
        "yes" if info.word_timings else "-",
        info.keyterm_key or "-",
        ", ".join(remark for remark, holds in remarks.items() if holds),
    )
