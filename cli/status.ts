/** `kontrol status`: every node, what it serves, and what is wrong. */
import { clientCommand, runClient } from './client-command.ts';
import { type Connection, call } from './connection.ts';
import { cell, printJson, printTable } from './output.ts';
import { type WatchedEvent, watchEvents } from './watch.ts';

interface NodeItem {
  readonly name?: string;
  readonly _id?: string;
  readonly seq: number;
  readonly hash: string;
  readonly lagMs: number;
  readonly ready: boolean;
  readonly store: string;
  readonly bus: string;
  readonly live?: boolean;
  /** Left out by an API of an earlier version. */
  readonly state?: string;
  readonly processes: readonly { readonly role: string; readonly pid: number }[];
  readonly quarantined: readonly { readonly kind: string; readonly name: string; readonly reason: string }[];
  readonly held: readonly string[];
  /** Left out by nodes of an earlier version. */
  readonly trouble?: { readonly down: readonly string[] };
}

type Standing = Pick<NodeItem, 'live' | 'ready' | 'state'>;

interface Status {
  readonly nodes: readonly NodeItem[];
  readonly alarms: readonly { readonly message: string }[];
  readonly workers: readonly { readonly state: string }[];
}

const POLL_MS = 2_000;

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'status',
    'Show every node: what it serves, and what is wrong with it. Exit code 1 when something is.',
  ).option('--watch', 'then tell what happens, line by line, until it is ended');
  return runClient(command, argv, async (connection, options) => {
    const status = await readStatus(connection);
    const watching = options['watch'] === true;
    if (options.json && watching) printLine(status);
    else if (options.json) printJson(status);
    else print(status);
    if (watching) return watch(connection, options.json === true, status);
    return isWell(status.nodes) && problemsIn(status).length === 0 ? 0 : 1;
  });
}

async function readStatus(connection: Connection): Promise<Status> {
  const [nodes, workers] = await Promise.all([
    call<{ items: NodeItem[]; alarms?: { message: string }[] }>(connection, 'GET', '/v1/nodes'),
    call<{ items: { state: string }[] }>(connection, 'GET', '/v1/workers'),
  ]);
  return { nodes: nodes.body.items, alarms: nodes.body.alarms ?? [], workers: workers.body.items };
}

function print(status: Status): void {
  printTable(
    ['node', 'ready', 'seq', 'hash', 'lag', 'serving', 'store', 'bus'],
    status.nodes.map((node) => [
      nameOf(node),
      standing(node),
      String(node.seq),
      node.hash.slice(0, 8),
      `${Math.round(node.lagMs)} ms`,
      String(node.processes.filter((process) => process.role === 'serving').length),
      node.store,
      node.bus,
    ]),
  );
  process.stdout.write(`\n${workerLine(status.workers)}\n`);
  const down = downLine(status.nodes);
  if (down !== null) process.stdout.write(`${down}\n`);
  for (const line of [...unreadyLines(status.nodes), ...problemsIn(status)])
    process.stdout.write(`${line}\n`);
}

/** Where to look when nodes are not ready, or when there is none. */
export function unreadyLines(nodes: readonly (Standing & { readonly name?: string })[]): string[] {
  if (nodes.length === 0)
    return ["no node is known: 'kontrol proxy' starts one; it needs the same store as this kontrolapi"];
  return nodes
    .filter((node) => standing(node) === 'no')
    .map(({ name }) => `${cell(name)} is not ready: /readyz of its internal port says why`);
}

/** Some node serves, and none is there that does not; one that was stopped in order is not missed. */
export function isWell(nodes: readonly Standing[]): boolean {
  const wanted = nodes.filter(({ state }) => state !== 'stopped');
  return wanted.length > 0 && wanted.every(({ ready }) => ready);
}

/** What stands in the column `ready`. */
export function standing({ live, ready, state }: Standing): string {
  if (state === 'stopping' || state === 'stopped') return state;
  return live === false ? 'lost' : ready ? 'yes' : 'no';
}

const MAX_DOWN = 10;

/** Services whose backends are all dead for some live node. Nothing is wrong with Kontrol then: the exit code stays. */
export function downLine(nodes: readonly Pick<NodeItem, 'live' | 'trouble'>[]): string | null {
  const down = [
    ...new Set(nodes.flatMap(({ live, trouble }) => (live === false ? [] : (trouble?.down ?? [])))),
  ].sort();
  if (down.length === 0) return null;
  const more = down.length > MAX_DOWN ? ` and ${down.length - MAX_DOWN} more` : '';
  return `no live backend: ${down
    .slice(0, MAX_DOWN)
    .map((name) => cell(name))
    .join(', ')}${more}`;
}

/** Each quarantined object is told by itself; alarms that only count them would say it twice. */
function problemsIn({ nodes, alarms }: Status): string[] {
  const lines = nodes.flatMap(problemsOf);
  const told = new Set(['quarantined', 'deletions_held']);
  for (const { message, ...alarm } of alarms) {
    if (!told.has(String((alarm as { alarm?: unknown }).alarm))) lines.push(cell(message, 300));
  }
  return lines;
}

/** Events as they come; where they cannot be had, what a look every two seconds shows. */
async function watch(connection: Connection, json: boolean, first: Status): Promise<number> {
  // Nothing else ends a watch that nobody reads any more.
  process.stdout.once('error', () => process.exit(0));
  const show = (event: WatchedEvent) =>
    process.stdout.write(json ? `${JSON.stringify(event)}\n` : `${lineOf(event)}\n`);
  const reason = await watchEvents(connection, show);
  process.stderr.write(`kontrol: no live events (${reason}); looking every ${POLL_MS / 1_000} s instead\n`);
  let before = JSON.stringify(summaryOf(first));
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const status = await readStatus(connection);
    const now = JSON.stringify(summaryOf(status));
    if (now === before) continue;
    before = now;
    if (json) printLine(status);
    else print(status);
  }
}

/** What is watched as JSON comes one object a line, this one too. */
function printLine(status: Status): void {
  process.stdout.write(`${JSON.stringify({ kind: 'status', ...status })}\n`);
}

/** What is worth telling again when it changes. */
function summaryOf({ nodes, workers, ...status }: Status) {
  const shown = nodes.map(({ name, seq, ready, live, state, store, bus }) => ({
    name,
    seq,
    ready,
    live,
    state,
    store,
    bus,
  }));
  return { nodes: shown, problems: problemsIn({ nodes, workers, ...status }), workers: workerLine(workers) };
}

function lineOf(event: WatchedEvent): string {
  const { kind, at } = event;
  const when = typeof at === 'number' ? new Date(at).toISOString().slice(11, 19) : '--:--:--';
  const text = (field: string) => cell(event[field], 80);
  switch (kind) {
    case 'change': {
      const changes = Array.isArray(event['changes']) ? event['changes'] : [];
      const named = changes.slice(0, 3).map((change) => `${change?.kind} ${change?.name}`);
      const more = Number(event['changesTotal'] ?? 0) > 3 ? ', …' : '';
      return `${when} revision ${text('seq')} ${text('author')}: ${cell(named.join(', '), 120)}${more}`;
    }
    case 'node':
      return `${when} node ${text('node')} ${nodeNews(event)}`;
    case 'worker':
      return `${when} worker ${text('name')} of ${text('service')} key ${text('key')} at ${text('address')}: ${text('state')}`;
    case 'health':
      return `${when} backend ${text('address')} of ${text('service')} is ${event['alive'] === true ? 'alive' : `dead (${text('problem')})`}, says ${text('node')}`;
    case 'alarm':
      return `${when} ${event['raised'] === true ? 'ALARM' : 'over:'} ${cell(event['message'], 300)}`;
    default:
      return `${when} ${cell(kind)}`;
  }
}

function nodeNews({ gone, live, ready, state }: WatchedEvent): string {
  if (gone === true) return 'is gone';
  if (state === 'stopping') return 'is stopping';
  if (state === 'stopped') return 'has stopped';
  if (live === false) return 'is lost';
  return ready === true ? 'is ready' : 'is not ready';
}

function nameOf(node: NodeItem): string {
  return node.name ?? node._id ?? '?';
}

function problemsOf(node: NodeItem): string[] {
  const lines = node.quarantined.map(
    ({ kind, name, reason }) => `${nameOf(node)}: ${kind} ${name} is quarantined: ${cell(reason, 200)}`,
  );
  if (node.held.length > 0) {
    lines.push(
      `${nameOf(node)}: ${node.held.length} suspicious deletions are held back (${cell(node.held.slice(0, 5).join(', '))}); POST /v1/nodes/confirm carries them out`,
    );
  }
  return lines;
}

function workerLine(workers: readonly { readonly state: string }[]): string {
  const counts = new Map<string, number>();
  for (const { state } of workers) counts.set(state, (counts.get(state) ?? 0) + 1);
  const parts = [...counts].map(([state, count]) => `${count} ${state}`);
  return `workers: ${parts.length === 0 ? 'none' : parts.join(', ')}`;
}
