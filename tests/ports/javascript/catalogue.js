// What is known about models, and how languages are spelt. A model nobody has heard of is never refused.

import { catalogue, languages } from './spec.js';

/** What is known about a model, named without a language suffix; null: the gateway chooses. */
export function lookup(model) {
  const name = model ?? '';
  const slash = name.indexOf('/');
  const provider = slash < 0 ? name : name.slice(0, slash);
  const { bare = false, ...shared } = entry(catalogue.providers, provider);
  return { ...catalogue.defaults, provider, ...(slash >= 0 || bare ? shared : {}), ...entry(catalogue.models, name) };
}

const entry = (entries, name) => (Object.hasOwn(entries, name) ? entries[name] : {});

/** Spells a language code for a model. */
export function spellLanguage(code, info) {
  const lowered = code.trim().toLowerCase();
  return info.raw_languages.includes(lowered) ? lowered : normalise(lowered);
}

function normalise(lowered) {
  if (Object.hasOwn(languages, lowered)) return languages[lowered];
  const [language, ...parts] = lowered.replaceAll('_', '-').split('-');
  return [language, ...parts.map(spellPart)].join('-');
}

function spellPart(part) {
  const [first, ...rest] = part;
  return rest.length === 3 ? first.toUpperCase() + rest.join('') : part.toUpperCase();
}
