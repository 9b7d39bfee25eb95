/**
 * The internal port of a node: metrics, reload, health, readiness and the status page. For operators and their
 * tools on this machine; when its port is taken that is logged and tried again, and visitors never notice.
 */
import http from 'node:http';
import net from 'node:net';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { ListenAddress } from '../../shared/settings.ts';
import { METRICS_CONTENT_TYPE, type MetricFamily, renderMetrics } from '../observe/metrics.ts';
import type { Readiness } from './node-state.ts';
import { renderStatusPage } from './status-page.ts';
import type { StatusReport } from './status-report.ts';

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;
const MAX_CONNECTIONS = 200;

export interface InternalPortOptions {
  readonly address: ListenAddress;
  readonly clock: Clock;
  readonly log: Log;
  metrics(): readonly MetricFamily[];
  readiness(): Readiness & { readonly store: 'up' | 'down'; readonly bus: 'up' | 'down' };
  status(): Promise<StatusReport>;
  /** Re-reads everything now. */
  reload(): void;
  /** Held deletions are meant; returns how many there were. */
  confirm(): number;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

export class InternalPort {
  readonly #options: InternalPortOptions;
  readonly #server: http.Server;
  #failures = 0;
  #cancelRetry: (() => void) | null = null;
  #closed = false;

  constructor(options: InternalPortOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => void this.#serve(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.headersTimeout = 5_000;
    this.#server.requestTimeout = 10_000;
    this.#server.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    this.#server.on('clientError', (_error, socket) => socket.destroy());
    this.#server.on('listening', () => {
      if (this.#failures > 0) this.#options.log.info('internal_port_open', 'the internal port is open now');
      this.#failures = 0;
    });
  }

  start(): void {
    this.#listen();
  }

  /** The port that is listened on; null while there is none. */
  get port(): number | null {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : null;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #listen(): void {
    const { host, port } = this.#options.address;
    this.#server.listen({ port, ...(host === '' ? {} : { host }) });
  }

  #failed(error: NodeJS.ErrnoException): void {
    if (this.#closed || this.#server.listening) return;
    const { host, port } = this.#options.address;
    if (this.#failures++ === 0) {
      this.#options.log.error(
        'internal_port_failed',
        `the internal port ${host}:${port} cannot be opened (${error.message}); it is tried again. Another node on this machine needs its own --internal`,
      );
    }
    const wait = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(this.#failures - 1, 10));
    this.#cancelRetry = this.#options.clock.after(wait, () => this.#listen());
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    request.resume();
    let answer: Answer;
    try {
      answer = await this.#answer(request);
    } catch (error) {
      this.#options.log.error('internal_port_error', 'an answer of the internal port failed', { error });
      answer = text(500, 'this failed here; the log says why\n');
    }
    response.writeHead(answer.status, {
      'content-type': answer.type,
      'content-length': Buffer.byteLength(answer.body),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(request.method === 'HEAD' ? undefined : answer.body);
  }

  async #answer(request: http.IncomingMessage): Promise<Answer> {
    if (isLoopback(this.#options.address.host) && !namesThisMachine(request.headers.host)) {
      return text(421, 'this port is for this machine: ask for it as localhost or by its address\n');
    }
    const path = (request.url ?? '/').split('?', 1)[0];
    switch (path) {
      case '/healthz':
        return text(200, 'ok\n');
      case '/readyz': {
        const readiness = this.#options.readiness();
        return json(readiness.ready ? 200 : 503, readiness);
      }
      case '/metrics':
        return {
          status: 200,
          type: METRICS_CONTENT_TYPE,
          body: await renderMetrics(this.#options.metrics()),
        };
      case '/reload':
        this.#options.reload();
        return json(200, { reloading: true });
      case '/confirm':
        if (request.method !== 'POST') return text(405, 'POST confirms the deletions that are held back\n');
        // A browser on this machine posts here for any page that it shows; it says so, and no tool of ours does.
        if (request.headers.origin !== undefined)
          return text(403, 'confirming is not for pages in a browser\n');
        return json(200, { confirmed: this.#options.confirm() });
      case '/':
      case '/status': {
        const report = await this.#options.status();
        return prefersHtml(request.headers.accept)
          ? { status: 200, type: 'text/html; charset=utf-8', body: renderStatusPage(report) }
          : json(200, report);
      }
      default:
        return text(404, 'there is /metrics, /reload, /healthz, /readyz and /status\n');
    }
  }
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

/**
 * A page in a browser on this machine can make its own name resolve to a loopback address (DNS rebinding) and read
 * what is here as if it were its own; the Host that comes then is that name. Tools without one are no browsers.
 */
function namesThisMachine(host: string | undefined): boolean {
  if (host === undefined) return true;
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return (
    net.isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || name === 'localhost' || name.endsWith('.localhost')
  );
}

function prefersHtml(accept: string | undefined): boolean {
  if (accept === undefined) return false;
  const html = accept.indexOf('text/html');
  const plain = accept.indexOf('application/json');
  return html >= 0 && (plain < 0 || html < plain);
}

function json(status: number, body: object): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(body)}\n` };
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}
