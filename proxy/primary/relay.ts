/**
 * Carries messages between sync and the serving processes, each of which only has a channel to the primary. Never
 * keeps a message for somebody who is not there: a new sync process gets every greeting again and loads everyone.
 */
import type { FromServing, Relayed, ServingToPrimary, SyncToPrimary } from '../link/messages.ts';
import type { Child } from './child.ts';

/** Message types that a serving process means for the primary; everything else it says is for sync. */
const FOR_PRIMARY: ReadonlySet<unknown> = new Set<ServingToPrimary['type']>([
  'ready',
  'pong',
  'drained',
  'wants-spare',
  'listen-failed',
]);

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
  /** The greeting of each serving process, for the next sync process. */
  readonly #hellos = new WeakMap<Child, FromServing>();

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

  /** A new sync process is there: it hears of everyone. */
  greet(sync: Child): void {
    for (const child of this.#parties.serving()) {
      const hello = this.#hellos.get(child);
      if (hello !== undefined) sync.send(wrap(child, hello));
    }
  }

  #fromServing(child: Child, message: { readonly type?: unknown }): void {
    if (FOR_PRIMARY.has(message.type)) {
      this.#targets.fromServing(child, message as ServingToPrimary);
      return;
    }
    const relayed = message as FromServing;
    if (relayed.type === 'hello') this.#hellos.set(child, relayed);
    this.#parties.sync?.send(wrap(child, relayed));
  }

  #toServing(relayed: Relayed & { relay: 'to-serving' }): void {
    if (relayed.to === 'all') for (const child of this.#parties.serving()) child.send(relayed.message);
    else this.#parties.byId(relayed.to)?.send(relayed.message);
  }
}

function wrap(child: Child, message: FromServing): Relayed {
  return { relay: 'from-serving', from: child.id, message };
}
