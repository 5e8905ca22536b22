"""Heads of text frames, for what is written past the WebSocket libraries at a fraction of their cost (RFC 6455 5.2)."""

from __future__ import annotations

from os import urandom
from struct import Struct

TEXT = 0x81
"""The first byte of a whole text message."""
LONG = 126
"""Stands for a length in the two bytes behind it."""
VERY_LONG = 65_536
"""Bytes that are too many for that."""
_MASKED = 0x80
_MASK_SIZE = 4
_HEAD = Struct("!BB4s").pack
_LONG_HEAD = Struct("!BBH4s").pack


def text_head(length: int) -> tuple[bytes, bytes]:
    """Give the head of a client's text frame of less than ``VERY_LONG`` bytes, and the mask for them, which ends it."""
    mask = urandom(_MASK_SIZE)
    if length < LONG:
        return _HEAD(TEXT, _MASKED | length, mask), mask
    return _LONG_HEAD(TEXT, _MASKED | LONG, length, mask), mask
