"""The page shows everything that the data has, and Git hosts can draw it."""

from __future__ import annotations

import json
import re

import pytest

from lkstt_proto.export import algorithms, machine
from lkstt_proto.page import page, spec_files
from lkstt_proto.schema import schema

PAGE = page()
MACHINE = machine()
LINES = PAGE.split("\n")


def test_the_files_are_the_data_the_schema_and_the_page() -> None:
    files = spec_files()
    assert json.loads(files["machine.json"]) == json.loads(json.dumps(MACHINE))
    assert json.loads(files["messages.schema.json"]) == schema()
    assert files["machine.md"] == PAGE
    assert list(files) == ["machine.json", "messages.schema.json", "machine.md"]
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in files.values())


@pytest.mark.parametrize("name", MACHINE["tables"])
def test_rows_are_in_the_tables_and_moves_in_the_diagram(name: str) -> None:
    section = PAGE.partition(f"\n### `{name}`\n")[2].partition("\n###")[0]
    diagram = section.partition("```mermaid\n")[2].partition("\n```")[0].split("\n")
    table = MACHINE["tables"][name]
    assert diagram[:2] == ["stateDiagram-v2", f"    [*] --> {table['initial']}"]
    arrows = [re.fullmatch(r"    (\w+) --> (\w+) : ([\w .<>/]+)", line) for line in diagram[2:]]
    drawn = {(a[1], label.replace(" ", ":"), a[2]) for a in arrows if a for label in a[3].split("<br/>")}
    moves = {(r["state"], r["trigger"], r["next"]) for r in table["rows"] if r["state"] != r["next"]}
    assert None not in arrows
    assert drawn == moves
    for row in table["rows"]:
        effects = ", ".join(f"`{effect}`" for effect in row["effects"])
        assert f"| `{row['state']}` | `{row['trigger']}` | `{row['next']}` | {effects} |" in section.split("\n")


def test_every_name_is_on_the_page() -> None:
    for part in ("errors", "classifiers"):
        assert all(f"`{name}`" in PAGE for name in MACHINE[part])
    for timer in MACHINE["timers"]:
        transport = "yes" if timer["transport"] else "no"
        assert (
            f"| `{timer['name']}` | {transport} | {timer['armed']} | {timer['cancelled']} | {timer['due']} |" in LINES
        )
    for bounds in ("limits", "retry", "patience"):
        for name, value in MACHINE["constants"][bounds].items():
            assert f"| `{bounds}.{name}` | `{value}` | {MACHINE['meanings'][bounds][name]} |" in LINES
    assert '| `constants.connection_hint` | `{"timeout": 10.0, "retries": 3}` |' in PAGE
    assert "| http | 101 | 101 | permanent | no | ConnectError |" in LINES
    assert "| gateway | any | any | transient | yes | GatewayError |" in LINES
    assert "| `words.confidence` | `confidence` | `0.0` | may say it | How sure the provider is. |" in LINES
    assert "| `audio` | `audio` |  | must say it | The samples. |" in LINES
    assert "| `SttError` |  | no | no | Base of every error here; the text names cause and cure in one line. |" in LINES
    assert "| `binary_message` | A binary message. |" in LINES
    assert "| `TlsError` | `ConnectError` | no | yes | The server's certificate or TLS could not be trusted. |" in LINES
    assert "| `resumed` | `attempt` (integer), `audio_time` (number), `resent_duration` (number)," in PAGE
    for model in MACHINE["models"]:
        assert f"| `{model['model']}` |" in PAGE


def test_algorithms_are_told_whole() -> None:
    for name, text in algorithms().items():
        assert (f"### `{name}`\n\n{text}\n" if name else text) in PAGE


def test_every_table_is_even() -> None:
    width = 0
    for line in LINES:
        cells = line.count("|") if line.startswith("|") else 0
        assert not (cells and width) or cells == width
        width = cells
