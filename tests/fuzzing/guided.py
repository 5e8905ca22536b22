"""The engine that is guided by coverage: atheris, which is libFuzzer for Python."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

from . import work
from .target import Target

INSTRUMENTED = ["lkstt_proto", "lkstt_transports"]


def available() -> bool:
    """Whether atheris can be imported; it has no wheels for some interpreters and systems."""
    try:
        import atheris  # noqa: F401 (only asked for)
    except ImportError:
        return False
    return True


def load(name: str) -> Target:
    """Import a target with coverage of the packages under test; nothing may have imported them before."""
    import atheris

    imported = [module for module in sys.modules if module.partition(".")[0] in INSTRUMENTED]
    if imported:
        raise RuntimeError(f"{imported[0]} was imported without coverage")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from .targets import TARGETS
    return TARGETS[name]


def fuzz(
    target: Target, corpus: Path, findings: Path, *, executions: int | None, seconds: float | None, seed: int
) -> None:
    """Run until a limit or a finding, which lies in ``findings`` then. Ends the process with libFuzzer's exit code."""
    import atheris

    work.counting = False
    for number, data in enumerate((*target.seeds(), *target.regressions().values())):
        corpus.joinpath(f"seed-{number}").write_bytes(data)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-artifact_prefix={findings}/",
        f"-seed={seed + 1}",  # 0 would be a random one
        "-max_len=8192",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    if executions is not None:
        arguments.append(f"-runs={executions}")
    if seconds is not None:
        arguments.append(f"-max_total_time={max(1, round(seconds))}")

    def mutate(data: bytes, max_size: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(data, random)[:max_size]

    def run(data: bytes) -> None:
        target.execute(data)

    atheris.Setup(arguments, run, custom_mutator=mutate)
    atheris.Fuzz()
