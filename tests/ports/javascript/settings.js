// What the gateway was told of the model, the language and the options, and what it is to be told. The caller's own
// options and the session's keyterms stay apart and are merged only on their way out.

import { lookup } from './catalogue.js';
import { localError } from './errors.js';
import { plainExtra, plainText, readModel, spelt } from './options.js';
import { constants } from './spec.js';
import { stringify } from './wirejson.js';

/** The user's keyterms and then the session's, none twice. */
function mergeKeyterms(key, user, session) {
  if (key !== 'additional_vocab') return [...new Set([...user, ...session])];
  const known = user.map((entry) => (typeof entry === 'string' ? entry : entry.content));
  const added = [...new Set(session)].filter((term) => !known.includes(term));
  return [...user, ...added.map((content) => ({ content }))];
}

const same = (one, other) => stringify(sorted(one)) === stringify(sorted(other));

/** A JSON value with the keys of its objects in order. */
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

/** Copies options; of `agent_context` the newest words matter most. */
function readExtra(value, info) {
  const extra = plainExtra('extra', value, info);
  if (typeof extra.agent_context === 'string') {
    extra.agent_context = [...extra.agent_context].slice(-constants.agent_context_characters).join('');
  }
  return extra;
}

function readKeyterms(value) {
  const terms = typeof value === 'string' ? [value] : value ?? [];
  if (!Array.isArray(terms)) throw localError('keyterms must be a list of texts', 'configure');
  return terms.map((term) => plainText('keyterms', term));
}

export class Settings {
  #options;
  #info;
  #language;
  #extra;
  #keyterms = [];
  // Keyterms that the current session knows.
  #told = [];

  constructor(options) {
    this.#options = options;
    this.model = options.model;
    this.#info = options.info;
    this.#language = options.language;
    this.#extra = readExtra(options.extra, options.info);
  }

  /** As sent; null: not said. */
  get language() {
    return this.#language;
  }

  /** The message `session.create`; nothing is deferred any more. */
  create() {
    const { sampleRate, encoding, fallback } = this.#options;
    const extra = { ...this.#extra };
    const key = this.#info.keyterm_key;
    if (key !== null) {
      this.#told = this.#merged(key);
      extra[key] = this.#told;
    }
    return {
      type: 'session.create',
      model: this.model ?? undefined,
      settings: { sample_rate: String(sampleRate), encoding, extra, language: this.#language ?? undefined },
      connection: constants.connection_hint,
      fallback: fallback.length ? { models: fallback } : undefined,
    };
  }

  /** Remembers a change; gives the sparse settings to send now, or null. Where it throws, nothing changed. */
  change({ model, language, extra, keyterms }, { live, speaking }) {
    const next = this.#newModel(model, live);
    const info = next.info;
    const wanted = language === undefined ? next.language ?? this.#language : language;
    const spoken = spelt(wanted === null ? null : plainText('language', wanted), info);
    const delta = extra === undefined ? {} : readExtra(extra, info);
    // Checked as a whole: a model of the same provider may read a keyterm key that the old one did not.
    const merged = plainExtra('extra', { ...this.#extra, ...delta }, info);
    const terms = keyterms === undefined ? this.#keyterms : readKeyterms(keyterms);

    const settings = {};
    if (next.name !== this.model) settings.model = next.name;
    if (spoken !== this.#language) settings.language = spoken ?? '';
    const old = this.#extra;
    const isNew = ([key, value]) => key !== info.keyterm_key && !(Object.hasOwn(old, key) && same(old[key], value));
    let changed = Object.fromEntries(Object.entries(delta).filter(isNew));
    if (info.keyterm_key !== this.#info.keyterm_key) this.#told = [];
    this.model = next.name;
    this.#info = info;
    this.#language = spoken;
    this.#extra = merged;
    this.#keyterms = terms;
    if (!live) return null;
    if (!speaking) changed = { ...changed, ...this.#untold() };
    if (Object.keys(changed).length) settings.extra = changed;
    return Object.keys(settings).length ? settings : null;
  }

  /** The settings that waited for the end of the turn, once; null if nothing did. */
  takeDeferred() {
    const extra = this.#untold();
    return Object.keys(extra).length ? { extra } : null;
  }

  #newModel(model, live) {
    const old = this.#info;
    if (model === undefined) return { name: this.model, info: old, language: null };
    const { name, language } = readModel(model);
    const info = lookup(name);
    if (![null, this.#options.sampleRate, old.sample_rate].includes(info.sample_rate)) {
      throw localError(`this model takes ${info.sample_rate} Hz only`, 'configure');
    }
    if (live && (info.provider !== old.provider || (name === null) !== (this.model === null))) {
      throw localError('a live stream stays with its provider', 'configure');
    }
    if (live && info.endpointing !== old.endpointing) {
      throw localError('a live stream cannot change who finds the end of speech', 'configure');
    }
    return { name, info, language };
  }

  #merged(key) {
    return mergeKeyterms(key, this.#extra[key] ?? [], this.#keyterms);
  }

  /** The complete keyterms if the session does not know them yet; from here on it does. */
  #untold() {
    const key = this.#info.keyterm_key;
    if (key === null) return {};
    const merged = this.#merged(key);
    if (same(merged, this.#told)) return {};
    this.#told = merged;
    return { [key]: merged };
  }
}
