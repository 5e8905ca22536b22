"""Whatever may stand in a file for ``lkstt replay`` or ``lkstt conformance``, and whatever a port may answer."""

from __future__ import annotations

from collections.abc import Iterable

from lkstt_proto.conformance import CorePort, Judge, Report
from lkstt_proto.dialogue import Fixture, bundled, load
from lkstt_proto.errors import LocalProtocolError
from lkstt_proto.recording import Recorder
from lkstt_proto.replay import FixtureError, complete
from lkstt_proto.replay import run as replay
from lkstt_transports.cli.formats import printable
from lkstt_transports.replaying.page import render_page
from lkstt_transports.replaying.player import Refuse, Session, Shut, read_script
from lkstt_transports.replaying.text import facts, lines
from lkstt_transports.replaying.timeline import read_timeline
from tests.soundness import check

from ..mutator import Mutator
from ..target import Target
from ..work import bounded

SEPARATOR = b"\n"
ANSWERS = b"\n\0\n"
"""Between the fixture and what a port answers to it."""
AUDIO_LIMIT = 200_000
"""Bytes of audio in one fixture; a few characters may stand for many more, which takes its time but teaches nothing."""
STEPS_LIMIT = 60

CALLS, CALLS_PER_BYTE = 60_000, 1500


def run(data: bytes) -> str:
    """A file, as the commands read it. FixtureError may come out."""
    body, _, answers = data.partition(ANSWERS)
    try:
        written = body.decode().split("\n")
    except UnicodeDecodeError:
        return "no UTF-8"  # said by the commands themselves
    with bounded(CALLS + CALLS_PER_BYTE * len(data)):
        fixture = load(written)
    audio = sum(len(step.data) for step in fixture.steps if step.method == "send_audio")
    if audio > AUDIO_LIMIT or len(fixture.steps) > STEPS_LIMIT:
        return "long"
    with bounded(CALLS + CALLS_PER_BYTE * (len(data) + audio)):
        return _accepted(fixture, written, answers)


def _accepted(fixture: Fixture, written: list[str], answers: bytes) -> str:
    _judged(fixture, answers)
    differences = replay(fixture)
    check(all(str(difference) for difference in differences), "a difference can be told")
    again = complete(written)
    check(replay(load(again)) == [], "a completed fixture holds")
    check(complete(again) == again, "a completed fixture is complete")
    anew = load(again)
    check(
        (anew.name, anew.role, anew.options, anew.limits, anew.patience, anew.retry, anew.random, anew.endpointer)
        == (
            fixture.name,
            fixture.role,
            fixture.options,
            fixture.limits,
            fixture.patience,
            fixture.retry,
            fixture.random,
            fixture.endpointer,
        ),
        "a fixture that is written again is made of the same things",
    )
    check(
        [(step.at, step.method, step.data, repr(step.args), step.take) for step in anew.steps]
        == [(step.at, step.method, step.data, repr(step.args), step.take) for step in fixture.steps],
        "a fixture that is written again has the same inputs",
    )
    _played(read_script(fixture))
    for shown in (fixture, anew):
        timeline = read_timeline(shown)
        page = f"{facts(timeline)}{list(lines(timeline))}{render_page(timeline)}"
        page.encode()
    check(timeline.difference is None, "a completed fixture shows no difference")
    _recorded(fixture)
    return f"{fixture.role} {len(differences)} {sorted({str(step.method) for step in fixture.steps})}"


def _judged(fixture: Fixture, answers: bytes) -> None:
    """Put the fixture to the core as a port, and then to one that answers anything."""
    judge, port = Judge(fixture), CorePort()
    while judge.report is None:
        answer = port.answer(judge.line)
        answer.encode()
        judge.answer(answer)
    _printed(judge.report)
    judge = Judge(fixture)
    judge.answer(b'{"ready":true}')
    for answered in answers.split(SEPARATOR):
        if judge.report is not None:
            break
        judge.answer(answered)
    if judge.report is not None:
        _printed(judge.report)


def _played(sessions: Iterable[Session]) -> None:
    """What a server will be asked to do can be done."""
    for session in sessions:
        check(not isinstance(session.answer, Refuse) or 200 <= session.answer.status < 600, "a refusal is an answer")
        for cue in session.cues:
            if isinstance(cue.deed, Shut):
                check(1000 <= cue.deed.code < 5000, "a close code may be sent")
                check(len(cue.deed.reason.encode()) <= 123, "a reason fits in a close frame")


def _printed(report: Report) -> None:
    """As the command does."""
    for line in (report.fixture, *report.explanation()):
        printable(line).encode()


def _recorded(fixture: Fixture) -> None:
    """What was told to a recorder replays green, redacted or not."""
    if fixture.random is not None or fixture.endpointer is not None:
        return
    if fixture.role == "client":
        recorder = Recorder.client(fixture.name, fixture.options, retry=fixture.retry, limits=fixture.limits)
    else:
        recorder = Recorder.gateway(fixture.name, limits=fixture.limits, patience=fixture.patience)
    noted: list[tuple[float, str, str | bytes]] = []
    for step in fixture.steps:
        if step.method is not None:
            method = getattr(recorder, step.method)
            try:
                if step.method in ("send_audio", "receive_text", "receive_binary"):
                    method(step.data, step.at)
                elif "data" in step.args:
                    others = {key: value for key, value in step.args.items() if key != "data"}
                    method(step.args["data"], step.at, **others)
                else:
                    method(step.at, **step.args)
            except LocalProtocolError:
                continue
            noted.append((step.at, step.method, step.data))
        while recorder.take_actions(step.at, step.take) and step.take is None:
            pass
    told: list[int] = []
    for redact in (False, True):
        recorded = recorder.lines(redact_text=redact, redact_audio=redact)
        anew = load(recorded)
        check(replay(anew) == [], "a recording replays green")
        kept = [(step.at, step.method, step.data) for step in anew.steps if step.method is not None]
        check(redact or kept == noted, "a recording holds what was told")
        actions = [len(step.actions) for step in anew.steps]
        told = told or actions
        check(actions == told, "as much follows from what was redacted")
        check([(at, method) for at, method, _ in kept] == [(at, method) for at, method, _ in noted], "in its order")


def seeds() -> Iterable[bytes]:
    """The shortest of the fixtures that come with the package, and answers of all kinds."""
    files = sorted((file.read_text("utf-8") for file in bundled().values()), key=len)
    yield from (text.encode() for text in files[:80])
    core = b'{"actions":[{"connect":{"attempt":0}}],"events":[],"link_state":"connecting","deadline":10.0,"looks":{}}'
    yield files[0].encode() + ANSWERS + core + SEPARATOR + b'{"raises":"LocalProtocolError"}'
    yield files[1].encode() + ANSWERS + b'{"actions":[{"send":{"type":"input_audio","audio":{"hex":"00"}}}]}'


TARGET = Target(
    "fixture",
    run,
    permitted=(FixtureError,),
    seeds=seeds,
    mutate=Mutator(
        separator=SEPARATOR,
        tokens=[ANSWERS, b'"at":', b'"args":{}', b'"take":', b'"times":', b'"hex":"', b'"limits":{"words":0}'],
        frames=[
            b'{"at":1.0,"call":"close"}',
            b'{"at":1.0,"call":"end_input"}',
            b'{"at":1.0,"call":"handle_timeout"}',
            b'{"at":1.0,"call":"transport_opened"}',
            b'{"at":1.0,"call":"transport_closed","args":{"code":1006,"error":{"name":"TlsError","retryable":true}}}',
            b'{"at":1.0,"audio":{"hex":"0001","times":800}}',
            b'{"at":1.0,"binary":{"hex":"00"}}',
            b'{"at":1.0,"text":{"type":"final_transcript","transcript":"x","start":0,"duration":0.1}}',
            b'{"at":1.0,"text":{"type":"input_audio","audio":{"hex":"0001","times":80}}}',
            b'{"at":1.0,"text":"{\\"type\\":\\"session.create\\",\\"settings\\":{}}"}',
            b'{"at":1.0,"call":"update_options","args":{"keyterms":["a"],"extra":{"a":1},"language":"de"}}',
            b'{"at":1.0,"call":"transcript","args":{"final":true,"data":{"text":"x","words":[{"text":"x"}]}}}',
            b'{"at":2.0,"take":0}',
        ],
    ),
)
