import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import { silentLog } from '../../shared/log.ts';
import { absurdity, sameDocument } from './documents.ts';
import { Guard } from './guard.ts';

const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);

for (const [count, missing, held, why] of [
  [1, 1, true, 'the last one'],
  [3, 3, true, 'all of a few'],
  [10, 5, false, 'half and five'],
  [10, 6, true, 'more than half and more than five'],
  [12, 6, false, 'six, but only half'],
  [7, 5, false, 'more than half, but only five'],
  [1_000, 500, false, 'half of many'],
  [1_000, 501, true, 'more than half of many'],
  [5, 0, false, 'nothing'],
] as const) {
  test(`emptiness guard: losing ${why} is ${held ? 'held' : 'believed'}`, () => {
    const guard = new EmptinessGuard();
    const deleted = guard.judge('service', count, names(missing));
    assert.equal(deleted.length, held ? 0 : missing);
    assert.equal(guard.held.length, held ? missing : 0);
  });
}

test('emptiness guard: what is held stays held while it is missing, however many others come', () => {
  const guard = new EmptinessGuard();
  guard.judge('service', 8, names(8));
  assert.deepEqual(guard.judge('service', 100, [...names(8), 'other']), ['other']);
  assert.equal(guard.held.length, 8);
  guard.judge('service', 100, names(3));
  assert.deepEqual(guard.held, ['service/n0', 'service/n1', 'service/n2']);
  guard.release('service', 'n0');
  assert.deepEqual([...guard.confirm()], [['service', ['n1', 'n2']]]);
  assert.deepEqual(guard.held, []);
});

test('documents are the same whatever the order of their fields, and an undefined field is none', () => {
  assert.ok(sameDocument({ a: 1, b: [{ c: null }] }, { b: [{ c: null }], a: 1, d: undefined }));
  for (const [a, b] of [
    [{ a: 1 }, { a: 2 }],
    [{ a: 1 }, { a: 1, b: 1 }],
    [{ a: 1, b: 1 }, { a: 1 }],
    [
      [1, 2],
      [2, 1],
    ],
    [[1], { 0: 1 }],
    [null, {}],
    [{ a: '1' }, { a: 1 }],
    [{ a: undefined }, { b: undefined, c: 1 }],
  ] as const) {
    assert.ok(!sameDocument(a, b), JSON.stringify([a, b]));
  }
});

test('absurd documents are told without looking at all of them', () => {
  assert.equal(absurdity({ a: [1, 2, { b: 'text' }] }), null);
  assert.match(String(absurdity(Array.from({ length: 300_000 }, () => 0))), /values/);
  assert.match(String(absurdity({ a: 'x'.repeat(9_000_000) })), /characters/);
  let deep: unknown = null;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  assert.match(String(absurdity(deep)), /levels/);
});

test('a host claimed twice quarantines nobody: the loser serves its other hosts and is reported until it is settled', () => {
  const guard = new Guard(silentLog);
  const domain = (name: string, aliases: string[]) =>
    ({ kind: 'domain', name, doc: { name, aliases, service: 'shop' } }) as const;
  assert.equal(guard.admit([domain('a.example', ['shared.example'])]).length, 1);
  const [loser] = guard.admit([domain('b.example', ['shared.example', 'own.example'])]);
  assert.ok(loser?.doc !== null && loser?.broken === undefined);
  assert.deepEqual(
    guard.quarantined().map(({ name, lastGood }) => [name, lastGood]),
    [['b.example', true]],
  );
  assert.ok(guard.isKnown({ kind: 'domain', name: 'b.example', reason: '' }));
  assert.equal(guard.table.domainOf('own.example')?.name, 'b.example');
  guard.admit([{ kind: 'domain', name: 'a.example', doc: null }]);
  assert.deepEqual(guard.quarantined(), []);
});

test('fields of a newer version are left out and the object is served', () => {
  const codes: string[] = [];
  const guard = new Guard({ ...silentLog, warn: (code) => void codes.push(code) });
  const [entry] = guard.admit([{ kind: 'service', name: 's', doc: { name: 's', quantum: { x: 1 } } }]);
  assert.deepEqual(entry?.doc, { name: 's' });
  assert.deepEqual(codes, ['fields_ignored']);
});

test('a document nested without end is refused for that, not for what it does to a parser', () => {
  let deep: unknown = null;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  const [entry] = new Guard(silentLog).admit([
    { kind: 'service', name: 's', doc: { name: 's', unknown: deep } },
  ]);
  assert.match(String(entry?.broken?.reason), /levels/);
});

test('a document under another name than its own is quarantined', () => {
  const guard = new Guard(silentLog);
  const [entry] = guard.admit([{ kind: 'service', name: 'a', doc: { name: 'b' } }]);
  assert.equal(entry?.doc, null);
  assert.match(String(entry?.broken?.reason), /named b/);
});

test('what killed processes gives way to what they held before, or fails closed where there was nothing', () => {
  const guard = new Guard(silentLog);
  const [good] = guard.admit([{ kind: 'service', name: 's', doc: { name: 's' } }]);
  const confirmed = new Map([['service/s', good!]]);
  guard.admit([{ kind: 'service', name: 's', doc: { name: 's', enabled: false } }]);
  guard.admit([{ kind: 'rule', name: 'r', doc: { name: 'r', list: 'blacklist', type: 'all' } }]);
  const replacements = guard.refuse(
    [
      { kind: 'service', name: 's' },
      { kind: 'rule', name: 'r' },
    ],
    'it kills',
    confirmed,
  );
  assert.deepEqual(
    replacements.map(({ kind, doc, broken }) => [kind, doc, broken?.reason]),
    [['rule', null, 'it kills']],
  );
  assert.equal(guard.admitted('service', 's'), good);
  assert.equal(guard.table.service('s')?.config.enabled, true);
  assert.deepEqual(
    guard.quarantined().map(({ name, lastGood }) => [name, lastGood]),
    [
      ['r', false],
      ['s', true],
    ],
  );
});

test('ten thousand objects are admitted in a bounded time each', () => {
  const guard = new Guard(silentLog);
  const changes = Array.from({ length: 10_000 }, (_, i) => ({
    kind: 'domain' as const,
    name: `d${i}.example.com`,
    doc: { name: `d${i}.example.com`, routes: [{ path: ['/'], service: `s${i % 2_000}` }] },
  }));
  assert.equal(guard.admit(changes).length, 10_000);
  assert.deepEqual(guard.quarantined(), []);
});

test('what is said of a quarantined object is what its visitors meet', () => {
  const said: string[] = [];
  const guard = new Guard({ ...silentLog, warn: (_, message) => void said.push(message) });
  guard.admit([{ kind: 'listener', name: 'x', doc: { name: 'x', port: [] } }]);
  guard.admit([{ kind: 'service', name: 'x', doc: { name: 'x', balance: [] } }]);
  assert.match(said[0] ?? '', /^listener\/x cannot be used and its port stays closed: /);
  assert.match(said[1] ?? '', /^service\/x cannot be used and what depends on it answers 503: /);
});
