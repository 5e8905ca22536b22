"""Plays many acts to one adapter at once, and tells what became of each stream."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

from attrs import evolve, field, frozen
from cancelling import complaining
from contract import KEY, SECRET, pcm
from runtimes import Runtime
from scripted_server import Act

from lkstt_proto import (
    ConnectionLost,
    Diagnostic,
    Limits,
    OutageExceeded,
    Reconnecting,
    RetryPolicy,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamFailed,
    SttError,
)

from .raw import Stage

SECONDS = 0.5
"""Of audio in each stream."""
AT_ONCE = 16
"""Streams that are open together."""
# Whatever a server asks for, nobody waits here.
SERVER_THREAD = "scripted server"
QUICK = RetryPolicy(first_delay=0.01, max_delay=0.02, retry_after=0.02)
HURRIED = RetryPolicy(first_delay=0.01, max_delay=0.02, connect_timeout=1.0)
"""For acts that have no end."""
IMPATIENT = Limits(ping_interval=0.1, ping_timeout=0.6, close=0.1)
"""And for servers that say nothing."""


@frozen
class Expected:
    """What a stream makes of an act."""

    error: type[SttError] | None = None
    """Its first failure; None: nothing was amiss."""
    retryable: bool = True
    """Whether it went on behind that, with nothing lost."""
    status: int | None = None
    code: int | None = None
    """Of the close."""
    says: str = ""
    """Something that the message has in it."""


FINE = Expected()


def lost(code: int = 1006, says: str = "") -> Expected:
    """Expect a session to be lost, and another one to go on."""
    return Expected(ConnectionLost, code=code, says=says)


@frozen(kw_only=True)
class Case:
    """One thing that a server can do."""

    name: str
    act: Act
    expected: Expected
    retry: RetryPolicy = QUICK
    limits: Limits = field(factory=Limits)


@frozen
class Outcome:
    """What became of a stream."""

    events: list[Any]
    raised: BaseException | None
    visits: int = 0

    @property
    def failure(self) -> SttError | None:
        """What went wrong first."""
        for event in self.events:
            if isinstance(event, Reconnecting):
                return event.error
            if isinstance(event, StreamFailed):
                return event.error
        return None

    @property
    def summary(self) -> Expected:
        """Say it in the words of an expectation."""
        failure = self.failure
        if isinstance(failure, OutageExceeded) and isinstance(failure.__cause__, SttError):
            failure = failure.__cause__
        if failure is None:
            return FINE
        return Expected(type(failure), failure.retryable, failure.http_status, failure.close_code)

    def judge(self, expected: Expected) -> None:
        """Insist that it is what was expected, that it ended as that has to, and that nothing was lost."""
        told = self.summary
        assert (told.error, told.retryable, told.status, told.code) == (
            expected.error,
            expected.retryable,
            expected.status,
            expected.code,
        ), (self.failure, self.raised)
        assert expected.says in str(self.failure)
        assert all(ord(" ") <= ord(c) < 0x7F for c in str(self.failure))
        assert len(str(self.failure)) < 500
        if told.error is not None and not told.retryable and told.status != 401:
            assert isinstance(self.events[-1], StreamFailed)
            assert self.visits == 1
            assert self.raised is self.events[-1].error
            return
        assert self.raised is None
        assert isinstance(self.events[-1], StreamEnded)
        assert self.visits == (1 if told.error is None else 2)
        finals = [
            event.alternatives[0]
            for event in self.events
            if isinstance(event, SpeechEvent) and event.type is SpeechEventType.FINAL_TRANSCRIPT
        ]
        assert finals[0].start_time == 0.0
        assert finals[-1].end_time == SECONDS
        for one, following in pairwise(finals):
            assert abs(following.start_time - one.end_time) < 1e-6

    def diagnostics(self) -> list[str]:
        """Kinds of what was skipped."""
        return [event.kind for event in self.events if isinstance(event, Diagnostic)]


async def stream(runtime: Runtime, seconds: float = SECONDS, **settings: Any) -> Outcome:
    """Run one stream to whatever end."""
    events: list[Any] = []
    raised: list[BaseException] = []

    async def push(stream: Any) -> None:
        try:
            await stream.push_audio(pcm(seconds))
            stream.end_input()
        except SttError:
            pass  # whoever reads is told as well

    async def read(stream: Any) -> None:
        try:
            async for event in stream.events():
                events.append(event)  # noqa: PERF401 (they are wanted even if iteration raises)
        except SttError as error:
            raised.append(error)

    async with (
        runtime.make(api_key=KEY, api_secret=SECRET, **settings) as stt,
        stt.stream() as one,
    ):
        await runtime.together(partial(push, one), partial(read, one))
    return Outcome(events, raised[0] if raised else None)


def play(runtime: Runtime, cases: Sequence[Case]) -> dict[str, Outcome]:
    """Run a stream for each case, several at once; insist that nobody complains and that nothing is left."""
    with Stage({case.name: case.act for case in cases}) as stage:
        urls = {case.name: stage.url(case.name) for case in cases}
        outcomes = visit_all(runtime, urls, cases)
        return {name: evolve(outcome, visits=stage.counts[name]) for name, outcome in outcomes.items()}


def visit_all(
    runtime: Runtime, urls: Mapping[str, str], cases: Sequence[Case], connectors: Mapping[str, Any] | None = None
) -> dict[str, Outcome]:
    """Run a stream to each URL, several at once; insist that nobody complains and that nothing is left.

    ``connectors``: by the names of cases, where not the adapter's own is wanted.
    """
    outcomes: dict[str, Outcome] = {}
    # Those that take a while come first, so that the others have their turn meanwhile.
    left = sorted(cases, key=lambda case: case.retry is HURRIED or case.limits is IMPATIENT)

    async def work() -> None:
        while left:
            case = left.pop()
            try:
                outcomes[case.name] = await stream(
                    runtime,
                    base_url=urls[case.name],
                    retry=case.retry,
                    limits=case.limits,
                    connector=(connectors or {}).get(case.name),
                )
            except BaseException as trouble:
                trouble.add_note(case.name)
                raise

    async def main() -> None:
        await runtime.together(*[work] * AT_ONCE)
        for connector in (connectors or {}).values():
            await runtime.let_go(connector)

    with silence():
        runtime.run(main, patience=600.0)
    return outcomes


@contextmanager
def silence() -> Iterator[None]:
    """Fail for whatever was logged as a trouble, dropped and not closed, or raised where nobody catches it."""
    told: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.threadName == SERVER_THREAD:  # which may well have trouble with whom it ill-treats
                return
            if record.getMessage() != "socket.send() raised exception.":  # asyncio, of a loss that nobody read of yet
                told.append(record.getMessage())

    listener = Listener(logging.WARNING)
    hook = threading.excepthook
    logging.getLogger().addHandler(listener)
    threading.excepthook = lambda what: told.append(f"{what.exc_value!r} in {what.thread}")
    try:
        with complaining():
            yield
    finally:
        threading.excepthook = hook
        logging.getLogger().removeHandler(listener)
    assert told == [], told
