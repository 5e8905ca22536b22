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
    interims_that_nobody_reads,
    outage,
    outage_beyond_the_ring,
    real_speech,
    refusals,
    silent_link,
    stall_that_passes,
)

every_adapter = pytest.mark.parametrize("driver", ADAPTERS, ids=lambda driver: driver.name)


@every_adapter
@pytest.mark.parametrize("act", [Act.RESET, Act.FIN])
@pytest.mark.parametrize("speed", [1.0, 10.0, float("inf")])
def test_a_cut_in_mid_speech_loses_nothing(driver: Driver, speed: float, act: Act) -> None:
    cut_in_mid_speech(driver, act, speed)


@every_adapter
def test_a_cut_at_any_byte_loses_nothing(driver: Driver) -> None:
    cut_at_any_byte(driver)


@every_adapter
def test_an_outage_loses_nothing_that_the_ring_holds(driver: Driver) -> None:
    outage(driver)


@every_adapter
def test_what_an_outage_loses_is_told_to_the_sample(driver: Driver) -> None:
    outage_beyond_the_ring(driver)


@every_adapter
def test_refusals_that_pass_lose_nothing(driver: Driver) -> None:
    refusals(driver)


@every_adapter
def test_a_bad_wire_is_no_failure(driver: Driver) -> None:
    bad_wire(driver)


@every_adapter
@pytest.mark.parametrize("conduct", SILENCES.values(), ids=SILENCES)
def test_a_link_that_says_nothing_is_left_and_nothing_lost(driver: Driver, conduct: Conduct) -> None:
    silent_link(driver, conduct)


@every_adapter
def test_a_stall_that_passes_is_no_failure(driver: Driver) -> None:
    stall_that_passes(driver)


@every_adapter
def test_an_hour_that_the_gateway_does_not_read_is_bounded_and_told(driver: Driver) -> None:
    an_hour_that_nobody_reads(driver)


@every_adapter
def test_interims_that_nobody_reads_are_bounded(driver: Driver) -> None:
    interims_that_nobody_reads(driver)


@every_adapter
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_end_of_input_always_ends(driver: Driver, end: End) -> None:
    end_of_input(driver, end)


@every_adapter
@pytest.mark.skipif(not SPEECH.is_dir(), reason="the recordings are not part of the project")
@pytest.mark.skipif(find_spec("pocketsphinx") is None, reason="needs the extra local")
def test_real_speech_has_the_same_words_after_cuts(driver: Driver) -> None:
    real_speech(driver)
