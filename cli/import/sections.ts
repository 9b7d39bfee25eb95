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

/**
 * `separator` stands between key and value: `=`, or white space. Comments begin with `#` or `;`. With `=`, where that is
 * the rule, a section that stands twice is one, and a comment may follow a value.
 */
export function readSections(text: string, separator: '=' | ' '): Section[] {
  const sections: { name: string; line: number; entries: SectionEntry[] }[] = [];
  let section: (typeof sections)[number] | undefined;
  text.split(/\r?\n/).forEach((raw, index) => {
    const line = index + 1;
    const content = raw.trim();
    if (content === '' || content.startsWith('#') || content.startsWith(';')) return;
    const name = /^\[\s*([^\]]+?)\s*\]$/.exec(content)?.[1];
    if (name !== undefined) {
      section = separator === '=' ? sections.find((known) => known.name === name) : undefined;
      if (section === undefined) {
        section = { name, line, entries: [] };
        sections.push(section);
      }
      return;
    }
    if (section === undefined) throw new UnreadableLine(line, 'this stands before the first [section]');
    const parts = separator === '=' ? /^([^=]+?)\s*=\s*(.*)$/.exec(content) : /^(\S+)\s+(.*)$/.exec(content);
    if (parts === null) throw new UnreadableLine(line, `expected a key and a value, found '${content}'`);
    const value = separator === '=' ? withoutComment(parts[2] as string) : (parts[2] as string);
    section.entries.push({ key: parts[1] as string, value, line });
  });
  return sections;
}

function withoutComment(value: string): string {
  return value.replace(/(^|\s+)[#;].*$/, '');
}

/** A whole number of a value, or null with no more ado. */
export function wholeNumber(value: string): number | null {
  return /^\d{1,9}$/.test(value) ? Number(value) : null;
}
