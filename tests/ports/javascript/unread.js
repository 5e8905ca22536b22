// Events that wait for the application. What grows while nobody reads is bounded: an unread interim gives way to a
// newer one, and neighbouring dropped stretches become one.

export class Unread {
  #limit;
  #events = [];
  // Where the newest interim and the newest dropped stretch lie, as long as they may still be replaced.
  #interim = null;
  #dropped = null;

  constructor(limit) {
    this.#limit = limit;
  }

  /** Whether the application should read before more comes in. */
  get full() {
    return this.#events.length >= this.#limit;
  }

  /** Adds an event of a session or of the link. */
  append(event) {
    this.#events.push(event);
  }

  /** Adds a speech event. A turn's events stay in order: nothing replaces an interim from before them. */
  speech(event) {
    this.#interim = null;
    this.append(event);
  }

  /** Adds an interim, in the place of the unread one if there is one. */
  interim(event) {
    if (this.#interim === null) this.#interim = this.#events.push(event) - 1;
    else this.#events[this.#interim] = event;
  }

  /** Tells of dropped audio, in seconds, joined to the stretch before it. */
  dropped(start, end, cause) {
    const last = this.#dropped === null ? null : this.#events[this.#dropped];
    if (last?.cause === cause && last.end === start) last.end = end;
    else this.#dropped = this.#events.push({ type: 'audio_dropped', start, end, cause }) - 1;
  }

  /** Everything so far. */
  take() {
    const events = this.#events;
    this.#events = [];
    this.#interim = null;
    this.#dropped = null;
    return events;
  }
}
