"""What a transcript means for the stream: what it acknowledges, and which row of the speech table it takes.

Acknowledged audio is never resent (CONTRACT decision 2). A final with times of its own acknowledges exactly up to its
end. One without acknowledges what was sent when it came: an estimate. Silence acknowledges itself, once this stream has
heard that turns announce themselves before their final.
"""

from __future__ import annotations

from .catalogue import ModelInfo
from .drain import Drain
from .events import SpeechEvent, SpeechEventType
from .messages import Transcript, TranscriptKind
from .sender import Sender
from .speech import Reader

REMEMBERED = 60.0
"""Seconds of acknowledged audio that a late or repeated transcript may still be about: its times have to be placed."""

_MEANINGS = {kind: (f"gateway:{kind}_transcript", SpeechEventType(f"{kind}_transcript")) for kind in TranscriptKind}
"""The speech table's trigger and the event, where nothing is special."""

_FINAL = TranscriptKind.FINAL

_new_tuple = tuple.__new__


Heard = tuple[str, SpeechEvent, tuple[str, ...], bool | None]
"""One transcript, understood: the speech table's name for it, the event, the fields that were mended, and whether it
acknowledged audio, None where it is no final."""


class Hearing:
    """Hears the transcripts of one stream."""

    __slots__ = ("_drain", "_reader", "_remembered", "_sender", "estimated", "exact", "hears_onsets")

    def __init__(self, sender: Sender, drain: Drain, info: ModelInfo) -> None:
        self._sender = sender
        self._drain = drain
        self._reader = Reader(sender.timeline, info)
        self._remembered = round(REMEMBERED * sender.rate)
        self.exact = 0
        """Position up to which finals with times of their own speak."""
        self.estimated = 0
        """Samples acknowledged by estimate alone, behind the last such final."""
        self.hears_onsets = False
        """Whether this stream was told of a turn before its final."""

    def begin(self) -> None:
        """A session begins, and with it its clock."""
        self._reader.begin()

    def hear(self, message: Transcript, now: float, language: str, session_id: str) -> Heard:
        """Understand a transcript; acknowledge what a final stands for. The defaults are the stream's own."""
        sender = self._sender
        ring, rate = sender.ring, sender.rate
        kind = message.kind
        final = kind is _FINAL
        data, end, problems = self._reader.read(message, final, ring.acknowledged / rate, language)
        if end is not None:
            timeline = sender.timeline
            count = timeline.count_of(end) if timeline.shift is None else end - timeline.offset  # as it would give
            sender.liveness.transcribed(count, now)
        text = message.text
        acknowledged = None
        trigger, event_type = _MEANINGS[kind]
        if final:
            self._drain.final_came(text, now)
            acknowledged = self._acknowledge(end, text)
            if not text:
                trigger = "gateway:empty_final"
        elif not text:
            trigger = "gateway:empty_transcript"
        # Text that lies within exactly acknowledged audio, by times that the gateway itself gave.
        elif end is not None and 0 < end <= self.exact and "start" not in problems:
            trigger = "gateway:late_transcript"
        else:
            self.hears_onsets = True
            self._drain.interim_came(text, now)
        request_id = message.request_id or message.session_id or session_id
        # As SpeechEvent(...), at half of the cost.
        event = _new_tuple(SpeechEvent, (event_type, request_id, (data,), None, ring.handed / rate, False))
        return trigger, event, problems, acknowledged

    def acknowledge_silence(self) -> None:
        """No turn is open: be done with what was listened to, except where a turn may just be beginning."""
        if self.hears_onsets:
            sender = self._sender
            listened = sender.timeline.position_of(int(sender.liveness.listened))
            sender.ring.acknowledge(listened - round(sender.limits.lookback * sender.rate))

    def _acknowledge(self, end: int | None, text: str) -> bool:
        """Be done with what a final stands for, which speaks up to ``end``; tell whether that is any audio."""
        ring, timeline = self._sender.ring, self._sender.timeline
        if end is not None:
            samples = ring.acknowledge(end)
            if end > self.exact:
                self.exact = end
            # An estimate may have gone further than this final speaks.
            if self.estimated:
                self.estimated = min(self.estimated, max(0, ring.acknowledged - end))
        elif text or self._drain.finalize_at is not None:
            samples = ring.acknowledge(timeline.position)
            self.estimated += samples
        else:
            return False
        timeline.forget(ring.acknowledged - self._remembered)
        if samples:
            self._drain.fruitful = True
        return samples > 0
