"""What people see while they wait: a bar and the words so far for each file, on a terminal only.

Everything is on standard error. Elsewhere than on a terminal nothing moves, and only plain lines are printed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .failure import say
from .formats import one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_REFRESHES_PER_SECOND = 8


class Display:
    """The live display; use it with `with`. Rows are known by the numbers that `add` gives."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._progress: Any = None
        self._interims: dict[int, str] = {}

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def add(self, name: str, duration: float | None) -> int:
        """Show a row for a file of so many seconds, if that is known."""
        if self._progress is None:
            return 0
        row: int = self._progress.add_task(printable(os.path.basename(name)), total=duration)
        return row

    def heard(self, row: int, seconds: float) -> None:
        """Show how far a file is transcribed."""
        if self._progress is not None:
            self._progress.update(row, completed=seconds)

    def interim(self, row: int, text: str) -> None:
        """Show words that may still change; an empty text shows none."""
        self._interims[row] = one_line(text)

    def remove(self, row: int) -> None:
        """Take a row away."""
        self._interims.pop(row, None)
        if self._progress is not None:
            self._progress.remove_task(row)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        with self.aside():
            say(text)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Clear the display while something else is printed, as both may be the same terminal."""
        if self._live is None:
            yield
            return
        self._live.stop()
        try:
            yield
        finally:
            self._show()

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
        from rich.text import Text

        class Factor(ProgressColumn):
            """Seconds transcribed of all, and how many of them in a second."""

            def render(self, task: Task) -> Text:
                total = "" if task.total is None else f" / {task.total:.1f}"
                factor = f"  {task.completed / task.elapsed:.1f}x" if task.elapsed else ""
                return Text(f"{task.completed:.1f}{total} s{factor}")

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), Factor(), TimeElapsedColumn(), console=console
        )
        self._show()

    def _show(self) -> None:
        from rich.live import Live

        # A new one each time: a stopped Live would erase as many lines above it as it had before.
        self._live = Live(
            get_renderable=self._render,
            console=self._progress.console,
            transient=True,
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _render(self) -> RenderableType:
        from rich.cells import cell_len
        from rich.console import Group
        from rich.text import Text

        width = self._progress.console.width - 1
        lines = []
        for text in self._interims.values():
            # The newest words matter: of a long line the end is shown. Chinese takes two cells a letter.
            shown = text[-width:]
            while cell_len(shown) > width:
                shown = shown[1:]
            if shown:
                lines.append(Text(shown, style="dim", no_wrap=True))
        return Group(self._progress.get_renderable(), *lines)
