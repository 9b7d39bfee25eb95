/** `kontrol confirm SEQ`: keeps a change that was made with --confirm-within. */
import { clientCommand, runClient } from './client-command.ts';
import { call } from './connection.ts';
import { printJson } from './output.ts';
import { WrongUse } from './wrong-use.ts';

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'confirm',
    'Keep a change that was made with --confirm-within; it is undone otherwise.',
  ).argument('<seq>', 'the revision, as the change printed it');
  return runClient(command, argv, async (connection, options, [seq = '']) => {
    if (!/^\d+$/.test(seq))
      throw new WrongUse(`'${seq}' is not the number of a revision; 'kontrol history' lists them`);
    const { body } = await call(connection, 'POST', `/v1/revisions/${seq}/confirm`);
    if (options.json) printJson(body);
    else process.stdout.write(`revision ${seq} is confirmed\n`);
    return 0;
  });
}
