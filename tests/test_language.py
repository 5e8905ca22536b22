"""Languages are spelt as the gateway is sent them."""

from __future__ import annotations

import pytest

from lkstt_proto.language import normalise_language


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("en_us", "en-US"),
        ("zh-hans-cn", "zh-Hans-CN"),
        ("cmn-hans-cn", "cmn-Hans-CN"),
        ("es-419", "es-419"),
        ("MULTI", "multi"),
        (" en ", "en"),
        ("english-us", "english-US"),
        ("", ""),
        ("English", "en"),
        ("eng", "en"),
        ("cmn", "zh"),
        ("tagalog", "tl"),
        ("filipino", "filipino"),
        ("mandarin", "mandarin"),
        ("cmn_en", "cmn-EN"),
        ("cmn_en_ms_ta", "cmn-EN-MS-TA"),
        ("en-", "en-"),
    ],
)
def test_codes_and_names_become_bcp_47(code: str, expected: str) -> None:
    assert normalise_language(code) == expected


@pytest.mark.parametrize("code", ["yue", "fil", "ast", "ceb", "kea", "luo", "nso", "umb"])
def test_three_letter_codes_without_a_short_form_stay(code: str) -> None:
    assert normalise_language(code.upper()) == code


@pytest.mark.parametrize("code", ["a-\u0390", "\u0130x", "\u00df_de", "fran\u00e7ais"])
def test_what_is_not_ascii_has_no_cases(code: str) -> None:
    assert normalise_language(f" {code} ") == code


def test_normalising_twice_changes_nothing() -> None:
    for code in ["en_us", "zh-hans-cn", "CMN", "welsh", "sr-latn-rs", "x-y-z"]:
        once = normalise_language(code)
        assert normalise_language(once) == once
