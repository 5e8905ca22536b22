// The notation of fixtures: inputs as they are written there, and what comes out as it is written there.

import { SttError } from './errors.js';
import { errors } from './spec.js';
import { parse, stringify } from './wirejson.js';

/** Audio as bytes. */
export const audioBytes = ({ hex, times = 1 }) => Buffer.concat(Array(times).fill(Buffer.from(hex, 'hex')));

/** Audio in short: equal audio is written equally. */
function audioJson(pcm) {
  const first = pcm.toString('hex', 0, 2);
  const hex = pcm.toString('hex');
  const samples = Math.floor(pcm.length / 2);
  return samples && hex === first.repeat(samples) ? { hex: first, times: samples } : { hex, times: 1 };
}

/** A received text: exact bytes as they are, an object as JSON. */
export function messageText(text) {
  if (typeof text === 'string') return text;
  if (typeof text.audio !== 'object' || text.audio === null) return stringify(text);
  return stringify({ ...text, audio: audioBytes(text.audio).toString('base64') });
}

/** A transport's error; what is none of ours is as good as any other. */
export function readError({ name, retryable, ...facts }) {
  if (!Object.hasOwn(errors, name)) return new Error(name);
  const known = Object.fromEntries(Object.entries(facts).map(([key, value]) => [camel(key), value]));
  return new SttError(name, '', { ...known, retryable: retryable ?? undefined });
}

/** A name of fixtures as it is written here. */
export const camel = (name) => name.replace(/_./g, ([, letter]) => letter.toUpperCase());

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** An action. */
export function actionJson(action) {
  if (typeof action === 'string') {
    const message = parse(action);
    if (message.type === 'input_audio') message.audio = audioJson(Buffer.from(message.audio, 'base64'));
    return { send: message };
  }
  const { type, attempt, abort } = action;
  if (type === 'connect') return { connect: { attempt } };
  return type === 'ping' ? { ping: {} } : { disconnect: { abort, code: 1000 } };
}

/** An event, or what is inside of one: names in snake_case, and metadata as it came. */
export function valueJson(value, key = '') {
  if (value instanceof SttError) return errorJson(value);
  if (Array.isArray(value)) return value.map((item) => valueJson(item));
  if (typeof value !== 'object' || value === null || key === 'metadata') return value;
  const fields = Object.entries(value);
  return Object.fromEntries(fields.map(([name, field]) => [snake(name), valueJson(field, name)]));
}

const ERROR_FIELDS = ['phase', 'closeCode', 'httpStatus', 'sessionId', 'retryAfter', 'code'];

/** An error: what it knows, without its text. */
function errorJson(error) {
  const known = ERROR_FIELDS.filter((field) => error[field] !== null);
  const facts = Object.fromEntries(known.map((field) => [snake(field), error[field]]));
  return { name: error.name, retryable: error.retryable, ...facts };
}
