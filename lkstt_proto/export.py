"""The protocol as data, for people who write it in another language: ``spec/machine.json``.

Nothing here is a second source. Names and numbers come from the modules that use them; the meanings that stand here
name nothing that does not exist, and leave out nothing that does. What takes sentences is told in ``algorithms.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import attrs

from . import errors, events
from .audio import SAMPLE_BYTES, SLACK
from .catalogue import ModelInfo, _data, lookup, models
from .connection import _LISTENING
from .dialogue import _ERROR_FIELDS, _HEADER, _STEP, CALLS, LOOKS, STATES
from .drain import SETTLED
from .endpointing import FRAMES_PER_SECOND
from .errors import FAILURES, SttError, Verdict, verdict
from .events import GatewayEvent, RecognitionUsage, SpeechData, SpeechEvent, StreamEvent, TimedWord
from .gateway import INACTIVITY_CODE, GatewayLimits
from .hearing import REMEMBERED
from .language import _table
from .link import _TRANSPORT_TIMERS
from .liveness import LATE
from .machine import Table
from .messages import ENCODING, MAX_CODE, MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from .options import _JSON_LEVELS, DEFAULT_BASE_URL, DEFAULT_SAMPLE_RATE_HZ, Limits, RetryPolicy, STTOptions
from .peer import BATCH, Timer
from .retry import PROOF
from .schema import describe
from .sender import EPSILON, Sender
from .settings import _AGENT_CONTEXT_CHARACTERS, _CONNECTION_HINT
from .speech import DEFAULT_LANGUAGE, TOLERANCE
from .tables import LINK, SESSION, SPEECH, TRIGGERS, LinkEffect, SessionEffect, SpeechEffect, Word
from .wirejson import MAX_INTEGER_DIGITS, MAX_NESTING

WordT = TypeVar("WordT", bound=Word)

VERSION = 1
"""Of the form of ``machine.json``."""

TIMERS: Mapping[Timer, tuple[str, str, str]] = {
    Timer.CONNECT: (
        "Effect `arm_connect`: now + `retry.connect_timeout`.",
        "Effect `open_session`.",
        "The failure is a `ConnectError` (phase `connect`); step the link table with `connect_timeout`.",
    ),
    Timer.BACKOFF: (
        "Effect `arm_backoff`: now + the delay that the outage gave (`retry`).",
        "Nothing else.",
        "Step the link table with `backoff_timeout`.",
    ),
    Timer.CLOSE: (
        "Effect `arm_close`: now + `limits.close`.",
        "Nothing else.",
        "Step the link table with `close_timeout`.",
    ),
    Timer.PING: (
        "Algorithm `liveness` 7: the deadline, while no ping is asked.",
        "Algorithm `liveness` 7: first of all, whenever it may be armed anew.",
        "A ping is due: `pending`, and given by the next taking of actions.",
    ),
    Timer.LOST: (
        "Algorithm `liveness` 7: the deadline, while a ping is asked.",
        "Algorithm `liveness` 7: first of all, whenever it may be armed anew.",
        "Algorithm `liveness` 8.",
    ),
    Timer.PACE: (
        "Algorithm `take` 5: when the next chunk of the backlog may go.",
        "Nothing else.",
        "Nothing by itself: `pending` is true by then.",
    ),
    Timer.QUIET: (
        "Algorithm `finish` 7: when the finish will be taken as answered.",
        "Algorithm `finish` 7.",
        "Judge the finish.",
    ),
    Timer.DRAIN: (
        "Algorithm `calls` 5: now + `limits.drain` + the seconds unsent. It never moves.",
        "Algorithm `calls` 7.",
        "The finish has expired; finish (`finish` 8).",
    ),
}
"""Of a client, in the order in which due timers are judged: what arms each, what cancels it, what it does when due.

Beside that, ``arm_close`` and a closed transport cancel those of the transport; the end of the stream cancels all.
"""

CLASSIFIERS: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "transcript": (
        "What steps the speech table when a row of the session table says `hear`.",
        (
            ("`start_of_speech`", "gateway:start_of_speech"),
            ("a final without text", "gateway:empty_final"),
            ("a final", "gateway:final_transcript"),
            ("no text", "gateway:empty_transcript"),
            (
                (
                    "it has an end position (`transcripts` 5), 0 < end position <= exact (`acknowledgement` 2), and "
                    "its start was no problem"
                ),
                "gateway:late_transcript",
            ),
            ("an interim", "gateway:interim_transcript"),
            ("a preflight", "gateway:preflight_transcript"),
        ),
    ),
    "verdict": (
        "What a failure means for the next attempt.",
        (
            ("a `TlsError`, `InsecureTransport`, `UnexpectedRedirect` or `LocalProtocolError`", "permanent"),
            ("an `AuthError` with `http_status` 401, or a `GatewayError` with `code` 401", "unauthorized"),
            ("`retryable`", "transient"),
            ("otherwise", "permanent"),
        ),
    ),
    "break": (
        "What the gateway's `error` or early `session.closed` does, by its failure.",
        (
            ("the link is not `up`", "nothing"),
            ("the input has ended and nothing is unacknowledged: finish", "finish"),
            ("its verdict is permanent: it is fatal (`retry` 1); finish", "finish"),
            ("otherwise: it is what broke this transport from our side (`closed` 2)", "broken"),
        ),
    ),
    "closed": (
        "What steps the link table when the transport closed.",
        (
            ("the link is `closing` and a failure is fatal", "closed_fail"),
            ("the link is `closing`", "closed_end"),
            ("the input has ended and nothing is unacknowledged", "closed_end"),
            (
                (
                    "the input has ended, the close code is 1000, nothing broke this transport from our side, this "
                    "session's last finalize was answered or `session.finalized` was noted (`finish` 2, 3), and no "
                    "turn is open"
                ),
                "closed_end",
            ),
            ("the failure is judged (classifier `retry`, with its effects) as `closed_fail`", "closed_fail"),
            (
                (
                    "last finalizes were sent on more than one session, this one among them, and this one is not "
                    "fruitful: the finish has expired"
                ),
                "closed_end",
            ),
            ("classifier `retry` said so", "closed_again"),
            ("classifier `retry` said so", "closed_retry"),
        ),
    ),
    "retry": (
        "What a failure means for the link, once it is counted as algorithm `retry` says.",
        (
            ("its verdict is permanent", "closed_fail"),
            ("its verdict is unauthorized, and so was one before, since reauthorized", "closed_fail"),
            ("the outage is as old as `retry.outage`", "closed_fail"),
            ("its verdict is unauthorized", "closed_again"),
            ("otherwise", "closed_retry"),
        ),
    ),
}
"""Conditions and the triggers that they choose; the first that holds counts."""

CONSTANTS: Mapping[str, tuple[Any, str]] = {
    "default_base_url": (DEFAULT_BASE_URL, "Where a gateway is, if nothing else is said."),
    "default_model": (STTOptions().model, "The model, if nothing else is said."),
    "default_sample_rate": (DEFAULT_SAMPLE_RATE_HZ, "Hz, if neither options nor catalogue say more."),
    "default_language": (DEFAULT_LANGUAGE, "Of a transcript, if neither it nor the stream names one."),
    "default_close_code": (1006, "Of a transport that closed without telling one."),
    "encoding": (ENCODING, "Signed 16-bit little-endian mono."),
    "connection_hint": (_CONNECTION_HINT, "`connection` of `session.create`."),
    "sample_bytes": (SAMPLE_BYTES, "Bytes of a sample."),
    "chunks_per_second": (DEFAULT_SAMPLE_RATE_HZ // Sender(Limits(), DEFAULT_SAMPLE_RATE_HZ).ring.chunk, "Full ones."),
    "frames_per_second": (FRAMES_PER_SECOND, "That an endpointer hears."),
    "batch": (BATCH, "Messages given at a time, at most."),
    "epsilon": (EPSILON, "Seconds by which a timer may be early."),
    "slack": (SLACK, "Samples by which a time may miss a position."),
    "tolerance": (TOLERANCE, "Seconds by which a gateway's rounding may pass the audio sent."),
    "late": (LATE, "Seconds after which a timeout says more about us than about the gateway."),
    "proof": (PROOF, "Seconds of a live session that end an outage."),
    "settled": (SETTLED, "Seconds for trailing transcripts, once `session.finalized` came."),
    "remembered": (REMEMBERED, "Seconds of acknowledged audio whose places are kept."),
    "agent_context_characters": (_AGENT_CONTEXT_CHARACTERS, "Of `agent_context`: the newest are sent."),
    "max_code": (MAX_CODE, "Distance from 0 of an error's code, at most."),
    "max_nesting": (MAX_NESTING, "Arrays and objects within each other, at most."),
    "max_integer_digits": (MAX_INTEGER_DIGITS, "Of an integer, at most."),
    "max_option_nesting": (_JSON_LEVELS, "Arrays and objects within each other in an option, at most."),
    "min_sample_rate": (MIN_SAMPLE_RATE_HZ, "Hz that a gateway takes, at least."),
    "max_sample_rate": (MAX_SAMPLE_RATE_HZ, "Hz that a gateway takes, at most."),
    "inactivity_code": (INACTIVITY_CODE, "Code of the `error` that ends an idle session."),
}

DIAGNOSTICS: Mapping[str, str] = {
    "invalid_message": "A text that cannot be used (`json`, kind `transcript`).",
    "binary_message": "A binary message.",
    "unknown_type": "A message of a type that is not known.",
    "unexpected_message": "A message without a row in the session table.",
    "invalid_field": "Fields that were mended or left out, one diagnostic for a message.",
    "settings_refused": "Options offered to many streams that this one cannot take.",
    "endpointer_failed": "The endpointer raised, and is not asked any more.",
}
"""Of a client, by ``kind``."""

BOUNDS: Mapping[str, tuple[Any, Mapping[str, str]]] = {
    "limits": (
        Limits(),
        {
            "audio_buffer": "Seconds of unsent audio kept, and as many of sent but unacknowledged audio.",
            "lookback": "Seconds before the newest audio listened to that silence does not acknowledge.",
            "replay_pace": "How many times real time a resumed session's backlog is sent.",
            "ahead": "Seconds of audio sent beyond what is confirmed.",
            "ping_interval": "Seconds without inbound traffic, or of audio sent, after which a ping goes out.",
            "ping_timeout": "Seconds that a ping's answer may take beyond the audio ahead of it.",
            "drain": "Seconds for the whole finish, beyond the audio unsent at its beginning.",
            "quiet": "Seconds without new text after which a finish with no turn open is done.",
            "close": "Seconds for the closing handshake.",
            "unread_events": "Events that may wait before receiving stops.",
            "message": "Bytes of one received message.",
            "words": "Words of one transcript.",
            "text": "UTF-8 bytes of one text.",
            "name": "Characters of an id, a language or a model.",
        },
    ),
    "retry": (
        RetryPolicy(),
        {
            "connect_timeout": "Seconds for one attempt: TCP, TLS and the upgrade.",
            "first_delay": "Seconds before the second attempt; doubles with each one after.",
            "max_delay": "Seconds between attempts, at most.",
            "outage": "Seconds that attempts may fail in a row.",
            "retry_after": "Seconds that a server may ask for, at most.",
        },
    ),
    "patience": (
        GatewayLimits(),
        {
            "create": "Seconds from the opening to `session.create`. Of a gateway.",
            "idle": "Seconds without any message. Of a gateway.",
            "close": "Seconds for the closing handshake. Of a gateway.",
        },
    ),
}
"""What a caller may choose, with its defaults."""


def pretty(value: Any, indent: str = "") -> str:
    """Write JSON for people: what fits on a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or len(indent) + len(line) < _WIDTH:
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {pretty(item, inner)}" for key, item in value.items()]
    else:
        items = [pretty(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join((opening, ",\n".join(inner + item for item in items), indent + closing))


_WIDTH = 120


def algorithms() -> dict[str, str]:
    """Give what takes sentences: Markdown by heading; what stands before the first heading is under ``""``."""
    from importlib.resources import files  # drags in tempfile and zipfile: not before it is needed

    sections = files(__package__).joinpath("algorithms.md").read_text("utf-8").split("\n## ")
    named = [section.partition("\n") for section in sections[1:]]
    return {"": sections[0].strip(), **{name: text.strip() for name, _, text in named}}


def machine() -> dict[str, Any]:
    """Give everything in ``machine.json``; ``machine.md`` tells the same to people."""
    return {
        "version": VERSION,
        "comment": "Generated by `lkstt spec --write`. machine.md tells the same to people.",
        "tables": {"link": _table_of(LINK), "session": _table_of(SESSION), "speech": _table_of(SPEECH)},
        "timers": [
            {
                "name": timer,
                "transport": timer in _TRANSPORT_TIMERS,
                "armed": armed,
                "cancelled": cancelled,
                "due": due,
            }
            for timer, (armed, cancelled, due) in TIMERS.items()
        ],
        "classifiers": {
            name: {"meaning": meaning, "cases": [{"when": when, "then": then} for when, then in cases]}
            for name, (meaning, cases) in CLASSIFIERS.items()
        },
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
        "errors": {
            kind.__name__: {
                "base": _base(kind),
                "retryable": kind.retryable,
                "permanent": _is_permanent(kind),
                "meaning": _summary(kind),
            }
            for kind in _and_below(SttError, errors.__name__)
        },
        "constants": {
            **{name: attrs.asdict(bounds) for name, (bounds, _) in BOUNDS.items()},
            **{name: value for name, (value, _) in CONSTANTS.items()},
        },
        "meanings": {
            **{name: dict(meanings) for name, (_, meanings) in BOUNDS.items()},
            **{name: meaning for name, (_, meaning) in CONSTANTS.items()},
        },
        "messages": describe(),
        "events": _events(),
        "diagnostics": DIAGNOSTICS,
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
        "listening": list(_LISTENING),
        "fixtures": {
            "header": sorted(_HEADER),
            "step": sorted({*_STEP, *(name for names in STATES.values() for name in names)}),
            "error": ["name", "retryable", *_ERROR_FIELDS],
        },
        "algorithms": {name: text.split("\n") for name, text in algorithms().items()},
        "catalogue": {"defaults": _facts(lookup(None)), **_data()},
        "models": [{"model": entry.model, **_facts(entry.info)} for entry in models()],
        "languages": _table(),
    }


_EFFECTS: Mapping[str, type[Word]] = {"link": LinkEffect, "session": SessionEffect, "speech": SpeechEffect}


def _table_of(table: Table[WordT]) -> dict[str, Any]:
    return {
        "initial": next(iter(table.states)),
        "states": list(table.states),
        "meanings": {state: state.meaning for state in table.states},
        "triggers": TRIGGERS[table.name],
        "effects": {effect: effect.meaning for effect in _EFFECTS[table.name]},
        "rows": [
            {"state": row.state, "trigger": row.trigger, "next": row.next, "effects": list(row.effects)}
            for row in table.rows
        ],
    }


def _and_below(kind: type[Any], module: str) -> Iterator[type[Any]]:
    """``kind`` and what derives from it in ``module``; other modules may have more."""
    yield kind
    for derived in kind.__subclasses__():
        if derived.__module__ == module:
            yield from _and_below(derived, module)


def _facts(info: ModelInfo) -> dict[str, Any]:
    return {**attrs.asdict(info), "raw_languages": sorted(info.raw_languages)}


def _is_permanent(kind: type[SttError]) -> bool:
    """Whether no attempt follows such an error, not even one that says it is retryable."""
    error = kind("")
    error.retryable = True
    return verdict(error) is Verdict.PERMANENT


def _base(kind: type[Any]) -> str | None:
    return None if kind is SttError else kind.__mro__[1].__name__


def _summary(kind: type[Any]) -> str:
    return (kind.__doc__ or "").partition("\n")[0].replace("``", "`")


_TYPES = {
    "str": "text",
    "float": "number",
    "int": "integer",
    "bool": "boolean",
    "bytes": "audio",
    "SttError": "error",
    "str | None": "text or null",
    "Mapping[str, Any]": "object",
    "Mapping[str, Any] | None": "object or null",
    "SpeechEventType": "text",
    "tuple[SpeechData, ...]": "list of SpeechData",
    "tuple[TimedWord, ...]": "list of TimedWord",
    "RecognitionUsage | None": "RecognitionUsage or null",
}


def _events() -> dict[str, Any]:
    """What is told: by type in fixtures, and the parts that it is made of."""
    speech = {"meaning": _summary(SpeechEvent), "fields": _types(SpeechEvent)}
    told = [kind for base in (StreamEvent, GatewayEvent) for kind in _and_below(base, events.__name__)]
    return {
        "speech": {"types": [kind.value for kind in events.SpeechEventType], **speech},
        "parts": {part.__name__: _types(part) for part in (SpeechData, TimedWord, RecognitionUsage)},
        **{
            role: {
                _snake(kind.__name__): {"meaning": _summary(kind), "fields": _types(kind)}
                for kind in told
                if issubclass(kind, base) and kind is not base
            }
            for role, base in (("client", StreamEvent), ("gateway", GatewayEvent))
        },
    }


def _types(kind: type[Any]) -> dict[str, str]:
    if attrs.has(kind):
        return {attribute.name: _TYPES[str(attribute.type)] for attribute in attrs.fields(kind)}
    # A NamedTuple wraps what its annotations say.
    return {name: _TYPES[kind.__annotations__[name].__forward_arg__] for name in kind._fields}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
