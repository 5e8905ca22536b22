"""Rows, and the one place that assigns a state.

A ``Table`` is data: the rows of one state machine. A ``Machine`` is a table and where it stands. ``step`` looks up the
row for the present state and a trigger, moves, and returns the row's effects for the caller to carry out. Conditions
are not part of it: whoever steps the machine chooses a trigger name that says the condition, so that the table alone
tells what may happen when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from attrs import field, frozen

State = TypeVar("State", bound=StrEnum)


class Row(NamedTuple):
    """In ``state``, ``trigger`` leads to ``next`` and causes ``effects`` in order."""

    state: StrEnum
    trigger: str
    next: StrEnum
    effects: tuple[StrEnum, ...] = ()


class MissingRow(LookupError):
    """The table says nothing about this trigger in this state."""

    def __init__(self, table: str, state: str, trigger: str) -> None:
        super().__init__(f"{trigger} is not possible while the {table} is {state}")
        self.state = state
        self.trigger = trigger


@frozen
class Table(Generic[State]):
    """The rows of one machine; the first state is where it starts."""

    name: str
    states: type[State]
    rows: tuple[Row, ...]
    moves: dict[State, dict[str, tuple[State, tuple[StrEnum, ...]]]] = field(init=False, repr=False, eq=False)
    """Where rows lead, and their effects, by state and trigger.

    ValueError when the table is made: two rows for the same pair, or one that leads from or to no state of it.
    """

    @moves.default
    def _make_moves(self) -> dict[State, dict[str, tuple[State, tuple[StrEnum, ...]]]]:
        moves: dict[State, dict[str, tuple[State, tuple[StrEnum, ...]]]] = {state: {} for state in self.states}
        for row in self.rows:
            here = moves[self.states(row.state)]
            if row.trigger in here:
                raise ValueError(f"two rows for {row.trigger} in {row.state} in the {self.name} table")
            here[row.trigger] = (self.states(row.next), row.effects)
        return moves


class Machine(Generic[State]):
    """One run through a table."""

    __slots__ = ("_moves", "_name", "state", "steady")

    state: State

    def __init__(self, table: Table[State]) -> None:
        self._name = table.name
        self._moves = table.moves
        self.state = next(iter(table.states))
        self.steady: str | None = None
        """The last trigger, where its row led back to the same state: to step it again would take the same row."""

    def allows(self, trigger: str) -> bool:
        """Whether ``step`` would find a row."""
        return trigger in self._moves[self.state]

    def step(self, trigger: str) -> tuple[StrEnum, ...]:
        """Move along the row for ``trigger`` and return its effects, to be carried out in order.

        Raises MissingRow, and stays where it is, when there is no such row.
        """
        try:
            state, effects = self._moves[self.state][trigger]
        except KeyError:
            raise MissingRow(self._name, self.state, trigger) from None
        if state is self.state:
            self.steady = trigger
        else:
            self.steady = None
            self.state = state
        return effects


def rows(
    states: Iterable[StrEnum], trigger: str, next_state: StrEnum | None, effects: Sequence[StrEnum] = ()
) -> tuple[Row, ...]:
    """One row per state; ``next_state`` None means that each stays where it is."""
    return tuple(Row(state, trigger, next_state or state, tuple(effects)) for state in states)
