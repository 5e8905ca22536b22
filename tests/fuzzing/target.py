"""What a target is, and how one input is put to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

from attrs import frozen

REGRESSIONS = Path(__file__).with_name("regressions")


@frozen
class Target:
    """Something that bytes from strangers are put to."""

    name: str
    run: Callable[[bytes], str]
    """Raises ``permitted`` for what is refused and an AssertionError where an oracle objects.

    What it returns tells roughly what happened, so that inputs which do something new can be told from others.
    """
    permitted: tuple[type[Exception], ...]
    """The closed list of exceptions that may come out."""
    seeds: Callable[[], Iterable[bytes]]
    """Small inputs to begin with."""
    mutate: Callable[[bytes, Random], bytes]
    """Make something similar."""

    def execute(self, data: bytes) -> str:
        """Put one input to it. Whatever this raises is a finding."""
        try:
            return self.run(data)
        except self.permitted as refusal:
            return type(refusal).__name__

    def regressions(self) -> dict[str, bytes]:
        """Inputs that once were findings, by name."""
        return {file.name: file.read_bytes() for file in sorted((REGRESSIONS / self.name).glob("*"))}
