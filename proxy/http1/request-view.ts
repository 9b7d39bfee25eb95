/**
 * A request as the decision, the balance policies and the log see it. Strings are made when they are asked for, once
 * per request, and the host of a connection's last request is reused while the bytes are the same.
 */
import type { TlsOfRequest } from '../../shared/routing/client-authority.ts';
import type { RequestView } from '../../shared/routing/decision.ts';
import type { PickRequest } from '../upstream/contract.ts';
import { canonicalHost } from './authority.ts';
import { asciiBytes, equalBytes } from './bytes.ts';
import type { ClientIdentity } from './client-identity.ts';
import { NAMED_BY_CONNECTION } from './field-kinds.ts';
import type { FieldLines } from './field-lines.ts';
import type { RequestHead } from './request-head.ts';

const NO_IDENTITY: ClientIdentity = { address: '', secure: false, port: 0 };
const names = new Map<string, Uint8Array>();
/** Names are asked for by rules and routes, a handful; the bound is for the unexpected. */
const MAX_NAMES = 1_000;

export class HttpRequestView implements RequestView, PickRequest {
  now = 0;
  identity: ClientIdentity = NO_IDENTITY;
  /** Of the connection; set once. */
  tls: TlsOfRequest | null = null;
  readonly #head: RequestHead;
  #target: string | null = null;
  /** A bit for each length that names of its fields have (modulo 32); 0 until it is asked for. */
  #lengths = 0;
  #host: string | null = null;
  #hostBytes: Buffer = Buffer.alloc(0);

  constructor(head: RequestHead) {
    this.#head = head;
  }

  /** A new request stands in the head. */
  begin(identity: ClientIdentity, now: number): void {
    this.identity = identity;
    this.now = now;
    this.#target = null;
    this.#lengths = 0;
    const head = this.#head;
    const { buffer, base } = head.fields;
    const start = base + head.authorityStart;
    const end = base + head.hostEnd;
    if (this.#host === null || !equalBytes(buffer, start, end, this.#hostBytes, 0, this.#hostBytes.length)) {
      this.#host = start === end ? '' : canonicalHost(head.text(head.authorityStart, head.hostEnd));
      // Last: never the name of one request beside the bytes of another.
      this.#hostBytes = Buffer.from(buffer.subarray(start, end));
    }
  }

  get secure(): boolean {
    return this.identity.secure;
  }
  get port(): number {
    return this.identity.port;
  }
  get address(): string {
    return this.identity.address;
  }
  get host(): string {
    return this.#host ?? '';
  }
  get method(): string {
    return this.#head.method;
  }
  get websocket(): boolean {
    return this.#head.websocket;
  }

  /** Path and query as received; `/` for an absolute form without path. */
  get target(): string {
    if (this.#target === null) {
      const head = this.#head;
      const received = head.asterisk ? '*' : head.text(head.pathStart, head.queryEnd);
      this.#target = received.startsWith('/') || head.asterisk ? received : `/${received}`;
    }
    return this.#target;
  }

  get rawPath(): string {
    const length = this.#head.pathEnd - this.#head.pathStart;
    return this.#head.asterisk ? '*' : this.target.slice(0, Math.max(length, 1));
  }

  get query(): string {
    return this.#head.text(this.#head.pathEnd, this.#head.queryEnd);
  }

  header(name: string): string | undefined {
    const fields = this.#head.fields;
    if (this.#lengths === 0) this.#lengths = lengthsOf(fields);
    // Most that is asked for is not there.
    if ((this.#lengths & (1 << (name.length & 31))) === 0) return undefined;
    const bytes = nameBytes(name);
    let value: string | undefined;
    for (let i = 0; i < fields.count; i++) {
      if (!fields.nameIs(i, bytes)) continue;
      const next = fields.value(i);
      value = value === undefined ? next : `${value}${name === 'cookie' ? '; ' : ', '}${next}`;
    }
    return value;
  }

  single(name: string): string | undefined {
    const { fields } = this.#head;
    const bytes = nameBytes(name);
    let found = -1;
    for (let i = 0; i < fields.count; i++) {
      if (!fields.nameIs(i, bytes)) continue;
      if (found !== -1 || fields.kinds[i] === NAMED_BY_CONNECTION) return undefined;
      found = i;
    }
    return found === -1 ? undefined : fields.value(found);
  }
}

function lengthsOf(fields: FieldLines): number {
  let lengths = 0;
  for (let i = 0; i < fields.count; i++) lengths |= 1 << ((fields.nameEnd(i) - fields.nameStart(i)) & 31);
  return lengths;
}

function nameBytes(name: string): Uint8Array {
  let bytes = names.get(name);
  if (bytes === undefined) {
    bytes = asciiBytes(name);
    if (names.size < MAX_NAMES) names.set(name, bytes);
  }
  return bytes;
}
