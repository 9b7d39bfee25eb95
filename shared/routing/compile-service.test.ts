import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CompiledService } from './decision.ts';
import type { TableEntry } from './entry.ts';
import { serviceEntry } from './fixtures.ts';
import { Table } from './table.ts';

interface MemberGiven {
  readonly key?: number;
  readonly state?: string;
  readonly since?: number;
  readonly weight?: number;
}

/** Members by address. */
function membersEntry(given: Record<string, MemberGiven>, current: number | null = null): TableEntry {
  const backends = Object.entries(given).map(([address, member]) => ({
    worker: `w-${address}`,
    address,
    key: 1,
    weight: 1,
    state: 'ready',
    since: 1_000,
    name: 'n',
    mode: 'many',
    version: '1',
    ...member,
  }));
  return { kind: 'members', name: 'web', doc: { _id: 'web', v: 1, current, backends } };
}

function compiled(...entries: readonly TableEntry[]): CompiledService {
  const table = new Table();
  assert.deepEqual(table.apply(entries).rejected, []);
  return table.service('web') as CompiledService;
}

const backend = (address: string, more: Record<string, unknown> = {}) => ({ address, ...more });
const addresses = (service: CompiledService, key = 1) =>
  service.keys.get(key)?.backends.map(({ address, state }) => `${address} ${state}`);

test('backends of a key come from configuration, then from workers', () => {
  const service = compiled(
    serviceEntry('web', {
      keys: { '1': { backends: [backend('10.0.0.1:80', { weight: 3, tier: 1, state: 'drain' })] } },
    }),
    membersEntry({ '10.0.0.2:80': { since: 5 } }),
  );
  assert.deepEqual(service.keys.get(1)?.backends, [
    { address: '10.0.0.1:80', weight: 3, tier: 1, state: 'drain', since: 0, worker: null },
    { address: '10.0.0.2:80', weight: 1, tier: 0, state: 'ready', since: 5, worker: 'w-10.0.0.2:80' },
  ]);
});

test('a starting worker is no backend yet, a lost one is the last resort', () => {
  const service = compiled(
    serviceEntry('web'),
    membersEntry({ 'a:1': { state: 'starting' }, 'b:1': { state: 'lost' }, 'c:1': { state: 'drain' } }),
  );
  assert.deepEqual(addresses(service), ['b:1 lost', 'c:1 drain']);
});

test('members of keys that the service does not have are left out', () => {
  const service = compiled(serviceEntry('web'), membersEntry({ 'a:1': { key: 2 } }, 2));
  assert.deepEqual([...service.keys.keys()], [1]);
});

test('members may come before their service, and leave with it', () => {
  const service = compiled(membersEntry({ 'a:1': {} }), serviceEntry('web'));
  assert.deepEqual(addresses(service), ['a:1 ready']);
  const table = new Table();
  table.apply([membersEntry({ 'a:1': {} })]);
  assert.equal(table.service('web'), undefined);
  table.apply([serviceEntry('web'), { kind: 'members', name: 'web', doc: null }]);
  assert.deepEqual(addresses(table.service('web') as CompiledService), []);
});

test('a configured backend goes before a member with its address, of two members the newer one', () => {
  const members = membersEntry({ 'a:1': {} });
  const doc = members.doc as { backends: Record<string, unknown>[] };
  doc.backends.push(
    { ...doc.backends[0], worker: 'newer', since: 2_000 },
    { ...doc.backends[0], worker: 'older', since: 1 },
  );
  assert.equal(compiled(serviceEntry('web'), members).keys.get(1)?.backends[0]?.worker, 'newer');
  const configured = serviceEntry('web', { keys: { '1': { backends: [backend('a:1')] } } });
  assert.equal(compiled(configured, members).keys.get(1)?.backends[0]?.worker, null);
});

test('a member whose address is none is left out, the others are not', () => {
  const service = compiled(serviceEntry('web'), membersEntry({ nonsense: {}, 'a:1': {} }));
  assert.deepEqual(addresses(service), ['a:1 ready']);
});

const three = (more: Record<string, unknown> = {}) => ({
  '1': { backends: [backend('a:1')] },
  '2': { backends: [backend('b:1')] },
  '3': {},
  ...more,
});

test('latest is the greatest enabled key with a ready backend', () => {
  assert.equal(compiled(serviceEntry('web', { keys: three() })).latest, 2);
  assert.equal(
    compiled(serviceEntry('web', { keys: three() }), membersEntry({ 'c:1': { key: 3 } })).latest,
    3,
  );
  assert.equal(
    compiled(serviceEntry('web', { keys: three() }), membersEntry({ 'c:1': { key: 3, state: 'starting' } }))
      .latest,
    2,
  );
  assert.equal(compiled(serviceEntry('web', { keys: three({ '2': { enabled: false } }) })).latest, 1);
});

test('latest never moves back by itself: what was recorded holds while its key is there and enabled', () => {
  assert.equal(compiled(serviceEntry('web', { keys: three() }), membersEntry({}, 3)).latest, 3);
  assert.equal(compiled(serviceEntry('web', { keys: three() }), membersEntry({}, 9)).latest, 2);
  const disabled = three({ '3': { enabled: false } });
  assert.equal(compiled(serviceEntry('web', { keys: disabled }), membersEntry({}, 3)).latest, 2);
});

test('where nothing was ever ready, latest is the greatest key with any backend, else the greatest', () => {
  const lost = membersEntry({ 'a:1': { key: 1, state: 'lost' } });
  assert.equal(compiled(serviceEntry('web', { keys: { '1': {}, '2': {} } }), lost).latest, 1);
  assert.equal(compiled(serviceEntry('web', { keys: { '1': {}, '2': {} } })).latest, 2);
  assert.equal(compiled(serviceEntry('web', { keys: { '1': { enabled: false } } })).latest, null);
  assert.equal(compiled(serviceEntry('web', {})).latest, null);
});

test('a number as latest is that number', () => {
  assert.equal(compiled(serviceEntry('web', { latest: 1, keys: three() })).latest, 1);
  assert.equal(compiled(serviceEntry('web', { latest: 7, keys: three() })).latest, 7);
});

test('the greatest key counts keys, latest and what was recorded', () => {
  assert.equal(compiled(serviceEntry('web', {})).greatest, 0);
  assert.equal(compiled(serviceEntry('web', { keys: three() })).greatest, 3);
  assert.equal(compiled(serviceEntry('web', { latest: 7, keys: three() })).greatest, 7);
  assert.equal(compiled(serviceEntry('web', { keys: three() }), membersEntry({}, 9)).greatest, 9);
});

test('what did not change keeps its identity', () => {
  const table = new Table();
  table.apply([
    serviceEntry('web', { keys: three() }),
    membersEntry({ 'x:1': { key: 1 }, 'y:1': { key: 2 } }),
  ]);
  const before = table.service('web') as CompiledService;

  const same = table.apply([
    serviceEntry('web', { keys: three() }),
    membersEntry({ 'x:1': { key: 1 }, 'y:1': { key: 2 } }),
  ]);
  assert.deepEqual(same.services, []);
  assert.equal(table.service('web'), before);

  const change = table.apply([membersEntry({ 'x:1': { key: 1 }, 'y:1': { key: 2, weight: 5 } })]);
  assert.deepEqual(change.services, ['web']);
  const after = table.service('web') as CompiledService;
  assert.notEqual(after, before);
  assert.equal(after.config, before.config);
  assert.equal(after.keys.get(1), before.keys.get(1));
  assert.notEqual(after.keys.get(2), before.keys.get(2));
  assert.equal(
    after.keys.get(2)?.backends[0],
    before.keys.get(2)?.backends[0],
    'the other backend of the key',
  );
});

test('default time-outs of the settings reach every service that says nothing itself', () => {
  const table = new Table();
  table.apply([
    serviceEntry('web'),
    serviceEntry('own', { timeouts: { connect: '1s', firstByte: '1s', idle: '1s' } }),
  ]);
  const change = table.apply([
    { kind: 'settings', name: 'settings', doc: { timeouts: { connect: '9s', firstByte: '9s', idle: '9s' } } },
  ]);
  assert.deepEqual(change.services, ['web']);
  assert.deepEqual(table.service('web')?.config.timeouts, {
    connectMs: 9_000,
    firstByteMs: 9_000,
    idleMs: 9_000,
  });
  assert.equal(table.service('own')?.config.timeouts.connectMs, 1_000);
});
