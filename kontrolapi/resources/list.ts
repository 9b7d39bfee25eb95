/** Lists of objects: filtered, in order of name, page by page. */
import { KontrolError } from '../../shared/errors.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import { limitOf } from '../http/query.ts';
import type { Doc, State } from '../revisions/view.ts';

export interface ListQuery {
  readonly q?: string;
  readonly label?: string | readonly string[];
  readonly limit?: number;
  readonly cursor?: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Cursor of the next page; null at the end. */
  readonly next: string | null;
}

/** Most that one page holds, in characters of JSON; one object that is larger is a page of its own. */
const MAX_PAGE = 16_777_216;
/** Of documents, which keep their identity while nobody changes them. */
const SIZES = new WeakMap<Doc, number>();

/** A cursor is the name of the last item, so objects that come and go meanwhile shift nothing. */
export function listObjects(state: State, kind: Kind, query: ListQuery): Page<Doc> {
  const names = state.names(kind);
  const limit = limitOf(query.limit);
  const labels = query.label === undefined ? [] : [query.label].flat();
  const text = query.q?.toLowerCase() ?? '';
  const items: Doc[] = [];
  let size = 0;
  let last = '';
  for (
    let at = query.cursor === undefined ? 0 : firstAfter(names, readCursor(query.cursor));
    at < names.length;
    at++
  ) {
    const name = names[at] ?? '';
    const doc = state.get(kind, name)?.doc;
    if (doc === undefined || !hasLabels(doc, labels) || !hasText(doc, name, text)) continue;
    size += sizeOf(doc);
    if (items.length === limit || (size > MAX_PAGE && items.length > 0))
      return { items, next: makeCursor(last) };
    items.push(doc);
    last = name;
  }
  return { items, next: null };
}

export function makeCursor(text: string): string {
  return Buffer.from(text).toString('base64url');
}

export function readCursor(cursor: string): string {
  if (!/^[A-Za-z0-9_-]*$/.test(cursor)) {
    throw new KontrolError('invalid', 'The query is not valid', [
      { path: 'cursor', message: 'give the `next` of the answer before, unchanged' },
    ]);
  }
  return Buffer.from(cursor, 'base64url').toString();
}

function sizeOf(doc: Doc): number {
  let size = SIZES.get(doc);
  if (size === undefined) {
    size = JSON.stringify(doc).length;
    SIZES.set(doc, size);
  }
  return size;
}

function firstAfter(names: readonly string[], after: string): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((names[middle] ?? '') <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

function hasLabels(doc: Doc, wanted: readonly string[]): boolean {
  const labels = (doc.labels ?? {}) as Readonly<Record<string, unknown>>;
  return wanted.every((entry) => {
    const at = entry.indexOf('=');
    const key = at < 0 ? entry : entry.slice(0, at);
    return Object.hasOwn(labels, key) && (at < 0 || labels[key] === entry.slice(at + 1));
  });
}

function hasText(doc: Doc, name: string, text: string): boolean {
  if (text === '' || name.includes(text)) return true;
  const { aliases, owner, labels } = doc as {
    aliases?: string[];
    owner?: string;
    labels?: Record<string, string>;
  };
  const texts = [...(aliases ?? []), owner ?? '', ...Object.entries(labels ?? {}).flat()];
  return texts.some((entry) => String(entry).toLowerCase().includes(text));
}
