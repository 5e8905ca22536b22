"""Language codes in the one spelling that the gateway is sent (PROTOCOL 6.4)."""

from __future__ import annotations

import json
from functools import cache, lru_cache


@cache
def _table() -> dict[str, str]:
    """English names and ISO 639-3 codes, each with the code to write for it."""
    from importlib.resources import files  # drags in tempfile and zipfile: not before it is needed

    data = json.loads(files(__package__).joinpath("languages.json").read_text("utf-8"))
    codes = {long: short or long for long, short in data["iso_639_3"].items()}
    return {**codes, **data["names"]}


@lru_cache(maxsize=256)  # bounded: what a gateway sends is asked for again with every transcript
def normalise_language(code: str) -> str:
    """Spell a language as BCP 47: "english" and "eng" give "en", "en_us" gives "en-US".

    Unknown codes come back in lower case ("multi"), an empty one empty. A three-letter language in front of
    other parts stays ("cmn-Hans-CN"). Any text is accepted (PROTOCOL 6.4); what is not ASCII is no code, and only
    stripped.
    """
    stripped = code.strip()
    if not stripped.isascii():
        # Its cases depend on the version of Unicode, and may be longer than a name is allowed to be.
        return stripped
    lowered = stripped.lower()
    known = _table().get(lowered)
    if known is not None:
        return known
    language, *parts = lowered.replace("_", "-").split("-")
    return "-".join([language, *(part.capitalize() if len(part) == 4 else part.upper() for part in parts)])
