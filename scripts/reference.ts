/**
 * Writes `docs/reference.md` from the code's own registers: settings, commands, cause codes, error codes, objects.
 * `--check` only compares, and fails when the file is not what the code says.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { COMMANDS } from '../cli/commands.ts';
import { CAUSES } from '../shared/causes.ts';
import { ERRORS } from '../shared/errors.ts';
import { KINDS, SCHEMAS } from '../shared/model/kinds.ts';
import { packageRoot } from '../shared/package-root.ts';
import { helpText } from '../shared/settings.ts';

interface JsonSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
}

const file = packageRoot('docs', 'reference.md');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)].join('\n');
}

function typeOf(schema: JsonSchema): string {
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(' or ');
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches !== undefined) return [...new Set(branches.map(typeOf))].join(' or ');
  if (schema.type === 'array') return `list of ${typeOf(schema.items ?? {})}`;
  return String(schema.type ?? 'any');
}

/** One row per field, inner objects unfolded with dots. */
function fieldsOf(schema: JsonSchema, prefix = ''): string[][] {
  const rows: string[][] = [];
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    if (prefix === '' && (name === 'labels' || name === 'owner')) continue;
    rows.push([`\`${prefix}${name}\``, typeOf(field), field.description ?? '']);
    const inner = [field, field.items ?? {}, ...(field.anyOf ?? []), ...(field.oneOf ?? [])];
    for (const one of inner)
      if (one.properties !== undefined) rows.push(...fieldsOf(one, `${prefix}${name}.`));
  }
  return [...new Map(rows.map((row) => [row[0], row])).values()];
}

function reference(): string {
  const parts = [
    '# Reference',
    '',
    'Made from the code by `node dist/scripts/reference.js`; the test command fails when it is out of date.',
    '',
    '## Commands',
    '',
    table(
      ['command', 'does'],
      COMMANDS.map((command) => [`\`kontrol ${command.usage}\``, command.summary]),
    ),
    '',
    '## Settings of a process',
    '',
    '```text',
    helpText('up').trimEnd(),
    '```',
    '',
    '## Objects',
    '',
    'Every object may also carry `labels` and `owner`. Times are numbers with a unit (`"5s"`) or milliseconds, sizes likewise (`"16KB"`) or bytes.',
  ];
  for (const kind of KINDS) {
    const schema = z.toJSONSchema(SCHEMAS[kind], { io: 'input', unrepresentable: 'any' }) as JsonSchema;
    parts.push('', `### ${kind}`, '', table(['field', 'type', ''], fieldsOf(schema)));
  }
  parts.push(
    '',
    '## Answers of the proxy itself',
    '',
    'The cause stands in the access log (`cause`), in the metrics and in `Proxy-Status` (`details`).',
    '',
    table(
      ['cause', 'status', 'page', 'meaning'],
      Object.entries(CAUSES).map(([code, cause]) => [
        `\`${code}\``,
        String(cause.status),
        cause.page,
        cause.message,
      ]),
    ),
    '',
    '## Errors of the API',
    '',
    table(
      ['code', 'status', 'whose fault', 'meaning'],
      Object.entries(ERRORS).map(([code, error]) => [
        `\`${code}\``,
        String(error.status),
        error.cause,
        error.title,
      ]),
    ),
    '',
  );
  return parts.join('\n');
}

const wanted = reference();
if (process.argv.includes('--check')) {
  let present = '';
  try {
    present = readFileSync(file, 'utf8');
  } catch {
    // Reported below: a missing file is not what the code says.
  }
  if (present !== wanted) {
    process.stderr.write('docs/reference.md is out of date: run `node dist/scripts/reference.js`\n');
    process.exitCode = 1;
  }
} else {
  writeFileSync(file, wanted);
}
