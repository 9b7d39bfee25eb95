/** What the status page shows, as data: the node, its processes, what is quarantined, and every backend with its state. */
import type { NodeRecord } from '../../shared/model/live.ts';
import type { Table } from '../../shared/routing/table.ts';
import type { MetricFamily, MetricSample } from '../observe/metrics.ts';
import { statusesOf } from './bus-link.ts';
import type { HealthChecks } from './health-checks.ts';
import type { NodeState } from './node-state.ts';
import type { ProcessAnswer } from './questions.ts';

export interface BackendReport {
  readonly service: string;
  readonly key: number;
  readonly address: string;
  /** As configured, or as its worker stands. */
  readonly state: string;
  readonly weight: number;
  readonly tier: number;
  readonly worker: string | null;
  /** What the active checks say; processes may know more for a while (passive health). */
  readonly alive: boolean;
  /** Processes that have it out right now. */
  readonly outIn: number;
  /** Why, in one of them; null when none has it out. */
  readonly outWhy: string | null;
  /** The part of its share that it gets where it is starting slowly, up to 1; the least over all processes. */
  readonly ramp: number;
  /** Requests, tunnels and idle connections over all processes. */
  readonly active: number;
  readonly tunnels: number;
  readonly idle: number;
  /** Failed checks in a row. */
  readonly failures: number;
  readonly problem: string | null;
  /** Milliseconds since 1970; null before the first check, and without checks. */
  readonly checkedAt: number | null;
}

export interface StatusReport {
  readonly node: Omit<NodeRecord, 'beat'>;
  readonly why: readonly string[];
  /** False when the last-known-good copy cannot be written. */
  readonly copy: boolean;
  /** Every check of every service fails: they are not believed, and this machine's own network is suspected. */
  readonly checksSuspended: boolean;
  readonly at: number;
  readonly backends: readonly BackendReport[];
  /** Keys that rate rules count, and whether all nodes count together (Redis answers). */
  readonly rates?: { readonly keys: number; readonly shared: boolean };
}

export function statusReport(
  state: NodeState,
  table: Table,
  health: HealthChecks,
  answers: readonly ProcessAnswer[],
  at: number,
): StatusReport {
  const counts = sumsOf(answers);
  const backends: BackendReport[] = [];
  for (const service of table.services()) {
    for (const key of service.keys.values()) {
      for (const { address, state: configured, weight, tier, worker } of key.backends) {
        const sum = counts.get(`${service.name} ${key.key} ${address}`);
        const checked = health.of(service.name, address);
        backends.push({
          service: service.name,
          key: key.key,
          address,
          state: configured,
          weight,
          tier,
          worker,
          alive: checked?.alive ?? true,
          outIn: sum?.out ?? 0,
          outWhy: sum?.why ?? null,
          ramp: sum?.ramp ?? 1,
          active: sum?.active ?? 0,
          tunnels: sum?.tunnels ?? 0,
          idle: sum?.idle ?? 0,
          failures: checked?.alive === true ? checked.against : 0,
          problem: checked?.problem ?? null,
          checkedAt: checked?.checkedAt ?? null,
        });
      }
    }
  }
  return {
    node: state.record(),
    why: state.readiness().why,
    copy: !state.copyFailing,
    checksSuspended: health.suspected,
    at,
    backends,
  };
}

/** The gauges of rate rules. */
export function rateFamilies({ keys, shared }: { keys: number; shared: boolean }): MetricFamily[] {
  return [
    {
      name: 'kontrol_rate_keys',
      help: 'Clients, domains and field values that rate rules count on this node',
      type: 'gauge',
      samples: [{ value: keys }],
    },
    {
      name: 'kontrol_rate_shared',
      help: '1 while rate rules count over all nodes (Redis answers), 0 while this node counts alone',
      type: 'gauge',
      samples: [{ value: shared ? 1 : 0 }],
    },
  ];
}

interface Sum {
  active: number;
  tunnels: number;
  idle: number;
  out: number;
  why: string | null;
  ramp: number;
}

/** What the processes say of each backend, added up, by service, key and address. */
function sumsOf(answers: readonly ProcessAnswer[]): Map<string, Sum> {
  const sums = new Map<string, Sum>();
  for (const { answer } of answers) {
    for (const { service, key, address, active, tunnels, idle, alive, why, ramp } of statusesOf(answer)) {
      const id = `${service} ${key} ${address}`;
      const sum = sums.get(id) ?? { active: 0, tunnels: 0, idle: 0, out: 0, why: null, ramp: 1 };
      sum.active += active;
      sum.tunnels += tunnels;
      sum.idle += idle;
      if (!alive) {
        sum.out++;
        // A process of an earlier version does not say why.
        sum.why ??= why ?? null;
      }
      sum.ramp = Math.min(sum.ramp, ramp ?? 1);
      sums.set(id, sum);
    }
  }
  return sums;
}

/** The gauges of the node itself, beside those of its traffic. */
export function nodeFamilies(state: NodeState, health: HealthChecks, version: string): MetricFamily[] {
  const services = new Map<string, { alive: number; all: number }>();
  for (const { service, alive } of health.all()) {
    const sum = services.get(service) ?? { alive: 0, all: 0 };
    sum.all++;
    if (alive) sum.alive++;
    services.set(service, sum);
  }
  const perService = (pick: (sum: { alive: number; all: number }) => number): MetricSample[] =>
    [...services].map(([service, sum]) => ({ labels: { service }, value: pick(sum) }));
  const roles = new Map<string, number>();
  for (const { role } of state.processes) roles.set(role, (roles.get(role) ?? 0) + 1);
  const gauge = (name: string, help: string, value: number): MetricFamily => ({
    name: `kontrol_node_${name}`,
    help,
    type: 'gauge',
    samples: [{ value }],
  });
  return [
    {
      ...gauge('info', 'Always 1; the label tells the version', 1),
      samples: [{ labels: { version }, value: 1 }],
    },
    gauge(
      'ready',
      '1 while visitors are served by a table and the node is not stopping',
      Number(state.readiness().ready),
    ),
    gauge('seq', 'Number of the last revision that every serving process has', state.seq),
    gauge(
      'lag_seconds',
      'From the time of that revision until every serving process had it',
      state.lagMs / 1_000,
    ),
    gauge('store_up', '1 while the store answers', Number(state.storeUp)),
    gauge('bus_up', '1 while the message bus is connected', Number(state.busUp)),
    gauge('quarantined', 'Objects that could not be loaded here', state.quarantined().length),
    gauge('drift', 'Objects whose stored document was edited by hand', state.drift().length),
    gauge('held_deletions', 'Deletions held back until they are confirmed', state.held.length),
    gauge(
      'checks_suspended',
      '1 while every health check of every service fails, so that none is believed',
      Number(health.suspected),
    ),
    gauge('copy_failing', '1 while the last-known-good copy cannot be written', Number(state.copyFailing)),
    {
      ...gauge('processes', 'Processes of the node by role', 0),
      samples: [...roles].map(([role, value]) => ({ labels: { role }, value })),
    },
    {
      name: 'kontrol_backends',
      help: 'Backends of each service that are checked',
      type: 'gauge',
      samples: perService(({ all }) => all),
    },
    {
      name: 'kontrol_backends_alive',
      help: 'Those of them that the active checks found alive',
      type: 'gauge',
      samples: perService(({ alive }) => alive),
    },
  ];
}
