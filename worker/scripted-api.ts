/** For tests: the worker calls of kontrolapi on a free port, answered as told; can go away and come back. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Heard {
  readonly call: string;
  readonly id: string | null;
  readonly query: URLSearchParams;
  readonly body: Readonly<Record<string, unknown>>;
}

export class ScriptedApi {
  /** Calls in order: `register`, `beat`, `drain`, `leave`. */
  readonly heard: Heard[] = [];
  permission: 'run' | 'wait' = 'run';
  command: 'drain' | 'stop' | null = null;
  /** Answered to every call instead of what it asks for. */
  status: number | null = null;
  /** What such an answer says. */
  problem: object = { detail: 'as told' };
  /** So many of the next drains are answered at once with a node that still has something active. */
  stillActive = 0;
  /** A drain is answered when this is true. */
  drains = true;
  readonly #known = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  #server: Server | null = null;
  #port = 0;
  #last = 0;

  static async start(): Promise<ScriptedApi> {
    const api = new ScriptedApi();
    await api.open();
    return api;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async open(): Promise<void> {
    const server = createServer((request, response) => void this.#take(request, response));
    this.#server = server;
    server.listen(this.#port, '127.0.0.1');
    await once(server, 'listening');
    this.#port = (server.address() as AddressInfo).port;
  }

  /** As if it had been killed. */
  async close(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  }

  /** It knows no worker any more. */
  forget(): void {
    this.#known.clear();
  }

  finishDrains(): void {
    this.drains = true;
    for (const finish of this.#waiting.splice(0)) finish();
  }

  calls(call: string): Heard[] {
    return this.heard.filter((heard) => heard.call === call);
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const [, id = null, last] = /^\/v1\/workers\/?([^/?]+)?\/?(\w+)?/.exec(request.url ?? '') ?? [];
    const call = id === null ? 'register' : last === 'heartbeat' ? 'beat' : (last ?? 'leave');
    const query = new URL(request.url ?? '', this.url).searchParams;
    this.heard.push({ call, id, query, body: text === '' ? {} : JSON.parse(text) });
    const answer = (status: number, body: object = {}) => {
      response.statusCode = status;
      response.end(status === 204 ? '' : JSON.stringify(body));
    };
    if (this.status !== null) answer(this.status, this.problem);
    else if (call === 'register') {
      const fresh = `w${++this.#last}`;
      this.#known.add(fresh);
      answer(201, { id: fresh, permission: this.permission, ttlMs: 300, heartbeatMs: 50 });
    } else if (id === null || !this.#known.has(id)) answer(404, { code: 'worker_unknown' });
    else if (call === 'beat') answer(200, { permission: this.permission, command: this.command });
    else if (call === 'drain') {
      if (this.stillActive-- > 0) answer(202, { pending: ['n1'] });
      else if (this.drains) answer(200, { pending: [] });
      else this.#waiting.push(() => answer(200, { pending: [] }));
    } else {
      this.#known.delete(id);
      answer(204);
    }
  }
}

/** Resolves when `condition` holds; rejects after 10 s with what it waited for. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
