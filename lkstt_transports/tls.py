"""TLS without its socket: ciphertext in, plaintext out, and the other way round. Nothing in here waits."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from ssl import MemoryBIO, SSLContext, SSLError, SSLWantReadError, create_default_context

_PIECE = 65_536  # bytes of plaintext that are read at a time


@cache
def default_context() -> SSLContext:
    """Give the one that trusts whom this computer trusts; made once, since that reads many files."""
    return create_default_context()


class Tls:
    """A TLS session without its socket."""

    def __init__(self, context: SSLContext, host: str) -> None:
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._open = False
        self._plain = bytearray()  # what could not be encrypted yet
        self.ended = False
        """Whether no more plaintext comes: the peer has said farewell, or there was an ``error``."""
        self.error: SSLError | None = None

    def shake_hands(self) -> bool:
        """Go on with the handshake; tell whether it is done. Raises SSLError."""
        with suppress(SSLWantReadError):
            self._session.do_handshake()
            self._open = True
        return self._open

    def decrypt(self, data: bytes | bytearray) -> bytes:
        """Take ciphertext and give plaintext, none before hands are shaken."""
        self._incoming.write(data)
        plain = bytearray()
        try:
            while self._open and not self.ended:
                piece = self._session.read(_PIECE)
                plain += piece
                self.ended = not piece
        except SSLWantReadError:
            pass
        except SSLError as error:  # what came before it counts
            self.error = error
            self.ended = True
        return bytes(plain)

    def encrypt(self, data: bytes) -> bytes:
        """Take plaintext and give all ciphertext that there is."""
        self._plain += data
        if self._plain and self.error is None:
            with suppress(SSLWantReadError):  # the peer wants to shake hands again first
                self._session.write(self._plain)
                self._plain.clear()
        return self._outgoing.read()
