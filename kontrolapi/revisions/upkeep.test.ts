import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { ApiContext } from '../context.ts';
import { Upkeep } from './upkeep.ts';

/** Counts the calls of the store that hints lead to. */
function following() {
  let hint: (message: object | undefined) => void = () => {};
  let marks = 0;
  let away = false;
  const context = {
    present: { seq: 3, catchUp: async () => {} },
    store: {
      async mark() {
        marks++;
        await turn();
        if (away) throw new Error('away');
        return 3;
      },
      live: { get: async () => ({}) },
    },
    bus: {
      subscribe: (_: string, handler: typeof hint) => {
        hint = handler;
        return () => {};
      },
      onConnected: () => () => {},
    },
    settings: { ttlMs: 20_000, secret: null },
    clock: new ManualClock(),
    log: silentLog,
  } as unknown as ApiContext;
  const upkeep = new Upkeep(context);
  upkeep.start();
  return {
    upkeep,
    hint: (message?: object) => hint(message),
    marks: () => marks,
    setAway: (is: boolean) => {
      away = is;
    },
  };
}

test('thousands of hints at once cost one look, and one more for those that came while it ran', async () => {
  const { upkeep, hint, marks } = following();
  for (let n = 0; n < 5_000; n++) hint({ seq: n });
  await turn();
  for (let n = 0; n < 5_000; n++) hint(n % 2 === 0 ? undefined : { seq: n });
  for (let n = 0; n < 10; n++) await turn();
  assert.ok(marks() >= 2 && marks() <= 3, `${marks()} looks`);
  const before = marks();
  hint({ seq: 4 });
  await turn();
  assert.equal(marks(), before + 1);
  await upkeep.close();
});

test('workers that come and go are none of its business', async () => {
  const { upkeep, hint, marks } = following();
  for (let n = 0; n < 10; n++) await turn();
  const before = marks();
  hint({ members: 'shop' });
  await turn();
  assert.equal(marks(), before);
  await upkeep.close();
});

test('a hint that comes during a look that fails has a look of its own', async () => {
  const { upkeep, hint, marks, setAway } = following();
  for (let n = 0; n < 10; n++) await turn();
  const before = marks();
  setAway(true);
  hint({ seq: 4 });
  await Promise.resolve();
  hint({ seq: 5 });
  for (let n = 0; n < 10; n++) await turn();
  assert.equal(marks(), before + 2);
  setAway(false);
  hint({ seq: 6 });
  for (let n = 0; n < 10; n++) await turn();
  assert.equal(marks(), before + 3);
  await upkeep.close();
});
