/** `kontrol delete KIND NAME`. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { requireKind } from './files.ts';
import { pathOf } from './get.ts';
import { reportWrite, writeOptions, writeQuery } from './writes.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = writeOptions(
    clientCommand('delete', 'Delete one object; refused while others name it.')
      .argument('<kind>')
      .argument('<name>'),
  );
  return runClient(command, argv, async (connection, options, [kindText = '', name = '']) => {
    const path = `${pathOf(requireKind(kindText), name)}${writeQuery(options)}`;
    return reportWrite(await call(connection, 'DELETE', path), options);
  });
}
