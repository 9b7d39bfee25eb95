/**
 * The one process of a machine that passes the messages of the local bus on. Its socket takes its public name by an
 * atomic link or rename, and it steps down when it finds that the name has become another's.
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, linkSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import type { Channel } from './contract.ts';
import { LineReader, splitLine } from './lines.ts';
import { isChannel } from './subscriptions.ts';

/** What a process is to the bus while it takes part: the hub, or connected to it. */
export interface Session {
  readonly hub: boolean;
  /** Resolves when it is over, with the reason. */
  readonly ended: Promise<string>;
  send(line: string): void;
  close(): void;
}

export type Receive = (channel: Channel, payload: Buffer) => void;

/** Waiting for one slow reader; beyond that it is cut off, connects again, and so knows that it missed something. */
export const MAX_WAITING_BYTES = 1_048_576;
/** How often the hub looks whether the public name is still its own. */
const CHECK_MS = 1_000;
const CLOSE_MS = 500;

/** Which file a name stands for; null when there is none. The time tells a reused inode number apart. */
export function identityOf(path: string): string | null {
  try {
    const { dev, ino, ctimeMs } = statSync(path);
    return `${dev}:${ino}:${ctimeMs}`;
  } catch {
    return null;
  }
}

/**
 * Becomes the hub at `path`. `dead` is the identity of a socket there that nobody answers, to be replaced; null when
 * there was none. Answers null when somebody else was faster. Rejects when the folder does not allow it.
 */
export async function lead(path: string, dead: string | null, receive: Receive): Promise<Session | null> {
  // Bound under a name of its own: the system would not bind over a dead socket, and removes the bound name on close.
  const own = join(dirname(path), `bus.${randomBytes(3).toString('hex')}`);
  const server = createServer();
  await listen(server, own);
  try {
    chmodSync(own, 0o600);
    const inode = statSync(own).ino;
    if (!take(own, path, dead)) {
      server.close();
      return null;
    }
    return new Hub(server, path, inode, receive);
  } catch (error) {
    server.close();
    throw error;
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function take(own: string, path: string, dead: string | null): boolean {
  if (dead === null) {
    try {
      linkSync(own, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
    unlinkSync(own);
    return true;
  }
  // Between this look and the rename another may still be faster: that one will notice, and step down.
  if (identityOf(path) !== dead) return false;
  renameSync(own, path);
  return true;
}

class Hub implements Session {
  readonly hub = true;
  readonly ended: Promise<string>;
  readonly #server: Server;
  readonly #path: string;
  readonly #inode: number;
  readonly #receive: Receive;
  readonly #members = new Set<Socket>();
  readonly #check: NodeJS.Timeout;
  #end: (reason: string) => void = () => {};
  #closed = false;

  constructor(server: Server, path: string, inode: number, receive: Receive) {
    this.#server = server;
    this.#path = path;
    this.#inode = inode;
    this.#receive = receive;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
    server.on('connection', (socket) => this.#welcome(socket));
    // Out of descriptors, say: those who are connected stay, the others try again.
    server.on('error', () => {});
    this.#check = setInterval(() => void this.#checkName(), CHECK_MS).unref();
  }

  send(line: string): void {
    const bytes = Buffer.from(line);
    this.#relay(bytes);
    // Later, as for everybody else: a handler must not run within the call that publishes.
    queueMicrotask(() => {
      if (!this.#closed) this.#hear(bytes.subarray(0, -1));
    });
  }

  close(): void {
    this.#stop('closed');
  }

  #stop(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#check);
    if (this.#isMine()) unlinkQuietly(this.#path);
    this.#server.close();
    const members = [...this.#members];
    for (const socket of members) socket.destroySoon();
    // One that reads nothing would hold what was written last for ever.
    setTimeout(() => {
      for (const socket of members) socket.destroy();
    }, CLOSE_MS).unref();
    this.#end(reason);
  }

  #welcome(socket: Socket): void {
    if (this.#closed) {
      socket.destroy();
      return;
    }
    this.#members.add(socket);
    const reader = new LineReader((line) => this.#take(socket, line));
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.on('error', () => {});
    socket.on('close', () => this.#members.delete(socket));
  }

  #take(from: Socket, line: Buffer): void {
    if (line.length === 4 && line.toString('latin1') === 'ping') {
      from.write('pong\n');
      return;
    }
    if (!isChannel(splitLine(line).word)) return;
    const whole = Buffer.concat([line, LINE_END]);
    this.#relay(whole);
    this.#hear(line);
  }

  #relay(bytes: Buffer): void {
    for (const socket of this.#members) {
      if (socket.writableLength > MAX_WAITING_BYTES) socket.destroy();
      else if (socket.writable) socket.write(bytes);
    }
  }

  #hear(line: Buffer): void {
    const { word, rest } = splitLine(line);
    if (isChannel(word)) this.#receive(word, rest);
  }

  async #checkName(): Promise<void> {
    const inode = await stat(this.#path).then(
      (stats) => stats.ino,
      () => null,
    );
    if (inode !== this.#inode) this.#stop('another process is the hub now');
  }

  #isMine(): boolean {
    try {
      return statSync(this.#path).ino === this.#inode;
    } catch {
      return false;
    }
  }
}

const LINE_END = Buffer.from('\n');

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already.
  }
}
