// The few things that may wait for the clock at once.

import { constants, timers } from './spec.js';

/** In the order in which due timers are stepped. */
const ORDER = timers.map((timer) => timer.name);

/** Those that mean nothing without the transport that they were armed for. */
export const TRANSPORT_TIMERS = timers.filter((timer) => timer.transport).map((timer) => timer.name);

export class Timers {
  #due = new Map();

  /** The earliest; null: nothing waits for time. */
  get deadline() {
    return this.#due.size ? Math.min(...this.#due.values()) : null;
  }

  arm(name, at) {
    this.#due.set(name, at);
  }

  cancel(...names) {
    for (const name of names) this.#due.delete(name);
  }

  clear() {
    this.#due.clear();
  }

  /** Calls `step(name)` for every timer that is due, also those that a step makes due. */
  handle(now, step) {
    const isDue = (at) => at <= now + constants.epsilon;
    while ([...this.#due.values()].some(isDue)) {
      for (const name of ORDER) {
        if (!this.#due.has(name) || !isDue(this.#due.get(name))) continue;
        this.#due.delete(name);
        step(name);
      }
    }
  }
}
