/** `kontrol user [create|password|role|delete]`: people who log in to the API. Passwords come by prompt or standard input. */
import { createInterface } from 'node:readline';
import { type ClientOptions, clientCommand, runClient } from './client-command.ts';
import { type Connection, call, type Reply } from './connection.ts';
import { ago, printJson, printTable } from './output.ts';

interface UserItem {
  readonly name: string;
  readonly role: string;
  readonly created: string;
}

const USAGE =
  "kontrol: 'kontrol user', 'kontrol user create NAME --role ROLE', 'kontrol user password NAME', 'kontrol user role NAME --role ROLE' or 'kontrol user delete NAME'\n";

export function run(argv: readonly string[]): Promise<number> {
  const command = clientCommand(
    'user',
    'List users, create or delete one, or change a password or role. A password is asked for, or read from standard input.',
  )
    .argument('[action]', 'create, password, role or delete; lists when left out')
    .argument('[name]')
    .option('--role <role>', 'viewer | operator | admin');
  return runClient(command, argv, async (connection, options, [action, name]) => {
    const role = options['role'] as string | undefined;
    if (action === undefined) return list(connection, options.json === true);
    const path = `/v1/users/${encodeURIComponent(name ?? '')}`;
    if (name === undefined) return wrongUse();
    switch (action) {
      case 'create': {
        const user = { role: role ?? 'viewer', password: await readPassword(`password of ${name}: `) };
        const { body, status } = await call<UserItem>(connection, 'PUT', path, user);
        if (options.json) printJson(body);
        else process.stdout.write(`${status === 201 ? 'created' : 'changed'} ${body.name} (${body.role})\n`);
        return 0;
      }
      case 'password': {
        const password = await readPassword(`new password of ${name}: `);
        return told(
          await call(connection, 'PATCH', path, { password }),
          `password of ${name} changed`,
          options,
        );
      }
      case 'role':
        if (role === undefined) return wrongUse();
        return told(await call(connection, 'PATCH', path, { role }), `${name} is ${role} now`, options);
      case 'delete':
        return told(await call(connection, 'DELETE', path), `deleted ${name}`, options);
      default:
        return wrongUse();
    }
  });
}

/** What was done: the answer of the API for scripts, a line for people. */
function told({ body }: Reply<unknown>, line: string, { json }: ClientOptions): number {
  if (json) printJson(body);
  else process.stdout.write(`${line}\n`);
  return 0;
}

function wrongUse(): number {
  process.stderr.write(USAGE);
  return 2;
}

async function list(connection: Connection, json: boolean): Promise<number> {
  const { body } = await call<{ items: UserItem[] }>(connection, 'GET', '/v1/users');
  if (json) printJson(body.items);
  else
    printTable(
      ['name', 'role', 'created'],
      body.items.map(({ name, role, created }) => [name, role, `${ago(new Date(created).getTime())} ago`]),
    );
  return 0;
}

/** One line of standard input; on a terminal with a prompt and without showing what is typed. */
function readPassword(prompt: string): Promise<string> {
  const { stdin, stderr } = process;
  if (stdin.isTTY) stderr.write(prompt);
  const reader = createInterface({ input: stdin, terminal: stdin.isTTY });
  return new Promise((resolve) => {
    let line = '';
    reader.once('line', (text) => {
      line = text;
      reader.close();
    });
    reader.once('close', () => {
      if (stdin.isTTY) stderr.write('\n');
      resolve(line);
    });
  });
}
