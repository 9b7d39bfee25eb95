/**
 * Has every node remove stored answers of a service: asked over the bus, again while some have not said that each of
 * their serving processes did. Purging twice does no harm, so a lost message costs only time.
 */
import { randomUUID } from 'node:crypto';
import type { Bus } from '../../shared/bus/contract.ts';
import type { Clock } from '../../shared/clock.ts';

export interface Purge {
  readonly service: string;
  /** A path, or the beginning of one with `*` behind it; null for all. */
  readonly path: string | null;
  readonly timeoutMs: number;
  /** Names of the nodes that have to answer. */
  readonly nodes: () => readonly string[];
}

export interface Purged {
  /** Stored answers that were removed, of all serving processes. */
  readonly purged: number;
  readonly nodes: readonly { readonly node: string; readonly purged: number }[];
  /** Nodes that have not answered in time. */
  readonly pending: readonly string[];
}

const ASK_AGAIN_MS = 500;
const MAX_NODES = 1_000;

export function purgeEverywhere(
  bus: Bus,
  clock: Clock,
  { service, path, timeoutMs, nodes }: Purge,
  signal: AbortSignal,
): Promise<Purged> {
  const id = randomUUID();
  /** By node: what it removed so far, and whether that was all. */
  const said = new Map<string, { purged: number; complete: boolean }>();
  const pending = () => nodes().filter((node) => said.get(node)?.complete !== true);
  return new Promise((resolve) => {
    let cancelAsk = () => {};
    const finish = () => {
      cancelAsk();
      cancelEnd();
      unsubscribe();
      signal.removeEventListener('abort', finish);
      const answered = [...said].map(([node, { purged }]) => ({ node, purged }));
      resolve({
        purged: answered.reduce((sum, { purged }) => sum + purged, 0),
        nodes: answered,
        pending: pending(),
      });
    };
    const unsubscribe = bus.subscribe('kontrol:answer', (message) => {
      const { id: about, node, purged, complete } = message ?? {};
      if (about !== id || typeof node !== 'string' || typeof purged !== 'number') return;
      if (!said.has(node) && said.size >= MAX_NODES) return;
      const before = said.get(node)?.purged ?? 0;
      said.set(node, { purged: before + purged, complete: complete === true });
      if (pending().length === 0) finish();
    });
    const cancelEnd = clock.after(timeoutMs, finish);
    signal.addEventListener('abort', finish);
    const ask = () => {
      cancelAsk = clock.after(ASK_AGAIN_MS, ask);
      const question = { ask: 'purge', id, service, ...(path === null ? {} : { path }) };
      if (said.size === 0) bus.publish('kontrol:ask', question);
      else for (const node of pending()) bus.publish('kontrol:ask', { ...question, node });
    };
    if (signal.aborted || pending().length === 0) finish();
    else ask();
  });
}
