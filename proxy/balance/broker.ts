/** Broker: one backend is active, the one that registered last; an older one serves only while no newer is alive. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy } from './policy.ts';

export class Broker implements Policy {
  pick<B extends Backend>(candidates: readonly B[]): B | null {
    let newest: B | null = null;
    for (const backend of candidates) {
      if (newest === null || backend.since > newest.since) newest = backend;
    }
    return newest;
  }
}
