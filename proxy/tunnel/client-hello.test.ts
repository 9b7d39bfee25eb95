import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { before, describe, test } from 'node:test';
import tls from 'node:tls';
import fc from 'fast-check';
import { parseClientHello } from './client-hello.ts';

/** What OpenSSL sends for these options. */
async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = tls.connect({
    host: '127.0.0.1',
    port: (server.address() as net.AddressInfo).port,
    ...options,
  });
  client.on('error', () => {});
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  client.destroy();
  socket.destroy();
  server.close();
  return bytes;
}

const u16 = (value: number) => [value >> 8, value & 0xff];
const vector = (width: 1 | 2, bytes: readonly number[]) =>
  width === 1 ? [bytes.length, ...bytes] : [...u16(bytes.length), ...bytes];
const ascii = (text: string) => [...Buffer.from(text, 'latin1')];
const extension = (type: number, content: readonly number[]) => [...u16(type), ...vector(2, content)];
const sni = (name: string) => extension(0, vector(2, [0, ...vector(2, ascii(name))]));
const GREASE = extension(0x0a0a, []);
const ECH = extension(0xfe0d, ascii('encrypted'));

const record = (bytes: readonly number[], type = 22) => [type, 3, 1, ...vector(2, bytes)];
function body(extensions: readonly number[] | null): number[] {
  const start = [
    3,
    3,
    ...new Array(32).fill(7),
    ...vector(1, new Array(32).fill(1)),
    ...vector(2, [0x0a, 0x0a, 0x13, 1]),
    1,
    0,
  ];
  return extensions === null ? start : [...start, ...vector(2, extensions)];
}
const handshake = (bytes: readonly number[], type = 1) => [type, 0, ...u16(bytes.length), ...bytes];
const hello = (extensions: readonly number[] | null) => Buffer.from(record(handshake(body(extensions))));
const withName = (name: string) => hello([...GREASE, ...sni(name), ...ECH]);

function said(bytes: Buffer): string | null {
  const verdict = parseClientHello(bytes);
  return typeof verdict === 'string' ? verdict : `name ${verdict.serverName}`;
}

describe('ClientHello', () => {
  let real: Buffer;
  before(async () => {
    real = await helloOf({ servername: 'DB.example.com', ALPNProtocols: ['h2', 'http/1.1'] });
  });

  test('of OpenSSL is understood, with a name and without', async () => {
    assert.equal(said(real), 'name db.example.com');
    assert.equal(said(await helloOf({})), 'name null');
    assert.equal(said(await helloOf({ servername: 'a.test', maxVersion: 'TLSv1.2' })), 'name a.test');
  });

  test('is never taken for complete before its end, and what stands behind it does not matter', () => {
    for (const bytes of [real, withName('db.example.com')]) {
      for (let at = 0; at < bytes.length; at++) assert.equal(said(bytes.subarray(0, at)), 'more', `at ${at}`);
      assert.equal(said(Buffer.concat([bytes, Buffer.from('more')])), 'name db.example.com');
    }
  });

  test('may be spread over many records', () => {
    const message = handshake(body([...GREASE, ...sni('db.example.com')]));
    for (const size of [1, 2, 3, 7, 50]) {
      const pieces: number[] = [];
      for (let at = 0; at < message.length; at += size) pieces.push(...record(message.slice(at, at + size)));
      const bytes = Buffer.from(pieces);
      assert.equal(said(bytes), 'name db.example.com', `${size}`);
      assert.equal(said(bytes.subarray(0, -1)), 'more');
    }
    const between = [...record(message.slice(0, 10)), ...record([1, 0], 21), ...record(message.slice(10))];
    assert.equal(said(Buffer.from(between)), 'bad');
    assert.equal(said(Buffer.from([...record(message.slice(0, 10)), ...record([])])), 'bad');
  });

  test('names are compared in lower case and without trailing dot; what is no host is refused', () => {
    assert.equal(said(withName('DB.Example.COM.')), 'name db.example.com');
    assert.equal(said(withName('_x.a-b.test')), 'name _x.a-b.test');
    for (const bad of [
      '',
      '.',
      'a b',
      'a\0b',
      'ü.test',
      'a/b',
      '*.test',
      '..',
      'a'.repeat(300),
      '-a',
      '[::1]',
    ])
      assert.equal(said(withName(bad)), 'bad', JSON.stringify(bad));
  });

  test('the key of the ticket it brings is known, in TLS 1.2 and 1.3', () => {
    const keyName = (bytes: Buffer) => {
      const verdict = parseClientHello(bytes);
      return typeof verdict === 'string' ? verdict : (verdict.ticketKeyName?.toString('latin1') ?? null);
    };
    const ticket = ascii('0123456789abcdef and what is sealed');
    const psk = (identity: readonly number[]) =>
      extension(41, [
        ...vector(2, [...vector(2, identity), 0, 0, 0, 1]),
        ...vector(2, vector(1, ascii('x'.repeat(32)))),
      ]);
    assert.equal(keyName(hello([...sni('a.test'), ...extension(35, ticket)])), '0123456789abcdef');
    assert.equal(
      keyName(hello([...extension(35, ascii('other'.repeat(9))), ...psk(ticket)])),
      '0123456789abcdef',
    );
    assert.equal(keyName(hello([...psk(ticket), ...extension(35, [])])), '0123456789abcdef');
    for (const none of [null, [], extension(35, []), extension(35, ascii('short')), psk(ascii('short'))])
      assert.equal(keyName(hello(none)), null);
    assert.equal(keyName(hello(extension(41, [0, 9, 0, 99, 1, 2, 3, 4, 5, 6, 7]))), 'bad');
  });

  test('without extensions it asks for nobody', () => {
    assert.equal(said(hello(null)), 'name null');
    assert.equal(said(hello([])), 'name null');
  });

  test('what is not exactly one is refused at once', () => {
    const name = sni('a.test');
    const bad: [string, readonly number[]][] = [
      ['HTTP', ascii('GET / HTTP/1.1\r\n\r\n')],
      ['SSL 2', [0x80, 0x2e, 1, 3, 1]],
      ['SSL 3', [22, 3, 0]],
      ['an alert', record([2, 40], 21)],
      ['a record that is too long', [22, 3, 1, 0x40, 1]],
      ['a ServerHello', record(handshake(body(name), 2))],
      ['a message that is too long', record([1, 1, 0, 0])],
      ['a name twice', [...hello([...name, ...name])]],
      ['an extension twice', [...hello([...GREASE, ...GREASE])]],
      ['two names', [...hello(extension(0, vector(2, [0, 0, 1, 97, 0, 0, 1, 98])))]],
      ['a name of another kind', [...hello(extension(0, vector(2, [1, 0, 1, 97])))]],
      ['an empty list of names', [...hello(extension(0, [0, 0]))]],
      ['bytes behind the names', [...hello(extension(0, [...vector(2, [0, 0, 1, 97]), 0]))]],
      ['bytes behind the extensions', record(handshake([...body(name), 0]))],
      ['an extension beyond the end', [...hello([0, 1, 0, 9, 1])]],
      [
        'a session id that is too long',
        record(handshake([3, 3, ...new Array(32).fill(0), 33, ...new Array(40).fill(0)])),
      ],
      ['half a cipher suite', record(handshake([3, 3, ...new Array(32).fill(0), 0, 0, 3, 1, 2, 3, 1, 0]))],
      ['no body', record(handshake([]))],
    ];
    for (const [what, bytes] of bad) assert.equal(said(Buffer.from(bytes)), 'bad', what);
  });

  test('is bounded', () => {
    const long = Buffer.from(record(handshake(body(extension(21, new Array(16_000).fill(0))))));
    assert.equal(said(long), 'name null');
    const whole = handshake(body(extension(21, new Array(16_000).fill(0))));
    const pieces = (size: number, count: number, message = whole) =>
      Buffer.from(
        Array.from({ length: count }, (_, at) => record(message.slice(at * size, (at + 1) * size))).flat(),
      );
    assert.equal(said(pieces(64, 10)), 'more');
    assert.equal(said(pieces(64, 100)), 'bad', 'more bytes than it may have, with the heads of its records');
    const longest = (length: number) =>
      Buffer.from(record(handshake(body(extension(21, new Array(length).fill(0))))));
    const most = 16_384 - longest(0).length;
    assert.equal(said(longest(most)), 'name null');
    assert.equal(said(longest(most).subarray(0, -1)), 'more');
    assert.equal(said(longest(most + 1)), 'bad');
    assert.equal(said(longest(most + 1).subarray(0, 100)), 'bad');
    const short = handshake(body(extension(21, new Array(200).fill(0))));
    assert.equal(said(pieces(1, 256, short)), 'more');
    assert.equal(said(pieces(1, 257, short)), 'bad', 'more records than it may have');
    assert.equal(said(pieces(2, Math.ceil(short.length / 2), short)), 'name null');
  });

  test('any bytes at all get a verdict that more bytes do not change', () => {
    const good = withName('db.example.com');
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), fc.nat(good.length), (at, value, cut) => {
        const bytes = Buffer.from(good);
        bytes[at] = value;
        const early = said(bytes.subarray(0, cut));
        if (early !== 'more') assert.equal(said(bytes), early);
      }),
      { numRuns: 5_000 },
    );
  });
});
