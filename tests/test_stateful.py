"""A client and its gateways, joined in memory: whatever is wished, sent, cut or delayed, the promises hold.

Hypothesis chooses what happens, in virtual time; ``tests/soundness.py`` and ``tests/fuzzing/client.py`` say what must
hold at every step, and ``finish`` at the end of every run.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from lkstt_proto import (
    Action,
    CloseRequested,
    Connect,
    Connection,
    Disconnect,
    FinalizeRequested,
    Gateway,
    LinkState,
    LocalProtocolError,
    Ping,
    SessionRequested,
    SpeechData,
    StreamEnded,
    StreamFailed,
    STTOptions,
    TimedWord,
)
from lkstt_proto.options import Limits
from tests.fuzzing.client import Client
from tests.fuzzing.oracles import decoded_alike, written_again
from tests.fuzzing.plants import PLANTS
from tests.soundness import Ear, GatewayEar, Unsound, check, sound_action

SMALL = Limits(audio_buffer=2.0, ahead=0.5, lookback=0.2, unread_events=3, drain=5.0, quiet=0.5, close=0.5)
LIMITS = st.sampled_from([Limits(), SMALL])
MODELS = st.sampled_from(["deepgram/nova-3", "cartesia/ink-2", None])
RARELY = st.sampled_from([False] * 7 + [True])
SECONDS = st.sampled_from([0.0, 0.001, 0.05, 0.3, 1.0, 3.5, 12.0, 70.0])
BYTES = st.sampled_from([1, 2, 1599, 1600, 16_000, 64_001, 120_000])
TEXT = st.sampled_from(["", "one", "two words", "é\u202e"])
TIMES = st.floats(-1.0, 90.0)

HOSTILE = st.sampled_from(
    [
        *(
            "",
            "null",
            "[]",
            "{",
            '{"type":5}',
            '{"type":"new"}',
            '{"type":"error","code":"x"}',
            '{"type":"session.closed"}',
        ),
        *(
            '{"type":"error","code":500}',
            '{"type":"error","code":401}',
            '{"type":"error","code":2007,"message":"\\u202e"}',
        ),
        *('{"type":"session.created","session_id":"a\\u0000b"}', '{"type":"session.finalized"}'),
        *(
            '{"type":"final_transcript","transcript":null}',
            '{"type":"final_transcript","start":1e308,"duration":1e308}',
        ),
        *('{"type":"interim_transcript","transcript":"x","words":[null,{},{"word":5,"start":-1}],"confidence":7}',),
        *('{"type":"final_transcript","transcript":"x","start":0,"duration":0.01}', '{"type":"start_of_speech"}'),
        *('{"type":"final_transcript","transcript":"' + "x" * 70_000 + '"}', '{"type":"final_transcript","start":NaN}'),
    ]
)
CLIENT_HOSTILE = st.sampled_from(
    ["", "{}", '{"type":"new"}', '{"type":"input_audio","audio":"A"}', '{"type":"session.create"}', "[1]", "\ud800"]
)


class Stream(RuleBasedStateMachine):
    """One stream. Messages are carried by rules of their own, so that each way may be as slow as it likes."""

    @initialize(limits=LIMITS, model=MODELS, idle=RARELY)
    def begin(self, limits: Limits, model: str | None, *, idle: bool) -> None:
        self.limits = limits
        self.connection = Connection(STTOptions(model), limits=limits)
        self.client = Client(self.connection, Ear(limits))
        self.gateway: Gateway | None = None
        self.ear = GatewayEar(limits)
        self.up: list[bytes] = []  # from the client, under way
        self.down: list[bytes] = []
        self.pings = 0
        self.delivered = 0  # samples that gateways heard
        self.lost = 0  # samples under way when their transport broke
        self.written = True
        self.stopped = 0
        self.slow = [False, False]
        if not idle:
            self.start()
            self.open()
            self.push(16_000)

    # What the application wishes.

    @rule()
    def start(self) -> None:
        self.wish("start", self.client.now)

    @rule(size=BYTES)
    def push(self, size: int) -> None:
        if self.client.push(size):
            self.take()

    @rule(pushes=st.integers(1, 30))
    def speak(self, pushes: int) -> None:
        """Push as a microphone does."""
        for _ in range(pushes):
            self.push(3200)
            self.wait(0.1)

    @rule()
    def flush(self) -> None:
        self.wish("flush", self.client.now)

    @rule()
    def finalize(self) -> None:
        self.wish("finalize", self.client.now)

    @rule(
        changes=st.sampled_from(
            [{"language": "de"}, {"keyterms": ["a"]}, {"extra": {"x": 1}}, {"model": "cartesia/ink-2"}, {"language": 5}]
        )
    )
    def update(self, changes: dict[str, Any]) -> None:
        self.wish("update_options", self.client.now, **changes)

    @precondition(lambda self: self.stopped < 2)
    @rule(really=RARELY)
    def end_input(self, *, really: bool) -> None:
        if really:
            self.stopped += 1
            self.client.wish_end()
            self.take()

    @precondition(lambda self: self.stopped < 2)
    @rule(really=RARELY)
    def close(self, *, really: bool) -> None:
        if really:
            self.stopped += 1
            self.wish("close", self.client.now)

    # What the network does.

    @precondition(lambda self: self.gateway is None)
    @rule()
    def open(self) -> None:
        if self.connection.link_state is LinkState.CONNECTING:
            self.gateway, self.ear = Gateway(limits=self.limits), GatewayEar(self.limits)
            self.gateway.transport_opened(self.client.now)
            self.wish("transport_opened", self.client.now)

    @precondition(lambda self: self.client.dialling)
    @rule(facts=st.sampled_from([{}, {"code": 1000}, {"http_status": 429, "retry_after": 4.0}, {"http_status": 503}]))
    def cut(self, facts: dict[str, Any]) -> None:
        if self.gateway is not None:
            facts = {key: value for key, value in facts.items() if key == "code"}
            self.gateway.transport_closed(self.client.now)
            self.ear.hear(self.gateway.take_events())
            check(self.ear.gone, "a gateway is told that its peer is gone")
            self.delivered += self.ear.heard
        self.gateway = None
        self.lost += sum(self.samples(data) for data in self.up)
        self.up, self.down, self.pings = [], [], 0
        self.client.closed(**facts)
        self.take()

    @precondition(lambda self: self.gateway is not None and self.up)
    @rule(count=st.integers(1, 40))
    def carry_up(self, count: int) -> None:
        for _ in range(count):
            if self.gateway is None or not self.up:
                return
            data = self.up.pop(0)
            message = decoded_alike("client", data, self.limits)
            check(message is not None and not message.problems, "a gateway can use what a client says")
            written_again("client", message, self.limits)
            heard = self.delivered + self.ear.heard
            self.gateway.receive_text(data, self.client.now)
            self.serve()
            self.lost += self.samples(data) - (self.delivered + self.ear.heard - heard)

    @precondition(lambda self: self.gateway is not None and self.down)
    @rule(count=st.integers(1, 10))
    def carry_down(self, count: int) -> None:
        for _ in range(count):
            if self.gateway is None or not self.down:
                return
            self.hear(self.down.pop(0))

    @precondition(lambda self: self.pings > 0 and not self.up)
    @rule()
    def pong(self) -> None:
        self.pings -= 1
        self.wish("transport_alive", self.client.now)

    @rule(way=st.sampled_from([0, 1]))
    def slow_down(self, way: int) -> None:
        """One way begins to be slow, or catches up."""
        self.slow[way] = not self.slow[way]
        self.carry()

    @rule(stalled=RARELY)
    def write(self, *, stalled: bool) -> None:
        """A write does not come to its end; or it does, at last."""
        self.written = not stalled
        self.take()

    @precondition(lambda self: self.gateway is not None)
    @rule(data=HOSTILE)
    def send_hostile(self, data: str) -> None:
        self.hear(data)

    @precondition(lambda self: self.gateway is not None)
    @rule(data=CLIENT_HOSTILE)
    def be_hostile_to_the_gateway(self, data: str) -> None:
        assert self.gateway is not None
        decoded_alike("client", data, self.limits)
        self.gateway.receive_text(data, self.client.now)
        self.serve()

    @precondition(lambda self: self.gateway is not None)
    @rule()
    def send_binary(self) -> None:
        self.wish("receive_binary", b"\0", self.client.now)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        """Time passes, and whoever waits for it is called at his time."""
        until = self.client.now + seconds
        for _ in range(2000):
            deadline = self.connection.deadline
            if deadline is None or deadline > until:
                break
            self.client.now = max(self.client.now, deadline)
            self.tick()
        self.client.now = until
        self.tick()

    # What the gateway says.

    @precondition(lambda self: self.gateway is not None)
    @rule(
        kind=st.sampled_from(["interim", "final", "preflight", "onset", "finalized"]),
        text=TEXT,
        at=st.tuples(TIMES, TIMES),
    )
    def say(self, kind: str, text: str, at: tuple[float, float]) -> None:
        gateway, now = self.gateway, self.client.now
        assert gateway is not None
        data = SpeechData("en", text, *at, 0.5, words=(TimedWord("one", *at),))
        before = self.gateway_looks()
        try:
            if kind == "onset":
                gateway.start_of_speech(now)
            elif kind == "finalized":
                gateway.finalized(now)
            elif kind == "preflight":
                gateway.preflight(data, now)
            else:
                gateway.transcript(data, now, final=kind == "final")
        except LocalProtocolError:
            check(self.gateway_looks() == before, "what is refused changes nothing")
        self.serve()

    @precondition(lambda self: self.gateway is not None)
    @rule(code=st.sampled_from([400, 401, 429, 500, 2007]))
    def fail(self, code: int) -> None:
        assert self.gateway is not None
        try:
            self.gateway.fail(self.client.now, code=code, message="trouble")
        except LocalProtocolError:
            check(self.gateway.closing, "a gateway may fail until its last word")
        self.serve()

    # What follows.

    def carry(self) -> None:
        """Carry messages where the network is fast."""
        for _ in range(100):
            if self.gateway is None or ((self.slow[0] or not self.up) and (self.slow[1] or not self.down)):
                return
            if self.up and not self.slow[0]:
                self.carry_up(len(self.up))
            if self.down and not self.slow[1]:
                self.carry_down(len(self.down))

    def wish(self, method: str, *args: Any, **kwargs: Any) -> None:
        self.client.call(method, *args, **kwargs)
        self.take()

    def tick(self) -> None:
        self.client.call("handle_timeout", self.client.now)
        self.take()
        if self.gateway is not None:
            self.gateway.handle_timeout(self.client.now)
            self.serve()

    def take(self) -> None:
        """Take what may be taken; while a write is pending that is little."""
        while actions := self.client.take(None if self.written else 0):
            self.carry_out(actions)
        self.carry()

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, bytes):
                self.up.append(action)
            elif isinstance(action, Ping):
                self.pings += 1
            elif isinstance(action, Disconnect):
                self.cut({"code": 1000})
            else:
                check(isinstance(action, Connect), "nothing else is asked for")
                check(self.gateway is None, "there is one transport at a time")

    def hear(self, data: str | bytes) -> None:
        message = decoded_alike("server", data, self.limits)
        if message is not None:
            written_again("server", message, self.limits)
        self.wish("receive_text", data, self.client.now)

    def serve(self) -> None:
        """Do what every gateway does, and put what it says on its way."""
        gateway, now = self.gateway, self.client.now
        for _ in range(5):
            if gateway is None:
                return
            events = gateway.take_events()
            self.ear.hear(events)
            for event in events:
                if gateway.closing:
                    break
                if isinstance(event, SessionRequested):
                    gateway.accept(now, session_id="s1")
                elif isinstance(event, FinalizeRequested):
                    gateway.finalized(now)
                elif isinstance(event, CloseRequested):
                    gateway.close(now)
            for action in gateway.take_actions(now):
                if sound_action(action) is not None:
                    assert isinstance(action, bytes)
                    self.down.append(action)

    def gateway_looks(self) -> tuple[Any, ...]:
        gateway = self.gateway
        assert gateway is not None
        return (
            gateway.session_state,
            gateway.speaking,
            gateway.closing,
            gateway.audio_seconds,
            gateway.pending,
            gateway.deadline,
        )

    def samples(self, data: bytes) -> int:
        message = json.loads(data)
        audio = message.get("audio", "")
        return (len(audio) * 3 // 4 - audio.count("=")) // 2

    # What always holds.

    @invariant()
    def looks_fit_together(self) -> None:
        self.client.look()

    @invariant()
    def audio_is_heard_lost_or_under_way(self) -> None:
        under_way = sum(self.samples(data) for data in self.up)
        heard = self.delivered + (self.ear.heard if self.gateway is not None else 0)
        check(heard + self.lost + under_way == self.client.handed, "all audio that was sent is accounted for")

    @invariant()
    def nothing_is_lost_in_silence(self) -> None:
        connection = self.connection
        stats = connection.stats
        pushed = self.client.pushed // 2
        rate = connection.options.sample_rate
        told = round((stats.audio_sent + stats.audio_dropped + connection.unsent_seconds) * rate)
        check(told >= pushed, "what was pushed was sent, was told as dropped, or waits")

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        self.written = True
        if self.gateway is not None:
            self.gateway.transport_closed(self.client.now)
            self.gateway = None
            self.client.closed()
        self.client.finish()
        ends = [event for event in self.client.heard if isinstance(event, StreamEnded | StreamFailed)]
        check(len(ends) == 1 and self.client.heard[-1] is ends[0], "one end event is the last")
        refused = self.client.refused
        check(not self.client.push(2), "who is finished takes no audio")
        check(self.client.refused == refused + 1, "who is finished takes no audio")


Stream.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestStream = Stream.TestCase


@pytest.mark.parametrize("plant", PLANTS["connection"])
def test_the_machine_notices_planted_bugs(plant: str) -> None:
    once = settings(Stream.TestCase.settings, phases=[Phase.generate], report_multiple_bugs=False)
    with PLANTS["connection"][plant](), pytest.raises(Unsound):
        run_state_machine_as_test(Stream, settings=once)
