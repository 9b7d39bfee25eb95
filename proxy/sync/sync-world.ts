/** For tests: a sync process on a real embedded store, with a bus and a primary in memory, and ways to break each. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Bus, Channel } from '../../shared/bus/contract.ts';
import { type Clock, systemClock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { type Log, silentLog } from '../../shared/log.ts';
import type { Kind } from '../../shared/model/kinds.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { Loaded, Store, StoredDocument } from '../../shared/store/contract.ts';
import { openEmbedded } from '../../shared/store/embedded.ts';
import { ScriptedPrimary } from './scripted-primary.ts';
import { SyncProcess } from './sync.ts';

type Message = Readonly<Record<string, unknown>> | undefined;

/** A bus in memory that remembers what was said. */
export class ScriptedBus implements Bus {
  readonly said: { channel: Channel; message: Record<string, unknown> }[] = [];
  readonly #handlers = new Map<Channel, Set<(message: Message) => void>>();
  readonly #connected = new Set<() => void>();
  connected = true;

  publish(channel: Channel, message: object): void {
    this.said.push({ channel, message: message as Record<string, unknown> });
  }

  /** What sync said on a channel. */
  on(channel: Channel): Record<string, unknown>[] {
    return this.said.filter((said) => said.channel === channel).map(({ message }) => message);
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

export interface Started {
  readonly sync: SyncProcess;
  readonly primary: ScriptedPrimary;
  /** Codes of what was logged. */
  readonly codes: string[];
  /** As a `kill -9` or an orderly end; both leave the primary without its sync. */
  stop(): Promise<void>;
}

export class World {
  readonly data: string;
  store: Store;
  readonly bus = new ScriptedBus();
  /** While true, every call of the store fails. */
  away = false;
  /** While true, the store cannot even be opened. */
  unopened = false;
  /** Documents as a hand left them, by `kind/name`; null where they were removed. */
  readonly byHand = new Map<string, StoredDocument | null>();
  /** What readers are told the documents are projected up to, when that is less than the truth. */
  mark = Number.POSITIVE_INFINITY;
  /** Calls that read documents, and calls that asked for the head. */
  loads = 0;
  heads = 0;
  clock: Clock = systemClock;
  readonly #stops: (() => Promise<void>)[] = [];

  constructor(data: string, store: Store) {
    this.data = data;
    this.store = store;
  }

  static async make(t: TestContext): Promise<World> {
    const data = await mkdtemp(join(tmpdir(), 'kontrol-sync-'));
    const store = await openEmbedded(join(data, 'store'), silentLog);
    const world = new World(data, store);
    t.after(async () => {
      for (const stop of world.#stops) await stop();
      await world.store.close();
      await rm(data, { recursive: true, force: true });
    });
    return world;
  }

  /** Another store takes the place of this one, as after a restored backup of something else. */
  async replaceStore(): Promise<void> {
    const old = this.store;
    this.store = await openEmbedded(join(this.data, `store-${randomUUID()}`), silentLog);
    await old.close();
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

  /** Leaves a document as if somebody had edited it in a database client. */
  edit(kind: Kind, name: string, doc: Record<string, unknown>, rev: number | null): void {
    this.byHand.set(`${kind}/${name}`, { name, rev, deleted: false, doc });
  }

  removeByHand(kind: Kind, name: string): void {
    this.byHand.set(`${kind}/${name}`, null);
  }

  async start(overrides: Partial<SettingsOfProcess> = {}): Promise<Started> {
    const primary = new ScriptedPrimary();
    const codes: string[] = [];
    const note = (code: string) => void codes.push(code);
    const log: Log = { ...silentLog, info: note, warn: note, error: note };
    const settings = {
      http: [],
      https: [{ host: '', port: 8443 }],
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
      version: '0.0.0',
      link: primary,
      clock: this.clock,
      log,
      openStore: async () => {
        if (this.unopened) throw new KontrolError('cannot_start', 'the store is not there');
        return this.#view();
      },
      openBus: async () => this.bus,
      ask: async () => ({ addresses: ['127.0.0.1'], ttlMs: 60_000 }),
    });
    primary.receiver = (message) => sync.receive(message);
    const stop = async () => {
      primary.close();
      await sync.close();
    };
    this.#stops.push(stop);
    await sync.start();
    return { sync, primary, codes, stop };
  }

  /** The store as sync sees it: as it is, with what was edited by hand, or away. */
  #view(): Store {
    const world = this;
    const reachable = <T>(call: () => Promise<T>): Promise<T> =>
      world.away ? Promise.reject(new KontrolError('store_unavailable')) : call();
    const live = new Proxy(world.store.live, {
      get: (_, method: keyof Store['live']) => {
        return (...args: unknown[]) =>
          reachable(() => (world.store.live[method] as (...args: unknown[]) => Promise<unknown>)(...args));
      },
    });
    return {
      type: 'embedded',
      live,
      get reachable() {
        return !world.away;
      },
      identity: () => reachable(() => world.store.identity()),
      head: () => {
        world.heads++;
        return reachable(() => world.store.head());
      },
      since: (seq, limit) => reachable(() => world.store.since(seq, limit)),
      append: (revision) => reachable(() => world.store.append(revision)),
      mark: () => reachable(() => world.store.mark()),
      project: (revision) => reachable(() => world.store.project(revision)),
      trim: (seq) => reachable(() => world.store.trim(seq)),
      load: (kind) => reachable(async () => world.#tampered(kind, await world.store.load(kind))),
      close: async () => {},
    };
  }

  #tampered(kind: Kind, loaded: Loaded): Loaded {
    this.loads++;
    const documents = new Map(loaded.documents.map((document) => [document.name, document]));
    for (const [key, document] of this.byHand) {
      if (!key.startsWith(`${kind}/`)) continue;
      const name = key.slice(kind.length + 1);
      if (document === null) documents.delete(name);
      else documents.set(name, document);
    }
    return { mark: Math.min(this.mark, loaded.mark), documents: [...documents.values()] };
  }
}

export function service(name: string, fields: Record<string, unknown> = {}): Change {
  const keys = { '1': { backends: [{ address: '127.0.0.1:9' }] } };
  return { kind: 'service', name, doc: { name, keys, health: { type: 'off' }, ...fields } };
}

export function domain(name: string, fields: Record<string, unknown> = {}): Change {
  return { kind: 'domain', name, doc: { name, routes: [{ path: ['/'], service: 'shop' }], ...fields } };
}
