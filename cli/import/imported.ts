/**
 * What the reading of another proxy's configuration brought: objects as files of ours have them, settings of the
 * process as flags, and a remark for each line whose meaning is not, or not wholly, carried over.
 */
import type { Kind } from '../../shared/model/kinds.ts';

/** An object as it stands in a file: `kind`, `name` (but for settings) and its fields. */
export type ImportedObject = { readonly kind: Kind; readonly name?: string } & Readonly<
  Record<string, unknown>
>;

export interface Remark {
  readonly file: string;
  /** From 1; 0 for the whole file. */
  readonly line: number;
  readonly text: string;
}

/** A line that cannot be read at all; nothing of the file is carried over. */
export class UnreadableLine extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

/** Reads one file of a format into `into`. Throws `UnreadableLine`. */
export type Reader = (text: string, into: Imported) => void;

/** Where something stands in the files. */
interface Place {
  readonly file: string;
  readonly line: number;
}

/** Flags whose values add up: two proxies on two ports are one on both. */
const LISTS = new Set(['--http', '--https']);
/** Such a flag that is turned off. */
export const OFF = "''";

export class Imported {
  /** Fields that every service gets, whatever file it came from. */
  readonly ofEveryService: Record<string, unknown> = {};
  readonly remarks: Remark[] = [];
  readonly #objects: { readonly object: ImportedObject; readonly place: Place }[] = [];
  readonly #names = new Set<string>();
  readonly #flags = new Map<string, { value: string; readonly place: Place }>();
  #file = '';

  get objects(): readonly ImportedObject[] {
    return this.#objects.map(({ object }) =>
      object.kind === 'service' ? { ...object, ...this.ofEveryService } : object,
    );
  }

  /** `--http :8080` and the like, in the order in which they were found. */
  get flags(): readonly string[] {
    return [...this.#flags].map(([flag, { value }]) => `${flag} ${value}`);
  }

  /** Remarks are about this file from now on. */
  enter(file: string): void {
    this.#file = file;
  }

  /** `line` is where it stands, from 1; 0 where it is made of the whole file. */
  add(object: ImportedObject, line: number): void {
    this.#names.add(`${object.kind}/${object.name}`);
    this.#objects.push({ object, place: { file: this.#file, line } });
  }

  /** Adds a service under a name made of `wanted` that is not taken yet; answers the name. */
  addService(wanted: string, fields: Readonly<Record<string, unknown>>, line: number): string {
    const name = this.freeName('service', wanted);
    this.add({ kind: 'service', name, ...fields }, line);
    return name;
  }

  freeName(kind: Kind, wanted: string): string {
    const base = nameFrom(wanted);
    let name = base;
    for (let n = 2; this.#names.has(`${kind}/${name}`); n++) name = `${base}-${n}`;
    return name;
  }

  /** `file:line` of the object at `index` among `objects`. */
  placeOf(index: number): string {
    const found = this.#objects[index];
    return found === undefined ? '?' : textOf(found.place);
  }

  /** What two places make and only one may have, each with both: one of the two has to be chosen by a person. */
  collisions(): string[] {
    const earlier = new Map<string, Place>();
    return this.#objects.flatMap(({ object, place }) => {
      const what =
        object.kind === 'listener'
          ? `port ${String(object['port'])}`
          : `${object.kind} ${object.name ?? ''}`.trim();
      const before = earlier.get(what);
      earlier.set(what, before ?? place);
      return before === undefined ? [] : [`${textOf(place)}: ${what} stands also at ${textOf(before)}`];
    });
  }

  /** Something is not carried over, or not wholly. */
  say(line: number, text: string): void {
    this.remarks.push({ file: this.#file, line, text });
  }

  /** A setting of the process. Another value for one that is there already is told, or joins it in a list. */
  flag(flag: string, value: string, line: number): void {
    const known = this.#flags.get(flag);
    if (known === undefined) this.#flags.set(flag, { value, place: { file: this.#file, line } });
    else if (LISTS.has(flag)) known.value = joined(known.value, value);
    else if (known.value !== value)
      this.say(line, `${flag} ${value} is left out: ${textOf(known.place)} says ${known.value}`);
  }
}

function joined(one: string, other: string): string {
  const values = [...one.split(','), ...other.split(',')].filter((value) => value !== OFF);
  return values.length === 0 ? OFF : [...new Set(values)].join(',');
}

function textOf({ file, line }: Place): string {
  return line === 0 ? file : `${file}:${line}`;
}

/** A valid name out of any text: `Host1:80` becomes `host1-80`. */
export function nameFrom(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, 100)
    .replace(/[^a-z0-9]+$/, '');
  return name === '' ? 'imported' : name;
}

/** Text as a part of a regular expression that matches just it. */
export function literalPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** `host:port` from text; null when it is no address of a backend. */
export function addressFrom(host: string, port: string | number): string | null {
  const bare = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return bare === '' || !/^\d{1,5}$/.test(String(port)) ? null : `${bare}:${port}`;
}
