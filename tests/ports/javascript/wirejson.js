// JSON with limits that are the same on every machine. `JSON.parse` takes integers that a number cannot hold and
// numbers that become infinite, and nests as deep as the stack; here long integers are BigInts, the rest is refused.

import { constants } from './spec.js';

const { max_nesting: MAX_NESTING, max_integer_digits: MAX_INTEGER_DIGITS } = constants;

/** A message that cannot be used; its text tells kinds and lengths, never content. */
export class NotUsable extends Error {}

const WHITESPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const TEXT = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
const WORDS = { true: true, false: false, null: null };

class Parser {
  #text;
  #at = 0;

  constructor(text) {
    this.#text = text;
  }

  document() {
    const value = this.#value(0);
    const left = this.#text.length - this.#at;
    if (left) throw new NotUsable(`${left} characters after the JSON value`);
    return value;
  }

  #value(depth) {
    this.#match(WHITESPACE);
    const first = this.#text[this.#at];
    let value;
    if (first === '{') value = this.#object(depth + 1);
    else if (first === '[') value = this.#array(depth + 1);
    else if (first === '"') value = this.#string();
    else value = this.#scalar();
    this.#match(WHITESPACE);
    return value;
  }

  #object(depth) {
    this.#descend(depth);
    const object = Object.create(null); // no inherited names: a field called "constructor" is absent like any other
    if (this.#skip('}')) return object;
    do {
      this.#match(WHITESPACE);
      const key = this.#string();
      this.#match(WHITESPACE);
      this.#expect(':');
      object[key] = this.#value(depth);
    } while (this.#skip(','));
    this.#expect('}');
    return object;
  }

  #array(depth) {
    this.#descend(depth);
    const array = [];
    if (this.#skip(']')) return array;
    do array.push(this.#value(depth));
    while (this.#skip(','));
    this.#expect(']');
    return array;
  }

  #string() {
    const literal = this.#match(TEXT);
    return literal === null ? this.#fail() : JSON.parse(literal[0]);
  }

  #scalar() {
    const number = this.#match(NUMBER);
    if (number === null) {
      const word = this.#match(WORD);
      return word === null ? this.#fail() : WORDS[word[0]];
    }
    const [literal, fraction, exponent] = number;
    const value = Number(literal);
    if (fraction === undefined && exponent === undefined) {
      const digits = literal.replace('-', '').length;
      if (digits > MAX_INTEGER_DIGITS) throw new NotUsable(`integer of ${digits} digits`);
      return Number.isSafeInteger(value) ? value : BigInt(literal);
    }
    if (!Number.isFinite(value)) throw new NotUsable('number out of range');
    return value;
  }

  #descend(depth) {
    if (depth > MAX_NESTING) throw new NotUsable(`nested more than ${MAX_NESTING} deep`);
    this.#at += 1;
    this.#match(WHITESPACE);
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match !== null) this.#at = pattern.lastIndex;
    return match;
  }

  #skip(character) {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character) {
    if (!this.#skip(character)) this.#fail();
  }

  #fail() {
    throw new NotUsable(`${this.#text.length} characters that are no JSON`);
  }
}

/** Decodes one JSON text; throws NotUsable for all that is none within the limits. Objects have no prototype. */
export function parse(text) {
  return new Parser(text).document();
}

/** Encodes a value compactly; BigInts as the integers they are. */
export function stringify(value) {
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(stringify).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${stringify(field)}`).join(',')}}`;
}
