/** What writes have in common: their query, and how their answer is told. */
import type { ClientOptions } from './client-command.ts';
import type { Reply } from './connection.ts';
import { cell, printJson } from './output.ts';

interface Difference {
  readonly kind: string;
  readonly name: string;
  readonly change: 'create' | 'change' | 'delete';
  readonly fields?: readonly { readonly path: string; readonly from?: unknown; readonly to?: unknown }[];
}

interface WriteAnswer {
  readonly changes?: readonly Difference[];
  readonly differences?: readonly Difference[];
  readonly warnings?: readonly { readonly path?: string; readonly message?: string }[];
  readonly pending?: readonly string[];
}

export function writeQuery(options: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  if (options['dryRun'] === true) query.set('dryRun', '1');
  if (options['wait'] === true) query.set('wait', 'all');
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** Prints what a write did (or would do); exit code 0. */
export function reportWrite(
  reply: Reply<unknown>,
  options: ClientOptions & Readonly<Record<string, unknown>>,
): number {
  const body = reply.body as WriteAnswer;
  if (options.json) {
    printJson(body);
    return 0;
  }
  for (const { path, message } of body.warnings ?? [])
    process.stderr.write(`warning: ${path ? `${path}: ` : ''}${message}\n`);
  const seq = reply.headers.get('kontrol-seq');
  if (options['dryRun'] === true) {
    printDifferences(body.changes ?? body.differences ?? []);
    return 0;
  }
  const pending = body.pending ?? [];
  const served =
    reply.status === 202
      ? `; not served yet by ${pending.join(', ')}`
      : options['wait'] === true
        ? '; served by every node'
        : '';
  process.stdout.write(`revision ${seq ?? '?'}${served}\n`);
  return 0;
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
