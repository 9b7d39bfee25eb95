/** What a table is made of: validated documents by kind and name, as sync sends them to the serving processes. */
import type { Kind } from '../model/kinds.ts';

/** Kinds that only travel inside a node: members of services, private keys, the certificate of `certs/`. */
export type EntryKind = Kind | 'members' | 'secret' | 'defaultCertificate';

/**
 * One object's state. `doc: null` without `broken` removes it. With `broken` the object exists but could not be
 * loaded and has no good version: its `claims` (hosts of a domain) answer 503 instead of falling through, a rule
 * makes its users answer 503, a service makes its routes answer 503.
 */
export interface TableEntry {
  readonly kind: EntryKind;
  readonly name: string;
  readonly doc: Readonly<Record<string, unknown>> | null;
  readonly broken?: { readonly reason: string; readonly claims: readonly string[] };
}

/** Why an entry could not be applied; everything else of the change was. */
export interface RejectedEntry {
  readonly kind: EntryKind;
  readonly name: string;
  readonly reason: string;
}

/** `doc` of an entry of kind `secret`: the opened secret, named as in the collection `secrets`. */
export interface SecretDoc {
  readonly value: string;
}

/** `doc` of the entry of kind `defaultCertificate`: chain and private key, both PEM. */
export interface DefaultCertificateDoc {
  readonly certificate: string;
  readonly key: string;
}
