/** `kontrol run`: starts a program as a registered worker of a service. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../shared/model/fields.ts';
import { presses } from '../shared/presses.ts';
import type { StartMode } from '../worker/lease.ts';
import { programName } from '../worker/program-name.ts';
import { Wrapper } from '../worker/wrapper.ts';
import { connectionFrom } from './connection.ts';

interface RunOptions {
  readonly service: string;
  readonly port: number;
  readonly key: number;
  readonly host?: string;
  readonly name?: string;
  readonly mode: StartMode;
  readonly workerVersion?: string;
  readonly weight?: number;
  readonly startTimeout: number;
  readonly drainTimeout: number;
  readonly stopTimeout: number;
  readonly url?: string;
  readonly token?: string;
}

export async function run(argv: readonly string[]): Promise<number> {
  const command = new Command('kontrol run')
    .description(
      'Start a program as a registered worker: traffic comes when its port accepts, and stops before it ends.',
    )
    .usage('--service NAME --port PORT [options] -- PROGRAM [ARGUMENTS]')
    .requiredOption('--service <name>', 'service it serves; created if the token may')
    .requiredOption('--port <port>', 'port it will listen on; also given to it as PORT', integer(1, 65_535))
    .option('--key <number>', 'build number', integer(1, Number.MAX_SAFE_INTEGER), 1)
    .option(
      '--host <address>',
      'address under which the proxies reach it (default: where the call comes from)',
    )
    .option('--name <text>', 'shown in lists (default: the package or the script that is started)')
    .option('--mode <mode>', 'many | one | version', startMode, 'many')
    .option('--worker-version <text>', 'version of the program, for mode version')
    .option('--weight <number>', 'share among the others, 0 to 1000', integer(0, 1_000))
    .addOption(time('--start-timeout <time>', 'until its port has to accept', 60))
    .addOption(time('--drain-timeout <time>', 'longest wait for requests under way', 30))
    .addOption(time('--stop-timeout <time>', 'between TERM and KILL', 10))
    .option('--url <address>', 'kontrolapi (KONTROL_URL)')
    .option('--token <token>', 'token with role worker (KONTROL_TOKEN)')
    .argument('<program...>')
    .passThroughOptions();
  command
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'kontrol: ')) });
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const options = command.opts<RunOptions>();
  const [program, ...args] = command.args;
  if (program === undefined) return 2;
  const wrapper = new Wrapper({
    ...connectionFrom(options),
    registration: {
      service: options.service,
      port: options.port,
      key: options.key,
      host: options.host,
      name: options.name ?? programName([program, ...args]),
      pid: process.pid,
      version: options.workerVersion,
      mode: options.mode,
      weight: options.weight,
    },
    command: [program, ...args],
    startTimeoutMs: options.startTimeout,
    drainTimeoutMs: options.drainTimeout,
    stopTimeoutMs: options.stopTimeout,
    note: (line) => process.stderr.write(`kontrol run: ${line}\n`),
  });
  process.title = `kontrol run ${options.service}`;
  const stop = presses(() => wrapper.stop());
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  process.on('SIGUSR1', () => {});
  return wrapper.run();
}

function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}`);
  };
}

function time(flags: string, description: string, seconds: number): Option {
  const option = new Option(flags, description).argParser(milliseconds);
  return option.default(seconds * 1_000, `${seconds}s`);
}

function milliseconds(text: string): number {
  const value = parseDuration(text);
  if (value === null) throw new InvalidArgumentError('expected a time like 30s');
  return value;
}

function startMode(text: string): StartMode {
  if (text === 'many' || text === 'one' || text === 'version') return text;
  throw new InvalidArgumentError('expected many, one or version');
}
