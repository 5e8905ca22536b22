"""Settings: what `session.create` says, what an update sends, and what waits for the end of a turn."""

from __future__ import annotations

from typing import Any

import pytest

from lkstt_proto.errors import LocalProtocolError
from lkstt_proto.options import STTOptions
from lkstt_proto.settings import UNCHANGED, Settings, merge_keyterms


def live(settings: Settings, *, speaking: bool = False, **changes: Any) -> dict[str, Any] | None:
    return settings.change(live=True, speaking=speaking, **changes)


def created(*args: Any, **kwargs: Any) -> Settings:
    settings = Settings(STTOptions(*args, **kwargs))
    settings.create()
    return settings


def look(settings: Settings) -> tuple[Any, ...]:
    return settings.model, settings.language, dict(settings.extra), settings.keyterms


# C01 to C11


def test_a_minimal_create_says_rate_encoding_keyterms_and_hint() -> None:
    assert Settings(STTOptions()).create() == {
        "model": "deepgram/nova-3",
        "settings": {"sample_rate": "16000", "encoding": "pcm_s16le", "extra": {"keyterm": []}},
        "connection": {"timeout": 10.0, "retries": 3},
    }


@pytest.mark.parametrize("model", ["auto", None])
def test_create_without_a_model_has_no_model_and_no_keyterm_key(model: str | None) -> None:
    body = Settings(STTOptions(model, extra_kwargs={"keyterm": "a"})).create()
    assert "model" not in body
    assert body["settings"]["extra"] == {"keyterm": "a"}


@pytest.mark.parametrize(
    ("model", "language", "expected"),
    [
        ("deepgram/nova-3:en_us", None, ("deepgram/nova-3", "en-US")),
        ("deepgram/nova-3:fr", "de", ("deepgram/nova-3", "de")),
        ("a:b:c", None, ("a:b", "c")),
        ("deepgram/nova-3:", None, ("deepgram/nova-3", None)),
    ],
)
def test_create_says_model_and_language(model: str, language: str | None, expected: tuple[str, str | None]) -> None:
    body = Settings(STTOptions(model, language=language)).create()
    assert (body["model"], body["settings"].get("language")) == expected


def test_create_lists_fallback_models_with_their_extras() -> None:
    body = Settings(
        STTOptions(fallback=["a/b:en", {"model": "c/d:fr", "extra_kwargs": {"format_turns": True}}])
    ).create()
    assert body["fallback"] == {
        "models": [{"model": "a/b", "extra": {}}, {"model": "c/d", "extra": {"format_turns": True}}]
    }


def test_create_says_the_rate_that_openai_requires() -> None:
    assert Settings(STTOptions("openai/gpt-live-transcribe")).create()["settings"]["sample_rate"] == "24000"


def test_create_merges_user_and_session_keyterms() -> None:
    settings = Settings(STTOptions(extra_kwargs={"keyterm": "a", "punctuate": True}))
    assert settings.change(keyterms=["b", "a"], live=False, speaking=False) is None
    assert settings.create()["settings"]["extra"] == {"keyterm": ["a", "b"], "punctuate": True}
    assert settings.extra == {"keyterm": ["a"], "punctuate": True}


def test_create_merges_vocabulary_in_order_and_leaves_user_entries_alone() -> None:
    own = [{"content": "x", "sounds_like": ["ex"]}, {"sounds_like": ["?"]}, "w", {"content": ["odd"]}]
    settings = Settings(STTOptions("speechmatics/enhanced", extra_kwargs={"additional_vocab": own}))
    settings.change(keyterms=["x", "z", "w", "y", "z"], live=False, speaking=False)
    assert settings.create()["settings"]["extra"]["additional_vocab"] == [*own, {"content": "z"}, {"content": "y"}]
    assert settings.extra["additional_vocab"] == own


def test_keyterms_are_ignored_by_models_without_a_key_but_kept() -> None:
    settings = created("cartesia/ink-whisper")
    assert live(settings, keyterms=["a"]) is None
    assert settings.create()["settings"]["extra"] == {}
    assert settings.take_deferred() is None
    assert live(settings, model="cartesia/ink-2") == {"model": "cartesia/ink-2", "extra": {"keyterm": ["a"]}}


def test_merging_keeps_the_first_place_of_each_term() -> None:
    assert merge_keyterms("keyterm", ["b", "a", "b"], ("c", "a", "c")) == ["b", "a", "c"]


# U01 to U09


def test_an_update_is_sparse() -> None:
    assert live(created(), language="en_us") == {"language": "en-US"}
    assert live(created(), model="deepgram/nova-2", language="de", extra={"punctuate": True}) == {
        "model": "deepgram/nova-2",
        "language": "de",
        "extra": {"punctuate": True},
    }


def test_an_update_that_changes_nothing_sends_nothing() -> None:
    settings = created("deepgram/nova-3:en", extra_kwargs={"punctuate": True, "keyterm": ["a"], "none": None})
    live(settings, keyterms=["b"])
    before = look(settings)
    assert live(settings) is None
    assert live(settings, extra={}) is None
    assert (
        live(
            settings,
            model="deepgram/nova-3:en",
            language="EN",
            extra={"punctuate": True, "keyterm": "a", "none": None},
            keyterms=["b"],
        )
        is None
    )
    assert look(settings) == before


def test_extra_is_a_delta_compared_as_json() -> None:
    settings = created(extra_kwargs={"punctuate": True, "endpointing": 25})
    assert live(settings, extra={"punctuate": 1, "endpointing": 25, "tag": None}) == {
        "extra": {"punctuate": 1, "tag": None}
    }
    assert settings.extra == {"punctuate": 1, "endpointing": 25, "tag": None}
    assert settings.create()["settings"]["extra"] == {"punctuate": 1, "endpointing": 25, "tag": None, "keyterm": []}


def test_a_touched_keyterm_key_is_sent_whole() -> None:
    settings = created(extra_kwargs={"keyterm": ["a"]})
    assert live(settings, keyterms=["s"]) == {"extra": {"keyterm": ["a", "s"]}}
    assert live(settings, extra={"keyterm": "K", "punctuate": False}) == {
        "extra": {"punctuate": False, "keyterm": ["K", "s"]}
    }
    assert settings.extra["keyterm"] == ["K"]


def test_keyterms_wait_for_the_end_of_the_turn_and_only_the_newest_goes() -> None:
    settings = created(extra_kwargs={"keyterm": ["u"]})
    assert live(settings, keyterms=["a"], speaking=True) is None
    assert live(settings, extra={"keyterm": ["v"], "punctuate": True}, speaking=True) == {"extra": {"punctuate": True}}
    assert live(settings, keyterms=["b"], language="de", speaking=True) == {"language": "de"}
    assert settings.take_deferred() == {"extra": {"keyterm": ["v", "b"]}}
    assert settings.take_deferred() is None


def test_keyterms_changed_back_within_the_turn_send_nothing() -> None:
    settings = created()
    live(settings, keyterms=["a"], speaking=True)
    live(settings, keyterms=[], speaking=True)
    assert settings.take_deferred() is None


def test_create_carries_and_clears_what_was_deferred() -> None:
    settings = created()
    live(settings, keyterms=["a"], speaking=True)
    assert settings.create()["settings"]["extra"] == {"keyterm": ["a"]}
    assert settings.take_deferred() is None


@pytest.mark.parametrize("cleared", [[], None, ()])
def test_cleared_keyterms_send_the_shortened_list(cleared: object) -> None:
    settings = created()
    live(settings, keyterms="a")
    assert live(settings, keyterms=cleared) == {"extra": {"keyterm": []}}
    live(settings, extra={"keyterm": ["u"]})
    assert live(settings, extra={"keyterm": cleared}) == {"extra": {"keyterm": []}}


def test_a_change_before_the_session_is_in_its_create() -> None:
    settings = Settings(STTOptions())
    assert (
        settings.change(
            model="assemblyai/u3-rt-pro:fr", extra={"prompt": "x"}, keyterms=["k"], live=False, speaking=False
        )
        is None
    )
    body = settings.create()
    assert body["model"] == "assemblyai/u3-rt-pro"
    assert body["settings"]["language"] == "fr"
    assert body["settings"]["extra"] == {"prompt": "x", "keyterms_prompt": ["k"]}


def test_before_the_session_everything_may_change_but_the_rate() -> None:
    settings = Settings(STTOptions())
    settings.change(model="speechmatics/enhanced", live=False, speaking=False)
    settings.change(model=None, live=False, speaking=False)
    before = look(settings)
    with pytest.raises(LocalProtocolError, match="24000 Hz"):
        settings.change(model="openai/gpt-live-transcribe", language="de", live=False, speaking=False)
    assert look(settings) == before


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("deepgram/nova-3", "assemblyai/u3-rt-pro:fr", "provider"),
        ("deepgram/nova-3", "auto", "provider"),
        (None, "deepgram/nova-3", "provider"),
        (None, "/x", "provider"),
        ("deepgram/nova-3", "openai/gpt-live-transcribe", "24000 Hz"),
        ("speechmatics/enhanced", "speechmatics/linden-1", "end of speech"),
    ],
)
def test_a_live_stream_refuses_a_foreign_model_and_changes_nothing(old: str | None, new: str, reason: str) -> None:
    settings = created(old)
    before = look(settings)
    with pytest.raises(LocalProtocolError, match=reason) as caught:
        live(settings, model=new, language="de", extra={"prompt": "x"}, keyterms=["k"])
    assert caught.value.phase == "configure"
    assert look(settings) == before
    assert settings.take_deferred() is None


def test_a_rate_that_was_forced_does_not_block_its_own_provider() -> None:
    settings = created("openai", sample_rate=16000)
    assert live(settings, model="openai/gpt-live-transcribe") == {"model": "openai/gpt-live-transcribe"}


def test_agent_context_keeps_its_last_1750_characters() -> None:
    text = "a" * 250 + "b" * 1750
    settings = created("assemblyai/u3-rt-pro", extra_kwargs={"agent_context": text})
    assert settings.create()["settings"]["extra"]["agent_context"] == "b" * 1750
    assert live(settings, extra={"agent_context": text + "c"}) == {"extra": {"agent_context": "b" * 1749 + "c"}}
    assert live(settings, extra={"agent_context": None}) == {"extra": {"agent_context": None}}


# Languages and models


def test_a_same_provider_model_is_sent_and_remembered_with_its_suffix() -> None:
    settings = created("deepgram/nova-3:en")
    assert live(settings, model="deepgram/nova-2:fr") == {"model": "deepgram/nova-2", "language": "fr"}
    assert live(settings, model="deepgram/nova-3:es", language="de") == {"model": "deepgram/nova-3", "language": "de"}
    body = settings.create()
    assert (body["model"], body["settings"]["language"]) == ("deepgram/nova-3", "de")


@pytest.mark.parametrize("changes", [{"language": None}, {"language": ""}, {"model": "deepgram/nova-3:"}])
def test_an_empty_language_is_unsaid(changes: dict[str, Any]) -> None:
    settings = created("deepgram/nova-3:en")
    assert live(settings, **changes) == {"language": ""}
    assert settings.language is None
    assert "language" not in settings.create()["settings"]


def test_raw_languages_are_sent_as_they_are() -> None:
    assert live(created("speechmatics/enhanced"), language="cmn_en") == {"language": "cmn_en"}


def test_gaining_a_keyterm_key_reads_the_users_value_as_keyterms() -> None:
    settings = created("deepgram", extra_kwargs={"keyterm": "a"})
    assert live(settings, model="deepgram/nova-3") == {"model": "deepgram/nova-3", "extra": {"keyterm": ["a"]}}
    settings = created("deepgram", extra_kwargs={"keyterm": 3})
    with pytest.raises(LocalProtocolError, match="keyterm"):
        live(settings, model="deepgram/nova-3")
    assert settings.model == "deepgram"


@pytest.mark.parametrize(
    "changes",
    [
        {"model": 3},
        {"language": 3},
        {"extra": ["x"]},
        {"extra": {"keyterm": 3}},
        {"extra": {"x": {1, 2}}},
        {"keyterms": 3},
        {"keyterms": [3]},
        {"keyterms": ["\ud800"]},
    ],
)
def test_bad_values_are_local_errors_and_change_nothing(changes: dict[str, Any]) -> None:
    settings = created("deepgram/nova-3:en")
    before = look(settings)
    with pytest.raises(LocalProtocolError, match=next(iter(changes))):
        live(settings, **({"model": "deepgram/nova-2:fr", "extra": {"y": 1}, "keyterms": ["k"]} | changes))
    assert look(settings) == before
    assert settings.take_deferred() is None


def test_unchanged_is_one_value_and_content_is_not_shown() -> None:
    settings = created(extra_kwargs={"keyterm": ["Ms Private"]})
    live(settings, keyterms=["Ms Hidden"])
    assert live(settings, model=UNCHANGED, language=UNCHANGED, extra=UNCHANGED, keyterms=UNCHANGED) is None
    assert "Ms" not in repr(settings)


def test_what_the_caller_gave_is_copied() -> None:
    given = {"tag": ["a"]}
    settings = created()
    live(settings, extra=given)
    given["tag"].append("b")
    assert settings.extra["tag"] == ["a"]
