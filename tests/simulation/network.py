"""The network: slow, stalling, lying, but never reordering or corrupting what passes within one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, NamedTuple

from .plan import Plan
from .recogniser import Truth
from .server import Session
from .world import SECOND, Order, World

if TYPE_CHECKING:
    from .adapter import Adapter


class Parcel(NamedTuple):
    """One frame under way."""

    due: int
    kind: str
    """``text``, ``binary``, ``ping``, ``pong``, ``close``, or ``lost`` for the end of a connection without one."""
    data: bytes
    number: int
    """Close code; on the way to the gateway also samples of audio."""
    truth: Truth | None
    position: int = 0
    """Of audio: a single sample does not tell its place."""


STATUSES = (200, 302, 400, 401, 401, 403, 404, 408, 429, 429, 499, 500, 502, 503, 503)


class Network:
    """All links of one stream, one after another."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.links = 0
        self.truths: dict[str, Truth] = {}
        """Transcripts by their request id."""
        self.swallowed: set[int] = set()
        """Words that a gateway kept to itself."""
        self.closed_by_gateway = False
        """Whether a ``session.closed`` was on its way."""

    def dial(self, adapter: Adapter) -> Link:
        """Begin a connection."""
        self.links += 1
        link = Link(self, adapter, self.links)
        link.dial()
        return link


class Link:
    """One connection, both ways."""

    def __init__(self, network: Network, adapter: Adapter, number: int) -> None:
        self.network = network
        self.world = network.world
        self.plan = network.plan
        self.adapter = adapter
        self.number = number
        self.session: Session | None = None
        self.state = "dialling"
        """``dialling``, ``abandoned``, ``open`` or ``gone``."""
        self.heard = 0
        """Samples that a recogniser in real time had heard when that was last looked at."""
        self.accepted = 0
        """Samples of audio that the connection has taken from the adapter."""
        self.waiting: deque[Parcel] = deque()
        """What the adapter is still writing."""
        self._up: deque[Parcel] = deque()
        self._down: deque[Parcel] = deque()
        self._buffered = 0
        self._up_last = self._down_last = 0
        self._up_stalled = self._down_stalled = 0
        self._up_dead = self._down_dead = False
        self._up_scheduled = self._down_scheduled = False

    # Dialling.

    def dial(self) -> None:
        """Open, refuse, or do neither."""
        world, plan = self.world, self.plan
        delay = 2 * plan.latency
        if world.chance(plan.slow_dial):
            delay += int(world.random.choice((1, 4, 12)) * world.random.random() * SECOND)
        down = plan.down_from <= world.now < plan.down_from + plan.down_for
        if down:
            if world.chance(0.8):
                world.after(delay, Order.NETWORK, self._refused)
        elif world.chance(plan.refusals):
            world.after(delay, Order.NETWORK, self._refused)
        elif world.chance(plan.statuses):
            world.after(delay, Order.NETWORK, self._answered)
        elif not world.chance(plan.silent_dials):
            world.after(delay, Order.NETWORK, self._opened)

    def _refused(self) -> None:
        if self.adapter.frozen(Order.NETWORK, self._refused):
            return
        if self.state == "dialling":
            self._gone(1006, error=ConnectionRefusedError("refused"))

    def _answered(self) -> None:
        if self.adapter.frozen(Order.NETWORK, self._answered):
            return
        if self.state == "dialling":
            status = self.world.random.choice(STATUSES)
            retry_after = self.world.random.choice((None, 0.5, 7.0)) if status in (429, 503) else None
            self._gone(1006, http_status=status, retry_after=retry_after)

    def _opened(self) -> None:
        if self.adapter.frozen(Order.NETWORK, self._opened):
            return
        if self.state != "dialling":
            return
        self.state = "open"
        self.session = Session(self.world, self.plan, self, self.number)
        self.session.open()
        plan = self.plan
        self._some_time(plan.cuts, self.cut)
        self._some_time(plan.one_way_cuts, self._cut_one_way)
        self._some_time(plan.half_opens, self._half_open)
        self._some_time(plan.stalls, self._stall)
        self.adapter.opened()

    def _some_time(self, rate: float, call: Callable[[], None]) -> None:
        if rate:
            self.world.after(self.world.random.expovariate(rate) * SECOND, Order.NETWORK, call)

    # From the client.

    @property
    def writing(self) -> bool:
        """Whether the adapter's last write is not done yet."""
        return bool(self.waiting)

    def send(self, kind: str, data: bytes = b"", number: int = 0, position: int = 0) -> None:
        """Write one frame, behind what still waits."""
        parcel = Parcel(0, kind, data, number, None, position)
        if self.waiting or not self._room():
            self.waiting.append(parcel)
        else:
            self._take(parcel)

    def send_now(self, kind: str, number: int) -> None:
        """Write a control frame that overtakes what still waits."""
        self._take(Parcel(0, kind, b"", number, None))

    def abandon(self) -> None:
        """A polite Disconnect: during the dial it ends that."""
        if self.state == "dialling":
            delay = self.world.random.choice((0, 1000, self.plan.latency))
            if self.world.chance(self.plan.deaf_at_close * 0.3):
                self.state = "abandoned"  # only an abort helps
            elif self.world.chance(0.2):
                self.world.after(delay, Order.NETWORK, self._opened_and_closed)
                self.state = "abandoned"
            else:
                self.state = "abandoned"
                self.world.after(delay, Order.NETWORK, self._abandoned)
        else:
            self.send("close", number=1000)
            self.interesting("close")

    def abort(self) -> None:
        """An aborting Disconnect: everything is over at once."""
        self._gone(1006)

    def _opened_and_closed(self) -> None:
        if self.adapter.frozen(Order.NETWORK, self._opened_and_closed):
            return
        if self.state == "abandoned":
            self.adapter.opened()
            self._gone(1006)

    def _abandoned(self) -> None:
        if self.adapter.frozen(Order.NETWORK, self._abandoned):
            return
        if self.state == "abandoned":
            self._gone(1006)

    def _room(self) -> bool:
        return self._buffered == 0 or self._buffered < self.plan.buffer

    def _take(self, parcel: Parcel) -> None:
        size = len(parcel.data) + 8
        self._buffered += size
        if parcel.kind == "text":
            self.accepted += parcel.number
        if self._up_dead:
            return
        plan, world = self.plan, self.world
        delay = plan.latency + (int(world.random.random() * plan.jitter) if plan.jitter else 0)
        due = max(world.now + delay, self._up_last) + int(size * plan.per_byte)
        self._up_last = due
        self._up.append(parcel._replace(due=due))
        if not self._up_scheduled:
            self._up_scheduled = True
            world.at(due, Order.NETWORK, self._arrive_up)

    def _arrive_up(self) -> None:
        self._up_scheduled = False
        if self.state == "gone":
            return
        now, up = self.world.now, self._up
        if self._up_stalled <= now:
            while up and up[0].due <= now and self.state != "gone":
                self._give_up(up.popleft())
            while self.waiting and self._room() and self.state != "gone":
                self._take(self.waiting.popleft())
                if not self.waiting:
                    self.world.at(now, Order.NETWORK, self._written)
        if up and not self._up_scheduled:
            self._up_scheduled = True
            self.world.at(max(up[0].due, self._up_stalled, now + 1), Order.NETWORK, self._arrive_up)

    def _written(self) -> None:
        if self.state != "gone" and not self.adapter.frozen(Order.NETWORK, self._written):
            self.adapter.settle()

    def _give_up(self, parcel: Parcel) -> None:
        """Hand a frame to the gateway."""
        self._buffered -= len(parcel.data) + 8
        session = self.session
        assert session is not None
        if parcel.kind == "text":
            session.text(parcel.data, parcel.position)
        elif parcel.kind == "ping":
            self.to_client("pong", parcel.number, None)
        elif not self.world.chance(self.plan.deaf_at_close):
            self._session_lost(parcel.number)
            self.to_client("close", parcel.number, None)

    # From the gateway.

    def know(self, truth: Truth) -> tuple[str, Truth]:
        """Name a transcript; one that is said again is another one."""
        rid = f"r{len(self.network.truths)}"
        truth = self.network.truths[rid] = copy(truth)
        return rid, truth

    def swallow(self, truth: Truth) -> None:
        """The gateway keeps a final to itself."""
        self.network.swallowed.update(word.number for word in truth.words)

    def to_client(self, kind: str, data: bytes | int, truth: Truth | None) -> None:
        """Send one frame to the client."""
        if self._down_dead or self.state == "gone":
            return
        plan, world = self.plan, self.world
        delay = plan.latency + (int(world.random.random() * plan.jitter) if plan.jitter else 0)
        due = self._down_last = max(world.now + delay, self._down_last)
        if isinstance(data, int):
            self._down.append(Parcel(due, kind, b"", data, truth))
        else:
            self._down.append(Parcel(due, kind, data, 0, truth))
        if kind == "close":
            self._down_dead = True  # nothing follows a close frame
        self._schedule_down(due)

    def cut_by_gateway(self) -> None:
        """The gateway's patience for a polite close is over."""
        if self.state == "open":
            self._end_down(1006)

    def resume(self) -> None:
        """The adapter receives again."""
        if self._down:
            self._schedule_down(self.world.now)

    def _schedule_down(self, due: int) -> None:
        if not self._down_scheduled:
            self._down_scheduled = True
            self.world.at(max(due, self.world.now, self._down_stalled), Order.NETWORK, self._arrive_down)

    def _arrive_down(self) -> None:
        if self.state == "gone":
            return
        if self.adapter.frozen(Order.NETWORK, self._arrive_down):
            return
        self._down_scheduled = False
        now, down = self.world.now, self._down
        if self._down_stalled <= now:
            while down and down[0].due <= now and self.state != "gone":
                if not self.adapter.connection.readable:
                    return  # until resume
                parcel = down.popleft()
                if parcel.kind == "text":
                    self.adapter.received(parcel.data, parcel.truth)
                elif parcel.kind == "binary":
                    self.adapter.received_binary(parcel.data)
                elif parcel.kind == "pong":
                    if self.session is not None:
                        self.heard = self.session.heard
                    self.adapter.alive(parcel.number, self.heard)
                else:
                    self._gone(parcel.number)
                    return
        if down and self.state != "gone":
            self._schedule_down(max(down[0].due, now))

    # Faults.

    def interesting(self, moment: str) -> None:
        """A good moment for a cut."""
        if self.world.chance(self.plan.cut_at_event):
            delay = self.world.random.choice((0, self.plan.latency, 2 * self.plan.latency, 100_000))
            self.world.after(delay * self.world.random.random(), Order.NETWORK, self.cut)

    def cut(self) -> None:
        """Both ways end, each after a prefix of what was under way."""
        if self.state != "open":
            return
        self.world.trace("  network: cut")
        for _ in range(self.world.random.randint(0, len(self._up))):
            if self.state == "open" and self._up:
                self._give_up(self._up.popleft())
        self._end_down(1006)
        self._session_lost(1006)

    def _end_down(self, code: int) -> None:
        """Let the client notice the end after some of what is under way."""
        self._up_dead = True
        self._up.clear()
        if self.state != "open" or (self._down_dead and not self._down):
            return
        while self._down and self.world.chance(0.5):
            self._down.pop()
        self._down_dead = True
        if self._down and self._down[-1].kind in ("close", "lost"):
            return
        delay = int(self.world.random.random() * self.world.random.choice((0, 50_000, 2 * SECOND)))
        due = max(self.world.now + delay, self._down_last)
        self._down.append(Parcel(due, "lost", b"", code, None))
        self._schedule_down(self._down[0].due)

    def _session_lost(self, code: int) -> None:
        self._up_dead = True
        self._up.clear()
        session, self.session = self.session, None
        if session is not None:
            self.world.trace(f"  gateway {self.number}: the transport is gone, after audio up to {session.end}")
            self.heard = session.heard
            session.lost(code)

    def _cut_one_way(self) -> None:
        if self.state != "open":
            return
        if self.world.chance(0.5):
            self.world.trace("  network: nothing reaches the gateway any more")
            keep = self.world.random.randint(0, len(self._up))
            while len(self._up) > keep:
                self._up.pop()
            self._up_dead = True
        else:
            self.world.trace("  network: nothing reaches the client any more")
            self._silence_down()
        if self.world.chance(0.5):
            self.world.after(self.world.random.random() * 20 * SECOND, Order.NETWORK, self.cut)

    def _half_open(self) -> None:
        if self.state == "open":
            self.world.trace("  network: half open")
            self._up_dead = True
            self._up.clear()
            self._silence_down()

    def _silence_down(self) -> None:
        keep = self.world.random.randint(0, len(self._down))
        while len(self._down) > keep:
            self._down.pop()
        self._down_dead = True

    def _stall(self) -> None:
        world = self.world
        until = world.now + int(world.random.choice((0.3, 2, 8, 30)) * world.random.random() * SECOND)
        which = world.random.choice(("up", "down", "both"))
        world.trace(f"  network: stalls {which} until {until / SECOND:.6f}")
        if which != "down":
            self._up_stalled = until
        if which != "up":
            self._down_stalled = until
        self._some_time(self.plan.stalls, self._stall)

    def _gone(
        self,
        code: int,
        *,
        http_status: int | None = None,
        retry_after: float | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Answer the ``Connect``, once."""
        if self.state == "gone":
            return
        self.state = "gone"
        self.waiting.clear()
        self._up.clear()
        self._down.clear()
        self._session_lost(code)
        self.adapter.closed(code=code, http_status=http_status, retry_after=retry_after, error=error)
