"""A timeline as one self-contained page: a picture that zooms, with everything behind it. Pure, but for its own files.

Nothing from a recording becomes markup: it is a JSON block, and is shown as text. A policy in the page lets no network,
no other script and no other style in.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from lkstt_transports.cli.formats import printable

from .text import HEADINGS, facts, lines
from .timeline import Item, Lane, Timeline, peaks, transcript_text

_PEAKS = 24_000  # more than a screen has columns, at any zoom that is of use
_DETAIL_CHARACTERS = 20_000
_BRIEF_CHARACTERS = 24

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width">
<meta name="referrer" content="no-referrer">
<title>{name} - lkstt replay</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{name}</h1>
<p>{summary}</p>
<p><span class="{verdict_class}">{verdict}</span></p>
<p id="keys">Wheel or <kbd>+</kbd> <kbd>-</kbd> zooms, dragging or <kbd>&larr;</kbd> <kbd>&rarr;</kbd> moves,
<kbd>0</kbd> shows all, <kbd>n</kbd> <kbd>p</kbd> go from step to step; a click keeps the details.</p>
</header>
<main>
<div id="frame">
<canvas id="picture" role="img" tabindex="0" aria-label="Timeline of the recording; as text below"></canvas>
<div id="tip" hidden></div>
</div>
<pre id="detail">Point at something, or click it.</pre>
<details id="text"><summary>The same as text</summary><pre>{text}</pre></details>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render_page(timeline: Timeline) -> str:
    """Write the page."""
    style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    holds = timeline.difference is None
    return _PAGE.format(
        name=_shown(timeline.name),
        summary=_shown(facts(timeline)),
        verdict="holds against this version" if holds else f"differs: {_shown(timeline.difference or '')}",
        verdict_class="holds" if holds else "differs",
        text="\n".join(_text(timeline)),
        data=_embedded(_data(timeline)),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
    )


def _shown(text: str) -> str:
    return escape(printable(text))


def _hash(source: str) -> str:
    return f"sha256-{b64encode(sha256(source.encode()).digest()).decode()}"


def _embedded(value: Any) -> str:
    """Encode as JSON that ends no script, opens none, and is ASCII."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _text(timeline: Timeline) -> Iterator[str]:
    yield HEADINGS
    for line in lines(timeline):
        turn = "\u2503" if line.speaking else " "
        yield _shown(f"{line.numbers} {turn} {line.name} {line.text}{'  <- differs' if line.different else ''}")


def _data(timeline: Timeline) -> dict[str, Any]:
    moments = timeline.moments
    audio = [moment for moment in moments if moment.audio]
    states: dict[str, list[tuple[float, str]]] = {Lane.LINK: [], Lane.SESSION: []}
    deadlines: list[tuple[float, float | None]] = []
    for moment in moments:
        for item in moment.items:
            if item.lane in states:
                states[item.lane].append((moment.at, printable(str(item.detail))))
            elif item.lane is Lane.DEADLINE:
                deadlines.append((moment.at, None if item.label == "none" else float(item.label)))
    different = [moment.at for moment in moments if moment.number == timeline.different_step]
    return {
        "role": timeline.role,
        "start": min((moment.at for moment in moments), default=0.0),
        "end": timeline.end,
        "seconds": timeline.audio_seconds,
        "peaks": b64encode(peaks(timeline.pcm, _PEAKS)).decode(),
        "curve": [(moment.at, moment.pushed, moment.sent) for moment in audio],
        "messages": [moment.at for moment in audio if moment.handed],
        "turns": [(turn.start, turn.end, printable(turn.text)) for turn in timeline.turns],
        "segments": [(each.start, each.end, printable(each.text)) for each in timeline.segments],
        "states": states,
        "deadlines": deadlines,
        "different": different[0] if different else None,
        "moments": [
            {
                "number": moment.number,
                "line": moment.line,
                "at": moment.at,
                "pushed": moment.pushed,
                "sent": moment.sent,
                "items": [
                    {
                        "lane": item.lane,
                        "label": printable(item.label),
                        "brief": printable(_brief(item)),
                        "detail": _pretty(item.detail),
                    }
                    for item in moment.items
                ],
            }
            for moment in moments
            if any(item.lane is not Lane.DEADLINE for item in moment.items)
        ],
    }


def _brief(item: Item) -> str:
    """Say what is worth a label in the picture: of a transcript its text, and of what may change the newest words."""
    name = item.label.partition(" ")[0]
    kind = name.removesuffix("_transcript")
    text = transcript_text(item.detail)
    if kind == name or not text:
        return item.label
    if kind == "final":
        return f"final: {text}"
    if len(text) <= _BRIEF_CHARACTERS:
        return text
    newest = text[-_BRIEF_CHARACTERS:]
    return f"\u2026 {newest.partition(' ')[2] or newest}"


def _pretty(value: Any) -> str:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    if len(text) > _DETAIL_CHARACTERS:
        text = text[:_DETAIL_CHARACTERS] + "\u2026"
    return "\n".join(map(printable, text.split("\n")))
