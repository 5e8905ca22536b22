"""The protocol for people who write it in another language: tables, constants, messages and algorithms as data.

``machine`` gives ``spec/machine.json``. Nothing here is a second source: names and numbers are read from
the modules that use them, and the meanings that stand here are checked against them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from . import errors, wirejson
from .audio import SAMPLE_BYTES, SLACK
from .catalogue import _data, models
from .dialogue import CALLS, LOOKS, STATES
from .drain import SETTLED
from .endpointing import FRAMES_PER_SECOND
from .errors import FAILURES, SttError, Verdict
from .gateway import INACTIVITY_CODE, GatewayLimits
from .hearing import REMEMBERED
from .language import _table
from .liveness import LATE
from .machine import Table
from .messages import ENCODING, MAX_CODE, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from .options import DEFAULT_BASE_URL, DEFAULT_SAMPLE_RATE_HZ, Limits, RetryPolicy, STTOptions
from .peer import BATCH, Timer
from .retry import PROOF
from .sender import EPSILON
from .settings import _AGENT_CONTEXT_CHARACTERS, _CONNECTION_HINT
from .speech import DEFAULT_LANGUAGE, TOLERANCE
from .tables import TABLES, TRIGGERS

VERSION = 1
"""Of the form of ``machine.json``."""

TIMERS: Mapping[Timer, tuple[str, str, str]] = {
    Timer.CONNECT: (
        "Effect `arm_connect`: now + `retry.connect_timeout`.",
        "Effects `open_session` and `arm_close`; `transport_closed`.",
        "The failure is a `ConnectError` of phase `connect`; step the link table with `connect_timeout`.",
    ),
    Timer.BACKOFF: (
        "Effect `arm_backoff`: now + the delay of the retry schedule.",
        "Effects `end` and `fail`.",
        "Step the link table with `backoff_timeout`.",
    ),
    Timer.CLOSE: (
        "Effect `arm_close`: now + `limits.close`.",
        "`transport_closed`.",
        "Step the link table with `close_timeout`.",
    ),
    Timer.PING: (
        "See algorithm `liveness`.",
        "Effect `arm_close`; `transport_closed`; every time it is armed anew.",
        "A ping is due, and `pending`.",
    ),
    Timer.LOST: (
        "See algorithm `liveness`.",
        "Effect `arm_close`; `transport_closed`; every time it is armed anew.",
        "Judged as algorithm `liveness` says; where lost, step the link table with `lost`.",
    ),
    Timer.PACE: (
        "See algorithm `pacing`.",
        "Effect `arm_close`; `transport_closed`.",
        "Nothing by itself: the next message of the backlog may be taken.",
    ),
    Timer.QUIET: (
        "See algorithm `finish`.",
        "Effect `arm_close`; `transport_closed`; where algorithm `finish` says so.",
        "Judge the finish again.",
    ),
    Timer.DRAIN: (
        "`end_input`: now + `limits.drain` + the seconds then unsent; never moved.",
        "Trigger `finish`; effects `end` and `fail`.",
        "The finish expired unanswered: step the link table with `finish`.",
    ),
}
"""Of a client: what arms each, what cancels it beside its being due, and what is done when it is due."""


def machine() -> dict[str, Any]:
    """Give everything in ``machine.json``."""
    return {
        "version": VERSION,
        "tables": {table.name: _table_of(table) for table in TABLES},
        "timers": [
            {"name": timer, "armed": TIMERS[timer][0], "cancelled": TIMERS[timer][1], "due": TIMERS[timer][2]}
            for timer in Timer
        ],
        "constants": _constants(),
        "failures": [
            {
                "source": row.source,
                "first": row.first,
                "last": row.last,
                "verdict": row.verdict,
                "retryable": row.verdict is Verdict.TRANSIENT,
                "error": row.error.__name__,
            }
            for row in FAILURES
        ],
        "errors": {kind.__name__: _error(kind) for kind in _kinds(SttError)},
        "roles": {
            role: {
                "calls": {
                    name: {"required": sorted(required), "optional": sorted(optional)}
                    for name, (required, optional) in calls.items()
                },
                "states": list(STATES[role]),
                "looks": sorted(LOOKS[role]),
            }
            for role, calls in CALLS.items()
        },
        "catalogue": {"providers": _data()["providers"], "models": _data()["models"]},
        "models": [{"model": entry.model, **_facts(entry.info)} for entry in models()],
        "languages": _table(),
    }


def _table_of(table: Table[Any]) -> dict[str, Any]:
    effects = {effect for row in table.rows for effect in row.effects}
    return {
        "initial": next(iter(table.states)),
        "states": list(table.states),
        "rows": [
            {"state": row.state, "trigger": row.trigger, "next": row.next, "effects": list(row.effects)}
            for row in table.rows
        ],
        "triggers": dict(TRIGGERS[table.name]),
        "effects": {effect: effect.meaning for kind in {type(e) for e in effects} for effect in kind},
        "meanings": {state: state.meaning for state in table.states},
    }


def _constants() -> dict[str, Any]:
    return {
        "limits": attrs.asdict(Limits()),
        "retry": attrs.asdict(RetryPolicy()),
        "patience": attrs.asdict(GatewayLimits()),
        "default_base_url": DEFAULT_BASE_URL,
        "default_model": STTOptions().model,
        "default_sample_rate": DEFAULT_SAMPLE_RATE_HZ,
        "default_language": DEFAULT_LANGUAGE,
        "default_close_code": 1006,
        "encoding": ENCODING,
        "connection_hint": dict(_CONNECTION_HINT),
        "sample_bytes": SAMPLE_BYTES,
        "chunks_per_second": 20,
        "frames_per_second": FRAMES_PER_SECOND,
        "batch": BATCH,
        "epsilon": EPSILON,
        "slack": SLACK,
        "tolerance": TOLERANCE,
        "late": LATE,
        "proof": PROOF,
        "settled": SETTLED,
        "remembered": REMEMBERED,
        "agent_context_characters": _AGENT_CONTEXT_CHARACTERS,
        "max_code": MAX_CODE,
        "max_nesting": wirejson.MAX_NESTING,
        "max_integer_digits": wirejson.MAX_INTEGER_DIGITS,
        "min_sample_rate": MIN_SAMPLE_RATE_HZ,
        "max_sample_rate": MAX_SAMPLE_RATE_HZ,
        "inactivity_code": INACTIVITY_CODE,
    }


def _kinds(kind: type[SttError]) -> list[type[SttError]]:
    own = [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    return [kind, *(inner for sub in own for inner in _kinds(sub))]


def _error(kind: type[SttError]) -> dict[str, Any]:
    base = kind.__base__
    return {
        "base": base.__name__ if base is not Exception else None,
        "retryable": kind.retryable,
        "meaning": (kind.__doc__ or "").partition("\n")[0],
    }


def _facts(info: Any) -> dict[str, Any]:
    return {**attrs.asdict(info), "raw_languages": sorted(info.raw_languages)}
