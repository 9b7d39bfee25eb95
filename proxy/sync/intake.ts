/**
 * From what a look found to what serving processes get: fetches the private keys that certificates need, lets only
 * usable objects through, and hands the rest to the distributor. One thing at a time, in order of arrival.
 */
import { setImmediate } from 'node:timers/promises';
import type { Log } from '../../shared/log.ts';
import type { Change } from '../../shared/model/revision.ts';
import type { EntryKind, TableEntry } from '../../shared/routing/entry.ts';
import { certificateKeySecret } from '../../shared/secrets.ts';
import { type Distributor, entryKey } from './distribute.ts';
import type { Guard, ObjectChange } from './guard.ts';
import type { Objects } from './objects.ts';
import type { Found } from './replica.ts';
import { keyNameOf, type SecretKeys } from './secret-keys.ts';

/** Objects that are validated without a pause; health checks and pings go on in between. */
const SLICE = 20;

export interface IntakeOptions {
  readonly guard: Guard;
  readonly objects: Objects;
  readonly secrets: SecretKeys;
  readonly distributor: Distributor;
  readonly log: Log;
  /** Called with the services that the guard's table compiled anew; what it resolves on goes out before the change. */
  servicesChanged(names: readonly string[]): Promise<void>;
}

export class Intake {
  readonly #options: IntakeOptions;
  /** The end of the line. */
  #last: Promise<void> = Promise.resolve();
  #seq = 0;
  #submitted = false;
  #secretsDue = true;
  /** Changes that came before there was a table. */
  readonly #early: ObjectChange[] = [];
  /** Changes that could not be taken in, by object: whoever told of them counts them as known and tells no more. */
  readonly #owed = new Map<string, ObjectChange>();

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Sequence number of the last change that was handed on. */
  get seq(): number {
    return this.#seq;
  }

  /** Changes that came before there was a table, to be put into it. */
  takeEarly(): ObjectChange[] {
    return this.#early.splice(0);
  }

  /** The last-known-good copy is in force, at `seq`; what comes now waits until `seeded` is done with the guard. */
  resume(seq: number, seeded: () => Promise<void>): Promise<void> {
    this.#seq = seq;
    this.#submitted = true;
    return this.#inLine(seeded);
  }

  /** Takes in what a look found. Never rejects. */
  found(found: Found): Promise<void> {
    return this.#inLine(async () => {
      const secrets = await this.#secretsFor(found.parts, found.reread);
      await this.#submit([this.takeEarly(), secrets, ...found.parts], found.seq, found.since);
    });
  }

  /** Takes in changes that came another way: the folder of certificates, a confirmation. */
  changed(changes: readonly ObjectChange[], since: number): Promise<void> {
    return this.#inLine(async () => {
      // A table is only a table with the objects in it: what comes before them waits for them.
      if (this.#submitted) await this.#submit([changes], this.#seq, since);
      else this.#early.push(...changes);
    });
  }

  /** Entries that processes could not use or died of leave the table. */
  refuse(
    entries: readonly { readonly kind: EntryKind; readonly name: string }[],
    reason: string,
    since: number,
  ): void {
    const { guard, distributor } = this.#options;
    const replacements = guard.refuse(entries, reason, distributor.table);
    if (replacements.length > 0) distributor.submit([replacements], this.#seq, since);
    void this.#options.servicesChanged(guard.takeServices());
  }

  /** Resolves when everything that came before has been handed on. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #inLine(work: () => Promise<void>): Promise<void> {
    this.#last = this.#last.then(work).catch((error: unknown) => {
      this.#options.log.error(
        'intake_failed',
        'a change could not be taken in; it is repeated with the next one, or at the next re-read',
        {
          error,
        },
      );
    });
    return this.#last;
  }

  /** Private keys of new certificates, and at each re-read everything that was missing or may have been renewed. */
  async #secretsFor(parts: Found['parts'], reread: boolean): Promise<ObjectChange[]> {
    const { objects, log, secrets } = this.#options;
    const named = parts.flat().flatMap(({ kind, doc }) => {
      const name = kind === 'certificate' && doc !== null ? keyNameOf(doc) : null;
      return name === null ? [] : [name];
    });
    try {
      const changes = await secrets.need(named);
      if (!reread && !this.#secretsDue) return changes;
      changes.push(...(await secrets.refresh()));
      this.#secretsDue = false;
      // Certificates that wait in quarantine for their key, or came from the copy without one.
      for (const name of this.#withoutKey()) {
        const doc = objects.get('certificate', name);
        if (doc !== null) changes.push({ kind: 'certificate', name, doc });
      }
      return changes;
    } catch (error) {
      this.#secretsDue = true;
      log.debug('secrets_unreadable', 'private keys could not be read; tried again with the next look', {
        error,
      });
      return [];
    }
  }

  /** What failed earlier goes first, so that a newer state of an object comes after it. */
  async #submit(parts: readonly (readonly ObjectChange[])[], seq: number, since: number): Promise<void> {
    const all = [[...this.#owed.values()], ...parts];
    try {
      await this.#handOn(all, seq, since);
      this.#owed.clear();
    } catch (error) {
      for (const change of all.flat()) this.#owed.set(entryKey(change), change);
      throw error;
    }
  }

  async #handOn(parts: readonly (readonly ObjectChange[])[], seq: number, since: number): Promise<void> {
    const { guard, distributor, secrets } = this.#options;
    const entries: TableEntry[][] = [];
    for (const part of parts) {
      const admitted: TableEntry[] = [];
      for (let from = 0; from < part.length; from += SLICE) {
        if (from > 0) await setImmediate();
        admitted.push(...guard.admit(part.slice(from, from + SLICE)));
      }
      if (admitted.length > 0) entries.push(admitted);
    }
    const unneeded = secrets.retain(this.#neededKeys());
    if (unneeded.length > 0) entries.push(guard.admit(unneeded));
    const services = guard.takeServices();
    if (services.length > 0) await this.#options.servicesChanged(services);
    if (entries.length === 0 && seq === this.#seq && this.#submitted) return;
    this.#seq = seq;
    // Of the very first table each object is a part of its own: should one be deadly, halving finds it.
    distributor.submit(this.#submitted ? entries : entries.flat().map((entry) => [entry]), seq, since);
    this.#submitted = true;
  }

  #withoutKey(): Set<string> {
    const { guard, secrets } = this.#options;
    const names = new Set<string>();
    for (const { kind, name } of guard.quarantined()) if (kind === 'certificate') names.add(name);
    for (const { name, keyDigest } of guard.table.certificates()) {
      if (!secrets.has(certificateKeySecret(keyDigest))) names.add(name);
    }
    return names;
  }

  #neededKeys(): Set<string> {
    const { guard, objects } = this.#options;
    const names = [...guard.table.certificates()].map(({ keyDigest }) => certificateKeySecret(keyDigest));
    for (const { kind, name } of guard.quarantined()) {
      const doc = kind === 'certificate' ? objects.get('certificate', name) : null;
      const key = doc === null ? null : keyNameOf(doc);
      if (key !== null) names.push(key);
    }
    return new Set(names);
  }
}

/** Changes of members and of objects, from the deletions that were held back and are confirmed now. */
export function confirmedDeletions(
  confirmed: ReadonlyMap<string, readonly string[]>,
  objects: Objects,
  members: (services: readonly string[]) => ObjectChange[],
): ObjectChange[] {
  return [...confirmed].flatMap(([kind, names]): readonly ObjectChange[] =>
    kind === 'members' ? members(names) : objects.remove(kind as Change['kind'], names),
  );
}
