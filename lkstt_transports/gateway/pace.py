"""How fast a client may talk, and whose turn it is: what keeps one session's haste from being another's delay."""

from __future__ import annotations

import asyncio

from attrs import define, field

# What a frame counts for at least, in seconds of audio: one of audio, as clients send 10 to 100 ms at a time; and any
# other, of which they send few.
AUDIO_FRAME_SECONDS, OTHER_FRAME_SECONDS = 0.01, 0.1
# Bytes of a frame that count for one second of audio: twice what base64 makes of 48 kHz, so that audio counts for what
# it is and a large message of anything else counts as well.
SECOND_BYTES = 256_000


def cost(size: int, audio: float) -> float:
    """What a frame of so many bytes, with so many seconds of audio, counts for."""
    return max(audio, AUDIO_FRAME_SECONDS if audio else OTHER_FRAME_SECONDS, size / SECOND_BYTES)


@define
class Pace:
    """A bucket of audio: so many seconds at once, and from then on so many times real time."""

    speed: float
    burst: float
    _owed: float = field(init=False, default=0.0)
    # Seconds of audio that `speed` has not made up for yet.
    _at: float = field(init=False, default=float("-inf"))

    def owed(self, now: float) -> float:
        """How many seconds of audio have come faster than they might for ever."""
        if now > self._at:
            self._owed = max(0.0, self._owed - (now - self._at) * self.speed)
            self._at = now
        return self._owed

    def spend(self, seconds: float, now: float) -> float:
        """Count audio, and give the seconds to wait before more of it may be taken."""
        self._owed = self.owed(now) + seconds
        return max(0.0, (self._owed - self.burst) / self.speed)


class Turnstile:
    """Lets one pass in each turn of the event loop, in the order of their coming.

    Those whose work is large or hurried pass here, so that what the loop does between two turns stays short for those
    whose work is neither.
    """

    def __init__(self) -> None:
        """Let the first pass at once."""
        self._lock = asyncio.Lock()

    async def pass_through(self) -> None:
        """Wait for the turn."""
        async with self._lock:
            await asyncio.sleep(0)
