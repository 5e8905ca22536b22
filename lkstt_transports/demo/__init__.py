"""A short clip of speech to try things with: 5.8 s, 16 kHz, mono, 16-bit, two sentences with a pause between them.

It was made with the speech synthesiser flite 2.2 and its voice awb: each line of `demo.txt`, with a capital and a full
stop, through `flite -voice awb -t "..." -o line.wav`, then half a second of silence behind each. Flite and its voices
are free to use, modify and distribute under Carnegie Mellon University's BSD-like licence, and it lays no claim to
what is spoken with it.
"""

from __future__ import annotations

from importlib.resources import files


def demo_clip() -> tuple[bytes, str]:
    """Return the clip as a WAV file's bytes, and its text: a line for each sentence, in lower case without stops."""
    folder = files(__name__)
    return (folder / "demo.wav").read_bytes(), (folder / "demo.txt").read_text(encoding="utf-8").strip()
