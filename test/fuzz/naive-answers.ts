/** What a client makes of the answers it gets, read as naively as requests are in `naive.ts`. */
import { naiveChunks } from './naive.ts';

export interface NaiveAnswer {
  readonly status: number;
  readonly body: string;
}

export interface NaiveAnswers {
  /** Complete final answers, in order. */
  readonly answers: readonly NaiveAnswer[];
  /** Why the bytes are no sequence of answers; null when they are, apart from a last one that broke off. */
  readonly wrong: string | null;
  /** The last one broke off. */
  readonly cut: boolean;
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-5]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
const FIELD = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[ \t]*([\t\x20-\x7e\x80-\xff]*)$/;

/** Reads the answers to requests with these methods, all that came until the connection ended. */
export function naiveAnswers(text: string, methods: readonly string[]): NaiveAnswers {
  const answers: NaiveAnswer[] = [];
  let rest = text;
  const ends = (wrong: string | null, cut = false): NaiveAnswers => ({ answers, wrong, cut });
  while (rest !== '') {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return ends(null, true);
    const [statusLine = '', ...lines] = rest.slice(0, end).split('\r\n');
    rest = rest.slice(end + 4);
    const status = Number(STATUS_LINE.exec(statusLine)?.[1]);
    if (Number.isNaN(status)) return ends(`status line ${JSON.stringify(statusLine)}`);
    const bad = lines.find((line) => !FIELD.test(line));
    if (bad !== undefined) return ends(`field ${JSON.stringify(bad)}`);
    const all = (name: string) =>
      lines
        .filter((line) => line.toLowerCase().startsWith(`${name}:`))
        .map((line) => line.slice(name.length + 1).trim());
    const [lengths, codings] = [all('content-length'), all('transfer-encoding')];
    if (lengths.length + codings.length > 1) return ends('two framings');
    if (status < 200) {
      if (lengths.length + codings.length > 0) return ends('a framed interim answer');
      continue;
    }
    if (all('date').length !== 1) return ends(`${all('date').length} dates`);
    const method = methods[answers.length] ?? 'GET';
    const close = all('connection').includes('close');
    if (method === 'HEAD' || status === 204 || status === 304) answers.push({ status, body: '' });
    else if (codings.length === 1) {
      if (codings[0] !== 'chunked') return ends(`coding ${codings[0]}`);
      const body = naiveChunks(rest);
      if (body === null) return ends(null, true);
      answers.push({ status, body: body.data });
      rest = rest.slice(body.length);
    } else if (lengths.length === 1) {
      if (!/^\d+$/.test(lengths[0] as string)) return ends(`length ${lengths[0]}`);
      const length = Number(lengths[0]);
      if (rest.length < length) return ends(null, true);
      answers.push({ status, body: rest.slice(0, length) });
      rest = rest.slice(length);
    } else {
      if (!close) return ends('a body until the end without Connection: close');
      answers.push({ status, body: rest });
      rest = '';
    }
    if (close && rest !== '') return ends(`bytes behind the last answer: ${JSON.stringify(rest)}`);
  }
  return ends(null);
}
