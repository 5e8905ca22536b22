"""Making something similar: bytes flipped, spliced and repeated, frames moved, and values of JSON exchanged.

Atheris uses it beside its own mutations, and the seeded engine has nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

from attrs import frozen

# Written into JSON as they are, whatever a JSON encoder would say of them.
LITERALS = (
    *("null", "true", "false", "0", "-0", "-0.0", "0.0", "1", "-1", "1.5", "1e0", "1E-3", "2.5e-324", "1e308"),
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-999", "01", "1.", ".5", "+1", "0x10", "1_0"),
    *("9" * 19, "9" * 25, "9" * 199, "9" * 300, "9" * 301, "9" * 400, "18446744073709551616", "9007199254740993"),
    *('""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\\u202e"', '"\\u2028"', '"\u0085"'),
    *(
        '"\\x"',
        '"\u00e9\U0001f600"',
        '"1.0"',
        '"NaN"',
        '"[[[["',
        '"0000000000"',
        "[]",
        "{}",
        "[null]",
        "[[]]",
        "[1,{}]",
    ),
    *('{"":null}', '{"a":{"b":[1,"\\ud800"]}}', '{"\\ud800":1,"\\ud801":2,"\ufffd":3}', '{"a":1,"a":2}'),
    *("[" * 31 + "]" * 31, "[" * 300 + "]" * 300, '{"a":' * 40 + "1" + "}" * 40, f'"{"x" * 300}"', f'"{"é" * 140}"'),
)
_PLACE = "@literal@"
_INTERESTING_BYTES = (0, 1, 9, 10, 13, 32, 34, 44, 47, 58, 91, 92, 93, 123, 125, 127, 128, 0xC0, 0xED, 0xF0, 0xFF)


@frozen
class Mutator:
    """Knows what inputs look like: frames of JSON between separators behind a head of plain bytes, or bytes alone."""

    separator: bytes | None = None
    head: int = 0
    tokens: Sequence[bytes] = ()
    """Worth inserting anywhere."""
    frames: Sequence[bytes] = ()
    """Worth inserting between others."""
    longest: int = 8192

    def __call__(self, data: bytes, random: Random) -> bytes:
        """Change one to four things."""
        for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
            data = self._once(data, random)
        return data[: self.longest]

    def _once(self, data: bytes, random: Random) -> bytes:
        if self.separator is None or random.random() < 0.3:
            return self._bytes(data, random)
        head, body = data[: self.head], data[self.head :]
        if self.head and random.random() < 0.1:
            return self._bytes(head, random)[: self.head].ljust(self.head, b"\0") + body
        frames = body.split(self.separator)
        at = random.randrange(len(frames))
        if random.random() < 0.2:
            self._frames(frames, at, random)
        else:
            frames[at] = self._json(frames[at], random)
        return head + self.separator.join(frames)

    def _frames(self, frames: list[bytes], at: int, random: Random) -> None:
        way = random.randrange(4)
        if way == 0 and len(frames) > 1:
            del frames[at]
        elif way == 1:
            frames.insert(random.randrange(len(frames) + 1), frames[at])
        elif way == 2:
            other = random.randrange(len(frames))
            frames[at], frames[other] = frames[other], frames[at]
        else:
            frames.insert(at, random.choice(self.frames) if self.frames else b"{}")

    def _bytes(self, data: bytes, random: Random) -> bytes:
        changed = bytearray(data)
        at = random.randrange(len(changed) + 1)
        size = min(len(changed) - at, random.choice((1, 1, 2, 4, 8, 32, 200)))
        way = random.randrange(8)
        if way == 0 and size:
            changed[at] ^= 1 << random.randrange(8)
        elif way == 1 and size:
            changed[at] = random.choice(_INTERESTING_BYTES)
        elif way == 2:
            del changed[at : at + size]
        elif way == 3:
            changed[at:at] = changed[at : at + size] * random.choice((1, 1, 2, 5))
        elif way == 4 and self.tokens:
            changed[at:at] = random.choice(self.tokens)
        elif way == 5 and self.tokens:
            token = random.choice(self.tokens)
            changed[at : at + len(token)] = token
        elif way == 6:
            other = random.randrange(len(changed) + 1)
            changed[at : at + size] = changed[other : other + size]
        else:
            changed[at:at] = bytes(random.choices(range(256), k=random.choice((1, 2, 4))))
        return bytes(changed)

    def _json(self, frame: bytes, random: Random) -> bytes:
        try:
            value = json.loads(frame)
        except (ValueError, RecursionError):
            return self._bytes(frame, random)
        literal = None
        places = list(_places(value))
        if places:
            holder, key = random.choice(places)
            way = random.randrange(7)
            if way == 0:
                del holder[key]
            elif way == 1:
                holder[key] = random.choice(places)[0]
                if _endless(value):
                    holder[key] = None
            elif way == 2:
                holder[key] = [holder[key]] * random.choice((1, 2, 3))
            elif way == 3 and isinstance(holder, dict):
                name = random.choice((key.upper(), f"{key}s", "", "extra", "type", "\ud800", "a" * 300))
                holder[name] = holder.pop(key)
            elif way == 4 and isinstance(holder[key], int | float):
                number = random.choice((-1, 0, 0.5, 2, 10, 1e9))
                holder[key] = holder[key] * number if abs(holder[key]) < 1e200 else number
            elif way == 5 and isinstance(holder[key], str):
                text = holder[key]
                if text.isascii() and text.isdecimal() and random.random() < 0.5:
                    text = str(int(text) * random.choice((0, 2, 3, 10, 1000)) // random.choice((1, 1, 7)))
                at = random.randrange(len(text) + 1)
                inserted = random.choice(("\0", "\ud800", "\u202e", "é", "\U0001f600", "\u2028", " ", '"', "x" * 40))
                holder[key] = text[:at] + inserted + text[at:]
            else:
                holder[key] = _PLACE
                literal = random.choice(LITERALS)
        else:
            value = _PLACE
            literal = random.choice(LITERALS)
        text = json.dumps(value, ensure_ascii=random.random() < 0.5)
        if literal is not None:
            text = text.replace(json.dumps(_PLACE), literal)
        return text.encode("utf-8", "surrogatepass")


def _places(value: Any) -> Iterable[tuple[Any, Any]]:
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ():
            yield holder, key
            waiting.append(holder[key])


def _endless(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False


def splice(one: bytes, other: bytes, random: Random) -> bytes:
    """The beginning of one and the end of another."""
    return one[: random.randrange(len(one) + 1)] + other[random.randrange(len(other) + 1) :]


def plain_bytes(tokens: Sequence[bytes] = (), longest: int = 4096) -> Callable[[bytes, Random], bytes]:
    """A mutator of inputs without any structure."""
    return Mutator(tokens=tokens, longest=longest)
