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

interface Shown extends Listed {
  readonly changes: readonly (Omit<Told, 'change'> & { readonly change: Told['change'] | null })[];
  /** Left out by an API of an earlier version. */
  readonly lookedTo?: number | null;
}

type Told = Parameters<typeof printDifferences>[0][number];

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('history', 'List revisions, newest first, or show one by its number.')
    .argument('[kind-or-seq]')
    .argument('[name]')
    .option('--limit <number>', 'how many', '20')
    .option('--before <seq>', 'only revisions older than this one');
  return runClient(command, argv, async (connection, options, [first, name]) => {
    if (first !== undefined && /^\d+$/.test(first)) {
      const { body } = await call<Shown>(connection, 'GET', `/v1/revisions/${first}`);
      if (options.json) printJson(body);
      else {
        printHead(body);
        printChanges(body);
      }
      return 0;
    }
    const query = new URLSearchParams({ limit: String(options['limit']) });
    if (first !== undefined) query.set('kind', requireKind(first));
    if (name !== undefined) query.set('name', name);
    if (options['before'] !== undefined) query.set('cursor', String(options['before']));
    const { body } = await call<ListAnswer>(connection, 'GET', `/v1/revisions?${query}`);
    if (options.json) {
      printJson(body.items);
      tellRest(body, first, name);
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
    tellRest(body, first, name);
    return 0;
  });
}

interface ListAnswer {
  readonly items: readonly Listed[];
  readonly next: string | null;
  readonly lookedTo?: number | null;
}

/** That there are more, or may be, and how to see them: on stderr, out of the way of scripts. */
function tellRest({ next, lookedTo }: ListAnswer, kind = '', name = ''): void {
  if (next === null) return;
  const command = ['kontrol history', kind, name, `--before ${next}`].filter((word) => word !== '').join(' ');
  const far = lookedTo == null ? 'there are older ones' : `only looked back to revision ${lookedTo}`;
  process.stderr.write(`${far}: '${command}' goes on\n`);
}

/** Objects whose earlier document was not found are named with the reason. */
function printChanges({ changes, lookedTo }: Shown): void {
  const told = changes.filter((change): change is Told => change.change !== null);
  if (told.length > 0 || changes.length === 0) printDifferences(told);
  for (const { kind, name, change } of changes) {
    if (change !== null) continue;
    const why =
      lookedTo == null
        ? 'the history that is kept does not tell what it was before'
        : `what it was before is older than revision ${lookedTo}: 'kontrol history ${kind} ${name} --before ${lookedTo} --limit 1' finds it`;
    process.stdout.write(`? ${kind} ${name}\n    ${why}\n`);
  }
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
