/**
 * What a program is called where workers are listed: the package it belongs to, else its script, else the program
 * itself. `node` or `python3` would be the name of every one of them.
 */
import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';

/** Programs that run a script, with or without a package around it. */
const SCRIPT_OF_PACKAGE = /^(node|nodejs|bun|deno|tsx|ts-node)$/;
const SCRIPT_ALONE = /^(python|ruby|perl|php|lua|java|dotnet|sh|bash|dash|zsh|ksh)[\d.]*$/;
/** What they start is said by the package of the folder they stand in. */
const RUNS_PACKAGE = /^(npm|npx|yarn|pnpm)$/;
/** Options whose value is not the script. */
const WITH_VALUE =
  /^(-r|--require|--import|--loader|--experimental-loader|-C|--conditions|--env-file|--title|-W|-X|-I|-cp|-classpath|--class-path)$/;
/** What follows is the program itself, as text. */
const INLINE = /^(-c|-e|-p|-pe|--eval|--print)$/;
/** The longest name that the API takes. */
const MAX_NAME = 256;

/** The name of `command`, started in `folder` (default: where we are). Reads package.json files; never throws. */
export function programName(command: readonly string[], folder = here()): string {
  return nameIn(command, folder).slice(0, MAX_NAME);
}

/** A deploy may have removed the folder that we stand in. */
function here(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

function nameIn([program = '', ...args]: readonly string[], folder: string): string {
  const own = basename(program).replace(/\.(exe|cmd)$/i, '');
  if (RUNS_PACKAGE.test(own)) return packageOf(folder) ?? own;
  const ofPackage = SCRIPT_OF_PACKAGE.test(own);
  if (!ofPackage && !SCRIPT_ALONE.test(own)) return own;
  const script = scriptOf(args, folder);
  if (script === null) return own;
  return (ofPackage ? packageOf(dirname(resolve(folder, script))) : null) ?? basename(script);
}

/** The first argument that is a file, or the module of `-m`; null when the program is given as text. */
function scriptOf(args: readonly string[], folder: string): string | null {
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    if (INLINE.test(arg)) return null;
    if (arg === '-m') return args[i + 1] ?? null;
    if (WITH_VALUE.test(arg)) i++;
    else if (!arg.startsWith('-') && isFile(resolve(folder, arg))) return arg;
  }
  return null;
}

/** The name in the nearest package.json that has one; null when there is none up to the root. */
function packageOf(folder: string): string | null {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const name = nameOfPackage(resolve(at, 'package.json'));
    if (name !== null) return name;
    if (dirname(at) === at) return null;
  }
}

function nameOfPackage(file: string): string | null {
  try {
    const { name } = JSON.parse(readFileSync(file, 'utf8')) as { readonly name?: unknown };
    return typeof name === 'string' && name !== '' ? name : null;
  } catch {
    return null;
  }
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    // Too long for a name, say, or in a folder that is closed to us.
    return false;
  }
}
