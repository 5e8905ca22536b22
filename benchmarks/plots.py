"""Draws the page of plots of what the suite has measured.

python benchmarks/plots.py FIGURES_JSON PNG
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import local_gateway
import loopback
import matplotlib as mpl
import reconnect
import streams
from harness import MILLION, Figure
from matplotlib import figure
from matplotlib.axes import Axes
from matplotlib.patches import Patch

# Okabe and Ito's colours, which people tell apart however they see them; hatches tell kin apart in grey, too.
BLUE, SKY, VERMILION, GREY, SILVER = "#0072B2", "#88C9EE", "#D55E00", "#8C8C8C", "#D0D0D0"


class Look(NamedTuple):
    """How one side is drawn, everywhere on the page."""

    label: str
    color: str
    hatch: str = ""


OWN = Look("lkstt, with the speed extra", BLUE)
PLAIN = Look("lkstt, plain", SKY, "//")
LIVEKIT = Look("livekit-agents", VERMILION)
BARE = Look("floor: a bare client that does nothing else", GREY)
DIRECT = Look("floor past the library's streams", SILVER, "..")
LOOKS = (OWN, PLAIN, LIVEKIT, BARE, DIRECT)
SHORT = {
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "trio": "trio",
    "anyio-asyncio": "anyio on\nasyncio",
    "anyio-trio": "anyio on\ntrio",
    "sync": "sync",
}
LINES = {
    "bare asyncio": ("bare aiohttp (floor)", BARE, "-", "s"),
    "lkstt trio": ("lkstt, trio", OWN, ":", "^"),
    "lkstt uvloop": ("lkstt, uvloop", OWN, "--", "D"),
    "lkstt asyncio": ("lkstt, asyncio", OWN, "-", "o"),
    "livekit asyncio": ("livekit-agents", LIVEKIT, "-", "X"),
}
FEW_LINES = ("lkstt asyncio", "livekit asyncio")
"""Those whose p50 is drawn, too."""
CORE_ITEMS = {"audio_20ms": "50 ms of audio", "interim": "interim", "final": "final"}
CORE_SIDES = {"floor_speed": BARE, "core_speed": OWN, "core": PLAIN, "livekit": LIVEKIT}
COLUMNS = 4
SMALL = 8.5

Values = Sequence[Figure | None]


def single(value: float) -> Figure:
    return {"median": value, "min": value, "max": value, "n": 1}


def scaled(value: Figure, unit: float) -> Figure:
    return {name: number / unit for name, number in value.items()}


def number(value: float) -> str:
    """Write it with as many digits as somebody reads on a plot."""
    return f"{value:,.0f}" if value >= 20 or value == 0 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def bars(axes: Axes, groups: Sequence[str], sides: Mapping[Look, Values], *, log: bool = False) -> None:
    """Draw groups of bars side by side, each with its spread and with its value on top."""
    sides = {look: values for look, values in sides.items() if any(value is not None for value in values)}
    highest = max(value["max"] for values in sides.values() for value in values if value is not None)
    lowest = min(value["min"] for values in sides.values() for value in values if value is not None)
    # Bars of one group stand together in its middle, where some sides are not in it.
    all_there = [
        [(look, value) for look, values in sides.items() if (value := values[place]) is not None]
        for place in range(len(groups))
    ]
    width = 0.88 / max(map(len, all_there))
    for place, there in enumerate(all_there):
        for i, (look, value) in enumerate(there):
            at = place + (i - (len(there) - 1) / 2) * width
            error = [[value["median"] - value["min"]], [value["max"] - value["median"]]]
            axes.bar(
                at, value["median"], width * 0.92, color=look.color, hatch=look.hatch, edgecolor="white", linewidth=0
            )
            if value["max"] - value["min"] > 0.02 * highest:
                axes.errorbar(at, value["median"], error, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
            axes.annotate(
                number(value["median"]),
                (at, value["max"]),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL if len(groups) < 5 else SMALL - 1,
            )
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 3, highest * 3)
    else:
        axes.set_ylim(0, 1.12 * highest)


def draw_core(axes: Axes, found: Mapping[str, Any]) -> None:
    figures = found["figures"]
    sides = {
        look: [single(figures[side][item]["instructions"] / 1000) for item in CORE_ITEMS]
        for side, look in CORE_SIDES.items()
        if side in figures
    }
    bars(axes, list(CORE_ITEMS.values()), sides)
    axes.set_title("What one message costs in the core")
    axes.set_ylabel("thousand instructions")


def draw_loopback(axes: Axes, found: Mapping[str, Any], mode: str, title: str, unit: str) -> None:
    costs = found[mode]
    keys = {DIRECT: "direct, speed", BARE: "bare, speed", OWN: "lkstt, speed", PLAIN: "lkstt", LIVEKIT: "livekit"}
    sides = {
        look: [
            # One plain bar is enough to see what the extra does.
            scaled(side[key], MILLION) if key in side and (look is not PLAIN or transport == "asyncio") else None
            for transport, side in costs.items()
        ]
        for look, key in keys.items()
    }
    bars(axes, [SHORT[transport] for transport in costs], sides)
    livekit = costs.get("asyncio", {}).get("livekit")
    if livekit:  # on asyncio; the others are to be compared with it, too
        axes.axhline(livekit["median"] / MILLION, color=LIVEKIT.color, linewidth=0.9, linestyle="--", zorder=0)
    axes.set_title(title)
    axes.set_ylabel(unit)


def draw_streams(
    axes: Axes,
    found: Mapping[str, Any],
    value: Callable[[dict[str, Any]], Figure],
    title: str,
    unit: str,
    least: int = 1,
) -> None:
    """Draw a line for each client; a hollow mark is where it does not keep up."""
    for name, (label, look, style, marker) in LINES.items():
        by_number = {int(each): told for each, told in found["streams"].get(name, {}).items() if int(each) >= least}
        if not by_number:
            continue
        figures = [value(told) for told in by_number.values()]
        values = [each["median"] for each in figures]
        axes.plot(list(by_number), values, style, color=look.color, label=label, linewidth=1.8)
        for at, told, each in zip(by_number, by_number.values(), figures, strict=True):
            fill = look.color if told["whole"] else "white"
            error = [[each["median"] - each["min"]], [each["max"] - each["median"]]]
            axes.errorbar(
                at,
                each["median"],
                error,
                fmt=marker,
                color=look.color,
                mfc=fill,
                markersize=5,
                elinewidth=0.8,
                capsize=2,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({int(each) for by_number in found["streams"].values() for each in by_number if int(each) >= least})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("live streams in one process")
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda tick, _place: f"{tick:g}")
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.grid(visible=True, alpha=0.3)


def draw_cores(axes: Axes, found: Mapping[str, Any]) -> None:
    draw_streams(axes, found, lambda told: told["cores"], "Cores that live streams take", "cores")
    axes.legend(fontsize=SMALL, loc="upper left", frameon=False)


def draw_lag(axes: Axes, found: Mapping[str, Any]) -> None:
    draw_delay(axes, found, "lag", "Lag of audio on its way to the gateway\n(p99; thin: p50)")
    axes.axhline(50, color="black", linewidth=0.8, linestyle=(0, (6, 4)))
    note: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "fontsize": SMALL}
    axes.annotate("50 ms: one message", (0.01, 50), (0, 2), **note)


def draw_latency(axes: Axes, found: Mapping[str, Any]) -> None:
    draw_delay(axes, found, "latency", "From the wire to the application\n(p99; thin: p50)")


def draw_delay(axes: Axes, found: Mapping[str, Any], what: str, title: str) -> None:
    draw_streams(axes, found, lambda told: scaled(told[what]["p99"], 1e-3), title, "milliseconds")
    for name in FEW_LINES:
        by_number = found["streams"].get(name, {})
        values = [1000 * told[what]["p50"]["median"] for told in by_number.values()]
        axes.plot([int(each) for each in by_number], values, color=LINES[name][1].color, linewidth=0.8, alpha=0.7)


def draw_memory(axes: Axes, found: Mapping[str, Any]) -> None:
    title = "Memory of a live stream\n(lkstt keeps what it may have to send again)"
    draw_streams(axes, found, lambda told: scaled(single(told["memory"]), streams.KIB), title, "KiB", streams.SOME)


def draw_reconnect(axes: Axes, found: Mapping[str, Any], name: str, title: str) -> None:
    outages = found["outages"]
    looks = {"lkstt": OWN, "livekit": LIVEKIT}
    sides = {look: [told.get(side, {}).get(name) for told in outages.values()] for side, look in looks.items()}
    if any(value is not None for values in sides.values() for value in values):
        bars(axes, [f"{outage} away" for outage in outages], sides)
    for place, told in enumerate(outages.values()):
        for side in told:
            if told[side][name] is None:
                axes.annotate(f"{reconnect.NAMES[side]}: never", (place, 0), ha="center", va="bottom", fontsize=SMALL)
    axes.set_title(title)
    axes.set_ylabel("seconds")


def draw_weight(axes: Axes, found: Mapping[str, Any]) -> None:
    names = {"processor": "import,\nms", "memory": "memory of\nimport, MiB", "installed": "installed,\nMB"}
    units = {"processor": 1e-3, "memory": 2**20, "installed": 1e6}
    groups = [name for name in names if name in found["lkstt"]]
    sides = {
        look: [scaled(found[side][name], units[name]) if name in found[side] else None for name in groups]
        for side, look in {"lkstt": OWN, "livekit": LIVEKIT}.items()
        if side in found
    }
    bars(axes, [names[name] for name in groups], sides, log=True)
    axes.set_title("Import and installation")
    axes.set_ylabel("logarithmic")


def draw_gateway(axes: Axes, found: Mapping[str, Any]) -> None:
    recognizers = found["recognizers"]
    values = [local_gateway.carried(cost) for cost in recognizers.values()]
    bars(axes, [local_gateway.NAMES[name].replace(" ", "\n") for name in recognizers], {OWN: values}, log=True)
    axes.set_title("Streams per core at the local gateway\n(here more is better)")
    axes.set_ylabel("streams, logarithmic")


Panel = Callable[[Axes], None]


def panels(parts: Mapping[str, Any]) -> list[Panel]:
    """List what can be drawn of the parts that were run."""
    live = f"in real time, each of {loopback.STREAMS} streams"
    burst, real, time = (
        "Instructions per second of audio,\npushed as fast as it goes",
        f"Instructions per second of audio,\n{live}",
        f"Processor time per second of audio,\n{live}",
    )
    back = "Until a stream is live again after an outage\n(lkstt paces what waited)"
    instructions = "million instructions"
    drawn: dict[str, list[Callable[..., None]]] = {
        "a": [draw_core],
        "b": [
            lambda axes, found: draw_loopback(axes, found, "burst", burst, instructions),
            lambda axes, found: draw_loopback(axes, found, "real time", real, instructions),
            lambda axes, found: draw_loopback(axes, found, "real time, time", time, "milliseconds, kernel included"),
        ],
        "c": [draw_cores, draw_lag, draw_latency, draw_memory],
        "d": [
            lambda axes, found: draw_reconnect(axes, found, "caught up", back),
            lambda axes, found: draw_reconnect(axes, found, "lost", "Audio lost in an outage"),
        ],
        "e": [draw_weight],
        "f": [draw_gateway],
    }
    return [partial(draw, found=parts[letter]) for letter, each in drawn.items() if letter in parts for draw in each]


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw all that was measured."""
    todo = panels(found["parts"])
    if not todo:
        return
    columns = min(COLUMNS, len(todo))
    rows = -(-len(todo) // columns)
    mpl.rcParams.update(
        {
            "font.size": 9.5,
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "hatch.color": "white",
        }
    )
    page = figure.Figure(figsize=(max(2, columns) * 5.4, 4.2 * rows + 1.1), layout="constrained")
    spaces = page.subplots(rows, columns, squeeze=False).flat
    for axes in spaces:
        axes.set_axis_off()
    for axes, panel in zip(page.axes, todo, strict=False):
        axes.set_axis_on()
        panel(axes)
    machine = found["about"]
    handles = [Patch(facecolor=look.color, hatch=look.hatch, edgecolor="white", label=look.label) for look in LOOKS]
    page.legend(
        handles=handles,
        ncols=len(handles),
        frameon=False,
        fontsize=11,
        loc="outside upper center",
        title="lkstt beside livekit-agents and bare clients: less is better",
        title_fontproperties={"size": 16, "weight": "bold"},
    )
    page.supxlabel(
        f"{machine['commit']}, {machine['date']}, {machine['cpu']} ({machine['cores']} cores), Linux "
        f"{machine['kernel']}, Python {machine['python']}; instructions in user space by {machine['counter']}. "
        "Medians, with thin lines from the least to the most that was seen; dashed: livekit-agents on asyncio; "
        "hollow: does not keep up.",
        fontsize=9,
    )
    page.savefig(path, dpi=110)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
