"""A lock that a thread may take again while it has it, and that no interrupt leaves locked."""

from __future__ import annotations

import sys
from _thread import RLock  # the class; ``threading.RLock`` is a function
from contextlib import suppress

if sys.version_info >= (3, 14):

    class Lock(RLock):  # type: ignore[misc] # it is not final
        """An ``RLock`` that gives itself back where an interrupt comes behind its being taken and before the block.

        Until Python 3.13 none came there.
        """

        def __enter__(self) -> bool:  # type: ignore[override] # a ``with`` gives nothing
            try:
                return self.acquire()
            except BaseException:
                with suppress(RuntimeError):  # it was not taken yet
                    self.release()
                raise

else:
    Lock = RLock
