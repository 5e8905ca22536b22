"""Who stays while it has not shown a token: a decision about counts and times, without a clock or a socket.

A connection is a visitor from its acceptance until its upgrade is authenticated, or until it is closed. Turning the
newest away would let a few silent connections keep everybody out, so it is the oldest of the most crowded address that
makes room; of two, the one that has not sent its request. Nobody is turned away at once, though: clients that come all
together, as after an outage, are given a moment for that, and the next ones wait in the kernel's queue meanwhile, where
their requests arrive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen


class Visitor(Protocol):
    """A connection whose peer has not shown a token."""

    @property
    def origin(self) -> str:
        """What counts as one address."""

    @property
    def since(self) -> float:
        """When it was accepted."""

    @property
    def asked(self) -> bool:
        """Whether its request is here, and the answer is our business."""


VisitorT = TypeVar("VisitorT", bound=Visitor)


@frozen(kw_only=True)
class DoorLimits:
    """What connections may take before they have shown a token."""

    visitors: int = 64
    per_address: int = 8
    """On loopback everybody has the same address, and this holds for all of them together."""
    head: float = 10.0
    """Seconds from the acceptance to the end of the request: handshake of TLS, headers and answer included."""
    head_bytes: int = 64 * 1024
    """Of a request line with all headers, of which a token may be 8 KiB."""
    arriving: float = 1.0
    """Seconds for which an address may have more visitors, as when many clients reconnect through one router."""
    moment: float = 0.1
    """Seconds that every visitor has, however great the crowd: it takes a client that long to send its request."""


@define
class Doorkeeper(Generic[VisitorT]):
    """Knows all visitors, in the order of their coming."""

    limits: DoorLimits
    _visitors: dict[VisitorT, None] = field(init=False, factory=dict)
    _origins: Counter[str] = field(init=False, factory=Counter)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._visitors)

    def enter(self, visitor: VisitorT) -> None:
        """Another one came in."""
        self._visitors[visitor] = None
        self._origins[visitor.origin] += 1

    def leave(self, visitor: VisitorT) -> None:
        """One is gone, or is no visitor any more. Safe to call twice."""
        if visitor in self._visitors:
            del self._visitors[visitor]
            self._origins[visitor.origin] -= 1
            if not self._origins[visitor.origin]:
                del self._origins[visitor.origin]

    def make_room(self) -> VisitorT | None:
        """Who has to go before another may come in, and may have its `moment` first; None: there is room."""
        if len(self._visitors) < self.limits.visitors:
            return None
        crowd = max(self._origins.values())
        return self._in_order(visitor for visitor in self._visitors if self._origins[visitor.origin] == crowd)[0]

    def crowding(self, origin: str, now: float) -> list[VisitorT]:
        """Who of this address has been there for longer than it takes to arrive, and has to go: there are too many."""
        settled = (v for v in self._visitors if v.origin == origin and v.since + self.limits.arriving <= now)
        return self._in_order(settled)[: max(0, self._origins[origin] - self.limits.per_address)]

    def _in_order(self, visitors: Iterable[VisitorT]) -> list[VisitorT]:
        """Put those first who go first: of the same kind, the oldest."""
        return sorted(visitors, key=lambda visitor: visitor.asked)


def origin_of(host: str) -> str:
    """What counts as one address: an IPv4 address, or the 64 bits of IPv6 that one network has for all its hosts."""
    address = ip_address(host)
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))
