"""Files with what was said in them: new ones only, for their owner only, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from .failure import Failure


@contextmanager
def private_file(path: Path) -> Iterator[TextIO]:
    """Make a file that nobody else may read, at once; it stays if the block closes it, and is taken away if not.

    Raises `Failure` when it cannot be made or written, or is there already.
    """
    try:
        file = open(path, "x", encoding="utf-8", newline="\n", opener=_open_privately)  # noqa: SIM115 (closed below)
    except FileExistsError:
        raise Failure(f"{path} exists already: remove it, or choose another name") from None
    except OSError as error:
        raise Failure(f"{path} cannot be made ({error.strerror}): choose another place") from None
    try:
        yield file
    except OSError as error:
        raise Failure(f"{path} cannot be written ({error.strerror}): check the disk") from None
    finally:
        if not file.closed:
            with suppress(OSError):
                file.close()
            with suppress(OSError):
                path.unlink()


def _open_privately(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)
