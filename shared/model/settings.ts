/** The one object `settings`: what holds for every domain and every node. (Settings of a process: `shared/settings.ts`.) */
import { z } from 'zod';
import { alertsInputSchema, alertsSchema } from './alerts.ts';
import { commonFields, duration, objectName, size } from './fields.ts';
import { maintenanceField } from './maintenance.ts';
import { NO_TIME_LIMIT, timeoutsSchema } from './service.ts';

const limits = z.strictObject({
  headSize: size().optional().describe('default 16KB; 0 = 1MB'),
  headTimeout: duration().optional().describe('default 20s; 0 = no limit'),
  bodyIdle: duration().optional().describe('default 30s; 0 = no limit'),
  keepAlive: duration().optional().describe('default 65s; 0 = no limit'),
  fields: z.number().int().min(1).max(1_000).optional().describe('default 100'),
  halfClose: z
    .boolean()
    .optional()
    .describe('a client that ends its side still gets its answer; default false'),
  connections: z.number().int().min(0).optional().describe('per serving process; default 0 = no limit'),
  connectionsPerAddress: z.number().int().min(0).optional().describe('default 0 = no limit'),
  body: size().optional().describe('default 0 = no limit'),
  bodyRate: size()
    .optional()
    .describe('mean bytes per second of a request body, looked at after 60 s; default 1KB'),
  h2Streams: z.number().int().min(1).max(1_000).optional().describe('default 128'),
});

export const settingsSchema = z.strictObject({
  name: z.literal('settings').optional(),
  firewall: z.array(objectName()).max(100).optional(),
  pages: objectName().optional(),
  timeouts: timeoutsSchema.optional(),
  via: z.boolean().optional().describe('default true'),
  limits: limits.optional(),
  maintenance: maintenanceField.optional(),
  backendAddresses: z
    .strictObject({ refuse: z.array(z.enum(['link-local', 'metadata', 'control'])).optional() })
    .optional(),
  workers: z.strictObject({ loopback: z.boolean().optional() }).optional(),
  history: z
    .strictObject({
      days: z.number().int().min(1).max(36_500).optional(),
      revisions: z.number().int().min(10).optional(),
    })
    .optional(),
  alerts: alertsSchema.optional(),
  ...commonFields,
});
export type Settings = z.output<typeof settingsSchema>;

/** What a PUT, PATCH or apply takes: secrets of alerts may be given in clear. */
export const settingsInputSchema = settingsSchema.extend({ alerts: alertsInputSchema.optional() });

/** Bytes of a head where nothing limits it: it stands in memory whole. */
const LARGEST_HEAD = 1_048_576;

/**
 * Limits of the data path with every default filled in. Times in milliseconds (`NO_TIME_LIMIT` at most), sizes in bytes;
 * 0 = no limit for the numbers of connections, `body` and `bodyRate`, and no value of the others.
 */
export interface ResolvedLimits {
  readonly headSize: number;
  readonly headTimeoutMs: number;
  readonly bodyIdleMs: number;
  readonly keepAliveMs: number;
  readonly fields: number;
  readonly halfClose: boolean;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  readonly body: number;
  readonly bodyRate: number;
  readonly h2Streams: number;
}

export function resolveLimits(settings: Settings): ResolvedLimits {
  const given = settings.limits ?? {};
  return {
    headSize: (given.headSize ?? 16_384) || LARGEST_HEAD,
    headTimeoutMs: (given.headTimeout ?? 20_000) || NO_TIME_LIMIT,
    bodyIdleMs: (given.bodyIdle ?? 30_000) || NO_TIME_LIMIT,
    keepAliveMs: (given.keepAlive ?? 65_000) || NO_TIME_LIMIT,
    fields: given.fields ?? 100,
    halfClose: given.halfClose ?? false,
    connections: given.connections ?? 0,
    connectionsPerAddress: given.connectionsPerAddress ?? 0,
    body: given.body ?? 0,
    bodyRate: given.bodyRate ?? 1_024,
    h2Streams: given.h2Streams ?? 128,
  };
}
