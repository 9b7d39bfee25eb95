/**
 * Carries messages between sync and the serving processes, each of which only has a channel to the primary. Never
 * keeps a message for somebody who is not there: everyone says hello to a new sync process and is loaded afresh.
 */
import type {
  BetweenServing,
  FromServing,
  PrimaryToServing,
  Relayed,
  ServingToPrimary,
  SyncToPrimary,
} from '../link/messages.ts';
import type { Child } from './child.ts';

/** Message types that a serving process means for the primary; everything else it says is for sync. */
const FOR_PRIMARY: ReadonlySet<unknown> = new Set<ServingToPrimary['type']>([
  'ready',
  'accepting',
  'pong',
  'drained',
  'wants-spare',
  'listen-failed',
]);

/** What the other serving processes hear, too. */
const FOR_ALL: ReadonlySet<unknown> = new Set<BetweenServing['type']>(['failures', 'recovered', 'invalid']);

export interface Parties {
  readonly sync: Child | null;
  serving(): Child[];
  byId(id: number): Child | undefined;
}

export interface RelayTargets {
  fromServing(child: Child, message: ServingToPrimary): void;
  fromSync(message: SyncToPrimary): void;
}

export class Relay {
  readonly #parties: Parties;
  readonly #targets: RelayTargets;

  constructor(parties: Parties, targets: RelayTargets) {
    this.#parties = parties;
    this.#targets = targets;
  }

  /** A message came from `child`. */
  receive(child: Child, message: { readonly type?: unknown; readonly relay?: unknown }): void {
    if (child.role === 'serving') this.#fromServing(child, message);
    else if (message.relay === 'to-serving') this.#toServing(message as Relayed & { relay: 'to-serving' });
    else this.#targets.fromSync(message as SyncToPrimary);
  }

  /** A new sync process is there: everyone says hello to it. */
  greet(): void {
    for (const child of this.#parties.serving()) child.send({ type: 'greet' } satisfies PrimaryToServing);
  }

  #fromServing(child: Child, message: { readonly type?: unknown }): void {
    if (FOR_PRIMARY.has(message.type)) {
      this.#targets.fromServing(child, message as ServingToPrimary);
      return;
    }
    const relayed: Relayed = { relay: 'from-serving', from: child.id, message: message as FromServing };
    this.#parties.sync?.send(relayed);
    if (!FOR_ALL.has(message.type)) return;
    for (const other of this.#parties.serving()) if (other !== child) other.send(message);
  }

  #toServing(relayed: Relayed & { relay: 'to-serving' }): void {
    if (relayed.to === 'all') for (const child of this.#parties.serving()) child.send(relayed.message);
    else this.#parties.byId(relayed.to)?.send(relayed.message);
  }
}
