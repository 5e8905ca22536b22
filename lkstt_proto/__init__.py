"""LiveKit Inference speech-to-text as a pure state machine: no I/O, no clock, no randomness of its own.

``Connection`` is the client, ``Gateway`` the other end. Both take facts and wishes with the time as an argument, and
give actions for the transport and events for the application.
"""

from __future__ import annotations

from .actions import Action, Connect, Disconnect, Ping
from .connection import Connection
from .endpointing import Endpointer
from .errors import (
    AuthError,
    ConnectError,
    ConnectionLost,
    FinalizeTimeout,
    GatewayError,
    InsecureTransport,
    LocalProtocolError,
    OutageExceeded,
    QuotaExceeded,
    RemoteProtocolError,
    SttError,
    TlsError,
    UnexpectedRedirect,
)
from .events import (
    AudioDropped,
    AudioReceived,
    CloseRequested,
    Diagnostic,
    Event,
    Finalized,
    FinalizeRequested,
    GatewayEvent,
    PeerLost,
    RecognitionUsage,
    Reconnecting,
    Resumed,
    SessionCreated,
    SessionRequested,
    SettingsChanged,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    StreamEnded,
    StreamEvent,
    StreamFailed,
    TimedWord,
)
from .gateway import Gateway
from .handshake import Request
from .options import FallbackModel, Limits, RetryPolicy, STTOptions
from .secrecy import Secret
from .settings import UNCHANGED
from .stats import Stats
from .tables import LinkState, SessionState, SpeechState
from .version import VERSION

__version__ = VERSION

__all__ = [
    "UNCHANGED",
    "Action",
    "AudioDropped",
    "AudioReceived",
    "AuthError",
    "CloseRequested",
    "Connect",
    "ConnectError",
    "Connection",
    "ConnectionLost",
    "Diagnostic",
    "Disconnect",
    "Endpointer",
    "Event",
    "FallbackModel",
    "FinalizeRequested",
    "FinalizeTimeout",
    "Finalized",
    "Gateway",
    "GatewayError",
    "GatewayEvent",
    "InsecureTransport",
    "Limits",
    "LinkState",
    "LocalProtocolError",
    "OutageExceeded",
    "PeerLost",
    "Ping",
    "QuotaExceeded",
    "RecognitionUsage",
    "Reconnecting",
    "RemoteProtocolError",
    "Request",
    "Resumed",
    "RetryPolicy",
    "STTOptions",
    "Secret",
    "SessionCreated",
    "SessionRequested",
    "SessionState",
    "SettingsChanged",
    "SpeechData",
    "SpeechEvent",
    "SpeechEventType",
    "SpeechState",
    "Stats",
    "StreamEnded",
    "StreamEvent",
    "StreamFailed",
    "SttError",
    "TimedWord",
    "TlsError",
    "UnexpectedRedirect",
    "__version__",
]
