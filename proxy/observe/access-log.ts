/**
 * The access log: one line per request, JSON or combined, built as bytes straight in the buffer that is written. A line
 * has at most 4096 bytes, so that the lines of several processes do not mix in a pipe.
 */
import type { LineSink } from '../../shared/log-destination.ts';
import { type Fragment, fragment, LineWriter } from './line-writer.ts';
import type { RequestRecord } from './record.ts';

/** Longest line; the bounds below add up to less. */
export const MAX_LINE = 4_096;

/** Most bytes of each text, after escaping. */
const ROOM = {
  id: 96,
  address: 48,
  method: 40,
  host: 272,
  target: 1_536,
  referer: 400,
  userAgent: 400,
  domain: 260,
  service: 132,
  backend: 160,
  rule: 132,
} as const;

export interface AccessLog {
  write(record: RequestRecord): void;
}

export function createAccessLog(format: 'json' | 'combined', sink: LineSink): AccessLog {
  return format === 'json' ? new JsonAccessLog(sink) : new CombinedAccessLog(sink);
}

const TIME = fragment('{"time":"');
const ID = fragment('Z","id":"');
const ADDRESS = fragment('","address":"');
const PROTOCOL = fragment('","protocol":"');
const SECURE = fragment('","secure":true,"method":"');
const INSECURE = fragment('","secure":false,"method":"');
const HOST = fragment('","host":"');
const TARGET = fragment('","target":"');
const STATUS = fragment('","status":');
const BYTES_IN = fragment(',"bytesIn":');
const BYTES_OUT = fragment(',"bytesOut":');
const TOTAL_MS = fragment(',"totalMs":');
const QUEUE_MS = fragment(',"queueMs":');
const CONNECT_MS = fragment(',"connectMs":');
const FIRST_BYTE_MS = fragment(',"firstByteMs":');
const ROUTE = fragment(',"route":');
const KEY = fragment(',"key":');
const BACKEND_STATUS = fragment(',"backendStatus":');
const RETRIES = fragment(',"retries":');
const DOMAIN = fragment(',"domain":"');
const SERVICE = fragment(',"service":"');
const BACKEND = fragment(',"backend":"');
const RULE = fragment(',"rule":"');
const CACHE = fragment(',"cache":"');
const CAUSE = fragment(',"cause":"');
const PHASE = fragment(',"phase":"');
const ENDED_BY = fragment('","endedBy":"');
const REFERER = fragment(',"referer":"');
const USER_AGENT = fragment(',"userAgent":"');
const QUOTE = fragment('"');
const END = fragment('}\n');

/** JSON with the names of RequestRecord; what is null there is left out. */
class JsonAccessLog implements AccessLog {
  readonly #sink: LineSink;
  readonly #line = new LineWriter('json');
  readonly #clock = new SecondText((at) => new Date(at).toISOString().slice(0, 19));

  constructor(sink: LineSink) {
    this.#sink = sink;
  }

  write(record: RequestRecord): void {
    const start = this.#sink.claim(MAX_LINE);
    if (start < 0) return;
    const line = this.#line;
    line.begin(this.#sink.buffer, start);
    line.raw(TIME);
    line.raw(this.#clock.of(record.at));
    line.decimals(this.#clock.millisecond);
    line.raw(ID);
    line.text(record.id, ROOM.id);
    line.raw(ADDRESS);
    line.text(record.address, ROOM.address);
    line.raw(PROTOCOL);
    line.text(record.protocol, 16);
    line.raw(record.secure ? SECURE : INSECURE);
    line.text(record.method, ROOM.method);
    line.raw(HOST);
    line.text(record.host, ROOM.host);
    line.raw(TARGET);
    line.text(record.target, ROOM.target);
    line.raw(STATUS);
    line.integer(record.status);
    line.raw(BYTES_IN);
    line.integer(record.bytesIn);
    line.raw(BYTES_OUT);
    line.integer(record.bytesOut);
    line.raw(TOTAL_MS);
    line.milliseconds(record.totalMs);
    this.#phases(record);
    this.#destination(record);
    line.raw(PHASE);
    line.text(record.phase, 16);
    line.raw(ENDED_BY);
    line.text(record.endedBy, 16);
    line.raw(QUOTE);
    this.#quoted(REFERER, record.referer, ROOM.referer);
    this.#quoted(USER_AGENT, record.userAgent, ROOM.userAgent);
    line.raw(END);
    this.#sink.commit(line.at);
  }

  #phases(record: RequestRecord): void {
    const line = this.#line;
    if (record.queueMs !== null) {
      line.raw(QUEUE_MS);
      line.milliseconds(record.queueMs);
    }
    if (record.connectMs !== null) {
      line.raw(CONNECT_MS);
      line.milliseconds(record.connectMs);
    }
    if (record.firstByteMs !== null) {
      line.raw(FIRST_BYTE_MS);
      line.milliseconds(record.firstByteMs);
    }
  }

  #destination(record: RequestRecord): void {
    const line = this.#line;
    this.#quoted(DOMAIN, record.domain, ROOM.domain);
    if (record.route !== null) {
      line.raw(ROUTE);
      line.integer(record.route);
    }
    this.#quoted(SERVICE, record.service, ROOM.service);
    if (record.key !== null) {
      line.raw(KEY);
      line.integer(record.key);
    }
    this.#quoted(BACKEND, record.backend, ROOM.backend);
    if (record.backendStatus !== 0) {
      line.raw(BACKEND_STATUS);
      line.integer(record.backendStatus);
    }
    if (record.retries !== 0) {
      line.raw(RETRIES);
      line.integer(record.retries);
    }
    this.#quoted(RULE, record.rule, ROOM.rule);
    this.#quoted(CACHE, record.cache, 16);
    this.#quoted(CAUSE, record.cause, 32);
  }

  #quoted(name: Fragment, text: string | null, room: number): void {
    if (text === null) return;
    const line = this.#line;
    line.raw(name);
    line.text(text, room);
    line.raw(QUOTE);
  }
}

const NOBODY = fragment(' - - [');
const ZONE = fragment(' +0000] "');
const SPACE = fragment(' ');
const QUOTE_SPACE = fragment('" ');
const SPACE_QUOTE = fragment(' "');
const QUOTE_QUOTE = fragment('" "');
const DASH = fragment('-');
const QUOTE_END = fragment('"\n');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** The format of Apache and nginx of that name, in UTC: `address - - [time] "request" status bytes "referer" "agent"`. */
class CombinedAccessLog implements AccessLog {
  readonly #sink: LineSink;
  readonly #line = new LineWriter('hex');
  readonly #clock = new SecondText((at) => {
    const iso = new Date(at).toISOString();
    return `${iso.slice(8, 10)}/${MONTHS[Number(iso.slice(5, 7)) - 1]}/${iso.slice(0, 4)}:${iso.slice(11, 19)}`;
  });

  constructor(sink: LineSink) {
    this.#sink = sink;
  }

  write(record: RequestRecord): void {
    const start = this.#sink.claim(MAX_LINE);
    if (start < 0) return;
    const line = this.#line;
    line.begin(this.#sink.buffer, start);
    line.text(record.address === '' ? '-' : record.address, ROOM.address);
    line.raw(NOBODY);
    line.raw(this.#clock.of(record.at));
    line.raw(ZONE);
    if (record.method === '') {
      line.raw(DASH);
    } else {
      line.text(record.method, ROOM.method);
      line.raw(SPACE);
      line.text(record.target, ROOM.target);
      line.raw(SPACE);
      line.text(record.protocol === 'websocket' ? 'HTTP/1.1' : record.protocol, 16);
    }
    line.raw(QUOTE_SPACE);
    line.integer(record.status);
    line.raw(SPACE);
    line.integer(record.bytesOut);
    line.raw(SPACE_QUOTE);
    line.text(record.referer ?? '-', ROOM.referer);
    line.raw(QUOTE_QUOTE);
    line.text(record.userAgent ?? '-', ROOM.userAgent);
    line.raw(QUOTE_END);
    this.#sink.commit(line.at);
  }
}

/** The text of a second, made once for all the requests in it. */
class SecondText {
  /** Milliseconds past that second, of the last `of`. */
  millisecond = 0;
  readonly #format: (at: number) => string;
  #second = -1;
  #text: Fragment = fragment('');

  constructor(format: (at: number) => string) {
    this.#format = format;
  }

  /** `at`: milliseconds since 1970; what is no time at all counts as 1970. */
  of(at: number): Fragment {
    const time = at >= 0 && at < 253_402_300_800_000 ? Math.floor(at) : 0;
    const second = Math.floor(time / 1_000);
    this.millisecond = time - second * 1_000;
    if (second !== this.#second) {
      this.#second = second;
      this.#text = fragment(this.#format(second * 1_000));
    }
    return this.#text;
  }
}
