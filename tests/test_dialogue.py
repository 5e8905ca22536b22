"""Fixtures as data: what is read, what is refused and how, and what the core gave as JSON (CONTRACT section 8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lkstt_proto.actions import Connect, Disconnect, Ping
from lkstt_proto.dialogue import (
    Fixture,
    FixtureError,
    Step,
    action_json,
    audio_json,
    bundled,
    error_json,
    event_json,
    load,
    read_results,
    read_step,
)
from lkstt_proto.errors import ConnectionLost, GatewayError, TlsError
from lkstt_proto.events import (
    AudioReceived,
    PeerLost,
    RecognitionUsage,
    Reconnecting,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    TimedWord,
)
from lkstt_proto.options import Limits, STTOptions

HEADER = {"fixture": 1, "name": "example", "role": "client"}


def lines(*steps: Any, **header: Any) -> list[str]:
    return [json.dumps(line) for line in ({**HEADER, **header}, *steps)]


def read(*steps: Any, **header: Any) -> Fixture:
    return load(lines(*steps, **header))


def step(**fields: Any) -> Step:
    return read({"at": 0.5, **fields}).steps[0]


def complaint(*steps: Any, **header: Any) -> str:
    with pytest.raises(FixtureError) as caught:
        read(*steps, **header)
    return str(caught.value)


# Reading.


def test_a_header_alone_is_a_fixture_with_defaults() -> None:
    fixture = read()
    assert fixture.name == "example"
    assert fixture.role == "client"
    assert fixture.options == STTOptions()
    assert fixture.limits == Limits()
    assert fixture.random is None
    assert fixture.endpointer is None
    assert fixture.scenarios == ()
    assert fixture.steps == ()


def test_a_client_is_made_as_the_header_says() -> None:
    fixture = read(
        options={"model": "openai/gpt-live-transcribe", "language": "de"},
        limits={"close": 1.0},
        retry={"outage": 5.0},
        random=[0, 0.5],
        endpointer=[960],
        scenarios=["V01"],
    )
    assert fixture.options.language == "de"
    assert fixture.limits.close == 1.0
    assert fixture.retry.outage == 5.0
    assert (fixture.random, fixture.endpointer, fixture.scenarios) == ((0, 0.5), (960,), ("V01",))


def test_a_gateway_takes_both_kinds_of_limits() -> None:
    fixture = read(role="gateway", limits={"idle": 5.0, "close": 1.0, "message": 64})
    assert fixture.patience.idle == 5.0
    assert fixture.patience.close == 1.0
    assert fixture.limits == Limits(message=64)


def test_a_path_and_blank_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "example.jsonl"
    path.write_text("\n\n".join(lines({"at": 0, "call": "start"})) + "\n", "utf-8")
    assert [step.line for step in load(path).steps] == [3]


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    path = tmp_path / "example.jsonl"
    path.write_text('{"fixture":1,"name":"a\u2028b","role":"client"}\r\n', "utf-8", newline="")
    assert load(path).name == "a\u2028b"


def test_bundled_fixtures_are_sorted_by_file_name() -> None:
    assert list(bundled()) == sorted(bundled())
    assert load(bundled()["turn.jsonl"]).name == "turn"


def test_calls_carry_their_arguments() -> None:
    closed = step(call="transport_closed", args={"code": 1000, "reason": None})
    assert (closed.at, closed.method, closed.args) == (0.5, "transport_closed", {"code": 1000})


def test_text_is_an_object_or_exact() -> None:
    assert step(text={"type": "x", "text": "ä"}).data == '{"type":"x","text":"ä"}'
    assert step(text='{ "type" : "x"').data == '{ "type" : "x"'


def test_audio_is_repeated_hex() -> None:
    assert step(audio={"hex": "0001", "times": 3}).data == bytes.fromhex("000100010001")
    assert step(binary={"hex": "ff"}).data == b"\xff"
    message = step(text={"type": "input_audio", "audio": {"hex": "000102", "times": 1}}).data
    assert message == '{"type":"input_audio","audio":"AAEC"}'


def test_a_step_may_only_take() -> None:
    assert (step(take=0).method, step(take=0).take) == (None, 0)


def test_speech_data_is_made_of_what_is_given() -> None:
    word = {"text": "a", "start_time": 0.5}
    fixture = read({"at": 0, "call": "preflight", "args": {"data": {"text": "a", "words": [word]}}}, role="gateway")
    assert fixture.steps[0].args["data"] == SpeechData("", "a", words=(TimedWord("a", 0.5),))


def test_errors_of_a_transport_are_made_again() -> None:
    made = step(call="transport_closed", args={"error": {"name": "TlsError", "phase": "connect", "code": 7}}).args[
        "error"
    ]
    assert isinstance(made, TlsError)
    assert made.phase == "connect"
    assert not made.retryable
    made = step(call="transport_closed", args={"error": {"name": "GatewayError", "code": 7, "retryable": False}}).args
    assert made["error"].code == 7
    assert not made["error"].retryable


@pytest.mark.parametrize("name", ["ConnectionResetError", "frozen", "Secret"])
def test_an_error_that_is_none_of_ours_is_as_good_as_any_other(name: str) -> None:
    assert type(step(call="transport_closed", args={"error": {"name": name}}).args["error"]) is OSError


def test_no_error_is_none() -> None:
    assert step(call="transport_closed", args={"error": None}).args == {}


def test_actions_and_events_are_brought_into_one_form() -> None:
    read_back = step(
        call="start",
        actions=[{"send": {"type": "input_audio", "audio": {"hex": "00010001", "times": 2}}}, {"disconnect": {}}],
        events=[{"type": "audio_received", "pcm": {"hex": "0001"}}, {"type": "finalized"}],
    )
    assert read_back.actions == (
        {"send": {"type": "input_audio", "audio": {"hex": "0001", "times": 4}}},
        {"disconnect": {"abort": False, "code": 1000}},
    )
    assert read_back.events == ({"type": "audio_received", "pcm": {"hex": "0001", "times": 1}}, {"type": "finalized"})


# Refusing.


def test_an_empty_fixture_is_refused() -> None:
    with pytest.raises(FixtureError, match="first line is the header"):
        load([])


@pytest.mark.parametrize("line", ["{", '{"at":NaN}', "\ud800"])
def test_a_line_that_is_no_json_is_named(line: str) -> None:
    with pytest.raises(FixtureError, match=r"line 2 is not usable .*each line is one JSON object") as caught:
        load([*lines(), line])
    assert caught.value.phase == "configure"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"fixture": 2}, 'must say "fixture":1'),
        ({"role": "server"}, "role must be client or gateway"),
        ({"role": ["client"]}, "role must be client or gateway"),
        ({"name": 1}, "name must be a text"),
        ({"colour": "red"}, "the header has no colour"),
        ({"role": "gateway", "options": {}}, "the header of a gateway has no options"),
        ({"options": {"api_token": "x"}}, "options has no api_token"),
        ({"options": {"sample_rate": -1}}, "options cannot be: sample_rate"),
        ({"limits": {"drain": "long"}}, "limits cannot be: Limits.drain"),
        ({"limits": []}, "limits must be an object"),
        ({"role": "gateway", "limits": []}, "limits must be an object"),
        ({"role": "gateway", "limits": {"close": [0.5]}}, "close of limits must be a number"),
        ({"random": [True]}, "a random number must be a number"),
        ({"random": 0.5}, "random must be a list"),
        ({"endpointer": [0.5]}, "an end position must be a whole number"),
        ({"scenarios": [1]}, "a scenario must be a text"),
    ],
)
def test_a_header_that_cannot_be_is_refused(header: dict[str, Any], words: str) -> None:
    said = complaint(**header)
    assert said.startswith("line 1: ")
    assert words in said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "a step has one input"),
        ({"call": "start", "text": "x"}, "a step has one input"),
        ({"call": "dance"}, "a client has no such call: use one of close, "),
        ({"call": 1}, "call must be a text"),
        ({"call": "start", "args": {"x": 1}}, "the arguments of start has no x"),
        ({"take": 1, "args": {}}, "args belong to a call"),
        (
            {"call": "transport_closed", "args": {"code": "1000"}},
            "code of the arguments of transport_closed cannot be a str",
        ),
        ({"call": "transport_closed", "args": {"code": True}}, "cannot be a bool"),
        ({"call": "transport_closed", "args": {"error": "TlsError"}}, "error must be an object"),
        ({"call": "transport_closed", "args": {"error": {}}}, "name of error must be a text"),
        ({"at": "soon", "call": "start"}, "at must be a number"),
        ({"call": "start", "take": -1}, "take must be a whole number"),
        ({"call": "start", "raises": 1}, "raises must be a text"),
        ({"call": "start", "looks": {"closing": True}}, "looks has no closing"),
        ({"call": "start", "colour": 1}, "a step has no colour"),
        ({"text": 1}, "text must be an object or a text"),
        ({"audio": "00"}, "audio must be an object"),
        ({"audio": {"hex": "0"}}, "hex of audio must be pairs"),
        ({"audio": {"hex": 0}}, "hex of audio must be pairs"),
        ({"audio": {}}, "hex of audio must be pairs"),
        ({"audio": {"hex": "00", "times": 2**24 + 1}}, "times of audio must be a whole number"),
        ({"audio": {"hex": "0000", "times": 2**24}}, "audio is too long"),
        ({"call": "start", "actions": {}}, "actions must be a list"),
        ({"call": "start", "actions": [{}]}, "an action has one key"),
        ({"call": "start", "actions": [{"ping": True}]}, "ping must be an object"),
        ({"call": "start", "actions": [{"pong": {}}]}, "an action has no pong"),
        ({"call": "start", "actions": [{"disconnect": {"code": "1000"}}]}, "code of disconnect cannot be a str"),
        ({"call": "start", "actions": [{"disconnect": {"reason": ""}}]}, "disconnect has no reason"),
        ({"call": "start", "events": ["finalized"]}, "an event must be an object with a type"),
        ({"call": "start", "events": [{"type": 1}]}, "an event must be an object with a type"),
    ],
)
def test_a_step_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    said = complaint({"at": 0, **fields})
    assert said.startswith("line 2: ")
    assert words in said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"audio": {"hex": "00"}}, "a gateway is sent audio as a text"),
        ({"call": "accept"}, "accept needs the arguments session_id"),
        (
            {"call": "transcript", "args": {"final": 1, "data": {}}},
            "final of the arguments of transcript cannot be a int",
        ),
        ({"call": "preflight", "args": {"data": {"text": 1}}}, "text of data cannot be a int"),
        ({"call": "preflight", "args": {"data": {"words": [1]}}}, "a word must be an object"),
    ],
)
def test_a_step_of_a_gateway_that_cannot_be_is_refused(fields: dict[str, Any], words: str) -> None:
    assert words in complaint({"at": 0, **fields}, role="gateway")


# Writing.


@pytest.mark.parametrize(
    ("pcm", "written"),
    [
        (b"", {"hex": "", "times": 1}),
        (b"\x01", {"hex": "01", "times": 1}),
        (b"\x01\x02" * 3, {"hex": "0102", "times": 3}),
        (b"\x01\x02\x03\x04", {"hex": "01020304", "times": 1}),
        (b"\x01\x01\x01", {"hex": "010101", "times": 1}),
    ],
)
def test_audio_is_written_shortly(pcm: bytes, written: dict[str, Any]) -> None:
    assert audio_json(pcm) == written


def test_actions_are_written() -> None:
    assert action_json(b'{"type":"input_audio","audio":"AAEAAQ=="}') == {
        "send": {"type": "input_audio", "audio": {"hex": "0001", "times": 2}}
    }
    assert action_json(b'{"type":"session.close"}') == {"send": {"type": "session.close"}}
    assert action_json(Connect(3, STTOptions())) == {"connect": {"attempt": 3}}
    assert action_json(Ping()) == {"ping": {}}
    assert action_json(Disconnect(abort=True)) == {"disconnect": {"abort": True, "code": 1000}}


def test_speech_events_are_written_with_all_fields() -> None:
    data = SpeechData("en", "a", 0.1, 0.2, words=(TimedWord("a", 0.1, 0.2, 0.5),), metadata={"b": 1})
    assert event_json(SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, "r", (data,), None, 0.3, True)) == {
        "type": "final_transcript",
        "request_id": "r",
        "alternatives": [
            {
                "language": "en",
                "text": "a",
                "start_time": 0.1,
                "end_time": 0.2,
                "confidence": 1.0,
                "speaker_id": None,
                "words": [{"text": "a", "start_time": 0.1, "end_time": 0.2, "confidence": 0.5, "speaker_id": None}],
                "metadata": {"b": 1},
            }
        ],
        "recognition_usage": None,
        "audio_time": 0.3,
        "promoted": True,
    }
    usage = event_json(SpeechEvent(SpeechEventType.RECOGNITION_USAGE, recognition_usage=RecognitionUsage(1.0, 0.5)))
    assert usage["recognition_usage"] == {"audio_duration": 1.0, "resent_duration": 0.5}


def test_other_events_are_written_in_snake_case() -> None:
    assert event_json(PeerLost(1000, "bye")) == {"type": "peer_lost", "code": 1000, "reason": "bye"}
    assert event_json(AudioReceived(b"\0\0", 0.5)) == {
        "type": "audio_received",
        "pcm": {"hex": "0000", "times": 1},
        "start": 0.5,
    }
    assert event_json(Reconnecting(1, 0.1, ConnectionLost("text", phase="session", close_code=1006))) == {
        "type": "reconnecting",
        "attempt": 1,
        "delay": 0.1,
        "error": {"name": "ConnectionLost", "retryable": True, "phase": "session", "close_code": 1006},
    }


def test_errors_are_written_without_their_text() -> None:
    assert error_json(GatewayError("private", code=500)) == {
        "name": "GatewayError",
        "retryable": True,
        "phase": "",
        "code": 500,
    }
    assert error_json(OSError("private")) == {"name": "OSError"}


def test_a_step_is_read_alone_and_named_by_its_number() -> None:
    step = read_step('{"at":1,"call":"flush","actions":[{"ping":{}}]}', 7, "client")
    assert (step.line, step.method, step.actions) == (7, "flush", ({"ping": {}},))
    with pytest.raises(FixtureError, match="line 7: a gateway has no such call"):
        read_step('{"at":1,"call":"flush"}', 7, "gateway")


def test_results_of_others_are_brought_into_one_form() -> None:
    actions = [{"disconnect": {}}, {"send": {"type": "input_audio", "audio": {"hex": "01000100"}}}]
    events = [{"type": "audio_received", "pcm": {"hex": "0100", "times": 2}, "start": 0}]
    assert read_results(actions, events, 7) == (
        [
            {"disconnect": {"abort": False, "code": 1000}},
            {"send": {"type": "input_audio", "audio": {"hex": "0100", "times": 2}}},
        ],
        events,
    )
    with pytest.raises(FixtureError, match="line 7: events must be a list"):
        read_results([], None, 7)
