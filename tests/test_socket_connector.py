"""WebSockets on plain sockets that never block: the way to one, what fits through it, and when its ``wait`` returns."""

from __future__ import annotations

import errno
import gc
import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ssl import PROTOCOL_TLS_SERVER, SSLContext, create_default_context
from typing import Any

import pytest
import trustme
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as Head
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from lkstt_proto import Request
from lkstt_transports import socket_connector as module
from lkstt_transports.common import Closed, Pong, Text
from lkstt_transports.socket_connector import Opened, Socket, WebSocketConnector

PATIENCE = 10.0
LARGEST = 8_000_000
NAME = "gateway.example"
Address = tuple[int, int, int, str, tuple[Any, ...]]
"""As ``getaddrinfo`` gives it."""


class Watched(selectors.DefaultSelector):
    """Remembers whether the last select found anything."""

    found = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(PATIENCE if timeout is None else timeout)
        Watched.found = bool(events)
        return events


@pytest.fixture(autouse=True)
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(module, "DefaultSelector", Watched)


def would_block(link: Socket, *, receiving: bool) -> bool:
    """Tell whether ``wait`` finds nothing to return for."""
    link.wait(0.0, receiving=receiving)
    return not Watched.found


class Peer:
    """The other end, which blocks, and reads only when told to."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket, _ = listener.accept()
        self.socket.settimeout(PATIENCE)
        self._protocol = ServerProtocol(max_size=LARGEST)

    def upgrade(self) -> None:
        (head,) = self.hear()
        assert isinstance(head, Head)
        self._protocol.send_response(self._protocol.accept(head))
        self.send()

    def hear(self) -> list[Any]:
        """Read until something has come."""
        while not (heard := self._protocol.events_received()):
            self._protocol.receive_data(self.socket.recv(65536))
        return heard

    def say(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self.send()

    def send(self) -> None:
        for data in self._protocol.data_to_send():
            self.socket.sendall(data)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def listener(stack: ExitStack) -> socket.socket:
    return stack.enter_context(listening())


def listening(host: str = "127.0.0.1") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, 0), family=family)
    listener.settimeout(PATIENCE)
    return listener


def at(listener: socket.socket) -> Address:
    return listener.family, socket.SOCK_STREAM, 0, "", listener.getsockname()


def refusing(stack: ExitStack, host: str = "127.0.0.1") -> Address:
    """An address that is bound, and listens to nobody."""
    bound = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
    bound.bind((host, 0))
    return at(bound)


def silent(stack: ExitStack) -> Address:
    """An address that does not even answer the first packet: its backlog is full."""
    full = stack.enter_context(socket.socket())
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(2):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    return at(full)


def resolving(monkeypatch: pytest.MonkeyPatch, find: Callable[[], list[Address]]) -> None:
    """Have names found in our own way."""

    def getaddrinfo(host: str, port: int, *, type: int, flags: int = 0) -> list[Address]:  # noqa: A002 (its name)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        return find()

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def request(host: str = NAME, port: int = 80, scheme: str = "ws") -> Request:
    return Request(f"{scheme}://{host}:{port}/v1/stt", ())


@contextmanager
def dialling(wanted: Request, ssl: SSLContext | None = None) -> Iterator[Socket]:
    with WebSocketConnector(ssl=ssl).open(wanted, LARGEST) as link:
        yield link


def next_of(link: Socket) -> Any:
    """Wait for what comes next."""
    until = time.monotonic() + PATIENCE
    while (received := link.receive()) is None:
        assert time.monotonic() < until
        link.wait(PATIENCE, receiving=True)
    return received


@pytest.fixture
def pair(listener: socket.socket, stack: ExitStack) -> tuple[Socket, Peer]:
    """An open WebSocket, and the other end."""
    link = stack.enter_context(dialling(request(*listener.getsockname())))
    return link, open_up(link, listener, stack)


def open_up(link: Socket, listener: socket.socket, stack: ExitStack) -> Peer:
    assert link.receive() is None
    peer = Peer(listener)
    stack.callback(peer.socket.close)
    link.wait(PATIENCE, receiving=True)
    assert link.receive() is None
    peer.upgrade()
    assert next_of(link) == Opened()
    return peer


def assert_reached(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, listener: socket.socket, *others: Address
) -> None:
    """See that the listener is reached, behind other addresses that lead nowhere."""
    resolving(monkeypatch, lambda: [*others, at(listener)])
    before = descriptors()
    with dialling(request()) as link:
        listener.setblocking(False)
        until = time.monotonic() + PATIENCE
        while True:
            assert link.receive() is None
            try:
                peer, _ = listener.accept()
                break
            except BlockingIOError:
                assert time.monotonic() < until
                link.wait(0.01, receiving=True)
        with peer:
            peer.settimeout(PATIENCE)
            while not select(peer):
                assert link.receive() is None
                link.wait(0.01, receiving=True)
            assert peer.recv(65536).startswith(b"GET /v1/stt HTTP/1.1\r\n")
    assert descriptors() == before


def select(readable: socket.socket) -> bool:
    with selectors.SelectSelector() as selector:
        selector.register(readable, selectors.EVENT_READ)
        return bool(selector.select(0))


def descriptors() -> set[str]:
    folder = "/proc/self/fd"
    return {name for name in os.listdir(folder) if os.path.exists(f"{folder}/{name}")}  # not the one that lists them


# The way to a connection.


def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, listener: socket.socket
) -> None:
    assert_reached(monkeypatch, stack, listener, silent(stack))


def test_after_a_refusal_the_next_address_is_tried_at_once(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, listener: socket.socket
) -> None:
    monkeypatch.setattr(module, "_ATTEMPT_DELAY", 3600.0)
    assert_reached(monkeypatch, stack, listener, refusing(stack), refusing(stack))


def test_a_refusal_beside_one_that_does_not_answer_brings_the_next_at_once(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, listener: socket.socket
) -> None:
    """The clock moves once, so that the second address is tried; the third is tried because that one refuses."""
    hours = iter([0.0, 0.0, 3600.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(hours, 3600.0))
    monkeypatch.setattr(module, "_ATTEMPT_DELAY", 1800.0)
    assert_reached(monkeypatch, stack, listener, silent(stack), refusing(stack))


def test_addresses_that_cannot_even_be_tried_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, listener: socket.socket
) -> None:
    monkeypatch.setattr(module, "_ATTEMPT_DELAY", 3600.0)
    unknown: Address = (9999, socket.SOCK_STREAM, 0, "", ("::1", 80))
    everybody: Address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("255.255.255.255", 80))
    assert_reached(monkeypatch, stack, listener, unknown, everybody)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_localhost_is_found_in_whichever_family_it_listens(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack, host: str
) -> None:
    try:
        listener = stack.enter_context(listening(host))
        other = refusing(stack, "127.0.0.1" if host == "::1" else "::1")
    except OSError:
        pytest.skip("this computer speaks one family only")
    monkeypatch.setattr(module, "_ATTEMPT_DELAY", 3600.0)
    assert_reached(monkeypatch, stack, listener, other)


def test_families_take_turns() -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    found: list[Address] = [(six, 0, 0, "", ("::1",)), (six, 0, 0, "", ("::2",)), (four, 0, 0, "", ("127.0.0.1",))]
    with pytest.MonkeyPatch.context() as patch:
        resolving(patch, lambda: found)
        order = module._addresses(NAME, 80, 0)
    assert order == [(six, ("::1",)), (four, ("127.0.0.1",)), (six, ("::2",))]


def test_where_all_refuse_the_last_error_is_raised(monkeypatch: pytest.MonkeyPatch, stack: ExitStack) -> None:
    unknown: Address = (9999, socket.SOCK_STREAM, 0, "", ("::1", 80))
    found: list[Address] = [unknown, refusing(stack)]
    resolving(monkeypatch, lambda: found)
    with dialling(request()) as link, pytest.raises(ConnectionRefusedError):
        next_of(link)
    found.reverse()
    with dialling(request()) as link, pytest.raises(OSError, match="family") as caught:
        next_of(link)
    assert caught.value.errno == errno.EAFNOSUPPORT


def test_a_name_without_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, list)
    with dialling(request()) as link, pytest.raises(OSError, match="no address"):
        next_of(link)


@pytest.mark.parametrize("trouble", [socket.gaierror(socket.EAI_NONAME, "not known"), RuntimeError("a bug")])
def test_what_the_resolver_raises_is_raised_here(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def find() -> list[Address]:
        raise trouble

    resolving(monkeypatch, find)
    with dialling(request()) as link, pytest.raises(type(trouble)) as caught:
        next_of(link)
    assert caught.value is trouble


def test_what_can_be_no_name_is_told() -> None:
    with pytest.raises(OSError, match="is no name of a host"), dialling(request("a" * 64)):
        pass


def test_a_resolver_that_takes_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    slow = threading.Event()
    resolving(monkeypatch, lambda: [at(listener)] if slow.wait(PATIENCE) else [])
    before = descriptors()
    with dialling(request()) as link:
        assert link.receive() is None
        assert would_block(link, receiving=True)
        (resolver,) = (thread for thread in threading.enumerate() if thread.name == "lkstt-resolver")
    assert resolver.is_alive()
    assert descriptors() == before
    slow.set()
    resolver.join()
    assert descriptors() == before  # it dialled nobody


# An open WebSocket.


def test_messages_pings_and_a_close_go_both_ways(pair: tuple[Socket, Peer]) -> None:
    link, peer = pair
    link.send_text(b"Netherfield")
    assert not link.sending
    assert peer.hear()[0].data == b"Netherfield"
    peer.say("is let")
    peer.say("at last")
    assert (next_of(link), next_of(link), link.receive()) == (Text("is let"), Text("at last"), None)
    link.ping()
    assert peer.hear()[0].opcode is Opcode.PING
    peer.send()
    assert next_of(link) == Pong()
    link.close(1000)
    assert peer.hear()[0].opcode is Opcode.CLOSE
    peer.send()
    assert next_of(link) == Closed(1000)


def test_what_does_not_fit_goes_out_as_the_peer_reads(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, stack: ExitStack
) -> None:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    make = socket.socket

    def small(*arguments: Any) -> socket.socket:
        made = make(*arguments)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return made

    link = stack.enter_context(dialling(request(*listener.getsockname())))
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", small)
        assert link.receive() is None
    peer = open_up(link, listener, stack)
    text = bytes(97 + index % 26 for index in range(300_000))
    link.send_text(text)
    assert link.sending
    link.ping()  # beside it
    assert would_block(link, receiving=True)
    assert would_block(link, receiving=False)
    turns = 0

    def write() -> None:
        nonlocal turns
        while link.sending:
            turns += 1
            link.wait(PATIENCE, receiving=False)

    writer = threading.Thread(target=write)
    writer.start()
    heard: list[Frame] = []
    while len(heard) < 2:
        heard += peer.hear()
    writer.join()
    assert (heard[0].data, heard[1].opcode) == (text, Opcode.PING)
    assert turns < len(text) / 1000  # it waits for room, and not all the time
    assert would_block(link, receiving=False)


def test_wait_is_deaf_where_nothing_is_to_be_received(pair: tuple[Socket, Peer]) -> None:
    link, peer = pair
    peer.say("nobody listens")
    assert would_block(link, receiving=False)
    assert not would_block(link, receiving=True)
    peer.reset()
    assert would_block(link, receiving=False)
    assert next_of(link) == Text("nobody listens")
    with pytest.raises(ConnectionResetError):
        next_of(link)


def test_a_write_that_broke_keeps_nobody_busy(pair: tuple[Socket, Peer]) -> None:
    link, peer = pair
    link.send_text(bytes(LARGEST))
    assert link.sending
    peer.reset()
    assert not would_block(link, receiving=False)
    assert link.sending  # and it always will be
    assert would_block(link, receiving=False)
    with pytest.raises(OSError):  # noqa: PT011 (which one, depends on how far it came)
        link.ping()
    assert next_of(link) == Closed(1006)


def test_waking_ends_a_wait_from_before_during_and_after(pair: tuple[Socket, Peer], stack: ExitStack) -> None:
    link, _ = pair
    for _ in range(1000):
        link.wake()
    assert not would_block(link, receiving=True)
    assert would_block(link, receiving=True)
    waiting = threading.Thread(target=link.wait, args=(None,), kwargs={"receiving": False})
    waiting.start()
    link.wake()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    stack.close()
    link.wake()


def test_a_peer_that_goes_without_a_word_is_told(pair: tuple[Socket, Peer]) -> None:
    link, peer = pair
    peer.socket.close()
    assert next_of(link) == Closed(1006)


def test_a_connection_that_is_cut_before_it_is_open_is_told(listener: socket.socket, stack: ExitStack) -> None:
    with dialling(request(*listener.getsockname())) as link:
        assert link.receive() is None
        Peer(listener).reset()
        with pytest.raises(ConnectionError):
            next_of(link)


def test_it_all_works_under_tls() -> None:
    authority = trustme.CA()
    server, client = SSLContext(PROTOCOL_TLS_SERVER), create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)

    def echo(connection: ServerConnection) -> None:
        for message in connection:
            connection.send(message)

    text = "abc" * 500_000
    with serve(echo, "127.0.0.1", 0, ssl=server, max_size=LARGEST, compression=None) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        host, port = serving.socket.getsockname()
        with dialling(request(host, port, "wss"), client) as link:
            assert next_of(link) == Opened()
            link.send_text(text.encode())
            assert next_of(link) == Text(text)
            link.close(1000)
            assert next_of(link) == Closed(1000)
        serving.shutdown()
        thread.join()
    del serving
    gc.collect()  # to which the server leaves its selector


# What is left.


def test_two_hundred_links_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, stack: ExitStack
) -> None:
    places = [request(*listener.getsockname()), request(*refusing(stack)[4]), request(*silent(stack)[4]), request()]
    resolving_nothing = socket.gaierror(socket.EAI_NONAME, "not known")
    numeric = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **settings: Any) -> Any:
        if host == NAME:
            raise resolving_nothing
        return numeric(host, *arguments, **settings)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    before = descriptors()
    connector = WebSocketConnector()
    for index in range(200):
        with connector.open(places[index % len(places)], LARGEST) as link:
            try:
                for _ in range(index % 3):
                    assert link.receive() is None
                    link.wait(0.0, receiving=True)
            except OSError:
                assert index % len(places) in (1, 3)
        if index % len(places) == 0 and index % 3:
            listener.accept()[0].close()
    connector.aclose()
    assert descriptors() == before


def test_a_socket_that_could_not_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_many() -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socketpair", too_many)
    before = descriptors()
    with pytest.raises(OSError, match="Too many"), dialling(request()):
        pass
    assert descriptors() == before
