/** Writes, then waits until every live node serves what was written, for as long as the caller has. */
import { type Connection, call } from './connection.ts';
import { type NodeProblem, problemText } from './writes.ts';

/** The API answers by then at the latest; after that the records of the nodes are looked at. */
const FIRST_WAIT_MS = 10_000;
const POLL_MS = 1_000;

export interface Served {
  /** Live nodes that do not have it yet. */
  readonly pending: readonly string[];
  /** Nodes that have it but could not load it. */
  readonly problems: readonly NodeProblem[];
  /** No node lives that could serve it. */
  readonly nobody: boolean;
}

interface WrittenAnswer {
  readonly pending?: readonly string[];
  readonly problems?: readonly NodeProblem[];
}

interface NodeList {
  readonly items: readonly {
    readonly name: string;
    readonly live?: boolean;
    readonly state?: string;
    readonly seq?: number;
  }[];
}

/** PATCHes an object; `message` stands in the history. Null when every live node serves it; else who does not after `timeoutMs`. Throws ApiError. */
export async function patchEverywhere(
  connection: Connection,
  path: string,
  body: unknown,
  message: string,
  timeoutMs: number,
): Promise<Served | null> {
  const deadline = performance.now() + timeoutMs;
  const wait = Math.max(1, Math.min(FIRST_WAIT_MS, Math.round(timeoutMs)));
  const query = new URLSearchParams({ wait: 'all', timeout: `${wait}ms`, message });
  const reply = await call<WrittenAnswer>(connection, 'PATCH', `${path}?${query}`, body);
  if (reply.status !== 202) return null;
  const { pending = [], problems = [] } = reply.body;
  const served = { pending, problems, nobody: pending.length === 0 && problems.length === 0 };
  if (problems.length > 0) return served;
  return await untilServed(connection, Number(reply.headers.get('kontrol-seq')), served, deadline);
}

/** Why it is not served, for people. */
export function unservedText({ pending, problems, nobody }: Served): string {
  if (nobody) return 'no node lives that could serve it';
  const late = pending.length === 0 ? [] : [`not served yet by ${pending.join(', ')}`];
  return [...late, ...problems.map(problemText)].join('; ');
}

async function untilServed(
  connection: Connection,
  seq: number,
  first: Served,
  deadline: number,
): Promise<Served | null> {
  let served = first;
  for (;;) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return served;
    await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, leftMs)));
    const live = await nodesOf(connection);
    if (live === null) continue;
    const pending = live.filter((node) => (node.seq ?? 0) < seq).map(({ name }) => name);
    if (live.length > 0 && pending.length === 0) return null;
    served = { pending, problems: [], nobody: live.length === 0 };
  }
}

/** Null while the API is away: what was written stands, and the next look may find it again. */
async function nodesOf(connection: Connection): Promise<NodeList['items'] | null> {
  const reply = await call<NodeList>(connection, 'GET', '/v1/nodes').catch(() => null);
  return reply?.body.items.filter(({ live, state }) => live === true && state !== 'stopping') ?? null;
}
