"""The catalogue knows the models by name and by provider, and refuses none."""

from __future__ import annotations

import pytest

from lkstt_proto.catalogue import ModelInfo, lookup, models

CONTEXT = {"assemblyai/u3-rt-pro", "assemblyai/universal-3-5-pro", "assemblyai/universal-3-6-pro"}
NO_WORDS = {
    "cartesia/ink-2",
    "speechmatics/linden-1",
    "inworld/inworld-stt-1",
    "google/gemini-3.5-transcribe-live",
    "openai/gpt-live-transcribe",
}


def test_the_list_names_every_known_model_once() -> None:
    names = [entry.model for entry in models()]
    assert names == sorted(set(names))
    assert len(names) == 23
    assert all(entry.info == lookup(entry.model) for entry in models())


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ("deepgram/nova-3", "keyterm"),
        ("deepgram/unheard-of", "keyterm"),
        ("deepgram/", "keyterm"),
        ("deepgram", None),
        ("assemblyai/universal-streaming", "keyterms_prompt"),
        ("speechmatics/enhanced", "additional_vocab"),
        ("speechmatics/linden-1", "additional_vocab"),
        ("speechmatics", None),
        ("openai/gpt-live-transcribe", "keywords"),
        ("openai", "keywords"),
        ("openaix/y", None),
        ("cartesia/ink-2", "keyterm"),
        ("cartesia/ink-whisper", None),
        ("cartesia/ink-3", None),
        ("xai/stt-1", None),
        (None, None),
    ],
)
def test_keyterm_keys_follow_provider_and_model(model: str | None, key: str | None) -> None:
    assert lookup(model).keyterm_key == key


@pytest.mark.parametrize(
    ("model", "needed"),
    [
        ("speechmatics/enhanced", True),
        ("speechmatics/standard", True),
        ("speechmatics/new-one", True),
        ("speechmatics/linden-1", False),
        ("speechmatics", False),
        ("openai", True),
        ("openai/gpt-live-transcribe", True),
        ("deepgram/nova-3", False),
        (None, False),
    ],
)
def test_endpointing_is_needed_where_the_model_finds_no_turns(model: str | None, needed: bool) -> None:
    assert lookup(model).endpointing is needed


def test_openai_takes_one_rate() -> None:
    assert lookup("openai").sample_rate == 24000
    assert lookup("openai/anything").sample_rate == 24000
    assert {entry.model for entry in models() if entry.info.sample_rate} == {"openai/gpt-live-transcribe"}


def test_word_timings_context_and_times_are_per_model() -> None:
    assert {entry.model for entry in models() if not entry.info.word_timings} == NO_WORDS
    assert {entry.model for entry in models() if entry.info.context} == CONTEXT
    assert {entry.model for entry in models() if not entry.info.times} == {"cartesia/ink-2"}


def test_unknown_models_get_the_defaults_and_their_provider() -> None:
    assert lookup("somebody/some/model") == ModelInfo(provider="somebody")
    assert lookup("nobody") == ModelInfo(provider="nobody")
    assert lookup(None) == ModelInfo(provider="")


def test_lookup_is_cached() -> None:
    assert lookup("deepgram/nova-3") is lookup("deepgram/nova-3")


def test_raw_languages_pass_where_the_model_knows_them() -> None:
    assert lookup("speechmatics/enhanced").language(" CMN_EN ") == "cmn_en"
    assert lookup("speechmatics/enhanced").language("en_us") == "en-US"
    assert lookup("openai").language("cmn") == "cmn"
    assert lookup("deepgram/nova-3").language("cmn") == "zh"
    assert lookup("deepgram/nova-3").language("cmn_en") == "cmn-EN"
