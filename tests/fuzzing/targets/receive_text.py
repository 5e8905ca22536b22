"""Whatever a gateway, a proxy or an attacker may send to a client in the middle of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterable

from lkstt_proto import Connection, LinkState, RetryPolicy, SpeechEventType, STTOptions
from lkstt_proto.options import Limits
from tests.soundness import Ear, check

from ..client import Client
from ..mutator import Mutator
from ..oracles import decoded_alike, written_again
from ..seeds import conversations
from ..target import Target
from ..work import bounded

SEPARATOR = b"\0"
"""Between frames: no frame that is worth anything holds it."""
LIMITS = (Limits(), Limits(message=3000, words=3, text=24, name=6))
MODELS = ("deepgram/nova-3", "cartesia/ink-2", "xai/stt-1", None)
FRAMES = 16
CHUNK = 3200  # bytes pushed before each frame: 0.1 s

# What one input costs at the most: for the stream around the frames, for each of them, and for each byte of them.
CALLS, CALLS_PER_FRAME, CALLS_PER_BYTE = 3000, 1500, 60


def run(data: bytes) -> str:
    """The first byte says how, the rest are frames. Nothing may come out."""
    head, *frames = data[:1], *data[1:].split(SEPARATOR)[:FRAMES]
    how = head[0] if head else 0
    with bounded(CALLS + CALLS_PER_FRAME * len(frames) + CALLS_PER_BYTE * len(data)):
        return _run(how, frames)


def _run(how: int, frames: list[bytes]) -> str:
    limits = LIMITS[how & 1]
    connection = Connection(STTOptions(MODELS[how >> 1 & 3]), limits=limits, retry=RetryPolicy(outage=0.0))
    client = Client(connection, Ear(limits))
    client.call("start", 0.0)
    client.take()
    client.call("transport_opened", 0.0)
    for frame in frames:
        client.now += 0.1
        client.push(CHUNK)
        client.take()
        shown = _as_transports_do(frame, as_bytes=bool(how & 8))
        message = decoded_alike("server", shown, limits)
        if message is not None:
            written_again("server", message, limits)
        told = len(client.heard)
        client.call("receive_text", shown, client.now)
        client.take()
        listening = connection.link_state is LinkState.UP
        if message is None and listening:
            kinds = [type(event).__name__ for event in client.heard[told:]]
            check(kinds == ["Diagnostic"], "what is refused is told by one Diagnostic and nothing else")
    live = connection.link_state is LinkState.UP
    finals = client.ear.finals
    client.call("receive_text", '{"type":"final_transcript","transcript":"still there"}', client.now)
    client.take()
    if live:
        check(client.ear.finals == finals + 1, "the stream goes on after whatever came")
        check("still there"[: limits.text] in _last_final(client), "the stream goes on after whatever came")
    client.call("close", client.now)
    client.take()
    client.closed(code=1000)
    client.take()
    check(client.ear.over, "a closed stream is over")
    kinds = {event.type if hasattr(event, "type") else type(event).__name__ for event in client.heard}
    return f"{sorted(kinds)} {connection.stats.diagnostics} {live}"


def _as_transports_do(frame: bytes, *, as_bytes: bool) -> str | bytes:
    if as_bytes:
        return frame
    try:
        return frame.decode()
    except UnicodeDecodeError:
        try:
            return frame.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return frame


def _last_final(client: Client) -> str:
    finals = [
        event.alternatives[0].text
        for event in client.heard
        if getattr(event, "type", None) is SpeechEventType.FINAL_TRANSCRIPT
    ]
    return finals[-1]


WORD = {"word": "one", "start": 0.05, "end": 0.08, "confidence": 0.75, "speaker_id": "S1"}
FULL = {
    "type": "final_transcript",
    "transcript": "one zwölf",
    "language": "en",
    "start": 0.05,
    "duration": 0.1,
    "confidence": 0.5,
    "words": [WORD, {"word": "zwölf", "start": 0.1, "end": 0.15}],
    "speaker_id": "S1",
    "extra": {"a": [1, {"b": None}], "voice": 0.5},
    "request_id": "r1",
    "session_id": "s1",
}
MESSAGES = (
    FULL,
    {**FULL, "type": "interim_transcript"},
    {**FULL, "type": "preflight_transcript"},
    {"type": "session.created", "session_id": "s1"},
    {"type": "start_of_speech"},
    {"type": "session.finalized"},
    {"type": "session.closed"},
    {"type": "error", "code": 429, "message": "rate limited", "session_id": "s1"},
    {"type": "error", "error": {"code": 2007, "message": "session closed due to agent inactivity"}},
    {"type": "something_new", "with": {"fields": []}},
)


def seeds() -> Iterable[bytes]:
    """Each message by itself and in a conversation, and what the fixtures hear."""
    frames = [json.dumps(message, ensure_ascii=False).encode() for message in MESSAGES]
    yield from (bytes([how]) + frame for how in (0, 9) for frame in frames)
    yield b"\0" + SEPARATOR.join([frames[3], frames[4], frames[1], frames[0], frames[5]])
    yield b"\x01" + SEPARATOR.join([frames[0], frames[2], frames[7]])
    yield from conversations("client", SEPARATOR)


TARGET = Target(
    "receive_text",
    run,
    permitted=(),
    seeds=seeds,
    mutate=Mutator(
        separator=SEPARATOR,
        head=1,
        tokens=[
            b'"type"',
            b"_transcript",
            b'"words":[',
            b'"start":',
            b"\xed\xa0\x80",
            b"\xef\xbb\xbf",
            b"\\ud800",
            b"1e999",
        ],
        frames=[json.dumps(message).encode() for message in MESSAGES],
    ),
)
