/** Conformance: documents are brought up to the log by projectors that race, crash and are overtaken. */
import assert from 'node:assert/strict';
import { ManualClock } from '../clock.ts';
import { KontrolError } from '../errors.ts';
import type { Revision } from '../model/revision.ts';
import { change, commit, documentsOf, NOTHING, type OnStore, revisionAfter } from './conformance-place.ts';
import type { Store } from './contract.ts';
import type { RecordStoreOptions, StoreStep } from './record-store.ts';

export function documentConformance(onStore: OnStore): void {
  onStore(
    'a projected document carries its object and the number of its revision; a deleted one its tombstone',
    async (place) => {
      const store = await place.open();
      await commit(
        store,
        change('domain', 'a.example', { name: 'a.example' }),
        change('rule', 'r', { list: ['x'] }),
      );
      await commit(store, change('domain', 'a.example', null), change('domain', 'never-there', null));
      assert.deepEqual(await documentsOf(store, 'domain'), [
        ['a.example', 2, null],
        ['never-there', 2, null],
      ]);
      assert.deepEqual(await documentsOf(store, 'rule'), [['r', 1, { list: ['x'] }]]);
      assert.deepEqual(await documentsOf(store, 'service'), []);
      assert.equal(await store.mark(), 2);
      assert.equal((await store.load('rule')).mark, 2);
    },
  );

  onStore('the last of several changes of one object in a revision counts', async (place) => {
    const store = await place.open();
    await commit(
      store,
      change('rule', 'a', { n: 1 }),
      change('rule', 'a', null),
      change('rule', 'a', { n: 3 }),
    );
    assert.deepEqual(await documentsOf(store, 'rule'), [['a', 1, { n: 3 }]]);
  });

  onStore('a projector first projects what others left, in any number of revisions', async (place) => {
    const store = await place.open();
    let last = NOTHING;
    for (let n = 1; n <= 120; n++) {
      const revision = revisionAfter(last, change('rule', `r${n % 7}`, n % 11 === 0 ? null : { n }));
      await store.append(revision);
      last = revision;
    }
    assert.equal(await store.mark(), 0);
    await commit(store, change('rule', 'last', {}));
    assert.equal(await store.mark(), 121);
    const expected = new Map<string, unknown>();
    for (let n = 1; n <= 120; n++) expected.set(`r${n % 7}`, [n, n % 11 === 0 ? null : { n }]);
    const found = (await documentsOf(store, 'rule')).slice(1).map(([name, rev, doc]) => [name, [rev, doc]]);
    assert.deepEqual(found, [...expected].sort());
  });

  onStore('a revision that lost its number is never projected', async (place) => {
    const store = await place.open();
    const winner = revisionAfter(NOTHING, change('rule', 'a', { won: true }));
    const loser = revisionAfter(NOTHING, change('rule', 'a', { won: false }), change('rule', 'b', {}));
    const never = revisionAfter(winner, change('rule', 'c', {}));
    await store.append(winner);
    assert.equal(await store.append(loser), 'taken');
    await store.project(loser);
    await store.project(never);
    assert.deepEqual(await documentsOf(store, 'rule'), [['a', 1, { won: true }]]);
    assert.equal(await store.mark(), 1);
  });

  onStore('projecting is safe to repeat and never goes back', async (place) => {
    const store = await place.open();
    const first = await commit(store, change('rule', 'a', { n: 1 }));
    const second = await commit(store, change('rule', 'a', { n: 2 }));
    await store.project(first);
    await store.project(second);
    await store.project(first);
    assert.deepEqual(await documentsOf(store, 'rule'), [['a', 2, { n: 2 }]]);
    assert.equal(await store.mark(), 2);
  });

  onStore('many projectors of many revisions at once end where one would have', async (place) => {
    const stores = await Promise.all([place.open({ batch: 1 }), place.open({ batch: 2 }), place.open()]);
    const [store] = stores;
    assert.ok(store);
    const revisions = [];
    let last = NOTHING;
    for (let n = 1; n <= 10; n++) {
      const changes = ['a', 'b', 'c'].map((name) => change('rule', name, n % 4 ? { n } : null));
      const revision = revisionAfter(last, ...changes, change('page', `p${n}`, { n }));
      await store.append(revision);
      revisions.push(revision);
      last = revision;
    }
    const shuffled = revisions.flatMap((revision) => stores.map((each) => ({ each, revision })));
    await Promise.all(shuffled.map(({ each, revision }) => projectedAtLast(each, revision)));
    assert.equal(await store.mark(), 10);
    assert.deepEqual(
      (await documentsOf(store, 'rule')).map(([name, rev, doc]) => [name, rev, doc]),
      ['a', 'b', 'c'].map((name) => [name, 10, { n: 10 }]),
    );
    assert.equal((await store.load('page')).documents.length, 10);
  });

  onStore('a slow projector that was overtaken by a delete does not bring the object back', async (place) => {
    const store = await place.open();
    const first = revisionAfter(NOTHING, change('page', 'before', {}), change('rule', 'a', { n: 1 }));
    await store.append(first);
    const slow = await pausedProjector(place, 'documents', first);
    await commit(store, change('rule', 'a', null));
    await slow.finish();
    assert.deepEqual(await documentsOf(store, 'rule'), [['a', 2, null]]);
    assert.equal(await store.mark(), 2);
  });

  onStore(
    'a slow projector that was overtaken between documents and mark does not move the mark back',
    async (place) => {
      const store = await place.open();
      const first = revisionAfter(NOTHING, change('rule', 'a', { n: 1 }));
      await store.append(first);
      const slow = await pausedProjector(place, 'projected', first);
      await commit(store, change('rule', 'a', { n: 2 }));
      await slow.finish();
      assert.deepEqual(await documentsOf(store, 'rule'), [['a', 2, { n: 2 }]]);
      assert.equal(await store.mark(), 2);
    },
  );

  onStore(
    'a projector that was held up for longer than a call may take brings nothing back',
    async (place) => {
      const clock = new ManualClock();
      const store = await place.open({ clock });
      const first = revisionAfter(NOTHING, change('page', 'before', {}), change('rule', 'a', { n: 1 }));
      await store.append(first);
      const slow = await pausedProjector(place, 'documents', first, { clock });
      await commit(store, change('rule', 'a', null));
      await commit(store, change('page', 'after', {}));
      await store.trim(2);
      clock.advance(60_000);
      await store.trim(2);
      assert.deepEqual(await documentsOf(store, 'rule'), []);
      await assert.rejects(slow.finish(), { code: 'store_unavailable' });
      assert.deepEqual(await documentsOf(store, 'rule'), []);
    },
  );

  onStore(
    'trim drops revisions up to the number given, never the head nor beyond the mark',
    async (place) => {
      const store = await place.open();
      for (let n = 1; n <= 6; n++) await commit(store, change('rule', `r${n}`, { n }));
      const late = revisionAfter(await store.head(), change('rule', 'late', {}));
      const unprojected = revisionAfter(late, change('rule', 'later', {}));
      await store.append(late);
      await store.append(unprojected);
      await store.trim(3);
      assert.deepEqual(await store.since(0), { trimmed: true });
      assert.deepEqual(await store.since(2), { trimmed: true });
      const rest = await store.since(3);
      assert.deepEqual(rest.trimmed ? [] : rest.revisions.map((each) => each.seq), [4, 5, 6, 7, 8]);
      await store.trim(1_000);
      assert.deepEqual(await store.since(6), { trimmed: false, revisions: [late, unprojected] });
      await store.project(unprojected);
      await store.trim(1_000);
      assert.deepEqual(await store.head(), { seq: 8, id: unprojected.id });
      assert.equal(await store.mark(), 8);
      assert.equal((await store.load('rule')).documents.length, 8);
      await commit(store, change('rule', 'r1', { n: 9 }));
      assert.equal((await store.load('rule')).documents.find(({ name }) => name === 'r1')?.rev, 9);
    },
  );

  onStore(
    'tombstones go with a later trim, when no projector of before can still be at work',
    async (place) => {
      const clock = new ManualClock();
      const store = await place.open({ clock });
      await commit(store, change('rule', 'a', {}), change('rule', 'b', {}));
      await commit(store, change('rule', 'a', null));
      await commit(store, change('rule', 'c', {}));
      await commit(store, change('rule', 'c', null));
      await commit(store, change('page', 'x', {}));
      const names = async () => (await documentsOf(store, 'rule')).map(([name]) => name);
      await store.trim(2);
      clock.advance(59_000);
      await store.trim(2);
      assert.deepEqual(await names(), ['a', 'b', 'c']);
      clock.advance(1_000);
      await store.trim(2);
      assert.deepEqual(await names(), ['b', 'c']);
      await commit(store, change('rule', 'a', { again: true }));
      clock.advance(200_000);
      await store.trim(4);
      clock.advance(60_000);
      await store.trim(4);
      assert.deepEqual(await names(), ['a', 'b']);
    },
  );

  /** A projector, in an opener of its own, that waits at its first `step` until `finish`. */
  async function pausedProjector(
    place: Parameters<Parameters<OnStore>[1]>[0],
    step: StoreStep,
    revision: ReturnType<typeof revisionAfter>,
    options: RecordStoreOptions = {},
  ): Promise<{ finish(): Promise<void> }> {
    let go = (): void => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    let there = (): void => {};
    const arrived = new Promise<void>((resolve) => {
      there = resolve;
    });
    const onStep = async (at: StoreStep): Promise<void> => {
      if (at !== step) return;
      there();
      await gate;
    };
    const store = await place.open({ ...options, onStep, batch: 1 });
    const projected = store.project(revision);
    projected.catch(() => {});
    await arrived;
    return {
      finish() {
        go();
        return projected;
      },
    };
  }
}

/** A store that is overrun says so, and projecting again is always safe. */
async function projectedAtLast(store: Store, revision: Revision): Promise<void> {
  for (;;) {
    try {
      return await store.project(revision);
    } catch (error) {
      if (!(error instanceof KontrolError && error.code === 'store_unavailable')) throw error;
    }
  }
}
