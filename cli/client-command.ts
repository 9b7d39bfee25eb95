/** What all thin clients of the API share: their options, their failures and exit codes. */
import { Command, CommanderError } from 'commander';
import { ApiError, type Connection, type ConnectionOptions, connectionFrom } from './connection.ts';

export interface ClientOptions extends ConnectionOptions {
  readonly json?: boolean;
}

export function clientCommand(name: string, description: string): Command {
  return new Command(`kontrol ${name}`)
    .description(description)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'kontrol: ')) })
    .option('--json', 'print JSON')
    .option('--url <address>', 'kontrolapi (KONTROL_URL)')
    .option('--token <token>', 'token (KONTROL_TOKEN)')
    .option('--data <folder>', 'folder with admin-token (KONTROL_DATA)');
}

/**
 * Parses `argv` and runs `action`. Answers 0, what `action` answers, 1 when the API refused (its reason on stderr),
 * 2 when the command was used wrongly.
 */
export function runClient(
  command: Command,
  argv: readonly string[],
  action: (
    connection: Connection,
    options: ClientOptions & Record<string, unknown>,
    args: readonly string[],
  ) => Promise<number | undefined>,
): Promise<number> {
  return runCommand(command, argv, async (options, args) => action(connectionFrom(options), options, args));
}

/** The same for a command that may do without the API. */
export async function runCommand(
  command: Command,
  argv: readonly string[],
  action: (
    options: ClientOptions & Record<string, unknown>,
    args: readonly string[],
  ) => Promise<number | undefined>,
): Promise<number> {
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const options = command.opts<ClientOptions & Record<string, unknown>>();
  try {
    return (await action(options, command.args)) ?? 0;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    process.stderr.write(`kontrol: ${error.message}\n`);
    return 1;
  }
}
