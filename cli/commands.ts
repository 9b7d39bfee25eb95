/** The register of subcommands: what each is called, what it does in one line, and where it lives. */

export interface CommandModule {
  /** Gets what follows the command's name; answers the exit code. */
  run(argv: readonly string[]): Promise<number>;
}

export interface CommandEntry {
  readonly name: string;
  readonly usage: string;
  readonly summary: string;
  load(): Promise<CommandModule>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: 'up',
    usage: 'up',
    summary: 'start kontrolapi and one node on this machine',
    load: () => import('./up.ts'),
  },
  { name: 'api', usage: 'api', summary: 'start kontrolapi alone', load: () => import('./api.ts') },
  { name: 'proxy', usage: 'proxy', summary: 'start one node alone', load: () => import('./proxy.ts') },
  {
    name: 'run',
    usage: 'run --service NAME --port PORT -- PROGRAM',
    summary: 'start a program as a registered worker',
    load: () => import('./run.ts'),
  },
  {
    name: 'apply',
    usage: 'apply -f FILE… [--owner NAME]',
    summary: 'write all objects of files as one revision',
    load: () => import('./apply.ts'),
  },
  {
    name: 'diff',
    usage: 'diff -f FILE… [--owner NAME]',
    summary: 'show what apply would change',
    load: () => import('./diff.ts'),
  },
  {
    name: 'export',
    usage: 'export',
    summary: 'print every object as YAML',
    load: () => import('./export.ts'),
  },
  {
    name: 'import',
    usage: 'import --from FORMAT FILE…',
    summary: 'read the configuration of another proxy',
    load: () => import('./import.ts'),
  },
  {
    name: 'check',
    usage: 'check FILE…',
    summary: 'validate files without any server',
    load: () => import('./check.ts'),
  },
  {
    name: 'schema',
    usage: 'schema',
    summary: 'print the JSON Schema of files, for editors',
    load: () => import('./schema.ts'),
  },
  {
    name: 'get',
    usage: 'get KIND [NAME]',
    summary: 'show one object or list all',
    load: () => import('./get.ts'),
  },
  {
    name: 'set',
    usage: 'set KIND NAME FIELD=VALUE…',
    summary: 'change one object, or write it from a file',
    load: () => import('./set.ts'),
  },
  {
    name: 'delete',
    usage: 'delete KIND NAME',
    summary: 'delete one object',
    load: () => import('./delete.ts'),
  },
  {
    name: 'purge',
    usage: 'purge SERVICE [PATH]',
    summary: 'remove stored answers of a service on every node',
    load: () => import('./purge.ts'),
  },
  {
    name: 'status',
    usage: 'status',
    summary: 'show every node and what is wrong',
    load: () => import('./status.ts'),
  },
  {
    name: 'explain',
    usage: 'explain URL | REQUEST-ID',
    summary: 'why a request goes where it goes',
    load: () => import('./explain.ts'),
  },
  {
    name: 'history',
    usage: 'history [KIND NAME | SEQ]',
    summary: 'who changed what, and when',
    load: () => import('./history.ts'),
  },
  {
    name: 'restore',
    usage: 'restore SEQ [KIND NAME]',
    summary: 'bring back an earlier state',
    load: () => import('./restore.ts'),
  },
  {
    name: 'confirm',
    usage: 'confirm SEQ',
    summary: 'keep a change that was made with --confirm-within',
    load: () => import('./confirm.ts'),
  },
  {
    name: 'deploy',
    usage: 'deploy SERVICE --key N',
    summary: 'point a service at a build when it is live, and watch it',
    load: () => import('./deploy.ts'),
  },
  {
    name: 'token',
    usage: 'token [create|delete NAME]',
    summary: 'tokens of the API',
    load: () => import('./token.ts'),
  },
  {
    name: 'user',
    usage: 'user [create|password|role|delete NAME]',
    summary: 'people who log in to the API',
    load: () => import('./user.ts'),
  },
];

export function findCommand(name: string): CommandEntry | undefined {
  return COMMANDS.find((command) => command.name === name);
}
