/**
 * The standard load: 300 requests a second on 40 connections, 20 % of them on fresh connections, GET and POST in
 * turn, each with an id. Every request is accounted for: what it got, or how it failed and in which phase.
 *
 * A reset of a kept connection before the first byte of an answer is retried once on a fresh one for GET, as every
 * browser does (RFC 9112 §9.5); it is counted apart.
 */
import { Agent, type IncomingMessage, request } from 'node:http';

const GONE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

export interface LoadOptions {
  readonly ports: readonly number[];
  readonly host: string;
  readonly seconds: number;
  readonly perSecond?: number;
  readonly connections?: number;
  readonly path?: string;
  /** Every fifth request is on a connection of its own; default true. */
  readonly fresh?: boolean;
}

export interface Outcome {
  readonly id: string;
  readonly method: 'GET' | 'POST';
  readonly startedAt: number;
  endedAt: number;
  /** 0 when there was no answer. */
  status: number;
  error: string | null;
  /** The head of an answer had arrived before it failed. */
  begun: boolean;
  retryAfter: string | null;
  body: string;
  retried: boolean;
}

export class Load {
  readonly outcomes: Outcome[] = [];
  readonly done: Promise<void>;
  readonly #options: Required<LoadOptions>;
  #stopped = false;

  constructor(options: LoadOptions) {
    this.#options = { perSecond: 300, connections: 40, path: '/', fresh: true, ...options };
    const clients = Array.from({ length: this.#options.connections }, (_, index) => this.#client(index));
    this.done = Promise.all(clients).then(() => {});
  }

  stop(): void {
    this.#stopped = true;
  }

  /** One client sends its requests one after the other, at its own pace. */
  async #client(index: number): Promise<void> {
    const { ports, seconds, perSecond, connections } = this.#options;
    const interval = (connections / perSecond) * 1_000;
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const start = performance.now() + (index / connections) * interval;
    for (let turn = 0; !this.#stopped; turn++) {
      const due = start + turn * interval;
      if (due - start > seconds * 1_000) break;
      const wait = due - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      const fresh = this.#options.fresh && turn % 5 === 0;
      await this.#one(
        `c${index}-${turn}`,
        turn % 2 === 0 ? 'GET' : 'POST',
        ports[index % ports.length] as number,
        fresh ? undefined : agent,
      );
    }
    agent.destroy();
  }

  async #one(id: string, method: 'GET' | 'POST', port: number, agent: Agent | undefined): Promise<void> {
    const outcome: Outcome = {
      id,
      method,
      startedAt: performance.now(),
      endedAt: 0,
      status: 0,
      error: null,
      begun: false,
      retryAfter: null,
      body: '',
      retried: false,
    };
    this.outcomes.push(outcome);
    const reset = await this.#send(outcome, port, agent);
    if (reset === 'reused' && method === 'GET' && !outcome.begun) {
      outcome.retried = true;
      outcome.error = null;
      await this.#send(outcome, port, undefined);
    }
    outcome.endedAt = performance.now();
  }

  /** `reused` when a kept connection was gone before an answer began. */
  #send(outcome: Outcome, port: number, agent: Agent | undefined): Promise<'reused' | null> {
    const body = outcome.method === 'POST' ? 'x'.repeat(100) : '';
    return new Promise((resolve) => {
      const call = request({
        host: '127.0.0.1',
        port,
        path: this.#options.path,
        method: outcome.method,
        agent: agent ?? false,
        headers: {
          host: this.#options.host,
          'x-id': outcome.id,
          ...(body === '' ? {} : { 'content-length': body.length }),
        },
        timeout: 20_000,
      });
      const fail = (error: Error & { code?: string }) => {
        outcome.error = error.code ?? error.message;
        // Nothing but a connection that was gone: an answer that does not come is a failure on any connection.
        resolve(call.reusedSocket && GONE.has(error.code ?? '') ? 'reused' : null);
      };
      call.on('timeout', () => call.destroy(Object.assign(new Error('no answer'), { code: 'TIMEOUT' })));
      call.on('error', fail);
      call.on('response', (response: IncomingMessage) => {
        outcome.begun = true;
        outcome.status = response.statusCode ?? 0;
        outcome.retryAfter = response.headers['retry-after'] ?? null;
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          outcome.body += chunk;
        });
        response.on('error', fail);
        response.on('end', () => resolve(null));
      });
      call.end(body);
    });
  }
}

export interface Summary {
  readonly requests: number;
  readonly ok: number;
  readonly failedGets: number;
  readonly failedPosts: number;
  /** Answers other than 200, by status. */
  readonly statuses: Readonly<Record<string, number>>;
  readonly errors: Readonly<Record<string, number>>;
  readonly retried: number;
}

/** Failed: no complete 200 (where `accepted` says nothing else). */
export function summarise(outcomes: readonly Outcome[], accepted: readonly number[] = [200]): Summary {
  const good = (one: Outcome) => one.error === null && accepted.includes(one.status);
  const count = (values: readonly string[]) => {
    const counts: Record<string, number> = {};
    for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
    return counts;
  };
  return {
    requests: outcomes.length,
    ok: outcomes.filter(good).length,
    failedGets: outcomes.filter((one) => !good(one) && one.method === 'GET').length,
    failedPosts: outcomes.filter((one) => !good(one) && one.method === 'POST').length,
    statuses: count(
      outcomes.filter((one) => one.status !== 0 && one.status !== 200).map((one) => String(one.status)),
    ),
    errors: count(outcomes.flatMap((one) => (one.error === null ? [] : [one.error]))),
    retried: outcomes.filter((one) => one.retried).length,
  };
}
