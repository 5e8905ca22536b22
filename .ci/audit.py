"""Hold what is installed, and what may be installed, against known advisories.

Run by the interpreter of the environment in question, with pip-audit's executable as the argument:

    python .ci/audit.py PATH_TO_PIP_AUDIT

Fails when an installed version has a known advisory, or when pyproject.toml allows such a version of a direct
dependency. pip-audit asks an advisory service. Releases that the service does not know, or all of them if it is out of
reach, are held against `advisories.json` alone, and are counted as such.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

HERE = Path(__file__).parent
OURS = "lkstt"


def advisories() -> list[dict[str, str]]:
    return json.loads((HERE / "advisories.json").read_text())["advisories"]


def installed() -> dict[str, Version]:
    found = {canonicalize_name(each.metadata["Name"]): Version(each.version) for each in distributions()}
    found.pop(OURS, None)
    return found


def lowest_allowed() -> dict[str, Version]:
    """The lower bound of each direct dependency that users install; tools for development are theirs to choose."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name, lines in extras.items() if name != "dev" for line in lines)]
    bounds: dict[str, Version] = {}
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        lower = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
        if name != OURS:
            bounds[name] = max(lower, default=Version("0"))
    return bounds


def known(versions: dict[str, Version], verb: str) -> list[str]:
    return [
        f"{each['package']} {versions[each['package']]} {verb}: {each['id']}, {each['what']}; fixed in {each['fixed']}"
        for each in advisories()
        if each["package"] in versions and versions[each["package"]] < Version(each["fixed"])
    ]


def ask_service(pip_audit: str) -> tuple[list[str], int]:
    """What the service knows against installed versions, and how many it could judge."""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    command = [pip_audit, "--format", "json", "--progress-spinner", "off", "--path", site]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if not result.stdout.strip():
        reason = re.sub(r"\s+", " ", result.stderr)[-200:]
        print(f"the advisory service did not answer: {reason}")
        return [], 0
    judged = [each for each in json.loads(result.stdout)["dependencies"] if "vulns" in each]
    found = [
        f"{each['name']} {each['version']} installed: {one['id']}; fixed in {', '.join(one['fix_versions']) or 'none'}"
        for each in judged
        for one in each["vulns"]
    ]
    return found, len(judged)


def main() -> None:
    here = installed()
    found, judged = ask_service(sys.argv[1])
    found += known(here, "installed") + known(lowest_allowed(), "allowed")
    print(f"{len(here)} packages: {judged} judged by an advisory service, all by {len(advisories())} kept advisories")
    if found:
        sys.exit("\n".join(sorted(set(found))))
    print("no known advisory")


if __name__ == "__main__":
    main()
