/** The JSON of entries, made once for each: it tells what a message with them weighs, and is most of the copy on disk. */
import type { TableEntry } from '../../shared/routing/entry.ts';

const texts = new WeakMap<TableEntry, string>();

export function entryJson(entry: TableEntry): string {
  let json = texts.get(entry);
  if (json === undefined) {
    json = JSON.stringify(entry);
    texts.set(entry, json);
  }
  return json;
}

/** Slices of at most `count` entries and about `bytes` characters of JSON; one larger entry is a slice of its own. */
export function* slices(
  entries: readonly TableEntry[],
  count: number,
  bytes: number,
): Generator<TableEntry[]> {
  let slice: TableEntry[] = [];
  let weight = 0;
  for (const entry of entries) {
    const own = entryJson(entry).length;
    if (slice.length > 0 && (slice.length >= count || weight + own > bytes)) {
      yield slice;
      slice = [];
      weight = 0;
    }
    slice.push(entry);
    weight += own;
  }
  if (slice.length > 0) yield slice;
}
