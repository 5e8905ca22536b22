"""The optional extra: found at import, equal in result."""

from __future__ import annotations

import importlib
import sys
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lkstt_proto import speed, wirejson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
# Text that is nearly JSON, and numbers written as decoders disagree on them.
PIECES = st.sampled_from(
    [
        *'{}[],:"\\ \t\n',
        *(
            "null",
            "true",
            "false",
            "nul",
            "NaN",
            "-Infinity",
            '"a"',
            '"\\ud800"',
            '"\\ud83d\\ude00"',
            '"\x01"',
            '"\\x"',
        ),
        *("0", "-0", "-0.0", "01", "1.", ".5", "+1", "1E5", "1e999", "1e-999", "9" * 25, "9" * 301, "0.1e1", "--1"),
    ]
)


def both(text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """What the fast and the plain decoder make of a text; a refusal counts as its type."""
    results = []
    for decoder in (speed.decode_json, None):
        with monkeypatch.context() as patch:
            patch.setattr(wirejson, "decode_json", decoder)
            try:
                results.append(repr(wirejson.parse(text, 1 << 20)))
            except wirejson.NotUsable:
                results.append("refused")
    return results[0], results[1]


@pytest.fixture(scope="module")
def patching():
    pytest.importorskip("msgspec")
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@given(value=VALUES)
def test_both_decoders_read_every_value_alike(patching, value):
    import json

    fast, plain = both(json.dumps(value), patching)
    assert fast == plain


@given(pieces=st.lists(PIECES, max_size=12))
def test_both_decoders_take_and_refuse_the_same_texts(patching, pieces):
    fast, plain = both("".join(pieces), patching)
    assert fast == plain


@given(pcm=st.binary(max_size=4000))
def test_base64_is_standard_and_unbroken(pcm):
    assert speed.encode_base64(pcm) == b64encode(pcm)


def test_without_the_extra_the_plain_path_is_taken(monkeypatch):
    for name in ("pybase64", "msgspec", "msgspec.json"):
        monkeypatch.setitem(sys.modules, name, None)
    try:
        importlib.reload(speed)
        assert speed.decode_json is None
        assert speed.encode_base64(b"\xff\xfe\x00") == b"//4A"
    finally:
        monkeypatch.undo()
        importlib.reload(speed)
