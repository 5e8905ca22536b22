"""Transcripts as text: txt, srt, vtt, tsv, json and jsonl.

A `Writer` gives the text of one file's transcript piece by piece, as finals come; its static methods give what holds
the transcripts of a document together. Nothing here reads or prints. Times are seconds since the start of the file.
"""

from __future__ import annotations

import json
import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lkstt_proto import SpeechData

_SHORTEST_CUE_MS = 1  # players refuse a cue that ends where it starts
_JOINERS = "\u200c\u200d"  # invisible, but Persian, Hindi and emoji are spelt with them
# Line breaks would end the line or the cue that they stand in; other spaces are the language's own.
_BREAKS = re.compile(r"[\t\n\v\f\r ]+")


def printable(text: str) -> str:
    """Escape what moves a terminal's cursor or the order of its letters, as `repr` does."""
    if text.isprintable():
        return text
    return "".join(c if _is_safe(c) else c.encode("unicode_escape").decode("ascii") for c in text)


def one_line(text: str) -> str:
    """Make a transcript fit for one line that people read."""
    return printable(_BREAKS.sub(" ", text).strip())


def dumps(value: object) -> str:
    """Encode as JSON for people and programs: the same value, with unsafe characters as `\\uXXXX`."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return "".join(c if _is_safe(c) else json.dumps(c)[1:-1] for c in text)


def _is_safe(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


class Writer(ABC):
    """The transcript of one file; what its methods return is to be written in the order of the calls."""

    suffix = ""
    several = True
    """Whether several transcripts may stand in one document."""

    def __init__(self, name: str, *, words: bool = False) -> None:
        self.name = name
        self.words = words
        """Whether to give each word its own times, where the gateway gave them."""

    @abstractmethod
    def final(self, data: SpeechData) -> str:
        """One final transcript, with text in it."""

    def end(self, *, duration: float, complete: bool) -> str:  # noqa: ARG002 (few formats have a place for them)
        """What comes after the last final; `duration` is that of the audio heard, in seconds."""
        return ""

    @staticmethod
    def head(*, several: bool) -> str:  # noqa: ARG004 (as above)
        """What a document of one or several transcripts begins with."""
        return ""

    @staticmethod
    def heading(name: str, *, first: bool) -> str:  # noqa: ARG004 (as above)
        """What stands before each of several transcripts."""
        return ""

    @staticmethod
    def foot(*, several: bool) -> str:  # noqa: ARG004 (as above)
        """What a document ends with."""
        return ""


class Txt(Writer):
    """One line for each final."""

    suffix = ".txt"

    def final(self, data: SpeechData) -> str:
        return one_line(data.text) + "\n"

    @staticmethod
    def heading(name: str, *, first: bool) -> str:
        return ("" if first else "\n") + f"==> {printable(name)} <==\n"


class _Cues(Writer):
    """Formats that are a list of texts with times; times never run backwards."""

    def __init__(self, name: str, *, words: bool = False) -> None:
        super().__init__(name, words=words)
        self._count = 0
        self._last_ms = 0

    def final(self, data: SpeechData) -> str:
        if self.words and data.words:
            return "".join(self._timed(word.text, word.start_time, word.end_time) for word in data.words)
        start, end = _spoken(data)
        return self._timed(data.text, start, end)

    def _timed(self, text: str, start: float, end: float) -> str:
        start_ms = max(_milliseconds(start), self._last_ms)
        end_ms = max(_milliseconds(end), start_ms + _SHORTEST_CUE_MS)
        self._last_ms = end_ms
        self._count += 1
        return self.cue(self._count, start_ms, end_ms, one_line(text))

    def cue(self, number: int, start: int, end: int, text: str) -> str:
        """Format one cue, its times in milliseconds."""
        raise NotImplementedError


class Srt(_Cues):
    """SubRip. It has no escapes, and players take `<` and `{\\` for markup: look-alikes stand in for those."""

    suffix = ".srt"
    several = False

    def cue(self, number: int, start: int, end: int, text: str) -> str:
        text = text.replace("-->", "\u2192").replace("<", "\u2039").replace(">", "\u203a").replace("{\\", "{\u29f5")
        return f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n"


class Vtt(_Cues):
    """WebVTT."""

    suffix = ".vtt"
    several = False

    @staticmethod
    def head(*, several: bool) -> str:  # noqa: ARG004 (never several)
        return "WEBVTT\n\n"

    def cue(self, number: int, start: int, end: int, text: str) -> str:  # noqa: ARG002 (WebVTT needs no numbers)
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n\n"


class Tsv(_Cues):
    """Tab-separated columns: file, start and end in seconds, text."""

    suffix = ".tsv"

    @staticmethod
    def head(*, several: bool) -> str:  # noqa: ARG004 (the columns are always the same)
        return "file\tstart\tend\ttext\n"

    def cue(self, number: int, start: int, end: int, text: str) -> str:  # noqa: ARG002 (rows need no numbers)
        return f"{printable(self.name)}\t{start / 1000:.3f}\t{end / 1000:.3f}\t{text}\n"


class Jsonl(Writer):
    """One JSON object on a line for each final, as it comes."""

    suffix = ".jsonl"

    def final(self, data: SpeechData) -> str:
        return dumps({"file": self.name, **_segment(data, words=self.words)}) + "\n"


class Json(Writer):
    """One JSON object for the whole transcript."""

    suffix = ".json"

    def __init__(self, name: str, *, words: bool = False) -> None:
        super().__init__(name, words=words)
        self._finals: list[SpeechData] = []

    def final(self, data: SpeechData) -> str:
        self._finals.append(data)
        return ""

    def end(self, *, duration: float, complete: bool) -> str:
        languages = [data.language for data in self._finals if data.language]
        return dumps(
            {
                "file": self.name,
                # The one heard most often: a final of one word may be taken for another language.
                "language": max(languages, key=languages.count, default=None),
                "duration": round(duration, 3),
                "complete": complete,
                "text": " ".join(data.text for data in self._finals),
                "segments": [_segment(data, words=self.words) for data in self._finals],
            }
        )

    @staticmethod
    def head(*, several: bool) -> str:
        return "[\n" if several else ""

    @staticmethod
    def heading(name: str, *, first: bool) -> str:  # noqa: ARG004 (the name stands in the object)
        return "" if first else ",\n"

    @staticmethod
    def foot(*, several: bool) -> str:
        return "\n]\n" if several else "\n"


WRITERS: Mapping[str, type[Writer]] = {
    "txt": Txt,
    "srt": Srt,
    "vtt": Vtt,
    "tsv": Tsv,
    "json": Json,
    "jsonl": Jsonl,
}


def _spoken(data: SpeechData) -> tuple[float, float]:
    """Where the words are: a final may stand for the silence around them as well."""
    if data.words and data.words[-1].end_time > data.words[0].start_time:
        return data.words[0].start_time, data.words[-1].end_time
    return data.start_time, data.end_time


def _segment(data: SpeechData, *, words: bool) -> dict[str, Any]:
    segment: dict[str, Any] = {
        "start": round(data.start_time, 3),
        "end": round(data.end_time, 3),
        "text": data.text,
        "language": data.language,
    }
    if data.confidence != 1.0:  # what stands there when the gateway gave none
        segment["confidence"] = round(data.confidence, 4)
    if data.speaker_id is not None:
        segment["speaker"] = data.speaker_id
    if words:
        segment["words"] = [
            {"text": word.text, "start": round(word.start_time, 3), "end": round(word.end_time, 3)}
            | ({"confidence": round(word.confidence, 4)} if word.confidence else {})
            for word in data.words
        ]
    return segment


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _clock(milliseconds: int, point: str) -> str:
    seconds, fraction = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{fraction:03}"
