/** The registry on a real embedded store that can be taken away, with a clock that the test drives. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Bus } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import type { LiveStore, Store } from '../../shared/store/contract.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import { Housekeeping } from './housekeeping.ts';
import { Leases } from './leases.ts';
import { Membership } from './membership.ts';
import type { WorkerRecord } from './records.ts';
import { Registry } from './registry.ts';

const TIMES = { ttlMs: 15_000, exchangeMs: 2_000 };

/** `away`: calls fail at once. `hanging`: they never end. */
type State = 'up' | 'away' | 'hanging';

async function world(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-registry-'));
  const store = await openEmbedded(join(folder, 'store'), silentLog);
  t.after(async () => {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  const clock = new ManualClock();
  const it = { state: 'up' as State, reads: 0, lines: [] as { code: string; service: unknown }[] };
  const log = {
    ...silentLog,
    warn: (code: string, _message: string, fields?: { service?: unknown }) =>
      it.lines.push({ code, service: fields?.service }),
  } as Log;
  const live = new Proxy(store.live, {
    get(target, method: keyof LiveStore & string) {
      return (...given: unknown[]) => {
        it.reads++;
        if (it.state === 'hanging') return new Promise(() => {});
        if (it.state === 'away') return Promise.reject(new KontrolError('store_unavailable'));
        return (target[method] as (...all: unknown[]) => unknown).apply(target, given);
      };
    },
  });
  const away = {
    live,
    get reachable() {
      return it.state !== 'away';
    },
  } as unknown as Store;
  /** One kontrolapi. */
  const open = (self: string) => {
    const bus = { publish() {} } as unknown as Bus;
    const membership = new Membership(away, bus, clock);
    const leases = new Leases(away, clock, self, TIMES);
    const registry = new Registry({ store: away, membership, leases, clock });
    const house = new Housekeeping({ store: away, registry, membership, leases, clock, log });
    const members = () =>
      membership.peek('shop').backends.map(({ worker, state }) => ({ worker, state }) as const);
    return { registry, house, members, membership };
  };
  /** Lets time pass in steps of a sweep; `each` runs before every sweep. */
  const pass = async (
    seconds: number,
    apis: readonly { house: Housekeeping }[],
    each: () => Promise<unknown> | undefined = () => undefined,
  ) => {
    for (let second = 0; second < seconds; second += 2) {
      clock.advance(2_000);
      await each();
      await Promise.all(apis.map(({ house }) => house.sweep()));
    }
  };
  return { it, store, clock, open, pass };
}

let number = 0;
function input(over: Partial<WorkerRecord> = {}): Omit<WorkerRecord, 'id' | 'since' | 'command'> {
  number++;
  const more = { name: '', pid: null, version: '', mode: 'many', weight: 1, meta: {} } as const;
  return { service: 'shop', key: 1, address: `10.0.0.1:${3_000 + number}`, ...more, ...over };
}
const ready = { state: 'ready' } as const;

test('a beat of a member costs no call of the store', async (t) => {
  const { it, open } = await world(t);
  const { registry } = open('a');
  const { id } = await registry.register(input(), 'ready');
  const before = it.reads;
  for (let beat = 0; beat < 10; beat++) {
    assert.deepEqual(await registry.beat(id, ready), { permission: 'run', command: null });
  }
  assert.equal(it.reads, before);
});

test('while the store is away beats are answered, and what they reported is written when it is back', async (t) => {
  const { it, open, pass } = await world(t);
  const api = open('a');
  const running = await api.registry.register(input({ mode: 'one' }), 'starting');
  const waiting = await api.registry.register(input({ mode: 'one' }), 'starting');
  assert.equal((await api.registry.beat(waiting.id, { state: 'starting' }))?.permission, 'wait');
  it.state = 'away';
  const before = it.reads;
  assert.equal((await api.registry.beat(running.id, ready))?.permission, 'run');
  assert.equal(it.reads, before, 'it is not asked by every worker');
  assert.equal((await api.registry.beat(waiting.id, { state: 'starting' }))?.permission, 'wait');
  await assert.rejects(api.registry.beat('stranger', ready), { code: 'store_unavailable' });
  await assert.rejects(api.house.sweep());
  it.state = 'up';
  await pass(2, [api]);
  assert.deepEqual(api.members(), [{ worker: running.id, state: 'ready' }]);
});

test('a store that hangs holds up no beat for long', async (t) => {
  const { it, open, clock } = await world(t);
  const { registry } = open('a');
  const { id } = await registry.register(input(), 'starting');
  it.state = 'hanging';
  const beat = registry.beat(id, ready);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(500);
  assert.deepEqual(await beat, { permission: 'run', command: null });
});

test('an outage longer than a lease loses nobody, also when the API is another one afterwards', async (t) => {
  const { it, open, pass } = await world(t);
  const api = open('a');
  const { id } = await api.registry.register(input(), 'ready');
  await pass(4, [api], () => api.registry.beat(id, ready) as never);
  it.state = 'away';
  for (let turn = 0; turn < 30; turn++) {
    await pass(2, []);
    await api.house.sweep().catch(() => {});
  }
  it.state = 'up';
  await pass(6, [api], () => api.registry.beat(id, ready) as never);
  assert.deepEqual(api.members(), [{ worker: id, state: 'ready' }]);
  const next = open('b');
  await next.house.sweep();
  await pass(12, [next]);
  assert.deepEqual(next.members(), [{ worker: id, state: 'ready' }]);
  assert.deepEqual(await next.registry.beat(id, ready), { permission: 'run', command: null });
});

test('silent workers are lost with one line per service, once however many APIs look, and forgotten after an hour', async (t) => {
  const { it, open, pass, store, clock } = await world(t);
  const [a, b] = [open('a'), open('b')];
  const silent = await Promise.all([1, 2, 3].map(() => a.registry.register(input(), 'ready')));
  const alive = await a.registry.register(input(), 'ready');
  const beat = () => a.registry.beat(alive.id, ready) as never;
  await pass(26, [a, b], beat);
  assert.deepEqual(it.lines, [{ code: 'workers_lost', service: 'shop' }]);
  const states = Object.fromEntries(a.members().map(({ worker, state }) => [worker, state]));
  assert.deepEqual([states[silent[0]?.id ?? ''], states[alive.id]], ['lost', 'ready']);
  assert.deepEqual(await b.registry.beat(silent[1]?.id ?? '', ready), { permission: 'run', command: null });
  for (let minutes = 0; minutes < 61; minutes++) {
    clock.advance(56_000);
    await a.house.sweep();
    await pass(4, [a], async () => {
      await beat();
      await a.registry.beat(silent[1]?.id ?? '', ready);
    });
  }
  assert.deepEqual(
    a
      .members()
      .map(({ worker }) => worker)
      .sort(),
    [silent[1]?.id, alive.id].sort(),
  );
  assert.equal((await store.live.list('workers')).length, 2);
});

test('a worker registered at one API is not lost to another that has not seen its beats yet', async (t) => {
  const { open, pass } = await world(t);
  const [a, b] = [open('a'), open('b')];
  await pass(60, [a, b]);
  const { id } = await a.registry.register(input(), 'ready');
  await b.house.sweep();
  assert.deepEqual(b.members(), [{ worker: id, state: 'ready' }]);
});

test('an order given at one API reaches the worker that beats at another', async (t) => {
  const { open, pass } = await world(t);
  const [a, b] = [open('a'), open('b')];
  const { id } = await a.registry.register(input(), 'ready');
  await b.registry.command(id, 'stop');
  b.house.ordered(id, 'stop');
  await pass(4, [b, a]);
  assert.deepEqual(await a.registry.beat(id, ready), { permission: 'run', command: 'stop' });
});

test('a drained worker that waits never takes over; the next in line does', async (t) => {
  const { open, pass } = await world(t);
  const { registry, house, members } = open('a');
  const first = await registry.register(input({ mode: 'one' }), 'ready');
  const second = await registry.register(input({ mode: 'one' }), 'starting');
  const third = await registry.register(input({ mode: 'one' }), 'starting');
  await registry.command(second.id, 'drain');
  await registry.deregister(first.id);
  assert.deepEqual(await registry.beat(second.id, { state: 'starting' }), {
    permission: 'wait',
    command: 'drain',
  });
  assert.equal((await registry.beat(third.id, { state: 'starting' }))?.permission, 'run');
  await pass(2, [{ house }]);
  assert.deepEqual(members(), [{ worker: third.id, state: 'starting' }]);
});

test('a drained worker that lost its place runs on without traffic', async (t) => {
  const { open, store } = await world(t);
  const { registry, house, members } = open('a');
  const { id } = await registry.register(input(), 'ready');
  await registry.command(id, 'drain');
  const v = (await store.live.get('members', 'shop'))?.v ?? 0;
  await store.live.replace('members', 'shop', v, { current: 1, backends: [] });
  await store.live.put('counters', 'membership', { token: 'x' });
  await house.sweep();
  assert.deepEqual(await registry.beat(id, ready), { permission: 'run', command: 'drain' });
  assert.deepEqual(members(), [{ worker: id, state: 'drain' }]);
});

test('the newest registration of an address replaces the older, which has to register again', async (t) => {
  const { open, store } = await world(t);
  const [a, b] = [open('a'), open('b')];
  const address = '10.0.0.9:80';
  const old = await a.registry.register(input({ address }), 'ready');
  const fresh = await b.registry.register(input({ address }), 'ready');
  await a.house.sweep();
  assert.equal(await a.registry.beat(old.id, ready), null);
  assert.deepEqual(a.members(), [{ worker: fresh.id, state: 'ready' }]);
  assert.deepEqual(
    (await store.live.list('workers')).map(({ _id }) => _id),
    [fresh.id],
  );
});

test('a registration that could not be completed leaves nothing behind', async (t) => {
  const { it, open, store } = await world(t);
  const { registry } = open('a');
  const full = { service: 'shop', current: null, backends: [] as unknown[] };
  for (let index = 0; index < 1_000; index++) {
    full.backends.push({ ...member(index), state: 'ready' });
  }
  await store.live.insert('members', 'shop', full);
  await assert.rejects(registry.register(input(), 'ready'), { code: 'conflict' });
  assert.deepEqual(await store.live.list('workers'), []);
  it.state = 'away';
  await assert.rejects(registry.register(input(), 'ready'), { code: 'store_unavailable' });
});

test('records that nobody needs are removed: of waiting workers that are gone, and what no worker wrote', async (t) => {
  const { open, store, pass } = await world(t);
  const [a, b] = [open('a'), open('b')];
  const running = await a.registry.register(input({ mode: 'one' }), 'ready');
  await a.registry.register(input({ mode: 'one' }), 'starting');
  const patient = await a.registry.register(input({ mode: 'one' }), 'starting');
  await store.live.insert('workers', 'scribble', { service: 7 });
  await pass(70, [b], async () => {
    await a.registry.beat(running.id, ready);
    await a.registry.beat(patient.id, { state: 'starting' });
    await a.house.sweep();
  });
  const left = (await store.live.list('workers')).map(({ _id }) => _id);
  assert.deepEqual(left.sort(), [running.id, patient.id].sort());
});

test('a record that a hand made unreadable makes its worker register again and is shown to nobody', async (t) => {
  const { open, store } = await world(t);
  const { registry } = open('a');
  const { id } = await registry.register(input(), 'ready');
  await store.live.put('workers', id, { service: 'shop', address: 'x', key: 1, name: { not: 'text' } });
  const other = open('b');
  assert.equal(await other.registry.beat(id, ready), null);
  assert.deepEqual(await other.registry.list(), []);
});

test('a drained worker that was lost and beats again gets no traffic', async (t) => {
  const { open, pass } = await world(t);
  const api = open('a');
  const { id } = await api.registry.register(input(), 'ready');
  await api.registry.command(id, 'drain');
  await pass(26, [api]);
  assert.deepEqual(api.members(), [{ worker: id, state: 'lost' }]);
  assert.deepEqual(await api.registry.beat(id, ready), { permission: 'run', command: 'drain' });
  assert.deepEqual(api.members(), [{ worker: id, state: 'drain' }]);
});

test('the newest registration is the newest member, also when the clock of its API is behind', async (t) => {
  const { open, clock } = await world(t);
  const { registry, membership } = open('a');
  const ahead = { ...member(1), mode: 'many', state: 'ready', since: clock.now() + 60_000 } as const;
  await membership.change('shop', (draft) => {
    draft.backends = [ahead];
  });
  const { id } = await registry.register(input(), 'ready');
  const since = membership.peek('shop').backends.find(({ worker }) => worker === id)?.since ?? 0;
  assert.ok(since > ahead.since, `${since} after ${ahead.since}`);
});

test('who hears of an order reads it at once, and only for workers that beat there', async (t) => {
  const { it, open } = await world(t);
  const [a, b] = [open('a'), open('b')];
  const { id } = await a.registry.register(input(), 'ready');
  await b.registry.command(id, 'stop');
  assert.deepEqual(await a.registry.beat(id, ready), { permission: 'run', command: null });
  await a.registry.lookAgain(id);
  assert.deepEqual(await a.registry.beat(id, ready), { permission: 'run', command: 'stop' });
  const reads = it.reads;
  await a.registry.lookAgain('stranger');
  assert.equal(it.reads, reads);
  it.state = 'away';
  await a.registry.lookAgain(id);
});

function member(index: number) {
  const more = { weight: 1, since: 1, name: '', mode: 'many', version: '' };
  return { worker: `m${index}`, key: 1, address: `10.1.0.1:${index + 1}`, ...more };
}
