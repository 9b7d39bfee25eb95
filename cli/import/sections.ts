/** Files of `[section]` and one key with its value a line, as the .ini and .conf of other proxies are. */
import { UnreadableLine } from './imported.ts';

export interface SectionEntry {
  readonly key: string;
  readonly value: string;
  readonly line: number;
}

export interface Section {
  readonly name: string;
  readonly line: number;
  readonly entries: readonly SectionEntry[];
}

/** `separator` stands between key and value: `=`, or white space. Comments begin with `#` or `;`. */
export function readSections(text: string, separator: '=' | ' '): Section[] {
  const sections: { name: string; line: number; entries: SectionEntry[] }[] = [];
  text.split(/\r?\n/).forEach((raw, index) => {
    const line = index + 1;
    const content = raw.trim();
    if (content === '' || content.startsWith('#') || content.startsWith(';')) return;
    const header = /^\[\s*([^\]]+?)\s*\]$/.exec(content);
    if (header !== null) {
      sections.push({ name: header[1] as string, line, entries: [] });
      return;
    }
    const section = sections.at(-1);
    if (section === undefined) throw new UnreadableLine(line, 'this stands before the first [section]');
    const parts = separator === '=' ? /^([^=]+?)\s*=\s*(.*)$/.exec(content) : /^(\S+)\s+(.*)$/.exec(content);
    if (parts === null) throw new UnreadableLine(line, `expected a key and a value, found '${content}'`);
    section.entries.push({ key: parts[1] as string, value: parts[2] as string, line });
  });
  return sections;
}

/** A whole number of a value, or null with no more ado. */
export function wholeNumber(value: string): number | null {
  return /^\d{1,9}$/.test(value) ? Number(value) : null;
}
