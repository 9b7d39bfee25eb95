import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { Remembered } from './remembered.ts';

function memoryOver(documents: Record<string, number>) {
  const clock = new ManualClock();
  let answer: 'now' | 'away' | 'never' = 'now';
  let reads = 0;
  const live = {
    async get(_: string, id: string): Promise<LiveDocument | null> {
      reads++;
      if (answer === 'away') throw new KontrolError('store_unavailable');
      if (answer === 'never') return new Promise(() => {});
      const value = documents[id];
      return value === undefined ? null : { _id: id, v: 1, value };
    },
    list: async () => Object.entries(documents).map(([_id, value]) => ({ _id, v: 1, value })),
  } as unknown as LiveStore;
  return {
    clock,
    memory: new Remembered(live, 'tokens', clock),
    set: (next: typeof answer) => {
      answer = next;
    },
    reads: () => reads,
  };
}

test('a change made elsewhere counts after two seconds, one made here at once', async () => {
  const documents: Record<string, number> = { a: 1 };
  const { clock, memory } = memoryOver(documents);
  assert.equal((await memory.get('a'))?.value, 1);
  documents.a = 2;
  clock.advance(1_999);
  assert.equal((await memory.get('a'))?.value, 1);
  clock.advance(1);
  assert.equal((await memory.get('a'))?.value, 2);
  documents.a = 3;
  memory.forget('a');
  assert.equal((await memory.get('a'))?.value, 3);
});

test('what was being read when it was changed here is not remembered', async () => {
  const documents: Record<string, number> = { a: 1 };
  const { memory } = memoryOver(documents);
  const before = memory.get('a');
  documents.a = 2;
  memory.forget('a');
  assert.equal((await memory.get('a'))?.value, 2, 'nor shared with who asks after the change');
  await before;
  assert.equal((await memory.get('a'))?.value, 2);
});

test('what was being listed when it was changed here is not remembered', async () => {
  const documents: Record<string, number> = { a: 1 };
  const { memory } = memoryOver(documents);
  const loading = memory.preload();
  documents.a = 2;
  memory.forget('a');
  await loading;
  assert.equal((await memory.get('a'))?.value, 2);
});

test('what is not there is asked for each time: a token just made elsewhere is good at once', async () => {
  const documents: Record<string, number> = {};
  const { memory } = memoryOver(documents);
  assert.equal(await memory.get('a'), null);
  documents.a = 1;
  assert.equal((await memory.get('a'))?.value, 1);
});

test('while the store is away what is known stays known, what is not is store_unavailable', async () => {
  const { clock, memory, set, reads } = memoryOver({ a: 1, b: 2 });
  await memory.preload();
  set('away');
  clock.advance(3_600_000);
  for (let call = 0; call < 10; call++) assert.equal((await memory.get('a'))?.value, 1);
  assert.equal(reads(), 1, 'a store that is away is not asked by every call');
  assert.equal((await memory.get('b'))?.value, 2);
  await assert.rejects(memory.get('c'), { code: 'store_unavailable' });
});

test('a store that hangs holds up a call for half a second only', async () => {
  const { clock, memory, set } = memoryOver({ a: 1 });
  await memory.get('a');
  set('never');
  clock.advance(3_000);
  const answer = memory.get('a');
  clock.advance(500);
  assert.equal((await answer)?.value, 1);
});
