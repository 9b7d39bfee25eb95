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

export class Imported {
  /** Fields that every service gets, whatever file it came from. */
  readonly ofEveryService: Record<string, unknown> = {};
  /** `--http :8080` and the like, in the order in which they were found. */
  readonly flags: string[] = [];
  readonly remarks: Remark[] = [];
  readonly #objects: ImportedObject[] = [];
  readonly #names = new Set<string>();
  #file = '';

  get objects(): readonly ImportedObject[] {
    return this.#objects.map((object) =>
      object.kind === 'service' ? { ...object, ...this.ofEveryService } : object,
    );
  }

  /** Remarks are about this file from now on. */
  enter(file: string): void {
    this.#file = file;
  }

  add(object: ImportedObject): void {
    this.#names.add(`${object.kind}/${object.name}`);
    this.#objects.push(object);
  }

  /** Adds a service under a name made of `wanted` that is not taken yet; answers the name. */
  addService(wanted: string, fields: Readonly<Record<string, unknown>>): string {
    const name = this.freeName('service', wanted);
    this.add({ kind: 'service', name, ...fields });
    return name;
  }

  freeName(kind: Kind, wanted: string): string {
    const base = nameFrom(wanted);
    let name = base;
    for (let n = 2; this.#names.has(`${kind}/${name}`); n++) name = `${base}-${n}`;
    return name;
  }

  /** Something is not carried over, or not wholly. */
  say(line: number, text: string): void {
    this.remarks.push({ file: this.#file, line, text });
  }

  flag(flag: string): void {
    if (!this.flags.includes(flag)) this.flags.push(flag);
  }
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
