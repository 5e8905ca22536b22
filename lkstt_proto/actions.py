"""What the transport is asked to do.

A plain ``bytes`` action is one text message to send; the rest are the classes below.
"""

from __future__ import annotations

from attrs import frozen

from .handshake import Request, build_request
from .options import STTOptions


@frozen
class Connect:
    """Open a WebSocket; answer with ``transport_opened`` if it opens, and always with one ``transport_closed``."""

    attempt: int
    """Failures of the present outage: 0 for a first attempt."""
    options: STTOptions

    def request(self, unix_time: float) -> Request:
        """URL and headers with a fresh token for this attempt; the URL carries no secret (PROTOCOL 1.1 to 1.4).

        ``unix_time`` is the wall clock in seconds. Raises LocalProtocolError when no credentials were given.
        """
        return build_request(self.options, unix_time)


@frozen
class Ping:
    """Send a WebSocket ping; answer with ``transport_alive`` when its pong comes."""


@frozen
class Disconnect:
    """Close the WebSocket, or abandon the dial; ``transport_closed`` must follow."""

    abort: bool = False
    """False: send a close frame and wait for the peer's. True: cut the connection now."""
    code: int = 1000
    """Close code to send."""


Action = bytes | Connect | Ping | Disconnect
"""Everything ``take_actions`` may give."""
