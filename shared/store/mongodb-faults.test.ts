/** What only a store behind a network can meet: no server, a restarted or frozen one, connections that break off. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { after, afterEach, test } from 'node:test';
import { Binary, type Document, Long, MinKey, MongoClient, ObjectId } from 'mongodb';
import { startMongo } from '../../test/services/index.ts';
import { silentLog } from '../log.ts';
import { change, commit, documentsOf, NOTHING, revisionAfter } from './conformance-place.ts';
import { openMongodb } from './mongodb.ts';
import { openStore } from './open.ts';
import type { RecordStore, RecordStoreOptions } from './record-store.ts';

const service = await startMongo({ own: true });
const client = new MongoClient(service.url);
const opened: RecordStore[] = [];
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  await client.db().dropDatabase();
});
after(async () => {
  await client.close();
  await service.stop();
});

function open(url = service.url, options: RecordStoreOptions = {}): RecordStore {
  const store = openMongodb(url, options);
  opened.push(store);
  return store;
}

/** `call` until it succeeds; only an unavailable store is forgiven. */
async function eventually<T>(call: () => Promise<T>): Promise<T> {
  for (const end = performance.now() + 15_000; ; ) {
    try {
      return await call();
    } catch (error) {
      const { code } = error as { code?: string };
      if ((code !== 'store_unavailable' && code !== 'outcome_unknown') || performance.now() > end)
        throw error;
    }
  }
}

/** Stands between store and server, and breaks connections off. */
class Breaker {
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#accept(near));
  #cut: {
    readonly word: string;
    readonly when: 'before' | 'after';
    readonly then: () => Promise<unknown>;
  } | null = null;

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const url = new URL(service.url);
    url.port = String((this.#server.address() as { port: number }).port);
    return url.href;
  }

  /**
   * Breaks the connection of the next message that contains `word`: `before` the server sees it, or `after` it has
   * answered, which the store does not see. Meanwhile `then` is done.
   */
  cut(word: string, when: 'before' | 'after', then: () => Promise<unknown> = async () => {}): void {
    this.#cut = { word, when, then };
  }

  get done(): boolean {
    return this.#cut === null;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(near: Socket): void {
    const { port, hostname } = new URL(service.url);
    const far = connect(Number(port), hostname);
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', end);
    }
    let swallow: (() => Promise<unknown>) | null = null;
    near.on('data', (message) => {
      const cut = this.#cut;
      if (cut === null || !message.includes(cut.word)) return far.write(message);
      this.#cut = null;
      if (cut.when === 'before') return cut.then().finally(end);
      swallow = cut.then;
      return far.write(message);
    });
    far.on('data', (message) => {
      if (swallow === null) near.write(message);
      else void swallow().finally(end);
    });
  }
}

async function withBreaker(body: (store: RecordStore, breaker: Breaker) => Promise<void>): Promise<void> {
  const breaker = new Breaker();
  const store = open(await breaker.listen());
  await store.identity();
  try {
    await body(store, breaker);
    assert.ok(breaker.done, 'a connection was broken off');
  } finally {
    breaker.close();
  }
}

test('a store opens without its server, fails while it is away, and works when it comes', async () => {
  await service.kill();
  const store = open(service.url, { callMs: 1_500 });
  await assert.rejects(store.head(), { code: 'store_unavailable' });
  await assert.rejects(store.append(revisionAfter(NOTHING)), (error: { code: string }) =>
    ['store_unavailable', 'outcome_unknown'].includes(error.code),
  );
  assert.equal(store.reachable, false);
  await service.restart();
  assert.deepEqual(await eventually(() => store.head()), NOTHING);
  assert.equal(store.reachable, true);
});

test('calls that fail side by side before the first connection do not keep a store from its server', async () => {
  await service.kill();
  const store = open(service.url, { callMs: 1_500 });
  const calls = await Promise.allSettled(Array.from({ length: 12 }, () => store.head()));
  assert.ok(calls.every(({ status }) => status === 'rejected'));
  await service.restart();
  assert.deepEqual(await eventually(() => store.head()), NOTHING);
});

test('a store survives any number of restarts of its server, and loses nothing it acknowledged', async () => {
  const store = open();
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    const revision = await eventually(() => commit(store, change('rule', 'a', { round })));
    ids.push(revision.id);
    await service.restart();
  }
  const since = await eventually(() => store.since(0));
  const found = since.trimmed ? [] : since.revisions.map(({ id }) => id);
  for (const id of ids) assert.ok(found.includes(id));
});

test('a call that begins while the server restarts waits for it', async () => {
  const store = open();
  await store.identity();
  await service.kill();
  const head = store.head();
  await service.restart();
  assert.deepEqual(await head, NOTHING);
});

test('a frozen server ends no call late, and is used again when it thaws', async () => {
  const store = open(service.url, { callMs: 1_500 });
  await store.live.insert('users', 'a', {});
  process.kill(service.pid, 'SIGSTOP');
  try {
    // Its threads stop one by one.
    while (await store.head().then(Boolean, () => false));
    await assert.rejects(store.head(), { code: 'store_unavailable' });
    await assert.rejects(store.live.put('users', 'a', { n: 1 }), { code: 'store_unavailable' });
    await assert.rejects(store.live.replace('users', 'a', 1, { n: 2 }), { code: 'outcome_unknown' });
  } finally {
    process.kill(service.pid, 'SIGCONT');
  }
  assert.notEqual(await eventually(() => store.live.get('users', 'a')), null);
});

for (const when of ['before', 'after'] as const) {
  test(`a revision whose connection broke off ${when} it was written is there once`, async () => {
    await withBreaker(async (store, breaker) => {
      const revision = revisionAfter(NOTHING, change('rule', 'a', {}));
      breaker.cut(revision.id, when);
      assert.equal(await store.append(revision), 'appended');
      assert.deepEqual(await store.since(0), { trimmed: false, revisions: [revision] });
    });
  });

  test(`a live insert, replace and delete whose connection broke off ${when} they were written are true`, async () => {
    await withBreaker(async (store, breaker) => {
      breaker.cut('insert', when);
      assert.equal(await store.live.insert('claims', 'a', { worker: 1 }), true);
      breaker.cut('update', when);
      assert.equal(await store.live.replace('claims', 'a', 1, { worker: 2 }), true);
      assert.deepEqual(await store.live.get('claims', 'a'), { _id: 'a', v: 2, worker: 2 });
      breaker.cut('delete', when);
      assert.equal(await store.live.delete('claims', 'a'), true);
      assert.equal(await store.live.get('claims', 'a'), null);
    });
  });

  test(`a projection whose connection broke off ${when} it was written is complete`, async () => {
    await withBreaker(async (store, breaker) => {
      const revision = revisionAfter(NOTHING, change('rule', 'a', { n: 1 }), change('rule', 'b', { n: 1 }));
      await store.append(revision);
      breaker.cut('rules', when);
      await store.project(revision);
      assert.deepEqual(await documentsOf(store, 'rule'), [
        ['a', 1, { n: 1 }],
        ['b', 1, { n: 1 }],
      ]);
    });
  });
}

test('a revision that broke off after it was written, and cannot be read back, has an unknown outcome', async () => {
  const breaker = new Breaker();
  const store = open(await breaker.listen(), { callMs: 1_500 });
  await store.identity();
  const revision = revisionAfter(NOTHING, change('rule', 'a', {}));
  try {
    breaker.cut(revision.id, 'after', async () => breaker.cut('find', 'before', async () => breaker.close()));
    await assert.rejects(store.append(revision), { code: 'outcome_unknown' });
    assert.ok(breaker.done, 'both connections were broken off');
  } finally {
    breaker.close();
  }
  assert.equal((await open().head()).id, revision.id);
});

test('a revision that broke off before it was written, while a rival took its number, is taken', async () => {
  await withBreaker(async (store, breaker) => {
    const revision = revisionAfter(NOTHING, change('rule', 'a', {}));
    const rival = revisionAfter(NOTHING, change('rule', 'b', {}));
    breaker.cut(revision.id, 'before', () => open().append(rival));
    assert.equal(await store.append(revision), 'taken');
    assert.equal((await store.head()).id, rival.id);
  });
});

test('a compare-and-set that broke off while a rival wrote the same is not taken for its own', async () => {
  await withBreaker(async (store, breaker) => {
    const rival = open().live;
    breaker.cut('insert', 'before', () => rival.insert('claims', 'a', { worker: 1 }));
    assert.equal(await store.live.insert('claims', 'a', { worker: 1 }), false);
    breaker.cut('update', 'before', () => rival.replace('claims', 'a', 1, { worker: 1 }));
    assert.equal(await store.live.replace('claims', 'a', 1, { worker: 1 }), false);
  });
});

test('a compare-and-set that broke off and was overwritten since says that its outcome is unknown', async () => {
  const unknown = { code: 'outcome_unknown' };
  await withBreaker(async (store, breaker) => {
    const rival = open().live;
    breaker.cut('insert', 'after', () => rival.put('claims', 'a', { worker: 2 }));
    await assert.rejects(store.live.insert('claims', 'a', { worker: 1 }), unknown);
    breaker.cut('update', 'after', () => rival.put('claims', 'a', { worker: 2 }));
    await assert.rejects(store.live.replace('claims', 'a', 2, { worker: 1 }), unknown);
    breaker.cut('delete', 'after');
    await assert.rejects(store.live.delete('claims', 'a', 4), unknown);
  });
});

test('a document larger than a server takes is refused, and the store works on', async () => {
  const store = open();
  await assert.rejects(store.live.put('nodes', 'a', { text: 'x'.repeat(17_000_000) }), { code: 'too_large' });
  await assert.rejects(store.live.put('nodes', 'a', { text: 'x'.repeat(60_000_000) }), { code: 'too_large' });
  // Small as JSON, large as BSON: it could be appended in parts, but not projected.
  const numbers = change('rule', 'a', { numbers: Array.from({ length: 1_500_000 }, () => 1) });
  await assert.rejects(commit(store, numbers), { code: 'too_large', message: /rule a/ });
  assert.deepEqual(await store.head(), NOTHING);
  await store.live.put('nodes', 'a', { text: 'x' });
  assert.equal((await store.live.get('nodes', 'a'))?.['text'], 'x');
});

test('documents of any type, with any id, load as plain JSON', async () => {
  const store = open();
  const id = new ObjectId();
  const rules = client.db().collection<{ _id: unknown }>('rules');
  await rules.insertMany([
    {
      _id: 'odd',
      when: new Date(0),
      big: 2 ** 40,
      id,
      expression: /a+/i,
      bytes: Buffer.from('abc'),
      nan: Number.NaN,
    },
    { _id: id, name: 'a' },
    { _id: 7, name: 'seven' },
    { _id: { $oid: 'x' }, name: 'object' },
  ] as Document[] as { _id: never }[]);
  const documents = new Map((await store.load('rule')).documents.map((each) => [each.name, each]));
  assert.deepEqual([...documents.keys()].sort(), ['7', id.toHexString(), 'odd', '{"$oid":"x"}'].sort());
  const { doc, rev } = documents.get('odd') ?? assert.fail();
  assert.equal(rev, null);
  assert.deepEqual(JSON.parse(JSON.stringify(doc)), doc);
  assert.deepEqual(
    [doc['when'], doc['big'], doc['id'], doc['nan']],
    ['1970-01-01T00:00:00.000Z', 2 ** 40, id.toHexString(), 'NaN'],
  );
});

test('a document whose rev was set by hand to anything gives way to a revision', async () => {
  const store = open();
  const odd = [
    /a/,
    new Date(),
    Number.NaN,
    Long.MAX_VALUE,
    new Binary(Buffer.from('a')),
    new MinKey(),
    [[1]],
    { $ne: 1 },
  ];
  const rules = client.db().collection<{ _id: string }>('rules');
  for (const [n, rev] of odd.entries())
    await rules.insertOne({ _id: `r${n}`, rev } as Document as { _id: string });
  await commit(store, ...odd.map((_, n) => change('rule', `r${n}`, { n })));
  assert.deepEqual(
    await documentsOf(store, 'rule'),
    odd.map((_, n) => [`r${n}`, 1, { n }]),
  );
});

test('ids in the log that are no numbers are passed over', async () => {
  const store = open();
  await commit(store, change('rule', 'a', {}));
  const revisions = client.db().collection<{ _id: unknown }>('revisions');
  await revisions.insertMany([{ _id: 'x' }, { _id: 1.5 }, { _id: new ObjectId() }, { _id: -3 }] as {
    _id: never;
  }[]);
  assert.equal((await store.head()).seq, 1);
  assert.equal((await commit(store, change('rule', 'b', {}))).seq, 2);
  const since = await store.since(0);
  assert.deepEqual(since.trimmed ? null : since.revisions.map(({ seq }) => seq), [1, 2]);
});

test('the database is the one that the URL names, else kontrol', async () => {
  const url = new URL(service.url);
  const name = `${url.pathname.slice(1)}_other`;
  const named = open(`${url.origin === 'null' ? `mongodb://${url.host}` : url.origin}/${name}?appName=x`);
  await named.live.insert('users', 'a', {});
  assert.equal(await client.db(name).collection('users').countDocuments(), 1);
  await client.db(name).dropDatabase();
});

test('no message shows the credentials of the URL', async () => {
  const secret = 'pa55%20word';
  const shows = (error: Error): boolean =>
    /pa55|alice/.test(`${error.message}${(error as Error).cause ?? ''}`);
  for (const url of [
    `mongodb://alice:${secret}@host:notaport/db`,
    `mongo://alice:${secret}@host`,
    `alice:${secret}@host`,
  ]) {
    await assert.rejects(
      async () => openStore({ mongoUrl: url, data: '' }, silentLog),
      (error: Error & { code: string }) => error.code === 'cannot_start' && !shows(error),
    );
  }
  const url = new URL(service.url);
  const store = open(`mongodb://alice:${secret}@${url.host}/db`, { callMs: 1_000 });
  await assert.rejects(store.head(), (error: Error & { code: string }) => {
    return error.code === 'store_unavailable' && !shows(error);
  });
});
