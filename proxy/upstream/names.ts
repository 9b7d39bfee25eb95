/**
 * What host names of backends stand for. Sync resolves them and sends the answers; here they are only kept, so that
 * nothing on the request path ever waits for a resolver.
 */
import { isIP } from 'node:net';

export interface NameWatcher {
  /** Called on `watch` when the name is known, and with every new answer. */
  resolved(addresses: readonly string[]): void;
}

interface Entry {
  addresses: readonly string[];
  readonly watchers: Set<NameWatcher>;
}

/** Answers for names that no backend has (yet) are kept up to this number of names. */
const MAX_NAMES = 20_000;

export class Names {
  readonly #entries = new Map<string, Entry>();

  /** `addresses`: IP addresses; anything else among them is left out. */
  set(name: string, addresses: readonly string[]): void {
    const entry = this.#entry(name);
    entry.addresses = addresses.filter((address) => isIP(address) !== 0);
    for (const watcher of entry.watchers) watcher.resolved(entry.addresses);
  }

  watch(name: string, watcher: NameWatcher): void {
    const entry = this.#entry(name);
    entry.watchers.add(watcher);
    if (entry.addresses.length > 0) watcher.resolved(entry.addresses);
  }

  unwatch(name: string, watcher: NameWatcher): void {
    const entry = this.#entries.get(name);
    entry?.watchers.delete(watcher);
    // Kept, because the table may name it again while sync sends an answer only when it changes.
  }

  #entry(name: string): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    if (this.#entries.size >= MAX_NAMES) this.#dropUnwatched();
    const entry: Entry = { addresses: [], watchers: new Set() };
    this.#entries.set(name, entry);
    return entry;
  }

  #dropUnwatched(): void {
    for (const [name, entry] of this.#entries) {
      if (entry.watchers.size === 0) this.#entries.delete(name);
    }
  }
}
