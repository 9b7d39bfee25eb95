/**
 * What choosing a backend costs: nanoseconds per choice, by policy, for 10 and for 1 000 backends that are busy as they
 * are in life: who is chosen has a request more, until 64 others were chosen. It is the choice the data path makes:
 * candidates, the policy, room in the pool; with sticky sessions also the cookie.
 * `node build/…/bench/balance.js [rounds]`.
 */

import { TimerWheel } from '../proxy/stream/timer-wheel.ts';
import type { PickRequest } from '../proxy/upstream/contract.ts';
import type { Endpoint } from '../proxy/upstream/endpoint.ts';
import { Names } from '../proxy/upstream/names.ts';
import { OwnFailures } from '../proxy/upstream/own-failures.ts';
import { ServiceState } from '../proxy/upstream/service-state.ts';
import { ManualClock } from '../shared/clock.ts';
import { silentLog } from '../shared/log.ts';
import { BALANCE_POLICIES, resolveService, serviceSchema } from '../shared/model/service.ts';
import type { CompiledService } from '../shared/routing/decision.ts';

/** Requests that are under way, beside those that every backend has; a power of two. */
const OPEN = 64;
const NOBODY: ReadonlySet<never> = new Set<never>();
const ROUNDS = Number(process.argv[2] ?? 5);
/** Nanoseconds that a choice may cost, by number of backends. */
const BOUNDS: readonly (readonly [backends: number, ns: number])[] = [
  [10, 200],
  [1_000, 2_000],
];

function service(count: number, document: Record<string, unknown>): CompiledService {
  const config = resolveService(serviceSchema.parse({ name: 'shop', ...document }));
  const backends = Array.from({ length: count }, (_, n) => ({
    address: `10.0.${n >> 8}.${n & 255}:80`,
    weight: 1 + (n % 3),
    tier: 0,
    state: 'ready' as const,
    since: n,
    worker: null,
  }));
  return {
    name: 'shop',
    config,
    keys: new Map([[1, { key: 1, enabled: true, backends }]]),
    latest: 1,
    greatest: 1,
  };
}

function stateOf(count: number, document: Record<string, unknown>): ServiceState {
  const clock = new ManualClock();
  const compiled = service(count, document);
  const state = new ServiceState(compiled, {
    connector: { connect: () => ({ abort() {} }) },
    timers: new TimerWheel(
      () => {},
      () => clock.monotonic(),
    ),
    clock,
    log: silentLog,
    random: Math.random,
    names: new Names(),
    leaving: new Set(),
    ownFailures: new OwnFailures(clock, silentLog),
    cookieKeys: 'a key,another key,a third',
    mayConnect: () => true,
    onFailures() {},
    onRecovered() {},
  });
  state.update(compiled, () => null);
  let n = 0;
  for (const endpoint of state.endpoints.values()) endpoint.active = 1 + ((n++ * 7) % 5);
  return state;
}

class Visitor implements PickRequest {
  readonly target = '/shop/item/42';
  readonly address: string;
  readonly cookie: string | undefined;

  constructor(address: string, cookie: string | undefined) {
    this.address = address;
    this.cookie = cookie;
  }

  header(name: string): string | undefined {
    return name === 'cookie' ? this.cookie : undefined;
  }
}

/** The best of the rounds, in time of the processor: the machine has other things to do, too. */
function nanoseconds(state: ServiceState, visitors: readonly Visitor[]): number {
  const key = state.keys.get(1);
  if (key === undefined) throw new Error('the service has no key');
  let best = Number.POSITIVE_INFINITY;
  const open: Endpoint[] = [];
  const choices = state.endpoints.size > 100 ? 20_000 : 200_000;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.cpuUsage();
    for (let n = 0; n < choices; n++) {
      // In range: the length is a power of two.
      const choice = key.choose(false, visitors[n & (visitors.length - 1)] as Visitor, NOBODY);
      if (typeof choice === 'string') throw new Error('nowhere to go');
      const ended = open[n & (OPEN - 1)];
      if (ended !== undefined) ended.active--;
      choice.endpoint.active++;
      open[n & (OPEN - 1)] = choice.endpoint;
    }
    const { user, system } = process.cpuUsage(start);
    best = Math.min(best, ((user + system) * 1_000) / choices);
  }
  return best;
}

const CASES: readonly (readonly [name: string, document: Record<string, unknown>])[] = [
  ...BALANCE_POLICIES.map((balance) => [balance, { balance }] as const),
  ['rendezvous, bounded', { balance: 'rendezvous', hash: { by: 'ip', boundedLoad: 1.25 } }],
  ['round-robin, sticky', { sticky: { maxAge: '1h' } }],
  ['round-robin, ejecting', { eject: { status5xx: 5, latency: '1s' } }],
];

for (const [name, document] of CASES) {
  const cells = BOUNDS.map(([count, bound]) => {
    const state = stateOf(count, document);
    const key = state.keys.get(1);
    const visitors = Array.from({ length: 1_024 }, (_, n) => {
      const bare = new Visitor(`203.0.${n >> 8}.${n & 255}`, undefined);
      const backend = key?.backends[n % count];
      const cookie = backend === undefined ? undefined : key?.cookieFor(backend, bare)?.split(';')[0];
      return new Visitor(bare.address, cookie);
    });
    const ns = nanoseconds(state, visitors);
    state.close();
    // A cookie, and looking at every load for a bound, is paid for by those who want it.
    const late = ns > bound && !('sticky' in document || 'hash' in document);
    return `${String(count).padStart(5)}: ${ns.toFixed(0).padStart(5)} ns${late ? ' ABOVE' : ''}`;
  });
  console.log(`${name.padEnd(22)} ${cells.join('  ')}`);
}
