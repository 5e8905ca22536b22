"""The rules of the protocol, as the contract and the dossier have them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from lkstt_proto.machine import Machine, MissingRow, Table
from lkstt_proto.tables import (
    LINK,
    SESSION,
    SPEECH,
    LinkEffect,
    LinkState,
    SessionEffect,
    SessionState,
    SpeechEffect,
    SpeechState,
)

ENDINGS = ("closed_end", "closed_fail")
CLIENT = (
    "client:session.create",
    "client:input_audio",
    "client:session.update",
    "client:session.finalize",
    "client:session.close",
)
TRANSCRIPTS = (
    "gateway:start_of_speech",
    "gateway:interim_transcript",
    "gateway:preflight_transcript",
    "gateway:final_transcript",
)
GATEWAY = (
    "gateway:session.created",
    *TRANSCRIPTS,
    "gateway:session.finalized",
    "gateway:session.closed",
    "gateway:error",
)
OPEN = (SessionState.CREATING, SessionState.STREAMING, SessionState.FINALIZING)


def walk(table: Table[Any], *triggers: str) -> tuple[str, list[StrEnum]]:
    """Step a new machine; give its state and all effects."""
    machine: Machine[Any] = Machine(table)
    effects = [effect for trigger in triggers for effect in machine.step(trigger)]
    return str(machine.state), effects


def row_of(table: Table[Any], state: StrEnum, trigger: str) -> tuple[StrEnum, tuple[StrEnum, ...]] | None:
    return table.moves[state].get(trigger)


def test_the_states_are_the_contracts() -> None:
    assert list(LinkState) == ["idle", "connecting", "up", "dropping", "backoff", "closing", "done"]
    assert list(SessionState) == ["new", "creating", "streaming", "finalizing", "ended", "failed"]
    assert list(SpeechState) == ["silent", "speaking"]


# The link.


def test_a_stream_is_dialled_opened_and_closed() -> None:
    assert walk(LINK, "start", "opened", "finish", "closed_end") == (
        "done",
        ["connect", "arm_connect", "open_session", "leave_session", "disconnect", "arm_close", "end"],
    )


@pytest.mark.parametrize("trigger", ["closed_retry", "closed_again", *ENDINGS])
@pytest.mark.parametrize("state", [LinkState.CONNECTING, LinkState.UP, LinkState.DROPPING])
def test_a_transport_may_go_from_wherever_one_is(state: LinkState, trigger: str) -> None:
    row = row_of(LINK, state, trigger)
    assert row is not None
    assert (
        row[0]
        is {
            "closed_retry": LinkState.BACKOFF,
            "closed_again": LinkState.CONNECTING,
            "closed_end": LinkState.DONE,
            "closed_fail": LinkState.DONE,
        }[trigger]
    )


@pytest.mark.parametrize("trigger", ["closed_retry", "closed_again", *ENDINGS])
@pytest.mark.parametrize("state", [LinkState.IDLE, LinkState.BACKOFF, LinkState.DONE])
def test_no_transport_goes_where_none_is(state: LinkState, trigger: str) -> None:
    assert row_of(LINK, state, trigger) is None


@pytest.mark.parametrize("trigger", ["closed_retry", "closed_again"])
def test_nothing_follows_a_close_by_wish(trigger: str) -> None:
    assert row_of(LINK, LinkState.CLOSING, trigger) is None


def test_another_attempt_rejoins_the_audio_before_it_is_told() -> None:
    for state in (LinkState.CONNECTING, LinkState.UP, LinkState.DROPPING):
        assert row_of(LINK, state, "closed_retry") == (LinkState.BACKOFF, ("rejoin", "tell_retry", "arm_backoff"))
        assert row_of(LINK, state, "closed_again") == (
            LinkState.CONNECTING,
            ("rejoin", "tell_retry", "connect", "arm_connect"),
        )


@pytest.mark.parametrize("state", list(LinkState))
def test_enough_is_possible_in_every_state(state: LinkState) -> None:
    row = row_of(LINK, state, "finish")
    assert row is not None
    assert row[0] in (LinkState.CLOSING, LinkState.DONE)


@pytest.mark.parametrize("state", [LinkState.IDLE, LinkState.BACKOFF])
def test_without_a_transport_enough_is_the_end(state: LinkState) -> None:
    assert row_of(LINK, state, "finish") == (LinkState.DONE, (LinkEffect.END,))


@pytest.mark.parametrize("trigger", ["broken", "lost"])
def test_a_broken_session_is_left_before_its_transport(trigger: str) -> None:
    assert row_of(LINK, LinkState.UP, trigger) == (
        LinkState.DROPPING,
        ("leave_session", "disconnect", "arm_close"),
    )


def test_a_dial_that_takes_too_long_is_abandoned() -> None:
    assert row_of(LINK, LinkState.CONNECTING, "connect_timeout") == (LinkState.DROPPING, ("disconnect", "arm_close"))


@pytest.mark.parametrize("state", [LinkState.DROPPING, LinkState.CLOSING])
def test_a_late_answer_to_a_disconnect_is_cut_and_a_crossing_opening_changes_nothing(state: LinkState) -> None:
    assert row_of(LINK, state, "close_timeout") == (state, (LinkEffect.ABORT,))
    assert row_of(LINK, state, "opened") == (state, ())


def test_nothing_leaves_the_end() -> None:
    assert {row.next for row in LINK.rows if row.state is LinkState.DONE} == {LinkState.DONE}


# The session.


def test_a_session_streams_finalizes_and_ends() -> None:
    state, effects = walk(
        SESSION,
        "client:session.create",
        "client:input_audio",
        "gateway:session.created",
        "client:input_audio",
        "client:session.finalize",
        "gateway:final_transcript",
        "gateway:session.finalized",
        "client:session.close",
        "gateway:session.closed",
        "closed",
    )
    assert state == "ended"
    assert effects == [
        "create", "audio", "created", "audio", "finalize", "hear", "finalized", "close", "closed",
    ]  # fmt: skip


@pytest.mark.parametrize("trigger", [*CLIENT[1:], *GATEWAY[:-1]])
def test_create_comes_first(trigger: str) -> None:
    machine = Machine(SESSION)
    with pytest.raises(MissingRow):
        machine.step(trigger)


def test_create_comes_once() -> None:
    for state in SessionState:
        assert (row_of(SESSION, state, "client:session.create") is None) == (state is not SessionState.NEW)


def test_a_gateway_may_refuse_before_anything_was_created() -> None:
    assert walk(SESSION, "gateway:error") == ("failed", ["error"])


@pytest.mark.parametrize("state", OPEN)
def test_audio_flows_in_every_open_session(state: SessionState) -> None:
    expected = SessionState.CREATING if state is SessionState.CREATING else SessionState.STREAMING
    assert row_of(SESSION, state, "client:input_audio") == (expected, (SessionEffect.AUDIO,))


@pytest.mark.parametrize("state", OPEN)
def test_settings_change_in_every_open_session(state: SessionState) -> None:
    assert row_of(SESSION, state, "client:session.update") == (state, (SessionEffect.UPDATE,))


@pytest.mark.parametrize("state", OPEN)
def test_a_duplicate_finalize_is_as_good_as_the_first(state: SessionState) -> None:
    assert row_of(SESSION, state, "client:session.finalize") == (SessionState.FINALIZING, (SessionEffect.FINALIZE,))


@pytest.mark.parametrize("trigger", TRANSCRIPTS)
def test_a_transcript_shows_that_the_session_is_there(trigger: str) -> None:
    assert row_of(SESSION, SessionState.CREATING, trigger) == (SessionState.STREAMING, (SessionEffect.HEAR,))


@pytest.mark.parametrize("trigger", TRANSCRIPTS)
@pytest.mark.parametrize("state", [state for state in SessionState if state is not SessionState.NEW])
def test_transcripts_are_heard_until_the_transport_closes(state: SessionState, trigger: str) -> None:
    row = row_of(SESSION, state, trigger)
    assert row is not None
    assert row[1] == (SessionEffect.HEAR,)


@pytest.mark.parametrize("trigger", CLIENT[1:4])
@pytest.mark.parametrize("state", [SessionState.ENDED, SessionState.FAILED])
def test_nothing_is_said_after_the_last_word(state: SessionState, trigger: str) -> None:
    assert row_of(SESSION, state, trigger) is None


def test_close_is_said_once_and_also_after_an_error() -> None:
    assert row_of(SESSION, SessionState.FAILED, "client:session.close") == (
        SessionState.FAILED,
        (SessionEffect.CLOSE,),
    )
    # The peer's session.closed, or our own close, leaves nothing to say.
    assert walk(SESSION, "client:session.create", "gateway:session.closed", "client:session.close") == (
        "ended",
        ["create", "closed"],
    )


@pytest.mark.parametrize("state", [SessionState.NEW, SessionState.ENDED, SessionState.FAILED])
def test_a_transport_brings_a_new_session_whatever_was(state: SessionState) -> None:
    assert row_of(SESSION, state, "opened") == (SessionState.NEW, ())
    assert row_of(SESSION, state, "stream_ended") == (SessionState.ENDED, ())
    assert row_of(SESSION, state, "stream_failed") == (SessionState.FAILED, ())


def test_a_session_cut_in_the_middle_failed_and_one_that_ended_stays_so() -> None:
    for state in (SessionState.NEW, *OPEN):
        assert row_of(SESSION, state, "closed") == (SessionState.FAILED, ())
    for state in (SessionState.ENDED, SessionState.FAILED):
        assert row_of(SESSION, state, "closed") == (state, ())


# Speech.


def test_a_turn_is_told_in_the_order_of_the_contract() -> None:
    assert walk(SPEECH, "gateway:interim_transcript", "gateway:final_transcript") == (
        "silent",
        ["start", "interim", "usage", "final", "end", "settings"],
    )
    assert walk(SPEECH, "gateway:final_transcript") == ("silent", ["start", "usage", "final", "end", "settings"])


def test_an_onset_starts_a_turn_once() -> None:
    assert walk(SPEECH, "gateway:start_of_speech", "gateway:start_of_speech") == ("speaking", ["start"])


def test_a_preflight_while_silent_starts_a_turn() -> None:
    assert walk(SPEECH, "gateway:preflight_transcript", "gateway:preflight_transcript") == (
        "speaking",
        ["start", "preflight", "preflight"],
    )


def test_an_empty_final_while_silent_is_usage_only() -> None:
    assert walk(SPEECH, "gateway:empty_final") == ("silent", ["usage"])


def test_an_empty_final_ends_an_open_turn() -> None:
    assert walk(SPEECH, "gateway:start_of_speech", "gateway:empty_final") == (
        "silent",
        ["start", "usage", "final", "end", "settings"],
    )


@pytest.mark.parametrize("trigger", ["gateway:empty_transcript", "gateway:late_transcript"])
@pytest.mark.parametrize("state", list(SpeechState))
def test_nothing_new_is_told_of_text_that_is_empty_or_late(state: SpeechState, trigger: str) -> None:
    assert row_of(SPEECH, state, trigger) == (state, ())


def test_the_end_of_a_stream_closes_an_open_turn() -> None:
    assert walk(SPEECH, "gateway:start_of_speech", "stream_over") == ("silent", ["start", "promote", "end", "usage"])
    assert walk(SPEECH, "stream_over") == ("silent", ["usage"])


def test_starts_and_ends_alternate_on_every_row() -> None:
    for row in SPEECH.rows:
        speaking = row.state is SpeechState.SPEAKING
        for effect in row.effects:
            if effect is SpeechEffect.START:
                assert not speaking
                speaking = True
            elif effect is SpeechEffect.END:
                assert speaking
                speaking = False
            elif effect in (SpeechEffect.INTERIM, SpeechEffect.PREFLIGHT, SpeechEffect.FINAL, SpeechEffect.PROMOTE):
                assert speaking
        assert speaking == (row.next is SpeechState.SPEAKING)
