import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Bus, Channel } from '../../shared/bus/contract.ts';
import { systemClock } from '../../shared/clock.ts';
import { silentLog } from '../../shared/log.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { Store } from '../../shared/store/contract.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import { ScriptedPrimary, until } from './scripted-primary.ts';
import { SyncProcess } from './sync.ts';

type Message = Readonly<Record<string, unknown>> | undefined;

/** A bus in memory that remembers what was said. */
class ScriptedBus implements Bus {
  readonly said: { channel: Channel; message: object }[] = [];
  readonly #handlers = new Map<Channel, Set<(message: Message) => void>>();
  readonly #connected = new Set<() => void>();
  connected = true;

  publish(channel: Channel, message: object): void {
    this.said.push({ channel, message });
  }
  hear(channel: Channel, message: Message): void {
    for (const handler of this.#handlers.get(channel) ?? []) handler(message);
  }
  reconnect(): void {
    for (const handler of this.#connected) handler();
  }
  subscribe(channel: Channel, handler: (message: Message) => void): () => void {
    const handlers = this.#handlers.get(channel) ?? new Set();
    this.#handlers.set(channel, handlers.add(handler));
    return () => handlers.delete(handler);
  }
  onConnected(handler: () => void): () => void {
    this.#connected.add(handler);
    return () => this.#connected.delete(handler);
  }
  async close(): Promise<void> {}
}

class World {
  readonly t: TestContext;
  readonly data: string;
  readonly store: Store;
  readonly bus = new ScriptedBus();
  /** While true, opening the store fails. */
  storeAway = false;

  constructor(t: TestContext, data: string, store: Store) {
    this.t = t;
    this.data = data;
    this.store = store;
  }

  static async make(t: TestContext): Promise<World> {
    const data = await mkdtemp(join(tmpdir(), 'kontrol-sync-'));
    const store = await openEmbedded(join(data, 'store'), silentLog);
    t.after(async () => {
      await store.close();
      await rm(data, { recursive: true, force: true });
    });
    return new World(t, data, store);
  }

  async append(...changes: Change[]): Promise<number> {
    const head = await this.store.head();
    const revision = {
      seq: head.seq + 1,
      id: randomUUID(),
      previous: head.id,
      store: await this.store.identity(),
      at: Date.now(),
      author: 'test',
      message: '',
      changes,
    };
    assert.equal(await this.store.append(revision), 'appended');
    await this.store.project(revision);
    return revision.seq;
  }

  async start(
    overrides: Partial<SettingsOfProcess> = {},
  ): Promise<{ sync: SyncProcess; primary: ScriptedPrimary }> {
    const primary = new ScriptedPrimary();
    const settings = {
      http: [],
      https: [],
      proxyProtocol: [],
      internal: null,
      api: { host: '127.0.0.1', port: 1 },
      node: 'n1',
      mongoUrl: null,
      redisUrl: null,
      data: this.data,
      certs: join(this.data, 'certs'),
      secret: null,
      ttlMs: 20_000,
      ...overrides,
    } as unknown as SettingsOfProcess;
    const sync = new SyncProcess({
      settings,
      version: '0',
      link: primary,
      clock: systemClock,
      log: silentLog,
      openStore: async () => {
        if (this.storeAway) throw new Error('away');
        return await openEmbedded(join(this.data, 'store'), silentLog);
      },
      openBus: async () => this.bus,
    });
    primary.receiver = (message) => sync.receive(message);
    this.t.after(async () => {
      primary.close();
      await sync.close();
    });
    await sync.start();
    return { sync, primary };
  }
}

function service(name: string): Change {
  return { kind: 'service', name, doc: { name, keys: { '1': { backends: [{ address: '127.0.0.1:1' }] } } } };
}
function domain(name: string, target = 'shop'): Change {
  return { kind: 'domain', name, doc: { name, routes: [{ path: ['/'], service: target }] } };
}

test('an empty store gives an empty table, a revision is served and reported, a restart begins with the copy', async (t) => {
  const world = await World.make(t);
  const { sync, primary } = await world.start();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  assert.equal(process.noTable, false);
  const seq = await world.append(service('shop'), domain('shop.example.com'));
  await until('the revision is served', () => process.seq === seq);
  assert.deepEqual(process.names('domain'), ['shop.example.com']);
  const applied = () =>
    world.bus.said.filter(({ channel }) => channel === 'kontrol:applied').map(({ message }) => message);
  await until('it is reported', () => applied().some((message) => 'seq' in message && message.seq === seq));
  await until('the node says so', async () => (await world.store.live.get('nodes', 'n1'))?.['seq'] === seq);
  primary.close();
  await sync.close();

  world.storeAway = true;
  const again = await world.start();
  const second = again.primary.spawn();
  await until('it serves the copy', () => second.seq === seq);
  assert.deepEqual(second.names('service'), ['shop']);
});
