/** The services of a table with their members. Compiles what changed, once per change of the table. */
import type { Members } from '../model/live.ts';
import type { Service } from '../model/service.ts';
import type { Settings } from '../model/settings.ts';
import { compileService } from './compile-service.ts';
import type { CompiledService } from './decision.ts';

/** Where a service stands in the table. As long as there is a compiled one, it is the one of that name. */
export interface ServicePlace {
  readonly compiled: CompiledService | undefined;
}

interface ServiceSlot extends ServicePlace {
  compiled: CompiledService | undefined;
  service: Service | null;
  /** It exists but could not be loaded. */
  broken: boolean;
  /** Kept also while there is no service: the two come independently. */
  members: Members | undefined;
}

export class ServiceTable {
  readonly #slots = new Map<string, ServiceSlot>();
  readonly #dirty = new Set<string>();
  #timeouts: Settings['timeouts'];

  get(name: string): CompiledService | undefined {
    return this.#slots.get(name)?.compiled;
  }

  /** The place itself, to be held and looked at again; undefined when there is no such service. */
  placeOf(name: string): ServicePlace | undefined {
    return this.#slots.get(name);
  }

  *all(): IterableIterator<CompiledService> {
    for (const slot of this.#slots.values()) if (slot.compiled !== undefined) yield slot.compiled;
  }

  /** Whether a good version is in force (or will be, with the next `compile`). */
  has(name: string): boolean {
    return (this.#slots.get(name)?.service ?? null) !== null;
  }

  isBroken(name: string): boolean {
    return this.#slots.get(name)?.broken ?? false;
  }

  setService(name: string, service: Service | null): void {
    const slot = this.#touch(name);
    slot.service = service;
    slot.broken = false;
  }

  /** The service exists but could not be loaded and has no good version. */
  break(name: string): void {
    const slot = this.#touch(name);
    slot.service = null;
    slot.broken = true;
  }

  setMembers(name: string, members: Members | undefined): void {
    this.#touch(name).members = members;
  }

  /** Brings the compiled services up to date and answers the names of those that changed or are gone. */
  compile(timeouts: Settings['timeouts']): string[] {
    if (JSON.stringify(timeouts) !== JSON.stringify(this.#timeouts)) {
      this.#timeouts = timeouts;
      for (const name of this.#slots.keys()) this.#dirty.add(name);
    }
    const changed: string[] = [];
    for (const name of this.#dirty) {
      const slot = this.#slots.get(name);
      if (slot === undefined) continue;
      const { service, members, compiled: before } = slot;
      slot.compiled = service === null ? undefined : compileService(service, members, timeouts, before);
      if (slot.compiled !== before) changed.push(name);
      if (service === null && members === undefined && !slot.broken) this.#slots.delete(name);
    }
    this.#dirty.clear();
    return changed;
  }

  #touch(name: string): ServiceSlot {
    this.#dirty.add(name);
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = { compiled: undefined, service: null, broken: false, members: undefined };
      this.#slots.set(name, slot);
    }
    return slot;
  }
}
