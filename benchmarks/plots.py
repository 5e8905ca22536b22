"""Draws the page of plots of what the suite has measured.

python benchmarks/plots.py FIGURES_JSON PNG
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import streams
from harness import MILLION
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BARE, OWN, PLAIN, LIVEKIT = "#b8b8b8", "#1f6fb4", "#8fbfe3", "#d8662c"
SHORT = {
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "trio": "trio",
    "anyio-asyncio": "anyio\n(asyncio)",
    "anyio-trio": "anyio\n(trio)",
    "sync": "sync",
}
LINES = {
    "lkstt asyncio": (OWN, "-"),
    "lkstt uvloop": (OWN, "--"),
    "lkstt trio": (OWN, ":"),
    "livekit asyncio": (LIVEKIT, "-"),
    "bare asyncio": (BARE, "-"),
}
ITEMS = {"audio_20ms": "audio\n(50 ms)", "interim": "interim", "final": "final"}
CORE_SIDES = {
    "floor_speed": ("bare, speed", BARE),
    "core_speed": ("lkstt, speed", OWN),
    "core": ("lkstt, plain", PLAIN),
    "livekit": ("livekit-agents", LIVEKIT),
}

Bars = Mapping[str, tuple[str, Sequence[float | None]]]
"""By name: a colour, and a value for each group."""


def bars(axes: Axes, groups: Sequence[str], sides: Bars, text: str = "{:.1f}") -> None:
    """Draw groups of bars side by side, each with its value on top, and leave room for a legend above them."""
    width = 0.84 / len(sides)
    for place, (name, (color, values)) in enumerate(sides.items()):
        at = [i + (place - (len(sides) - 1) / 2) * width for i, value in enumerate(values) if value is not None]
        drawn = axes.bar(at, [value for value in values if value is not None], width * 0.94, color=color, label=name)
        axes.bar_label(drawn, fmt=text.format, fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_ylim(top=1.35 * max(value for _, values in sides.values() for value in values if value is not None))


def draw_core(axes: Axes, found: dict[str, Any]) -> None:
    figures = found["figures"]
    sides = {
        name: (color, [figures[side][item]["instructions"] / 1000 for item in ITEMS])
        for side, (name, color) in CORE_SIDES.items()
        if side in figures
    }
    bars(axes, list(ITEMS.values()), sides, "{:.0f}")
    axes.set_title("Core: thousand instructions per message")
    axes.legend(fontsize=7)


def draw_loopback(axes: Axes, found: dict[str, Any], mode: str, title: str) -> None:
    costs = found[mode]
    kinds = {
        "bare client": (BARE, "bare, speed"),
        "lkstt, speed": (OWN, "lkstt, speed"),
        "lkstt, plain": (PLAIN, "lkstt"),
    }
    values = {
        name: (color, [side[key]["median"] / MILLION if key in side else None for side in costs.values()])
        for name, (color, key) in kinds.items()
    }
    bars(axes, [SHORT[transport] for transport in costs], {name: each for name, each in values.items() if any(each[1])})
    livekit = costs.get("asyncio", {}).get("livekit")
    if livekit:
        axes.axhline(livekit["median"] / MILLION, color=LIVEKIT, label="livekit-agents, on asyncio")
        axes.set_ylim(top=max(axes.get_ylim()[1], 1.35 * livekit["median"] / MILLION))
    axes.set_title(title)
    axes.legend(fontsize=7, ncols=2, loc="upper center")


def draw_streams(axes: Axes, found: dict[str, Any], value: Callable[[dict[str, Any]], float], title: str) -> None:
    for name, (color, style) in LINES.items():
        by_number = found["streams"].get(name, {})
        if by_number:
            numbers = [int(number) for number in by_number]
            values = [value(told) for told in by_number.values()]
            axes.plot(numbers, values, style, color=color, marker="o", markersize=3, label=streams.NAMES[name])
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({int(number) for each in found["streams"].values() for number in each})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("streams in one process")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title(title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7)


def draw_lag(axes: Axes, found: dict[str, Any]) -> None:
    draw_streams(axes, found, lambda told: 1000 * told["lag"]["p99"], "Real time: p99 lag of audio, ms")
    axes.axhline(50, color="black", linewidth=0.6)
    axes.annotate("50 ms", (0.99, 50), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7)


def draw_reconnect(axes: Axes, found: dict[str, Any]) -> None:
    outages = found["outages"]
    colors = {"lkstt": ("lkstt", OWN), "livekit": ("livekit-agents", LIVEKIT)}
    sides = [side for side in colors if any(side in told for told in outages.values())]
    values = {side: [told[side]["caught up"] for told in outages.values()] for side in sides}
    bars(axes, list(outages), {colors[side][0]: (colors[side][1], values[side]) for side in sides})
    for drawn, side in zip(axes.containers, sides, strict=True):
        losses = [told[side]["lost"] for told in outages.values() if told[side]["caught up"] is not None]
        axes.bar_label(drawn, [f"lost {lost:.1f} s" for lost in losses], fontsize=7, padding=10)
    axes.set_title("Back after an outage: caught up after, s, and audio lost")
    axes.legend(fontsize=7, loc="upper left")


def draw_weight(axes: Axes, found: dict[str, Any]) -> None:
    names = {"processor": "import, ms", "memory": "memory, MiB", "installed": "installed, MB"}
    units = {"processor": 1e-3, "memory": 2**20, "installed": 1e6}
    groups = [name for name in names if name in found["lkstt"]]
    colors = {"lkstt": OWN, "livekit": LIVEKIT}
    sides = {
        "livekit-agents" if side == "livekit" else side: (
            color,
            [found[side][name]["median"] / units[name] if name in found[side] else None for name in groups],
        )
        for side, color in colors.items()
        if side in found
    }
    bars(axes, [names[name] for name in groups], sides, "{:.0f}")
    axes.set_yscale("log")
    axes.set_ylim(1, 5 * axes.get_ylim()[1])
    axes.set_title("Weight (logarithmic)")
    axes.legend(fontsize=7, loc="upper right")


def panels(parts: dict[str, Any]) -> list[Callable[[Axes], None]]:
    """List what can be drawn of the parts that were run."""
    drawn: list[Callable[[Axes], None]] = []
    if "a" in parts:
        drawn.append(lambda axes: draw_core(axes, parts["a"]))
    if "b" in parts:
        title = "{}: million instructions\nper second of audio"
        drawn += [
            lambda axes: draw_loopback(axes, parts["b"], "burst", title.format("Burst")),
            lambda axes: draw_loopback(axes, parts["b"], "real time", title.format("Real time")),
        ]
    if "c" in parts:
        drawn += [
            lambda axes: draw_streams(axes, parts["c"], lambda told: told["cores"]["median"], "Real time: cores used"),
            lambda axes: draw_lag(axes, parts["c"]),
            lambda axes: draw_streams(
                axes, parts["c"], lambda told: 1000 * told["latency"]["p99"], "Real time: p99 from wire to event, ms"
            ),
        ]
    if "d" in parts:
        drawn.append(lambda axes: draw_reconnect(axes, parts["d"]))
    if "e" in parts:
        drawn.append(lambda axes: draw_weight(axes, parts["e"]))
    return drawn


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw all that was measured."""
    todo = panels(found["parts"])
    if not todo:
        return
    columns = min(4, len(todo))
    rows = -(-len(todo) // columns)
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 9, "axes.spines.top": False, "axes.spines.right": False})
    page = Figure(figsize=(4.2 * columns, 3.6 * rows), layout="constrained")
    for axes, panel in zip(page.subplots(rows, columns, squeeze=False).flat, [*todo, *[None] * 4], strict=False):
        if panel is None:
            axes.set_axis_off()
        else:
            panel(axes)
    machine = found["about"]
    page.suptitle(
        f"lkstt {machine['commit']}, less is better: {machine['cpu']}, Python {machine['python']}, {machine['date']}"
    )
    page.savefig(path, dpi=130)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
