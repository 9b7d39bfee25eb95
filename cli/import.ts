/**
 * `kontrol import --from FORMAT FILE…`: reads the configuration of another proxy unchanged and prints it as objects of
 * ours, or applies them. What is not carried over is told line by line on stderr; nothing is guessed in silence.
 */
import { readFileSync } from 'node:fs';
import { stringify } from 'yaml';
import { KontrolError } from '../shared/errors.ts';
import { parseObject } from '../shared/model/kinds.ts';
import { clientCommand, runCommand } from './client-command.ts';
import { ApiError, call, connectionFrom, type Reply } from './connection.ts';
import { readGoReverseProxy } from './import/go-reverse-proxy.ts';
import { Imported, type Reader, UnreadableLine } from './import/imported.ts';
import { readMonkey } from './import/monkey.ts';
import { readProxyEtc } from './import/proxy-etc.ts';
import { readWebsocketReverseProxy } from './import/websocket-reverse-proxy.ts';
import { printJson } from './output.ts';
import { reportWrite, writeQuery } from './writes.ts';
import { WrongUse } from './wrong-use.ts';

export const FORMATS: Readonly<Record<string, Reader>> = {
  'go-reverse-proxy': readGoReverseProxy,
  monkey: readMonkey,
  'websocket-reverse-proxy': readWebsocketReverseProxy,
  'proxy-etc': readProxyEtc,
};

export async function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'import',
    'Read the configuration files of another proxy and print them as objects.',
  )
    .argument('<file...>', 'its configuration files, unchanged')
    .requiredOption('--from <format>', Object.keys(FORMATS).join(', '))
    .option('--apply', 'write the objects instead of printing them')
    .option('--owner <name>', 'who the objects belong to (with --apply)')
    .option('--dry-run', 'with --apply: only show what would change')
    .option('--wait', 'with --apply: answer when every node serves them');
  return runCommand(command, argv, async (options, files) => {
    for (const option of ['owner', 'dryRun', 'wait'])
      if (options['apply'] !== true && options[option] !== undefined)
        throw new WrongUse(
          `--${option === 'dryRun' ? 'dry-run' : option} is for --apply, which is not given`,
        );
    if (options['apply'] === true && options['owner'] === undefined)
      throw new WrongUse('--apply needs --owner NAME');
    const imported = importFiles(String(options['from']), files);
    for (const { file, line, text } of imported.remarks)
      process.stderr.write(`${file}${line === 0 ? '' : `:${line}`}: ${text}\n`);
    if (imported.objects.length === 0) {
      process.stderr.write(
        `kontrol: nothing was carried over; is this a configuration of ${options['from']}?\n`,
      );
      return 1;
    }
    const problems = [...problemsOf(imported), ...imported.collisions()];
    if (problems.length > 0) {
      process.stderr.write(`${problems.join('\n')}\n`);
      if (imported.collisions().length > 0)
        process.stderr.write('kontrol: decide which of the two it is, and take the other out of its file\n');
      return 1;
    }
    if (options['apply'] !== true) {
      if (options.json) {
        tellFlags(imported);
        printJson(imported.objects);
      } else process.stdout.write(asFile(imported));
      return 0;
    }
    const body = { owner: options['owner'], prune: false, objects: imported.objects };
    let reply: Reply<unknown>;
    try {
      reply = await call(connectionFrom(options), 'POST', `/v1/apply${writeQuery(options)}`, body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      process.stderr.write(`${refusalsOf(error, imported).join('\n')}\n`);
      return 1;
    }
    tellFlags(imported);
    return reportWrite(reply, options);
  });
}

function tellFlags({ flags }: Imported): void {
  for (const flag of flags) process.stderr.write(`start the proxy with ${flag}\n`);
}

/** What the API says against the objects, each at the place in the other proxy's file that it comes from. */
function refusalsOf(error: ApiError, imported: Imported): string[] {
  const errors = Array.isArray(error.problem['errors'])
    ? (error.problem['errors'] as { path?: string; message?: string }[])
    : [];
  const lines = errors.map(({ path = '', message = '' }) => {
    const [, index, field = ''] = /^objects\.(\d+)\.?(.*)$/.exec(path) ?? [];
    return index === undefined
      ? `${path}: ${message}`
      : `${placed(imported, Number(index))}: ${field === '' ? '' : `${field}: `}${message}`;
  });
  return lines.length > 0 ? lines : [`kontrol: ${error.message}`];
}

/** An object with its place: `proxy.conf:3: domain *`. */
function placed(imported: Imported, index: number): string {
  const { kind, name } = imported.objects[index] ?? {};
  return `${imported.placeOf(index)}: ${kind} ${name ?? ''}`.trimEnd();
}

/** Reads all files of one format. Throws a `KontrolError` that names file and line. */
export function importFiles(format: string, files: readonly string[]): Imported {
  const reader = Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  if (reader === undefined)
    throw new WrongUse(`there is no format '${format}'; formats are ${Object.keys(FORMATS).join(', ')}`);
  const imported = new Imported();
  for (const file of files) {
    let text: string;
    try {
      text = readFileSync(file === '-' ? 0 : file, 'utf8');
    } catch (error) {
      throw new KontrolError('invalid', `${file}: cannot be read: ${(error as Error).message}`);
    }
    importText(reader, file, text, imported);
  }
  return imported;
}

function importText(reader: Reader, file: string, text: string, into: Imported): void {
  into.enter(file);
  try {
    reader(text, into);
  } catch (error) {
    if (!(error instanceof UnreadableLine)) throw error;
    throw new KontrolError('invalid', `${file}:${error.line}: ${error.message}`);
  }
}

/** What the schemas say against the objects: a value of the other file that is out of our ranges. */
function problemsOf(imported: Imported): string[] {
  return imported.objects.flatMap(({ kind, ...fields }, index) => {
    const parsed = parseObject(kind, fields);
    return parsed.ok
      ? []
      : parsed.problems.map(({ path, message }) => `${placed(imported, index)}: ${path}: ${message}`);
  });
}

/** A file that `kontrol apply` takes, with the flags of the process as a comment on top. */
function asFile({ objects, flags }: Imported): string {
  const head = flags.length === 0 ? '' : `# start the proxy with: ${flags.join(' ')}\n`;
  return head + objects.map((object) => stringify(object, { aliasDuplicateObjects: false })).join('---\n');
}
