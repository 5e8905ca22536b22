"""Marked audio: every sample tells its place in the stream, and words are places on the tape.

Two neighbouring samples together hold a position: an even sample the low half of it, an odd one the high half and a
mark that it is odd. All runs share one tape; what differs is where words lie on it. A word belongs to whoever hears its
last sample, so that any way of cutting the audio into stretches gives every word to exactly one of them.
"""

from __future__ import annotations

import sys
from array import array
from random import Random
from typing import NamedTuple

RATE = 8000
"""Samples per second: the lowest that a gateway takes, as all costs follow from it."""

LONGEST = 150 * RATE
"""Samples on the tape."""

_PAIRS = 1 << 15  # positions that differ in their low half
_ODD = 0x8000


def _mark() -> bytes:
    tape = array("H")
    for high in range(LONGEST // (2 * _PAIRS) + 1):
        block = array("H", [_ODD | high]) * (2 * _PAIRS)
        block[0::2] = array("H", range(_PAIRS))
        tape += block
    if sys.byteorder == "big":
        tape.byteswap()
    return tape[:LONGEST].tobytes()


TAPE = _mark()


def position_of(pcm: bytes, expected: int) -> int:
    """Read the position of the first sample; ``expected`` decides where a single sample cannot tell."""
    first = pcm[0] | pcm[1] << 8
    if len(pcm) < 4:
        return expected if TAPE[2 * expected : 2 * expected + 2] == pcm[:2] else -1
    second = pcm[2] | pcm[3] << 8
    if first < _ODD <= second:
        return 2 * ((second - _ODD) * _PAIRS + first)
    if second < _ODD <= first:
        high = first - _ODD + (second == 0)
        return 2 * (high * _PAIRS + second) - 1
    return -1


class Word(NamedTuple):
    """One spoken word, at positions from ``start`` up to ``end``."""

    number: int
    start: int
    end: int

    @property
    def text(self) -> str:
        """How it is written."""
        return f"w{self.number}"


def speak(random: Random, samples: int) -> list[Word]:
    """Say something: turns of some words, with pauses between them, within ``samples``."""
    words: list[Word] = []
    if random.random() < 0.04:
        return words
    hasty = random.random() < 0.3
    longest_pause = random.choice((0.5, 2.0, 4.0)) * RATE
    at = int(random.random() ** 2 * longest_pause)
    while True:
        for _ in range(random.randint(1, 8)):
            length = 1 if random.random() < 0.02 else int(random.uniform(0.04, 0.5) * RATE)
            if at + length > samples:
                return words
            words.append(Word(len(words), at, at + length))
            at += length
            if not hasty and random.random() < 0.6:
                at += int(random.uniform(0.0, 0.25) * RATE)
        at += int(random.uniform(0.05 * RATE, longest_pause))
