"""Messages of a gateway that are too wide to be decoded whole, in windows so narrow that small ones are wide, too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from lkstt_proto import wide
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable, parse
from tests.soundness import check

from ..mutator import Mutator
from ..oracles import replaced
from ..target import Target
from ..work import bounded
from .receive_text import FULL, MESSAGES

LIMITS = (Limits(), Limits(message=3000, words=3, text=40, name=6), Limits(text=4, name=40))
WINDOWS = (1 << 15, 64, 24, 16)
SEPARATOR = b"\0"

CALLS, CALLS_PER_BYTE = 3000, 250


def run(data: bytes) -> str:
    """The first byte says how narrow it is, the rest is a message. NotUsable may come out."""
    how, raw = data[0] if data else 0, data[1:]
    limits = LIMITS[how % 3]
    try:
        shown: str | bytes = raw if how & 8 else raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        shown = raw
    window = WINDOWS[how >> 1 & 3]
    narrow = replaced((wide, "LARGE", -4), (wide, "is_wide", _always), (wide, "_WINDOW", window))
    with bounded(CALLS + CALLS_PER_BYTE * len(data)), narrow:
        whole = _object(shown, limits)
        given = _wide(shown, limits)
    # Of the last levels that may be, a wide message may be refused for its own.
    deep = whole is not None and given is None and _deep(raw, limits)
    check((whole is None) is (given is None) or deep, "a wide message is refused where it would be if it were not wide")
    if whole is None or given is None:
        return "refused"
    for name in wide.FIELDS:
        _same(name, whole, given, limits)
    return f"{sorted(given)} {[name for name in given if given[name] is wide.TOO_WIDE]}"


def _always(_raw: bytes, _limits: Limits) -> bool:
    return True


def _object(shown: str | bytes, limits: Limits) -> dict[str, Any] | None:
    try:
        value = parse(shown, limits.message)
    except NotUsable:
        return None
    return value if isinstance(value, dict) else None


def _deep(raw: bytes, limits: Limits) -> bool:
    """Whether JSON is nested more than 254 deep."""
    try:
        parse(b"[[" + raw.decode("utf-8", "replace").encode() + b"]]", 3 * limits.message)
    except NotUsable:
        return True
    return False


def _wide(shown: str | bytes, limits: Limits) -> dict[str, Any] | None:
    try:
        value = wide.parse_message(shown, limits)
    except NotUsable:
        return None
    check(type(value) is dict, "a wide message is an object")
    return value if isinstance(value, dict) else None


def _same(name: str, whole: dict[str, Any], found: dict[str, Any], limits: Limits) -> None:
    """Check one field: what is no array or object is as it stands, and of a text as much as a reader looks at."""
    # A null is absent; of a member that stands there twice both take the last one.
    expected, given = whole.get(name), found.get(name)
    if isinstance(expected, dict | list):
        check(given is wide.TOO_WIDE, f"{name} is too wide")
    elif isinstance(expected, str) and given != expected:
        check(isinstance(given, str), f"{name} is a text")
        # A pair of surrogates may be torn where nobody looks.
        begins = str(given) if expected.startswith(str(given)) else str(given)[:-1]
        check(expected.startswith(begins), f"{name} begins as it should")
        limit = limits.name if name == "type" else max(limits.text, 4 * limits.name)
        size = len(str(given)) if name == "type" else len(str(given).encode("utf-8", "surrogatepass"))
        check(size > limit, f"{name} is cut only where nobody looks")
    else:
        check(repr(given) == repr(expected), f"{name} is what it should be")


def seeds() -> Iterable[bytes]:
    """Messages of all kinds, wide at the beginning, in the middle and at the end."""
    for how in (0, 3, 4, 6, 15):
        for message in (*MESSAGES, {**FULL, "words": [FULL["words"]] * 3, "extra": {"a": {"b": ["c" * 40] * 3}}}):
            yield bytes([how]) + json.dumps(message, ensure_ascii=how > 3).encode()
        yield (
            bytes([how]) + b'{"a":"' + b"\\ud83d\\ude00" * 20 + b'","transcript":"' + b'\\"\\\\' * 30 + b'","type":"x"}'
        )
        yield bytes([how]) + b'{"words":[' + b"[1,2]," * 20 + b'3],"type":"' + "é\U0001f600".encode() * 10 + b'"}'
        yield bytes([how]) + b'{"type":"a","type":"b","start":1e5,"duration":' + b"9" * 40 + b',"' + b"k" * 70 + b'":0}'


TARGET = Target(
    "wide",
    run,
    permitted=(),
    seeds=seeds,
    mutate=Mutator(
        separator=SEPARATOR,
        head=1,
        tokens=[
            b'"type":',
            b",",
            b"[",
            b"]",
            b"{",
            b"}",
            b'"',
            b"\\",
            b'\\"',
            b"\\u00",
            b"\\ud83d",
            b" " * 40,
            b"\xf0\x9f",
        ],
        frames=[json.dumps(message).encode() for message in MESSAGES],
    ),
)
