// The client: audio in, events out, across as many sessions as it takes.
//
// After any input: take the actions, take the events, look at the deadline. `now` is seconds on any monotonic clock;
// the largest one seen counts. A text action is a message to send; the others are objects with a `type`.

import { Drain } from './drain.js';
import { Endpointing } from './endpointing.js';
import { dialFailure, gatewayFailure, httpFailure, localError, lost, SttError, verdict } from './errors.js';
import { Hearing } from './hearing.js';
import { Machine, MissingRow } from './machine.js';
import { decode } from './messages.js';
import { Outage } from './outage.js';
import { FINALIZE, Sender } from './sender.js';
import { Settings } from './settings.js';
import { constants, listening, tables } from './spec.js';
import { Timers, TRANSPORT_TIMERS } from './timers.js';
import { Turn } from './turn.js';
import { Unread } from './unread.js';
import { NotUsable, stringify } from './wirejson.js';

const CLOSE = JSON.stringify({ type: 'session.close' });

const isAbort = (action) => action?.type === 'disconnect' && action.abort;

export class Connection {
  /** Why the stream failed, once it did. */
  error = null;
  #options;
  #limits;
  #retry;
  #now = -Infinity;
  #timers = new Timers();
  #outbox = [];
  #link = new Machine('link', tables.link);
  #session = new Machine('session', tables.session);
  #settings;
  #outage;
  #sender;
  #ring;
  #liveness;
  #drain;
  #hearing;
  #unread;
  #turn;
  #endpointing = null;
  #inputEnded = false;
  // The finish ended without what it waited for.
  #expired = false;
  // What broke the session, before its transport is gone.
  #failure = null;
  #sessionId = null;
  #connectingAt = 0;
  #counters = {
    sessions: 0,
    failures: 0,
    messagesSent: 0,
    messagesReceived: 0,
    diagnostics: 0,
    dropped: 0,
    connectLatency: null,
    roundTrip: null,
  };

  /** `random` gives numbers in [0, 1) to spread retries; `endpointer` is used only for models that need one. */
  constructor(options, { retry = {}, limits = {}, endpointer = null, random = null } = {}) {
    this.#options = options;
    this.#retry = { ...constants.retry, ...retry };
    this.#limits = { ...constants.limits, ...limits };
    this.#settings = new Settings(options);
    this.#outage = new Outage(this.#retry, random);
    this.#sender = new Sender(this.#limits, options.sampleRate);
    this.#ring = this.#sender.ring;
    this.#liveness = this.#sender.liveness;
    this.#drain = new Drain(this.#limits);
    this.#hearing = new Hearing(this.#sender, this.#drain, options.info);
    this.#unread = new Unread(this.#limits.unread_events);
    this.#turn = new Turn(this.#unread, this.#sender.ledger);
    if (endpointer && options.info.endpointing) this.#endpointing = new Endpointing(endpointer, options.sampleRate);
  }

  // Looks.

  get linkState() {
    return this.#link.state;
  }

  get sessionState() {
    return this.#session.state;
  }

  /** When to call `handleTimeout` at the latest; null: nothing waits for time. */
  get deadline() {
    return this.#timers.deadline;
  }

  /** Whether a turn is open. */
  get speaking() {
    return this.#turn.speaking;
  }

  /** Whether the stream is over. */
  get finished() {
    return this.#link.state === 'done';
  }

  get unsentSeconds() {
    return this.#seconds(this.#ring.unsent);
  }

  /** Audio pushed that no final and no confirmed silence stands for yet. */
  get unacknowledgedSeconds() {
    return this.#seconds(this.#ring.unacknowledged);
  }

  /** Bytes that `sendAudio` takes now without dropping any. */
  get room() {
    return this.#ring.room;
  }

  /** False while so many events are unread that the transport should not be read. */
  get readable() {
    return !this.#unread.full;
  }

  /** Whether `takeActions` has something to give. */
  get pending() {
    if (this.#outbox.length || this.#liveness.due) return true;
    if (this.#link.state !== 'up') return false;
    if (this.#ring.ready && this.#sender.maySend(this.#now)) return true;
    return (this.#inputEnded && this.#mayFinalize) || this.#liveness.wantsPing(this.#sender.timeline.count);
  }

  /** Counters, durations and latencies, as of now. */
  get stats() {
    const { dropped, ...counters } = this.#counters;
    return {
      ...counters,
      finals: this.#turn.finals,
      audioPushed: this.#seconds(this.#ring.pushed),
      audioSent: this.#seconds(this.#sender.ledger.unique),
      audioResent: this.#seconds(this.#sender.ledger.resent),
      audioDropped: this.#seconds(dropped),
      audioUnsent: this.unsentSeconds,
      audioUnacknowledged: this.unacknowledgedSeconds,
      finalizeLatency: this.#drain.latency,
    };
  }

  // Wishes. A caller's mistake throws a LocalProtocolError and changes nothing.

  start(now) {
    this.#requireLink('start');
    this.#advance(now);
    this.#stepLink('start');
  }

  /** Pushes 16-bit little-endian mono audio of any length. Beyond `room` the oldest unsent audio is dropped. */
  sendAudio(pcm, now) {
    this.#requireInput('audio');
    this.#advance(now);
    this.#endpoint(pcm);
    for (const stretch of this.#ring.push(pcm)) this.#tellDropped(stretch, 'overflow');
    if (this.#unread.full) this.#armLiveness();
  }

  /** Has the audio pushed so far sent without waiting for a full message. */
  flush(now) {
    this.#requireInput('a flush');
    this.#advance(now);
    this.#ring.mark(this.#ring.pushed, { finalize: false });
  }

  /** Asks for finals of the audio pushed so far; the session stays open. */
  finalize(now) {
    this.#requireInput('a finalize');
    this.#advance(now);
    this.#ring.mark(this.#ring.pushed, { finalize: true });
  }

  /** No more audio comes: send what is left, ask for finals, and end the stream when they came. */
  endInput(now) {
    if (this.#inputEnded) return;
    this.#requireInput('the end of input');
    this.#advance(now);
    this.#inputEnded = true;
    this.#ring.mark(this.#ring.pushed, { finalize: false });
    this.#timers.arm('drain', this.#drain.endInput(this.#now, this.unsentSeconds));
    if (this.#link.state === 'backoff' && !this.#ring.unacknowledged) this.#finish();
  }

  /** Ends the stream now, politely; transcripts under way are still heard until the transport closes. */
  close(now) {
    this.#advance(now);
    this.#inputEnded = true;
    this.#finish();
  }

  /** Changes `model`, `language`, `extra` (merged by key) or `keyterms`; a live session is told what changed. */
  updateOptions(changes, now) {
    if (['closing', 'done'].includes(this.#link.state)) throw localError('the stream is over', 'close');
    const live = this.#link.state !== 'idle';
    const settings = this.#settings.change(changes, { live, speaking: this.speaking });
    this.#advance(now);
    if (settings !== null) this.#sendSettings(settings);
  }

  // Facts.

  transportOpened(now) {
    this.#requireLink('opened');
    this.#advance(now);
    this.#stepLink('opened');
  }

  /** A text message arrived. Never throws for what it says; a diagnostic tells what could not be used. */
  receiveText(text, now) {
    if (!this.#heard(now)) return;
    this.#receive(text);
    this.#afterInbound();
  }

  /** A binary message arrived: there are none in this protocol, so it is skipped. */
  receiveBinary(data, now) {
    if (!this.#heard(now)) return;
    this.#counters.messagesReceived += 1;
    this.#diagnose('binary_message', `${data.length} bytes`);
    this.#afterInbound();
  }

  /** A pong arrived: the audio sent before its ping is confirmed. */
  transportAlive(now) {
    if (!this.#heard(now)) return;
    if (this.#liveness.asked !== null) this.#counters.roundTrip = this.#now - this.#liveness.asked;
    this.#liveness.answered();
    if (!this.speaking) this.#hearing.acknowledgeSilence();
    this.#afterInbound();
  }

  /** The transport is gone, or could not be had: the one answer to each connect action. `retryAfter` is in seconds. */
  transportClosed({ code = constants.default_close_code, httpStatus = null, retryAfter = null, error = null }, now) {
    this.#requireLink('closed_end');
    this.#advance(now);
    if (this.#link.state !== 'closing') this.#counters.failures += 1;
    const failure = this.#failureOf(code, httpStatus, retryAfter, error);
    this.#liveness.due = false;
    this.#timers.cancel(...TRANSPORT_TIMERS);
    this.#outbox = [];
    this.#session.step('closed');
    this.#stepLink(this.#classOf(failure, code));
  }

  // Time and results.

  /** Steps every timer that is due. Too early or twice is harmless. */
  handleTimeout(now) {
    this.#advance(now);
    this.#timers.handle(this.#now, (name) => this.#timeouts[name]());
  }

  /**
   * What the transport is to do now, in order: at most 16 messages at a time.
   *
   * Taking again says that the transport accepted the earlier messages. While a write is pending, ask for 0 messages
   * and get only a ping or an aborting disconnect.
   */
  takeActions(now, maxMessages = constants.batch) {
    this.#advance(now);
    const room = Math.min(maxMessages, constants.batch);
    const { timeline } = this.#sender;
    if (room <= 0) {
      const actions = isAbort(this.#outbox[0]) ? [this.#outbox.shift()] : [];
      return [...actions, ...this.#takePing(this.#liveness.accepted)];
    }
    this.#liveness.accepted = timeline.count;
    const actions = [];
    let left = room;
    while (this.#outbox.length && left) {
      const action = this.#outbox.shift();
      if (typeof action === 'string') left -= 1;
      actions.push(action);
    }
    if (this.#link.state === 'up' && !this.#outbox.length) {
      const messages = this.#takeAudio(left);
      left -= messages.length;
      actions.push(...messages);
    }
    this.#counters.messagesSent += room - left;
    return [...actions, ...this.#takePing(timeline.count)];
  }

  /** What happened, in order. */
  takeEvents() {
    const { full } = this.#unread;
    const events = this.#unread.take();
    if (full && this.#link.state === 'up') {
      // Liveness and quiet stood still while nobody read; they go on from here.
      this.#liveness.heard = this.#now;
      this.#drain.listenAgain(this.#now);
      this.#afterInbound();
    }
    return events;
  }

  // Triggers: what is the case, in the words of the tables.

  #failureOf(code, httpStatus, retryAfter, error) {
    if (this.#failure !== null) return this.#failure;
    if (error instanceof SttError) return error;
    if (httpStatus !== null) return httpFailure(httpStatus, retryAfter);
    return this.#link.state === 'connecting' ? dialFailure() : lost(code, this.#sessionId);
  }

  /** Names what a closed transport means. */
  #classOf(failure, code) {
    if (this.#link.state === 'closing') return this.#outage.fatal ? 'closed_fail' : 'closed_end';
    if (this.#inputEnded) {
      const orderly = code === 1000 && this.#failure === null && this.#drain.acknowledged && !this.speaking;
      if (orderly || !this.#ring.unacknowledged) return 'closed_end';
    }
    const trigger = this.#outage.failed(failure, this.#now);
    if (trigger !== 'closed_fail' && this.#drain.barren) {
      this.#expired = true;
      return 'closed_end';
    }
    return trigger;
  }

  /** The gateway broke off: reconnect, give up, or take it as the end when nothing is missing any more. */
  #break(failure) {
    if (this.#link.state !== 'up') return;
    if (this.#inputEnded && !this.#ring.unacknowledged) {
      this.#finish();
    } else if (verdict(failure) === 'permanent') {
      this.#outage.fatal = failure;
      this.#finish();
    } else {
      this.#failure = failure;
      this.#stepLink('broken');
    }
  }

  /** Nothing more is wanted: leave, however the link stands. */
  #finish() {
    this.#timers.cancel('drain');
    this.#stepLink('finish');
  }

  /** Sees whether the end of input is answered, or when it will be taken as answered. */
  #judgeFinish() {
    if (!this.#inputEnded || this.#link.state !== 'up') return;
    const acknowledged = !this.#ring.unacknowledged;
    const exactly = acknowledged && this.#hearing.exact >= this.#ring.handed;
    const at = this.#drain.settledAt({ speaking: this.speaking, acknowledged, exactly });
    if (at === null || (this.#unread.full && at > this.#now)) this.#timers.cancel('quiet');
    else if (at <= this.#now + constants.epsilon) this.#finish();
    else this.#timers.arm('quiet', at);
  }

  // Effects of the link table.

  #stepLink(trigger) {
    for (const effect of this.#link.step(trigger)) this.#linkEffects[effect]();
  }

  #linkEffects = {
    connect: () => {
      this.#failure = null;
      this.#outage.dialling();
      this.#connectingAt = this.#now;
      this.#outbox.push({ type: 'connect', attempt: this.#outage.failures, model: this.#settings.model });
    },
    arm_connect: () => this.#timers.arm('connect', this.#now + this.#retry.connect_timeout),
    arm_backoff: () => this.#timers.arm('backoff', this.#now + this.#outage.delay),
    arm_close: () => {
      this.#timers.cancel(...TRANSPORT_TIMERS);
      this.#timers.arm('close', this.#now + this.#limits.close);
    },
    open_session: () => this.#openSession(),
    leave_session: () => {
      this.#liveness.due = false;
      this.#say('client:session.close', CLOSE);
    },
    disconnect: () => this.#outbox.push({ type: 'disconnect', abort: false }),
    abort: () => {
      // Whatever else waits is pointless, except for a dial that has to be asked for before it can be abandoned.
      const dial = this.#outbox.filter((action) => action.type === 'connect');
      this.#outbox = [...dial, { type: 'disconnect', abort: true }];
    },
    rejoin: () => {
      for (const stretch of this.#ring.rewind()) this.#tellDropped(stretch, 'unacknowledged');
    },
    tell_retry: () => {
      const { failures: attempt, delay, last: error } = this.#outage;
      this.#unread.append({ type: 'reconnecting', attempt, delay, error });
    },
    end: () => this.#conclude(this.#expired ? this.#expiry() : null),
    fail: () => this.#conclude(this.#outage.fatal),
  };

  #openSession() {
    const { failures } = this.#outage;
    this.#timers.cancel('connect');
    this.#counters.sessions += 1;
    this.#counters.connectLatency = this.#now - this.#connectingAt;
    this.#outage.opened(this.#now);
    this.#sessionId = null;
    this.#turn.requestId = '';
    this.#hearing.begin();
    this.#drain.beginSession();
    this.#sender.begin(this.#now, { resumed: failures > 0 });
    this.#session.step('opened');
    this.#say('client:session.create', stringify(this.#settings.create()));
    if (failures) {
      this.#unread.append({
        type: 'resumed',
        attempt: failures,
        audioTime: this.#seconds(this.#ring.position),
        resentDuration: this.#seconds(this.#ring.toResend),
        estimatedDuration: this.#seconds(this.#hearing.estimated),
      });
    }
    this.#armLiveness();
  }

  /** What a finish that expired means: null where nothing is missing. */
  #expiry() {
    const facts = { phase: 'finalize', sessionId: this.#sessionId };
    const timeout = (message) => new SttError('FinalizeTimeout', message, facts);
    if (this.speaking) return timeout('the gateway sent no final for the last words');
    if (!this.#ring.neverSent) return null;
    return this.#outage.last ?? timeout('the gateway did not take all audio in time');
  }

  #conclude(failure) {
    this.#stepTurn('stream_over');
    this.#timers.clear();
    this.error = failure;
    const { unacknowledgedSeconds } = this;
    if (failure === null) {
      this.#session.step('stream_ended');
      this.#unread.append({ type: 'stream_ended', unacknowledgedSeconds });
    } else {
      this.#session.step('stream_failed');
      this.#unread.append({ type: 'stream_failed', error: failure, unacknowledgedSeconds });
    }
  }

  // Effects of the session table: what the gateway said.

  #heardEffects = {
    created: ({ sessionId }) => {
      this.#sessionId = sessionId ?? this.#sessionId;
      this.#turn.requestId = this.#sessionId ?? '';
      this.#unread.append({ type: 'session_created', sessionId });
    },
    hear: (message) => {
      if (message.type === 'start_of_speech') {
        this.#hearing.hearsOnsets = true;
        this.#stepTurn(message.trigger);
      } else {
        this.#hear(message);
      }
    },
    finalized: () => {
      this.#drain.finalized(this.#now);
      this.#unread.append({ type: 'finalized' });
    },
    closed: () => {
      if (this.#drain.finalizeAt !== null && !this.speaking) this.#finish();
      else this.#break(this.#sessionLost('the gateway closed the session early'));
    },
    error: ({ code, sessionId }) => this.#break(gatewayFailure(code, sessionId ?? this.#sessionId)),
  };

  #hear(message) {
    const language = this.#settings.language ?? '';
    const { trigger, event, acknowledged } = this.#hearing.hear(message, this.#now, {
      language,
      sessionId: this.#sessionId ?? '',
    });
    this.#diagnoseFields(message);
    if (acknowledged) this.#outage.works();
    this.#stepTurn(trigger, event);
  }

  #stepTurn(trigger, transcript = null) {
    this.#turn.audioTime = this.#seconds(this.#ring.handed);
    if (!this.#turn.step(trigger, transcript) || !this.#mayUpdate) return;
    const settings = this.#settings.takeDeferred();
    if (settings !== null) this.#sendSettings(settings);
  }

  // Timers.

  #timeouts = {
    connect: () => {
      this.#failure = new SttError('ConnectError', 'no connection in time', { phase: 'connect' });
      this.#stepLink('connect_timeout');
    },
    backoff: () => this.#stepLink('backoff_timeout'),
    close: () => this.#stepLink('close_timeout'),
    ping: () => this.#liveness.expire(this.#now),
    lost: () => {
      if (!this.#liveness.expire(this.#now)) return;
      this.#failure = this.#sessionLost('nothing was heard from the gateway');
      this.#outage.timedOut(this.#liveness.heard);
      this.#stepLink('lost');
    },
    pace: () => {}, // the next stretch of the backlog may go: `pending` says so by itself
    quiet: () => this.#judgeFinish(),
    drain: () => {
      this.#expired = true;
      this.#finish();
    },
  };

  // Sending.

  /** Whether the finalize that the end of input asks for may go. */
  get #mayFinalize() {
    return this.#drain.finalizeAt === null && !this.#ring.unsent;
  }

  /** Whether a session is open; one that is not is told by its `session.create` instead. */
  get #mayUpdate() {
    return this.#link.state === 'up' && this.#session.allows('client:session.update');
  }

  #takeAudio(room) {
    const messages = this.#sender.take(room, this.#now, this.#session);
    const due = this.#sender.paceDeadline;
    if (due !== null && due > this.#now + constants.epsilon) this.#timers.arm('pace', due);
    if (this.#inputEnded && messages.length < room && this.#mayFinalize) {
      this.#session.step('client:session.finalize');
      messages.push(FINALIZE);
      this.#drain.finalizeSent(this.#now);
      this.#judgeFinish();
    }
    return messages;
  }

  #takePing(sent) {
    if (this.#link.state !== 'up' || !(this.#liveness.due || this.#liveness.wantsPing(sent))) return [];
    this.#liveness.takePing(this.#now, sent);
    this.#armLiveness();
    return [{ type: 'ping' }];
  }

  #sendSettings(settings) {
    if (this.#mayUpdate) this.#say('client:session.update', stringify({ type: 'session.update', settings }));
  }

  /** Sends our own message where the session table has one to send. */
  #say(trigger, text) {
    if (this.#session.step(trigger).length) this.#outbox.push(text);
  }

  // Receiving.

  /** Notes inbound traffic; false when no transport is there to bring any. */
  #heard(now) {
    this.#advance(now);
    if (!listening.includes(this.#link.state)) return false;
    this.#liveness.heard = this.#now;
    return true;
  }

  #receive(text) {
    this.#counters.messagesReceived += 1;
    try {
      const message = decode(text, this.#limits);
      if (message.trigger === undefined) {
        this.#diagnose('unknown_type', `type of ${message.typeLength} characters`);
        return;
      }
      // A transcript has more to say of them, once it was placed.
      if (!message.type.endsWith('_transcript')) this.#diagnoseFields(message);
      for (const effect of this.#session.step(message.trigger)) this.#heardEffects[effect](message);
    } catch (problem) {
      if (problem instanceof NotUsable) this.#diagnose('invalid_message', problem.message);
      else if (problem instanceof MissingRow) this.#diagnose('unexpected_message', problem.message);
      else throw problem;
    }
  }

  #afterInbound() {
    this.#armLiveness();
    this.#judgeFinish();
  }

  /** Waits for what liveness waits for; while nobody reads, it stands still. */
  #armLiveness() {
    this.#timers.cancel('ping', 'lost');
    const { deadline, asked } = this.#liveness;
    if (deadline === null || this.#link.state !== 'up' || this.#unread.full) return;
    this.#timers.arm(asked === null ? 'ping' : 'lost', deadline);
  }

  // Small things.

  #advance(now) {
    this.#now = Math.max(this.#now, now);
  }

  #seconds(samples) {
    return samples / this.#options.sampleRate;
  }

  #sessionLost(message) {
    return new SttError('ConnectionLost', message, { phase: 'session', sessionId: this.#sessionId });
  }

  #tellDropped({ start, end }, cause) {
    this.#counters.dropped += end - start;
    this.#unread.dropped(this.#seconds(start), this.#seconds(end), cause);
  }

  #diagnose(kind, detail) {
    this.#counters.diagnostics += 1;
    this.#unread.append({ type: 'diagnostic', kind, detail });
  }

  #diagnoseFields({ problems }) {
    if (problems.size) this.#diagnose('invalid_field', [...problems].join(', '));
  }

  #endpoint(pcm) {
    if (this.#endpointing === null) return;
    try {
      for (const position of this.#endpointing.push(pcm)) this.#ring.mark(position, { finalize: true });
    } catch (failure) {
      // Whatever a caller's endpointer throws, the words go on.
      this.#diagnose('endpointer_failed', failure.name);
      this.#endpointing = null;
    }
  }

  #requireInput(what) {
    if (this.#inputEnded || this.finished) throw localError(`${what} came after the end of input`, 'session');
  }

  #requireLink(trigger) {
    if (this.#link.allows(trigger)) return;
    throw localError(`${trigger} is not possible while the link is ${this.#link.state}`, 'connect');
  }
}
