import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { type NewToken, Tokens } from './tokens.ts';

const WANTED: NewToken = { name: 'ci', role: 'operator', service: null, expires: null };

/** A store of tokens in memory; `settled` is waited for before each insert, as by a slow network. */
function liveStore(settled: () => Promise<void> = async () => {}) {
  const documents = new Map<string, LiveDocument>();
  const live = {
    list: async () => [...documents.values()],
    get: async (_: string, id: string) => documents.get(id) ?? null,
    async insert(_: string, id: string, fields: object) {
      await settled();
      if (documents.has(id)) return false;
      documents.set(id, { _id: id, v: 1, ...fields });
      return true;
    },
    delete: async (_: string, id: string) => documents.delete(id),
  };
  return { documents, live: live as unknown as LiveStore };
}

const outcomes = (results: readonly PromiseSettledResult<unknown>[]) =>
  results.map((result) =>
    result.status === 'fulfilled' ? 'made' : (result.reason as { code: string }).code,
  );

test('of tokens with one name that are asked for at once exactly one is made', async () => {
  const { live, documents } = liveStore();
  const tokens = new Tokens(live, new ManualClock(), null);
  const results = await Promise.allSettled([1, 2, 3].map(() => tokens.create(WANTED, 'me')));
  assert.deepEqual(outcomes(results), ['made', 'conflict', 'conflict']);
  assert.equal(documents.size, 1);
});

test('two kontrolapi never make two tokens of one name, and either may try again', async () => {
  let arrived = 0;
  let go = () => {};
  const both = new Promise<void>((resolve) => {
    go = resolve;
  });
  // Both have looked before either writes.
  const { live, documents } = liveStore(() => {
    if (++arrived >= 2) go();
    return both;
  });
  const [one, two] = [0, 1].map(() => new Tokens(live, new ManualClock(), null)) as [Tokens, Tokens];
  const results = await Promise.allSettled([one.create(WANTED, 'me'), two.create(WANTED, 'you')]);
  assert.ok(outcomes(results).filter((outcome) => outcome === 'made').length <= 1);
  assert.equal(documents.size, outcomes(results).filter((outcome) => outcome === 'made').length);
  if (documents.size === 0) await one.create(WANTED, 'me');
  assert.equal(documents.size, 1);
  await assert.rejects(two.create(WANTED, 'you'), { code: 'conflict' });
});
