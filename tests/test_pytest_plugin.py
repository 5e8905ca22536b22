"""The pytest plugin, as its users have it: each test runs pytest in a process of its own, without other plugins."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, cast

import pytest

from lkstt_proto import Connection, STTOptions
from lkstt_proto.dialogue import bundled
from lkstt_proto.pair import Pair
from lkstt_proto.recording import Recorder
from lkstt_transports import pytest_plugin

from .test_readme import source

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
RECORDING = "turn_goes_on_after_a_cut.jsonl"

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Have a test file run by pytest with nothing but the plugin; give the result."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def ran(test: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test)
        strict = ("-W", "error", "--strict-markers", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess("-p", pytest_plugin.__name__, *strict, *options)

    return ran


def recording(folder: Path, name: str = RECORDING, change: Callable[[list[str]], None] = lambda lines: None) -> None:
    """Put a fixture that comes with lkstt into a folder, with some change."""
    lines = bundled()[RECORDING].read_text("utf-8").splitlines()
    change(lines)
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines), "utf-8")


def altered(line: int, **fields: Any) -> Callable[[list[str]], None]:
    """Change some fields of a line."""

    def change(lines: list[str]) -> None:
        lines[line] = json.dumps({**json.loads(lines[line]), **fields})

    return change


# What a user pastes.


def test_the_example_with_recordings_runs_for_each_one(run: Run, pytester: pytest.Pytester) -> None:
    recording(pytester.path / "recordings", "morning.jsonl")
    recording(pytester.path / "recordings", "evening.jsonl")
    result = run(source("test-recordings"), "-v")
    result.assert_outcomes(passed=2)
    names = ["*::test_every_turn_comes_to_its_end[[]evening[]] PASSED*", "*to_its_end[[]morning[]] PASSED*"]
    result.stdout.fnmatch_lines(names)


@pytest.mark.parametrize("name", ["test-gateway", "test-pair"])
def test_the_other_examples_pass_as_they_stand(run: Run, name: str) -> None:
    run(source(name)).assert_outcomes(passed=1)


def test_the_help_of_pytest_explains_everything(run: Run) -> None:
    result = run("", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.lkstt_recordings(folder): run the test for each recording*"])
    result = run("", "--fixtures")
    for name in ("lkstt_replay", "lkstt_gateway", "lkstt_pair"):
        result.stdout.fnmatch_lines([f"{name} -- *pytest_plugin.py:*", f"    *`*{name}(*"])
    result.stdout.fnmatch_lines(["lkstt_recording -- *", "    *`@pytest.mark.lkstt_recordings(*"])


# Replaying.


def test_a_replay_gives_all_that_the_application_was_told(run: Run) -> None:
    run(
        """
        from lkstt_proto import Connection, Reconnecting, Resumed, SessionCreated, SpeechEvent

        def test(lkstt_replay):
            replay = lkstt_replay("turn_goes_on_after_a_cut")
            assert replay.fixture.name == "turn_goes_on_after_a_cut"
            assert isinstance(replay.core, Connection) and replay.core.stats.sessions == 2
            others = [type(event) for event in replay.events if not isinstance(event, SpeechEvent)]
            assert others == [SessionCreated, Reconnecting, Resumed]
            assert [event.alternatives[0].text for event in replay.speech if event.alternatives] == ["a", "a b", "a b"]
        """
    ).assert_outcomes(passed=1)


def test_recordings_are_seen_from_the_test_whatever_they_are_called_by(run: Run, pytester: pytest.Pytester) -> None:
    recording(pytester.mkdir("inner") / "calls", "one.two.jsonl")
    inner = pytester.path / "inner" / "test_inner.py"
    inner.write_text(
        f"""
from pathlib import Path
import pytest

@pytest.mark.parametrize("call", [
    "calls/one.two", "calls/one.two.jsonl", Path("calls", "one.two"), {str(inner.parent / "calls" / "one.two.jsonl")!r},
    "turn", "turn.jsonl",
])
def test(call, lkstt_replay):
    assert lkstt_replay(call).events
"""
    )
    run("").assert_outcomes(passed=6)


def test_the_first_difference_fails_the_test_readably(run: Run, pytester: pytest.Pytester) -> None:
    events = [{"type": "recognition_usage"}, {"type": "final_transcript", "alternatives": [{"text": "a c"}]}]
    recording(pytester.path, "call.jsonl", altered(11, events=events, deadline=9))
    result = run("def test(lkstt_replay):\n    lkstt_replay('call.jsonl')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "call.jsonl does not replay: step 11 of 11 (line 12, at 1 s)",
            '  input:    {"at": 1.0, "text": {"type": "final_transcript", "transcript": "a b", "start": 0, *}}',
            "  field:    events[[]1[]].alternatives[[]0[]].text",
            '  recorded: "a c"',
            '  now:      "a b"',
            "  and also: deadline",
        ],
        consecutive=True,
    )
    assert "pytest_plugin" not in result.stdout.str()


def test_of_long_values_the_report_shows_where_they_differ(run: Run, pytester: pytest.Pytester) -> None:
    said = "words " * 50
    message = {"type": "final_transcript", "transcript": f"{said}that were said {said}"}
    heard = {"text": f"{said}that were heard {said}"}
    change = altered(11, text=message, events=[{"type": "recognition_usage"}, {"alternatives": [heard], "type": "x"}])
    recording(pytester.path, "call.jsonl", change)
    result = run("def test(lkstt_replay):\n    lkstt_replay('call.jsonl')")
    words = "words words words"
    result.stdout.fnmatch_lines(
        [f"  recorded: …*{words} that were heard words*…", f"  now:      …*that were said {words}*…"]
    )


def test_a_recording_that_is_none_fails_the_test(run: Run, pytester: pytest.Pytester) -> None:
    for name, content in {"empty": b"", "broken": b"{\n", "binary": b"\xff"}.items():
        (pytester.path / f"{name}.jsonl").write_bytes(content)
    result = run(
        """
        import pytest

        @pytest.mark.parametrize("fixture", ["lkstt_replay", "lkstt_gateway"])
        @pytest.mark.parametrize("name", ["absent", "empty", "broken", "binary"])
        def test(fixture, name, request): request.getfixturevalue(fixture)(name)
        """
    )
    result.assert_outcomes(failed=8)
    for said in (
        "no recording absent: it is not in */*, and none of that name comes with lkstt",
        "empty is no recording: the fixture is empty: its first line is the header",
        "broken is no recording: line 1 is not usable *",
        "binary is no recording: it is not even UTF-8",
    ):
        result.stdout.fnmatch_lines(["*lkstt_replay*", said, "*lkstt_gateway*", said])


def test_a_recording_that_lacks_random_numbers_does_not_replay(run: Run, pytester: pytest.Pytester) -> None:
    lines = [{"fixture": 1, "name": "x", "role": "client", "random": []}, {"at": 0, "call": "start"}]
    lines[1] |= {"actions": [{"connect": {"attempt": 0}}]}
    lines.append({"at": 1, "call": "transport_closed"})
    (pytester.path / "call.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    result = run("def test(lkstt_replay):\n    lkstt_replay('call.jsonl')")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["call.jsonl does not replay: the core asked for more random numbers *"])


# Recordings of a folder.


FOLDER = """
import pytest

@pytest.mark.lkstt_recordings("calls")
def test_calls(lkstt_recording, lkstt_replay): lkstt_replay(lkstt_recording)
"""


def test_a_recording_that_does_not_replay_is_named_by_its_test(run: Run, pytester: pytest.Pytester) -> None:
    recording(pytester.path / "calls", "good.jsonl")
    recording(pytester.path / "calls", "bad.jsonl", altered(1, deadline=11))
    (pytester.path / "calls" / "notes.txt").write_text("not one of them")
    result = run(FOLDER)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*/calls/bad.jsonl does not replay: step 1 of 11 (line 2, at 0 s)", "*test_calls[[]bad[]]*"]
    )


def test_a_marked_class_has_tests_with_and_without_recordings(run: Run, pytester: pytest.Pytester) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        recording(pytester.path / "calls", name)
    run(
        """
        import pytest

        @pytest.fixture
        def kinds(lkstt_recording, lkstt_replay):
            return [event.type for event in lkstt_replay(lkstt_recording).speech]

        @pytest.mark.lkstt_recordings("calls")
        class TestCalls:
            def test_by_a_fixture_of_the_user(self, kinds):
                assert kinds[-1] == "end_of_speech"

            def test_without(self): ...
        """
    ).assert_outcomes(passed=3)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_recordings_is_an_error(run: Run, pytester: pytest.Pytester, exists: bool) -> None:
    if exists:
        pytester.mkdir("calls")
    result = run(FOLDER)
    result.assert_outcomes(errors=1)
    said = "no recording (*.jsonl) is in" if exists else "there is no folder"
    result.stdout.fnmatch_lines([f"lkstt_recordings: {said} {pytester.path / 'calls'}"])


def test_marker_and_argument_belong_together(run: Run, pytester: pytest.Pytester) -> None:
    folder, takes = "lkstt_recordings('calls')", "def test_it(lkstt_recording): ..."
    pytester.makepyfile(
        test_no_argument=f"from pytest import mark\n\n@mark.{folder}\ndef test_it(): ...",
        test_no_folder=f"from pytest import mark\n\n@mark.lkstt_recordings\n{takes}",
        test_two_folders=f"from pytest import mark\n\n@mark.lkstt_recordings('a', 'b')\n{takes}",
        test_keyword=f"from pytest import mark\n\n@mark.lkstt_recordings(folder='a')\n{takes}",
    )
    result = run(takes, "--continue-on-collection-errors")
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(["test_it is marked with lkstt_recordings and does not take lkstt_recording"])
    result.stdout.fnmatch_lines(['lkstt_recordings takes one folder: @pytest.mark.lkstt_recordings("folder")'] * 3)
    result.stdout.fnmatch_lines(
        ['lkstt_recording needs the marker @pytest.mark.lkstt_recordings("folder") on its test']
    )


# The gateway.


RUNTIMES = """
import asyncio, threading
from importlib import import_module
import pytest
from lkstt_transports.gateway.recognizers.script import EchoRecognizer, Script

async def heard(runtime, pcm, settings):
    async with import_module(f"lkstt_transports.{runtime}").STT(**settings) as stt:
        return (await stt.recognize(pcm)).alternatives[0].text

def transcribe(runtime, pcm, settings):
    if runtime == "sync":
        with import_module("lkstt_transports.sync").STT(**settings) as stt:
            return stt.recognize(pcm).alternatives[0].text
    if runtime == "trio":
        return import_module("trio").run(heard, runtime, pcm, settings)
    return asyncio.run(heard(runtime, pcm, settings))

@pytest.mark.parametrize("runtime", ["asyncio", "trio", "anyio", "sync"])
def test_runtime(runtime, lkstt_gateway):
    gateway, echo = lkstt_gateway(Script(final="first"), Script(final="then")), lkstt_gateway(EchoRecognizer())
    assert gateway.settings == {
        "base_url": gateway.base_url, "api_key": gateway.api_key, "api_secret": gateway.api_secret
    }
    assert gateway.base_url.startswith("http://127.0.0.1:") and gateway.base_url != echo.base_url
    assert [transcribe(runtime, bytes(3200), gateway.settings) for _ in range(3)] == ["first", "then", "then"]
    assert transcribe(runtime, b"\\x07\\x00" * 3200, echo.settings) == "7 7"

def test_nothing_is_left_of_them():
    assert "lkstt-gateway" not in [thread.name for thread in threading.enumerate()]
"""


def test_a_gateway_serves_tests_of_any_runtime(run: Run) -> None:
    run(RUNTIMES).assert_outcomes(passed=5)


def test_a_gateway_can_be_used_inside_of_a_running_loop(run: Run) -> None:
    run(
        """
        import asyncio
        from lkstt_transports.asyncio import STT
        from lkstt_transports.gateway.recognizers.script import Script

        def test(lkstt_gateway):
            async def main():
                async with STT(**lkstt_gateway(Script(final="words")).settings) as stt:
                    return (await stt.recognize(bytes(3200))).alternatives[0].text
            assert asyncio.run(main()) == "words"
        """
    ).assert_outcomes(passed=1)


def test_a_recording_is_played_to_a_client(run: Run, pytester: pytest.Pytester) -> None:
    recorder = Recorder.client("call", STTOptions())
    pair = Pair(cast("Connection", recorder))  # a recorder is used as what it records
    pair.wish(lambda: recorder.start(0.0))
    pair.end_input(pair.microphone(bytes(32000)))
    pair.run()
    (pytester.path / "call.jsonl").write_text("\n".join(recorder.lines()))
    run(
        """
        import asyncio
        from lkstt_transports.asyncio import STT

        def test(lkstt_replay, lkstt_gateway):
            gateway = lkstt_gateway("call")
            async def main():
                async with STT(**gateway.settings) as stt, stt.stream() as stream:
                    await stream.push_audio(bytes(32000))
                    stream.end_input()
                    return [type(event).__name__ async for event in stream.events()]
            kinds = asyncio.run(main())
            assert kinds == [type(event).__name__ for event in lkstt_replay("call").events]
            assert kinds[0] == "SessionCreated" and kinds[-1] == "StreamEnded"
        """
    ).assert_outcomes(passed=1)


def test_a_test_that_leaves_its_client_open_comes_to_its_end(run: Run) -> None:
    result = run(
        """
        import asyncio
        from lkstt_transports.asyncio import STT
        from lkstt_transports.gateway.recognizers.script import Script

        loops = []

        def test(lkstt_gateway):
            async def main():
                stream = STT(**lkstt_gateway(Script()).settings).stream()
                await stream.push_audio(bytes(3200))
                await asyncio.sleep(0.1)
            loops.append(asyncio.new_event_loop())
            loops[0].run_until_complete(main())
            assert False, "in the middle of it"
        """,
        "-W",
        "ignore",
    )
    result.assert_outcomes(failed=1)


def test_a_gateway_that_cannot_be_is_told_to_the_test(run: Run) -> None:
    result = run(
        """
        class Broken:
            async def start(self):
                raise OSError("no microphone")

            async def aclose(self): ...

        def test_mixed(lkstt_gateway): lkstt_gateway("turn", "turn")
        def test_broken(lkstt_gateway): lkstt_gateway(Broken())
        def test_silent(lkstt_gateway): lkstt_gateway("close_before_the_start")
        """
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*LocalProtocolError: a gateway takes scripts, or one recogniser, or one recording",
            "*OSError: no microphone",
            "*LocalProtocolError: the recording has no session that could be played",
        ]
    )


def test_the_secret_is_not_shown(run: Run) -> None:
    result = run("def test(lkstt_gateway):\n    assert lkstt_gateway() is None")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*RunningGateway(base_url='http://127.0.0.1:*/v1', api_key='*')*"])
    assert "api_secret=" not in result.stdout.str()


# Both ends.


def test_a_pair_takes_the_user_s_connection_application_and_latency(run: Run) -> None:
    run(
        """
        from lkstt_proto import Connection, Limits, SessionRequested, STTOptions

        def test(lkstt_pair):
            asked = []
            mine = Connection(STTOptions("assemblyai/u3-rt-pro"), limits=Limits(ping_interval=1.0))
            pair = lkstt_pair(mine, lambda session, event: asked.append((session.now, event)), latency=0.5)
            assert pair.connection is mine
            pair.run(until=lambda: bool(asked))
            (time, event), = asked
            assert time == 1.5 and isinstance(event, SessionRequested) and event.model == "assemblyai/u3-rt-pro"
            assert pair.step() and pair.now == 2.0
        """
    ).assert_outcomes(passed=1)


# What it costs those who do not use it.


def test_the_plugin_imports_nothing_before_it_is_used(run: Run) -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import lkstt_transports.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    imported = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert imported.stdout.split() == ["lkstt_transports", "lkstt_transports.pytest_plugin"]
    # Not asyncio, which pytest's own debugger imports from Python 3.14 on.
    run(
        """
        import sys

        def test():
            assert {"aiohttp", "attrs", "lkstt_proto", "lkstt_transports.common"}.isdisjoint(sys.modules)
        """
    ).assert_outcomes(passed=1)


def test_nothing_but_the_plugin_needs_pytest() -> None:
    users = set()
    for path in [*ROOT.glob("lkstt_proto/**/*.py"), *ROOT.glob("lkstt_transports/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            if "pytest" in {name.partition(".")[0] for name in names}:
                users.add(path.name)
    assert users == {"pytest_plugin.py"}


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, value),) = project["entry-points"]["pytest11"].items()
    assert name == "lkstt"
    assert EntryPoint(name, value, "pytest11").load() is pytest_plugin
