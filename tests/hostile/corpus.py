"""The frames: ``messages.jsonl`` beside this file, families made here, and a collection that may lie nearby.

A line of a file is one frame. ``encoding``: ``text`` (the frame is the text), ``binary`` (base64 of a binary frame) or
``text-bytes`` (base64 of bytes sent with the text opcode). ``gen``: ``prefix``, ``unit`` x ``times`` and ``suffix`` in
place of a ``frame``. ``expect``: see ``judge.py``. ``said``: the text that is to be delivered, where that is not all
the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).parent
FILES = [HERE / "messages.jsonl", HERE.parents[2] / "shared" / "hostile" / "messages.jsonl"]

MIB = 1 << 20


@frozen
class Frame:
    """One message of a WebSocket."""

    name: str
    expect: str
    prefix: bytes
    unit: bytes = b""
    times: int = 0
    suffix: bytes = b""
    binary: bool = False
    said: str | None = None

    @property
    def size(self) -> int:
        return len(self.prefix) + len(self.unit) * self.times + len(self.suffix)

    @property
    def payload(self) -> bytes:
        return self.prefix + self.unit * self.times + self.suffix

    def __str__(self) -> str:
        return self.name


def loaded(path: Path) -> Iterator[Frame]:
    """Read a file of frames."""
    for text in path.read_text("utf-8").splitlines():
        line = json.loads(text)
        gen = line.get("gen") or {"prefix": line["frame"], "unit": "", "times": 0, "suffix": ""}
        binary = line["encoding"] == "binary"
        if binary or line["encoding"] == "text-bytes":
            gen["prefix"] = base64.b64decode(line["frame"]).decode("latin-1")
            code = "latin-1"
        else:
            code = "utf-8"
        prefix, unit, suffix = (gen[part].encode(code) for part in ("prefix", "unit", "suffix"))
        yield Frame(line["name"], line["expect"], prefix, unit, gen["times"], suffix, binary, line.get("said"))


def text_frame(name: str, expect: str, text: str, said: str | None = None) -> Frame:
    return Frame(name, expect, text.encode("utf-8", "surrogatepass"), said=said)


# A field's values as JSON, and what is to come of them.

NUMBERS = {
    "tiny": ("1e-400", "ok"),
    "negative zero": ("-0.0", "ok"),
    "negative integer zero": ("-0", "ok"),
    "integer": ("1", "ok"),
    "exponent": ("1E-1", "ok"),
    "many decimals": ("0." + "3" * 5000, "ok"),
    "negative": ("-0.5", "default"),
    "very negative": ("-1e308", "default"),
    "overflow": ("1e400", "skip"),
    "negative overflow": ("-1e999", "skip"),
    "nan": ("NaN", "skip"),
    "infinity": ("Infinity", "skip"),
    "negative infinity": ("-Infinity", "skip"),
    "301 digits": ("9" * 301, "skip"),
    "4301 digits": ("9" * 4301, "skip"),
    "leading zero": ("01", "skip"),
    "bare point": (".5", "skip"),
    "plus": ("+1", "skip"),
    "hexadecimal": ("0x10", "skip"),
}
LARGE_NUMBERS = ["1e308", "1e18", "9" * 20, "9" * 300, "3600"]
KINDS = {
    "null": "null",
    "true": "true",
    "false": "false",
    "number": "700",
    "text": '"0.5"',
    "list": "[]",
    "list of null": "[null]",
    "list of text": '["x"]',
    "object": "{}",
    "full object": '{"x":{"y":[1]}}',
}
NAMES = {
    "empty": ('""', "ok"),
    "256 characters": (json.dumps("é" * 256), "ok"),
    "257 characters": (json.dumps("x" * 257), "default"),
    "nul": ('"a\\u0000b"', "default"),
    "line feed": ('"a\\nb"', "default"),
    "escape": ('"\\u001b[31m"', "default"),
    "delete": ('"\\u007f"', "default"),
    "c1": ('"\\u009b1m"', "default"),
    "line separator": ('"\\u2028"', "default"),
    "direction": ('"\\u202eevil"', "default"),
    "isolate": ('"\\u2066x"', "default"),
    "lone surrogate": ('"\\ud800"', "default"),
    "astral": ('"\U0001f600"', "ok"),
}
TEXTS = {
    "empty": ("", "", "ok"),
    "space": (" \\t ", " \t ", "ok"),
    "nul": ("\\u0000", "\x00", "ok"),
    "terminal": ("\\u001b]0;x\\u0007\\u009b2J", "\x1b]0;x\x07\x9b2J", "ok"),
    "direction": ("\\u202eevil\\u2066", "\u202eevil\u2066", "ok"),
    "separators": ("a\u2028b\u2029c", "a\u2028b\u2029c", "ok"),
    "astral": ("\U0001f600\U0010ffff", "\U0001f600\U0010ffff", "ok"),
    "escaped pair": ("\\ud83d\\ude00", "\U0001f600", "ok"),
    "escaped slash": ('\\/\\\\\\"', '/\\"', "ok"),
    "noncharacter": ("\\uffff\\ufffe", "\uffff\ufffe", "ok"),
    "combining": ("e" + "\u0301" * 2000, "e" + "\u0301" * 2000, "ok"),
    "format": ("%s%n{0.__class__}${jndi:x}", "%s%n{0.__class__}${jndi:x}", "ok"),
    "as large as may be": ("x" * (1 << 16), "x" * (1 << 16), "ok"),
    "high surrogate": ("a\\ud800b", "a\ufffdb", "repair"),
    "low surrogate": ("\\udfff", "\ufffd", "repair"),
    "swapped pair": ("\\ude00\\ud83d", "\ufffd\ufffd", "repair"),
    "too large": ("x" * ((1 << 16) + 1), "x" * (1 << 16), "repair"),
    "too large, torn": ("é" * (1 << 15) + "xé", "é" * (1 << 15), "repair"),
    "too large, shifted": ("x" + "é" * (1 << 15), "x" + "é" * ((1 << 15) - 1), "repair"),
    "too large by repair": ("\\ud800" * (1 << 15), "\ufffd" * ((1 << 16) // 3), "repair"),
}


def json_object(written: dict[str, str]) -> str:
    """An object of values that are written as JSON; an empty one is left out."""
    return f"{{{','.join(f'{json.dumps(name)}:{value}' for name, value in written.items() if value)}}}"


def transcript(kind: str = "final", **fields: str) -> str:
    """A transcript whose fields are written as JSON."""
    written = {"transcript": '"hello"', "start": "0.0", "duration": "1.0", **fields}
    return json_object({"type": f'"{kind}_transcript"', **written})


def _fields() -> Iterator[Frame]:
    """Every field of a transcript, with values of every kind."""
    right = {
        "transcript": {"text"},
        **dict.fromkeys(("language", "speaker_id", "request_id", "session_id"), frozenset({"text"})),
        **dict.fromkeys(("start", "duration", "confidence"), frozenset({"number"})),
        "words": {"list", "list of null"},
        "extra": {"object", "full object"},
    }
    for kind in ("interim", "preflight", "final"):
        for field, kinds in right.items():
            for label, value in KINDS.items():
                expect = "ok" if label in kinds | {"null"} else "skip" if field == "transcript" else "default"
                if label == "number" and field != "transcript":
                    # Beyond the audio; and more than certain.
                    expect = {"start": "default", "duration": "clamp", "confidence": "clamp"}.get(field, "default")
                said = None if field == "transcript" else "hello"
                yield text_frame(f"{kind} {field} {label}", expect, transcript(kind, **{field: value}), said)
    for field in ("start", "duration", "confidence"):
        for label, (value, expect) in NUMBERS.items():
            expect = "clamp" if field == "confidence" and expect == "default" else expect
            yield text_frame(
                f"{field} {label}", expect, transcript(**{field: value}), None if expect == "skip" else "hello"
            )
        for value in LARGE_NUMBERS:
            expect = "default" if field == "start" else "clamp"
            yield text_frame(f"{field} {value[:8]} of {len(value)}", expect, transcript(**{field: value}), "hello")
    for field in ("language", "speaker_id", "request_id", "session_id"):
        for label, (value, expect) in NAMES.items():
            yield text_frame(f"{field} {label}", expect, transcript(**{field: value}), "hello")
    for kind in ("interim", "preflight", "final"):
        for label, (written, said, expect) in TEXTS.items():
            yield text_frame(f"{kind} text {label}", expect, transcript(kind, transcript=f'"{written}"'), said or None)
    raw = b'{"type":"final_transcript","transcript":"a\xed\xa0\x80b"}'
    yield Frame("text raw surrogate", "limit", raw)


def word(**fields: str) -> str:
    """A word whose fields are written as JSON."""
    written = {"word": '"hello"', "start": "0.1", "end": "0.5", "confidence": "0.9", **fields}
    return json_object(written)


def _words() -> Iterator[Frame]:
    right = {
        **dict.fromkeys(("word", "speaker_id"), frozenset({"text"})),
        **dict.fromkeys(("start", "end", "confidence"), frozenset({"number"})),
    }
    for field, kinds in right.items():
        for label, value in KINDS.items():
            expect = "ok" if label in kinds | {"null"} else "default"
            expect = "clamp" if (field, label) == ("confidence", "number") else expect
            words = f"[{word()},{word(**{field: value})}]"
            yield text_frame(f"word {field} {label}", expect, transcript(words=words), "hello")
        yield text_frame(f"word without {field}", "ok", transcript(words=f"[{word(**{field: ''})}]"), "hello")
    for field in ("start", "end", "confidence"):
        for label, (value, expect) in NUMBERS.items():
            expect = "clamp" if field == "confidence" and expect == "default" else expect
            said = None if expect == "skip" else "hello"
            yield text_frame(f"word {field} {label}", expect, transcript(words=f"[{word(**{field: value})}]"), said)
        for value in LARGE_NUMBERS:
            expect = "clamp" if field == "confidence" else "ok"
            frame = transcript(words=f"[{word(**{field: value})}]")
            yield text_frame(f"word {field} {value[:8]} of {len(value)}", expect, frame, "hello")
    for label, (value, expect) in NAMES.items():
        yield text_frame(f"word speaker_id {label}", expect, transcript(words=f"[{word(speaker_id=value)}]"), "hello")
    for label, (written, _, expect) in TEXTS.items():
        quoted = f'"{written}"'
        yield text_frame(f"word text {label}", expect, transcript(words=f"[{word(word=quoted)}]"), "hello")
    for label, value in KINDS.items():
        expect = "ok" if label in ("null", "object", "full object") else "default"
        yield text_frame(f"words item {label}", expect, transcript(words=f"[{word()},{value},{word()}]"), "hello")
    for times, expect in ((4096, "ok"), (4097, "no_words")):
        for label, item in (("word", word(speaker_id='"S1"', a="1", b="2")), ("null", "null")):
            words = f"[{','.join([item] * times)}]"
            yield text_frame(f"{times} words: {label}", expect, transcript(words=words), "hello")


def _messages() -> Iterator[Frame]:
    """The other messages, with fields of every kind."""
    for label, value in KINDS.items():
        expect = "ok" if label in ("null", "text") else "default"
        yield text_frame(f"created session_id {label}", expect, f'{{"type":"session.created","session_id":{value}}}')
        for kind in ("start_of_speech", "session.finalized"):
            yield text_frame(f"{kind} unknown field {label}", "ok", f'{{"type":"{kind}","unknown":{value}}}')
        yield text_frame(f"closed unknown field {label}", "error", f'{{"type":"session.closed","unknown":{value}}}')
        for field in ("message", "session_id", "error"):
            yield text_frame(f"error {field} {label}", "error", f'{{"type":"error","code":500,"{field}":{value}}}')
        yield text_frame(f"error code {label}", "error", f'{{"type":"error","code":{value}}}')
        expect = "ignore" if label == "text" else "skip"
        yield text_frame(f"type {label}", expect, f'{{"type":{value},"transcript":"x"}}')
    for label, (value, expect) in NAMES.items():
        yield text_frame(f"created session_id {label}", expect, f'{{"type":"session.created","session_id":{value}}}')
    for code in (*range(-1, 2), 200, 301, 408, 429, 499, 500, 503, 599, 600, 2006, 2008, 4000, "4e2", "429.0", "1e308"):
        expect = "failure" if code == "4e2" else "error"
        yield text_frame(f"error code {code}", expect, f'{{"type":"error","code":{code},"message":"x"}}')
    for code in (400, 401, 403, 404, 451, 498, 2007):
        expect = "error" if code == 401 else "failure"
        yield text_frame(f"error code {code}", expect, f'{{"type":"error","code":{code},"message":"x"}}')
    for label, (written, _, _) in TEXTS.items():
        yield text_frame(f"error text {label}", "error", f'{{"type":"error","code":500,"message":"{written}"}}')
    for kind in ("session.create", "input_audio", "session.update", "session.finalize", "session.close", "", "\\u0000"):
        yield text_frame(f"type {kind}", "ignore", f'{{"type":"{kind}","audio":"AAAA","settings":{{}}}}')


def _nesting() -> Iterator[Frame]:
    for depth in (32, 255, 256, 257, 1000, 100_000):
        for label, (opening, middle, closing) in {
            "arrays": ("[", "", "]"),
            "objects": ('{"a":', "0", "}"),
            "both": ('[{"a":', "0", "}]"),
        }.items():
            times = (depth - 1) // len(closing)
            value = opening * times + middle + closing * times
            within = times * len(closing) + 1 <= 256
            said = "hello" if within else None
            yield text_frame(f"{label} {depth} deep", "ok" if within else "skip", transcript(unknown=value), said)
            if label == "arrays" or times < 1:
                continue
            yield text_frame(
                f"metadata {label} {depth} deep",
                "default" if label == "both" and within else "ok" if within else "skip",
                transcript(extra=value),
                said,
            )
        yield text_frame(f"nothing but {depth} brackets", "skip", "[" * depth)
    yield text_frame("brackets in a text", "ok", transcript(transcript='"' + "[{" * 600 + '"'), "[{" * 600)


def filled(name: str, expect: str, prefix: str, unit: str, suffix: str, size: int, said: str | None = None) -> Frame:
    """As many units as ``size`` bytes take; commas are for in between."""
    start, middle, end = (part.encode() for part in (prefix, unit, suffix))
    if unit.endswith(","):
        end = middle[:-1] + end
    return Frame(name, expect, start, middle, (size - len(start) - len(end)) // len(middle), end, said=said)


def _large() -> Iterator[Frame]:
    """Messages at and beyond the limits, and those that cost the most."""
    text = '{"type":"interim_transcript","transcript":"hello","start":0.0,"duration":1.0,'
    long = '{"type":"interim_transcript","start":0.0,"duration":1.0,"transcript":"'
    just = MIB - 2000
    for label, unit in {
        "objects": "{},",
        "arrays": "[],",
        "full arrays": "[0],",
        "mixed values": '0,"[",true,{},"\\n",1.5,"",7,{"a":null},-3,',
        "integers": "0,",
        "long integers": "9" * 299 + ",",
        "floats": "0.5,",
        "texts": '"ab",',
        "empty texts": '"",',
        "nulls": "null,",
        "short words": '{"word":"a"},',
        "words": word() + ",",
        "usual words": word(speaker_id='"S1"') + ",",
        "towers": "[" * 100 + "]" * 100 + ",",
        "towers of objects": '{"":' * 100 + "0" + "}" * 100 + ",",
    }.items():
        heavy = label in ("arrays", "full arrays", "towers", "towers of objects")  # too much to be looked at
        words = "skip" if heavy else "no_words" if label == "objects" or label.endswith("words") else "default"
        metadata, unknown, said = ("skip", "skip", None) if heavy else ("default", "ok", "hello")
        yield filled(f"a megabyte of {label} as words", words, text + '"words":[', unit, "]}", just, said)
        yield filled(f"a megabyte of {label} as metadata", metadata, text + '"extra":{"a":[', unit, "]}}", just, said)
        yield filled(f"a megabyte of {label} nobody asked for", unknown, text + '"a":[', unit, "]}", just, said)
        yield filled(f"a megabyte of {label}, cut off", "skip", text + '"words":[', unit, "", just)
    for label, keys in (("keys", "k{}"), ("keys that look like exponents", "k{:x}")):
        many = ",".join(f'"{keys.format(number)}":0' for number in range(90_000))
        yield text_frame(f"a megabyte of {label}", "ok", f"{text}{many}}}", "hello")
    yield filled("a megabyte of one key", "skip", text, '"a":0,', "}", just)
    yield filled("a key of a megabyte", "ok", text + '"', "k", '":0}', just, "hello")
    yield filled("spaces", "ok", text, " ", '"a":0}', just, "hello")
    yield filled("a number of a megabyte", "skip", text + '"a":', "9", "}", just)
    yield filled("a fraction of a megabyte", "ok", text + '"a":0.', "9", "}", just, "hello")
    for label, unit in {
        "ascii": "a",
        "accents": "é",
        "ideographs": "語",
        "astral": "\U0001f600",
        "line feeds": "\\n",
        "escapes": "\\u0041",
        "pairs": "\\ud83d\\ude00",
        "lone surrogates": "\\ud83d",
        "backslashes": "\\\\",
        "quotes": '\\"',
        "brackets": "[{",
        "commas": ",",
    }.items():
        yield filled(f"a megabyte of {label} as text", "repair", long, unit, '"}', just)
        yield filled(f"a megabyte of {label} and one astral character", "repair", long + "\U0001f600", unit, '"}', just)
        yield filled(f"a megabyte of {label} in a word", "default", text + '"words":["', unit, '"]}', just, "hello")
        yield filled(f"a name of a megabyte of {label}", "default", text + '"request_id":"', unit, '"}', just, "hello")
    for size, expect in ((MIB, "repair"), (MIB + 1, "skip"), (MIB * 5 // 4, "skip"), (2 * MIB, "skip_or_limit")):
        yield filled(f"{size} bytes", expect, long, "a", '"}', size)
        beyond = expect if size > MIB else "skip"
        yield filled(f"{size} bytes of spaces", beyond, "", " ", "", size)
        yield filled(
            f"{size} bytes around a message",
            expect if size > MIB else "ok",
            " " * 1000 + text + '"a":0}',
            " ",
            "",
            size,
        )
    for size in (3 * MIB, 5 * MIB, 64 * MIB):
        yield filled(f"{size >> 20} MiB", "limit", long, "a", '"}', size)
    yield filled("types of 300 KiB", "ignore", '{"type":"', "t", '"}', 300 << 10)
    yield filled("types of 900 KiB", "ignore", '{"type":"', "t", '"}', 900 << 10)
    yield filled(
        "an error with a message of a megabyte", "error", '{"type":"error","code":500,"message":"', "x", '"}', just
    )
    yield filled(
        "an error with a megabyte of objects",
        "error",
        '{"type":"error","code":500,"message":"x","error":[',
        "{},",
        "]}",
        just,
    )
    yield Frame("a binary megabyte", "ignore", b"", b"\x00", MIB, b"", binary=True)


def frames() -> list[Frame]:
    """Give all of them."""
    found = [frame for path in FILES if path.exists() for frame in loaded(path)]
    return [*found, *_fields(), *_words(), *_messages(), *_nesting(), *_large()]
