"""A worker process: one engine with its model loaded, one session at a time, blocking reads and no threads.

Run as `python -m lkstt_transports.gateway.recognizers.worker module:engine`, by `WorkerPool`. It ends when its standard
input does, so it does not outlive its parent, and leaves Ctrl-C to the parent.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from typing import BinaryIO

from .base import Engine
from .transcriber import Transcriber
from .wire import HEADER, Kind, pack, pack_results, unpack


def main(factory: str) -> int:
    """Load the engine named `module:callable` and serve sessions until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The messages keep standard output to themselves: what a library prints goes to standard error.
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        return _serve(factory, sys.stdin.buffer, out)
    except BrokenPipeError:
        return 0  # the parent is gone


def _serve(factory: str, source: BinaryIO, out: int) -> int:
    module, _, name = factory.partition(":")
    try:
        engine: Engine = getattr(import_module(module), name)()
    except Exception as error:
        _send(out, pack(Kind.FAILED, f"{type(error).__name__}: {error}".encode()))
        return 1
    _send(out, pack(Kind.READY, b"%d" % engine.sample_rate))
    try:
        _run(engine, source, out)
    except BrokenPipeError:
        raise
    except Exception as error:
        # Its message might quote what was said.
        _send(out, pack(Kind.FAILED, type(error).__name__.encode()))
        return 1
    return 0


def _run(engine: Engine, source: BinaryIO, out: int) -> None:
    transcriber: Transcriber | None = None
    while len(header := source.read(HEADER.size)) == HEADER.size:
        kind, length = unpack(header)
        body = source.read(length)
        if kind is Kind.OPEN:
            transcriber = Transcriber(engine, int(body))
        elif kind is Kind.CLOSE:
            transcriber = None
            _send(out, pack(Kind.RELEASED))
        elif transcriber is not None and kind is Kind.AUDIO:
            _send(out, b"".join(pack_results(transcriber.accept(body))) + pack(Kind.HEARD, b"%d" % length))
        elif transcriber is not None and kind is Kind.FINALIZE:
            _send(out, b"".join(pack_results(transcriber.finalize())))


def _send(out: int, data: bytes) -> None:
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
