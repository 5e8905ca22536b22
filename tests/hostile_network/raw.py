"""A server that may break every rule: bytes out at chosen points, and no library that would mind.

Which act a visit gets is in the path of the request, so that one server plays everything at once; from its second visit
on a path is a gateway that does what it should.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Mapping
from ssl import SSLContext

from scripted_server import Act, ScriptedServer, Visit, gateway

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SWITCHING = "HTTP/1.1 101 Switching Protocols"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = None,
    declared: int | None = None,
) -> bytes:
    """Build one frame. ``rsv``: 1 to 7. ``mask``: four bytes. ``declared``: a length that may be a lie."""
    size = len(payload) if declared is None else declared
    masked = 0x80 if mask is not None else 0
    if size < 126:
        length = bytes([masked | size])
    elif size < 0x10000:
        length = struct.pack(">BH", masked | 126, size)
    else:
        length = struct.pack(">BQ", masked | 127, size)
    if mask is not None:
        payload = mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([0x80 * fin | rsv << 4 | opcode]) + length + payload


def closing(code: int, reason: bytes = b"") -> bytes:
    """Build a close frame."""
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


class Peer(Visit):
    """A visit to somebody who has a way of his own to open a WebSocket."""

    opened = False

    def opening(self, *extra: str, first: str = SWITCHING, without: str = "") -> bytes:
        """Build the answer that opens it, but for what is wrong with that."""
        key = self.head[self.head.lower().index("sec-websocket-key: ") :].split()[1]
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
        lines = ["Upgrade: websocket", "Connection: Upgrade"]
        lines.append(f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}")
        kept = [line for line in lines if not without or not line.startswith(f"{without}: ")]
        return "\r\n".join((first, *kept, *extra, "", "")).encode()

    def upgrade(self) -> None:
        """Open it, unless that was done already."""
        if not self.opened:
            self.opened = True
            self.writer.write(self.opening())


async def pour(visit: Visit, data: bytes, times: int | None = None) -> None:
    """Write something so many times, or until nobody takes it any more; hold little of it."""
    block = data * max(1, 65536 // len(data))
    left = times
    while left is None or left > 0:
        count = len(block) // len(data) if left is None else min(left, len(block) // len(data))
        visit.writer.write(block[: count * len(data)])
        await visit.writer.drain()
        left = None if left is None else left - count


async def drip(visit: Visit, data: bytes, seconds: float = 0.0) -> None:
    """Write byte by byte, each in a segment of its own as far as that can be brought about."""
    for index in range(len(data)):
        visit.writer.write(data[index : index + 1])
        await visit.writer.drain()
        await asyncio.sleep(seconds)


async def listen(visit: Visit) -> None:
    """Take whatever comes, until nobody is there any more."""
    while await visit.reader.read(65536):
        pass


def instead(*pieces: bytes, end: bool = True) -> Act:
    """Make an act of bytes instead of an answer. ``end``: and go away, else stay and listen."""

    async def act(visit: Visit) -> None:
        for piece in pieces:
            visit.writer.write(piece)
            await visit.writer.drain()
        if not end:
            await listen(visit)

    return act


def amid(*pieces: bytes) -> Act:
    """Make an act of bytes in the middle of a session that is fine before and after."""

    async def act(visit: Visit) -> None:
        left = list(pieces)

        def on_audio(visit: Visit) -> None:
            while left:
                visit.writer.write(left.pop(0))

        await gateway(visit, every=0.1, on_audio=on_audio)

    return act


class RawServer(ScriptedServer):
    """Plays one act for every visit, and reads nothing before it."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visiting.add(task)
        visit = Peer(reader, writer)
        self.visits.append(visit)
        try:
            await self._script[0](visit)
        except (EOFError, OSError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.transport.abort()
            self._visiting.discard(task)


class Stage(RawServer):
    """Plays for each path its own act, and behaves from the second visit on."""

    def __init__(self, acts: Mapping[str, Act], *, ssl: SSLContext | None = None) -> None:
        super().__init__(self._play, ssl=ssl)
        self._acts = acts
        self.counts: Counter[str] = Counter()

    def url(self, name: str) -> str:
        """Give the base URL under which an act is met."""
        return self.base_url.removesuffix("v1") + name

    async def _play(self, visit: Visit) -> None:
        await visit.read_head()
        name = visit.head.split(" ", 2)[1].split("/")[1]
        self.counts[name] += 1
        await (self._acts[name] if self.counts[name] == 1 else gateway)(visit)
