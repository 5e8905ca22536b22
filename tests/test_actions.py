"""What the transport is asked to do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from lkstt_proto.actions import Connect, Disconnect, Ping
from lkstt_proto.errors import LocalProtocolError
from lkstt_proto.options import STTOptions

KEY, SECRET = "API-key-of-a-test", "a-secret-that-nobody-may-ever-see"


def test_a_request_has_a_fresh_token_and_no_secret_in_its_url() -> None:
    connect = Connect(0, STTOptions(api_key=KEY, api_secret=SECRET))
    first, second = connect.request(1000.0), connect.request(2000.0)
    assert first.url == second.url == "wss://agent-gateway.livekit.cloud/v1/stt?model=deepgram%2Fnova-3"
    assert dict(first.headers)["Authorization"].startswith("Bearer ")
    assert dict(first.headers)["Authorization"] != dict(second.headers)["Authorization"]
    assert KEY not in first.url
    assert SECRET not in first.url


def test_a_request_without_credentials_is_the_callers_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="credentials are missing"):
        Connect(0, STTOptions()).request(1000.0)


def test_a_connect_does_not_show_credentials() -> None:
    shown = repr(Connect(3, STTOptions(api_key=KEY, api_secret=SECRET, headers={"X-Token": SECRET})))
    assert SECRET not in shown
    assert KEY not in shown
    assert "attempt=3" in shown


def test_a_disconnect_is_polite_unless_it_aborts() -> None:
    assert Disconnect() == Disconnect(abort=False, code=1000)
    assert Disconnect(abort=True) != Disconnect()


@pytest.mark.parametrize("action", [Ping(), Disconnect(), Connect(0, STTOptions())], ids=lambda a: type(a).__name__)
def test_actions_are_frozen_and_equal_by_value(action: Any) -> None:
    assert action == attrs.evolve(action)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        action.extra = 1
