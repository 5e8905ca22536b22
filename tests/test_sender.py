"""Audio on its way out: what holds it back, and the account of what went."""

from __future__ import annotations

import json
from base64 import b64decode

from lkstt_proto.actions import Action
from lkstt_proto.events import RecognitionUsage
from lkstt_proto.machine import Machine
from lkstt_proto.options import Limits
from lkstt_proto.sender import Sender
from lkstt_proto.tables import SESSION, SessionState

RATE = 16000
CHUNK = 800


def pcm(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def sender(seconds: float = 0.0, *, now: float = 0.0, resumed: bool = False, limits: Limits | None = None) -> Sender:
    """On a transport that opened when so much audio waited."""
    sending = Sender(limits or Limits(), RATE)
    sending.ring.push(pcm(seconds))
    sending.begin(now, resumed=resumed)
    return sending


def session(state: SessionState = SessionState.STREAMING) -> Machine[SessionState]:
    machine = Machine(SESSION)
    machine.state = state
    return machine


def take(
    sending: Sender, now: float = 0.0, room: int = 1000, machine: Machine[SessionState] | None = None
) -> list[int]:
    """What goes now: the samples of each message, 0 for a finalize."""
    actions: list[Action] = []
    left = sending.take(actions, room, now, machine or session())
    assert left == room - len(actions)
    sizes = []
    for action in actions:
        assert isinstance(action, bytes)
        sizes.append(len(b64decode(json.loads(action).get("audio", ""))) // 2)
    return sizes


def test_only_whole_messages_go() -> None:
    sending = sender(0.12)
    assert take(sending) == [CHUNK, CHUNK]
    assert take(sending) == []
    assert sending.timeline.count == 2 * CHUNK


def test_a_rate_below_twenty_samples_a_second_still_has_messages() -> None:
    sending = Sender(Limits(), 10)
    sending.ring.push(bytes(4))
    sending.begin(0.0, resumed=False)
    assert take(sending) == [1, 1]


def test_no_more_than_there_is_room_for() -> None:
    sending = sender(1.0)
    assert take(sending, room=3) == [CHUNK] * 3
    assert take(sending, room=0) == []


def test_the_one_ordinary_message_is_told_like_any_other() -> None:
    sending = sender(0.06)
    machine = session(SessionState.FINALIZING)
    message = sending.take_one(machine)
    assert message is not None
    assert len(b64decode(json.loads(message)["audio"])) == 2 * CHUNK
    assert machine.state is SessionState.STREAMING
    assert (sending.timeline.count, sending.liveness.accepted) == (CHUNK, 0)
    for messages in (2, 3):
        sending.ring.push(pcm(0.05))
        assert sending.take_one(machine)
        assert (sending.timeline.count, sending.liveness.accepted) == (messages * CHUNK, (messages - 1) * CHUNK)
    assert machine.steady == "client:input_audio"
    assert sending.ledger.report() == RecognitionUsage(0.15, 0.0)


def test_what_is_not_one_ordinary_message_is_left_to_the_long_way() -> None:
    machine = session()
    assert sender(0.04).take_one(machine) is None  # not whole
    assert sender(0.1).take_one(machine) is None  # two
    assert sender(0.05, resumed=True).take_one(machine) is None  # one that waits for its pace
    marked = sender(0.05)
    marked.ring.mark(marked.ring.pushed, finalize=True)
    assert marked.take_one(machine) is None
    for samples in (3 * RATE - CHUNK, 10 * RATE):  # a ping has to follow; so much is ahead already
        pushed = sender(samples / RATE)
        take(pushed)
        if samples == 10 * RATE:
            pushed.liveness.take_ping(0.0, samples)
        pushed.ring.push(pcm(0.05))
        assert pushed.take_one(machine) is None


def test_what_is_left_of_a_cut_waits_for_a_whole_message() -> None:
    sending = sender(0.03)
    sending.ring.rewind()
    sending.begin(0.0, resumed=True)
    assert take(sending) == []
    sending.ring.push(pcm(0.02))
    assert take(sending) == [CHUNK]


def test_a_finalize_goes_at_its_place_and_audio_streams_on() -> None:
    sending = sender(0.07)
    sending.ring.mark(sending.ring.pushed, finalize=True)
    sending.ring.push(pcm(0.05))
    machine = session()
    assert take(sending, room=3, machine=machine) == [CHUNK, 320, 0]
    states = [machine.state]
    take(sending, machine=machine)
    states.append(machine.state)
    assert states == [SessionState.FINALIZING, SessionState.STREAMING]


def test_at_most_so_much_goes_ahead_of_what_is_confirmed() -> None:
    sending = sender(20.0)
    assert sum(take(sending)) == 10 * RATE
    assert not sending.may_send(0.0)
    sending.liveness.take_ping(0.0, 3 * RATE)
    sending.liveness.answered()
    assert sending.may_send(0.0)
    assert sum(take(sending)) == 3 * RATE


def test_a_resumed_sessions_backlog_goes_at_its_pace() -> None:
    sending = sender(1.0, now=100.0, resumed=True)
    assert take(sending, 100.0) == [CHUNK]
    assert sending.pace_deadline() == 100.0125
    assert not sending.may_send(100.0124)
    assert sending.may_send(100.0125 - 1e-7)
    assert sum(take(sending, 100.1)) == 8 * CHUNK
    # Live audio queues behind it.
    sending.ring.push(pcm(1.0))
    assert sum(take(sending, 100.2)) == 8 * CHUNK
    assert sum(take(sending, 100.2375)) == 23 * CHUNK
    assert sending.pace_deadline() is None


def test_a_backlog_with_nothing_whole_to_send_waits_for_nothing() -> None:
    sending = sender(0.03, now=100.0, resumed=True)
    assert take(sending, 100.0) == []
    assert sending.pace_deadline() is None


def test_a_first_session_has_no_pace() -> None:
    sending = sender(5.0, now=100.0)
    assert sending.pace_deadline() is None
    assert sum(take(sending, 100.0)) == 5 * RATE


def test_the_ledger_tells_fresh_audio_from_resent() -> None:
    sending = sender(2.0)
    take(sending)
    assert sending.ledger.report() == RecognitionUsage(2.0, 0.0)
    sending.ring.acknowledge(RATE)
    sending.ring.rewind()
    sending.ring.push(pcm(0.5))
    sending.begin(10.0, resumed=True)
    take(sending, 100.0)
    assert sending.ledger.report() == RecognitionUsage(0.5, 1.0)
    assert (sending.timeline.start(0.0), sending.timeline.seconds) == (1.0, 1.5)


def test_a_session_before_its_first_sample_speaks_of_nothing_unsent() -> None:
    sending = Sender(Limits(audio_buffer=1.0), RATE)
    sending.ring.push(pcm(5.0))
    sending.begin(0.0, resumed=False)
    assert sending.ring.position == 4 * RATE
    assert sending.timeline.position == 0
    take(sending)
    assert sending.timeline.start(0.0) == 4.0
