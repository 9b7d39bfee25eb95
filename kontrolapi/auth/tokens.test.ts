import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { KontrolError } from '../../shared/errors.ts';
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

test('a token that would have ended already is refused by its field, and nothing is written', async () => {
  const { live, documents } = liveStore();
  const clock = new ManualClock();
  const tokens = new Tokens(live, clock, null);
  for (const expires of [clock.now() - 1, clock.now(), Number.NaN]) {
    await assert.rejects(tokens.create({ ...WANTED, expires }, 'me'), (error: KontrolError) => {
      assert.deepEqual([error.code, error.problems.map(({ path }) => path)], ['invalid', ['expires']]);
      return true;
    });
  }
  assert.equal(documents.size, 0);
});

test('a token opens until its end and is listed as ended from then on', async () => {
  const { live } = liveStore();
  const clock = new ManualClock();
  const tokens = new Tokens(live, clock, null);
  const { token, info } = await tokens.create({ ...WANTED, expires: clock.now() + 1_000 }, 'me');
  const { token: lasting } = await tokens.create({ ...WANTED, name: 'lasting' }, 'me');
  assert.equal(info.expired, false);
  const ended = async () => (await tokens.list()).map(({ name, expired }) => [name, expired]);
  clock.advance(999);
  assert.equal((await tokens.identify(token))?.name, 'token/ci');
  assert.deepEqual(await ended(), [
    ['ci', false],
    ['lasting', false],
  ]);
  clock.advance(1);
  assert.equal(await tokens.identify(token), null);
  assert.equal((await tokens.identify(lasting))?.name, 'token/lasting');
  assert.deepEqual(await ended(), [
    ['ci', true],
    ['lasting', false],
  ]);
});
