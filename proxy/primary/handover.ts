/**
 * The listening sockets of an earlier primary, taken over from a serving process that it left behind: the sockets
 * never close, so nobody is refused while one primary follows another. Whatever goes wrong leaves nothing behind;
 * then the ports are bound when the orphans have let go of them.
 */
import { isIP } from 'node:net';
import { join } from 'node:path';
import { connectChannel, type HandleChannel, type PassedHandle } from '../link/handle-pass.ts';
import { orphanSocketName, type SocketLine } from '../link/orphan-socket.ts';
import { isAlive, untilAskedAgain } from './orphans.ts';

/** An orphan answers between two events; one that takes longer for a line hangs. */
const ANSWER_MS = 2_000;
/** Times one is asked that still believes in another primary, which is gone; about 2 s. */
const MAX_ASKED = 100;
/** More ports than any node listens on. */
const MAX_SOCKETS = 10_000;

interface Held extends SocketLine {
  readonly handle: PassedHandle;
}

/** Sockets that were taken over and wait for their use. */
export class Inherited {
  /** Of all that was taken over, also after its use. */
  readonly ports: ReadonlySet<number>;
  readonly #channel: HandleChannel;
  readonly #held: Held[];

  constructor(channel: HandleChannel, held: readonly Held[]) {
    this.#channel = channel;
    this.#held = [...held];
    this.ports = new Set(held.map(({ port }) => port));
  }

  get size(): number {
    return this.#held.length;
  }

  /** The socket of this place, once; the caller owns it then. `address` as it was wanted, empty for all. */
  take(address: string, port: number): PassedHandle | null {
    const index = this.#held.findIndex((held) => held.port === port && held.address === address);
    return index < 0 ? null : (this.#held.splice(index, 1)[0]?.handle ?? null);
  }

  /** Closes what nobody wanted, and lets another primary ask. Idempotent. */
  close(): void {
    for (const { handle } of this.#held.splice(0)) handle.close();
    this.#channel.close();
  }
}

/**
 * Asks the orphans in turn for all their sockets, until one has given them. Null when none does, or when another
 * primary is faster.
 */
export async function takeSockets(folder: string, orphans: readonly number[]): Promise<Inherited | null> {
  // In the same order for all who ask: two primaries that start together ask the same process first.
  for (const pid of [...orphans].sort((left, right) => left - right)) {
    const path = join(folder, orphanSocketName(pid));
    let answer = await askForSockets(path);
    for (let asked = 1; asked < MAX_ASKED && isBusyWithDead(answer); asked++) {
      await untilAskedAgain();
      answer = await askForSockets(path);
    }
    if (answer instanceof Inherited) return answer;
    if (answer !== null) return null;
  }
  return null;
}

/** Another primary is faster. */
interface Busy {
  readonly primary: number;
}

function isBusyWithDead(answer: Inherited | Busy | null): boolean {
  return answer !== null && !(answer instanceof Inherited) && !isAlive(answer.primary);
}

function askForSockets(path: string): Promise<Inherited | Busy | null> {
  return new Promise((resolve) => {
    const held: Held[] = [];
    let timer: NodeJS.Timeout | null = null;
    let done = false;
    const fail = (answer: Busy | null) => {
      if (timer !== null) clearTimeout(timer);
      if (done) return;
      done = true;
      channel?.close();
      for (const { handle } of held) handle.close();
      resolve(answer);
    };
    const ask = (line: string) => {
      if (timer !== null) clearTimeout(timer);
      timer = setTimeout(() => fail(null), ANSWER_MS);
      if (channel?.send(line) !== true) fail(null);
    };
    const channel = connectChannel(path, {
      onLine(line, handle) {
        const at = handle === null ? null : placeOf(line, handle);
        if (at !== null && handle !== null && !done && held.length < MAX_SOCKETS) {
          held.push({ ...at, handle });
          ask('next');
          return;
        }
        handle?.close();
        if (done) return;
        if (line !== 'end' || handle !== null || channel === null) {
          fail(busyIn(line));
          return;
        }
        done = true;
        if (timer !== null) clearTimeout(timer);
        resolve(new Inherited(channel, held));
      },
      onEnd: () => fail(null),
    });
    if (channel === null) resolve(null);
    else ask(`take ${process.pid}`);
  });
}

function busyIn(line: string): Busy | null {
  const pid = /^busy (\d{1,10})$/.exec(line)?.[1];
  return pid === undefined ? null : { primary: Number(pid) };
}

/** Where the socket is bound, if that is what the line says and the kernel too. */
function placeOf(line: string, handle: PassedHandle): SocketLine | null {
  if (!line.startsWith('socket ')) return null;
  try {
    const { address, port } = JSON.parse(line.slice('socket '.length)) as Partial<SocketLine>;
    const actual: { address?: string; port?: number } = {};
    if (typeof handle.getsockname !== 'function' || handle.getsockname(actual) !== 0) return null;
    if (typeof address !== 'string' || port !== actual.port || !port) return null;
    const wanted = address === '' ? ['::', '0.0.0.0'] : [address];
    // A name was resolved by whoever bound it.
    const same = wanted.includes(actual.address ?? '') || (address !== '' && isIP(address) === 0);
    return same ? { address, port } : null;
  } catch {
    return null;
  }
}
