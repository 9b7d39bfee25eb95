/** What a change does to objects: which are created, changed or deleted, and which fields, for dry runs and history. */
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Doc, View } from './view.ts';

export interface FieldChange {
  /** Dotted path; list indexes count from 0. */
  readonly path: string;
  /** Left out when the field was not there. */
  readonly from?: unknown;
  /** Left out when the field is not there any more. */
  readonly to?: unknown;
}

export interface Difference {
  readonly kind: Kind;
  readonly name: string;
  readonly change: 'create' | 'change' | 'delete';
  readonly fields: readonly FieldChange[];
}

/** Lists of field changes are cut here; a rewritten list of 10 000 entries is told in full by its revision. */
const MAX_FIELDS = 200;

/** True when two documents say the same, whatever the order of their fields; an undefined field is an absent one. */
export function sameDocument(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isContainer(a) || !isContainer(b) || Array.isArray(a) !== Array.isArray(b)) return false;
  let fields = 0;
  for (const key of Object.keys(a)) {
    if (a[key] === undefined) continue;
    fields++;
    if (!sameDocument(a[key], own(b, key))) return false;
  }
  for (const key of Object.keys(b)) if (b[key] !== undefined) fields--;
  return fields === 0;
}

/** The changes that change something against `view`. */
export function effectiveChanges(view: View, changes: readonly Change[]): Change[] {
  return changes.filter(({ kind, name, doc }) => !sameDocument(view.get(kind, name)?.doc ?? null, doc));
}

export function difference({ kind, name, doc }: Change, before: Doc | null): Difference {
  const fields: FieldChange[] = [];
  compare(before ?? undefined, doc ?? undefined, '', fields);
  const change = before === null ? 'create' : doc === null ? 'delete' : 'change';
  return { kind, name, change, fields };
}

function compare(from: unknown, to: unknown, path: string, found: FieldChange[]): void {
  if (found.length >= MAX_FIELDS || sameDocument(from, to)) return;
  // At the top, a created or deleted object is told field by field too.
  const a = from === undefined && path === '' ? {} : from;
  const b = to === undefined && path === '' ? {} : to;
  if (!isContainer(a) || !isContainer(b) || Array.isArray(a) !== Array.isArray(b)) {
    found.push({ path, ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) });
    return;
  }
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    compare(own(a, key), own(b, key), path === '' ? key : `${path}.${key}`, found);
  }
}

function isContainer(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function own(value: Record<string, unknown>, key: string): unknown {
  return Object.hasOwn(value, key) ? value[key] : undefined;
}
