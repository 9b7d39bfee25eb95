import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { Store, StoredDocument } from '../../shared/store/contract.ts';
import { Adoption } from './adoption.ts';
import type { History } from './history.ts';
import type { Present } from './present.ts';
import { State } from './view.ts';
import type { Intent, Writer } from './writer.ts';

/** Pages in the log (`state`) beside pages in their collection (`documents`), and what is adopted of them. */
async function adopted(
  state: Readonly<Record<string, number>>,
  documents: readonly Partial<StoredDocument>[],
  { seq = 9, mark = 9, confirmed = false, confirmedDuring = false } = {},
): Promise<string[]> {
  const view = new State();
  for (const [name, rev] of Object.entries(state))
    view.put('page', name, { rev, doc: { name, templates: {} } });
  const changes: Change[] = [];
  let duringLoad = () => {};
  const store = {
    load: async (kind: Kind) => {
      duringLoad();
      return {
        mark,
        documents:
          kind !== 'page' ? [] : documents.map((each) => ({ rev: null, deleted: false, doc: {}, ...each })),
      };
    },
  } as unknown as Store;
  const adoption = new Adoption({
    store,
    present: { state: view, seq, reloads: 0, catchUp: async () => {} } as unknown as Present,
    history: {} as History,
    writer: {
      async submit({ decide }: Intent) {
        changes.push(...(await decide(view)));
        return { written: true, changes, seq };
      },
    } as unknown as Writer,
    bus: { subscribe: () => () => {} } as unknown as Bus,
    clock: new ManualClock(),
    log: silentLog,
    intervalMs: 20_000,
  });
  if (confirmed) adoption.confirm();
  if (confirmedDuring)
    duringLoad = () => {
      duringLoad = () => {};
      adoption.confirm();
    };
  await adoption.look();
  // The look that the confirmation asked for.
  if (confirmedDuring) await adoption.look();
  await adoption.close();
  return changes.map(({ name, doc }) => `${name} ${doc === null ? 'deleted' : 'put'}`);
}

const edited = (name: string) => ({ name, templates: { '404': 'by hand' } });
const same = (name: string) => ({ name, templates: {} });
const KEPT = { name: 'kept', rev: 1, doc: same('kept') };

test('the same rev with other content is an edit by hand', async () => {
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, [{ name: 'a', rev: 4, doc: edited('a') }, KEPT]), [
    'a put',
  ]);
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, [{ name: 'a', rev: 4, doc: same('a') }, KEPT]), []);
});

test('a document without rev is an edit by hand, new or over one of ours', async () => {
  const documents = [{ name: 'a', doc: edited('a') }, { name: 'new', doc: edited('new') }, KEPT];
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, documents), ['a put', 'new put']);
});

test('an older rev is a projection that lags, not an edit', async () => {
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, [{ name: 'a', rev: 3, doc: edited('a') }, KEPT]), []);
});

test('what was written after the documents were read is not undone by them', async () => {
  const documents = [{ name: 'a', doc: edited('a') }, KEPT];
  assert.deepEqual(await adopted({ a: 9, kept: 1 }, documents, { seq: 9, mark: 8 }), []);
  assert.deepEqual(await adopted({ a: 9, kept: 1 }, [KEPT], { seq: 9, mark: 8 }), [], 'nor deleted');
});

test('a rev that no revision has is not adopted: no projection would ever write over it', async () => {
  const documents = [
    { name: 'a', rev: 999, doc: edited('a') },
    { name: 'b', rev: 999, doc: edited('b') },
    KEPT,
  ];
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, documents), []);
});

test('a document of a deleted object is an edit only once the delete must have been projected', async () => {
  const documents = [{ name: 'gone', rev: 5, doc: edited('gone') }, KEPT];
  assert.deepEqual(await adopted({ kept: 1 }, documents, { seq: 9, mark: 8 }), []);
  assert.deepEqual(await adopted({ kept: 1 }, documents, { seq: 9, mark: 9 }), ['gone put']);
});

test('a document that is gone is deleted, a tombstone of ours is nothing new', async () => {
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, [KEPT]), ['a deleted']);
  assert.deepEqual(await adopted({ kept: 1 }, [{ name: 'a', rev: 4, deleted: true }, KEPT]), []);
  assert.deepEqual(await adopted({ a: 4, kept: 1 }, [{ name: 'a', rev: 4, deleted: true }, KEPT]), [
    'a deleted',
  ]);
});

test('losing all, or more than half and more than five, is held until it is confirmed', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `p${String(index).padStart(2, '0')}`);
  const state = Object.fromEntries(names.map((name) => [name, 1]));
  const left = (count: number) => names.slice(0, count).map((name) => ({ name, rev: 1, doc: same(name) }));
  assert.equal((await adopted(state, left(6))).length, 6, 'half of them is believed');
  assert.equal((await adopted(state, left(5))).length, 0);
  assert.equal((await adopted(state, left(5), { confirmed: true })).length, 7);
  assert.equal((await adopted({ only: 1 }, [])).length, 0);
  assert.equal((await adopted({ a: 1, b: 1, c: 1 }, [{ name: 'a', rev: 1, doc: same('a') }])).length, 2);
});

test('a confirmation that comes during a look is not lost', async () => {
  assert.deepEqual(await adopted({ only: 1 }, [], { confirmedDuring: true }), ['only deleted']);
});

test('while deletions are held, edits of the same kind are adopted', async () => {
  assert.deepEqual(await adopted({ a: 1, b: 1 }, [{ name: 'c', doc: edited('c') }]), ['c put']);
});

test('what was edited before the start is found by the revisions that wrote what there is, not by the whole log', async () => {
  const state = new State();
  const page = (name: string, text: string) => ({ name, templates: { 404: text } });
  state.put('page', 'a', { rev: 5, doc: page('a', 'by hand') });
  state.put('page', 'b', { rev: 900_000, doc: page('b', 'as written') });
  state.put('page', 'c', { rev: 2, doc: page('c', 'older than the log') });
  // Put in by hand before the start, number and all; it must not keep what comes after it from being found.
  const astray = page('0', 'of no revision');
  state.put('page', astray.name, { rev: 2_000_000, doc: astray });
  const asked: number[] = [];
  const submitted: Change[] = [];
  const written = new Map([
    [5, page('a', 'as written')],
    [900_000, page('b', 'as written')],
  ]);
  const history = {
    oldest: async () => 3,
    get: async (seq: number) => {
      asked.push(seq);
      if (seq > 1_000_000) throw new KontrolError('not_found', `There is no revision ${seq}`);
      const doc = written.get(seq);
      return { seq, changes: doc === undefined ? [] : [{ kind: 'page', name: doc.name, doc }] };
    },
  };
  const adoption = new Adoption({
    store: {
      load: async (kind: Kind) => ({
        mark: 1_000_000,
        documents: [...state.entries(kind)].map(([name, { rev, doc }]) => ({
          name,
          rev,
          doc,
          deleted: false,
        })),
      }),
    } as unknown as Store,
    present: { state, seq: 1_000_000, reloads: 1, catchUp: async () => {} } as unknown as Present,
    history: history as unknown as History,
    writer: {
      async submit({ decide }: Intent) {
        submitted.push(...(await decide(state)));
        return { written: true, changes: submitted, seq: 1_000_001 };
      },
    } as unknown as Writer,
    bus: { subscribe: () => () => {} } as unknown as Bus,
    clock: new ManualClock(),
    log: silentLog,
    intervalMs: 20_000,
  });
  await adoption.look();
  await adoption.close();
  assert.deepEqual(
    asked.sort((a, b) => a - b),
    [5, 900_000, 2_000_000],
  );
  assert.deepEqual(submitted, [{ kind: 'page', name: 'a', doc: page('a', 'by hand') }]);
});
