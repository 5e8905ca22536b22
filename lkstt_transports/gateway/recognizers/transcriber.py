"""Results out of an engine: frames, partials, finals that cover the audio without a gap."""

from __future__ import annotations

from .base import Engine, Final, Finalized, Hypothesis, Partial, Result, StartOfSpeech, Word
from .resample import Resampler

# An engine hears frames of this length whatever chunks arrive, so that chunking cannot change the text. It is the
# longest frame that WebRTC's voice detector takes.
FRAME_MS = 30
# A partial at most every so many frames of speech: 0.24 s, about the length of a short word.
PARTIAL_FRAMES = 8


class Transcriber:
    """One session on one engine.

    Every final covers the audio from the end of the final before it to its own end; after `finalize` the finals cover
    all audio. The same samples give the same results, however they are cut into chunks.
    """

    def __init__(self, engine: Engine, sample_rate: int) -> None:
        self._engine = engine
        self._rate = sample_rate
        self._resampler = None if sample_rate == engine.sample_rate else Resampler(sample_rate, engine.sample_rate)
        self._frame = engine.sample_rate * FRAME_MS // 1000 * 2
        # All input so far in bytes, and where it was last finalised: an odd byte waits for its other half.
        self._received = 0
        self._odd = b""
        self._origin = 0
        # Since that origin: what waits for a whole frame, and the engine's samples heard, up to now and up to this
        # utterance.
        self._waiting = bytearray()
        self._heard = 0
        self._utterance = 0
        self._covered = 0.0
        # Of this utterance: whether its start was told, its frames of speech, the text of its last partial.
        self._started = False
        self._frames = 0
        self._text = ""
        engine.start()

    def accept(self, pcm: bytes) -> list[Result]:
        """Hear audio at the session's rate; return what became known by it, in order."""
        pcm = self._odd + pcm
        self._odd = pcm[len(pcm) & ~1 :]
        pcm = pcm[: len(pcm) & ~1]
        self._received += len(pcm) // 2
        self._waiting += pcm if self._resampler is None else self._resampler.accept(pcm)
        return self._hear()

    def finalize(self) -> list[Result]:
        """Hear what waits, end the utterance and cover all audio; the last result is `Finalized`."""
        if self._resampler is not None:
            self._waiting += self._resampler.flush()
        results = self._hear()
        if self._waiting:
            self._engine.accept(bytes(self._waiting))
            self._heard += len(self._waiting) // 2
            self._waiting.clear()
        end = self._received / self._rate
        if end > self._covered:
            results += self._final(end)
        self._origin = self._received
        self._heard = self._utterance = 0
        return [*results, Finalized(end)]

    def _hear(self) -> list[Result]:
        results: list[Result] = []
        usable = len(self._waiting) // self._frame * self._frame
        for at in range(0, usable, self._frame):
            self._engine.accept(bytes(self._waiting[at : at + self._frame]))
            self._heard += self._frame // 2
            if not self._engine.speaking:
                continue
            if not self._started:
                self._started = True
                results.append(StartOfSpeech(self._seconds(self._heard)))
            if self._engine.endpoint():
                results += self._final(self._seconds(self._heard))
                continue
            self._frames += 1
            if self._frames % PARTIAL_FRAMES == 0:
                results += self._partial()
        del self._waiting[:usable]
        return results

    def _partial(self) -> list[Result]:
        hypothesis = self._engine.partial()
        if hypothesis.text in ("", self._text):
            return []
        self._text = hypothesis.text
        end = self._seconds(self._heard)
        words = self._words(hypothesis, end)
        return [Partial(hypothesis.text, words[0].start if words else self._covered, end, words)]

    def _final(self, end: float) -> list[Result]:
        hypothesis = self._engine.final()
        words = self._words(hypothesis, end)
        results: list[Result] = []
        start = words[0].start if words else self._covered
        if hypothesis.text and not self._started:
            results.append(StartOfSpeech(end))
        results.append(Final(hypothesis.text, start, end, words))
        self._engine.reset()
        self._covered = end
        self._utterance = self._heard
        self._started = False
        self._frames = 0
        self._text = ""
        return results

    def _seconds(self, heard: int) -> float:
        # One division of whole numbers: no error piles up over a long session.
        engine = self._engine.sample_rate
        return (self._origin * engine + heard * self._rate) / (self._rate * engine)

    def _words(self, hypothesis: Hypothesis, end: float) -> tuple[Word, ...]:
        # An engine pads its last frame, so a last word may seem to end behind the audio.
        return tuple(
            Word(word.text, min(self._word(word.start), end), min(self._word(word.end), end))
            for word in hypothesis.words
        )

    def _word(self, seconds: float) -> float:
        return self._seconds(self._utterance + round(seconds * self._engine.sample_rate))
