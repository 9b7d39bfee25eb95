/** `kontrol token [create|delete]`: tokens of the API. The text of a new one is shown once. */
import { parseDuration } from '../shared/units.ts';
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { ago, cell, printJson, printTable } from './output.ts';
import { WrongUse } from './wrong-use.ts';

interface TokenItem {
  readonly name: string;
  readonly role: string;
  readonly service?: string | null;
  readonly expires?: number | string | null;
  readonly expired?: boolean;
  readonly lastUsed?: number | string | null;
}

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('token', 'List tokens, create one (its text is shown once), or delete one.')
    .argument('[action]', 'create or delete; lists when left out')
    .argument('[name]')
    .option('--role <role>', 'viewer | operator | admin | worker', 'viewer')
    .option('--service <name>', 'role worker: the one service it may register for; default: any')
    .option(
      '--expires <time>',
      'after how long, like 90d, or when, like 2027-01-01T00:00:00Z; default: never',
    );
  return runClient(command, argv, async (connection, options, [action, name]) => {
    if (action === 'create' && name !== undefined) {
      const { body } = await call<Record<string, unknown>>(connection, 'POST', '/v1/tokens', {
        name,
        role: options['role'],
        service: options['service'],
        expires: expiryOf(options['expires'] as string | undefined, Date.now()),
      });
      if (options.json) printJson(body);
      else process.stdout.write(`${String(body['token'])}\n`);
      return 0;
    }
    if (action === 'delete' && name !== undefined) {
      const { body } = await call(connection, 'DELETE', `/v1/tokens/${encodeURIComponent(name)}`);
      if (options.json) printJson(body);
      else process.stdout.write(`deleted ${name}\n`);
      return 0;
    }
    if (action !== undefined) {
      process.stderr.write(
        "kontrol: 'kontrol token', 'kontrol token create NAME --role ROLE' or 'kontrol token delete NAME'\n",
      );
      return 2;
    }
    const { body } = await call<{ items: TokenItem[] }>(connection, 'GET', '/v1/tokens');
    if (options.json) printJson(body.items);
    else {
      printTable(
        ['name', 'role', 'service', 'expires', 'last used'],
        body.items.map((item) => [
          item.name,
          item.role,
          cell(item.service),
          item.expired ? `${cell(item.expires)} (ended)` : cell(item.expires),
          item.lastUsed ? `${ago(new Date(item.lastUsed).getTime())} ago` : '-',
        ]),
      );
    }
    return 0;
  });
}

/** `90d` from now as the ISO time that the API takes, and such a time as it is. */
export function expiryOf(text: string | undefined, now: number): string | undefined {
  if (text === undefined) return undefined;
  // A plain number is a year or a mistake, not milliseconds.
  const ms = /^\d+$/.test(text) ? null : parseDuration(text);
  const at = new Date(now + (ms ?? Number.NaN));
  if (!Number.isNaN(at.getTime())) return at.toISOString();
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return text;
  throw new WrongUse(
    `--expires takes a time from now, like 90d, or a date, like 2027-01-01T00:00:00Z; not '${text}'`,
  );
}
