/** `kontrol export`: every object as YAML that apply takes. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { printJson, printYaml } from './output.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'export',
    'Print every object as YAML that apply takes; private keys stay where they are.',
  )
    .option('--at <seq>', 'as it was at this revision')
    .option('--owner <name>', 'only objects of this owner');
  return runClient(command, argv, async (connection, options) => {
    const at = options['at'] === undefined ? '' : `?at=${encodeURIComponent(String(options['at']))}`;
    const { body } = await call<{ objects: Record<string, unknown>[] }>(connection, 'GET', `/v1/export${at}`);
    const objects = body.objects.filter(
      (object) => options['owner'] === undefined || object['owner'] === options['owner'],
    );
    if (options.json) printJson(objects);
    else printYaml(objects);
    return 0;
  });
}
