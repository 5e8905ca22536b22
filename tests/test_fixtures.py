"""Every fixture is what the core does, every scenario is told, and every row is visited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lkstt_proto.dialogue import STATES, bundled, load
from lkstt_proto.machine import Machine
from lkstt_proto.replay import complete, run
from lkstt_proto.tables import TABLES, SessionState

FIXTURES = bundled()

# The scenarios of PROTOCOL section 8, by group and number of the last.
GROUPS = {"C": 14, "A": 9, "T": 21, "F": 4, "D": 10, "E": 11, "H": 4, "R": 14, "U": 9, "V": 3, "X": 2, "G": 6}

# Who tells them: fixtures, or a unit test where no dialogue is involved. Where CONTRACT section 4 decides otherwise
# than PROTOCOL section 8 the fixture tells the decision:
#   D03, D04  an open turn waits for the drain; D08, D10  a tail that nobody acknowledged is sent again
#   T08  an empty final while silent gives usage only; T10  a preflight while silent starts a turn
#   E07, E09  with everything acknowledged an error is a clean end; H01  401 gets one more attempt
#   R01, R02, R05  time and not a count ends an outage; R10 to R13  media times, unique usage, one drain
#   U08  a foreign model is refused on a live stream
SCENARIOS: dict[str, list[str]] = {
    "C01": ["create_minimal"],
    "C02": ["create_auto"],
    "C03": ["create_without_model"],
    "C04": ["create_language_suffix"],
    "C05": ["create_language_argument_wins"],
    "C06": ["create_splits_at_last_colon"],
    "C07": ["create_empty_suffix"],
    "C08": ["create_fallback"],
    "C09": ["create_required_rate"],
    "C10": ["create_merges_keyterms"],
    "C11": ["create_merges_vocabulary"],
    "C12": ["test_handshake.py: test_the_url_is_rewritten_for_websockets"],
    "C13": ["test_handshake.py: test_a_token_has_exactly_five_claims"],
    "C14": ["test_handshake.py: test_credentials_come_from_one_pair"],
    "A01": ["audio_in_whole_messages"],
    "A02": ["audio_cut_into_messages"],
    "A03": ["flush_sends_the_rest"],
    "A04": ["flush_sends_the_rest"],
    "A05": ["odd_byte_waits"],
    "A06": ["end_sends_the_rest"],
    "A07": ["audio_at_an_odd_rate"],
    "A08": ["audio_before_the_session"],
    "A09": ["audio_after_the_end"],
    "T01": ["turn"],
    "T02": ["turn_of_a_final_alone"],
    "T03": ["turn_begins_with_onset"],
    "T04": ["turn_begins_with_onset"],
    "T05": ["turn_after_turn"],
    "T06": ["interim_without_text"],
    "T07": ["final_without_text_ends_a_turn"],
    "T08": ["final_without_text_makes_no_turn"],
    "T09": ["preflight_in_a_turn"],
    "T10": ["preflight_begins_a_turn"],
    "T11": ["preflight_begins_a_turn"],
    "T12": ["final_before_any_audio"],
    "T13": ["usage_is_told_once"],
    "T14": ["times_of_a_later_session"],
    "T15": ["fields_absent_or_null"],
    "T16": ["fields_absent_or_null"],
    "T17": ["fields_of_wrong_types"],
    "T18": ["metadata"],
    "T19": ["ids"],
    "T20": ["languages_of_transcripts"],
    "T21": ["speakers"],
    "F01": ["unknown_messages"],
    "F02": ["binary_message"],
    "F03": ["malformed_messages"],
    "F04": ["final_after_finalized"],
    "D01": ["finish_without_an_answer"],
    "D02": ["finish_after_a_final"],
    "D03": ["finish_waits_for_an_open_turn"],
    "D04": ["finish_waits_for_a_new_turn"],
    "D05": ["finish_after_an_earlier_final"],
    "D06": [
        "finish_ignores_empty_interims",
        "finish_ignores_repeated_text",
    ],
    "D07": [
        "finish_on_session_closed",
        "finish_on_session_closed_without_a_final",
    ],
    "D08": [
        "finish_ends_after_a_second_barren_session",
        "finish_on_an_orderly_close",
        "finish_on_an_orderly_close_after_finalized",
        "finish_on_any_cut_when_nothing_is_missing",
        "finish_resends_the_tail",
    ],
    "D09": ["finish_timer_moves_for_news_only"],
    "D10": [
        "finish_on_any_cut_when_nothing_is_missing",
        "finish_resends_the_tail",
    ],
    "E01": ["session_closed_early"],
    "E02": ["close_codes"],
    "E03": ["gateway_error_500"],
    "E04": ["gateway_error_400"],
    "E05": ["gateway_errors_that_pass"],
    "E06": ["gateway_error_2007"],
    "E07": ["gateway_error_after_the_last_final"],
    "E08": ["gateway_error_codes"],
    "E09": [
        "gateway_error_400",
        "gateway_error_500",
    ],
    "E10": ["close_codes"],
    "E11": ["close_codes"],
    "H01": [
        "http_401_renewed",
        "http_401_twice",
        "http_403",
        "http_404",
    ],
    "H02": [
        "http_transient",
        "retry_after",
        "retry_after_is_a_floor",
        "retry_after_is_capped",
    ],
    "H03": [
        "connect_timeout",
        "opening_crosses_the_timeout",
    ],
    "H04": ["reset_in_upgrade"],
    "R01": [
        "retry_schedule",
        "retry_schedule_spread",
    ],
    "R02": [
        "retry_refused",
        "retry_refused_after_an_error",
        "retry_refused_mid_stream",
    ],
    "R03": ["outage_ends_with_a_final"],
    "R04": ["outage_ends_with_a_long_session"],
    "R05": [
        "outage_goes_on_after_a_short_session",
        "outage_is_not_ended_by_timeouts",
    ],
    "R06": ["audio_survives_the_wait"],
    "R07": ["remainder_survives_the_cut"],
    "R08": ["end_while_waiting"],
    "R09": ["turn_goes_on_after_a_cut"],
    "R10": ["usage_across_sessions"],
    "R11": ["times_are_media_times"],
    "R12": ["times_are_media_times"],
    "R13": ["drain_is_set_once"],
    "R14": ["create_after_an_update"],
    "U01": ["update_is_sparse"],
    "U02": ["update_is_sparse"],
    "U03": ["update_of_one_option"],
    "U04": ["update_of_keyterms_is_whole"],
    "U05": [
        "keyterms_wait_across_a_cut",
        "keyterms_wait_for_the_end_of_a_turn",
    ],
    "U06": ["update_of_keyterms_is_whole"],
    "U07": ["update_before_the_start"],
    "U08": ["update_to_a_foreign_model"],
    "U09": ["agent_context_is_cut"],
    "V01": ["endpoint_finalizes"],
    "V02": ["endpoint_of_a_model_that_finds_its_own"],
    "V03": ["endpoint_at_the_end"],
    "X01": [
        "close",
        "close_before_created",
        "close_ends_a_turn_without_words",
        "close_promotes_an_open_turn",
        "close_while_dropping",
    ],
    "X02": [
        "close_before_the_dial_was_taken",
        "close_before_the_start",
        "close_while_dialling",
        "close_while_waiting",
    ],
    "G01": ["gateway_create_twice"],
    "G02": ["gateway_audio_first"],
    "G03": ["gateway_bad_base64"],
    "G04": ["gateway_odd_bytes"],
    "G05": ["gateway_finalize_twice"],
    "G06": ["gateway_idle"],
}


@pytest.mark.parametrize("name", FIXTURES)
def test_the_core_does_what_the_fixture_says(name: str) -> None:
    assert [str(mismatch) for mismatch in run(load(FIXTURES[name]))] == []


@pytest.mark.parametrize("name", FIXTURES)
def test_a_completed_fixture_replays(name: str) -> None:
    lines = complete(FIXTURES[name].read_text("utf-8").splitlines())
    assert run(load(lines)) == []
    assert complete(lines) == lines


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_is_named_as_its_file_and_holds_no_credentials(name: str) -> None:
    text = FIXTURES[name].read_text("utf-8")
    assert load(FIXTURES[name]).name == name.removesuffix(".jsonl")
    assert not any(word in text.lower() for word in ("secret", "bearer", "api_key"))


@pytest.mark.parametrize("name", FIXTURES)
def test_states_and_deadline_are_stated_from_the_first_step(name: str) -> None:
    fixture = load(FIXTURES[name])
    assert set(fixture.steps[0].states) == set(STATES[fixture.role])


def test_every_scenario_is_told() -> None:
    assert set(SCENARIOS) == {f"{group}{n:02}" for group, last in GROUPS.items() for n in range(1, last + 1)}
    assert all(SCENARIOS.values())


def test_fixtures_and_table_agree_on_what_is_told() -> None:
    told = {
        (scenario, name.removesuffix(".jsonl"))
        for name, file in FIXTURES.items()
        for scenario in json.loads(file.read_text("utf-8").splitlines()[0]).get("scenarios", [])
    }
    listed = {(scenario, teller) for scenario, tellers in SCENARIOS.items() for teller in tellers}
    assert told == {pair for pair in listed if ":" not in pair[1]}


def test_scenarios_without_a_dialogue_have_a_unit_test() -> None:
    tellers = [teller for tellers in SCENARIOS.values() for teller in tellers if ":" in teller]
    for file, name in (teller.split(": ") for teller in tellers):
        assert f"def {name}(" in Path(__file__).with_name(file).read_text("utf-8")


def test_every_row_is_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    visited = set()
    step = Machine.step

    def noting(machine: Machine[SessionState], trigger: str) -> object:
        row = (machine._name, machine.state, trigger)
        effects = step(machine, trigger)
        visited.add(row)
        return effects

    monkeypatch.setattr(Machine, "step", noting)
    for file in FIXTURES.values():
        run(load(file))
    rows = {(table.name, row.state, row.trigger) for table in TABLES for row in table.rows}
    assert rows == visited
