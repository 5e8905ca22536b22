// What a caller may choose, checked and normalised when it is made.

import { lookup, spellLanguage } from './catalogue.js';
import { localError } from './errors.js';
import { constants } from './spec.js';

const JSON_LEVELS = constants.max_option_nesting;
const MIN_INTEGER = -(2n ** 63n);
const MAX_INTEGER = 2n ** 64n - 1n;

/** Copies a text; throws for what is none, or has no UTF-8 form. */
export function plainText(name, value) {
  if (typeof value !== 'string') throw localError(`${name} must be a text`, 'configure');
  if (/[\ud800-\udfff]/u.test(value)) throw localError(`${name} holds a lone surrogate`, 'configure');
  return value;
}

/** Copies a JSON value that every encoder takes and every decoder accepts; throws for anything else. */
function plainJson(name, value, levels = JSON_LEVELS) {
  if (value === null || typeof value === 'boolean') return value;
  if (typeof value === 'string') return plainText(name, value);
  if (typeof value === 'bigint' && value >= MIN_INTEGER && value <= MAX_INTEGER) return value;
  if (Number.isFinite(value)) return value;
  if (typeof value !== 'object') throw localError(`${name} holds a ${typeof value}: use plain JSON`, 'configure');
  if (levels === 0) throw localError(`${name} is nested deeper than ${JSON_LEVELS} levels`, 'configure');
  if (Array.isArray(value)) return value.map((item) => plainJson(name, item, levels - 1));
  const fields = Object.entries(value);
  return Object.fromEntries(fields.map(([key, item]) => [plainText(name, key), plainJson(name, item, levels - 1)]));
}

/** Copies provider options; the value under the model's keyterm key becomes a list. */
export function plainExtra(name, value, info) {
  if (!isObject(value)) throw localError(`${name} must be an object of options`, 'configure');
  const extra = plainJson(name, value);
  const key = info.keyterm_key;
  if (key !== null && Object.hasOwn(extra, key)) {
    const terms = typeof extra[key] === 'string' ? [extra[key]] : extra[key] ?? [];
    const allowed = (term) => typeof term === 'string' || (key === 'additional_vocab' && isObject(term));
    if (!Array.isArray(terms) || !terms.every(allowed)) {
      throw localError(`${name}[${key}] must be a list of terms`, 'configure');
    }
    extra[key] = terms;
  }
  return extra;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Splits `provider/model:language` at the last colon, if any. */
function splitAtColon(model) {
  const colon = model.lastIndexOf(':');
  return colon < 0 ? [model, null] : [model.slice(0, colon), model.slice(colon + 1)];
}

/** Reads a model and the language behind it; null, `auto` and nothing are the same wish. */
export function readModel(model) {
  const [name, language] = splitAtColon(model === null ? '' : plainText('model', model));
  return { name: name === 'auto' ? null : name || null, language };
}

/** Spells a language for a model; null when it is empty or not said. */
export const spelt = (language, info) => (language && spellLanguage(language, info)) || null;

function fallbackModel(item) {
  const { model, extra, extra_kwargs: extras } = typeof item === 'string' ? { model: item } : item;
  const [name] = splitAtColon(plainText('fallback', model));
  if (!name) throw localError('fallback needs the name of a model', 'configure');
  return { model: name, extra: plainExtra('fallback', extras ?? extra ?? {}, lookup(null)) };
}

/** What to transcribe with. */
export class Options {
  constructor({ model = constants.default_model, language = null, encoding = constants.encoding, ...rest }) {
    const { sample_rate: rate = null, extra_kwargs: extra, fallback } = rest;
    const { name, language: suffix } = readModel(model);
    this.model = name;
    this.info = lookup(name);
    this.language = spelt(language === null ? suffix : plainText('language', language), this.info);
    this.encoding = encoding;
    this.sampleRate = rate ?? this.info.sample_rate ?? constants.default_sample_rate;
    this.extra = plainExtra('extra_kwargs', extra ?? {}, this.info);
    this.fallback = [fallback ?? []].flat().map(fallbackModel);
  }
}
