"""WebSockets on plain sockets that never block, as the blocking adapter's thread wants them.

Nothing in here knows what the messages mean.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import zip_longest
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector
from time import monotonic
from typing import Any, NamedTuple, Protocol

from lkstt_proto import Request
from lkstt_transports.common import DONE, Received
from lkstt_transports.websocket import CHUNK, Dialer, WebSocket, send_text, send_waiting

# Seconds before the next address of a host is tried beside one that does not answer (RFC 8305, 5).
_ATTEMPT_DELAY = 0.25

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
_Address = tuple[int, Any]  # family, and what to connect to


class Opened(NamedTuple):
    """The WebSocket is open; this comes first."""


class Socket(Protocol):
    """A WebSocket to be. Only ``wait`` blocks; it and ``wake`` alone may be called without the stream's lock.

    Pings of the peer are its own business. One without a network, whose peer repeats what it hears::

        class EchoConnector:
            @contextmanager
            def open(self, request, max_message):
                yield EchoSocket()

            def aclose(self): ...

        class EchoSocket:
            sending = False  # all is out at once

            def __init__(self):
                self.facts, self.calls = deque([Opened()]), SimpleQueue()

            def send_text(self, data):
                self.tell(Text(data))

            def ping(self):
                self.tell(Pong())

            def close(self, code):
                self.tell(Closed(code))

            def receive(self):
                return self.facts.popleft() if self.facts else None

            def wait(self, seconds, *, receiving):
                with suppress(Empty):
                    self.calls.get(timeout=seconds)

            def wake(self):
                self.calls.put(None)

            def tell(self, fact):
                self.facts.append(fact)
                self.wake()
    """

    def send_text(self, data: bytes) -> object:
        """Begin to send UTF-8 as one text message; what gives ``DONE`` is not asked whether it is ``sending``.

        A socket that has ``send_texts`` as well, for a list of them, gets many at once where there are many.
        """

    def receive(self) -> Opened | Received | None:
        """Go on with all that is under way; give what has come, None when nothing has.

        Raises whatever is wrong, after all that came before it.
        """

    def ping(self) -> None:
        """Begin to send a ping; ``receive`` gives the pong."""

    def close(self, code: int) -> None:
        """Begin to send a close frame; ``receive`` gives ``Closed`` when the peer has answered."""

    @property
    def sending(self) -> bool:
        """Go on with what is on its way out; whether it is still under way: no more messages until it is gone.

        What a socket sends by itself, such as a pong, may be under way when a message comes, which then goes behind it.
        """

    def wait(self, seconds: float | None, *, receiving: bool) -> None:
        """Block until ``receive`` may have something to do, ``wake`` was called, or the time is up.

        ``receiving``: false when nothing more is wanted for now.
        """

    def wake(self) -> None:
        """Have ``wait`` return, now or as soon as it is called; harmless once the socket is gone.

        Ctrl-C may strike in the middle, which a socket and a ``SimpleQueue`` survive, and a ``threading.Event`` does
        not.
        """


class WebSocketConnector(Dialer):
    """Opens WebSockets on plain sockets; may be shared by any number of ``STT``s and threads."""

    @contextmanager
    def open(self, request: Request, max_message: int) -> Iterator[Socket]:
        """Begin to connect, and cut the connection at once where the block is left.

        Never follows a redirect. What goes wrong until ``Opened`` is raised by ``receive``: UpgradeRefused for an HTTP
        answer, TlsError for a certificate, an OSError for the rest.
        """
        websocket = self.begin(request, max_message)
        with ExitStack() as stack:
            yield _Socket(websocket, stack)

    def aclose(self) -> None:
        """Let go of everything, which is nothing."""


class _Socket:
    """One WebSocket, from the resolution of the host's name on."""

    def __init__(self, websocket: WebSocket, stack: ExitStack) -> None:
        self._websocket = websocket
        self._selector = stack.enter_context(DefaultSelector())
        self._alarm, self._bell = (stack.enter_context(end) for end in socket.socketpair())
        self._alarm.setblocking(False)
        self._bell.setblocking(False)
        self._selector.register(self._alarm, EVENT_READ)
        self._dial = _Dial(self._selector, self.wake)
        stack.callback(self._dial.close)
        self._dial.resolve(*websocket.address)
        self._ready: set[Any] = set()  # sockets that something happened to
        self._connected = False
        self._broken = False  # nothing can be written any more
        self._tcp: socket.socket
        self._interest = 0  # what the selector is asked about it
        self._unsent: bytes | memoryview = b""
        self._told = False  # that it is open

    def send_text(self, data: bytes) -> object:
        if self._unsent:
            self.send_texts([data])
            return None
        try:
            self._unsent = send_text(self._tcp, self._websocket, data)
        except OSError:
            self._broken = True
            raise
        return None if self._unsent else DONE

    def send_texts(self, data: list[bytes]) -> None:
        self._websocket.send_texts(data)
        self._write()

    def ping(self) -> None:
        self._websocket.ping()
        self._write()

    def close(self, code: int) -> None:
        self._websocket.close(code)
        self._write()

    @property
    def sending(self) -> bool:
        if self._unsent:
            self._answer()
        return bool(self._unsent)

    def receive(self) -> Opened | Received | None:
        if not self._connected:
            tcp = self._dial.go_on(self._ready)
            if tcp is None:
                return None
            self._tcp, self._connected = tcp, True
        self._answer()
        received = self._websocket.receive() if self._told else None
        if received is None:
            with suppress(BlockingIOError):
                self._websocket.feed(self._tcp.recv(CHUNK))
                self._answer()
            if self._websocket.opened and not self._told:
                self._told = True
                return Opened()
            received = self._websocket.receive()
        return received

    def wait(self, seconds: float | None, *, receiving: bool) -> None:
        if self._connected:
            self._ask(EVENT_READ * receiving | EVENT_WRITE * (bool(self._unsent) and not self._broken))
        elif self._dial.next_at is not None:
            patience = max(0.0, self._dial.next_at - monotonic())
            seconds = patience if seconds is None else min(seconds, patience)
        self._ready = {key.fileobj for key, _ in self._selector.select(seconds)}
        if self._alarm in self._ready:
            self._alarm.recv(CHUNK)

    def wake(self) -> None:
        try:  # noqa: SIM105 (a stream may be dropped so late that the interpreter has cleared this module's names)
            self._bell.send(b"!")
        except OSError:  # it rings already, or nobody is there any more
            pass

    def _ask(self, interest: int) -> None:
        if interest == self._interest:
            return
        if self._interest:
            self._selector.unregister(self._tcp)
        if interest:
            self._selector.register(self._tcp, interest)
        self._interest = interest

    def _answer(self) -> None:
        """Write beside something else: should that fail, what is left to receive comes first."""
        if self._unsent or self._websocket.waiting:
            with suppress(OSError):
                self._write()

    def _write(self) -> None:
        try:
            self._unsent = send_waiting(self._tcp, self._websocket, self._unsent)
        except OSError:
            self._broken = True
            raise


class _Dial:
    """The way to a TCP connection: the host's name, then its addresses, one after another or side by side."""

    def __init__(self, selector: BaseSelector, wake: Callable[[], None]) -> None:
        self._selector = selector
        self._wake = wake
        self._found: list[_Address] | Exception | None = None
        self._tried = 0
        self._pending: set[socket.socket] = set()
        self._chosen: socket.socket | None = None
        self._error: OSError = OSError("the host has no address")
        self.next_at: float | None = None
        """When the next address is to be tried, on the clock of ``time.monotonic``; None for at once, or never."""

    def resolve(self, host: str, port: int) -> None:
        """Find the addresses; in a thread that may outlive this object, unless the host is an address itself."""
        try:
            self._found = _addresses(host, port, socket.AI_NUMERICHOST)
        except UnicodeError:
            raise OSError(f"{host!r} is no name of a host") from None
        except OSError:
            threading.Thread(target=self._resolve, args=(host, port), name="lkstt-resolver", daemon=True).start()

    def _resolve(self, host: str, port: int) -> None:
        try:
            self._found = _addresses(host, port, 0)
        except Exception as error:  # whatever it is, somebody waits for it
            self._found = error
        self._wake()

    def go_on(self, ready: set[Any]) -> socket.socket | None:
        """Take note of the sockets that something happened to; give the one that is connected.

        Raises what the resolver did, or the last address's OSError.
        """
        if self._found is None:
            return None
        if isinstance(self._found, Exception):
            raise self._found
        for attempt in ready & self._pending:
            self._pending.remove(attempt)
            self._selector.unregister(attempt)
            if not (code := attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                return self._choose(attempt)
            self._drop(attempt, code)
        now = monotonic()
        while self._tried < len(self._found) and (self.next_at is None or self.next_at <= now):
            self.next_at = None
            self._try(*self._found[self._tried], now)
            self._tried += 1
        if self._tried == len(self._found):
            self.next_at = None
            if not self._pending:
                raise self._error
        return None

    def close(self) -> None:
        """Close all sockets, the one that was given away as well."""
        for attempt in self._pending:
            attempt.close()
        if self._chosen is not None:
            self._chosen.close()

    def _try(self, family: int, address: Any, now: float) -> None:
        try:
            attempt = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a family that this computer does not speak
            self._error = error
            return
        attempt.setblocking(False)
        code = attempt.connect_ex(address)
        if code in _UNDER_WAY:
            self._pending.add(attempt)
            self._selector.register(attempt, EVENT_WRITE)
            self.next_at = now + _ATTEMPT_DELAY
        else:
            self._drop(attempt, code)

    def _drop(self, attempt: socket.socket, code: int) -> None:
        attempt.close()
        self._error = OSError(code, os.strerror(code))
        self.next_at = None

    def _choose(self, attempt: socket.socket) -> socket.socket:
        attempt.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for other in self._pending:
            self._selector.unregister(other)
            other.close()
        self._pending.clear()
        self._chosen = attempt
        return attempt


def _addresses(host: str, port: int, flags: int) -> list[_Address]:
    """Look a host up; families by turns, so that one which leads nowhere is not the only one tried (RFC 8305, 4)."""
    found = [
        (family, address)
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    ]
    preferred = [entry for entry in found if entry[0] == found[0][0]]
    others = [entry for entry in found if entry[0] != found[0][0]]
    return [entry for pair in zip_longest(preferred, others) for entry in pair if entry is not None]
