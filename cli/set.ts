/** `kontrol set KIND NAME`: writes a whole object from a file, or some fields of it. */
import { readFileSync } from 'node:fs';
import { KontrolError } from '../shared/errors.ts';
import { KINDS, type Kind } from '../shared/model/kinds.ts';
import { clientCommand, runClient } from './client-command.ts';
import { ApiError, type Connection, call, type Reply } from './connection.ts';
import { readObjects, requireKind } from './files.ts';
import { pathOf } from './get.ts';
import { reportWrite, writeOptions, writeQuery } from './writes.ts';
import { WrongUse } from './wrong-use.ts';

type Fields = Record<string, unknown>;

/** So often a change that is made out of the present object is made anew when somebody else was faster. */
const ATTEMPTS = 5;

export async function run(argv: readonly string[]): Promise<number> {
  const command = writeOptions(
    clientCommand(
      'set',
      'Write one object: whole from a file, or single fields (FIELD=VALUE; VALUE is JSON or text).',
    )
      .argument('<kind>', KINDS.join(', '))
      .argument('[name]', 'its name; settings have none')
      .argument(
        '[fields...]',
        'FIELD=VALUE; dots reach inside, null removes, @FILE is the text of a file (key=@key.pem)',
      )
      .option('-f, --file <file>', 'the whole object, YAML or JSON'),
  );
  return runClient(command, argv, async (connection, options, [kindText = '', ...rest]) => {
    const kind = requireKind(kindText);
    const [name = '', ...fields] =
      kind === 'settings' && rest[0] !== 'settings' ? ['settings', ...rest] : rest;
    if (name === '') {
      process.stderr.write(`kontrol: which ${kind}? kontrol set ${kind} NAME FIELD=VALUE…\n`);
      return 2;
    }
    const query = writeQuery(options);
    const path = `${pathOf(kind, name)}${query}`;
    const file = options['file'] as string | undefined;
    if ((file === undefined) === (fields.length === 0)) {
      process.stderr.write('kontrol: give either -f FILE or FIELD=VALUE, like backends=127.0.0.1:3000\n');
      return 2;
    }
    if (file !== undefined)
      return reportWrite(
        await call(connection, kind === 'settings' ? 'PATCH' : 'PUT', path, wholeObject(file, kind, name)),
        options,
      );
    return reportWrite(await setFields(connection, kind, name, path, parseFields(fields)), options);
  });
}

function wholeObject(file: string, kind: Kind, name: string): Fields {
  const [object, ...more] = readObjects([file]);
  if (object === undefined || more.length > 0)
    throw new KontrolError('invalid', `${file}: expected exactly one object; 'kontrol apply' takes many`);
  const { kind: _kind, ...fields } = object.input;
  if (object.kind !== kind)
    throw new KontrolError('invalid', `${object.where('kind')}: this is a ${object.kind}, not a ${kind}`);
  return kind === 'settings' ? fields : { ...fields, name };
}

/** Changes the object if it is there, else creates it. */
async function setFields(
  connection: Connection,
  kind: Kind,
  name: string,
  path: string,
  fields: Fields,
): Promise<Reply<unknown>> {
  if (kind === 'settings') return call(connection, 'PATCH', path, fields);
  for (let attempt = 1; ; attempt++) {
    try {
      const present = await call<Fields>(connection, 'GET', pathOf(kind, name));
      const change = longForm(kind, fields, present.body);
      const etag = present.headers.get('etag');
      // What was worked out from the object as it stood must not undo what somebody else does to it meanwhile.
      const headers: Record<string, string> = change === fields || etag === null ? {} : { 'if-match': etag };
      return await call(connection, 'PATCH', path, change, headers);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 404) return call(connection, 'PUT', path, { name, ...fields });
      if (error.status !== 412 || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Stored objects are in long form: a short form in a change means its one long equivalent. */
function longForm(kind: Kind, fields: Fields, present: Fields): Fields {
  if (kind === 'service' && Array.isArray(fields['backends'])) {
    const { backends, ...rest } = fields;
    const keys = Object.keys((present['keys'] as Fields | undefined) ?? {});
    if (keys.some((key) => key !== '1'))
      throw new KontrolError(
        'invalid',
        `the service has the keys ${keys.join(', ')}; say which: keys.${keys.at(-1)}.backends=…`,
      );
    return {
      ...rest,
      keys: {
        1: { backends: backends.map((entry) => (typeof entry === 'string' ? { address: entry } : entry)) },
      },
    };
  }
  if (kind === 'domain' && (fields['service'] !== undefined || fields['key'] !== undefined)) {
    const { service, key, ...rest } = fields;
    const routes = (present['routes'] as Fields[] | undefined) ?? [];
    const [only] = routes;
    if (routes.length > 1)
      throw new KontrolError(
        'invalid',
        `the domain has ${routes.length} routes; say all of them: routes='[{"path": "/", "service": …}, …]', or -f FILE`,
      );
    const paths = [only?.['path'] ?? '/'].flat();
    if (paths.some((path) => path !== '/'))
      throw new KontrolError(
        'invalid',
        `the only route of the domain is for ${paths.join(', ')}, not for every path; say what routes there are to be: routes='[…]', or -f FILE`,
      );
    return {
      ...rest,
      routes: [
        { ...only, ...(service === undefined ? {} : { service }), ...(key === undefined ? {} : { key }) },
      ],
    };
  }
  return fields;
}

const LISTS = new Set(['backends', 'aliases', 'firewall', 'match']);

/** `a.b=1 list=x,y text=@FILE` as an object; values are JSON where they can be, else text. */
export function parseFields(texts: readonly string[]): Fields {
  const root: Fields = {};
  for (const text of texts) {
    const equals = text.indexOf('=');
    if (equals < 1) throw new WrongUse(`expected FIELD=VALUE, not '${text}'`);
    const steps = text.slice(0, equals).split('.');
    const last = steps.pop() as string;
    let at = root;
    for (const step of steps) {
      if (!Object.hasOwn(at, step) || typeof at[step] !== 'object' || at[step] === null)
        Object.defineProperty(at, step, { value: {}, enumerable: true, writable: true, configurable: true });
      at = at[step] as Fields;
    }
    Object.defineProperty(at, last, {
      value: parseValue(text.slice(0, equals), last, text.slice(equals + 1)),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return root;
}

function parseValue(path: string, field: string, text: string): unknown {
  if (text.startsWith('@')) return textOf(path, text.slice(1));
  // Labels are text: a number that the API would refuse is meant as it is written.
  if (path.startsWith('labels.') && text !== 'null' && !text.startsWith('"')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return LISTS.has(field) ? text.split(',') : text;
  }
}

function textOf(path: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const hint = `to write a text that begins with @, quote it: ${path}='"@…"'`;
    throw new KontrolError('invalid', `${path}: ${(error as Error).message}; ${hint}`);
  }
}
