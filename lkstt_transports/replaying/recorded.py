"""Streams that remember: an adapter's ``STT`` with recorders in the place of its cores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import random
from typing import Any

from lkstt_proto.recording import Recorder
from lkstt_proto.replay import complete


def recorded(stt: type[Any], name: str, keep: Callable[[Recorder], None]) -> type[Any]:
    """Make a class like ``stt``, any adapter's, that gives the recorder of each stream to ``keep`` when it begins."""

    def make_connection(self: Any, language: str | None, now: float) -> Recorder:
        plain = stt._make_connection(self, language, now)
        recorder = Recorder.client(
            name,
            plain.options,
            retry=self._retry,
            limits=self._limits,
            endpointer=self._make_endpointer(plain.options) if plain.options.info.endpointing else None,
            random=random,
        )
        keep(recorder)
        return recorder

    return type(stt.__name__, (stt,), {"_make_connection": make_connection})


def from_zero(lines: Iterable[str]) -> list[str]:
    """Write a fixture again with its clock at zero when it begins: any monotonic clock may have been its own."""
    header, *steps = (json.loads(line) for line in lines)
    start = steps[0]["at"] if steps else 0.0
    # Finer than what a core tells apart, and short to read.
    moved = [{**step, "at": round(step["at"] - start, 7)} for step in steps]
    return complete(json.dumps(line) for line in (header, *moved))
