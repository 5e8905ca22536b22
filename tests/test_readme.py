"""The README's examples run as they stand."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import wave
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from lkstt_transports.gateway import LocalGateway
from lkstt_transports.gateway.recognizers.script import EchoRecognizer

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def source(name: str) -> str:
    """Give the Python block under the comment ``<!-- example: NAME -->``."""
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found[1]


def example(name: str) -> dict[str, Any]:
    """Run that block; give the names it defines."""
    names: dict[str, Any] = {}
    exec(compile(source(name), f"README.md: {name}", "exec"), names)  # noqa: S102 (our own text)
    return names


def marked(seconds: float) -> bytes:
    """Audio whose 100 ms blocks count up from 1."""
    return b"".join(struct.pack("<h", block + 1) * 1600 for block in range(round(seconds * 10)))


def test_the_core_example_tells_a_whole_turn(capsys):
    example("core")
    assert capsys.readouterr().out == (
        "[<SpeechEventType.START_OF_SPEECH: 'start_of_speech'>, "
        "<SpeechEventType.RECOGNITION_USAGE: 'recognition_usage'>, "
        "<SpeechEventType.FINAL_TRANSCRIPT: 'final_transcript'>, "
        "<SpeechEventType.END_OF_SPEECH: 'end_of_speech'>]\n"
    )


def test_the_gateway_example_gives_the_words_of_the_audio():
    words = example("gateway")["words"]
    assert asyncio.run(words(marked(0.5))) == "1 2 3 4 5"


@pytest.fixture
def gateway() -> Iterator[dict[str, str]]:
    """A gateway that spells the audio, in a thread of its own; gives what an STT has to know of it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = LocalGateway(recognizer=EchoRecognizer())
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield {"base_url": server.base_url, "api_key": server.api_key, "api_secret": server.api_secret}
    asyncio.run_coroutine_threadsafe(server.aclose(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


RUNS: dict[str, list[Callable[..., Any]]] = {
    "asyncio": [partial(anyio.run, backend="asyncio")],
    "trio": [trio.run],
    "anyio": [partial(anyio.run, backend="asyncio"), partial(anyio.run, backend="trio")],
    "sync": [lambda work: work()],
}


@pytest.mark.parametrize("runtime", RUNS)
def test_the_example_of_each_runtime_transcribes_a_file(runtime, gateway, tmp_path, capsys):
    main = example(runtime)["main"]
    path = str(tmp_path / "talk.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(marked(1.5))
    for run in RUNS[runtime]:
        run(partial(main, path, **gateway))
        assert capsys.readouterr().out == "1 2 3 4 5 6 7 8 9 10\n11 12 13 14 15\n"


def test_the_examples_of_all_runtimes_are_the_same():
    def words(runtime: str) -> str:
        return re.sub(r"\b(async|await|asyncio|trio|anyio|sync)\b ?", "", source(runtime))

    assert len({words(runtime) for runtime in RUNS}) == 1


@pytest.mark.parametrize("runtime", ["asyncio", "trio", "anyio"])
def test_the_connector_example_needs_no_socket(runtime, monkeypatch):
    connector = example("connector")["MemoryConnector"]()
    adapter = import_module(f"lkstt_transports.{runtime}")

    async def main() -> None:
        async with adapter.STT(api_key="key", api_secret="s" * 32, connector=connector) as stt:
            event = await stt.recognize(marked(1.5))
            assert (event.alternatives[0].text, event.alternatives[0].end_time) == ("hello", 1.5)
            async with stt.stream() as stream:
                await stream.push_audio(marked(0.5))
                stream.finalize()
                texts = []
                async for event in stream:
                    texts += [data.text for data in event.alternatives]
                    if event.type == "end_of_speech":
                        break
                assert texts == ["hello"]

    for run in RUNS[runtime]:
        monkeypatch.setattr(socket.socket, "connect", None)
        run(main)


def test_every_command_that_is_run_from_the_readme_is_there():
    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+)\n```", README) == [
        ("demo", "python3 -m venv .venv && . .venv/bin/activate && pip install '.[local,cli]' && lkstt demo"),
        (
            "tests",
            "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest -n 2 --dist loadfile",
        ),
    ]
