import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import { Projector } from './projector.ts';

const revision = (seq: number): Revision => ({
  seq,
  id: `r${seq}`,
  previous: '',
  store: 's',
  at: 0,
  author: 'a',
  message: '',
  changes: [],
});

/** Notes the numbers that are projected; each ends when `next` is called. */
function projecting() {
  const projected: number[] = [];
  const running: (() => void)[] = [];
  const store = {
    project({ seq }: Revision) {
      projected.push(seq);
      return new Promise<void>((resolve) => running.push(resolve));
    },
  } as unknown as Store;
  const clock = new ManualClock();
  const projector = new Projector(store, clock, silentLog);
  const next = async () => {
    running.shift()?.();
    await turn();
  };
  return { projector, projected, clock, next };
}

test('a log that went back, as a restored backup does, is projected from there on', async () => {
  const { projector, projected, next } = projecting();
  const first = projector.project(revision(1_000), 300);
  await next();
  await first;
  const back = projector.project(revision(901), 300);
  await next();
  await back;
  projector.repair(revision(901));
  await next();
  assert.deepEqual(projected, [1_000, 901, 901]);
});

test('a log that goes back while it is projected is projected to its new end', async () => {
  const { projector, projected, next } = projecting();
  void projector.project(revision(1_000), 300);
  const back = projector.project(revision(901), 300);
  await next();
  await next();
  await back;
  assert.deepEqual(projected, [1_000, 901]);
});

test('a repair does not take the place of what was appended meanwhile; several are projected in one go', async () => {
  const { projector, projected, clock, next } = projecting();
  void projector.project(revision(5), 300);
  void projector.project(revision(6), 300);
  const last = projector.project(revision(7), 300);
  projector.repair(revision(6));
  await next();
  await next();
  await last;
  assert.deepEqual(projected, [5, 7]);
  let told = false;
  const patient = projector.project(revision(8), 300).then(() => {
    told = true;
  });
  await turn();
  assert.equal(told, false);
  clock.advance(300);
  await patient;
});
