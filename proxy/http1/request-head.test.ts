import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { COMPLETE, INVALID, NEED_MORE } from './field-lines.ts';
import { RequestHead } from './request-head.ts';

const LIMITS = { headSize: 16_384, fields: 100 };
const bytes = (text: string) => Buffer.from(text, 'latin1');

/** What a head means, as one comparable value; its cause when it is refused. */
function meaning(head: RequestHead, outcome: number): unknown {
  if (outcome === INVALID) return head.cause;
  if (outcome === NEED_MORE) return 'more';
  return {
    method: head.method,
    minor: head.minor,
    target: head.text(head.targetStart, head.targetEnd),
    path: head.text(head.pathStart, head.pathEnd),
    query: head.text(head.pathEnd, head.queryEnd),
    host: head.text(head.authorityStart, head.hostEnd),
    fields: Array.from({ length: head.fields.count }, (_, i) => [head.fields.name(i), head.fields.value(i)]),
    kinds: [...head.fields.kinds.subarray(0, head.fields.count)],
    contentLength: head.contentLength,
    chunked: head.chunked,
    keepAlive: head.keepAlive,
    expectContinue: head.expectContinue,
    websocket: head.websocket,
    length: head.length,
  };
}

function parse(text: string): unknown {
  const head = new RequestHead();
  const buffer = bytes(text);
  return meaning(head, head.parse(buffer, 0, buffer.length, LIMITS));
}

const VALID = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  '\r\n\r\nGET /a/b?c=d HTTP/1.1\r\nHost: Example.COM:8080\r\nAccept: */*\r\nX-Empty:\r\nX-Pad: \t x \t\r\n\r\n',
  'POST http://h.example/x?y HTTP/1.1\r\nHost: other\r\ncontent-length: 17\r\nConnection: close, X-A\r\nX-A: 1\r\n\r\n',
  'PUT /up HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\nTE: trailers\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n',
  'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
  'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
];
const INVALID_HEADS = [
  'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n',
  'GET / HTTP/1.1\nHost: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n',
  'GET / HTTP/1.1\r\nHost : a\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n',
  'GET / HTTP/2.0\r\nHost: a\r\n\r\n',
];

describe('request head', () => {
  it('reads what the cases say', () => {
    const seen = VALID.map(parse) as Record<string, unknown>[];
    for (const value of seen) assert.equal(typeof value, 'object');
    assert.equal(seen[1]!['path'], '/a/b');
    assert.equal(seen[1]!['query'], '?c=d');
    assert.equal(seen[1]!['host'], 'Example.COM');
    assert.deepEqual(seen[1]!['fields'], [
      ['Host', 'Example.COM:8080'],
      ['Accept', '*/*'],
      ['X-Empty', ''],
      ['X-Pad', 'x'],
    ]);
    assert.equal(seen[2]!['host'], 'h.example');
    assert.equal(seen[2]!['contentLength'], 17);
    assert.equal(seen[2]!['keepAlive'], false);
    assert.equal(seen[3]!['chunked'], true);
    assert.equal(seen[3]!['expectContinue'], true);
    assert.equal(seen[5]!['keepAlive'], true);
    assert.equal(seen[6]!['websocket'], true);
  });

  for (const text of [...VALID, ...INVALID_HEADS]) {
    it(`means the same however it is cut: ${JSON.stringify(text.slice(0, 60))}`, () => {
      const whole = parse(text);
      const buffer = bytes(text);
      for (let cut = 0; cut <= buffer.length; cut++) {
        const head = new RequestHead();
        let outcome = head.parse(buffer, 0, cut, LIMITS);
        if (outcome === NEED_MORE) {
          // The second time the bytes stand elsewhere, as they do when they were stored meanwhile.
          const moved = Buffer.concat([Buffer.alloc(7, 'z'), buffer]);
          outcome = head.parse(moved, 7, moved.length, LIMITS);
        }
        assert.deepEqual(meaning(head, outcome), whole, `cut at ${cut}`);
      }
    });

    it(`means the same byte by byte: ${JSON.stringify(text.slice(0, 60))}`, () => {
      const head = new RequestHead();
      const buffer = bytes(text);
      let outcome = NEED_MORE;
      for (let end = 1; end <= buffer.length && outcome === NEED_MORE; end++) {
        outcome = head.parse(buffer, 0, end, LIMITS);
      }
      assert.deepEqual(meaning(head, outcome), parse(text));
    });
  }

  it('leaves what stands behind the head alone', () => {
    const head = new RequestHead();
    const buffer = bytes(`${VALID[0]}GET /next`);
    assert.equal(head.parse(buffer, 0, buffer.length, LIMITS), COMPLETE);
    assert.equal(head.length, VALID[0]!.length);
  });

  it('keeps its meaning when it takes the bytes into its own memory', () => {
    for (const text of VALID) {
      const head = new RequestHead();
      const buffer = bytes(`xx${text}yy`);
      head.parse(buffer, 2, buffer.length, LIMITS);
      const before = meaning(head, COMPLETE);
      head.own();
      buffer.fill('!');
      assert.deepEqual(meaning(head, COMPLETE), before);
    }
  });

  it('never throws, and never completes on bytes without an empty line', () => {
    const noise = fc.array(
      fc.constantFrom(
        ...'GET POST / HTTP/1.1 Host Content-Length Transfer-Encoding chunked : , 0 5 \r\n \n \r \0 \t a \xff'.split(
          ' ',
        ),
        ' ',
        '\r\n',
        '\r\n\r\n',
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(noise, (parts) => {
        const text = parts.join('');
        const head = new RequestHead();
        const buffer = bytes(text);
        const outcome = head.parse(buffer, 0, buffer.length, LIMITS);
        if (outcome === COMPLETE) assert.ok(text.slice(0, head.length).endsWith('\r\n\r\n'));
      }),
      { numRuns: 3_000 },
    );
  });

  it('a valid head with one byte changed keeps its framing or is refused', () => {
    const text = 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX-Other: 1\r\n\r\n';
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.nat(255), (at, byte) => {
        const buffer = bytes(text);
        buffer[at] = byte;
        const head = new RequestHead();
        if (head.parse(buffer, 0, buffer.length, LIMITS) !== COMPLETE) return;
        // The field's own name or value was hit, or the length is what it says.
        const value = head.fields.find(3) >= 0 ? head.fields.value(head.fields.find(3)) : '-1';
        assert.equal(head.contentLength, Number(value));
        assert.equal(head.chunked, false);
      }),
      { numRuns: 5_000 },
    );
  });
});
