"""What adapters must not have in them: a protocol, a duration, another runtime. What they share must not wait."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lkstt_transports
from lkstt_proto import messages

PACKAGE = Path(lkstt_transports.__file__).parent
CONNECTORS = ("aiohttp_connector", "socket_connector", "websocket", "frames", "tls")
ADAPTERS = ("asyncio", "trio", "anyio", "sync", "stream", "threads", *CONNECTORS)
SHARED = ("base", "common", "frames", "stream", "websocket", "tls")
# "error" is everybody's word.
NAMES = {*messages.SERVER_MESSAGES, *messages.CLIENT_MESSAGES} - {"error"}
# Constants with a number in them that is no duration, and one that is TCP's (RFC 8305).
CONSTANTS = {
    "CHUNK", "_ATTEMPT_DELAY", "_CODES_END", "_DEFAULT_PORTS", "_DETAIL_BYTES", "_HEAD_BYTES",
    "_HEAD_SIZE", "_LENGTH_SIZE", "LONG", "_LOST", "_MASKED", "_MASK_SIZE", "_MESSAGES_PER_TURN", "_MOST_UNWRITTEN",
    "_NO_STATUS", "_PIECE", "_PUSH", "_SEND", "TEXT", "_TURN", "_TURNS_TO_ANSWER", "_TURNS_TO_HEAR", "_USUAL",
    "VERY_LONG",
}  # fmt: skip
# Calls that are told a number of bytes.
BYTES = {"to_bytes", "from_bytes"}
RUNTIMES = {"asyncio", "trio", "anyio", "aiohttp", "websockets"}


def tree(module: str) -> ast.Module:
    """Parse a module of the package."""
    return ast.parse((PACKAGE / f"{module}.py").read_text("utf-8"))


def numbers(source: ast.Module) -> Iterator[str]:
    """Show the numbers that may be durations, each with its line."""

    def walk(node: ast.AST) -> Iterator[ast.Constant]:
        if isinstance(node, ast.Assign) and all(
            isinstance(name, ast.Name) and name.id in CONSTANTS for name in node.targets
        ):
            return
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BYTES:
            return
        if isinstance(node, ast.Constant) and type(node.value) in (int, float, complex):
            yield node
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    for found in walk(source):
        if found.value not in (0, 1):
            yield f"{found.value!r} in line {found.lineno}"


def waits(source: ast.Module) -> Iterator[int]:
    """Give the lines of all that may wait, and of coroutines that are more than a declaration."""
    for node in ast.walk(source):
        declared = isinstance(node, ast.AsyncFunctionDef) and len(node.body) == 1
        if not declared and isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith | ast.AsyncFunctionDef):
            yield node.lineno


def test_the_walks_see_what_they_look_for() -> None:
    source = ast.parse(
        "CHUNK = 5\nWAIT = 2\nasync def f():\n    '''doc'''\n    await g(0, 1, 0.5)\n    x.to_bytes(2)\n"
        "async def g():\n    '''doc'''\nh(timeout=-3)\n[x async for x in y]\n"
    )
    assert list(numbers(source)) == ["2 in line 2", "0.5 in line 5", "3 in line 9"]
    assert list(waits(source)) == [3, 5]
    assert {"session.create", "input_audio", "final_transcript", "session.closed"} <= NAMES


@pytest.mark.parametrize("module", ADAPTERS)
def test_an_adapter_knows_no_message(module: str) -> None:
    text = (PACKAGE / f"{module}.py").read_text("utf-8")
    assert [name for name in NAMES if name in text] == []


@pytest.mark.parametrize("module", ADAPTERS)
def test_an_adapter_knows_no_duration(module: str) -> None:
    assert list(numbers(tree(module))) == []


@pytest.mark.parametrize("module", SHARED)
def test_what_is_shared_does_not_wait(module: str) -> None:
    assert list(waits(tree(module))) == []


def loaded(module: str) -> set[str]:
    """Give the top names of all that is imported with a module of the package."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "own"),
    [
        ("", set()),
        (".base", set()),
        (".common", set()),
        (".websocket", {"websockets"}),
        (".asyncio", {"asyncio"}),
        (".aiohttp_connector", {"asyncio", "aiohttp"}),
        (".trio", {"trio", "websockets"}),
        (".anyio", {"anyio", "websockets"}),
        (".sync", {"websockets"}),
    ],
)
def test_importing_an_adapter_imports_only_its_own_runtime(module: str, own: set[str]) -> None:
    modules = loaded(f"lkstt_transports{module}")
    assert RUNTIMES & modules == own
    assert modules.isdisjoint({"webrtcvad", "jwt", "websockets.asyncio", "websockets.legacy"})
