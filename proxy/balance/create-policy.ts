/** From a policy's name in the configuration to its implementation. */
import type { BalancePolicy } from '../../shared/model/service.ts';
import { Broker } from './broker.ts';
import { FirstAlive } from './first-alive.ts';
import { LeastConnections } from './least-connections.ts';
import { Naive } from './naive.ts';
import type { Policy, PolicyOptions } from './policy.ts';
import { Random } from './random.ts';
import { Rendezvous } from './rendezvous.ts';
import { RoundRobin } from './round-robin.ts';
import { TwoChoices } from './two-choices.ts';
import { WeightedRoundRobin } from './weighted-round-robin.ts';

const POLICIES: Readonly<Record<BalancePolicy, (options: PolicyOptions) => Policy>> = {
  'round-robin': (options) => new RoundRobin(options),
  random: (options) => new Random(options),
  'weighted-round-robin': (options) => new WeightedRoundRobin(options),
  'least-connections': (options) => new LeastConnections(options),
  // Pinning by address is a rendezvous hash too: a table by modulo would move nearly every visitor when one leaves.
  'source-hash': (options) => new Rendezvous({ ...options, hash: { ...options.hash, by: 'ip' } }),
  'first-alive': (options) => new FirstAlive(options),
  naive: (options) => new Naive(options),
  'two-choices': (options) => new TwoChoices(options),
  rendezvous: (options) => new Rendezvous(options),
  broker: () => new Broker(),
};

export function createPolicy(name: BalancePolicy, options: PolicyOptions): Policy {
  return POLICIES[name](options);
}
