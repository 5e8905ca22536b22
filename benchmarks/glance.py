"""The table at the top of the summary: each subject beside its floor and beside livekit-agents, and the ratios."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import local_gateway
import loopback
import reconnect
import streams
import weight
from harness import MILLION, Figure, ratio, table
from per_message import ITEMS

HEADS = ("", "unit", "lkstt", "floor", "livekit-agents", "lkstt / floor", "livekit-agents / lkstt")
CORE_ITEMS = ("audio_20ms", "audio_burst", "audio_800ms", "interim", "final", "second")
SPEEDS = {"speed": "_speed", "plain": ""}
BURSTS = [
    ("asyncio", "speed"),
    ("asyncio", "plain"),
    *((each, "speed") for each in loopback.NAMES if each != "asyncio"),
]
SIDES = ("lkstt", "bare", "direct")
LIVE = ("asyncio", "uvloop", "trio")
"""The transports of part c."""
WEIGHED = ("processor", "made", "memory", "installed")

Row = Sequence[str]


def rows(parts: Mapping[str, Any]) -> Iterator[Row]:
    """Give a row for each subject that was measured."""
    for letter, make in {"a": core, "b": socket, "c": live, "d": outages, "e": weights, "f": gateway}.items():
        if letter in parts:
            for subject, *cells in make(parts[letter]):
                yield (f"{letter}: {subject}", *cells)


def lines(parts: Mapping[str, Any]) -> Iterator[str]:
    yield "Medians; how they varied is told below. The last two columns are what to compare between machines. Where a"
    yield "floor has two figures, the first writes to the library's own stream, the second to the socket inside of it."
    yield ""
    yield from table(HEADS, rows(parts))


def beside(
    subject: str,
    name: str,
    own: float | None,
    floors: Iterable[float | None] = (),
    livekit: float | None = None,
    *,
    unit: float = 1.0,
    digits: int = 2,
) -> Row:
    """Lay one subject's figures, in units of that name, and ratios out; what is None was not measured."""
    known = [floor for floor in floors if floor is not None]
    return (
        subject,
        name,
        "" if own is None else f"{own / unit:,.{digits}f}",
        " and ".join(f"{floor / unit:,.{digits}f}" for floor in known),
        "" if livekit is None else f"{livekit / unit:,.{digits}f}",
        " and ".join(filter(None, (ratio(own, floor) for floor in known))),
        ratio(livekit, own),
    )


def median(figure: Figure | None) -> float | None:
    return None if figure is None else figure["median"]


def core(found: Mapping[str, Any]) -> Iterator[Row]:
    figures = found["figures"]
    for item in CORE_ITEMS:
        for speed, suffix in SPEEDS.items():
            own, floor = (figures[side + suffix][item]["instructions"] for side in ("core", "floor"))
            livekit = figures["livekit"][item]["instructions"] if "livekit" in figures else None
            yield beside(f"core, {ITEMS[item]}, {speed}", "k instr.", own, [floor], livekit, unit=1000, digits=1)


def socket(found: Mapping[str, Any]) -> Iterator[Row]:
    live = f"real time, {loopback.STREAMS} streams"
    for mode, what, name, transports in (
        ("burst", "burst", "M instr. per s", BURSTS),
        ("real time", live, "M instr. per s", BURSTS),
        ("real time, time", live, "ms of CPU per s", BURSTS[:1]),
    ):
        for transport, speed in transports:
            costs = found[mode].get(transport, {})
            own, *floors = (median(costs.get(loopback.name_of(side, speed=speed == "speed"))) for side in SIDES)
            if own is not None:
                subject = f"{what}, {loopback.NAMES[transport]}, {speed}"
                yield beside(subject, name, own, floors, median(costs.get("livekit")), unit=MILLION)


def live(found: Mapping[str, Any]) -> Iterator[Row]:
    measured = {int(number) for each in found["streams"].values() for number in each}
    number = streams.MANY if streams.MANY in measured else max(measured)
    told = {name: each.get(str(number)) for name, each in found["streams"].items()}

    def row(subject: str, name: str, transport: str, value: Callable[[Any], float], **how: Any) -> Row:
        sides = [told.get(side) for side in (f"lkstt {transport}", f"bare {transport}", "livekit asyncio")]
        late = "".join(
            f", {who} does not keep up"
            for who, side in zip(("lkstt", "the floor", "livekit-agents"), sides, strict=True)
            if side and not side["whole"]
        )
        own, floor, livekit = (side and value(side) for side in sides)
        return beside(f"{number} live streams, {transport}, {subject}{late}", name, own, [floor], livekit, **how)

    for transport in LIVE:
        yield row("p99 of lag", "ms", transport, lambda side: side["lag"]["p99"]["median"], unit=1e-3, digits=1)
    yield row(
        "p99 from wire to event", "ms", LIVE[0], lambda side: side["latency"]["p99"]["median"], unit=1e-3, digits=1
    )
    yield row("all of them", "cores", LIVE[0], lambda side: side["cores"]["median"])
    if number >= streams.SOME:
        yield row("memory of each", "KiB", LIVE[0], lambda side: side["memory"], unit=streams.KIB, digits=0)
    if found["growth"]:
        few, many = (found["growth"][str(each)]["median"] for each in (streams.FEW, streams.MANY))
        figures = f"{few / MILLION:.2f} and {many / MILLION:.2f} ({many / few - 1:+.1%})"
        yield (f"a stream among {streams.FEW} and among {streams.MANY}", "M instr. per s", figures, "", "", "", "")


def outages(found: Mapping[str, Any]) -> Iterator[Row]:
    for outage, sides in found["outages"].items():
        for name, what in {"caught up": "caught up after", "lost": "audio lost"}.items():
            figures = {side: median(sides.get(side, {}).get(name)) for side in reconnect.NAMES}
            yield beside(f"outage of {outage}, {what}", "s", figures["lkstt"], (), figures["livekit"])


def weights(found: Mapping[str, Any]) -> Iterator[Row]:
    for name in WEIGHED:
        own, livekit = (median(found.get(side, {}).get(name)) for side in ("lkstt", "livekit"))
        title, unit, digits = weight.FIGURES[name]
        subject, _, name = title.rpartition(", ")
        if own is not None:
            yield beside(subject, name, own, (), livekit, unit=unit, digits=digits)


def gateway(found: Mapping[str, Any]) -> Iterator[Row]:
    for name, cost in found["recognizers"].items():
        carried = local_gateway.carried(cost)["median"]
        yield beside(f"local gateway, {local_gateway.NAMES[name]}", "streams per core", carried, digits=0)
