"""JSON within limits: what is decoded, what is refused, and that nothing else ever comes out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lkstt_proto.wirejson import (
    MAX_INTEGER_DIGITS,
    MAX_NESTING,
    NotUsable,
    may_break_rules,
    numbers_are_suspect,
    parse,
)

LIMIT = 1 << 20

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine proves nothing."""

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def reason_of(data: str | bytes, limit: int = LIMIT) -> str:
    with pytest.raises(NotUsable) as caught:
        parse(data, limit)
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.__cause__ is None
    assert error.__context__ is None  # a decoder's own error holds the text
    assert str(error) == error.reason
    return error.reason


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@relaxed
@given(JSON_VALUES, st.booleans(), st.sampled_from(["", " ", "\t\r\n "]))
def test_any_json_decodes_as_json_does(value: Any, ascii_only: bool, space: str) -> None:
    text = space + json.dumps(value, ensure_ascii=ascii_only) + space
    assert parse(text, LIMIT) == value
    if ascii_only or text.isascii():
        assert parse(text.encode(), LIMIT) == value


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: Callable[[bytes], bytes]) -> None:
    assert parse(kind('{"a":"é😀"}'.encode()), LIMIT) == {"a": "é😀"}


def test_the_first_look_suspects_a_broken_rule_wherever_it_stands() -> None:
    assert may_break_rules(b"[%b]" % (b"9" * (MAX_INTEGER_DIGITS + 1)))
    assert may_break_rules(b'"%b"' % (b"0123456789" * 30))
    assert may_break_rules(b"[1e999]")
    assert may_break_rules(b"[" * (MAX_NESTING + 1))
    assert not may_break_rules(b"[" * MAX_NESTING + b"%b, 1.5e12, -2" % (b"9" * 39))


def test_suspect_numbers_are_seen_without_looking_at_nesting() -> None:
    assert numbers_are_suspect(b"[%b]" % (b"9" * (MAX_INTEGER_DIGITS + 1)))
    assert numbers_are_suspect(b"[1e999]")
    assert not numbers_are_suspect(b"[" * (MAX_NESTING + 1) + b"9" * 199 + b"e99")


def test_nesting_is_measured_across_long_messages() -> None:
    tail = "[" * MAX_NESTING + "]" * MAX_NESTING
    for before in ("", "[],", '"[",', '"\\\\",', '"\\"[",', '"' + "[" * 100 + '",', "[" * 200 + "]" * 200 + ","):
        for shift in range(3):  # whatever is torn where pieces meet
            units = (before * 100_000)[:150_000].rpartition(",")[0] + "," if before else ""
            text = f"[{' ' * shift}{units}{tail[1:-1]}]"
            parse(text, LIMIT)
            deeper = f"[{' ' * shift}{units}{tail}]"
            assert reason_of(deeper) == "nested 257 deep"


def test_text_beyond_ascii_is_encoded_piece_by_piece() -> None:
    text = json.dumps("é\U0001f600語" * 40_000, ensure_ascii=False)
    assert parse(text, LIMIT) == json.loads(text)
    assert reason_of(text, len(text.encode()) - 1) == f"{len(text.encode())} bytes, over {len(text.encode()) - 1}"
    assert parse(f'"{chr(0xD800)}{"é" * 100_000}"', LIMIT) == chr(0xD800) + "é" * 100_000


def test_a_duplicate_key_keeps_its_last_value() -> None:
    assert parse('{"a":1,"a":2}', LIMIT) == {"a": 2}


def test_the_limit_counts_bytes_of_utf8() -> None:
    text = '"aé😀"'
    size = len(text.encode())
    assert parse(text, size) == "aé😀"
    assert parse(text.encode(), size) == "aé😀"
    assert reason_of(text, size - 1) == f"{size} bytes, over {size - 1}"
    assert reason_of(text.encode(), size - 1) == f"{size} bytes, over {size - 1}"
    assert reason_of(text, 2) == "5 characters, over 2 bytes"


@pytest.mark.parametrize("data", [b"\xff\xfe", b'"\xed\xa0\x80"', b"\x1f\x8b\x08\x00", b'"\xc3"'])
def test_bytes_that_are_no_utf8_are_refused(data: bytes) -> None:
    assert reason_of(data) == f"{len(data)} bytes that are no UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"a":"hel',
        "<html>",
        "{'a':1}",
        '"a\x01b"',
        "[1,]",
        "01",
        "+1",
        ".5",
        "1.",
        "nul",
        "\ufeff{}",
        "\xa01",
        "\u0661",
        '"\\x"',
        "[}",
        "{]",
        '{"a" 1}',
        "tru",
        "-",
        "- 1",
        "1e",
        "0x10",
        "[1 2]",
        "\x00",
        "9" * 200 + ".",
    ],
)
def test_what_is_no_json_is_refused(text: str) -> None:
    for data in (text, text.encode()):
        assert "no JSON" in reason_of(data) or "after the JSON value" in reason_of(data)


def test_what_follows_the_value_is_refused_by_its_length() -> None:
    assert reason_of('{"type":"session.created"} xyz') == "4 characters after the JSON value"
    assert reason_of("{}{}") == "2 characters after the JSON value"
    assert reason_of("1e999999 2") == "number out of range"


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_constants_that_are_no_json_are_refused(name: str) -> None:
    for text in (name, f"[{name}]", f'{{"a":{name}}}', f"[{'9' * 201},{name}]"):
        assert reason_of(text) == f"{name} is no JSON number"
    assert parse(f'"{name}"', LIMIT) == name


@pytest.mark.parametrize(
    "number",
    [
        "1e999",
        "-1e999",
        "1E999",
        "1e+999",
        "1E+309",
        "1e0309",
        "1.8e308",
        "-1.8e+308",
        "9" * 310 + ".0",
        "9" * 250 + "e59",
        "1e" + "9" * 5000,
        "0.001e312",
        "9" * 400 + "e0",
    ],
)
def test_numbers_that_overflow_are_refused(number: str) -> None:
    for text in (number, f"[{number}]", f'{{"a": {number} }}'):
        assert reason_of(text) == "number out of range"


@pytest.mark.parametrize(
    "number",
    [
        "1e308",
        "1.7976931348623157e308",
        "1e-999",
        "0e999",
        "1e0000001",
        "0.0001e311",
        "9" * 199 + "e99",
        "9" * 300 + "e-10",
        "0." + "3" * 5000,
        "9" * 305 + ".5",
        "-0.0",
        "1E+5",
    ],
)
def test_numbers_that_are_finite_are_taken(number: str) -> None:
    value = parse(f"[{number}]", LIMIT)
    assert isinstance(value, list)
    assert value == [float(number)]
    assert math.isfinite(value[0])


@pytest.mark.parametrize("digits", [1, 19, 20, 21, 199, 200, 201, MAX_INTEGER_DIGITS])
def test_integers_up_to_300_digits_are_exact(digits: int) -> None:
    for text in ("9" * digits, "-" + "9" * digits):
        value = parse(f'{{"a":{text}}}', LIMIT)
        assert value == {"a": int(text)}
        assert math.isfinite(float(int(text)))


@pytest.mark.parametrize("digits", [MAX_INTEGER_DIGITS + 1, 4000, 4301, 100_000])
def test_longer_integers_are_refused(digits: int) -> None:
    assert reason_of(f'{{"a":{"1" * digits}}}') == f"integer of {digits} digits"
    assert reason_of(f"-{'1' * digits}") == f"integer of {digits} digits"


def test_the_interpreters_own_limit_on_integers_does_not_matter() -> None:
    before = sys.get_int_max_str_digits()
    try:
        for limit in (640, 0):
            sys.set_int_max_str_digits(limit)
            assert parse("7" * MAX_INTEGER_DIGITS, LIMIT) == int("7" * MAX_INTEGER_DIGITS)
            assert reason_of("7" * 5000) == "integer of 5000 digits"
    finally:
        sys.set_int_max_str_digits(before)


@pytest.mark.parametrize("text", ["9" * 5000, "1e999", "[" * 5000, "{" * 300 + '\\"' + "]" * 300, "0e0000", "NaN"])
def test_text_that_looks_like_numbers_or_nesting_is_only_text(text: str) -> None:
    value = {"a": text, text: [1, 0.5], "é": text + "\\"}
    assert parse(json.dumps(value), LIMIT) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode(), LIMIT) == value


def test_nesting_up_to_256_is_taken_and_beyond_refused() -> None:
    assert str(parse(nested(MAX_NESTING), LIMIT)) == nested(MAX_NESTING)
    assert reason_of(nested(MAX_NESTING + 1)) == "nested 257 deep"
    objects = '{"a":' * MAX_NESTING + "0" + "}" * MAX_NESTING
    assert parse(objects, LIMIT) == json.loads(objects)
    assert reason_of('{"a":' + objects + "}") == "nested 257 deep"
    assert reason_of('[{"a":' * 150 + "0" + "}]" * 150) == "nested 300 deep"


def test_many_brackets_that_do_not_nest_are_taken() -> None:
    value = [[], {}, {"[": ["{"]}] * 1000
    assert parse(json.dumps(value), LIMIT) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{" * 100_000,
        '{"a":' * 100_000,
        "[" + '"\\"[' * 300,
        "[" * 256 + '"' + "]" * 300 + "[",
        "[}" * 300,
        "[" * 300 + "]" * 299 + '"\\',
        nested(900),
        '"' + "[" * 300,
        "\\" * 1000 + "[" * 300,
    ],
)
def test_nested_and_broken_texts_are_refused_alike(text: str) -> None:
    assert reason_of(text)
    assert reason_of(text.encode())


def test_a_nearly_used_up_stack_refuses_instead_of_failing() -> None:
    text = nested(200)
    seen: set[str] = set()

    def descend(levels: int) -> None:
        if levels:
            descend(levels - 1)
            return
        try:
            seen.add(str(parse(text, LIMIT)))
        except NotUsable as error:
            seen.add(error.reason)

    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(4000)
        for left in (150, 1000):
            here = len_of_stack()
            descend(4000 - here - left)
    finally:
        sys.setrecursionlimit(before)
    # Interpreters that count the decoder's own levels refuse, the others decode; none raises anything else.
    assert text in seen
    assert seen <= {text, "nested too deep for the stack that is left"}


def len_of_stack() -> int:
    frame, count = sys._getframe(), 0
    while frame.f_back is not None:
        frame, count = frame.f_back, count + 1
    return count


def test_a_stack_that_runs_out_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(text: str) -> None:
        raise RecursionError(text)

    monkeypatch.setattr("lkstt_proto.wirejson.decode_json", None)
    monkeypatch.setattr("lkstt_proto.wirejson._decode_plain", run_out)
    assert reason_of("[]") == "nested too deep for the stack that is left"


def test_lone_surrogates_stay_in_their_text() -> None:
    assert parse('"a\\ud800b"', LIMIT) == "a\ud800b"
    assert parse('"\ud800"', LIMIT) == "\ud800"
    assert parse(b'{"\\udfff":1}', LIMIT) == {"\udfff": 1}
    assert parse('"\\ud83d\\ude00"', LIMIT) == "😀"


def test_a_reason_never_holds_content() -> None:
    for text in ('{"a":"hush', '"hush\x01"', '{"hush":1e999}', '["hush"] hush', '["hush",NaN]', '"hush"' * 2):
        assert "hush" not in reason_of(text)
        assert "hush" not in reason_of(text.encode())


@relaxed
@given(st.text(alphabet='[]{}":,\\ 019eE+-.auNtrfI\ud800é') | st.text(), st.integers(0, 60))
@example('"\\', 60)
@example("[" * 60, 60)
def test_any_text_gives_a_value_or_a_refusal(text: str, limit: int) -> None:
    for data in (text, text.encode("utf-8", "surrogatepass")):
        try:
            value = parse(data, limit)
        except NotUsable:
            continue
        assert value == json.loads(text)
        assert json.dumps(value, allow_nan=False)


@relaxed
@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_refusal(data: bytes) -> None:
    try:
        value = parse(data, LIMIT)
    except NotUsable:
        return
    assert value == json.loads(data.decode())


@relaxed
@given(st.lists(st.sampled_from(["[", "]", "{", "}", '"', "\\", "[" * 100, "]" * 100, ",", "1"]), max_size=60))
def test_nesting_is_judged_as_the_decoder_sees_it(parts: list[str]) -> None:
    text = "".join(parts)
    expected = expected_of(text)
    if expected is None:
        assert reason_of(text)
        return
    deep = len(text) > MAX_NESTING and depth_of(expected) > MAX_NESTING
    assert "nested" in reason_of(text) if deep else parse(text, LIMIT) == expected


def expected_of(text: str) -> Any:
    """None for what is no JSON; the parts above can make no null."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def depth_of(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        holders = [item for item in level if isinstance(item, (list, dict))]
        depth += bool(holders)
        level = [inner for item in holders for inner in (item if isinstance(item, list) else item.values())]
    return depth
