"""What the fixtures say, as inputs to begin with."""

from __future__ import annotations

from collections.abc import Iterator

from lkstt_proto.dialogue import bundled, load

_LARGEST = 2000  # bytes of a seed: longer ones are slow, and say little more


def conversations(role: str, separator: bytes) -> Iterator[bytes]:
    """Give all that each fixture hands in to one end, a seed for each."""
    for file in bundled().values():
        fixture = load(file)
        texts = [step.data.encode("utf-8", "surrogatepass") for step in fixture.steps if isinstance(step.data, str)]
        if fixture.role == role and texts and sum(map(len, texts)) < _LARGEST:
            yield b"\0" + separator.join(texts)
