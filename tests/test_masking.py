"""Texts of servers may stand in messages: without credentials and speech, on one line, short, and at little cost."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from lkstt_proto.masking import SHOWN_CHARACTERS, hidden_characters, safe_text

TOKEN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJBUElrZXkiLCJzdWIiOiJhZ2VudCJ9."
    "q3xk1J0cGzQ2bR8vX5yN7wL4mT6pS9dF0hK_eA-uVjI"
)
KEY = "APIq1w2e3r4t5"
KNOWN = "swordfish-42"
SAID = "the eagle lands in Nowosibirsk at 4711"


def spelt(value: str) -> dict[str, str]:
    data = value.encode()
    return {
        "plain": value,
        "small": value.lower(),
        "capitals": value.upper(),
        "percent": quote(value, safe=""),
        "percent for every character": "".join(f"%{byte:02x}" for byte in data),
        "JSON": json.dumps(value),
        "JSON for every character": "".join(f"\\u{ord(c):04x}" for c in value),
        "Python for every byte": "".join(f"\\x{byte:02x}" for byte in data),
        "HTML": "".join(f"&#{ord(c)};" for c in value),
        "HTML in hexadecimal": "".join(f"&#x{ord(c):x};" for c in value),
        "hexadecimal": data.hex(),
        "hexadecimal in capitals": data.hex().upper(),
        "base64": base64.b64encode(data).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(data).decode(),
        "base64 behind a byte": base64.b64encode(b"=" + data).decode(),
        "base64 behind two bytes": base64.b64encode(b"u=" + data + b";").decode(),
        "zero-width spaces": "\u200b".join(value),
        "soft hyphens": "\u00ad".join(value),
        "directions": "\u202e" + "\u2066".join(value),
        "controls": "\0".join(value),
        "variation selectors": "\ufe0f".join(value),
        "fillers": "\u3164".join(value),
        "colours": "\x1b[31m".join(value),
        "long colours": "\x1b[38;5;196m".join(value),
        "tags": "\U000e0041".join(value),
        "surrogates": "\ud800".join(value),
    }


@pytest.mark.parametrize("spelling", spelt(KNOWN))
@pytest.mark.parametrize("around", ["{}", "key '{}' is wrong", "a{}b", "\u00fc{}\u00fc", "\\{}%"])
def test_what_is_known_is_masked_in_any_spelling(spelling: str, around: str) -> None:
    text = around.format(spelt(KNOWN)[spelling])
    shown = safe_text(text, known=[KNOWN])
    assert "***" in shown
    for readable in (KNOWN, KNOWN.encode().hex(), base64.b64encode(KNOWN.encode()).decode()[2:-2]):
        assert readable.lower() not in shown.lower()


@pytest.mark.parametrize(
    "value", ["p\u00e4ssw\u00f6rt\u20ac", "\u5bc6\u7801\u662f\u4ec0\u4e48", "\U0001f511\U0001f512\U0001f513\U0001f510"]
)
def test_known_texts_of_other_scripts_are_masked_as_well(value: str) -> None:
    data = value.encode()
    for text in (value, quote(value), json.dumps(value), data.hex(), base64.b64encode(data).decode()):
        assert safe_text(f"<{text}>", known=[value]).strip('<>"=A') == "***"  # A: bits of what comes behind


@pytest.mark.parametrize("secret", [TOKEN, KEY])
@pytest.mark.parametrize(
    "spelling",
    [
        "plain",
        "percent",
        "JSON",
        "JSON for every character",
        "HTML",
        "percent for every character",
        "zero-width spaces",
        "soft hyphens",
        "controls",
        "directions",
        "fillers",
        "colours",
        "tags",
    ],
)
def test_what_looks_like_a_credential_is_masked_though_nobody_knows_it(secret: str, spelling: str) -> None:
    shown = safe_text(f"refused {spelt(secret)[spelling]} !", limit=4000)
    assert shown.startswith("refused ")
    assert "***" in shown
    assert not any(part in shown for part in (secret, secret[:8], secret[-8:]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain words, even sch\u00f6n \u6f22\u5b57", "plain words, even sch\u00f6n \u6f22\u5b57"),
        ("a\x00b\nc\x7f", "a\\x00b\\nc\\x7f"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("lone \ud83d here", "lone \\ud83d here"),
        ("one\r\n2026-01-01 INFO all is well", "one\\r\\n2026-01-01 INFO all is well"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("[red]not markup[/red]", "[red]not markup[/red]"),
        (f"see {TOKEN}!", "see ***!"),
        ("eyJ", "eyJ"),
        ("Authorization: Bearer abc.def, then", "Authorization: Bearer ***, then"),
        ("Authorization: Basic dXNlcjpw", "Authorization: ***"),
        ('{"Proxy-Authorization": "Digest x"}', '{"Proxy-Authorization": "***"}'),
        ("BEARER=xyz", "BEARER=***"),
        ("key=abc&b=1", "key=***&b=1"),
        ('{"api_secret": "hunter2", "n": 1}', '{"api_secret": "***", "n": 1}'),
        ('{\\"token\\":\\"hunter2\\"}', '{\\"token\\":\\"***\\"}'),
        ("password : hunter2", "password : ***"),
        ("Set-Cookie: id=1; path=/", "Set-Cookie: ***; path=/"),
        ("pwd=x passwd=y passphrase=z", "pwd=*** passwd=*** passphrase=***"),
        ("via http://user:hunter2@proxy:1/", "via http://***proxy:1/"),
        ("keyterm: LiveKit", "keyterm: LiveKit"),
        ("unknown key APIq1w2e3r4t5", "unknown key ***"),
        ("0123456789abcdef0123456789abcdef", "***"),
        ("0123456789abcdef0123456789abcde", "0123456789abcdef0123456789abcde"),
        (":".join(["ab"] * 12), "***"),
        ("x " + "Ab+/" * 20 + "== y", "x *** y"),
        ("50% of 100% and \\ and & more", "50% of 100% and \\ and & more"),
        ("&#x110000; &#1114112;", "&#x110000; &#1114112;"),
        ("", ""),
    ],
)
def test_other_texts_are_escaped_and_kept(text: str, expected: str) -> None:
    assert safe_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("could not score 'Nowosibirsk'", "could not score '***'"),
        ("EAGLE, eagle; (eagle)", "***, ***; (***)"),
        (SAID, "***"),
        ("the word at 4711 is", "the word at *** is"),
        ("x-nowosibirsk-y", "x-***-y"),
        ("nowo\u200bsibirsk", "***"),
        ("now in", "now in"),
    ],
)
def test_words_that_were_heard_are_masked_and_short_ones_are_not(text: str, expected: str) -> None:
    assert safe_text(text, heard=["something else", SAID]) == expected


def test_words_of_scripts_without_spaces_are_masked() -> None:
    assert safe_text("\u65e0\u6cd5 \u4e16\u754c", heard=["\u4f60\u597d\u4e16\u754c"]) == "\u65e0\u6cd5 ***"
    assert (
        safe_text("\u62d2\u7edd\u4f60\u597d\u4e16\u754c\u4e86", heard=["\u4f60\u597d\u4e16\u754c"])
        == "\u62d2\u7edd***\u4e86"
    )


def test_what_is_too_short_to_be_told_from_other_words_is_left() -> None:
    assert safe_text("a key", known=["a", "key", ""], heard=["", "a"]) == "a key"


def test_a_text_is_cut_behind_its_masks_and_never_within_a_secret() -> None:
    assert safe_text("no " * 200) == ("no " * 99) + "..."
    assert safe_text("a b c d", limit=5) == "a ..."
    assert safe_text("a b c", limit=5) == "a b c"
    for before in range(280, 310):
        for secret in (TOKEN, KNOWN, KEY):
            shown = safe_text("x " * (before // 2) + secret, known=[KNOWN])
            assert len(shown) <= 300
            assert secret[:6] not in shown


def test_a_long_text_shows_its_beginning_alone_and_no_half_credential() -> None:
    text = "eyJ" + "x" * 1000 + " secretpart" + "z" * 10_000_000
    assert safe_text(text) == "*** ***..."
    for before in range(SHOWN_CHARACTERS - 40, SHOWN_CHARACTERS + 3):
        shown = safe_text(f"{TOKEN} " + "\u200b" * before + TOKEN, 100_000)
        assert not any(part in shown for part in TOKEN.split("."))


class Counting(str):
    """A text that notes how much of it was looked at."""

    __slots__ = ("looked",)

    def __getitem__(self, key: Any) -> str:
        piece = super().__getitem__(key)
        self.looked = max(getattr(self, "looked", 0), len(piece))
        return piece

    def __iter__(self) -> Any:
        raise AssertionError("all of it was looked at")


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "eyJ" * (size // 3),
        lambda size: "key=" * (size // 4),
        lambda size: "://" * (size // 3),
        lambda size: "\u200b" * size,
        lambda size: "%41" * (size // 3),
        lambda size: "\x1b[" * (size // 2),
        lambda size: "Bearer:" * (size // 7),
        lambda size: "ab:" * (size // 3),
    ],
)
def test_of_a_mebibyte_no_more_is_looked_at_than_of_a_page(make: Callable[[int], str]) -> None:
    text = Counting(make(2**20))
    shown = safe_text(text, known=[KNOWN], heard=[SAID])
    assert len(shown) <= 300
    assert text.looked <= 4096
    assert len(hidden_characters(make(2**20), (), ())) <= 4096
