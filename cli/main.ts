#!/usr/bin/env node
/**
 * The `kontrol` command. A file per subcommand, loaded only when it is called: the primary of a node imports no
 * driver. Exit codes: 0 done, 1 refused or failed, 2 used wrongly.
 */
import { KontrolError } from '../shared/errors.ts';
import { packageVersion } from '../shared/package-root.ts';
import { BrokenOutput } from './broken-output.ts';
import { COMMANDS, findCommand } from './commands.ts';
import { WrongUse } from './wrong-use.ts';

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    process.stdout.write(overview());
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === 'version') {
    process.stdout.write(`${packageVersion()}\n`);
    return 0;
  }
  const command = findCommand(name);
  if (command === undefined) {
    process.stderr.write(`kontrol: there is no command '${name}'; 'kontrol help' lists them\n`);
    return 2;
  }
  const { run } = await command.load();
  return run(rest);
}

function overview(): string {
  const width = Math.max(...COMMANDS.map((command) => command.usage.length));
  const lines = COMMANDS.map((command) => `  ${command.usage.padEnd(width)}  ${command.summary}`);
  return `kontrol ${packageVersion()}: a platform proxy\n\n${lines.join('\n')}\n\n'kontrol COMMAND --help' tells more.\n`;
}

const output = new BrokenOutput(process.stdout, process.stderr);
main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = output.exitCode(code);
    // The channel to `kontrol up` would keep this process alive.
    if (process.connected) process.disconnect();
  },
  (error: unknown) => {
    const expected = error instanceof KontrolError;
    process.stderr.write(
      `kontrol: ${expected ? error.message : ((error as Error)?.stack ?? String(error))}\n`,
    );
    process.exitCode = error instanceof WrongUse ? 2 : 1;
    if (process.connected) process.disconnect();
  },
);
