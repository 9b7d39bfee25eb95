/**
 * What this node hears and says on the bus: hints make it look, questions are answered from its serving processes.
 * Whatever arrives may be garbage from anyone; none of it is believed, and none of it costs more than a look.
 */
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Table } from '../../shared/routing/table.ts';
import type { BackendStatus } from '../upstream/upstreams.ts';
import type { Distributor } from './distribute.ts';
import { isDrained } from './drained.ts';
import type { BackendHealth } from './health-checks.ts';
import type { Insight } from './insight.ts';
import { InvalidAnswers } from './invalid-answers.ts';
import type { Questions } from './questions.ts';

/** Questions that are being answered at the same time. */
const MAX_ANSWERING = 200;
/** Backends named in one event at most; there may be thousands behind one switch. */
const MAX_EVENT_BACKENDS = 50;

export interface BusLinkOptions {
  readonly node: string;
  readonly clock: Clock;
  readonly table: Table;
  readonly distributor: Distributor;
  readonly questions: Questions;
  readonly insight?: Insight;
  /** Something may have changed; `members` names the service whose members did. */
  hint(members: string | null): void;
  /** Messages may have been missed: read everything. */
  hintAll(): void;
  confirm(): void;
}

export class BusLink {
  /** Told by the serving processes of this node, and by the other nodes. */
  readonly invalid: InvalidAnswers;
  readonly #bus: Bus;
  readonly #options: BusLinkOptions;
  #answering = 0;

  constructor(bus: Bus, options: BusLinkOptions) {
    this.#bus = bus;
    this.#options = options;
    this.invalid = new InvalidAnswers({
      node: options.node,
      clock: options.clock,
      publish: (message) => bus.publish('kontrol:ask', message),
      broadcast: (message) => options.distributor.broadcast(message),
    });
    bus.subscribe('updateProxy', (message) => {
      const members = message?.['members'];
      const named = typeof members === 'string' && members.length > 0 && members.length <= 128;
      options.hint(named ? members : null);
    });
    bus.subscribe('kontrol:ask', (message) => void this.#asked(message ?? {}));
    bus.onConnected(() => options.hintAll());
  }

  /** These backends were found dead, or alive again. */
  tellBackends(backends: readonly BackendHealth[]): void {
    const { node, clock } = this.#options;
    const told = backends.slice(0, MAX_EVENT_BACKENDS).map(({ service, address, alive, problem }) => {
      return { service, address, alive, problem: problem?.slice(0, 200) ?? null };
    });
    this.#bus.publish('kontrol:events', { event: 'backends', node, at: clock.now(), backends: told });
  }

  async #asked(message: Readonly<Record<string, unknown>>): Promise<void> {
    const { ask, node, id } = message;
    if (node !== undefined && node !== this.#options.node) return;
    if (ask === 'confirm') {
      this.#options.confirm();
      return;
    }
    if (ask === 'invalid') {
      this.invalid.heard(message);
      return;
    }
    if (typeof id !== 'string' || id.length > 128 || this.#answering >= MAX_ANSWERING) return;
    this.#answering++;
    try {
      const answer = await this.#answer(message);
      if (answer !== null) this.#bus.publish('kontrol:answer', { id, node: this.#options.node, ...answer });
    } finally {
      this.#answering--;
    }
  }

  async #answer(message: Readonly<Record<string, unknown>>): Promise<object | null> {
    const { ask, service, address, request } = message;
    if (ask === 'drained' && typeof service === 'string' && typeof address === 'string') {
      return { drained: await isDrained(this.#options, service, address) };
    }
    if (ask === 'purge' && typeof service === 'string') return this.#purge(service, message['path']);
    if (ask === 'request' && typeof request === 'string' && request.length <= 256) {
      const record = await this.#findRequest(request);
      return record === null ? null : { record };
    }
    return this.#options.insight?.answer(message) ?? null;
  }

  async #purge(service: string, path: unknown): Promise<object> {
    const { distributor, questions } = this.#options;
    const processes = distributor.processes().map((process) => process.id);
    const about = { type: 'purge', service, path: typeof path === 'string' ? path : null } as const;
    const { answers, complete } = await questions.ask(about, processes);
    const counts = answers.map(({ answer }) => answer).filter((count) => typeof count === 'number');
    return {
      purged: counts.reduce((sum, count) => sum + count, 0),
      // A process of another version may not know the question.
      complete: complete && counts.length === answers.length,
    };
  }

  async #findRequest(id: string): Promise<object | null> {
    const { distributor, questions } = this.#options;
    const processes = distributor.processes().map((process) => process.id);
    const { answers } = await questions.ask({ type: 'request', id }, processes);
    for (const { answer } of answers) if (typeof answer === 'object' && answer !== null) return answer;
    return null;
  }
}

/** The answer to `backends`, with whatever a process of another version left out dropped. */
export function statusesOf(answer: unknown): BackendStatus[] {
  if (!Array.isArray(answer)) return [];
  return answer.filter(
    (status: Partial<BackendStatus> | null) =>
      typeof status?.service === 'string' &&
      typeof status.address === 'string' &&
      typeof status.active === 'number' &&
      typeof status.tunnels === 'number',
  ) as BackendStatus[];
}
