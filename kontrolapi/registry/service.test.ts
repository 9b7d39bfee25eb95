/** Two kontrolapi on one store and one bus, whose clocks stand still: nothing is exchanged but by hints. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Bus, Channel } from '../../shared/bus/contract.ts';
import { ManualClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { readSettings } from '../../shared/settings.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import type { ApiContext } from '../context.ts';
import type { Answer, Call } from '../http/operation.ts';
import { WorkerService } from './service.ts';

type Handler = (message: Readonly<Record<string, unknown>> | undefined) => void;

test('an order that one API takes reaches the API at which the worker beats by a hint, at once', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-orders-'));
  const store = await openEmbedded(join(folder, 'store'), silentLog);
  const handlers = new Map<Channel, Set<Handler>>();
  const bus = {
    publish: (channel: Channel, message: Record<string, unknown>) => {
      for (const handler of handlers.get(channel) ?? []) handler(message);
    },
    subscribe: (channel: Channel, handler: Handler) => {
      handlers.set(channel, (handlers.get(channel) ?? new Set()).add(handler));
      return () => handlers.get(channel)?.delete(handler);
    },
  } as unknown as Bus;
  const { settings } = readSettings([], {}, 'api');
  const held = { doc: { name: 'shop', keys: { 1: {} } } };
  const present = {
    loaded: false,
    state: { get: (kind: string) => (kind === 'service' ? held : undefined) },
  };
  const nodes = { list: async () => [], live: () => [] };
  const context = { store, bus, clock: new ManualClock(), log: silentLog, settings, present, nodes };
  const apis = [1, 2].map(() => new WorkerService(context as unknown as ApiContext));
  for (const api of apis) api.start();
  t.after(async () => {
    for (const api of apis) await api.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  const call = async (api: number, method: string, path: string, id: string, body: object = {}) => {
    const found = apis[api]?.operations.find((each) => each.method === method && each.path === path);
    assert.ok(found !== undefined, path);
    const caller = { name: 'me', role: 'admin', service: null, user: null };
    const given = { caller, params: { id }, query: {}, body, address: '10.0.0.1' };
    const answer: Answer = await found.handle(given as unknown as Call<never, never>);
    return answer.body as Record<string, unknown>;
  };
  const beat = (id: string) => call(0, 'PUT', '/v1/workers/{id}/heartbeat', id, { state: 'ready' });

  const { id } = await call(0, 'POST', '/v1/workers', '', { service: 'shop', port: 3_000, state: 'ready' });
  assert.equal((await beat(String(id)))['command'], null);
  await call(1, 'POST', '/v1/workers/{id}/stop', String(id));
  const deadline = performance.now() + 10_000;
  while ((await beat(String(id)))['command'] !== 'stop') {
    assert.ok(performance.now() < deadline, 'the order has not come');
    await pause(5);
  }
  for (const api of apis) await api.close();
  assert.equal(
    [...handlers.values()].reduce((sum, each) => sum + each.size, 0),
    0,
    'nobody listens any more',
  );
});
