/** Random histories on both adapters: whatever one answers, the other does too. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { MongoClient } from 'mongodb';
import { startMongo } from '../../test/services/index.ts';
import { ManualClock } from '../clock.ts';
import type { KontrolError } from '../errors.ts';
import { silentLog } from '../log.ts';
import { KINDS } from '../model/kinds.ts';
import type { Revision } from '../model/revision.ts';
import { change } from './conformance-place.ts';
import type { Store } from './contract.ts';
import { openEmbedded } from './embedded.ts';
import { Follower } from './follower.ts';
import { openMongodb } from './mongodb.ts';

const service = await startMongo();
const client = new MongoClient(service.url);
after(async () => {
  await client.close();
  await service.stop();
});

const name = fc.constantFrom('a', 'b', 'é', '$x', 'a.b', '~^x', '__proto__');
const doc = fc.option(
  fc.dictionary(fc.constantFrom('n', '$m', 'rev', 'a.b'), fc.integer({ min: 0, max: 3 })),
);
const kind = fc.constantFrom('rule' as const, 'domain' as const, 'settings' as const);
const changes = fc.array(
  fc.tuple(kind, name, doc).map(([of, named, value]) => change(of, named, value)),
  { maxLength: 4 },
);
const offset = fc.integer({ min: -3, max: 1 });
const version = fc.integer({ min: 0, max: 4 });
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('append' as const), changes, project: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('stale' as const), changes, offset }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('project' as const), offset }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('trim' as const), offset, wait: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('since' as const), offset }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('insert' as const), name, doc }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('replace' as const), name, version, doc }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('put' as const), name, doc }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('delete' as const), name, version: fc.option(version) }),
  },
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** Runs a history; the answers, and all that is there at its end. */
async function play(
  open: (clock: ManualClock) => Promise<Store>,
  history: readonly Operation[],
): Promise<unknown[]> {
  const clock = new ManualClock();
  const store = await open(clock);
  const follower = new Follower(store);
  const written: Revision[] = [];
  const answers: unknown[] = [];
  try {
    for (const [step, each] of history.entries()) {
      answers.push(
        await answer(store, clock, written, each, step).catch((error: KontrolError) => error.code),
      );
      if (step % 5 === 0) await follower.catchUp();
    }
    await follower.catchUp();
    for (const of of KINDS) answers.push(await store.load(of));
    answers.push(await store.head(), await store.mark(), await store.live.list('members'));
    answers.push(follower.seq, follower.id, follower.hash);
    const fresh = new Follower(store);
    await fresh.catchUp();
    assert.deepEqual([fresh.seq, fresh.id, fresh.hash], [follower.seq, follower.id, follower.hash]);
  } finally {
    await store.close();
  }
  return answers;
}

async function answer(
  store: Store,
  clock: ManualClock,
  written: Revision[],
  each: Operation,
  step: number,
): Promise<unknown> {
  const revision = (seq: number): Revision => {
    const previous = written[seq - 2]?.id ?? '';
    return { seq, id: `id-${step}`, previous, store: 's', at: step, author: '', message: '', changes: [] };
  };
  switch (each.do) {
    case 'append': {
      const next = { ...revision(written.length + 1), changes: each.changes };
      const result = await store.append(next);
      if (result === 'appended') written.push(next);
      if (each.project) await store.project(next);
      return result;
    }
    case 'stale':
      return store.append({
        ...revision(Math.max(1, written.length + each.offset)),
        id: 'stale',
        previous: 'x',
      });
    case 'project': {
      const found = written[written.length - 1 + each.offset];
      return found && store.project(found);
    }
    case 'trim':
      if (each.wait) clock.advance(60_000);
      return store.trim(Math.max(0, written.length + each.offset));
    case 'since':
      return store.since(Math.max(0, written.length + each.offset));
    case 'insert':
      return store.live.insert('members', each.name, each.doc ?? {});
    case 'replace':
      return store.live.replace('members', each.name, each.version, each.doc ?? {});
    case 'put':
      return store.live.put('members', each.name, each.doc ?? {});
    case 'delete':
      return store.live.delete('members', each.name, each.version ?? undefined);
  }
}

test('the embedded store and MongoDB answer every history alike', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 10, maxLength: 40 }), async (history) => {
      const folder = await mkdtemp(join(tmpdir(), 'kontrol-store-'));
      const url = new URL(service.url);
      url.pathname = `${url.pathname}_${runs++}`;
      try {
        const embedded = await play((clock) => openEmbedded(folder, silentLog, { clock }), history);
        const mongodb = await play(async (clock) => openMongodb(url.href, { clock }), history);
        assert.deepEqual(mongodb, embedded);
      } finally {
        await client.db(url.pathname.slice(1)).dropDatabase();
        await rm(folder, { recursive: true, force: true });
      }
    }),
    { numRuns: 25 },
  );
});
