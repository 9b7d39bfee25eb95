/** `DELETE /v1/services/{service}/cache`: stored answers go, on every node. It changes no object and makes no revision. */
import { z } from 'zod';
import { duration } from '../../shared/model/fields.ts';
import { CHANGERS } from '../auth/caller.ts';
import type { ApiContext } from '../context.ts';
import { type Operation, operation } from '../http/operation.ts';
import { purgeEverywhere } from '../nodes/purge.ts';
import { noSuch, presentName } from './kind-names.ts';

const DEFAULT_TIMEOUT_MS = 5_000;
const MAX_TIMEOUT_MS = 60_000;

const purgeQuery = z.strictObject({
  path: z
    .string()
    .max(4_096)
    .regex(/^\/[^?#]*$/, 'a path begins with "/" and has no query')
    .optional()
    .describe(
      'as visitors ask for it, with any query; "*" at its end: all that begin so; left out: everything',
    ),
  timeout: duration()
    .refine((ms) => ms <= MAX_TIMEOUT_MS, 'a time-out is at most 60s')
    .optional()
    .describe('how long the nodes are waited for, at most 60s; default 5s'),
});

export function cacheOperations(context: ApiContext): Operation[] {
  return [
    operation({
      method: 'DELETE',
      path: '/v1/services/{service}/cache',
      summary:
        'Remove stored answers of a service on every node; 202 with the nodes that have not said so in time',
      access: CHANGERS,
      query: purgeQuery,
      async handle({ params, query, signal, caller }) {
        const service = presentName('service', params['service'] ?? '');
        const state = await context.present.fresh(context.clock);
        if (state.get('service', service) === undefined) throw noSuch('service', service);
        const path = query.path ?? null;
        // A kontrolapi that has just started knows of no node yet.
        await context.nodes.list();
        const purged = await purgeEverywhere(
          context.bus,
          context.clock,
          {
            service,
            path,
            timeoutMs: query.timeout ?? DEFAULT_TIMEOUT_MS,
            nodes: () => context.nodes.live(),
          },
          signal,
        );
        context.log.info('cache_purged', `${caller.name} purged stored answers of ${service}`, {
          path: path ?? '*',
          purged: purged.purged,
          pending: purged.pending.length,
        });
        return { status: purged.pending.length === 0 ? 200 : 202, body: { service, path, ...purged } };
      },
    }),
  ];
}
