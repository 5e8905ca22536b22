"""Credentials, and what was said, come back nowhere: every error path with everything looked at that could show them.

The values below stand in options, in answers of hostile servers and in transcripts. Whatever an application can get
hold of when something fails (exceptions with the locals of their frames, events, reprs, logs, output) is searched for
them in every usual spelling. They are never locals of a frame in this file.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gc
import hashlib
import importlib
import json
import logging
import pickle
import re
import socket
import ssl
import struct
import sys
import threading
import time
import traceback
import warnings
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
import attrs
import pytest
import trio
import trustme

import lkstt_proto
from lkstt_proto import (
    Connection,
    FallbackModel,
    Gateway,
    Limits,
    Reconnecting,
    RetryPolicy,
    Secret,
    SpeechData,
    SpeechEvent,
    StreamFailed,
    SttError,
    STTOptions,
    TimedWord,
)
from lkstt_proto.handshake import build_request, mint_token, resolve_credentials, verify_token
from lkstt_proto.secrecy import Hidden
from lkstt_transports.aiohttp_connector import AiohttpConnector
from lkstt_transports.cli.app import run
from lkstt_transports.gateway import LocalGateway
from lkstt_transports.gateway.recognizers.base import Final, Partial, RecognizerFailed, Word
from lkstt_transports.gateway.recognizers.script import EchoRecognizer
from lkstt_transports.socket_connector import WebSocketConnector

KEY = "APIsentinelkey42"
SECRET = "sentinel+secret/with=more than~32&bytes"
KEYTERM = "Zaphodterm"
PROMPT = "a promptsentinel about Beeblebrox"
HEADER = "headersentinel-hunter2"
PROXY = "proxysentinelpass"
SAID = "Quetzalcoatl whispered Popocatepetl"
SPEAKER = "Speakersentinel"
SECRETS = (KEY, SECRET, KEYTERM, PROMPT, "promptsentinel", HEADER, PROXY, SAID, *SAID.split()[::2], SPEAKER)
PUBLIC_KEY = f"-----BEGIN PUBLIC KEY-----\n{SECRET}\n-----END PUBLIC KEY-----"
TOKENS: set[str] = set()  # that a server was sent
UNTOLD: set[str] = set()  # what nobody was told in confidence in this test, nor heard
NOW = 1_800_000_000.0
PATIENCE = 20.0  # nothing here takes so long unless it is broken

EXTRA = {"keyterm": [KEYTERM], "prompt": PROMPT}
FALLBACK = [{"model": "a/b", "extra_kwargs": {"keyterms": [KEYTERM]}}]
HEADERS = {"X-Worker": HEADER}


def settings(**changes: Any) -> dict[str, Any]:
    """All that an ``STT`` can be told in confidence."""
    told = {"api_key": KEY, "api_secret": SECRET, "extra_kwargs": EXTRA, "fallback": FALLBACK, "headers": HEADERS}
    return {**told, **changes}


# What is searched, and what for.


def spellings(value: str) -> Iterator[str]:
    data = value.encode()
    yield value
    yield value.lower()
    yield value.upper()
    yield data.hex()
    yield quote(value)
    yield quote(value, safe="")
    yield json.dumps(value)[1:-1]
    yield repr(value)[1:-1]
    for skipped in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * skipped + data).decode().rstrip("=")
            yield encoded[(skipped * 8 + 5) // 6 : len(encoded) - 1]


def hits(text: str) -> set[str]:
    """The values that a text shows; of a token each part counts, but for the header, which is the same for all."""
    parts = {part for token in TOKENS for part in token.split(".")[1:]} | TOKENS
    found = {value for value in (*SECRETS, *parts) if any(each in text for each in spellings(value))}
    lowered = text.lower()
    return (found | {value for value in SECRETS if value.lower() in lowered}) - UNTOLD


def seen(thing: object) -> Iterator[str]:
    """Everything that looking at an object shows, but for what it is asked to ``reveal``."""
    yield repr(thing)
    yield str(thing)
    yield f"{thing}"
    for name in dir(thing):
        if not name.startswith("__"):
            with contextlib.suppress(Exception):
                yield f"{name}={getattr(thing, name)!r}"
    with contextlib.suppress(TypeError):
        yield repr(vars(thing))
    with contextlib.suppress(Exception):
        yield repr(copy.copy(thing))
        yield repr(copy.deepcopy(thing))


def exposed(error: BaseException) -> Iterator[str]:
    """Everything that an exception shows, with all it hangs on to."""
    todo, known = [error], set()
    while todo:
        one = todo.pop()
        if id(one) in known:
            continue
        known.add(id(one))
        yield from seen(one)
        yield repr(one.args)
        with contextlib.suppress(Exception):
            yield pickle.dumps(one).decode("latin-1")
        shown = traceback.TracebackException.from_exception(one, capture_locals=True)
        yield "".join(shown.format())
        for frame in shown.stack:
            yield repr(frame.locals)
        todo.extend(each for each in (one.__cause__, one.__context__) if each is not None)
        if isinstance(one, BaseExceptionGroup):
            todo.extend(one.exceptions)
        if isinstance(error := getattr(one, "error", None), BaseException):
            todo.append(error)


class Shown(list[str]):
    """What was shown. It is a local of tests itself, and would show twice what it has shown."""

    def __repr__(self) -> str:
        return "<shown>"


class Listener(logging.Handler):
    """Keeps everything that is logged, at any level, with arguments and locals."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))
        self.said.append(repr(record.args))
        if record.exc_info and record.exc_info[1] is not None:
            self.said.extend(exposed(record.exc_info[1]))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[list[str]]:
    """What is shown during a test; at its end none of it may hold a secret."""
    for name in ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_URL", "LIVEKIT_INFERENCE_URL"):
        monkeypatch.delenv(name, raising=False)
    TOKENS.clear()
    UNTOLD.clear()
    listener = Listener()
    levels = {
        name: logging.getLogger(name).level for name in ("", "asyncio", "aiohttp", "websockets", "lkstt_transports")
    }
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger().addHandler(listener)
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    said = Shown()
    monkeypatch.setattr(sys, "unraisablehook", lambda event: said.extend((repr(event), *exposed(event.exc_value))))
    monkeypatch.setattr(threading, "excepthook", lambda event: said.extend((repr(event), *exposed(event.exc_value))))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield said
        gc.collect()
    logging.getLogger().removeHandler(listener)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    said.extend(str(each.message) for each in warned)
    said.extend(listener.said)
    said.extend(capfd.readouterr())
    assert hits("\n".join(said)) == set(), [text for text in said if hits(text)][:3]


def test_the_search_finds_each_value_in_each_spelling() -> None:
    TOKENS.add(mint_token(KEY, SECRET, NOW))
    for value in (*SECRETS, *TOKENS):
        for spelling in spellings(value):
            assert hits(f"x{spelling}y")
    TOKENS.clear()


def test_the_search_looks_at_the_locals_of_frames() -> None:
    def careless() -> None:
        held = [KEYTERM]
        raise RuntimeError(len(held))

    with pytest.raises(RuntimeError) as caught:
        careless()
    assert any(hits(text) for text in exposed(caught.value))


# Mistakes of callers.

NO = object()  # what no argument takes
MISTAKES: dict[str, Callable[[], object]] = {
    "model no text": lambda: STTOptions(NO, **settings()),
    "model with a surrogate": lambda: STTOptions(f"{KEYTERM}\ud800", **settings()),
    "language no text": lambda: STTOptions(**settings(language=NO)),
    "encoding empty": lambda: STTOptions(**settings(encoding="")),
    "sample rate": lambda: STTOptions(**settings(sample_rate=0)),
    "base_url with user": lambda: STTOptions(**settings(base_url=f"https://{KEY}:{quote(SECRET, safe='')}@host/v1")),
    "base_url with query": lambda: STTOptions(**settings(base_url=f"https://host/v1?token={HEADER}")),
    "base_url with a port": lambda: STTOptions(**settings(base_url=f"https://host:{HEADER}/v1")),
    "base_url with a space": lambda: STTOptions(**settings(base_url=f"https://host/{SECRET}")),
    "base_url with brackets": lambda: STTOptions(**settings(base_url=f"https://[{HEADER}/v1")),
    "base_url without a scheme": lambda: STTOptions(**settings(base_url=HEADER)),
    "base_url insecure": lambda: STTOptions(**settings(base_url=f"http://host/{HEADER}")),
    "key no text": lambda: STTOptions(**settings(api_key=[KEY])),
    "secret with a surrogate": lambda: STTOptions(**settings(api_secret=f"{SECRET}\ud800")),
    "wrapped secret with a surrogate": lambda: STTOptions(**settings(api_secret=Secret(f"{SECRET}\ud800"))),
    "extra no object": lambda: STTOptions(**settings(extra_kwargs=[PROMPT])),
    "extra with NaN": lambda: STTOptions(**settings(extra_kwargs={**EXTRA, "x": float("nan")})),
    "extra with an object": lambda: STTOptions(**settings(extra_kwargs={"x": [PROMPT, NO]})),
    "extra with a surrogate": lambda: STTOptions(**settings(extra_kwargs={"x": f"{PROMPT}\ud800"})),
    "extra with a key no text": lambda: STTOptions(**settings(extra_kwargs={1: PROMPT})),
    "extra nested": lambda: STTOptions(**settings(extra_kwargs=json.loads('{"a":' * 40 + f'"{PROMPT}"' + "}" * 40))),
    "extra keyterms no list": lambda: STTOptions(**settings(extra_kwargs={"keyterm": {"x": KEYTERM}})),
    "fallback no model": lambda: STTOptions(**settings(fallback=[{"extra_kwargs": EXTRA}])),
    "fallback unknown": lambda: STTOptions(**settings(fallback=[{"model": "a/b", KEYTERM: EXTRA}])),
    "fallback extra": lambda: FallbackModel("a/b", {"keyterms": [KEYTERM, NO]}),
    "header value": lambda: STTOptions(**settings(headers={"X-Worker": f"{HEADER}\r\nX: y"})),
    "header name": lambda: STTOptions(**settings(headers={f"X {HEADER}": "y"})),
    "header no pair": lambda: STTOptions(**settings(headers=[HEADER, NO])),
    "replace": lambda: STTOptions(**settings()).replace(extra_kwargs={"x": [PROMPT, NO]}),
    "argument unknown": lambda: STTOptions(**settings(api_kye=SECRET)),
    "half a pair": lambda: resolve_credentials({"LIVEKIT_API_KEY": KEY, "LIVEKIT_API_SECRET": SECRET}, None, SECRET),
    "no credentials": lambda: build_request(STTOptions(headers=HEADERS, extra_kwargs=EXTRA), NOW),
    "an empty secret": lambda: mint_token(KEY, "", NOW),
    "a public key": lambda: mint_token(KEY, PUBLIC_KEY, NOW),
    "a secret with a surrogate": lambda: mint_token(KEY, f"{SECRET}\ud800", NOW),
    "a token of another": lambda: verify_token(mint_token(KEY, SECRET, NOW), {KEY: HEADER}, NOW),
    "a token too old": lambda: verify_token(mint_token(KEY, SECRET, 0), {KEY: SECRET}, NOW),
    "keyterms no texts": lambda: Connection(STTOptions(**settings())).update_options(0.0, keyterms=[KEYTERM, NO]),
    "keyterms no list": lambda: Connection(STTOptions(**settings())).update_options(0.0, keyterms={KEYTERM: NO}),
    "extra later": lambda: Connection(STTOptions(**settings())).update_options(0.0, extra={"x": [PROMPT, NO]}),
    "too late": lambda: over().update_options(0.0, extra={"x": [PROMPT]}),
    "a transcript with NaN": lambda: talking().transcript(spoken(float("nan")), 0.0, final=True),
    "a transcript too early": lambda: Gateway().transcript(spoken(), 0.0, final=True),
    "a preflight too early": lambda: Gateway().preflight(spoken(), 0.0),
    "an error too late": lambda: closed().fail(0.0, code=500, message=SAID),
    "gateway secrets empty": lambda: LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET, "": HEADER}),
    "gateway insecure": lambda: LocalGateway(recognizer=EchoRecognizer(), host="192.0.2.1", secrets={KEY: SECRET}),
    "gateway short secret": lambda: LocalGateway(
        recognizer=EchoRecognizer(), host="192.0.2.1", secrets={KEY: SECRET, "k": KEYTERM}, allow_insecure=True
    ),
    "proxy of another kind": lambda: AiohttpConnector(proxy=f"socks5://user:{PROXY}@host:1"),
    "proxy with an impossible port": lambda: AiohttpConnector(proxy=f"http://user:{PROXY}@host:99999"),
    "proxy of the other connectors": lambda: WebSocketConnector(proxy=f"https://user:{PROXY}@host:1"),
}  # fmt: skip
for transport in ("asyncio", "trio", "anyio", "sync"):
    stt = importlib.import_module(f"lkstt_transports.{transport}").STT
    MISTAKES |= {
        f"{transport}: {name}": call
        for name, call in {
            "extra": lambda stt=stt: stt(**settings(extra_kwargs={"x": [PROMPT, NO]})),
            "half a pair": lambda stt=stt: stt(**settings(api_key=None)),
            "a bad secret": lambda stt=stt: stt(**settings(api_secret=PUBLIC_KEY)),
            "argument unknown": lambda stt=stt: stt.from_model_string("a/b:en", **settings(api_kye=SECRET)),
            "later": lambda stt=stt: stt(**settings()).update_options(keyterms=[KEYTERM, NO]),
            "extra later": lambda stt=stt: stt(**settings()).update_options(extra={"x": [PROMPT, NO]}),
        }.items()
    }  # fmt: skip


def over() -> Connection:
    connection = Connection(STTOptions(**settings()))
    connection.close(0.0)
    return connection


def talking() -> Gateway:
    gateway = Gateway()
    gateway.transport_opened(0.0)
    gateway.receive_text(b'{"type":"session.create","settings":{}}', 0.0)
    gateway.accept(0.0, session_id="s")
    return gateway


def closed() -> Gateway:
    gateway = talking()
    gateway.close(0.0)
    return gateway


def spoken(end: float = 0.5) -> SpeechData:
    return SpeechData("en", SAID, 0.0, end, 0.9, SPEAKER, (TimedWord(SAID, 0.0, 0.5, 0.9, SPEAKER),), {"p": PROMPT})


@pytest.mark.parametrize("name", MISTAKES)
def test_a_callers_mistake_shows_nothing(name: str, shown: list[str]) -> None:
    with pytest.raises((SttError, TypeError)) as caught:
        MISTAKES[name]()
    shown.extend(exposed(caught.value))
    assert str(caught.value)


def test_an_application_still_sees_where_its_own_code_failed() -> None:
    def broken(_rate: int) -> Any:
        return 1 / 0

    from lkstt_transports.asyncio import STT

    async def main() -> None:
        STT("speechmatics/enhanced", api_key="k", api_secret="s" * 32, endpointer=broken).stream()

    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(main())
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[-1] == "broken"


# Values.


def test_values_that_hold_secrets_do_not_show_them(shown: list[str]) -> None:
    options = STTOptions(**settings())
    request = build_request(options, NOW)
    TOKENS.add(dict(request.headers)["Authorization"].partition(" ")[2])
    connection = Connection(options)
    connection.update_options(0.0, keyterms=[KEYTERM])
    connection.start(0.0)
    actions = connection.take_actions(0.0)
    gateway = LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET})
    assert gateway.api_secret == SECRET
    for thing in (Secret(SECRET), Hidden(SECRET)):
        shown.extend((repr(thing), repr([thing]), repr({"a": thing}), f"{thing!r}"))
    shown.extend(
        (repr(options), repr(request), repr(actions), repr(connection), repr(gateway), repr(gateway.api_secret))
    )
    shown.extend(
        (
            repr(attrs.asdict(options, filter=lambda each, _: "ext" not in each.name and each.name != "fallback")),
            repr(attrs.asdict(request)),
        )
    )
    shown.extend(seen(Secret(SECRET)))
    shown.extend(seen(request))
    shown.extend(text for text in seen(options) if not text.startswith("extra_kwargs"))
    shown.extend(seen(actions[0]))
    for transport in ("asyncio", "trio", "anyio", "sync"):
        stt = importlib.import_module(f"lkstt_transports.{transport}").STT(**settings())
        shown.extend((repr(stt), str(stt), repr(stt.capabilities)))
    for thing in (options, Secret(SECRET), [options], {"key": Secret(KEY)}):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="environment") as caught:
                pickle.dumps(thing, protocol)
            shown.extend(exposed(caught.value))


def test_values_that_hold_speech_do_not_show_it_in_their_repr(shown: list[str]) -> None:
    word, data = TimedWord(SAID, 0.0, 1.0, 0.5, SPEAKER), spoken()
    event = SpeechEvent(lkstt_proto.SpeechEventType.FINAL_TRANSCRIPT, "r", (data,))
    gateway = talking()
    gateway.take_events()
    told = {"language": "en", "extra": {"keyterm": [KEYTERM], "prompt": PROMPT}}
    gateway.receive_text(json.dumps({"type": "session.update", "settings": told}), 0.0)
    gateway.transport_closed(0.0, code=1000, reason=SAID)
    other = Gateway()
    other.transport_opened(0.0)
    other.receive_text(json.dumps({"type": "session.create", "settings": told}), 0.0)
    results = [Word(SAID, 0, 1), Partial(SAID, 0, 1), Final(SAID, 0, 1, (Word(SAID, 0, 1),))]
    for thing in (word, data, event, (event,), *gateway.take_events(), *other.take_events(), *results):
        shown.extend((repr(thing), str(thing), f"{thing}"))
    assert (data.text, event.alternatives[0].speaker_id) == (SAID, SPEAKER)
    assert f"<{len(SAID)} characters>" in repr(word)


# Hostile servers.


class Server:
    """Answers each connection as an act says; notes the token that it is sent."""

    def __init__(self, act: Callable[[Caller], None], context: ssl.SSLContext | None = None) -> None:
        self.act = act
        self.context = context
        self.visits = 0

    def __enter__(self) -> Server:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.ending = False
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending = True
        self.thread.join(PATIENCE)
        self.socket.close()

    @property
    def port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def serve(self) -> None:
        while not self.ending:
            try:
                connection, _ = self.socket.accept()
            except TimeoutError:
                continue
            self.visits += 1
            connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError, EOFError), connection:
                if self.context is None:
                    self.act(Caller(connection))
                else:
                    with self.context.wrap_socket(connection, server_side=True) as secured:
                        self.act(Caller(secured))


class Caller:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.head = b""

    def read_head(self) -> str:
        while b"\r\n\r\n" not in self.head:
            self.head += self.exactly(1)
        text = self.head.decode("latin-1")
        if found := re.search(r"Bearer (\S+)", text):
            TOKENS.add(found[1])
        return text

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if not (more := self.socket.recv(count - len(data))):
                raise EOFError
            data += more
        return data

    def answer(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = (
            f"HTTP/1.1 {status}",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            *headers,
            "",
            "",
        )
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def upgrade(self) -> None:
        head = self.read_head()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode(), usedforsecurity=False).digest()
        accept = base64.b64encode(digest).decode()
        lines = (
            "HTTP/1.1 101 S",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {accept}",
            "",
            "",
        )
        self.socket.sendall("\r\n".join(lines).encode())

    def frame(self, payload: bytes, opcode: int = 1) -> None:
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + size + payload)

    def say(self, **message: Any) -> None:
        self.frame(json.dumps(message).encode())

    def speak(self) -> None:
        """Let the client hear something, so that there is something to keep to itself."""
        self.say(type="session.created", session_id="s1")
        said = {"transcript": SAID, "start": 0.0, "duration": 0.4, "speaker_id": SPEAKER, "extra": {"p": PROMPT}}
        words = [{"word": word, "start": 0.0, "end": 0.1, "speaker_id": SPEAKER} for word in SAID.split()]
        self.exactly(200)  # some audio is there
        self.say(type="interim_transcript", **said, words=words)
        self.say(type="final_transcript", **said, words=words)
        self.say(type="interim_transcript", **said)

    def last(self, code: int = 1011, reason: bytes = b"") -> None:
        self.frame(code.to_bytes(2, "big") + reason, 8)
        self.linger()

    def linger(self) -> None:
        with contextlib.suppress(OSError):
            while self.socket.recv(65536):
                pass

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def everything(head: str, *heard: str) -> str:
    """All that a server could know, and more, as a sentence."""
    token = head.partition("Bearer ")[2].partition("\r\n")[0]
    spelt = [KEY, quote(KEY), KEYTERM, HEADER, SECRET, quote(SECRET), *heard, token, quote(token)]
    spelt += [base64.b64encode(value.encode()).decode() for value in (KEY, KEYTERM, HEADER, SECRET)]
    spelt += [value.encode().hex() for value in (KEY, KEYTERM, HEADER)]
    spelt += ["\u200b".join(KEY), "\x1b[1m".join(KEYTERM), "\u2066".join(token)]
    return " | ".join(spelt)


def piece(head: str, size: int) -> Iterator[str]:
    """The same, a value at a time: of a long text only the beginning would be told."""
    return (text for text in everything(head).split(" | ") if len(text) < size)


def refusing(status: str, *headers: str, body: Callable[[str], str] = everything) -> Callable[[Caller], None]:
    def act(caller: Caller) -> None:
        head = caller.read_head()
        caller.answer(status, json.dumps({"message": body(head)}).encode(), *headers)
        caller.linger()

    return act


def quoting_headers(caller: Caller) -> None:
    head = caller.read_head()
    caller.answer("403 Forbidden", json.dumps({"error": head}).encode())


def redirecting(caller: Caller) -> None:
    head = caller.read_head()
    caller.answer("302 Found", b"", f"Location: https://127.0.0.1:1/?token={TOKENS and max(TOKENS)}", f"X: {len(head)}")


def half_upgrading(caller: Caller) -> None:
    caller.read_head()
    caller.answer("101 Switching Protocols", b"", "Upgrade: websocket")


def echoing(caller: Caller) -> None:
    caller.socket.sendall(caller.read_head().encode())
    caller.linger()


def failing(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    caller.say(
        type="error", code=500, message=everything(caller.head.decode("latin-1"), SAID, SPEAKER), session_id="s1"
    )
    caller.linger()


def rejecting(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    caller.say(type="error", code=400, message=f"keyterm '{KEYTERM}' and '{SAID}' of {SPEAKER}: {KEY}")
    caller.linger()


def leaving(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    caller.last(1008, f"bad: {SAID} {KEYTERM} {KEY}".encode())


def babbling(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    for text in (
        f'{{"type":"final_transcript","transcript":"{SAID}"',
        f'{{"type":"{SAID}"}}',
        f'["{SAID}"]',
        f'{{"type":"final_transcript","transcript":["{SAID}"]}}',
        f'{{"type":"final_transcript","transcript":"{SAID}","start":NaN}}',
        f'{{"type":"final_transcript","transcript":"{SAID}","start":"{SAID}","words":"{SAID}","speaker_id":["{SAID}"]}}',
        f'{{"type":"interim_transcript","transcript":"{SAID}\\ud800","language":"{SAID}\\n"}}',
        f'{{"type":"session.created","session_id":{{"{SAID}":1}}}}',
        f'{{"type":"error","code":"{SAID}","message":["{SAID}"]}}',
    ):
        caller.frame(text.encode())
    caller.frame(SAID.encode(), 2)
    caller.linger()


def breaking(payload: bytes, opcode: int) -> Callable[[Caller], None]:
    def act(caller: Caller) -> None:
        caller.upgrade()
        caller.speak()
        caller.frame(payload, opcode)
        caller.linger()

    return act


def cutting(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    caller.reset()


def never_final(caller: Caller) -> None:
    caller.upgrade()
    caller.speak()
    caller.linger()


ACTS: dict[str, Callable[[Caller], None]] = {
    "401": refusing("401 Unauthorized"),
    "403 that quotes the request": quoting_headers,
    "429": refusing("429 Too Many", "Retry-After: 0", body=lambda head: " ".join(list(piece(head, 60))[:4])),
    "404": refusing("404 Not Found", body=lambda head: " ".join(list(piece(head, 60))[4:])),
    "500": refusing("500 Oops"),
    "200": refusing("200 OK"),
    "302": redirecting,
    "reset": lambda caller: caller.read_head() and caller.reset(),
    "silence": lambda caller: caller.read_head() and None,
    "an echo of the request": echoing,
    "an upgrade without its proof": half_upgrading,
    "error 500": failing,
    "error 400": rejecting,
    "close": leaving,
    "malformed messages": babbling,
    "no UTF-8": breaking(SAID.encode() + b"\xff", 1),
    "a close code that is none": breaking((999).to_bytes(2, "big") + SAID.encode(), 8),
    "a close reason that is no UTF-8": breaking((1011).to_bytes(2, "big") + SAID.encode() + b"\xff", 8),
    "an opcode that is none": breaking(SAID.encode(), 5),
    "a cut": cutting,
    "never a final": never_final,
}  # fmt: skip

QUICK = Limits(drain=0.4, quiet=0.1, close=0.2, ping_timeout=1.0)
ONCE = RetryPolicy(outage=0.0, connect_timeout=2.0)


def pointed_at(port: int, scheme: str = "http", **changes: Any) -> dict[str, Any]:
    return settings(base_url=f"{scheme}://127.0.0.1:{port}/v1", limits=QUICK, retry=ONCE, **changes)


def audio() -> bytes:
    return b"\1\0" * 16000


def note(shown: list[str], events: list[Any], error: BaseException | None) -> None:
    """Look at all that an application was given."""
    for event in events:
        shown.extend((repr(event), str(event)))
        if isinstance(event, Reconnecting | StreamFailed):
            shown.extend(exposed(event.error))
    if error is not None:
        shown.extend(exposed(error))


async def converse(stt: Any, shown: list[str]) -> None:
    """Use a stream to its end, whatever that is."""
    events: list[Any] = []
    stream = None
    try:
        async with stt, stt.stream() as stream:
            await stream.push_audio(audio())
            stream.end_input()
            async for event in stream.events():
                events.append(event)  # noqa: PERF401 (what came until an error counts)
    except (SttError, BaseExceptionGroup) as error:
        note(shown, events, error)
    else:
        note(shown, events, None)
    shown.extend((repr(stt), repr(stream)))
    if stream is not None:
        with contextlib.suppress(SttError):
            try:
                await stream.push_audio(audio())
            except SttError as error:
                shown.extend(exposed(error))


def converse_blocking(stt: Any, shown: list[str]) -> None:
    events: list[Any] = []
    try:
        with stt, stt.stream() as stream:
            stream.push_audio(audio())
            stream.end_input()
            events.extend(stream.events())
    except SttError as error:
        note(shown, events, error)
    else:
        note(shown, events, None)


def use(transport: str, shown: list[str], arguments: Mapping[str, Any]) -> None:
    module = importlib.import_module(f"lkstt_transports.{transport}")

    async def main() -> None:
        asyncio_debug = transport == "asyncio"
        if asyncio_debug:
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            loop.slow_callback_duration = 0.0
            loop.set_exception_handler(lambda _, context: shown.append(repr(context)))
        await converse(module.STT(**arguments), shown)

    if transport == "sync":
        converse_blocking(module.STT(**arguments), shown)
    elif transport == "trio":
        trio.run(main)
    else:
        anyio.run(main)


on_each_transport = pytest.mark.parametrize("transport", ["asyncio", "trio", "anyio", "sync"])


@pytest.mark.parametrize("act", ACTS)
@on_each_transport
def test_a_hostile_server_has_nothing_told(transport: str, act: str, shown: list[str]) -> None:
    with Server(ACTS[act]) as server:
        use(transport, shown, pointed_at(server.port))
    assert server.visits
    assert TOKENS
    assert len(shown) > 2


@on_each_transport
def test_what_refuses_to_connect_has_nothing_told(transport: str, shown: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    use(transport, shown, pointed_at(port))
    assert len(shown) > 2


@on_each_transport
def test_tls_that_fails_has_nothing_told(transport: str, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with Server(refusing("200 OK"), context) as untrusted:
        use(transport, shown, pointed_at(untrusted.port, "https"))
    with Server(echoing) as plain:
        use(transport, shown, pointed_at(plain.port, "https"))
    assert len(shown) > 4


@on_each_transport
def test_a_proxy_has_nothing_told(transport: str, shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    for answer in (
        refusing("407 Proxy Authentication Required", body=lambda head: head),
        echoing,
        lambda caller: caller.read_head() and caller.reset(),
    ):
        with Server(answer) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PROXY}@127.0.0.1:{proxy.port}")
            use(transport, shown, settings(base_url="https://gateway.invalid/v1", limits=QUICK, retry=ONCE))
        assert proxy.visits
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://user:{PROXY}@127.0.0.1:1")
    use(transport, shown, settings(base_url="https://gateway.invalid/v1", limits=QUICK, retry=ONCE))
    assert len(shown) > 8


class Untypical(Exception):
    """Somebody's error with the whole request inside."""

    def __init__(self, request: Any) -> None:
        super().__init__(f"failed with {dict(request.headers)!s} and {dict(request.headers)['Authorization']}")
        self.request = {name: str(value) for name, value in request.headers}


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError(KEYTERM)

    __repr__ = __str__


class LeakyConnector:
    """A connector of somebody's own, which puts all it has into its errors."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def error(self, request: Any) -> Exception:
        headers = {name: str(value) for name, value in request.headers}
        TOKENS.add(headers["Authorization"].partition(" ")[2])
        return {
            "own": lambda: Untypical(request),
            "os": lambda: OSError(5, headers["Authorization"], headers["Authorization"]),
            "key": lambda: KeyError(headers["Authorization"]),
            "unicode": lambda: UnicodeDecodeError("utf-8", headers["Authorization"].encode(), 0, 1, "no"),
            "group": lambda: ExceptionGroup(headers["Authorization"], [Untypical(request)]),
            "ours": lambda: lkstt_proto.ConnectError(f"refused {headers['Authorization']} {KEY}", phase="connect"),
            "aiohttp": lambda: aiohttp.ClientResponseError(aiohttp.RequestInfo("u", "GET", headers, "u"), (), status=1),
        }[self.kind]()

    @asynccontextmanager
    async def open(self, request: Any, max_message: int) -> AsyncIterator[Any]:
        token = dict(request.headers)["Authorization"].encode()
        try:
            raise ValueError(token)
        except ValueError as error:
            raise self.error(request) from error
        yield

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("kind", ["own", "os", "key", "unicode", "group", "ours", "aiohttp"])
def test_a_connector_of_somebodys_own_cannot_tell_either(kind: str, shown: list[str]) -> None:
    use("asyncio", shown, settings(connector=LeakyConnector(kind), limits=QUICK, retry=ONCE))
    assert TOKENS
    assert len(shown) > 2


def test_an_error_that_cannot_be_printed_is_still_told(shown: list[str]) -> None:
    connection = Connection(STTOptions(**settings()), retry=ONCE)
    connection.start(0.0)
    connection.take_actions(0.0)
    with pytest.raises(ValueError, match=KEYTERM):
        str(Unprintable())
    connection.transport_closed(0.0, error=Unprintable())
    note(shown, connection.take_events(), connection.error)
    assert "Unprintable" in str(connection.error)


def test_an_endpointer_that_fails_tells_its_kind_alone(shown: list[str]) -> None:
    class Broken:
        def push(self, pcm: bytes) -> bool:
            raise RuntimeError(f"{SAID} {pcm!r}")

    connection = Connection(STTOptions("speechmatics/enhanced", **settings()), endpointer=Broken())
    connection.start(0.0)
    connection.send_audio(b"\1\0" * 16000, 0.0)
    note(shown, connection.take_events(), None)
    assert any("RuntimeError" in text for text in shown)


def test_a_stream_that_is_cancelled_has_nothing_told(shown: list[str]) -> None:
    async def main(server: Server) -> None:
        from lkstt_transports.asyncio import STT

        asyncio.get_running_loop().set_debug(True)
        async with STT(**pointed_at(server.port)) as stt:
            stream = stt.stream()

            async def listen() -> None:
                async for _ in stream:
                    pass

            task = asyncio.create_task(listen())
            await stream.push_audio(audio())
            await asyncio.sleep(0.2)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as error:
                shown.extend(exposed(error))
            shown.append(repr(task))
            await stream.aclose()

    with Server(never_final) as server:
        asyncio.run(main(server), debug=True)
    assert TOKENS


# Our own servers.


class Faulty(EchoRecognizer):
    """A recogniser that fails with what it heard."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def open(self, **_: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("fault", [ValueError(SAID), RecognizerFailed(f"{SECRET} eyJhbGciOiJub25lIn0.e30.")])
def test_the_gateway_says_nothing_of_what_it_was_told(fault: Exception, shown: list[str]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: shown.append(repr(context)))
        async with (
            LocalGateway(recognizer=Faulty(copy.copy(fault)), secrets={KEY: SECRET}) as gateway,
            aiohttp.ClientSession() as session,
        ):
            token = mint_token(KEY, SECRET, time.time())
            TOKENS.add(token)
            headers = {"Authorization": f"Bearer {token}"}
            url = f"{gateway.base_url}/stt"
            async with session.ws_connect(url, headers=headers) as socket:
                await socket.send_json({"type": "session.create", "settings": {"extra": EXTRA}})
                message = json.loads(await socket.receive_str(timeout=PATIENCE))
                assert message["type"] == "error"
                if isinstance(fault, ValueError):
                    shown.append(json.dumps(message))
            for bad in (
                {"Authorization": f"Bearer {token}x"},
                {"Authorization": f"Basic {token}"},
                {**headers, "Origin": f"https://{HEADER}"},
                {**headers, "Sec-WebSocket-Protocol": token},
            ):
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(f"{url}?token={token}", headers=bad)
            reader, writer = await asyncio.open_connection("127.0.0.1", int(gateway.base_url.split(":")[2][:-3]))
            writer.write(f"GET /v1/stt HTTP/9.9 {token}\r\nAuthorization: Bearer {token}\r\n{SECRET}\r\n\r\n".encode())
            shown.append((await reader.read(65536)).decode())
            writer.close()

    asyncio.run(main(), debug=True)


# The command line.


@pytest.fixture
def environment(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "LKSTT_API_KEY": KEY,
        "LKSTT_API_SECRET": SECRET,
        "HTTPS_PROXY": f"socks5://user:{PROXY}@127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)


COMMANDS = {
    "help": ["--help"],
    "nothing": [],
    **{f"help of {name}": [name, "--help"] for name in ("transcribe", "serve", "record", "replay", "models", "demo")},
    "serve with a word too many": ["serve", "--key", KEY, "--secret", *SECRET.split()],
    "serve with half a pair": ["serve", "--key", KEY, "--secret", ""],
    "serve with a bad port": ["serve", "--secret", SECRET, "--port", "http"],
    "serve elsewhere": ["serve", "--key", KEY, "--secret", SECRET, "--host", "192.0.2.1"],
    "serve with a short secret": ["serve", "--key", KEY, "--secret", PROXY, "--host", "192.0.2.1", "--allow-insecure"],
    "serve at a port that is taken": ["serve", "--key", KEY, "--secret", SECRET, "--port", "TAKEN"],
    "serve with an option that takes nothing": ["serve", f"--allow-insecure={SECRET}"],
    "serve with a secret misspelt": ["serve", f"--secrte={SECRET}"],
    "transcribe with a secret": ["transcribe", f"--api-secret={SECRET}", "x.wav"],
    "transcribe nothing": ["transcribe"],
    "transcribe with a bad address": ["transcribe", "--base-url", f"https://{KEY}:{HEADER}@host/v1", "CLIP"],
    "transcribe with a query": ["transcribe", "--base-url", f"https://host/v1?token={HEADER}", "CLIP"],
    "transcribe in the open": ["transcribe", "--base-url", f"http://host/{HEADER}", "CLIP"],
    "transcribe through a proxy": ["transcribe", "--base-url", "https://gateway.invalid/v1", "CLIP"],
    "record from a bad address": ["record", "--upstream", f"https://{KEY}:{HEADER}@host/v1"],
    "replay what is no recording": ["replay", "CLIP"],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_fails_does_not_say_what_it_was_told(
    name: str, environment: None, shown: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "clip.wav"
    with wave.open(str(clip), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(b"\1\0" * 1600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        known = {"CLIP": str(clip), "TAKEN": str(taken.getsockname()[1])}
        code = run([known.get(each, each) for each in COMMANDS[name]])
    assert code == 0 if "help" in name else code in (1, 2)
    shown += (said := capfd.readouterr())
    assert not any(part in text for part in SECRET.split() for text in said)


@pytest.mark.parametrize("act", ["401", "403 that quotes the request", "error 400", "close"])
def test_a_transcription_that_fails_does_not_say_why_in_the_servers_words(
    act: str, environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: list[str]
) -> None:
    clip = tmp_path / "clip.wav"
    with wave.open(str(clip), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(audio())
    UNTOLD.update((KEYTERM, HEADER))  # for which the command has no options
    target = tmp_path / "out.txt"
    with Server(ACTS[act]) as server:
        code = run(
            ["transcribe", "--output", str(target), "--base-url", f"http://127.0.0.1:{server.port}/v1", str(clip)]
        )
    assert code in (0, 1)
    assert TOKENS
