"""Real sockets that break, on every adapter there is."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from proxy import Act, Conduct
from scenarios import (
    ADAPTERS,
    ENDS,
    SILENCES,
    SPEECH,
    Driver,
    End,
    an_hour_that_nobody_reads,
    bad_wire,
    cut_at_any_byte,
    cut_in_mid_speech,
    end_of_input,
    everywhere,
    interims_that_nobody_reads,
    outage,
    outage_beyond_the_ring,
    real_speech,
    refusals,
    silent_link,
    stall_that_passes,
    transcribed,
)

every_adapter = pytest.mark.parametrize("driver", ADAPTERS, ids=lambda driver: driver.name)


@pytest.mark.parametrize("act", [Act.RESET, Act.FIN])
@pytest.mark.parametrize("speed", [1.0, 10.0, float("inf")])
def test_a_cut_in_mid_speech_loses_nothing(speed: float, act: Act) -> None:
    everywhere(cut_in_mid_speech, act, speed)


def test_a_cut_at_any_byte_loses_nothing() -> None:
    everywhere(cut_at_any_byte)


def test_an_outage_loses_nothing_that_the_ring_holds() -> None:
    everywhere(outage)


def test_what_an_outage_loses_is_told_to_the_sample() -> None:
    everywhere(outage_beyond_the_ring)


def test_refusals_that_pass_lose_nothing() -> None:
    everywhere(refusals)


def test_a_bad_wire_is_no_failure() -> None:
    everywhere(bad_wire)


@pytest.mark.parametrize("conduct", SILENCES.values(), ids=SILENCES)
def test_a_link_that_says_nothing_is_left_and_nothing_lost(conduct: Conduct) -> None:
    everywhere(silent_link, conduct)


def test_a_stall_that_passes_is_no_failure() -> None:
    everywhere(stall_that_passes)


# Memory is measured in the whole process: one by one.


@every_adapter
def test_an_hour_that_the_gateway_does_not_read_is_bounded_and_told(driver: Driver) -> None:
    an_hour_that_nobody_reads(driver)


@every_adapter
def test_interims_that_nobody_reads_are_bounded(driver: Driver) -> None:
    interims_that_nobody_reads(driver)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_end_of_input_always_ends(end: End) -> None:
    everywhere(end_of_input, end)


@pytest.mark.skipif(not SPEECH.is_dir(), reason="the recordings are not part of the project")
@pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="needs the extra local")
def test_real_speech_has_the_same_words_after_cuts() -> None:
    transcribed()  # before two threads ask for it
    everywhere(real_speech, at_once=2)  # a recogniser needs half a processor
