// Audio on its way out. Three things hold it back: a message that is not full yet, a peer that has not confirmed what
// it got, and the pace of a resumed session's backlog. Nothing is encoded before it is taken.

import { Ledger } from './ledger.js';
import { Liveness } from './liveness.js';
import { roundHalfEven } from './numbers.js';
import { Ring, SAMPLE_BYTES } from './ring.js';
import { constants } from './spec.js';
import { Timeline } from './timeline.js';

export const FINALIZE = JSON.stringify({ type: 'session.finalize' });

const encodeAudio = (pcm) => JSON.stringify({ type: 'input_audio', audio: pcm.toString('base64') });

export class Sender {
  #openedAt = 0;
  // Samples of this session that go at the replay pace.
  #backlog = 0;

  constructor(limits, rate) {
    this.limits = limits;
    this.rate = rate;
    const chunk = Math.max(1, Math.floor(rate / constants.chunks_per_second));
    this.ring = new Ring(chunk, roundHalfEven(limits.audio_buffer * rate));
    this.timeline = new Timeline(rate);
    this.ledger = new Ledger(rate);
    this.liveness = new Liveness(limits, rate);
  }

  /** A transport opened; what waits for a `resumed` session goes out at the replay pace. */
  begin(now, { resumed }) {
    // Not beyond what any transport was given: no transcript may speak of audio that was dropped unsent.
    this.timeline.begin(Math.min(this.ring.position, this.ring.handed));
    this.liveness.begin(now);
    this.#openedAt = now;
    this.#backlog = resumed ? this.ring.unsent : 0;
  }

  /** Whether neither back-pressure nor pace holds the next message. */
  maySend(now) {
    const { count } = this.timeline;
    if (count + this.ring.chunk > this.liveness.allowed) return false;
    return count >= this.#backlog || this.#due(count) <= now + constants.epsilon;
  }

  /** When the next message of the backlog may go; null when nothing waits for its pace. */
  get paceDeadline() {
    const { count } = this.timeline;
    return count < this.#backlog && this.ring.ready ? this.#due(count) : null;
  }

  /** Up to `room` messages that may go now; `session` is the machine that they step. */
  take(room, now, session) {
    const messages = [];
    while (messages.length < room && this.maySend(now)) {
      const item = this.ring.take();
      if (item === null) break;
      if (item.finalize) {
        session.step('client:session.finalize');
        messages.push(FINALIZE);
        continue;
      }
      session.step('client:input_audio');
      const samples = item.pcm.length / SAMPLE_BYTES;
      this.timeline.sent(item.position, samples);
      this.ledger.handOver(samples, item.fresh);
      messages.push(encodeAudio(item.pcm));
    }
    return messages;
  }

  #due(count) {
    return this.#openedAt + count / (this.limits.replay_pace * this.rate);
  }
}
