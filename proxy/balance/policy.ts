/**
 * The one interface behind which every balance policy stands. A policy chooses among backends that may all take the
 * request; which ones those are (ready, alive, tier, room in the pool) is decided before, in `candidates.ts`.
 */
import type { Backend, PickRequest } from '../upstream/contract.ts';
import type { LoadChanges } from './load-changes.ts';

/**
 * One instance per service, key and kind (requests, WebSockets), kept while the policy's configuration stays the
 * same: rotation goes on over changes of the table.
 */
export interface Policy {
  /**
   * One of `candidates`, or null when there is none. Synchronous, never throws. The same array object means the same
   * backends, in the same order, with the same weights; only their load differs between calls.
   */
  pick<B extends Backend>(candidates: readonly B[], request: PickRequest): B | null;
}

/** How busy a backend is for this kind of traffic. */
export type Load = (backend: Backend) => number;

export const requestLoad: Load = (backend) => backend.active;
export const tunnelLoad: Load = (backend) => backend.tunnels;

/** What policies are made with. */
export interface PolicyOptions {
  readonly load: Load;
  /** Where every change of a backend's load is noted; null where nobody does. */
  readonly changes: LoadChanges | null;
  /** Uniform in 0 ≤ x < 1. */
  readonly random: () => number;
  /** `hash` of the service: what stands for a visitor, and how uneven the load may become (0 = any). */
  readonly hash: { readonly by: string; readonly boundedLoad: number };
}
