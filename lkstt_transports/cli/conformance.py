"""`lkstt conformance`: does a port, in any language, do what the fixtures say?

How runner and port talk is told in `lkstt_proto/conformance.py`. Each failure costs the port its process: whatever it
still had to say belongs to no other fixture.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import click
from attrs import define, frozen

from lkstt_proto.conformance import CorePort, Judge, Outcome, Report
from lkstt_proto.dialogue import CALLS, Fixture, FixtureError, Readable, bundled, load

from .failure import FAILED, Failure, emit, interruptible
from .formats import printable

_CORE = (sys.executable, "-m", "lkstt_transports.cli", "conformance", "--port")
_CHUNK = 2**16  # bytes read at once
_LINE_LIMIT = 2**24  # bytes: what a port may answer without ending the line
_PATIENCE = 0.2  # seconds until a silent port is looked after
_COMPLAINTS_LIMIT = 2**14  # bytes of standard error that are kept


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--fixtures",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A fixture, or a folder of them; may be repeated.  [default: those that come with lkstt]",
)
@click.option("--role", type=click.Choice(tuple(CALLS)), help="Only fixtures of this role.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write a report in JUnit's XML, too.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds that one answer may take.",
)
@click.option("--port", "as_port", is_flag=True, hidden=True, help="Be the port: the Python core itself.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def conformance(
    paths: tuple[Path, ...],
    role: str | None,
    junit: Path | None,
    timeout: float,
    command: tuple[str, ...],
    *,
    as_port: bool,
) -> int:
    """Check a port against the fixtures.

    COMMAND runs the port; it is given the inputs of each fixture line by line and answers each with one line. Without
    a COMMAND the Python core is checked in the same way. Exit code 0: nothing failed and something passed; 1: not so;
    2: the command or a fixture cannot be used.

    \b
    Examples:
      lkstt conformance
      lkstt conformance --role client -- node port.js
      lkstt conformance --fixtures recordings --junit report.xml -- ./port
    """
    if as_port:
        _be_the_core()
        return 0
    exhibits = [exhibit for exhibit in _exhibits(paths) if role in (None, exhibit.fixture.role)]
    if not exhibits:
        raise click.UsageError("there is no fixture to check: see --fixtures and --role")
    with interruptible():
        results = []
        for result in _Runner(command or _CORE, timeout).run(exhibits):
            results.append(result)
            emit(_told(result))
    counts = _counts(results)
    untried = f", {len(exhibits) - len(results)} not tried" if len(results) < len(exhibits) else ""
    emit(
        f"{len(exhibits)} fixtures: {counts[Outcome.PASSED]} passed, {counts[Outcome.FAILED]} failed, "
        f"{counts[Outcome.SKIPPED]} skipped{untried}, in {sum(result.seconds for result in results):.1f} s\n"
    )
    if junit is not None:
        try:
            junit.write_bytes(_junit(results))
        except OSError as error:
            raise Failure(f"{junit} cannot be written ({error.strerror}): choose another --junit") from None
    return FAILED if counts[Outcome.FAILED] or not counts[Outcome.PASSED] else 0


def _be_the_core() -> None:
    port = CorePort()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(f"{port.answer(line.decode())}\n".encode())
        sys.stdout.buffer.flush()


@frozen
class _Exhibit:
    """A fixture, and how its file is called."""

    file: str
    fixture: Fixture


@frozen
class _Result:
    """A fixture, what became of it, and what the port complained of meanwhile."""

    file: str
    """Empty for what is about no fixture."""
    report: Report
    complaints: str
    seconds: float


def _exhibits(paths: Sequence[Path]) -> list[_Exhibit]:
    files: dict[str, Readable] = {} if paths else bundled()
    for path in paths:
        found = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        files |= {str(file): file for file in found}
    return [_Exhibit(name, _load(name, file)) for name, file in files.items()]


def _load(name: str, file: Readable) -> Fixture:
    try:
        return load(file)
    except FixtureError as problem:
        raise click.UsageError(f"{name}: {problem}") from None
    except (OSError, UnicodeDecodeError):
        raise click.UsageError(f"{name} cannot be read: it must be a text in UTF-8") from None


class _PortError(Exception):
    """The port did not answer, or more than that."""


class _Port:
    """A port's process. Threads carry what it reads and writes, so that nothing it does or leaves undone stops us."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the command is what the user asked to run)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,  # what it starts ends with it
            )
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{command[0]} cannot be run ({error}): see COMMAND") from None
        self._timeout = timeout
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._chunks: queue.Queue[bytes] = queue.Queue(maxsize=4)  # a port that never stops writing has to wait
        self._answers = b""
        self._ended = False
        self._complaints = b""
        process = self._process
        self._threads = [
            threading.Thread(target=carry, args=(pipe,), daemon=True)
            for carry, pipe in (
                (self._carry_requests, process.stdin),
                (self._carry_answers, process.stdout),
                (self._carry_complaints, process.stderr),
            )
        ]

    def begin(self) -> None:
        """Start talking; apart from the constructor, so that whoever is interrupted here knows what to kill."""
        for thread in self._threads:
            thread.start()

    def ask(self, line: str) -> bytes:
        """Give the answer to a line. Raises _PortError where there is not exactly one."""
        with suppress(queue.Empty):
            while True:
                self._hear(self._chunks.get_nowait())
        self._expect_silence()
        self._requests.put(f"{line}\n".encode())
        until = time.monotonic() + self._timeout
        while b"\n" not in self._answers:
            if self._ended:
                raise _PortError(f"{self._ending()} instead of an answer{self._unfinished()}")
            if len(self._answers) > _LINE_LIMIT:
                raise _PortError(f"wrote a line without end{self._unfinished()}")
            try:
                self._listen(until)
            except queue.Empty:
                raise _PortError(f"gave no answer within {self._timeout:g} s{self._unfinished()}") from None
        answer, _, self._answers = self._answers.partition(b"\n")
        self._expect_silence()
        return answer

    def finish(self) -> None:
        """End the input. Raises _PortError if the port does not end in order."""
        self._requests.put(None)
        until = time.monotonic() + self._timeout
        try:
            while not self._ended:
                self._listen(until)
                self._expect_silence()
            code = self._process.wait(self._timeout)
        except (queue.Empty, subprocess.TimeoutExpired):
            raise _PortError(f"did not end within {self._timeout:g} s of the end of its input") from None
        if code:
            raise _PortError(f"{_exit(code)} at the end of its input")

    def kill(self) -> None:
        """End the process, and what it started."""
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        self._requests.put(None)
        with suppress(queue.Empty):
            while True:
                self._chunks.get_nowait()
        if self._threads[-1].is_alive():
            self._threads[-1].join(1.0)  # not for ever: a process that left the group may hold the pipe

    def complaints(self) -> str:
        """What came on standard error since the last time."""
        complaints, self._complaints = self._complaints, b""
        return complaints[-_COMPLAINTS_LIMIT:].decode("utf-8", "replace").strip()

    def _listen(self, until: float) -> None:
        """Wait for more of what the port writes, or for its end. Raises queue.Empty when there is neither in time."""
        while True:
            try:
                chunk = self._chunks.get(timeout=min(max(until - time.monotonic(), 0), _PATIENCE))
            except queue.Empty:
                # What the port started may hold its pipe open.
                if self._process.poll() is None:
                    if time.monotonic() >= until:
                        raise
                    continue
                chunk = b""
            self._hear(chunk)
            return

    def _hear(self, chunk: bytes) -> None:
        self._answers += chunk
        self._ended = not chunk

    def _expect_silence(self) -> None:
        if self._answers:
            raise _PortError(f"wrote a line too many: {_shown(self._answers)}")

    def _ending(self) -> str:
        try:
            return _exit(self._process.wait(1.0))
        except subprocess.TimeoutExpired:
            return "closed its standard output"

    def _unfinished(self) -> str:
        return f", only {_shown(self._answers)} without a line's end" if self._answers else ""

    def _carry_requests(self, pipe: IO[bytes]) -> None:
        with suppress(OSError), pipe:
            while (request := self._requests.get()) is not None:
                pipe.write(request)

    def _carry_answers(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read(_CHUNK):
                self._chunks.put(chunk)
        self._chunks.put(b"")

    def _carry_complaints(self, pipe: IO[bytes]) -> None:
        with pipe:
            while chunk := pipe.read(_CHUNK):
                self._complaints = self._complaints[-_COMPLAINTS_LIMIT:] + chunk


def _exit(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _shown(data: bytes) -> str:
    return f"{data[:100].decode('utf-8', 'replace').strip()!r}{'...' if len(data) > 100 else ''}"


@define
class _Runner:
    """Puts fixtures to a port."""

    _command: Sequence[str]
    _timeout: float
    _port: _Port | None = None

    def run(self, exhibits: Sequence[_Exhibit]) -> Iterator[_Result]:
        """Check each fixture; at last, whether the port ends in order. A port that never answers is asked once."""
        try:
            for exhibit in exhibits:
                result = self._check(exhibit)
                yield result
                if exhibit is exhibits[0] and result.report.outcome is Outcome.FAILED and result.report.step is None:
                    return
            if self._port is not None:
                try:
                    self._port.finish()
                except _PortError as error:
                    report = Report("the end of input", "", Outcome.FAILED, str(error))
                    yield _Result("", report, self._end(), 0.0)
        finally:
            self._end()

    def _check(self, exhibit: _Exhibit) -> _Result:
        began = time.monotonic()
        if self._port is None:
            self._port = _Port(self._command, self._timeout)
            self._port.begin()
        port = self._port
        judge = Judge(exhibit.fixture)
        while (report := judge.report) is None:
            try:
                judge.answer(port.ask(judge.line))
            except _PortError as error:
                judge.fail(str(error))
        complaints = self._end() if report.outcome is Outcome.FAILED else port.complaints()
        return _Result(exhibit.file, report, complaints, time.monotonic() - began)

    def _end(self) -> str:
        if self._port is None:
            return ""
        port, self._port = self._port, None
        port.kill()
        return port.complaints()


def _counts(results: Sequence[_Result]) -> dict[Outcome, int]:
    return {outcome: sum(result.report.outcome is outcome for result in results) for outcome in Outcome}


def _told(result: _Result) -> str:
    """Tell people what became of a fixture."""
    report = result.report
    lines = [f"{report.outcome}  {report.fixture}"]
    lines += [f"      {line}" for line in _explained(result)]
    if result.complaints:
        lines += ["      standard error:", *(f"      | {line}" for line in result.complaints.splitlines())]
    return "".join(f"{printable(line)}\n" for line in lines)


def _explained(result: _Result) -> list[str]:
    if not result.file:
        return [result.report.reason]
    lines = result.report.explanation()
    if result.report.outcome is Outcome.FAILED:
        lines[0] = f"{result.file}: {lines[0]}"
    return lines


def _junit(results: Sequence[_Result]) -> bytes:
    """Write the report that build servers read."""
    counts = _counts(results)
    suite = ElementTree.Element(
        "testsuite",
        name="lkstt conformance",
        tests=f"{len(results)}",
        failures=f"{counts[Outcome.FAILED]}",
        skipped=f"{counts[Outcome.SKIPPED]}",
        errors="0",
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        report = result.report
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"lkstt.conformance.{report.role}".rstrip("."),
            name=printable(report.fixture),
            time=f"{result.seconds:.3f}",
        )
        lines = [printable(line) for line in _explained(result)]
        if report.outcome is Outcome.FAILED:
            ElementTree.SubElement(case, "failure", message=" ".join(lines[:2])).text = "\n".join(lines)
        elif report.outcome is Outcome.SKIPPED:
            ElementTree.SubElement(case, "skipped", message="\n".join(lines))
        if result.complaints:
            complaints = "\n".join(printable(line) for line in result.complaints.splitlines())
            ElementTree.SubElement(case, "system-err").text = complaints
    text: bytes = ElementTree.tostring(suite, "utf-8", xml_declaration=True)
    return text
