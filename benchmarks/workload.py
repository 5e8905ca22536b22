"""What the benchmarks push and hear: 16 kHz mono, an interim every 200 ms, a final every 3 s."""

from __future__ import annotations

import json
from random import Random

RATE = 16000
MESSAGE_SECONDS = 0.05
MESSAGE_BYTES = 1600
PUSH_SECONDS = 0.02
FILE_SECONDS = 0.8
"""A push of a file: 16 messages, which is what the core gives at a time."""
BURST_PUSHES = round(FILE_SECONDS / PUSH_SECONDS)
"""Pushes in which so many messages fill."""
FINAL_SECONDS = 0.2
"""Audio before each final of the final's own figure: whole messages, and something for its usage event to tell."""
UTTERANCE_SECONDS = 3.0
INTERIMS = 14
PCM = Random(16).randbytes(16 * MESSAGE_BYTES)
"""Noise, so that any part of it can be found again."""


PUSHED = [PCM[place : place + 640] for place in range(0, len(PCM), 640)]
"""Pieces of ``PUSH_SECONDS``, to be pushed over and over."""


def piece(seconds: float) -> bytes:
    return PCM[: round(seconds / MESSAGE_SECONDS * MESSAGE_BYTES)]


_WORDS = ("so", "then", "we", "could", "meet", "again", "on", "friday", "afternoon", "near", "the", "old", "station")


def transcript(kind: str, number: int, end: float, seconds: float) -> str:
    """A transcript of eight words that lie in the ``seconds`` up to session time ``end``, as a gateway writes it."""
    start = end - seconds
    words = [_WORDS[(number + i) % len(_WORDS)] for i in range(8)]
    step = seconds / 8
    message = {
        "type": f"{kind}_transcript",
        "session_id": "3f0c6a52-8a5e-4f5c-9a63-51f2ce4b1c9d",
        "request_id": "stt_request_5b1f0c9e22d4",
        "transcript": " ".join(words),
        "language": "en",
        "start": round(start, 3),
        "duration": round(seconds, 3),
        "confidence": 0.9871,
        "words": [
            {
                "word": word,
                "start": round(start + i * step, 3),
                "end": round(start + (i + 1) * step, 3),
                "confidence": round(0.9 + 0.01 * i, 3),
            }
            for i, word in enumerate(words)
        ],
    }
    return json.dumps(message, separators=(",", ":"))


CREATED = '{"type":"session.created","session_id":"3f0c6a52-8a5e-4f5c-9a63-51f2ce4b1c9d"}'
LEAD_IN_SECONDS = 12.0
"""Audio before anything is measured, with one turn in it: more than the core looks back."""


def interims(end: float) -> list[str]:
    """A few interims that differ, as those of a growing sentence do."""
    return [transcript("interim", number, end, 2.4) for number in range(8)]


def finals(count: int, end: float) -> list[str]:
    """``count`` finals, each with the audio of its own before it; ``end`` is the session time before the first."""
    return [transcript("final", n, end + FINAL_SECONDS * (n + 1), FINAL_SECONDS) for n in range(count)]


def utterances(count: int, end: float) -> list[list[str]]:
    """``count`` times the interims and the final of three seconds, each to come 200 ms after the one before it."""
    return [
        [
            transcript(
                "final" if i == INTERIMS else "interim", i, end + n * UTTERANCE_SECONDS + 0.2 * (i + 1), 0.2 * (i + 1)
            )
            for i in range(INTERIMS + 1)
        ]
        for n in range(count)
    ]
