/** Conformance: live documents, one by one and by compare-and-set. */
import assert from 'node:assert/strict';
import type { OnStore } from './conformance-place.ts';

export function liveConformance(onStore: OnStore): void {
  onStore('a live document is inserted once', async (place) => {
    const stores = await Promise.all([place.open(), place.open(), place.open()]);
    const claims = stores.flatMap((store, n) =>
      Array.from({ length: 5 }, (_, m) => store.live.insert('claims', 'shop/one/1', { worker: n * 10 + m })),
    );
    const results = await Promise.all(claims);
    assert.equal(results.filter((won) => won).length, 1);
    const winner = results.indexOf(true);
    const expected = { _id: 'shop/one/1', v: 1, worker: Math.floor(winner / 5) * 10 + (winner % 5) };
    for (const store of stores) assert.deepEqual(await store.live.get('claims', 'shop/one/1'), expected);
    assert.equal(await stores[0].live.get('claims', 'shop/one/2'), null);
    assert.equal(await stores[0].live.get('members', 'shop/one/1'), null);
  });

  onStore(
    'replace compares v, sets the next one, and writes nothing else than what it is given',
    async (place) => {
      const { live } = await place.open();
      await live.insert('members', 'shop', { current: 1, old: true });
      assert.equal(await live.replace('members', 'shop', 2, { current: 9 }), false);
      assert.equal(await live.replace('members', 'shop', 1, { current: 2 }), true);
      assert.equal(await live.replace('members', 'shop', 1, { current: 3 }), false);
      assert.deepEqual(await live.get('members', 'shop'), { _id: 'shop', v: 2, current: 2 });
      assert.equal(await live.replace('members', 'gone', 1, {}), false);
      assert.equal(await live.replace('members', 'gone', 0, {}), false);
      const read = await live.get('members', 'shop');
      assert.ok(read);
      assert.equal(await live.replace('members', 'shop', read.v, { ...read, current: 4 }), true);
      assert.deepEqual(await live.get('members', 'shop'), { _id: 'shop', v: 3, current: 4 });
    },
  );

  onStore('no increment by compare-and-set is lost among racing openers', async (place) => {
    const stores = await Promise.all([place.open(), place.open(), place.open(), place.open()]);
    await stores[0].live.insert('counters', 'n', { count: 0 });
    await Promise.all(
      stores.map(async ({ live }) => {
        for (let done = 0; done < 15; ) {
          const read = await live.get('counters', 'n');
          if (read === null) throw new Error('the counter is gone');
          if (await live.replace('counters', 'n', read.v, { count: (read['count'] as number) + 1 })) done++;
        }
      }),
    );
    assert.deepEqual(await stores[0].live.get('counters', 'n'), { _id: 'n', v: 61, count: 60 });
  });

  onStore('put writes whether or not the document is there, and advances v', async (place) => {
    const { live } = await place.open();
    await live.put('nodes', 'one', { beat: 1 });
    await live.put('nodes', 'one', { beat: 2 });
    assert.deepEqual(await live.get('nodes', 'one'), { _id: 'one', v: 2, beat: 2 });
    await Promise.all(Array.from({ length: 10 }, (_, beat) => live.put('nodes', 'one', { beat })));
    assert.equal((await live.get('nodes', 'one'))?.v, 12);
  });

  onStore('delete says whether it was there, and compares v if it is given', async (place) => {
    const { live } = await place.open();
    await live.insert('workers', 'w', {});
    assert.equal(await live.delete('workers', 'w', 2), false);
    assert.equal(await live.delete('workers', 'w', 1), true);
    assert.equal(await live.delete('workers', 'w', 1), false);
    assert.equal(await live.delete('workers', 'w'), false);
    await live.insert('workers', 'w', {});
    assert.equal(await live.delete('workers', 'w'), true);
    assert.equal(await live.get('workers', 'w'), null);
  });

  onStore(
    'list gives the documents of a prefix in order of id, and of no other collection',
    async (place) => {
      const { live } = await place.open();
      const ids = [
        'shop/one/2',
        'shop/one/1',
        'shop',
        'shop2',
        'shop/\u{1f600}',
        'sho',
        'a',
        'é',
        'shop/~',
        'SHOP/one',
      ];
      for (const id of ids) await live.insert('claims', id, { id });
      await live.insert('workers', 'shop/one/3', {});
      const names = async (prefix?: string) => (await live.list('claims', prefix)).map((each) => each._id);
      assert.deepEqual(await names('shop/'), ['shop/one/1', 'shop/one/2', 'shop/~', 'shop/\u{1f600}']);
      assert.deepEqual(await names('shop'), ['shop', ...(await names('shop/')), 'shop2']);
      assert.equal((await names()).length, ids.length);
      assert.deepEqual(await names('none'), []);
      assert.deepEqual(await live.list('sessions'), []);
    },
  );

  onStore(
    'a live document that was written by hand shows v 0 and can be replaced from there',
    async (place) => {
      const { live } = await place.open();
      await place.edit('counters', 'membership', { n: 5 });
      assert.deepEqual(await live.get('counters', 'membership'), { _id: 'membership', v: 0, n: 5 });
      assert.equal(await live.replace('counters', 'membership', 0, { n: 6 }), true);
      assert.deepEqual(await live.get('counters', 'membership'), { _id: 'membership', v: 1, n: 6 });
      await place.edit('counters', 'other', { v: 'x' });
      await live.put('counters', 'other', { n: 1 });
      assert.deepEqual(await live.get('counters', 'other'), { _id: 'other', v: 1, n: 1 });
    },
  );

  onStore('ids, versions and collections of another type are refused, never passed on', async (place) => {
    const { live } = await place.open();
    await live.insert('tokens', 'secret', { role: 'admin' });
    const operator = { $ne: 1 } as unknown as string & number;
    const wrong = { code: 'invalid' };
    for (const id of [
      operator,
      '',
      null as unknown as string,
      7 as unknown as string,
      ['secret'] as unknown as string,
    ]) {
      await assert.rejects(async () => live.get('tokens', id), wrong);
      await assert.rejects(async () => live.insert('tokens', id, {}), wrong);
      await assert.rejects(async () => live.put('tokens', id, {}), wrong);
      await assert.rejects(async () => live.replace('tokens', id, 1, {}), wrong);
      await assert.rejects(async () => live.delete('tokens', id), wrong);
    }
    await assert.rejects(async () => live.list('tokens', operator), wrong);
    await assert.rejects(async () => live.replace('tokens', 'secret', operator, {}), wrong);
    await assert.rejects(async () => live.delete('tokens', 'secret', operator), wrong);
    await assert.rejects(async () => live.get('revisions' as 'tokens', 'secret'), wrong);
    assert.deepEqual(await live.list('tokens'), [{ _id: 'secret', v: 1, role: 'admin' }]);
  });
}
