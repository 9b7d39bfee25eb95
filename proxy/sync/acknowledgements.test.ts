import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import type { Change } from '../../shared/model/revision.ts';
import { Acknowledgements, PATIENCE_MS } from './acknowledgements.ts';
import type { Applied } from './distribute.ts';
import { until } from './scripted-primary.ts';
import { service, World } from './sync-world.ts';

function listener(name: string, port: number): Change {
  return { kind: 'listener', name, doc: { name, address: '127.0.0.1', port, service: 'shop' } };
}

test('a revision is acknowledged when its sockets are open, or known not to open, and not before', () => {
  const clock = new ManualClock();
  const listeners = { settled: false };
  const told: Applied[] = [];
  const acknowledgements = new Acknowledgements(clock, listeners, (applied) => told.push(applied));
  acknowledgements.applied({ seq: 1, ms: 2 });
  clock.advance(10);
  acknowledgements.applied({ seq: 2, ms: 3 });
  acknowledgements.look();
  assert.equal(told.length, 0);
  clock.advance(10);
  listeners.settled = true;
  acknowledgements.look();
  assert.deepEqual(told, [{ seq: 2, ms: 13 }]);
  acknowledgements.look();
  acknowledgements.applied({ seq: 3, ms: 1 });
  assert.deepEqual(told.slice(1), [{ seq: 3, ms: 1 }]);
  // Nobody says what became of a socket: the rest is in force all the same.
  listeners.settled = false;
  acknowledgements.applied({ seq: 4, ms: 1 });
  clock.advance(PATIENCE_MS - 1);
  assert.equal(told.length, 2);
  clock.advance(1);
  assert.equal(told[2]?.seq, 4);
  acknowledgements.applied({ seq: 5, ms: 1 });
  acknowledgements.close();
  clock.advance(PATIENCE_MS);
  assert.equal(told.length, 3);
});

test('the acknowledgement names the listener whose port could not be opened, until it can', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'));
  const { primary } = await world.start();
  const acknowledged = (seq: number) => world.bus.on('kontrol:applied').find((said) => said['seq'] === seq);
  primary.opens = () => undefined;
  const process = primary.spawn();
  await until('the table is loaded', () => process.seq === 1);
  const seq = await world.append(listener('mysql', 3306));
  await until('the socket is wanted', () => primary.heard.some(({ type }) => type === 'listeners'));
  assert.equal(process.seq, seq);
  assert.equal(acknowledged(seq), undefined);
  const wanted = primary.heard.findLast((message) => message.type === 'listeners');
  const [spec] = wanted?.specs ?? [];
  assert.ok(spec !== undefined);
  primary.opens = () => 'the port is in use';
  primary.listens(spec);
  await until('it is acknowledged', () => acknowledged(seq) !== undefined);
  assert.deepEqual(acknowledged(seq)?.['quarantined'], [
    { kind: 'listener', name: 'mysql', reason: 'the port is in use', lastGood: false },
  ]);
  primary.opens = () => null;
  primary.listens(spec);
  const next = await world.append(service('shop', { balance: 'random' }));
  await until('the next is acknowledged', () => acknowledged(next) !== undefined);
  assert.deepEqual(acknowledged(next)?.['quarantined'], []);
});
