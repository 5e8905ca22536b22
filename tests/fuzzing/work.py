"""Work counted in calls: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

counting = True
"""False where calls are not counted: instrumented code calls its instruments, and each would be counted."""


class TooMuchWork(BaseException):
    """More calls than the input's length allows; nothing on the way out should take it for a failure of its own."""


@contextmanager
def bounded(calls: int) -> Iterator[None]:
    """Raise TooMuchWork where more than so many functions, Python's own included, are called."""
    if not counting:
        yield
        return
    left = calls

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal left
        if event in ("call", "c_call"):
            left -= 1
            if left < 0:
                sys.setprofile(None)
                raise TooMuchWork(f"more than {calls} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield
    finally:
        sys.setprofile(before)
