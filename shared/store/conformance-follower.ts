/** Conformance: a follower of the log is where the log is, whatever happened to it meanwhile. */
import assert from 'node:assert/strict';
import { KINDS } from '../model/kinds.ts';
import { change, commit, NOTHING, type OnStore, revisionAfter } from './conformance-place.ts';
import type { Store } from './contract.ts';
import { Follower } from './follower.ts';

export function followerConformance(onStore: OnStore): void {
  onStore('a follower reads everything at first, then only what is new', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', { n: 1 }), change('page', 'p', {}));
    const follower = new Follower(store);
    assert.deepEqual(await follower.catchUp(), { reloaded: true, revisions: [] });
    const second = await commit(store, change('rule', 'a', null), change('rule', 'b', { n: 2 }));
    const third = await commit(store, change('page', 'p', { n: 3 }));
    assert.deepEqual(await follower.catchUp(), { reloaded: false, revisions: [second, third] });
    assert.deepEqual(await follower.catchUp(), { reloaded: false, revisions: [] });
    assert.deepEqual([follower.seq, follower.id, follower.store], [3, third.id, await store.identity()]);
    assert.deepEqual(stateOf(follower), [
      ['rule', 'b', 2, { n: 2 }],
      ['page', 'p', 3, { n: 3 }],
    ]);
  });

  onStore('a follower on an empty store is at 0, and goes on from there', async (place) => {
    const store = await place.open();
    const follower = new Follower(store);
    assert.equal((await follower.catchUp()).reloaded, true);
    assert.equal((await follower.catchUp()).reloaded, false);
    const first = await commit(store, change('rule', 'a', {}));
    assert.deepEqual(await follower.catchUp(), { reloaded: false, revisions: [first] });
  });

  onStore('followers at the same revision have the same hash, however they got there', async (place) => {
    const store = await place.open();
    const slow = new Follower(store);
    await slow.catchUp();
    const hashes = new Set([slow.hash]);
    let last = NOTHING;
    for (let n = 1; n <= 40; n++) {
      const doc = n % 6 === 0 ? null : { z: n % 3, a: [n % 2, { y: 1, x: 'é' }], 'a.b': { $gt: n % 5 } };
      const revision = revisionAfter(
        last,
        change('rule', `r${n % 4}`, doc),
        change('domain', `r${n % 4}`, doc),
      );
      await store.append(revision);
      if (n % 3 !== 0) await store.project(revision);
      last = revision;
      const fresh = new Follower(store);
      await fresh.catchUp();
      await slow.catchUp();
      assert.equal(fresh.seq, n);
      assert.deepEqual(stateOf(fresh).sort(), stateOf(slow).sort());
      assert.equal(fresh.hash, slow.hash);
      hashes.add(slow.hash);
    }
    assert.ok(hashes.size > 30);
    const restored = new Follower(store, slow.state());
    assert.equal(restored.hash, slow.hash);
  });

  onStore('a follower starts from a kept state, and reads what came after it', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', { n: 1 }));
    const first = new Follower(store);
    await first.catchUp();
    const kept = JSON.parse(JSON.stringify(first.state()));
    const second = await commit(store, change('rule', 'b', { n: 2 }));
    const later = new Follower(store, kept);
    assert.deepEqual([later.seq, later.hash], [1, first.hash]);
    assert.deepEqual(await later.catchUp(), { reloaded: false, revisions: [second] });
    assert.deepEqual(stateOf(later).length, 2);
  });

  onStore('a restored backup, with its head behind the follower, is read afresh', async (place) => {
    const store = await place.open();
    const revisions = [];
    for (let n = 1; n <= 5; n++) revisions.push(await commit(store, change('rule', `r${n}`, { n })));
    const follower = new Follower(store);
    await follower.catchUp();
    for (const n of [3, 4, 5]) {
      await place.edit('revisions', n, null);
      await place.edit('rules', `r${n}`, null);
    }
    await place.edit('meta', 'mark', { seq: 2 });
    assert.deepEqual(await follower.catchUp(), { reloaded: true, revisions: [] });
    assert.deepEqual([follower.seq, follower.id], [2, revisions[1]?.id]);
    assert.deepEqual([...follower.objects('rule').keys()], ['r1', 'r2']);
    const next = await commit(store, change('rule', 'new', {}));
    assert.equal(next.seq, 3);
    assert.deepEqual(await follower.catchUp(), { reloaded: false, revisions: [next] });
  });

  onStore(
    'a log that went on otherwise after a restore is read afresh, at the same number or beyond it',
    async (place) => {
      const store = await place.open();
      const first = await commit(store, change('rule', 'a', { n: 1 }));
      await commit(store, change('rule', 'a', { n: 2 }));
      const followers = [new Follower(store), new Follower(store)] as const;
      for (const follower of followers) await follower.catchUp();
      await place.edit('revisions', 2, null);
      await place.edit('rules', 'a', { rev: 1, n: 1 });
      await place.edit('meta', 'mark', { seq: 1 });
      // A writer that knows nothing of it: its store object may remember the head.
      const other = await place.open();
      const rival = revisionAfter(first, change('rule', 'b', { rival: true }));
      assert.equal(await other.append(rival), 'appended');
      await other.project(rival);
      const reader = new Follower(other, followers[0].state());
      assert.deepEqual(await reader.catchUp(), { reloaded: true, revisions: [] });
      assert.equal(reader.id, rival.id);
      await commit(other, change('rule', 'c', {}));
      const later = new Follower(other, followers[1].state());
      assert.deepEqual(await later.catchUp(), { reloaded: true, revisions: [] });
      assert.deepEqual([...later.objects('rule').keys()].sort(), ['a', 'b', 'c']);
    },
  );

  onStore('another store under the same name is read afresh', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', {}));
    const follower = new Follower(store);
    await follower.catchUp();
    await place.edit('meta', 'store', { seq: 1, id: 'another' });
    assert.equal((await follower.catchUp()).reloaded, true);
    assert.equal(follower.store, 'another');
  });

  onStore('a follower that was away while the log was trimmed reads the documents', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', { n: 1 }), change('rule', 'gone', {}));
    const follower = new Follower(store);
    await follower.catchUp();
    for (let n = 2; n <= 6; n++)
      await commit(store, change('rule', `r${n}`, { n }), change('rule', 'gone', null));
    const late = revisionAfter(await store.head(), change('rule', 'a', { n: 7 }));
    await store.append(late);
    await store.trim(5);
    assert.deepEqual(await follower.catchUp(), { reloaded: true, revisions: [] });
    assert.deepEqual([follower.seq, follower.id], [7, late.id]);
    const fresh = new Follower(store);
    await fresh.catchUp();
    assert.equal(fresh.hash, follower.hash);
    assert.deepEqual([...follower.objects('rule').keys()].sort(), ['a', 'r2', 'r3', 'r4', 'r5', 'r6']);
  });

  onStore('documents that were written by hand are not of the log', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', { n: 1 }));
    await place.edit('rules', 'by-hand', { name: 'by-hand' });
    await place.edit('rules', 'future', { rev: 99 });
    const follower = new Follower(store);
    await follower.catchUp();
    assert.deepEqual([...follower.objects('rule').keys()], ['a']);
  });

  onStore(
    'a call during a step sees what was there when it was made, and calls share the step after it',
    async (place) => {
      const store = await place.open();
      let steps = 0;
      let hold = (): void => {};
      const held = new Promise<void>((resolve) => {
        hold = resolve;
      });
      let go = (): void => {};
      const gate = new Promise<void>((resolve) => {
        go = resolve;
      });
      const follower = new Follower(
        intercepted(store, {
          async identity() {
            steps++;
            return store.identity();
          },
          async head() {
            const head = await store.head();
            hold();
            await gate;
            return head;
          },
        }),
        { store: await store.identity(), seq: 0, id: '', objects: [] },
      );
      const first = follower.catchUp();
      await held;
      const revision = await commit(store, change('rule', 'a', {}));
      const later = [follower.catchUp(), follower.catchUp(), follower.catchUp()];
      go();
      assert.deepEqual((await first).revisions, []);
      for (const each of later) assert.deepEqual((await each).revisions, [revision]);
      assert.equal(steps, 2);
    },
  );

  onStore(
    'documents that change while they are read afresh are brought to one and the same revision',
    async (place) => {
      const store = await place.open();
      await commit(
        store,
        change('rule', 'a', { n: 1 }),
        change('rule', 'b', { n: 1 }),
        change('page', 'p', { n: 1 }),
      );
      let writes = 0;
      const follower = new Follower(
        intercepted(store, {
          async load(kind) {
            const loaded = await store.load(kind);
            const n = ++writes;
            if (kind !== 'settings')
              await commit(
                store,
                change('rule', 'a', n % 2 ? null : { n }),
                change('rule', `r${n}`, { n }),
                change('page', 'p', { n }),
              );
            return loaded;
          },
        }),
      );
      await follower.catchUp();
      const fresh = new Follower(store);
      await fresh.catchUp();
      assert.equal(follower.seq, fresh.seq);
      assert.deepEqual(stateOf(follower).sort(), stateOf(fresh).sort());
      assert.equal(follower.hash, fresh.hash);
    },
  );

  onStore('a step that fails changes nothing, and the next one goes on', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'a', {}));
    const closed = await place.open();
    const follower = new Follower(closed);
    await follower.catchUp();
    const { hash } = follower;
    await commit(store, change('rule', 'b', {}));
    await closed.close();
    await assert.rejects(follower.catchUp(), { code: 'store_unavailable' });
    await assert.rejects(follower.catchUp(), { code: 'store_unavailable' });
    assert.deepEqual([follower.seq, follower.hash], [1, hash]);
  });
}

/** `[kind, name, rev, doc]` of every object. */
function stateOf(follower: Follower): unknown[] {
  return KINDS.flatMap((kind) =>
    [...follower.objects(kind)].map(([name, { rev, doc }]) => [kind, name, rev, doc]),
  );
}

/** `store` with some of its methods replaced. */
function intercepted(store: Store, methods: Partial<Store>): Store {
  return {
    type: store.type,
    live: store.live,
    reachable: store.reachable,
    identity: () => store.identity(),
    head: () => store.head(),
    since: (seq, limit) => store.since(seq, limit),
    append: (revision) => store.append(revision),
    mark: () => store.mark(),
    project: (revision) => store.project(revision),
    load: (kind) => store.load(kind),
    trim: (seq) => store.trim(seq),
    close: () => store.close(),
    ...methods,
  };
}
