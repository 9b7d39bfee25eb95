/**
 * The sync process of a node, put together: store and bus on one side, the serving processes (through the primary) on
 * the other, the disk beneath. Serves from the last-known-good copy first and from the store as soon as it answers;
 * nothing about store, bus or disk ever ends it.
 */
import { setImmediate } from 'node:timers/promises';
import { reservedPort } from '../../shared/backend-addresses.ts';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { EmptinessGuard } from '../../shared/emptiness-guard.ts';
import type { Log } from '../../shared/log.ts';
import type { Listener } from '../../shared/model/listener.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { Store } from '../../shared/store/contract.ts';
import { Follower } from '../../shared/store/follower.ts';
import type { FromServing, Relayed } from '../link/messages.ts';
import { nodeFolder } from '../link/node-folder.ts';
import { MergedStats } from '../observe/merged-stats.ts';
import { trafficFamilies } from '../observe/metrics.ts';
import { RateDesk } from '../rate/desk.ts';
import type { SharedCounts } from '../rate/redis-ledger.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { BackendWatch } from './backend-watch.ts';
import { BusLink } from './bus-link.ts';
import { followerState, makeCopy, seedObjects } from './copy.ts';
import { DefaultCertificate } from './default-certificate.ts';
import { type Applied, Distributor, entryKey } from './distribute.ts';
import { isDrained } from './drained.ts';
import { Guard } from './guard.ts';
import type { BackendHealth } from './health-checks.ts';
import { Insight } from './insight.ts';
import { confirmedDeletions, Intake } from './intake.ts';
import { InternalPort } from './internal-port.ts';
import { type Copy, CopyKeeper, readCopy } from './last-known-good.ts';
import { type FromPrimary, type Link, Outbox } from './link.ts';
import { ListenerStates, wantedListeners } from './listeners.ts';
import { MembersFollower } from './members.ts';
import { NodeReporter } from './node-record.ts';
import { NodeState } from './node-state.ts';
import { Objects } from './objects.ts';
import { Questions } from './questions.ts';
import { Replica } from './replica.ts';
import type { Ask } from './resolver.ts';
import { SecretKeys } from './secret-keys.ts';
import { Trouble } from './service-trouble.ts';
import { nodeFamilies, rateFamilies, statusReport } from './status-report.ts';
import { untilOpen } from './until-open.ts';

/** How long processes without a table wait for the store before they answer 503. */
const NO_TABLE_AFTER_MS = 2_000;
/** Without Redis: how often the embedded store is asked (cheap), and MongoDB. */
const POLL_EMBEDDED_MS = 50;
const POLL_MONGODB_MS = 1_000;
/** Objects of the copy that are compiled without a pause. */
const SEED_SLICE = 20;
/** Kinds that decide which sockets are wanted. */
const LISTENER_KINDS: ReadonlySet<string> = new Set(['listener', 'certificate', 'defaultCertificate']);

export interface SyncOptions {
  readonly settings: SettingsOfProcess;
  readonly version: string;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  openStore(): Promise<Store>;
  openBus(): Promise<Bus>;
  /** Counts of rate rules that all nodes share; left out where this node counts alone. */
  readonly sharedCounts?: SharedCounts;
  /** Resolves names; default DNS and the hosts file. */
  readonly ask?: Ask;
}

export class SyncProcess {
  readonly #options: SyncOptions;
  readonly #outbox: Outbox;
  readonly #distributor: Distributor;
  readonly #objects = new Objects();
  readonly #emptiness = new EmptinessGuard();
  readonly #guard: Guard;
  readonly #secrets: SecretKeys;
  readonly #intake: Intake;
  readonly #watch: BackendWatch;
  readonly #questions: Questions;
  readonly #copies: CopyKeeper;
  readonly #reporter: NodeReporter;
  readonly #state: NodeState;
  readonly #stats: MergedStats;
  readonly #insight: Insight;
  readonly #rates: RateDesk;
  readonly #trouble: Trouble;
  readonly #internal: InternalPort | null;
  readonly #defaultCertificate: DefaultCertificate;
  readonly #listeners = new ListenerStates();
  readonly #closing = new AbortController();
  readonly #acknowledgements: Acknowledgements;
  #cancelLate: () => void = () => {};
  #copy: Copy | null = null;
  #store: Store | null = null;
  #follower: Follower | null = null;
  #members: MembersFollower | null = null;
  #replica: Replica | null = null;
  #bus: Bus | null = null;
  #busLink: BusLink | null = null;

  constructor(options: SyncOptions) {
    this.#options = options;
    const { settings, link, clock, log, version } = options;
    this.#outbox = new Outbox(link);
    this.#secrets = new SecretKeys(() => this.#store?.live ?? null, settings.secret);
    this.#guard = new Guard(log, (kind, doc) => {
      if (kind === 'listener') return reservedPort(settings, doc as unknown as Listener);
      return kind === 'certificate' ? this.#secrets.problemOf(doc) : null;
    });
    this.#distributor = new Distributor(this.#outbox, clock, log, {
      confirmed: (entries) => this.#onConfirmed(entries),
      applied: (applied) => this.#onApplied(applied),
      rejected: (rejected) => this.#onRejected(rejected),
      deadly: (entries, reason) => this.#refuse(entries, reason),
      afterLoad: (again) => this.#watch.snapshot(again),
    });
    this.#watch = new BackendWatch({
      settings,
      table: this.#guard.table,
      clock,
      log,
      ...(options.ask === undefined ? {} : { ask: options.ask }),
      broadcast: (message) => this.#distributor.broadcast(message),
      isDrained: (service, address) =>
        isDrained(
          { clock, table: this.#guard.table, distributor: this.#distributor, questions: this.#questions },
          service,
          address,
        ),
      changed: (backends) => this.#tellBackends(backends),
    });
    this.#trouble = new Trouble(this.#guard.table, this.#watch.health, clock);
    this.#intake = new Intake({
      guard: this.#guard,
      objects: this.#objects,
      secrets: this.#secrets,
      distributor: this.#distributor,
      log,
      servicesChanged: (names) => this.#watch.follow(names),
    });
    this.#questions = new Questions(clock, (process, message) => this.#outbox.toServing(process, message));
    this.#copies = new CopyKeeper(nodeFolder(settings.data, settings.node), clock, log, () =>
      this.#makeCopy(),
    );
    this.#state = new NodeState({
      node: settings.node,
      version,
      clock,
      log,
      distributor: this.#distributor,
      guard: this.#guard,
      emptiness: this.#emptiness,
      objects: this.#objects,
      listeners: this.#listeners,
      intake: this.#intake,
      replica: () => this.#replica,
      bus: () => this.#bus,
      copyFailing: () => this.#copies.failing,
      trouble: () => this.#trouble.report(),
      certificateValidTo: () => this.#defaultCertificate.validTo,
      quarantined: (quarantined) => this.#outbox.toPrimary({ type: 'quarantine', quarantined }),
      changed: () => this.#reporter.touch(),
    });
    this.#acknowledgements = new Acknowledgements(clock, this.#listeners, (applied) => {
      this.#bus?.publish('kontrol:applied', this.#state.applied(applied));
      this.#reporter.touch();
    });
    this.#reporter = new NodeReporter(
      clock,
      log,
      () => this.#store?.live ?? null,
      () => this.#state.record(),
    );
    // Before there is a table nothing is known to be gone.
    const known = (kind: 'service' | 'rule') => (name: string) => {
      const { hasTable, table } = this.#distributor;
      return !hasTable || table.has(`${kind}/${name}`);
    };
    this.#stats = new MergedStats(known('service'), known('rule'));
    this.#insight = new Insight(clock, this.#distributor, this.#questions, this.#stats);
    this.#rates = new RateDesk({
      clock,
      shared: options.sharedCounts ?? null,
      processes: () => this.#distributor.processes().length,
      send: (process, message) => this.#outbox.toServing(process, message),
    });
    this.#internal = settings.internal === null ? null : this.#internalPort(settings.internal);
    this.#defaultCertificate = new DefaultCertificate(settings.certs, clock, log, (change) => {
      void this.#intake.changed([change], clock.monotonic());
    });
  }

  /** Resolves when the last-known-good copy was read; store and bus are opened in the background, for ever. */
  async start(): Promise<void> {
    const { settings, clock, log } = this.#options;
    this.#internal?.start();
    this.#copy = await readCopy(nodeFolder(settings.data, settings.node), log);
    await this.#defaultCertificate.start();
    await this.#intake.idle();
    if (this.#closing.signal.aborted) return;
    if (this.#copy !== null) await this.#resume(this.#copy);
    if (this.#closing.signal.aborted) return;
    this.#cancelLate = this.#options.clock.after(NO_TABLE_AFTER_MS, () => this.#storeLate());
    void this.#openStore();
    void this.#openBus();
    this.#reporter.start();
    log.debug('sync_started', 'sync runs', { copy: this.#copy?.seq ?? null, at: clock.now() });
  }

  receive(message: FromPrimary): void {
    if (this.#closing.signal.aborted) return;
    if (!('relay' in message)) this.#onPrimary(message);
    else if (message.relay === 'from-serving') this.#onServing(message.from, message.message);
  }

  /** Re-reads everything now. */
  reload(): void {
    this.#replica?.hintAll();
  }

  /** The deletions that the emptiness guard holds back are meant: they are made. Returns how many there were. */
  confirm(): number {
    const { clock } = this.#options;
    const members = this.#members;
    const changes = confirmedDeletions(
      this.#emptiness.confirm(),
      this.#objects,
      (names) => members?.remove(names) ?? [],
    );
    if (changes.length > 0) void this.#intake.changed(changes, clock.monotonic());
    this.#state.review();
    return changes.length;
  }

  /** The internal port; null while it is not open. */
  get internalPort(): number | null {
    return this.#internal?.port ?? null;
  }

  /** What the last copy misses is written, store and bus are left. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#cancelLate();
    this.#acknowledgements.close();
    this.#defaultCertificate.close();
    this.#watch.close();
    this.#questions.close();
    this.#rates.close();
    await this.#internal?.close();
    await this.#replica?.close();
    await this.#intake.idle();
    await this.#copies.close();
    await this.#reporter.close();
    this.#distributor.close();
    this.#outbox.close();
    await this.#bus?.close();
    await this.#store?.close();
  }

  async #resume(copy: Copy): Promise<void> {
    // What was read of the log but not served yet is served when the store answers, and called so then.
    const { served = copy.seq } = copy;
    this.#options.log.info('copy_used', 'the last-known-good copy is in force until the store answers', {
      seq: served,
      objects: copy.entries.length,
    });
    const beside = this.#guard.admit([...this.#intake.takeEarly(), ...this.#secrets.seed(copy.secrets)]);
    this.#watch.resolver.seed(copy.names);
    this.#state.resume(served, served === copy.seq ? copy.hash : '');
    // Serving processes begin with it while it is compiled here.
    this.#distributor.install([...beside, ...copy.entries], served);
    await this.#intake.resume(served, async () => {
      await setImmediate();
      seedObjects(this.#objects, copy);
      for (let from = 0; from < copy.entries.length; from += SEED_SLICE) {
        this.#guard.seed(copy.entries.slice(from, from + SEED_SLICE));
        await setImmediate();
      }
      await this.#watch.follow(this.#guard.takeServices());
    });
    this.#state.review();
  }

  #makeCopy(): Copy | null {
    if (this.#follower === null) return null;
    const names = this.#watch.resolver.known();
    return makeCopy(this.#distributor, this.#follower, this.#secrets, names, this.#options.clock);
  }

  async #openStore(): Promise<void> {
    const { log, clock, settings } = this.#options;
    const store = await untilOpen({
      open: () => this.#options.openStore(),
      failed: (error, attempt) => {
        if (attempt === 0)
          log.error('store_unopened', `the store cannot be opened and is tried again: ${error.message}`);
        this.#storeLate();
      },
      clock,
      signal: this.#closing.signal,
    });
    if (store === null) return;
    const copy = this.#copy;
    this.#copy = null;
    this.#store = store;
    this.#reporter.touch();
    this.#members = new MembersFollower(store.live, this.#emptiness, clock);
    for (const { kind, name, doc } of copy?.entries ?? []) {
      if (kind === 'members' && doc !== null) this.#members.seed(name, doc);
    }
    this.#follower = new Follower(store, copy === null ? undefined : followerState(copy));
    this.#replica = new Replica({
      store,
      follower: this.#follower,
      objects: this.#objects,
      members: this.#members,
      guard: this.#emptiness,
      clock,
      log,
      ttlMs: settings.ttlMs,
      pollMs: () => this.#pollMs(),
      found: async (found) => {
        this.#state.found(found);
        await this.#intake.found(found);
        this.#distributor.settle();
        this.#state.review();
      },
      failed: () => this.#storeLate(),
    });
    this.#replica.start();
  }

  async #openBus(): Promise<void> {
    const { log, clock, settings } = this.#options;
    this.#bus = await untilOpen({
      open: () => this.#options.openBus(),
      failed: (error, attempt) => {
        if (attempt === 0)
          log.error('bus_unopened', `the message bus cannot be opened and is tried again: ${error.message}`);
      },
      clock,
      signal: this.#closing.signal,
    });
    if (this.#bus === null) return;
    this.#busLink = new BusLink(this.#bus, {
      node: settings.node,
      clock,
      table: this.#guard.table,
      distributor: this.#distributor,
      questions: this.#questions,
      insight: this.#insight,
      hint: (members) => {
        if (members !== null) this.#members?.hint(members);
        this.#replica?.hint();
      },
      hintAll: () => this.#replica?.hintAll(),
      confirm: () => this.confirm(),
    });
  }

  /** Null when hints can be trusted to come. */
  #pollMs(): number | null {
    const { redisUrl, mongoUrl } = this.#options.settings;
    if (redisUrl !== null && this.#bus?.connected === true) return null;
    return mongoUrl === null ? POLL_EMBEDDED_MS : POLL_MONGODB_MS;
  }

  /** The store does not answer for now: everyone gets what there is. */
  #storeLate(): void {
    this.#distributor.settle();
    this.#distributor.noTable();
    this.#reporter.touch();
  }

  #onConfirmed(entries: readonly TableEntry[]): void {
    if (!entries.some(({ kind }) => LISTENER_KINDS.has(kind))) return;
    const specs = wantedListeners(this.#distributor.table.values(), this.#options.settings);
    if (this.#listeners.want(specs)) this.#outbox.toPrimary({ type: 'listeners', specs });
  }

  #onApplied(applied: Applied): void {
    this.#acknowledgements.applied(applied);
    this.#copies.touch();
  }

  #onRejected(rejected: readonly RejectedEntry[]): ReadonlySet<string> {
    const news = rejected.filter((entry) => !this.#guard.isKnown(entry));
    for (const entry of news) this.#refuse([entry], entry.reason);
    return new Set(news.map(entryKey));
  }

  #refuse(entries: readonly Pick<TableEntry, 'kind' | 'name'>[], reason: string): void {
    this.#intake.refuse(entries, reason, this.#options.clock.monotonic());
    this.#state.review();
  }

  #tellBackends(backends: readonly BackendHealth[]): void {
    this.#trouble.changed(backends);
    this.#reporter.touch();
    this.#busLink?.tellBackends(backends);
  }

  #onServing(from: number, message: FromServing): void {
    switch (message.type) {
      case 'hello':
      case 'loaded':
      case 'applied':
        this.#distributor.receive(from, message);
        return;
      case 'failures':
        this.#watch.failed(message.failures);
        return;
      case 'stats':
        this.#stats.report(from, message.stats);
        this.#insight.report(message.stats);
        return;
      case 'answer':
        this.#questions.answered(from, message.n, message.answer);
        return;
      case 'rate-ask':
        this.#rates.receive(from, message);
        return;
      case 'invalid':
        this.#busLink?.invalid.told(message.answers);
        return;
      case 'recovered':
        return;
    }
  }

  #onPrimary(message: Exclude<FromPrimary, Relayed>): void {
    switch (message.type) {
      case 'processes':
        this.#state.processes = message.processes;
        this.#distributor.announce(message.processes);
        this.#reporter.touch();
        return;
      case 'gone':
        this.#distributor.gone(message.id);
        this.#questions.gone(message.id);
        this.#stats.gone(message.id);
        return;
      case 'ping':
        this.#outbox.toPrimary({ type: 'pong', n: message.n });
        return;
      case 'listen-failed':
      case 'listening':
        this.#listeners.receive(message);
        this.#state.review();
        this.#acknowledgements.look();
        return;
      case 'stopping':
      case 'stopped':
        this.#state.leaving = message.type;
        this.#reporter.touch();
        return;
      case 'start':
        return;
    }
  }

  #internalPort(address: NonNullable<SettingsOfProcess['internal']>): InternalPort {
    const { clock, log, version } = this.#options;
    const { table } = this.#guard;
    return new InternalPort({
      address,
      clock,
      log,
      metrics: () => [
        ...trafficFamilies(this.#stats),
        ...nodeFamilies(this.#state, this.#watch.health, version),
        ...rateFamilies(this.#rates.status),
      ],
      readiness: () => ({
        ...this.#state.readiness(),
        store: this.#state.storeUp ? 'up' : 'down',
        bus: this.#state.busUp ? 'up' : 'down',
      }),
      status: async () => {
        const processes = this.#distributor.processes().map(({ id }) => id);
        const { answers } = await this.#questions.ask({ type: 'backends' }, processes);
        return {
          ...statusReport(this.#state, table, this.#watch.health, answers, clock.now()),
          rates: this.#rates.status,
        };
      },
      reload: () => this.reload(),
      confirm: () => this.confirm(),
    });
  }
}
