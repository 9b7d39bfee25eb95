/** Which sockets the table wants open, and which of them this node could not open. */
import { reservedPort } from '../../shared/backend-addresses.ts';
import { type Listener, listenerSchema } from '../../shared/model/listener.ts';
import type { Quarantined } from '../../shared/model/live.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { specOfListener, specsOfSettings } from '../link/listener-specs.ts';
import type { ListenerSpec, PrimaryToSync } from '../link/messages.ts';

/** The TCP listeners of the table, and the HTTPS addresses of the settings once there is a certificate. */
export function wantedListeners(
  table: Iterable<TableEntry>,
  settings: Pick<
    SettingsOfProcess,
    'http' | 'https' | 'proxyProtocol' | 'api' | 'internal' | 'mongoUrl' | 'redisUrl'
  >,
): ListenerSpec[] {
  const specs: ListenerSpec[] = [];
  let certificate = false;
  for (const { kind, doc } of table) {
    if (doc === null) continue;
    if (kind === 'certificate' || kind === 'defaultCertificate') certificate = true;
    const listener: Listener | undefined =
      kind === 'listener' ? listenerSchema.safeParse(doc).data : undefined;
    // Quarantined where it comes from the store; a copy of an earlier build may still have it.
    if (listener !== undefined && reservedPort(settings, listener) === null)
      specs.push(specOfListener(listener));
  }
  specs.sort((a, b) => (a.key < b.key ? -1 : 1));
  return certificate ? [...specsOfSettings(settings, 'https'), ...specs] : specs;
}

export class ListenerStates {
  #wanted: readonly ListenerSpec[] = [];
  readonly #failed = new Map<string, string>();
  /** Keys that the primary said are open; it may say so before they are asked for here. */
  readonly #open = new Set<string>();

  /** Takes over what is wanted; true when that differs from before. */
  want(specs: readonly ListenerSpec[]): boolean {
    const changed = JSON.stringify(specs) !== JSON.stringify(this.#wanted);
    this.#wanted = specs;
    for (const key of [...this.#failed.keys()]) {
      if (!specs.some((spec) => spec.key === key)) this.#failed.delete(key);
    }
    // What is not wanted is closed, and opened anew when it is wanted again.
    for (const key of [...this.#open]) {
      if (!specs.some((spec) => spec.key === key)) this.#open.delete(key);
    }
    return changed;
  }

  get wanted(): readonly ListenerSpec[] {
    return this.#wanted;
  }

  /** Whether it is known of every wanted socket that it is open, or that it cannot be opened. */
  get settled(): boolean {
    return this.#wanted.every(({ key }) => this.#open.has(key) || this.#failed.has(key));
  }

  /** What the primary says of a socket. */
  receive(message: Extract<PrimaryToSync, { type: 'listening' | 'listen-failed' }>): void {
    const { key } = message;
    if (message.type === 'listening') {
      this.#failed.delete(key);
      this.#open.add(key);
    } else {
      this.#open.delete(key);
      this.#failed.set(key, message.reason);
    }
  }

  /** Listener objects whose port could not be opened on this node. */
  quarantined(): Quarantined[] {
    return this.#wanted.flatMap(({ key, listener }) => {
      const reason = this.#failed.get(key);
      if (reason === undefined || listener === null) return [];
      return [{ kind: 'listener', name: listener, reason, lastGood: false }];
    });
  }
}
