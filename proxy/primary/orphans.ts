/**
 * Serving processes that an earlier primary left behind go on serving. This finds them through their Unix sockets
 * and asks them to close their listeners and drain, so that a new primary can bind their ports.
 */
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdir, readdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { orphanFolder, pidOfSocketName } from '../link/orphan-socket.ts';

/** An orphan closes its listeners between two events; one that takes longer hangs. */
const ANSWER_MS = 2_000;
/** A machine that is short of time may run a process for the first time after this long. */
const NOTICE_MS = 5_000;
const NOTICE_POLL_MS = 20;

export interface Orphans {
  /** Processes without a primary, which have closed their listeners now. */
  readonly leaving: readonly number[];
  /** Primaries that run already under the same node name and data folder. */
  readonly primaries: readonly number[];
  /** Processes that did not answer. */
  readonly silent: readonly number[];
}

/** Makes the folder in which serving processes can be found, for this user only. */
export async function prepareFolder(data: string, node: string): Promise<string> {
  const folder = orphanFolder(data, node);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  return folder;
}

/**
 * Pids of serving processes that run here without a primary. They go on serving. One that still believes in a primary
 * that has just died is asked again until it knows, and so are silent ones while nobody else answers: to miss them
 * would mean to make them close their ports long before there is anybody else to accept.
 */
export async function findOrphans(folder: string): Promise<readonly number[]> {
  const deadline = performance.now() + NOTICE_MS;
  for (;;) {
    const { leaving, primaries, silent } = await askAll(folder, 'who');
    const unaware = primaries.some((pid) => !isAlive(pid));
    const unheard = silent.length > 0 && leaving.length === 0 && primaries.length === 0;
    if ((!unaware && !unheard) || performance.now() > deadline) return leaving;
    await untilAskedAgain();
  }
}

/** Between two questions to a process that has not noticed yet that another is gone. */
export function untilAskedAgain(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, NOTICE_POLL_MS));
}

/** False also for one that has ended and waits for its parent to take notice. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
  try {
    // proc(5): the state follows the name, which is in parentheses and may hold any character.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/[ZX]/.test(stat[stat.lastIndexOf(')') + 2] ?? '');
  } catch {
    // Taken notice of in between. Elsewhere than on Linux it counts as alive until it is.
    return !existsSync('/proc/self/stat');
  }
}

/** Asks every serving process found in `folder` to leave. Sockets of processes that are gone are removed. */
export async function askToLeave(folder: string): Promise<Orphans> {
  return await askAll(folder, 'drain');
}

async function askAll(folder: string, question: 'who' | 'drain'): Promise<Orphans> {
  const leaving: number[] = [];
  const primaries = new Set<number>();
  const silent: number[] = [];
  await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const pid = pidOfSocketName(name);
      if (pid === null) return;
      const path = join(folder, name);
      const answer = await ask(path, question);
      if (answer === 'gone') {
        // One that lives may not listen yet.
        if (!isAlive(pid)) await unlink(path).catch(() => {});
      } else if (answer === 'silent') silent.push(pid);
      else if (answer.primary === null) leaving.push(pid);
      else primaries.add(answer.primary);
    }),
  );
  return { leaving, primaries: [...primaries], silent };
}

type Answer = 'gone' | 'silent' | { readonly primary: number | null };

function ask(path: string, question: 'who' | 'drain'): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let text = '';
    const end = (answer: Answer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => end('silent'), ANSWER_MS);
    socket.setEncoding('latin1');
    socket.on('connect', () => socket.write(`${question}\n`));
    socket.on('data', (chunk: string) => {
      text = (text + chunk).slice(0, 200);
      const match = /^(orphan|leaving|busy) (\d+)\n/.exec(text);
      if (match !== null) end({ primary: match[1] === 'busy' ? Number(match[2]) : null });
    });
    socket.on('error', () => end('gone'));
    socket.on('close', () => end('gone'));
  });
}
