"""The generated files are what `lkstt spec --write` would write now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lkstt_proto.page import spec_files
from lkstt_transports.cli import spec as command
from lkstt_transports.cli.app import run

FILES = spec_files()


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_up_to_date(name: str) -> None:
    written = (command.DIRECTORY / name).read_bytes().decode()
    assert written == FILES[name], "stale: run `lkstt spec --write` and commit what it writes"


def test_nothing_else_lies_beside_them() -> None:
    assert {path.name for path in command.DIRECTORY.iterdir()} == set(FILES)


def test_spec_prints_the_data(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["spec"]) == 0
    out, err = capfd.readouterr()
    assert out == FILES["machine.json"]
    assert err == ""
    assert json.loads(out)["version"] == 1


def test_spec_writes_the_files_and_tells_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "spec"
    monkeypatch.setattr(command, "DIRECTORY", directory)
    for _ in range(2):
        assert run(["spec", "--write"]) == 0
        assert capfd.readouterr() == ("".join(f"{directory / name}\n" for name in FILES), "")
        assert {path.name: path.read_bytes().decode() for path in directory.iterdir()} == FILES


def test_spec_says_where_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec"
    file.write_text("in the way")
    monkeypatch.setattr(command, "DIRECTORY", file)
    assert run(["spec", "--write"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err == f"lkstt: {file} cannot be written (File exists): run this in a checkout of the project\n"
