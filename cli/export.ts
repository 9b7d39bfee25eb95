/** `kontrol export`: every object as YAML that apply takes, printed one by one as they come. */
import { stringify } from 'yaml';
import { callLines } from './call-lines.ts';
import { clientCommand, runClient } from './client-command.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'export',
    'Print every object as YAML that apply takes without --owner; private keys stay where they are.',
  )
    .option('--at <seq>', 'as it was at this revision')
    .option('--owner <name>', 'only objects of this owner');
  return runClient(command, argv, async (connection, options) => {
    const query = new URLSearchParams({ format: 'lines' });
    for (const name of ['at', 'owner']) {
      if (options[name] !== undefined) query.set(name, String(options[name]));
    }
    const lines = callLines(connection, `/v1/export?${query}`);
    if (options.json) await printEach(lines, '[\n', jsonOf, ',\n', '\n]\n', '[]\n');
    else await printEach(lines, '', stringify, '---\n', '', '');
    return 0;
  });
}

/** As it stands inside a list that is printed with two spaces. */
function jsonOf(object: unknown): string {
  return JSON.stringify(object, null, 2).replace(/^/gm, '  ');
}

/** Prints what the lines hold between `begin` and `end`; `none` when there are no lines. */
async function printEach(
  lines: AsyncIterable<string>,
  begin: string,
  textOf: (object: unknown) => string,
  separator: string,
  end: string,
  none: string,
): Promise<void> {
  let before = begin;
  for await (const line of lines) {
    if (!(await print(before + textOf(JSON.parse(line))))) return;
    before = separator;
  }
  await print(before === separator ? end : none);
}

/** Resolves when there is room for more; false when nobody reads any more. */
function print(text: string): Promise<boolean> {
  const { stdout } = process;
  return new Promise((resolve) => {
    stdout.write(text, (error) => resolve(error == null));
  });
}
