"""Do the fixtures notice? Every row of every table is left out, led astray and robbed of its effects, one at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from lkstt_proto.machine import Machine, Row, Table
from lkstt_proto.replay import Fixture, bundled, load, run
from lkstt_proto.tables import TABLES

Key = tuple[str, str, str]

# No dialogue could tell, because the core does the same with them.
HARMLESS = {
    "link: connecting, closed_retry without rejoin": "a dial has handed no audio over that might come back",
    "link: connecting, closed_again without rejoin": "as above",
    "speech: silent, gateway:final_transcript without settings": "in silence no setting waits",
}

FIXTURES = [load(file) for file in bundled().values()]


def mutations(table: Table[Any], row: Row) -> Iterator[tuple[str, Row | None]]:
    """Every way to get a row wrong at one place, with what is told of it; None: there is no such row."""
    name = f"{table.name}: {row.state}, {row.trigger}"
    yield f"{name} left out", None
    for state in table.states:
        if state is not row.next:
            yield f"{name} leads to {state}", row._replace(next=state)
    for index, effect in enumerate(row.effects):
        yield f"{name} without {effect}", row._replace(effects=row.effects[:index] + row.effects[index + 1 :])


@pytest.fixture(scope="module")
def visitors() -> dict[Key, list[Fixture]]:
    """Which fixtures visit a row; the shortest first."""
    found: dict[Key, dict[str, Fixture]] = defaultdict(dict)
    step = Machine.step
    with pytest.MonkeyPatch.context() as patch:
        for fixture in sorted(FIXTURES, key=lambda fixture: len(fixture.steps)):

            def noting(machine: Machine[Any], trigger: str, fixture: Fixture = fixture) -> object:
                found[machine._name, machine.state, trigger][fixture.name] = fixture
                return step(machine, trigger)

            patch.setattr(Machine, "step", noting)
            run(fixture)
    return {key: list(fixtures.values()) for key, fixtures in found.items()}


def notices(fixture: Fixture) -> bool:
    """Whether the fixture tells of a difference; a core that breaks down differs as well."""
    try:
        return bool(run(fixture))
    except Exception:
        return True


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_mutation_of_a_row_is_noticed(table: Table[Any], visitors: dict[Key, list[Fixture]]) -> None:
    unnoticed, count = set(), 0
    for row in table.rows:
        moves = table.moves[row.state]
        for name, mutation in mutations(table, row):
            count += 1
            with pytest.MonkeyPatch.context() as patch:
                if mutation is None:
                    patch.delitem(moves, row.trigger)
                else:
                    patch.setitem(moves, row.trigger, (mutation.next, mutation.effects))
                if not any(notices(fixture) for fixture in visitors[table.name, row.state, row.trigger]):
                    unnoticed.add(name)
    print(f"{table.name}: {count} mutations of {len(table.rows)} rows, {count - len(unnoticed)} noticed")
    assert unnoticed == {name for name in HARMLESS if name.startswith(f"{table.name}:")}
