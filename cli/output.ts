/** What commands print: tables for people, JSON for scripts. */
import { stringify } from 'yaml';

export type Format = 'table' | 'json' | 'yaml';

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

export function printYaml(values: readonly unknown[]): void {
  process.stdout.write(values.map((value) => stringify(value)).join('---\n'));
}

/** Columns are as wide as their widest cell; the last one is not padded. */
export function printTable(columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...rows.map((row) => (row[index] ?? '').length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => (index === cells.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd();
  for (const row of [columns.map((column) => column.toUpperCase()), ...rows])
    process.stdout.write(`${line(row)}\n`);
}

/** One cell: short, on one line, without control characters. */
export function cell(value: unknown, max = 60): string {
  if (value === undefined || value === null) return '-';
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a value must not move the cursor of a terminal
  const clean = text.replace(/[\x00-\x1f\x7f-\x9f]/g, '?');
  return clean.length > max ? `${clean.slice(0, max - 1)}…` : clean;
}

/** How often a terminal shows what has changed, and how often a log hears that something still goes on. */
const REDRAW_MS = 1_000;
const TELL_MS = 15_000;

/**
 * What long work is at, on `stream`, until the answer is called: one line of a terminal, cleared at the end; where
 * there is none (the log of a CI) a line now and then, so that a wait of minutes does not look like a hang.
 */
export function progress(
  text: string | (() => string),
  stream: Pick<NodeJS.WriteStream, 'write'> & { readonly isTTY?: boolean } = process.stderr,
): () => void {
  const tell = typeof text === 'string' ? () => text : text;
  if (stream.isTTY !== true) {
    const began = performance.now();
    const timer = setInterval(
      () => stream.write(`kontrol: ${tell()} (${ago(began, performance.now())} so far)\n`),
      TELL_MS,
    );
    return () => clearInterval(timer);
  }
  let shown = tell();
  stream.write(`${shown} …`);
  const timer = setInterval(() => {
    if (tell() === shown) return;
    shown = tell();
    stream.write(`\r\x1b[2K${shown} …`);
  }, REDRAW_MS);
  return () => {
    clearInterval(timer);
    stream.write('\r\x1b[2K');
  };
}

/** `3s`, `12m`, `4h`, `9d`: how long ago a moment in milliseconds was. */
export function ago(at: number, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - at) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.round(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}
