// Is anybody there, and how far ahead of them are we? Counts are samples sent on the session; times are on the
// stream's clock.

import { constants } from './spec.js';
import { roundHalfEven } from './numbers.js';

export class Liveness {
  /** When the last traffic came in, or the transport opened. */
  heard = 0;
  /** Samples that a pong answered for. */
  confirmed = 0;
  /** Samples that the transport has surely taken: what was taken before the last time of asking. */
  accepted = 0;
  /** Confirmed samples that a recogniser at real time has had the time to hear. */
  listened = 0;
  /** A ping waits to be taken. */
  due = false;
  /** When the last ping was taken, while a pong is to come; else null. */
  asked = null;
  #limits;
  #rate;
  #ahead;
  #stretch;
  #pinged = 0;
  #allowance = 0;
  #listenedAt = 0;
  // Pings without a pong: when each was taken, and behind how many samples. Pongs come in the order of their pings.
  #unanswered = [];

  constructor(limits, rate) {
    this.#limits = limits;
    this.#rate = rate;
    // An audio message at least, or nothing would ever be sent; and a ping before the next one would not fit.
    const chunk = Math.floor(rate / constants.chunks_per_second);
    this.#ahead = Math.max(roundHalfEven(limits.ahead * rate), chunk);
    this.#stretch = Math.max(1, Math.min(roundHalfEven(limits.ping_interval * rate), this.#ahead - chunk));
  }

  /** A transport opened. */
  begin(now) {
    this.heard = now;
    this.confirmed = 0;
    this.accepted = 0;
    this.listened = 0;
    this.due = false;
    this.asked = null;
    this.#pinged = 0;
    this.#listenedAt = now;
    this.#unanswered = [];
  }

  /** How many samples may have been sent on this session at the most, for now. */
  get allowed() {
    return this.confirmed + this.#ahead;
  }

  /** Whether enough audio was sent since the last ping to ask again. */
  wantsPing(sent) {
    return this.asked === null && sent - this.#pinged >= this.#stretch;
  }

  /** A ping goes out behind `sent` samples. */
  takePing(now, sent) {
    this.#unanswered.push({ at: now, count: sent });
    this.due = false;
    this.asked = now;
    this.#pinged = sent;
    this.#allowance = this.#limits.ping_timeout + (sent - this.confirmed) / this.#rate;
  }

  /** A pong came. One that nobody asked for says nothing. */
  answered() {
    const ping = this.#unanswered.shift();
    if (ping === undefined) return;
    this.confirmed = ping.count;
    this.due = false;
    if (!this.#unanswered.length) this.asked = null;
    // It answers for the socket and not for the recogniser behind it: time counts up to its ping.
    if (ping.at > this.#listenedAt) {
      const heard = this.listened + (ping.at - this.#listenedAt) * this.#rate;
      this.listened = Math.max(this.listened, Math.min(this.confirmed, heard));
      this.#listenedAt = ping.at;
    }
  }

  /** A transcript speaks of the first `count` samples: they were heard by now, however fast. */
  transcribed(count, now) {
    if (count <= this.listened) return;
    this.listened = count;
    this.#listenedAt = now;
  }

  /** When to ask, or, with a ping on its way, when to give up; null while a ping waits to be taken. */
  get deadline() {
    if (this.due) return null;
    if (this.asked === null) return this.heard + this.#limits.ping_interval;
    return Math.max(this.asked, this.heard) + this.#allowance;
  }

  /** The deadline passed: returns whether the link is lost. Otherwise a ping is due. */
  expire(now) {
    const deadline = this.deadline;
    // Noticed late, it says more about us than about the peer: ask again first.
    if (this.asked !== null && deadline !== null && now - deadline <= constants.late) return true;
    this.due = true;
    return false;
  }
}
