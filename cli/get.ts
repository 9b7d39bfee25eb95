/** `kontrol get KIND [NAME]`: one object, or a table of all. */
import { COLLECTIONS, type Kind } from '../shared/model/kinds.ts';
import { type ClientOptions, clientCommand, runClient } from './client-command.ts';
import { type Connection, call } from './connection.ts';
import { requireKind } from './files.ts';
import { cell, printJson, printTable, printYaml } from './output.ts';

type Item = Readonly<Record<string, unknown>>;

const COLUMNS: Record<Kind, readonly string[]> = {
  domain: ['name', 'mode', 'routes', 'https', 'firewall', 'owner'],
  service: ['name', 'protocol', 'balance', 'latest', 'keys', 'owner'],
  rule: ['name', 'list', 'type', 'match', 'enabled', 'owner'],
  page: ['name', 'templates', 'owner'],
  certificate: ['name', 'keyDigest', 'owner'],
  listener: ['name', 'port', 'service', 'owner'],
  settings: ['name'],
};

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('get', 'Show one object (YAML) or list all of a kind (table).')
    .argument('<kind>')
    .argument('[name]')
    .option('--label <name=value>', 'only objects with this label')
    .option('--search <text>', 'only objects whose name contains this');
  return runClient(command, argv, async (connection, options, [kindText = '', name]) => {
    const kind = requireKind(kindText);
    if (name !== undefined || kind === 'settings')
      return showOne(connection, options, kind, name ?? 'settings');
    const items = await listAll(connection, kind, { label: options['label'], q: options['search'] });
    if (options.json) printJson(items);
    else
      printTable(
        COLUMNS[kind],
        items.map((item) => COLUMNS[kind].map((column) => summary(item[column]))),
      );
    return 0;
  });
}

async function showOne(
  connection: Connection,
  options: ClientOptions,
  kind: Kind,
  name: string,
): Promise<number> {
  const { body } = await call<Item>(connection, 'GET', pathOf(kind, name));
  if (options.json) printJson(body);
  else printYaml([{ kind, ...body }]);
  return 0;
}

export function pathOf(kind: Kind, name: string): string {
  return kind === 'settings' ? '/v1/settings' : `/v1/${COLLECTIONS[kind]}/${encodeURIComponent(name)}`;
}

/** All pages of a list. */
export async function listAll(
  connection: Connection,
  kind: Kind,
  query: Readonly<Record<string, unknown>> = {},
): Promise<Item[]> {
  const items: Item[] = [];
  let cursor: string | null = null;
  do {
    const parameters = new URLSearchParams({ limit: '500' });
    for (const [field, value] of Object.entries(query))
      if (typeof value === 'string') parameters.set(field, value);
    if (cursor !== null) parameters.set('cursor', cursor);
    const { body }: { body: { items: Item[]; next?: string | null } } = await call(
      connection,
      'GET',
      `/v1/${COLLECTIONS[kind]}?${parameters}`,
    );
    items.push(...body.items);
    cursor = body.next ?? null;
  } while (cursor !== null);
  return items;
}

function summary(value: unknown): string {
  if (Array.isArray(value))
    return value.every((entry) => typeof entry === 'string')
      ? cell(value.join(', '), 40)
      : String(value.length);
  if (typeof value === 'object' && value !== null) return cell(Object.keys(value).join(', '), 40);
  return cell(value, 40);
}
