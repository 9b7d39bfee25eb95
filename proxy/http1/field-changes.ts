/** Field changes of a route, and one field more. */
import type { FieldChanges } from '../../shared/routing/decision.ts';

const NO_NAMES: ReadonlySet<string> = new Set();

/** One field is often followed by the same: what became of a request in the cache, say. */
let last: FieldChanges | null = null;
let lastName = '';
let lastValue = '';

/** `changes` with one more field; they themselves when there is no value. Nothing of a route replaces that field. */
export function withAdded(
  changes: FieldChanges | null,
  name: string,
  value: string | null | undefined,
): FieldChanges | null {
  if (value === null || value === undefined) return changes;
  if (changes === null) {
    if (lastName !== name || lastValue !== value) {
      last = { set: [], add: [[name, value]], remove: NO_NAMES };
      lastName = name;
      lastValue = value;
    }
    return last;
  }
  const added: FieldChanges['add'][number] = [name, value];
  return { ...changes, add: [...changes.add, added] };
}
