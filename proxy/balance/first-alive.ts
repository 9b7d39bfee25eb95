/** First alive: always the first in the configured order; the others are stand-ins. */
import type { Backend } from '../upstream/contract.ts';
import type { Policy } from './policy.ts';

export class FirstAlive implements Policy {
  pick<B extends Backend>(candidates: readonly B[]): B | null {
    return candidates[0] ?? null;
  }
}
