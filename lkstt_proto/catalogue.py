"""What is known about models: data in `models.json`, read at first use (PROTOCOL 6.1, CONTRACT 3).

A provider's entry covers every model of that provider, `provider/anything` (with `bare`, the provider's
name alone too); a model's entry adds to it. A model nobody has heard of is never refused.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import Any

from attrs import frozen

from .language import normalise_language


@frozen(kw_only=True)
class ModelInfo:
    """What a client must know about one model."""

    provider: str
    """The name before the slash; empty when the gateway chooses."""
    keyterm_key: str | None = None
    """Key in `extra` that takes keyterms, if the model takes any."""
    word_timings: bool = False
    """Whether transcripts were verified to carry word times."""
    sample_rate: int | None = None
    """The only rate in Hz that the model takes; None: any."""
    endpointing: bool = False
    """Whether the client must find the end of speech and send `session.finalize`."""
    context: bool = False
    """Whether the model uses `agent_context`."""
    times: bool = True
    """Whether a transcript's `start` and `duration` tell where in the audio it lies."""
    raw_languages: frozenset[str] = frozenset()
    """Language codes that are sent as they are, in lower case: BCP 47 would damage them."""

    def language(self, code: str) -> str:
        """Spell a language code for this model (PROTOCOL 6.4, CONTRACT decision 9)."""
        raw = code.strip().lower()
        return raw if raw in self.raw_languages else normalise_language(code)


@frozen
class ModelEntry:
    """One known model."""

    model: str
    info: ModelInfo


@cache
def _data() -> dict[str, dict[str, dict[str, Any]]]:
    from importlib.resources import files  # drags in tempfile and zipfile: not before it is needed

    data: dict[str, dict[str, dict[str, Any]]] = json.loads(
        files(__package__).joinpath("models.json").read_text("utf-8")
    )
    return data


@lru_cache(maxsize=256)  # bounded: a gateway looks up what strangers name
def lookup(model: str | None) -> ModelInfo:
    """Give what is known about a model, named without a language suffix; None: the gateway chooses."""
    provider, slash, _ = (model or "").partition("/")
    facts = dict(_data()["providers"].get(provider, {}))
    bare = facts.pop("bare", False)
    if not slash and not bare:
        facts = {}
    facts |= _data()["models"].get(model or "", {})
    facts["raw_languages"] = frozenset(facts.get("raw_languages", ()))
    return ModelInfo(provider=provider, **facts)


def models() -> tuple[ModelEntry, ...]:
    """List the models known by name, sorted."""
    return tuple(ModelEntry(name, lookup(name)) for name in sorted(_data()["models"]))
