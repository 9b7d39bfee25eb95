/** Lets a new primary find this process after its own is gone (see `link/orphan-socket.ts`). */
import { unlink } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { adoptChannel, canPassHandles, type HandleChannel, type PassedHandle } from '../link/handle-pass.ts';
import { orphanFolder, orphanSocketName, type SocketLine } from '../link/orphan-socket.ts';

const MAX_LINE = 16;
const IDLE_MS = 5_000;

export interface OrphanSocket {
  /** Resolves when the process can be found, or it is known that it never will be. Never rejects. */
  readonly settled: Promise<void>;
  /** Idempotent; removes the file. */
  close(): void;
}

export interface OrphanState {
  /** Pid of the primary while there is one; null without. */
  primary(): number | null;
  /** Close every listener now and drain. */
  leave(): void;
  /** The sockets it accepts on, for a primary that takes over. They stay open here. */
  sockets(): readonly HeldSocket[];
}

export interface HeldSocket {
  readonly at: SocketLine;
  readonly handle: PassedHandle;
}

/** Never fails: without the socket this process is merely not found. `onError` hears why. */
export function openOrphanSocket(
  at: { readonly data: string; readonly node: string },
  state: OrphanState,
  onError: (error: Error) => void,
): OrphanSocket {
  let path: string;
  try {
    path = join(orphanFolder(at.data, at.node), orphanSocketName(process.pid));
  } catch (error) {
    onError(error as Error);
    return { settled: Promise.resolve(), close() {} };
  }
  const takeover = new Takeover(state);
  const server = net.createServer((socket) => converse(socket, state, takeover));
  server.maxConnections = 8;
  const settled = new Promise<void>((resolve) => {
    server
      .once('listening', resolve)
      .once('error', () => resolve())
      .once('close', resolve);
  });
  server.on('error', onError);
  // A file of an earlier process with our number.
  unlink(path, () => {
    if (!closed) server.listen(path);
  });
  server.unref();
  let closed = false;
  return {
    settled,
    close() {
      if (closed) return;
      closed = true;
      server.close();
    },
  };
}

function converse(socket: net.Socket, state: OrphanState, takeover: Takeover): void {
  let line = '';
  socket.setEncoding('latin1');
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (chunk: string) => {
    line += chunk;
    const end = line.indexOf('\n');
    if (end < 0 && line.length <= MAX_LINE) return;
    const question = line.slice(0, Math.max(0, end));
    const taker = /^take (\d{1,10})$/.exec(question)?.[1];
    const answer = taker === undefined ? answerTo(question, state) : takeover.begin(socket, Number(taker));
    if (answer === 'adopted') return;
    if (answer === null) socket.destroy();
    else socket.end(answer);
  });
}

function answerTo(question: string, state: OrphanState): string | null {
  if (question !== 'who' && question !== 'drain') return null;
  const primary = state.primary();
  if (primary !== null) return `busy ${primary}\n`;
  if (question === 'who') return `orphan ${process.pid}\n`;
  state.leave();
  return `leaving ${process.pid}\n`;
}

/** Gives a new primary copies of the listening sockets, one line at a time. One primary at a time. */
class Takeover {
  readonly #state: OrphanState;
  #channel: HandleChannel | null = null;
  #taker = 0;

  constructor(state: OrphanState) {
    this.#state = state;
  }

  /** `adopted` when the connection is no longer the caller's; else what to answer. */
  begin(socket: net.Socket, taker: number): string {
    const primary = this.#state.primary() ?? (this.#channel === null ? null : this.#taker);
    if (primary !== null) return `busy ${primary}\n`;
    // What is open now is all there will be: nobody is left who could open more. Who leaves already has none.
    const rest = [...this.#state.sockets()];
    if (rest.length === 0 || !canPassHandles()) return 'none\n';
    const channel = adoptChannel(socket, {
      onLine: (line, handle) => {
        handle?.close();
        if (line === 'next') this.#next(rest);
        else this.#close();
      },
      onEnd: () => {
        this.#channel = null;
      },
    });
    if (channel === null) return 'none\n';
    this.#channel = channel;
    this.#taker = taker;
    this.#next(rest);
    return 'adopted';
  }

  #next(rest: HeldSocket[]): void {
    const held = rest.shift();
    const sent =
      held === undefined
        ? this.#channel?.send('end')
        : this.#channel?.send(`socket ${JSON.stringify(held.at)}`, held.handle);
    if (!sent) this.#close();
  }

  #close(): void {
    this.#channel?.close();
    this.#channel = null;
  }
}
