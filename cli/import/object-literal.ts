/**
 * Reads the object literal of a JavaScript configuration file without running any of it: objects, arrays, strings,
 * numbers, true, false, null, comments and trailing commas. Anything else is an error that names its line.
 */
import { UnreadableLine } from './imported.ts';

export type Literal = string | number | boolean | null | readonly Located[] | ReadonlyMap<string, Located>;

export interface Located {
  readonly line: number;
  readonly value: Literal;
}

const MAX_DEPTH = 50;
const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  b: '\b',
  f: '\f',
  v: '\v',
  0: '\0',
};

/** The literal that the file exports; its fields may also stand there without braces. JSON is read too. */
export function readObjectLiteral(text: string): ReadonlyMap<string, Located> {
  return new ObjectLiteral(text).read();
}

class ObjectLiteral {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  read(): ReadonlyMap<string, Located> {
    this.#space();
    const strict = /^(['"])use strict\1\s*;?/.exec(this.#rest(40));
    if (strict !== null) this.#skip(strict[0].length);
    this.#space();
    const head = /^(?:(?:module\.)?exports(?:\.\w+)?|(?:var|let|const)\s+\w+)\s*=\s*/.exec(this.#rest(200));
    if (head !== null) this.#skip(head[0].length);
    this.#space();
    const braced = this.#text[this.#at] === '{';
    if (braced) this.#skip(1);
    const fields = this.#fields(braced ? '}' : '', 0);
    this.#space();
    if (this.#text[this.#at] === ';') this.#skip(1);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('expected the end of the file after its object');
    return fields;
  }

  #fields(close: string, depth: number): ReadonlyMap<string, Located> {
    const fields = new Map<string, Located>();
    for (;;) {
      this.#space();
      if (this.#ended(close)) return fields;
      const key = this.#key();
      this.#space();
      if (this.#text[this.#at] !== ':') this.#fail(`expected a colon after '${key}'`);
      this.#skip(1);
      this.#space();
      const line = this.#line;
      fields.set(key, { line, value: this.#value(depth + 1) });
      this.#separator(close);
    }
  }

  #items(depth: number): Located[] {
    const items: Located[] = [];
    for (;;) {
      this.#space();
      if (this.#ended(']')) return items;
      const line = this.#line;
      items.push({ line, value: this.#value(depth + 1) });
      this.#separator(']');
    }
  }

  #value(depth: number): Literal {
    if (depth > MAX_DEPTH) this.#fail('too deep');
    const first = this.#text[this.#at];
    if (first === '{') {
      this.#skip(1);
      return this.#fields('}', depth);
    }
    if (first === '[') {
      this.#skip(1);
      return this.#items(depth);
    }
    if (first === '"' || first === "'") return this.#string(first);
    const word = /^-?[\w.]+/.exec(this.#rest(100))?.[0] ?? '';
    const value = literalOf(word);
    if (value === undefined)
      this.#fail(
        `'${word === '' ? (first ?? 'the end') : word}' is not a value that can be read without running it`,
      );
    this.#skip(word.length);
    return value;
  }

  #key(): string {
    const first = this.#text[this.#at];
    if (first === '"' || first === "'") return this.#string(first);
    const key = /^[\w$]+/.exec(this.#rest(200))?.[0];
    if (key === undefined) return this.#fail(`expected the name of a field, found '${first ?? 'the end'}'`);
    this.#skip(key.length);
    return key;
  }

  #string(quote: string): string {
    this.#skip(1);
    let text = '';
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === '\n') return this.#fail('a string without its end');
      this.#skip(1);
      if (char === quote) return text;
      if (char !== '\\') {
        text += char;
        continue;
      }
      const escaped = this.#text[this.#at] ?? '';
      const unicode = /^u([0-9a-fA-F]{4})|^x([0-9a-fA-F]{2})/.exec(this.#rest(5));
      if (unicode === null) {
        text += ESCAPES[escaped] ?? escaped;
        this.#skip(1);
      } else {
        text += String.fromCharCode(Number.parseInt((unicode[1] ?? unicode[2]) as string, 16));
        this.#skip(unicode[0].length);
      }
    }
  }

  #separator(close: string): void {
    this.#space();
    if (this.#text[this.#at] === ',') this.#skip(1);
    else if (!this.#atEnd(close))
      this.#fail(`expected a comma, found '${this.#text[this.#at] ?? 'the end'}'`);
  }

  #atEnd(close: string): boolean {
    return close === '' ? this.#at >= this.#text.length : this.#text[this.#at] === close;
  }

  #ended(close: string): boolean {
    if (!this.#atEnd(close)) {
      if (this.#at >= this.#text.length) this.#fail(`the end is missing: '${close}'`);
      return false;
    }
    this.#skip(close.length);
    return true;
  }

  /** White space and comments. */
  #space(): void {
    for (;;) {
      const space = /^\s+|^\/\/[^\n]*/.exec(this.#rest(4_096))?.[0];
      if (space !== undefined) {
        this.#skip(space.length);
        continue;
      }
      if (!this.#text.startsWith('/*', this.#at)) return;
      const end = this.#text.indexOf('*/', this.#at + 2);
      if (end < 0) this.#fail('a comment without its end');
      this.#skip(end + 2 - this.#at);
    }
  }

  #rest(length: number): string {
    return this.#text.slice(this.#at, this.#at + length);
  }

  #skip(length: number): void {
    for (let i = 0; i < length; i++) if (this.#text[this.#at + i] === '\n') this.#line++;
    this.#at += length;
  }

  #fail(message: string): never {
    throw new UnreadableLine(this.#line, message);
  }
}

function literalOf(word: string): string | number | boolean | null | undefined {
  if (word === 'true' || word === 'false') return word === 'true';
  if (word === 'null' || word === 'undefined') return null;
  return /^-?\d+(?:\.\d+)?$/.test(word) ? Number(word) : undefined;
}
