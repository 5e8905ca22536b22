"""Playing fixtures: what counts as a difference, and how it is told (CONTRACT section 8)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lkstt_proto.events import SessionCreated
from lkstt_proto.replay import Fixture, FixtureError, Stage, complete, load, run

HEADER = {"fixture": 1, "name": "example", "role": "client"}
START: dict[str, Any] = {
    "at": 0.0,
    "call": "start",
    "actions": [{"connect": {"attempt": 0}}],
    "link_state": "connecting",
    "deadline": 10.0,
}
CREATE: dict[str, Any] = {
    "type": "session.create",
    "model": "deepgram/nova-3",
    "settings": {"sample_rate": "16000", "encoding": "pcm_s16le", "extra": {"keyterm": []}},
    "connection": {"timeout": 10, "retries": 3},
}
OPENED: dict[str, Any] = {
    "at": 0.2,
    "call": "transport_opened",
    "actions": [{"send": CREATE}],
    "link_state": "up",
    "deadline": 3.2,
}
HELLO = {"type": "final_transcript", "transcript": "hello", "extra": {"a": 1, "b": 2}}


def fixture(*steps: dict[str, Any], **header: Any) -> Fixture:
    return load([json.dumps(line) for line in ({**HEADER, **header}, *steps)])


def difference(*steps: dict[str, Any], **header: Any) -> tuple[str, Any, Any]:
    (mismatch,) = run(fixture(*steps, **header))
    return mismatch.field, mismatch.expected, mismatch.got


def changed(step: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**step, **fields}


def test_a_dialogue_that_agrees_has_no_mismatch() -> None:
    assert run(fixture(START, OPENED)) == []


def test_the_example_of_the_format_replays() -> None:
    said = '{"type":"session.created","session_id":"s1"}'
    audio = {"hex": "0001", "times": 800}
    created = {"at": 0.3, "text": said, "events": [{"type": "session_created", "session_id": "s1"}], "deadline": 3.3}
    spoken = {"at": 0.4, "audio": audio, "actions": [{"send": {"type": "input_audio", "audio": audio}}]}
    cut = {
        "at": 1.6,
        "call": "transport_closed",
        "args": {"code": 1006},
        "events": [{"type": "reconnecting", "attempt": 1, "delay": 0.1}],
        "link_state": "backoff",
        "deadline": 1.7,
    }
    assert run(fixture(START, OPENED, created, spoken, cut)) == []


def test_a_stage_keeps_the_core_and_its_events() -> None:
    created = {"at": 0.3, "text": {"type": "session.created", "session_id": "s1"}, "deadline": 3.3}
    dialogue = fixture(START, OPENED, created)
    stage = Stage(dialogue)
    assert [mismatch.field for mismatch in run(dialogue, stage)] == ["events[0]"]
    assert stage.events == [SessionCreated("s1")]
    assert stage.core.session_state == "streaming"


def test_a_mismatch_tells_where_and_what() -> None:
    (mismatch,) = run(fixture(changed(START, actions=[{"connect": {"attempt": 1}}])))
    assert str(mismatch) == "example: step 1 (line 2, at 0): actions[0].connect.attempt: expected 1, got 0"


def test_what_is_missing_or_too_much_is_called_nothing() -> None:
    assert difference(changed(START, actions=[])) == ("actions[0]", "nothing", {"connect": {"attempt": 0}})
    field, expected, got = difference({"at": 0, "call": "update_options", "events": [{"type": "finalized"}]})
    assert (field, expected, got) == ("events[0]", {"type": "finalized"}, "nothing")
    (mismatch,) = run(fixture(changed(START, actions=[])))
    assert str(mismatch).endswith('expected nothing, got {"connect": {"attempt": 0}}')


def test_only_the_first_step_that_differs_is_told_with_all_its_differences() -> None:
    mismatches = run(fixture(changed(START, link_state="up", deadline=None), changed(OPENED, actions=[])))
    assert [(mismatch.step, mismatch.field) for mismatch in mismatches] == [(1, "link_state"), (1, "deadline")]


def test_states_and_deadline_stay_as_last_stated() -> None:
    later = {"at": 0.1, "call": "handle_timeout"}
    assert run(fixture(START, later)) == []
    assert difference(
        START, {"at": 0.2, "call": "transport_opened", "actions": OPENED["actions"], "deadline": 3.2}
    ) == (
        "link_state",
        "connecting",
        "up",
    )


def test_states_never_stated_are_not_compared() -> None:
    assert run(fixture({"at": 0, "call": "start", "actions": START["actions"]})) == []


def test_a_deadline_of_null_means_none() -> None:
    assert run(fixture({"at": 0, "call": "update_options", "deadline": None})) == []
    assert difference(changed(START, deadline=None)) == ("deadline", None, 10.0)


def test_floats_may_differ_by_a_millionth() -> None:
    assert run(fixture(changed(START, deadline=10.0000009))) == []
    assert difference(changed(START, deadline=10.000002)) == ("deadline", 10.000002, 10.0)


def test_numbers_compare_as_values_and_truths_do_not() -> None:
    assert run(fixture(changed(START, looks={"unsent_seconds": 0}))) == []
    assert difference(changed(START, looks={"unsent_seconds": False})) == ("looks.unsent_seconds", False, 0.0)
    assert difference(changed(START, looks={"speaking": 0})) == ("looks.speaking", 0, False)


def test_event_fields_left_out_are_not_compared_but_list_items_are() -> None:
    heard = {"at": 0.3, "text": HELLO, "deadline": 3.3}
    kinds: list[dict[str, Any]] = [{"type": "start_of_speech"}, {"type": "final_transcript"}, {"type": "end_of_speech"}]
    assert run(fixture(START, OPENED, changed(heard, events=kinds))) == []
    kinds[1] = {"type": "final_transcript", "alternatives": [{"text": "hello"}]}
    assert run(fixture(START, OPENED, changed(heard, events=kinds))) == []
    kinds[1] = {"type": "final_transcript", "alternatives": []}
    assert difference(START, OPENED, changed(heard, events=kinds))[0] == "events[1].alternatives[0]"
    kinds[1] = {"type": "final_transcript", "colour": "red"}
    assert difference(START, OPENED, changed(heard, events=kinds)) == ("events[1].colour", "red", "nothing")


def test_what_is_passed_on_is_compared_whole() -> None:
    final = {"type": "final_transcript", "alternatives": [{"metadata": {"a": 1}}]}
    events = [{"type": "start_of_speech"}, final, {"type": "end_of_speech"}]
    assert difference(START, OPENED, {"at": 0.3, "text": HELLO, "deadline": 3.3, "events": events}) == (
        "events[1].alternatives[0].metadata.b",
        "nothing",
        2,
    )


def test_a_message_is_compared_whole() -> None:
    sent = [{"send": {key: value for key, value in CREATE.items() if key != "connection"}}]
    assert difference(START, changed(OPENED, actions=sent))[0] == "actions[0].send.connection"


def test_a_caller_s_mistake_is_expected_by_name() -> None:
    twice = {"at": 0.1, "call": "start", "raises": "LocalProtocolError"}
    assert run(fixture(START, twice)) == []
    assert difference(START, {"at": 0.1, "call": "start"}) == ("raises", None, "LocalProtocolError")
    assert difference(changed(START, raises="LocalProtocolError"))[0] == "raises"


def test_looks_are_compared_after_everything_else() -> None:
    stats = {"sessions": 0, "messages_sent": 0}
    assert run(fixture(changed(START, looks={"pending": False, "stats": stats, "error": None, "readable": True}))) == []
    refused = {
        "at": 0.1,
        "call": "transport_closed",
        "args": {"http_status": 403},
        "events": [{"type": "stream_failed", "error": {"name": "AuthError", "http_status": 403}}],
        "link_state": "done",
        "deadline": None,
        "looks": {"finished": True, "error": {"name": "AuthError", "retryable": False}},
    }
    assert run(fixture(START, refused)) == []


def test_actions_are_taken_until_none_is_given_or_as_often_as_said() -> None:
    audio = {"hex": "0000", "times": 800 * 20}
    message = {"send": {"type": "input_audio", "audio": {"hex": "0000", "times": 800}}}
    assert run(fixture(START, OPENED, {"at": 0.3, "audio": audio, "actions": [message] * 20})) == []
    some = {"at": 0.3, "audio": audio, "take": 3, "actions": [message] * 3, "looks": {"pending": True}}
    rest = {"at": 0.4, "take": 16, "actions": [message] * 16}
    assert run(fixture(START, OPENED, some, rest, {"at": 0.4, "take": 16, "actions": [message]})) == []


def test_random_numbers_are_given_in_order() -> None:
    cut = {"at": 1.0, "call": "transport_closed", "link_state": "backoff", "deadline": 1.075}
    events = [{"type": "reconnecting", "delay": 0.075}]
    assert run(fixture(START, changed(cut, events=events), random=[0.5])) == []


def test_too_few_random_numbers_are_a_mistake_of_the_fixture() -> None:
    with pytest.raises(FixtureError, match="more random numbers"):
        run(fixture(START, {"at": 1.0, "call": "transport_closed"}, random=[]))


def test_an_endpointer_ends_speech_where_the_header_says() -> None:
    stage = Stage(fixture(options={"model": "speechmatics/enhanced"}, endpointer=[640]))
    played = fixture(
        START, {"at": 0.2, "call": "transport_opened"}, {"at": 0.3, "audio": {"hex": "0000", "times": 960}}
    )
    for step in played.steps:
        actions = stage.play(step)["actions"]
    assert [action["send"]["type"] for action in actions] == ["input_audio", "session.finalize"]
    assert actions[0]["send"]["audio"]["times"] == 640


def test_a_gateway_is_played_too() -> None:
    opened = {"at": 0, "call": "transport_opened", "session_state": "new", "deadline": 10.0}
    create = {"type": "session.create", "settings": {"language": "de"}}
    requested = {"type": "session_requested", "settings": {"language": "de"}, "language": "de"}
    created = {"at": 1, "text": create, "events": [requested], "session_state": "creating", "deadline": 1801.0}
    data = {"language": "de", "text": "ja"}
    said = {"type": "interim_transcript", "transcript": "ja", "language": "de", "start": 0, "duration": 0}
    spoken = {
        "at": 2,
        "call": "transcript",
        "args": {"data": data, "final": False},
        "actions": [{"send": {**said, "words": []}}],
        "session_state": "streaming",
        "looks": {"speaking": True, "audio_seconds": 0, "closing": False},
    }
    assert run(fixture(opened, created, spoken, role="gateway")) == []


@pytest.mark.parametrize("message", [{}, {"message": "audio came too early"}])
def test_the_text_of_an_error_is_compared_only_where_it_is_given(message: dict[str, str]) -> None:
    actions = [{"send": {"type": "error", "code": 400, **message}}, {"disconnect": {"code": 1008}}]
    mismatches = run(fixture({"at": 1, "binary": {"hex": "00"}, "actions": actions}, role="gateway"))
    assert [mismatch.field for mismatch in mismatches] == (["actions[0].send.message"] if message else [])


def test_an_error_expected_in_place_of_another_action_is_a_difference() -> None:
    assert difference(changed(START, actions=[{"send": {"type": "error"}}]))[0] == "actions[0].send"


def test_completing_writes_what_happens_and_nothing_twice() -> None:
    bare = [HEADER, {"at": 0.0, "call": "start", "events": [{"type": "finalized"}]}, {"at": 0.1, "call": "start"}]
    written = [json.loads(line) for line in complete(json.dumps(line) for line in bare)]
    assert written == [
        HEADER,
        {**START, "session_state": "new"},
        {"at": 0.1, "call": "start", "raises": "LocalProtocolError"},
    ]


def test_completing_leaves_out_what_mostly_is_so() -> None:
    steps = [{"at": 0.0, "call": "start"}, {"at": 0.2, "call": "transport_opened"}, {"at": 0.3, "text": HELLO}]
    steps += [{"at": 0.4, "call": "close"}]
    lines = complete(json.dumps(line) for line in (HEADER, *steps))
    final = json.loads(lines[3])["events"][1]
    assert "promoted" not in final
    assert final["alternatives"] == [
        {"language": "en", "text": "hello", "start_time": 0.0, "end_time": 0.0, "metadata": {"a": 1, "b": 2}}
    ]
    assert json.loads(lines[4])["actions"] == [{"send": {"type": "session.close"}}, {"disconnect": {}}]
    assert run(load(lines)) == []


def test_completing_keeps_a_code_that_is_not_the_usual_one() -> None:
    header = {**HEADER, "role": "gateway"}
    steps = [
        {"at": 0, "call": "transport_opened"},
        {"at": 1, "binary": {"hex": "00"}},
        {"at": 9, "call": "handle_timeout"},
    ]
    lines = complete(json.dumps(line) for line in (header, *steps))
    assert json.loads(lines[2])["actions"][1] == {"disconnect": {"code": 1008}}
    assert json.loads(lines[3])["actions"] == [{"disconnect": {"abort": True}}]
