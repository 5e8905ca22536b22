// Failures in a row: what each means for the next attempt, and how long to wait for it.

import { SttError, verdict } from './errors.js';
import { constants } from './spec.js';

export class Outage {
  /** Failures since the stream last worked. */
  failures = 0;
  /** The newest failure, of this outage or an earlier one. */
  last = null;
  /** What ends the stream, once no attempt would mend it. */
  fatal = null;
  /** Seconds until the next attempt. */
  delay = 0;
  #policy;
  #random;
  #started = null;
  #openedAt = null;
  #reauthorized = false;

  constructor(policy, random) {
    this.#policy = policy;
    this.#random = random;
  }

  /** The stream works again: the outage is over. */
  works() {
    this.failures = 0;
    this.#started = null;
    this.#reauthorized = false;
  }

  /** An attempt begins. */
  dialling() {
    this.#openedAt = null;
  }

  /** The attempt gave a transport. A token was good, if one was refused before. */
  opened(now) {
    this.#openedAt = now;
    if (this.last?.isA('ConnectError')) this.#reauthorized = false;
  }

  /** The session ended in silence: it was alive only as long as it was `heard`. */
  timedOut(heard) {
    if (this.#provenAt(heard)) this.works();
    this.#openedAt = null;
  }

  /** Counts a failure and names what it means, as a trigger of the link table. */
  failed(failure, now) {
    this.last = failure;
    const kind = verdict(failure);
    if (kind === 'permanent' || (kind === 'unauthorized' && this.#reauthorized)) {
      this.fatal = failure;
      return 'closed_fail';
    }
    if (this.#provenAt(now)) this.works();
    this.failures += 1;
    this.#started ??= now;
    if (now - this.#started >= this.#policy.outage) {
      this.fatal = exceeded(failure);
      return 'closed_fail';
    }
    if (kind === 'unauthorized') {
      this.#reauthorized = true;
      this.delay = 0;
      return 'closed_again';
    }
    this.delay = this.#schedule(failure.retryAfter);
    return 'closed_retry';
  }

  #provenAt(time) {
    return this.#openedAt !== null && time - this.#openedAt >= constants.proof;
  }

  #schedule(retryAfter) {
    const { first_delay: first, max_delay: max, retry_after: longest } = this.#policy;
    let delay = Math.min(max, first * 2 ** (this.failures - 1));
    if (this.#random) delay *= 0.5 + this.#random() / 2;
    return retryAfter === null ? delay : Math.max(delay, Math.min(retryAfter, longest));
  }
}

function exceeded({ message, phase, closeCode, httpStatus, sessionId }) {
  return new SttError('OutageExceeded', `no session held: the last attempt failed with: ${message}`, {
    phase,
    closeCode,
    httpStatus,
    sessionId,
  });
}
