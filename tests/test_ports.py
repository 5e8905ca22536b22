"""A port in another language is held to the fixtures through the runner, and its mistakes are told readably."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lkstt_proto.dialogue import bundled, load

PORT = Path(__file__).parent / "ports" / "javascript"
MACHINE = Path(__file__).parent.parent / "lkstt_proto" / "spec" / "machine.json"

NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: the JavaScript port cannot run")


def conformance(*command: str) -> tuple[int, list[str]]:
    """Run the runner on a port; give its exit code and what it told."""
    done = subprocess.run(
        [sys.executable, "-m", "lkstt_transports.cli", "conformance", "--", *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def changed(copy: Path, file: str, right: str, wrong: str) -> str:
    """Copy the port with one mistake; give the copy's entry."""
    shutil.copytree(PORT, copy)
    source = (copy / file).read_text("utf-8")
    assert source.count(right) == 1
    (copy / file).write_text(source.replace(right, wrong), "utf-8")
    return str(copy / "port.js")


def failures(lines: list[str]) -> dict[str, list[str]]:
    """What was told of each fixture that failed, by its name."""
    told: dict[str, list[str]] = {}
    last: list[str] = []
    for line in lines:
        if line.startswith(" "):
            last.append(line.strip())
        else:
            last = []
            if line.startswith("fail  "):
                told[line.removeprefix("fail  ")] = last
    return told


def test_the_javascript_port_does_what_every_fixture_of_a_client_says() -> None:
    code, lines = conformance("node", str(PORT / "port.js"))
    roles = [load(file).role for file in bundled().values()]
    clients, gateways = roles.count("client"), roles.count("gateway")
    assert failures(lines) == {}
    assert lines[-1].startswith(f"{len(roles)} fixtures: {clients} passed, 0 failed, {gateways} skipped, in "), lines[
        -1
    ]
    assert code == 0


@pytest.mark.parametrize(
    ("file", "right", "wrong", "fixture", "told"),
    [
        pytest.param(
            "outage.js",
            "Math.max(delay, Math.min(retryAfter, longest))",
            "Math.max(delay, retryAfter)",
            "retry_after_is_capped",
            ["events[0].delay", "expected  60.0", "got       3600"],
            id="a server may ask for any delay",
        ),
        pytest.param(
            "fields.js",
            "const sound = value.replace(LONE_SURROGATES, '\\ufffd');",
            "const sound = value;",
            "surrogates_become_replacement",
            ["events[0].type", 'expected  "diagnostic"', 'got       "start_of_speech"'],
            id="lone surrogates stay in a text",
        ),
        pytest.param(
            "liveness.js",
            "Math.max(this.asked, this.heard) + this.#allowance",
            "this.asked + this.#allowance",
            "link_alive",
            ["deadline", "expected  10.0", "got       9.3"],
            id="a peer that speaks proves nothing",
        ),
    ],
)
def test_a_mistake_in_the_port_is_found_and_its_first_difference_told(
    tmp_path: Path, file: str, right: str, wrong: str, fixture: str, told: list[str]
) -> None:
    entry = changed(tmp_path / "port", file, right, wrong)
    code, lines = conformance("node", entry, str(MACHINE))
    assert code == 1
    found = failures(lines)
    assert fixture in found
    where, *difference = found[fixture]
    assert where.startswith(f"{fixture}.jsonl: line ")
    assert difference[: len(told)] == told


def test_the_port_takes_its_rows_from_the_specification(tmp_path: Path) -> None:
    machine = json.loads(MACHINE.read_text("utf-8"))
    for row in machine["tables"]["speech"]["rows"]:
        if (row["state"], row["trigger"]) == ("speaking", "gateway:empty_final"):
            row["effects"].remove("final")
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(machine), "utf-8")
    code, lines = conformance("node", str(PORT / "port.js"), str(path))
    assert code == 1
    assert "final_without_text_ends_a_turn" in failures(lines)
