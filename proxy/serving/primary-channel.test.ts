import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_OUTSTANDING, PrimaryChannel, type ToPrimary } from './primary-channel.ts';

const stats: ToPrimary = { type: 'stats', stats: {} };

function setup() {
  const taken: ToPrimary['type'][] = [];
  const dones: (() => void)[] = [];
  const process = {
    connected: true,
    send(message: ToPrimary, done: () => void) {
      taken.push(message.type);
      dones.push(done);
    },
  };
  return { channel: new PrimaryChannel(process), process, taken, dones };
}

test('a primary that does not read makes nobody keep messages for it without end', () => {
  const { channel, taken, dones } = setup();
  for (let count = 0; count < MAX_OUTSTANDING; count++) assert.equal(channel.send(stats), true);
  assert.equal(channel.stuck, true);
  for (const message of [
    stats,
    { type: 'failures', failures: [] },
    { type: 'recovered', service: 'shop', address: 'a' },
    { type: 'rate-ask', n: 1, asks: [], back: [] },
    { type: 'invalid', answers: [] },
  ] as const)
    assert.equal(channel.send(message), false, message.type);
  assert.equal(taken.length, MAX_OUTSTANDING);
  // What the primary waits for is said all the same.
  assert.equal(channel.send({ type: 'pong', n: 1, rss: 1, connections: 0 }), true);
  assert.equal(taken.at(-1), 'pong');
  for (const done of dones.splice(0)) done();
  assert.equal(channel.stuck, false);
  assert.equal(channel.send(stats), true);
});

test('without a primary nobody hears anything', () => {
  const { channel, process, taken } = setup();
  process.connected = false;
  assert.equal(channel.send(stats), false);
  assert.deepEqual(taken, []);
});
