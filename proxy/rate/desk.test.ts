import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import type { ToServing } from '../link/messages.ts';
import { RateDesk } from './desk.ts';
import type { Returned, SharedCounts } from './redis-ledger.ts';

const LONG = 'x'.repeat(1_000);

/** Asks a desk as one serving process; answers how many places it grants, and in which slots. */
function open(shared: SharedCounts | null = null) {
  const sent: Extract<ToServing, { type: 'rate-grants' }>[] = [];
  const desk = new RateDesk({
    clock: new ManualClock(0),
    shared,
    processes: () => 1,
    send: (_, message) => {
      if (message.type === 'rate-grants') sent.push(message);
    },
  });
  let n = 0;
  const ask = async (key: string, waiting: number) => {
    desk.receive(1, { type: 'rate-ask', n: ++n, asks: [[key, 10, 60_000, waiting, 0, 0]], back: [] });
    await turn();
    const [granted = 0, , , slot = 0, sharedSlot = -1] = sent.at(-1)?.grants[0] ?? [];
    return { granted, slot, sharedSlot };
  };
  const giveBack = (...back: [string, number, number, number][]) =>
    desk.receive(1, { type: 'rate-ask', n: ++n, asks: [], back });
  return { desk, ask, giveBack };
}

describe('a long key', () => {
  it('gets the places back that its process did not use', async () => {
    const { ask, giveBack } = open();
    const { granted, slot } = await ask(LONG, 10);
    assert.equal(granted, 10);
    assert.equal((await ask(LONG, 1)).granted, 0);
    giveBack([LONG, slot, -1, 4]);
    assert.equal((await ask(LONG, 10)).granted, 4);
  });

  it('does not count for another that begins like it', async () => {
    const { ask } = open();
    assert.equal((await ask(`${LONG}a`, 10)).granted, 10);
    assert.equal((await ask(`${LONG}b`, 10)).granted, 10);
  });

  it('is given back to the shared counts under the name that it was taken by', async () => {
    const taken: string[] = [];
    const returned: Returned[] = [];
    const { desk, ask, giveBack } = open({
      up: true,
      take: async (asked) => {
        for (const { key } of asked) taken.push(key);
        return asked.map(({ wish }) => ({ granted: wish.waiting, left: 0, resetMs: 1, slot: 7 }));
      },
      giveBack: (more) => returned.push(...more),
      close() {},
    });
    const { slot, sharedSlot } = await ask(LONG, 5);
    giveBack([LONG, slot, sharedSlot, 2]);
    assert.deepEqual(returned, [{ key: taken[0], slot: 7, count: 2 }]);
    assert.ok((taken[0] as string).length <= 64);
    desk.close();
  });
});
