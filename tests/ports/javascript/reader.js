// Transcripts to speech data: session times to stream times, gaps filled. Whatever the gateway says,
// `0 <= start <= end <= audio sent` holds for what comes out.

import { spellLanguage } from './catalogue.js';
import { constants } from './spec.js';

/** Seconds by which a gateway's rounding may pass the audio sent without being called a mistake. */
const TOLERANCE = constants.tolerance;

export class Reader {
  #timeline;
  #info;
  // Whether this session's times can be placed, and those of its last final.
  #trusted;
  #lastStart;
  #lastEnd;

  /** `info` is what is known about the stream's model. */
  constructor(timeline, info) {
    this.#timeline = timeline;
    this.#info = info;
    this.begin();
  }

  /** A session begins, and with it its clock. */
  begin() {
    this.#trusted = this.#info.times;
    this.#lastStart = 0;
    this.#lastEnd = 0;
  }

  /**
   * Places a transcript in the stream. `since` is the acknowledged stream time, where one without times begins.
   *
   * Gives `{ data, end }`: `end` is the position that its times speak up to, null where they say nothing. What had to
   * be mended is added to the message's problems.
   */
  read(message, { since, language }) {
    const timeline = this.#timeline;
    const place = this.#trusted && message.duration ? this.#place(message) : null;
    const endTime = place ? place.endTime : timeline.latest;
    const startTime = place ? place.startTime : Math.min(since, timeline.latest);
    const unnamed = language || constants.default_language;
    const data = {
      language: (message.language === null ? '' : spellLanguage(message.language, this.#info)) || unnamed,
      text: message.text,
      startTime,
      endTime,
      confidence: message.confidence,
      speakerId: message.speakerId,
      words: message.words.map((word) => this.#word(word, startTime)),
      metadata: message.metadata,
    };
    return { data, end: place && place.end };
  }

  #place({ type, start, duration, problems }) {
    const timeline = this.#timeline;
    const sent = timeline.seconds;
    let sessionStart = start ?? 0;
    if (sessionStart > sent + TOLERANCE) {
      problems.add('start');
      sessionStart = 0;
    }
    if (sessionStart + duration > sent + TOLERANCE) problems.add('duration');
    const sessionEnd = Math.min(sessionStart + duration, sent);
    // A start that had to be mended says nothing of the gateway's clock.
    const tells = type !== 'final_transcript' || problems.has('start') || this.#follows(sessionStart, sessionEnd);
    if (!tells) return null;
    const startTime = timeline.start(sessionStart);
    return {
      startTime,
      endTime: Math.max(startTime, timeline.end(sessionEnd)),
      end: timeline.endPosition(sessionEnd),
    };
  }

  /** Whether a final's times fit behind the last one's; an end before its start tells that the clock restarted. */
  #follows(start, end) {
    if (end < this.#lastStart) this.#trusted = false;
    else if (end > this.#lastEnd) [this.#lastStart, this.#lastEnd] = [start, end];
    return this.#trusted;
  }

  #word({ text, start, end, confidence, speakerId }, segmentStart) {
    const timeline = this.#timeline;
    const given = start !== null && end !== null && start <= end && end <= timeline.seconds + TOLERANCE;
    const usable = given && this.#trusted;
    const startTime = usable ? timeline.start(start) : segmentStart;
    const endTime = usable ? Math.max(startTime, timeline.end(end)) : segmentStart;
    return { text, startTime, endTime, confidence, speakerId };
  }
}
