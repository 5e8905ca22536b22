"""What a client's WebSocket frames must be, whatever they carry (RFC 6455 5.1, 5.4).

The WebSocket library takes frames without a mask and any number of empty fragments, and answers a message that is too
large before the session has heard the ones in front of it. So frame headers are looked at before it gets them.
"""

from __future__ import annotations

from attrs import define, field

PROTOCOL_ERROR = 1002
TOO_LARGE = 1009

# A client that streams a message makes some; thousands only make work.
FRAGMENTS = 1024

# One reading may bring thousands of tiny frames, and their headers take longer than a turn of the event loop should.
FRAMES_AT_ONCE = 500

_CONTROL = 0x08
_FIN = 0x80
_MASKED = 0x80
_MASK_BYTES = 4
_LONG_LENGTHS = {126: 2, 127: 8}


@define
class FrameGuard:
    """Lets frames through up to the first that may not be. In its place it puts a close frame, and nothing behind."""

    _message_bytes: int
    verdict: int | None = field(init=False, default=None)
    """The close code (RFC 6455 7.4.1) for what came, once something did that may not be."""
    more: bool = field(init=False, default=False)
    """Whether frames wait in here: take again, with nothing more, in the next turn of the event loop."""
    _held: bytes = field(init=False, default=b"")
    # What waits, and the beginning of a header: it is not passed on before it is whole.
    _payload: int = field(init=False, default=0)
    # Bytes still to come of the frame under way.
    _size: int = field(init=False, default=0)
    _fragments: int = field(init=False, default=0)
    # Of the message under way.

    def take(self, data: bytes) -> bytes:
        """Give what may be passed on of up to `FRAMES_AT_ONCE` frames: whole headers, and what came of payloads."""
        if self.verdict is not None:
            return b""
        data, self._held = self._held + data, b""
        at = min(self._payload, len(data))
        self._payload -= at
        frames = 0
        self.more = False
        while len(data) - at >= 2:
            if frames == FRAMES_AT_ONCE:
                self.more = True
                break
            frames += 1
            start = at
            first, second = data[at], data[at + 1]
            long = _LONG_LENGTHS.get(second & 0x7F, 0)
            if len(data) - at < 2 + long:
                break
            length = int.from_bytes(data[at + 2 : at + 2 + long], "big") if long else second & 0x7F
            self.verdict = self._judge(first, second, length)
            if self.verdict is not None:
                return data[:start] + _close_frame(self.verdict)
            self._payload = length + _MASK_BYTES
            at += 2 + long
            step = min(self._payload, len(data) - at)
            self._payload -= step
            at += step
        self._held = data[at:]
        return data[:at]

    def _judge(self, first: int, second: int, length: int) -> int | None:
        if not second & _MASKED:
            return PROTOCOL_ERROR
        if first & _CONTROL:
            return None
        self._size += length
        self._fragments += 1
        if self._size > self._message_bytes:
            return TOO_LARGE
        if self._fragments > FRAGMENTS:
            return PROTOCOL_ERROR
        if first & _FIN:
            self._size = self._fragments = 0
        return None


def _close_frame(code: int) -> bytes:
    # A client's, under a mask of zeros.
    return b"\x88\x82" + bytes(_MASK_BYTES) + code.to_bytes(2, "big")
