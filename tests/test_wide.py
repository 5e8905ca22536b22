"""Messages too wide to be decoded whole: the same fields as from all of it, whatever decodes them."""

from __future__ import annotations

import json
import tracemalloc
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lkstt_proto import wide
from lkstt_proto.fields import read_text
from lkstt_proto.messages import decode_server
from lkstt_proto.options import Limits
from lkstt_proto.wide import FIELDS, LARGE, TOO_WIDE, is_wide, most_weight, parse_message
from lkstt_proto.wirejson import NotUsable, parse

MIB = 1 << 20
LIMITS = Limits()
TINY = Limits(message=1 << 16, words=1, text=4, name=8)
"""With ``narrow``, nearly everything is wide."""

HEAD = '{"type":"interim_transcript","transcript":"x",'


def filled(head: str, unit: str, tail: str, size: int = MIB - 64) -> str:
    """Put as many units in between as ``size`` bytes take."""
    times = (size - len((head + tail).encode())) // len(unit.encode())
    return head + (unit * times).removesuffix(",") + tail


WIDE = {
    "objects": filled(HEAD + '"words":[', "{},", "]}"),
    "arrays": filled(HEAD + '"words":[', "[],", "]}", MIB // 4),
    "words": filled(HEAD + '"words":[', '{"word":"a","start":0.5,"end":1},', "]}"),
    "integers": filled(HEAD + '"words":[', "0,", "]}"),
    "floats": filled(HEAD + '"words":[', "0.5,", "]}"),
    "texts": filled(HEAD + '"words":[', '"ab",', "]}"),
    "keys": HEAD + ",".join(f'"x{number}":0' for number in range(60_000)) + "}",
    "metadata": filled(HEAD + '"extra":{"a":[', "[0],", "]}}", MIB // 4),
    "unknown": filled(HEAD + '"unknown":{"a":[', "null,", "]}}"),
    "towers": filled(HEAD + '"words":[', "[" * 100 + "]" * 100 + " " * 5000 + ",", "]}"),
    "deep": filled(HEAD + '"words":[' + "[" * 250, "null,", "]" * 250 + "]}"),
    "long text": filled('{"type":"interim_transcript","transcript":"', "a", '"}'),
    "escapes": filled('{"type":"interim_transcript","transcript":"', "\\n", '"}'),
    "astral": filled('{"type":"interim_transcript","transcript":"\U0001f600', "a", '"}'),
    "surrogates": filled('{"type":"interim_transcript","transcript":"', "\\ud83d\\ude00", '"}'),
    "lone surrogates": filled('{"type":"interim_transcript","transcript":"', "\\ud83d", '"}'),
    "spaces": filled(HEAD, " ", '"a":1}'),
    "exponents": filled(HEAD + '"words":[', "1e-000,", "]}"),
    "long word": filled(HEAD + '"words":["\U0001f600', "a", '"]}'),
    "long key": filled(HEAD + '"', "a", '":1}'),
    "short words": filled(HEAD + '"words":[', '{"word":"a"},', "]}"),
    "large exponents": filled(HEAD + '"extra":{"a":[', "1e100," + " " * 40, "0]}}"),
    "last": filled('{"words":[', "{},", '],"transcript":"x","type":"interim_transcript"}'),
}


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Have windows of a few bytes, and no message too small to be wide."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide, "LARGE", 0)
        patch.setattr(wide, "WEIGHT_PER_WORD", -1)
        patch.setattr(wide, "_WINDOW", 12)
        yield


def test_a_message_is_wide_by_its_bytes_or_by_its_commas_and_brackets() -> None:
    half = LIMITS.message // 2
    assert not is_wide(b" " * half, LIMITS)
    assert is_wide(b" " * (half + 1), LIMITS)
    most = wide.WEIGHT_PER_WORD * LIMITS.words
    for weight, mark in ((1, b","), (4, b"["), (4, b"{")):
        marks = mark * (most // weight)
        assert not is_wide(marks.ljust(LARGE + 1), LIMITS)
        assert is_wide((marks + b"[").ljust(LARGE + 1), LIMITS)
    assert not is_wide(b"[" * LARGE, LIMITS)


def test_what_is_not_wide_is_given_whole() -> None:
    for size in (1, LARGE // 2, LARGE * 2):
        message = {"type": "x", "unknown": [{}], "words": ["a" * size]}
        assert parse_message(json.dumps(message), LIMITS) == message


def test_as_many_words_as_may_be_are_not_wide() -> None:
    word = {"word": "word", "start": 0.25, "end": 1.5, "confidence": 0.9, "speaker_id": "S1", "a": 1, "b": 2, "c": 3}
    message = {"type": "final_transcript", "transcript": "x", "words": [word] * LIMITS.words, "extra": {"a": 1}}
    transcript: Any = decode_server(json.dumps(message, separators=(",", ":")), LIMITS)
    assert len(transcript.words) == LIMITS.words
    assert transcript.problems == ()


@pytest.mark.parametrize("text", WIDE.values(), ids=WIDE)
def test_a_wide_message_gives_the_text_in_little_memory(text: str) -> None:
    assert len(text.encode()) <= LIMITS.message
    decode_server(text, LIMITS)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        transcript: Any = decode_server(text, LIMITS)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak <= 4 * MIB
    assert transcript.words == ()
    assert transcript.metadata is None
    assert transcript.text
    assert len(transcript.text.encode()) <= LIMITS.text
    if transcript.text != "x":
        assert transcript.problems == ("transcript",)
        expected = json.loads(text)["transcript"].encode("utf-8", "replace").replace(b"?", b"\xef\xbf\xbd")
        assert transcript.text == expected[: LIMITS.text].decode("utf-8", "ignore")
    else:
        known = [name for name in ("words", "extra") if name in json.loads(text)]
        assert list(transcript.problems) == known


@pytest.mark.parametrize(
    ("unit", "weight"),
    [
        ("0,", 1),
        ('"[,:]",', 1),
        ("{},", 1),
        ("[],", 5),
        ('{"":0},', 5),
        ('{"":[],"":0},', 1 + 4 + 4 + 1 + 4),
        ('{"":{}},', 1 + 4 + 16),
        ("[{},{}],", 1 + 4 + 1 + 16),
        ("[[]],", 1 + 4 + 4 + 16),
        ("9" * 299 + ",", 16),
        ("1e200,", 16),
    ],
)
def test_a_wide_message_is_weighed(monkeypatch: pytest.MonkeyPatch, unit: str, weight: int) -> None:
    monkeypatch.setattr(wide, "_WINDOW", MIB)  # where no array is torn, the sum is exact

    def refusal(count: int, most: int) -> str:
        monkeypatch.setattr(wide, "most_weight", lambda _: most)
        try:
            parse_message('{"a":[' + unit * count + "0]}".rjust(MIB // 2 + 1), LIMITS)
        except NotUsable as problem:
            return problem.reason
        return ""

    def weigh(count: int) -> int:
        return bisect_left(range(MIB), True, key=lambda most: not refusal(count, most))

    assert weigh(20) - weigh(10) == 10 * weight
    assert "bytes of too many values" in refusal(20, weigh(20) - 1)


def test_the_weight_grows_with_what_a_message_may_have() -> None:
    assert most_weight(Limits(message=1000)) == most_weight(LIMITS) == MIB // 2
    assert most_weight(Limits(message=10 * MIB)) == 5 * MIB


@pytest.mark.parametrize("unit", ["[],", "[0],", '"":0,', "[" * 100 + "]" * 100 + ",", "1e100,", '{"a":{}},'])
def test_what_would_cost_too_much_is_refused(unit: str) -> None:
    with pytest.raises(NotUsable, match="bytes of too many values"):
        decode_server(filled(HEAD + '"words":[' * ('":' not in unit[:4]), unit, "]}"), LIMITS)


@pytest.mark.parametrize(
    "rest",
    [*"[{]}:", '{"a":', '"a":', '"a" ', '"a" [', f'"{"a" * (1 << 15)}"', f'"a":"{"a" * (1 << 15)}"'],
)
def test_what_has_no_comma_soon_ends(rest: str) -> None:
    """Neither windows that grow without end nor beginnings that are looked at again and again."""
    text = HEAD + rest * ((MIB - 100) // len(rest))
    with pytest.raises(NotUsable) as caught:
        decode_server(text, LIMITS)
    assert caught.value.reason.startswith(f"{len(text.strip())} bytes")


@pytest.mark.parametrize("text", WIDE.values(), ids=WIDE)
def test_bytes_give_what_text_gives(text: str) -> None:
    expected = decode_server(text, LIMITS)
    assert decode_server(text.encode(), LIMITS) == expected
    assert decode_server(memoryview(bytearray(text.encode())), LIMITS) == expected


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: text[:-2] + "}}",
        lambda text: text.replace(":", " ", 1),
        lambda text: text + "x",
        lambda text: text + text[:64],
        lambda text: text[: len(text) // 2] + "\x01" + text[len(text) // 2 + 1 :],
        lambda text: f"[{text}]"[:MIB],
        lambda text: '"' + text[1:],
    ],
)
@pytest.mark.parametrize("name", ["objects", "words", "keys", "long text", "long word", "spaces"])
def test_what_is_no_json_is_refused(name: str, broken: Any) -> None:
    text = broken(WIDE[name])
    with pytest.raises(NotUsable, match=f"{len(text.encode())} bytes|no JSON") as caught:
        decode_server(text, LIMITS)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "NaN is no JSON number"),
        ("1e999", "number out of range"),
        ("9" * 301, "integer of 301 digits"),
        ("[" * 255 + "]" * 255, "nested too deep, or no JSON"),
    ],
)
def test_limits_hold_in_what_is_not_kept(value: str, reason: str) -> None:
    for name in ("words", "unknown"):
        text = filled(f'{HEAD}"{name}":[', "{},", f",{value}]}}")
        with pytest.raises(NotUsable) as caught:
            decode_server(text, LIMITS)
        assert caught.value.reason.endswith(reason)


def test_a_name_may_be_longer_than_a_text() -> None:
    text = filled('{"type":"interim_transcript","session_id":"' + "s" * 100 + '","words":[', "{},", "]}")
    assert decode_server(text, Limits(text=4)).session_id == "s" * 100


def test_what_comes_last_counts() -> None:
    units = "[]," * 30_000
    for text, expected in (
        (f'{{"type":"a","transcript":[{units}0],"transcript":"x"}}', "x"),
        (f'{{"type":"a","transcript":"x","transcript":[{units}0]}}', TOO_WIDE),
        (f'{{"transcript":"x","type":"a","type":"b","\\u0074ranscript":[{units}0],"unknown":[{units}0]}}', TOO_WIDE),
        (f'{{"type":"a","":[{units}0],"transcript":"x","":7}}', "x"),
    ):
        message: Any = parse_message(text, LIMITS)
        assert message["transcript"] is expected or message["transcript"] == expected
        assert set(message) == {"type", "transcript"}


def test_fields_after_and_before_what_is_wide_are_read() -> None:
    text = filled(
        '{"type":"final_transcript","start":0.5,"words":[{"word":"a"}],"duration":2,"unknown":[',
        "[],",
        '],"confidence":0.25,"language":"de","extra":{},"speaker_id":"S1","request_id":null,"transcript":"\\u00e9\\ud800"}',
        LARGE * 4,
    )
    transcript: Any = decode_server(text, LIMITS)
    assert (transcript.text, transcript.start, transcript.duration) == ("é\ufffd", 0.5, 2.0)
    assert (transcript.confidence, transcript.language, transcript.speaker_id) == (0.25, "de", "S1")
    assert transcript.problems == ("transcript", "words", "extra")


def test_names_are_read_wherever_a_window_ends() -> None:
    head = '{"type":"interim_transcript",'
    for ends in range(len('"transcript":"xy",') + 1):
        text = f'{head}{" " * (wide._WINDOW - len(head) + 1 - ends)}"transcript":"xy","words":[{"null," * 60_000}0]}}'
        transcript: Any = decode_server(text, LIMITS)
        assert (transcript.text, transcript.problems) == ("xy", ("words",))


def test_a_type_is_cut_and_only_texts_are_types() -> None:
    message: Any = parse_message(filled('{"type":"', "t", '"}'), LIMITS)
    assert message == {"type": "t" * (LIMITS.name + 1)}
    with pytest.raises(NotUsable, match="no text as its type"):
        decode_server(filled('{"type":[', "0,", "]}"), LIMITS)
    with pytest.raises(NotUsable, match="no JSON object"):
        decode_server(filled("[", "0,", "]"), LIMITS)


def test_bytes_have_to_be_utf8() -> None:
    whole = WIDE["astral"].encode()
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc3(", b"\x80" * 5, b"\xf0\x9f\x98", b"\x80" * 2 * wide._WINDOW):
        for place in (len(whole) // 2, len(whole) - 2 - len(bad)):
            raw = whole[:place] + bad + whole[place + len(bad) :]
            with pytest.raises(NotUsable) as caught:
                decode_server(raw, LIMITS)
            assert caught.value.reason == f"{len(raw)} bytes that are no UTF-8"
    for shift in range(4):  # windows end anywhere in a character
        text = filled('{"type":"interim_transcript","transcript":"' + "a" * shift, "\U0001f600", '"}')
        assert decode_server(text.encode(), LIMITS) == decode_server(text, LIMITS)


def test_what_is_too_long_is_refused_by_its_size() -> None:
    for text, reason in (
        ("\U0001f600" * MIB, f"{4 * MIB} bytes, over {MIB}"),
        ("x" * (64 * MIB), f"{64 * MIB} characters, over {MIB} bytes"),
    ):
        with pytest.raises(NotUsable) as caught:
            parse_message(text, LIMITS)
        assert caught.value.reason == reason


def test_a_stack_that_runs_out_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(text: str) -> tuple[Any, int]:
        raise RecursionError(text)

    monkeypatch.setattr(wide, "decoder_for", lambda suspect: run_out)
    with pytest.raises(NotUsable, match="nested too deep for the stack that is left"):
        decode_server(WIDE["objects"], LIMITS)


# With windows of twelve bytes every kind of place is cut sooner or later.

SCALARS = st.sampled_from(
    [
        *("0", "-1.5", "1e5", "true", "null", '""', '"a"', '"a,b"', '"[{"', "12" * 20),
        *('"\\\\"', '"\\""', '"é\U0001f600"', '"\\ud800"', '"\\u00e9\\ud83d\\ude00"'),
        *(f'"{unit * 20}"' for unit in ("long, ", "\\\\", '\\"', "\\u00e9", "é", "\U0001f600")),
    ]
)
NAMES = st.sampled_from([*FIELDS, "", "unknown", "\\u0074ype", "a,b", "x" * 30]).map(lambda name: f'"{name}"')
SPACE = st.sampled_from(["", "", "", " ", "\n" + " " * 20])


def containers(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.tuples(NAMES, SPACE, values).map(lambda parts: f"{parts[0]}:{parts[1]}{parts[2]}")
    return st.lists(values, max_size=5).map(lambda items: f"[{','.join(items)}]") | st.lists(members, max_size=5).map(
        lambda items: f"{{{','.join(items)}}}"
    )


VALUES = st.recursive(SCALARS, containers, max_leaves=30)
OBJECTS = st.lists(st.tuples(NAMES, SPACE, VALUES), max_size=8).map(
    lambda members: f"{{{','.join(f'{name}:{space}{value}' for name, space, value in members)}}}"
)


def expected(text: str) -> object:
    """What a message gives that is read as a whole."""
    try:
        whole = parse(text, TINY.message)
    except NotUsable:
        return "refused"
    if type(whole) is not dict:
        return "refused"
    kept = {name: whole[name] for name in FIELDS if name in whole}
    return {name: TOO_WIDE if isinstance(value, dict | list) else value for name, value in kept.items()}


def found(text: str) -> object:
    try:
        return parse_message(text, TINY)
    except NotUsable:
        return "refused"


def equal(one: Any, other: Any) -> bool:
    """Equal but for what is cut anyway: texts may end behind their first bytes."""
    if type(one) is not dict or type(other) is not dict:
        return bool(one == other)
    return one.keys() == other.keys() and all(beginnings(one[name]) == beginnings(other[name]) for name in one)


def beginnings(value: Any) -> Any:
    """What a reader makes of it."""
    return read_text(value, TINY.text, "", []) if type(value) is str else (type(value), value)


@settings(max_examples=200)
@given(text=OBJECTS, space=SPACE)
@example(text='{"a":[0],"b":[1,]}', space="")
@example(text='{"type":"a"} , {"b":[1]}', space="")
@example(text='{"type":"a"},"b":[1],"c":[2,3,4,5,6,7,8]', space="")
@example(text='{"a":[,1],"b":[2,3,4,5,6,7,8]}', space="")
@example(text='{,"a":{,"b":[2,3,4,5,6,7,8]}}', space="")
@example(text='{"a":[1}, {"b":2], "c":[1,2,3,4,5,6]}', space="")
@example(text='{"a":"' + "x" * 100, space="")
@example(text='{"a":' + "1" * 100, space="")
@example(text='{"a":"' + "x" * 40 + "\\", space="")
@example(text='{"a":"' + "x" * 40 + '\\u00e" , "type":"a"}', space="")
@example(text='{"a":[[[' + "[]," * 30 + "0]]]}" + "]" * 20, space="")
def test_windows_give_what_the_whole_gives(narrow: None, text: str, space: str) -> None:
    text = space + text + space
    assert equal(found(text), expected(text))


@settings(max_examples=200)
@given(
    text=OBJECTS,
    at=st.integers(0, 200),
    put=st.sampled_from([*'{}[],:"\\0- x', "", "NaN", ",,", '""', "1e999", '"\\x"', "\x01"]),
    take=st.integers(0, 3),
)
def test_windows_refuse_what_the_whole_refuses(narrow: None, text: str, at: int, put: str, take: int) -> None:
    at %= len(text)
    text = text[:at] + put + text[at + take :]
    assert equal(found(text), expected(text))
