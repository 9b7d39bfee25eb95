import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { Change } from '../../shared/model/revision.ts';
import { unresolvedNames } from './unresolved-names.ts';

function service(...addresses: string[]): Change {
  const keys = { 1: { backends: addresses.map((address) => ({ address })) } };
  return { kind: 'service', name: 'shop', doc: { name: 'shop', keys } };
}
const failing = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));

test('a backend whose name does not exist is told with its place; addresses and sockets are not asked for', async () => {
  const asked: string[] = [];
  const warnings = await unresolvedNames(
    [
      service('10.0.0.1:80', 'ap.internal:80', 'unix:/run/x.sock', 'app.internal:80', 'ap.internal:81'),
      { kind: 'service', name: 'gone', doc: null },
      { kind: 'domain', name: 'a.b', doc: { name: 'a.b' } },
    ],
    new ManualClock(),
    async (name) => {
      asked.push(name);
      if (name === 'ap.internal') await failing('ENOTFOUND')();
    },
  );
  assert.deepEqual(asked.sort(), ['ap.internal', 'app.internal']);
  assert.deepEqual(
    warnings.map(({ kind, name, path }) => [kind, name, path]),
    [
      ['service', 'shop', 'keys.1.backends.1.address'],
      ['service', 'shop', 'keys.1.backends.4.address'],
    ],
  );
  assert.match(warnings[0]?.message ?? '', /the name ap\.internal has no address here/);
});

test('a resolver that is away or silent says nothing, and holds a dry run up for less than a second', async () => {
  const clock = new ManualClock();
  assert.deepEqual(await unresolvedNames([service('a.test:80')], clock, failing('ESERVFAIL')), []);
  assert.deepEqual(await unresolvedNames([service('a.test:80')], clock, failing('ETIMEOUT')), []);
  const waiting = unresolvedNames([service('a.test:80')], clock, () => new Promise(() => {}));
  clock.advance(1_000);
  assert.deepEqual(await waiting, []);
});

test('a change of thousands of names asks for a few of them', async () => {
  let asked = 0;
  const names = Array.from({ length: 1_000 }, (_, n) => `n${n}.test:80`);
  await unresolvedNames([service(...names)], new ManualClock(), async () => {
    asked++;
  });
  assert.ok(asked <= 20);
});
