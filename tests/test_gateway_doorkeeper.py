"""Who stays at the door while no token was shown, in virtual time."""

from __future__ import annotations

import pytest
from attrs import define

from lkstt_transports.gateway.doorkeeper import Doorkeeper, DoorLimits, origin_of

LIMITS = DoorLimits(visitors=6, per_address=2, arriving=1.0)


@define(eq=False)
class Visitor:
    origin: str
    since: float = 0.0
    asked: bool = False


def doorkeeper(*visitors: Visitor) -> Doorkeeper[Visitor]:
    keeper: Doorkeeper[Visitor] = Doorkeeper(LIMITS)
    for visitor in visitors:
        keeper.enter(visitor)
    return keeper


def test_by_default_64_may_wait_and_8_of_one_address() -> None:
    assert (DoorLimits().visitors, DoorLimits().per_address, DoorLimits().head) == (64, 8, 10.0)


def test_there_is_room_until_all_places_are_taken() -> None:
    keeper = doorkeeper(*(Visitor(str(number)) for number in range(5)))
    assert keeper.make_room() is None
    keeper.enter(Visitor("last"))
    assert keeper.make_room() is not None


def test_whoever_leaves_makes_room_and_leaving_twice_changes_nothing() -> None:
    visitors = [Visitor("same", number) for number in range(6)]
    keeper = doorkeeper(*visitors)
    for _ in range(2):
        keeper.leave(visitors[0])
        assert len(keeper) == 5
    assert keeper.make_room() is None


def test_the_oldest_of_the_most_crowded_address_makes_room() -> None:
    visitors = [Visitor("quiet", 0.0), *(Visitor("crowd", float(number)) for number in range(1, 6))]
    keeper = doorkeeper(*visitors)
    assert keeper.make_room() is visitors[1]


def test_whoever_has_asked_stays_as_long_as_somebody_has_not() -> None:
    visitors = [Visitor("crowd", float(number), asked=number != 3) for number in range(6)]
    keeper = doorkeeper(*visitors)
    assert keeper.make_room() is visitors[3]
    visitors[3].asked = True
    assert keeper.make_room() is visitors[0]


def test_of_equal_addresses_the_oldest_visitor_makes_room() -> None:
    visitors = [Visitor(str(number), float(number)) for number in range(6)]
    assert doorkeeper(*visitors).make_room() is visitors[0]


def test_an_address_has_too_many_once_they_have_arrived() -> None:
    visitors = [Visitor("one", 0.0), Visitor("one", 0.5), Visitor("one", 0.9), Visitor("other", 0.0)]
    keeper = doorkeeper(*visitors)
    assert keeper.crowding("one", 0.99) == []
    assert keeper.crowding("one", 1.0) == [visitors[0]]
    keeper.leave(visitors[0])
    assert keeper.crowding("one", 9.0) == []
    assert keeper.crowding("other", 9.0) == []


def test_of_too_many_those_go_who_have_not_asked() -> None:
    visitors = [Visitor("one", 0.0, asked=True), Visitor("one", 0.1), Visitor("one", 0.2)]
    assert doorkeeper(*visitors).crowding("one", 2.0) == [visitors[1]]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8:1:2:3::4", "2001:db8:1:2:ffff::", True),
        ("2001:db8:1:2::", "2001:db8:1:3::", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("127.0.0.1", "::1", False),
    ],
)
def test_a_network_of_ipv6_is_one_address(one: str, other: str, same: bool) -> None:
    assert (origin_of(one) == origin_of(other)) is same
