"""What a stream told its gateway, and what it heard, comes back in none of its errors."""

from __future__ import annotations

from typing import Any

import pytest

from lkstt_proto.confidences import Confidences
from lkstt_proto.errors import ConnectError
from lkstt_proto.events import SpeechData, SpeechEvent, SpeechEventType, TimedWord
from lkstt_proto.secrecy import Secret

OPTIONS = (
    {"keyterm": ["Zaphod", {"content": "Trillian"}], "prompt": "about a guide", "punctuate": True, "mode": "fast"},
    ("Arthur",),
    [{"deep": {"context": "a long context"}}],
)


def heard(text: str, **fields: Any) -> SpeechEvent:
    return SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=(SpeechData("en", text, **fields),))


@pytest.fixture
def confidences() -> Confidences:
    return Confidences((Secret("theapikey"), Secret("thesecret"), None, Secret(""), "headervalue"), lambda: OPTIONS)


@pytest.mark.parametrize("value", ["theapikey", "thesecret", "headervalue"])
def test_credentials_are_masked(confidences: Confidences, value: str) -> None:
    assert confidences.safe(f"refused {value}.") == "refused ***."


@pytest.mark.parametrize("value", ["Zaphod", "Trillian", "Arthur", "about a guide", "guide", "a long context"])
def test_options_are_masked_for_they_are_content(confidences: Confidences, value: str) -> None:
    assert confidences.safe(f"refused '{value}'") == "refused '***'"


def test_short_words_of_settings_are_left(confidences: Confidences) -> None:
    assert confidences.safe("mode fast is unknown") == "mode fast is unknown"


def test_transcripts_are_masked_with_who_spoke_and_what_came_along(confidences: Confidences) -> None:
    word = TimedWord("beware", 0.0, 1.0, 1.0, "Marvin")
    confidences.hear_final(
        heard("beware of leopards", words=(word,), speaker_id="Slartibartfast", metadata={"topic": "planning office"})
    )
    said = "beware Marvin Slartibartfast planning leopards"
    assert confidences.safe(said) == "*** *** *** *** ***"


def test_the_newest_transcript_and_some_finals_are_remembered(confidences: Confidences) -> None:
    for number in range(20):
        confidences.hear_final(heard(f"final{number}x"))
    confidences.newest = heard("interim")
    assert confidences.safe("final3x final4x final19x interim") == "final3x *** *** ***"
    confidences.newest = heard("another")
    assert confidences.safe("interim another") == "interim ***"


def raised(error: BaseException) -> BaseException:
    try:
        try:
            raise ValueError("theapikey")
        except ValueError as cause:
            raise error from cause
    except BaseException as caught:
        return caught


def test_an_error_of_the_system_loses_its_frames_and_stays_itself(confidences: Confidences) -> None:
    error = raised(ConnectionResetError(104, "reset by peer"))
    assert confidences.bare(error) is error
    assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)


class Strange(Exception):
    def __init__(self) -> None:
        super().__init__("has theapikey")
        self.request = {"Authorization": "theapikey"}


class StrangeOSError(OSError):
    pass


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Strange(), "ConnectionError('Strange: has ***')"),
        (Unprintable(), "ConnectionError('Unprintable: it cannot be printed')"),
        (StrangeOSError(111, "refused theapikey"), "ConnectionRefusedError(111, 'refused ***')"),
        (StrangeOSError("theapikey"), "ConnectionError('StrangeOSError: ***')"),
        (OSError(5, "broken", "theapikey"), "OSError(5, 'broken')"),
        (KeyError("theapikey"), "ConnectionError(\"KeyError: '***'\")"),
        (ValueError("x" * 5000), None),
        (UnicodeDecodeError("utf-8", b"theapikey", 0, 1, "invalid"), None),
        (ExceptionGroup("theapikey", [ValueError("theapikey")]), None),
    ],
)
def test_whatever_may_show_more_has_a_stand_in(
    confidences: Confidences, error: Exception, expected: str | None
) -> None:
    stand_in = confidences.bare(raised(error))
    assert stand_in is not error
    assert isinstance(stand_in, OSError)
    assert "theapikey" not in repr(stand_in)
    assert stand_in.__traceback__ is None
    if expected is not None:
        assert repr(stand_in) == expected


def test_an_error_of_ours_is_cleaned_and_stays_itself(confidences: Confidences) -> None:
    error = ConnectError("refused theapikey, " + "word " * 100 + "end", phase="connect", http_status=1)
    assert confidences.clean(raised(error)) is error
    assert str(error) == "refused ***, " + "word " * 100 + "end"
    assert (error.phase, error.http_status) == ("connect", 1)
    assert repr(error.__cause__) == "ConnectionError('ValueError: ***')"
    assert (error.__traceback__, error.__context__) == (None, None)
    plain = ConnectError("nothing to hide")
    assert confidences.clean(plain) is plain
    assert (str(plain), plain.__cause__) == ("nothing to hide", None)
