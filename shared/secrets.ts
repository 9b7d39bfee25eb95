/**
 * How private keys, cookie keys and ticket keys are kept in the store and in the last-known-good copy: sealed with
 * `KONTROL_SECRET` when it is set (AES-256-GCM under a key derived by scrypt), readable otherwise. The text form
 * carries its version, so a later form can be told apart; what was kept before a secret was set can still be opened.
 */
import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { KontrolError } from './errors.ts';

/** The field of a document in the collection `secrets` that holds the sealed text. */
export const SEALED_FIELD = 'sealed';

/**
 * Name of the secret with the keys of TLS session tickets, in base64, shared by all nodes: the present ones, then
 * the ones before, if any. Tickets made with those are taken for a while, and no new ones are made.
 */
export const TICKET_KEYS_SECRET = 'ticket-keys';
/** Length of ticket keys: name, HMAC key and AES key, as OpenSSL wants them. */
export const TICKET_KEYS_BYTES = 48;

/** Name of the secret with the private key that a certificate names by its digest. */
export function certificateKeySecret(keyDigest: string): string {
  return `certificate/${keyDigest}`;
}

const PLAIN = 'kontrol1.plain.';
const SEALED = 'kontrol1.aes256gcm.';
const SALT_BYTES = 16;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Deriving a key takes some 50 ms, so each process derives one per secret and salt, and seals under a salt it knows. */
const derived = new Map<string, { readonly salt: Buffer; readonly key: Buffer }>();
const MAX_DERIVED = 64;

/** Seals `value` with `secret`; null keeps it readable. */
export function seal(value: string, secret: string | null): string {
  if (secret === null) return PLAIN + Buffer.from(value, 'utf8').toString('base64url');
  const { salt, key } = sealingKey(secret);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const body = Buffer.concat([cipher.update(value, 'utf8'), cipher.final()]);
  return SEALED + Buffer.concat([salt, nonce, cipher.getAuthTag(), body]).toString('base64url');
}

/** True when `text` cannot be read without a secret. */
export function isEncrypted(text: string): boolean {
  return text.startsWith(SEALED);
}

/** Opens what `seal` made. Throws KontrolError `setting_invalid` when the secret is missing or another one. */
export function open(text: string, secret: string | null): string {
  if (text.startsWith(PLAIN)) return Buffer.from(text.slice(PLAIN.length), 'base64url').toString('utf8');
  if (!text.startsWith(SEALED)) {
    throw new KontrolError('setting_invalid', 'a stored secret has a form that this version does not know');
  }
  if (secret === null) {
    throw new KontrolError(
      'setting_invalid',
      'a stored secret is encrypted; set KONTROL_SECRET to the value it was sealed with',
    );
  }
  const bytes = Buffer.from(text.slice(SEALED.length), 'base64url');
  if (bytes.length < SALT_BYTES + NONCE_BYTES + TAG_BYTES) {
    throw new KontrolError('setting_invalid', 'a stored secret is cut short; store it again');
  }
  const nonce = bytes.subarray(SALT_BYTES, SALT_BYTES + NONCE_BYTES);
  const tag = bytes.subarray(SALT_BYTES + NONCE_BYTES, SALT_BYTES + NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', keyFor(secret, bytes.subarray(0, SALT_BYTES)), nonce);
  decipher.setAuthTag(tag);
  try {
    const body = bytes.subarray(SALT_BYTES + NONCE_BYTES + TAG_BYTES);
    return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8');
  } catch (cause) {
    throw new KontrolError(
      'setting_invalid',
      'a stored secret does not open; is KONTROL_SECRET the same on every machine?',
      [],
      { cause },
    );
  }
}

/** A salt that was met before is used again: one derivation serves everything a store holds. */
function sealingKey(secret: string): { salt: Buffer; key: Buffer } {
  const prefix = `${secret}\0`;
  for (const [id, entry] of derived) if (id.startsWith(prefix)) return entry;
  const salt = randomBytes(SALT_BYTES);
  return { salt, key: keyFor(secret, salt) };
}

function keyFor(secret: string, salt: Buffer): Buffer {
  const id = `${secret}\0${salt.toString('hex')}`;
  const known = derived.get(id);
  if (known !== undefined) return known.key;
  const key = scryptSync(secret, salt, 32, { N: 16_384, r: 8, p: 1 });
  const oldest = derived.size >= MAX_DERIVED ? derived.keys().next().value : undefined;
  if (oldest !== undefined) derived.delete(oldest);
  derived.set(id, { salt: Buffer.from(salt), key });
  return key;
}
