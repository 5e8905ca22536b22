"""Show that each module of lkstt_proto is fully covered, branches included, by its own test file alone.

``python -m tests.own_coverage [module ...]`` runs ``tests/test_<module>.py`` for each and fails where anything is
missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent


def check(module: str, scratch: str) -> bool:
    """Run one module's own tests; print and return whether they cover it whole."""
    tests = ROOT / "tests" / f"test_{module}.py"
    if not tests.exists():
        print(f"{module}: no {tests.name}")
        return False
    # A run of its own: coverage of module-level code counts only where the import happens under its eyes.
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)),
            *(f"--cov=lkstt_proto.{module}", "--cov-branch", "--cov-report=term-missing", "--cov-fail-under=100"),
        ],
        cwd=ROOT,
        env={**os.environ, "COVERAGE_FILE": str(Path(scratch) / module)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(f"{module}: {'whole' if run.returncode == 0 else 'NOT whole'}")
    if run.returncode != 0:
        print(run.stdout[-4000:], run.stderr[-2000:])
    return run.returncode == 0


def main() -> int:
    """Check the modules named, or all of them."""
    modules = sys.argv[1:] or sorted(
        path.stem for path in (ROOT / "lkstt_proto").glob("*.py") if path.stem not in ("__init__", "version")
    )
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(os.cpu_count()) as pool:
        return 0 if all(list(pool.map(check, modules, repeat(scratch)))) else 1


if __name__ == "__main__":
    sys.exit(main())
