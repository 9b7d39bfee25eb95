/** `kontrol restore SEQ [KIND NAME]`: brings back everything, or one object, as it was, as a new revision. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { requireKind } from './files.ts';
import { reportWrite, writeOptions, writeQuery } from './writes.ts';
import { WrongUse } from './wrong-use.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = writeOptions(
    clientCommand(
      'restore',
      'Bring back everything (or all of a kind, or one object) as it was at a revision, as a new revision.',
    )
      .argument('<seq>')
      .argument('[kind]')
      .argument('[name]'),
  );
  return runClient(command, argv, async (connection, options, [seq = '', kind, name]) => {
    if (!/^\d+$/.test(seq))
      throw new WrongUse(`'${seq}' is not the number of a revision; 'kontrol history' lists them`);
    const body = kind === undefined ? {} : { kind: requireKind(kind), name };
    const path = `/v1/revisions/${encodeURIComponent(seq)}/restore${writeQuery(options)}`;
    return reportWrite(await call(connection, 'POST', path, body), options);
  });
}
