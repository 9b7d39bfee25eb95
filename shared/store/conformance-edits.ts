/** Conformance: whatever people write, restore or remove behind the store's back, it is read and built upon. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { change, commit, documentsOf, NOTHING, type OnStore, revisionAfter } from './conformance-place.ts';

export function editConformance(onStore: OnStore): void {
  onStore('documents that were written by hand load as they are, with rev null', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'ours', { name: 'ours' }));
    await place.edit('rules', 'no-rev', { name: 'no-rev', list: 'whitelist' });
    for (const [n, rev] of ['1', -1, 0, 1.5, null, { $gt: 0 }, [1], 1e300].entries())
      await place.edit('rules', `odd-${n}`, { rev });
    await place.edit('rules', 'future', { rev: 999, name: 'future' });
    await place.edit('rules', 'edited', { rev: 1, name: 'edited', by: 'hand' });
    await place.edit('rules', 'deep', { a: { $where: '1', 'b.c': [{ $ne: 1 }], ['__proto__']: { x: 1 } } });
    await place.edit('rules', 'huge', { text: 'x'.repeat(10_000_000) });
    const documents = new Map((await documentsOf(store, 'rule')).map(([name, ...rest]) => [name, rest]));
    assert.deepEqual(documents.get('ours'), [1, { name: 'ours' }]);
    assert.deepEqual(documents.get('no-rev'), [null, { name: 'no-rev', list: 'whitelist' }]);
    for (let n = 0; n < 8; n++) assert.deepEqual(documents.get(`odd-${n}`), [null, {}]);
    assert.deepEqual(documents.get('future'), [null, { name: 'future' }]);
    assert.deepEqual(documents.get('edited'), [1, { name: 'edited', by: 'hand' }]);
    const deep = { a: { $where: '1', 'b.c': [{ $ne: 1 }], ['__proto__']: { x: 1 } } };
    assert.deepEqual(documents.get('deep'), [null, deep]);
    assert.equal((documents.get('huge') as [null, { text: string }])[1].text.length, 10_000_000);
  });

  onStore('a revision replaces what was written by hand under its name', async (place) => {
    const store = await place.open();
    await commit(store, change('rule', 'other', {}));
    const odd = [undefined, '1', -1, 0, 1.5, null, { $gt: 0 }, [2], { a: [null, { b: 1 }] }, 999];
    for (const [n, rev] of odd.entries())
      await place.edit('rules', `r${n}`, rev === undefined ? {} : { rev, by: 'hand' });
    await commit(store, ...odd.map((_, n) => change('rule', `r${n}`, n % 2 ? null : { n })));
    const expected = odd.map((_, n) => [`r${n}`, 2, n % 2 ? null : { n }]);
    assert.deepEqual((await documentsOf(store, 'rule')).slice(1), expected);
  });

  onStore('objects keep every key, whatever it means to a database', async (place) => {
    const store = await place.open();
    const awkward = fc.constantFrom(
      '$gt',
      'a.b',
      '.',
      '$',
      '%24',
      '%',
      '__proto__',
      '_id',
      'rev',
      '%rev',
      'deleted',
      'v',
      '_bsontype',
      '',
      'a\0b',
      'toJSON',
      'constructor',
      'é😀',
      '$ref',
      '$id',
    );
    const key = fc.oneof(awkward, fc.string({ unit: 'grapheme' }));
    const leaf = fc.oneof(
      fc.integer(),
      fc.constant(null),
      fc.boolean(),
      fc.constant('ObjectId'),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n)),
    );
    const { object } = fc.letrec<{ value: unknown; object: Record<string, unknown> }>((tie) => ({
      value: fc.oneof({ maxDepth: 3 }, leaf, fc.array(tie('value'), { maxLength: 3 }), tie('object')),
      object: fc
        .array(fc.tuple(key, tie('value')), { maxLength: 4 })
        .map((entries) => Object.fromEntries(entries)),
    }));
    const samples = fc.sample(object, { numRuns: 60, seed: 7 });
    const docs = [
      {
        $gt: 1,
        'a.b': { $ref: 'x', $id: 1 },
        ['__proto__']: { _bsontype: 'ObjectId' },
        rev: 1,
        _id: 2,
        deleted: true,
      },
      ...samples,
    ];
    const names = docs.map((_, n) => `doc-${String(n).padStart(3, '0')}`);
    const revision = await commit(store, ...docs.map((doc, n) => change('rule', names[n] as string, doc)));
    assert.deepEqual(await store.since(0), { trimmed: false, revisions: [revision] });
    assert.deepEqual(
      await documentsOf(store, 'rule'),
      docs.map((doc, n) => [names[n], 1, doc]),
    );
    for (const [n, doc] of docs.entries()) {
      const { _id, v, w, ...fields } = doc as Record<string, unknown>;
      await store.live.insert('workers', names[n] as string, doc);
      assert.deepEqual(await store.live.get('workers', names[n] as string), {
        ...fields,
        _id: names[n],
        v: 1,
      });
    }
  });

  onStore('a mark beyond the head, as after a restored log, makes a projector begin anew', async (place) => {
    const store = await place.open();
    for (let n = 1; n <= 5; n++)
      await commit(store, change('rule', 'a', { n }), change('rule', `r${n}`, { n }));
    for (const seq of [1, 2, 3, 4, 5]) await place.edit('revisions', seq, null);
    assert.equal(await store.mark(), 0);
    const first = await commit(store, change('rule', 'a', { restored: true }));
    assert.equal(first.seq, 1);
    assert.equal(await store.mark(), 1);
    assert.deepEqual((await documentsOf(store, 'rule'))[0], ['a', 1, { restored: true }]);
    assert.deepEqual((await documentsOf(store, 'rule'))[5], ['r5', null, { n: 5 }]);
  });

  onStore('a hole that somebody made in the log holds up neither readers nor projectors', async (place) => {
    const store = await place.open();
    let last = NOTHING;
    for (let n = 1; n <= 6; n++) {
      const revision = revisionAfter(last, change('rule', `r${n}`, { n }));
      await store.append(revision);
      if (n <= 2) await store.project(revision);
      last = revision;
    }
    await place.edit('revisions', 4, null);
    const before = await store.since(2);
    assert.deepEqual(before.trimmed ? null : before.revisions.map((each) => each.seq), [3]);
    assert.deepEqual(await store.since(3), { trimmed: true });
    await commit(store, change('rule', 'r7', {}));
    assert.equal(await store.mark(), 7);
    assert.deepEqual(
      (await documentsOf(store, 'rule')).map(([name]) => name),
      ['r1', 'r2', 'r3', 'r5', 'r6', 'r7'],
    );
  });

  onStore('revisions that were mangled by hand are read without their broken parts', async (place) => {
    const store = await place.open();
    const first = await commit(store, change('rule', 'a', {}));
    const changes = [
      change('rule', 'b', { n: 2 }),
      { kind: 'rules', name: 'x', doc: {} },
      null,
      7,
      { kind: 'rule' },
      change('rule', '', {}),
      change('rule', 'x'.repeat(3_000), {}),
    ];
    await place.edit('revisions', 2, { id: 'two', previous: first.id, at: 'noon', changes });
    await place.edit('revisions', 3, { id: { $ne: 1 }, changes: 'none' });
    const since = await store.since(1);
    assert.deepEqual(since.trimmed ? null : since.revisions.map(({ id, at, changes }) => [id, at, changes]), [
      ['two', 0, [change('rule', 'b', { n: 2 })]],
      ['', 0, []],
    ]);
    assert.deepEqual(await store.head(), { seq: 3, id: '' });
  });
}
