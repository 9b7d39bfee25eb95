/**
 * Carries the certificates of a table to where they are used: towards visitors (TLS front) and towards backends
 * (client certificates of services). A pair that is not good is rejected, and what was there stays in use.
 */
import type { Log } from '../../shared/log.ts';
import type { RejectedEntry } from '../../shared/routing/entry.ts';
import type { Table } from '../../shared/routing/table.ts';
import { certificateKeySecret, TICKET_KEYS_SECRET } from '../../shared/secrets.ts';
import type { CertificateStore } from '../tls/certificate-store.ts';

/** Chain and private key, both PEM. */
export interface PemPair {
  readonly certificate: string;
  readonly key: string;
}

export interface CertificateUsers {
  readonly tls: { readonly certificates: CertificateStore; setTicketKeys(keys: Buffer): void };
  /** A service may show this one to its backends. */
  clientCertificateChanged(name: string): void;
  readonly log: Log;
}

export class Certificates {
  readonly #users: CertificateUsers;
  /** Pairs that have their key, by name of the object. */
  #pairs: ReadonlyMap<string, PemPair> = new Map();

  constructor(users: CertificateUsers) {
    this.#users = users;
  }

  /** Null when there is no such certificate or its key is not there (yet). */
  pair(name: string): PemPair | null {
    return this.#pairs.get(name) ?? null;
  }

  /** Follows the table; returns what could not be used. */
  update(table: Table): RejectedEntry[] {
    const rejected: RejectedEntry[] = [];
    const attempt = (kind: RejectedEntry['kind'], name: string, use: () => void) => {
      try {
        use();
      } catch (error) {
        rejected.push({ kind, name, reason: (error as Error).message });
      }
    };
    const before = this.#pairs;
    const after = pairsOf(table);
    this.#pairs = after;
    const { certificates } = this.#users.tls;
    const named = new Set([...table.certificates()].map(({ name }) => name));
    for (const name of certificates.names()) if (!named.has(name)) certificates.remove(name);
    for (const [name, pair] of after) attempt('certificate', name, () => certificates.set(name, pair));
    attempt('defaultCertificate', '', () => certificates.setDefault(table.defaultCertificate()));
    this.#takeTicketKeys(table.secret(TICKET_KEYS_SECRET));
    for (const name of new Set([...before.keys(), ...after.keys()]))
      if (!same(before.get(name), after.get(name))) this.#users.clientCertificateChanged(name);
    return rejected;
  }

  #takeTicketKeys(text: string | undefined): void {
    if (text === undefined) return;
    try {
      this.#users.tls.setTicketKeys(Buffer.from(text, 'base64'));
    } catch (error) {
      // Sessions are resumed within this process only; everything else works.
      this.#users.log.error('ticket_keys_unusable', `The secret ticket-keys: ${(error as Error).message}`);
    }
  }
}

function pairsOf(table: Table): Map<string, PemPair> {
  const pairs = new Map<string, PemPair>();
  for (const { name, certificate, keyDigest } of table.certificates()) {
    const key = table.secret(certificateKeySecret(keyDigest));
    if (key !== undefined) pairs.set(name, { certificate, key });
  }
  return pairs;
}

function same(left: PemPair | undefined, right: PemPair | undefined): boolean {
  return left?.certificate === right?.certificate && left?.key === right?.key;
}
