"""What only a gateway for tests does to a client: break the transport, send what no gateway should.

A scripted recogniser gives these among its results; a session carries each one out after everything before it was sent.
"""

from __future__ import annotations

from attrs import field, frozen


@frozen
class SendRaw:
    """Send a frame exactly as it is: broken JSON, null fields, types that nobody knows."""

    data: bytes = field(repr=False)
    binary: bool = False


@frozen
class FailSession:
    """End the session with an `error` message."""

    code: int
    message: str = "scripted"


@frozen
class CloseSocket:
    """Close the WebSocket with a code and without a message before."""

    code: int = 1011


@frozen
class CutTransport:
    """Cut the connection without a close frame; the client sees 1006."""


Fault = SendRaw | FailSession | CloseSocket | CutTransport
