"""Every state meets every trigger: what has a row follows it, and nothing else moves anything."""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import Any

import pytest

from lkstt_proto.machine import Machine, MissingRow, Table
from lkstt_proto.tables import LINK, SESSION, SPEECH, TABLES, LinkEffect, SessionEffect, SpeechEffect

EFFECTS: dict[str, type[StrEnum]] = {"link": LinkEffect, "session": SessionEffect, "speech": SpeechEffect}


def triggers(table: Table[Any]) -> list[str]:
    """All triggers of all tables: what one table knows is strange to the next."""
    return sorted({row.trigger for other in TABLES for row in other.rows} | {"", table.name})


def pairs() -> list[Any]:
    return [
        pytest.param(table, state, trigger, id=f"{table.name}-{state}-{trigger}")
        for table in TABLES
        for state, trigger in product(table.states, triggers(table))
    ]


def machine_in(table: Table[Any], state: StrEnum) -> Machine[Any]:
    machine: Machine[Any] = Machine(table)
    machine.state = state
    return machine


def reachable(table: Table[Any]) -> set[StrEnum]:
    found: list[StrEnum] = [Machine(table).state]
    for state in found:
        found += {row.next for row in table.rows if row.state == state} - set(found)
    return set(found)


@pytest.mark.parametrize(("table", "state", "trigger"), pairs())
def test_a_pair_follows_its_row_or_changes_nothing(table: Table[Any], state: StrEnum, trigger: str) -> None:
    machine = machine_in(table, state)
    expected = [row for row in table.rows if row.state == state and row.trigger == trigger]
    assert machine.allows(trigger) == bool(expected)
    if expected:
        (row,) = expected
        assert machine.step(trigger) == row.effects
        assert machine.state is row.next
    else:
        with pytest.raises(MissingRow):
            machine.step(trigger)
        assert machine.state is state


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_state_can_be_reached(table: Table[Any]) -> None:
    assert reachable(table) == set(table.states.__members__.values())


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_speak_of_their_own_tables_states_and_effects(table: Table[Any]) -> None:
    for row in table.rows:
        assert type(row.state) is table.states
        assert type(row.next) is table.states
        assert all(type(effect) is EFFECTS[table.name] for effect in row.effects)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_row_hides_another(table: Table[Any]) -> None:
    keys = [(row.state, row.trigger) for row in table.rows]
    assert len(set(keys)) == len(keys)
    found = {(state, trigger): move for state, moves in table.moves.items() for trigger, move in moves.items()}
    assert found == {(row.state, row.trigger): (row.next, row.effects) for row in table.rows}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_effect_is_caused_by_some_row(table: Table[Any]) -> None:
    assert {effect for row in table.rows for effect in row.effects} == set(EFFECTS[table.name])


def test_the_tables_are_these() -> None:
    assert TABLES == (LINK, SESSION, SPEECH)
