/** `/healthz`, `/readyz` and `/metrics` of the API: small, without names of objects, and open to whoever reaches the port. */
import type { ApiContext } from '../context.ts';
import { type Operation, operation } from './operation.ts';

/** Requests answered, by method and class of status: both from closed sets, so the series are bounded. */
export class RequestCounters {
  readonly #requests = new Map<string, number>();
  #seconds = 0;
  #count = 0;

  readonly count = (method: string, status: number, seconds: number): void => {
    const known = METHODS.has(method) ? method : 'other';
    const key = `method="${known}",status="${Math.floor(status / 100)}xx"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
    this.#seconds += seconds;
    this.#count++;
  };

  lines(): string[] {
    return [
      '# HELP kontrol_api_requests_total Requests answered by kontrolapi.',
      '# TYPE kontrol_api_requests_total counter',
      ...[...this.#requests].map(([key, value]) => `kontrol_api_requests_total{${key}} ${value}`),
      '# HELP kontrol_api_request_seconds Time from the head of a request to the end of its answer.',
      '# TYPE kontrol_api_request_seconds summary',
      `kontrol_api_request_seconds_sum ${this.#seconds}`,
      `kontrol_api_request_seconds_count ${this.#count}`,
    ];
  }
}

const METHODS = new Set(['GET', 'HEAD', 'PUT', 'PATCH', 'POST', 'DELETE']);

export function healthOperations(context: ApiContext, counters: RequestCounters): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/healthz',
      summary: 'The process answers',
      access: 'public',
      handle: () => ({ body: { status: 'ok' } }),
    }),
    operation({
      method: 'GET',
      path: '/readyz',
      summary: 'The API can read and write: 503 says what is missing',
      access: 'public',
      handle() {
        const { store, bus, present } = context;
        const ready = present.loaded && store.reachable;
        const body = {
          ready,
          loaded: present.loaded,
          seq: present.seq,
          store: store.reachable ? 'up' : 'down',
          bus: bus.connected ? 'up' : 'down',
        };
        return { status: ready ? 200 : 503, body };
      },
    }),
    operation({
      method: 'GET',
      path: '/metrics',
      summary: 'Counters in the text format of Prometheus',
      access: 'public',
      handle() {
        const { store, bus, present, writer, nodes } = context;
        const lines = [
          ...counters.lines(),
          ...gauge('kontrol_api_store_up', 'The last call reached the store.', store.reachable ? 1 : 0),
          ...gauge('kontrol_api_bus_up', 'The bus is connected.', bus.connected ? 1 : 0),
          ...gauge('kontrol_api_seq', 'The newest revision this process knows.', present.seq),
          ...gauge(
            'kontrol_api_alarms',
            'Alarms about nodes; GET /v1/nodes names them.',
            nodes.alarms.length,
          ),
          ...gauge(
            'kontrol_api_hash_mismatch',
            '1 while two that stand at the same revision do not hold the same objects.',
            Number(nodes.alarms.some(({ alarm }) => alarm === 'hash_mismatch')),
          ),
          '# HELP kontrol_api_revisions_written_total Revisions appended by this process.',
          '# TYPE kontrol_api_revisions_written_total counter',
          `kontrol_api_revisions_written_total ${writer.written}`,
        ];
        return {
          headers: { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' },
          text: `${lines.join('\n')}\n`,
        };
      },
    }),
  ];
}

function gauge(name: string, help: string, value: number): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, `${name} ${value}`];
}
