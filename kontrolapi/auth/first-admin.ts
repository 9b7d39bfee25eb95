/**
 * The way in on a fresh store: user `admin` with a random password and an admin token in the file `admin-token`.
 * Several API processes may start at once: the one whose insert wins is the one that says so. Files are written
 * before the store, so that no crash leaves a store that nobody can enter.
 */
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { KontrolError } from '../../shared/errors.ts';
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

/**
 * Creates the first admin unless somebody can log in already, or another process does so at this moment; null then.
 * Rejects when the store does not answer; what was begun is finished by the next call. Rejects with `cannot_start`
 * when the data folder cannot be written: nobody could ever log in then.
 */
export async function createFirstAdmin(options: FirstAdminOptions): Promise<FirstAdmin | null> {
  const { auth, data, log } = options;
  if ((await auth.users.list()).length > 0) return null;
  const tokenFile = join(data, TOKEN_FILE);
  const earlier = await readSecret(tokenFile);
  // The token of this folder is what an earlier start left that broke off; any other one is a way in already.
  const begun = earlier !== null && (await auth.tokens.identify(earlier)) !== null;
  if (!begun && (await auth.tokens.list()).length > 0) return null;
  const token = await keepSecret(tokenFile, `kontrol_${randomBytes(32).toString('base64url')}`);
  const passwordFile = options.terminal ? null : join(data, PASSWORD_FILE);
  const random = randomBytes(15).toString('base64url');
  const password = passwordFile === null ? random : await keepSecret(passwordFile, random);
  if (!begun && !(await addToken(auth, token))) await rm(tokenFile);
  if (!(await auth.users.create(USER, 'admin', password))) {
    // On this machine the other process has the same password; on another one ours opens nothing.
    if (passwordFile !== null && (await auth.users.logIn(USER, password)) === null) await rm(passwordFile);
    return null;
  }
  log.info('first_admin_created', `user ${USER} was created; an admin token is in ${tokenFile}`, {
    ...(passwordFile === null ? {} : { passwordFile }),
  });
  return { user: USER, password: passwordFile === null ? password : null, passwordFile, tokenFile };
}

/** False when a process on another machine was first. */
async function addToken(auth: Auth, token: string): Promise<boolean> {
  try {
    await auth.tokens.add(token, { name: TOKEN_NAME, role: 'admin', service: null, expires: null }, USER);
    return true;
  } catch (error) {
    if (error instanceof KontrolError && error.code === 'conflict') return false;
    throw error;
  }
}

/** What is in a file that `keepSecret` wrote; null when there is nothing that looks like it. */
async function readSecret(file: string): Promise<string | null> {
  try {
    const text = (await readFile(file, 'utf8')).trim();
    return /^[A-Za-z0-9_-]{20,100}$/.test(text) ? text : null;
  } catch {
    return null;
  }
}

/**
 * Writes `secret` into a file that only its owner may read, whole or not at all, and answers it; or what is in it
 * already. Several processes that do so at once all get the same.
 */
async function keepSecret(file: string, secret: string): Promise<string> {
  try {
    await mkdir(dirname(file), { recursive: true });
    return await linkSecret(file, secret);
  } catch (cause) {
    const message = `${file} cannot be written: ${(cause as Error).message}; see to the data folder (--data)`;
    throw new KontrolError('cannot_start', message, [], { cause });
  }
}

async function linkSecret(file: string, secret: string): Promise<string> {
  const draft = `${file}.${randomBytes(4).toString('hex')}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(`${secret}\n`);
    await handle.sync();
    for (let attempt = 1; ; attempt++) {
      try {
        await link(draft, file);
        return secret;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 2) throw error;
      }
      const kept = await readSecret(file);
      if (kept !== null) return kept;
      // Ours appear whole, so this is nothing of ours.
      await rm(file, { force: true });
    }
  } finally {
    await handle.close();
    await rm(draft, { force: true });
  }
}
