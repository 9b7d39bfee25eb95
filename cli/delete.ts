/** `kontrol delete KIND NAME`. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { requireKind } from './files.ts';
import { pathOf } from './get.ts';
import { reportWrite, writeOptions, writeQuery } from './writes.ts';
import { WrongUse } from './wrong-use.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = writeOptions(
    clientCommand('delete', 'Delete one object; refused while others name it.')
      .argument('<kind>')
      .argument('[name]'),
  );
  return runClient(command, argv, async (connection, options, [kindText = '', name]) => {
    const kind = requireKind(kindText);
    if (kind === 'settings')
      throw new WrongUse(
        'the settings are always there; \'echo "kind: settings" | kontrol apply -f -\' puts all of them back to their defaults',
      );
    if (name === undefined)
      throw new WrongUse(`which ${kind}? 'kontrol delete ${kind} NAME'; 'kontrol get ${kind}' lists them`);
    const path = `${pathOf(kind, name)}${writeQuery(options)}`;
    return reportWrite(await call(connection, 'DELETE', path), options);
  });
}
