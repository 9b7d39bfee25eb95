/**
 * The head a backend gets: the client's, copied as slices, without what stays on its hop, with what the proxy vouches
 * for (behaviour.md, Headers) and with the changes of the route. The body is framed as it was received.
 */
import type { FieldChanges, Forward } from '../../shared/routing/decision.ts';
import { SPACE } from './bytes.ts';
import type { ClientIdentity } from './client-identity.ts';
import * as kind from './field-kinds.ts';
import type { Outbox } from './outbox.ts';
import type { RequestHead } from './request-head.ts';
import { VIA } from './via.ts';

/** Who asks: the connection or stream of a client. */
export interface RequestSource {
  /** What the client speaks; the head is that of HTTP/1.x all the same. */
  readonly protocol: keyof typeof VIA;
  readonly head: RequestHead;
  readonly identity: ClientIdentity;
  /** The peer is a trusted proxy: its forwarding fields are kept and added to. */
  readonly trusted: boolean;
  /** Address of the peer itself, for X-Forwarded-For; empty when it has none. */
  readonly peer: string;
  /** `forwardingText` of a peer that is not trusted: the same for every request of a connection. */
  readonly forwarding: string;
  /** `clientCertificateFields` of the connection. */
  readonly clientFields?: string;
}

export interface RequestWriting {
  readonly visitor: RequestSource;
  readonly decision: Forward;
  readonly requestId: string;
  readonly via: boolean;
}

const ZERO = 0x30;
/** Room for what is added to a head; it grows if need be. */
const ADDED = 1_024;
/** Fields that a route cannot set or remove: they frame the message or belong to the connection. */
const FRAMING_NAMES: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export function writeRequestHead(out: Outbox, request: RequestWriting): void {
  const { decision, visitor } = request;
  const { head } = visitor;
  out.begin(head.length + ADDED);
  writeRequestLine(out, head, decision);
  writeHost(out, head, decision);
  copyFields(out, visitor, decision);
  writeFraming(out, head);
  writeForwarding(out, request);
  if (decision.identified === true && visitor.clientFields) out.text(visitor.clientFields);
  writeConnection(out, head);
  if (decision.request !== null) writeChanges(out, decision.request);
  out.text('\r\n');
}

function writeRequestLine(out: Outbox, head: RequestHead, decision: Forward): void {
  out.text(head.method);
  const { buffer, base } = head.fields;
  if (head.asterisk) out.text(' *');
  else if (decision.path !== null) {
    out.text(' ');
    out.text(safePath(decision.path));
    out.bytes(buffer, base + head.pathEnd, base + head.queryEnd);
  } else {
    out.text(head.pathStart === head.pathEnd ? ' /' : ' ');
    out.bytes(buffer, base + head.pathStart, base + head.queryEnd);
  }
  out.text(' HTTP/1.1\r\n');
}

/** A rewritten path comes from configuration and captures: what a target cannot hold is percent-encoded. */
function safePath(path: string): string {
  const encoded = path.replace(/[^\x21-\x7e]|[#?]/g, (char) => encodeURIComponent(char));
  return encoded.startsWith('/') ? encoded : `/${encoded}`;
}

function writeHost(out: Outbox, head: RequestHead, decision: Forward): void {
  const changed = decision.request?.set.find(([name]) => name === 'host')?.[1];
  const own = changed ?? decision.service.config.host;
  if (own !== null) out.field('Host', own);
  else {
    const { buffer, base } = head.fields;
    out.text('Host: ');
    out.bytes(buffer, base + head.authorityStart, base + head.authorityEnd);
    out.text('\r\n');
  }
}

/** Runs of fields that stay are copied in one piece each. */
function copyFields(out: Outbox, { head, trusted }: RequestSource, decision: Forward): void {
  const { fields } = head;
  const { buffer, base } = fields;
  let runStart = -1;
  for (let i = 0; i < fields.count; i++) {
    if (stays(head, i, decision, trusted)) {
      if (runStart < 0) runStart = fields.nameStart(i);
    } else if (runStart >= 0) {
      out.bytes(buffer, base + runStart, base + fields.nameStart(i));
      runStart = -1;
    }
  }
  if (runStart >= 0) out.bytes(buffer, base + runStart, base + fields.end);
}

function stays(head: RequestHead, index: number, decision: Forward, trusted: boolean): boolean {
  const { fields } = head;
  const changes = decision.request;
  const identified = decision.identified === true;
  const known = fields.kinds[index] as number;
  if (known === kind.HOST) return false;
  if (kind.DROP_FROM_REQUEST[known] === 1 && !staysAfterAll(head, known, trusted, identified)) return false;
  if (known === kind.EXPECT && fields.find(kind.EXPECT) !== index) return false;
  if (known === kind.TRANSFER_ENCODING || known === kind.CONTENT_LENGTH) return isPlain(head, index);
  if (changes === null) return true;
  const name = fields.name(index).toLowerCase();
  return FRAMING_NAMES.has(name) || !changesName(changes, name);
}

/**
 * Whether a framing field is written as everyone writes it. White space around the value and leading zeros are allowed,
 * but backends that stumble over them (`Transfer-Encoding:<tab>chunked`) would see the message end elsewhere: such a
 * field is written anew.
 */
function isPlain({ fields }: RequestHead, index: number): boolean {
  const start = fields.valueStart(index);
  const length = fields.valueEnd(index) - start;
  return (
    start === fields.nameEnd(index) + 2 &&
    fields.lineEnd(index) === start + length + 2 &&
    fields.buffer[fields.base + start - 1] === SPACE &&
    (length === 1 || fields.buffer[fields.base + start] !== ZERO)
  );
}

/** The framing fields that `isPlain` left out; what they say was understood when the head was parsed. */
function writeFraming(out: Outbox, head: RequestHead): void {
  const { fields } = head;
  if (head.chunked) {
    if (!isPlain(head, fields.find(kind.TRANSFER_ENCODING))) out.text('Transfer-Encoding: chunked\r\n');
  } else if (head.contentLength >= 0 && !isPlain(head, fields.find(kind.CONTENT_LENGTH))) {
    out.text(`Content-Length: ${head.contentLength}\r\n`);
  }
}

function staysAfterAll(head: RequestHead, known: number, trusted: boolean, identified: boolean): boolean {
  switch (known) {
    case kind.EXPECT:
      return head.expectContinue;
    case kind.TRAILER:
      return head.chunked;
    case kind.MAX_FORWARDS:
      return head.method !== 'OPTIONS';
    case kind.X_FORWARDED_PROTO:
    case kind.X_FORWARDED_HOST:
    case kind.X_FORWARDED_PORT:
    case kind.X_FORWARDED_OTHER:
    case kind.FORWARDED:
      return trusted;
    case kind.CLIENT_CERTIFICATE:
      return trusted && !identified;
    default:
      return false;
  }
}

function changesName(changes: FieldChanges, name: string): boolean {
  return changes.remove.has(name) || changes.set.some(([set]) => set === name);
}

/** The forwarding fields whose values do not depend on the request. */
export function forwardingText(peer: string, identity: ClientIdentity): string {
  const address = peer === '' ? '' : `X-Forwarded-For: ${peer}\r\nX-Real-IP: ${peer}\r\n`;
  const proto = identity.secure ? 'https' : 'http';
  return `${address}X-Forwarded-Proto: ${proto}\r\nX-Forwarded-Port: ${identity.port}\r\n`;
}

function writeForwarding(out: Outbox, request: RequestWriting): void {
  const { decision, requestId, via } = request;
  const { head, trusted } = request.visitor;
  if (trusted || decision.request !== null) {
    writeForwardingSingly(out, request, decision.request);
    return;
  }
  out.text(request.visitor.forwarding);
  writeForwardedHost(out, head);
  // Apart: a text that was put together would have to be made one first.
  out.text('X-Request-Id: ');
  out.text(requestId);
  out.text('\r\n');
  if (via) out.text(VIA[request.visitor.protocol]);
}

/** A trusted peer's fields are kept, a route's changes win over ours. */
function writeForwardingSingly(out: Outbox, request: RequestWriting, changes: FieldChanges | null): void {
  const { requestId } = request;
  const { head, identity, trusted, peer } = request.visitor;
  const { fields } = head;
  const mine = (name: string) => changes === null || !changesName(changes, name);
  const missing = (known: number) => !trusted || fields.find(known) < 0;
  if (mine('x-forwarded-for')) {
    const chain: string[] = [];
    if (trusted) {
      for (let i = fields.find(kind.X_FORWARDED_FOR); i >= 0; i = fields.find(kind.X_FORWARDED_FOR, i + 1)) {
        if (fields.valueEnd(i) > fields.valueStart(i)) chain.push(fields.value(i));
      }
    }
    if (peer !== '') chain.push(peer);
    if (chain.length > 0) out.field('X-Forwarded-For', chain.join(', '));
  }
  if (identity.address !== '' && mine('x-real-ip')) out.field('X-Real-IP', identity.address);
  if (missing(kind.X_FORWARDED_PROTO) && mine('x-forwarded-proto')) {
    out.field('X-Forwarded-Proto', identity.secure ? 'https' : 'http');
  }
  if (missing(kind.X_FORWARDED_PORT) && mine('x-forwarded-port')) {
    out.field('X-Forwarded-Port', String(identity.port));
  }
  if (missing(kind.X_FORWARDED_HOST) && mine('x-forwarded-host')) writeForwardedHost(out, head);
  if (mine('x-request-id')) out.field('X-Request-Id', requestId);
  if (request.via && mine('via')) out.text(VIA[request.visitor.protocol]);
}

function writeForwardedHost(out: Outbox, head: RequestHead): void {
  if (head.authorityEnd === head.authorityStart) return;
  const { buffer, base } = head.fields;
  out.text('X-Forwarded-Host: ');
  out.bytes(buffer, base + head.authorityStart, base + head.authorityEnd);
  out.text('\r\n');
}

function writeConnection(out: Outbox, head: RequestHead): void {
  if (head.websocket) out.text('Connection: Upgrade\r\nUpgrade: websocket\r\n');
  else if (head.takesTrailers) out.text('Connection: TE\r\nTE: trailers\r\n');
  if (head.maxForwards > 0) out.text(`Max-Forwards: ${head.maxForwards - 1}\r\n`);
}

function writeChanges(out: Outbox, changes: FieldChanges): void {
  for (const [name, value] of changes.set) {
    if (name !== 'host' && !FRAMING_NAMES.has(name)) out.field(name, value);
  }
  for (const [name, value] of changes.add) {
    if (name !== 'host' && !FRAMING_NAMES.has(name)) out.field(name, value);
  }
}
