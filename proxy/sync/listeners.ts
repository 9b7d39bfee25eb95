/** Which sockets the table wants open, and which of them this node could not open. */
import { type Listener, listenerSchema } from '../../shared/model/listener.ts';
import type { Quarantined } from '../../shared/model/live.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { specOfListener, specsOfSettings } from '../link/listener-specs.ts';
import type { ListenerSpec } from '../link/messages.ts';

/** The TCP listeners of the table, and the HTTPS addresses of the settings once there is a certificate. */
export function wantedListeners(
  table: Iterable<TableEntry>,
  settings: Pick<SettingsOfProcess, 'http' | 'https' | 'proxyProtocol'>,
): ListenerSpec[] {
  const specs: ListenerSpec[] = [];
  let certificate = false;
  for (const { kind, doc } of table) {
    if (doc === null) continue;
    if (kind === 'certificate' || kind === 'defaultCertificate') certificate = true;
    const listener: Listener | undefined =
      kind === 'listener' ? listenerSchema.safeParse(doc).data : undefined;
    if (listener !== undefined) specs.push(specOfListener(listener));
  }
  specs.sort((a, b) => (a.key < b.key ? -1 : 1));
  return certificate ? [...specsOfSettings(settings, 'https'), ...specs] : specs;
}

export class ListenerStates {
  #wanted: readonly ListenerSpec[] = [];
  readonly #failed = new Map<string, string>();

  /** Takes over what is wanted; true when that differs from before. */
  want(specs: readonly ListenerSpec[]): boolean {
    const changed = JSON.stringify(specs) !== JSON.stringify(this.#wanted);
    this.#wanted = specs;
    for (const key of [...this.#failed.keys()]) {
      if (!specs.some((spec) => spec.key === key)) this.#failed.delete(key);
    }
    return changed;
  }

  get wanted(): readonly ListenerSpec[] {
    return this.#wanted;
  }

  failed(key: string, reason: string): void {
    this.#failed.set(key, reason);
  }

  listening(key: string): void {
    this.#failed.delete(key);
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
