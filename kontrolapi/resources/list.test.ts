import assert from 'node:assert/strict';
import { test } from 'node:test';
import { State } from '../revisions/view.ts';
import { listObjects } from './list.ts';

test('a page ends before it is too large to be answered, and the next goes on from there', () => {
  const state = new State();
  const put = (name: string, size: number) =>
    state.put('page', name, { rev: 1, doc: { name, templates: { 404: 'x'.repeat(size) } } });
  put('a', 6_000_000);
  put('b', 6_000_000);
  put('c', 6_000_000);
  put('d', 20_000_000);
  put('e', 10);
  const pages: string[][] = [];
  for (let cursor: string | undefined; ; ) {
    const { items, next } = listObjects(state, 'page', {
      limit: 1_000,
      ...(cursor === undefined ? {} : { cursor }),
    });
    pages.push(items.map(({ name }) => String(name)));
    if (next === null) break;
    cursor = next;
  }
  assert.deepEqual(pages, [['a', 'b'], ['c'], ['d'], ['e']]);
});
