"""Recognisers for the local gateway. Importing this imports none of them."""

from __future__ import annotations

from .base import (
    Engine,
    Final,
    Finalized,
    Hypothesis,
    Partial,
    Recognizer,
    RecognizerBusy,
    RecognizerError,
    RecognizerFailed,
    RecognizerMissing,
    RecognizerRefused,
    RecognizerSession,
    Result,
    StartOfSpeech,
    Word,
)
from .pocketsphinx import PocketsphinxEngine, PocketsphinxRecognizer, transcribe_directly
from .pool import WorkerPool, WorkerSession
from .transcriber import Transcriber

__all__ = [
    "Engine",
    "Final",
    "Finalized",
    "Hypothesis",
    "Partial",
    "PocketsphinxEngine",
    "PocketsphinxRecognizer",
    "Recognizer",
    "RecognizerBusy",
    "RecognizerError",
    "RecognizerFailed",
    "RecognizerMissing",
    "RecognizerRefused",
    "RecognizerSession",
    "Result",
    "StartOfSpeech",
    "Transcriber",
    "Word",
    "WorkerPool",
    "WorkerSession",
    "transcribe_directly",
]
