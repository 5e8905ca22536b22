"""Transcripts decoded by the short way: equal to the long one on every input."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lkstt_proto import messages, transcripts, wirejson
from lkstt_proto.messages import Transcript, TranscriptKind
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable
from tests.decoding import Word, decode_server, in_full

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile" / "messages.jsonl"
"""A collection of hostile frames that may lie beside the checkout."""

SMALL = Limits(message=2000, words=3, text=400, name=6)

WORD = {"word": "one", "start": 0.5, "end": 1.25, "confidence": 0.75, "speaker_id": "S1"}
ORDINARY = {
    "type": "final_transcript",
    "session_id": "s",
    "request_id": "r",
    "transcript": "one two",
    "language": "en",
    "start": 0.5,
    "duration": 1,
    "confidence": 0.5,
    "speaker_id": "S1",
    "extra": {"a": [1, {"b": None}]},
    "words": [WORD, {"word": "zwölf", "start": 2, "end": 3}],
}


@pytest.fixture(scope="module", autouse=True)
def extra() -> None:
    pytest.importorskip("msgspec")


@pytest.fixture(scope="module")
def plain() -> Iterator[None]:
    """Have the long way decode without any extra, as its own users may."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wirejson, "decode_json", None)
        yield


def exact(message: Any) -> object:
    """What a message holds: all of it, 1 apart from 1.0, and 0.0 from -0.0."""
    if isinstance(message, Transcript):
        return repr((*message._replace(words=()), *(tuple(word) for word in message.words)))
    return message


def outcome(decode: Any, data: str | bytes, limits: Limits) -> object:
    try:
        return exact(decode(data, limits))
    except NotUsable:
        return "refused"


def agree(data: str | bytes, limits: Limits) -> bool:
    return outcome(decode_server, data, limits) == outcome(messages.decode_server, data, limits)


# Objects are written from pairs, so that keys may come twice, and values from literals, so that they may be anything.

LITERALS = st.sampled_from(
    [
        *("null", "true", "false", "{}", "[]", '""', "[null]", '{"a":{"b":[1,"\\ud800"]}}', "NaN", "Infinity"),
        *("0", "-0", "-0.0", "0.0", "1", "1.0", "2", "-1", "-0.5", "1e0", "1E-3", "0.1e1", "1.0000000000000000001"),
        *("1e999", "-1e999", "1e-999", "1e308", "9" * 19, "9" * 25, "9" * 199, "9" * 300, "9" * 301, "9" * 400),
        *("01", "1.", ".5", "+1", "0." + "1" * 400, "1e0000000001", "18446744073709551616", "9007199254740993"),
        *('"1.0"', '"a"', '"\\u0000"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"\x01"', '"\x7f"', '"\\x"'),
        *('"\u2028"', '"\u202e"', '"\ud800"', '"é"', f'"{"é" * 9}"', f'"{"x" * 30}"', '"\\n"', "[" * 300 + "]" * 300),
    ]
)
NUMBERS = st.floats(0.0, 5.0).map(json.dumps) | st.integers(0, 5).map(str) | st.just("-0.0")
CONFIDENCES = st.floats(0.0, 1.0).map(json.dumps) | st.sampled_from(["-0.0", "1", "1.0"])
TEXTS = st.text(max_size=8).map(json.dumps)
NAMES = st.sampled_from(["en", "S1", "é", "a-b:c"]).map(json.dumps) | st.just("null")
EXTRAS = st.recursive(
    TEXTS | NUMBERS | LITERALS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3).map(
            lambda pairs: f"{{{','.join(f'{name}:{value}' for name, value in pairs)}}}"
        )
    ),
    max_leaves=6,
)
SPACES = st.sampled_from(["", " ", "\n", "\t", "\ufeff", "\x0b"])
RARELY = st.sampled_from([False] * 40 + [True])


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, st.SearchStrategy[str]]) -> str:
    """An object with most of its fields as they ordinarily are, some strange, missing, unknown or twice."""
    pairs = []
    for name, ordinary in fields.items():
        if not draw(RARELY):
            pairs.append((json.dumps(name), draw(LITERALS if draw(RARELY) else ordinary)))
    if draw(RARELY):
        name = draw(st.sampled_from([*fields, "extra", "unknown", "Type", "", "\ud800"]))
        pairs.append((json.dumps(name), draw(LITERALS)))
        pairs = draw(st.permutations(pairs))
    if draw(RARELY):
        pairs = [(name.replace("e", "\\u0065"), value) for name, value in pairs]
    space = draw(SPACES) if draw(RARELY) else ""
    return f"{{{','.join(f'{name}{space}:{space}{value}' for name, value in pairs)}}}"


WORDS = st.lists(
    objects({
        "word": TEXTS,
        "start": NUMBERS,
        "end": NUMBERS,
        "confidence": CONFIDENCES,
        "speaker_id": NAMES,
    }),
    max_size=4,
).map(lambda words: f"[{','.join(words)}]")  # fmt: skip
TRANSCRIPTS = objects({
    "type": st.sampled_from([f'"{kind}_transcript"' for kind in TranscriptKind] + ['"session.created"']),
    "transcript": TEXTS,
    "language": NAMES,
    "start": NUMBERS,
    "duration": NUMBERS,
    "confidence": CONFIDENCES,
    "words": WORDS,
    "extra": EXTRAS | st.sampled_from(["{}", '{"a":1}', "null"]),
    "speaker_id": NAMES,
    "request_id": NAMES,
    "session_id": NAMES,
})  # fmt: skip


@settings(max_examples=1000)
@given(text=TRANSCRIPTS, around=st.tuples(SPACES, SPACES))
@example(
    text='{"type":"final_transcript","transcript":"a","start":%s,"duration":1,"start":1}' % ("9" * 305), around=("", "")
)
def test_both_ways_read_every_transcript_alike(plain: None, text: str, around: tuple[str, str]) -> None:
    text = f"{around[0]}{text}{around[1]}"
    assert agree(text, Limits())
    assert agree(text, SMALL)


@given(at=st.integers(0, 400), put=LITERALS | st.sampled_from(list('{}[],:"\\ 0-')), take=st.integers(0, 3))
def test_both_ways_read_a_broken_transcript_alike(plain: None, at: int, put: str, take: int) -> None:
    text = json.dumps(ORDINARY)
    assert agree(text[:at] + put + text[at + take :], Limits())


def hostile() -> list[Any]:
    if not HOSTILE.exists():
        return []
    lines = [json.loads(line) for line in HOSTILE.read_text("utf-8").splitlines()]
    return [pytest.param(line, id=line["name"]) for line in lines if line["encoding"] != "binary"]


@pytest.mark.parametrize("line", hostile())
def test_both_ways_read_hostile_frames_alike(plain: None, line: dict[str, Any]) -> None:
    frame: str | bytes = line["frame"]
    if line["encoding"] == "text-bytes":
        frame = base64.b64decode(line["frame"])
    if "gen" in line:
        gen = line["gen"]
        frame = gen["prefix"] + gen["unit"] * gen["times"] + gen["suffix"]
    assert agree(frame, Limits())


def test_an_ordinary_transcript_takes_the_short_way() -> None:
    message = transcripts.decode_ordinary(json.dumps(ORDINARY), Limits())
    assert exact(in_full(message)) == exact(
        Transcript(
            TranscriptKind.FINAL,
            "one two",
            "en",
            0.5,
            1.0,
            0.5,
            (Word("one", 0.5, 1.25, 0.75, "S1"), Word("zwölf", 2.0, 3.0, 0.0, None)),
            "S1",
            {"a": [1, {"b": None}]},
            "r",
            "s",
        )
    )


def test_what_may_be_absent_may_be_absent_on_the_short_way() -> None:
    text = '{"type":"interim_transcript","transcript":"","start":-0.0,"duration":0,"extra":{}}'
    message = transcripts.decode_ordinary(text, Limits())
    assert exact(in_full(message)) == exact(Transcript(TranscriptKind.INTERIM, "", start=0.0, duration=0.0))


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "session.created"},
        {"extra": []},
        {"extra": {"a": "\ud800"}},
        {"extra": {"a": 10**250}},
        {"start": -1},
        {"duration": -1.0},
        {"confidence": 1.5},
        {"transcript": "x" * 100_000},
        {"transcript": None},
        {"transcript": "\ud800"},
        {"language": ""},
        {"request_id": "a\nb"},
        {"session_id": "x" * 300},
        {"words": [WORD] * 5000},
        {"words": [None]},
        *({"words": [{**WORD, **odd}]} for odd in (
            {"start": -0.1}, {"end": -1}, {"confidence": 2}, {"word": "x" * 100_000}, {"speaker_id": ""},
            {"speaker_id": "x" * 300}, {"speaker_id": "\u202e"},
        )),
    ],
)  # fmt: skip
def test_whatever_is_odd_takes_the_long_way(plain: None, odd: dict[str, Any]) -> None:
    text = json.dumps({**ORDINARY, **odd})
    assert transcripts.decode_ordinary(text, Limits()) is None
    assert agree(text, Limits())


@pytest.mark.parametrize("text", ["", "[]", "{", '"\ud800"', json.dumps({**ORDINARY, "start": 10**250})])
def test_what_the_decoder_does_not_take_is_left_to_the_long_way(text: str) -> None:
    assert transcripts.decode_ordinary(text, Limits()) is None


def test_the_limit_counts_bytes_of_utf8() -> None:
    text = json.dumps({**ORDINARY, "transcript": "ö" * 50}, ensure_ascii=False)
    size = len(text.encode())
    assert transcripts.decode_ordinary(text, Limits(message=size)) is not None
    assert transcripts.decode_ordinary(text, Limits(message=size - 1)) is None


def test_bytes_and_all_without_the_extra_take_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(ORDINARY)
    assert transcripts.decode_ordinary(text.encode(), Limits()) is None
    try:
        monkeypatch.setitem(sys.modules, "msgspec", None)
        importlib.reload(transcripts)
        assert transcripts.decode_ordinary(text, Limits()) is None
    finally:
        monkeypatch.undo()
        importlib.reload(transcripts)


@pytest.mark.parametrize("kind", TranscriptKind)
def test_the_short_way_names_kind_and_trigger(kind: TranscriptKind) -> None:
    message = transcripts.decode_ordinary(json.dumps({**ORDINARY, "type": f"{kind}_transcript"}), Limits())
    assert message is not None
    assert message.kind is kind
    assert message.trigger == in_full(message).trigger


def test_a_decoded_transcript_shows_nothing_of_what_was_said() -> None:
    message = transcripts.decode_ordinary(json.dumps(ORDINARY), Limits())
    assert message is not None
    assert repr((message, message.words)) == (
        "(<Transcript of 7 characters and 2 words>, (<Word of 3 characters>, <Word of 5 characters>))"
    )
