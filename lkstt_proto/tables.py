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

from enum import StrEnum

from .machine import Row, Table, rows


class LinkState(StrEnum):
    """Where the transport is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    DROPPING = "dropping"
    BACKOFF = "backoff"
    CLOSING = "closing"
    DONE = "done"


class SessionState(StrEnum):
    """What was said on the present transport."""

    NEW = "new"
    CREATING = "creating"
    STREAMING = "streaming"
    FINALIZING = "finalizing"
    ENDED = "ended"
    FAILED = "failed"


class SpeechState(StrEnum):
    """Whether a turn is open."""

    SILENT = "silent"
    SPEAKING = "speaking"


class LinkEffect(StrEnum):
    """What the link asks its owner to do."""

    CONNECT = "connect"
    """Ask for a transport."""
    ARM_CONNECT = "arm_connect"
    """Give the dial ``RetryPolicy.connect_timeout``."""
    ARM_BACKOFF = "arm_backoff"
    """Wait as long as the retry schedule says."""
    ARM_CLOSE = "arm_close"
    """Give the close ``Limits.close``."""
    OPEN_SESSION = "open_session"
    """Start a session on the transport that opened: forget the last one's clock, send ``session.create``, resume."""
    LEAVE_SESSION = "leave_session"
    """Say ``session.close`` if it still means something."""
    DISCONNECT = "disconnect"
    """Ask for a polite close; while dialling, abandon the dial."""
    ABORT = "abort"
    """The close took too long: cut the transport."""
    REJOIN = "rejoin"
    """The transport is gone: put sent but unacknowledged audio in front of the unsent."""
    TELL_RETRY = "tell_retry"
    """Tell the application that another attempt follows, when, and why."""
    END = "end"
    """Close an open turn, report the last usage, and say that the stream ended."""
    FAIL = "fail"
    """As END, with the failure."""


class SessionEffect(StrEnum):
    """What a message means to its sender (send it) and to its receiver (pass it on)."""

    CREATE = "create"
    AUDIO = "audio"
    UPDATE = "update"
    FINALIZE = "finalize"
    CLOSE = "close"
    CREATED = "created"
    HEAR = "hear"
    """A start of speech or a transcript: step the speech table."""
    FINALIZED = "finalized"
    CLOSED = "closed"
    ERROR = "error"


class SpeechEffect(StrEnum):
    """What a turn asks to be told."""

    START = "start"
    INTERIM = "interim"
    PREFLIGHT = "preflight"
    USAGE = "usage"
    """Seconds handed over since the last report, if any."""
    FINAL = "final"
    PROMOTE = "promote"
    """Deliver the turn's last interim or preflight, if any, as a final marked ``promoted``."""
    END = "end"
    SETTINGS = "settings"
    """Send the settings that waited for the end of the turn."""


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
