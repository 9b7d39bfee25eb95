/** The tables of docs/conformance.md, and whether a file of tests has a test of a name, read from its source. */
import { readFileSync } from 'node:fs';
import { packageRoot } from '../shared/package-root.ts';

export interface Row {
  readonly rule: string;
  /** From the root of the package. */
  readonly file: string;
  readonly test: string;
}

/** Every row of the tables of rules. */
export function conformanceRows(): Row[] {
  const rows: Row[] = [];
  for (const line of readFileSync(packageRoot('docs/conformance.md'), 'utf8').split('\n')) {
    const cells = /^\| (.*) \| `([^`]+\.test\.ts)` \| (?:`([^`]*)`)? *\|$/.exec(line);
    if (cells === null) continue;
    rows.push({ rule: cells[1] as string, file: cells[2] as string, test: cells[3] ?? '' });
  }
  return rows;
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Whether `source` makes a test or a suite of that name: written out, from a template, or from the keys of a table. */
export function hasTest(source: string, name: string): boolean {
  for (const [, quote, text] of source.matchAll(/\b(?:it|test|describe)\(\s*(['"`])((?:\\.|(?!\1).)+)\1/g)) {
    const title = (text as string).replace(/\\(['"`])/g, '$1');
    if (title === name) return true;
    if (quote !== '`' || !title.includes('${')) continue;
    const parts = title.split(/\$\{(?:[^{}]|\{[^}]*\})*\}/).map(escaped);
    const values = new RegExp(`^${parts.join('(.+)')}$`).exec(name)?.slice(1);
    if (values?.every((value) => isWritten(source, value))) return true;
  }
  return /\b(?:it|test)\((?:name|what),/.test(source) && isKey(source, name);
}

const isKey = (source: string, text: string) =>
  source.includes(`'${text}':`) || new RegExp(`^\\s*${escaped(text)}:`, 'm').test(source);

const isWritten = (source: string, text: string) =>
  /^\d+$/.test(text) || isKey(source, text) || source.includes(`'${text}'`);
