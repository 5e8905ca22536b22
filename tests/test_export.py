"""What ``machine.json`` says is what the modules do, and its prose names nothing that does not exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from lkstt_proto import connection, errors
from lkstt_proto.catalogue import lookup
from lkstt_proto.dialogue import event_json
from lkstt_proto.errors import FAILURES, SttError, gateway_failure, http_failure, verdict
from lkstt_proto.events import AudioDropped, RecognitionUsage, SpeechData, SpeechEvent, SpeechEventType, TimedWord
from lkstt_proto.export import BOUNDS, CLASSIFIERS, CONSTANTS, TIMERS, algorithms, machine, pretty
from lkstt_proto.gateway import GatewayLimits
from lkstt_proto.language import normalise_language
from lkstt_proto.machine import Machine
from lkstt_proto.options import Limits, RetryPolicy, STTOptions
from lkstt_proto.peer import Timer
from lkstt_proto.stats import Stats
from lkstt_proto.tables import TABLES

MACHINE = machine()
PROSE = {
    **{f"algorithm {name}": text for name, text in algorithms().items()},
    **{
        f"{table} {part}": "\n".join(words.values())
        for table, words_of in MACHINE["tables"].items()
        for part, words in words_of.items()
        if part in ("triggers", "effects", "meanings")
    },
    **{f"timer {timer}": "\n".join(texts) for timer, texts in TIMERS.items()},
    **{
        f"classifier {name}": "\n".join([meaning, *(when for when, _ in cases)])
        for name, (meaning, cases) in CLASSIFIERS.items()
    },
}

# What only the algorithms know, and examples.
LOCAL = {
    *("rate", "position", "capacity", "chunk", "pushed", "handed", "acknowledged", "rejoined", "ahead", "stretch"),
    *("since", "content", "max_messages", "bare", "auto", "false", "true", "overflow", "configure", "random"),
    *("gateway:", "client:", "agent_context", "unacknowledged", "round", "_"),
}  # fmt: skip


def names(value: Any) -> Iterator[str]:
    """All keys, and all values that are texts."""
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from names(item)
    elif isinstance(value, list):
        for item in value:
            yield from names(item)
    elif isinstance(value, str):
        yield value


def test_it_is_json_and_reads_back() -> None:
    assert json.loads(pretty(MACHINE)) == json.loads(json.dumps(MACHINE))


def test_what_fits_on_a_line_stands_on_one() -> None:
    long = {"a": ["x" * 60, "y" * 60], "b": {}, "c": {"d": 1}}
    assert pretty(long).split("\n") == [
        "{",
        '  "a": [',
        f'    "{"x" * 60}",',
        f'    "{"y" * 60}"',
        "  ],",
        '  "b": {},',
        '  "c": {"d": 1}',
        "}",
    ]
    assert pretty("z" * 200) == json.dumps("z" * 200)


def test_the_exported_rows_step_as_the_machines_do() -> None:
    for table in TABLES:
        exported = MACHINE["tables"][table.name]
        assert exported["initial"] == Machine(table).state
        rows = {(row["state"], row["trigger"]): row for row in exported["rows"]}
        assert len(rows) == len(table.rows)
        for state in table.states:
            for trigger in exported["triggers"]:
                stepped = Machine(table)
                stepped.state = state
                assert stepped.allows(trigger) is ((state, trigger) in rows)
                if stepped.allows(trigger):
                    row = rows[state, trigger]
                    assert list(stepped.step(trigger)) == row["effects"]
                    assert stepped.state == row["next"]


@pytest.mark.parametrize("name", MACHINE["tables"])
def test_every_word_of_a_table_has_a_meaning(name: str) -> None:
    table = MACHINE["tables"][name]
    assert list(table["meanings"]) == table["states"]
    assert set(table["triggers"]) == {row["trigger"] for row in table["rows"]}
    assert set(table["effects"]) == {effect for row in table["rows"] for effect in row["effects"]}
    assert all(text.endswith(".") for part in ("meanings", "triggers", "effects") for text in table[part].values())


def test_every_trigger_is_chosen_somewhere() -> None:
    chosen = {then for _, cases in CLASSIFIERS.values() for _, then in cases}
    told = {name for text in PROSE.values() for name in re.findall(r"`([^`]+)`", text)}
    said = {message["trigger"] for sender in ("client", "gateway") for message in MACHINE["messages"][sender].values()}
    for table in MACHINE["tables"].values():
        assert set(table["triggers"]) <= chosen | told | said
    triggers = {trigger for table in MACHINE["tables"].values() for trigger in table["triggers"]}
    assert chosen - triggers == {"nothing", *errors.Verdict}


def test_timers_are_all_there_in_their_order() -> None:
    assert [timer["name"] for timer in MACHINE["timers"]] == list(Timer)
    assert [timer["name"] for timer in MACHINE["timers"] if not timer["transport"]] == ["backoff", "drain"]


@pytest.mark.parametrize("kind", [Limits, RetryPolicy, GatewayLimits])
def test_every_bound_has_a_meaning(kind: type) -> None:
    (name,) = [name for name, (bounds, _) in BOUNDS.items() if isinstance(bounds, kind)]
    assert list(MACHINE["meanings"][name]) == [attribute.name for attribute in attrs.fields(kind)]
    assert kind(**MACHINE["constants"][name]) == kind()


def test_failures_say_what_the_errors_are() -> None:
    make = {"http": http_failure, "gateway": lambda code: gateway_failure(code, "")}
    assert len(MACHINE["failures"]) == len(FAILURES)
    for row in MACHINE["failures"]:
        # The numbers of one row may lie within those of a later one, but its first is its own.
        error = make[row["source"]](599 if row["first"] is None else row["first"])
        assert type(error).__name__ == row["error"]
        assert error.retryable is row["retryable"]
        assert verdict(error) == row["verdict"]


def test_errors_are_those_that_there_are() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SttError)}
    assert set(MACHINE["errors"]) == set(kinds)
    for name, error in MACHINE["errors"].items():
        assert error["retryable"] is kinds[name].retryable
        assert error["base"] == (None if name == "SttError" else kinds[name].__base__.__name__)
        assert error["meaning"].endswith(".")
    permanent = {name for name, error in MACHINE["errors"].items() if error["permanent"]}
    assert permanent == {"TlsError", "InsecureTransport", "UnexpectedRedirect", "LocalProtocolError"}


def test_diagnostics_are_those_that_are_told() -> None:
    source = Path(connection.__file__).read_text("utf-8")
    assert set(re.findall(r'_diagnose\(\s*"(\w+)"', source)) == set(MACHINE["diagnostics"])


def test_traffic_is_heard_in_the_states_that_are_told() -> None:
    assert set(MACHINE["listening"]) == {"up", "dropping", "closing"}


def test_events_have_the_fields_that_they_have_in_fixtures() -> None:
    data = SpeechData("en", "word", words=(TimedWord("word"),))
    event = SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, "", (data,), RecognitionUsage(1.0))
    written = event_json(event)
    told = MACHINE["events"]
    assert list(told["speech"]["fields"]) == list(written)
    assert list(told["parts"]["SpeechData"]) == list(written["alternatives"][0])
    assert list(told["parts"]["TimedWord"]) == list(written["alternatives"][0]["words"][0])
    assert list(told["parts"]["RecognitionUsage"]) == list(written["recognition_usage"])
    written = event_json(AudioDropped(0.0, 1.0, "overflow"))
    assert ["type", *told["client"][written["type"]]["fields"]] == list(written)
    assert set(told["client"]) == {
        *("session_created", "finalized", "reconnecting", "resumed", "audio_dropped", "diagnostic"),
        *("stream_ended", "stream_failed"),
    }
    assert "peer_lost" in told["gateway"]


def test_a_port_finds_languages_and_models_as_we_do() -> None:
    for name, code in MACHINE["languages"].items():
        assert normalise_language(name) == code
    for row in MACHINE["models"]:
        info = lookup(row["model"])
        assert row == {"model": row["model"], **attrs.asdict(info), "raw_languages": sorted(info.raw_languages)}
    assert set(MACHINE["catalogue"]) == {"defaults", "providers", "models"}
    assert MACHINE["catalogue"]["defaults"]["times"] is True


def test_algorithms_are_told_by_name_after_an_introduction() -> None:
    told = algorithms()
    assert next(iter(told)) == ""
    assert {"ring", "acknowledgement", "ledger", "liveness", "finish", "retry", "pacing", "settings"} <= set(told)
    assert {name: "\n".join(lines) for name, lines in MACHINE["algorithms"].items()} == told


@pytest.mark.parametrize("place", PROSE)
def test_prose_names_only_what_there_is(place: str) -> None:
    text = PROSE[place]
    known = {*names({**MACHINE, "algorithms": {}}), *MACHINE["algorithms"], *LOCAL}
    known |= {f"constants.{name}" for name in CONSTANTS}
    known |= {f"{name}.{key}" for name in BOUNDS for key in MACHINE["constants"][name]}
    known |= {attribute.name for kind in (Stats, STTOptions) for attribute in attrs.fields(kind)}
    known |= {"send_audio", "receive_text", "receive_binary"}
    assert [name for name in re.findall(r"`([a-z_.:]+)`", text) if name not in known] == []


@pytest.mark.parametrize("place", PROSE)
def test_references_lead_somewhere(place: str) -> None:
    for name, number in re.findall(r"`([a-z]+)` (\d+)", PROSE[place]):
        if (name, number) not in (("error", "400"), ("code", "401")):  # what they say, and no place
            assert f"\n{number}. " in f"\n{algorithms()[name]}"


def test_nothing_of_it_is_imported_with_the_package() -> None:
    script = "import sys, lkstt_proto; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "lkstt_proto.tables" in done.stdout.split()
    assert not {"lkstt_proto.export", "lkstt_proto.page", "lkstt_proto.schema"} & set(done.stdout.split())
