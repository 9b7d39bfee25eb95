/** `kontrol export`: every object as YAML that apply takes. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { printJson, printYaml } from './output.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'export',
    'Print every object as YAML that apply takes without --owner; private keys stay where they are.',
  )
    .option('--at <seq>', 'as it was at this revision')
    .option('--owner <name>', 'only objects of this owner');
  return runClient(command, argv, async (connection, options) => {
    const query = new URLSearchParams();
    for (const name of ['at', 'owner']) {
      if (options[name] !== undefined) query.set(name, String(options[name]));
    }
    const path = `/v1/export?${query}`;
    const { body } = await call<{ objects: Record<string, unknown>[] }>(connection, 'GET', path);
    if (options.json) printJson(body.objects);
    else printYaml(body.objects);
    return 0;
  });
}
