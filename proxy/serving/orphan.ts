/** Lets a new primary find this process after its own is gone (see `link/orphan-socket.ts`). */
import { unlink } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { orphanFolder, orphanSocketName } from '../link/orphan-socket.ts';

const MAX_LINE = 16;
const IDLE_MS = 5_000;

export interface OrphanSocket {
  /** Idempotent; removes the file. */
  close(): void;
}

export interface OrphanState {
  /** Pid of the primary while there is one; null without. */
  primary(): number | null;
  /** Close every listener now and drain. */
  leave(): void;
}

/** Never fails: without the socket this process is merely not found. `onError` hears why. */
export function openOrphanSocket(
  at: { readonly data: string; readonly node: string },
  state: OrphanState,
  onError: (error: Error) => void,
): OrphanSocket {
  const path = join(orphanFolder(at.data, at.node), orphanSocketName(process.pid));
  const server = net.createServer((socket) => converse(socket, state));
  server.maxConnections = 8;
  server.on('error', onError);
  // A file of an earlier process with our number.
  unlink(path, () => {
    if (!closed) server.listen(path);
  });
  server.unref();
  let closed = false;
  return {
    close() {
      if (closed) return;
      closed = true;
      server.close();
    },
  };
}

function converse(socket: net.Socket, state: OrphanState): void {
  let line = '';
  socket.setEncoding('latin1');
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (chunk: string) => {
    line += chunk;
    const end = line.indexOf('\n');
    if (end < 0 && line.length <= MAX_LINE) return;
    const answer = answerTo(line.slice(0, Math.max(0, end)), state);
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
