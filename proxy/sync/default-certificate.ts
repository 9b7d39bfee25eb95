/** The default certificate of the certs folder as an entry of the table: read at start, followed from then on. */
import { X509Certificate } from 'node:crypto';
import type { Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import type { KeyPair } from '../tls/key-pair.ts';
import { type PairWatcher, readPair, watchPair } from '../tls/load-certs.ts';
import type { ObjectChange } from './guard.ts';

export class DefaultCertificate {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #changed: (change: ObjectChange) => void;
  #watcher: PairWatcher | null = null;
  #validTo: number | null = null;
  #closed = false;

  constructor(folder: string, clock: Clock, log: Log, changed: (change: ObjectChange) => void) {
    this.#folder = folder;
    this.#clock = clock;
    this.#log = log;
    this.#changed = changed;
  }

  /** Resolves when the folder was read once. Never rejects. */
  async start(): Promise<void> {
    let pair: KeyPair | null = null;
    try {
      pair = await readPair(this.#folder);
    } catch (error) {
      this.#bad(error as Error);
    }
    if (this.#closed) return;
    if (pair !== null) this.#tell(pair);
    this.#watcher = watchPair(this.#folder, pair, this.#clock, {
      onPair: (next) => this.#tell(next),
      onProblem: (error) => this.#bad(error),
    });
  }

  /** Until when the certificate in force is valid, in milliseconds since 1970; null when there is none. */
  get validTo(): number | null {
    return this.#validTo;
  }

  close(): void {
    this.#closed = true;
    this.#watcher?.close();
  }

  #tell(pair: KeyPair | null): void {
    this.#validTo = pair === null ? null : endOf(pair.certificate);
    const doc = pair === null ? null : { certificate: pair.certificate, key: pair.key };
    this.#changed({ kind: 'defaultCertificate', name: 'default', doc });
  }

  #bad(error: Error): void {
    this.#log.warn('certificate_unusable', `the default certificate is left as it was: ${error.message}`);
  }
}

/** Null for one that does not say: what is served is decided elsewhere. */
function endOf(certificate: string): number | null {
  try {
    const at = Date.parse(new X509Certificate(certificate).validTo);
    return Number.isNaN(at) ? null : at;
  } catch {
    return null;
  }
}
