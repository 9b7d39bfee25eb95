import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { encodeProxyHeader, MAX_PROXY_HEADER, parseProxyHeader, type SocketPair } from './proxy-header.ts';

const SIGNATURE = '0d0a0d0a000d0a515549540a';
const latin1 = (text: string) => Buffer.from(text, 'latin1');
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** `from>to`, `unknown` or `local`; else the verdict itself. */
function verdict(bytes: Buffer): string {
  const header = parseProxyHeader(bytes);
  if (typeof header === 'string') return header;
  if (header.local) return `local ${header.length}`;
  if (header.ends === null) return `unknown ${header.length}`;
  const { source, destination } = header.ends;
  return `${source.address} ${source.port}>${destination.address} ${destination.port} ${header.length}`;
}

const V4 = 'cb007107 c0000201 d431 0050';
const V6 = '20010db8000000000000000000000007 20010db8000000000000000000000001 d431 01bb';

const GOOD: readonly (readonly [bytes: Buffer, said: string])[] = [
  [latin1('PROXY TCP4 203.0.113.7 192.0.2.1 54321 80\r\n'), '203.0.113.7 54321>192.0.2.1 80 43'],
  [latin1('PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n'), '255.255.255.255 65535>0.0.0.0 0 44'],
  [latin1('PROXY TCP6 2001:DB8::7 2001:db8::1 1 443\r\n'), '2001:db8::7 1>2001:db8::1 443 42'],
  [latin1('PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n'), '203.0.113.7 1>::1 2 39'],
  [latin1('PROXY UNKNOWN\r\n'), 'unknown 15'],
  [latin1('PROXY UNKNOWN ffff::1 what ever 1 2\r\n'), 'unknown 37'],
  [latin1(`PROXY UNKNOWN ${'x'.repeat(91)}\r\n`), 'unknown 107'],
  [hex(`${SIGNATURE} 2111 000c ${V4}`), '203.0.113.7 54321>192.0.2.1 80 28'],
  [hex(`${SIGNATURE} 2121 0024 ${V6}`), '2001:db8::7 54321>2001:db8::1 443 52'],
  [hex(`${SIGNATURE} 2111 0016 ${V4} 04 0001 00 02 0003 616263`), '203.0.113.7 54321>192.0.2.1 80 38'],
  [hex(`${SIGNATURE} 2112 000c ${V4}`), 'unknown 28'],
  [hex(`${SIGNATURE} 2131 00d8 ${'61'.repeat(216)}`), 'unknown 232'],
  [hex(`${SIGNATURE} 2100 0000`), 'unknown 16'],
  [hex(`${SIGNATURE} 2100 0003 010203`), 'unknown 19'],
  [hex(`${SIGNATURE} 2000 0000`), 'local 16'],
  [hex(`${SIGNATURE} 2011 000c ${V4}`), 'local 28'],
  [hex(`${SIGNATURE} 2011 0002 ffff`), 'local 18'],
];

const BAD: readonly Buffer[] = [
  latin1('GET / HTTP/1.1\r\n'),
  latin1('proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n'),
  latin1('PROXY  TCP4 203.0.113.7 192.0.2.1 1 2\r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1 2 \r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1 2\rX'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 1 65536\r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n'),
  latin1('PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n'),
  latin1('PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n'),
  latin1('PROXY TCP4 203.0.113 192.0.2.1 1 2\r\n'),
  latin1('PROXY TCP4 ::1 ::1 1 2\r\n'),
  latin1('PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n'),
  latin1('PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n'),
  latin1('PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n'),
  latin1('PROXY UNKNOWNX\r\n'),
  latin1('PROXY \r\n'),
  latin1('PROXY UNKNOWN \0\r\n'),
  latin1(`PROXY UNKNOWN ${'x'.repeat(92)}\r\n`),
  latin1(`PROXY UNKNOWN ${'x'.repeat(93)}`),
  hex('0d0a0d0a000d0a515549540b'),
  hex(`${SIGNATURE} 1111 000c ${V4}`),
  hex(`${SIGNATURE} 2211 000c ${V4}`),
  hex(`${SIGNATURE} 2141 000c ${V4}`),
  hex(`${SIGNATURE} 2113 000c ${V4}`),
  hex(`${SIGNATURE} 2111 000b ${V4}`),
  hex(`${SIGNATURE} 2121 000c ${V4}`),
  hex(`${SIGNATURE} 2111 ffff`),
  hex(`${SIGNATURE} 2111 ${(MAX_PROXY_HEADER - 15).toString(16).padStart(4, '0')}`),
  // A value that is longer than what is left, and a piece that is too short for one.
  hex(`${SIGNATURE} 2111 0010 ${V4} 04 0002 00`),
  hex(`${SIGNATURE} 2111 000e ${V4} 04 00`),
];

describe('PROXY header', () => {
  test('is read in both versions, and what stands behind it is left alone', () => {
    for (const [bytes, said] of GOOD) {
      assert.equal(verdict(bytes), said, bytes.toString('latin1'));
      assert.equal(verdict(Buffer.concat([bytes, latin1('GET / HTTP/1.1\r\n')])), said);
    }
  });

  test('is refused when it is not exactly as it must be', () => {
    for (const bytes of BAD) assert.equal(verdict(bytes), 'bad', JSON.stringify(bytes.toString('latin1')));
  });

  test('is the same wherever the bytes are split: never complete before its end, never taken back', () => {
    for (const [bytes, said] of GOOD) {
      for (let at = 0; at < bytes.length; at++)
        assert.equal(verdict(bytes.subarray(0, at)), 'more', `${said} split at ${at}`);
    }
    for (const bytes of BAD) {
      let refused = false;
      for (let at = 0; at <= bytes.length; at++) {
        const said = verdict(bytes.subarray(0, at));
        assert.ok(said === 'bad' || (said === 'more' && !refused), `${said} at ${at}`);
        refused ||= said === 'bad';
      }
    }
  });

  test('any bytes at all get a verdict that more bytes do not change', () => {
    const start = fc.constantFrom(latin1('PROXY '), latin1('PROXY TCP4 '), hex(SIGNATURE), Buffer.alloc(0));
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), fc.nat(), (head, tail, cut) => {
        const bytes = Buffer.concat([head, tail]);
        const early = verdict(bytes.subarray(0, cut % (bytes.length + 1)));
        if (early !== 'more') assert.equal(verdict(bytes), early);
      }),
      { numRuns: 2_000 },
    );
  });

  test('never waits for more than its bound', () => {
    assert.equal(verdict(latin1('PROXY UNKNOWN '.padEnd(107, 'x'))), 'bad');
    const longest = hex(`${SIGNATURE} 2000 ${(MAX_PROXY_HEADER - 16).toString(16).padStart(4, '0')}`);
    assert.equal(verdict(longest), 'more');
    assert.equal(
      verdict(Buffer.concat([longest, Buffer.alloc(MAX_PROXY_HEADER)])),
      `local ${MAX_PROXY_HEADER}`,
    );
  });

  test('written for a backend it says what was read', () => {
    const pairs: readonly (readonly [SocketPair, v1: string, read: string])[] = [
      [
        {
          source: { address: '203.0.113.7', port: 54_321 },
          destination: { address: '192.0.2.1', port: 80 },
        },
        'PROXY TCP4 203.0.113.7 192.0.2.1 54321 80\r\n',
        '203.0.113.7 54321>192.0.2.1 80',
      ],
      [
        { source: { address: '2001:db8::7', port: 1 }, destination: { address: '::1', port: 443 } },
        'PROXY TCP6 2001:db8::7 ::1 1 443\r\n',
        '2001:db8::7 1>::1 443',
      ],
      [
        { source: { address: '203.0.113.7', port: 1 }, destination: { address: '2001:db8::1', port: 2 } },
        'PROXY TCP6 ::ffff:203.0.113.7 2001:db8::1 1 2\r\n',
        '203.0.113.7 1>2001:db8::1 2',
      ],
    ];
    for (const [ends, v1, read] of pairs) {
      assert.equal(encodeProxyHeader(1, ends).toString('latin1'), v1);
      for (const version of [1, 2] as const) {
        const bytes = encodeProxyHeader(version, ends);
        assert.equal(verdict(bytes), `${read} ${bytes.length}`);
      }
    }
    const nobody = { source: { address: '', port: 0 }, destination: { address: '::1', port: 1 } };
    for (const ends of [null, nobody]) {
      assert.equal(encodeProxyHeader(1, ends).toString('latin1'), 'PROXY UNKNOWN\r\n');
      assert.equal(verdict(encodeProxyHeader(2, ends)), 'unknown 16');
    }
  });

  test('addresses of any kind survive writing and reading', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    const end = fc.record({ address, port: fc.nat(65_535) });
    fc.assert(
      fc.property(end, end, fc.constantFrom(1, 2), (source, destination, version) => {
        const first = verdict(encodeProxyHeader(version as 1 | 2, { source, destination }));
        assert.ok(first.includes('>'), first);
      }),
    );
  });
});
