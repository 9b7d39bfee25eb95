/** Field changes of a route, and one field more. */
import type { FieldChanges } from '../../shared/routing/decision.ts';

const NO_NAMES: ReadonlySet<string> = new Set();

/** `changes` with one more field; they themselves when there is no value. Nothing of a route replaces that field. */
export function withAdded(
  changes: FieldChanges | null,
  name: string,
  value: string | null | undefined,
): FieldChanges | null {
  if (value === null || value === undefined) return changes;
  const added: FieldChanges['add'][number] = [name, value];
  if (changes === null) return { set: [], add: [added], remove: NO_NAMES };
  return { ...changes, add: [...changes.add, added] };
}
