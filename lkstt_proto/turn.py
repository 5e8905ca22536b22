"""The turn: the speech table's effects as events, in the order that applications rely on (CONTRACT decision 4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from .audio import Ring
from .events import RecognitionUsage, SpeechEvent, SpeechEventType
from .ledger import Ledger
from .machine import Machine
from .tables import SPEECH, SpeechEffect, SpeechState
from .unread import Unread

_new_tuple = tuple.__new__
_SETTINGS = SpeechEffect.SETTINGS  # to look a member up in its class costs as much as a small call


class Turn:
    """Steps the speech table and tells what it says."""

    __slots__ = ("_last", "_ledger", "_machine", "_ring", "_unread", "finals", "request_id")

    def __init__(self, unread: Unread, ledger: Ledger, ring: Ring) -> None:
        self._machine = Machine(SPEECH)
        self._unread = unread
        self._ledger = ledger
        self._ring = ring
        self._last: SpeechEvent | None = None  # the open turn's last interim or preflight
        self.finals = 0
        self.request_id = ""
        """The id of what no transcript names."""

    @property
    def speaking(self) -> bool:
        """Whether a turn is open."""
        return self._machine.state is SpeechState.SPEAKING

    def step(self, trigger: str, transcript: SpeechEvent | None = None) -> bool:
        """Move along ``trigger`` and tell what follows; return whether settings that waited for the end are due."""
        settings = False
        for effect in self._machine.step(trigger):
            if effect is _SETTINGS:
                settings = True
            else:
                self._TELL[effect](self, transcript)
        return settings

    def _start(self, _: SpeechEvent | None) -> None:
        self._tell(SpeechEventType.START_OF_SPEECH)

    def _interim(self, transcript: SpeechEvent) -> None:
        self._last = transcript
        self._unread.interim(transcript)

    def _preflight(self, transcript: SpeechEvent) -> None:
        self._last = transcript
        self._unread.tell(transcript)

    def _usage(self, transcript: SpeechEvent | None) -> None:
        usage = self._ledger.report()
        if usage is not None:
            request_id = self.request_id if transcript is None else transcript.request_id
            self._tell(SpeechEventType.RECOGNITION_USAGE, request_id, usage)

    def _final(self, transcript: SpeechEvent) -> None:
        self.finals += 1
        self._unread.tell(transcript)

    def _promote(self, _: SpeechEvent | None) -> None:
        if self._last is not None:
            kind = SpeechEventType.FINAL_TRANSCRIPT
            self._final(self._last._replace(type=kind, audio_time=self._audio_time, promoted=True))

    def _end(self, _: SpeechEvent | None) -> None:
        self._last = None
        self._tell(SpeechEventType.END_OF_SPEECH)

    _TELL: ClassVar[Mapping[StrEnum, Callable[[Turn, Any], None]]] = {
        SpeechEffect.START: _start,
        SpeechEffect.INTERIM: _interim,
        SpeechEffect.PREFLIGHT: _preflight,
        SpeechEffect.USAGE: _usage,
        SpeechEffect.FINAL: _final,
        SpeechEffect.PROMOTE: _promote,
        SpeechEffect.END: _end,
    }

    @property
    def _audio_time(self) -> float:
        return self._ring.handed / self._ledger.rate

    def _tell(self, kind: SpeechEventType, request_id: str = "", usage: RecognitionUsage | None = None) -> None:
        # As SpeechEvent(...), at half of the cost.
        self._unread.tell(_new_tuple(SpeechEvent, (kind, request_id, (), usage, self._audio_time, False)))
