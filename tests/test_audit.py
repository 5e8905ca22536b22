"""The audit of dependencies notices what it is there for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parents[1] / ".ci" / "audit.py"


def audit(tmp_path: Path, answer: str, script: Path = AUDIT) -> subprocess.CompletedProcess[str]:
    """Run the audit beside a pip-audit that gives this answer."""
    service = tmp_path / "pip-audit"
    service.write_text(f"#!{sys.executable}\nprint({answer!r})\n")
    service.chmod(0o755)
    return subprocess.run([sys.executable, script, service], capture_output=True, text=True)


def answer_of(*dependencies: dict[str, object]) -> str:
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_nothing_known_passes_and_says_how_much_the_service_judged(tmp_path: Path) -> None:
    judged = {"name": "attrs", "version": "26.1.0", "vulns": []}
    result = audit(tmp_path, answer_of(judged, {"name": "trio", "skip_reason": "not found"}))
    assert result.returncode == 0, result.stderr
    assert " packages: 1 judged by an advisory service" in result.stdout


def test_what_the_service_knows_fails(tmp_path: Path) -> None:
    found = {"id": "PYSEC-0", "fix_versions": ["99"]}
    result = audit(tmp_path, answer_of({"name": "attrs", "version": "1", "vulns": [found]}))
    assert result.returncode == 1
    assert result.stderr == "attrs 1 installed: PYSEC-0; fixed in 99\n"


@pytest.mark.parametrize("package", ["aiohttp", "pyjwt", "sniffio"])
def test_a_kept_advisory_fails_for_what_is_installed_and_what_is_allowed(tmp_path: Path, package: str) -> None:
    copy = tmp_path / ".ci" / "audit.py"
    copy.parent.mkdir()
    copy.write_text(AUDIT.read_text())
    (tmp_path / "pyproject.toml").write_text((AUDIT.parents[1] / "pyproject.toml").read_text())
    entry = {"package": package, "fixed": "99", "id": "CVE-0", "what": "planted"}
    (copy.parent / "advisories.json").write_text(json.dumps({"as_of": "2026-01-01", "advisories": [entry]}))
    result = audit(tmp_path, answer_of(), copy)
    assert result.returncode == 1
    allowed, installed = (f" {verb}: CVE-0, planted; fixed in 99" in result.stderr for verb in ("allowed", "installed"))
    assert installed
    assert allowed == (package != "sniffio")  # which comes with others only


def test_without_an_answer_the_kept_advisories_judge_alone(tmp_path: Path) -> None:
    result = audit(tmp_path, "")
    assert result.returncode == 0, result.stderr
    assert "the advisory service did not answer" in result.stdout
    assert ": 0 judged by an advisory service" in result.stdout
