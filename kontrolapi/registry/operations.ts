/** `/v1/workers`: registration, beats, drain, stop. See `docs/guides/workers.md`. */
import { z } from 'zod';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { duration, objectName } from '../../shared/model/fields.ts';
import { START_MODES } from '../../shared/model/live.ts';
import { ANY_ROLE, type Caller, CHANGERS, READERS, WORKERS } from '../auth/caller.ts';
import { type Call, type Operation, operation, operationWithBody } from '../http/operation.ts';
import { pageLimit } from '../http/query.ts';
import { makeCursor, readCursor } from '../resources/list.ts';
import { waitDrained } from './drained.ts';
import type { Command, WorkerRecord } from './records.ts';
import { HEARTBEAT_MS, LEASE_MS, type Registry, requireService } from './registry.ts';
import { workerAddress } from './worker-address.ts';

export interface RegistryContext {
  readonly registry: Registry;
  readonly bus: Bus;
  readonly clock: Clock;
  /** Reads which nodes there are; never rejects. */
  lookAtNodes(): Promise<void>;
  /** Names of the nodes that are live now. */
  liveNodes(): readonly string[];
  /** Whether workers may give a loopback address: all nodes are on this machine. */
  loopbackAllowed(): boolean;
  /** Why no backend may have this address; null when it may. */
  refusal(address: string): string | null;
  /** An order was given to a worker, which may beat at another kontrolapi. */
  ordered(id: string, command: Command): void;
  /** Creates the service and the key if they are not there. */
  ensureKey(service: string, key: number, caller: Caller): Promise<void>;
}

const DEFAULT_DRAIN_MS = 30_000;
const MAX_DRAIN_MS = 3_600_000;

/** Every worker's are kept, and listed; a thousand workers with a megabyte each would be all there is. */
const MAX_META = 64;

const state = z.enum(['starting', 'ready']);
const registration = z.strictObject({
  service: objectName(),
  key: z.number().int().min(1).max(999_999_999_999_999).optional().describe('build number; default 1'),
  port: z.number().int().min(1).max(65_535),
  host: z.string().max(253).optional().describe('default the address this call comes from'),
  name: z.string().max(256).optional(),
  pid: z.number().int().min(0).optional(),
  version: z.string().max(256).optional().describe('for mode version'),
  mode: z.enum(START_MODES).optional().describe('default many'),
  weight: z.number().int().min(0).max(1_000).optional().describe('default 1'),
  meta: z
    .record(z.string().max(128), z.string().max(1_024))
    .refine((meta) => Object.keys(meta).length <= MAX_META, `meta has at most ${MAX_META} entries`)
    .optional()
    .describe(`shown with the worker; at most ${MAX_META} entries`),
  state: state.optional().describe('default starting'),
});
const heartbeat = z.strictObject({
  state,
  memory: z.number().min(0).optional().describe('bytes'),
  uptime: z.number().min(0).optional().describe('seconds'),
});
const waitQuery = z.strictObject({
  wait: z.literal('all').optional(),
  timeout: duration()
    .refine((ms) => ms <= MAX_DRAIN_MS, 'a time-out is at most 1h')
    .optional()
    .describe('with wait; at most 1h, default 30s'),
});

export function registryOperations(context: RegistryContext): Operation[] {
  return [...memberOperations(context), ...orderOperations(context)];
}

function memberOperations(context: RegistryContext): Operation[] {
  const { registry } = context;
  return [
    operationWithBody(registration, {
      method: 'POST',
      path: '/v1/workers',
      summary: 'Register a worker; it may start its program when the permission is run',
      access: WORKERS,
      async handle({ body, caller, address }) {
        requireService(caller.service, body.service);
        const key = body.key ?? 1;
        const worker = workerAddress(body.host ?? address, body.port, context);
        await context.ensureKey(body.service, key, caller);
        const { id, permission } = await registry.register(
          {
            service: body.service,
            key,
            address: worker,
            name: body.name ?? '',
            pid: body.pid ?? null,
            version: body.version ?? '',
            mode: body.mode ?? 'many',
            weight: body.weight ?? 1,
            meta: body.meta ?? {},
          },
          body.state ?? 'starting',
        );
        return { status: 201, body: { id, permission, ttlMs: LEASE_MS, heartbeatMs: HEARTBEAT_MS } };
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/workers',
      summary: 'Workers, in order of their ids; all of them unless there is a limit',
      access: READERS,
      query: z.strictObject({
        service: objectName().optional(),
        state: z.string().max(32).optional(),
        limit: pageLimit,
        cursor: z.string().max(1_024).optional(),
      }),
      async handle({ query }) {
        const after = query.cursor === undefined ? '' : readCursor(query.cursor);
        const found = (await registry.list()).filter(
          (worker) =>
            String(worker['id']) > after &&
            (query.service === undefined || worker['service'] === query.service) &&
            (query.state === undefined || worker['state'] === query.state),
        );
        const items = found.slice(0, query.limit ?? found.length);
        const next = items.length < found.length ? makeCursor(String(items.at(-1)?.['id'])) : null;
        return { body: { items, next } };
      },
    }),
    operation({
      method: 'GET',
      path: '/v1/workers/{id}',
      summary: 'One worker',
      access: ANY_ROLE,
      async handle(call) {
        const worker = await registry.show(call.params['id'] ?? '');
        if (worker === null) throw unknownWorker();
        requireService(call.caller.service, String(worker['service']));
        return { body: worker };
      },
    }),
    operation({
      method: 'DELETE',
      path: '/v1/workers/{id}',
      summary: 'Give a registration back',
      access: WORKERS,
      async handle(call) {
        const id = await ownWorker(context, call);
        if (!(await registry.deregister(id))) throw unknownWorker();
        return { status: 204 };
      },
    }),
    operationWithBody(heartbeat, {
      method: 'PUT',
      path: '/v1/workers/{id}/heartbeat',
      summary: 'Beat; the answer carries the permission to run and an order, if there is one',
      access: WORKERS,
      async handle(call) {
        const id = await ownWorker(context, call);
        const answer = await registry.beat(id, call.body);
        if (answer === null) throw unknownWorker();
        return { body: answer };
      },
    }),
  ];
}

function orderOperations(context: RegistryContext): Operation[] {
  return [
    operation({
      method: 'POST',
      path: '/v1/workers/{id}/drain',
      summary: 'Take a worker out of balancing; with wait=all answers when no node has anything active on it',
      access: WORKERS,
      query: waitQuery,
      async handle(call) {
        const worker = await order(context, call, 'drain');
        // A kontrolapi that has just started knows of no node yet.
        await context.lookAtNodes();
        if (call.query.wait === undefined)
          return { status: 202, body: { id: worker.id, pending: context.liveNodes() } };
        const pending = await waitDrained(
          context.bus,
          context.clock,
          {
            service: worker.service,
            address: worker.address,
            timeoutMs: call.query.timeout ?? DEFAULT_DRAIN_MS,
            nodes: () => context.liveNodes(),
          },
          call.signal,
        );
        return { status: pending.length === 0 ? 200 : 202, body: { id: worker.id, pending } };
      },
    }),
    operation({
      method: 'POST',
      path: '/v1/workers/{id}/stop',
      summary: 'Tell the worker to end; it learns it with its next beat',
      access: CHANGERS,
      async handle(call) {
        const worker = await order(context, call, 'stop');
        return { status: 202, body: { id: worker.id } };
      },
    }),
  ];
}

async function order(
  context: RegistryContext,
  call: Call<unknown, unknown>,
  command: Command,
): Promise<WorkerRecord> {
  const id = await ownWorker(context, call);
  const worker = await context.registry.command(id, command);
  if (worker === null) throw unknownWorker();
  context.ordered(id, command);
  return worker;
}

/** The id in the path, after making sure that the caller's token may act for that worker. */
async function ownWorker(context: RegistryContext, call: Call<unknown, unknown>): Promise<string> {
  const id = call.params['id'] ?? '';
  if (call.caller.service === null) return id;
  const worker = await context.registry.show(id);
  if (worker === null) throw unknownWorker();
  requireService(call.caller.service, String(worker['service']));
  return id;
}

function unknownWorker(): KontrolError {
  return new KontrolError('worker_unknown');
}
