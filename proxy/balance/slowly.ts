/** What policies without weights make of a backend that is starting slowly (`Backend.ramp`). */
import type { Backend } from '../upstream/contract.ts';

/** Others that are drawn before the backend whose turn it is gets the request after all. */
const DRAWS = 8;

/** Whether a backend takes a request that is its turn: always, or as often as its part of its share says. */
export function takes(backend: Backend, random: () => number): boolean {
  return backend.ramp === 1 || random() < backend.ramp;
}

/** `picked`, or another one drawn at random when it does not take its turn: so no neighbour gets all that it leaves. */
export function orAnother<B extends Backend>(
  picked: B | null,
  candidates: readonly B[],
  random: () => number,
): B | null {
  if (picked === null || candidates.length === 1 || takes(picked, random)) return picked;
  for (let draw = 0; draw < DRAWS; draw++) {
    const other = candidates[Math.floor(random() * candidates.length)];
    if (other !== undefined && other !== picked && takes(other, random)) return other;
  }
  return picked;
}
