"""What was handed to the transport, told once (CONTRACT decision 3)."""

from __future__ import annotations

from attrs import define

from .events import RecognitionUsage

_new_tuple = tuple.__new__


@define
class Ledger:
    """Counts samples, so that its seconds add up exactly however the audio was cut.

    Over a stream ``audio_duration`` sums to the unique audio, and both durations together to all audio handed over.
    """

    rate: int
    unique: int = 0
    """Samples handed over for the first time."""
    resent: int = 0
    """Samples handed over again."""
    _reported_unique: int = 0
    _reported_resent: int = 0

    def hand_over(self, samples: int, fresh: int) -> None:
        """``samples`` go to the transport, ``fresh`` of them for the first time."""
        self.unique += fresh
        self.resent += samples - fresh

    def report(self) -> RecognitionUsage | None:
        """Everything since the last report, or None when there is nothing to tell."""
        unique = self.unique - self._reported_unique
        resent = self.resent - self._reported_resent
        if not unique and not resent:
            return None
        self._reported_unique = self.unique
        self._reported_resent = self.resent
        # As RecognitionUsage(...), at half of the cost.
        return _new_tuple(RecognitionUsage, (unique / self.rate, resent / self.rate))
