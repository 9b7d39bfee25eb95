import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { Confirmation } from './confirmations.ts';
import { Undoing, type UndoingOptions } from './undoing.ts';

function open(seq: number): Confirmation {
  const rest = { v: 1, until: 0, state: 'open' as const, by: null, undoneBy: null, kept: [] };
  return { id: `id${seq}`, seq, ...rest };
}

/** Undoing over revisions that `submit` decides about; `get` may keep the history from telling of one. */
function undoingOf(
  seqs: readonly number[],
  submit: (undoes: number) => Promise<object>,
  get: (seq: number) => Promise<void> = async () => {},
) {
  const settled: [number, readonly string[]][] = [];
  const expired = new Set<number>();
  const confirmations = {
    list: async () => seqs.map(open),
    async expire({ seq }: Confirmation) {
      expired.add(seq);
      return true;
    },
    async undone({ seq }: Confirmation, _by: number | null, kept: readonly string[]) {
      if (expired.has(seq)) settled.push([seq, kept]);
    },
  };
  const options = {
    confirmations,
    present: { catchUp: async () => {} },
    history: {
      async get(seq: number) {
        await get(seq);
        return { seq, id: `id${seq}`, author: 'a', changes: [] };
      },
    },
    writer: { submit: ({ undoes }: { undoes: number }) => submit(undoes) },
    clock: new ManualClock(),
    log: silentLog,
    rules: () => ({}),
  };
  return { settled, undoing: new Undoing(options as unknown as UndoingOptions) };
}

test('a revision that can never be undone is told so once, and holds up no other', async () => {
  const { undoing, settled } = undoingOf([1, 2], async (undoes) => {
    if (undoes === 1) throw new KontrolError('history_trimmed', 'it is gone');
    return { written: true, seq: 3 };
  });
  await undoing.look();
  assert.deepEqual(settled, [
    [1, ['everything: it is gone']],
    [2, []],
  ]);
  await undoing.close();
});

test('while the store is away nothing is settled, so that it is tried again', async () => {
  const { undoing, settled } = undoingOf([1], async () => {
    throw new KontrolError('store_unavailable');
  });
  await undoing.look();
  assert.deepEqual(settled, []);
  await undoing.close();
});

test('a revision that the history no longer has is settled, though it could not even be looked at', async () => {
  const { undoing, settled } = undoingOf(
    [1, 2],
    async () => ({ written: true, seq: 3 }),
    async (seq) => {
      if (seq === 1) throw new KontrolError('history_trimmed', 'it is gone');
    },
  );
  await undoing.look();
  assert.deepEqual(settled, [
    [1, ['everything: it is gone']],
    [2, []],
  ]);
  await undoing.close();
});

test('a mistake of ours with one revision holds up no other', async () => {
  const { undoing, settled } = undoingOf([1, 2], async (undoes) => {
    if (undoes === 1) throw new TypeError('x is not a function');
    return { written: true, seq: 3 };
  });
  await undoing.look();
  assert.deepEqual(settled, [[2, []]]);
  await undoing.close();
});
