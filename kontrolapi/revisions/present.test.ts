import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { Store } from '../../shared/store/contract.ts';
import { openStore } from '../../shared/store/open.ts';
import { Present } from './present.ts';

let folder: string;
let store: Store;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kontrol-present-'));
  store = await openStore({ mongoUrl: null, data: folder }, silentLog);
});
after(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

async function append(name: string, doc: object | null): Promise<void> {
  const { seq, id } = await store.head();
  const changes = [{ kind: 'page' as const, name, doc: doc === null ? null : { name, ...doc } }];
  const revision = {
    seq: seq + 1,
    id: `id${seq + 1}`,
    previous: id,
    at: 0,
    author: 'test',
    message: '',
    changes,
  };
  assert.equal(await store.append({ ...revision, store: await store.identity() }), 'appended');
}

/** The store, with one call replaced. */
function storeWith(replaced: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => {
      const value = Reflect.get(replaced, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

test('a read sees what another process wrote, without having been told', async () => {
  const present = new Present(store, silentLog);
  const clock = new ManualClock();
  await append('a', { labels: { n: '1' } });
  assert.deepEqual((await present.fresh(clock)).get('page', 'a')?.doc.labels, { n: '1' });
  await append('a', { labels: { n: '2' } });
  assert.deepEqual((await present.fresh(clock)).get('page', 'a')?.doc.labels, { n: '2' });
  await append('a', null);
  assert.equal((await present.fresh(clock)).get('page', 'a'), undefined);
  assert.equal(present.reloads, 1);
});

test('a read that came while another was on its way sees what was written in between', async () => {
  const present = new Present(store, silentLog);
  await present.catchUp();
  const first = present.catchUp();
  await append('b', {});
  await Promise.all([first, present.catchUp()]);
  assert.notEqual(present.state.get('page', 'b'), undefined);
});

test('what this process appended is known at once, and read only once', async () => {
  const present = new Present(store, silentLog);
  await present.catchUp();
  const { seq, id, store: identity } = present.head();
  const changes = [{ kind: 'page' as const, name: 'own', doc: { name: 'own' } }];
  const own = {
    seq: seq + 1,
    id: 'own',
    previous: id,
    store: identity,
    at: 0,
    author: '',
    message: '',
    changes,
  };
  await store.append(own);
  present.appended(own);
  assert.equal(present.state.get('page', 'own')?.rev, seq + 1);
  present.appended(own);
  await append('after', {});
  await present.catchUp();
  assert.equal(present.seq, seq + 2);
  assert.notEqual(present.state.get('page', 'after'), undefined);
  assert.equal(present.reloads, 1);
});

test('the hash is of the newest revision known, whether it was read or appended here', async () => {
  const [writing, reading] = [new Present(store, silentLog), new Present(store, silentLog)];
  await writing.catchUp();
  const { seq, id, store: identity } = writing.head();
  const changes = [{ kind: 'page' as const, name: 'hashed', doc: { name: 'hashed' } }];
  const own = { seq: seq + 1, id: 'hashed', previous: id, store: identity, at: 0, author: '', message: '' };
  await store.append({ ...own, changes });
  const before = writing.hash;
  writing.appended({ ...own, changes });
  await reading.catchUp();
  assert.notEqual(writing.hash, before);
  assert.deepEqual([writing.seq, writing.hash], [reading.seq, reading.hash]);
});

test('a store that was restored to before what this process knows is read afresh', async () => {
  let restored = false;
  const head = await store.head();
  const present = new Present(
    storeWith({ head: () => (restored ? Promise.resolve(head) : store.head()) }),
    silentLog,
  );
  await present.catchUp();
  const { seq, id, store: identity } = present.head();
  const changes = [{ kind: 'page' as const, name: 'lost', doc: { name: 'lost' } }];
  // Acknowledged, but the node of the database that had it is gone.
  present.appended({
    seq: seq + 1,
    id: 'lost',
    previous: id,
    store: identity,
    at: 0,
    author: '',
    message: '',
    changes,
  });
  assert.equal(present.seq, seq + 1);
  restored = true;
  await present.catchUp();
  assert.deepEqual([present.seq, present.state.get('page', 'lost')], [seq, undefined]);
});

test('what was appended while the store was read is not undone by what was read', async () => {
  let release: () => void = () => {};
  const asked = new Promise<void>((resolve) => {
    release = resolve;
  });
  let slow = false;
  const earlier = await store.head();
  const present = new Present(
    storeWith({
      since: (seq) => store.since(seq, 1),
      async head() {
        if (!slow) return store.head();
        await asked;
        const { seq } = earlier;
        const since = await store.since(seq, 1);
        const first = since.trimmed ? undefined : since.revisions[0];
        return { seq: seq + 1, id: first?.id ?? '' };
      },
    }),
    silentLog,
  );
  await present.catchUp();
  slow = true;
  const reading = present.catchUp();
  for (const n of ['1', '2']) {
    const { seq, id, store: identity } = present.head();
    const changes = [{ kind: 'page' as const, name: 'twice', doc: { name: 'twice', n } }];
    const own = {
      seq: seq + 1,
      id: `own${n}`,
      previous: id,
      store: identity,
      at: 0,
      author: '',
      message: '',
      changes,
    };
    await store.append(own);
    present.appended(own);
  }
  release();
  await reading;
  assert.equal(present.state.get('page', 'twice')?.doc.n, '2');
  assert.equal(present.seq, earlier.seq + 2);
});

test('a number that was acknowledged here and taken there (a failover) is what it is there', async () => {
  const present = new Present(store, silentLog);
  await present.catchUp();
  const { seq, id, store: identity } = present.head();
  const changes = [{ kind: 'page' as const, name: 'rolled-back', doc: { name: 'rolled-back' } }];
  present.appended({
    seq: seq + 1,
    id: 'ours',
    previous: id,
    store: identity,
    at: 0,
    author: '',
    message: '',
    changes,
  });
  await append('theirs', {});
  await present.catchUp();
  assert.equal(present.state.get('page', 'rolled-back'), undefined);
  assert.equal(present.state.get('page', 'theirs')?.rev, seq + 1);
});

test('nothing read yet is store_unavailable, something read is remembered while the store hangs', async () => {
  const clock = new ManualClock();
  const away = new Present(
    storeWith({ head: () => Promise.reject(new KontrolError('store_unavailable')) }),
    silentLog,
  );
  await assert.rejects(away.fresh(clock), { code: 'store_unavailable' });

  let hangs = false;
  const head = () => (hangs ? new Promise<never>(() => {}) : store.head());
  const present = new Present(storeWith({ head }), silentLog);
  await present.catchUp();
  hangs = true;
  const read = present.fresh(clock);
  clock.advance(500);
  assert.notEqual((await read).get('page', 'b'), undefined);
});
