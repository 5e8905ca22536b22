"""Recordings as a timeline, as a page, and as a gateway that follows its client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import WSMsgType

from lkstt_proto import InsecureTransport, LocalProtocolError, SpeechEvent
from lkstt_proto.dialogue import Fixture, bundled, load
from lkstt_proto.replay import complete
from lkstt_transports.asyncio import STT
from lkstt_transports.cli.app import run
from lkstt_transports.replaying.page import render_page
from lkstt_transports.replaying.player import (
    Cue,
    Cut,
    Follower,
    Heard,
    Ignore,
    Player,
    Refuse,
    Send,
    Session,
    Shut,
    read_script,
)
from lkstt_transports.replaying.text import HEADINGS, facts, lines
from lkstt_transports.replaying.timeline import Lane, Segment, Timeline, Turn, peaks, read_timeline

WAIT = 10.0  # nothing here takes so long unless it is broken
CUT = "turn_goes_on_after_a_cut.jsonl"

Line = dict[str, Any]

CREATED = '{"type":"session.created","session_id":"s1"}'


def told(kind: str, text: str, start: float, duration: float, **fields: Any) -> str:
    return json.dumps(
        {"type": f"{kind}_transcript", "transcript": text, "start": start, "duration": duration, **fields}
    )


def recording(*steps: Line, **header: Any) -> list[str]:
    """A recording of these inputs."""
    first = {"fixture": 1, "name": "call", "role": "client", **header}
    return complete(json.dumps(line) for line in (first, *steps))


def call(text: str = "hello there") -> list[str]:
    """A second of audio in ten pushes, two interims, a final with words, and the end."""
    word = {"word": "hello", "start": 0.1, "end": 0.4}
    pushes = [{"at": 0.3 + 0.1 * n, "audio": {"hex": "0040", "times": 1600}} for n in range(10)]
    return recording(
        {"at": 0.0, "call": "start"},
        {"at": 0.1, "call": "transport_opened"},
        {"at": 0.2, "text": CREATED},
        *pushes[:5],
        {"at": 0.75, "text": told("interim", "hel", 0.0, 0.4)},
        *pushes[5:],
        {"at": 1.3, "call": "end_input"},
        {"at": 1.5, "text": told("final", text, 0.0, 1.0, words=[word])},
        {"at": 1.6, "text": '{"type":"session.finalized"}'},
        {"at": 1.7, "call": "transport_closed", "args": {"code": 1000}},
    )


def timeline_of(source: list[str] | str) -> Timeline:
    return read_timeline(load(bundled()[source] if isinstance(source, str) else source))


def shown(timeline: Timeline) -> list[str]:
    return [f"{line.numbers} {'|' if line.speaking else ' '} {line.name} {line.text}" for line in lines(timeline)]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "call.jsonl"
    path.write_text("\n".join(call()))
    return path


# The timeline.


def test_a_timeline_counts_the_audio_and_finds_the_turns() -> None:
    timeline = timeline_of(call())
    assert (timeline.name, timeline.role, timeline.model, timeline.rate) == ("call", "client", "deepgram/nova-3", 16000)
    assert (timeline.end, timeline.audio_seconds) == (1.7, 1.0)
    assert timeline.turns == (Turn(0.75, 1.5, "hello there"),)
    assert timeline.segments == (Segment(0.1, 0.4, "hello"),)
    assert timeline.pcm == b"\0\x40" * 16000
    assert timeline.difference is None
    assert [moment.sent for moment in timeline.moments if moment.audio][:3] == [0.1, 0.2, 0.3]
    assert [item.lane for item in timeline.moments[0].items] == [
        Lane.CALL, Lane.UP, Lane.LINK, Lane.SESSION, Lane.DEADLINE,
    ]  # fmt: skip


def test_text_is_aligned_and_tells_audio_together() -> None:
    story = shown(timeline_of(call()))
    assert story[:2] == [
        "    0.000                        10.000   call      start",
        "                                          \u2192 gateway connect",
    ]
    assert [line for line in story if "audio     " in line] == [
        "    0.300     0.500     0.500             audio     pushed 0.500 s, sent 0.500 s in 5 steps until 0.700",
        "    0.800     1.000     1.000           | audio     pushed 0.500 s, sent 0.500 s in 5 steps until 1.200",
    ]
    message, event = (line for line in story if "final_transcript" in line)
    assert message.startswith("    1.500                         4.500 | \u2190 gateway final_transcript ")
    assert message.endswith('"hello there" start=0.0 duration=1.0')
    assert event.startswith("                                        | event     final_transcript ")
    assert event.endswith('"hello there" start_time=0.0 end_time=1.0')


def test_a_resumed_session_sends_again_from_where_it_was() -> None:
    moments = timeline_of(CUT).moments
    resumed = next(moment for moment in moments if any(item.label.startswith("resumed") for item in moment.items))
    assert resumed.audio
    assert (resumed.handed, resumed.pushed, resumed.sent) == (0.05, 0.05, 0.05)


def test_audio_that_overflowed_was_not_sent() -> None:
    timeline = timeline_of("audio_overflows.jsonl")
    dropped = [item.detail for moment in timeline.moments for item in moment.items if "audio_dropped" in item.label]
    assert dropped
    assert max(moment.sent for moment in timeline.moments) <= timeline.audio_seconds


def test_a_gateways_turns_are_found_in_what_it_says() -> None:
    timeline = timeline_of("gateway_session.jsonl")
    assert (timeline.role, timeline.model) == ("gateway", "deepgram/nova-3")
    assert timeline.turns == (Turn(0.35, 0.55, "hello"), Turn(0.87, 0.87, "late"))
    assert timeline.segments == (Segment(0.01, 0.09, "hello"), Segment(0.0, 0.1, "late"))
    assert timeline.audio_seconds == 0.1
    assert "received 0.050 s" in " ".join(shown(timeline))


@pytest.mark.parametrize("name", bundled())
def test_every_fixture_can_be_shown_and_holds(name: str) -> None:
    timeline = timeline_of(name)
    assert timeline.difference is None
    assert all(len(line) > len(HEADINGS) for line in shown(timeline))
    assert facts(timeline).startswith(f"{timeline.role}, ")
    read_script(load(bundled()[name]))


def test_results_that_strangers_made_up_are_shown_as_they_are() -> None:
    made_up = [
        {"type": "final_transcript", "alternatives": [5, {"text": 7, "words": "no"}, {"text": "a", "start_time": "x"}]},
        {"type": "final_transcript", "alternatives": {}},
        {"type": "resumed", "audio_time": "soon"},
        {"type": "audio_dropped", "cause": "overflow", "end": True},
        {"type": "recognition_usage", "recognition_usage": 3},
    ]
    path = [
        '{"fixture":1,"name":"x","role":"client"}',
        json.dumps({"at": 0, "call": "start", "events": made_up, "deadline": "never", "link_state": ["?"]}),
        json.dumps({"at": 1, "take": 0, "raises": "LocalProtocolError", "deadline": None, "link_state": None}),
        json.dumps({"at": 2, "text": "no message"}),
        json.dumps({"at": 3, "text": "[]"}),
        json.dumps({"at": 4, "text": '{"type":3}'}),
        json.dumps({"at": 5, "binary": {"hex": "00"}}),
    ]
    timeline = timeline_of(path)
    assert timeline.different_step == 1
    text = "\n".join(shown(timeline))
    for part in ("unusable: ", "unusable: list", "no type", "binary, 1 bytes", "raised LocalProtocolError", "['?']"):
        assert part in text
    assert "differs" in render_page(timeline)


def test_a_recording_that_needs_more_chance_than_it_has_differs() -> None:
    lines_of = bundled()["retry_schedule_spread.jsonl"].read_text("utf-8").split("\n")
    header = json.loads(lines_of[0])
    timeline = timeline_of([json.dumps({**header, "random": []}), *lines_of[1:]])
    assert timeline.difference is not None
    assert "random" in timeline.difference
    assert timeline.different_step is None


def test_loudness_is_that_of_equal_stretches() -> None:
    assert peaks(b"", 10) == b""
    assert peaks(b"\0\0\0\x40\0\x80\xff\x7f", 2) == bytes([128, 255])
    assert peaks(b"\0\0\0\x40", 10) == bytes([0, 128])


def test_an_empty_recording_is_a_short_story(capfd: pytest.CaptureFixture[str]) -> None:
    timeline = timeline_of(recording())
    assert (timeline.end, timeline.audio_seconds, shown(timeline)) == (0.0, 0.0, [])
    assert "0 steps" in render_page(timeline)


# The command.


def test_replay_shows_a_recording_and_says_that_it_holds(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", str(saved)]) == 0
    out, err = capfd.readouterr()
    heading, empty, columns, *rest = out.splitlines()
    assert heading == "call: client, deepgram/nova-3, 18 steps in 1.700 s, 1.000 s of audio at 16000 Hz"
    assert (empty, columns) == ("", HEADINGS)
    assert any("\u2503 event     final_transcript" in line for line in rest)
    assert re.fullmatch(r"lkstt: holds: lkstt \S+ does the same in all 18 steps\n", err)
    assert "\x1b" not in out


def test_the_first_difference_is_told_and_marked(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    saved.write_text(saved.read_text().replace('"text":"hello there"', '"text":"good bye"'))
    assert run(["replay", str(saved)]) == 1
    out, err = capfd.readouterr()
    difference = 'step 16 (line 17, at 1.5): events[1].alternatives[0].text: expected "good bye", got "hello there"'
    assert re.fullmatch(rf"lkstt: differs with lkstt \S+: {re.escape(difference)}\n", err)
    marked = [line for line in out.splitlines() if "\u2190 differs" in line]
    assert marked[0].startswith("    1.500 ")
    assert any('"good bye"' in line for line in marked)


def test_what_a_recording_holds_moves_no_cursor(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "call.jsonl"
    evil = json.loads('"\\u001b[2J\\u202eevil\\u0007"')
    steps = call(evil)
    path.write_text("\n".join([steps[0].replace('"call"', json.dumps(evil)), *steps[1:]]))
    run(["replay", str(path)])
    out, err = capfd.readouterr()
    assert "\\x1b[2J\\u202eevil\\x07" in out
    for character in "\x1b\u202e\x07":
        assert character not in out + err


def test_a_terminal_gets_colours_and_lines_that_fit(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["replay", str(saved)]) == 0
    text = terminal.getvalue()
    assert "\x1b[3" in text
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in text.splitlines()[3:]]
    assert max(map(len, plain)) <= 80
    assert any(line.endswith("\u2026") for line in plain)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "the fixture is empty"), (b"{}", "the header must say"), (b"\xff\xfe", "not even UTF-8")],
)
def test_what_is_no_recording_is_told_in_a_line(
    content: bytes, complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "call.jsonl"
    path.write_bytes(content)
    assert run(["replay", str(path)]) == 1
    err = capfd.readouterr().err
    assert complaint in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--html", "x.html", "--serve"], "--html and --serve exclude each other"),
        (["--speed", "2"], "--speed needs --serve"),
        (["--listen", "127.0.0.1:0"], "--listen needs --serve"),
        (["--serve", "--speed", "0"], "neither a number above 0 nor max"),
        (["--serve", "--speed", "fast"], "neither a number above 0 nor max"),
    ],
)
def test_contradictions_are_refused(
    arguments: list[str], complaint: str, saved: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", str(saved), *arguments]) == 2
    assert complaint in capfd.readouterr().err


def test_a_file_that_may_not_be_read_is_told(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert run(["replay", str(saved)]) == 1
    assert "cannot be read (Permission denied)" in capfd.readouterr().err


# The page.


class Page(HTMLParser):
    """A page as a browser reads it: its tags, its policy, and what its scripts and styles are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {}
        self._inside = ""
        self.feed(text)
        (self.policy,) = [attributes["content"] or "" for _, attributes in self.tags if "http-equiv" in attributes]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        self.contents.setdefault(self._inside, []).append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def test_the_page_needs_nothing_else_and_lets_nothing_else_in(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "call.html"
    assert run(["replay", str(saved), "--html", str(out)]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    text = out.read_text()
    page = Page(text)
    assert page.policy.startswith("default-src 'none'; ")
    assert "unsafe" not in page.policy
    data, script = page.contents["script"]
    (style,) = page.contents["style"]
    for source in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'" in page.policy
    assert not any({"src", "href", "style", "onload", "onclick"} & set(attributes) for _, attributes in page.tags)
    assert "http://" not in text
    assert "https://" not in text
    assert "innerHTML" not in script
    content = json.loads(data)
    assert content["turns"] == [[0.75, 1.5, "hello there"]]
    assert content["segments"] == [[0.1, 0.4, "hello"]]
    assert content["seconds"] == 1.0
    assert len(content["messages"]) == 10
    assert [state for _, state in content["states"]["link"]] == ["connecting", "up", "closing", "done"]
    assert content["deadlines"][0] == [0.0, 10.0]
    assert content["different"] is None
    assert {item["brief"] for moment in content["moments"] for item in moment["items"]} >= {"hel", "final: hello there"}


def test_nothing_of_a_recording_becomes_markup(tmp_path: Path) -> None:
    evil = "</script><script>pwned = 1</script><img src=x onerror=alert(1)>&amp;<!-- \u202e"
    steps = call(evil)
    header = json.loads(steps[0])
    timeline = timeline_of([json.dumps({**header, "name": evil}), *steps[1:]])
    text = render_page(timeline)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in [tag for tag, _ in page.tags]
    assert "<img" not in text
    assert "\u202e" not in text
    assert json.loads(page.contents["script"][0])["turns"][0][2].startswith("</script><script>pwned")


def test_long_texts_are_cut_and_newest_words_shown(tmp_path: Path) -> None:
    words = " ".join(f"word{n}" for n in range(4000))
    steps = recording(
        {"at": 0.0, "call": "start"},
        {"at": 0.1, "call": "transport_opened"},
        {"at": 0.3, "audio": {"hex": "0040", "times": 1600}},
        {"at": 0.4, "text": told("interim", words, 0.0, 0.1)},
    )
    page = Page(render_page(timeline_of(steps)))
    items = [item for moment in json.loads(page.contents["script"][0])["moments"] for item in moment["items"]]
    interims = [item for item in items if item["label"].startswith("interim")]
    assert {item["brief"] for item in interims} == {"\u2026 word3998 word3999"}
    assert all(len(item["detail"]) < 30_000 for item in interims)
    assert interims[0]["detail"].endswith("\u2026")


def test_a_difference_is_in_the_page(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "call.jsonl"
    path.write_text("\n".join(call()).replace('"text":"hello there"', '"text":"<b>"'))
    out = tmp_path / "call.html"
    assert run(["replay", str(path), "--html", str(out)]) == 1
    assert "differs: step 16" in out.read_text()
    assert json.loads(Page(out.read_text()).contents["script"][0])["different"] == 1.5
    assert run(["replay", str(path), "--html", str(out)]) == 1
    assert "exists already" in capfd.readouterr().err


# The script of the gateway's side.


def heard(audio: float = 0.0, finalizes: int = 0, *, closed: bool = False) -> Heard:
    about: Any = pytest.approx(audio)
    return Heard(created=True, audio=about, finalizes=finalizes, closed=closed)


def deeds(session: Session) -> list[Any]:
    return [json.loads(cue.deed.data)["type"] if isinstance(cue.deed, Send) else cue.deed for cue in session.cues]


def test_a_clients_recording_says_what_each_message_waited_for() -> None:
    (session,) = read_script(load(call()))
    assert (session.delay, session.answer, session.finalizes, session.pongs) == (0.1, None, 1, True)
    assert deeds(session) == [
        "session.created", "interim_transcript", "final_transcript", "session.finalized", Shut(1000),
    ]  # fmt: skip
    assert [cue.needs for cue in session.cues] == [
        heard(), heard(0.5), heard(1.0, 1), heard(1.0, 1), heard(1.0, 1, closed=True),
    ]  # fmt: skip
    assert [round(cue.lag, 3) for cue in session.cues] == [0.1, 0.05, 0.2, 0.1, 0.1]


def test_a_gateways_recording_says_the_same() -> None:
    (session,) = read_script(load(bundled()["gateway_session.jsonl"]))
    assert deeds(session)[:3] == ["session.created", "start_of_speech", "interim_transcript"]
    assert deeds(session)[-2:] == ["session.closed", Shut(1000)]
    assert [session.cues[0].needs, session.cues[-1].needs] == [heard(0.05), heard(0.1, 1, closed=True)]
    (peer_lost,) = read_script(load(bundled()["gateway_peer_lost.jsonl"]))
    assert not any(isinstance(cue.deed, Shut | Cut) for cue in peer_lost.cues)


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("retry_after.jsonl", [Refuse(429, 7), Refuse(429, 7)]),
        ("http_401_renewed.jsonl", [Refuse(401), None]),
        ("reset_in_upgrade.jsonl", [Cut()]),
        ("connect_timeout.jsonl", [Ignore()]),
    ],
)
def test_what_was_no_session_is_answered_as_it_was(name: str, answers: list[Any]) -> None:
    assert [session.answer for session in read_script(load(bundled()[name]))][: len(answers)] == answers


def test_cuts_and_close_codes_are_those_of_the_recording() -> None:
    first, _ = read_script(load(bundled()[CUT]))
    assert first.cues[-1].deed == Cut()
    codes = {
        cue.deed.code
        for session in read_script(load(bundled()["close_codes.jsonl"]))
        for cue in session.cues
        if isinstance(cue.deed, Shut)
    }
    assert codes
    binary = read_script(load(bundled()["binary_message.jsonl"]))[0]
    assert any(isinstance(cue.deed, Send) and cue.deed.binary for cue in binary.cues)


@pytest.mark.parametrize(
    ("facts", "deed"),
    [
        ({"code": 1006}, Cut()),
        ({"code": 999}, Cut()),
        ({"code": 10**20}, Cut()),
        ({"code": 4999, "reason": "\ud800" + "\u00e9" * 100}, Shut(4999, "?" + "\u00e9" * 61)),
        ({"code": 1005}, Shut(1005)),
    ],
)
def test_what_no_close_frame_can_say_is_a_cut(facts: Line, deed: Cut | Shut) -> None:
    recorded = [
        {"fixture": 1, "name": "closed", "role": "client"},
        {"at": 0.0, "call": "start", "actions": [{"connect": {"attempt": 0}}]},
        {"at": 0.1, "call": "transport_opened"},
        {"at": 0.2, "call": "transport_closed", "args": facts},
    ]
    (session,) = read_script(load(json.dumps(line) for line in recorded))
    assert [cue.deed for cue in session.cues] == [deed]


def test_what_no_gateway_does_is_left_out_and_what_no_server_answers_is_a_cut() -> None:
    gateway = [
        {"fixture": 1, "name": "odd", "role": "gateway"},
        {"at": 0.0, "call": "transport_opened", "actions": [{"ping": {}}, {"connect": {}}, {"disconnect": {}}]},
    ]
    (session,) = read_script(load(json.dumps(line) for line in gateway))
    assert [cue.deed for cue in session.cues] == [Shut(1000)]
    client = [
        {"fixture": 1, "name": "odd", "role": "client"},
        {"at": 0.0, "call": "start", "actions": [{"connect": {"attempt": 0}}]},
        {"at": 0.1, "call": "transport_closed", "args": {"http_status": -5}},
    ]
    (session,) = read_script(load(json.dumps(line) for line in client))
    assert session.answer == Cut()


def test_pings_that_were_in_vain_are_in_vain_again() -> None:
    (lost, *_) = read_script(load(bundled()["link_lost_while_idle.jsonl"]))
    assert not lost.pongs
    (alive, *_) = read_script(load(bundled()["link_alive.jsonl"]))
    assert alive.pongs


# Following a client.

CREATE = json.dumps({"type": "session.create", "settings": {"sample_rate": "8000"}})
FINALIZE, CLOSE = '{"type":"session.finalize"}', '{"type":"session.close"}'


def audio(seconds: float, rate: int = 8000) -> str:
    return json.dumps({"type": "input_audio", "audio": base64.b64encode(bytes(round(seconds * rate) * 2)).decode()})


def session_of(*cues: tuple[Heard, float, str], finalizes: int = 1) -> Session:
    return Session(
        0.0, cues=tuple(Cue(needs, lag, Send(name.encode())) for needs, lag, name in cues), finalizes=finalizes
    )


def said(follower: Follower, now: float) -> list[str]:
    return [deed.data.decode() for deed in follower.take(now) if isinstance(deed, Send)]


def test_a_message_comes_when_its_audio_has_come_and_as_much_later_as_it_did() -> None:
    created = Heard(created=True)
    follower = Follower(
        session_of((created, 0.1, "created"), (heard_of(1.0), 0.5, "word"), (heard_of(1.0), 0.2, "next")), 1.0
    )
    assert said(follower, 0.0) == []
    assert follower.deadline is None
    follower.hear("no message")
    follower.hear(CREATE)
    assert said(follower, 5.0) == []
    assert follower.deadline == 5.1
    assert said(follower, 5.1) == ["created"]
    follower.hear(audio(0.5))
    assert (said(follower, 6.0), follower.deadline) == ([], None)
    follower.hear(audio(0.5))
    assert (said(follower, 9.0), follower.deadline) == ([], 9.5)
    # Taken late, the message after it is not late for that.
    assert said(follower, 9.6) == ["word"]
    assert follower.deadline == pytest.approx(9.7)
    assert said(follower, 9.7) == ["next"]
    assert (follower.left, follower.deadline) == (0, None)


def heard_of(audio_seconds: float, finalizes: int = 0) -> Heard:
    return Heard(created=True, audio=audio_seconds, finalizes=finalizes)


@pytest.mark.parametrize(("speed", "deadline"), [(4.0, 1.25), (0.5, 3.0)])
def test_speed_divides_the_waiting(speed: float, deadline: float) -> None:
    follower = Follower(session_of((Heard(created=True), 1.0, "created")), speed)
    follower.hear(CREATE)
    assert (said(follower, 1.0), follower.deadline) == ([], deadline)


def test_as_fast_as_possible_waits_for_the_client_alone() -> None:
    follower = Follower(session_of((Heard(created=True), 9.0, "created"), (heard_of(0.0, 1), 9.0, "final")), None)
    follower.hear(CREATE)
    assert said(follower, 0.0) == ["created"]
    follower.hear(FINALIZE)
    assert said(follower, 0.0) == ["final"]


def test_a_client_with_less_audio_is_answered_once_it_has_finalized_or_said_goodbye() -> None:
    cues = session_of((heard_of(5.0), 0.0, "word"), (heard_of(5.0, 1), 0.0, "final"))
    for goodbye in (FINALIZE, CLOSE):
        follower = Follower(cues, None)
        follower.hear(CREATE)
        follower.hear(audio(1.0))
        assert said(follower, 0.0) == []
        assert follower.left == 2
        follower.hear(goodbye)
        assert said(follower, 0.0) == ["word", "final"]


# Over a socket.


@asynccontextmanager
async def playing(fixture: Fixture, **settings: Any) -> AsyncIterator[tuple[Player, list[str]]]:
    notes: list[str] = []
    async with Player(fixture, listen="localhost:0", speed=None, tell=notes.append, **settings) as player:
        yield player, notes


def client_of(player: Player, **settings: Any) -> STT:
    return STT("auto", base_url=player.base_url, api_key="any", api_secret="anything does", **settings)


async def answer_to(url: str) -> bytes:
    """What a request for a WebSocket gets, asked once: aiohttp would ask again if nothing came."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    handshake = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = base64.b64encode(bytes(16)).decode()
    writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: x\r\n{handshake}Sec-WebSocket-Key: {key}\r\n\r\n".encode())
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def test_a_client_hears_what_was_recorded() -> None:
    async def scenario() -> None:
        async with playing(load(call())) as (player, notes), client_of(player) as stt:
            for _ in range(2):  # and again from the beginning
                event = await stt.recognize(bytes(32000))
                assert event.alternatives[0].text == "hello there"
        assert notes == ["session 1 of 1: said 4 of 4 messages"] * 2

    asyncio.run(scenario())


def test_a_cut_is_played_as_a_cut_and_the_next_connection_gets_the_next_session() -> None:
    async def scenario() -> None:
        async with playing(load(bundled()[CUT])) as (player, notes), client_of(player) as stt, stt.stream() as stream:
            await stream.push_audio(bytes(1600))
            names = []
            async for event in stream.events():
                names.append(event.type.value if isinstance(event, SpeechEvent) else type(event).__name__)
                if names[-1] == "end_of_speech":
                    break
            assert [name for name in names if name not in ("recognition_usage", "AudioDropped")] == [
                "SessionCreated", "start_of_speech", "interim_transcript", "Reconnecting", "Resumed",
                "interim_transcript", "final_transcript", "end_of_speech",
            ]  # fmt: skip
        assert notes[0] == "session 1 of 2: said 2 of 2 messages"

    asyncio.run(scenario())


def test_refusals_cuts_and_silence_are_played_too() -> None:
    steps = [
        {"at": 0.0, "call": "start"},
        {"at": 0.1, "call": "transport_closed", "args": {"http_status": 429, "retry_after": 0.5}},
        {"at": 0.6, "call": "handle_timeout"},
        {"at": 0.7, "call": "transport_closed"},
        {"at": 1.0, "call": "handle_timeout"},
        {"at": 1.1, "call": "transport_opened"},
        {"at": 1.2, "binary": {"hex": "00ff"}},
        {"at": 1.3, "call": "transport_closed", "args": {"code": 1005}},
        {"at": 1.8, "call": "handle_timeout"},
        {"at": 1.9, "call": "close"},
        {"at": 2.0, "call": "transport_closed"},
    ]

    async def scenario() -> None:
        async with playing(load(recording(*steps))) as (player, notes), aiohttp.ClientSession() as session:
            url = f"{player.base_url}/stt"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url)
            assert refused.value.status == 429
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "0.5"
            assert await answer_to(url) == b""
            async with session.ws_connect(url, autoping=False) as opened:
                await opened.ping(b"there?")
                assert (await opened.receive(WAIT)).data == b"there?"
                await opened.send_str(CREATE)
                assert await opened.receive_bytes(timeout=WAIT) == b"\0\xff"
                closing = await opened.receive(WAIT)
                assert (closing.type, closing.data) == (WSMsgType.CLOSE, 0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await session.ws_connect(url)
        assert notes == [
            "session 1 of 4: refused with HTTP 429",
            "session 2 of 4: cut before it was answered",
            "session 3 of 4: said 1 of 1 messages",
            "session 4 of 4: not answered",
        ]

    asyncio.run(scenario())


def test_pages_in_browsers_are_not_served() -> None:
    async def scenario() -> None:
        async with playing(load(call())) as (player, notes), aiohttp.ClientSession() as session:
            for settings, status in (({"origin": "http://page.example"}, 403), ({"protocols": ["token"]}, 400)):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(f"{player.base_url}/stt", **settings)
                assert refused.value.status == status
            async with session.get(f"{player.base_url}/stt") as answer:
                assert answer.status == 400
        assert notes == []

    asyncio.run(scenario())


def test_what_cannot_be_played_is_refused() -> None:
    fixture = load(call())
    with pytest.raises(LocalProtocolError):
        Player(load(recording({"at": 0.0, "call": "close"})), listen="127.0.0.1:0")
    with pytest.raises(InsecureTransport):
        Player(fixture, listen="0.0.0.0:0")
    with pytest.raises(LocalProtocolError):
        Player(fixture, listen="[::1]:0").base_url  # noqa: B018  # the looking raises


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send to a process")
def test_serving_on_the_command_line_ends_with_a_signal(saved: Path) -> None:
    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lkstt_transports.cli", "replay", str(saved)),
            *("--serve", "--listen", "127.0.0.1:0", "--speed", "max"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        base_url = (await asyncio.wait_for(process.stdout.readline(), WAIT)).decode().strip()
        async with STT("auto", base_url=base_url, api_key="any", api_secret="anything does") as stt:
            assert (await stt.recognize(bytes(32000))).alternatives[0].text == "hello there"
        process.send_signal(signal.SIGTERM)
        _, told_lines = await asyncio.wait_for(process.communicate(), WAIT)
        assert process.returncode == 0
        assert b"said 4 of 4 messages" in told_lines

    asyncio.run(scenario())


def test_an_address_that_cannot_be_is_told_in_a_line(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["replay", str(saved), "--serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]) == 1
    assert "choose another --listen" in capfd.readouterr().err
    assert run(["replay", str(saved), "--serve", "--listen", "192.0.2.1:80"]) == 1
    assert "beyond this computer" in capfd.readouterr().err
