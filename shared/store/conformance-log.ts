/** Conformance: the log of revisions. */
import assert from 'node:assert/strict';
import { ManualClock } from '../clock.ts';
import { change, commit, NOTHING, type OnStore, revisionAfter } from './conformance-place.ts';
import type { StoreStep } from './record-store.ts';

export function logConformance(onStore: OnStore): void {
  onStore('an empty store has a head of 0, an identity that stays, and nothing else', async (place) => {
    const store = await place.open();
    assert.deepEqual(await store.head(), NOTHING);
    assert.equal(await store.mark(), 0);
    assert.deepEqual(await store.since(0), { trimmed: false, revisions: [] });
    const identity = await store.identity();
    assert.match(identity, /^[0-9a-f]{24}$/);
    const other = await place.open();
    assert.equal(await other.identity(), identity);
    assert.equal(store.type, place.address.type);
  });

  onStore('openers that race for the identity all read the same one', async (place) => {
    const stores = await Promise.all(Array.from({ length: 5 }, () => place.open()));
    const identities = await Promise.all(stores.map((store) => store.identity()));
    assert.equal(new Set(identities).size, 1);
  });

  onStore(
    'revisions are read back as they were appended, in order, from any number, by any opener',
    async (place) => {
      const store = await place.open();
      const other = await place.open();
      const revisions = [];
      for (let n = 1; n <= 12; n++) {
        const doc =
          n % 3 === 0
            ? null
            : { name: 'a', n, nested: { list: [1, 'two', null, { three: 3.5 }], yes: true } };
        const revision = {
          ...revisionAfter(await other.head(), change('rule', 'a', doc), change('domain', 'b.c', {})),
          ...(n % 4 === 0 ? { confirmWithinMs: 60_000 } : {}),
          ...(n % 5 === 0 ? { undoes: n - 1 } : {}),
        };
        assert.equal(await store.append(revision), 'appended');
        revisions.push(revision);
      }
      assert.deepEqual(await other.head(), { seq: 12, id: revisions[11]?.id });
      assert.deepEqual(await other.since(0), { trimmed: false, revisions });
      assert.deepEqual(await other.since(7, 2), { trimmed: false, revisions: revisions.slice(7, 9) });
      assert.deepEqual(await other.since(12), { trimmed: false, revisions: [] });
      assert.deepEqual(await other.since(400), { trimmed: false, revisions: [] });
    },
  );

  onStore('a number is taken once; the same revision again is still appended', async (place) => {
    const store = await place.open();
    const first = revisionAfter(NOTHING, change('rule', 'a', {}));
    const rival = revisionAfter(NOTHING, change('rule', 'b', {}));
    assert.equal(await store.append(first), 'appended');
    assert.equal(await store.append(rival), 'taken');
    assert.equal(await store.append(first), 'appended');
    assert.deepEqual(await store.since(0), { trimmed: false, revisions: [first] });
  });

  onStore(
    'a revision whose predecessor is not there is refused, so that the log has no holes',
    async (place) => {
      const store = await place.open();
      const first = await commit(store, change('rule', 'a', {}));
      assert.equal(await store.append(revisionAfter({ seq: 5, id: 'x' })), 'taken');
      assert.equal(await store.append(revisionAfter({ seq: first.seq, id: 'of another log' })), 'taken');
      assert.equal((await store.head()).seq, 1);
    },
  );

  onStore('a number that was trimmed is not given out again', async (place) => {
    const store = await place.open();
    for (let n = 1; n <= 4; n++) await commit(store, change('rule', 'a', { n }));
    await store.trim(3);
    assert.equal(await store.append(revisionAfter(NOTHING)), 'taken');
    assert.equal(await store.append(revisionAfter({ seq: 1, id: 'x' })), 'taken');
    assert.equal((await store.head()).seq, 4);
  });

  onStore(
    'a revision larger than a document is stored wholly, and leaves nothing when it loses',
    async (place) => {
      const store = await place.open();
      // Characters of two units; with a name one longer, the text is cut between the two units of one of them.
      const text = '\u{1f600}'.repeat(1_100_000);
      const large = revisionAfter(NOTHING, change('page', 'p', { text }), change('page', 'q', { text }));
      const shifted = revisionAfter(large, change('page', 'pp', { text }));
      const next = revisionAfter(shifted, change('rule', 'a', {}));
      assert.equal(await store.append(large), 'appended');
      assert.equal(await store.append(revisionAfter(NOTHING, ...large.changes)), 'taken');
      assert.equal(await store.append(shifted), 'appended');
      assert.equal(await store.append(next), 'appended');

      const other = await place.open();
      const revisions = [];
      for (let seq = 0; ; seq = revisions.length) {
        const since = await other.since(seq);
        assert.ok(!since.trimmed);
        if (since.revisions.length === 0) break;
        revisions.push(...since.revisions);
      }
      assert.deepEqual(revisions, [large, shifted, next]);
      await store.project(next);
      assert.equal((await other.load('page')).documents.length, 3);

      const parts = await place.keys('revisionParts');
      const winners = [large.id, shifted.id];
      assert.ok(parts.length > 4);
      assert.ok(parts.every((id) => winners.some((winner) => String(id).includes(winner))));
      await store.trim(2);
      assert.deepEqual(await place.keys('revisionParts'), []);
    },
  );

  onStore(
    'a writer that is out of time after its parts does not write the revision any more',
    async (place) => {
      const clock = new ManualClock();
      const onStep = (step: StoreStep): void => {
        if (step === 'parts') clock.advance(60_000);
      };
      const store = await place.open({ clock, onStep });
      const large = revisionAfter(NOTHING, change('page', 'a', { text: 'x'.repeat(2_500_000) }));
      await assert.rejects(store.append(large), { code: 'store_unavailable' });
      assert.deepEqual(await store.head(), NOTHING);
    },
  );

  onStore('since gives fewer revisions when they are large, and goes on from there', async (place) => {
    const store = await place.open();
    let last = NOTHING;
    for (let n = 0; n < 20; n++) {
      const revision = revisionAfter(last, change('page', 'a', { text: 'x'.repeat(1_500_000) }));
      await store.append(revision);
      last = revision;
    }
    const since = await store.since(0);
    assert.ok(!since.trimmed && since.revisions.length > 0 && since.revisions.length < 20);
    assert.equal(since.revisions.at(-1)?.seq, since.revisions.length);
  });

  onStore('numbers and ids of another type are refused, never passed on', async (place) => {
    const store = await place.open();
    const wrong = { code: 'invalid' };
    const operator = { $gt: 0 } as unknown as number;
    await assert.rejects(async () => store.since(operator), wrong);
    await assert.rejects(async () => store.since(-1), wrong);
    await assert.rejects(async () => store.since(0, operator), wrong);
    await assert.rejects(async () => store.trim(operator), wrong);
    const revision = revisionAfter(NOTHING);
    await assert.rejects(async () => store.append({ ...revision, seq: operator }), wrong);
    await assert.rejects(async () => store.append({ ...revision, id: operator as unknown as string }), wrong);
    await assert.rejects(
      async () => store.append({ ...revision, previous: operator as unknown as string }),
      wrong,
    );
    for (const name of [operator as unknown as string, '', 'a\0b', '\ud800', 'x'.repeat(2_000)]) {
      const bad = { ...revision, changes: [change('rule', name, {})] };
      await assert.rejects(async () => store.append(bad), wrong, String(name));
    }
    const kind = { ...revision, changes: [change('rules' as 'rule', 'a', {})] };
    await assert.rejects(async () => store.append(kind), wrong);
    await assert.rejects(async () => store.load('__proto__' as 'rule'), wrong);
    assert.equal((await store.head()).seq, 0);
  });
}
