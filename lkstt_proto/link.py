"""The client's transport: dial, back off, close. What is said on it is another matter, see ``connection.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from .actions import Connect, Disconnect
from .confidences import Confidences
from .errors import ConnectError, LocalProtocolError, SttError, dial_failure, http_failure, lost
from .machine import Machine
from .messages import ServerMessage
from .options import Limits, STTOptions
from .peer import Peer, Timer
from .retry import Outage
from .settings import Settings
from .tables import LINK, LinkEffect, LinkState

ABORT = Disconnect(abort=True)

_TRANSPORT_TIMERS = (Timer.CONNECT, Timer.CLOSE, Timer.PING, Timer.LOST, Timer.PACE, Timer.QUIET)


class Link(Peer[ServerMessage]):
    """One transport after another, by the link table."""

    __slots__ = (
        "_confidences",
        "_connecting_at",
        "_failure",
        "_link",
        "_outage",
        "_session_id",
        "_settings",
        "options",
    )

    def __init__(self, options: STTOptions, limits: Limits, outage: Outage) -> None:
        super().__init__(limits)
        self.options = options
        self._settings = Settings(options)
        self._link = Machine(LINK)
        self._outage = outage
        self._failure: SttError | None = None  # what broke the session, before its transport is gone
        self._session_id: str | None = None
        self._connecting_at = 0.0
        settings, fallback = self._settings, [model.extra for model in options.fallback]
        self._confidences = Confidences(
            (options.api_key, options.api_secret, *(value for _, value in options.headers)),
            lambda: (settings.extra, settings.keyterms, fallback),
        )

    @property
    def link_state(self) -> LinkState:
        """Where the transport is."""
        return self._link.state

    @property
    def finished(self) -> bool:
        """Whether the stream is over; its last event is StreamEnded or StreamFailed."""
        return self._link.state is LinkState.DONE

    def _step_link(self, trigger: str) -> None:
        for effect in self._link.step(trigger):
            self._LINK[effect](self)

    def _require_link(self, trigger: str) -> None:
        if not self._link.allows(trigger):
            raise LocalProtocolError(f"{trigger} is not possible while the link is {self._link.state}", phase="connect")

    def _finish(self) -> None:
        """Nothing more is wanted: leave, however the link stands."""
        self._cancel(Timer.DRAIN)
        self._step_link("finish")

    def _transport_gone(self) -> None:
        """Nothing that was meant for the transport matters any more."""
        self._cancel(*_TRANSPORT_TIMERS)
        self._outbox.clear()
        self._session.step("closed")

    def _failure_of(
        self, code: int, reason: str, http_status: int | None, retry_after: float | None, error: BaseException | None
    ) -> SttError:
        """Why the transport is gone: what broke it from our side, what the adapter says, or what the facts tell."""
        if self._failure is not None:
            return self._failure
        if isinstance(error, SttError):
            return self._confidences.clean(error)
        failure: SttError
        reason = self._confidences.safe(reason)
        error = None if error is None else self._confidences.bare(error)
        if http_status is not None:
            failure = http_failure(http_status, retry_after=retry_after, detail=reason)
        elif self._link.state is LinkState.CONNECTING:
            failure = dial_failure(self.options.base_url, reason, error)
        else:
            failure = lost(code, reason, session_id=self._session_id)
        failure.__cause__ = error
        return failure

    # Effects.

    def _connect(self) -> None:
        self._failure = None
        self._outage.dialling()
        self._connecting_at = self._now
        options, model = self.options, self._settings.model
        if model != options.model:
            options = options.replace(model=model and f"{model}:")  # a name's own colons are no language suffix
        self._outbox.append(Connect(self._outage.failures, options))

    def _arm_connect(self) -> None:
        self._arm(Timer.CONNECT, self._now + self._outage.policy.connect_timeout)

    def _arm_backoff(self) -> None:
        self._arm(Timer.BACKOFF, self._now + self._outage.delay)

    def _arm_close(self) -> None:
        self._cancel(*_TRANSPORT_TIMERS)
        self._arm(Timer.CLOSE, self._now + self._limits.close)

    def _disconnect(self) -> None:
        self._outbox.append(Disconnect())

    def _abort(self) -> None:
        # Whatever else waits is pointless, except for a dial that has to be asked for before it can be abandoned.
        dial = [action for action in self._outbox if isinstance(action, Connect)]
        self._outbox.clear()
        self._outbox.extend((*dial, ABORT))

    _LINK: ClassVar[Mapping[StrEnum, Callable[[Any], None]]] = {
        LinkEffect.CONNECT: _connect,
        LinkEffect.ARM_CONNECT: _arm_connect,
        LinkEffect.ARM_BACKOFF: _arm_backoff,
        LinkEffect.ARM_CLOSE: _arm_close,
        LinkEffect.DISCONNECT: _disconnect,
        LinkEffect.ABORT: _abort,
    }

    # Timers.

    def _connect_timeout(self) -> None:
        seconds = self._outage.policy.connect_timeout
        self._failure = ConnectError(
            f"no connection to {self.options.base_url} within {seconds:g} s: check the address and the network",
            phase="connect",
        )
        self._step_link("connect_timeout")

    def _backoff_timeout(self) -> None:
        self._step_link("backoff_timeout")

    def _close_timeout(self) -> None:
        self._step_link("close_timeout")

    _TIMEOUTS: ClassVar[Mapping[Timer, Callable[[Any], None]]] = {
        Timer.CONNECT: _connect_timeout,
        Timer.BACKOFF: _backoff_timeout,
        Timer.CLOSE: _close_timeout,
    }
