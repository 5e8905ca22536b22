"""Option dictionaries of providers are typed, and every field is explained."""

from __future__ import annotations

import ast
import inspect
from typing import get_args, get_type_hints

from lkstt_proto import providers
from lkstt_proto.catalogue import lookup, models
from lkstt_proto.providers import ProviderOptions

COUNTS = {
    "DeepgramOptions": 25,
    "DeepgramFluxOptions": 8,
    "CartesiaOptions": 7,
    "AssemblyAIOptions": 14,
    "SpeechmaticsOptions": 15,
    "XaiOptions": 4,
    "InworldOptions": 9,
    "GoogleOptions": 2,
    "OpenAIOptions": 5,
}


def test_the_union_holds_every_provider_and_all_keys_are_optional() -> None:
    assert {kind.__name__: len(get_type_hints(kind)) for kind in get_args(ProviderOptions)} == COUNTS
    assert all(not kind.__required_keys__ for kind in get_args(ProviderOptions))


def test_every_field_has_its_explanation_beneath_it() -> None:
    for node in ast.parse(inspect.getsource(providers)).body:
        if isinstance(node, ast.ClassDef):
            fields = node.body[1:]
            for declared, explained in zip(fields[::2], fields[1::2], strict=True):
                assert isinstance(declared, ast.AnnAssign)
                assert isinstance(explained, ast.Expr)
                assert isinstance(explained.value, ast.Constant)


def test_keyterm_keys_of_the_catalogue_are_options() -> None:
    keys = {name for kind in get_args(ProviderOptions) for name in get_type_hints(kind)}
    assert {lookup(entry.model).keyterm_key for entry in models()} - {None} <= keys
