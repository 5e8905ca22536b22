"""Options are checked and normalised when they are made, and show nobody's secrets."""

from __future__ import annotations

import copy
import json
import math
import pickle
from enum import IntEnum, StrEnum

import attrs
import pytest

from lkstt_proto.errors import InsecureTransport, LocalProtocolError
from lkstt_proto.options import (
    DEFAULT_BASE_URL,
    FallbackModel,
    Limits,
    RetryPolicy,
    STTOptions,
    plain_json,
    plain_text,
    split_model,
)
from lkstt_proto.secrecy import Secret

FLOAT_FIELDS = [
    *((RetryPolicy, field.name) for field in attrs.fields(RetryPolicy)),
    *((Limits, field.name) for field in attrs.fields(Limits) if isinstance(field.default, float)),
]
COUNT_FIELDS = [(Limits, field.name) for field in attrs.fields(Limits) if isinstance(field.default, int)]


def test_defaults_are_those_of_the_contract() -> None:
    assert attrs.asdict(RetryPolicy()) == {
        "connect_timeout": 10.0,
        "first_delay": 0.1,
        "max_delay": 2.0,
        "outage": 60.0,
        "retry_after": 60.0,
    }
    assert attrs.asdict(Limits()) == {
        "audio_buffer": 60.0,
        "lookback": 5.0,
        "replay_pace": 4.0,
        "ahead": 10.0,
        "ping_interval": 3.0,
        "ping_timeout": 3.0,
        "drain": 30.0,
        "quiet": 3.0,
        "close": 2.0,
        "unread_events": 1024,
        "message": 1048576,
        "words": 4096,
        "text": 65536,
        "name": 256,
    }
    assert STTOptions().public() == {
        "model": "deepgram/nova-3",
        "language": None,
        "encoding": "pcm_s16le",
        "sample_rate": 16000,
        "base_url": "https://agent-gateway.livekit.cloud/v1",
        "extra_kwargs": {},
        "fallback": [],
        "allow_insecure": False,
    }


@pytest.mark.parametrize(("kind", "name"), FLOAT_FIELDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e9, 10**400, -1, True, "1", None])
def test_seconds_must_be_finite_numbers(kind: type, name: str, value: object) -> None:
    with pytest.raises(LocalProtocolError, match=rf"{kind.__name__}\.{name} must be a finite number") as caught:
        kind(**{name: value})
    assert caught.value.phase == "configure"


@pytest.mark.parametrize(("kind", "name"), FLOAT_FIELDS)
def test_zero_is_refused_where_it_makes_no_sense(kind: type, name: str) -> None:
    if name in {"outage", "retry_after", "lookback", "drain", "quiet", "close"}:
        assert getattr(kind(**{name: 0}), name) == 0
    else:
        with pytest.raises(LocalProtocolError, match=name):
            kind(**{name: 0})


@pytest.mark.parametrize(("kind", "name"), COUNT_FIELDS)
@pytest.mark.parametrize("value", [-1, 1.5, True, "1", None])
def test_counts_must_be_whole_numbers(kind: type, name: str, value: object) -> None:
    with pytest.raises(LocalProtocolError, match=rf"Limits\.{name} must be a whole number of at least"):
        kind(**{name: value})


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("deepgram/nova-3", ("deepgram/nova-3", None)),
        ("deepgram/nova-3:en_us", ("deepgram/nova-3", "en_us")),
        ("a:b:c", ("a:b", "c")),
        ("deepgram/nova-3:", ("deepgram/nova-3", "")),
        ("auto", ("auto", None)),
    ],
)
def test_a_model_string_splits_at_the_last_colon(model: str, expected: tuple[str, str | None]) -> None:
    assert split_model(model) == expected


@pytest.mark.parametrize("model", [None, "auto", "", "auto:en", ":en"])
def test_no_model_is_none_never_a_sentinel(model: str | None) -> None:
    options = STTOptions(model)
    assert options.model is None
    assert options.language == ("en" if model and ":" in model else None)
    assert options.info.provider == ""


@pytest.mark.parametrize(
    ("model", "language", "expected"),
    [
        ("deepgram/nova-3:en_us", None, "en-US"),
        ("deepgram/nova-3:fr", "de", "de"),
        ("deepgram/nova-3:fr", "", None),
        ("deepgram/nova-3:", None, None),
        ("deepgram/nova-3", "  ", None),
        ("deepgram/nova-3", "cmn", "zh"),
        ("openai", "cmn", "cmn"),
        ("speechmatics/enhanced:cmn_en_ms_ta", None, "cmn_en_ms_ta"),
    ],
)
def test_the_language_is_the_explicit_one_and_normalised(
    model: str, language: str | None, expected: str | None
) -> None:
    assert STTOptions(model, language=language).language == expected


def test_the_rate_follows_the_model_unless_given() -> None:
    assert STTOptions("openai/gpt-live-transcribe").sample_rate == 24000
    assert STTOptions("openai/gpt-live-transcribe", sample_rate=16000).sample_rate == 16000
    assert STTOptions(sample_rate=8000).sample_rate == 8000


@pytest.mark.parametrize("rate", [0, -16000, 16000.0, True, "16000", 10**9 + 1])
def test_senseless_rates_are_refused(rate: object) -> None:
    with pytest.raises(LocalProtocolError, match="sample_rate"):
        STTOptions(sample_rate=rate)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("model", 3),
        ("model", "a\ud800"),
        ("language", 3),
        ("encoding", ""),
        ("encoding", None),
        ("base_url", None),
        ("api_key", 3),
        ("api_secret", b"x"),
        ("extra_kwargs", ["keyterm"]),
        ("extra_kwargs", {3: "x"}),
        ("extra_kwargs", {"x\ud800": 1}),
        ("extra_kwargs", {"x": b"bytes"}),
        ("extra_kwargs", {"x": {"set"}}),
        ("extra_kwargs", {"x": math.nan}),
        ("extra_kwargs", {"x": 2**64}),
        ("extra_kwargs", {"x": -(2**63) - 1}),
        ("extra_kwargs", {"x": "\udfff"}),
        ("extra_kwargs", {"keyterm": 3}),
        ("extra_kwargs", {"keyterm": {"content": "x"}}),
        ("extra_kwargs", {"keyterm": ["x", 3]}),
        ("fallback", 3),
        ("fallback", [None]),
        ("fallback", ""),
        ("fallback", ":en"),
        ("fallback", {"extra": {}}),
        ("fallback", {"model": "a/b", "language": "en"}),
        ("fallback", {"model": "a/b", "extra": ["x"]}),
        ("headers", 3),
        ("headers", "text"),
        ("headers", ["text"]),
        ("headers", [("a",)]),
        ("headers", [("a", 1)]),
        ("headers", {"a b": "c"}),
        ("headers", {"": "c"}),
        ("headers", {"a": "b\r\nc: d"}),
        ("headers", {"a": "b\n"}),
        ("headers", {"a\n": "b"}),
        ("headers", {"a": "b\x00"}),
        ("headers", {"a": "é"}),
        ("allow_insecure", 1),
    ],
)
def test_bad_values_are_local_errors_that_name_the_argument(argument: str, value: object) -> None:
    with pytest.raises(LocalProtocolError, match=argument) as caught:
        STTOptions(**{argument: value})
    assert caught.value.phase == "configure"


def test_extra_is_copied_deeply_to_plain_values() -> None:
    class Mode(StrEnum):
        FAST = "fast"

    class Rate(IntEnum):
        LOW = 1

    given = {"mode": Mode.FAST, "n": Rate.LOW, "pair": ("a", 1.5), "nested": {"list": [True, None]}}
    options = STTOptions(extra_kwargs=given)
    assert options.extra_kwargs == {"mode": "fast", "n": 1, "pair": ["a", 1.5], "nested": {"list": [True, None]}}
    assert type(options.extra_kwargs["mode"]) is str
    assert type(options.extra_kwargs["n"]) is int
    given["nested"]["list"].append("later")
    assert options.extra_kwargs["nested"]["list"] == [True, None]


def test_extra_may_nest_thirty_levels_and_no_more() -> None:
    deep: object = 1
    for _ in range(29):
        deep = [deep]
    assert plain_json("x", {"x": deep}) == {"x": deep}
    with pytest.raises(LocalProtocolError, match="nested deeper"):
        plain_json("x", {"x": [deep]})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(LocalProtocolError, match="nested deeper"):
        plain_json("x", loop)


def test_integers_of_64_bits_pass() -> None:
    assert plain_json("x", [2**64 - 1, -(2**63)]) == [2**64 - 1, -(2**63)]


def test_plain_text_gives_the_text() -> None:
    assert plain_text("x", "schön") == "schön"


@pytest.mark.parametrize(
    ("model", "extra", "expected"),
    [
        ("deepgram/nova-3", {"keyterm": "a"}, {"keyterm": ["a"]}),
        ("deepgram/nova-3", {"keyterm": ("a", "b")}, {"keyterm": ["a", "b"]}),
        ("deepgram/nova-3", {"keyterm": None}, {"keyterm": []}),
        ("deepgram/nova-3", {"keywords": "a"}, {"keywords": "a"}),
        ("cartesia/ink-whisper", {"keyterm": "a"}, {"keyterm": "a"}),
        ("cartesia/ink-2", {"keyterm": "a"}, {"keyterm": ["a"]}),
        (
            "speechmatics/enhanced",
            {"additional_vocab": [{"content": "x"}, {"sounds_like": ["y"]}, "z"]},
            {"additional_vocab": [{"content": "x"}, {"sounds_like": ["y"]}, "z"]},
        ),
        ("speechmatics/enhanced", {"additional_vocab": "x"}, {"additional_vocab": ["x"]}),
        (None, {"keyterm": "a"}, {"keyterm": "a"}),
    ],
)
def test_keyterms_become_a_list_under_the_models_key(model: str | None, extra: dict, expected: dict) -> None:
    assert STTOptions(model, extra_kwargs=extra).extra_kwargs == expected


@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        (None, ()),
        ([], ()),
        ("a/b:en", (FallbackModel("a/b"),)),
        ({"model": "a/b:en", "extra_kwargs": {"x": 1}}, (FallbackModel("a/b", {"x": 1}),)),
        ({"model": "a/b", "extra": {"x": 1}}, (FallbackModel("a/b", {"x": 1}),)),
        ({"model": "a/b", "extra": None}, (FallbackModel("a/b"),)),
        (FallbackModel("a/b:en"), (FallbackModel("a/b"),)),
        (
            ["a/b", {"model": "c/d"}, FallbackModel("e/f")],
            (FallbackModel("a/b"), FallbackModel("c/d"), FallbackModel("e/f")),
        ),
    ],
)
def test_fallback_takes_texts_objects_and_lists(fallback: object, expected: tuple[FallbackModel, ...]) -> None:
    assert STTOptions(fallback=fallback).fallback == expected


def test_headers_are_copied_as_pairs() -> None:
    given = {"X-A": "b\tc"}
    options = STTOptions(headers=given)
    given["X-B"] = "c"
    assert options.headers == (("X-A", "b\tc"),)
    assert STTOptions(headers=[["X-A", "1"], ("X-A", "2")]).headers == (("X-A", "1"), ("X-A", "2"))


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://h/v1//", "https://h/v1"),
        ("HTTPS://h/v1", "https://h/v1"),
        ("wss://h", "wss://h"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1"),
        ("ws://LOCALHOST", "ws://LOCALHOST"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.255.0.1:1", "http://127.255.0.1:1"),
        ("ws://[::1]:8080", "ws://[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[0:0:0:0:0:0:0:1]"),
        ("https://[2001:DB8::1]:65535/a@b:c", "https://[2001:DB8::1]:65535/a@b:c"),
        ("https://a_b.xn--bcher-kva.example.:443/v1", "https://a_b.xn--bcher-kva.example.:443/v1"),
        (DEFAULT_BASE_URL, DEFAULT_BASE_URL),
    ],
)
def test_base_urls_are_tidied(base_url: str, expected: str) -> None:
    assert STTOptions(base_url=base_url).base_url == expected


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "gateway.example",
        "ftp://h",
        "file:///etc/passwd",
        "https://",
        "https:///v1",
        "https://user@h/",
        "https://user:hunter2@h/",
        "https://@h/",
        "https://h:port",
        "https://h:99999",
        "https://[::1",
        "https://h/v1?key=hunter2",
        "https://h/v1#x",
        "https://h/v 1",
        "https://h\n.example",
        "https://good\\@evil",
        "https://hé",
        "https://h\u3002example",
        "https:/h",
        "https:h",
        "https:///h/v1",
        "//h/v1",
        "https://h:",
        "https://h:0",
        "https://h:+443",
        "https://h:4_4",
        "https://h: 443",
        "https://h:443:443",
        "https://h:\u0664\u0664\u0663",
        "https://h:443@evil.example",
        "https://good%40evil.example",
        "https://good%2eevil.example",
        "https://h%00.example",
        "http://127.0.0.1%2eevil.example",
        "http://127.0.0.1%09.evil.example",
        "http://127.0.0.1\t.evil.example",
        "http://127.0.0.1\r\n.evil.example",
        "http://127.0.0.1\x00.evil.example",
        "http://127.0.0.1,evil.example",
        "http://127.0.0.1;evil.example",
        "http://127.0.0.1&evil.example",
        "http://127.0.0.1#@evil.example",
        "http://127.0.0.1?@evil.example",
        "http://127.0.0.1\\.evil.example",
        "http://127.0.0.1:80@evil.example",
        "http://localhost..",
        "https://a..b",
        "https://.a",
        "https://" + "a" * 64,
        "https://" + "a." * 130,
        "http://[::1]evil.example",
        "http://[::1]:80.evil.example",
        "http://evil.example[::1]",
        "http://[::1%25lo]",
        "http://[::1%lo]",
        "https://[1.2.3.4]",
        "https://[v1.a]",
        "https://[:::]",
        "http://::1",
    ],
)
def test_other_base_urls_are_refused_without_being_shown(base_url: str) -> None:
    with pytest.raises(LocalProtocolError, match="base_url") as caught:
        STTOptions(base_url=base_url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "base_url",
    [
        "http://h",
        "ws://10.0.0.1",
        "http://[::2]",
        "http://127.1",
        "http://localhost.evil.example",
        "http://[::ffff:1.2.3.4]",
        "http://[::ffff:127.0.0.1]",
        "http://[::127.0.0.1]",
        "http://[::]",
        "http://0.0.0.0",
        "http://0",
        "http://0x7f.1",
        "http://0x7f000001",
        "http://0177.0.0.1",
        "http://127.0.0.01",
        "http://2130706433",
        "http://127.0.0.1.",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1-evil.example",
        "http://localhost.",
        "http://localhost.localdomain",
        "http://notlocalhost",
        "http://127.0.0.1_",
        "http://128.0.0.1",
        "http://xn--lclhst-xxa.example",
        "http://EVIL.EXAMPLE",
        "ws://evil.example:80/127.0.0.1",
    ],
)
def test_plaintext_leaves_this_computer_only_when_asked_to(base_url: str) -> None:
    with pytest.raises(InsecureTransport, match="allow_insecure=True") as caught:
        STTOptions(base_url=base_url)
    assert caught.value.phase == "configure"
    assert STTOptions(base_url=base_url, allow_insecure=True).base_url == base_url


def test_credentials_are_secrets_and_nothing_private_is_shown() -> None:
    options = STTOptions(
        api_key="APIkey",
        api_secret=Secret("hunter2"),
        extra_kwargs={"keyterm": ["Ms Private"], "prompt": "Ms Private"},
        fallback={"model": "a/b", "extra": {"prompt": "Ms Private"}},
        headers={"X-Worker": "hunter2"},
    )
    assert options.api_key is not None
    assert options.api_key.reveal() == "APIkey"
    assert options.api_secret == Secret("hunter2")
    for shown in (repr(options), json.dumps(options.public() | {"extra_kwargs": None, "fallback": None})):
        assert "hunter2" not in shown
        assert "APIkey" not in shown
        assert "Private" not in shown
    assert "extra_kwargs=<keyterm, prompt>" in repr(options)
    assert "headers=<X-Worker>" in repr(options)
    with pytest.raises(TypeError):
        pickle.dumps(options)


@pytest.mark.parametrize("empty", [None, "", Secret("")])
def test_an_empty_credential_is_none(empty: str | Secret | None) -> None:
    assert STTOptions(api_key=empty, api_secret=empty).api_key is None


def test_options_compare_hash_and_copy_by_value() -> None:
    one = STTOptions("deepgram/nova-3:en", extra_kwargs={"keyterm": "a"}, fallback="x/y")
    two = STTOptions("deepgram/nova-3", language="EN", extra_kwargs={"keyterm": ["a"]}, fallback=["x/y"])
    assert one == two
    assert hash(one) == hash(two)
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 (our own bytes)
    assert attrs.evolve(one, language="de") == one.replace(language="de")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.model = "x/y"


def test_public_reads_back_through_json() -> None:
    options = STTOptions(
        "speechmatics/enhanced:cmn_en",
        sample_rate=8000,
        base_url="http://h",
        extra_kwargs={"additional_vocab": [{"content": "x"}]},
        fallback=["a/b", {"model": "c/d", "extra": {"n": [1]}}],
        allow_insecure=True,
    )
    assert STTOptions(**json.loads(json.dumps(options.public()))) == options
    options.public()["extra_kwargs"]["additional_vocab"].clear()
    assert options.extra_kwargs == {"additional_vocab": [{"content": "x"}]}


def test_replace_gives_a_changed_copy() -> None:
    options = STTOptions("deepgram/nova-3:en", api_key="k", api_secret="s", headers={"a": "b"})
    again = options.replace(model="openai/gpt-live-transcribe", extra_kwargs={"prompt": "x"})
    assert options.model == "deepgram/nova-3"
    assert (again.model, again.language, again.sample_rate) == ("openai/gpt-live-transcribe", "en", 24000)
    assert (again.api_key, again.headers, again.extra_kwargs) == (Secret("k"), (("a", "b"),), {"prompt": "x"})


def test_replace_lets_a_new_suffix_win_over_the_old_language() -> None:
    options = STTOptions("deepgram/nova-3:en")
    assert options.replace(model="deepgram/nova-2:fr").language == "fr"
    assert options.replace(model="deepgram/nova-2:fr", language="de").language == "de"
    assert options.replace(model="deepgram/nova-2:").language is None
    assert options.replace(model="auto").model is None


def test_replace_keeps_a_rate_that_was_given() -> None:
    assert STTOptions(sample_rate=16000).replace(model="openai").sample_rate == 16000
    assert STTOptions().replace(sample_rate=8000).replace(model="openai").sample_rate == 8000
    assert STTOptions().replace(language="en").replace(model="openai").sample_rate == 24000


def test_replace_refuses_what_the_constructor_refuses() -> None:
    with pytest.raises(LocalProtocolError, match="sample_rate"):
        STTOptions().replace(sample_rate=0)
    with pytest.raises(InsecureTransport):
        STTOptions(base_url="http://h", allow_insecure=True).replace(allow_insecure=False)
