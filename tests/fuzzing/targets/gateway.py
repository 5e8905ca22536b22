"""Whatever a client, or somebody who says to be one, may send to the gateway."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable

from lkstt_proto import (
    CloseRequested,
    Disconnect,
    FinalizeRequested,
    Gateway,
    GatewayEvent,
    LocalProtocolError,
    SessionRequested,
    SpeechData,
)
from lkstt_proto.messages import BadRequest, InputAudio, Unrecognized, decode_client, decode_server
from lkstt_proto.options import Limits
from lkstt_proto.wirejson import NotUsable
from tests.soundness import GatewayEar, check, sound_action

from ..mutator import Mutator
from ..oracles import decoded_alike, written_again
from ..seeds import conversations
from ..target import Target
from ..work import bounded

SEPARATOR = b"\0"
BINARY = b"\x02"
"""What a frame begins with that comes as a binary message."""
LIMITS = (Limits(), Limits(message=3000, name=6))
FRAMES = 16
CREATE = b'{"type":"session.create","settings":{"sample_rate":"16000","encoding":"pcm_s16le","extra":{}}}'

CALLS, CALLS_PER_FRAME, CALLS_PER_BYTE = 2000, 600, 40


def run(data: bytes) -> str:
    """The first byte says how, the rest are frames. Nothing may come out."""
    head, *frames = data[:1], *data[1:].split(SEPARATOR)[:FRAMES]
    how = head[0] if head else 0
    with bounded(CALLS + CALLS_PER_FRAME * len(frames) + CALLS_PER_BYTE * len(data)):
        return _Served(LIMITS[how & 1], as_bytes=bool(how & 4)).run(frames, begun=bool(how & 2))


class _Served:
    """A gateway with an application that does what is asked."""

    def __init__(self, limits: Limits, *, as_bytes: bool) -> None:
        self.limits = limits
        self.as_bytes = as_bytes
        self.gateway = Gateway(limits=limits)
        self.ear = GatewayEar(limits)
        self.now = 0.0
        self.told: list[str] = []
        self.hung_up = False

    def run(self, frames: list[bytes], *, begun: bool) -> str:
        gateway = self.gateway
        gateway.transport_opened(self.now)
        if begun:
            gateway.receive_text(CREATE, self.now)
            self.settle()
            check(self.ear.rate == 16000, "a session was asked for")
        for frame in frames:
            self.now += 0.1
            self.receive(frame)
        closing, state = gateway.closing, gateway.session_state
        while (deadline := gateway.deadline) is not None:
            self.now = max(self.now, deadline)
            gateway.handle_timeout(self.now)
            check(gateway.deadline is None or gateway.deadline > self.now, "no deadline lies behind")
            self.settle()
        check(self.hung_up, "who says nothing more is left")
        gateway.transport_closed(self.now)
        self.settle()
        check(self.ear.gone, "the end is told")
        return f"{self.told[-2:]} {closing} {state}"

    def receive(self, frame: bytes) -> None:
        gateway = self.gateway
        if frame.startswith(BINARY):
            gateway.receive_binary(frame[1:], self.now)
            self.settle()
            check(gateway.closing, "a binary message is refused")
            return
        try:
            shown: str | bytes = frame if self.as_bytes else frame.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            shown = frame
        message = decoded_alike("client", shown, self.limits)
        if message is not None:
            written_again("client", message, self.limits)
        closing, heard = gateway.closing, self.ear.heard
        gateway.receive_text(shown, self.now)
        events = self.settle()
        if closing:
            check(not events, "nothing is heard after the last word")
        elif message is None:
            check(gateway.closing and not events, "what is refused is answered by an error and nothing else")
        elif isinstance(message, Unrecognized):
            check(not events and not gateway.closing, "what is not known is skipped")
        if message is None:
            self.told.append(_why(shown, self.limits))
        else:
            self.told.append(type(message).__name__)
            if isinstance(message, InputAudio):
                audio = json.loads(shown)["audio"]
                check(audio == b64encode(message.pcm).decode(), "audio is written in one way only")
                counted = 0 if gateway.closing else len(message.pcm) // 2
                check(self.ear.heard - heard == counted, "audio is heard as it was sent")

    def settle(self) -> list[GatewayEvent]:
        gateway = self.gateway
        events = []
        for _ in range(10):
            heard = gateway.take_events()
            self.ear.hear(heard)
            events += heard
            for event in heard:
                self.answer(event)
            pending = gateway.pending
            actions = gateway.take_actions(self.now)
            check(bool(actions) is pending, "pending tells whether there is something to take")
            for action in actions:
                check(isinstance(action, bytes | Disconnect), "a gateway neither dials nor pings")
                if sound_action(action) is None:
                    self.hung_up = True
                elif isinstance(action, bytes):
                    reply = decode_server(action, self.limits)
                    check(not isinstance(reply, Unrecognized) and not reply.problems, "what it says can be used")
        check(gateway.audio_seconds == (self.ear.heard / self.ear.rate if self.ear.rate else 0.0), "audio is counted")
        return events

    def answer(self, event: GatewayEvent) -> None:
        gateway = self.gateway
        try:
            if isinstance(event, SessionRequested):
                gateway.accept(self.now, session_id="s1")
            elif isinstance(event, FinalizeRequested):
                gateway.transcript(SpeechData("en", "heard", 0.0, event.audio_time), self.now, final=True)
                gateway.finalized(self.now)
            elif isinstance(event, CloseRequested):
                gateway.close(self.now)
        except LocalProtocolError:
            check(gateway.closing, "what was asked for may be done until the last word")


def _why(shown: str | bytes, limits: Limits) -> str:
    try:
        decode_client(shown, limits)
    except BadRequest as refusal:
        return refusal.reason.split()[0]
    except NotUsable as refusal:
        return refusal.reason.split()[-1]
    return ""


MESSAGES = (
    {
        "type": "session.create",
        "model": "deepgram/nova-3",
        "settings": {
            "sample_rate": "16000",
            "encoding": "pcm_s16le",
            "language": "en",
            "extra": {"keyterm": ["LiveKit"], "x": {"y": [1.5, None]}},
        },
        "fallback": {"models": [{"model": "assemblyai/universal-streaming", "extra": {"format_turns": True}}]},
        "connection": {"timeout": 10.0, "retries": 3},
    },
    {"type": "session.create", "settings": {"sample_rate": 8000, "encoding": "pcm_s16le", "extra": {}}},
    {"type": "session.create", "settings": {"sample_rate": "48001"}},
    {"type": "input_audio", "audio": "AAECAwQF"},
    {"type": "input_audio", "audio": "AAECAwQFBgc="},
    {"type": "input_audio", "audio": "AAE="},
    {"type": "session.update", "settings": {"language": "de", "extra": {"keyterm": []}, "model": "deepgram/nova-2"}},
    {"type": "session.finalize"},
    {"type": "session.close"},
    {"type": "something.new"},
)


def seeds() -> Iterable[bytes]:
    """Each message by itself, a conversation, and what the fixtures say to gateways."""
    frames = [json.dumps(message).encode() for message in MESSAGES]
    yield from (bytes([how]) + frame for how in (0, 2, 7) for frame in frames)
    yield b"\0" + SEPARATOR.join([frames[0], *frames[3:5], frames[6], frames[4], *frames[7:9]])
    yield b"\x02" + SEPARATOR.join([frames[3], BINARY + b"\0\1", frames[4]])
    yield from conversations("gateway", SEPARATOR)


TARGET = Target(
    "gateway",
    run,
    permitted=(),
    seeds=seeds,
    mutate=Mutator(
        separator=SEPARATOR,
        head=1,
        tokens=[
            BINARY,
            b'"type"',
            b"session.",
            b'"audio":"',
            b"AAAA",
            b"=",
            b"==",
            b"\\n",
            b"-_",
            b"\\u0041",
            b"48001",
        ],
        frames=[json.dumps(message).encode() for message in MESSAGES],
    ),
)
