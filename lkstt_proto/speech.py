"""Transcripts to speech data: session times to stream times, gaps filled, everything sound (PROTOCOL 3.1).

Whatever the gateway says, ``0 <= start <= end <= audio sent`` holds for what comes out.
"""

from __future__ import annotations

from typing import Any, cast

from .audio import SLACK, Timeline
from .catalogue import ModelInfo
from .events import SpeechData, TimedWord
from .fields import Word
from .messages import Transcript

TOLERANCE = 1e-3
"""Seconds by which a gateway's rounding may pass the audio sent without being called a mistake."""

DEFAULT_LANGUAGE = "en"
"""What a transcript is in when neither it nor the stream names a language (PROTOCOL 3.1)."""

_new_tuple = tuple.__new__


Reading = tuple[SpeechData, int | None, tuple[str, ...]]
"""What a transcript says, in terms of the stream; the position that its times speak up to, None where they say nothing
and are estimated; and the fields that were mended, for one Diagnostic."""


class Reader:
    """Reads the transcripts of one session after another."""

    __slots__ = ("_code", "_info", "_language", "_last_end", "_last_start", "_timeline", "_trusted")

    def __init__(self, timeline: Timeline, info: ModelInfo) -> None:
        self._timeline = timeline
        self._info = info
        self._code: str | None = None  # the last language heard, and how it is spelt: mostly it stays the same
        self._language = ""
        self.begin()

    def begin(self) -> None:
        """A session begins, and with it its clock."""
        self._trusted = self._info.times
        self._last_start = self._last_end = 0.0

    def read(self, message: Transcript, final: bool, since: float, language: str) -> Reading:
        """Place ``message`` in the stream.

        ``since`` is the acknowledged stream time in seconds, where a transcript without times of its own begins.
        ``language`` is the stream's, for a transcript that names none.
        """
        timeline = self._timeline
        count, rate = timeline.count, timeline.rate
        latest = start_time = end_time = (count + timeline.offset) / rate
        end = None
        problems = message.problems
        duration = message.duration
        if duration and self._trusted:
            sent = count / rate
            session_start = message.start or 0.0
            if session_start > sent + TOLERANCE:
                problems = (*problems, "start")
                session_start = 0.0
            session_end = session_start + duration
            if session_end > sent:
                if session_end > sent + TOLERANCE:
                    problems = (*problems, "duration")
                session_end = sent
            # A start that had to be mended says nothing of the gateway's clock.
            if not final or "start" in problems or self._follows(session_start, session_end):
                shift = timeline.shift
                if shift is None:
                    start_time, end_time, end = timeline.span(session_start, session_end)
                else:  # the same, at a quarter of the cost
                    start_time = session_start + shift
                    end_time = session_end + shift
                    if end_time > latest:
                        end_time = latest
                    if start_time > end_time:
                        start_time = end_time
                    end = int(end_time * rate + SLACK)
        if end is None:
            start_time = min(since, end_time)
        code = message.language
        if code != self._code:
            self._code = code
            self._language = self._info.language(code) if code else ""
        words = message.words
        # As SpeechData(...), at half of the cost. To add zero makes -0.0 plain, which the short way of decoding lets
        # through; here and below.
        data = _new_tuple(
            SpeechData,
            (
                self._language or language or DEFAULT_LANGUAGE,
                message.text,
                start_time,
                end_time,
                message.confidence + 0.0,
                message.speaker_id,
                self._words(words, start_time, latest) if words else (),
                message.metadata or None,
            ),
        )
        return data, end, problems

    def _follows(self, start: float, end: float) -> bool:
        """Whether a final's session times fit behind those of the last one (CONTRACT decision 2).

        An end before the last final's start tells that the gateway's own clock began again: from there on, nothing that
        this session says of time can be placed.
        """
        if end < self._last_start:
            self._trusted = False
        elif end > self._last_end:
            self._last_start, self._last_end = start, end
        return self._trusted

    def _words(self, words: tuple[Word, ...], segment_start: float, latest: float) -> tuple[TimedWord, ...]:
        shift = self._timeline.shift
        timed = []
        if shift is None or not self._trusted:
            shift, latest = 0.0, -1.0  # none is as it ordinarily is
        # As TimedWord(...), at half of the cost.
        if type(words[0]) is tuple:
            for text, start, end, confidence, speaker_id in words:
                if start is not None and end is not None and start <= end and (ends := end + shift) <= latest:
                    begins = start + shift
                else:
                    begins, ends = self._place(start, end, segment_start)
                timed.append(_new_tuple(TimedWord, (text, begins, ends, confidence, speaker_id)))
        else:  # of the short way
            for word in cast("Any", words):
                start, end = word.start, word.end
                if start <= end and (ends := end + shift) <= latest:
                    begins = start + shift
                else:
                    begins, ends = self._place(start, end, segment_start)
                timed.append(_new_tuple(TimedWord, (word.text, begins, ends, word.confidence + 0.0, word.speaker_id)))
        return tuple(timed)

    def _place(self, start: float | None, end: float | None, segment_start: float) -> tuple[float, float]:
        """Place a word in the stream; where its times say nothing, at its segment's start."""
        timeline = self._timeline
        if not self._trusted or start is None or end is None or not start <= end <= timeline.seconds + TOLERANCE:
            return segment_start, segment_start
        begins, ends, _ = timeline.span(start + 0.0, end + 0.0)
        return begins, ends
