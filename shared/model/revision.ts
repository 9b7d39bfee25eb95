/** One atomic change of any number of objects. Revisions are numbered 1, 2, 3 … without holes. */
import type { Kind } from './kinds.ts';

/** One object's new state; `doc: null` deletes it. */
export interface Change {
  readonly kind: Kind;
  readonly name: string;
  readonly doc: Readonly<Record<string, unknown>> | null;
  /** The object was not there before: tells what it was at earlier revisions when retention has removed some. */
  readonly created?: true;
}

export interface Revision {
  readonly seq: number;
  /** Random; tells a revision apart from another writer's under the same number. */
  readonly id: string;
  /** `id` of revision `seq - 1`; empty for the first. */
  readonly previous: string;
  /** Identity of the store it belongs to. */
  readonly store: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly author: string;
  readonly message: string;
  readonly changes: readonly Change[];
  /** It is undone unless somebody confirms it within this many milliseconds; what became of it is a live document. */
  readonly confirmWithinMs?: number;
  /** Number of the unconfirmed revision that this one undoes. */
  readonly undoes?: number;
}
