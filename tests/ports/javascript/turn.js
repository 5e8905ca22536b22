// The turn: the speech table's effects as events, in the order that applications rely on.

import { Machine } from './machine.js';
import { tables } from './spec.js';

export class Turn {
  finals = 0;
  /** Highest stream position handed to the transport, in seconds: kept up to date by the owner. */
  audioTime = 0;
  /** The id of what no transcript names. */
  requestId = '';
  #machine = new Machine('speech', tables.speech);
  #unread;
  #ledger;
  // The open turn's last interim or preflight.
  #last = null;

  constructor(unread, ledger) {
    this.#unread = unread;
    this.#ledger = ledger;
  }

  /** Whether a turn is open. */
  get speaking() {
    return this.#machine.state === 'speaking';
  }

  /** Moves along `trigger` and tells what follows; returns whether settings that waited for the end are due. */
  step(trigger, transcript = null) {
    const effects = this.#machine.step(trigger);
    for (const effect of effects) this.#effects[effect](transcript);
    return effects.includes('settings');
  }

  #effects = {
    start: () => this.#tell('start_of_speech'),
    interim: (transcript) => {
      this.#last = transcript;
      this.#unread.interim(transcript);
    },
    preflight: (transcript) => {
      this.#last = transcript;
      this.#unread.speech(transcript);
    },
    usage: (transcript) => {
      const usage = this.#ledger.report();
      if (usage !== null) this.#tell('recognition_usage', transcript?.requestId ?? this.requestId, usage);
    },
    final: (transcript) => {
      this.finals += 1;
      this.#unread.speech(transcript);
    },
    promote: () => {
      if (this.#last === null) return;
      const promoted = { ...this.#last, type: 'final_transcript', audioTime: this.audioTime, promoted: true };
      this.#effects.final(promoted);
    },
    end: () => {
      this.#last = null;
      this.#tell('end_of_speech');
    },
    settings: () => {}, // sent by whoever steps the turn, behind its last event
  };

  #tell(type, requestId = '', recognitionUsage = null) {
    const { audioTime } = this;
    this.#unread.speech({ type, requestId, alternatives: [], recognitionUsage, audioTime, promoted: false });
  }
}
