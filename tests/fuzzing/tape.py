"""A byte string read as choices: when it is used up every choice is the first one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from attrs import define

ItemT = TypeVar("ItemT")


@define
class Tape:
    """Reads choices from its start."""

    data: bytes
    _at: int = 0

    def __bool__(self) -> bool:
        return self._at < len(self.data)

    def byte(self) -> int:
        """One byte."""
        self._at += 1
        return self.data[self._at - 1] if self._at <= len(self.data) else 0

    def number(self) -> int:
        """Two bytes."""
        return self.byte() << 8 | self.byte()

    def choice(self, items: Sequence[ItemT]) -> ItemT:
        """One of these."""
        return items[self.byte() % len(items)]

    def rest(self, size: int) -> bytes:
        """Up to ``size`` bytes as they are."""
        self._at += size
        return self.data[self._at - size : self._at]
