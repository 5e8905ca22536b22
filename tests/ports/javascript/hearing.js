// What a transcript means for the stream: what it acknowledges, and which row of the speech table it takes.

import { roundHalfEven } from './numbers.js';
import { Reader } from './reader.js';
import { constants } from './spec.js';

export class Hearing {
  /** Position up to which finals with times of their own speak. */
  exact = 0;
  /** Samples acknowledged by estimate alone, behind the last such final. */
  estimated = 0;
  /** Whether this stream was told of a turn before its final. */
  hearsOnsets = false;
  #sender;
  #drain;
  #reader;

  constructor(sender, drain, info) {
    this.#sender = sender;
    this.#drain = drain;
    this.#reader = new Reader(sender.timeline, info);
  }

  /** A session begins, and with it its clock. */
  begin() {
    this.#reader.begin();
  }

  /** Understands a transcript: gives `{ trigger, event, acknowledged }`; the defaults are the stream's own. */
  hear(message, now, { language, sessionId }) {
    const { ring, rate, timeline, liveness } = this.#sender;
    const reading = this.#reader.read(message, { since: ring.acknowledged / rate, language });
    if (reading.end !== null) liveness.transcribed(timeline.countOf(reading.end), now);
    const { text } = message;
    let trigger = message.trigger;
    let acknowledged = false;
    if (message.type === 'final_transcript') {
      this.#drain.finalCame(text, now);
      acknowledged = this.#acknowledge(reading.end, text);
      if (!text) trigger = 'gateway:empty_final';
    } else if (!text) {
      trigger = 'gateway:empty_transcript';
    } else if (this.#isLate(reading.end, message.problems)) {
      trigger = 'gateway:late_transcript';
    } else {
      this.hearsOnsets = true;
      this.#drain.interimCame(text, now);
    }
    const event = {
      type: message.type,
      requestId: message.requestId || message.sessionId || sessionId,
      alternatives: [reading.data],
      recognitionUsage: null,
      audioTime: ring.handed / rate,
      promoted: false,
    };
    return { trigger, event, acknowledged };
  }

  /** No turn is open: is done with what was listened to, except where a turn may just be beginning. */
  acknowledgeSilence() {
    if (!this.hearsOnsets) return;
    const { ring, rate, timeline, liveness, limits } = this.#sender;
    const listened = timeline.positionOf(Math.trunc(liveness.listened));
    ring.acknowledge(listened - roundHalfEven(limits.lookback * rate));
  }

  /** Whether text lies within exactly acknowledged audio, by times that the gateway itself gave. */
  #isLate(end, problems) {
    return end !== null && !problems.has('start') && end > 0 && end <= this.exact;
  }

  #acknowledge(end, text) {
    const { ring, timeline, rate } = this.#sender;
    let samples = 0;
    if (end !== null) {
      samples = ring.acknowledge(end);
      this.exact = Math.max(this.exact, end);
      // An estimate may have gone further than this final speaks.
      this.estimated = Math.min(this.estimated, Math.max(0, ring.acknowledged - end));
    } else if (text || this.#drain.finalizeAt !== null) {
      samples = ring.acknowledge(timeline.position);
      this.estimated += samples;
    } else {
      return false;
    }
    timeline.forget(ring.acknowledged - roundHalfEven(constants.remembered * rate));
    if (samples) this.#drain.fruitful = true;
    return samples > 0;
  }
}
