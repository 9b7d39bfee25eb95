/**
 * Passwords, kept as scrypt hashes (RFC 7914). Checking one takes the same time whether the user exists or not, and
 * only a few run at once, so that guessing costs the guesser and not the machine.
 */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { KontrolError } from '../../shared/errors.ts';

/** 32 MB and some 80 ms per check. */
const PARAMETERS = { N: 32_768, r: 8, p: 1 };
const MAX_MEMORY = 64 * 1_048_576;
const HASH_BYTES = 32;
/** More would take the thread pool away from the store and the disk. */
const AT_ONCE = 2;
const WAITING = 50;

export interface PasswordHash {
  readonly salt: string;
  readonly hash: string;
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** What an unknown user's password is compared with. */
const NOBODY: PasswordHash = {
  salt: randomBytes(16).toString('base64url'),
  hash: randomBytes(HASH_BYTES).toString('base64url'),
  ...PARAMETERS,
};

let running = 0;
const waiting: (() => void)[] = [];

export async function hashPassword(password: string): Promise<PasswordHash> {
  const salt = randomBytes(16);
  const hash = await derive(password, salt, PARAMETERS);
  return { salt: salt.toString('base64url'), hash: hash.toString('base64url'), ...PARAMETERS };
}

/** True when `password` is the one of `kept`; null stands for a user that does not exist and takes as long. */
export async function checkPassword(password: string, kept: PasswordHash | null): Promise<boolean> {
  const against = kept ?? NOBODY;
  const expected = Buffer.from(against.hash, 'base64url');
  const { N, r, p } = against;
  const given = await derive(password, Buffer.from(against.salt, 'base64url'), { N, r, p });
  return expected.length === given.length && timingSafeEqual(expected, given) && kept !== null;
}

/** Reads the fields of a stored user; null when they are not a hash of ours. */
export function readPasswordHash(fields: unknown): PasswordHash | null {
  const at = (fields ?? {}) as Record<string, unknown>;
  const { salt, hash, N, r, p } = at;
  const numbers = [N, r, p].every((value) => Number.isSafeInteger(value) && (value as number) > 0);
  if (typeof salt !== 'string' || typeof hash !== 'string' || !numbers) return null;
  // A document edited by hand must not make a check cost gigabytes.
  if ((N as number) * (r as number) * 128 > MAX_MEMORY || (p as number) > 4) return null;
  return { salt, hash, N: N as number, r: r as number, p: p as number };
}

async function derive(password: string, salt: Buffer, parameters: ScryptOptions): Promise<Buffer> {
  await enter();
  try {
    return await new Promise((resolve, reject) => {
      scrypt(
        password.normalize('NFKC'),
        salt,
        HASH_BYTES,
        { ...parameters, maxmem: MAX_MEMORY + 1_048_576 },
        (error, key) => (error === null ? resolve(key) : reject(error)),
      );
    });
  } finally {
    leave();
  }
}

function enter(): Promise<void> | undefined {
  if (running < AT_ONCE) {
    running++;
    return undefined;
  }
  if (waiting.length >= WAITING) {
    throw new KontrolError('rate_limited', 'Too many logins at once; wait a few seconds and try again');
  }
  return new Promise((resolve) => waiting.push(resolve));
}

function leave(): void {
  const next = waiting.shift();
  if (next === undefined) running--;
  else next();
}
