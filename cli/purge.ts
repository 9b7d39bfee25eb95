/** `kontrol purge SERVICE [PATH]`: removes stored answers of a service on every node. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { printJson } from './output.ts';

interface Purged {
  readonly purged: number;
  readonly pending: readonly string[];
}

export function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand('purge', 'Remove stored answers of a service on every node.')
    .argument('<service>')
    .argument('[path]', 'as visitors ask for it; "*" at its end: all that begin so; left out: everything');
  return runClient(command, argv, async (connection, options, [service = '', path]) => {
    const query = path === undefined ? '' : `?path=${encodeURIComponent(path)}`;
    const at = `/v1/services/${encodeURIComponent(service)}/cache${query}`;
    const { body } = await call<Purged>(connection, 'DELETE', at);
    if (options.json) printJson(body);
    else {
      const rest = body.pending.length === 0 ? '' : `; not yet by ${body.pending.join(', ')}`;
      process.stdout.write(
        `${body.purged} stored ${body.purged === 1 ? 'answer' : 'answers'} removed${rest}\n`,
      );
    }
    return body.pending.length === 0 ? 0 : 1;
  });
}
