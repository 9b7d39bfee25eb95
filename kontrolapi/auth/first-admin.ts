/**
 * The way in on a fresh store: user `admin` with a random password and an admin token in the file `admin-token`.
 * Several API processes may start at once: the one whose insert wins is the one that says so. Files are written
 * before the store, so that no crash leaves a store that nobody can enter.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../shared/log.ts';
import type { Auth } from './auth.ts';

export interface FirstAdmin {
  readonly user: string;
  /** Null when it was written to `passwordFile`. */
  readonly password: string | null;
  readonly passwordFile: string | null;
  readonly tokenFile: string;
}

const USER = 'admin';
const TOKEN_NAME = 'admin';
const TOKEN_FILE = 'admin-token';
const PASSWORD_FILE = 'admin-password';

export interface FirstAdminOptions {
  readonly auth: Auth;
  /** The data folder. */
  readonly data: string;
  /** A terminal is there to show the password once. */
  readonly terminal: boolean;
  readonly log: Log;
}

/** Creates the first admin unless somebody can log in already; null then. Rejects when the store does not answer. */
export async function createFirstAdmin(options: FirstAdminOptions): Promise<FirstAdmin | null> {
  const { auth, data, log } = options;
  if ((await auth.users.list()).length > 0) return null;
  if ((await auth.tokens.list()).length > 0) return null;
  await mkdir(data, { recursive: true });
  const tokenFile = join(data, TOKEN_FILE);
  const token = (await readToken(tokenFile)) ?? `kontrol_${randomBytes(32).toString('base64url')}`;
  const password = randomBytes(15).toString('base64url');
  const passwordFile = options.terminal ? null : join(data, PASSWORD_FILE);
  await writePrivate(tokenFile, token);
  if (passwordFile !== null) await writePrivate(passwordFile, password);
  const created = await auth.users.create(USER, 'admin', password);
  if (!created) return null;
  await auth.tokens.add(token, { name: TOKEN_NAME, role: 'admin', service: null, expires: null }, USER);
  log.info('first_admin_created', `user ${USER} was created; an admin token is in ${tokenFile}`, {
    ...(passwordFile === null ? {} : { passwordFile }),
  });
  return { user: USER, password: passwordFile === null ? password : null, passwordFile, tokenFile };
}

/** The token that an earlier start wrote; null when there is none that looks like one. */
async function readToken(file: string): Promise<string | null> {
  try {
    const text = (await readFile(file, 'utf8')).trim();
    return /^kontrol_[A-Za-z0-9_-]{43}$/.test(text) ? text : null;
  } catch {
    return null;
  }
}

/** Writes a file that only its owner may read, whole or not at all. */
async function writePrivate(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomBytes(4).toString('hex')}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(`${text}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}
