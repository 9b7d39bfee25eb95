/**
 * Where a serving process can be found once its primary is gone: a Unix socket per process in the folder of the
 * node. Both sides name it here. The protocol is one line each way: `who` is answered by `orphan <pid>`, `drain` by
 * `leaving <pid>` when its listeners are closed; both by `busy <pid of its primary>` while it has one.
 *
 * `take <pid of the new primary>` asks for the listening sockets: each comes with a line `socket <JSON>` (see
 * SocketLine) and is asked for by `next`; `end` follows the last. While that connection stays open, another primary
 * that asks is told `busy <pid>`. `none` is the answer of a process that cannot pass sockets on.
 */
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { privateFolder } from '../../shared/private-folder.ts';
import { nodeFolder } from './node-folder.ts';

/** What `sun_path` takes on the strictest of our platforms, less the terminating zero. */
const MAX_PATH = 103;
const LONGEST_NAME = 'serving-4194304.sock';

/**
 * Folder of the sockets: the node's own, or one in this user's private folder when that path is too long for a
 * socket. Throws when somebody else has made that one.
 */
export function orphanFolder(data: string, node: string): string {
  const own = resolve(nodeFolder(data, node));
  if (Buffer.byteLength(join(own, LONGEST_NAME)) <= MAX_PATH) return own;
  const digest = createHash('sha256').update(own).digest('hex').slice(0, 24);
  return join(privateFolder(), digest);
}

export function orphanSocketName(pid: number): string {
  return `serving-${pid}.sock`;
}

/** The process a socket belongs to, or null when the file is something else. */
export function pidOfSocketName(name: string): number | null {
  const match = /^serving-(\d{1,10})\.sock$/.exec(name);
  return match === null ? null : Number(match[1]);
}

/** Where the socket is bound that a line comes with. */
export interface SocketLine {
  /** As it was wanted: empty for all addresses. */
  readonly address: string;
  readonly port: number;
}
