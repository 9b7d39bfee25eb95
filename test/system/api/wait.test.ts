import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Bus } from '../../../shared/bus/contract.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { silentLog } from '../../../shared/log.ts';
import type { Store } from '../../../shared/store/contract.ts';
import { openStore } from '../../../shared/store/open.ts';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
let store: Store;
let bus: Bus;
before(async () => {
  api = await startApiUnderTest();
  store = await openStore(api.settings, silentLog);
  bus = openBus(api.settings, silentLog);
  await connected(bus);
});
after(async () => {
  await bus.close();
  await store.close();
  await api.close();
});

async function connected(of: Bus): Promise<void> {
  if (of.connected) return;
  await new Promise<void>((resolve) => of.onConnected(resolve));
}

/** What a node writes of itself. */
function record(seq: number, beat: number) {
  return { version: '0', seq, hash: '', lagMs: 0, processes: [], quarantined: [], drift: [], held: [], beat };
}

/** A node that serves each change as soon as it hears of it. */
async function startNode(name: string, serves: (seq: number) => void): Promise<() => Promise<void>> {
  await store.live.put('nodes', name, { ...record(0, 1), store: 'up', bus: 'up', ready: true });
  const stop = bus.subscribe('updateProxy', (message) => serves(Number(message?.seq)));
  return async () => {
    stop();
    await store.live.delete('nodes', name);
  };
}

test('a change is hinted on the bus with its number', async () => {
  const hint = new Promise<unknown>((resolve) => {
    const stop = bus.subscribe('updateProxy', (message) => {
      stop();
      resolve(message?.seq);
    });
  });
  const { headers } = await api.put('/v1/services/hinted', {});
  assert.equal(String(await hint), headers.get('kontrol-seq'));
});

test('wait=all before any node is known is 202: nobody can say that it is served', async () => {
  const reply = await api.put('/v1/services/alone?wait=all&timeout=300ms', {});
  assert.deepEqual([reply.status, reply.body.nodes, reply.body.pending], [202, [], []]);
});

test('what is so already claims no revision', async () => {
  const first = await api.put('/v1/services/same', { balance: 'random' });
  const again = await api.patch('/v1/services/same', { balance: 'random' });
  assert.deepEqual([first.body.written, again.body.written], [true, false]);
  assert.equal(again.headers.get('etag'), first.headers.get('etag'));
  const { items } = (await api.get('/v1/revisions?limit=1')).body;
  assert.equal(String(items?.[0]?.seq), first.headers.get('kontrol-seq'));
});

test('wait=all answers when every live node has said so, with milliseconds per node', async () => {
  const stopOne = await startNode('one', (seq) =>
    bus.publish('kontrol:applied', { node: 'one', seq, hash: '', ms: 1 }),
  );
  // This one's word on the bus is lost; its record says it.
  const stopTwo = await startNode('two', (seq) => void store.live.put('nodes', 'two', record(seq, 2)));
  const reply = await api.put('/v1/services/waited?wait=all&timeout=20s', {});
  assert.equal(reply.status, 201);
  assert.deepEqual(
    listOf(reply.body.nodes)
      .map(({ node }) => String(node))
      .sort(),
    ['one', 'two'],
  );
  for (const { ms } of listOf(reply.body.nodes)) assert.ok(Number(ms) >= 0);
  await stopOne();
  await stopTwo();
});

test('a node that does not follow makes it 202 with its name; the write stands', async () => {
  const stop = await startNode('slow', () => {});
  const reply = await api.put('/v1/services/pending?wait=all&timeout=300ms', {});
  assert.equal(reply.status, 202);
  assert.deepEqual(reply.body.pending, ['slow']);
  assert.equal((await api.get('/v1/services/pending')).status, 200);
  await stop();
});

test('a node that could not open the port of a listener is named with the reason: 202, and not served', async () => {
  await api.put('/v1/services/db', {});
  const reason = 'cannot listen on :3306 (tcp): the port is in use';
  const taken = [{ kind: 'listener', name: 'mysql', reason, lastGood: false }];
  const stop = await startNode('held', (seq) =>
    bus.publish('kontrol:applied', { node: 'held', seq, hash: '', ms: 1, quarantined: taken }),
  );
  const write = () => api.put('/v1/listeners/mysql?wait=all&timeout=20s', { port: 3306, service: 'db' });
  for (const reply of [await write(), await write()]) {
    assert.equal(reply.status, 202);
    assert.deepEqual([reply.body.nodes, reply.body.pending], [[], []]);
    assert.deepEqual(reply.body['problems'], [{ node: 'held', kind: 'listener', name: 'mysql', reason }]);
  }
  // It serves what else is changed.
  const other = await api.put('/v1/services/other?wait=all&timeout=20s', {});
  assert.deepEqual([other.status, other.body['problems']], [201, []]);
  await stop();
});

test('garbage on the bus is no acknowledgement and harms nothing', async () => {
  const stop = await startNode('noisy', () => {
    for (const seq of ['9999999', null, Number.NaN, {}]) {
      bus.publish('kontrol:applied', { node: 'noisy', seq, hash: '', ms: 1 });
    }
    bus.publish('kontrol:applied', []);
  });
  const reply = await api.put('/v1/services/noise?wait=all&timeout=300ms', {});
  assert.equal(reply.status, 202);
  await stop();
});

test('nodes are listed with their records, and a confirmation is passed on to them', async () => {
  const stop = await startNode('listed', () => {});
  const items = listOf((await api.get('/v1/nodes')).body.items);
  const node = items.find(({ name }) => String(name) === 'listed');
  assert.deepEqual([node?.live, node?.ready, node?.['_id']], [true, true, undefined]);
  const asked = new Promise<unknown>((resolve) =>
    bus.subscribe('kontrol:ask', (message) => resolve(message?.ask)),
  );
  assert.equal((await api.delete('/v1/nodes/listed')).status, 409, 'it lives');
  assert.equal((await api.delete('/v1/nodes/no-such')).status, 404);
  assert.equal((await api.post('/v1/nodes/confirm')).status, 202);
  assert.equal(await asked, 'confirm');
  await stop();
});
