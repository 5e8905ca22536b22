"""Judging a port: the lines that it is sent, and what becomes of its answers; the core as a port."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lkstt_proto.conformance import CorePort, Judge, Outcome, Report
from lkstt_proto.dialogue import Fixture, FixtureError, bundled, load
from lkstt_proto.replay import complete

HEADER = {"fixture": 1, "name": "example", "role": "client"}
STEPS: list[dict[str, Any]] = [
    {"at": 0.0, "call": "start"},
    {"at": 0.2, "call": "transport_opened"},
    {"at": 0.25, "call": "start"},
    {"at": 0.3, "text": {"type": "final_transcript", "transcript": "hello"}},
    {"at": 0.4, "call": "close"},
]
AUDIO = {"hex": "0100", "times": 800}

Answer = Callable[[str], str | bytes]


def fixture(*steps: dict[str, Any], **header: Any) -> Fixture:
    return load(complete(json.dumps(line) for line in ({**HEADER, **header}, *(steps or STEPS))))


def judged(fixture: Fixture, answer: Answer) -> Report:
    judge = Judge(fixture)
    while (report := judge.report) is None:
        judge.answer(answer(judge.line))
    return report


def tampered(number: int, change: Callable[[dict[str, Any]], Any]) -> Answer:
    """The core, but for one answer; 0 is the header's."""
    core, lines = CorePort(), iter(range(100))

    def answer(line: str) -> str:
        given = core.answer(line)
        return json.dumps(change(json.loads(given))) if next(lines) == number else given

    return answer


def explained(number: int, change: Callable[[dict[str, Any]], Any], played: Fixture | None = None) -> list[str]:
    report = judged(played or fixture(), tampered(number, change))
    assert report.outcome is Outcome.FAILED
    return report.explanation()


@pytest.mark.parametrize("name", bundled())
def test_the_core_passes_as_a_port(name: str) -> None:
    report = judged(load(bundled()[name]), CorePort().answer)
    assert (report.outcome, report.explanation()) == (Outcome.PASSED, [])
    assert report.fixture == name.removesuffix(".jsonl")


def test_one_port_plays_one_fixture_after_another() -> None:
    port = CorePort()
    assert judged(fixture(), port.answer).outcome is Outcome.PASSED
    assert judged(fixture({"at": 0, "call": "transport_opened"}, role="gateway"), port.answer).role == "gateway"
    assert judged(fixture(), port.answer).outcome is Outcome.PASSED


def test_a_port_is_sent_the_header_and_inputs_alone() -> None:
    lines = []
    core = CorePort()

    def answer(line: str) -> str:
        lines.append(json.loads(line))
        return core.answer(line)

    judged(fixture(*STEPS, {"at": 0.5, "take": 0}), answer)
    assert lines == [HEADER, *STEPS, {"at": 0.5, "take": 0}]


def test_a_line_has_no_line_break_in_it() -> None:
    judge = Judge(fixture({"at": 0, "call": "start"}, name="two\nlines\u2028\ud800"))
    assert judge.line.isascii()
    assert "\n" not in judge.line


def test_a_fixture_that_a_port_does_not_support_is_skipped() -> None:
    report = judged(fixture(), lambda line: '{"unsupported":"no endpointer"}')
    assert (report.outcome, report.explanation()) == (Outcome.SKIPPED, ["no endpointer"])
    assert report.step is None


def test_a_header_wants_an_answer_that_says_so() -> None:
    assert explained(0, lambda answer: {"ready": "yes"}) == [
        'line 1: answered neither {"ready":true} nor {"unsupported":"why"}: {"ready": "yes"}'
    ]


def test_the_first_difference_is_told_with_its_input() -> None:
    def wrong(answer: dict[str, Any]) -> dict[str, Any]:
        answer["events"][1]["alternatives"][0]["text"] = "hallo"
        return {**answer, "deadline": 3.4, "session_state": "creating"}

    assert explained(4, wrong) == [
        'line 5, at 0.3: {"text": {"type": "final_transcript", "transcript": "hello"}}',
        "  events[1].alternatives[0].text",
        '    expected  "hello"',
        '    got       "hallo"',
        "  session_state",
        '    expected  "streaming"',
        '    got       "creating"',
        "  deadline",
        "    expected  3.3",
        "    got       3.4",
    ]


def test_what_is_missing_or_too_much_is_shown_as_nothing() -> None:
    def fewer(answer: dict[str, Any]) -> dict[str, Any]:
        del answer["actions"][1], answer["link_state"]
        return answer

    assert explained(5, fewer)[1:] == [
        "  actions[1]",
        '    expected  {"disconnect": {"abort": false, "code": 1000}}',
        "    got       nothing",
        "  link_state",
        '    expected  "closing"',
        "    got       nothing",
    ]


def test_of_long_values_what_differs_is_shown() -> None:
    said = {"at": 0.3, "text": {"type": "final_transcript", "transcript": "x" * 1000 + "y" * 1000}}

    def wrong(answer: dict[str, Any]) -> dict[str, Any]:
        answer["events"][1]["alternatives"][0]["text"] = "x" * 1000 + "z"
        return answer

    lines = explained(3, wrong, fixture(*STEPS[:2], said))
    assert len(lines[0]) < 500
    assert lines[0].endswith("x...")
    assert lines[2:] == [f"    expected  ...{'x' * 40}{'y' * 360}...", f'    got       ...{"x" * 40}z"']


def test_numbers_and_notations_compare_as_values() -> None:
    spoken = {"at": 0.3, "audio": AUDIO}
    said = {"at": 0.3, "text": {"type": "input_audio", "audio": AUDIO}}
    request = {"type": "session.create", "settings": {}}

    def other(answer: dict[str, Any]) -> dict[str, Any]:
        answer["actions"][0]["send"]["audio"] = {"hex": "01000100", "times": 400}
        return {**answer, "deadline": answer["deadline"] + 1e-7, "more": "than needed"}

    assert judged(fixture(*STEPS[:2], spoken), tampered(3, other)).outcome is Outcome.PASSED

    def heard(answer: dict[str, Any]) -> dict[str, Any]:
        answer["events"][0]["pcm"] = {"hex": "0100" * 800}
        return answer

    gateway = fixture({"at": 0, "call": "transport_opened"}, {"at": 0.1, "text": request}, said, role="gateway")
    assert judged(gateway, tampered(3, heard)).outcome is Outcome.PASSED
    plain = fixture()
    assert judged(plain, tampered(5, lambda a: {**a, "actions": [a["actions"][0], {"disconnect": {}}]})).step is None


def test_states_stay_as_last_stated() -> None:
    late = {"at": 0.35, "call": "handle_timeout"}
    assert explained(5, lambda a: {**a, "link_state": "closing"}, fixture(*STEPS[:4], late))[1] == "  link_state"


def test_the_text_of_an_error_is_not_compared_where_it_is_left_out() -> None:
    lines = [json.loads(line) for line in complete([json.dumps({**HEADER, "role": "gateway"}), '{"at":1,"text":"{"}'])]
    for action in lines[1]["actions"][:1]:
        del action["send"]["message"]
    sparse = load(json.dumps(line) for line in lines)
    assert judged(sparse, CorePort().answer).outcome is Outcome.PASSED


def test_looks_are_compared_where_a_fixture_looks() -> None:
    lines = [*map(json.loads, complete(json.dumps(line) for line in (HEADER, *STEPS[:1])))]
    lines[1]["looks"] = {"speaking": False, "stats": {"sessions": 0}}
    looking = load(json.dumps(line) for line in lines)
    assert judged(looking, CorePort().answer).outcome is Outcome.PASSED

    def beside(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "speaking": False, "finished": False, "looks": {"stats": {"sessions": 0}}}

    assert judged(looking, tampered(1, beside)).outcome is Outcome.PASSED
    assert explained(1, lambda a: {**a, "speaking": None, "looks": {"stats": {}}}, looking)[1] == "  looks.speaking"
    assert explained(1, lambda a: {**a, "looks": 5}, looking)[1:] == [
        "  looks",
        '    expected  {"speaking": false, "stats": {"sessions": 0}}',
        "    got       5",
    ]
    del lines[1]["looks"]
    plain = load(json.dumps(line) for line in lines)
    assert judged(plain, tampered(1, lambda a: {k: v for k, v in a.items() if k != "looks"})).step is None


def test_a_caller_s_mistake_is_told_by_its_name_alone() -> None:
    assert explained(3, lambda answer: {"raises": "OSError", "actions": 7})[1:] == [
        "  raises",
        '    expected  "LocalProtocolError"',
        '    got       "OSError"',
    ]
    assert explained(2, lambda answer: {"raises": "LocalProtocolError"})[1:] == [
        "  raises",
        "    expected  nothing",
        '    got       "LocalProtocolError"',
    ]
    ignored = {"actions": [], "events": [], "link_state": "up"}
    assert explained(3, lambda answer: ignored)[-1] == "    got       nothing"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "answered what is no JSON (0 bytes that are no JSON): "),
        (b"\xff{", "answered what is no JSON (2 bytes that are no UTF-8): "),
        ("hello", 'answered what is no JSON (5 bytes that are no JSON): "hello"'),
        ("NaN", "answered what is no JSON (NaN is no JSON number): "),
        ("[1]", "answered no object: [1]"),
        ("{}", "answered what cannot be: line 2: actions must be a list"),
        ('{"actions":[]}', "answered what cannot be: line 2: events must be a list"),
        ('{"actions":[5],"events":[]}', "answered what cannot be: line 2: an action must be an object"),
        ('{"actions":[],"events":[{}]}', "answered what cannot be: line 2: an event must be an object with a type"),
        (
            '{"actions":[{"send":{"audio":{"hex":"x"}}}],"events":[]}',
            "answered what cannot be: line 2: hex of audio must be pairs of hexadecimal digits",
        ),
    ],
)
def test_whatever_is_no_answer_fails_the_fixture(answer: str | bytes, reason: str) -> None:
    answers: list[str | bytes] = ['{"ready":true}', answer]
    report = judged(fixture(), lambda line: answers.pop(0))
    assert (report.outcome, report.differences) == (Outcome.FAILED, ())
    assert report.reason.startswith(reason)
    assert report.explanation() == ['line 2, at 0: {"call": "start"}', f"  {report.reason}"]


def test_a_port_that_gives_no_answer_fails_where_it_was() -> None:
    judge = Judge(fixture())
    judge.fail("it died")
    assert judge.report is not None
    assert judge.report.explanation() == ["line 1: it died"]


def test_the_core_tells_why_it_supports_no_such_fixture() -> None:
    answer = json.loads(CorePort().answer('{"fixture":2,"name":"from the future","role":"client"}'))
    assert answer["unsupported"].startswith('line 1: the header must say "fixture":1')


@pytest.mark.parametrize("lines", [['{"at":0,"call":"start"}'], ["{"], [json.dumps(HEADER), '{"at":0,"call":"jump"}']])
def test_the_core_cannot_go_on_after_what_is_no_step(lines: list[str]) -> None:
    port = CorePort()
    for line in lines[:-1]:
        port.answer(line)
    with pytest.raises(FixtureError):
        port.answer(lines[-1])


def test_after_an_unsupported_header_the_core_takes_no_steps() -> None:
    port = CorePort()
    port.answer(json.dumps(HEADER))
    port.answer('{"fixture":2}')
    with pytest.raises(FixtureError, match="must be a header"):
        port.answer('{"at":0,"call":"start"}')


def test_the_core_answers_in_full() -> None:
    port = CorePort()
    assert json.loads(port.answer(json.dumps(HEADER))) == {"ready": True}
    answer = json.loads(port.answer(json.dumps(STEPS[0])))
    assert set(answer) == {
        "actions", "events", "link_state", "session_state", "deadline", "speaking", "finished", "looks",
    }  # fmt: skip
    assert json.loads(port.answer(json.dumps(STEPS[0]))) == {"raises": "LocalProtocolError"}
    port.answer(json.dumps({**HEADER, "role": "gateway"}))
    answer = json.loads(port.answer('{"at":0,"call":"transport_opened"}'))
    assert set(answer) == {"actions", "events", "session_state", "deadline", "speaking", "looks"}
