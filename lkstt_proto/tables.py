"""The rules of the protocol: three tables.

Theory of operation
===================

A *stream* is what an application has: audio in, transcripts out. It takes as many *sessions* as the network makes
necessary, one WebSocket each. In every session people take *turns*. Three machines follow from that:

* The **link** table is the client's alone: is there a transport, is one being dialled, or are we waiting for one to
  go? Each ``connect`` is answered by exactly one close, so ``dropping`` (another attempt follows) and ``closing``
  (nothing follows) wait for that answer; ``backoff`` waits for the clock.
* The **session** table is what was said on one transport. Its triggers name the sender of a message, not us, so that
  the same rows serve the client and the gateway. An effect named after a message means: our own message is sent, the
  peer's is passed on. ``finalizing`` means that nothing was spoken since the last ``session.finalize``; the wire does
  not tell a finalize in mid-stream from the one at the end, so audio leads back to ``streaming``. A session that says
  ``session.created`` late or never is used all the same: the first transcript shows that it is there.
* The **speech** table holds the turn. It belongs to the stream, not to the session: a turn that is open when the link
  breaks stays open, so START and END alternate whatever the network does.

Conditions become trigger names before the step: an interim without text is ``gateway:empty_interim``; a transport
that closed is ``closed_retry``, ``closed_again``, ``closed_end`` or ``closed_fail``, as classed by the failure table
in ``errors.py`` and the rules of ``drain.py`` and ``retry.py``.

Where a row is missing, the message is a mistake: a LocalProtocolError for our own, a Diagnostic for the gateway's on
the client, an error 400 and a close for the client's on the gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

from .machine import Row, Table, rows


class Word(StrEnum):
    """A word of the tables with its meaning, which ports and pages are made from."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        word = str.__new__(cls, value)
        word._value_ = value
        word.meaning = meaning
        return word


class LinkState(Word):
    """Where the transport is."""

    IDLE = "idle", "Not started."
    CONNECTING = "connecting", "A transport was asked for and has neither opened nor closed."
    UP = "up", "A transport is open."
    DROPPING = "dropping", "A transport was asked to close; its close will be followed by another attempt."
    BACKOFF = "backoff", "There is no transport; the next attempt waits for the clock."
    CLOSING = "closing", "A transport was asked to close; nothing follows its close."
    DONE = "done", "The stream is over."


class SessionState(Word):
    """What was said on the present transport."""

    NEW = "new", "Nothing was said."
    CREATING = "creating", "`session.create` was sent and nothing was heard yet; audio may follow at once."
    STREAMING = "streaming", "The gateway answered, or audio followed the last finalize."
    FINALIZING = "finalizing", "Nothing was spoken since the last `session.finalize`."
    ENDED = "ended", "`session.close` or `session.closed` was said, or the stream ended well."
    FAILED = "failed", "An `error` was said, the transport closed early, or the stream failed."


class SpeechState(Word):
    """Whether a turn is open."""

    SILENT = "silent", "No turn is open."
    SPEAKING = "speaking", "A turn is open: START was told, END was not."


class LinkEffect(Word):
    """What the link asks its owner to do."""

    CONNECT = (
        "connect",
        "Ask for a transport: forget what broke the last, queue `connect` with the failures as `attempt`.",
    )
    ARM_CONNECT = "arm_connect", "Arm timer `connect` at now + `retry.connect_timeout`."
    ARM_BACKOFF = "arm_backoff", "Arm timer `backoff` at now + the delay that the retry schedule gave."
    ARM_CLOSE = "arm_close", "Cancel every timer of the transport, then arm `close` at now + `limits.close`."
    OPEN_SESSION = (
        "open_session",
        (
            "Start a session on the transport that opened: cancel `connect`, forget the last session's clock, step the "
            "session table with `opened`, queue `session.create`, tell `resumed` after failures, arm liveness."
        ),
    )
    LEAVE_SESSION = (
        "leave_session",
        (
            "Step the session table with `client:session.close`; queue `session.close` where that row has an effect. A "
            "ping that was due is not sent any more."
        ),
    )
    DISCONNECT = "disconnect", "Queue a polite `disconnect` action; while dialling, it abandons the dial."
    ABORT = (
        "abort",
        "The close took too long: drop all queued actions but a `connect`, and queue `disconnect` with `abort` true.",
    )
    REJOIN = (
        "rejoin",
        (
            "The transport is gone: put sent but unacknowledged audio in front of the unsent; tell `audio_dropped` "
            "(cause `unacknowledged`) for what of it is no longer kept."
        ),
    )
    TELL_RETRY = "tell_retry", "Tell `reconnecting`: failures of this outage, delay, and the failure."
    END = (
        "end",
        (
            "Step the speech table with `stream_over`, cancel all timers, step the session table with `stream_ended` "
            "and tell `stream_ended`; but where the finish expired unanswered, fail as the finish rules say."
        ),
    )
    FAIL = (
        "fail",
        (
            "Step the speech table with `stream_over`, cancel all timers, step the session table with `stream_failed` "
            "and tell `stream_failed` with the fatal failure."
        ),
    )


class SessionEffect(Word):
    """What a message means to its sender (send it) and to its receiver (pass it on)."""

    CREATE = "create", "Sender: send it. Gateway: tell `session_requested`."
    AUDIO = "audio", "Sender: send it. Gateway: tell `audio_received`."
    UPDATE = "update", "Sender: send it. Gateway: tell `settings_changed`."
    FINALIZE = "finalize", "Sender: send it. Gateway: tell `finalize_requested`."
    CLOSE = "close", "Sender: send it. Gateway: tell `close_requested`."
    CREATED = "created", "Sender: send it. Client: note the session's id and tell `session_created`."
    HEAR = (
        "hear",
        "Sender: send it. Client: an onset or a transcript: judge what it acknowledges, then step the speech table.",
    )
    FINALIZED = "finalized", "Sender: send it. Client: note it for the finish and tell `finalized`."
    CLOSED = "closed", "Sender: send it. Client: the end, where the finish allows it; otherwise a break."
    ERROR = "error", "Sender: send it. Client: a break, with the failure that the failure table gives for its code."


class SpeechEffect(Word):
    """What a turn asks to be told."""

    START = "start", "Tell `start_of_speech`."
    INTERIM = "interim", "Remember the transcript as the turn's last, and tell it in the place of an unread interim."
    PREFLIGHT = "preflight", "Remember the transcript as the turn's last, and tell it."
    USAGE = "usage", "Tell `recognition_usage`: seconds handed over since the last report, if any."
    FINAL = "final", "Tell `final_transcript`."
    PROMOTE = "promote", "Tell the turn's last interim or preflight, if any, as a final with `promoted` true."
    END = "end", "Forget the turn's last transcript and tell `end_of_speech`."
    SETTINGS = "settings", "Send the settings that waited for the end of the turn, if any and if a session is open."


_L, _LE = LinkState, LinkEffect

LINK = Table(
    "link",
    LinkState,
    (
        Row(_L.IDLE, "start", _L.CONNECTING, (_LE.CONNECT, _LE.ARM_CONNECT)),
        Row(_L.IDLE, "finish", _L.DONE, (_LE.END,)),
        # A dial: it opens, closes, or takes too long.
        Row(_L.CONNECTING, "opened", _L.UP, (_LE.OPEN_SESSION,)),
        Row(_L.CONNECTING, "connect_timeout", _L.DROPPING, (_LE.DISCONNECT, _LE.ARM_CLOSE)),
        # A live transport: the gateway broke off, or nothing was heard of it for too long.
        Row(_L.UP, "broken", _L.DROPPING, (_LE.LEAVE_SESSION, _LE.DISCONNECT, _LE.ARM_CLOSE)),
        Row(_L.UP, "lost", _L.DROPPING, (_LE.LEAVE_SESSION, _LE.DISCONNECT, _LE.ARM_CLOSE)),
        # Enough: by wish, because everything is finished, or for a failure that no attempt would mend.
        Row(_L.UP, "finish", _L.CLOSING, (_LE.LEAVE_SESSION, _LE.DISCONNECT, _LE.ARM_CLOSE)),
        Row(_L.CONNECTING, "finish", _L.CLOSING, (_LE.DISCONNECT, _LE.ARM_CLOSE)),
        Row(_L.DROPPING, "finish", _L.CLOSING),
        Row(_L.BACKOFF, "finish", _L.DONE, (_LE.END,)),
        *rows((_L.CLOSING, _L.DONE), "finish", None),
        # The answer to a Disconnect is late. An opening that crossed our Disconnect changes nothing.
        *rows((_L.DROPPING, _L.CLOSING), "close_timeout", None, (_LE.ABORT,)),
        *rows((_L.DROPPING, _L.CLOSING), "opened", None),
        # The transport is gone.
        *rows(
            (_L.CONNECTING, _L.UP, _L.DROPPING),
            "closed_retry",
            _L.BACKOFF,
            (_LE.REJOIN, _LE.TELL_RETRY, _LE.ARM_BACKOFF),
        ),
        *rows(
            (_L.CONNECTING, _L.UP, _L.DROPPING),
            "closed_again",
            _L.CONNECTING,
            (_LE.REJOIN, _LE.TELL_RETRY, _LE.CONNECT, _LE.ARM_CONNECT),
        ),
        *rows((_L.CONNECTING, _L.UP, _L.DROPPING, _L.CLOSING), "closed_end", _L.DONE, (_LE.END,)),
        *rows((_L.CONNECTING, _L.UP, _L.DROPPING, _L.CLOSING), "closed_fail", _L.DONE, (_LE.FAIL,)),
        Row(_L.BACKOFF, "backoff_timeout", _L.CONNECTING, (_LE.CONNECT, _LE.ARM_CONNECT)),
    ),
)

_S, _SE = SessionState, SessionEffect
_OPEN = (_S.CREATING, _S.STREAMING, _S.FINALIZING)
# After session.close or an error the peer may still deliver what was under way, until the transport closes.
_HEARING = (_S.ENDED, _S.FAILED)
_TRANSCRIPTS = (
    "gateway:start_of_speech",
    "gateway:interim_transcript",
    "gateway:preflight_transcript",
    "gateway:final_transcript",
)

SESSION = Table(
    "session",
    SessionState,
    (
        Row(_S.NEW, "client:session.create", _S.CREATING, (_SE.CREATE,)),
        # Audio need not wait for session.created (PROTOCOL 2.1).
        *rows((_S.CREATING, _S.STREAMING), "client:input_audio", None, (_SE.AUDIO,)),
        Row(_S.FINALIZING, "client:input_audio", _S.STREAMING, (_SE.AUDIO,)),
        *rows(_OPEN, "client:session.update", None, (_SE.UPDATE,)),
        *rows(_OPEN, "client:session.finalize", _S.FINALIZING, (_SE.FINALIZE,)),
        *rows(_OPEN, "client:session.close", _S.ENDED, (_SE.CLOSE,)),
        # After an error it frees the slot (PROTOCOL 4.2); after either side said goodbye, there is nothing to say.
        Row(_S.FAILED, "client:session.close", _S.FAILED, (_SE.CLOSE,)),
        Row(_S.ENDED, "client:session.close", _S.ENDED),
        Row(_S.CREATING, "gateway:session.created", _S.STREAMING, (_SE.CREATED,)),
        *rows((_S.STREAMING, _S.FINALIZING), "gateway:session.created", None, (_SE.CREATED,)),
        *(
            row
            for trigger in _TRANSCRIPTS
            for row in (
                Row(_S.CREATING, trigger, _S.STREAMING, (_SE.HEAR,)),
                *rows((_S.STREAMING, _S.FINALIZING, *_HEARING), trigger, None, (_SE.HEAR,)),
            )
        ),
        *rows((*_OPEN, *_HEARING), "gateway:session.finalized", None, (_SE.FINALIZED,)),
        *rows((*_OPEN, _S.ENDED), "gateway:session.closed", _S.ENDED, (_SE.CLOSED,)),
        # A gateway may refuse before anything was created.
        *rows((_S.NEW, *_OPEN, _S.ENDED), "gateway:error", _S.FAILED, (_SE.ERROR,)),
        # A transport brings a new session and takes it away again; the stream's end has the last word.
        *rows((_S.NEW, *_HEARING), "opened", _S.NEW),
        *rows((_S.NEW, *_OPEN), "closed", _S.FAILED),
        *rows(_HEARING, "closed", None),
        *rows((_S.NEW, *_HEARING), "stream_ended", _S.ENDED),
        *rows((_S.NEW, *_HEARING), "stream_failed", _S.FAILED),
    ),
)

_T, _TE = SpeechState, SpeechEffect
_ENDING = (_TE.USAGE, _TE.FINAL, _TE.END, _TE.SETTINGS)

SPEECH = Table(
    "speech",
    SpeechState,
    (
        Row(_T.SILENT, "gateway:start_of_speech", _T.SPEAKING, (_TE.START,)),
        Row(_T.SPEAKING, "gateway:start_of_speech", _T.SPEAKING),
        Row(_T.SILENT, "gateway:interim_transcript", _T.SPEAKING, (_TE.START, _TE.INTERIM)),
        Row(_T.SPEAKING, "gateway:interim_transcript", _T.SPEAKING, (_TE.INTERIM,)),
        Row(_T.SILENT, "gateway:preflight_transcript", _T.SPEAKING, (_TE.START, _TE.PREFLIGHT)),
        Row(_T.SPEAKING, "gateway:preflight_transcript", _T.SPEAKING, (_TE.PREFLIGHT,)),
        # No text, or text of a turn that an exact final already closed: nobody needs to know.
        *rows(SpeechState, "gateway:empty_transcript", None),
        *rows(SpeechState, "gateway:late_transcript", None),
        Row(_T.SILENT, "gateway:final_transcript", _T.SILENT, (_TE.START, *_ENDING)),
        Row(_T.SPEAKING, "gateway:final_transcript", _T.SILENT, _ENDING),
        # An empty final ends a turn, but does not make one (PROTOCOL 4.2).
        Row(_T.SILENT, "gateway:empty_final", _T.SILENT, (_TE.USAGE,)),
        Row(_T.SPEAKING, "gateway:empty_final", _T.SILENT, _ENDING),
        Row(_T.SILENT, "stream_over", _T.SILENT, (_TE.USAGE,)),
        Row(_T.SPEAKING, "stream_over", _T.SILENT, (_TE.PROMOTE, _TE.END, _TE.USAGE)),
    ),
)

TABLES = (LINK, SESSION, SPEECH)
"""Everything the export, the sweep and the ports read."""

TRIGGERS: Mapping[str, Mapping[str, str]] = {
    "link": {
        "start": "The application wants the stream to begin.",
        "opened": "The transport opened.",
        "connect_timeout": "Timer `connect` is due.",
        "backoff_timeout": "Timer `backoff` is due.",
        "close_timeout": "Timer `close` is due: the answer to a Disconnect is late.",
        "broken": "The gateway sent an `error` or an early `session.closed` that another attempt may mend.",
        "lost": "Timer `lost` is due: nothing was heard for too long.",
        "finish": "Enough: by wish, because everything is finished, or for a failure that no attempt would mend.",
        "closed_retry": "The transport closed; another attempt follows after a delay.",
        "closed_again": "The transport closed because the token was refused; another attempt follows at once.",
        "closed_end": "The transport closed, and the stream has ended.",
        "closed_fail": "The transport closed, and no attempt would mend the failure.",
    },
    "session": {
        "client:session.create": "The client sends `session.create`.",
        "client:input_audio": "The client sends `input_audio`.",
        "client:session.update": "The client sends `session.update`.",
        "client:session.finalize": "The client sends `session.finalize`.",
        "client:session.close": "The client sends `session.close`.",
        "gateway:session.created": "The gateway sends `session.created`.",
        "gateway:start_of_speech": "The gateway sends `start_of_speech`.",
        "gateway:interim_transcript": "The gateway sends `interim_transcript`, whatever its text.",
        "gateway:preflight_transcript": "The gateway sends `preflight_transcript`, whatever its text.",
        "gateway:final_transcript": "The gateway sends `final_transcript`, whatever its text.",
        "gateway:session.finalized": "The gateway sends `session.finalized`.",
        "gateway:session.closed": "The gateway sends `session.closed`.",
        "gateway:error": "The gateway sends `error`.",
        "opened": "A transport opened.",
        "closed": "The transport closed.",
        "stream_ended": "The stream ended well; no transport is left.",
        "stream_failed": "The stream failed; no transport is left.",
    },
    "speech": {
        "gateway:start_of_speech": "`start_of_speech` came.",
        "gateway:interim_transcript": "An interim with text came.",
        "gateway:preflight_transcript": "A preflight with text came.",
        "gateway:final_transcript": "A final with text came.",
        "gateway:empty_transcript": "An interim or preflight without text came.",
        "gateway:late_transcript": "An interim or preflight came about audio that an exact final already acknowledged.",
        "gateway:empty_final": "A final without text came.",
        "stream_over": "The stream is over; no transcript can follow.",
    },
}
"""What each trigger says is the case, by table."""
