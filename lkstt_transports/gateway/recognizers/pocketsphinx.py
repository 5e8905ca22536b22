"""The embedded recogniser: PocketSphinx with the US English model that comes in its wheel (extra `local`).

It searches once (no second pass, no lattice), and says no confidences: without the second pass it has none.

Two things were measured to matter. The voice detector decides on windows of 0.3 s. And the decoder subtracts a mean
from its features that should be the speaker's, but learns it only at the end of an utterance: so the level of the first
1.2 s of speech is taken before their search, which saves two errors in five at the beginning of a session.
"""

from __future__ import annotations

from collections import deque
from importlib.util import find_spec
from typing import Any

from .base import Final, Hypothesis, RecognizerMissing, RecognizerRefused, Word
from .pool import WorkerPool, WorkerSession
from .transcriber import FRAME_MS, Transcriber

SAMPLE_RATE = 16_000
# The fast profile: one search over the word tree, at most so many active states and word ends per 10 ms frame.
PROFILE = {"fwdtree": True, "fwdflat": False, "bestpath": False, "maxhmmpf": 3000, "maxwpf": 5, "cmn": "live"}
# Votes of the voice detector: of the last 10 frames (0.3 s) 7 begin speech, because the detector itself takes up to 6
# frames of plain noise for speech until it knows the noise; at most one is left when speech is over.
WINDOW_FRAMES, VOICED_TO_START, VOICED_TO_END = 10, 7, 1
# At the end of input a last short word may not have come to 7 votes; 3 are worth a search.
VOICED_AT_END = 3
# Audio kept from before the start, as the first sounds of a word are often soft: 0.45 s with the voiced frames.
LEAD_FRAMES = 15
# Speech whose level is taken before it is searched, at the beginning of a session.
LEVEL_FRAMES = 40
# Somebody who never pauses gets a final at the first unvoiced frame after 20 s, and after 30 s anyhow: clients keep
# 60 s of audio that no final has covered.
LONG_FRAMES, LONGEST_FRAMES = 667, 1000
CLEAN_SLATE = bytes(SAMPLE_RATE // 5 * 2)
# The decoder's own frames, in seconds, and the weight in frames that it gives to a mean it is handed (CMN_WIN).
DECODER_FRAME = 0.01
MEAN_WEIGHT = 500

_CURE = "the embedded recogniser needs: pip install 'lkstt[local]'"


class PocketsphinxEngine:
    """An `Engine` that holds one decoder with its model."""

    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        """Load the model: about half a second and 110 MB."""
        # Imported here so that the gateway's own process can import this module without the recogniser.
        import pocketsphinx

        self._new_detector: Any = lambda: pocketsphinx.Vad(sample_rate=SAMPLE_RATE, frame_length=FRAME_MS / 1000)
        # PocketSphinx warns at length about harmless things; real failures are exceptions as well.
        self._decoder: Any = pocketsphinx.Decoder(
            pocketsphinx.Config(samprate=SAMPLE_RATE, loglevel="FATAL", **PROFILE)
        )
        self._search: str = self._decoder.current_search()
        # A search that costs next to nothing, for the features that are made only to take their level.
        self._decoder.add_keyphrase("level", "a")
        self._first_mean: str = self._decoder.get_cmn(False)
        self._decoding = False
        self.start()

    def start(self) -> None:
        """Forget the session before: its open utterance, its noise and the level of its speaker."""
        decoder = self._decoder
        if self._decoding:
            decoder.end_utt()
        # The decoder remembers more than it has a reset for: new features forget the noise and the mean, and a moment
        # of silence takes the place of the last sounds, from which the next scores would be guessed.
        decoder.reinit_feat()
        decoder.start_utt()
        decoder.process_raw(CLEAN_SLATE)
        decoder.end_utt()
        decoder.reinit_feat()
        self._levelled = False
        self._detector = self._new_detector()
        self.reset()

    def reset(self) -> None:
        """Begin an utterance with the next sample."""
        self._votes: deque[bool] = deque(maxlen=WINDOW_FRAMES)
        self._waiting: deque[bytes] = deque()
        self._begin = 0
        self._frames = 0
        self._decoding = False
        self.speaking = False

    def accept(self, pcm: bytes) -> None:
        """Hear one frame of 30 ms, or less at the end of input."""
        self._votes.append(self._detector.is_speech(pcm.ljust(self._detector.frame_bytes, b"\0")))
        if self._decoding:
            self._frames += 1
            self._decoder.process_raw(pcm)
            return
        self._waiting.append(pcm)
        if not self.speaking:
            self.speaking = sum(self._votes) >= VOICED_TO_START
            if not self.speaking and len(self._waiting) > LEAD_FRAMES:
                self._begin += len(self._waiting.popleft()) // 2
        if self.speaking and (self._levelled or len(self._waiting) >= LEVEL_FRAMES):
            self._decode()

    def partial(self) -> Hypothesis:
        """The words so far."""
        return self._hypothesis() if self._decoding else Hypothesis("")

    def endpoint(self) -> bool:
        """Whether speech is over: 0.3 s without it, or an utterance beyond all measure."""
        if not self.speaking:
            return False
        pause = sum(self._votes) <= VOICED_TO_END
        breath = self._frames >= LONG_FRAMES and not self._votes[-1]
        return pause or breath or self._frames >= LONGEST_FRAMES

    def final(self) -> Hypothesis:
        """End the search and return its words."""
        if not self._decoding:
            if not self.speaking and sum(self._votes) < VOICED_AT_END:
                return Hypothesis("")
            self._decode()
        self._decoder.end_utt()
        self._decoding = False
        return self._hypothesis()

    def _decode(self) -> None:
        speech = b"".join(self._waiting)
        self._frames = len(self._waiting)
        self._waiting.clear()
        if not self._levelled:
            self._take_level(speech)
        self._decoder.start_utt()
        self._decoder.process_raw(speech)
        self._decoding = True

    def _take_level(self, speech: bytes) -> None:
        """Set the mean of the features to that of this speech."""
        # A shorter utterance tells less: the next one is measured as well.
        self._levelled = self._frames >= LEVEL_FRAMES
        decoder = self._decoder
        decoder.set_cmn(self._first_mean)
        decoder.activate_search("level")
        decoder.start_utt()
        decoder.process_raw(speech, no_search=True)
        mixed = _numbers(decoder.get_cmn(True))
        decoder.end_utt()
        decoder.activate_search(self._search)
        # The decoder answers with its first mean mixed in at its weight: take that out again.
        count = len(speech) // 2 / SAMPLE_RATE / DECODER_FRAME
        first = _numbers(self._first_mean)
        mean = [a + (b - a) * (MEAN_WEIGHT + count) / count for a, b in zip(first, mixed, strict=True)]
        decoder.set_cmn(",".join(f"{value:.4f}" for value in mean))

    def _hypothesis(self) -> Hypothesis:
        offset = self._begin / SAMPLE_RATE
        words = tuple(
            # A second pronunciation is written "word(2)".
            Word(
                segment.word.partition("(")[0],
                offset + segment.start_frame * DECODER_FRAME,
                offset + (segment.end_frame + 1) * DECODER_FRAME,
            )
            for segment in self._decoder.seg() or ()
            # Silence and noise: <s>, </s>, <sil>, [NOISE], [SPEECH].
            if segment.word[0] not in "<["
        )
        return Hypothesis(" ".join(word.text for word in words), words)


class PocketsphinxRecognizer(WorkerPool):
    """A `Recognizer` for English, in worker processes because the decoder never lets go of the interpreter lock."""

    def __init__(self, *, workers: int | None = None, limit: int | None = None) -> None:
        """Make it; nothing runs before `start` or the first `open`. For the arguments see `WorkerPool`."""
        super().__init__(f"{__name__}:{PocketsphinxEngine.__name__}", workers=workers, limit=limit)

    async def start(self) -> None:
        """Load the model in all workers. Raises `RecognizerMissing` when PocketSphinx is not installed."""
        check_installed()
        await super().start()

    async def open(self, *, sample_rate: int, language: str) -> WorkerSession:
        """Begin a session. `language` is any English, "multi", or empty for "whatever you hear"."""
        check_installed()
        if language.replace("_", "-").partition("-")[0].lower() not in ("", "en", "multi"):
            raise RecognizerRefused("the embedded recogniser knows English only")
        return await super().open(sample_rate=sample_rate, language=language)


def check_installed() -> None:
    """Raise `RecognizerMissing` unless PocketSphinx is there; it is looked for, not imported."""
    if find_spec("pocketsphinx") is None:
        raise RecognizerMissing(_CURE)


def transcribe_directly(
    pcm: bytes, sample_rate: int = SAMPLE_RATE, *, engine: PocketsphinxEngine | None = None
) -> list[Final]:
    """Recognise in this process, at once: what any way through the gateway must agree with.

    Pass an `engine` to load the model once for several calls. Raises `RecognizerMissing`, `RecognizerRefused`.
    """
    check_installed()
    transcriber = Transcriber(engine or PocketsphinxEngine(), sample_rate)
    results = transcriber.accept(pcm) + transcriber.finalize()
    return [result for result in results if isinstance(result, Final)]


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]
