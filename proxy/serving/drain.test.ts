import assert from 'node:assert/strict';
import test from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { Connections } from './connections.ts';
import { Drain } from './drain.ts';

function draining() {
  const clock = new ManualClock();
  const connections = new Connections();
  const connection = {
    said: [] as string[],
    drain() {
      this.said.push('drain');
    },
    closeNow() {
      this.said.push('closeNow');
    },
  };
  connections.add(connection);
  const drain = new Drain(connections, clock);
  return { clock, connections, connection, drain };
}

test('a request that is on its way when the drain begins still finds its connection open', () => {
  const { clock, connection, drain } = draining();
  void drain.begin(10_000);
  assert.equal(drain.begun, true);
  clock.advance(999);
  assert.deepEqual(connection.said, []);
  clock.advance(1);
  assert.deepEqual(connection.said, ['drain']);
});

test('it is over as soon as the last connection has ended', async () => {
  const { connections, connection, drain } = draining();
  const over = drain.begin(10_000);
  connections.delete(connection);
  await over;
});

test('with nothing open it is over at once', async () => {
  await new Drain(new Connections(), new ManualClock()).begin(10_000);
});

test('what is open after the set time is ended, and what does not end then is left behind', async () => {
  const { clock, connection, drain } = draining();
  const over = drain.begin(5_000);
  clock.advance(5_000);
  assert.deepEqual(connection.said, ['drain', 'closeNow']);
  clock.advance(500);
  await over;
});

test('a connection that is ready only after the idle ones were closed drains at once', () => {
  const { clock, connections, drain } = draining();
  void drain.begin(10_000);
  clock.advance(1_000);
  const said: string[] = [];
  connections.add({ drain: () => said.push('drain'), closeNow() {} });
  assert.deepEqual(said, ['drain']);
});
