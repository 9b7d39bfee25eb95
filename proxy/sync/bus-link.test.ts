/** Questions over the bus: answered from the serving processes, and garbage costs nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ScriptedServing, until } from './scripted-primary.ts';
import { type Started, service, World } from './sync-world.ts';

async function shop(world: World): Promise<Started & { process: ScriptedServing }> {
  const { live } = world.store;
  await world.append(service('shop'));
  await live.insert('members', 'shop', { current: 1, backends: [member('ready')] });
  const started = await world.start();
  const process = started.primary.spawn();
  await until('it is served', () => process.table.has('members/shop'));
  return { ...started, process };
}

function member(state: string) {
  const more = { weight: 1, since: 1, name: '', mode: 'many', version: '' };
  return { worker: 'w', key: 1, address: '127.0.0.1:7', state, ...more };
}

test('a backend is drained when every process has it out of balancing with nothing active', async (t) => {
  const world = await World.make(t);
  const { primary, process } = await shop(world);
  const second = primary.spawn();
  await until('both serve', () => second.table.has('members/shop'));
  let active = 0;
  const of = {
    service: 'shop',
    key: 1,
    address: '127.0.0.1:7',
    state: 'drain',
    weight: 1,
    tier: 0,
    alive: true,
  };
  for (const each of [process, second]) {
    each.answersTo = () => [{ ...of, active: each === second ? active : 0, tunnels: 0, idle: 0 }];
  }
  const ask = async (id: string) => {
    world.bus.hear('kontrol:ask', { ask: 'drained', id, service: 'shop', address: '127.0.0.1:7' });
    const answer = () => world.bus.on('kontrol:answer').find((said) => said['id'] === id);
    await until('it is answered', () => answer() !== undefined);
    assert.equal(answer()?.['node'], 'n1');
    return answer()?.['drained'];
  };
  assert.equal(await ask('while ready'), false);
  active = 1;
  await world.store.live.replace('members', 'shop', 1, { current: 1, backends: [member('drain')] });
  world.bus.hear('updateProxy', { members: 'shop' });
  const drains = (each: ScriptedServing) =>
    JSON.stringify(each.table.get('members/shop')?.doc?.['backends']).includes('drain');
  await until('both know', () => drains(process) && drains(second));
  assert.equal(await ask('while active'), false);
  active = 0;
  await until('it is drained', async () => (await ask(`later ${Math.random()}`)) === true);
  second.answersTo = null;
  assert.equal(await ask('while one is silent'), false);
});

test('a request of the past is found in whichever process had it', async (t) => {
  const world = await World.make(t);
  const { primary } = await shop(world);
  const second = primary.spawn();
  await until('both serve', () => second.table.has('members/shop'));
  for (const each of primary.serving.values()) {
    each.answersTo = (about) =>
      each === second && about.type === 'request' ? { id: about.id, status: 502 } : null;
  }
  world.bus.hear('kontrol:ask', { ask: 'request', id: 'q', request: 'r-1' });
  await until('it is answered', () => world.bus.on('kontrol:answer').length === 1);
  assert.deepEqual(world.bus.on('kontrol:answer')[0], {
    id: 'q',
    node: 'n1',
    record: { id: 'r-1', status: 502 },
  });
});

test('garbage on the bus is not answered and hurts nothing', async (t) => {
  const world = await World.make(t);
  const { process } = await shop(world);
  const garbage = [
    undefined,
    {},
    { ask: 7 },
    { ask: 'drained' },
    { ask: 'drained', id: 'x'.repeat(10_000), service: 'shop', address: 'a' },
    { ask: 'drained', id: 'x', service: {}, address: [] },
    { ask: 'request', id: 'x', request: null },
    { ask: 'confirm', node: { $gt: '' } },
    { ask: 'drained', id: 'x', service: 'shop', address: 'a', node: 'another' },
  ];
  for (const message of garbage) world.bus.hear('kontrol:ask', message);
  for (const message of [{ members: 'x'.repeat(100_000) }, { members: 7 }, { seq: 'NaN' }]) {
    world.bus.hear('updateProxy', message);
  }
  const seq = await world.append(service('next'));
  await until('changes go on', () => process.seq === seq);
  assert.deepEqual(world.bus.on('kontrol:answer'), []);
});
