"""What a worker process and its parent say to each other over the worker's standard input and output.

A message is one letter, four bytes of length (big-endian) and a body. Results travel as JSON: neither side ever runs
what the other sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import StrEnum
from struct import Struct
from typing import Any

from attrs import asdict

from .base import Final, Finalized, Partial, Result, StartOfSpeech, Word

HEADER = Struct(">cI")


class Kind(StrEnum):
    """The first byte of a message."""

    OPEN = "O"
    "To the worker: begin a session; the body is its sample rate."
    AUDIO = "A"
    "To the worker: samples."
    FINALIZE = "F"
    "To the worker: cover all audio so far."
    CLOSE = "C"
    "To the worker: end the session."
    READY = "R"
    "From the worker, once: the model is loaded; the body is the engine's sample rate."
    HEARD = "H"
    "From the worker: so many bytes of audio are done with."
    RESULT = "S"
    "From the worker: a result."
    RELEASED = "D"
    "From the worker: the session is over, a new one may begin."
    FAILED = "E"
    "From the worker, before it exits: why."


_RESULTS: dict[str, type[Any]] = {kind.__name__: kind for kind in (StartOfSpeech, Partial, Final, Finalized)}


def pack(kind: Kind, body: bytes = b"") -> bytes:
    """Make one message."""
    return HEADER.pack(kind.encode(), len(body)) + body


def unpack(header: bytes) -> tuple[Kind, int]:
    """Read a header: what follows, and the length of its body. Raises ValueError for a letter that means nothing."""
    letter, length = HEADER.unpack(header)
    return Kind(letter.decode("latin-1")), length


def pack_results(results: list[Result]) -> Iterator[bytes]:
    """Make one message of each result."""
    for result in results:
        yield pack(Kind.RESULT, json.dumps([type(result).__name__, asdict(result)]).encode())


def read_result(body: bytes) -> Result:
    """Make the result of a message's body."""
    name, fields = json.loads(body)
    if "words" in fields:
        fields["words"] = tuple(Word(**word) for word in fields["words"])
    result: Result = _RESULTS[name](**fields)
    return result
