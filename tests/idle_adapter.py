"""An adapter without a runtime: what its stream wants is written down, and its clock is moved by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from lkstt_proto import Connection, Request
from lkstt_transports.base import BaseSTT
from lkstt_transports.common import DONE
from lkstt_transports.stream import BaseStream

SECRET = "a-secret-of-at-least-thirty-two-bytes"


class Lot:
    """Nobody waits here, unless said otherwise."""

    def __init__(self) -> None:
        self.waiting = self.woken = 0

    def __len__(self) -> int:
        return self.waiting

    def unpark_all(self) -> None:
        self.woken += 1


class Socket:
    """Remembers what it was told; when it is stuck, each thing has to be waited for."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.stuck = False

    def send_text(self, data: bytes) -> Awaitable[None]:
        return self._tell(data)

    def ping(self) -> Awaitable[None]:
        return self._tell("ping")

    def close(self, code: int) -> Awaitable[None]:
        return self._tell(code)

    def _tell(self, what: Any) -> Awaitable[None]:
        self.told.append(what)
        return self._wait() if self.stuck else DONE

    async def _wait(self) -> None:
        """Be waited for."""


class Stream(BaseStream[Lot]):
    """A stream whose clock stands still until it is moved, and whose adapter writes down what is wanted of it."""

    def __init__(self, connection: Connection) -> None:
        self.time = 1.0
        self.wanted: list[Any] = []
        self.acts = 0
        super().__init__(connection, Lot, lambda: self.time)

    def _arm(self, deadline: float) -> None:
        self.wanted.append(deadline)

    def _dial(self, request: Request) -> None:
        self.wanted.append(request)

    def _cut(self) -> None:
        self.wanted.append("cut")

    def _ping(self) -> None:
        self.wanted.append("ping")

    def _act(self) -> None:
        self.acts += 1
        super()._act()

    def events(self) -> list[Any]:
        events = []
        try:
            while (event := self._take_event()) is not None:
                events.append(event)
        except StopAsyncIteration:
            pass
        return events


class STT(BaseSTT[Stream]):
    def _connectors(self) -> Callable[[], None]:
        return lambda: None

    def _make_stream(self, language: str | None) -> Stream:
        return Stream(self._make_connection(language, 0.0))

    def _begin(self, stream: Stream) -> None:
        self._register(stream)
        stream._start()


def stt(model: str | None = "deepgram/nova-3", **settings: Any) -> STT:
    return STT(model, api_key="key", api_secret=SECRET, **settings)
