import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { type Answer, NameResolver } from './resolver.ts';
import { until } from './scripted-primary.ts';

function setup() {
  const clock = new ManualClock();
  const world = {
    asked: [] as string[],
    answers: new Map<string, Answer>(),
    hold: false,
    held: [] as (() => void)[],
    most: 0,
    running: 0,
  };
  const told: [string, readonly string[]][] = [];
  const resolver = new NameResolver({
    clock,
    log: silentLog,
    async ask(name) {
      world.asked.push(name);
      world.most = Math.max(world.most, ++world.running);
      if (world.hold) await new Promise<void>((resolve) => world.held.push(resolve));
      world.running--;
      const answer = world.answers.get(name);
      if (answer === undefined) throw new Error('ENOTFOUND');
      return answer;
    },
    changed: (name, addresses) => told.push([name, addresses]),
  });
  return { clock, world, told, resolver };
}

test('a name is resolved when it is first named, and again when its TTL is over; only news is told', async () => {
  const { clock, world, told, resolver } = setup();
  world.answers.set('db', { addresses: ['10.0.0.2', '10.0.0.1'], ttlMs: 5_000 });
  resolver.follow(new Set(['db']));
  await resolver.settled();
  assert.deepEqual(told, [['db', ['10.0.0.1', '10.0.0.2']]]);
  world.answers.set('db', { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 5_000 });
  clock.advance(4_000);
  assert.equal(world.asked.length, 1);
  clock.advance(1_000);
  await until('it was asked again', () => world.asked.length === 2);
  world.answers.set('db', { addresses: ['10.0.0.3'], ttlMs: 0 });
  await until('the new answer is told', () => {
    clock.advance(1_000);
    return told.length === 2;
  });
  assert.deepEqual(resolver.addresses('db'), ['10.0.0.3']);
  resolver.close();
});

test('while the resolver is dead the last answer holds, and it is asked ever more rarely', async () => {
  const { clock, world, told, resolver } = setup();
  world.answers.set('db', { addresses: ['10.0.0.1'], ttlMs: 1_000 });
  resolver.follow(new Set(['db']));
  await resolver.settled();
  world.answers.clear();
  for (let i = 0; i < 600; i++) {
    clock.advance(1_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(resolver.addresses('db'), ['10.0.0.1']);
  assert.equal(told.length, 1);
  assert.ok(world.asked.length < 40, `${world.asked.length} times in ten minutes`);
  resolver.close();
});

test('a thousand names are asked for a few at a time; those no longer named are forgotten', async () => {
  const { world, resolver } = setup();
  world.hold = true;
  const names = Array.from({ length: 1_000 }, (_, i) => `n${i}`);
  for (const name of names) world.answers.set(name, { addresses: ['10.0.0.1'], ttlMs: 60_000 });
  resolver.follow(new Set(names));
  assert.equal(world.asked.length, 32);
  resolver.follow(new Set(['n999']));
  await until('the rest is answered', () => {
    for (const release of world.held.splice(0)) release();
    return resolver.addresses('n999').length === 1;
  });
  assert.deepEqual([...resolver.known()], [['n999', ['10.0.0.1']]]);
  assert.ok(world.most <= 32);
  resolver.close();
});

test('answers of an earlier process hold until there are newer ones', async () => {
  const { told, resolver } = setup();
  resolver.seed([{ name: 'db', addresses: ['10.0.0.9'] }]);
  resolver.follow(new Set(['db', 'new']));
  assert.deepEqual(told, [['db', ['10.0.0.9']]]);
  await resolver.settled();
  assert.deepEqual(resolver.addresses('db'), ['10.0.0.9']);
  resolver.close();
});

test('a failed connection has the name asked for again soon', async () => {
  const { clock, world, resolver } = setup();
  world.answers.set('db', { addresses: ['10.0.0.1'], ttlMs: 300_000 });
  resolver.follow(new Set(['db']));
  await resolver.settled();
  for (let i = 0; i < 100; i++) resolver.doubt('db');
  clock.advance(1_000);
  await until('it was asked again', () => world.asked.length === 2);
  resolver.close();
});

test('localhost and names of the hosts file resolve without DNS', async () => {
  const told: [string, readonly string[]][] = [];
  const resolver = new NameResolver({
    clock: new ManualClock(),
    log: silentLog,
    changed: (name, addresses) => told.push([name, addresses]),
  });
  resolver.follow(new Set(['localhost']));
  await resolver.settled();
  assert.equal(told[0]?.[0], 'localhost');
  assert.ok(told[0]?.[1].includes('127.0.0.1') || told[0]?.[1].includes('::1'));
  resolver.close();
});
