"""Whatever a caller and a network may do to a client, in any order and at odd times."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from lkstt_proto import (
    Connection,
    ConnectionLost,
    LinkState,
    LocalProtocolError,
    RetryPolicy,
    STTOptions,
    TlsError,
    UnexpectedRedirect,
)
from lkstt_proto.options import Limits
from tests.soundness import Ear

from ..client import LONGEST_PUSH, Client
from ..mutator import plain_bytes
from ..tape import Tape
from ..target import Target
from ..work import bounded

OPTIONS = (
    STTOptions("deepgram/nova-3"),
    STTOptions("cartesia/ink-2", sample_rate=8000),
    STTOptions("speechmatics/enhanced", sample_rate=11025),
    STTOptions(None),
)
LIMITS = (
    Limits(),
    Limits(audio_buffer=0.2, lookback=0.0, unread_events=2, drain=0.0, quiet=0.0, close=0.0),
    Limits(audio_buffer=1.0, ahead=0.05, ping_interval=0.1, ping_timeout=0.1, lookback=0.5, replay_pace=1.0),
)
RETRIES = (RetryPolicy(), RetryPolicy(outage=0.0), RetryPolicy(outage=3.0, first_delay=0.01))
STEPS = 300
"""Calls of one input."""

CALLS, CALLS_PER_BYTE = 400_000, 4000


def run(data: bytes) -> str:
    """Read the bytes as calls. Nothing may come out: a caller's mistake is caught where it is made."""
    tape = Tape(data)
    limits = tape.choice(LIMITS)
    options = tape.choice(OPTIONS)
    endpointer = _Ends(tape.byte())
    with bounded(CALLS + CALLS_PER_BYTE * len(data)):
        draws = Random(0)
        connection = Connection(
            options, limits=limits, retry=tape.choice(RETRIES), endpointer=endpointer, random=draws.random
        )
        play = _Play(tape, Client(connection, Ear(limits)))
        for _ in range(STEPS):
            if not tape:
                break
            play.step()
        play.client.finish()
    return play.told()


class _Ends:
    """An endpointer that hears an end now and then, and breaks when it is told to."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._count = 0

    def push(self, pcm: bytes) -> bool:
        self._count += 1
        if self._every == 255 and self._count > 3:
            raise ValueError("broken")
        return self._every > 0 and self._count % self._every == 0


class _Play:
    """One input, step by step."""

    def __init__(self, tape: Tape, client: Client) -> None:
        self.tape = tape
        self.client = client
        self.done: set[str] = set()

    def step(self) -> None:
        """Do one thing, most of the time take what follows, and sometimes let time pass."""
        byte = self.tape.byte()
        deed = DEEDS[byte % len(DEEDS)]
        self.done.add(deed.__name__)
        deed(self)
        if byte < 224:
            while self.client.take():
                pass

    def told(self) -> str:
        """Roughly what happened."""
        kinds = {getattr(event, "type", type(event).__name__) for event in self.client.heard}
        stats = self.client.connection.stats
        counts = [min(3, count) for count in (stats.sessions, stats.failures, stats.finals, self.client.refused)]
        return f"{sorted(kinds)} {counts} {type(self.client.connection.error).__name__} {stats.audio_dropped > 0}"

    # What callers wish.

    def start(self) -> None:
        self.client.call("start", self.client.now)

    def push(self) -> None:
        self.client.push(self.tape.choice((1, 2, 3, 320, 1600, 1601, 3200, 16_000, 64_000, LONGEST_PUSH)))

    def flush(self) -> None:
        self.client.call("flush", self.client.now)

    def finalize(self) -> None:
        self.client.call("finalize", self.client.now)

    def end_input(self) -> None:
        self.client.wish_end()

    def close(self) -> None:
        if self.client.call("close", self.client.now):
            limit = self.client.now + self.client.ear.limits.close
            self.client.ended_by = min(self.client.ended_by, limit)

    def update(self) -> None:
        self.client.call("update_options", self.client.now, **self.tape.choice(UPDATES))

    def offer(self) -> None:
        self.client.call("offer_options", self.client.now, **self.tape.choice(UPDATES))

    # What the transport tells.

    def opened(self) -> None:
        self.client.call("transport_opened", self.client.now)

    def closed(self) -> None:
        self.client.closed(**self.tape.choice(CLOSES))

    def hear(self) -> None:
        self.client.call("receive_text", self.message(), self.client.now)

    def binary(self) -> None:
        self.client.call("receive_binary", self.tape.rest(self.tape.byte() % 8), self.client.now)

    def pong(self) -> None:
        self.client.call("transport_alive", self.client.now)

    def follow(self) -> None:
        """Do what a decent network would."""
        client = self.client
        if client.hanging_up:
            client.closed(code=1000)
        elif client.dialling and client.connection.link_state is LinkState.CONNECTING:
            client.call("transport_opened", client.now)

    def message(self) -> str | bytes:
        tape = self.tape
        kind = tape.byte() % 12
        if kind == 0:
            return tape.rest(tape.byte() % 32)
        if kind < 4:
            return tape.choice(SHORT)
        fields: dict[str, object] = {
            "type": ("interim", "preflight", "final", "final")[kind % 4] + "_transcript",
            "transcript": ("", "one", "two words", "one")[tape.byte() % 4],
        }
        if kind < 10:
            fields["start"] = tape.number() / 400
            fields["duration"] = tape.byte() / 20
            if tape.byte() & 1:
                fields["words"] = [{"word": "one", "start": tape.number() / 400, "end": tape.number() / 400}]
        return json.dumps(fields)

    # Time.

    def wait(self) -> None:
        self.client.now += self.tape.choice((0.0, 1e-7, 0.001, 0.02, 0.05, 0.1, 0.5, 1.0, 3.0, 10.0, 60.0))
        self.client.call("handle_timeout", self.client.now)

    def jump(self) -> None:
        deadline = self.client.connection.deadline
        if deadline is not None:
            self.client.now = max(self.client.now, deadline + self.tape.choice((0.0, -1e-7, 0.01, 1.5)))
        self.client.call("handle_timeout", self.client.now)

    def odd_time(self) -> None:
        """Tell a time that no clock would: behind, negative, or none at all."""
        odd = self.tape.choice((self.client.now - 5.0, -1e9, math.nan, 0, -math.inf))
        self.client.call(self.tape.choice(("handle_timeout", "transport_alive", "flush", "finalize")), odd)

    def later(self) -> None:
        """Come back much later."""
        self.client.now += self.tape.choice((600.0, 86_400.0, 1e9))
        self.client.call("handle_timeout", self.client.now)

    # Results.

    def take(self) -> None:
        self.client.take(self.tape.choice((0, 1, 2, 16, 1000, -1)))


DEEDS: tuple[Callable[[_Play], None], ...] = (
    *(_Play.push, _Play.push, _Play.push, _Play.follow, _Play.follow, _Play.hear, _Play.hear, _Play.hear),
    *(_Play.wait, _Play.wait, _Play.jump, _Play.pong, _Play.take, _Play.start, _Play.flush, _Play.finalize),
    *(_Play.closed, _Play.update, _Play.opened, _Play.binary, _Play.odd_time, _Play.offer, _Play.end_input),
    *(_Play.close, _Play.later),
)

UPDATES: tuple[Mapping[str, object], ...] = (
    {"language": "de"},
    {"keyterms": ["one", "two"]},
    {"keyterms": []},
    {"extra": {"keyterm": "three", "other": None}},
    {"model": "deepgram/nova-2"},
    {"model": "cartesia/ink-2"},
    {"model": "elevenlabs/scribe:fr", "language": ""},
    {"extra": {"bad": math.nan}},
    {"language": "\ud800"},
    {},
)
CLOSES: tuple[Mapping[str, object], ...] = (
    {},
    {"code": 1000},
    {"code": 1011, "reason": "trouble \u202e\ud800 token=abc"},
    {"http_status": 401},
    {"http_status": 429, "retry_after": 7.0},
    {"http_status": 429, "retry_after": -3.0},
    {"http_status": 503, "reason": "x" * 1000},
    {"http_status": 404},
    {"error": OSError("no route")},
    {"error": TlsError("not trusted", phase="connect")},
    {"error": UnexpectedRedirect("elsewhere", phase="connect")},
    {"error": ConnectionLost("gone", phase="session")},
    {"error": LocalProtocolError("no credentials", phase="connect")},
)
SHORT = (
    '{"type":"session.created","session_id":"s1"}',
    '{"type":"start_of_speech"}',
    '{"type":"session.finalized"}',
    '{"type":"session.closed"}',
    '{"type":"error","code":500,"message":"trouble"}',
    '{"type":"error","code":401,"message":"token"}',
    '{"type":"error","code":400,"message":"bad \\ud800"}',
    '{"type":"error","code":2007}',
    '{"type":"error"}',
    '{"type":"final_transcript","transcript":5}',
    "{",
)


def _script(*deeds: tuple[Any, ...], head: bytes = b"\0\0\0\0") -> bytes:
    return head + b"".join(bytes((DEEDS.index(deed), *choices)) for deed, *choices in deeds)


def seeds() -> Iterable[bytes]:
    """Whole streams: a good one, one that is cut, one that nobody answers, and pieces of them."""
    begin = [(_Play.start,), (_Play.wait, 4), (_Play.follow,), (_Play.hear, 1, 0)]
    speak = [(_Play.push, 5), (_Play.wait, 5), (_Play.push, 5), (_Play.pong,), (_Play.wait, 5)]
    interim = [(_Play.hear, 4, 1, 0, 0, 2, 0)]
    final = [(_Play.hear, 6, 2, 0, 0, 2, 1, 0, 0, 0, 40)]
    untimed = [(_Play.hear, 10, 1)]
    finish = [(_Play.end_input,), (_Play.hear, 1, 2), (_Play.jump, 0), (_Play.follow,), (_Play.follow,)]
    cut = [(_Play.closed, 0), (_Play.jump, 0), (_Play.follow,)]
    for head in (b"\0\0\0\0", b"\1\0\0\1", b"\2\1\0\2", b"\0\2\5\0", b"\2\3\xff\0"):
        yield _script(*begin, *speak, *interim, *final, *finish, head=head)
        yield _script(*begin, *speak, *interim, *cut, *speak, *untimed, *finish, head=head)
        yield _script(*begin, *speak, *speak, (_Play.jump, 3), (_Play.jump, 0), (_Play.jump, 0), head=head)
        yield _script(*begin, *speak, *interim, *cut, *finish, *cut, head=head)
        yield _script(*begin, *speak, (_Play.update, 1), *interim, (_Play.update, 0), *final, (_Play.close,), head=head)
        yield _script((_Play.push, 9), *begin, (_Play.take, 0), (_Play.push, 9), (_Play.take, 1), *cut, head=head)


TARGET = Target("connection", run, permitted=(), seeds=seeds, mutate=plain_bytes(longest=1024))
