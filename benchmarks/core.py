"""What ``per_message.py`` counts, as a part of the suite."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import HERE, Setup, packages, say
from per_message import table

TITLE = "The core, without a socket"


def measure(setup: Setup) -> dict[str, Any]:
    """Run it in a process of its own; give what it wrote."""
    say("per_message.py")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "figures.json"
        livekit = ["--livekit-python", setup.livekit] if setup.livekit else []
        command = [sys.executable, str(HERE / "per_message.py"), "--json", str(path), *livekit]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(path.read_text())
        return result


def lines(found: dict[str, Any]) -> Iterator[str]:
    yield "Instructions in user space:"
    yield ""
    yield from table(found["figures"])
    yield ""
    spread = max(figure["spread"] for side in found["figures"].values() for figure in side.values())
    yield f"Two runs, which differed by {spread:.2%} at most. {packages(found['about'])}."
