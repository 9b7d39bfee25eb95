/**
 * Keeps a folder from being opened out of two PID namespaces at once: LMDB tells by their PIDs which of its readers
 * and writers are dead, and would take those of another container for dead. Every process that has the folder open
 * listens on a socket in it, whose name says from which namespace; the kernel knows which of them are alive.
 */
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { KontrolError } from '../errors.ts';
import type { Log } from '../log.ts';

/** A socket has its name a moment before it listens; younger ones that do not answer are left alone. */
const BIRTH_MS = 10_000;

/** Of this process; a constant where the system has no such thing. */
export function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid').replace(/\D/g, '') || 'none';
  } catch {
    return 'none';
  }
}

/** Holds the folder open for `namespace` until `release`. Throws KontrolError `cannot_start` when another one has it. */
export async function guardNamespace(
  folder: string,
  namespace: string,
  log: Log,
): Promise<() => Promise<void>> {
  const sockets = join(folder, 'open');
  mkdirSync(sockets, { recursive: true, mode: 0o700 });
  // The name of a socket is limited to 107 bytes, that of a folder is not.
  const descriptor = openSync(sockets, 'r');
  const path = (name: string): string =>
    process.platform === 'linux' ? `/proc/self/fd/${descriptor}/${name}` : join(sockets, name);
  const own = `${namespace}-${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  const server = createServer((socket) => socket.destroy());
  let released: Promise<void> | null = null;
  const release = (): Promise<void> => {
    released ??= closed(server).finally(() => closeSync(descriptor));
    return released;
  };
  try {
    server.listen(path(own));
    await once(server, 'listening');
    server.unref();
  } catch (error) {
    const reason = (error as Error).message;
    log.warn(
      'store_guard_off',
      'This file system has no sockets: do not open the data folder from two containers',
      {
        reason,
      },
    );
    return release;
  }
  try {
    for (const name of readdirSync(sockets)) {
      if (name === own || (await isGone(path(name))) || name.startsWith(`${namespace}-`)) continue;
      throw new KontrolError(
        'cannot_start',
        `The data folder ${folder} is open in another container or PID namespace; stop it there, or use MONGO_URL`,
      );
    }
  } catch (error) {
    await release();
    throw error;
  }
  return release;
}

/** True when nobody listens (any more); its name is removed then. */
async function isGone(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return false;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return false;
    removeStale(path);
    return true;
  } finally {
    socket.destroy();
  }
}

function removeStale(path: string): void {
  try {
    if (Date.now() - statSync(path).mtimeMs > BIRTH_MS) rmSync(path, { force: true });
  } catch {
    // Somebody else removed it.
  }
}

async function closed(server: Server): Promise<void> {
  if (!server.listening) return;
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
}
