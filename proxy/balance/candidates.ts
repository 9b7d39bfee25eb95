/**
 * Which backends a new request may go to: those that are ready, have a weight and are alive, of the lowest tier that
 * has any. Draining ones keep what they have and get nothing new; those in maintenance get nothing at all.
 */
import type { Backend } from '../upstream/contract.ts';

const NONE: readonly never[] = [];

/** A backend that takes part in balancing, dead or alive. */
export function isReady(backend: Backend): boolean {
  return backend.state === 'ready' && backend.weight > 0;
}

/**
 * The candidates in the order given. A worker whose lease ran out (`lost`) is the last resort: it counts only when
 * nothing else is alive, and only while it is alive itself.
 */
export function candidatesOf<B extends Backend>(backends: readonly B[]): readonly B[] {
  let tier = Number.POSITIVE_INFINITY;
  for (const backend of backends) {
    if (backend.tier < tier && isReady(backend) && backend.alive) tier = backend.tier;
  }
  if (tier !== Number.POSITIVE_INFINITY) {
    return backends.filter((backend) => backend.tier === tier && isReady(backend) && backend.alive);
  }
  const lost = backends.filter((backend) => backend.state === 'lost' && backend.weight > 0 && backend.alive);
  return lost.length === 0 ? NONE : lost;
}
