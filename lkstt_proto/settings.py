"""The settings of one stream: what the gateway was told, and what it is to be told.

The caller's own options are the baseline and stay apart from the session's keyterms; both are merged only
on their way out, so that a keyterm can be taken back (PROTOCOL 6.6, CONTRACT decision 9).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from attrs import define, field

from .catalogue import ModelInfo, lookup
from .errors import LocalProtocolError
from .options import STTOptions, plain_extra, plain_text, split_model


class Unchanged(Enum):
    """Type of the argument that was not given: None means something."""

    UNCHANGED = "unchanged"


UNCHANGED: Final = Unchanged.UNCHANGED

# What the reference clients always say (PROTOCOL 2.1, CONTRACT decision 7).
_CONNECTION_HINT = {"timeout": 10.0, "retries": 3}
_AGENT_CONTEXT_CHARACTERS = 1750  # PROTOCOL 6.6; the newest words matter most


def merge_keyterms(key: str, user: list[Any], session: tuple[str, ...]) -> list[Any]:
    """Merge the user's keyterms with the session's: user first, none twice, order kept (PROTOCOL 6.6).

    Under `additional_vocab` the user's entries stay as they are, and new terms become objects.
    """
    if key != "additional_vocab":
        return list(dict.fromkeys([*user, *session]))
    known = [entry.get("content") if isinstance(entry, dict) else entry for entry in user]
    return user + [{"content": term} for term in dict.fromkeys(session) if term not in known]


def _same(one: object, other: object) -> bool:
    # As JSON: in Python true equals 1.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _extra(value: object, info: ModelInfo) -> dict[str, Any]:
    extra = plain_extra("extra", value, info)
    context = extra.get("agent_context")
    if isinstance(context, str):
        extra["agent_context"] = context[-_AGENT_CONTEXT_CHARACTERS:]
    return extra


def _keyterms(value: object) -> tuple[str, ...]:
    terms = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(terms, list | tuple):
        raise LocalProtocolError(f"keyterms must be a list of texts, not {type(terms).__name__}", phase="configure")
    return tuple(plain_text("keyterms", term) for term in terms)


@define
class Settings:
    """Model, language, provider options and session keyterms of one stream, across its sessions."""

    _options: STTOptions
    model: str | None = field(init=False)
    """None: the gateway chooses."""
    language: str | None = field(init=False)
    """As sent; None: not said."""
    extra: dict[str, Any] = field(init=False, repr=False)
    """The user's own options, without the session's keyterms."""
    keyterms: tuple[str, ...] = field(init=False, default=(), repr=False)
    """The session's keyterms."""
    _told: list[Any] = field(init=False, factory=list, repr=False)
    _looked: bool = field(init=False, default=False)
    # Whether nothing changed since the keyterms were last compared: every final asks.
    """Keyterms that the current session knows."""

    def __attrs_post_init__(self) -> None:
        self.model = self._options.model
        self.language = self._options.language
        self.extra = _extra(self._options.extra_kwargs, self.info)

    @property
    def info(self) -> ModelInfo:
        """What the catalogue knows about the current model."""
        return lookup(self.model)

    def create(self) -> dict[str, Any]:
        """Give the body of `session.create`, all but its type (PROTOCOL 2.1); nothing is deferred any more."""
        extra = dict(self.extra)
        key = self.info.keyterm_key
        if key is not None:
            # Present even when empty, as the reference clients send it.
            extra[key] = self._told = self._merged(key)
        settings: dict[str, Any] = {
            "sample_rate": str(self._options.sample_rate),
            "encoding": self._options.encoding,
            "extra": extra,
        }
        if self.language is not None:
            settings["language"] = self.language
        body: dict[str, Any] = {"settings": settings, "connection": dict(_CONNECTION_HINT)}
        if self.model is not None:
            body["model"] = self.model
        if self._options.fallback:
            body["fallback"] = {
                "models": [{"model": item.model, "extra": item.extra} for item in self._options.fallback]
            }
        return body

    def change(
        self,
        *,
        model: str | Unchanged | None = UNCHANGED,
        language: str | Unchanged | None = UNCHANGED,
        extra: Mapping[str, object] | Unchanged = UNCHANGED,
        keyterms: Sequence[str] | Unchanged | None = UNCHANGED,
        live: bool,
        speaking: bool,
    ) -> dict[str, Any] | None:
        """Remember a change; give the sparse `settings` of a `session.update` to send now (PROTOCOL 2.3).

        Returns None when there is nothing to send: nothing changed, no session is `live` (the next `create`
        carries it), or it is keyterms while `speaking` (see `take_deferred`). `extra` is merged by key.
        An empty language is unsaid. Raises LocalProtocolError, and changes nothing, for values that cannot
        be, for a model that needs another sample rate, and on a `live` stream for a model of another provider
        or endpointing need.
        """
        name, info, suffix = self._new_model(model, live=live)
        if language is UNCHANGED:
            language = self.language if suffix is None else suffix
        elif language is not None:
            language = plain_text("language", language)
        spelt = (info.language(language) or None) if language else None
        delta = {} if extra is UNCHANGED else _extra(extra, info)
        # Checked as a whole: a model of the same provider may read a keyterm key that the old one did not.
        merged_extra = plain_extra("extra", {**self.extra, **delta}, info)
        session_keyterms = self.keyterms if keyterms is UNCHANGED else _keyterms(keyterms)

        settings: dict[str, Any] = {}
        if name != self.model:
            settings["model"] = name
        if spelt != self.language:
            settings["language"] = spelt or ""
        old = self.extra
        changed = {
            key: value
            for key, value in delta.items()
            if key != info.keyterm_key and not (key in old and _same(old[key], value))
        }
        if info.keyterm_key != self.info.keyterm_key:
            self._told = []
        self.model, self.language, self.extra, self.keyterms = name, spelt, merged_extra, session_keyterms
        self._looked = False
        if not live:
            return None
        if not speaking:
            changed |= self._untold()
        if changed:
            settings["extra"] = changed
        return settings or None

    def take_deferred(self) -> dict[str, Any] | None:
        """Give the `settings` that waited for the end of the turn, once; None if nothing did."""
        if self._looked:
            return None
        extra = self._untold()
        return {"extra": extra} if extra else None

    def _new_model(self, model: str | Unchanged | None, *, live: bool) -> tuple[str | None, ModelInfo, str | None]:
        """Check a change of model; give its name, its facts and its language suffix."""
        if model is UNCHANGED:
            return self.model, self.info, None
        name, suffix = (None, None) if model is None else split_model(plain_text("model", model))
        if name in ("auto", ""):
            name = None
        old, info = self.info, lookup(name)
        rate = self._options.sample_rate
        if info.sample_rate not in (None, rate, old.sample_rate):
            raise LocalProtocolError(
                f"this model takes {info.sample_rate} Hz and the stream has {rate} Hz: open a new stream for it",
                phase="configure",
            )
        if live:
            if info.provider != old.provider or (name is None) != (self.model is None):
                raise LocalProtocolError(
                    "a live stream stays with its provider: open a new stream for this model", phase="configure"
                )
            if info.endpointing != old.endpointing:
                raise LocalProtocolError(
                    "a live stream cannot change who finds the end of speech: open a new stream for this model",
                    phase="configure",
                )
        return name, info, suffix

    def _merged(self, key: str) -> list[Any]:
        return merge_keyterms(key, self.extra.get(key, []), self.keyterms)

    def _untold(self) -> dict[str, Any]:
        """Give the complete keyterms if the session does not know them yet; from here on it does."""
        self._looked = True
        key = self.info.keyterm_key
        if key is None:
            return {}
        merged = self._merged(key)
        if _same(merged, self._told):
            return {}
        self._told = merged
        return {key: merged}
