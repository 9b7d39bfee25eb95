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

function drains(process: ScriptedServing): boolean {
  return JSON.stringify(process.table.get('members/shop')?.doc?.['backends']).includes('drain');
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
  let busy = false;
  const balances = (each: ScriptedServing) => !drains(each);
  for (const each of [process, second]) {
    each.answersTo = (about) => {
      assert.deepEqual(about, { type: 'backend', service: 'shop', address: '127.0.0.1:7' });
      return { balanced: balances(each), busy: each === second && busy };
    };
  }
  const ask = async (id: string) => {
    world.bus.hear('kontrol:ask', { ask: 'drained', id, service: 'shop', address: '127.0.0.1:7' });
    const answer = () => world.bus.on('kontrol:answer').find((said) => said['id'] === id);
    await until('it is answered', () => answer() !== undefined);
    assert.equal(answer()?.['node'], 'n1');
    return answer()?.['drained'];
  };
  assert.equal(await ask('while ready'), false);
  busy = true;
  await world.store.live.replace('members', 'shop', 1, { current: 1, backends: [member('drain')] });
  world.bus.hear('updateProxy', { members: 'shop' });
  await until('both know', () => drains(process) && drains(second));
  assert.equal(await ask('while active'), false);
  busy = false;
  await until('it is drained', async () => (await ask(`later ${Math.random()}`)) === true);
  second.answersTo = () => ({ active: 0 });
  assert.equal(await ask('while one does not understand'), false);
  second.answersTo = null;
  assert.equal(await ask('while one is silent'), false);
});

test('a backend that no node knows is drained; one that still has a request on it is not', async (t) => {
  const world = await World.make(t);
  const { process } = await shop(world);
  let busy = true;
  process.answersTo = () => ({ balanced: false, busy });
  const ask = async (id: string) => {
    world.bus.hear('kontrol:ask', { ask: 'drained', id, service: 'gone', address: '127.0.0.1:8' });
    const answer = () => world.bus.on('kontrol:answer').find((said) => said['id'] === id);
    await until('it is answered', () => answer() !== undefined);
    return answer()?.['drained'];
  };
  assert.equal(await ask('busy'), false);
  busy = false;
  assert.equal(await ask('idle'), true);
});

test('a process that has not taken the last changes yet keeps a backend from counting as drained', async (t) => {
  const world = await World.make(t);
  const { process } = await shop(world);
  process.answersTo = () => ({ balanced: false, busy: false });
  process.answers = false;
  await world.store.live.replace('members', 'shop', 1, { current: 1, backends: [member('drain')] });
  world.bus.hear('updateProxy', { members: 'shop' });
  await until('it was sent', () => drains(process));
  world.bus.hear('kontrol:ask', { ask: 'drained', id: 'early', service: 'shop', address: '127.0.0.1:7' });
  const answers = () => world.bus.on('kontrol:answer').map((said) => said['drained']);
  await until('it is answered', () => answers().length === 1);
  process.answer();
  world.bus.hear('kontrol:ask', { ask: 'drained', id: 'late', service: 'shop', address: '127.0.0.1:7' });
  await until('it is answered again', () => answers().length === 2);
  assert.deepEqual(answers(), [false, true]);
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

test('a purge reaches every process, and is complete only when each has answered', async (t) => {
  const world = await World.make(t);
  const { primary, process } = await shop(world);
  const second = primary.spawn();
  await until('both serve', () => second.table.has('members/shop'));
  for (const each of [process, second]) {
    each.answersTo = (about) => {
      assert.deepEqual(about, { type: 'purge', service: 'shop', path: '/a' });
      return each === second ? 3 : 2;
    };
  }
  const ask = async (id: string) => {
    world.bus.hear('kontrol:ask', { ask: 'purge', id, service: 'shop', path: '/a' });
    const answer = () => world.bus.on('kontrol:answer').find((said) => said['id'] === id);
    await until('it is answered', () => answer() !== undefined);
    return answer();
  };
  assert.deepEqual(await ask('one'), { id: 'one', node: 'n1', purged: 5, complete: true });
  second.answersTo = () => null;
  assert.deepEqual(await ask('two'), { id: 'two', node: 'n1', purged: 2, complete: false });
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
    { ask: 'purge', id: 'x', service: 7 },
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

test('stored answers that a process made invalid are forgotten on the other nodes, too', async (t) => {
  const world = await World.make(t);
  const { primary, process } = await shop(world);
  world.bus.hear('kontrol:ask', { ask: 'invalid', from: 'n2', answers: [['shop', 'http://a/1'], 'odd'] });
  const heard = () => process.received.find((message) => message.type === 'invalid');
  await until('it is told', () => heard() !== undefined);
  assert.deepEqual(heard(), { type: 'invalid', answers: [['shop', 'http://a/1']] });
  primary.fromServing(process.id, { type: 'invalid', answers: [['shop', 'http://a/2']] });
  const said = () => world.bus.on('kontrol:ask').find(({ ask }) => ask === 'invalid');
  await until('it is said', () => said() !== undefined);
  assert.deepEqual(said(), { ask: 'invalid', from: 'n1', answers: [['shop', 'http://a/2']] });
});
