/**
 * The default certificate: `cert.pem` and `key.pem` in the certs folder, read at start and watched from then on.
 * Runs in sync, which sends the pair on to the serving processes; a pair that is not good never replaces a good one.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import { KontrolError } from '../../shared/errors.ts';
import { checkPair, type KeyPair, secureContextOf } from './key-pair.ts';

/** How often the files are looked at: what is configured is live within a second or so. */
const POLL_MS = 1_000;

/**
 * The pair in `folder`; null when neither file is there. Throws a KontrolError (`setting_invalid`) that names the
 * file and says what to do when one is missing, cannot be read, or they do not belong together.
 */
export async function readPair(folder: string): Promise<KeyPair | null> {
  const certFile = join(folder, 'cert.pem');
  const keyFile = join(folder, 'key.pem');
  const [certificate, key] = await Promise.all([readText(certFile), readText(keyFile)]);
  if (certificate === null && key === null) return null;
  if (certificate === null || key === null) {
    const [there, missing] = certificate === null ? [keyFile, certFile] : [certFile, keyFile];
    throw new KontrolError(
      'setting_invalid',
      `${there} is there but ${missing} is not: add it, or remove both`,
    );
  }
  try {
    const pair = checkPair({ certificate, key });
    secureContextOf(pair);
    return pair;
  } catch (error) {
    throw new KontrolError('setting_invalid', `${certFile} and ${keyFile}: ${(error as Error).message}`);
  }
}

export interface PairWatcher {
  close(): void;
}

/**
 * Calls `onPair` when the files have become another good pair (null: both are gone) than `known`, and `onProblem`
 * once for each thing that is wrong with them for longer than one look (two files cannot be replaced at once).
 */
export function watchPair(
  folder: string,
  known: KeyPair | null,
  clock: Clock,
  on: { onPair(pair: KeyPair | null): void; onProblem(error: Error): void },
): PairWatcher {
  let current = known;
  let seen: string | null = null;
  /** What is there was bad when it was read first: maybe only half of a replacement. */
  let suspect = false;
  let closed = false;
  let cancel = () => {};

  const look = async () => {
    const state = await fileState(folder);
    if (closed || (state === seen && !suspect)) return;
    const again = suspect && state === seen;
    seen = state;
    try {
      const pair = await readPair(folder);
      suspect = false;
      if (closed || (pair?.certificate === current?.certificate && pair?.key === current?.key)) return;
      current = pair;
      on.onPair(pair);
    } catch (error) {
      suspect = !again;
      if (again && !closed) on.onProblem(error as Error);
    }
  };
  const schedule = () => {
    cancel = clock.after(POLL_MS, () => {
      look()
        .catch((error: unknown) => on.onProblem(error as Error))
        .finally(() => {
          if (!closed) schedule();
        });
    });
  };
  schedule();
  return {
    close() {
      closed = true;
      cancel();
    },
  };
}

/** Changes whenever one of the files is written, replaced, or comes and goes. */
async function fileState(folder: string): Promise<string> {
  const states = ['cert.pem', 'key.pem'].map(async (file) => {
    try {
      const { mtimeMs, ctimeMs, size, ino } = await stat(join(folder, file));
      return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    } catch (error) {
      return String((error as NodeJS.ErrnoException).code);
    }
  });
  return (await Promise.all(states)).join('; ');
}

async function readText(file: string): Promise<string | null> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new KontrolError('setting_invalid', `${file} cannot be read: ${message}; check its permissions`);
  }
}
