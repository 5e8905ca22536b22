"""Transcripts as text: times, escapes, and what holds several transcripts together."""

from __future__ import annotations

import json
import re

import pytest

from lkstt_proto import SpeechData, TimedWord
from lkstt_transports.cli.formats import WRITERS, dumps, one_line, printable

HELLO = SpeechData(
    "en",
    "hello there",
    0.25,
    2.0,
    words=(TimedWord("hello", 0.5, 0.9, 0.75), TimedWord("there", 1.0, 1.4)),
)
BYE = SpeechData("en", "bye", 3661.0004, 3662.9996, confidence=0.5, speaker_id="S1")


def written(kind: str, *finals: SpeechData, words: bool = False, complete: bool = True) -> str:
    writer = WRITERS[kind]("a.wav", words=words)
    text = writer.head(several=False)
    text += "".join(writer.final(data) for data in finals)
    return text + writer.end(duration=4000.0, complete=complete) + writer.foot(several=False)


def test_txt_is_one_line_for_each_final() -> None:
    assert written("txt", HELLO, BYE) == "hello there\nbye\n"


def test_srt_numbers_its_cues_and_times_what_was_spoken() -> None:
    assert written("srt", HELLO, BYE) == (
        "1\n00:00:00,500 --> 00:00:01,400\nhello there\n\n2\n01:01:01,000 --> 01:01:03,000\nbye\n\n"
    )


def test_vtt_has_its_header_and_decimal_points() -> None:
    assert written("vtt", BYE) == "WEBVTT\n\n01:01:01.000 --> 01:01:03.000\nbye\n\n"


def test_tsv_has_a_header_and_seconds() -> None:
    assert written("tsv", HELLO) == "file\tstart\tend\ttext\na.wav\t0.500\t1.400\thello there\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("srt", "1\n00:00:00,500 --> 00:00:00,900\nhello\n\n2\n00:00:01,000 --> 00:00:01,400\nthere\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.500 --> 00:00:00.900\nhello\n\n00:00:01.000 --> 00:00:01.400\nthere\n\n"),
        ("tsv", "file\tstart\tend\ttext\na.wav\t0.500\t0.900\thello\na.wav\t1.000\t1.400\tthere\n"),
    ],
)
def test_words_get_cues_of_their_own_when_wanted(kind: str, expected: str) -> None:
    assert written(kind, HELLO, words=True) == expected


@pytest.mark.parametrize("kind", ["srt", "vtt", "tsv"])
def test_a_final_without_words_is_one_cue_though_words_are_wanted(kind: str) -> None:
    assert written(kind, BYE, words=True) == written(kind, BYE)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_cues_never_run_backwards_and_never_are_empty(kind: str) -> None:
    finals = [
        SpeechData("en", "long", 1.0, 5.0),
        SpeechData("en", "inside", 2.0, 3.0),
        SpeechData("en", "instant", 9.0, 9.0),
        SpeechData("en", "early", -1.0, 0.0),
    ]
    text = written(kind, *finals)
    clocks = re.findall(r"(\d+):(\d+):(\d+)[,.](\d{3}) --> (\d+):(\d+):(\d+)[,.](\d{3})", text)
    times = [
        tuple(int(h) * 3_600_000 + int(m) * 60_000 + int(s) * 1000 + int(ms) for h, m, s, ms in (cue[:4], cue[4:]))
        for cue in clocks
    ]
    assert times == [(1000, 5000), (5000, 5001), (9000, 9001), (9001, 9002)]


def test_vtt_escapes_what_would_be_markup_or_an_arrow() -> None:
    assert written("vtt", SpeechData("en", "a --> b & <i>c", 0.0, 1.0)).endswith("\na --&gt; b &amp; &lt;i&gt;c\n\n")


def test_srt_shows_markup_and_arrows_as_look_alikes() -> None:
    assert written("srt", SpeechData("en", "a --> b & <i>c", 0.0, 1.0)).endswith("\na \u2192 b & \u2039i\u203ac\n\n")


@pytest.mark.parametrize("kind", ["txt", "srt", "vtt", "tsv"])
def test_text_for_people_keeps_to_its_line_and_moves_no_cursor(kind: str) -> None:
    text = written(kind, SpeechData("en", "one\r\n\ntwo\tthree\x1b[2J \u202eevil\x9b", 0.0, 1.0))
    assert "one two three\\x1b[2J \\u202eevil\\x9b\n" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_json_keeps_the_text_and_escapes_what_terminals_obey() -> None:
    spoken = "caf\u00e9 \x1b[2J\u202e\x9b\U000e0001 \U0001f600"
    text = written("json", SpeechData("en", spoken, 0.0, 1.0))
    assert json.loads(text)["text"] == spoken
    assert "caf\u00e9" in text
    assert not {"\x1b", "\u202e", "\x9b", "\U000e0001"} & set(text)


def test_letters_of_other_scripts_are_left_alone() -> None:
    # A zero-width non-joiner, an ideographic space and a family of emoji.
    spoken = (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u4f60\u597d\u3000\u4e16\u754c \U0001f469\u200d\U0001f467"
    )
    assert printable(spoken) == spoken
    assert one_line(spoken) == spoken
    assert dumps(spoken) == f'"{spoken}"'


def test_file_names_that_are_not_text_can_be_shown() -> None:
    assert printable("a\udcff.wav") == "a\\udcff.wav"


def test_json_tells_language_duration_and_segments() -> None:
    whole = json.loads(written("json", HELLO, BYE._replace(language="de"), HELLO))
    assert whole | {"segments": None} == {
        "file": "a.wav",
        "language": "en",
        "duration": 4000.0,
        "complete": True,
        "text": "hello there bye hello there",
        "segments": None,
    }
    assert whole["segments"][:2] == [
        {"start": 0.25, "end": 2.0, "text": "hello there", "language": "en"},
        {"start": 3661.0, "end": 3663.0, "text": "bye", "language": "de", "confidence": 0.5, "speaker": "S1"},
    ]


def test_json_has_words_when_wanted_and_confidences_when_given() -> None:
    segment = json.loads(written("json", HELLO, words=True))["segments"][0]
    assert segment["words"] == [
        {"text": "hello", "start": 0.5, "end": 0.9, "confidence": 0.75},
        {"text": "there", "start": 1.0, "end": 1.4},
    ]


def test_json_of_silence_and_of_an_interrupted_file() -> None:
    silent = json.loads(written("json", complete=False))
    assert (silent["language"], silent["text"], silent["segments"], silent["complete"]) == (None, "", [], False)


def test_jsonl_is_one_object_on_a_line_for_each_final() -> None:
    lines = written("jsonl", HELLO, BYE, words=True).splitlines()
    assert [json.loads(line)["file"] for line in lines] == ["a.wav", "a.wav"]
    assert [word["text"] for word in json.loads(lines[0])["words"]] == ["hello", "there"]
    assert json.loads(lines[1])["words"] == []


def test_several_transcripts_are_one_document() -> None:
    def several(kind: str) -> str:
        writers = [WRITERS[kind](name) for name in ("a.wav", "b.wav")]
        text = writers[0].head(several=True)
        for index, writer in enumerate(writers):
            text += writer.heading(writer.name, first=index == 0)
            text += writer.final(HELLO) + writer.end(duration=2.0, complete=True)
        return text + writers[0].foot(several=True)

    assert several("txt") == "==> a.wav <==\nhello there\n\n==> b.wav <==\nhello there\n"
    assert several("tsv").splitlines()[1:] == ["a.wav\t0.500\t1.400\thello there", "b.wav\t0.500\t1.400\thello there"]
    assert [item["file"] for item in json.loads(several("json"))] == ["a.wav", "b.wav"]
    assert [json.loads(line)["file"] for line in several("jsonl").splitlines()] == ["a.wav", "b.wav"]
