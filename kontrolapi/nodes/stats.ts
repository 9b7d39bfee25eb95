/** `/v1/stats`: the traffic of the last minutes, of all nodes together, by node, by service and by domain. */
import { z } from 'zod';
import { READERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation } from '../http/operation.ts';
import type { NodeAnswer } from './questions.ts';

const ASK_MS = 1_000;
const DEFAULT_LISTED = 50;
const MAX_LISTED = 200;
const MINUTE_FIELDS = ['requests', 'errors', 'bytesIn', 'bytesOut', 'timeMs', 'websockets', 'tcp'] as const;
const NAMED_FIELDS = ['requests', 'errors', 'bytesOut', 'timeMs'] as const;

type Sums = Record<string, number>;

const query = z.strictObject({
  limit: z
    .string()
    .regex(/^\d{1,3}$/, 'a limit is a positive integer')
    .transform(Number)
    .refine((limit) => limit >= 1 && limit <= MAX_LISTED, `a limit is 1 to ${MAX_LISTED}`)
    .optional()
    .describe(`services and domains that are listed, 1 to ${MAX_LISTED}; default ${DEFAULT_LISTED}`),
  service: z
    .string()
    .max(253)
    .optional()
    .describe('only this service is listed, however little traffic it has, and no domain'),
});

export function statsOperations({ questions, nodes }: ApiContext): Operation[] {
  return [
    operation({
      method: 'GET',
      path: '/v1/stats',
      summary: 'Traffic of the last 15 minutes, whole and by node; of the last 5 by service and domain',
      access: READERS,
      query,
      async handle(call) {
        const { limit = DEFAULT_LISTED, service } = call.query;
        const about = service === undefined ? {} : { service: service.toLowerCase() };
        const answers = await questions.ask({ ask: 'stats', ...about }, ASK_MS);
        const silent = nodes.live().filter((node) => !answers.has(node));
        return { body: { ...mergeStats(answers, limit, about.service), silent } };
      },
    }),
  ];
}

/**
 * Answers may be of another version, or from anyone: what is no number counts nothing. `only`: the one service that
 * was asked for; nodes of an earlier version name others too.
 */
export function mergeStats(answers: ReadonlyMap<string, NodeAnswer>, limit: number, only?: string) {
  const minutes = new Map<number, Sums>();
  const services = new Map<string, Sums>();
  const domains = new Map<string, Sums>();
  const perNode = [...answers]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([node, answer]) => {
      const whole: Sums = {};
      for (const minute of listOf(answer['minutes'])) {
        const at = minute['at'];
        if (typeof at !== 'number') continue;
        addTo(minutes, at, minute, MINUTE_FIELDS);
        sum(whole, minute, MINUTE_FIELDS);
      }
      for (const each of listOf(answer['services']))
        if (only === undefined || each['name'] === only)
          addTo(services, String(each['name']), each, NAMED_FIELDS);
      if (only === undefined)
        for (const each of listOf(answer['domains']))
          addTo(domains, String(each['name']), each, NAMED_FIELDS);
      return { node, connections: numberOf(answer['connections']), ...zeros(MINUTE_FIELDS), ...whole };
    });
  return {
    minutes: [...minutes]
      .sort(([a], [b]) => a - b)
      .map(([at, sums]) => ({ at: new Date(at).toISOString(), ...withMean(sums) })),
    nodes: perNode.map(withMean),
    services: top(services, limit),
    domains: top(domains, limit),
  };
}

function top(sums: ReadonlyMap<string, Sums>, limit: number) {
  return [...sums]
    .sort(([a, x], [b, y]) => (y['requests'] ?? 0) - (x['requests'] ?? 0) || (a < b ? -1 : 1))
    .slice(0, limit)
    .map(([name, counts]) => ({ name, ...withMean(counts) }));
}

/** `timeMs` becomes the mean of a request. */
function withMean<T extends Readonly<Record<string, unknown>>>(counts: T) {
  const { timeMs, ...rest } = counts;
  const requests = numberOf(counts['requests']);
  return { ...rest, meanMs: requests === 0 ? null : Math.round((numberOf(timeMs) / requests) * 10) / 10 };
}

function addTo<K>(
  map: Map<K, Sums>,
  key: K,
  from: Readonly<Record<string, unknown>>,
  fields: readonly string[],
) {
  const sums = map.get(key) ?? zeros(fields);
  map.set(key, sums);
  sum(sums, from, fields);
}

function sum(sums: Sums, from: Readonly<Record<string, unknown>>, fields: readonly string[]): void {
  for (const field of fields) sums[field] = (sums[field] ?? 0) + numberOf(from[field]);
}

function zeros(fields: readonly string[]): Sums {
  return Object.fromEntries(fields.map((field) => [field, 0]));
}

function numberOf(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : 0;
}

function listOf(value: unknown): Readonly<Record<string, unknown>>[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'object' && entry !== null) : [];
}
