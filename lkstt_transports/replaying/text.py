"""A timeline as text: aligned columns, one line for each thing that happened. Pure.

Characters that would move a cursor or turn the order of letters are left to whoever prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from attrs import frozen

from .timeline import Item, Lane, Moment, Timeline

HEADINGS = f"{'time':>9} {'pushed':>9} {'sent':>9} {'deadline':>9}"
"""Of the columns, in seconds: the recording's clock, positions in the audio, and when the core wants to be asked."""

_NAMES = {Lane.UP: "\u2192 gateway", Lane.DOWN: "\u2190 gateway"}
_QUIET_CALLS = ("handle_timeout",)


@frozen
class Line:
    """One line, in parts that may be coloured apart."""

    numbers: str
    """As wide as ``HEADINGS``."""
    speaking: bool
    """Whether a turn is open."""
    lane: Lane | None
    """None for audio."""
    name: str
    """Of the lane, nine characters."""
    text: str
    different: bool
    """Whether this version's core does something else in this step."""


def lines(timeline: Timeline) -> Iterator[Line]:
    """Tell a timeline; steps that only move audio are told together."""
    different = timeline.different_step
    for quiet, group in groupby(timeline.moments, lambda moment: _is_quiet(moment) and moment.number != different):
        moments = list(group)
        if quiet:
            yield from _audio_line(timeline, moments)
        else:
            for moment in moments:
                yield from _moment_lines(timeline, moment)


def _is_quiet(moment: Moment) -> bool:
    return all(
        item.lane is Lane.DEADLINE or (item.lane is Lane.CALL and item.label in _QUIET_CALLS) for item in moment.items
    )


def _audio_line(timeline: Timeline, moments: Sequence[Moment]) -> Iterator[Line]:
    first, last = moments[0], moments[-1]
    before = timeline.moments[first.number - 2] if first.number > 1 else None
    pushed = last.pushed - (before.pushed if before else 0.0)
    sent = sum(moment.handed for moment in moments)
    if not any(moment.audio for moment in moments):
        return  # timers that found nothing to do
    what = f"received {pushed:.3f} s" if timeline.role == "gateway" else f"pushed {pushed:.3f} s, sent {sent:.3f} s"
    steps = f"in {len(moments)} steps until {last.at:.3f}" if len(moments) > 1 else ""
    numbers = f"{first.at:9.3f} {last.pushed:9.3f} {last.sent:9.3f} {_deadline(moments)}"
    yield Line(numbers, _speaking(timeline, first.at), None, "audio    ", f"{what} {steps}".rstrip(), different=False)


def _moment_lines(timeline: Timeline, moment: Moment) -> Iterator[Line]:
    audio = f"{moment.pushed:9.3f} {moment.sent:9.3f}" if moment.audio else " " * 19
    numbers = f"{moment.at:9.3f} {audio} {_deadline([moment])}"
    different = moment.number == timeline.different_step
    items = [item for item in moment.items if item.lane is not Lane.DEADLINE]
    for item in items or [Item(Lane.CALL, "audio" if moment.audio else "nothing", None)]:
        name = _NAMES.get(item.lane, item.lane.value)
        yield Line(numbers, _speaking(timeline, moment.at), item.lane, f"{name:9}", item.label, different=different)
        numbers = " " * len(HEADINGS)


def _deadline(moments: Sequence[Moment]) -> str:
    labels = [item.label for moment in moments for item in moment.items if item.lane is Lane.DEADLINE]
    return f"{labels[-1] if labels else '':>9}"


def _speaking(timeline: Timeline, at: float) -> bool:
    return any(turn.start <= at and (turn.end is None or at <= turn.end) for turn in timeline.turns)


def facts(timeline: Timeline) -> str:
    """Say in a line what the recording is of."""
    return (
        f"{timeline.role}, {timeline.model}, {len(timeline.moments)} steps in {timeline.end:.3f} s, "
        f"{timeline.audio_seconds:.3f} s of audio at {timeline.rate} Hz"
    )
