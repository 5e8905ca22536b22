"""What tests of applications stand on, with or without pytest: recordings replayed, gateways that run, ends joined.

``pytest_plugin`` makes fixtures of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from lkstt_proto import Connection, Event, Gateway, GatewayEvent, LocalProtocolError, SpeechEvent, STTOptions
from lkstt_proto.dialogue import Fixture, FixtureError, Readable, bundled, load
from lkstt_proto.pair import Application, Pair, attend
from lkstt_proto.replay import NOTHING, Mismatch, Stage, run

from .gateway.recognizers.script import Script, ScriptRecognizer

if TYPE_CHECKING:
    from .gateway import LocalGateway
    from .gateway.recognizers.base import Recognizer

__all__ = ["RecordingError", "Replay", "RunningGateway", "find", "join", "replay", "running_gateway"]

_WIDTH = 100  # characters of a value in a report: what differs, and some of what is around it
_BEFORE = 30


class RecordingError(AssertionError):
    """A recording is not there, cannot be read, or does not replay; the text says where, for a person."""


# Recordings.


@frozen
class Replay:
    """A recording that was replayed, and held."""

    fixture: Fixture
    core: Connection | Gateway
    """As the last step left it."""
    events: tuple[Event | GatewayEvent, ...]
    """All that the core told its application, in order."""

    @property
    def speech(self) -> tuple[SpeechEvent, ...]:
        """What ``async for event in stream`` would have given."""
        return tuple(event for event in self.events if isinstance(event, SpeechEvent))


def find(recording: str | os.PathLike[str], folder: Path) -> Fixture:
    """Read the recording that a test in ``folder`` names: a path, ``.jsonl`` or not, or a name that comes with lkstt.

    Raises RecordingError.
    """
    path = folder / recording
    for candidate in (path, path.with_name(f"{path.name}.jsonl")):
        if candidate.is_file():
            return _read(candidate, str(recording))
    name = str(recording)
    found = bundled().get(name if name.endswith(".jsonl") else f"{name}.jsonl")
    if found is None:
        raise RecordingError(f"no recording {name}: it is not in {folder}, and none of that name comes with lkstt")
    return _read(found, name)


def _read(source: Readable, name: str) -> Fixture:
    try:
        return load(source)
    except FixtureError as error:
        raise RecordingError(f"{name} is no recording: {error}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{name} is no recording: it is not even UTF-8") from None
    except OSError as error:
        raise RecordingError(f"{name} cannot be read: {error.strerror}") from None


def replay(recording: str | os.PathLike[str], folder: Path) -> Replay:
    """Put the inputs of a recording to a new core and compare everything it does with what the recording says.

    Raises RecordingError, with the first difference, and where there is no such recording.
    """
    fixture = find(recording, folder)
    stage = Stage(fixture)
    try:
        mismatches = run(fixture, stage)
    except FixtureError as error:
        raise RecordingError(f"{recording} does not replay: {error}") from None
    if mismatches:
        raise RecordingError(_report(fixture, str(recording), mismatches))
    return Replay(fixture, stage.core, tuple(stage.events))


def _report(fixture: Fixture, name: str, mismatches: list[Mismatch]) -> str:
    first, *others = mismatches
    said = json.dumps(fixture.steps[first.step - 1].source, ensure_ascii=False)
    expected, got = _excerpts(_text(first.expected), _text(first.got))
    lines = [
        f"{name} does not replay: step {first.step} of {len(fixture.steps)} (line {first.line}, at {first.at:g} s)",
        f"  input:    {_cut(said, 0)}",
        f"  field:    {first.field}",
        f"  recorded: {expected}",
        f"  now:      {got}",
    ]
    if others:
        lines.append(f"  and also: {', '.join(other.field for other in others)}")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return NOTHING if value is NOTHING else json.dumps(value, ensure_ascii=False, default=str)


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Of long texts give the part in which they begin to differ."""
    start = 0
    if max(len(one), len(other)) > _WIDTH:
        same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        start = max(0, same - _BEFORE)
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    end = start + _WIDTH
    return f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}"


# Gateways.


@frozen
class RunningGateway:
    """Where a gateway is, and what it wants to hear: ``STT(**gateway.settings)``."""

    base_url: str
    api_key: str
    api_secret: str = field(repr=False)

    @property
    def settings(self) -> dict[str, str]:
        """The arguments with which an STT of any adapter, or livekit-agents, finds it."""
        return {"base_url": self.base_url, "api_key": self.api_key, "api_secret": self.api_secret}


@contextmanager
def running_gateway(
    *source: Script | Recognizer | str | os.PathLike[str], folder: Path = Path()
) -> Iterator[RunningGateway]:
    """Run a gateway on a free port of this computer, in a thread and an event loop of its own.

    ``source`` is what it says: one Script for each session, of which the last one stays; or a recogniser; or a
    recording, which is played as fast as its client lets it, to any token. Raises RecordingError and
    LocalProtocolError, and on entering what the recogniser raises.
    """
    server: LocalGateway | _Played
    if len(source) == 1 and isinstance(source[0], str | os.PathLike):
        server = _Played(find(source[0], folder))
    else:
        server = _local(source)
    with _thread(server):
        yield RunningGateway(server.base_url, server.api_key, server.api_secret)


def _local(source: tuple[Any, ...]) -> LocalGateway:
    from .gateway import LocalGateway, ServerLimits, SessionLimits

    recognizer: Recognizer = ScriptRecognizer(*source)
    if len(source) == 1 and not isinstance(source[0], Script):
        recognizer = source[0]
    elif not all(isinstance(one, Script) for one in source):
        raise LocalProtocolError("a gateway takes scripts, or one recogniser, or one recording", phase="configure")
    # A test that failed has left its client as it was: nobody is there to end the session with.
    # And a test does not wait for audio to be as slow as speech.
    limits = ServerLimits(finish_seconds=0.5, session=SessionLimits(speed=10_000.0))
    return LocalGateway(recognizer=recognizer, limits=limits)


class _Played:
    """A player, with credentials for clients that insist on some."""

    def __init__(self, fixture: Fixture) -> None:
        from .gateway.auth import new_credentials
        from .replaying.player import Player

        self._player = Player(fixture, listen="127.0.0.1:0", speed=None)
        self.api_key, secret = new_credentials()
        self.api_secret = secret.reveal()

    @property
    def base_url(self) -> str:
        return self._player.base_url

    async def __aenter__(self) -> None:
        await self._player.__aenter__()

    async def __aexit__(self, *exc: object) -> None:
        await self._player.__aexit__(*exc)


@contextmanager
def _thread(server: AbstractAsyncContextManager[Any]) -> Iterator[None]:
    """Have a server run in a thread; raises what entering it raises."""
    ready: Future[None] = Future()
    over: Future[None] = Future()

    async def live() -> None:
        async with server:
            ready.set_result(None)
            await asyncio.wrap_future(over)

    def work() -> None:
        try:
            asyncio.run(live())
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=work, name="lkstt-gateway", daemon=True)
    thread.start()
    try:
        ready.result()
        yield
    finally:
        over.set_result(None)
        thread.join()


# Both ends in memory.


def join(connection: Connection | None = None, application: Application = attend, *, latency: float = 0.05) -> Pair:
    """Join a connection, by default one with all defaults, with gateways in memory, in virtual time; and start it."""
    pair = Pair(connection or Connection(STTOptions()), application, latency=latency)
    pair.wish(lambda: pair.connection.start(pair.now))
    return pair
