"""Whole conversations between both ends, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from struct import pack, unpack
from typing import Any, cast

import pytest
from attrs import define

from lkstt_proto import (
    CloseRequested,
    Connect,
    Connection,
    Disconnect,
    FinalizeRequested,
    Gateway,
    GatewayEvent,
    Limits,
    LinkState,
    LocalProtocolError,
    PeerLost,
    Ping,
    SessionRequested,
    STTOptions,
)
from lkstt_proto.events import AudioReceived
from lkstt_proto.gateway import GatewayLimits
from lkstt_proto.pair import Pair, Session, attend
from lkstt_proto.recording import Recorder
from lkstt_proto.replay import load, run

RATE = 8000
OPTIONS = STTOptions("deepgram/nova-3", sample_rate=RATE)


def counted(seconds: float, start: float = 0.0) -> bytes:
    """Audio in which each sample says its own position."""
    first = round(start * RATE)
    return b"".join(pack("<H", (first + n) % 65536) for n in range(round(seconds * RATE)))


def positions(session: Session) -> list[int]:
    """Which samples a gateway heard."""
    return list(unpack(f"<{len(session.audio) // 2}H", session.audio))


@define
class Recogniser:
    """Tells an interim every half second, and a final when asked and every ``turn`` seconds."""

    turn: float | None = None
    answer: str = "final, finalized"
    hinted: float = 0.0

    def __call__(self, session: Session, event: GatewayEvent) -> None:
        gateway = session.gateway
        if isinstance(event, SessionRequested):
            gateway.accept(session.now, session_id=f"s{session.number}")
            self.hinted = 0.0
        elif isinstance(event, AudioReceived):
            self._listen(session, gateway.audio_seconds)
        elif isinstance(event, FinalizeRequested):
            for step, word in enumerate(self.answer.split(", "), 1):
                session.later(0.1 * step, partial(self._answer, session, word))
        elif isinstance(event, CloseRequested):
            gateway.close(session.now)

    def _listen(self, session: Session, heard: float) -> None:
        if self.turn is not None and heard >= session.told + self.turn:
            session.say(f"turn at {heard:.2f}")
        elif heard >= max(session.told, self.hinted) + 0.5:
            self.hinted = heard
            session.say(f"hint at {heard:.2f}", final=False)

    def _answer(self, session: Session, word: str) -> None:
        heard = session.gateway.audio_seconds
        if word == "final":
            if heard > session.told:
                session.say(f"end at {heard:.2f}")
        elif word == "finalized":
            session.gateway.finalized(session.now)
        elif word == "closed":
            session.gateway.close(session.now)


def dial(application: Callable[[Session, GatewayEvent], None] | None = None, **pair: Any) -> Pair:
    """A pair whose client was just started."""
    limits = pair.pop("limits", Limits())
    joined = Pair(Connection(OPTIONS, limits=limits), application or Recogniser(), **pair)
    joined.wish(lambda: joined.connection.start(0.0))
    return joined


def ledger(pair: Pair) -> tuple[float, float]:
    usage = [event["recognition_usage"] for event in pair.told("recognition_usage")]
    return sum(one["audio_duration"] for one in usage), sum(one["resent_duration"] for one in usage)


def heard_seconds(pair: Pair) -> float:
    return sum(len(session.audio) for session in pair.sessions) / 2 / RATE


def finals(pair: Pair) -> list[tuple[float, float]]:
    return [
        (event["alternatives"][0]["start_time"], event["alternatives"][0]["end_time"])
        for event in pair.told("final_transcript")
    ]


def balanced(pair: Pair) -> bool:
    marks = [event["type"] for event in pair.told("start_of_speech", "end_of_speech")]
    return marks == ["start_of_speech", "end_of_speech"] * (len(marks) // 2)


def kinds(pair: Pair) -> list[str]:
    return [event["type"] for event in pair.told()]


def test_one_turn_from_dial_to_end() -> None:
    pair = dial()
    pair.end_input(pair.microphone(counted(1.0)))
    pair.run()
    assert kinds(pair) == [
        "session_created",
        "start_of_speech",
        "interim_transcript",
        "interim_transcript",
        "recognition_usage",
        "final_transcript",
        "end_of_speech",
        "finalized",
        "stream_ended",
    ]
    assert finals(pair) == [(0.0, 1.0)]
    assert positions(pair.session) == list(range(RATE))
    assert pair.told("stream_ended")[0]["unacknowledged_seconds"] == 0.0
    assert ledger(pair) == (1.0, 0.0)


def test_the_gateway_is_left_politely() -> None:
    pair = dial()
    pair.end_input(pair.microphone(counted(0.5)))
    pair.run()
    assert pair.session.events[-2:] == [CloseRequested(), PeerLost(1000, "")]
    assert [action for _, action in pair.sent if isinstance(action, Disconnect)] == [Disconnect()]
    assert pair.connection.deadline is None


def test_two_turns_balance_and_follow_each_other() -> None:
    pair = dial(Recogniser(turn=1.0))
    pair.end_input(pair.microphone(counted(2.0)))
    pair.run()
    assert finals(pair) == [(0.0, 1.0), (1.0, 2.0)]
    assert balanced(pair)
    assert ledger(pair) == (2.0, 0.0)


@pytest.mark.parametrize("moment", [0.9, 1.33, 1.6, 2.2])
def test_a_cut_in_mid_speech_loses_nothing(moment: float) -> None:
    pair = dial(Recogniser(turn=0.75))
    pair.end_input(pair.microphone(counted(2.0)))
    pair.at(moment, pair.cut)
    pair.run()
    first, second = pair.sessions
    assert set(positions(first)) | set(positions(second)) == set(range(2 * RATE))
    assert positions(second) == list(range(positions(second)[0], 2 * RATE))
    assert finals(pair)[-1][1] == 2.0
    assert balanced(pair)
    resumed = pair.told("resumed")[0]
    assert resumed["audio_time"] == positions(second)[0] / RATE
    assert pair.told("stream_ended")[0]["unacknowledged_seconds"] == 0.0


def test_the_ledger_adds_up_to_what_was_handed_over() -> None:
    pair = dial(Recogniser(turn=0.75))
    pair.end_input(pair.microphone(counted(3.0)))
    for moment in (1.0, 1.8, 2.6):
        pair.at(moment, pair.cut)
    pair.run()
    unique, resent = ledger(pair)
    stats = pair.connection.stats
    handed = stats.audio_sent + stats.audio_resent
    assert unique == pytest.approx(3.0)
    assert unique + resent == pytest.approx(handed)
    # What was under way at a cut was handed over and never heard.
    assert heard_seconds(pair) <= handed
    assert stats.sessions == 4
    assert stats.failures == 3


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        # The answers take 0.1 s each, the way to and fro another 0.1 s, and so does the closing handshake.
        ("final, finalized", 0.4),  # at once: everything is acknowledged exactly
        ("finalized, final", 0.4),
        ("final", 0.3 + 3.0),  # quiet from the final on
        ("final, closed", 0.3),  # the gateway closes itself
        ("finalized", 30.0 + 0.1),  # an open turn waits for its final, then it is promoted
        ("nothing", 30.0 + 0.1),
    ],
)
def test_every_way_to_answer_the_end_is_an_end(answer: str, seconds: float) -> None:
    pair = dial(Recogniser(answer=answer))
    end = pair.microphone(counted(1.0))
    pair.end_input(end)
    pair.run()
    unanswered = seconds > 30.0
    assert pair.now - end == pytest.approx(seconds)
    assert [event["promoted"] for event in pair.told("final_transcript")] == [unanswered]
    assert balanced(pair)
    assert kinds(pair)[-1] == ("stream_failed" if unanswered else "stream_ended")


def test_what_waited_in_an_outage_is_sent_at_the_replay_pace_and_live_audio_behind_it() -> None:
    pair = dial(Recogniser(turn=1.0))
    pair.end_input(pair.microphone(counted(6.0)))
    pair.at(1.2, lambda: setattr(pair, "down", True))
    pair.at(1.2, pair.cut)
    pair.at(4.0, lambda: setattr(pair, "down", False))
    pair.run()
    opened = pair.told("resumed")[0]["at"]
    last = pair.sessions[-1]
    sent = [time for time, action in pair.sent if isinstance(action, bytes) and b"input_audio" in action]
    after = [time for time in sent if time >= opened]
    backlog = opened - 0.5 - pair.told("resumed")[0]["audio_time"]
    assert backlog > 2.0
    for number, time in enumerate(after):
        if number * 0.05 < backlog - 0.05:
            assert time == pytest.approx(opened + number * 0.05 / 4, abs=1e-6)
    assert positions(last) == list(range(positions(last)[0], 6 * RATE))
    assert finals(pair)[-1][1] == 6.0


def test_an_outage_that_lasts_ends_the_stream() -> None:
    pair = dial()
    pair.microphone(counted(1.0))
    pair.at(1.0, lambda: setattr(pair, "down", True))
    pair.at(1.0, pair.cut)
    pair.run()
    failed = pair.told("stream_failed")[0]
    assert failed["error"]["name"] == "OutageExceeded"
    assert failed["at"] == pytest.approx(1.0 + 60.0, abs=2.5)
    assert balanced(pair)


def test_a_half_open_link_is_lost_after_six_seconds_when_idle() -> None:
    pair = dial()
    pair.run(until=1.0)
    heard = pair.told("session_created")[0]["at"]
    pair.stall()
    pair.run(until=lambda: pair.connection.link_state is not LinkState.UP)
    assert pair.now == pytest.approx(heard + 6.0)


def test_a_half_open_link_is_lost_after_nine_seconds_on_a_live_microphone() -> None:
    pair = dial(lambda session, event: None)
    pair.run(until=0.1)
    pair.stall()
    pair.microphone(counted(20.0), start=0.1)
    pair.run(until=lambda: pair.connection.link_state is LinkState.DROPPING)
    # The ping follows three seconds of audio; three more, and the three of that audio.
    assert pair.now == pytest.approx(0.1 + 9.0, abs=0.051)
    # Nobody answers the polite close either.
    pair.run(until=lambda: pair.connection.link_state is LinkState.UP)
    assert [action.abort for _, action in pair.sent if isinstance(action, Disconnect)] == [False, True]


def test_nothing_is_lost_with_a_half_open_link() -> None:
    pair = dial(Recogniser(turn=1.0))
    pair.end_input(pair.microphone(counted(8.0)))
    pair.at(1.2, pair.stall)
    pair.run()
    first, second = pair.sessions
    assert set(positions(first)) | set(positions(second)) == set(range(8 * RATE))
    assert len(positions(first)) < 2 * RATE
    assert finals(pair)[-1][1] == 8.0
    assert ledger(pair)[0] == pytest.approx(8.0)


def test_no_more_than_ahead_is_sent_to_a_gateway_that_does_not_keep_up() -> None:
    pair = dial(lambda session, event: None, limits=Limits(ahead=2.0, audio_buffer=60.0), speed=0.5)
    pair.wish(lambda: pair.connection.send_audio(counted(8.0), 0.0))
    most = 0.0

    def finished() -> bool:
        nonlocal most
        stats = pair.connection.stats
        if pair.sessions:
            most = max(most, stats.audio_sent - len(pair.session.audio) / 2 / RATE)
        return bool(pair.sessions) and len(pair.session.audio) == 8 * RATE * 2

    pair.run(until=finished)
    # A slow gateway is back-pressure, not death: one session, all of it heard, at half of real time.
    assert len(pair.sessions) == 1
    assert pair.connection.link_state is LinkState.UP
    assert 1.0 < most <= 2.0
    assert pair.now == pytest.approx(8.0 / 0.5, rel=0.1)
    assert sum(isinstance(action, Ping) for _, action in pair.sent) >= 4


def test_events_that_nobody_reads_stop_the_reading_and_nothing_else() -> None:
    pair = dial(Recogniser(turn=0.5), limits=Limits(unread_events=8))
    pair.run(until=0.4)
    pair.reading = False
    pair.microphone(counted(6.0))
    pair.run(until=30.0)
    assert not pair.connection.readable
    assert pair.connection.link_state is LinkState.UP
    assert len(pair.sessions) == 1
    pair.read()
    pair.end_input(30.0)
    pair.run()
    assert balanced(pair)
    assert finals(pair) == [(n / 2, (n + 1) / 2) for n in range(12)]
    assert kinds(pair)[-1] == "stream_ended"


def test_an_unread_interim_gives_way_to_a_newer_one() -> None:
    pair = dial()
    pair.run(until=0.4)
    pair.reading = False
    pair.microphone(counted(3.0))
    pair.run(until=4.0)
    pair.read()
    assert [event["alternatives"][0]["text"] for event in pair.told("interim_transcript")] == ["hint at 3.00"]


def test_audio_beyond_the_buffer_is_dropped_from_its_old_end_and_told() -> None:
    pair = dial(limits=Limits(audio_buffer=1.0))
    pair.down = True
    end = pair.microphone(counted(2.5))
    pair.at(end, lambda: setattr(pair, "down", False))
    pair.end_input(end)
    pair.run()
    dropped = pair.told("audio_dropped")
    assert {event["cause"] for event in dropped} == {"overflow"}
    assert (dropped[0]["start"], dropped[-1]["end"]) == (0.0, 1.5)
    assert all(one["end"] == other["start"] for one, other in pairwise(dropped))
    assert positions(pair.session) == list(range(round(1.5 * RATE), round(2.5 * RATE)))
    assert finals(pair) == [(1.5, 2.5)]
    assert ledger(pair) == (1.0, 0.0)


def test_a_close_in_mid_speech_keeps_the_last_words() -> None:
    pair = dial()
    pair.microphone(counted(5.0))
    pair.run(until=2.0)
    pair.wish(lambda: pair.connection.close(pair.now))
    pair.muted = True
    pair.run()
    assert pair.told("final_transcript")[-1]["promoted"]
    assert balanced(pair)


def test_a_gateway_that_waits_for_nobody_ends_an_idle_session() -> None:
    pair = dial(gateway_factory=lambda: Gateway(patience=GatewayLimits(idle=5.0)))
    pair.run()
    failed = pair.told("stream_failed")[0]
    assert (failed["error"]["name"], failed["error"]["code"]) == ("GatewayError", 2007)
    assert len(pair.sessions) == 1


def test_the_same_conversation_is_the_same_again() -> None:
    def conversation() -> list[dict[str, Any]]:
        pair = dial(Recogniser(turn=0.75))
        pair.end_input(pair.microphone(counted(2.0)))
        pair.at(1.3, pair.cut)
        pair.run()
        return pair.told()

    assert conversation() == conversation()


@pytest.mark.parametrize("redacted", [False, True])
def test_a_recorded_conversation_replays(redacted: bool) -> None:
    recorder = Recorder.client("client", OPTIONS, random=lambda: 0.5)
    served: list[Recorder] = []

    def gateway() -> Any:
        served.append(Recorder.gateway(f"gateway {len(served) + 1}"))
        return served[-1]

    # A recorder is used as what it records.
    pair = Pair(cast("Connection", recorder), Recogniser(turn=0.75), gateway_factory=gateway)
    pair.wish(lambda: recorder.start(0.0))
    pair.end_input(pair.microphone(counted(2.0)))
    pair.at(1.3, pair.cut)
    pair.run()
    assert kinds(pair)[-1] == "stream_ended"
    for one in (recorder, *served):
        lines = one.lines(redact_text=redacted, redact_audio=redacted)
        assert run(load(lines)) == []
        assert any("hint at" in line for line in lines) is not redacted
    if not redacted:
        fixture = load(recorder.lines())
        replayed = [event["type"] for step in fixture.steps for event in step.events]
        assert replayed == kinds(pair)


def test_without_an_application_each_finalize_is_answered_with_a_word() -> None:
    pair = Pair(Connection(OPTIONS), latency=0.0)
    pair.wish(lambda: pair.connection.start(0.0))
    end = pair.microphone(counted(0.5))
    pair.at(end, lambda: pair.wish(lambda: pair.connection.finalize(pair.now)))
    pair.at(end + 1.0, lambda: pair.wish(lambda: pair.connection.finalize(pair.now)))
    pair.end_input(end + 2.0)
    pair.run()
    assert [event["alternatives"][0]["text"] for event in pair.told("final_transcript")] == ["hello"]
    assert finals(pair) == [(0.0, 0.5)]
    assert pair.told("stream_ended")[0]["at"] == end + 2.0


def test_a_test_says_what_the_gateway_hears() -> None:
    pair = dial(attend, latency=0.25)
    pair.microphone(counted(1.0))
    pair.run(until=1.27)
    pair.session.say("one", final=False)
    pair.session.say("one")
    pair.run(until=2.0)
    pair.session.say("two")
    pair.run(until=2.25)
    said = [event for event in pair.told() if event["type"].endswith("_transcript")]
    assert [(event["type"], event["alternatives"][0]["text"], event["at"]) for event in said] == [
        ("interim_transcript", "one", 1.52),
        ("final_transcript", "one", 1.52),
        ("final_transcript", "two", 2.25),
    ]
    assert finals(pair) == [(0.0, 0.5), (0.5, 1.0)]


def test_a_lost_transport_carries_nothing_any_more() -> None:
    pair = dial()
    pair.run(until=1.0)
    session = pair.session
    session.later(1.0, lambda: session.gateway.start_of_speech(pair.now))
    pair.down = True
    pair.cut()
    session.say("too late")
    pair.run(until=3.0)
    assert not session.alive
    assert set(kinds(pair)) == {"session_created", "reconnecting"}


def test_what_cannot_be_broken_is_told() -> None:
    pair = dial()
    with pytest.raises(LocalProtocolError, match="no dial has succeeded yet"):
        pair.cut()
    pair.run(until=1.0)
    pair.down = True
    pair.cut()
    with pytest.raises(LocalProtocolError, match="closed before"):
        pair.cut()


def test_a_dial_is_abandoned_when_nobody_wants_it_any_more() -> None:
    pair = dial()
    pair.at(0.04, lambda: pair.wish(lambda: pair.connection.close(pair.now)))
    pair.run()
    assert (kinds(pair), pair.sessions, pair.now) == (["stream_ended"], [], 0.04)
    pair.run(until=1.0)
    assert pair.sessions == []


def test_a_dial_that_takes_too_long_is_abandoned_and_tried_again() -> None:
    pair = dial(latency=6.0)
    pair.run(until=11.0)
    assert pair.told("reconnecting")[0]["at"] == 10.0
    assert [action.attempt for _, action in pair.sent if isinstance(action, Connect)] == [0, 1]
    assert pair.sessions == []


def test_an_answer_that_was_not_read_before_the_cut_is_lost() -> None:
    pair = dial(Recogniser(turn=0.5), limits=Limits(unread_events=8))
    pair.run(until=0.4)
    pair.reading = False
    pair.end_input(pair.microphone(counted(6.0)))
    pair.run(until=20.0)
    pair.cut()
    pair.read()
    pair.run()
    assert finals(pair)[-1][1] == 6.0
    assert len(pair.sessions) == 2


def test_a_transport_that_is_cut_twice_is_closed_once() -> None:
    pair = dial()
    pair.run(until=1.0)
    pair.stall()
    pair.run(until=lambda: any(isinstance(action, Disconnect) and action.abort for _, action in pair.sent))
    pair.cut()
    pair.run(until=lambda: len(pair.sessions) == 2)
    assert [event["attempt"] for event in pair.told("reconnecting")] == [1]


def test_ends_that_never_come_to_rest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lkstt_proto.pair.ENDLESS", 1000)
    pair = dial()

    def again() -> None:
        pair.at(pair.now, again)

    again()
    with pytest.raises(AssertionError, match="never comes to rest"):
        pair.run(until=1.0)


def test_a_pair_that_has_nothing_left_to_do_stops() -> None:
    pair = Pair(Connection(OPTIONS))
    assert not pair.step()
    pair.run()
    assert (pair.now, pair.sent) == (0.0, [])
