/** `kontrol history [KIND NAME]` and `kontrol history SEQ`: who changed what, and when. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { requireKind } from './files.ts';
import { ago, cell, printJson, printTable } from './output.ts';
import { printDifferences } from './writes.ts';

interface Listed {
  readonly seq: number;
  readonly at: number | string;
  readonly author: string;
  readonly message: string;
  readonly changes: readonly { readonly kind: string; readonly name: string }[];
  readonly confirm?: Confirm;
  readonly undoes?: number;
}

interface Confirm {
  readonly state: string;
  readonly until: string;
  readonly by?: string;
  readonly undoneBy?: number | null;
  readonly kept?: readonly string[];
}

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('history', 'List revisions, newest first, or show one by its number.')
    .argument('[kind-or-seq]')
    .argument('[name]')
    .option('--limit <number>', 'how many', '20');
  return runClient(command, argv, async (connection, options, [first, name]) => {
    if (first !== undefined && /^\d+$/.test(first)) {
      const { body } = await call<Record<string, unknown>>(connection, 'GET', `/v1/revisions/${first}`);
      if (options.json) printJson(body);
      else {
        printHead(body as unknown as Listed);
        printDifferences(
          (body['differences'] ?? body['changes'] ?? []) as Parameters<typeof printDifferences>[0],
        );
      }
      return 0;
    }
    const query = new URLSearchParams({ limit: String(options['limit']) });
    if (first !== undefined) query.set('kind', requireKind(first));
    if (name !== undefined) query.set('name', name);
    const { body } = await call<{ items: Listed[] }>(connection, 'GET', `/v1/revisions?${query}`);
    if (options.json) {
      printJson(body.items);
      return 0;
    }
    const rows = body.items.map((item) => [
      String(item.seq),
      `${ago(new Date(item.at).getTime())} ago`,
      item.author,
      whatOf(item),
      cell([item.message, confirmationOf(item)].filter((text) => text !== '').join('; ')),
    ]);
    printTable(['seq', 'when', 'author', 'objects', 'message'], rows);
    return 0;
  });
}

function printHead(item: Listed): void {
  const { seq, at, author, message, confirm } = item;
  const when = new Date(at).toISOString();
  process.stdout.write(`revision ${seq}, ${when}, ${author}${message ? `: ${cell(message, 200)}` : ''}\n`);
  const confirmation = confirmationOf(item);
  if (confirmation !== '') process.stdout.write(`${confirmation}\n`);
  for (const kept of confirm?.kept ?? []) process.stdout.write(`  not put back: ${cell(kept, 200)}\n`);
}

function confirmationOf({ confirm }: Listed): string {
  if (confirm === undefined) return '';
  switch (confirm.state) {
    case 'confirmed':
      return `confirmed by ${cell(confirm.by)}`;
    case 'open':
      return `undone at ${confirm.until} unless confirmed`;
    case 'undone':
      return confirm.undoneBy == null ? 'not confirmed' : `undone by revision ${confirm.undoneBy}`;
    default:
      return `not confirmed (${cell(confirm.state)})`;
  }
}

function whatOf({ changes }: Listed): string {
  const [first] = changes;
  const rest = changes.length > 1 ? ` and ${changes.length - 1} more` : '';
  return first === undefined ? '-' : cell(`${first.kind} ${first.name}${rest}`, 50);
}
