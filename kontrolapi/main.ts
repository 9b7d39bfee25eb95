/**
 * kontrolapi: the control service. It starts and stays up without its store and its bus, answers reads from memory
 * while they are away, and says in `/readyz` what is missing.
 */
import type { Express } from 'express';
import type { Bus } from '../shared/bus/contract.ts';
import { openBus } from '../shared/bus/open.ts';
import { type Clock, systemClock } from '../shared/clock.ts';
import { KontrolError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import { packageVersion } from '../shared/package-root.ts';
import type { SettingsOfProcess } from '../shared/settings.ts';
import type { Store } from '../shared/store/contract.ts';
import { openStore } from '../shared/store/open.ts';
import { alertOperations } from './alerts/operations.ts';
import { AlertService } from './alerts/service.ts';
import { Auth } from './auth/auth.ts';
import { createFirstAdmin, type FirstAdmin } from './auth/first-admin.ts';
import { authOperations } from './auth/operations.ts';
import type { ApiContext } from './context.ts';
import { explainOperations } from './explain/operations.ts';
import { healthOperations, RequestCounters } from './http/health.ts';
import { openApiOperation } from './http/open-api.ts';
import type { Operation } from './http/operation.ts';
import { createRouter, finishRouter } from './http/router.ts';
import { listen } from './http/server.ts';
import { deadKeys } from './lint/dead-keys.ts';
import { unresolvedNames } from './lint/unresolved-names.ts';
import { LiveService } from './live/service.ts';
import { NodeWatch } from './nodes/node-watch.ts';
import { nodeOperations } from './nodes/operations.ts';
import { NodeQuestions } from './nodes/questions.ts';
import { statsOperations } from './nodes/stats.ts';
import { WorkerService } from './registry/service.ts';
import { applyOperations } from './resources/apply.ts';
import { backendOperations } from './resources/backends.ts';
import { cacheOperations } from './resources/cache.ts';
import { exportOperations } from './resources/export.ts';
import { canonicalName, kindOf } from './resources/kind-names.ts';
import { objectOperations } from './resources/objects.ts';
import { rulesOfKinds } from './resources/rules-of-kinds.ts';
import { Adoption } from './revisions/adoption.ts';
import { Confirmations } from './revisions/confirmations.ts';
import { History } from './revisions/history.ts';
import { revisionOperations } from './revisions/operations.ts';
import { Present } from './revisions/present.ts';
import { Undoing } from './revisions/undoing.ts';
import { Upkeep } from './revisions/upkeep.ts';
import { Writer } from './revisions/writer.ts';
import { within } from './within.ts';

export type { FirstAdmin } from './auth/first-admin.ts';

export interface RunningApi {
  /** Where it listens, as a client on this machine reaches it. */
  readonly url: string;
  /** What the first start on a fresh store created; null when somebody could log in already, or the store is away. */
  readonly firstAdmin: FirstAdmin | null;
  /** Ends calls, then connections; idempotent. */
  close(): Promise<void>;
}

export interface ApiOptions {
  /** A terminal is there to show the first password; default: whether stdout is one. */
  readonly terminal?: boolean;
  readonly clock?: Clock;
}

/** The store of a fresh start is asked this long before the API goes on without it. */
const FIRST_STORE_MS = 3_000;

/**
 * Starts the API. Throws KontrolError `cannot_start` for what nobody but the operator can change: a port in use, an
 * unreadable certificate, an unwritable data folder.
 */
export async function startApi(
  settings: SettingsOfProcess,
  log: Log,
  options: ApiOptions = {},
): Promise<RunningApi> {
  const clock = options.clock ?? systemClock;
  const closers: (() => Promise<void> | void)[] = [];
  const close = closeOnce(closers);
  try {
    const store = await openStore(settings, log);
    closers.push(() => store.close());
    const bus = openBus(settings, log);
    closers.push(() => bus.close());
    const context = createContext(settings, log, clock, store, bus);
    const upkeep = new Upkeep(context);
    closers.push(() => closeContext(context, upkeep));
    const undoing = new Undoing(context);
    closers.push(() => undoing.close());
    const workers = new WorkerService(context);
    closers.push(() => workers.close());
    const alerts = new AlertService(context);
    closers.push(() => alerts.close());
    const live = new LiveService(context);
    const server = await listen(settings, createApp(context, workers, live, alerts));
    closers.push(() => server.close());
    closers.push(() => live.close());
    // First of all: calls that wait for nodes are answered, so that the server need not cut them.
    closers.push(() => context.nodes.close());
    const terminal = options.terminal ?? process.stdout.isTTY === true;
    const firstAdmin = await enter(context, upkeep, terminal);
    startContext(context, upkeep);
    undoing.start();
    workers.start();
    live.start(server);
    alerts.start();
    log.info('api_started', `the API listens on ${server.url}`, { url: server.url, store: store.type });
    return { url: server.url, firstAdmin, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function createContext(
  settings: SettingsOfProcess,
  log: Log,
  clock: Clock,
  store: Store,
  bus: Bus,
): ApiContext {
  const rules = rulesOfKinds({ live: store.live, settings, clock });
  const present = new Present(store, log);
  const confirmations = new Confirmations(store.live, clock);
  const nodes: NodeWatch = new NodeWatch(store, bus, clock, () =>
    present.loaded ? { name: 'kontrolapi', seq: present.seq, hash: present.hash } : null,
  );
  const questions = new NodeQuestions(bus, clock, () => nodes.live());
  const writer = new Writer({
    store,
    bus,
    present,
    clock,
    log,
    rules,
    confirmations,
    inquire: async (draft, changes) => {
      const dead = deadKeys(draft, changes, store.live, questions);
      return (await Promise.all([unresolvedNames(changes, clock), dead])).flat();
    },
  });
  const history = new History(store, present);
  const auth = new Auth({
    live: store.live,
    clock,
    log,
    apiToken: settings.apiToken,
    secureCookie: settings.apiCert !== null,
  });
  const adoption = new Adoption({
    store,
    present,
    history,
    writer,
    bus,
    clock,
    log,
    intervalMs: settings.ttlMs,
  });
  return {
    settings,
    log,
    clock,
    store,
    bus,
    present,
    writer,
    history,
    confirmations,
    auth,
    nodes,
    questions,
    adoption,
    rules,
  };
}

/** Every call of the API. Parts that are no plain calls (UI, live views) mount themselves on the app. */
function createApp(
  context: ApiContext,
  workers: WorkerService,
  live: LiveService,
  alerts: AlertService,
): Express {
  const counters = new RequestCounters();
  const operations: Operation[] = [
    ...healthOperations(context, counters),
    ...authOperations(context.auth),
    ...objectOperations(context),
    ...backendOperations(context),
    ...cacheOperations(context),
    ...applyOperations(context),
    ...exportOperations(context),
    ...revisionOperations(context, { kindOf, canonicalName }),
    ...nodeOperations(context),
    ...statsOperations(context),
    ...explainOperations(context),
    ...workers.operations,
    ...alertOperations(alerts),
    ...live.operations,
  ];
  operations.push(openApiOperation(() => operations, packageVersion()));
  const app = createRouter({
    log: context.log,
    identify: (request) => context.auth.identify(request),
    operations,
    onAnswer: counters.count,
  });
  finishRouter(app, context.log);
  return app;
}

/** Makes the way in on a fresh store, now or as soon as the store answers. */
async function enter(context: ApiContext, upkeep: Upkeep, terminal: boolean): Promise<FirstAdmin | null> {
  const { settings, auth, log, clock } = context;
  if (settings.apiToken !== null) return null;
  const create = (shown: boolean) => createFirstAdmin({ auth, data: settings.data, terminal: shown, log });
  try {
    await within(auth.users.list(), FIRST_STORE_MS, clock);
    // From here on it is not left half way: a password that was made must be shown.
    return await create(terminal);
  } catch (error) {
    if (error instanceof KontrolError && error.code === 'cannot_start') throw error;
    log.warn('store_unavailable', 'the API started without its store and goes on trying', {
      reason: (error as Error).message,
    });
    // Nobody looks at the terminal later: then the password goes to its file.
    upkeep.whenReachable(() => create(false).then(() => {}));
    return null;
  }
}

function startContext(context: ApiContext, upkeep: Upkeep): void {
  context.auth.start();
  context.nodes.start();
  if (context.store.type === 'mongodb') context.adoption.start();
  upkeep.start();
}

async function closeContext(context: ApiContext, upkeep: Upkeep): Promise<void> {
  context.auth.close();
  await upkeep.close();
  await context.adoption.close();
  context.writer.close();
}

/** Closes in the opposite order of opening, once; what fails to close does not keep the rest open. */
function closeOnce(closers: readonly (() => Promise<void> | void)[]): () => Promise<void> {
  let closing: Promise<void> | null = null;
  return () => {
    closing ??= (async () => {
      for (const closer of closers.toReversed()) await Promise.resolve(closer()).catch(() => {});
    })();
    return closing;
  };
}
