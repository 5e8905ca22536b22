"""Counters and latencies."""

from __future__ import annotations

import attrs
import pytest

from lkstt_proto.connection import Connection
from lkstt_proto.options import STTOptions
from lkstt_proto.stats import Counters, Stats


def test_counters_begin_at_nothing() -> None:
    counted = attrs.asdict(Counters())
    assert {name: value for name, value in counted.items() if value} == {}
    assert counted["connect_latency"] is None
    assert counted["round_trip"] is None


def test_a_new_streams_stats_are_zero_and_its_latencies_unmeasured() -> None:
    stats = attrs.asdict(Connection(STTOptions()).stats)
    latencies = {name: stats.pop(name) for name in ("connect_latency", "round_trip", "finalize_latency")}
    assert set(latencies.values()) == {None}
    assert set(stats.values()) == {0}


def test_stats_are_a_frozen_snapshot() -> None:
    connection = Connection(STTOptions())
    before = connection.stats
    connection.send_audio(bytes(3200), 0.0)
    assert isinstance(before, Stats)
    assert (before.audio_pushed, connection.stats.audio_pushed) == (0.0, 0.1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        before.sessions = 1  # type: ignore[misc]  # what the type says must hold at run time too
