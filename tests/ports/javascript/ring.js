// Where every sample is, between the microphone and its acknowledgement. A position counts samples since the first one
// pushed to the stream.

import { constants } from './spec.js';

export const SAMPLE_BYTES = constants.sample_bytes;

const samplesIn = (piece) => piece.pcm.length / SAMPLE_BYTES;
const endOf = (piece) => piece.position + samplesIn(piece);

/** Audio from push to acknowledgement; `chunk` is the size of an audio message in samples. */
export class Ring {
  /** Position after the newest whole sample. */
  pushed = 0;
  /** Everything before this position is done with. */
  acknowledged = 0;
  /** Position after the newest sample that was ever handed to a transport. */
  handed = 0;
  #capacity;
  #odd = Buffer.alloc(0);
  // Pieces of audio in order of their positions: `{ position, pcm }`. Dropping leaves gaps between them.
  #unsent = [];
  #unsentSamples = 0;
  #sent = [];
  #sentSamples = 0;
  // Stretches that were sent and are no longer kept: `{ start, end }`.
  #forgotten = [];
  // Samples that a cut put back into the unsent ones, beyond their capacity.
  #rejoined = 0;
  // Places where something has to be said, and how many of them this transport has passed.
  #marks = [];
  #due = 0;

  constructor(chunk, capacity) {
    this.chunk = chunk;
    this.#capacity = capacity;
  }

  /** Samples waiting to be sent, the resent ones included. */
  get unsent() {
    return this.#unsentSamples;
  }

  /** Samples waiting that a transport was given before. */
  get toResend() {
    const handedOf = (piece) => Math.max(0, Math.min(endOf(piece), this.handed) - piece.position);
    return this.#unsent.reduce((sum, piece) => sum + handedOf(piece), 0);
  }

  /** Whether samples wait that no transport was ever given. */
  get neverSent() {
    return this.#unsentSamples > 0 && this.pushed > this.handed;
  }

  /** Samples pushed and neither acknowledged nor told as dropped. */
  get unacknowledged() {
    const forgotten = this.#forgotten.reduce((sum, { start, end }) => sum + end - start, 0);
    return this.#unsentSamples + this.#sentSamples + forgotten;
  }

  /** Position of the next sample to send. */
  get position() {
    return this.#unsent.length ? this.#unsent[0].position : this.pushed;
  }

  /** Bytes that `push` takes without dropping any. */
  get room() {
    const samples = this.#capacity + this.#rejoined - this.#unsentSamples;
    return Math.max(0, samples * SAMPLE_BYTES - this.#odd.length);
  }

  /** Takes audio of any length; an odd byte waits for its other half. Returns what was dropped to make room. */
  push(audio) {
    const bytes = Buffer.concat([this.#odd, audio]);
    const whole = bytes.length - (bytes.length % SAMPLE_BYTES);
    this.#odd = bytes.subarray(whole);
    if (!whole) return [];
    const piece = { position: this.pushed, pcm: bytes.subarray(0, whole) };
    this.#unsent.push(piece);
    this.#unsentSamples += samplesIn(piece);
    this.pushed = endOf(piece);
    return this.#drop(this.#unsentSamples - this.#capacity - this.#rejoined);
  }

  /** Lets no chunk cross `position`; with `finalize`, `session.finalize` is sent there. */
  mark(position, { finalize }) {
    const last = this.#marks.at(-1);
    if (last?.position === position) {
      if (finalize) {
        last.finalize = true;
        this.#due = Math.min(this.#due, this.#marks.length - 1);
      }
    } else if (finalize || position > this.position) {
      this.#marks.push({ position, finalize });
    }
  }

  /** Whether `take` has something to give. */
  get ready() {
    if (this.#unsentSamples >= this.chunk || this.#stretch().complete) return true;
    const position = this.position;
    return this.#marks.slice(this.#due).some((mark) => mark.finalize || mark.position > position);
  }

  /** The next thing to send: a mark to finalize at, a chunk `{ position, pcm, fresh }`, or null while one fills. */
  take() {
    const position = this.position;
    while (this.#due < this.#marks.length && this.#marks[this.#due].position <= position) {
      const mark = this.#marks[this.#due];
      this.#due += 1;
      this.#pruneMarks();
      if (mark.finalize) return mark;
    }
    if (!this.#unsent.length) return null;
    // A chunk is short where a mark or a gap ends it; the rest waits until it is whole.
    let { samples, complete } = this.#stretch();
    const mark = this.#marks[this.#due];
    if (mark && mark.position - position <= samples) {
      samples = mark.position - position;
      complete = true;
    }
    if (samples < this.chunk && !complete) return null;
    samples = Math.min(samples, this.chunk);
    const pcm = this.#cut(samples);
    this.#rejoined = Math.max(0, this.#rejoined - samples);
    const end = position + samples;
    const fresh = Math.min(samples, Math.max(0, end - this.handed));
    this.handed = Math.max(this.handed, end);
    const chunk = { position, pcm, fresh };
    this.#sent.push(chunk);
    this.#sentSamples += samples;
    if (this.#sentSamples > this.#capacity) this.#forget(this.#sentSamples - this.#capacity);
    return chunk;
  }

  /** The transport is gone: all unacknowledged audio waits again. Returns what is no longer kept. */
  rewind() {
    const lost = this.#forgotten;
    this.#forgotten = [];
    this.#rejoined += this.#sentSamples;
    this.#unsent = [...this.#sent, ...this.#unsent];
    this.#unsentSamples += this.#sentSamples;
    this.#sent = [];
    this.#sentSamples = 0;
    this.#due = 0;
    return lost;
  }

  /** Is done with everything sent before `position`; returns how many samples that newly is. */
  acknowledge(position) {
    let samples = this.#release(position);
    while (this.#forgotten.length && this.#forgotten[0].start < position) {
      const stretch = this.#forgotten[0];
      const start = Math.min(position, stretch.end);
      samples += start - stretch.start;
      stretch.start = start;
      if (start === stretch.end) this.#forgotten.shift();
    }
    this.acknowledged = Math.max(this.acknowledged, Math.min(position, this.position));
    this.#pruneMarks();
    return samples;
  }

  /** How far the oldest unsent audio goes without a gap, up to a chunk, and whether a gap ends it. */
  #stretch() {
    let samples = 0;
    let end = this.position;
    for (const piece of this.#unsent) {
      if (piece.position !== end) return { samples, complete: true };
      samples += samplesIn(piece);
      end = endOf(piece);
      if (samples >= this.chunk) break;
    }
    return { samples, complete: false };
  }

  /** Removes `samples` from the oldest stretch, which has as many. */
  #cut(samples) {
    const parts = [];
    let left = samples * SAMPLE_BYTES;
    while (left) {
      const piece = this.#unsent.shift();
      const part = piece.pcm.subarray(0, left);
      parts.push(part);
      left -= part.length;
      if (part.length < piece.pcm.length) {
        const position = piece.position + part.length / SAMPLE_BYTES;
        this.#unsent.unshift({ position, pcm: piece.pcm.subarray(part.length) });
      }
    }
    this.#unsentSamples -= samples;
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }

  /** Removes `samples` from the old end, across gaps; returns the stretches that they were. */
  #drop(samples) {
    const dropped = [];
    while (samples > 0) {
      const [{ position: start, pcm }] = this.#unsent;
      const size = Math.min(samples, pcm.length / SAMPLE_BYTES);
      this.#cut(size);
      dropped.push({ start, end: start + size });
      samples -= size;
    }
    return dropped;
  }

  /** Lets go of sent audio before `position`; returns how many samples that were. */
  #release(position) {
    const before = this.#sentSamples;
    while (this.#sent.length && this.#sent[0].position < position) {
      const chunk = this.#sent.shift();
      const released = Math.min(position, endOf(chunk)) - chunk.position;
      if (released < samplesIn(chunk)) {
        this.#sent.unshift({ position, pcm: chunk.pcm.subarray(released * SAMPLE_BYTES) });
      }
      this.#sentSamples -= released;
    }
    return before - this.#sentSamples;
  }

  /** Lets `excess` samples of the sent audio go, and remembers where they were. */
  #forget(excess) {
    while (excess > 0) {
      const start = this.#sent[0].position;
      const end = Math.min(start + excess, endOf(this.#sent[0]));
      excess -= this.#release(end);
      const last = this.#forgotten.at(-1);
      if (last?.end === start) last.end = end;
      else this.#forgotten.push({ start, end });
    }
    this.#pruneMarks();
  }

  /** Forgets marks that no resending could bring back. */
  #pruneMarks() {
    const kept = this.#sent.length ? this.#sent[0].position : this.position;
    while (this.#due && this.#marks[0].position <= kept) {
      this.#marks.shift();
      this.#due -= 1;
    }
  }
}
