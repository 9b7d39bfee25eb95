/** Members on a real embedded store: races between processes, outages, and documents that a hand has edited. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { Member } from '../../shared/model/live.ts';
import type { LiveStore, Store } from '../../shared/store/contract.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import { type Draft, join, leave, report } from './edits.ts';
import { Membership } from './membership.ts';

const RACER = fileURLToPath(new URL('./membership-racer.js', import.meta.url));

/** A store of the test's own, whose calls can be made to fail. */
async function world(t: TestContext) {
  const folder = await mkdtemp(joinPath(tmpdir(), 'kontrol-members-'));
  const store = await openEmbedded(joinPath(folder, 'store'), silentLog);
  t.after(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  const failing = new Set<string>();
  const calls: string[] = [];
  const live = new Proxy(store.live, {
    get(target, method: keyof LiveStore & string) {
      return (collection: string, ...rest: unknown[]) => {
        calls.push(`${method} ${collection}`);
        if (failing.has(`${method} ${collection}`)) return Promise.reject(new Error('away'));
        return (target[method] as (...given: unknown[]) => unknown).call(target, collection, ...rest);
      };
    },
  });
  const hints: unknown[] = [];
  const bus = { publish: (_channel: string, hint: unknown) => hints.push(hint) } as unknown as Bus;
  const clock = new ManualClock();
  const open = () => new Membership({ live } as unknown as Store, bus, clock);
  return { folder, store, failing, calls, hints, clock, open };
}

let number = 0;
function member(over: Partial<Member> = {}): Member {
  number++;
  const more = { weight: 1, state: 'ready', since: number, name: '', mode: 'many', version: '' } as const;
  return { worker: `w${number}`, key: 1, address: `10.0.0.1:${3_000 + number}`, ...more, ...over };
}
const workers = (membership: Membership) => membership.peek('shop').backends.map((one) => one.worker);

test('changes that come together are one write, and each gets its own result', async (t) => {
  const { open, calls, hints } = await world(t);
  const membership = open();
  const [first, second] = [member({ mode: 'one' }), member({ mode: 'one' })];
  const results = await Promise.all([
    membership.change('shop', (draft) => join(draft, first)),
    membership.change('shop', (draft) => join(draft, second)),
    membership
      .change('shop', () => {
        throw new Error('refused');
      })
      .catch((error: Error) => error.message),
    membership.change('shop', (draft) => report(draft, first.worker, 'ready')),
  ]);
  assert.deepEqual(results, ['run', 'wait', 'refused', true]);
  assert.ok(calls.filter((call) => /(insert|replace) members/.test(call)).length <= 2);
  assert.deepEqual(hints[0], { members: 'shop' });
});

test('two processes that remember old members overwrite nothing of each other', async (t) => {
  const { open } = await world(t);
  const [here, there] = [open(), open()];
  const members = Array.from({ length: 20 }, () => member());
  await here.change('shop', (draft) => join(draft, members[0] as Member));
  await there.change('shop', (draft) => join(draft, members[1] as Member));
  await Promise.all(
    members.slice(2).map((each, index) => (index % 2 ? here : there).change('shop', (d) => join(d, each))),
  );
  await here.refresh();
  assert.deepEqual(workers(here).sort(), members.map((each) => each.worker).sort());
});

test('that nothing is to be done is never believed of old memory', async (t) => {
  const { open } = await world(t);
  const [here, there] = [open(), open()];
  const one = member();
  await here.change('shop', (draft) => join(draft, member({ worker: 'first' })));
  await there.change('shop', (draft) => join(draft, one));
  await here.change('shop', (draft) => leave(draft, new Set([one.worker])));
  await there.refresh();
  assert.deepEqual(workers(there), ['first']);
});

test('members that were written stand though the counter could not be moved; it is moved later', async (t) => {
  const { open, failing, store, hints } = await world(t);
  const membership = open();
  failing.add('get counters');
  assert.equal(await membership.change('shop', (draft) => join(draft, member())), 'run');
  assert.equal(hints.length, 1);
  await assert.rejects(membership.refresh());
  assert.equal(await store.live.get('counters', 'membership'), null);
  failing.clear();
  await membership.refresh();
  assert.equal((await store.live.get('counters', 'membership'))?.v, 1);
});

test('a store that is away fails the change and nothing else; the next one works', async (t) => {
  const { open, failing } = await world(t);
  const membership = open();
  await membership.change('shop', (draft) => join(draft, member()));
  failing.add('replace members');
  await assert.rejects(membership.change('shop', (draft) => join(draft, member())));
  failing.clear();
  assert.equal(workers(membership).length, 1);
  await membership.change('shop', (draft) => join(draft, member()));
  assert.equal(workers(membership).length, 2);
});

test('all documents are read when the counter moved, and every twenty seconds', async (t) => {
  const { open, calls, store, clock } = await world(t);
  const [here, there] = [open(), open()];
  const lists = () => calls.filter((call) => call === 'list members').length;
  await here.refresh();
  await here.refresh();
  assert.equal(lists(), 1);
  await there.change('shop', (draft) => join(draft, member()));
  await here.refresh();
  assert.deepEqual([lists(), workers(here).length], [2, 1]);
  // A process that died between the document and the counter.
  await store.live.replace('members', 'shop', 1, { current: null, backends: [] });
  await here.refresh();
  assert.deepEqual([lists(), workers(here).length], [2, 1]);
  clock.advance(20_000);
  await here.refresh();
  assert.deepEqual([lists(), workers(here).length], [3, 0]);
});

test('a document that was removed by hand and made anew is followed, though its number is smaller', async (t) => {
  const { open, store, clock } = await world(t);
  const membership = open();
  for (let turn = 0; turn < 3; turn++) await membership.change('shop', (draft) => join(draft, member()));
  await store.live.delete('members', 'shop');
  await store.live.insert('members', 'shop', { current: null, backends: [member({ worker: 'hand' })] });
  clock.advance(20_000);
  await membership.refresh();
  assert.deepEqual(workers(membership), ['hand']);
  await store.live.delete('members', 'shop');
  clock.advance(20_000);
  await membership.refresh();
  assert.deepEqual(workers(membership), []);
  assert.equal(await membership.change('shop', (draft) => join(draft, member())), 'run');
});

test('members that cannot be read are left out, the others stay', async (t) => {
  const { open, store } = await world(t);
  const good = member();
  const bad = [{ ...member(), state: 'dancing' }, null, 'x'];
  await store.live.insert('members', 'shop', { current: 'soon', backends: [bad[0], good, ...bad.slice(1)] });
  await store.live.insert('members', 'wreck', { backends: 7 });
  const membership = open();
  await membership.refresh();
  assert.deepEqual(workers(membership), [good.worker]);
  assert.equal(membership.peek('shop').current, null);
  await membership.change('wreck', (draft: Draft) => join(draft, member()));
  assert.equal(membership.peek('wreck').backends.length, 1);
});

test('fifty registrations of mode one by four processes at the same time: exactly one runs', async (t) => {
  const { folder, open } = await world(t);
  const racers: ChildProcess[] = [];
  t.after(() => {
    for (const racer of racers) racer.kill('SIGKILL');
  });
  for (let index = 0; index < 4; index++) racers.push(fork(RACER, [joinPath(folder, 'store')]));
  await Promise.all(racers.map((racer) => once(racer, 'message')));
  const answers = racers.map((racer) => once(racer, 'message'));
  racers.forEach((racer, index) => {
    racer.send({ prefix: `p${index}`, count: index < 2 ? 13 : 12 });
  });
  const permissions = (await Promise.all(answers)).flatMap(([message]) => message as string[]);
  assert.equal(permissions.length, 50);
  assert.equal(permissions.filter((permission) => permission === 'run').length, 1);
  const membership = open();
  await membership.refresh();
  assert.equal(workers(membership).length, 1);
});
