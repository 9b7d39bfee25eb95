/**
 * The sync process of a node, put together: store and bus on one side, the serving processes (through the primary) on
 * the other, the disk beneath. Serves from the last-known-good copy first and from the store as soon as it answers;
 * nothing about store, bus or disk ever ends it.
 */
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { NodeRecord, Quarantined } from '../../shared/model/live.ts';
import type { RejectedEntry, TableEntry } from '../../shared/routing/entry.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import type { Store } from '../../shared/store/contract.ts';
import { Follower } from '../../shared/store/follower.ts';
import type { PrimaryToSync, Relayed } from '../link/messages.ts';
import { followerState, makeCopy, seedObjects } from './copy.ts';
import { type Applied, Distributor, entryKey } from './distribute.ts';
import { EmptinessGuard } from './emptiness.ts';
import { Guard } from './guard.ts';
import { confirmedDeletions, Intake } from './intake.ts';
import { type Copy, CopyKeeper, nodeFolder, readCopy } from './last-known-good.ts';
import { type FromPrimary, type Link, Outbox } from './link.ts';
import { ListenerStates, wantedListeners } from './listeners.ts';
import { MembersFollower } from './members.ts';
import { NodeReporter } from './node-record.ts';
import { Objects } from './objects.ts';
import { type Found, Replica } from './replica.ts';
import { SecretKeys } from './secret-keys.ts';

/** How long processes without a table wait for the store before they answer 503. */
const NO_TABLE_AFTER_MS = 2_000;
const FIRST_REOPEN_MS = 500;
const MAX_REOPEN_MS = 10_000;
/** Without Redis: how often the embedded store is asked (cheap), and MongoDB. */
const POLL_EMBEDDED_MS = 50;
const POLL_MONGODB_MS = 1_000;

export interface SyncOptions {
  readonly settings: SettingsOfProcess;
  readonly version: string;
  readonly link: Link;
  readonly clock: Clock;
  readonly log: Log;
  openStore(): Promise<Store>;
  openBus(): Promise<Bus>;
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
  readonly #copies: CopyKeeper;
  readonly #reporter: NodeReporter;
  readonly #listeners = new ListenerStates();
  readonly #folder: string;
  #copy: Copy | null = null;
  #store: Store | null = null;
  #follower: Follower | null = null;
  #members: MembersFollower | null = null;
  #replica: Replica | null = null;
  #bus: Bus | null = null;
  #processes: Extract<PrimaryToSync, { type: 'processes' }>['processes'] = [];
  /** What each sequence number on its way stands for. */
  readonly #sent = new Map<number, { readonly hash: string; readonly at: number | null }>();
  #applied: { readonly seq: number; readonly hash: string } = { seq: 0, hash: '' };
  #lagMs = 0;
  #quarantinedText = '';
  #held = 0;
  #stopping = false;
  #closed = false;
  #cancelTimers = new Set<() => void>();

  constructor(options: SyncOptions) {
    this.#options = options;
    const { settings, link, clock, log } = options;
    this.#folder = nodeFolder(settings.data, settings.node);
    this.#outbox = new Outbox(link);
    this.#secrets = new SecretKeys(() => this.#store?.live ?? null, settings.secret);
    this.#guard = new Guard(log, (kind, doc) =>
      kind === 'certificate' ? this.#secrets.problemOf(doc) : null,
    );
    this.#distributor = new Distributor(this.#outbox, clock, log, {
      confirmed: (entries) => this.#onConfirmed(entries),
      applied: (applied) => this.#onApplied(applied),
      rejected: (rejected) => this.#onRejected(rejected),
      deadly: (entries, reason) => this.#intake.refuse(entries, reason, clock.monotonic()),
      afterLoad: () => [],
    });
    this.#intake = new Intake({
      guard: this.#guard,
      objects: this.#objects,
      secrets: this.#secrets,
      distributor: this.#distributor,
      log,
    });
    this.#copies = new CopyKeeper(this.#folder, clock, log, () =>
      this.#follower === null
        ? null
        : makeCopy(this.#distributor.table, this.#follower, this.#secrets, clock),
    );
    this.#reporter = new NodeReporter(
      clock,
      () => this.#store?.live ?? null,
      () => this.#describe(),
    );
  }

  /** Resolves when the last-known-good copy was read; store and bus are opened in the background, for ever. */
  async start(): Promise<void> {
    const { log, clock } = this.#options;
    this.#copy = await readCopy(this.#folder, log);
    if (this.#closed) return;
    if (this.#copy !== null) this.#resume(this.#copy);
    else this.#after(NO_TABLE_AFTER_MS, () => this.#distributor.noTable());
    this.#after(NO_TABLE_AFTER_MS, () => this.#distributor.settle());
    void this.#openStore();
    void this.#openBus();
    this.#reporter.start();
    log.debug('sync_started', 'sync runs', { copy: this.#copy?.seq ?? null, at: clock.now() });
  }

  receive(message: FromPrimary): void {
    if (this.#closed) return;
    if ('relay' in message) this.#onRelayed(message);
    else this.#onPrimary(message);
  }

  /** Re-reads everything now. */
  reload(): void {
    this.#replica?.hintAll();
  }

  /** The deletions that the emptiness guard holds back are meant: they are made. Returns how many there were. */
  confirm(): number {
    const confirmed = this.#emptiness.confirm();
    const members = this.#members;
    const changes = confirmedDeletions(confirmed, this.#objects, (names) => members?.remove(names) ?? []);
    void this.#intake.changed(changes, this.#options.clock.monotonic());
    this.#stateChanged();
    return changes.length;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const cancel of this.#cancelTimers) cancel();
    await this.#replica?.close();
    await this.#intake.idle();
    await this.#copies.close();
    await this.#reporter.close();
    this.#distributor.close();
    this.#outbox.close();
    await this.#bus?.close();
    await this.#store?.close();
  }

  #resume(copy: Copy): void {
    this.#options.log.info('copy_used', 'the last-known-good copy is in force until the store answers', {
      seq: copy.seq,
      objects: copy.entries.length,
    });
    seedObjects(this.#objects, copy);
    const secrets = this.#secrets.seed(copy.secrets);
    this.#guard.seed(copy.entries);
    const entries = [...this.#guard.admit(secrets), ...copy.entries];
    this.#applied = { seq: copy.seq, hash: copy.hash };
    this.#intake.resume(copy.seq);
    this.#distributor.install(entries, copy.seq);
    this.#stateChanged();
  }

  async #openStore(): Promise<void> {
    const { log, clock, settings } = this.#options;
    const store = await this.#untilOpen('store_unopened', 'the store cannot be opened', () =>
      this.#options.openStore(),
    );
    if (store === null) return;
    if (this.#closed) return await store.close();
    const copy = this.#copy;
    const members = new MembersFollower(store.live, this.#emptiness);
    for (const { kind, name, doc } of copy?.entries ?? []) {
      if (kind === 'members' && doc !== null) members.seed(name, doc);
    }
    this.#store = store;
    this.#members = members;
    this.#follower = new Follower(store, copy === null ? undefined : followerState(copy));
    this.#copy = null;
    this.#replica = new Replica({
      store,
      follower: this.#follower,
      objects: this.#objects,
      members,
      guard: this.#emptiness,
      clock,
      log,
      ttlMs: settings.ttlMs,
      pollMs: () => this.#pollMs(),
      found: (found) => this.#onFound(found),
      failed: () => this.#onStoreFailed(),
    });
    this.#replica.start();
  }

  async #openBus(): Promise<void> {
    const bus = await this.#untilOpen('bus_unopened', 'the message bus cannot be opened', () =>
      this.#options.openBus(),
    );
    if (bus === null) return;
    if (this.#closed) return await bus.close();
    this.#bus = bus;
    bus.subscribe('updateProxy', (message) => {
      const service = message?.['members'];
      if (typeof service === 'string' && service.length <= 128 && message?.['seq'] === undefined) {
        this.#members?.hint(service);
      }
      this.#replica?.hint();
    });
    bus.subscribe('kontrol:ask', (message) => {
      if (message?.['ask'] !== 'confirm') return;
      const node = message['node'];
      if (node === undefined || node === this.#options.settings.node) this.confirm();
    });
    // Messages may have been missed meanwhile.
    bus.onConnected(() => this.#replica?.hintAll());
  }

  async #untilOpen<T>(code: string, what: string, open: () => Promise<T>): Promise<T | null> {
    for (let attempt = 0; !this.#closed; attempt++) {
      try {
        return await open();
      } catch (error) {
        const reason = (error as Error)?.message ?? String(error);
        if (attempt % 10 === 0) {
          this.#options.log.error(code, `${what} and is tried again for ever: ${reason}`, { attempt });
        }
        if (code === 'store_unopened') this.#onStoreFailed();
        await new Promise<void>((resolve) =>
          this.#after(Math.min(MAX_REOPEN_MS, FIRST_REOPEN_MS * 2 ** Math.min(attempt, 10)), resolve),
        );
      }
    }
    return null;
  }

  #pollMs(): number | null {
    const { settings } = this.#options;
    if (settings.redisUrl !== null) return this.#bus?.connected === true ? null : POLL_MONGODB_MS;
    return settings.mongoUrl === null ? POLL_EMBEDDED_MS : POLL_MONGODB_MS;
  }

  async #onFound(found: Found): Promise<void> {
    this.#sent.set(found.seq, { hash: found.hash, at: found.at });
    await this.#intake.found(found);
    this.#distributor.settle();
    this.#stateChanged();
  }

  #onStoreFailed(): void {
    this.#distributor.settle();
    this.#distributor.noTable();
    this.#reporter.touch();
  }

  #onConfirmed(entries: readonly TableEntry[]): void {
    const matters = entries.some(({ kind }) =>
      ['listener', 'certificate', 'defaultCertificate'].includes(kind),
    );
    if (!matters) return;
    const specs = wantedListeners(this.#distributor.table.values(), this.#options.settings);
    if (this.#listeners.want(specs)) this.#outbox.toPrimary({ type: 'listeners', specs });
  }

  #onApplied({ seq, ms }: Applied): void {
    const { clock, settings } = this.#options;
    const sent = this.#sent.get(seq);
    const hash = sent?.hash ?? this.#applied.hash;
    if (sent?.at != null) this.#lagMs = Math.max(0, clock.now() - sent.at);
    for (const known of this.#sent.keys()) if (known < seq) this.#sent.delete(known);
    this.#applied = { seq, hash };
    this.#bus?.publish('kontrol:applied', { node: settings.node, seq, hash, ms: Math.round(ms) });
    this.#reporter.touch();
    this.#copies.touch();
  }

  #onRejected(rejected: readonly RejectedEntry[]): ReadonlySet<string> {
    const news = rejected.filter((entry) => !this.#guard.isKnown(entry));
    for (const entry of news) {
      this.#intake.refuse([entry], entry.reason, this.#options.clock.monotonic());
    }
    if (news.length > 0) this.#stateChanged();
    return new Set(news.map(entryKey));
  }

  #onRelayed(message: Relayed): void {
    if (message.relay !== 'from-serving') return;
    const { from, message: inner } = message;
    if (inner.type === 'hello' || inner.type === 'loaded' || inner.type === 'applied') {
      this.#distributor.receive(from, inner);
    }
  }

  #onPrimary(message: Exclude<FromPrimary, Relayed>): void {
    switch (message.type) {
      case 'processes':
        this.#processes = message.processes;
        this.#distributor.announce(message.processes);
        this.#reporter.touch();
        return;
      case 'gone':
        this.#distributor.gone(message.id);
        return;
      case 'ping':
        this.#outbox.toPrimary({ type: 'pong', n: message.n });
        return;
      case 'listen-failed':
        this.#listeners.failed(message.key, message.reason);
        this.#stateChanged();
        return;
      case 'listening':
        this.#listeners.listening(message.key);
        this.#stateChanged();
        return;
      case 'stopping':
        this.#stopping = true;
        this.#reporter.touch();
        return;
      case 'start':
        return;
    }
  }

  #quarantined(): Quarantined[] {
    return [...this.#guard.quarantined(), ...this.#listeners.quarantined()];
  }

  /** Quarantine or alarms may have changed: whoever shows them is told. */
  #stateChanged(): void {
    const quarantined = this.#quarantined();
    const text = JSON.stringify(quarantined);
    if (text !== this.#quarantinedText) {
      this.#quarantinedText = text;
      this.#outbox.toPrimary({ type: 'quarantine', quarantined });
      this.#reporter.touch();
    }
    const { held } = this.#emptiness;
    if (held.length !== this.#held) {
      if (held.length > this.#held) {
        this.#options.log.error(
          'deletions_held',
          'the store suddenly lacks many objects; they stay in force until POST /v1/nodes/confirm says that this is meant',
          { count: held.length, held: held.slice(0, 20) },
        );
      }
      this.#held = held.length;
      this.#reporter.touch();
    }
  }

  #describe(): Omit<NodeRecord, 'beat'> {
    const { settings, version } = this.#options;
    const seqs = new Map(this.#distributor.processes().map(({ id, seq }) => [id, seq]));
    const held = this.#emptiness.held;
    return {
      _id: settings.node,
      version,
      seq: this.#applied.seq,
      hash: this.#applied.hash,
      lagMs: this.#lagMs,
      processes: this.#processes.map(({ role, id, pid }) => ({
        role,
        id,
        pid,
        seq: role === 'serving' ? (seqs.get(id) ?? 0) : this.#intake.seq,
      })),
      quarantined: this.#quarantined().slice(0, 1_000),
      drift: this.#objects
        .drift()
        .filter((name) => !held.includes(name))
        .slice(0, 1_000),
      store: this.#replica?.up ? 'up' : 'down',
      bus: this.#bus?.connected ? 'up' : 'down',
      ready: this.ready,
      held: held.slice(0, 1_000),
    };
  }

  /** Whether visitors are served by a table, and not about to be sent away. */
  get ready(): boolean {
    return (
      !this.#stopping &&
      this.#distributor.processes().some((process) => process.loaded && process.state === 'ready')
    );
  }

  #after(ms: number, callback: () => void): void {
    const cancel = this.#options.clock.after(ms, () => {
      this.#cancelTimers.delete(cancel);
      callback();
    });
    this.#cancelTimers.add(cancel);
  }
}
