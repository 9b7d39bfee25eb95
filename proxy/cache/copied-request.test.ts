import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Forward } from '../../shared/routing/decision.ts';
import { COMPLETE } from '../http1/field-lines.ts';
import { Outbox } from '../http1/outbox.ts';
import { RequestHead } from '../http1/request-head.ts';
import { HttpRequestView } from '../http1/request-view.ts';
import { writeRequestHead } from '../http1/request-writer.ts';
import { SharedRequest } from './copied-request.ts';

const IDENTITY = { address: '192.0.2.1', secure: true, port: 443 };

function original(fields: readonly string[] = []) {
  const head = new RequestHead();
  const bytes = Buffer.from(['GET /page?q HTTP/1.1', 'Host: example.com', ...fields, '', ''].join('\r\n'));
  assert.equal(head.parse(bytes, 0, bytes.length, { headSize: 16_384, fields: 100 }), COMPLETE);
  head.own();
  const view = new HttpRequestView(head);
  view.begin(IDENTITY, 7);
  const decision = {
    type: 'forward',
    service: { config: { host: null } },
    path: null,
    request: null,
    identified: true,
  } as unknown as Forward;
  const visitor = {
    ...{ head, identity: IDENTITY, trusted: false, peer: '192.0.2.1', protocol: 'HTTP/1.1' as const },
    forwarding: 'X-Real-IP: 192.0.2.1\r\n',
    clientFields: 'X-Client-Cert: one\r\n',
  };
  return { request: { visitor, view, decision, requestId: 'r1', via: true, startedAt: 1 }, head };
}

function written(request: Parameters<typeof writeRequestHead>[1]): string {
  const out = new Outbox();
  writeRequestHead(out, request);
  let text = '';
  const stream = {
    writeShared: (buffer: Buffer, start: number, end: number) =>
      (text = buffer.toString('latin1', start, end)),
  };
  out.flush(stream as never);
  return text;
}

test('is sent as the request itself would be, also after that is gone', () => {
  const { request, head } = original(['Accept: */*', 'Connection: X-Hop', 'X-Hop: 1', 'Cookie: a=1']);
  const wanted = written(request);
  assert.match(wanted, /X-Client-Cert: one/);
  const shared = new SharedRequest(request, null);
  assert.equal(written(shared), wanted);
  assert.equal(shared.copy(), true);
  head.fields.buffer.fill(0);
  head.fields.free();
  assert.equal(written(shared), wanted);
  assert.equal(shared.view.target, '/page?q');
  assert.equal(shared.view.address, '192.0.2.1');
});

test('conditions of the visitor are left out, those of the stored answer put in', () => {
  const { request } = original(['If-None-Match: "mine"', 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT']);
  assert.doesNotMatch(written(new SharedRequest(request, null)), /if-/i);
  const kept = { status: 200, field: (name: string) => (name === 'etag' ? '"kept"' : undefined) };
  const text = written(new SharedRequest(request, kept));
  assert.match(text, /if-none-match: "kept"\r\n/);
  assert.doesNotMatch(text, /mine|if-modified-since/i);
});
