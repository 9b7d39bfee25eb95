import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiContext } from '../context.ts';
import { revisionOperations } from './operations.ts';

/** Ten revisions of ten thousand objects each, newest first. */
async function* descending(before: number | null) {
  for (let seq = (before ?? 11) - 1; seq >= 1; seq--) {
    const changes = Array.from({ length: 10_000 }, (_, n) => ({ kind: 'service', name: `s${n}`, doc: null }));
    yield { seq, id: `r${seq}`, at: 0, author: 'a', message: '', changes };
  }
}

test('a page of the history ends before it names more objects than an answer should hold', async () => {
  const context = {
    present: { fresh: async () => {} },
    history: { descending, maxLookedAt: 20_000 },
    confirmations: { list: async () => [] },
  } as unknown as ApiContext;
  const names = { kindOf: () => undefined, canonicalName: () => '' };
  const [list] = revisionOperations(context, names);
  const page = async (cursor?: number) => {
    const { body } = (await list?.handle({ query: { limit: 1_000, cursor } } as never)) ?? {};
    const { items, next } = body as { items: { seq: number }[]; next: string | null };
    return [items.map(({ seq }) => seq), next];
  };
  assert.deepEqual(await page(), [[10, 9], '9']);
  assert.deepEqual(await page(9), [[8, 7], '7']);
  assert.deepEqual(await page(3), [[2, 1], null]);
});
