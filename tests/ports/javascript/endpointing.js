// Client endpointing: pushed audio in frames of 20 ms, each heard once by somebody who finds the end of speech.

import { SAMPLE_BYTES } from './ring.js';
import { constants } from './spec.js';

export class Endpointing {
  #endpointer;
  #frameBytes;
  #partial = Buffer.alloc(0);
  #position = 0;

  /** `endpointer.push(frame)` returns whether speech ended with that frame. */
  constructor(endpointer, rate) {
    this.#endpointer = endpointer;
    this.#frameBytes = Math.max(1, Math.floor(rate / constants.frames_per_second)) * SAMPLE_BYTES;
  }

  /** Hears more audio; yields the positions at which speech ended. Throws what the endpointer throws. */
  *push(audio) {
    const bytes = Buffer.concat([this.#partial, audio]);
    const size = this.#frameBytes;
    const whole = bytes.length - (bytes.length % size);
    this.#partial = bytes.subarray(whole);
    for (let start = 0; start < whole; start += size) {
      this.#position += size / SAMPLE_BYTES;
      if (this.#endpointer.push(bytes.subarray(start, start + size))) yield this.#position;
    }
  }
}
