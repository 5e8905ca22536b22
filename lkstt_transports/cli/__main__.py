"""`python -m lkstt_transports.cli` is `lkstt`."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main()
