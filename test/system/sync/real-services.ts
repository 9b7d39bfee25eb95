/** A sync process on a real MongoDB-compatible server and a real Redis, with serving processes in memory. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { ScriptedPrimary } from '../../../proxy/sync/scripted-primary.ts';
import { SyncProcess } from '../../../proxy/sync/sync.ts';
import type { Bus } from '../../../shared/bus/contract.ts';
import { openBus } from '../../../shared/bus/open.ts';
import { systemClock } from '../../../shared/clock.ts';
import { type Log, silentLog } from '../../../shared/log.ts';
import type { Change } from '../../../shared/model/revision.ts';
import type { SettingsOfProcess } from '../../../shared/settings.ts';
import type { Store } from '../../../shared/store/contract.ts';
import { openStore } from '../../../shared/store/open.ts';

export interface ControlSide {
  readonly settings: SettingsOfProcess;
  /** Store and bus as kontrolapi has them. */
  readonly store: Store;
  readonly bus: Bus;
  /** Appends and projects a revision, and hints at it unless `silent`. */
  append(changes: readonly Change[], silent?: 'silent'): Promise<number>;
  /** Runs before store, bus and folder are given up. */
  atEnd(work: () => Promise<void>): void;
  startSync(): Promise<{ sync: SyncProcess; primary: ScriptedPrimary; codes: string[] }>;
}

export async function controlSide(
  t: TestContext,
  overrides: Partial<SettingsOfProcess>,
): Promise<ControlSide> {
  const data = await mkdtemp(join(tmpdir(), 'kontrol-sync-system-'));
  const settings = {
    http: [],
    https: [],
    proxyProtocol: [],
    internal: null,
    api: { host: '127.0.0.1', port: 1 },
    node: 'n1',
    mongoUrl: null,
    redisUrl: null,
    data,
    certs: join(data, 'certs'),
    secret: null,
    ttlMs: 20_000,
    logLevel: 'info',
    ...overrides,
  } as unknown as SettingsOfProcess;
  const store = await openStore(settings, silentLog);
  const bus = openBus(settings, silentLog);
  const stops: (() => Promise<void>)[] = [];
  t.after(async () => {
    for (const stop of stops) await stop();
    await bus.close();
    await store.close();
    await rm(data, { recursive: true, force: true });
  });
  return {
    settings,
    store,
    bus,
    async append(changes, silent) {
      const head = await store.head();
      const identity = await store.identity();
      const [seq, previous] = [head.seq + 1, head.id];
      const about = { author: 'test', message: '', at: Date.now() };
      const revision = { seq, id: randomUUID(), previous, store: identity, ...about, changes };
      assert.equal(await store.append(revision), 'appended');
      await store.project(revision);
      if (silent === undefined) bus.publish('updateProxy', { seq });
      return seq;
    },
    atEnd: (work) => void stops.push(work),
    async startSync() {
      const primary = new ScriptedPrimary();
      const codes: string[] = [];
      const note = (code: string) => void codes.push(code);
      const log: Log = { ...silentLog, info: note, warn: note, error: note };
      const sync = new SyncProcess({
        settings,
        version: '0',
        link: primary,
        clock: systemClock,
        log,
        openStore: () => openStore(settings, log),
        openBus: async () => openBus(settings, log),
      });
      primary.receiver = (message) => sync.receive(message);
      stops.push(async () => {
        primary.close();
        await sync.close();
      });
      await sync.start();
      return { sync, primary, codes };
    },
  };
}

export function service(name: string, fields: Record<string, unknown> = {}): Change {
  return { kind: 'service', name, doc: { name, health: { type: 'off' }, ...fields } };
}
