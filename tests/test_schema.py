"""The schema allows what the decoders take without a word, and nothing else; what is described is what they do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lkstt_proto.dialogue import bundled, load
from lkstt_proto.encoding import encode_json
from lkstt_proto.messages import (
    CLIENT_MESSAGES,
    ENCODING,
    SERVER_MESSAGES,
    Unrecognized,
    decode_client,
    decode_server,
)
from lkstt_proto.options import Limits
from lkstt_proto.schema import KINDS, MESSAGES, Field, describe, schema
from lkstt_proto.wirejson import NotUsable, parse
from tests.decoding import Word

LIMITS = Limits()
SCHEMA = schema()
WHOLE = Draft202012Validator(SCHEMA)
BY_TYPE = {
    name: Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})
    for messages in MESSAGES.values()
    for name in messages
}
DECODE = {"client": decode_client, "gateway": decode_server}
OTHER = {"client": "gateway", "gateway": "client"}

# Values that a kind does not allow. What a hint holds is nobody's business, and `models` belongs to `fallback`.
BAD: dict[str, list[Any]] = {
    "transcript": [5, []],
    "text": [5, "\ud800"],
    "name": [5, "a\nb", "\u2066", "x" * (LIMITS.name + 1)],
    "seconds": [-1, "0.5", True],
    "confidence": ["1", True, 1.5],
    "metadata": [[], "x", {"a": ["\udfff"]}, {"\ud800": 1}],
    "words": [{}, "x", [5]],
    "code": ["a", 1.5, 2**53],
    "audio": [5, None, "AAA", "AA==", "AAAA\n", "AA_A"],
    "settings": [5, []],
    "model": [5, "a\x00"],
    "sample_rate": ["7999", "48001", "016000", 1.5, "x"],
    "encoding": ["opus", 5],
    "fallback": [5, []],
}
REFUSED = {"transcript", "audio", "settings", "model", "sample_rate", "encoding"}
FREE = {"nested", "models", "timeout", "retries"}


def complaints(sender: str, value: Any) -> list[str]:
    """The keywords that a message of a sender fails by; null where something has to be is as good as absent."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in MESSAGES[sender]:
        return ["type"]
    errors = BY_TYPE[kind].iter_errors(value)
    found = ["required" if error.instance is None else str(error.validator) for error in errors]
    assert WHOLE.is_valid(value) is not bool(found)
    return found


def places() -> Iterator[tuple[str, str, tuple[str, ...], Field]]:
    """Every field that is in no list, by sender, type and path."""

    def walk(fields: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
        for name, item in fields.items():
            yield (*path, name), item
            if KINDS[item.kind].schema.get("type") == "object":
                yield from walk(item.fields, (*path, name))

    for sender, messages in MESSAGES.items():
        for kind, message in messages.items():
            yield from ((sender, kind, path, item) for path, item in walk(message.fields, ()))


PLACES = list(places())
on_each_field = pytest.mark.parametrize(
    ("sender", "kind", "path", "item"), PLACES, ids=[f"{kind}:{'.'.join(path)}" for _, kind, path, _ in PLACES]
)
LEAST: dict[str, Any] = {
    "session.create": {"settings": {"sample_rate": "16000", "encoding": "pcm_s16le", "extra": {}}},
    "session.update": {"settings": {}},
    "input_audio": {"audio": "AAAAAA=="},
}


def message_with(kind: str, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The least message of a type, with one field as it is to be."""
    whole: dict[str, Any] = {"type": kind, **LEAST.get(kind, {})}
    holder = whole
    for name in path[:-1]:
        holder[name] = holder = dict(holder.get(name, {}))
    holder[path[-1]] = value
    return whole


def read(sender: str, message: dict[str, Any]) -> Any:
    return DECODE[sender](encode_json(message), LIMITS)


def test_every_message_is_there() -> None:
    assert list(MESSAGES["client"]) == list(CLIENT_MESSAGES)
    assert list(MESSAGES["gateway"]) == list(SERVER_MESSAGES)
    assert {item.kind for *_, item in PLACES} | {"text"} <= set(KINDS)
    assert set(BAD) | FREE == set(KINDS)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("kind", BY_TYPE)
def test_the_least_message_is_valid_and_understood(kind: str) -> None:
    sender = "client" if kind in CLIENT_MESSAGES else "gateway"
    message = {"type": kind, **LEAST.get(kind, {})}
    assert complaints(sender, message) == []
    assert read(sender, message).problems == ()
    assert complaints(OTHER[sender], message) == ["type"]


@on_each_field
def test_what_a_kind_does_not_allow_is_mended_or_refused(
    sender: str, kind: str, path: tuple[str, ...], item: Field
) -> None:
    for bad in BAD.get(item.kind, []):
        message = message_with(kind, path, bad)
        assert complaints(sender, message) != []
        if item.kind in REFUSED:
            with pytest.raises(NotUsable):
                read(sender, message)
        else:
            # Lone surrogates are mended in all settings at once.
            assert read(sender, message).problems in ((path[-1],), path[:1])


@on_each_field
def test_null_is_absent_where_the_schema_allows_it(sender: str, kind: str, path: tuple[str, ...], item: Field) -> None:
    message = message_with(kind, path, None)
    nullable = KINDS[item.kind].nullable and not item.required
    assert (complaints(sender, message) == []) is nullable
    if item.kind != "audio":
        assert read(sender, message).problems == ()


DEFAULTS = [(sender, kind, path, item) for sender, kind, path, item in PLACES if item.default is not None]


@pytest.mark.parametrize(
    ("sender", "kind", "path", "item"), DEFAULTS, ids=[f"{kind}:{'.'.join(path)}" for _, kind, path, _ in DEFAULTS]
)
def test_the_default_is_what_absent_means(sender: str, kind: str, path: tuple[str, ...], item: Field) -> None:
    said = read(sender, message_with(kind, path, item.default))
    absent = read(sender, message_with(kind, path, None))
    if path[0] == "settings":  # which are kept as they were sent, too
        assert getattr(said, path[-1]) == getattr(absent, path[-1])
    else:
        assert said == absent


def test_words_have_the_defaults_that_are_told() -> None:
    fields = MESSAGES["gateway"]["final_transcript"].fields["words"].fields
    (word,) = read("gateway", {"type": "final_transcript", "words": [{}]}).words
    assert Word(*word)._asdict() == {{"word": "text"}.get(name, name): item.default for name, item in fields.items()}


def messages_of(name: str) -> Iterator[tuple[str, bool, Any, str]]:
    """Sender, whether it is the core itself, and the message as value and text, for each message of a fixture."""
    fixture = load(bundled()[name])
    for step in fixture.steps:
        if step.method == "receive_text":
            assert isinstance(step.data, str)
            try:
                value = parse(step.data, LIMITS.message)
            except NotUsable:
                value = None
            yield OTHER[fixture.role], False, value, step.data
        for action in step.actions:
            if "send" in action:
                value = dict(action["send"])
                if isinstance(value.get("audio"), dict):
                    audio = bytes.fromhex(value["audio"]["hex"]) * value["audio"]["times"]
                    value["audio"] = b64encode(audio).decode()
                yield fixture.role, True, value, encode_json(value).decode()


@pytest.mark.parametrize("name", bundled())
def test_every_message_of_a_fixture_is_valid_unless_its_receiver_complains(name: str) -> None:
    options = load(bundled()[name]).options
    for sender, own, value, text in messages_of(name):
        found = complaints(sender, value)
        try:
            message = DECODE[sender](text, LIMITS)
            understood = not isinstance(message, Unrecognized) and not message.problems
        except NotUsable:
            understood = False
        if own and options.encoding == ENCODING:  # there is no other, though a caller may ask for one
            assert found == []
        # A gateway forgives the absence of what a client has to say.
        assert set(found) <= {"required"} if understood else found != []


def test_what_is_described_is_what_the_schema_says() -> None:
    described = describe()
    assert {name: kind["rule"] for name, kind in described["kinds"].items()} == {k: v.rule for k, v in KINDS.items()}
    assert described["kinds"]["seconds"]["schema"] == {"type": "number", "minimum": 0}
    word = described["gateway"]["interim_transcript"]["fields"]["words"]["fields"]["word"]
    assert word == {"kind": "text", "default": "", "required": False, "meaning": "The word."}
    assert described["client"]["session.close"] == {
        "trigger": "client:session.close",
        "meaning": MESSAGES["client"]["session.close"].meaning,
        "fields": {},
    }
