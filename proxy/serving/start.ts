/**
 * A serving process: its parts, made once from the start message, and what each message does to them. Ends by
 * draining, never otherwise.
 */
import type net from 'node:net';
import { AddressSet } from '../../shared/address.ts';
import { BackendAddresses } from '../../shared/backend-addresses.ts';
import { systemClock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { createLog } from '../../shared/log-create.ts';
import { drainSinks } from '../../shared/log-destination.ts';
import { packageRoot } from '../../shared/package-root.ts';
import { country } from '../../shared/routing/geo.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { COOKIE_KEY_SECRET } from '../../shared/signed-cookie.ts';
import { Invalidations } from '../cache/invalidations.ts';
import { SharedAnswers } from '../cache/shared-answers.ts';
import type {
  BetweenServing,
  PrimaryToServing,
  Question,
  ServingToPrimary,
  StartMessage,
  ToServing,
} from '../link/messages.ts';
import { DryRuns } from '../observe/dry-runs.ts';
import { LoopDelay } from '../observe/loop-delay.ts';
import { createObserver, type ProcessObserver } from '../observe/observer.ts';
import { briefOf } from '../observe/recent.ts';
import { createPages } from '../pages/pages.ts';
import { RateGate } from '../rate/gate.ts';
import { LimitedCounts } from '../rate/limited-counts.ts';
import type { SocketVariant } from '../stream/accept.ts';
import { setFailureReport } from '../stream/deadlines.ts';
import { chooseSocketVariant } from '../stream/socket-variant.ts';
import { TimerWheel } from '../stream/timer-wheel.ts';
import type { TlsVariant } from '../stream/tls-handle.ts';
import { chooseTlsVariant } from '../stream/tls-variant.ts';
import { TlsFront } from '../tls/tls-front.ts';
import { socketConnector } from '../upstream/connector.ts';
import { createUpstreams, type ManagedUpstreams } from '../upstream/upstreams.ts';
import { Admission } from './admission.ts';
import { AppliedTable } from './apply.ts';
import { Certificates } from './certificates.ts';
import { Connections } from './connections.ts';
import { Descriptors, residentBytes } from './descriptors.ts';
import { Drain } from './drain.ts';
import type { Environment } from './environment.ts';
import { Front } from './front.ts';
import { Listeners, type ReceivedHandle } from './listeners.ts';
import { type OrphanSocket, openOrphanSocket } from './orphan.ts';
import { PrimaryChannel, type ToPrimary } from './primary-channel.ts';

const STATS_INTERVAL_MS = 1_000;

export class ServingProcess {
  readonly log: Log;
  readonly #settings: SettingsOfProcess;
  readonly #timers: TimerWheel;
  readonly #table: AppliedTable;
  readonly #upstreams: ManagedUpstreams;
  readonly #answers: SharedAnswers;
  readonly #observer: ProcessObserver;
  readonly #dryRuns: DryRuns;
  readonly #limited: LimitedCounts;
  readonly #rates: RateGate;
  readonly #connections = new Connections();
  readonly #drain = new Drain(this.#connections, systemClock);
  readonly #listeners: Listeners;
  readonly #admission: Admission;
  readonly #front: Front;
  readonly #orphanSocket: OrphanSocket;
  readonly #primary = new PrimaryChannel(process);
  readonly #stats: NodeJS.Timeout;
  readonly #loopDelay = new LoopDelay();
  /** How sockets are made; null until it was tried out. */
  #variant: SocketVariant | null = null;
  #tlsVariant: TlsVariant = 'net';
  /** It holds a table, or sync's word that there is none. */
  #informed = false;
  #ready = false;
  /** The next statistics are for a sync process that knows nothing yet. */
  #fullStats = true;

  constructor(start: StartMessage) {
    process.title = `kontrol serving ${start.id}`;
    const { settings } = start;
    // Later it may be whoever inherits orphans.
    const primary = process.ppid;
    this.#settings = settings;
    const log = createLog({ level: settings.logLevel, name: 'serving', fields: { process: start.id } });
    this.log = log;
    const refused = new BackendAddresses(start.control ?? []);
    this.#timers = new TimerWheel((error) => log.error('internal', 'A time-out failed', { error }));
    this.#upstreams = createUpstreams({
      connector: socketConnector(() => this.#variant ?? 'net'),
      timers: this.#timers,
      clock: systemClock,
      log,
      mayConnect: (address) =>
        refused.refusal(address, this.#table.current?.settings().backendAddresses?.refuse) === null,
      clientCertificate: (name) => certificates.pair(name),
      onFailures: (failures) => this.#send({ type: 'failures', failures }),
      onRecovered: (service, address) => this.#send({ type: 'recovered', service, address }),
    });
    const tls = new TlsFront({ log, alpn: ['h2', 'http/1.1'] });
    const certificates = new Certificates({
      tls,
      clientCertificateChanged: (name) => this.#upstreams.certificateChanged(name),
      log,
    });
    const pages = createPages({
      folder: settings.pages ?? packageRoot('errorpages'),
      onWarning: (message) => log.warn('page_unreadable', message),
    });
    this.#dryRuns = new DryRuns({
      log,
      clock: systemClock,
      knowsRule: (name) => this.#table.current?.rule(name)?.dryRun === true,
    });
    this.#limited = new LimitedCounts((name) => this.#table.current?.rule(name)?.rate != null);
    this.#rates = new RateGate({
      clock: systemClock,
      processes: settings.processes,
      send: (message) => this.#send(message),
      onLimited: (rule, dryRun, address) => {
        if (dryRun) this.#dryRuns.took(rule, 'limited', address);
        else this.#limited.refused(rule);
      },
    });
    const publicHttpsPort = settings.publicHttpsPort ?? settings.https[0]?.port ?? 443;
    this.#table = new AppliedTable(
      {
        country,
        publicHttpsPort,
        onDryRun: (rule, outcome, address) => this.#dryRuns.took(rule, outcome, address),
      },
      {
        setService: (name, service) => {
          this.#upstreams.setService(name, service);
          this.#answers.setService(name, service);
        },
        serviceNames: () => this.#upstreams.serviceNames(),
        setBrand: (name, templates) => pages.setBrand(name, templates),
        certificatesChanged: (table) => {
          this.#upstreams.setCookieKeys(table.secret(COOKIE_KEY_SECRET) ?? null);
          return certificates.update(table);
        },
      },
    );
    const invalidations = new Invalidations(systemClock, (answers) =>
      this.#send({ type: 'invalid', answers }),
    );
    this.#answers = new SharedAnswers(
      () => environment,
      (service, uri) => invalidations.add(service, uri),
    );
    this.#observer = observerFor(settings, log, (name) => this.#table.current?.service(name) !== undefined);
    const trusted = new AddressSet(settings.trustedProxies);
    const environment: Environment = {
      decide: (request) => this.#table.decide(request),
      rates: this.#rates,
      limits: () => this.#table.limits(),
      via: () => this.#table.current?.via() ?? true,
      trusts: (address) => trusted.has(address),
      publicHttpsPort,
      upstreams: this.#upstreams,
      answers: this.#answers,
      pages,
      observer: this.#observer,
      timers: this.#timers,
      clock: systemClock,
      log,
      draining: () => this.#drain.begun,
    };
    this.#listeners = new Listeners({
      log,
      variant: () => this.#variant ?? 'net',
      onStream: (stream, spec) => this.#front.accept(stream, spec),
      onSecure: (socket, spec) => this.#front.acceptSecure(socket, spec),
      onAcceptError: () => this.#admission.failed(),
      toPrimary: (message) => this.#send(message),
    });
    this.#admission = new Admission({
      gate: this.#listeners,
      descriptors: new Descriptors(),
      clock: systemClock,
      log,
      maxConnections: () => this.#table.limits().connections,
    });
    if (settings.processes > 1) this.#admission.setMean(0);
    this.#front = new Front({
      environment,
      table: this.#table,
      connections: this.#connections,
      admission: this.#admission,
      tls,
      tlsVariant: () => this.#tlsVariant,
    });
    this.#orphanSocket = openOrphanSocket(
      settings,
      {
        primary: () => (process.connected ? primary : null),
        leave: () => this.leave(),
        sockets: () => this.#listeners.held(),
      },
      (error) => log.warn('orphan_socket', `A later primary will not find this process: ${error.message}`),
    );
    this.#stats = setInterval(() => this.#sendStats(), STATS_INTERVAL_MS);
    this.#timers.start();
    setFailureReport((error) => log.error('internal', 'A stream failed', { error }));
    void chooseSocketVariant(settings.sockets).then(async (variant) => {
      if (variant !== 'handle') log.info('sockets', `Connections are made by way of ${variant}`, { variant });
      this.#tlsVariant = await chooseTlsVariant(variant);
      if (variant === 'handle' && this.#tlsVariant !== 'handle')
        log.info('sockets', 'TLS connections are made by way of net', { variant: 'net' });
      // Who accepts before a later primary can find it would be overlooked, and its port closed for a while.
      await this.#orphanSocket.settled;
      this.#variant = variant;
      this.#begin();
    });
    this.#send({ type: 'hello', pid: process.pid });
  }

  receive(message: PrimaryToServing | ToServing | BetweenServing, handle: unknown): void {
    switch (message.type) {
      case 'listen':
        this.#listeners.listen(message.spec, (handle ?? null) as ReceivedHandle | null);
        return;
      case 'spare':
        this.#listeners.spare(message.key, (handle ?? null) as ReceivedHandle | null);
        return;
      case 'connection':
        if (handle !== undefined) this.#listeners.connection(message.key, handle as net.Socket);
        return;
      case 'unlisten':
        this.#listeners.unlisten(message.key);
        return;
      case 'drain':
        this.#leave(message.ms);
        return;
      case 'ping':
        this.#pong(message.n, message.mean);
        return;
      case 'reopen-logs':
        this.reopenLogs();
        return;
      case 'greet':
        this.#rates.newDesk();
        this.#fullStats = true;
        this.#send({ type: 'hello', pid: process.pid });
        return;
      case 'load':
        this.#table.load(message.generation);
        return;
      case 'entries': {
        const { generation, seq } = message;
        const rejected = this.#table.entries(generation, message.entries, message.last);
        if (rejected === null) return;
        this.#send({ type: 'loaded', generation, seq, rejected });
        this.#inform();
        return;
      }
      case 'change': {
        const rejected = this.#table.change(message.entries);
        this.#send({ type: 'applied', change: message.change, seq: message.seq, rejected });
        this.#inform();
        return;
      }
      case 'no-table':
        this.#inform();
        return;
      case 'health':
        for (const { service, address, alive } of message.verdicts)
          this.#upstreams.setVerdict(service, address, alive);
        return;
      case 'resolved':
        this.#upstreams.setResolved(message.name, message.addresses);
        return;
      case 'failures':
        this.#upstreams.applyRemoteFailures(message.failures);
        return;
      case 'recovered':
        this.#upstreams.applyRemoteRecovered(message.service, message.address);
        return;
      case 'invalid':
        this.#answers.invalidate(message.answers);
        return;
      case 'rate-grants':
        this.#rates.receive(message);
        return;
      case 'ask':
        this.#send({ type: 'answer', n: message.n, answer: this.#answer(message.about) });
        return;
    }
  }

  /** The primary is gone: what is open stays open, and newcomers are served as before. */
  orphaned(): void {
    if (this.#drain.begun) return;
    if (!this.#ready) {
      // Nothing to serve and nobody left who could bring a table.
      this.#end();
      return;
    }
    // Nobody brings another spare handle: the one that is left is for when descriptors run out, not for fair shares.
    this.#admission.setMean(null);
    this.log.warn(
      'primary_gone',
      'The primary is gone; serving goes on until a new one takes over or SIGTERM',
    );
  }

  /** Drains and ends. */
  leave(): void {
    this.#leave(this.#settings.drainMs);
  }

  reopenLogs(): void {
    this.#observer.reopen();
  }

  #inform(): void {
    this.#informed = true;
    this.#begin();
  }

  #begin(): void {
    if (this.#ready || !this.#informed || this.#variant === null || this.#drain.begun) return;
    this.#ready = true;
    this.#listeners.begin();
    this.#send({ type: 'ready' });
  }

  #pong(n: number, mean: number | null): void {
    this.#admission.setMean(mean);
    this.#send({
      type: 'pong',
      n,
      rss: residentBytes(),
      connections: this.#admission.open,
    });
  }

  #sendStats(): void {
    // Counts go on, and are said when the primary reads again.
    if (this.#primary.stuck) return;
    const full = this.#fullStats;
    this.#fullStats = false;
    const cacheBytes = this.#answers.bytes;
    const dryRuns = this.#dryRuns.totals();
    const limited = this.#limited.totals();
    const queues = this.#upstreams.queues();
    const stats = {
      ...this.#observer.snapshot(full),
      queues,
      dryRuns,
      limited,
      cacheBytes,
      loopDelays: this.#loopDelay.totals(),
      residentBytes: residentBytes(),
    };
    this.#send({ type: 'stats', stats });
  }

  #answer(question: Question): unknown {
    if (question.type === 'backends') return this.#upstreams.status();
    if (question.type === 'backend') return this.#upstreams.use(question.service, question.address);
    if (question.type === 'purge') return this.#answers.purge(question.service, question.path);
    if (question.type === 'recent') return this.#observer.recent.newest(question.count).map(briefOf);
    return this.#observer.recent.find(question.id) ?? null;
  }

  #leave(ms: number): void {
    if (this.#drain.begun) return;
    this.#admission.close();
    this.#listeners.close();
    this.#front.close();
    void this.#drain.begin(ms).then(() => this.#end());
  }

  #end(): void {
    this.#orphanSocket.close();
    clearInterval(this.#stats);
    this.#sendStats();
    this.#loopDelay.close();
    this.#rates.close();
    this.#upstreams.close();
    this.#timers.stop();
    const exit = () => process.exit(0);
    void Promise.allSettled([this.#observer.close(), drainSinks()]).then(() => {
      if (process.connected) process.send?.({ type: 'drained' } satisfies ServingToPrimary, exit);
      else exit();
    });
  }

  /** False when nobody hears it. */
  #send(message: ToPrimary): boolean {
    return this.#primary.send(message);
  }
}

/** An access log that cannot be opened is no reason not to serve. */
function observerFor(
  settings: SettingsOfProcess,
  log: Log,
  knowsService: (name: string) => boolean,
): ProcessObserver {
  try {
    return createObserver({ accessLog: settings.accessLog, log, knowsService });
  } catch (error) {
    log.error('access_log_failed', `There is no access log: ${(error as Error).message}`);
    return createObserver({ accessLog: 'off', log, knowsService });
  }
}
