/** `kontrol token [create|delete]`: tokens of the API. The text of a new one is shown once. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { ago, cell, printJson, printTable } from './output.ts';

interface TokenItem {
  readonly name: string;
  readonly role: string;
  readonly service?: string | null;
  readonly expires?: number | string | null;
  readonly lastUsed?: number | string | null;
}

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('token', 'List tokens, create one (its text is shown once), or delete one.')
    .argument('[action]', 'create or delete; lists when left out')
    .argument('[name]')
    .option('--role <role>', 'viewer | operator | admin | worker', 'viewer')
    .option('--service <name>', 'role worker: the one service it may register for')
    .option('--expires <time>', 'ISO time, like 2027-01-01T00:00:00Z');
  return runClient(command, argv, async (connection, options, [action, name]) => {
    if (action === 'create' && name !== undefined) {
      const { body } = await call<Record<string, unknown>>(connection, 'POST', '/v1/tokens', {
        name,
        role: options['role'],
        service: options['service'],
        expires: options['expires'],
      });
      if (options.json) printJson(body);
      else process.stdout.write(`${String(body['token'])}\n`);
      return 0;
    }
    if (action === 'delete' && name !== undefined) {
      await call(connection, 'DELETE', `/v1/tokens/${encodeURIComponent(name)}`);
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
          cell(item.expires),
          item.lastUsed ? `${ago(new Date(item.lastUsed).getTime())} ago` : '-',
        ]),
      );
    }
    return 0;
  });
}
