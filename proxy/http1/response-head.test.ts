import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { COMPLETE, INVALID, NEED_MORE } from './field-lines.ts';
import { ResponseHead } from './response-head.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

function meaning(head: ResponseHead, outcome: number): unknown {
  if (outcome !== COMPLETE) return outcome;
  return {
    status: head.status,
    minor: head.minor,
    line: head.fields.text(head.statusStart, head.reasonEnd),
    fields: Array.from({ length: head.fields.count }, (_, i) => [head.fields.name(i), head.fields.value(i)]),
    contentLength: head.contentLength,
    chunked: head.chunked,
    keepAlive: head.keepAlive,
    length: head.length,
    framing: head.framing('GET'),
    keepAliveMs: head.keepAliveMs,
  };
}

const CASES: readonly (readonly [text: string, expected: Record<string, unknown> | number])[] = [
  ['HTTP/1.1 200 OK\r\n\r\n', { status: 200, framing: 'close', keepAlive: true, line: ' 200 OK' }],
  ['HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', { framing: 'none', line: ' 200 ' }],
  ['HTTP/1.1 200\r\nContent-Length: 7\r\n\r\n', { framing: 'length', contentLength: 7, line: ' 200' }],
  [
    'HTTP/1.0 404 Not Found\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5, max=100\r\n\r\n',
    { minor: 0, keepAlive: true, keepAliveMs: 5_000 },
  ],
  ['HTTP/1.0 200 OK\r\n\r\n', { keepAlive: false, keepAliveMs: null }],
  [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\nConnection: close\r\n\r\n',
    { framing: 'chunked', keepAlive: false },
  ],
  ['HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n', { framing: 'none' }],
  ['HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n', { framing: 'none' }],
  ['HTTP/1.1 103 Hints\r\nX \t: 1\r\n\r\n', { framing: 'none', fields: [['X', '1']] }],
  ['HTTP/1.1 600 X\r\n\r\n', INVALID],
  ['HTTP/1.1 200X\r\n\r\n', INVALID],
  ['HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n', INVALID],
  ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', INVALID],
];

describe('response head', () => {
  for (const [text, expected] of CASES) {
    it(`is read, and means the same however it is cut: ${JSON.stringify(text.slice(0, 50))}`, () => {
      const buffer = bytes(text);
      const whole = new ResponseHead();
      const result = meaning(whole, whole.parse(buffer, 0, buffer.length));
      if (typeof expected === 'number') assert.equal(result, expected);
      else {
        for (const [key, value] of Object.entries(expected)) {
          assert.deepEqual((result as Record<string, unknown>)[key], value, key);
        }
      }
      for (let cut = 0; cut <= buffer.length; cut++) {
        const head = new ResponseHead();
        let outcome = head.parse(buffer, 0, cut);
        if (outcome === NEED_MORE) {
          const moved = Buffer.concat([Buffer.alloc(3), buffer]);
          outcome = head.parse(moved, 3, moved.length);
        }
        assert.deepEqual(meaning(head, outcome), result, `cut at ${cut}`);
      }
    });
  }

  it('has no body for HEAD, whatever it says', () => {
    const head = new ResponseHead();
    const buffer = bytes('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n');
    head.parse(buffer, 0, buffer.length);
    assert.equal(head.framing('HEAD'), 'none');
  });
});
