/**
 * The secrets that serving processes need: the private keys of the certificates in force, and the node-wide keys.
 * Read from the collection `secrets`, opened with `KONTROL_SECRET`; nothing else of that collection is ever read.
 */
import { createHash } from 'node:crypto';
import {
  certificateKeySecret,
  isEncrypted,
  open,
  SEALED_FIELD,
  seal,
  TICKET_KEYS_SECRET,
} from '../../shared/secrets.ts';
import { COOKIE_KEY_SECRET } from '../../shared/signed-cookie.ts';
import type { LiveDocument, LiveStore } from '../../shared/store/contract.ts';
import { checkPair, secureContextOf } from '../tls/key-pair.ts';
import { PerTurn } from '../tls/per-turn.ts';
import type { PlainDocument } from './documents.ts';
import type { ObjectChange } from './guard.ts';

/** Keys that every node has, whatever its certificates. */
const NODE_KEYS: readonly string[] = [COOKIE_KEY_SECRET, TICKET_KEYS_SECRET];

/** Secrets that are read side by side. */
const AT_ONCE = 32;

/** Pairs that are tried out in one turn (0.7 ms each): with thousands of a load, pings would not be answered in time. */
const MAX_TRIED = 500;

interface Held {
  readonly v: number;
  readonly sealed: string;
  readonly value: string;
}

/** Name of the secret that holds the private key of a certificate object. */
export function keyNameOf(certificate: PlainDocument): string | null {
  const digest = certificate['keyDigest'];
  return typeof digest === 'string' && /^[0-9a-f]{64}$/.test(digest) ? certificateKeySecret(digest) : null;
}

export class SecretKeys {
  readonly #live: () => LiveStore | null;
  readonly #secret: string | null;
  readonly #held = new Map<string, Held>();
  /** Why a secret that was asked for is not there. */
  readonly #problems = new Map<string, string>();
  readonly #trials = new PerTurn(MAX_TRIED);

  /** `live` answers null until the store is open; nothing is found then. */
  constructor(live: () => LiveStore | null, secret: string | null) {
    this.#live = live;
    this.#secret = secret;
  }

  /** Takes over sealed secrets of the last-known-good copy; returns the entries of those that open. */
  seed(secrets: readonly { readonly name: string; readonly sealed: string }[]): ObjectChange[] {
    return secrets.flatMap(({ name, sealed }) => this.#take(name, sealed, -1));
  }

  /**
   * Reads these secrets and the node-wide keys, as far as they are not held yet: kontrolapi may have made the keys
   * after this node started, and a rule that comes now may want one. Rejects when the store is away.
   */
  async need(names: Iterable<string>): Promise<ObjectChange[]> {
    return await this.#read([...new Set([...NODE_KEYS, ...names])].filter((name) => !this.#held.has(name)));
  }

  /** Reads the node-wide keys again, and whatever was missing. Rejects when the store is away. */
  async refresh(): Promise<ObjectChange[]> {
    return await this.#read([...NODE_KEYS, ...this.#problems.keys()]);
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  /** Forgets the private keys that no certificate in force names; returns their removals. */
  retain(needed: ReadonlySet<string>): ObjectChange[] {
    const unneeded = (name: string) => !NODE_KEYS.includes(name) && !needed.has(name);
    for (const name of [...this.#problems.keys()]) if (unneeded(name)) this.#problems.delete(name);
    return [...this.#held.keys()].filter(unneeded).map((name) => {
      this.#held.delete(name);
      return { kind: 'secret', name, doc: null };
    });
  }

  /** Sealed, for the copy on disk. */
  sealed(): { name: string; sealed: string }[] {
    return [...this.#held].map(([name, { sealed, value }]) => ({
      name,
      // What was stored before a secret was set is not written readable again.
      sealed: this.#secret !== null && !isEncrypted(sealed) ? seal(value, this.#secret) : sealed,
    }));
  }

  /** Why a certificate cannot be served with the key that is held for it, or null when it can. */
  problemOf(certificate: PlainDocument): string | null {
    const name = keyNameOf(certificate);
    if (name === null) return 'keyDigest: expected the SHA-256 of the private key';
    const held = this.#held.get(name);
    if (held === undefined)
      return this.#problems.get(name) ?? 'its private key is not in the store; store it again';
    const pair = { certificate: String(certificate['certificate']), key: held.value };
    try {
      checkPair(pair);
      // Here, before it takes the place of a good one; the key of that one would go with it.
      if (this.#trials.take()) secureContextOf(pair);
      return null;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async #read(names: readonly string[]): Promise<ObjectChange[]> {
    const live = this.#live();
    if (live === null) return [];
    const changes: ObjectChange[] = [];
    for (let from = 0; from < names.length; from += AT_ONCE) {
      const slice = names.slice(from, from + AT_ONCE);
      const documents = await Promise.all(slice.map((name) => live.get('secrets', name)));
      slice.forEach((name, index) => {
        changes.push(...this.#found(name, documents[index] ?? null));
      });
    }
    return changes;
  }

  #found(name: string, document: LiveDocument | null): ObjectChange[] {
    if (document !== null) {
      const known = this.#held.get(name)?.v === document.v;
      return known ? [] : this.#take(name, document[SEALED_FIELD], document.v);
    }
    // A node-wide key need not exist; one that did exist is kept.
    if (!NODE_KEYS.includes(name)) {
      this.#problems.set(
        name,
        'its private key is not in the store; store the certificate with its key again',
      );
    }
    return [];
  }

  #take(name: string, sealed: unknown, v: number): ObjectChange[] {
    try {
      if (typeof sealed !== 'string') throw new Error('a stored secret has no sealed text; store it again');
      const value = open(sealed, this.#secret);
      if (name.startsWith('certificate/') && digestOf(value) !== name.slice('certificate/'.length)) {
        throw new Error('the stored private key is not the one the certificate names; store it again');
      }
      const same = this.#held.get(name)?.value === value;
      this.#held.set(name, { v, sealed, value });
      this.#problems.delete(name);
      return same ? [] : [{ kind: 'secret', name, doc: { value } }];
    } catch (error) {
      this.#problems.set(name, (error as Error).message);
      return [];
    }
  }
}

function digestOf(pem: string): string {
  return createHash('sha256').update(pem).digest('hex');
}
