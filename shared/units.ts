/** Numbers with a unit as people write them: durations and sizes. Free of dependencies, so that every process may use it. */
const DURATION_UNITS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZE_UNITS: Record<string, number> = { b: 1, kb: 1_024, mb: 1_048_576, gb: 1_073_741_824 };

/** Reads `"1.5s"`, `"10m"` or plain milliseconds; null when it is neither. */
export function parseDuration(text: string | number): number | null {
  return withUnit(text, DURATION_UNITS, /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/);
}

/** Reads `"16KB"`, `"1.5MB"` or plain bytes; null when it is neither. */
export function parseSize(text: string | number): number | null {
  return withUnit(text, SIZE_UNITS, /^(\d+(?:\.\d+)?)\s*(b|kb|mb|gb)$/);
}

function withUnit(text: string | number, units: Record<string, number>, form: RegExp): number | null {
  if (typeof text === 'number') return Number.isSafeInteger(text) && text >= 0 ? text : null;
  const trimmed = text.trim().toLowerCase();
  if (/^\d{1,15}$/.test(trimmed)) return Number(trimmed);
  const match = form.exec(trimmed);
  if (match === null) return null;
  const value = Math.round(Number(match[1]) * (units[match[2] as string] as number));
  return Number.isSafeInteger(value) ? value : null;
}
