import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { Revision } from '../../shared/model/revision.ts';
import type { Store } from '../../shared/store/contract.ts';
import { openStore } from '../../shared/store/open.ts';
import { Confirmations } from './confirmations.ts';
import { Present } from './present.ts';
import { type Intent, Writer } from './writer.ts';

let folder: string;
let real: Store;
let clock: ManualClock;
let hints: number[];
let closers: (() => void)[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kontrol-writer-'));
  real = await openStore({ mongoUrl: null, data: folder }, silentLog);
  clock = new ManualClock();
  hints = [];
  closers = [];
});
afterEach(async () => {
  for (const close of closers) close();
  await real.close();
  await rm(folder, { recursive: true, force: true });
});

/** A writer on the real store, some of whose calls a test replaces. */
function writerOn(replaced: Partial<Store> = {}) {
  const store = new Proxy(real, {
    get: (target, name) => {
      const value = Reflect.get(replaced, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const bus = { publish: (_: string, { seq }: { seq: number }) => hints.push(seq) } as unknown as Bus;
  const present = new Present(store, silentLog);
  const confirmations = new Confirmations(store.live, clock);
  const writer = new Writer({ store, bus, present, clock, log: silentLog, rules: () => ({}), confirmations });
  closers.push(() => writer.close());
  return { writer, present };
}

function put(name: string, doc: object = {}, more: Partial<Intent> = {}): Intent {
  const changes = [{ kind: 'page' as const, name, doc: { name, ...doc } }];
  return { author: 'test', message: '', decide: () => changes, ...more };
}

async function log(): Promise<readonly Revision[]> {
  const since = await real.since(0);
  return since.trimmed ? [] : since.revisions;
}

/** A call that never answers, and when it was made. */
function hanging() {
  let tell: () => void = () => {};
  const reached = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const call = () => {
    // In the next turn: whatever waits for the clock beside this call has asked for it by then.
    setImmediate(tell);
    return new Promise<never>(() => {});
  };
  return { reached, call };
}

test('each change is one revision that names its predecessor, projected and hinted', async () => {
  const { writer } = writerOn();
  const outcomes = await Promise.all(['a', 'b', 'c'].map((name) => writer.submit(put(name))));
  assert.deepEqual(
    outcomes.map(({ seq }) => seq),
    [1, 2, 3],
  );
  const revisions = await log();
  assert.deepEqual(
    revisions.map(({ previous }) => previous),
    ['', revisions[0]?.id, revisions[1]?.id],
  );
  assert.deepEqual(hints, [1, 2, 3]);
  assert.equal(await real.mark(), 3);
});

test('who loses a number to another process decides again against what that one wrote', async () => {
  const rival = writerOn();
  let interfere = true;
  const { writer } = writerOn({
    async append(revision) {
      if (interfere) {
        interfere = false;
        await rival.writer.submit(put('a', { labels: { by: 'rival' } }));
      }
      return real.append(revision);
    },
  });
  const seen: unknown[] = [];
  const outcome = await writer.submit({
    ...put('a', { labels: { by: 'us' } }),
    decide(view) {
      seen.push(view.get('page', 'a')?.doc.labels);
      return [{ kind: 'page', name: 'a', doc: { name: 'a', labels: { by: 'us' } } }];
    },
  });
  assert.equal(outcome.seq, 2);
  assert.deepEqual(seen, [undefined, { by: 'rival' }]);
  assert.equal((await log()).length, 2);
});

test('a decision that is refused after losing a number writes nothing', async () => {
  const rival = writerOn();
  let rounds = 0;
  const { writer } = writerOn({
    async append(revision) {
      await rival.writer.submit(put('a', { labels: { round: String(rounds++) } }));
      return real.append(revision);
    },
  });
  const rejected = writer.submit({
    ...put('b'),
    decide(view) {
      if (view.get('page', 'a') !== undefined) throw new KontrolError('precondition_failed');
      return [{ kind: 'page', name: 'b', doc: { name: 'b' } }];
    },
  });
  await assert.rejects(rejected, { code: 'precondition_failed' });
  assert.deepEqual(
    (await log()).map(({ changes }) => changes[0]?.name),
    ['a'],
  );
});

test('a state that moves on while a change is decided is decided against again', async () => {
  const rival = writerOn();
  const { writer, present } = writerOn();
  await writer.submit(put('a'));
  let rounds = 0;
  const rejected = writer.submit({
    ...put('b'),
    async decide(view) {
      if (view.get('page', 'rival') !== undefined) throw new KontrolError('precondition_failed');
      rounds++;
      await rival.writer.submit(put('rival'));
      await present.catchUp();
      return [{ kind: 'page', name: 'b', doc: { name: 'b' } }];
    },
  });
  await assert.rejects(rejected, { code: 'precondition_failed' });
  assert.equal(rounds, 1);
  assert.equal((await log()).length, 2);
});

test('a refusal, or nothing to do, is told only about the newest state', async () => {
  const rival = writerOn();
  const { writer, present } = writerOn();
  await writer.submit(put('a', { labels: { by: 'us' } }));
  await rival.writer.submit(put('a', { labels: { by: 'rival' } }));
  assert.equal(present.seq, 1, 'this process has not heard of it');
  const back = await writer.submit(put('a', { labels: { by: 'us' } }));
  assert.deepEqual([back.seq, back.written], [3, true]);
  await rival.writer.submit(put('c'));
  const found = await writer.submit({
    ...put('d'),
    decide(view) {
      if (view.get('page', 'c') === undefined) throw new KontrolError('not_found');
      return [];
    },
  });
  assert.equal(found.seq, 4);
});

test('a change that changes nothing, and a dry run, write nothing', async () => {
  const { writer } = writerOn();
  await writer.submit(put('a', { labels: { x: '1' } }));
  const same = await writer.submit(put('a', { labels: { x: '1' } }));
  assert.deepEqual([same.seq, same.written, same.changes], [1, false, []]);
  const dry = await writer.submit(put('b'), true);
  assert.deepEqual([dry.seq, dry.written], [1, false]);
  assert.deepEqual(
    dry.differences().map(({ change }) => change),
    ['create'],
  );
  assert.equal((await log()).length, 1);
  assert.deepEqual(hints, [1]);
});

test('a store that cannot be read refuses everyone who waits, and the next change tries again', async () => {
  let away = true;
  let reads = 0;
  const { writer } = writerOn({
    head() {
      reads++;
      return away ? Promise.reject(new KontrolError('store_unavailable')) : real.head();
    },
  });
  const results = await Promise.allSettled(['a', 'b', 'c'].map((name) => writer.submit(put(name))));
  for (const result of results) {
    assert.equal(result.status, 'rejected');
    assert.equal(((result as PromiseRejectedResult).reason as KontrolError).code, 'store_unavailable');
  }
  assert.equal(reads, 1, 'one look is enough for all of them');
  away = false;
  assert.equal((await writer.submit(put('a'))).seq, 1);
});

test('a store that hangs while reading is store_unavailable after the deadline: nothing was written', async () => {
  const { call, reached } = hanging();
  const { writer } = writerOn({ identity: call });
  const waiting = Promise.allSettled([writer.submit(put('a')), writer.submit(put('b'))]);
  await reached;
  clock.advance(4_700);
  for (const result of await waiting) {
    assert.equal(((result as PromiseRejectedResult).reason as KontrolError).code, 'store_unavailable');
  }
});

test('a store that hangs while writing is outcome_unknown for that change, store_unavailable for those behind', async () => {
  const { call, reached } = hanging();
  const { writer } = writerOn({ append: call });
  const waiting = Promise.allSettled([writer.submit(put('a')), writer.submit(put('b'))]);
  await reached;
  clock.advance(4_700);
  const codes = (await waiting).map(
    (result) => ((result as PromiseRejectedResult).reason as KontrolError).code,
  );
  assert.deepEqual(codes, ['outcome_unknown', 'store_unavailable']);
});

test('a change of thousands of objects may take as much longer', async () => {
  const { call, reached } = hanging();
  const { writer } = writerOn({ append: call });
  let told = '';
  const waiting = writer.submit({ ...put('a'), objects: 10_001 }).catch((error: KontrolError) => {
    told = error.code;
  });
  await reached;
  clock.advance(34_699);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(told, '');
  clock.advance(1);
  await waiting;
  assert.equal(told, 'outcome_unknown');
});

test('a projection that fails or hangs holds up no answer for long, and is made up for', async () => {
  let failing = true;
  const { writer } = writerOn({
    project: (revision) =>
      failing ? Promise.reject(new KontrolError('store_unavailable')) : real.project(revision),
  });
  assert.equal((await writer.submit(put('a'))).seq, 1);
  assert.equal(await real.mark(), 0);
  failing = false;
  clock.advance(500);
  while ((await real.mark()) < 1) await new Promise(setImmediate);

  const { call, reached } = hanging();
  const slow = writerOn({ project: call }).writer.submit(put('b'));
  await reached;
  clock.advance(300);
  assert.equal((await slow).seq, 2);
});

test('a queue that is full refuses at once', async () => {
  const { writer } = writerOn({ identity: hanging().call });
  const waiting = Array.from({ length: 2_002 }, (_, index) => writer.submit(put(`p${index}`)));
  for (const each of waiting) each.catch(() => {});
  await assert.rejects(waiting.at(-1) as Promise<unknown>, { code: 'store_unavailable' });
});

test('a closed writer refuses what waits and what comes', async () => {
  const { writer } = writerOn({ identity: hanging().call });
  const waiting = writer.submit(put('a'));
  writer.close();
  writer.close();
  await assert.rejects(waiting, { code: 'store_unavailable' });
  await assert.rejects(writer.submit(put('b')), { code: 'store_unavailable' });
});
