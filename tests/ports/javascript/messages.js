// What a gateway sends, decoded leniently: `{ type, trigger, problems, ... }`.

import { constants } from './spec.js';
import { lengthOf, readConfidence, readName, readObject, readSeconds, readText, readWords } from './fields.js';
import { asFloat } from './numbers.js';
import { NotUsable, parse } from './wirejson.js';

const NOTHING = () => ({});

function sessionCreated(message, limits, problems) {
  return { sessionId: readName(message.session_id, limits.name, 'session_id', problems) };
}

function transcript(message, limits, problems) {
  const text = message.transcript ?? '';
  if (typeof text !== 'string') throw new NotUsable('transcript is not text');
  return {
    text: readText(text, limits.text, 'transcript', problems),
    start: readSeconds(message.start, 'start', problems),
    duration: readSeconds(message.duration, 'duration', problems),
    confidence: readConfidence(message.confidence, 1, 'confidence', problems),
    words: readWords(message.words, limits, problems),
    language: readName(message.language, limits.name, 'language', problems),
    speakerId: readName(message.speaker_id, limits.name, 'speaker_id', problems),
    metadata: readObject(message.extra, 'extra', problems),
    requestId: readName(message.request_id, limits.name, 'request_id', problems),
    sessionId: readName(message.session_id, limits.name, 'session_id', problems),
  };
}

function error(message, limits, problems) {
  // Some servers nest both one level down.
  const inner = typeof message.error === 'object' && !Array.isArray(message.error) ? message.error : null;
  const given = message.code ?? inner?.code ?? null;
  const text = readText(message.message ?? inner?.message, limits.text, 'message', problems);
  let code = asFloat(given);
  if (!Number.isInteger(code) || Math.abs(code) > constants.max_code) {
    if (given !== null) problems.add('code');
    code = -1;
  }
  return { code, text, sessionId: readName(message.session_id, limits.name, 'session_id', problems) };
}

const DECODERS = new Map([
  ['session.created', sessionCreated],
  ['start_of_speech', NOTHING],
  ['interim_transcript', transcript],
  ['preflight_transcript', transcript],
  ['final_transcript', transcript],
  ['session.finalized', NOTHING],
  ['session.closed', NOTHING],
  ['error', error],
]);

/** Decodes one text message; throws NotUsable only. One of an unknown type has no `trigger`, but a `typeLength`. */
export function decode(text, limits) {
  const size = Buffer.byteLength(text);
  if (size > limits.message) throw new NotUsable(`${size} bytes, over ${limits.message}`);
  const message = parse(text);
  if (typeof message !== 'object' || message === null || Array.isArray(message)) throw new NotUsable('not an object');
  const { type } = message;
  if (typeof type !== 'string') throw new NotUsable('no text as its type');
  const decoder = DECODERS.get(type);
  if (decoder === undefined) return { typeLength: lengthOf(type) };
  const problems = new Set();
  return { type, trigger: `gateway:${type}`, problems, ...decoder(message, limits, problems) };
}
