"""Fixtures and a marker for pytest, which finds them by itself: ``pytest --fixtures`` explains them.

Nothing is imported, no event loop and no adapter, before a test asks for a fixture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lkstt_proto.pair import Pair

    from .gateway.recognizers.base import Recognizer
    from .gateway.recognizers.script import Script
    from .testing import Replay, RunningGateway

_MARKER = "lkstt_recordings"
_ARGUMENT = "lkstt_recording"


@pytest.fixture
def lkstt_replay(request: pytest.FixtureRequest) -> Callable[..., Replay]:
    """Replay a recording, `lkstt_replay("calls/one.jsonl")`: fail with the first difference, or give its events.

    It is put to a new Connection, without a socket and without waiting. A path is seen from the test's file; a name may
    also be that of a fixture that comes with lkstt. The Replay that it gives has `.events`, all that the application
    was told, `.speech`, the SpeechEvents among them, and `.core`, the Connection (or Gateway) as it is afterwards.
    `lkstt record` makes recordings.
    """
    from .testing import RecordingError, replay

    def replayed(recording: str | os.PathLike[str]) -> Replay:
        try:
            return replay(recording, request.path.parent)
        except RecordingError as error:
            raise pytest.fail.Exception(str(error), pytrace=False) from None

    return replayed


@pytest.fixture
def lkstt_gateway(request: pytest.FixtureRequest) -> Iterator[Callable[..., RunningGateway]]:
    """Run a gateway on a free port, `lkstt_gateway(Script(final="hi"))`, for `STT(**gateway.settings)` on any runtime.

    `lkstt_gateway(*scripts)` takes a Script (lkstt_transports.gateway.recognizers.script) for each session, or a
    recogniser such as EchoRecognizer, or a recording as `lkstt_replay` does, whose gateway it plays. It gives base_url,
    api_key and api_secret, and all of them as `settings`: `STT(**gateway.settings)`. It has a thread and an event loop
    of its own, so that tests on asyncio, trio, anyio or none use it alike, and ends with the test.
    """
    from .testing import RecordingError, running_gateway

    with ExitStack() as stack:

        def run(*source: Script | Recognizer | str | os.PathLike[str]) -> RunningGateway:
            try:
                return stack.enter_context(running_gateway(*source, folder=request.path.parent))
            except RecordingError as error:
                raise pytest.fail.Exception(str(error), pytrace=False) from None

        yield run


@pytest.fixture
def lkstt_pair() -> Callable[..., Pair]:
    """Join a Connection with gateways in memory, in virtual time: `pair = lkstt_pair()`, then `pair.run(until=60.0)`.

    `lkstt_pair(connection=None, application=attend, *, latency=0.05)` gives a lkstt_proto.pair.Pair whose client was
    started at 0 s. `pair.microphone(pcm)`, `pair.end_input(time)` and `pair.at(time, act)` plan; `pair.step()` jumps to
    the next message or deadline, and `pair.run(until)` does so until a time, a condition or the end. `pair.cut()`,
    `pair.stall()` and `pair.down = True` break the transport. `pair.session.say("words")` is a transcript from the
    gateway, which answers each finalize with "hello" unless your `application` does otherwise. `pair.told()` is what
    the client told.
    """
    from .testing import join

    return join


@pytest.fixture
def lkstt_recording() -> Path:
    """Give each recording of a folder, as a path: mark the test with `@pytest.mark.lkstt_recordings("folder")`.

    The test runs for each `*.jsonl` in it, under the name of the file. The folder is seen from the test's file.
    """
    pytest.fail(f'{_ARGUMENT} needs the marker @pytest.mark.{_MARKER}("folder") on its test', pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Tell of the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(folder): run the test for each recording (*.jsonl) in the folder, seen from the test's file; "
        f"it is given as {_ARGUMENT}, a path.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test for each recording."""
    marker = metafunc.definition.get_closest_marker(_MARKER)
    if marker is None:
        return
    if _ARGUMENT not in metafunc.fixturenames:
        if marker in metafunc.definition.own_markers:  # what a class or a module is marked with need not be for all
            pytest.fail(f"{metafunc.function.__name__} is marked with {_MARKER} and does not take {_ARGUMENT}", False)
        return
    if len(marker.args) != 1 or marker.kwargs:
        pytest.fail(f'{_MARKER} takes one folder: @pytest.mark.{_MARKER}("folder")', pytrace=False)
    folder = metafunc.definition.path.parent / marker.args[0]
    if not folder.is_dir():
        pytest.fail(f"{_MARKER}: there is no folder {folder}", pytrace=False)
    recordings = sorted(folder.glob("*.jsonl"))
    if not recordings:
        pytest.fail(f"{_MARKER}: no recording (*.jsonl) is in {folder}", pytrace=False)
    metafunc.parametrize(_ARGUMENT, recordings, ids=[path.stem for path in recordings])
