// What was handed to the transport, told once.

export class Ledger {
  /** Samples handed over for the first time. */
  unique = 0;
  /** Samples handed over again. */
  resent = 0;
  #reported = { unique: 0, resent: 0 };

  constructor(rate) {
    this.rate = rate;
  }

  /** `samples` go to the transport, `fresh` of them for the first time. */
  handOver(samples, fresh) {
    this.unique += fresh;
    this.resent += samples - fresh;
  }

  /** Everything since the last report, or null when there is nothing to tell. */
  report() {
    const unique = this.unique - this.#reported.unique;
    const resent = this.resent - this.#reported.resent;
    if (!unique && !resent) return null;
    this.#reported = { unique: this.unique, resent: this.resent };
    return { audioDuration: unique / this.rate, resentDuration: resent / this.rate };
  }
}
