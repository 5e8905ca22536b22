// Fields of messages, read leniently. Null is absent, and absent is the default: no problem. What cannot be used, or
// only after mending, is a problem: its field's name is added to `problems`, and the rest of the message is read on.

import { asFloat } from './numbers.js';

const LONE_SURROGATE = /[\ud800-\udfff]/u; // in a pattern with the flag u, a pair is one character
const LONE_SURROGATES = /[\ud800-\udfff]/gu;

// Controls, separators of lines and paragraphs, controls of writing direction, and lone surrogates.
const UNSAFE_IN_NAME = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]/u;

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Characters of a text, as everybody but UTF-16 counts them. */
export const lengthOf = (text) => [...text].length;

/** Reads text that people read, at most `limit` bytes of UTF-8; empty when absent or unusable. */
export function readText(value, limit, name, problems) {
  if (typeof value !== 'string') {
    if (value !== undefined && value !== null) problems.add(name);
    return '';
  }
  const sound = value.replace(LONE_SURROGATES, '\ufffd');
  if (sound !== value) problems.add(name);
  const raw = Buffer.from(sound);
  if (raw.length <= limit) return sound;
  problems.add(name);
  let end = limit;
  while ((raw[end] & 0xc0) === 0x80) end -= 1; // cut before a character, not within
  return raw.toString('utf8', 0, end);
}

/** Reads an id, a language or the name of a model, at most `limit` characters; null when absent, empty or unusable. */
export function readName(value, limit, name, problems) {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string' && lengthOf(value) <= limit && !UNSAFE_IN_NAME.test(value)) return value;
  problems.add(name);
  return null;
}

/** Reads a time or a duration; null when absent or unusable. */
export function readSeconds(value, name, problems) {
  if (value === undefined || value === null) return null;
  const seconds = asFloat(value);
  if (seconds >= 0) return Math.abs(seconds); // no -0
  problems.add(name);
  return null;
}

/** Reads a confidence, clamped to 0 and 1; `fallback` when absent or no number. */
export function readConfidence(value, fallback, name, problems) {
  if (value === undefined || value === null) return fallback;
  const confidence = asFloat(value);
  if (confidence >= 0 && confidence <= 1) return Math.abs(confidence);
  problems.add(name);
  return confidence === undefined ? fallback : Number(confidence > 1);
}

/** Reads the words of a transcript, skipping what is none; all are dropped when there are too many. */
export function readWords(value, limits, problems) {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > limits.words) {
    problems.add('words');
    return [];
  }
  const words = [];
  for (const item of value) {
    if (isObject(item)) {
      words.push({
        text: readText(item.word, limits.text, 'words', problems),
        start: readSeconds(item.start, 'words', problems),
        end: readSeconds(item.end, 'words', problems),
        confidence: readConfidence(item.confidence, 0, 'words', problems),
        speakerId: readName(item.speaker_id, limits.name, 'words', problems),
      });
    } else if (item !== null) {
      problems.add('words');
    }
  }
  return words;
}

/** Reads a JSON object, mended in place; null when absent, empty or unusable. */
export function readObject(value, name, problems) {
  if (value === undefined || value === null) return null;
  if (!isObject(value)) {
    problems.add(name);
    return null;
  }
  if (mend(value)) problems.add(name);
  return Object.keys(value).length ? value : null;
}

/** Mends lone surrogates in all keys and texts; tells whether there were any. */
function mend(holder) {
  let mended = false;
  if (isObject(holder)) {
    let number = 2;
    for (const key of Object.keys(holder).filter((candidate) => LONE_SURROGATE.test(candidate))) {
      mended = true;
      const sound = key.replace(LONE_SURROGATES, '\ufffd');
      let name = sound;
      for (; name in holder; number += 1) name = `${sound}~${number}`;
      holder[name] = holder[key];
      delete holder[key];
    }
  }
  for (const [key, value] of Object.entries(holder)) {
    if (typeof value === 'string' && LONE_SURROGATE.test(value)) {
      mended = true;
      holder[key] = value.replace(LONE_SURROGATES, '\ufffd');
    } else if (typeof value === 'object' && value !== null) {
      mended = mend(value) || mended;
    }
  }
  return mended;
}
