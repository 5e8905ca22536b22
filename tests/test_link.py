"""The client's transport: dial, back off, close."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

import pytest

from lkstt_proto.actions import Connect, Disconnect
from lkstt_proto.errors import ConnectError, ConnectionLost, LocalProtocolError, SttError, TlsError
from lkstt_proto.link import Link
from lkstt_proto.options import Limits, RetryPolicy, STTOptions
from lkstt_proto.peer import Timer
from lkstt_proto.retry import Outage
from lkstt_proto.tables import LinkEffect, LinkState, SessionState


class Client(Link):
    """A link whose other effects are only noted."""

    __slots__ = ("notes",)

    def __init__(self, model: str | None = "deepgram/nova-3") -> None:
        super().__init__(STTOptions(model), Limits(), Outage(RetryPolicy()))
        self.notes: list[str] = []

    def note(self) -> None:
        self.notes.append("effect")

    _LINK: ClassVar[Mapping[StrEnum, Callable[[Any], None]]] = {
        **dict.fromkeys(LinkEffect, note),
        **Link._LINK,
    }

    def at(self, now: float, *triggers: str) -> Client:
        self._advance(now)
        for trigger in triggers:
            self._step_link(trigger)
        return self

    def require(self, trigger: str) -> None:
        self._require_link(trigger)

    def finish(self) -> None:
        self._finish()

    def gone(self) -> None:
        self._transport_gone()

    def arm(self, *timers: Timer) -> None:
        self._timers.update(dict.fromkeys(timers, 99.0))

    @property
    def armed(self) -> set[Timer]:
        return set(self._timers)

    def failure(self, **facts: Any) -> SttError:
        given = {"code": 1006, "reason": "", "http_status": None, "retry_after": None, "error": None, **facts}
        return self._failure_of(*given.values())

    def failed(self, failure: SttError) -> str:
        return self._outage.failed(failure, self._now)

    def change(self, model: str | None) -> None:
        self._settings.change(model=model, live=False, speaking=False)

    def asked(self) -> list[Any]:
        asked = list(self._outbox)
        self._outbox.clear()
        return asked


def test_a_link_begins_idle() -> None:
    client = Client()
    assert (client.link_state, client.finished, client.deadline) == (LinkState.IDLE, False, None)


def test_a_dial_has_ten_seconds() -> None:
    client = Client().at(5.0, "start")
    assert client.asked() == [Connect(0, client.options)]
    assert (client.link_state, client.deadline) == (LinkState.CONNECTING, 15.0)


def test_a_dial_that_takes_too_long_is_abandoned_then_cut() -> None:
    client = Client().at(0.0, "start")
    client.asked()
    client.handle_timeout(10.0)
    assert (client.asked(), client.link_state, client.deadline) == ([Disconnect()], LinkState.DROPPING, 12.0)
    failure = client.failure(error=OSError("cancelled"))
    assert isinstance(failure, ConnectError)
    assert "within 10 s" in str(failure)
    client.handle_timeout(12.0)
    assert client.asked() == [Disconnect(abort=True)]
    assert client.armed == set()


def test_a_cut_keeps_a_dial_that_was_not_asked_for_yet() -> None:
    client = Client().at(0.0, "start")
    client.handle_timeout(10.0)
    client.handle_timeout(12.0)
    connect, abort = client.asked()
    assert isinstance(connect, Connect)
    assert abort == Disconnect(abort=True)


def test_backoff_dials_again() -> None:
    client = Client().at(0.0, "start")
    client.gone()
    client.at(1.0, client.failed(ConnectionLost("lost")))
    assert (client.link_state, client.deadline) == (LinkState.BACKOFF, 1.1)
    client.handle_timeout(1.1)
    assert client.asked() == [Connect(1, client.options)]
    assert (client.link_state, client.deadline) == (LinkState.CONNECTING, 11.1)


def test_the_dial_names_the_model_that_is_wanted_now() -> None:
    client = Client()
    client.change("deepgram/nova-2")
    (connect,) = client.at(0.0, "start").asked()
    assert connect.options == client.options.replace(model="deepgram/nova-2")


def test_a_model_named_with_colons_is_dialled_by_its_whole_name() -> None:
    client = Client()
    client.change("deepgram/a:b:en")
    (connect,) = client.at(0.0, "start").asked()
    assert (connect.options.model, connect.options.language) == ("deepgram/a:b", None)


def test_a_new_dial_forgets_what_broke_the_last_session() -> None:
    client = Client().at(0.0, "start")
    client.handle_timeout(10.0)
    client.gone()
    client.at(10.0, client.failed(client.failure()))
    client.handle_timeout(10.1)
    assert "refused" in str(client.failure(error=OSError("refused")))


def test_what_was_meant_for_a_transport_goes_with_it() -> None:
    client = Client().at(0.0, "start", "opened", "finish")
    client.arm(*Timer)
    client.gone()
    assert client.asked() == []
    assert client.armed == {Timer.BACKOFF, Timer.DRAIN}
    assert client.session_state is SessionState.FAILED


def test_leaving_has_two_seconds_and_ends_the_drain() -> None:
    client = Client().at(0.0, "start", "opened")
    client.arm(Timer.PING, Timer.QUIET, Timer.DRAIN)
    client.finish()
    assert client.armed == {Timer.CLOSE}
    assert client.deadline == 2.0


def test_a_trigger_without_a_row_is_the_callers_mistake() -> None:
    client = Client()
    client.require("start")
    with pytest.raises(LocalProtocolError, match="opened is not possible while the link is idle"):
        client.require("opened")


# Why a transport is gone.


def test_the_adapters_own_error_is_kept() -> None:
    error = TlsError("certificate")
    assert Client().at(0.0, "start").failure(error=error, http_status=503) is error


def test_an_http_answer_tells_most() -> None:
    cause = ValueError("not a WebSocket")
    failure = Client().at(0.0, "start").failure(http_status=503, retry_after=7.0, reason="busy", error=cause)
    assert (failure.http_status, failure.retry_after, failure.__cause__) == (503, 7.0, cause)
    assert "busy" in str(failure)


def test_a_dial_without_an_answer_names_the_address() -> None:
    cause = OSError("refused")
    failure = Client().at(0.0, "start").failure(error=cause)
    assert isinstance(failure, ConnectError)
    assert failure.__cause__ is cause
    assert "agent-gateway.livekit.cloud" in str(failure)
    assert "OSError: refused" in str(failure)


def test_an_open_link_is_lost_with_its_code() -> None:
    failure = Client().at(0.0, "start", "opened").failure(code=1011, reason="overload")
    assert isinstance(failure, ConnectionLost)
    assert failure.close_code == 1011
    assert "overload" in str(failure)
