/** What documents of a store may cost here, and when two are the same: bounds first, so that one absurd document only costs its own rejection. */

/** Largest document that is looked at, in characters of its texts; the API takes 1 MB. */
const MAX_TEXT = 8_000_000;
/** Most values (fields, list items) of a document. */
const MAX_VALUES = 250_000;
const MAX_DEPTH = 32;

export type PlainDocument = Readonly<Record<string, unknown>>;

/** Why a document is too large to be an object of ours, or null. Looks at no more than the bounds allow. */
export function absurdity(document: unknown): string | null {
  let text = 0;
  let values = 0;
  const visit = (value: unknown, depth: number): string | null => {
    if (++values > MAX_VALUES) return `it has more than ${MAX_VALUES} values`;
    if (depth > MAX_DEPTH) return `it is nested more than ${MAX_DEPTH} levels deep`;
    if (typeof value === 'string') {
      text += value.length;
      return text > MAX_TEXT ? `its texts have more than ${MAX_TEXT} characters` : null;
    }
    if (typeof value !== 'object' || value === null) return null;
    for (const key in value) {
      text += key.length;
      const problem = visit((value as Record<string, unknown>)[key], depth + 1);
      if (problem !== null) return problem;
    }
    return null;
  };
  return visit(document, 0);
}

/** True when two documents say the same, whatever the order of their fields; an undefined field counts as absent. */
export function sameDocument(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  let fields = 0;
  for (const key of Object.keys(left)) {
    if (left[key] === undefined) continue;
    fields++;
    if (!sameDocument(left[key], right[key])) return false;
  }
  for (const key of Object.keys(right)) if (right[key] !== undefined) fields--;
  return fields === 0;
}
