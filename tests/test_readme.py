"""The README's examples run as they stand."""

from __future__ import annotations

import asyncio
import re
import struct
import wave
from pathlib import Path
from typing import Any

README = (Path(__file__).resolve().parent.parent / "README.md").read_text("utf-8")


def example(name: str) -> dict[str, Any]:
    """Run the Python block under the comment ``<!-- example: NAME -->``; give the names it defines."""
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found, name
    names: dict[str, Any] = {}
    exec(compile(found[1], f"README.md: {name}", "exec"), names)  # noqa: S102 (our own text)
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


def test_the_asyncio_example_transcribes_a_file(tmp_path, capsys):
    from lkstt_transports.gateway import LocalGateway
    from lkstt_transports.gateway.recognizers.script import EchoRecognizer

    main = example("asyncio")["main"]
    path = str(tmp_path / "talk.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(marked(1.5))

    async def work() -> None:
        async with LocalGateway(recognizer=EchoRecognizer()) as gateway:
            secrets = {"api_key": gateway.api_key, "api_secret": gateway.api_secret}
            await main(path, base_url=gateway.base_url, **secrets)

    asyncio.run(work())
    assert capsys.readouterr().out == "1 2 3 4 5 6 7 8 9 10\n11 12 13 14 15\n"


def test_every_command_that_is_run_from_the_readme_is_there():
    assert re.findall(r"<!-- command: (\w+) -->\n```sh\n(.+)\n```", README) == [
        ("demo", "python3 -m venv .venv && . .venv/bin/activate && pip install '.[local,cli]' && lkstt demo"),
        ("tests", "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[dev]' && pytest"),
    ]
