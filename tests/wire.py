"""What tests of messages, of their fields and of their encoding share: limits, short ways to decode, and strategies."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lkstt_proto.messages import Transcript, TranscriptKind, decode_server
from lkstt_proto.options import Limits

LIMITS = Limits()
SMALL = Limits(message=100_000, words=3, text=10, name=8)
FINAL = TranscriptKind.FINAL

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine proves nothing."""


def server(kind: str, limits: Limits = LIMITS, **fields: Any) -> Any:
    return decode_server(json.dumps({"type": kind, **fields}), limits)


def final(limits: Limits = LIMITS, **fields: Any) -> Transcript:
    message = server("final_transcript", limits, **fields)
    assert type(message) is Transcript
    return message


def nulls(names: list[str]) -> dict[str, Any]:
    return dict.fromkeys(names)


TRANSCRIPT_FIELDS = [
    "transcript",
    "language",
    "start",
    "duration",
    "confidence",
    "words",
    "speaker_id",
    "extra",
    "request_id",
    "session_id",
]
WORD_FIELDS = ["word", "start", "end", "confidence", "speaker_id"]

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
"""Lone surrogates and controls included."""
NAME = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
SECONDS = st.floats(0, 1e6).map(abs)
CONFIDENCE = st.floats(0, 1).map(abs)

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -0.0, 1, 16000, "16000", 1e308, 10**299, -(10**299), 2**63, "pcm_s16le", "AAAA", "AAA="])
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ANY_TEXT, inner, max_size=5),
    max_leaves=10,
)
