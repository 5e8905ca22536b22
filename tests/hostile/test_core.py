"""Every frame, in memory: judged, and the stream goes on as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lkstt_proto import Limits, StreamFailed, speed, transcripts, wirejson
from lkstt_proto.wirejson import NotUsable
from tests.decoding import decode_server
from tests.hostile.corpus import Frame, frames
from tests.hostile.judge import MENDED, judge
from tests.hostile.judge import transcripts as said
from tests.hostile.stream import Talk, talk
from tests.soundness import check

FRAMES = frames()


def without_the_extra(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(wirejson, "decode_json", None)
    patch.setattr(transcripts, "decode_transcript", None)


@pytest.fixture(params=["plain", "speed"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Decode with and without the extra."""
    if request.param == "plain":
        without_the_extra(monkeypatch)
    elif speed.decode_json is None:
        pytest.skip("needs the extra speed")
    return request.param


def judged(frame: Frame, undisturbed: Talk, *, speaking: bool, as_bytes: bool) -> Talk:
    heard = talk(frame, speaking=speaking, as_bytes=as_bytes)
    judge(frame, heard.frame)
    if frame.expect in ("skip", "ignore"):
        check(heard.rest == undisturbed.rest, "all goes on as if nothing had come")
    elif not any(isinstance(event, StreamFailed) for event in heard.frame):
        check([item[:2] for item in heard.said] == [item[:2] for item in undisturbed.said], "what follows is heard")
    return heard


@pytest.mark.parametrize("speaking", [False, True], ids=["silence", "speech"])
def test_frames_in_the_middle_of_a_stream(decoder: str, *, speaking: bool) -> None:
    undisturbed = talk(None, speaking=speaking)
    assert [data.text for data in said(undisturbed.rest)] == ["and", "and so on"]
    problems = []
    for frame in FRAMES:
        try:
            judged(frame, undisturbed, speaking=speaking, as_bytes=speaking)
        except Exception as problem:  # of any kind: all of them are told
            problems.append(f"{frame.name} ({frame.expect}): {problem!r}"[:300])
    assert problems == []


def test_both_decoders_say_the_same_of_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("msgspec")

    def outcomes() -> dict[str, str]:
        found = {}
        for frame in FRAMES:
            try:
                message = decode_server(frame.payload.decode("utf-8", "replace"), Limits())
            except NotUsable as problem:
                found[frame.name] = problem.reason
            else:
                whole = tuple(message) if isinstance(message, tuple) else message
                found[frame.name] = f"{whole!r}{message.problems}"
        return found

    fast = outcomes()
    without_the_extra(monkeypatch)
    assert outcomes() == fast


def test_frames_have_names_of_their_own_and_say_what_is_to_come_of_them() -> None:
    assert len({frame.name for frame in FRAMES}) == len(FRAMES)
    assert {frame.expect for frame in FRAMES} >= {*MENDED, "ok", "ignore", "skip", "error", "failure", "limit"}
