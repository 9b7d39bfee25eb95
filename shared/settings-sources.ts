/**
 * Collects the raw text of settings from flags, environment and file, and refuses what nobody declared. It knows names
 * only; values are read by `settings.ts`. No message repeats a value, since any of them may hold a credential.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { KontrolError } from './errors.ts';
import { nearest } from './nearest.ts';
import { showable } from './settings-values.ts';

/** What must be known of a setting to find it. */
export interface SettingName {
  /** Without dashes, like `access-log`; also its key in the file. */
  readonly flag: string;
  readonly variable: string;
  /** False for credentials: a flag is visible to every user of the machine. */
  readonly asFlag: boolean;
  /** Whether the setting does anything in this command. Environment and file may be shared, so only a flag is warned about. */
  readonly belongs: boolean;
}

export interface RawSetting {
  readonly text: string;
  /** How a message names the place: `--http`, `KONTROL_HTTP` or `kontrol.yaml: http`. */
  readonly from: string;
  readonly source: 'flag' | 'environment' | 'file';
}

export interface RawSettings {
  readonly byFlag: ReadonlyMap<string, RawSetting>;
  readonly warnings: readonly string[];
}

/** Known, but no settings: those of the CLI, the place of the file, and the mark of a child of `kontrol up`. */
const OTHER_VARIABLES = new Set(['KONTROL_URL', 'KONTROL_TOKEN', 'KONTROL_CONFIG', 'KONTROL_SUPERVISED']);

export function invalid(message: string): KontrolError {
  return new KontrolError('setting_invalid', message);
}

export function collect(
  names: readonly SettingName[],
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  command: string,
): RawSettings {
  const byFlag = new Map<string, RawSetting>();
  const flags = fromFlags(names, argv);
  const file = flags.get('config')?.text || env['KONTROL_CONFIG'];
  if (file !== undefined && file !== '') add(byFlag, fromFile(names, file, flags.has('config')));
  add(byFlag, fromEnvironment(names, env));
  add(byFlag, flags);
  byFlag.delete('config');
  const idle = names.filter((name) => !name.belongs && flags.has(name.flag));
  const warnings = idle.map((name) => `--${name.flag} does nothing in kontrol ${command}`);
  return { byFlag, warnings: [...warnings, ...unknownVariables(names, env)] };
}

function add(to: Map<string, RawSetting>, from: ReadonlyMap<string, RawSetting>): void {
  for (const [flag, raw] of from) to.set(flag, raw);
}

/** `--flag value` and `--flag=value`; the last one of a name counts. */
function fromFlags(names: readonly SettingName[], argv: readonly string[]): Map<string, RawSetting> {
  const found = new Map<string, RawSetting>();
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    if (!argument.startsWith('--') || argument === '--') {
      throw invalid(`unexpected argument "${showable(argument)}": settings are given as --flag value`);
    }
    const equals = argument.indexOf('=');
    const flag = argument.slice(2, equals < 0 ? undefined : equals);
    refuseFlag(names, flag);
    const next = argv[i + 1];
    if (equals < 0 && (next === undefined || next.startsWith('--'))) {
      throw invalid(`--${flag} needs a value; give --${flag}=VALUE`);
    }
    const text = equals < 0 ? (next as string) : argument.slice(equals + 1);
    if (equals < 0) i++;
    found.set(flag, { text, from: `--${flag}`, source: 'flag' });
  }
  return found;
}

function refuseFlag(names: readonly SettingName[], flag: string): void {
  if (flag === 'config') return;
  const name = names.find((candidate) => candidate.flag === flag);
  if (name === undefined) {
    const usable = names.filter((candidate) => candidate.asFlag);
    const guess = nearest(
      flag,
      usable.map((candidate) => candidate.flag),
    );
    throw invalid(
      `unknown flag --${showable(flag)}${guess === null ? '; see --help' : `; did you mean --${guess}?`}`,
    );
  }
  if (!name.asFlag) {
    throw invalid(
      `--${flag} is no flag, since every user of this machine could read it; set ${name.variable}`,
    );
  }
}

function fromEnvironment(
  names: readonly SettingName[],
  env: Readonly<Record<string, string | undefined>>,
): Map<string, RawSetting> {
  const found = new Map<string, RawSetting>();
  for (const { flag, variable } of names) {
    const text = env[variable];
    if (text !== undefined) found.set(flag, { text, from: variable, source: 'environment' });
  }
  return found;
}

function unknownVariables(
  names: readonly SettingName[],
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const known = names.map((name) => name.variable);
  return Object.keys(env)
    .filter((variable) => variable.startsWith('KONTROL_'))
    .filter((variable) => !OTHER_VARIABLES.has(variable) && !known.includes(variable))
    .sort()
    .map((variable) => {
      const plain = variable.slice('KONTROL_'.length);
      const guess = known.includes(plain) ? plain : nearest(variable, known);
      return `unknown variable ${showable(variable)} is ignored${guess === null ? '' : `; did you mean ${guess}?`}`;
    });
}

function fromFile(names: readonly SettingName[], file: string, byFlag: boolean): Map<string, RawSetting> {
  const place = showable(file);
  const found = new Map<string, RawSetting>();
  for (const [key, value] of Object.entries(parseFile(file, place, byFlag ? '--config' : 'KONTROL_CONFIG'))) {
    const name = names.find((candidate) => candidate.flag === key);
    if (name === undefined) {
      const guess = nearest(
        key,
        names.map((candidate) => candidate.flag),
      );
      throw invalid(
        `${place}: unknown key ${showable(key)}${guess === null ? '; see --help' : `; did you mean ${guess}?`}`,
      );
    }
    const from = `${place}: ${key}`;
    const text = scalarText(value, from);
    if (text !== null) found.set(key, { text, from, source: 'file' });
  }
  return found;
}

/** A scalar as text, a list of scalars with commas; null for a key without a value. */
function scalarText(value: unknown, from: string): string | null {
  if (value === null || value === undefined) return null;
  const items = Array.isArray(value) ? value : [value];
  if (!items.every((item) => typeof item === 'string' || typeof item === 'number')) {
    throw invalid(`${from}: expected text, a number, or a list of them`);
  }
  return items.join(',');
}

function parseFile(file: string, place: string, from: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw invalid(
      `${from}: cannot read ${place} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`,
    );
  }
  // Loaded only when there is a file: most processes never need the 8 MB of a YAML parser.
  const yaml = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  const lines = new yaml.LineCounter();
  // Pretty errors quote the source, which may hold a credential.
  const document = yaml.parseDocument(text, { prettyErrors: false, lineCounter: lines });
  const problem = document.errors[0];
  if (problem !== undefined) {
    throw invalid(`${place}: not valid YAML at line ${lines.linePos(problem.pos[0]).line} (${problem.code})`);
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch {
    throw invalid(`${place}: not valid YAML (its aliases do not resolve)`);
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw invalid(`${place}: expected a map of settings like "http: :8080"`);
  }
  return value as Record<string, unknown>;
}
