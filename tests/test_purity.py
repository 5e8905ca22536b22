"""The one promise: no clock, network, environment, randomness or threads, and the same outputs for the same inputs."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lkstt_proto
from lkstt_proto.actions import Connect
from lkstt_proto.options import STTOptions

PACKAGE = Path(lkstt_proto.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The pure part of the standard library, and attrs.
PURE = {
    "__future__", "attrs", "base64", "binascii", "bisect", "collections", "contextlib", "enum", "functools",
    "heapq", "ipaddress", "itertools", "json", "math", "re", "struct", "typing", "urllib.parse",
}  # fmt: skip
# Brought in where they are used, because of what they drag in: sockets, cryptography, temporary files.
DEFERRED = {
    "jwt": {"handshake.py"},
    "importlib": {"catalogue.py", "language.py", "dialogue.py", "export.py"},
}
# Found at import or done without.
OPTIONAL = {"msgspec": {"speed.py", "transcripts.py"}, "pybase64": {"speed.py"}}
TYPES_ONLY = {"jwt", "typing_extensions"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "compile", "breakpoint", "__import__"}


def named(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The modules that an import names; our own have no name."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [] if node.level else [node.module or ""]


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Modules with where they are imported: ``module``, ``function``, ``types`` or ``optional``."""

    def walk(node: ast.AST, where: str) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((name, where) for name in named(node))
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            where = "function"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            where = "types"
        elif isinstance(node, ast.Try) and any(ast.unparse(h.type or node) == "ImportError" for h in node.handlers):
            where = "optional"
        for child in ast.iter_child_nodes(node):
            yield from walk(child, where)

    return walk(ast.parse(path.read_text("utf-8")), "module")


def whole(name: str) -> str:
    """A name of the list, or the top of a package."""
    return name if name in PURE else name.partition(".")[0]


def test_the_walk_sees_imports_wherever_they_stand(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_text(
        "import json, os.path\nfrom . import events\nfrom urllib.parse import quote\n"
        "if TYPE_CHECKING:\n    from jwt import PyJWS\n"
        "try:\n    import msgspec\nexcept ImportError:\n    msgspec = None\n"
        "class A:\n    def f(self):\n        if True:\n            import socket\n"
    )
    assert list(imports(source)) == [
        ("json", "module"),
        ("os.path", "module"),
        ("urllib.parse", "module"),
        ("jwt", "types"),
        ("msgspec", "optional"),
        ("socket", "function"),
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_what_is_pure(path: Path) -> None:
    for name, where in imports(path):
        top = whole(name)
        allowed = {
            "module": top in PURE,
            "function": top in PURE or path.name in DEFERRED.get(top, ()),
            "types": top in PURE or top in TYPES_ONLY,
            "optional": path.name in OPTIONAL.get(top, ()),
        }
        assert allowed[where], f"{path.name} imports {name} ({where})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_call_nothing_that_reaches_outside(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert called.isdisjoint(FORBIDDEN_CALLS)


# In another process. What has to be unusable is made so before anything of ours is imported, or, where the interpreter
# needs it to import, before anything of ours runs.

CONVERSATION = r"""
import json
from lkstt_proto import Connection, Gateway, STTOptions, SpeechData, TimedWord, Connect, Disconnect, Ping, Limits

told = []

def exchange(client, gateway, now):
    moving = True
    while moving:
        moving = False
        for action in client.take_actions(now):
            moving = True
            told.append(action if not isinstance(action, Connect) else ("connect", action.attempt))
            if isinstance(action, bytes):
                gateway.receive_text(action, now)
            elif isinstance(action, Ping):
                client.transport_alive(now)
            elif isinstance(action, Disconnect):
                gateway.transport_closed(now, code=action.code)
                client.transport_closed(now, code=action.code)
            else:
                gateway.transport_opened(now)
                client.transport_opened(now)
        for action in gateway.take_actions(now):
            moving = True
            told.append(action)
            if isinstance(action, bytes):
                client.receive_text(action, now)
        told.extend(tuple(event) if isinstance(event, tuple) else event for event in client.take_events())
        told.extend(gateway.take_events())

def wait(client, gateway):
    now = client.deadline
    client.handle_timeout(now)
    exchange(client, gateway, now)

def hello(start, end, text="hello w\u00f6rld"):
    word = TimedWord("hello", start, end, 0.5, "S1")
    return SpeechData("en", text, start, end, 0.75, "S1", (word, word), {"b": 1, "a": [2, {"z": None, "y": "x"}]})

def converse():
    options = STTOptions(
        "assemblyai/universal-streaming:en_us", extra_kwargs={"keyterms_prompt": ["c", "a"], "mode": "balanced"},
        fallback=["deepgram/nova-3", {"model": "xai/stt-1", "extra_kwargs": {"format": True, "diarize": False}}],
    )
    client, gateway = Connection(options, limits=Limits(audio_buffer=2.0), random=lambda: 0.25), Gateway()
    client.update_options(0.0, keyterms=["b", "a", "d"])
    client.start(0.0)
    exchange(client, gateway, 0.0)
    gateway.accept(0.1, session_id="s1")
    audio = bytes(range(256)) * 250
    client.send_audio(audio, 0.2)
    exchange(client, gateway, 0.2)
    gateway.start_of_speech(0.3)
    gateway.transcript(hello(0.0, 0.5), 0.4, final=False)
    client.update_options(0.4, keyterms=["z", "y"], extra={"format_turns": True}, language="de")
    gateway.transcript(hello(0.0, 1.0), 0.5, final=True, request_id="r1")
    exchange(client, gateway, 0.5)
    client.receive_text('{"type":"final_transcript","transcript":"\\ud800","start":-1,"words":[{}]}', 0.6)
    client.receive_text("[" * 1000, 0.6)
    client.send_audio(audio * 3, 0.7)
    client.transport_closed(0.8, code=1006)
    gateway = Gateway()
    told.append(client.deadline)
    client.handle_timeout(client.deadline)
    exchange(client, gateway, 0.9)
    client.end_input(1.0)
    while client.session_state != "finalizing":
        wait(client, gateway)
    gateway.transcript(hello(0.0, 0.5), client.deadline, final=True)
    gateway.finalized(client.deadline)
    while not client.finished:
        wait(client, gateway)
    told.append(client.stats)
    assert len(told) > 100
"""

BLOCK = r"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

def block(names):
    for name in names:
        assert name not in sys.modules, f"{name} was there before"
    sys.meta_path.insert(0, Blocker())
"""

UNUSABLE = r"""
import builtins, os, random, threading, time

def no(*args, **kwargs):
    raise AssertionError("impure")

class Nothing(dict):
    __getitem__ = __contains__ = __iter__ = get = keys = items = copy = no

CLOCKS = "time time_ns monotonic monotonic_ns perf_counter perf_counter_ns process_time sleep localtime gmtime"
DICE = "random randint randrange choice uniform shuffle getrandbits Random SystemRandom"
DOORS = "urandom getenv open read write system getpid stat listdir scandir popen"

def make_unusable():
    for module, names in ((time, CLOCKS), (random, DICE), (os, DOORS)):
        for name in names.split():
            setattr(module, name, no)
    os.environ = os.environb = Nothing()
    threading.Thread.start = no
    builtins.open = builtins.print = builtins.input = no
"""


def run(script: str, **environment: str) -> str:
    """Run a script in an interpreter of its own; give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocking(*names: str) -> str:
    return f"BLOCKED = {set(names)!r}\n{BLOCK}\nblock(BLOCKED)\n"


# What msgspec brings by itself is its own: without it, ids that are random cannot be had either.
@pytest.mark.parametrize("without", [("msgspec", "pybase64", "uuid"), ()], ids=["plain", "speed"])
def test_a_conversation_needs_no_event_loop_and_no_network(without: tuple[str, ...]) -> None:
    names = (
        "aiohttp", "trio", "anyio", "websockets", "asyncio", "socket", "_socket", "ssl", "_ssl", "selectors", "logging",
        "multiprocessing", "subprocess", "http", "concurrent", "secrets", "jwt", "cryptography", "numpy", *without,
    )  # fmt: skip
    script = f"{blocking(*names)}{CONVERSATION}\nconverse()\nprint(len(told), 'msgspec' in sys.modules)"
    told, with_speed = run(script).split()
    assert int(told) > 100
    assert with_speed == str(not without)


def test_a_conversation_reads_no_clock_environment_or_file_and_starts_no_thread() -> None:
    # The catalogue is a file of the package, read once: the first conversation does, the second has to do without.
    twice = "converse()\nonce = told[:]\ntold.clear()\nmake_unusable()\nconverse()\nassert repr(told) == repr(once)"
    run(f"{CONVERSATION}{UNUSABLE}\n{twice}")


def test_importing_brings_in_nothing_that_reaches_outside() -> None:
    script = "import sys\nbefore = set(sys.modules)\nimport lkstt_proto\nprint(*sorted(set(sys.modules) - before))"
    brought = set(run(f"{blocking('msgspec', 'pybase64')}{script}").split())
    assert "lkstt_proto.connection" in brought
    # attrs itself brings threading, for a lock of its own.
    assert brought.isdisjoint(
        {
            "asyncio",
            "socket",
            "ssl",
            "jwt",
            "tempfile",
            "zipfile",
            "logging",
            "random",
            "subprocess",
            "lkstt_transports",
        }
    )


def outputs(prologue: str = "", **environment: str) -> str:
    return run(f"{prologue}{CONVERSATION}\nconverse()\nprint(*told, sep='\\n')", **environment)


def test_the_same_inputs_give_the_same_outputs_whatever_the_hash_seed() -> None:
    first = outputs(PYTHONHASHSEED="0")
    assert "hello w\\xc3\\xb6rld" in first
    assert "StreamEnded" in first
    for seed in ("1", "4242"):
        assert outputs(PYTHONHASHSEED=seed) == first


def test_the_environment_changes_nothing() -> None:
    first = outputs(PYTHONHASHSEED="0")
    environment = {
        "LIVEKIT_API_KEY": "k",
        "LIVEKIT_INFERENCE_URL": "wss://x.example",
        "TZ": "Asia/Kathmandu",
        "LC_ALL": "C",
    }
    assert outputs(PYTHONHASHSEED="0", PYTHONOPTIMIZE="1", PYTHONINTMAXSTRDIGITS="640", **environment) == first


def test_the_speed_extra_changes_nothing() -> None:
    assert outputs(blocking("msgspec", "pybase64"), PYTHONHASHSEED="0") == outputs(PYTHONHASHSEED="0")


def test_a_request_depends_on_the_time_it_is_given_alone() -> None:
    connect = Connect(0, STTOptions(api_key="a-key", api_secret="a-secret-of-more-than-thirty-two-characters"))
    assert connect.request(1_700_000_000.0) == connect.request(1_700_000_000.0)
    assert connect.request(1_700_000_000.0) != connect.request(1_700_000_001.0)
