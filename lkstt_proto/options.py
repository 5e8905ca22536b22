"""What a caller may choose: model and credentials, patience and bounds.

Everything here is checked and normalised when it is made, so that nothing else has to ask again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import attrs
from attrs import field, frozen

from .catalogue import ModelInfo, lookup
from .errors import InsecureTransport, LocalProtocolError
from .secrecy import Hidden, Secret, discreet

DEFAULT_BASE_URL = "https://agent-gateway.livekit.cloud/v1"  # PROTOCOL 1.1
DEFAULT_SAMPLE_RATE_HZ = 16000  # PROTOCOL 6.1

# One chunk of audio (PROTOCOL 2.2): less than that could never be sent.
_CHUNK_SECONDS = 0.05
# Thirty years: times any rate that may be, it is a number of samples.
_MOST = 1e9
_HIGHEST_RATE_HZ = 10**9
# Every decoder takes 32 levels (CONTRACT decision 8); message and settings are two of them.
_JSON_LEVELS = 30


def plain_json(name: str, value: object, levels: int = _JSON_LEVELS) -> Any:
    """Copy a JSON value to plain dicts, lists, texts and numbers that every encoder takes and every decoder accepts.

    Raises LocalProtocolError, which names `name` but never the content, for anything else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return plain_text(name, value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise LocalProtocolError(f"{name} holds an integer of more than 64 bits: use a text", phase="configure")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise LocalProtocolError(f"{name} holds NaN or infinity, which JSON does not have", phase="configure")
        return float(value)
    if levels == 0:
        raise LocalProtocolError(f"{name} is nested deeper than {_JSON_LEVELS} levels", phase="configure")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise LocalProtocolError(f"{name} holds a key that is not a text", phase="configure")
        return {plain_text(name, key): plain_json(name, item, levels - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(name, item, levels - 1) for item in value]
    raise LocalProtocolError(f"{name} holds a {type(value).__name__}: use plain JSON values", phase="configure")


def plain_text(name: str, value: object) -> str:
    """Copy a text; raises LocalProtocolError if it is none, or has no UTF-8 form."""
    if not isinstance(value, str):
        raise LocalProtocolError(f"{name} must be a text, not {type(value).__name__}", phase="configure")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"{name} holds a lone surrogate, which UTF-8 does not have", phase="configure"
        ) from None
    return str.__str__(value)  # an enumeration's member becomes its value


def plain_extra(name: str, value: object, info: ModelInfo) -> dict[str, Any]:
    """Copy provider options; the value under the model's keyterm key becomes a list (PROTOCOL 6.6).

    Raises LocalProtocolError for what is not an object, and for keyterms that are not texts (or, in
    `additional_vocab`, objects).
    """
    if not isinstance(value, Mapping):
        raise LocalProtocolError(f"{name} must be an object of options, not {type(value).__name__}", phase="configure")
    extra: dict[str, Any] = plain_json(name, value)
    key = info.keyterm_key
    if key is not None and key in extra:
        terms = extra[key]
        terms = [] if terms is None else [terms] if isinstance(terms, str) else terms
        allowed = (str, dict) if key == "additional_vocab" else str
        if not isinstance(terms, list) or not all(isinstance(term, allowed) for term in terms):
            raise LocalProtocolError(f"{name}[{key!r}] must be a list of terms", phase="configure")
        extra[key] = terms
    return extra


def split_model(model: str) -> tuple[str, str | None]:
    """Split `provider/model:language` at the last colon; None when there is no colon (PROTOCOL 6.3)."""
    name, colon, language = model.rpartition(":")
    return (name, language) if colon else (model, None)


def _number(least: float, *, above: bool = False) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Make a validator for a finite number of at least `least`, or above it; NaN is neither."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not (least < value <= _MOST if above else least <= value <= _MOST)
        ):
            bound = "above" if above else "of at least"
            raise LocalProtocolError(
                f"{type(instance).__name__}.{attribute.name} must be a finite number {bound} {least}, up to {_MOST:g}",
                phase="configure",
            )

    return check


def _count(least: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    """Make a validator for a whole number of at least `least`."""

    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise LocalProtocolError(
                f"{type(instance).__name__}.{attribute.name} must be a whole number of at least {least}",
                phase="configure",
            )

    return check


@frozen(kw_only=True)
class RetryPolicy:
    """How long to try; all in seconds (CONTRACT decision 7). Raises LocalProtocolError for a senseless value."""

    connect_timeout: float = field(default=10.0, validator=_number(0, above=True))
    """For TCP, TLS and the upgrade of one attempt."""
    first_delay: float = field(default=0.1, validator=_number(0, above=True))
    """Before the second attempt; doubles with each one after."""
    max_delay: float = field(default=2.0, validator=_number(0, above=True))
    """The longest delay between attempts."""
    outage: float = field(default=60.0, validator=_number(0))
    """How long attempts may fail in a row; 0 gives up at the first failure."""
    retry_after: float = field(default=60.0, validator=_number(0))
    """The longest wait that a server may ask for."""


@frozen(kw_only=True)
class Limits:
    """Bounds and patience (CONTRACT section 2). Raises LocalProtocolError for a senseless value."""

    audio_buffer: float = field(default=60.0, validator=_number(_CHUNK_SECONDS))
    """Seconds of unsent audio kept, and as many of sent but unacknowledged audio."""
    lookback: float = field(default=5.0, validator=_number(0))
    """Seconds before the newest confirmed sample that silence does not acknowledge."""
    replay_pace: float = field(default=4.0, validator=_number(1))
    """How many times real time the waiting audio is sent on a resumed session."""
    ahead: float = field(default=10.0, validator=_number(_CHUNK_SECONDS))
    """Seconds of audio sent beyond what is confirmed."""
    ping_interval: float = field(default=3.0, validator=_number(0, above=True))
    """Seconds without inbound traffic, or of audio sent, after which a ping goes out."""
    ping_timeout: float = field(default=3.0, validator=_number(0, above=True))
    """Seconds that a ping's answer may take beyond the audio ahead of it."""
    drain: float = field(default=30.0, validator=_number(0))
    """Seconds to wait for an open turn's final after the end of input."""
    quiet: float = field(default=3.0, validator=_number(0))
    """Seconds without new text after which a finish with no turn open is done."""
    close: float = field(default=2.0, validator=_number(0))
    """Seconds for the closing handshake."""
    unread_events: int = field(default=1024, validator=_count(1))
    """Events that may wait before receiving stops."""
    message: int = field(default=1048576, validator=_count(1))
    """Bytes of one received message."""
    words: int = field(default=4096, validator=_count(0))
    """Words of one transcript; over it all are dropped."""
    text: int = field(default=65536, validator=_count(1))
    """UTF-8 bytes of one transcript's text."""
    name: int = field(default=256, validator=_count(1))
    """Characters of an id or a language."""


def _shown_keys(extra: dict[str, Any]) -> str:
    # Keyterms and prompts are content: only the option names are shown.
    return f"<{', '.join(extra)}>"


def _fallback_name(model: object) -> str:
    name, _ = split_model(plain_text("fallback", model))
    if not name:
        raise LocalProtocolError("fallback needs the name of a model", phase="configure")
    return name


@frozen(init=False)
class FallbackModel:
    """A model that the gateway turns to when the first one fails (PROTOCOL 6.3)."""

    model: str
    """`provider/model`; a language suffix is dropped."""
    extra: dict[str, Any] = field(repr=_shown_keys, hash=False)
    """Provider options, sent as they are."""

    @discreet
    def __init__(self, model: str, extra: Mapping[str, object] | None = None) -> None:
        self.__attrs_init__(
            _fallback_name(model), plain_extra("fallback", {} if extra is None else extra, lookup(None))
        )


def _fallback(item: Any) -> FallbackModel:
    if isinstance(item, FallbackModel):
        return item
    if isinstance(item, Mapping):
        # livekit-agents says `extra_kwargs`, the wire says `extra`.
        unknown = set(item) - {"model", "extra", "extra_kwargs"}
        if unknown or "model" not in item:
            raise LocalProtocolError(
                "a fallback object has `model` and `extra_kwargs`, nothing else", phase="configure"
            )
        return FallbackModel(item["model"], item.get("extra_kwargs") or item.get("extra") or {})
    return FallbackModel(item)


_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


def _headers(headers: object) -> tuple[tuple[str, str], ...]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    checked = []
    for pair in pairs if isinstance(pairs, Iterable) else [pairs]:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise LocalProtocolError("headers must be pairs of texts, name and value", phase="configure")
        name, value = pair
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise LocalProtocolError(
                "headers may hold visible ASCII characters only, no line breaks or controls", phase="configure"
            )
        checked.append((name, Hidden(value)))
    return tuple(checked)


def shown_names(headers: tuple[tuple[str, str], ...]) -> str:
    return f"<{', '.join(name for name, _ in headers)}>"


# Host and port as all that read a URL understand them, so that the host which is judged is the one that is dialled:
# a name of whole labels or an IPv6 address, without escapes, zones and spaces.
_AUTHORITY = re.compile(r"(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
_HOST_CHARACTERS = 253  # RFC 1035 2.3.4, as text
_NO_SUCH_HOST = "base_url has a host or port that cannot be"


def _base_url(base_url: object, *, allow_insecure: bool) -> str:
    """Check where a token may go. No message shows the URL: it may hold a secret by mistake."""
    url = plain_text("base_url", base_url)
    if not url.isascii() or not url.isprintable() or any(c in url for c in ' \\?#"<>'):
        raise LocalProtocolError(
            "base_url must be plain ASCII without spaces, query or fragment: percent-encode its path", phase="configure"
        )
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        raise LocalProtocolError(_NO_SUCH_HOST, phase="configure") from None
    if scheme not in ("http", "https", "ws", "wss"):
        raise LocalProtocolError("base_url must begin with https://, wss://, http:// or ws://", phase="configure")
    if not host:
        raise LocalProtocolError("base_url needs a host", phase="configure")
    if "@" in parts.netloc:
        raise LocalProtocolError(
            "base_url must not hold a user or password: pass api_key and api_secret instead", phase="configure"
        )
    if not _AUTHORITY.fullmatch(parts.netloc) or len(host) > _HOST_CHARACTERS or port == 0:
        raise LocalProtocolError(_NO_SUCH_HOST, phase="configure")
    if scheme in ("http", "ws") and not allow_insecure and not _is_loopback(host):
        raise InsecureTransport(
            "base_url is plaintext and would show the token and the audio to the network: use https:// or wss://, "
            "or pass allow_insecure=True if that network is trusted",
            phase="configure",
        )
    return (scheme + url[len(scheme) :]).rstrip("/")


_LOOPBACK_NETWORKS = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        # Other spellings, as 127.1, are not taken: what one resolver takes for this computer is a name to another.
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOOPBACK_NETWORKS)


def _secret(name: str, value: object) -> Secret | None:
    if isinstance(value, Secret):
        value = value.reveal()
    return None if value is None or value == "" else Secret(plain_text(name, value))


@frozen(init=False)
class STTOptions:
    """What to transcribe with, and where: checked, normalised, never changed (CONTRACT section 3, PROTOCOL 6).

    Raises LocalProtocolError for a value that cannot be, and InsecureTransport for plaintext to another computer.
    JSON values do for every argument. Printed, it shows neither credentials, nor header values, nor option values.
    """

    model: str | None
    """`provider/model`; None: the gateway chooses."""
    language: str | None
    """As the gateway is sent it; None: not said."""
    encoding: str
    """`pcm_s16le` is all there is."""
    sample_rate: int
    """Hz; by default what the model requires, else 16000."""
    base_url: str
    """Without a trailing slash."""
    api_key: Secret | None
    api_secret: Secret | None
    extra_kwargs: dict[str, Any] = field(repr=_shown_keys, hash=False)
    """Provider options, a copy (see `lkstt_proto.providers`); not to be changed."""
    fallback: tuple[FallbackModel, ...]
    headers: tuple[tuple[str, str], ...] = field(repr=shown_names)
    """Added to the upgrade request; values are `Hidden` texts."""
    allow_insecure: bool
    """Whether plaintext may leave this computer."""
    _rate_given: bool = field(init=False, repr=False, eq=False)

    @discreet
    def __init__(
        self,
        model: str | None = "deepgram/nova-3",
        *,
        language: str | None = None,
        encoding: str = "pcm_s16le",
        sample_rate: int | None = None,
        base_url: str = DEFAULT_BASE_URL,
        api_key: str | Secret | None = None,
        api_secret: str | Secret | None = None,
        extra_kwargs: Mapping[str, object] | None = None,
        fallback: str | FallbackModel | Mapping[str, object] | Iterable[object] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        allow_insecure: bool = False,
    ) -> None:
        name, suffix = (None, None) if model is None else split_model(plain_text("model", model))
        if name in ("auto", ""):  # PROTOCOL 6.1: `auto` and nothing are the same wish
            name = None
        info = lookup(name)
        language = suffix if language is None else plain_text("language", language)
        if sample_rate is not None and (
            not isinstance(sample_rate, int)
            or isinstance(sample_rate, bool)
            or not 1 <= sample_rate <= _HIGHEST_RATE_HZ
        ):
            raise LocalProtocolError("sample_rate must be a whole number of Hz", phase="configure")
        if not isinstance(allow_insecure, bool):
            raise LocalProtocolError("allow_insecure must be true or false", phase="configure")
        if not plain_text("encoding", encoding):
            raise LocalProtocolError("encoding must not be empty: leave it out for pcm_s16le", phase="configure")
        if fallback is None:
            fallback = ()
        elif isinstance(fallback, str | FallbackModel | Mapping) or not isinstance(fallback, Iterable):
            fallback = (fallback,)
        self.__attrs_init__(
            model=name,
            language=(info.language(language) or None) if language else None,
            encoding=encoding,
            sample_rate=sample_rate or info.sample_rate or DEFAULT_SAMPLE_RATE_HZ,
            base_url=_base_url(base_url, allow_insecure=allow_insecure),
            api_key=_secret("api_key", api_key),
            api_secret=_secret("api_secret", api_secret),
            extra_kwargs=plain_extra("extra_kwargs", {} if extra_kwargs is None else extra_kwargs, info),
            fallback=tuple(_fallback(item) for item in fallback),
            headers=_headers(() if headers is None else headers),
            allow_insecure=allow_insecure,
        )
        object.__setattr__(self, "_rate_given", sample_rate is not None)

    @property
    def info(self) -> ModelInfo:
        """What the catalogue knows about the model."""
        return lookup(self.model)

    @discreet
    def replace(self, **changes: Any) -> STTOptions:
        """Give a changed copy; `changes` are arguments of the constructor and raise what it raises.

        A new model's language suffix replaces the old language, and a sample rate that was never given
        follows the new model.
        """
        kept = {
            attribute.name: getattr(self, attribute.name) for attribute in attrs.fields(STTOptions) if attribute.init
        }
        if not self._rate_given:
            del kept["sample_rate"]
        model = changes.get("model")
        if isinstance(model, str) and split_model(model)[1] is not None:
            del kept["language"]
        return STTOptions(**{**kept, **changes})

    def public(self) -> dict[str, Any]:
        """Give these options as JSON, without credentials and headers; `STTOptions(**...)` reads it back."""
        return {
            "model": self.model,
            "language": self.language,
            "encoding": self.encoding,
            "sample_rate": self.sample_rate,
            "base_url": self.base_url,
            "extra_kwargs": plain_json("extra_kwargs", self.extra_kwargs),
            "fallback": [
                {"model": item.model, "extra_kwargs": plain_json("fallback", item.extra)} for item in self.fallback
            ],
            "allow_insecure": self.allow_insecure,
        }
