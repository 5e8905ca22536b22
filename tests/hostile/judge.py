"""What is to come of a frame: the words of ``messages.jsonl``, and what an application may be told for each.

``ok``: accepted as it stands. ``ignore``, ``skip``: one Diagnostic, and nothing else. ``default``, ``clamp``,
``repair``, ``no_words``: delivered after mending, with one Diagnostic; none where only a null was in the way.
``error``: the session fails, typed and classed, and another one takes over if that may help; ``failure``: it may not.
``limit``: the transport closes with 1007 or 1009, and another session takes over; a core alone skips it.
``default_or_skip``, ``ok_or_limit``: either.

That what is told is sound in itself is for ``tests/soundness.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from lkstt_proto import (
    AuthError,
    ConnectionLost,
    Diagnostic,
    Event,
    GatewayError,
    Reconnecting,
    RemoteProtocolError,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    StreamFailed,
)
from tests.hostile.corpus import Frame
from tests.soundness import check

TRANSCRIPTS = (
    SpeechEventType.INTERIM_TRANSCRIPT,
    SpeechEventType.PREFLIGHT_TRANSCRIPT,
    SpeechEventType.FINAL_TRANSCRIPT,
)
MENDED = ("default", "clamp", "repair", "no_words")


def judge(frame: Frame, events: Sequence[Event], *, transport: bool = False) -> None:
    """Raise Unsound unless ``events``, which followed upon ``frame`` alone, are what is to come of it.

    ``transport``: the frame came by a socket, which has limits of its own.
    """
    expect = frame.expect
    if expect == "limit" and not transport:
        expect = "skip"
    if expect.endswith(("_or_skip", "_or_limit")):
        either = expect.partition("_or_")[0]
        lost = [event for event in events if isinstance(event, Reconnecting)]
        expect = "limit" if lost else "skip" if not transcripts(events) else either
        expect = "ok" if expect == "default" and not any(isinstance(event, Diagnostic) for event in events) else expect
    diagnostics = [event for event in events if isinstance(event, Diagnostic)]
    failures = [event for event in events if isinstance(event, Reconnecting | StreamFailed)]
    if expect in ("error", "failure", "limit"):
        check(len(failures) == 1, "one session fails")
        judge_failure(expect, failures[0])
        return
    check(not failures, "nothing fails")
    if expect in ("skip", "ignore"):
        check(len(diagnostics) == 1 and len(events) == 1, "one Diagnostic and nothing else")
        return
    nothing_wrong = expect == "ok" or b"null" in frame.payload
    check(len(diagnostics) == (expect != "ok") or (nothing_wrong and not diagnostics), "one Diagnostic for all fields")
    check(all(event.kind == "invalid_field" for event in diagnostics), "a field is to blame")
    said = transcripts(events)
    if b'_transcript"' in frame.payload[:100] and expect in MENDED:
        check(len(said) == 1, "the transcript is delivered")
    if frame.said is not None:
        check([data.text for data in said] == [frame.said], "the text is as it should be")
    if expect == "no_words":
        check(not said[0].words, "the words are dropped")


def judge_failure(expect: str, failure: Reconnecting | StreamFailed) -> None:
    """See that a failure is typed, and that a stream fails only where nothing else helps."""
    error = failure.error
    fails = isinstance(failure, StreamFailed)
    if expect == "limit":
        check(type(error) in (ConnectionLost, RemoteProtocolError), "a limit is typed")
        check(error.close_code in (1007, 1009), "a limit has its close code")
        check(error.retryable and not fails, "a limit passes")
        return
    check(type(error) in (GatewayError, ConnectionLost, AuthError), "an error is typed")
    check(fails or expect == "error", "a stream fails for good where it has to")
    # A token is renewed once before it counts as refused.
    check(fails is not error.retryable or getattr(error, "code", None) == 401, "an error is classed")


def transcripts(events: Sequence[Event]) -> list[SpeechData]:
    """What was said."""
    return [event.alternatives[0] for event in events if isinstance(event, SpeechEvent) and event.type in TRANSCRIPTS]
