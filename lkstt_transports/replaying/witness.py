"""Fixtures of a session between two strangers, noted by somebody who stands between them.

A fixture holds exactly what *arrives* at the end that it is told from. So one session becomes two:

``gateway``
    A ``Gateway`` hears the client, whose messages are kept as they came. What the gateway said is what this ``Gateway``
    was asked to say: the same meaning in our words.
``client``
    A ``Connection`` hears the gateway, whose messages are kept as they came. It does what the client was seen to do:
    pushes the audio that was sent, finalizes and closes. What the client's application wished, or how patient it was,
    cannot be seen from outside: this is what *our* client makes of the same audio and the same answers. It sends no
    pings and no more sessions, because nobody would answer them.

Both replay green. Messages out of place, which a core refuses to say, are left out of the half they would be told in.
Nothing here waits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from lkstt_proto import Limits, LocalProtocolError, SpeechData, SttError, STTOptions, TimedWord
from lkstt_proto.fields import Word
from lkstt_proto.messages import (
    ClientMessage,
    Close,
    ErrorMessage,
    Finalize,
    InputAudio,
    ServerMessage,
    SessionClosed,
    SessionCreate,
    SessionCreatedMessage,
    SessionFinalized,
    SessionUpdate,
    StartOfSpeech,
    Transcript,
    TranscriptKind,
    decode_client,
    decode_server,
)
from lkstt_proto.recording import Recorder
from lkstt_proto.wirejson import NotUsable

LONGEST_BYTES = 32 * 2**20
"""Of messages in a recording: twelve minutes at 16 kHz. It is kept in memory, more than once while it is written."""

# No pings: the other end's pongs are none of ours. And so nothing is confirmed, and nothing waits for that.
_A_DAY = 86400.0
_LIMITS = Limits(ping_interval=_A_DAY, ahead=_A_DAY)


class Witness:
    """Notes one session as it passes by. Tell it everything, with the seconds since the client asked for the session.

    ``full`` says that it notes no more, ``outcome`` how the session ended; ``recordings`` gives the fixtures.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = False
        self.outcome = "still open"
        self._bytes = 0
        self._gateway = Recorder.gateway(name)
        self._opened = False
        self._left = False
        # What the session is to be is said in its first message: until then what the client is told waits.
        self._client: Recorder | None = None
        self._early: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._tell("start", 0.0)

    # What happens.

    def opened(self, now: float) -> None:
        """The gateway took the connection."""
        self._opened = True
        self._ask("transport_opened", now)
        self._tell("transport_opened", now)

    def refused(self, status: int, retry_after: float | None, now: float) -> None:
        """The client was answered with another HTTP status than 101."""
        self.outcome = f"refused with HTTP {status}"
        known = {} if retry_after is None else {"retry_after": retry_after}
        self._tell("transport_closed", now, http_status=status, **known)

    def client_said(self, text: str, now: float) -> None:
        """A text message of the client passed by."""
        if not self._fits(len(text)):
            return
        message: ClientMessage | None = None
        with suppress(NotUsable):
            message = decode_client(text, _LIMITS)
        if self._client is None:
            self._meet(message)
        self._ask("receive_text", text, now)
        self._imitate(message, now)

    def client_sent(self, data: bytes, now: float) -> None:
        """A binary message of the client passed by."""
        if self._fits(len(data)):
            self._ask("receive_binary", data, now)

    def gateway_said(self, text: str, now: float) -> None:
        """A text message of the gateway passed by."""
        if not self._fits(len(text)):
            return
        self._tell("receive_text", text, now)
        with suppress(NotUsable):
            self._say(decode_server(text, _LIMITS), now)

    def gateway_sent(self, data: bytes, now: float) -> None:
        """A binary message of the gateway passed by."""
        if self._fits(len(data)):
            self._tell("receive_binary", data, now)

    def client_left(self, now: float) -> None:
        """The client began to close the WebSocket."""
        if not self._left and not self.full:
            self._left = True
            self._tell("close", now)

    def closed(self, now: float, *, client: tuple[int, str], gateway: tuple[int, str]) -> None:
        """The WebSocket is closed; code and reason are those of each end's close frame, 1006 without one."""
        self.outcome = f"closed with code {gateway[0]}"
        if not self.full:
            self._ask("transport_closed", now, code=client[0], reason=client[1])
            self._tell("transport_closed", now, code=gateway[0], reason=gateway[1])

    def recordings(self, *, redact_text: bool = False, redact_audio: bool = False) -> dict[str, list[str]]:
        """Give the fixtures so far, as lines; a session that never opened has that of the client alone."""
        if self._client is None:
            self._meet(None)
        ends = {"client": self._client} | ({"gateway": self._gateway} if self._opened else {})
        return {
            role: recorder.lines(redact_text=redact_text, redact_audio=redact_audio)
            for role, recorder in ends.items()
            if recorder is not None
        }

    # What is made of it.

    def _fits(self, size: int) -> bool:
        self._bytes += size
        self.full = self.full or self._bytes > LONGEST_BYTES
        return not self.full

    def _tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        if self._client is None:
            self._early.append((method, args, kwargs))
        else:
            _do(self._client, method, *args, **kwargs)

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> None:
        _do(self._gateway, method, *args, **kwargs)

    def _meet(self, message: ClientMessage | None) -> None:
        """Make the client that the first message shows."""
        self._client = Recorder.client(self.name, _options(message), limits=_LIMITS)
        for method, args, kwargs in self._early:
            self._tell(method, *args, **kwargs)
        self._early.clear()

    def _imitate(self, message: ClientMessage | None, now: float) -> None:
        """Have our client do what theirs was seen to do."""
        if isinstance(message, InputAudio):
            self._tell("send_audio", message.pcm, now)
        elif isinstance(message, SessionUpdate):
            known = {key: message.settings[key] for key in ("model", "language", "extra") if key in message.settings}
            self._tell("update_options", now, **known)
        elif isinstance(message, Finalize):
            self._tell("finalize", now)
        elif isinstance(message, Close):
            self.client_left(now)

    def _say(self, message: ServerMessage, now: float) -> None:
        """Have our gateway say what theirs was heard to say."""
        if isinstance(message, SessionCreatedMessage):
            self._ask("accept", now, session_id=message.session_id or "")
        elif isinstance(message, StartOfSpeech):
            self._ask("start_of_speech", now)
        elif isinstance(message, Transcript):
            known = {} if message.request_id is None else {"request_id": message.request_id}
            if message.kind is TranscriptKind.PREFLIGHT:
                self._ask("preflight", _data(message), now, **known)
            else:
                self._ask("transcript", _data(message), now, final=message.kind is TranscriptKind.FINAL, **known)
        elif isinstance(message, SessionFinalized):
            self._ask("finalized", now)
        elif isinstance(message, SessionClosed):
            self._ask("close", now)
        elif isinstance(message, ErrorMessage):
            self._ask("fail", now, code=message.code, message=message.message)


def _do(recorder: Recorder, method: str, *args: Any, **kwargs: Any) -> None:
    """Give a core an input, and take everything it causes; what it refuses has not happened."""
    with suppress(LocalProtocolError):
        getattr(recorder, method)(*args, **kwargs)
        now = args[-1]
        while recorder.take_actions(now):
            pass
        recorder.take_events()


def _options(message: ClientMessage | None) -> STTOptions:
    if not isinstance(message, SessionCreate):
        return STTOptions()
    with suppress(SttError):
        return STTOptions(
            message.model,
            language=message.language or None,
            encoding=message.encoding,
            sample_rate=message.sample_rate,
            extra_kwargs=message.extra,
            fallback=[{"model": item.model, "extra": item.extra} for item in message.fallback],
        )
    return STTOptions(None, sample_rate=message.sample_rate)  # the audio at least is heard as it was meant


def _data(message: Transcript) -> SpeechData:
    start = message.start or 0.0
    return SpeechData(
        message.language or "",
        message.text,
        start,
        start + (message.duration or 0.0),
        message.confidence,
        message.speaker_id,
        tuple(_timed(word, start) for word in message.words),
        message.metadata,
    )


def _timed(word: Word, segment_start: float) -> TimedWord:
    text, start, end, confidence, speaker_id = word
    start = segment_start if start is None else start
    return TimedWord(text, start, start if end is None else end, confidence, speaker_id)
