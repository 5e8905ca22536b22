"""A lock that a thread may take again while it has it, and that no interrupt leaves locked."""

from __future__ import annotations

import sys
from _thread import RLock  # the class; ``threading.RLock`` is a function
from collections.abc import Callable
from contextlib import suppress

Lock: Callable[[], RLock]
if sys.version_info >= (3, 14):
    # From here on an interrupt may come behind a lock's being taken and before the block that would give it back. It
    # cannot come behind what is written in Python; giving back stays the ``RLock``'s own, which none comes before.

    def _enter(lock: RLock) -> bool:
        try:
            return lock.acquire()
        except BaseException:
            with suppress(RuntimeError):  # it was not taken yet
                lock.release()
            raise

    Lock = type("Lock", (RLock,), {"__enter__": _enter})
else:
    Lock = RLock
