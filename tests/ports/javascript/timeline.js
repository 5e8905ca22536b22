// Session time to stream positions, piece by piece: a session's clock counts the samples sent on it, and where audio
// was dropped on a live session the positions jump.

import { constants } from './spec.js';

/** Samples by which a time may miss a position: far above the error of a float, far below anything audible. */
const SLACK = constants.slack;

const lastIndex = (pieces, test) => Math.max(0, pieces.findLastIndex(test));

export class Timeline {
  /** Samples sent on this session. */
  count = 0;
  /** Position after the last sample sent on this session. */
  position = 0;
  // From `count` samples into the session on, positions run from `position`.
  #pieces = [{ count: 0, position: 0 }];

  constructor(rate) {
    this.rate = rate;
  }

  /** Starts a session whose first sample will be the one at `position`. */
  begin(position) {
    this.#pieces = [{ count: 0, position }];
    this.count = 0;
    this.position = position;
  }

  /** `samples` from `position` on were handed to the transport. */
  sent(position, samples) {
    if (position !== this.position) {
      if (!this.count) this.#pieces = [];
      this.#pieces.push({ count: this.count, position });
    }
    this.count += samples;
    this.position = position + samples;
  }

  /** Session time sent so far, in seconds. */
  get seconds() {
    return this.count / this.rate;
  }

  /** Stream time of the newest sample sent, in seconds. */
  get latest() {
    return this.position / this.rate;
  }

  /** Stream time of session time `seconds`, read as the start of something. */
  start(seconds) {
    const count = seconds * this.rate + SLACK;
    return this.#place(seconds, lastIndex(this.#pieces, (piece) => piece.count <= count));
  }

  /** Stream time of session time `seconds`, read as the end of something: before a gap, not after. */
  end(seconds) {
    const count = seconds * this.rate - SLACK;
    return this.#place(seconds, lastIndex(this.#pieces, (piece) => piece.count < count));
  }

  /** The last position that `end` covers whole. */
  endPosition(seconds) {
    return Math.min(this.position, Math.trunc(this.end(seconds) * this.rate + SLACK));
  }

  /** How many samples were sent on this session up to `position`. */
  countOf(position) {
    const piece = this.#pieces[lastIndex(this.#pieces, (candidate) => candidate.position < position)];
    return Math.max(0, piece.count + position - piece.position);
  }

  /** The position before which `count` samples were sent on this session. */
  positionOf(count) {
    const piece = this.#pieces[lastIndex(this.#pieces, (candidate) => candidate.count < count)];
    return piece.position + count - piece.count;
  }

  /** Lets go of pieces that end before `position`. */
  forget(position) {
    while (this.#pieces.length > 1 && this.#pieces[1].position <= position) this.#pieces.shift();
  }

  #place(seconds, index) {
    const piece = this.#pieces[index];
    return Math.min(seconds + (piece.position - piece.count) / this.rate, this.latest);
  }
}
