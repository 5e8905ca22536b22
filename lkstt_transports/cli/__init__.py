"""The command line, `lkstt`: demo, transcribe, serve, models (extra `cli`)."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line, and exit: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    It is installed with or without what it needs, so it says what is missing.
    """
    if any(find_spec(package) is None for package in ("click", "rich", "anyio")):
        sys.stderr.write("lkstt: the command line needs click, rich and anyio: pip install 'lkstt[cli]'\n")
        sys.exit(2)
    try:
        from .app import run

        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while something is still imported
        sys.exit(130)
