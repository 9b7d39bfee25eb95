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
];

export function findCommand(name: string): CommandEntry | undefined {
  return COMMANDS.find((command) => command.name === name);
}
