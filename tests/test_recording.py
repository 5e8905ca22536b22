"""Recordings replay green, tell what was heard, and can be told without it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lkstt_proto.actions import Connect, Disconnect, Ping
from lkstt_proto.errors import LocalProtocolError, TlsError
from lkstt_proto.events import SpeechData, TimedWord
from lkstt_proto.gateway import GatewayLimits
from lkstt_proto.options import Limits, STTOptions
from lkstt_proto.recording import Recorder
from lkstt_proto.replay import load, run
from lkstt_proto.settings import UNCHANGED

OPTIONS = STTOptions(api_key="key-of-a-project", api_secret="secret-of-a-project", headers={"X-Room": "kitchen"})


def client(**arguments: Any) -> Recorder:
    recorder = Recorder.client("recorded", arguments.pop("options", OPTIONS), **arguments)
    recorder.start(0.0)
    assert [type(action) for action in recorder.take_actions(0.0)] == [Connect]
    recorder.transport_opened(0.1)
    recorder.take_actions(0.1)
    recorder.take_actions(0.1)
    return recorder


def steps(recorder: Recorder, **redact: bool) -> list[dict[str, Any]]:
    lines = recorder.lines(**redact)
    assert [str(mismatch) for mismatch in run(load(lines))] == []
    return [json.loads(line) for line in lines]


def text(kind: str, transcript: str, **fields: Any) -> str:
    return json.dumps({"type": f"{kind}_transcript", "transcript": transcript, **fields})


def test_a_recording_replays_with_everything_it_caused() -> None:
    recorder = client()
    recorder.receive_text('{"type":"session.created","session_id":"s1"}', 0.2)
    recorder.send_audio(b"\1\0" * 800, 0.3)
    recorder.take_actions(0.3)
    recorder.receive_text(text("final", "hello", start=0, duration=0.05).encode(), 0.5)
    assert [event.type for event in recorder.take_events()[1:]] == [
        "start_of_speech",
        "recognition_usage",
        "final_transcript",
        "end_of_speech",
    ]
    recorder.receive_binary(b"{}", 0.55)
    recorder.close(0.6)
    recorder.take_actions(0.6)
    recorder.transport_closed(0.7, code=1000, error=None)
    assert recorder.finished
    header, start, opened, created, audio, final, binary, close, closed = steps(recorder)
    assert header["name"] == "recorded"
    assert start["actions"] == [{"connect": {"attempt": 0}}]
    assert "take" not in opened
    assert created["events"] == [{"type": "session_created", "session_id": "s1"}]
    assert audio["audio"] == {"hex": "0100", "times": 800}
    assert final["text"] == text("final", "hello", start=0, duration=0.05)
    assert binary["binary"] == {"hex": "7b7d", "times": 1}
    assert close["actions"] == [{"send": {"type": "session.close"}}, {"disconnect": {}}]
    assert closed["args"] == {"code": 1000, "error": None}
    assert closed["link_state"] == "done"


def test_credentials_and_headers_are_not_recorded() -> None:
    recording = "\n".join(client().lines())
    assert "of-a-project" not in recording
    assert "kitchen" not in recording


def test_lines_may_be_asked_for_again_and_again() -> None:
    recorder = client()
    first = recorder.lines()
    recorder.send_audio(b"\0\0" * 800, 0.2)
    assert recorder.lines()[:3] == first
    assert len(recorder.lines()) == 4


def test_what_raises_is_not_recorded() -> None:
    recorder = client()
    with pytest.raises(LocalProtocolError):
        recorder.start(0.2)
    assert len(steps(recorder)) == 3


def test_a_slow_socket_is_recorded_as_it_was() -> None:
    recorder = client()
    recorder.send_audio(b"\0\0" * 800 * 20, 0.2)
    assert len(recorder.take_actions(0.2, 4)) == 4
    assert recorder.take_actions(0.25, 0) == []
    assert len(recorder.take_actions(0.3)) == 16
    assert recorder.take_actions(0.3) == []
    _, _, _, pushed, waited, taken = steps(recorder)
    assert (pushed["take"], len(pushed["actions"])) == (4, 4)
    assert waited == {"at": 0.25, "take": 0}
    assert (taken["at"], taken["take"], len(taken["actions"])) == (0.3, 16, 16)


def test_everything_taken_at_once_needs_no_take() -> None:
    recorder = client()
    recorder.send_audio(b"\0\0" * 800, 0.2)
    recorder.take_actions(0.2)
    recorder.take_actions(0.2)
    recorder.handle_timeout(0.3)
    recorder.take_actions(0.3)
    assert all("take" not in step for step in steps(recorder)[2:])


def test_an_input_that_nobody_took_from_is_followed_by_what_may_be_taken_at_any_time() -> None:
    recorder = client()
    recorder.handle_timeout(3.1)  # a ping is due
    assert recorder.pending
    recorder.send_audio(b"\0\0" * 800, 3.2)
    assert recorder.pending
    assert recorder.take_actions(3.2, 0) == [Ping()]
    assert len(recorder.take_actions(3.3)) == 1
    assert recorder.take_actions(3.3) == []
    _, _, _, timeout, pushed, taken = steps(recorder)
    assert (timeout["take"], timeout["actions"]) == (0, [{"ping": {}}])
    assert pushed["take"] == 0
    assert (taken["take"], len(taken["actions"])) == (16, 1)


def test_taking_later_than_the_input_is_a_step_of_its_own() -> None:
    recorder = client()
    recorder.send_audio(b"\0\0" * 800, 0.2)
    recorder.take_actions(0.21)
    assert [step["at"] for step in steps(recorder)[3:]] == [0.2, 0.21]


def test_taking_before_any_input_is_harmless() -> None:
    recorder = Recorder.client("recorded", OPTIONS)
    assert recorder.take_actions(0.0) == []
    assert recorder.take_events() == []
    assert [step["take"] for step in steps(recorder)[1:]] == [16]


def test_chance_and_the_ends_of_speech_are_recorded() -> None:
    class Second:
        heard = 0

        def push(self, pcm: bytes) -> bool:
            self.heard += 1
            return self.heard == 2

    recorder = client(options=STTOptions("speechmatics/enhanced"), random=lambda: 0.25, endpointer=Second())
    recorder.send_audio(b"\0\0" * 960, 0.2)
    assert len(recorder.take_actions(0.2)) == 2
    recorder.transport_closed(0.3)
    header, *_, cut = steps(recorder)
    assert (header["random"], header["endpointer"]) == ([0.25], [640])
    assert cut["events"][0]["delay"] == 0.1 * 0.625


def test_audio_that_is_given_back_is_not_recorded() -> None:
    recorder = client(limits=Limits(audio_buffer=1.0))
    assert recorder.send_audio(bytes(31_000), 0.2, False) == b""
    assert recorder.send_audio(bytearray(2_000), 0.2, False) == bytes(1_000)
    assert recorder.send_audio(b"", 0.2, False) == b""
    audio = [step["audio"] for step in steps(recorder) if "audio" in step]
    assert audio == [{"hex": "0000", "times": 15_500}, {"hex": "0000", "times": 500}, {"hex": "", "times": 1}]


def test_errors_of_the_transport_keep_what_the_core_needs() -> None:
    recorder = client()
    recorder.transport_closed(0.2, error=ConnectionResetError("private"))
    recorder.handle_timeout(0.5)
    recorder.transport_closed(0.6, error=TlsError("private", phase="connect"))
    *_, reset, _, refused = steps(recorder)
    assert reset["args"] == {"error": {"name": "ConnectionResetError"}}
    assert refused["args"] == {"error": {"name": "TlsError", "retryable": False, "phase": "connect"}}
    assert refused["link_state"] == "done"


def test_only_what_was_given_to_update_options_is_recorded() -> None:
    recorder = client()
    recorder.update_options(0.2, language="de", model=UNCHANGED)
    assert steps(recorder)[-1]["args"] == {"language": "de"}


def test_a_gateway_is_recorded() -> None:
    recorder = Recorder.gateway("served", limits=Limits(message=4096), patience=GatewayLimits(close=1.0))
    recorder.transport_opened(0.0)
    recorder.receive_text('{"type":"session.create","settings":{}}', 0.1)
    recorder.accept(0.2, session_id="s1")
    words = (TimedWord("hello", 0.0, 0.5, 0.9),)
    recorder.transcript(SpeechData("en", "hello", 0.0, 0.5, words=words), 0.3, final=True, request_id="r")
    recorder.close(0.4)
    assert recorder.take_actions(0.4)[-1] == Disconnect()
    header, *_, said, _ = steps(recorder)
    assert header["limits"]["message"] == 4096
    assert header["limits"]["close"] == 1.0
    assert said["args"]["data"]["words"][0]["text"] == "hello"


# Redacting.


def spoken() -> Recorder:
    options = OPTIONS.replace(
        extra_kwargs={"keyterm": ["LiveKit"]}, fallback=[{"model": "xai/stt-1", "extra": {"k": "LiveKit"}}]
    )
    recorder = client(options=options)
    recorder.receive_text('{"type":"session.created","session_id":"s1"}', 0.2)
    recorder.update_options(0.25, keyterms=["Anna"])
    recorder.take_actions(0.25)
    recorder.send_audio(b"\1\2" * 800 + b"\3", 0.3)
    recorder.take_actions(0.3)
    for at, words in ((0.4, "my name"), (0.5, "my name"), (0.6, "my names")):
        recorder.receive_text(text("interim", words, language="en", words=[{"word": "my", "start": 0.01}]), at)
    recorder.receive_text("my name is no message", 0.7)
    recorder.receive_text('["my name"]', 0.8)
    recorder.receive_binary(b"my name", 0.9)
    recorder.transport_closed(1.0, reason="my name", error=OSError("my name"))
    return recorder


def test_redacted_text_keeps_lengths_ids_and_what_is_equal() -> None:
    whole = "\n".join(spoken().lines())
    redacted = "\n".join(spoken().lines(redact_text=True))
    for private in ("my name", "LiveKit", "Anna", '"my"'):
        assert private in whole
        assert private not in redacted
    heard = [step["text"] for step in steps(spoken(), redact_text=True) if "text" in step]
    assert heard[0] == {"type": "session.created", "session_id": "s1"}
    first, second, third = (message["transcript"] for message in heard[1:4])
    assert first == second != third
    assert (len(first), len(third)) == (len("my name"), len("my names"))
    assert heard[1]["language"] == "en"
    assert heard[1]["words"][0]["start"] == 0.01
    assert len(heard[4]) == len("my name is no message")
    assert len(heard[5]) == len('["my name"]')


def test_redacted_audio_is_silence_of_the_same_length() -> None:
    recorded = steps(spoken(), redact_audio=True)
    audio = next(step for step in recorded if "audio" in step)
    assert audio["audio"] == {"hex": "00" * 1601, "times": 1}
    assert audio["actions"] == [{"send": {"type": "input_audio", "audio": {"hex": "0000", "times": 800}}}]
    assert next(step["binary"]["hex"] for step in recorded if "binary" in step) == "00" * 7
    assert "my name" in json.dumps(recorded)


@pytest.mark.parametrize(
    ("audio", "silent"), [("AAEAAQ==", {"hex": "0000", "times": 2}), ("AAE=x", "-----"), ("AAF=", "----"), (5, 5)]
)
def test_audio_that_a_gateway_got_is_redacted_apart_from_text(audio: Any, silent: Any) -> None:
    recorder = Recorder.gateway("served")
    recorder.transport_opened(0.0)
    recorder.receive_text('{"type":"session.create","settings":{"extra":{"keyterm":["Anna"]}}}', 0.1)
    recorder.accept(0.2, session_id="s1")
    recorder.receive_text(json.dumps({"type": "input_audio", "audio": audio}), 0.3)

    def said(**redact: bool) -> Any:
        text = steps(recorder, **redact)[4]["text"]
        return (json.loads(text) if isinstance(text, str) else text)["audio"]

    assert said() == audio
    assert said(redact_text=True) == audio
    assert said(redact_audio=True) == silent
    assert "Anna" in "\n".join(recorder.lines(redact_audio=True))
    assert "Anna" not in "\n".join(recorder.lines(redact_text=True))
