/** What writes have in common: their query, and how their answer is told. */
import type { Command } from 'commander';
import type { ClientOptions } from './client-command.ts';
import type { Reply } from './connection.ts';
import { cell, printJson } from './output.ts';

interface Difference {
  readonly kind: string;
  readonly name: string;
  readonly change: 'create' | 'change' | 'delete';
  readonly fields?: readonly { readonly path: string; readonly from?: unknown; readonly to?: unknown }[];
}

/** An object that a node could not load, or whose port it could not open. */
export interface NodeProblem {
  readonly node: string;
  readonly kind: string;
  readonly name: string;
  readonly reason: string;
}

interface WriteAnswer {
  readonly changes?: readonly Difference[];
  readonly differences?: readonly Difference[];
  readonly warnings?: readonly { readonly path?: string; readonly message?: string }[];
  readonly pending?: readonly string[];
  /** Nodes that ended in order, or are about to, and were not waited for. */
  readonly stopped?: readonly string[];
  readonly nodes?: readonly { readonly node: string; readonly ms: number }[];
  readonly problems?: readonly NodeProblem[];
  readonly written?: boolean;
  readonly confirm?: { readonly until: string };
  readonly effect?: { readonly hosts: readonly string[]; readonly hostsTotal: number };
}

/** The options that every write takes. */
export function writeOptions(command: Command): Command {
  return command
    .option('--dry-run', 'only show what would change, and what is likely not meant')
    .option('--wait', 'answer when every node serves it')
    .option('--confirm-within <time>', "undo it after this time (like 10m) unless 'kontrol confirm' comes")
    .option('-m, --message <text>', 'why; stands in the history');
}

export function writeQuery(options: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  if (options['dryRun'] === true) query.set('dryRun', '1');
  if (options['wait'] === true) query.set('wait', 'all');
  if (typeof options['confirmWithin'] === 'string') query.set('confirmWithin', options['confirmWithin']);
  if (typeof options['message'] === 'string') query.set('message', options['message']);
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/**
 * Prints what a write did (or would do). Exit code 0, but 1 when it was to be waited for (`--wait`) and a node does
 * not serve it: it is written then all the same.
 */
export function reportWrite(
  reply: Reply<unknown>,
  options: ClientOptions & Readonly<Record<string, unknown>>,
): number {
  const body = reply.body as WriteAnswer;
  const code = (body.pending ?? []).length + (body.problems ?? []).length > 0 ? 1 : 0;
  if (options.json) {
    printJson(body);
    return code;
  }
  for (const { path, message } of body.warnings ?? [])
    process.stderr.write(`warning: ${path ? `${path}: ` : ''}${message}\n`);
  const seq = reply.headers.get('kontrol-seq');
  if (options['dryRun'] === true) {
    printDifferences(body.changes ?? body.differences ?? []);
    printEffect(body);
    return 0;
  }
  const served = servedBy(reply.status, body);
  if (body.written === false) process.stdout.write(`nothing to change${served}\n`);
  else process.stdout.write(`revision ${seq ?? '?'}${served}\n`);
  if (body.confirm !== undefined) {
    process.stdout.write(`undone at ${body.confirm.until} unless confirmed: kontrol confirm ${seq}\n`);
  }
  for (const problem of body.problems ?? []) process.stderr.write(`kontrol: ${problemText(problem)}\n`);
  return code;
}

export function problemText({ node, kind, name, reason }: NodeProblem): string {
  return `${node} does not serve ${kind} ${name}: ${reason}`;
}

function servedBy(status: number, answer: WriteAnswer): string {
  const { stopped = [] } = answer;
  const left = stopped.length === 0 ? '' : `; not waited for ${stopped.join(', ')}, which stopped`;
  return `${waitedFor(status, answer)}${left}`;
}

function waitedFor(status: number, { nodes = [], pending = [], problems = [] }: WriteAnswer): string {
  if (pending.length > 0) return `; not served yet by ${pending.join(', ')}`;
  if (problems.length > 0)
    return `; not served by ${[...new Set(problems.map(({ node }) => node))].join(', ')}`;
  if (status === 202) return '; no node is known yet that could serve it';
  if (nodes.length === 0) return '';
  return `; served by every node (${nodes.map(({ node, ms }) => `${node} ${ms} ms`).join(', ')})`;
}

function printEffect({ effect }: WriteAnswer): void {
  if (effect === undefined || effect.hostsTotal === 0) return;
  const more = effect.hostsTotal > effect.hosts.length ? ', …' : '';
  process.stdout.write(`concerns ${effect.hostsTotal} host(s): ${effect.hosts.join(', ')}${more}\n`);
}

const SIGNS = { create: '+', change: '~', delete: '-' } as const;

export function printDifferences(differences: readonly Difference[]): void {
  if (differences.length === 0) process.stdout.write('nothing would change\n');
  for (const { kind, name, change, fields = [] } of differences) {
    process.stdout.write(`${SIGNS[change]} ${kind} ${name}\n`);
    if (change === 'delete') continue;
    for (const field of fields) {
      if ('from' in field) process.stdout.write(`    - ${field.path}: ${cell(field.from, 100)}\n`);
      if ('to' in field) process.stdout.write(`    + ${field.path}: ${cell(field.to, 100)}\n`);
    }
  }
}
