"""What the ``STT``s of all adapters have in common: settings, capabilities and credentials. Nothing here waits."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from random import random
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar
from weakref import WeakSet

from attrs import frozen

from lkstt_proto import (
    UNCHANGED,
    Connection,
    Endpointer,
    FallbackModel,
    Limits,
    LocalProtocolError,
    RetryPolicy,
    Secret,
    SpeechData,
    SpeechEvent,
    SpeechEventType,
    STTOptions,
)
from lkstt_proto.audio import as_bytes
from lkstt_proto.catalogue import lookup
from lkstt_proto.handshake import build_request, resolve_base_url, resolve_credentials
from lkstt_proto.secrecy import discreet
from lkstt_proto.settings import Unchanged
from lkstt_transports.common import largest_message
from lkstt_transports.locks import Lock
from lkstt_transports.stream import BaseStream

if TYPE_CHECKING:
    from typing_extensions import Buffer


@frozen(kw_only=True)
class STTCapabilities:
    """What a model can do; the names are livekit-agents' own."""

    streaming: bool = True
    interim_results: bool = True
    diarization: bool = False
    """Whether the options ask the provider to tell speakers apart (PROTOCOL 6.2)."""
    aligned_transcript: Literal["word", False] = False
    """``word`` when the model and all fallbacks are known to time their words (PROTOCOL 6.1)."""
    offline_recognize: bool = True
    """``recognize`` works."""
    keyterms: bool = False
    """Whether the model takes keyterms."""
    chat_context: bool = False
    """Whether the model uses ``agent_context``."""


def capabilities_of(options: STTOptions) -> STTCapabilities:
    """Look up what is known about a model and its fallbacks."""
    extra = options.extra_kwargs
    speakers = (extra.get(key) for key in ("diarize", "speaker_labels", "diarization"))
    models = (options.model, *(fallback.model for fallback in options.fallback))
    return STTCapabilities(
        diarization=any(value and str(value).lower() != "none" for value in speakers),
        aligned_transcript="word" if all(lookup(model).word_timings for model in models) else False,
        keyterms=options.info.keyterm_key is not None,
        chat_context=options.info.context,
    )


def join_finals(events: Iterable[SpeechEvent], language: str | None) -> SpeechEvent:
    """Make one final of all that there are: texts with spaces between, all words, first start to last end."""
    events = [
        event for event in events if event.type is SpeechEventType.FINAL_TRANSCRIPT and event.alternatives[0].text
    ]
    parts = [event.alternatives[0] for event in events]
    if not parts:
        return SpeechEvent(SpeechEventType.FINAL_TRANSCRIPT, alternatives=(SpeechData(language or "", ""),))
    speakers = {part.speaker_id for part in parts}
    data = SpeechData(
        parts[0].language,
        " ".join(part.text for part in parts),
        min(part.start_time for part in parts),
        max(part.end_time for part in parts),
        sum(part.confidence for part in parts) / len(parts),
        speakers.pop() if len(speakers) == 1 else None,
        tuple(word for part in parts for word in part.words),
    )
    last = events[-1]
    return last._replace(alternatives=(data,), promoted=any(event.promoted for event in events))


StreamT = TypeVar("StreamT", bound=BaseStream[Any])


class BaseSTT(ABC, Generic[StreamT]):
    """Model, credentials and settings; makes streams.

    ``base_url`` and credentials left out are read from the environment (PROTOCOL 1.2). ``endpointer`` is for models
    that want the client to find the end of speech: an object with ``push(pcm) -> bool``, which serves one stream at a
    time, or a callable that makes one for a sample rate; None takes ``lkstt_transports.vad``.

    Raises LocalProtocolError for values that cannot be and for missing credentials, InsecureTransport for plaintext to
    another computer.
    """

    @discreet
    def __init__(
        self,
        model: str | None = "deepgram/nova-3",
        *,
        language: str | None = None,
        base_url: str | None = None,
        encoding: str = "pcm_s16le",
        sample_rate: int | None = None,
        api_key: str | Secret | None = None,
        api_secret: str | Secret | None = None,
        extra_kwargs: Mapping[str, object] | None = None,
        fallback: str | FallbackModel | Mapping[str, object] | Iterable[object] | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        allow_insecure: bool = False,
        retry: RetryPolicy = RetryPolicy(),
        limits: Limits = Limits(),
        endpointer: Endpointer | Callable[[int], Endpointer] | None = None,
        connector: Any = None,
    ) -> None:
        key, secret = resolve_credentials(os.environ, api_key, api_secret) or (None, None)
        options = STTOptions(
            model,
            language=language,
            base_url=resolve_base_url(os.environ, base_url),
            encoding=encoding,
            sample_rate=sample_rate,
            api_key=key,
            api_secret=secret,
            extra_kwargs=extra_kwargs,
            fallback=fallback,
            headers=headers,
            allow_insecure=allow_insecure,
        )
        # Missing credentials are told here; and signing imports what it needs before an event loop has to wait for it.
        build_request(options, 0.0)
        self._retry = retry
        self._limits = limits
        self._endpointer = endpointer
        self._check_endpointer(options)
        self._options = options
        self._keyterms: list[str] | Unchanged = UNCHANGED
        self._streams: WeakSet[StreamT] = WeakSet()
        self._registry = Lock()  # of those: streams may be made and closed in several threads
        self._closed = False
        if connector is None:
            self._connectors()  # imports what it needs: as above
        self._connector = connector
        self._own_connector: Any = None
        self._max_message = largest_message(limits)

    @discreet
    def stream(self, *, language: str | None = None) -> StreamT:
        """Open a stream; ``language`` is for this stream alone. Raises LocalProtocolError after ``aclose``."""
        stream = self._make_stream(language)
        self._begin(stream)
        return stream

    @abstractmethod
    def _connectors(self) -> Callable[[], Any]:
        """Give what makes a connector where none was given."""

    @abstractmethod
    def _make_stream(self, language: str | None) -> StreamT:
        """Make a stream that has not begun."""

    @abstractmethod
    def _begin(self, stream: StreamT) -> None:
        """Register a stream and have it connect, at once if possible."""

    @classmethod
    @discreet
    def from_model_string(cls, model: str, **settings: Any) -> Self:
        """Make one from ``provider/model:language``; ``settings`` are arguments of the constructor."""
        return cls(model, **settings)

    @property
    def model(self) -> str:
        """``provider/model`` as asked for; ``auto`` when the gateway chooses."""
        return self._options.model or "auto"

    @property
    def provider(self) -> str:
        """Who runs the gateway, as livekit-agents says it."""
        return "livekit"

    @property
    def label(self) -> str:
        """Where this class is found."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    @property
    def capabilities(self) -> STTCapabilities:
        """What the present model and options can do."""
        return capabilities_of(self._options)

    def __repr__(self) -> str:
        return f"<{self.label} {self._options!r}>"

    @discreet
    def update_options(
        self,
        *,
        model: str | Unchanged | None = UNCHANGED,
        language: str | Unchanged | None = UNCHANGED,
        extra: Mapping[str, Any] | Unchanged = UNCHANGED,
        keyterms: list[str] | Unchanged = UNCHANGED,
    ) -> None:
        """Change settings of new streams and of the live ones; ``extra`` is merged by key.

        A live stream that cannot take a change tells ``Diagnostic("settings_refused")`` and goes on as it was. Raises
        LocalProtocolError, and changes nothing, only for values that no stream could take.
        """
        replaced: dict[str, Any] = {"model": model, "language": language}
        if not isinstance(extra, Unchanged):
            replaced["extra_kwargs"] = {**self._options.extra_kwargs, **extra}
        options = self._options.replace(**{key: value for key, value in replaced.items() if value is not UNCHANGED})
        self._check_endpointer(options)
        Connection(options).update_options(0.0, keyterms=keyterms)  # raises for what are no keyterms
        self._options = options
        if keyterms is not UNCHANGED:
            self._keyterms = keyterms
        for stream in self._registered():
            stream._offer({"model": model, "language": language, "extra": extra, "keyterms": keyterms})

    def _make_connection(self, language: str | None, now: float) -> Connection:
        options = self._options if language is None else self._options.replace(language=language)
        connection = Connection(
            options,
            retry=self._retry,
            limits=self._limits,
            endpointer=self._make_endpointer(options) if options.info.endpointing else None,
            random=random,
        )
        connection.update_options(now, keyterms=self._keyterms)
        return connection

    def _recording(self, pcm: Buffer, language: str | None) -> StreamT:
        """Open a stream that has all its audio; without any it is over at once, and nobody is dialled."""
        data = as_bytes(pcm)
        stream = self._make_stream(language)
        if len(data) > 1:
            stream._feed(data)
        else:
            stream._begin_close()
        self._begin(stream)
        return stream

    def _joined(self, events: Iterable[SpeechEvent], language: str | None) -> SpeechEvent:
        return join_finals(events, language or self._options.language)

    @property
    def _way_to_link(self) -> tuple[Any, int]:
        """What opens sockets, one of our own unless it was given, and the bytes of the largest message."""
        if self._connector is None:
            self._connector = self._own_connector = self._connectors()()
        return self._connector, self._max_message

    def _register(self, stream: StreamT) -> None:
        """Keep an eye on a stream that is about to begin. Raises LocalProtocolError after ``aclose``."""
        with self._registry:
            if self._closed:
                raise LocalProtocolError("this STT is closed: make a new one", phase="configure")
            self._streams.add(stream)

    def _registered(self, *, closing: bool = False) -> tuple[StreamT, ...]:
        """Give the streams that may be alive; when closing there will be no more."""
        with self._registry:
            self._closed = self._closed or closing
            return tuple(self._streams)

    def _check_endpointer(self, options: STTOptions) -> None:
        if options.info.endpointing and self._endpointer is None:
            self._make_endpointer(options)

    def _make_endpointer(self, options: STTOptions) -> Endpointer:
        if self._endpointer is None:
            from lkstt_transports.vad import WebRtcEndpointer

            return WebRtcEndpointer(options.sample_rate)
        return self._endpointer(options.sample_rate) if callable(self._endpointer) else self._endpointer


class AsyncSTT(BaseSTT[StreamT]):
    """Speech-to-text through a LiveKit Inference gateway, with ``await``."""

    @abstractmethod
    async def recognize(self, pcm: Buffer, *, language: str | None = None) -> SpeechEvent:
        """Transcribe a whole recording; give one final event with all its text and words.

        ``pcm``: signed 16-bit little-endian mono. Raises what a stream raises.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close all streams, then the connector unless it was given. Calling it again changes nothing."""
