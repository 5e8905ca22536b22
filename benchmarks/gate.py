"""Fail where the core takes clearly more instructions than it did: a gate for every change.

    python benchmarks/gate.py [--write]

Counts what ``per_message.py`` counts of the core, plain and with the ``speed`` extra, once each: the input is the same
each time and so are the figures, within 1 %. Prints each beside its budget from ``gate.json`` and ends with 1 where one
is above. Budgets are the figures of the day they were written (``--write``) and a quarter more, for one minor version
of Python; with any other the figures are printed and not judged.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

from counting import has_processor, run_child
from per_message import ITEMS, NAMES

BUDGETS = Path(__file__).with_suffix(".json")
MARGIN = 1.25
SIDES = ("core", "core_speed")


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge the core's instruction counts.")
    parser.add_argument("--write", action="store_true", help="take today's figures for the budgets")
    write = parser.parse_args().write
    hardware = has_processor()
    script = str(Path(__file__).with_name("per_message.py"))
    figures = {side: run_child([sys.executable, script, "--child", side], hardware=hardware)["costs"] for side in SIDES}
    python = ".".join(platform.python_version_tuple()[:2])
    if write:
        budgets = {
            side: {item: round(cost * MARGIN) for item, cost in costs.items()} for side, costs in figures.items()
        }
        BUDGETS.write_text(json.dumps({"python": python, "budgets": budgets}, indent=1) + "\n")
    known = json.loads(BUDGETS.read_text())
    judged = known["python"] == python
    above = 0
    for side, costs in figures.items():
        for item, cost in costs.items():
            budget = known["budgets"][side][item]
            above += cost > budget
            verdict = "ABOVE" if cost > budget else "within"
            print(f"{NAMES[side]}, {ITEMS[item]}: {cost:,.0f} instructions, {verdict} its budget of {budget:,.0f}")
    if not judged:
        print(f"not judged: the budgets are for Python {known['python']}, and this is {python}")
    return 1 if above and judged else 0


if __name__ == "__main__":
    sys.exit(main())
