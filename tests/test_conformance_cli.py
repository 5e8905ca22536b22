"""`lkstt conformance`: what it says of ports that do well, that differ, and that misbehave in every way they can."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lkstt_proto.dialogue import bundled
from lkstt_transports.cli import conformance as module
from lkstt_transports.cli.app import run

# A port that is right, but for what stands in place of the comment; `number` counts the lines that it got.
PORT = """
import json, os, subprocess, sys, time
from lkstt_proto.conformance import CorePort

port, number, answer = CorePort(), 0, ""

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

for line in sys.stdin:
    number += 1
    answer = port.answer(line)
    {each}
    say(answer + "\\n")
{end}
"""

Play = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def play(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Play:
    """Run a port that does something else on some lines, or at the end; gives the exit code and the lines printed."""

    def play(*arguments: str, each: str = "", end: str = "", fixtures: int = 3) -> tuple[int, list[str]]:
        script = tmp_path / "port.py"
        script.write_text(PORT.format(each=each or "pass", end=end))
        folder = tmp_path / "fixtures"
        folder.mkdir(exist_ok=True)
        for name, steps in [("one", 2), ("two", 2), ("three", 3)][:fixtures]:
            text = bundled()["turn.jsonl"].read_text("utf-8").replace('"name":"turn"', f'"name":"{name}"')
            (folder / f"{fixtures}_{name}.jsonl").write_text("".join(text.splitlines(keepends=True)[: steps + 1]))
        given = [] if "--fixtures" in arguments else ["--fixtures", str(folder)]
        code = run(["conformance", *given, *arguments, "--", sys.executable, str(script)])
        return code, [line.replace(str(folder) + os.sep, "") for line in capfd.readouterr().out.splitlines()]

    return play


SLEEPER = """import fcntl, time
file = open({path!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("here", file=file, flush=True)
time.sleep(600)
"""
"""A script that holds a file locked for as long as it runs."""


def is_running(path: Path) -> bool:
    """Whether the ``SLEEPER`` of this file is there, and not only its remains that nobody collects."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_the_core_passes_all_that_comes_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance"]) == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    count = len(bundled())
    assert lines[:-1] == [f"pass  {name.removesuffix('.jsonl')}" for name in bundled()]
    assert lines[-1].startswith(f"{count} fixtures: {count} passed, 0 failed, 0 skipped, in ")
    assert captured.err == ""


def test_a_port_passes(play: Play) -> None:
    code, lines = play()
    assert code == 0
    assert sorted(lines[:-1]) == ["pass  one", "pass  three", "pass  two"]


@pytest.mark.parametrize("role", ["client", "gateway"])
def test_only_fixtures_of_a_role_are_played(role: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "--role", role]) == 0
    names = [name for name, file in bundled().items() if f'"role":"{role}"' in file.read_text("utf-8").split("\n")[0]]
    assert capfd.readouterr().out.splitlines()[:-1] == [f"pass  {name.removesuffix('.jsonl')}" for name in names]


def test_files_and_folders_may_be_given(play: Play, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    single = tmp_path / "single.txt"
    for path in (tmp_path / "inner" / "a.jsonl", single):
        path.write_text('{"fixture":1,"name":"nothing happens","role":"client"}\n')
    code, lines = play("--fixtures", str(tmp_path), "--fixtures", str(single))
    assert code == 0
    assert len(lines) == 3 + 2 + 1  # those of the fixture `play`, these, and the last line


def test_the_first_difference_is_told_and_where(play: Play) -> None:
    code, lines = play(each="answer = answer.replace('creating', 'created')", fixtures=1)
    assert code == 1
    assert lines[:-1] == [
        "fail  one",
        '      1_one.jsonl: line 3, at 0.1: {"call": "transport_opened"}',
        "        session_state",
        '          expected  "creating"',
        '          got       "created"',
    ]
    assert lines[-1].startswith("1 fixtures: 0 passed, 1 failed, 0 skipped, in ")


def test_a_port_that_supports_nothing_has_not_passed(play: Play) -> None:
    code, lines = play(each="answer = json.dumps({'unsupported': 'no\\x1b time'})", fixtures=1)
    assert code == 1
    assert lines[:-1] == ["skip  one", "      no\\x1b time"]


def test_a_failure_costs_no_other_fixture(play: Play) -> None:
    code, lines = play(each="if number == 5: answer = '{}'")
    assert code == 1
    assert [line[:4] for line in lines if not line.startswith(" ")][:-1] == ["pass", "fail", "pass"]


@pytest.mark.parametrize(
    ("each", "complaint"),
    [
        ("if number == 2: sys.exit(3)", "ended with exit code 3 instead of an answer"),
        ("if number == 2: os.kill(os.getpid(), 9)", "ended by signal 9 instead of an answer"),
        ("if number == 2: os.close(1); time.sleep(60)", "closed its standard output instead of an answer"),
        ("if number == 2: say('{'); sys.exit()", "exit code 0 instead of an answer, only '{' without a line's end"),
        ("if number == 2: answer = chr(27)", 'answered what is no JSON (1 bytes that are no JSON): "\\u001b"'),
        ("if number == 2: answer += chr(10) + answer", "wrote a line too many: '{\""),
        ("if number == 2: answer += chr(10) * 2", "wrote a line too many: ''"),
        (
            "while number == 2: say('x' * 65536)",
            f"wrote a line without end, only '{'x' * 100}'... without a line's end",
        ),
        ("while number == 2: say(('[]' + chr(10)) * 2)", "wrote a line too many: '[]"),
    ],
)
def test_whatever_a_port_says_is_told_of_one_fixture(
    each: str, complaint: str, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINE_LIMIT", 2**17)
    code, lines = play(each=each, fixtures=1)
    assert code == 1
    assert lines[:2] == ["fail  one", '      1_one.jsonl: line 2, at 0: {"call": "start"}']
    assert complaint in lines[2]
    assert lines[-1].startswith("1 fixtures: 0 passed, 1 failed")


@pytest.mark.parametrize(("said", "heard"), [("", ""), ("{", ", only '{' without a line's end")])
def test_a_port_that_hangs_is_not_waited_for(said: str, heard: str, play: Play) -> None:
    code, lines = play("--timeout", "1.5", each=f"if number == 2: say({said!r}); time.sleep(60)", fixtures=1)
    assert code == 1
    assert lines[2] == f"        gave no answer within 1.5 s{heard}"


def test_a_port_that_never_answers_is_tried_once(play: Play) -> None:
    code, lines = play(each="sys.exit('not ready')")
    assert code == 1
    assert lines[1] == "      3_one.jsonl: line 1: ended with exit code 1 instead of an answer"
    assert lines[2:4] == ["      standard error:", "      | not ready"]
    assert lines[-1].startswith("3 fixtures: 0 passed, 1 failed, 0 skipped, 2 not tried, in ")


def test_a_port_that_does_not_read_is_not_waited_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script, long = tmp_path / "port.py", tmp_path / "long.jsonl"
    script.write_text("import time\ntime.sleep(60)\n")
    long.write_text(json.dumps({"fixture": 1, "name": "x" * 2**20, "role": "client"}))
    assert run(["conformance", "--timeout", "0.3", "--fixtures", str(long), sys.executable, str(script)]) == 1
    assert "gave no answer within 0.3 s" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("end", "complaint"),
    [
        ("sys.exit(4)", "ended with exit code 4 at the end of its input"),
        ("time.sleep(60)", "did not end within 1.5 s of the end of its input"),
        ("os.close(1); time.sleep(60)", "did not end within 1.5 s of the end of its input"),
        ("say('bye' + chr(10))", "wrote a line too many: 'bye'"),
    ],
)
def test_a_port_has_to_end_in_order(end: str, complaint: str, play: Play) -> None:
    code, lines = play("--timeout", "1.5", end=end, fixtures=1)
    assert code == 1
    assert lines[:-1] == ["pass  one", "fail  the end of input", f"      {complaint}"]
    assert lines[-1].startswith("1 fixtures: 1 passed, 1 failed, 0 skipped, in ")


def test_what_a_port_started_ends_with_it(play: Play, tmp_path: Path) -> None:
    child, held = tmp_path / "child.py", tmp_path / "held"
    child.write_text(SLEEPER.format(path=str(held)))
    each = f"""if number == 2:
        subprocess.Popen([sys.executable, {str(child)!r}])
        while not os.path.exists({str(held)!r}) or not os.path.getsize({str(held)!r}):
            time.sleep(0.01)
        sys.exit(3)"""
    code, _ = play(each=each, fixtures=1)
    assert code == 1
    for _ in range(2000):
        if not is_running(held):
            break
        time.sleep(0.01)
    assert not is_running(held)


def test_standard_error_is_shown_escaped_and_cut(play: Play) -> None:
    code, lines = play(each="sys.stderr.write('a\\x1b' * 20000); sys.exit(1)", fixtures=1)
    assert code == 1
    shown = next(line for line in lines if line.startswith("      | "))
    assert "\\x1ba\\x1b" in shown
    assert len(shown) < 50000


def test_a_report_for_build_servers(play: Play, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    change = "if '\"two\"' in line: answer = json.dumps({'unsupported': 'too hard'})"
    more = "\n    if number == 2: sys.stderr.write('oh\\x01'); time.sleep(0.2); answer = 'no\\x01'"
    code, _ = play("--junit", str(report), each=change + more)
    assert code == 1
    suite = ElementTree.fromstring(report.read_text("utf-8"))  # noqa: S314 (our own)
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
        "tests": "3",
        "failures": "2",
        "skipped": "1",
        "errors": "0",
    }
    cases = {case.get("name"): case for case in suite}
    assert {case.get("classname") for case in cases.values()} == {"lkstt.conformance.client"}
    failure = cases["one"].find("failure")
    assert failure is not None
    assert "no\\u0001" in (failure.text or "")
    assert "line 2" in (failure.get("message") or "")
    assert cases["one"].findtext("system-err") == "oh\\x01"
    skipped = cases["two"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "too hard"


def test_a_report_is_xml_whatever_a_fixture_is_called(tmp_path: Path) -> None:
    fixture, report = tmp_path / "odd.jsonl", tmp_path / "report.xml"
    fixture.write_text(json.dumps({"fixture": 1, "name": "a\0\ud800", "role": "client"}), "utf-8")
    assert run(["conformance", "--fixtures", str(fixture), "--junit", str(report)]) == 0
    (case,) = ElementTree.fromstring(report.read_text("utf-8"))  # noqa: S314 (our own)
    assert case.get("name") == "a\\x00\\ud800"


def test_a_report_that_cannot_be_written_is_told(play: Play, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert play("--junit", str(tmp_path / "missing" / "report.xml"), fixtures=1)[0] == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["./there-is-no-such-port"], "./there-is-no-such-port cannot be run"),
        (["--timeout", "0"], "Invalid value for '--timeout'"),
        (["--fixtures", "nowhere"], "Invalid value for '--fixtures'"),
        (["--role", "server"], "Invalid value for '--role'"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], complaint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", *arguments]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"lkstt: {complaint}")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the fixture is empty"),
        (b'{"fixture":1,"name":"a","role":"client"}\n{"at":0}\n', "line 2: a step has one input"),
        (b"\xff", "cannot be read: it must be a text in UTF-8"),
    ],
)
def test_a_fixture_that_is_none_is_wrong_usage(
    content: bytes, complaint: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(content)
    assert run(["conformance", "--fixtures", str(tmp_path)]) == 2
    error = capfd.readouterr().err
    assert error.startswith(f"lkstt: {file}")
    assert complaint in error


def test_a_folder_without_fixtures_is_wrong_usage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "--fixtures", str(tmp_path)]) == 2
    assert "there is no fixture to check" in capfd.readouterr().err


def test_the_core_as_a_port_refuses_what_is_no_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lkstt_transports.cli", "conformance", "--port"], input=b"hello\n", capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"lkstt: no line can be read (6 bytes that are no JSON)\n"


def test_an_interrupt_ends_the_port_as_well(tmp_path: Path) -> None:
    script, held = tmp_path / "port.py", tmp_path / "held"
    script.write_text(SLEEPER.format(path=str(held)))
    arguments = [sys.executable, "-m", "lkstt_transports.cli", "conformance", "--", sys.executable, str(script)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not held.exists() or not held.stat().st_size:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, error = process.communicate(timeout=10)
    assert (process.returncode, output, error) == (130, b"", b"lkstt: interrupted\n")
    assert not is_running(held)
