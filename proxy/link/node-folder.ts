/** Where a node keeps its files: the last-known-good copies and the sockets of its serving processes. */
import { join } from 'node:path';

/** The folder of a node inside the data folder: its name, with what a file name cannot carry replaced. */
export function nodeFolder(data: string, node: string): string {
  const safe = node.replace(/[^A-Za-z0-9._-]/g, (char) => `%${char.codePointAt(0)?.toString(16)}`);
  return join(data, /^\.*$/.test(safe) ? `node-${safe.length}` : safe);
}
