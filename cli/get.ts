/** `kontrol get KIND [NAME]`: one object, or a table of all; `kontrol get workers`: who is registered. */
import { X509Certificate } from 'node:crypto';
import { COLLECTIONS, KINDS, type Kind } from '../shared/model/kinds.ts';
import { type ClientOptions, clientCommand, runClient } from './client-command.ts';
import { type Connection, call } from './connection.ts';
import { requireKind } from './files.ts';
import { ago, cell, printJson, printTable, printYaml } from './output.ts';
import { WrongUse } from './wrong-use.ts';

type Item = Readonly<Record<string, unknown>>;

const COLUMNS: Record<Kind, readonly string[]> = {
  domain: ['name', 'mode', 'routes', 'https', 'firewall', 'owner'],
  service: ['name', 'protocol', 'balance', 'latest', 'keys', 'owner'],
  rule: ['name', 'list', 'type', 'match', 'enabled', 'owner'],
  page: ['name', 'templates', 'owner'],
  certificate: ['name', 'hosts', 'until', 'owner'],
  listener: ['name', 'port', 'service', 'owner'],
  settings: ['name'],
};

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('get', 'Show one object (YAML) or list all of a kind (table).')
    .argument('<kind>', `${KINDS.join(', ')}; or workers, which register themselves`)
    .argument('[name]')
    .option('--label <name=value>', 'only objects with this label')
    .option('--search <text>', 'only objects whose name contains this; workers also by service and address');
  return runClient(command, argv, async (connection, options, [kindText = '', name]) => {
    if (/^workers?$/i.test(kindText)) return showWorkers(connection, options, name);
    const kind = requireKind(kindText);
    if (name !== undefined || kind === 'settings')
      return showOne(connection, options, kind, name ?? 'settings');
    const items = await listAll(connection, kind, { label: options['label'], q: options['search'] });
    if (options.json) printJson(items);
    else
      printTable(
        COLUMNS[kind],
        items
          .map(kind === 'certificate' ? withContent : (item) => item)
          .map((item) => COLUMNS[kind].map((column) => summary(item[column]))),
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

async function showWorkers(
  connection: Connection,
  options: ClientOptions & Readonly<Record<string, unknown>>,
  id: string | undefined,
): Promise<number> {
  if (options['label'] !== undefined)
    throw new WrongUse('workers have no labels; --search finds them by service, key, address and name');
  if (id !== undefined) {
    const { body } = await call<Item>(connection, 'GET', `/v1/workers/${encodeURIComponent(id)}`);
    if (options.json) printJson(body);
    else printYaml([body]);
    return 0;
  }
  const { body } = await call<{ items: Item[] }>(connection, 'GET', '/v1/workers');
  const search = String(options['search'] ?? '');
  const items = body.items
    .filter((item) => `${placeOf(item)} ${item['name']}`.includes(search))
    .sort((one, other) => placeOf(one).localeCompare(placeOf(other), 'en', { numeric: true }));
  if (options.json) printJson(items);
  else
    printTable(
      ['service', 'key', 'address', 'state', 'beat', 'name', 'mode', 'id'],
      items.map((item) => [
        cell(item['service']),
        cell(item['key']),
        cell(item['address']),
        cell(item['state']),
        typeof item['lastBeatMs'] === 'number' ? `${ago(0, item['lastBeatMs'])} ago` : '-',
        cell(item['name'], 20),
        cell(item['mode']),
        cell(item['id']),
      ]),
    );
  return 0;
}

/** Workers of a service and build stand together. */
function placeOf(item: Item): string {
  return `${item['service']} ${item['key']} ${item['address']}`;
}

/** A certificate with what people look for in it. */
function withContent(item: Item): Item {
  try {
    const parsed = new X509Certificate(String(item['certificate']));
    const hosts = parsed.subjectAltName?.replace(/(DNS|IP Address):/g, '') ?? parsed.subject;
    return { ...item, hosts, until: new Date(parsed.validTo).toISOString().slice(0, 10) };
  } catch {
    return item;
  }
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
