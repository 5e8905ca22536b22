"""Counters and latencies of a stream."""

from __future__ import annotations

from attrs import define, frozen


@define
class Counters:
    """What is counted as it happens. Latencies are in seconds, None until measured."""

    sessions: int = 0
    """Transports that opened."""
    failures: int = 0
    """Sessions and dials that failed."""
    messages_sent: int = 0
    messages_received: int = 0
    diagnostics: int = 0
    """Messages skipped or mended."""
    finals: int = 0
    dropped: int = 0
    """Samples told as dropped."""
    connect_latency: float | None = None
    round_trip: float | None = None


@frozen(kw_only=True)
class Stats:
    """A snapshot. Durations in seconds; a latency is None until it was measured."""

    sessions: int
    """Transports that opened."""
    failures: int
    """Sessions and dials that failed."""
    messages_sent: int
    messages_received: int
    diagnostics: int
    """Messages skipped or mended."""
    finals: int
    audio_pushed: float
    audio_sent: float
    """Handed to a transport for the first time."""
    audio_resent: float
    """Handed to a transport again."""
    audio_dropped: float
    audio_unsent: float
    audio_unacknowledged: float
    connect_latency: float | None
    """From the last ``Connect`` to its ``transport_opened``."""
    round_trip: float | None
    """From the last answered ping to its pong."""
    finalize_latency: float | None
    """From the end-of-input finalize to the first final after it."""
