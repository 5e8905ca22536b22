// Numbers where languages differ.

/** The nearest whole number; of two equally near the even one. */
export function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** A JSON number as a float, a long integer too; undefined for what is no number. */
export function asFloat(value) {
  if (typeof value === 'number') return value;
  return typeof value === 'bigint' ? Number(value) : undefined;
}
