"""What strangers say, through the real commands: it stays text, in a terminal, in a file and in a page.

A gateway gives transcripts full of what terminals, subtitle players, spreadsheets and browsers obey. No command may
pass on a character that moves a cursor or turns the order of letters, nor anything that becomes markup.
"""

from __future__ import annotations

import io
import json
import re
import sys
import unicodedata
import wave
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lkstt_transports.cli import local
from lkstt_transports.cli.app import run
from lkstt_transports.cli.display import Display
from lkstt_transports.gateway.faults import FailSession
from lkstt_transports.gateway.recognizers.base import Final, Partial, RecognizerRefused, Word
from lkstt_transports.gateway.recognizers.script import At, Script, ScriptRecognizer

CONTROLS = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE = "\u00ad\u200b\u2028\u2029\u2060\ufeff\ufff9\U000e0001\U000e0041"
HOSTILE = {
    "controls": f"a{CONTROLS}z",
    "directions": f"a{DIRECTIONS}z",
    "invisible": f"a{INVISIBLE}z",
    "a screen cleared": "a\x1b[2J\x1b[H\x9b2Jz",
    "a title": "a\x1b]0;owned\x07z",
    "a link": "a\x1b]8;;https://evil.example\x1b\\z\x1b]8;;\x1b\\",
    "a clipboard": "a\x1b]52;c;ZXZpbA==\x07z",
    "a line before": "a\rlkstt: all is well\x1b[A\x1b[2Kz",
    "lines": "a\n\n2\n00:00:09,000 --> 00:00:10,000\nfaked\n\nz",
    "another header": "a\n\nWEBVTT\n\nNOTE\n\nSTYLE\n::cue{}\n\nREGION\nid:x\n\nz",
    "an arrow": "a --> z",
    "an arrow with times": "00:00:00.000 --> 99:00:00.000 position:0%",
    "cue tags": "a<c.loud><v Mallory><00:00:01.000><b>z</b></v>&lt;&amp;",
    "a script": "a<script>alert(1)</script></script><!--<script>]]>z",
    "an image": "a<img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>z",
    "rich markup": "a[red]b[/red][link=https://evil.example]c[/link] [bold :smile: z",
    "styles of subtitles": "a{\\an8}{\\pos(0,0)}{\\p1}m 0 0 l 9 9{\\p0}z",
    "columns": "a\tb\t0.000\tz\n9.000\t10.000\tfaked",
    "JSON": 'a","b":"c\\u0000"}]}\n{"text":"faked"} z',
    "formats": "a %s {0} {text} ${HOME} $(reboot) `reboot` z",
    "names": "../../etc/passwd ~ C:\\con",
    "a number": "12",
    "an arrow alone": "-->",
}  # fmt: skip
SPOKEN = (
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a zero-width non-joiner
    "\u0915\u094d\u200d\u0937",  # Hindi, with a zero-width joiner
    "\u4f60\u597d\u3000\u4e16\u754c",
    "\U0001f469\u200d\U0001f467 caf\u00e9",
)
FORMATS = ("txt", "srt", "vtt", "tsv", "json", "jsonl")
KEPT = "\n\u200c\u200d"


def unsafe(text: str, kept: str = KEPT) -> set[str]:
    """Characters that may not reach a terminal or a file."""
    return {c for c in set(text) if not c.isprintable() and c not in kept and unicodedata.category(c) != "Zs"}


@pytest.fixture
def clip(tmp_path: Path) -> str:
    path = tmp_path / "clip.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(b"\1\0" * 16000)
    return str(path)


def hear(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Have the gateway of --local say so: an interim and a final for each text, with it as its words."""
    share = 0.8 / len(texts)
    steps = []
    for number, text in enumerate(texts):
        start, end = number * share, (number + 1) * share
        steps.append(At(start + share / 2, Partial(text, start, end)))
        steps.append(At(end, Final(text, start, end, (Word(text, start, end),))))
    monkeypatch.setattr(local, "PocketsphinxRecognizer", lambda **_: ScriptRecognizer(Script(steps)))


def test_the_search_knows_what_terminals_obey() -> None:
    for character in (CONTROLS + DIRECTIONS + INVISIBLE).replace("\n", ""):
        assert unsafe(f"a{character}") == {character}
    assert unsafe("".join(SPOKEN)) == set()


# Transcripts.


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("words", [False, True])
def test_a_transcript_stays_text_in_every_format(
    kind: str,
    words: bool,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    texts = (*HOSTILE.values(), *SPOKEN)
    hear(monkeypatch, *texts)
    timed = ["--word-timestamps"] * (words and kind != "txt")
    assert run(["transcribe", "--local", "--format", kind, *timed, clip]) == 0
    out, err = capfd.readouterr()
    assert unsafe(out, KEPT + "\t" * (kind == "tsv")) == set()
    assert unsafe(err) == set()
    assert all(spoken in out for spoken in SPOKEN)
    target = tmp_path / f"out.{kind}"
    assert run(["transcribe", "--local", "--output", str(target), *timed, clip]) == 0
    assert target.read_text("utf-8") == out
    structure(kind, out, texts)


def structure(kind: str, out: str, texts: tuple[str, ...]) -> None:
    """Nothing that was said adds or ends a line, a cue, a column or an object."""
    count = len(texts)
    if kind == "txt":
        assert len(out.splitlines()) == count
    elif kind == "tsv":
        assert [line.count("\t") for line in out.splitlines()] == [3] * (count + 1)
    elif kind == "srt":
        cues = out.removesuffix("\n\n").split("\n\n")
        assert [cue.split("\n")[0] for cue in cues] == [str(number) for number in range(1, count + 1)]
        assert all(len(cue.split("\n")) == 3 for cue in cues)
        assert out.count("-->") == count
        assert not re.search(r"[<>]|\{\\", out.replace("-->", ""))
    elif kind == "vtt":
        header, *cues = out.removesuffix("\n\n").split("\n\n")
        assert header == "WEBVTT"
        assert len(cues) == count
        assert all(len(cue.split("\n")) == 2 for cue in cues)
        assert out.count("-->") == count
        assert not re.search(r"[<>]", out.replace("-->", ""))
    elif kind == "json":
        assert [segment["text"] for segment in json.loads(out)["segments"]] == list(texts)
    else:
        assert [json.loads(line)["text"] for line in out.splitlines()] == list(texts)


def commands(text: str) -> set[str]:
    """What a terminal is told, each once; numbers of lines and colours depend on the moment."""
    found = re.findall(r"\x1b(?:\[[0-?]*[@-~]|[^\[])|[\0-\x09\x0b-\x1a\x7f-\x9f]", text)
    return {re.sub(r"[0-9;]+", "#", each) for each in found}


def test_the_live_display_shows_words_and_obeys_none(
    clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(*texts: str) -> str:
        terminal = Terminal()
        hear(monkeypatch, *texts)
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            patched.setenv("TERM", "xterm-256color")
            patched.setenv("COLUMNS", "300")
            assert run(["transcribe", "--local", "--realtime", clip]) == 0
        return terminal.getvalue()

    plain, hostile = shown("nothing but words"), shown(*HOSTILE.values())
    assert "nothing but words" in plain
    assert commands(hostile) <= commands(plain) | {"\r"}
    assert commands(f"{CONTROLS}\x1b]0;") - commands(plain)
    assert unsafe(hostile, KEPT + "\x1b\r") == set()
    assert "\x1b" not in capfd.readouterr().out


def test_words_that_look_like_markup_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "300")
    for text in HOSTILE.values():
        with Display() as display:
            row = display.add(f"{text}.wav", 1.0)
            display.interim(row, text)
            with display.aside():
                pass
    assert "a[red]b[/red][link=https://evil.example]c[/link] [bold :smile: z" in terminal.getvalue()
    assert unsafe(terminal.getvalue(), KEPT + "\x1b\r") == set()
    assert not re.search(r"\x1b[^\[]", terminal.getvalue())


@pytest.mark.parametrize("kind", FORMATS)
def test_the_name_of_a_file_stays_text(
    kind: str, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name = "a\x1b[2J\u202e\t\n[red]<b>&\"'\x9b.wav"
    path = Path(clip).rename(tmp_path / name)
    hear(monkeypatch, "words")
    assert run(["transcribe", "--local", "--format", kind, str(path)]) == 0
    missing = run(["transcribe", "--local", str(path) + "\x1b[2J"])
    assert missing == 1
    out, err = capfd.readouterr()
    assert unsafe(out, KEPT + "\t" * (kind == "tsv")) == set()
    assert unsafe(err) == set()
    assert len(err.splitlines()) == 2
    if kind == "tsv":
        assert [line.count("\t") for line in out.splitlines()] == [3, 3]
    if kind in ("json", "jsonl"):
        assert json.loads(out)["file"] == str(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_an_error_of_the_gateway_stays_one_line(
    name: str, clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scripts = (
        Script([At(0.5, FailSession(400, HOSTILE[name]))]),
        Script(refusal=RecognizerRefused(HOSTILE[name])),
    )
    for script in scripts:
        monkeypatch.setattr(local, "PocketsphinxRecognizer", lambda script=script, **_: ScriptRecognizer(script))
        assert run(["transcribe", "--local", clip]) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert unsafe(err) == set()
        assert len(err.splitlines()) == 1


# Recordings.


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.scripts: list[str] = []
        self._script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {(tag, name) for name, _ in attributes}
        self._script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts.append(data)


def recording(text: str) -> str:
    """A session in which everything that may be a text is this one."""
    said = {"transcript": text, "language": text, "speaker_id": text, "request_id": text, "extra": {text: text}}
    timed = {"start": 0.0, "duration": 0.1, "words": [{"word": text, "start": 0.0, "end": 0.1, "speaker_id": text}]}
    lines: list[Any] = [
        {"fixture": 1, "name": text, "role": "client", "options": {"model": f"{text}/x", "extra_kwargs": {text: text}}},
        {"at": 0.0, "call": "start"},
        {"at": 0.1, "call": "transport_opened"},
        {"at": 0.2, "text": json.dumps({"type": "session.created", "session_id": text})},
        {"at": 0.3, "audio": {"hex": "0100", "times": 1600}},
        {"at": 0.4, "call": "update_options", "args": {"language": text, "keyterms": [text], "extra": {text: text}}},
        {"at": 0.5, "text": json.dumps({"type": "interim_transcript", **said})},
        {"at": 0.6, "text": json.dumps({"type": "final_transcript", **said, **timed})},
        {"at": 0.65, "text": json.dumps({"type": text, "x": text})},
        {"at": 0.7, "text": text},
        {"at": 0.8, "text": json.dumps({"type": "error", "code": 500, "message": text, "session_id": text})},
        {"at": 0.9, "call": "transport_closed", "args": {"code": 1011, "reason": text}},
    ]  # fmt: skip
    return "".join(json.dumps(line) + "\n" for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_recording_is_shown_as_text(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, benign = tmp_path / "hostile.jsonl", tmp_path / "benign.jsonl"
    path.write_text(recording(HOSTILE[name]))
    benign.write_text(recording("word"))
    printed = []
    for each in (benign, path):
        assert run(["replay", str(each)]) == 1  # what it should do was left out
        out, err = capfd.readouterr()
        printed.append(out)
        assert unsafe(out) == set()
        assert unsafe(err) == set()
        assert len(err.splitlines()) == 1
        assert run(["replay", str(each), "--html", f"{each}.html"]) == 1
        assert unsafe("".join(capfd.readouterr())) == set()
    assert len(printed[1].splitlines()) == len(printed[0].splitlines())
    plain, hostile = (Page((tmp_path / f"{each.name}.html").read_text("utf-8")) for each in (benign, path))
    assert hostile.tags == plain.tags
    assert hostile.attributes == plain.attributes
    assert not any(attribute.startswith("on") for _, attribute in hostile.attributes)
    assert len(hostile.scripts) == len(plain.scripts) == 2
    assert hostile.scripts[1] == plain.scripts[1]
    assert unsafe(json.dumps(json.loads(hostile.scripts[0]), ensure_ascii=False)) == set()
    page = (tmp_path / f"{path.name}.html").read_text("utf-8")
    assert unsafe(page, KEPT + "\t") == set()
    assert page.count("Content-Security-Policy") == 1
    assert "default-src 'none'" in page


@pytest.mark.parametrize("redact", [[], ["--redact", "text"]])
def test_what_was_recorded_is_shown_as_text(
    redact: list[str], clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hear(monkeypatch, *HOSTILE.values())
    path = tmp_path / "session.jsonl"
    assert run(["record", "--local", "--output", str(path), *redact, clip]) == 0
    assert run(["replay", str(path)]) == 0
    assert run(["replay", str(path), "--html", str(tmp_path / "page.html")]) == 0
    assert unsafe("".join(capfd.readouterr())) == set()
    assert unsafe(path.read_text("utf-8")) == set()
    assert path.read_text("utf-8").isascii()
    assert Page((tmp_path / "page.html").read_text("utf-8")).tags["script"] == 2
    for line in path.read_text("utf-8").splitlines():
        assert isinstance(json.loads(line), dict)


MISTAKES = [
    ["\x1b[2J"],
    ["transcribe", "--\x1b[2J\u202e"],
    ["transcribe", "--format", "\x1b]0;owned\x07"],
    ["transcribe", "--jobs", "\x9b2J\n"],
    ["transcribe", "--local", "\u202e\x1b[2J.wav\nlkstt: all is well"],
    ["transcribe", "--local", "--output", "/nowhere\x1b[2J/x.srt", "CLIP"],
    ["transcribe", "--local", "--output-dir", "/nowhere\x1b[2J/x", "CLIP"],
    ["replay", "\x1b[2J.jsonl"],
    ["replay", "CLIP"],
    ["serve", "--host", "\x1b[2J\n", "--key", "k", "--secret", "s"],
    ["record", "--upstream", "http://\x1b[2J/"],
    ["record", "--upstream", "http://127.0.0.1:1/v1", "--listen", "\x1b[2J:1"],
    ["conformance", "--fixtures", "\x1b[2J"],
    ["conformance", "--", "\x1b[2J\u202e"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", MISTAKES, ids=repr)
def test_what_a_caller_mistook_comes_back_as_one_line_of_text(
    arguments: list[str], clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([clip if each == "CLIP" else each for each in arguments]) in (1, 2)
    out, err = capfd.readouterr()
    assert out == ""
    assert unsafe(err) == set()
    assert len(err.splitlines()) == 1
