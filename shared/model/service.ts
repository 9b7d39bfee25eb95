/** A service: balancing, health, time-outs and its keys (builds) with their backends. */
import { z } from 'zod';
import {
  backendAddress,
  commonFields,
  duration,
  fieldName,
  hostAndPort,
  mapOf,
  objectName,
  size,
} from './fields.ts';

export const BALANCE_POLICIES = [
  'round-robin',
  'random',
  'weighted-round-robin',
  'least-connections',
  'source-hash',
  'first-alive',
  'naive',
  'two-choices',
  'rendezvous',
  'broker',
] as const;
export type BalancePolicy = (typeof BALANCE_POLICIES)[number];

export const BACKEND_STATES = ['ready', 'drain', 'maintenance'] as const;

/** At most this many backends per key. */
export const MAX_BACKENDS = 1_000;

export const backendSchema = z.strictObject({
  address: backendAddress(),
  weight: z
    .number()
    .int()
    .min(0)
    .max(1_000)
    .optional()
    .describe('share among the others; default 1, 0 gets nothing new'),
  tier: z
    .number()
    .int()
    .min(0)
    .max(9)
    .optional()
    .describe('0 first; the next tier when none is alive; default 0'),
  state: z
    .enum(BACKEND_STATES)
    .optional()
    .describe('ready | drain (keeps pinned sessions) | maintenance; default ready'),
});
export type ConfiguredBackend = z.output<typeof backendSchema>;

const uniqueBackends = (list: readonly ConfiguredBackend[]) =>
  new Set(list.map((backend) => backend.address)).size === list.length;

export const keySchema = z.strictObject({
  enabled: z.boolean().optional().describe('default true'),
  backends: z
    .array(backendSchema)
    .max(MAX_BACKENDS)
    .refine(uniqueBackends, 'an address stands twice; use weight instead')
    .optional(),
});
export type Key = z.output<typeof keySchema>;

/** A build number, as the text it has in the map `keys`. */
export const keyNumber = z.string().regex(/^[1-9]\d{0,14}$/, 'a key is a positive integer');

const timing = {
  interval: duration().optional().describe('default 5s'),
  timeout: duration().optional().describe('default 2s, also for 0'),
  rise: z.number().int().min(1).max(100).optional().describe('successes until alive; default 2'),
  fall: z.number().int().min(1).max(100).optional().describe('failures until dead; default 3'),
  jitter: z.number().min(0).max(1).optional().describe('share of the interval; default 0.1'),
  tls: z.boolean().optional(),
};
const httpPath = z
  .string()
  .max(2_048)
  .regex(/^\/[\x21-\x7e]*$/, 'a path begins with "/" and has visible ASCII only');

const health = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('tcp').optional().describe('default tcp'), ...timing }),
  z.strictObject({
    type: z.literal('http'),
    path: httpPath.optional().describe('default "/"'),
    status: z
      .union([z.number().int().min(100).max(599), z.array(z.number().int().min(100).max(599)).min(1)])
      .optional()
      .describe('default any 2xx or 3xx'),
    body: z.string().max(1_024).optional().describe('the answer must contain this text'),
    ...timing,
  }),
  z.strictObject({
    type: z.literal('json'),
    path: httpPath.optional().describe('default "/healthCheck"'),
    ...timing,
  }),
  z.strictObject({
    type: z.literal('websocket'),
    path: httpPath.optional().describe('default "/"'),
    ...timing,
  }),
  z.strictObject({ type: z.literal('off') }),
]);
export type Health = z.output<typeof health>;
export type HealthType = NonNullable<Health['type']>;

const pool = z.strictObject({
  max: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('connections per backend and serving process; default 256'),
  min: z.number().int().min(0).max(10_000).optional().describe('kept warm; default 0'),
  idle: duration().optional().describe('default 4s'),
});

/** Milliseconds that stand for no limit: 24 days, the longest deadline there is. A deadline of 0 would be over at once. */
export const NO_TIME_LIMIT = 2 ** 31;

const timeouts = z.strictObject({
  connect: duration().optional().describe('default 3s; 0 = 5s, what all backends together have'),
  firstByte: duration().optional().describe('default 60s; 0 = no limit'),
  idle: duration().optional().describe('between two pieces of a body; default 60s; 0 = no limit'),
});
export const timeoutsSchema = timeouts;

const hash = z.strictObject({
  by: z
    .string()
    .refine(
      (by) => by === 'ip' || by === 'uri' || /^(header|cookie):[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/.test(by),
      'expected ip, uri, header:NAME or cookie:NAME',
    ),
  boundedLoad: z.number().min(0).max(10).optional().describe('0 = off'),
});

const shortBackends = z.array(
  z.union([backendAddress().transform((address) => ({ address })), backendSchema]),
);

/** What means nothing without requests and answers. */
const HTTP_ALONE = ['sticky', 'coalesce', 'cache'] as const;

export const serviceSchema = z
  .strictObject({
    name: objectName(),
    protocol: z.enum(['http', 'https', 'tcp']).optional().describe('default http'),
    tls: z
      .strictObject({
        verify: z.boolean().optional().describe('default true'),
        ca: z.string().max(1_000_000).optional(),
        serverName: hostAndPort()
          .refine((name) => !/:\d+$/.test(name), 'a server name has no port')
          .optional(),
        certificate: objectName().optional(),
      })
      .optional(),
    enabled: z.boolean().optional().describe('default true'),
    balance: z.enum(BALANCE_POLICIES).optional().describe('default round-robin'),
    hash: hash.optional(),
    latest: z
      .union([z.literal('auto'), z.number().int().min(1)])
      .optional()
      .describe('default auto'),
    keys: mapOf(keyNumber, keySchema).optional(),
    backends: shortBackends
      .max(MAX_BACKENDS)
      .refine(uniqueBackends, 'an address stands twice; use weight instead')
      .optional(),
    host: hostAndPort().nullable().optional().describe('null keeps the Host of the client'),
    sticky: z
      .union([
        z.literal(false),
        z.strictObject({
          cookie: z
            .string()
            .regex(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}$/)
            .optional()
            .describe('default kontrol_NAME'),
          maxAge: duration()
            .optional()
            .describe('how long a visitor may stay away; default 0s = until the browser is closed'),
        }),
      ])
      .optional()
      .describe('a signed cookie keeps a visitor with one backend; default false'),
    health: health.optional(),
    passive: z
      .strictObject({
        attempts: z.number().int().min(1).max(1_000).optional(),
        offline: duration().optional(),
      })
      .optional(),
    pool: pool.optional(),
    queue: z
      .strictObject({
        size: z.number().int().min(0).max(1_000_000).optional(),
        wait: duration().optional(),
        status: z.union([z.literal(503), z.literal(429)]).optional(),
      })
      .optional(),
    timeouts: timeouts.optional(),
    retries: z
      .strictObject({
        max: z.number().int().min(0).max(10).optional(),
        on: z.array(z.union([z.literal('reset'), z.literal(502), z.literal(503), z.literal(504)])).optional(),
      })
      .optional(),
    websocket: z
      .strictObject({
        balance: z.enum(BALANCE_POLICIES).optional(),
        pool: z.strictObject({ max: z.number().int().min(1).optional() }).optional(),
      })
      .optional(),
    coalesce: z
      .union([
        z.literal(false),
        z.strictObject({
          headers: z
            .array(fieldName())
            .max(20)
            .optional()
            .describe(
              'fields in which requests must agree to share an answer, beside what Vary names; default none',
            ),
          withCookies: z
            .boolean()
            .optional()
            .describe('requests with the same Cookie share, too; default false: those with cookies never do'),
          waiters: z
            .number()
            .int()
            .min(1)
            .max(100_000)
            .optional()
            .describe('requests that wait for one answer, per serving process; default 1000'),
        }),
      ])
      .optional()
      .describe('identical GET and HEAD requests in flight share one upstream request; default false'),
    cache: z
      .strictObject({
        size: size().optional().describe('memory per serving process; default 64MB'),
        ttl: duration()
          .optional()
          .describe('lifetime of answers for which the backend gave none; 0 = they are not kept; default 1s'),
        staleWhileRevalidate: duration()
          .optional()
          .describe('past its lifetime an answer is used this long while one request renews it; default 0s'),
        staleIfError: duration()
          .optional()
          .describe('past its lifetime an answer is used this long when the backend fails; default 0s'),
      })
      .nullable()
      .optional()
      .describe('answers are kept in memory by the rules of RFC 9111; null = off, the default'),
    slowStart: duration()
      .optional()
      .describe('a backend that is new or came back gets to its full share over this time; default 0s'),
    eject: z
      .strictObject({
        status5xx: z
          .number()
          .int()
          .min(0)
          .max(1_000)
          .optional()
          .describe('answers 500–599 in a row until a backend is out; default 0 = off'),
        latency: duration()
          .nullable()
          .optional()
          .describe(
            'a backend is out that takes longer to its first byte, on average and twice as long as the others; null = off, the default',
          ),
        maxShare: z
          .number()
          .min(0)
          .max(1)
          .optional()
          .describe('of the backends that may be out because of this, dead ones included; default 0.5'),
      })
      .optional()
      .describe('backends that answer badly are out for passive.offline, longer each time'),
    onAllDead: z.literal('maintenance').optional(),
    ...commonFields,
  })
  .superRefine((service, context) => {
    if (service.keys !== undefined && service.backends !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['backends'],
        message: 'give either the short form (backends) or keys, not both',
      });
    }
    for (const field of service.protocol === 'tcp' ? HTTP_ALONE : []) {
      if (!service[field]) continue;
      const message = 'is about requests; a service of protocol tcp has none: leave it out';
      context.addIssue({ code: 'custom', path: [field], message });
    }
  })
  .transform(({ backends, ...service }) =>
    backends === undefined ? service : { ...service, keys: { '1': { backends } } as Record<string, Key> },
  );

export type Service = z.output<typeof serviceSchema>;

/** Active health checks with every default filled in. */
export interface ResolvedHealth {
  readonly type: HealthType;
  readonly path: string;
  /** Statuses that count as alive; empty means any 2xx or 3xx. */
  readonly status: readonly number[];
  readonly body: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
  readonly jitter: number;
  readonly tls: boolean;
}

/** Requests that may share an answer, with every default filled in. */
export interface ResolvedCoalesce {
  /** Lower case. */
  readonly headers: readonly string[];
  readonly withCookies: boolean;
  readonly waiters: number;
}

/** The cache with every default filled in. */
export interface ResolvedCache {
  /** Bytes, per serving process. */
  readonly size: number;
  readonly ttlMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
}

/** Sticky sessions with every default filled in. */
export interface ResolvedSticky {
  readonly cookie: string;
  /** Null: until the browser is closed. */
  readonly maxAgeMs: number | null;
}

/** Ejection by signals with every default filled in. */
export interface ResolvedEject {
  /** 0 = off. */
  readonly status5xx: number;
  readonly latencyMs: number | null;
  readonly maxShare: number;
}

/** A service with every default filled in; what the data path reads. Times in milliseconds. */
export interface ResolvedService {
  readonly name: string;
  readonly protocol: 'http' | 'https' | 'tcp';
  readonly tls: {
    readonly verify: boolean;
    readonly ca: string | null;
    readonly serverName: string | null;
    readonly certificate: string | null;
  };
  readonly enabled: boolean;
  readonly balance: BalancePolicy;
  readonly hash: { readonly by: string; readonly boundedLoad: number };
  readonly latest: 'auto' | number;
  readonly host: string | null;
  readonly health: ResolvedHealth;
  readonly passive: { readonly attempts: number; readonly offlineMs: number };
  readonly pool: { readonly max: number; readonly min: number; readonly idleMs: number };
  readonly queue: { readonly size: number; readonly waitMs: number; readonly status: 503 | 429 };
  readonly timeouts: { readonly connectMs: number; readonly firstByteMs: number; readonly idleMs: number };
  readonly retries: { readonly max: number; readonly onReset: boolean; readonly onStatus: readonly number[] };
  readonly websocket: { readonly balance: BalancePolicy; readonly poolMax: number };
  /** Null when it is off; both null: an exchange asks a backend for itself. */
  readonly coalesce: ResolvedCoalesce | null;
  readonly cache: ResolvedCache | null;
  readonly sticky: ResolvedSticky | null;
  /** 0 = off. */
  readonly slowStartMs: number;
  readonly eject: ResolvedEject | null;
}

/** Fills in the defaults: the service's own value, else `settings.timeouts`, else the built-in one. */
export function resolveService(service: Service, defaults: z.output<typeof timeouts> = {}): ResolvedService {
  const balance = service.balance ?? 'round-robin';
  const on = service.retries?.on ?? ['reset'];
  return {
    name: service.name,
    protocol: service.protocol ?? 'http',
    tls: {
      verify: service.tls?.verify ?? true,
      ca: service.tls?.ca ?? null,
      serverName: service.tls?.serverName ?? null,
      certificate: service.tls?.certificate ?? null,
    },
    enabled: service.enabled ?? true,
    balance,
    hash: { by: service.hash?.by ?? 'ip', boundedLoad: service.hash?.boundedLoad ?? 0 },
    latest: service.latest ?? 'auto',
    host: service.host ?? null,
    health: resolveHealth(service.health ?? { type: 'tcp' }),
    passive: { attempts: service.passive?.attempts ?? 3, offlineMs: service.passive?.offline ?? 10_000 },
    pool: { max: service.pool?.max ?? 256, min: service.pool?.min ?? 0, idleMs: service.pool?.idle ?? 4_000 },
    queue: {
      size: service.queue?.size ?? 100,
      waitMs: service.queue?.wait ?? 2_000,
      status: service.queue?.status ?? 503,
    },
    timeouts: {
      connectMs: (service.timeouts?.connect ?? defaults.connect ?? 3_000) || 5_000,
      firstByteMs: (service.timeouts?.firstByte ?? defaults.firstByte ?? 60_000) || NO_TIME_LIMIT,
      idleMs: (service.timeouts?.idle ?? defaults.idle ?? 60_000) || NO_TIME_LIMIT,
    },
    retries: {
      max: service.retries?.max ?? 2,
      onReset: on.includes('reset'),
      onStatus: on.filter((entry): entry is 502 | 503 | 504 => entry !== 'reset'),
    },
    websocket: {
      balance: service.websocket?.balance ?? (balance === 'broker' ? 'broker' : 'least-connections'),
      poolMax: service.websocket?.pool?.max ?? 10_000,
    },
    coalesce: resolveCoalesce(service.coalesce ?? false),
    cache: resolveCache(service.cache ?? null),
    sticky: resolveSticky(service),
    slowStartMs: service.slowStart ?? 0,
    eject: resolveEject(service.eject),
  };
}

function resolveSticky({ name, protocol, sticky }: Service): ResolvedSticky | null {
  // Connections of a TCP service bring no cookies.
  if (sticky === undefined || sticky === false || protocol === 'tcp') return null;
  return { cookie: sticky.cookie ?? `kontrol_${name}`, maxAgeMs: sticky.maxAge || null };
}

function resolveEject(eject: Service['eject'] = {}): ResolvedEject | null {
  const { status5xx = 0, latency = null, maxShare = 0.5 } = eject;
  return status5xx === 0 && !latency ? null : { status5xx, latencyMs: latency || null, maxShare };
}

function resolveCoalesce(coalesce: NonNullable<Service['coalesce']>): ResolvedCoalesce | null {
  if (coalesce === false) return null;
  return {
    headers: coalesce.headers ?? [],
    withCookies: coalesce.withCookies ?? false,
    waiters: coalesce.waiters ?? 1_000,
  };
}

function resolveCache(cache: NonNullable<Service['cache']> | null): ResolvedCache | null {
  if (cache === null) return null;
  return {
    size: cache.size ?? 64 * 1_024 * 1_024,
    ttlMs: cache.ttl ?? 1_000,
    staleWhileRevalidateMs: cache.staleWhileRevalidate ?? 0,
    staleIfErrorMs: cache.staleIfError ?? 0,
  };
}

const DEFAULT_HEALTH_PATHS: Partial<Record<HealthType, string>> = { json: '/healthCheck' };

function resolveHealth(health: Health): ResolvedHealth {
  const timing: Partial<Exclude<Health, { type: 'off' }>> = health.type === 'off' ? {} : health;
  const type = health.type ?? 'tcp';
  const status = health.type === 'http' ? (health.status ?? []) : [];
  return {
    type,
    path: ('path' in health ? health.path : undefined) ?? DEFAULT_HEALTH_PATHS[type] ?? '/',
    status: typeof status === 'number' ? [status] : status,
    body: (health.type === 'http' ? health.body : undefined) ?? null,
    intervalMs: timing.interval ?? 5_000,
    timeoutMs: timing.timeout || 2_000,
    rise: timing.rise ?? 2,
    fall: timing.fall ?? 3,
    jitter: timing.jitter ?? 0.1,
    tls: timing.tls ?? false,
  };
}
