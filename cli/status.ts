/** `kontrol status`: every node, what it serves, and what is wrong. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { cell, printJson, printTable } from './output.ts';

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
  readonly processes: readonly { readonly role: string; readonly pid: number }[];
  readonly quarantined: readonly { readonly kind: string; readonly name: string; readonly reason: string }[];
  readonly held: readonly string[];
}

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'status',
    'Show every node: what it serves, and what is wrong with it. Exit code 1 when something is.',
  );
  return runClient(command, argv, async (connection, options) => {
    const [nodes, workers] = await Promise.all([
      call<{ items: NodeItem[] }>(connection, 'GET', '/v1/nodes'),
      call<{ items: { state: string }[] }>(connection, 'GET', '/v1/workers'),
    ]);
    const items = nodes.body.items;
    if (options.json) {
      printJson({ nodes: items, workers: workers.body.items });
    } else {
      printTable(
        ['node', 'ready', 'seq', 'hash', 'lag', 'serving', 'store', 'bus'],
        items.map((node) => [
          nameOf(node),
          node.ready ? 'yes' : 'no',
          String(node.seq),
          node.hash.slice(0, 8),
          `${Math.round(node.lagMs)} ms`,
          String(node.processes.filter((process) => process.role === 'serving').length),
          node.store,
          node.bus,
        ]),
      );
      process.stdout.write(`\n${workerLine(workers.body.items)}\n`);
      for (const line of items.flatMap(problemsOf)) process.stdout.write(`${line}\n`);
    }
    return items.length > 0 && items.every((node) => node.ready && problemsOf(node).length === 0) ? 0 : 1;
  });
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
