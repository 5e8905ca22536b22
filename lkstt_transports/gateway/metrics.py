"""What the gateway counts, in the text format of Prometheus. Numbers only: no key, token, id or text.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import ClassVar, Protocol, runtime_checkable

from attrs import define, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From "nobody notices" to "something is wrong", in seconds.
_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_PREFIX = "lkstt_gateway_"


@runtime_checkable
class HasWorkers(Protocol):
    """A recogniser that knows how many workers it has."""

    @property
    def idle(self) -> int:
        """Workers that wait for a session."""

    @property
    def busy(self) -> int:
        """Workers in a session."""


@define
class Histogram:
    """Durations in seconds."""

    _counts: list[int] = field(init=False, factory=lambda: [0] * (len(_BUCKETS) + 1))
    _total: float = field(init=False, default=0.0)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_BUCKETS, seconds)] += 1
        self._total += seconds

    def samples(self) -> Iterable[tuple[str, float]]:
        """Give suffix with labels, and value, of each line."""
        below = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._counts, strict=True):
            below += count
            yield f'_bucket{{le="{bound}"}}', below
        yield "_sum", self._total
        yield "_count", below


@define(eq=False)
class Metrics:
    """Everything that one gateway counts."""

    sessions: int = field(init=False, default=0)
    "WebSockets open now."
    sessions_total: int = field(init=False, default=0)
    recognizing: int = field(init=False, default=0)
    "Sessions that have a recogniser now."
    audio_seconds: float = field(init=False, default=0.0)
    finals: int = field(init=False, default=0)
    errors: Counter[int] = field(init=False, factory=Counter)
    "By the code of the error message."
    refusals: Counter[int] = field(init=False, factory=Counter)
    "By HTTP status."
    visitors: int = field(init=False, default=0)
    "Connections now whose peer has not shown a token."
    turned_out: Counter[str] = field(init=False, factory=Counter)
    "Connections closed before they had shown one: because of a crowd, or of the deadline."
    slowed: int = field(init=False, default=0)
    "Times that a client was not read for a while because it was too fast."
    unread: int = field(init=False, default=0)
    "Connections cut because the client did not read."
    opening: Histogram = field(init=False, factory=Histogram)
    finalizing: Histogram = field(init=False, factory=Histogram)

    _HELP: ClassVar[Mapping[str, tuple[str, str]]] = {
        "sessions_open": ("gauge", "Sessions open now."),
        "sessions_total": ("counter", "Sessions opened."),
        "recognizer_sessions": ("gauge", "Sessions that have a recogniser now."),
        "workers": ("gauge", "Recogniser workers by state."),
        "audio_seconds_total": ("counter", "Seconds of audio received."),
        "finals_total": ("counter", "Final transcripts sent."),
        "errors_total": ("counter", "Sessions ended with an error message, by code."),
        "refused_upgrades_total": ("counter", "Upgrade requests refused, by HTTP status."),
        "visitors": ("gauge", "Connections open now without a token."),
        "turned_out_total": ("counter", "Connections closed before a token was shown, by reason."),
        "slowed_total": ("counter", "Pauses in reading from clients that are too fast."),
        "unread_total": ("counter", "Connections cut because the client did not read."),
        "open_seconds": ("histogram", "From session.create to session.created."),
        "finalize_seconds": ("histogram", "From session.finalize, or session.close, to its answer."),
    }

    def render(self, recognizer: object) -> str:
        """Write everything, with the workers of a recogniser that has some."""
        workers = {"idle": recognizer.idle, "busy": recognizer.busy} if isinstance(recognizer, HasWorkers) else {}
        families: dict[str, Iterable[tuple[str, float]]] = {
            "sessions_open": [("", self.sessions)],
            "sessions_total": [("", self.sessions_total)],
            "recognizer_sessions": [("", self.recognizing)],
            "workers": _labelled("state", workers),
            "audio_seconds_total": [("", self.audio_seconds)],
            "finals_total": [("", self.finals)],
            "errors_total": _labelled("code", self.errors),
            "refused_upgrades_total": _labelled("status", self.refusals),
            "visitors": [("", self.visitors)],
            "turned_out_total": _labelled("reason", self.turned_out),
            "slowed_total": [("", self.slowed)],
            "unread_total": [("", self.unread)],
            "open_seconds": self.opening.samples(),
            "finalize_seconds": self.finalizing.samples(),
        }
        lines = []
        for name, samples in families.items():
            kind, text = self._HELP[name]
            lines += [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
            lines += [f"{_PREFIX}{name}{suffix} {value:.12g}" for suffix, value in samples]
        return "\n".join(lines) + "\n"


def _labelled(label: str, values: Mapping[str, int] | Mapping[int, int]) -> list[tuple[str, float]]:
    return [(f'{{{label}="{key}"}}', value) for key, value in values.items()]
