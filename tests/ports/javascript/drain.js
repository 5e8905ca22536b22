// When the end of input is answered. Gateways differ in how they answer a finalize: with a final, with
// `session.finalized`, with both in either order, or not at all. Times are on the stream's clock.

import { constants } from './spec.js';

export class Drain {
  /** Sessions on which the end-of-input finalize was sent. */
  sessions = 0;
  /** When it was sent on this session, and when it was acknowledged; else null. */
  finalizeAt = null;
  finalizedAt = null;
  /** This session brought a final. */
  final = false;
  /** A final followed this session's finalize. */
  answered = false;
  /** This session brought new text or an acknowledgement. */
  fruitful = false;
  /** Seconds from a finalize to the first final after it. */
  latency = null;
  #limits;
  #text = '';
  #textAt = -Infinity;
  #listeningSince = -Infinity;

  constructor(limits) {
    this.#limits = limits;
  }

  /** A transport opened: nothing was heard on it yet, and what is heard again is new to it. */
  beginSession() {
    this.finalizeAt = null;
    this.finalizedAt = null;
    this.final = false;
    this.answered = false;
    this.fruitful = false;
    this.#text = '';
  }

  /** The one hard limit, which never moves. */
  endInput(now, unsentSeconds) {
    return now + this.#limits.drain + unsentSeconds;
  }

  /** All audio went out on this session, and the finalize behind it. */
  finalizeSent(now) {
    this.finalizeAt = now;
    this.sessions += 1;
  }

  /** `session.finalized` came; one that no finalize of the end preceded means an earlier one. */
  finalized(now) {
    if (this.finalizeAt !== null) this.finalizedAt = now;
  }

  /** Nobody listened until now: what was said meanwhile is still to come. */
  listenAgain(now) {
    this.#listeningSince = now;
  }

  /** An interim or preflight came; repeated text extends nothing. */
  interimCame(text, now) {
    if (text !== this.#text) this.#news(text, now);
  }

  /** A final came; it answers whatever its text, and what it says is news even if an interim said it before. */
  finalCame(text, now) {
    this.final = true;
    if (this.finalizeAt !== null && !this.answered) {
      this.answered = true;
      this.latency = now - this.finalizeAt;
    }
    if (text) this.#news(text, now);
  }

  /** Whether something answered the finalize, so that an orderly close is an end. */
  get acknowledged() {
    return this.answered || this.finalizedAt !== null;
  }

  /** A second session was asked to finalize and brought neither text nor acknowledgement. */
  get barren() {
    return this.sessions > 1 && this.finalizeAt !== null && !this.fruitful;
  }

  /** When there is nothing left to wait for; null: only the deadline ends it. */
  settledAt({ speaking, acknowledged, exactly }) {
    if (speaking || this.finalizeAt === null) return null;
    const since = Math.max(this.finalizeAt, this.#textAt, this.#listeningSince);
    if (this.finalizedAt === null) return this.final ? since + this.#limits.quiet : null;
    if (acknowledged && exactly) return this.finalizedAt;
    const settling = acknowledged || this.answered;
    return Math.max(since, this.finalizedAt) + (settling ? constants.settled : this.#limits.quiet);
  }

  #news(text, now) {
    this.#text = text;
    this.#textAt = now;
    this.fruitful = true;
  }
}
