/**
 * Which backend a request would get: what the live nodes say of each, and what the policy makes of those that may.
 * Policies that draw or take turns have no single answer; then the answer is who they choose among, and how.
 */
import type { BalancePolicy } from '../../shared/model/service.ts';
import type { BackendSpec, Forward } from '../../shared/routing/decision.ts';
import type { NodeAnswer } from '../nodes/questions.ts';

export interface BackendTold {
  readonly address: string;
  readonly worker: string | null;
  readonly state: string;
  readonly tier: number;
  readonly weight: number;
  /** Serving processes that have it alive, of those that said so. */
  readonly aliveIn: number;
  readonly processes: number;
  /** Requests under way to it, over all of them. */
  readonly active: number;
  readonly eligible: boolean;
  readonly reason: string;
}

export interface BackendsTold {
  readonly policy: string;
  readonly candidates: readonly BackendTold[];
  /** The address that would get it; null when that is not one, or none. */
  readonly pick: string | null;
  readonly why: string;
  /** A visitor with the cookie of one of them stays there while that one is alive. */
  readonly sticky: boolean;
  /** Nodes that were heard. */
  readonly nodes: readonly string[];
}

/** Backends that are told. */
const MAX_TOLD = 200;

interface Counted {
  alive: number;
  processes: number;
  active: number;
}

export function tellBackends(
  { service, key }: Forward,
  websocket: boolean,
  answers: ReadonlyMap<string, NodeAnswer>,
): BackendsTold {
  const counted = countsOf(key.key, answers);
  const { config } = service;
  const policy = websocket ? config.websocket.balance : config.balance;
  const ready = ({ address, state, weight }: BackendSpec) =>
    state === 'ready' && weight > 0 && isAlive(counted.get(address));
  const tier = Math.min(...key.backends.filter(ready).map((backend) => backend.tier));
  const lost = key.backends.filter(
    ({ address, state, weight }) => state === 'lost' && weight > 0 && isAlive(counted.get(address)),
  );
  const told = key.backends.map((backend): BackendTold => {
    const { address, worker, state, weight } = backend;
    const counts = counted.get(address);
    const against = reasonAgainst(backend, counts, tier, lost);
    return {
      address,
      worker,
      state,
      tier: backend.tier,
      weight,
      aliveIn: counts?.alive ?? 0,
      processes: counts?.processes ?? 0,
      active: counts?.active ?? 0,
      eligible: against === null,
      reason: against ?? (state === 'lost' ? 'the last resort: nothing else is alive' : 'it may get it'),
    };
  });
  const eligible = told.filter((each) => each.eligible);
  return {
    policy,
    candidates: told.slice(0, MAX_TOLD),
    ...choose(policy, eligible, key.backends),
    sticky: config.sticky !== null,
    nodes: [...answers.keys()].sort(),
  };
}

function countsOf(key: number, answers: ReadonlyMap<string, NodeAnswer>): Map<string, Counted> {
  const counted = new Map<string, Counted>();
  for (const { backends } of answers.values()) {
    if (!Array.isArray(backends)) continue;
    for (const said of backends) {
      const each = (said ?? {}) as Record<string, unknown>;
      if (each['key'] !== key || typeof each['address'] !== 'string') continue;
      const counts = counted.get(each['address']) ?? { alive: 0, processes: 0, active: 0 };
      counted.set(each['address'], counts);
      counts.processes++;
      if (each['alive'] === true) counts.alive++;
      if (typeof each['active'] === 'number') counts.active += each['active'];
    }
  }
  return counted;
}

/** What no node has said anything about counts as alive, as it does in a node. */
function isAlive(counts: Counted | undefined): boolean {
  return counts === undefined || counts.processes === 0 || counts.alive > 0;
}

function reasonAgainst(
  { state, weight, tier: own }: BackendSpec,
  counts: Counted | undefined,
  tier: number,
  lost: readonly BackendSpec[],
): string | null {
  if (state === 'maintenance') return 'it is in maintenance';
  if (state === 'drain') return 'it drains: sticky visitors of before stay, nobody new comes';
  if (weight === 0) return 'its weight is 0';
  if (!isAlive(counts)) return 'it is dead: no serving process has it alive';
  if (state === 'lost') {
    if (tier !== Number.POSITIVE_INFINITY) return 'the lease of its worker ran out, and others are alive';
    return lost.length > 0 ? null : 'the lease of its worker ran out';
  }
  if (own > tier) return `it is of tier ${own}, and tier ${tier} has some that are alive`;
  return null;
}

const BY: Readonly<Record<BalancePolicy, string>> = {
  'round-robin': 'they take turns in each serving process',
  random: 'one is drawn at random',
  'weighted-round-robin': 'they take turns by weight in each serving process',
  'least-connections':
    'the one with the least under way for its weight, in the serving process that has the request',
  'source-hash': 'the hash of what identifies the visitor says which',
  'first-alive': 'the first in the order of the configuration',
  naive: 'as many steps from the first as requests are under way',
  'two-choices': 'of two drawn at random the one with less under way',
  rendezvous: 'the hash of what identifies the visitor says which',
  broker: 'the newest registration',
};

function choose(
  policy: BalancePolicy,
  eligible: readonly BackendTold[],
  order: readonly BackendSpec[],
): { readonly pick: string | null; readonly why: string } {
  const [first] = eligible;
  if (first === undefined) return { pick: null, why: 'no backend may get it: the answer is 503' };
  if (eligible.length === 1) return { pick: first.address, why: 'it is the only one that may get it' };
  if (policy === 'first-alive') return { pick: first.address, why: BY[policy] };
  if (policy === 'broker') {
    const newest = order
      .filter(({ address }) => eligible.some((each) => each.address === address))
      .reduce((best, each) => (each.since > best.since ? each : best));
    return { pick: newest.address, why: BY[policy] };
  }
  return { pick: null, why: `one of ${eligible.length}: ${BY[policy]}` };
}
