import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Change, Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import { History } from './history.ts';
import type { Present } from './present.ts';
import { State } from './view.ts';

/** A log of revisions of which `since` answers at most `most` at a time, as a store does with large ones. */
function historyOf(changes: readonly (readonly Change[])[], { most = 1_000, maxLookedAt = 20_000 } = {}) {
  const revisions = changes.map((each, index) => ({ seq: index + 1, changes: each }) as unknown as Revision);
  const read = { revisions: 0 };
  const store = {
    since: async (seq: number, limit: number) => {
      const found = revisions.slice(seq, seq + Math.min(limit, most));
      read.revisions += found.length;
      return { trimmed: false, revisions: found };
    },
  } as unknown as Store;
  const state = new State();
  for (const { seq, changes: made } of revisions)
    for (const { kind, name, doc } of made) state.put(kind, name, doc === null ? null : { rev: seq, doc });
  const present = { seq: revisions.length, state } as unknown as Present;
  return { history: new History(store, present, maxLookedAt), read };
}

function change(name: string, n: number): Change {
  return { kind: 'service', name, doc: { name, n } };
}

const BUSY = (count: number) => Array.from({ length: count }, (_, n) => [change('busy', n)]);

test('the history misses nothing when the store answers large revisions only a few at a time', async () => {
  for (const most of [1, 7, 60]) {
    const { history } = historyOf(BUSY(1_000), { most });
    const seqs: number[] = [];
    for await (const { seq } of history.descending(null)) seqs.push(seq);
    assert.deepEqual(
      seqs,
      Array.from({ length: 1_000 }, (_, n) => 1_000 - n),
      `${most} at a time`,
    );
  }
});

test('what an object was before is looked for so far and no further, and the answer says how far', async () => {
  const log = [[change('rare', 1)], ...BUSY(500), [change('rare', 2)]];
  const { history, read } = historyOf(log, { maxLookedAt: 100 });
  const short = await history.before(502, [change('rare', 2), change('busy', 0)]);
  assert.equal(short.documents.get('service/rare'), undefined);
  assert.deepEqual(short.documents.get('service/busy'), { name: 'busy', n: 499 });
  // 502 - 100: it is older than that.
  assert.equal(short.lookedTo, 402);
  assert.ok(read.revisions < 300, `${read.revisions} were read`);
  const long = await historyOf(log).history.before(502, [change('rare', 2)]);
  assert.deepEqual([long.documents.get('service/rare'), long.lookedTo], [{ name: 'rare', n: 1 }, null]);
  // To the very beginning: it was not there.
  const never = await historyOf(log).history.before(502, [change('new', 1)]);
  assert.deepEqual([never.documents.get('service/new'), never.lookedTo], [null, null]);
});

test('the past of one object is looked for only as far as that object was changed', async () => {
  const { history, read } = historyOf([
    [change('one', 1)],
    [change('other', 1)],
    ...BUSY(2_000),
    [change('one', 2)],
    [change('other', 2)],
  ]);
  const past = await history.at(2_002, ({ name }) => name === 'busy');
  assert.deepEqual([...past.keys()], ['service/busy']);
  assert.ok(read.revisions < 500, `${read.revisions} were read`);
  assert.equal((await history.at(2_002)).size, 3);
});
