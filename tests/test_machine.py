"""Rows and the one method that moves a state."""

from __future__ import annotations

from enum import StrEnum

import pytest

from lkstt_proto.machine import Machine, MissingRow, Row, Table, rows


class Door(StrEnum):
    SHUT = "shut"
    OPEN = "open"


class Sound(StrEnum):
    CREAK = "creak"
    BANG = "bang"


DOOR = Table(
    "door",
    Door,
    (
        Row(Door.SHUT, "knock", Door.SHUT),
        Row(Door.SHUT, "push", Door.OPEN, (Sound.CREAK, Sound.BANG)),
        Row(Door.OPEN, "pull", Door.SHUT),
    ),
)


def test_a_machine_starts_in_the_first_state() -> None:
    assert Machine(DOOR).state is Door.SHUT


def test_a_step_moves_and_gives_the_effects_in_order() -> None:
    machine = Machine(DOOR)
    effects, states = [], []
    for trigger in ("push", "pull"):
        effects.append(machine.step(trigger))
        states.append(machine.state)
    assert effects == [(Sound.CREAK, Sound.BANG), ()]
    assert states == [Door.OPEN, Door.SHUT]


def test_a_trigger_that_moves_nothing_is_steady_until_another_comes() -> None:
    machine = Machine(DOOR)
    steady = [machine.steady]
    for trigger in ("knock", "knock", "push", "pull", "knock"):
        machine.step(trigger)
        steady.append(machine.steady)
    assert steady == [None, "knock", "knock", None, None, "knock"]


def test_a_missing_row_raises_and_moves_nothing() -> None:
    machine = Machine(DOOR)
    with pytest.raises(MissingRow, match=r"^pull is not possible while the door is shut$") as caught:
        machine.step("pull")
    assert (caught.value.state, caught.value.trigger) == ("shut", "pull")
    assert machine.state is Door.SHUT


def test_allows_says_whether_a_step_would_find_a_row() -> None:
    machine = Machine(DOOR)
    assert machine.allows("push")
    assert not machine.allows("pull")
    assert machine.state is Door.SHUT


def test_machines_of_one_table_stand_apart() -> None:
    one, other = Machine(DOOR), Machine(DOOR)
    one.step("push")
    assert (one.state, other.state) == (Door.OPEN, Door.SHUT)


def test_two_rows_for_one_pair_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two rows for .* in the door table"):
        Table("door", Door, (Row(Door.SHUT, "push", Door.OPEN), Row(Door.SHUT, "push", Door.SHUT)))


def test_rows_repeats_a_trigger_for_many_states() -> None:
    assert rows(Door, "knock", Door.OPEN, [Sound.BANG]) == (
        Row(Door.SHUT, "knock", Door.OPEN, (Sound.BANG,)),
        Row(Door.OPEN, "knock", Door.OPEN, (Sound.BANG,)),
    )


def test_rows_without_a_next_state_stay() -> None:
    assert rows(Door, "look", None) == (
        Row(Door.SHUT, "look", Door.SHUT),
        Row(Door.OPEN, "look", Door.OPEN),
    )
