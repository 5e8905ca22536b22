"""Fields of messages, read leniently (CONTRACT decision 8).

Each reader takes a field's value as JSON gives it, or None where there was none, and gives one that is sound:

* Null is absent, and absent is the field's default: no problem.
* What cannot be used, or only after mending, is a problem: its field's name is appended to ``problems``, so that the
  receiver can tell of all of them in one Diagnostic, and the rest of the message is read as if nothing had happened.
* Text encodes to UTF-8: lone surrogates become U+FFFD, and what is too long is cut at a character.
* Names, which are ids, languages and models, have no control characters and are never cut: half an id is none.
* Numbers are finite floats, never negative; a confidence is within 0 and 1.
* A word's unusable field takes its default, and over the limit all words are dropped.

Nothing in here raises, and no problem holds content. What only the audio sent can judge is left to ``speech.py``.

Words arrive a handful at a time, five times a second and stream. Their reader first asks whether a word is as it
ordinarily is, in one straight condition, and only the others take the longer way, which gives the same result.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from .options import Limits

# ``type(x) is`` and not ``isinstance``: the decoder makes plain types only, and a bool is no number.

Problems = list[str]
"""Names of fields that could not be used as they came, in the order found."""

_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")

# Categories Cc, Zl and Zp, the controls of writing direction, and lone surrogates: nothing that an id or a language
# needs, and all that makes one dangerous to print or to echo.
_UNSAFE_IN_NAME = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def each_once(problems: Problems) -> tuple[str, ...]:
    """What a message keeps of its problems."""
    return tuple(dict.fromkeys(problems)) if problems else ()


def read_text(value: Any, limit: int, name: str, problems: Problems) -> str:
    """Read text that people read, at most ``limit`` bytes of UTF-8; empty when absent or unusable."""
    if type(value) is not str:
        if value is not None:
            problems.append(name)
        return ""
    text: str = value
    if _LONE_SURROGATE.search(text):
        problems.append(name)
        text = _LONE_SURROGATE.sub("\ufffd", text)
    raw = text.encode()
    if len(raw) > limit:
        problems.append(name)
        text = raw[:limit].decode("utf-8", "ignore")
    return text


def read_name(value: object, limit: int, name: str, problems: Problems) -> str | None:
    """Read an id, a language or the name of a model, at most ``limit`` characters.

    None when absent, empty (PROTOCOL 3.1, 3.2) or unusable.
    """
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= limit and (value.isprintable() or not _UNSAFE_IN_NAME.search(value)):
        return value
    problems.append(name)
    return None


def read_seconds(value: Any, name: str, problems: Problems) -> float | None:
    """Read a time or a duration; None when absent or unusable."""
    if value is None:
        return None
    if (type(value) is float or type(value) is int) and value >= 0:
        return abs(float(value))  # no -0.0; the parser takes no integer that would overflow
    problems.append(name)
    return None


def read_confidence(value: Any, default: float, name: str, problems: Problems) -> float:
    """Read a confidence, clamped to 0 and 1; ``default`` when absent or no number."""
    if value is None:
        return default
    if type(value) is float or type(value) is int:
        if 0 <= value <= 1:
            return abs(float(value))
        problems.append(name)
        return 1.0 if value > 1 else 0.0
    problems.append(name)
    return default


Word = tuple[str, float | None, float | None, float, str | None]
"""One word of a transcript: its text, start, end, confidence and speaker.

Start and end are seconds since the session's first sample, None when absent or unusable; the end may come before the
start. Confidence is 0 to 1, 0 when absent. A plain tuple: the cheapest thing to make and to take apart.
"""


def read_word(item: dict[str, Any], limits: Limits, problems: Problems) -> Word:
    """Read one word of any kind: the long way, which says what is right."""
    get = item.get
    return (
        read_text(get("word"), limits.text, "words", problems),
        read_seconds(get("start"), "words", problems),
        read_seconds(get("end"), "words", problems),
        read_confidence(get("confidence"), 0.0, "words", problems),
        read_name(get("speaker_id"), limits.name, "words", problems),
    )


_USUAL = 4  # fields that nearly every word has


def read_words(items: list[Any], limits: Limits, problems: Problems) -> tuple[Word, ...]:
    """Read the words of a transcript, skipping what is none; all are dropped when there are too many."""
    if len(items) > limits.words:
        problems.append("words")
        return ()
    text_limit = limits.text
    name_limit = limits.name
    words: list[Word] = []
    for item in items:
        try:
            text, start, end, confidence = item["word"], item["start"], item["end"], item["confidence"]
            speaker_id = item.get("speaker_id") if len(item) > _USUAL else None
        except (KeyError, TypeError):
            if type(item) is dict:
                words.append(read_word(item, limits, problems))
            elif item is not None:
                problems.append("words")
            continue
        if (
            type(text) is str
            and type(start) is float
            and type(end) is float
            and type(confidence) is float
            and start > 0.0
            and end > 0.0
            and 0.0 < confidence <= 1.0
            and text.isascii()
            and len(text) <= text_limit
            and (
                speaker_id is None
                or (type(speaker_id) is str and 0 < len(speaker_id) <= name_limit and speaker_id.isprintable())
            )
        ):
            words.append((text, start, end, confidence, speaker_id))
        else:
            words.append(read_word(item, limits, problems))
    return tuple(words)


def read_object(value: Any, name: str, problems: Problems) -> dict[str, Any] | None:
    """Read a JSON object, mended in place; None when absent, empty (PROTOCOL 3.1) or unusable."""
    if type(value) is dict:
        if _mend(value):
            problems.append(name)
        return value or None
    if value is not None:
        problems.append(name)
    return None


def _mend(holder: dict[str, Any] | list[Any]) -> bool:
    """Mend lone surrogates in all keys and texts, in place; tell whether there were any.

    A key that becomes another one's equal gets a number. Not recursive: nesting must not depend on the stack.
    """
    mended = False
    waiting: list[dict[str, Any] | list[Any]] = [holder]
    while waiting:
        inner: Any = waiting.pop()
        if type(inner) is dict:
            numbers = count(2)  # never begun again, so that many equal keys take no more than linear time
            for key in [key for key in inner if not key.isascii() and _LONE_SURROGATE.search(key)]:
                mended = True
                sound = name = _LONE_SURROGATE.sub("\ufffd", key)
                while name in inner:
                    name = f"{sound}~{next(numbers)}"
                inner[name] = inner.pop(key)
        for key, value in inner.items() if type(inner) is dict else enumerate(inner):
            if type(value) is str:
                if not value.isascii() and _LONE_SURROGATE.search(value):
                    mended = True
                    inner[key] = _LONE_SURROGATE.sub("\ufffd", value)
            elif type(value) is dict or type(value) is list:
                waiting.append(value)
    return mended
