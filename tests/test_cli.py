"""The command line: what it prints where, its exit codes, and one clear line for whatever is wrong.

Most of it runs in this process against a gateway that spells the audio: each word is the first sample of a tenth of a
second, so that nothing can be lost, doubled or reordered unnoticed.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import types
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lkstt_proto.catalogue import models as known_models
from lkstt_transports import cli
from lkstt_transports.cli import job, local, running
from lkstt_transports.cli.app import run
from lkstt_transports.cli.display import Display
from lkstt_transports.gateway import LocalGateway, recognizers
from lkstt_transports.gateway.faults import CutTransport, FailSession
from lkstt_transports.gateway.recognizers import Final, Partial, Recognizer, RecognizerMissing
from lkstt_transports.gateway.recognizers.script import At, EchoRecognizer, Script, ScriptRecognizer

SECRET = "a secret for tests that nobody has to guess"
TRANSPORTS = ["asyncio", "trio", "anyio", "sync"]
on_each_transport = pytest.mark.parametrize("transport", TRANSPORTS)
VARIABLES = [
    f"{name}{part}" for name in ("LIVEKIT_", "LIVEKIT_INFERENCE_") for part in ("API_KEY", "API_SECRET", "URL")
]


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*VARIABLES, "LKSTT_API_KEY", "LKSTT_API_SECRET"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hear(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recognizer], None]:
    """Choose the recogniser of `--local` and `serve`; it is the one that spells until chosen otherwise."""

    def choose(recognizer: Recognizer) -> None:
        for module in (local, recognizers):
            monkeypatch.setattr(module, "PocketsphinxRecognizer", lambda **_: recognizer)

    choose(EchoRecognizer())
    return choose


@pytest.fixture
def gateway() -> Iterator[str]:
    """A gateway in a thread; gives its base URL."""
    ready = threading.Event()
    address = []

    async def serve_until_stopped() -> None:
        made = LocalGateway(recognizer=EchoRecognizer(), secrets={"key": SECRET})
        async with made:
            address.append((made.base_url, asyncio.get_running_loop(), stop := asyncio.Event()))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve_until_stopped()))
    thread.start()
    assert ready.wait(10)
    base_url, loop, stop = address[0]
    yield base_url
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


def pcm(words: int, first: int = 1) -> bytes:
    return b"".join(struct.pack("<h", first + word) * 1600 for word in range(words))


def spelt(words: int, first: int = 1) -> str:
    """What is recognised, a line for each second."""
    return "".join(
        " ".join(str(first + word) for word in range(at, min(at + 10, words))) + "\n" for at in range(0, words, 10)
    )


def saved(path: Path, words: int = 25, first: int = 1) -> str:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(pcm(words, first))
    return str(path)


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return saved(tmp_path / "clip.wav")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lkstt_transports.cli", *arguments]


# What goes where.


@on_each_transport
def test_the_transcript_goes_to_standard_output_and_one_plain_line_to_standard_error(
    hear: object, transport: str, clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["transcribe", "--local", "--transport", transport, clip]) == 0
    out, err = capfd.readouterr()
    assert out == spelt(25)
    assert re.fullmatch(rf"lkstt: {re.escape(clip)}: 2\.5 s of audio in [\d.]+ s, [\d.]+ times real time\n", err)


def test_the_formats_hold_the_same_words(hear: object, clip: str, capfd: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for kind in ("srt", "vtt", "tsv", "json", "jsonl"):
        assert run(["transcribe", "--local", "--format", kind, "--word-timestamps", clip]) == 0
        printed[kind] = capfd.readouterr().out
    whole = json.loads(printed["json"])
    assert whole["text"].split() == spelt(25).split()
    assert (whole["file"], whole["duration"], whole["complete"]) == (clip, 2.5, True)
    words = [word for segment in whole["segments"] for word in segment["words"]]
    assert words[12] == {"text": "13", "start": 1.2, "end": 1.3}
    assert [json.loads(line)["text"] for line in printed["jsonl"].splitlines()] == spelt(25).splitlines()
    assert printed["tsv"].splitlines()[13] == f"{clip}\t1.200\t1.300\t13"
    assert "13\n00:00:01,200 --> 00:00:01,300\n13\n\n" in printed["srt"]
    assert "\n\n00:00:01.200 --> 00:00:01.300\n13\n\n" in printed["vtt"]


@on_each_transport
def test_several_files_come_in_the_order_given_however_many_at_once(
    hear: object, transport: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["transcribe", "--local", "--transport", transport]
    files = [saved(tmp_path / f"{index}.wav", 80 - 20 * index, 100 * index + 1) for index in range(4)]
    expected = "\n".join(
        f"==> {name} <==\n{spelt(80 - 20 * index, 100 * index + 1)}" for index, name in enumerate(files)
    )
    for jobs in ("1", "3", "9"):
        assert run([*arguments, "--jobs", jobs, *files]) == 0
        assert capfd.readouterr().out == expected
    assert run([*arguments, "--jobs", "2", "--format", "json", *files]) == 0
    assert [item["file"] for item in json.loads(capfd.readouterr().out)] == files


@on_each_transport
def test_standard_input_is_wav_or_raw_samples(
    hear: object,
    transport: str,
    clip: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(pcm(25))
    for path in (clip, raw):
        with open(path, encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            assert run(["transcribe", "--local", "--transport", transport, "-", "--format", "jsonl"]) == 0
        out, err = capfd.readouterr()
        assert [json.loads(line) | {"language": ""} for line in out.splitlines()][1] == {
            "file": "-", "start": 1.0, "end": 2.0, "text": "11 12 13 14 15 16 17 18 19 20", "language": "",
        }  # fmt: skip
        assert "standard input: 2.5 s of audio" in err


def test_output_appears_under_its_name_when_it_is_whole(
    hear: object, clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.srt"
    assert run(["transcribe", "--local", "--output", str(out), clip]) == 0
    assert capfd.readouterr().out == ""
    assert out.read_text().startswith("1\n00:00:00,000 --> 00:00:01,000\n1 2 3 4 5 6 7 8 9 10\n\n2\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.wav", "out.srt"]


def test_an_output_directory_is_made_and_gets_a_file_for_each(
    hear: object, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = [saved(tmp_path / f"{index}.wav", 12, 50 * index) for index in range(3)]
    assert run(["transcribe", "--local", "--jobs", "2", "--output-dir", str(tmp_path / "texts"), *files]) == 0
    assert capfd.readouterr().out == ""
    assert {path.name: path.read_text() for path in (tmp_path / "texts").iterdir()} == {
        f"{index}.txt": spelt(12, 50 * index) for index in range(3)
    }


def test_realtime_takes_as_long_as_the_audio_plays(
    hear: object, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert run(["transcribe", "--local", "--realtime", saved(tmp_path / "a.wav", 10)]) == 0
    # Not a measurement: it cannot be faster, and may be as slow as it likes.
    assert time.monotonic() - started >= 1.0
    assert capfd.readouterr().out == spelt(10)


def test_what_a_transcript_holds_moves_no_cursor(
    hear: Callable[[Recognizer], None], clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hear(ScriptRecognizer(Script(final="\x1b[2J\u202eevil\r\nline")))
    assert run(["transcribe", "--local", clip]) == 0
    assert capfd.readouterr().out == "\\x1b[2J\\u202eevil line\n"


# What goes wrong.


def test_without_credentials_it_says_which_variables_and_that_local_needs_none(
    clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "alone")
    assert run(["transcribe", clip]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        "lkstt: no credentials: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET (or LIVEKIT_INFERENCE_API_KEY and _SECRET), "
        "or use --local, which needs none\n"
    )


@on_each_transport
def test_a_wrong_secret_says_what_to_check(
    gateway: str, transport: str, clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "wrong")
    # Both files would fail for the same reason, which is said once.
    assert run(["transcribe", "--transport", transport, "--base-url", gateway, "--jobs", "2", clip, clip]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(
        "lkstt: the gateway refused the token (HTTP 401): check API key and secret, and this computer's clock"
    )
    assert err.count("\n") == 1


def test_any_model_name_is_passed_on(
    gateway: str, clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_INFERENCE_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_INFERENCE_API_SECRET", SECRET)
    assert run(["transcribe", "--base-url", gateway, "--model", "nobody/heard-of-it", clip]) == 0
    assert capfd.readouterr().out == spelt(25)


@on_each_transport
def test_a_gateway_that_is_down_is_given_up_soon(
    transport: str, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    monkeypatch.setattr(job, "_FIRST_ATTEMPTS", 2)
    arguments = ["--transport", transport, "--base-url", "http://127.0.0.1:9/v1"]
    assert run(["transcribe", *arguments, "--output", str(tmp_path / "out.txt"), clip]) == 1
    printed, err = capfd.readouterr()
    assert printed == ""
    assert err.startswith("lkstt: could not connect to http://127.0.0.1:9/v1 (")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [Path(clip)]


def test_plaintext_to_another_computer_is_refused(
    clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)
    assert run(["transcribe", "--base-url", "http://192.0.2.1/v1", clip]) == 1
    assert capfd.readouterr().err == (
        "lkstt: base_url is plaintext and would show the token and the audio to the network: use https:// or wss://\n"
    )


def test_bad_files_are_named_and_the_others_transcribed(
    hear: object, clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty\x1b[2J.wav"
    empty.write_bytes(b"")
    files = [str(tmp_path / "missing.wav"), clip, str(tmp_path), str(empty)]
    assert run(["transcribe", "--local", *files]) == 1
    out, err = capfd.readouterr()
    assert out == f"==> {clip} <==\n{spelt(25)}"
    lines = err.splitlines()
    assert lines[0] == f"lkstt: {tmp_path}/missing.wav does not exist: check the path"
    assert lines[1].startswith(f"lkstt: {clip}: 2.5 s of audio")
    assert lines[2] == f"lkstt: {tmp_path} is a directory: name the files in it"
    assert lines[3] == f"lkstt: {tmp_path}/empty\\x1b[2J.wav is empty: check the program that made it"
    assert len(lines) == 4


def test_a_truncated_file_is_transcribed_as_far_as_it_goes(
    hear: object, clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content = Path(clip).read_bytes()
    Path(clip).write_bytes(content[: 44 + 3200 * 12 + 1])
    assert run(["transcribe", "--local", clip]) == 0
    out, err = capfd.readouterr()
    assert out == spelt(12)
    assert err.splitlines()[0] == f"lkstt: {clip} is cut off: its header promises 2.5 s, 1.2 s are there"


def test_what_was_transcribed_before_a_failure_is_kept(
    hear: Callable[[Recognizer], None], clip: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept.json"
    for destination in ([], ["--output", str(kept)]):
        hear(ScriptRecognizer(Script([At(1.0, Final("so far", 0.2, 1.0)), At(2.5, FailSession(400))])))
        assert run(["transcribe", "--local", *destination, clip]) == 1
        out, err = capfd.readouterr()
        assert out == ("" if destination else "so far\n")
        assert err.startswith("lkstt: the gateway refused the request (error code 400): check ")
        assert err.count("\n") == 1
    whole = json.loads(kept.read_text())
    assert (whole["text"], whole["complete"]) == ("so far", False)


def test_a_lost_connection_is_told_and_survived(
    hear: Callable[[Recognizer], None], clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    hear(ScriptRecognizer(Script([At(1.0, CutTransport())]), Script(final="all of it")))
    assert run(["transcribe", "--local", clip]) == 0
    out, err = capfd.readouterr()
    assert out == "all of it\n"
    lines = err.splitlines()
    assert lines[0].startswith(f"lkstt: {clip}: the connection was lost (close code 1006)")
    assert lines[0].endswith("; trying again")
    assert lines[1] == f"lkstt: {clip}: connected again"
    assert len(lines) == 3


def test_a_missing_recogniser_says_what_to_install(
    hear: Callable[[Recognizer], None], clip: str, capfd: pytest.CaptureFixture[str]
) -> None:
    class Missing(EchoRecognizer):
        async def start(self) -> None:
            raise RecognizerMissing("the embedded recogniser needs: pip install 'lkstt[local]'")

    hear(Missing())
    for arguments in (["demo"], ["transcribe", "--local", clip], ["serve", "--port", "0"]):
        assert run(arguments) == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert err.endswith("the embedded recogniser needs: pip install 'lkstt[local]'\n")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["transcribe"], "Name files, - for standard input, or --mic"),
        (["transcribe", "--mic", "CLIP"], "Name files, - for standard input, or --mic alone"),
        (["transcribe", "-", "-"], "Standard input (-) can be read once only"),
        (["transcribe", "--output", "a", "--output-dir", "b", "CLIP"], "--output and --output-dir exclude each other"),
        (["transcribe", "--local", "--base-url", "http://[::1]/", "CLIP"], "--local and --base-url exclude each other"),
        (
            ["transcribe", "--word-timestamps", "CLIP"],
            "--word-timestamps needs --format srt, vtt, tsv, json or jsonl",
        ),
        (["transcribe", "--format", "srt", "CLIP", "CLIP"], "Several files as srt need --output-dir"),
        (
            ["transcribe", "--local", "--output-dir", ".", "CLIP", "CLIP"],
            "Two files would become clip.txt in",
        ),
        (["transcribe", "--format", "doc", "CLIP"], "Invalid value for '--format'"),
        (["transcribe", "--jobs", "0", "CLIP"], "Invalid value for '--jobs'"),
        (["transcribe", "--nonsense"], "No such option"),
        (["serve", "--key", "alone"], "--key and --secret belong together"),
        (["serve", "--port", "70000"], "Invalid value for '--port'"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    clip: str, arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run([clip if argument == "CLIP" else argument for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"lkstt: {told}")
    assert re.search(r": see lkstt( \w+)? --help\n$", err)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--output", "HERE/clip.wav"], "HERE/clip.wav exists already: remove it, or choose another name"),
        (["--output", "HERE/no/out.txt"], "HERE/no is not a directory: create it, or choose another place"),
        (["--output-dir", "HERE/no/texts"], "HERE/no/texts cannot be made (No such file or directory): choose another"),
        (["--output-dir", "HERE/clip.wav"], "HERE/clip.wav cannot be made (File exists): choose another --output-dir"),
        (["--transport", "carrier-pigeon"], "Invalid value for '--transport'"),
    ],
)
def test_places_that_cannot_be_written_are_told_before_anything_is_done(
    clip: str, tmp_path: Path, arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    placed = [argument.replace("HERE", str(tmp_path)) for argument in arguments]
    assert run(["transcribe", "--local", *placed, clip]) in (1, 2)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"lkstt: {told.replace('HERE', str(tmp_path))}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clip.wav"]


@pytest.mark.parametrize(
    ("transport", "package"),
    [("trio", "trio"), ("trio", "websockets"), ("anyio", "websockets"), ("sync", "websockets")],
)
def test_a_transport_without_its_packages_says_what_to_install(transport: str, package: str, clip: str) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from lkstt_transports.cli.app import run; sys.exit(run(sys.argv[1:]))"
    )
    arguments = ["transcribe", "--local", "--transport", transport, clip]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"lkstt: --transport {transport} needs {package}: pip install 'lkstt[{transport}]'\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told_once() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(command("models"), stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == "lkstt: standard output cannot be written (No space left on device): send it elsewhere\n"


def test_a_reader_that_went_away_ends_it_quietly(gateway: str, tmp_path: Path) -> None:
    arguments = ["transcribe", "--base-url", gateway, saved(tmp_path / "long.wav", 3000)]
    environment = {**os.environ, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": SECRET}
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"1 2 3 4 5 6 7 8 9 10\n"
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 1


# Signals.


def interrupt_at_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C once there are words that may still change."""
    interim = Display.interim

    def interrupt(display: Display, row: int, text: str) -> None:
        interim(display, row, text)
        if text:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Display, "interim", interrupt)


@on_each_transport
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_closes_the_session_and_keeps_what_was_transcribed(
    gateway: str, transport: str, number: signal.Signals
) -> None:
    arguments = ["transcribe", "--transport", transport, "--base-url", gateway, "-"]
    environment = {**os.environ, "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": SECRET}
    with subprocess.Popen(
        command(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        # A pipe that never ends holds nothing up.
        child.stdin.write(pcm(13))
        child.stdin.flush()
        first = child.stdout.readline()
        child.send_signal(number)
        assert child.wait(30) == 130
        rest, err = child.stdout.read(), child.stderr.read()
    assert first == b"1 2 3 4 5 6 7 8 9 10\n"
    # The gateway's last words are still heard.
    assert re.fullmatch(rb"(11( \d+)*\n)?", rest)
    assert err == b"lkstt: interrupted\n"


@on_each_transport
def test_an_interrupt_makes_a_final_of_what_was_heard_last(
    hear: Callable[[Recognizer], None],
    transport: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hear(ScriptRecognizer(Script([At(0.2, Partial("half a sent", 0.0, 0.2))])))
    interrupt_at_words(monkeypatch)
    whole = saved(tmp_path / "long.wav", 300)
    assert run(["transcribe", "--local", "--realtime", "--transport", transport, whole]) == 130
    assert capfd.readouterr() == ("half a sent\n", "lkstt: interrupted\n")


def test_where_an_event_loop_handles_no_signals_ctrl_c_still_interrupts(
    hear: Callable[[Recognizer], None], clip: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(running, "open_signal_receiver", refuse)
    hear(ScriptRecognizer(Script([At(0.2, Partial("half a sent", 0.0, 0.2))])))
    interrupt_at_words(monkeypatch)
    assert run(["transcribe", "--local", "--realtime", clip]) == 130
    assert capfd.readouterr() == ("half a sent\n", "lkstt: interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_does_not_wait_for_the_recogniser_to_start(
    hear: Callable[[Recognizer], None], clip: str, number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    class Slow(EchoRecognizer):
        closed = 0

        async def start(self) -> None:
            await asyncio.sleep(0.1)  # until the command waits for it
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

        async def aclose(self) -> None:
            await asyncio.sleep(0)
            self.closed += 1

    hear(slow := Slow())
    for arguments in (["demo"], ["transcribe", "--local", clip]):
        assert run(arguments) == 130
        assert capfd.readouterr() == ("", "lkstt: interrupted\n")
    assert slow.closed == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_serve_prints_its_address_and_ends_on_a_signal(
    hear: object, number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    threading.Timer(0.5, os.kill, [os.getpid(), number]).start()
    assert run(["serve", "--port", "0"]) == code
    out, err = capfd.readouterr()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1\n", out)
    hint = re.search(r'inference\.STT\(model="auto", base_url="(.*)", api_key="(API\w+)", api_secret="(.*)"\)', err)
    assert hint is not None
    assert hint[1] == out.strip()
    assert len(hint[3]) >= 32
    assert err.count(hint[3]) == 1
    assert err.endswith("lkstt: stopping: open sessions have 10 s to finish\n")


def test_serve_takes_its_credentials_from_the_environment_and_prints_no_secret(
    hear: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LKSTT_API_KEY", "mine")
    monkeypatch.setenv("LKSTT_API_SECRET", SECRET)
    threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
    assert run(["serve", "--port", "0"]) == 0
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert 'api_key="...", api_secret="..."' in err


def test_serve_refuses_to_be_overheard_or_to_share_a_port(
    hear: object, gateway: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--host", "0.0.0.0"]) == 1  # noqa: S104 (refused)
    assert "add --allow-insecure if that network is trusted" in capfd.readouterr().err
    port = gateway.rpartition(":")[2].removesuffix("/v1")
    assert run(["serve", "--port", port]) == 1
    err = capfd.readouterr().err
    assert err.startswith(f"lkstt: cannot listen at 127.0.0.1:{port} (")
    assert err.endswith("): choose another --host or --port\n")


# The microphone.


class Microphone:
    """Stands for a `sounddevice.RawInputStream` that Ctrl-C ends after a while."""

    def __init__(self, *, samplerate: int, channels: int, dtype: str) -> None:
        assert (samplerate, channels, dtype) == (16000, 1, "int16")
        self.words = 0

    def start(self) -> None:
        pass

    def read(self, frames: int) -> tuple[bytes, bool]:
        self.words += 1
        if self.words == 13:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return struct.pack("<h", self.words) * frames, self.words in (3, 4)

    def close(self) -> None:
        pass


def sounddevice(stream: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(RawInputStream=stream, PortAudioError=ZeroDivisionError)


@on_each_transport
def test_the_microphone_is_heard_until_ctrl_c(
    hear: object, transport: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice(Microphone))
    assert run(["transcribe", "--local", "--transport", transport, "--mic"]) == 0
    out, err = capfd.readouterr()
    assert out == spelt(12)
    assert err.count("the microphone was faster than this computer") == 1


@on_each_transport
def test_a_second_ctrl_c_does_not_wait_for_the_microphone(
    hear: object, transport: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    unplugged = threading.Event()

    class Stuck(Microphone):
        def read(self, frames: int) -> tuple[bytes, bool]:
            if self.words == 12:
                for _ in range(2):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.2)
                unplugged.wait()
                raise ZeroDivisionError("unplugged")
            return super().read(frames)

    monkeypatch.setitem(sys.modules, "sounddevice", sounddevice(Stuck))
    assert run(["transcribe", "--local", "--transport", transport, "--mic"]) == 130
    unplugged.set()
    out, err = capfd.readouterr()
    assert out in (spelt(10), spelt(12))  # the gateway's last words are heard if they come in time
    assert err == "lkstt: the microphone was faster than this computer: some of it is lost\nlkstt: interrupted\n"


def test_a_microphone_that_is_not_there_or_goes_away_is_told(
    hear: object, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("no device")

    class Unplugged(Microphone):
        def read(self, frames: int) -> tuple[bytes, bool]:
            if self.words == 5:
                raise ZeroDivisionError("unplugged")
            return super().read(frames)

    for module, out, told in [
        (None, "", "the microphone needs sounddevice: pip install 'lkstt[mic]'"),
        (sounddevice(broken), "", "the microphone cannot be opened (no device): check that one is connected"),
        (sounddevice(Unplugged), "1 2 3 4 5\n", "the microphone went away (unplugged): check that it is connected"),
    ]:
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        assert run(["transcribe", "--local", "--mic"]) == 1
        printed, err = capfd.readouterr()
        assert printed == out
        assert f"lkstt: {told}" in err


# What people see on a terminal.


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_progress_and_words_that_may_still_change(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with Display() as display:
        row = display.add("folder/[b]talk\x1b.wav", 10.0)
        display.heard(row, 2.5)
        display.interim(row, "\u4f60\u597d " * 40 + "newest \u202ewords")
        with display.aside():
            pass
        shown = terminal.getvalue()
        display.remove(row)
    assert "[b]talk\\x1b.wav" in shown
    assert "2.5 / 10.0 s" in shown
    assert "newest \\u202ewords" in shown
    assert "folder" not in shown


def test_elsewhere_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stderr", plain)
    with Display() as display:
        row = display.add("talk.wav", None)
        display.heard(row, 1.0)
        display.interim(row, "words")
        display.note("a line")
        display.remove(row)
    assert plain.getvalue() == "lkstt: a line\n"


# The rest.


def test_models_lists_the_catalogue(capfd: pytest.CaptureFixture[str]) -> None:
    names = [entry.model for entry in known_models()]
    assert run(["models"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["MODEL", "SAMPLE", "RATE", "WORD", "TIMES", "KEYTERMS", "REMARKS"]
    assert [line.split()[0] for line in lines[1:]] == names
    assert run(["models", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert [fact["model"] for fact in facts] == names
    assert next(fact for fact in facts if fact["provider"] == "openai")["sample_rate"] == 24000


def test_version_and_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"lkstt \d+\.\d+\.\d+\n", capfd.readouterr().out)
    for arguments in ([], ["demo"], ["transcribe"], ["serve"], ["models"]):
        assert run([*arguments, "--help"]) == 0
        out, err = capfd.readouterr()
        assert out.startswith("Usage: lkstt")
        assert err == ""
    assert run([]) == 2
    assert "Commands:" in capfd.readouterr().err


def test_without_its_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capfd.readouterr() == ("", "lkstt: the command line needs click, rich and anyio: pip install 'lkstt[cli]'\n")


def test_commands_import_no_more_than_they_need() -> None:
    script = (
        "import sys, lkstt_transports.cli as cli; assert 'click' not in sys.modules\n"
        "from lkstt_transports.cli.app import run; run(['models'])\n"
        "for command in ([], ['demo'], ['transcribe'], ['serve']): run([*command, '--help'])\n"
        "print(sorted({'asyncio', 'anyio', 'aiohttp', 'rich', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert done.stderr == "[]\n"


# With the recogniser itself.


def test_the_demo_prints_the_words_of_its_clip() -> None:
    pytest.importorskip("pocketsphinx")
    done = subprocess.run(command("demo"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout == "good morning and welcome\nthis speech was recognized on your own computer\n"
    assert done.stderr.endswith("lkstt: 12 of 12 words right\n")


def test_the_way_through_socket_and_worker_changes_no_word(tmp_path: Path) -> None:
    pytest.importorskip("pocketsphinx")
    from lkstt_transports.demo import demo_clip
    from lkstt_transports.gateway.recognizers import transcribe_directly

    path = tmp_path / "demo.wav"
    path.write_bytes(demo_clip()[0])
    with wave.open(str(path)) as sound:
        directly = transcribe_directly(sound.readframes(sound.getnframes()))
    done = subprocess.run(
        command("transcribe", "--local", "--format", "json", "--word-timestamps", str(path)),
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    whole = json.loads(done.stdout)
    assert [segment["text"] for segment in whole["segments"]] == [final.text for final in directly if final.text]
    assert [word for segment in whole["segments"] for word in segment["words"]] == [
        {"text": word.text, "start": pytest.approx(word.start, abs=0.001), "end": pytest.approx(word.end, abs=0.001)}
        for final in directly
        for word in final.words
    ]
