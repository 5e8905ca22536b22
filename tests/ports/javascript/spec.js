// The exported specification, read at run time: tables, constants, failures, errors, models and languages.

import { readFileSync } from 'node:fs';

const path = process.argv[2] ?? new URL('../../../lkstt_proto/spec/machine.json', import.meta.url);

export const { tables, timers, listening, constants, failures, errors, roles, catalogue, languages } = JSON.parse(
  readFileSync(path, 'utf8'),
);
