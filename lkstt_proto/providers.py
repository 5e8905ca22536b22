"""The options that each provider takes in `extra_kwargs` (PROTOCOL 6.2).

For editors and type checkers alone: nothing is checked at run time, and unknown keys pass through.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict


class DeepgramOptions(TypedDict, total=False):
    """`deepgram/nova-...`."""

    filler_words: bool
    """Keep "uh" and "um"; default true."""
    interim_results: bool
    """Send interim transcripts; default true."""
    endpointing: int
    """Milliseconds of silence that end a segment; default 25."""
    punctuate: bool
    """Add punctuation; clients disagree about the default."""
    smart_format: bool
    """Format numbers, dates and the like."""
    keywords: list[tuple[str, float]]
    """Words to favour, each with a boost (nova-2)."""
    keyterm: str | list[str]
    """Terms to favour (nova-3)."""
    profanity_filter: bool
    """Mask profanity."""
    numerals: bool
    """Write numbers as digits."""
    mip_opt_out: bool
    """Always true at the gateway; the value is ignored."""
    vad_events: bool
    """Send speech onset; default false."""
    diarize: bool
    """Tell speakers apart; default false."""
    dictation: bool
    """Turn spoken punctuation into signs."""
    detect_language: bool
    """Let the model find the language."""
    no_delay: bool
    """Do not wait for formatting; default true."""
    utterance_end: bool
    """Send the end of an utterance."""
    redact: str | list[str]
    """Kinds of content to redact."""
    replace: str | list[str]
    """Terms to replace, `find:replacement`."""
    search: str | list[str]
    """Terms to search for."""
    tag: str | list[str]
    """Labels for the provider's usage report."""
    channels: int
    """Channels in the audio; this library sends one."""
    version: str
    """Version of the model."""
    callback: str
    """Address that gets the results too."""
    callback_method: str
    """HTTP method for `callback`."""
    extra: str
    """Passed through to the provider's answer."""


class DeepgramFluxOptions(TypedDict, total=False):
    """`deepgram/flux-...`."""

    eager_eot_threshold: float
    """Confidence for an early end of turn, 0.3 to 0.9, default 0.5; giving it enables preflight transcripts."""
    eot_threshold: float
    """Confidence for the end of turn, 0.5 to 0.9."""
    eot_timeout_ms: int
    """Milliseconds of silence that end a turn whatever the confidence."""
    keyterm: str | list[str]
    """Terms to favour."""
    mip_opt_out: bool
    """Always true at the gateway; the value is ignored."""
    tag: str | list[str]
    """Labels for the provider's usage report."""
    detect_language: bool
    """Let the model find the language."""
    language_hint: str | list[str]
    """Languages to favour; flux-general-multi only, outranks `language`."""


class CartesiaOptions(TypedDict, total=False):
    """`cartesia/ink-whisper` (the first two) and `cartesia/ink-2` (the others, checked by the gateway)."""

    min_volume: float
    """Volume below which audio is silence."""
    max_silence_duration_secs: float
    """Seconds of silence that end a segment."""
    turn_start_threshold: float
    """Confidence for the start of a turn, 0.5 to 0.9, default 0.8."""
    turn_eager_end_threshold: float
    """Confidence for an early end of turn, 0.3 to 0.6, default 0.4."""
    turn_end_threshold: float
    """Confidence for the end of a turn, 0.05 to 0.5, default 0.2."""
    turn_end_timeout_ms: int
    """Milliseconds of silence that end a turn, 640 to 11200, default 5600."""
    keyterm: str | list[str]
    """Terms to favour: at most 100, with 1200 characters in all."""


class AssemblyAIOptions(TypedDict, total=False):
    """`assemblyai/...`."""

    format_turns: bool
    """Punctuate and case finished turns; default false."""
    end_of_turn_confidence_threshold: float
    """Confidence for the end of turn, default 0.01."""
    min_end_of_turn_silence_when_confident: int
    """Milliseconds of silence when confident, default 0."""
    max_turn_silence: int
    """Milliseconds of silence that end a turn whatever the confidence."""
    keyterms_prompt: list[str]
    """Terms to favour."""
    language_detection: bool
    """Report the language found."""
    inactivity_timeout: float
    """Seconds without audio after which the provider gives up."""
    prompt: str
    """What the recording is about; u3 models only, excludes `keyterms_prompt`."""
    speaker_labels: bool
    """Tell speakers apart; default false."""
    agent_context: str
    """What the agent said last, at most 1750 characters; u3 models only."""
    previous_context_n_turns: int
    """Earlier turns carried as context, 0: none; u3 models only."""
    voice_focus: Literal["near-field", "far-field"]
    """Isolate the main voice; u3 models only."""
    voice_focus_threshold: float
    """How strongly the background is suppressed; u3 models only."""
    mode: Literal["min_latency", "balanced", "max_accuracy"]
    """Latency against accuracy; u3 models only."""


class SpeechmaticsOptions(TypedDict, total=False):
    """`speechmatics/...`; "RT" marks what only `enhanced` and `standard` take."""

    domain: str
    """Subject of the speech, as "finance"."""
    output_locale: str
    """Locale of the spelling, as "en-GB"."""
    max_delay: float
    """Seconds until a word is final, 0.7 to 4.0, default 1.0; RT."""
    max_delay_mode: Literal["flexible", "fixed"]
    """Whether `max_delay` may stretch for an entity; RT."""
    diarization: Literal["none", "speaker", "channel", "channel_and_speaker_change", "speaker_change"]
    """What to tell apart."""
    speaker_sensitivity: float
    """How readily a new speaker is assumed, 0 to 1."""
    max_speakers: int
    """Most speakers to tell apart."""
    prefer_current_speaker: bool
    """Hold on to the current speaker in doubt."""
    enable_partials: bool
    """Overridden by the gateway."""
    enable_entities: bool
    """Mark dates, numbers and the like; RT."""
    punctuation_overrides: dict[str, Any]
    """Which signs to use, and how readily."""
    additional_vocab: list[dict[str, Any]]
    """Terms to favour: `{"content": ..., "sounds_like": [...]}`."""
    end_of_utterance_silence_trigger: float
    """Seconds of silence that end an utterance; RT."""
    audio_filtering_config: dict[str, Any]
    """Which audio to leave out; RT."""
    transcript_filtering_config: dict[str, Any]
    """Which words to leave out or replace."""


class XaiOptions(TypedDict, total=False):
    """`xai/stt-1`."""

    diarize: bool
    """Tell speakers apart; default false."""
    endpointing: int
    """Milliseconds of silence that end an utterance, 0 to 5000."""
    format: bool
    """Write numbers and amounts as people do; needs a language."""
    interim_results: bool
    """Send interim transcripts; default true."""


class InworldOptions(TypedDict, total=False):
    """`inworld/inworld-stt-1`."""

    enable_voice_profile: bool
    """Describe the voice in the metadata of finals; default true."""
    voice_profile_top_n: int
    """Labels in a voice profile, 1 to 20, default 10."""
    include_word_timestamps: bool
    """Send word times; default true."""
    audio_encoding: Literal["LINEAR16", "AUTO_DETECT"]
    """How the provider reads the audio; default LINEAR16, which is what is sent."""
    inactivity_timeout_seconds: int
    """Seconds without speech after which the provider gives up, 0: never."""
    end_of_turn_confidence_threshold: float
    """Confidence for the end of turn, 0 to 1, default 0.5."""
    min_end_of_turn_silence_when_confident: int
    """Milliseconds of silence when confident, 0 or more."""
    prompts: list[str]
    """Texts that describe what to expect."""
    vad_threshold: float
    """How sure the voice detector must be, 0 to 1, default 0.5."""


class GoogleOptions(TypedDict, total=False):
    """`google/...`."""

    language_codes: list[str]
    """Languages to expect, as "en-US"; empty: the model finds the language."""
    custom_vocabulary: list[str]
    """Terms to favour, at most 1000."""


class OpenAIOptions(TypedDict, total=False):
    """`openai/...`."""

    languages: list[str]
    """Languages to expect; outranks `language`."""
    prompt: str
    """What the recording is about, at most 1024 characters."""
    keywords: list[str]
    """Terms that may occur."""
    delay: Literal["minimal", "low", "medium", "high", "xhigh"]
    """Latency against accuracy."""
    noise_reduction: Literal["near_field", "far_field"]
    """What the microphone is like."""


ProviderOptions = (
    DeepgramOptions
    | DeepgramFluxOptions
    | CartesiaOptions
    | AssemblyAIOptions
    | SpeechmaticsOptions
    | XaiOptions
    | InworldOptions
    | GoogleOptions
    | OpenAIOptions
)
"""The options of any provider."""
