import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withProxy } from './harness.ts';

/** Sends `text` on a fresh connection; the answer, how the connection ended, and whether a backend saw anything. */
async function refused(text: string): Promise<{ status: number; reached: boolean; head: string }> {
  let result = { status: 0, reached: true, head: '' };
  await withProxy({}, async (proxy) => {
    const client = await proxy.client();
    client.write(text);
    const answer = await client.readMessage();
    await client.readToEnd();
    assert.equal(client.rest, '', 'nothing follows the refusal');
    assert.equal(answer.fields.get('connection'), 'close');
    assert.equal(proxy.records.length, 1);
    assert.equal(proxy.records[0]!.status, answer.status);
    result = { status: answer.status, reached: proxy.backend.accepted.length > 0, head: answer.head };
  });
  return result;
}

const HOST = 'Host: example.com\r\n';
const get = (fields: string) => `GET / HTTP/1.1\r\n${HOST}${fields}\r\n`;
const post = (fields: string, body = '') => `POST / HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n';

const REFUSALS: Readonly<Record<string, readonly [status: number, text: string]>> = {
  // The head as such.
  'bare LF in the request line': [400, `GET / HTTP/1.1\n${HOST}\r\n`],
  'bare LF after a field': [400, 'GET / HTTP/1.1\r\nHost: example.com\n\r\n'],
  'bare LF as the empty line': [400, `GET / HTTP/1.1\r\n${HOST}\n`],
  'bare CR in a value': [400, get('X-A: a\rb\r\n')],
  'CR CR LF': [400, get('X-A: a\r\r\n')],
  'white space before the first field': [400, `GET / HTTP/1.1\r\n ${HOST}\r\n`],
  'obs-fold': [400, get('X-A: a\r\n b\r\n')],
  'obs-fold with a tab': [400, get('X-A: a\r\n\tb\r\n')],
  'space before the colon': [400, get('X-A : a\r\n')],
  'tab before the colon': [400, get('X-A\t: a\r\n')],
  'empty field name': [400, get(': a\r\n')],
  'no colon': [400, get('X-A\r\n')],
  'control character in a name': [400, get('X\x01A: a\r\n')],
  'non-ASCII in a name': [400, get('X\xe4A: a\r\n')],
  'parenthesis in a name': [400, get('X(A: a\r\n')],
  'NUL in a value': [400, get('X-A: a\0b\r\n')],
  'DEL in a value': [400, get('X-A: a\x7fb\r\n')],
  'control character in a value': [400, get('X-A: a\x08b\r\n')],
  'nine empty lines first': [400, '\r\n'.repeat(9) + get('')],
  'LF first': [400, `\n${get('')}`],
  // The request line.
  'two spaces after the method': [400, `GET  / HTTP/1.1\r\n${HOST}\r\n`],
  'two spaces before the version': [400, `GET /  HTTP/1.1\r\n${HOST}\r\n`],
  'a tab for a space': [400, `GET\t/ HTTP/1.1\r\n${HOST}\r\n`],
  'a space first': [400, ` GET / HTTP/1.1\r\n${HOST}\r\n`],
  'a space last': [400, `GET / HTTP/1.1 \r\n${HOST}\r\n`],
  'no target': [400, `GET HTTP/1.1\r\n${HOST}\r\n`],
  'HTTP/0.9': [400, 'GET /\r\n\r\n'],
  'a method with a brace': [400, `G{T / HTTP/1.1\r\n${HOST}\r\n`],
  'a method of 33 characters': [400, `${'A'.repeat(33)} / HTTP/1.1\r\n${HOST}\r\n`],
  'lower-case version': [400, `GET / http/1.1\r\n${HOST}\r\n`],
  'another protocol': [400, `GET / ICE/1.1\r\n${HOST}\r\n`],
  'HTTP/1.2': [505, `GET / HTTP/1.2\r\n${HOST}\r\n`],
  'HTTP/2.0': [505, `GET / HTTP/2.0\r\n${HOST}\r\n`],
  'HTTP/1.10': [400, `GET / HTTP/1.10\r\n${HOST}\r\n`],
  'HTTP/1': [400, `GET / HTTP/1\r\n${HOST}\r\n`],
  'the HTTP/2 preface': [505, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  // Targets.
  'NUL in the target': [400, `GET /\0 HTTP/1.1\r\n${HOST}\r\n`],
  'control in the target': [400, `GET /\x1f HTTP/1.1\r\n${HOST}\r\n`],
  'non-ASCII in the target': [400, `GET /\xe4 HTTP/1.1\r\n${HOST}\r\n`],
  'a fragment': [400, `GET /a#b HTTP/1.1\r\n${HOST}\r\n`],
  'no slash': [400, `GET a HTTP/1.1\r\n${HOST}\r\n`],
  'another scheme': [400, `GET ftp://example.com/ HTTP/1.1\r\n${HOST}\r\n`],
  'user information': [400, `GET http://user@example.com/ HTTP/1.1\r\n${HOST}\r\n`],
  'an empty authority': [400, `GET http:///path HTTP/1.1\r\n${HOST}\r\n`],
  '* with GET': [400, `GET * HTTP/1.1\r\n${HOST}\r\n`],
  CONNECT: [405, `CONNECT example.com:443 HTTP/1.1\r\n${HOST}\r\n`],
  TRACE: [405, `TRACE / HTTP/1.1\r\n${HOST}\r\n`],
  // Host.
  'no Host': [400, 'GET / HTTP/1.1\r\n\r\n'],
  'two Hosts': [400, get('Host: other.com\r\n')],
  'two equal Hosts': [400, get(HOST)],
  'an empty Host': [400, 'GET / HTTP/1.1\r\nHost:\r\n\r\n'],
  'a list of hosts': [400, 'GET / HTTP/1.1\r\nHost: a.com, b.com\r\n\r\n'],
  'a Host with a path': [400, 'GET / HTTP/1.1\r\nHost: a.com/b\r\n\r\n'],
  'a Host with user information': [400, 'GET / HTTP/1.1\r\nHost: a@b.com\r\n\r\n'],
  'a Host with a space': [400, 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n'],
  'a Host with an empty label': [400, 'GET / HTTP/1.1\r\nHost: a..b\r\n\r\n'],
  'a port of letters': [400, 'GET / HTTP/1.1\r\nHost: a.com:x\r\n\r\n'],
  'a port out of range': [400, 'GET / HTTP/1.1\r\nHost: a.com:65536\r\n\r\n'],
  'an open bracket': [400, 'GET / HTTP/1.1\r\nHost: [::1\r\n\r\n'],
  'brackets around no address': [400, 'GET / HTTP/1.1\r\nHost: [example]\r\n\r\n'],
  'an address with a zone': [400, 'GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n'],
  'an invalid Host beside an absolute target': [400, 'GET http://a.com/ HTTP/1.1\r\nHost: @\r\n\r\n'],
  // Framing.
  'Transfer-Encoding and Content-Length': [
    400,
    post('Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', `0\r\n\r\n${SMUGGLED}`),
  ],
  'Content-Length and Transfer-Encoding': [
    400,
    post('Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`),
  ],
  'two Content-Lengths': [400, post('Content-Length: 5\r\nContent-Length: 6\r\n', 'aaaaaa')],
  'two equal Content-Lengths': [400, post('Content-Length: 5\r\nContent-Length: 5\r\n', 'aaaaa')],
  'a list of Content-Lengths': [400, post('Content-Length: 5, 5\r\n', 'aaaaa')],
  'an empty Content-Length': [400, post('Content-Length:\r\n')],
  'a signed Content-Length': [400, post('Content-Length: +5\r\n', 'aaaaa')],
  'a negative Content-Length': [400, post('Content-Length: -1\r\n')],
  'a hexadecimal Content-Length': [400, post('Content-Length: 0x5\r\n')],
  'a Content-Length with a space': [400, post('Content-Length: 5 5\r\n')],
  'a Content-Length above 2^53': [400, post('Content-Length: 9007199254740993\r\n')],
  'a huge Content-Length': [400, post('Content-Length: 99999999999999999999999\r\n')],
  'an empty Transfer-Encoding': [400, post('Transfer-Encoding:\r\n')],
  identity: [400, post('Transfer-Encoding: identity\r\n')],
  'gzip, chunked': [400, post('Transfer-Encoding: gzip, chunked\r\n')],
  'chunked, chunked': [400, post('Transfer-Encoding: chunked, chunked\r\n')],
  'two Transfer-Encodings': [400, post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')],
  'chunked and identity': [400, post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n')],
  xchunked: [400, post('Transfer-Encoding: xchunked\r\n')],
  'quoted chunked': [400, post('Transfer-Encoding: "chunked"\r\n')],
  'chunked with a parameter': [400, post('Transfer-Encoding: chunked;a=b\r\n')],
  'vertical tab before chunked': [400, post('Transfer-Encoding: \x0bchunked\r\n')],
  'chunked in HTTP/1.0': [400, `POST / HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  'chunked on a GET beside a length': [400, get('Transfer-Encoding: chunked\r\nContent-Length: 0\r\n')],
  // Expect.
  'an unknown expectation': [417, post('Expect: 200-ok\r\nContent-Length: 1\r\n', 'a')],
  'two expectations': [417, post('Expect: 100-continue, x\r\nContent-Length: 1\r\n', 'a')],
  // Sizes.
  'a target of 20 KB': [414, `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${HOST}\r\n`],
  'a field of 20 KB': [431, get(`X-A: ${'a'.repeat(20_000)}\r\n`)],
  '101 fields': [431, get('X-A: a\r\n'.repeat(100))],
  'a Connection that names 101 fields': [431, get(`Connection: ${'x,'.repeat(101)}\r\n`)],
  'a head of 20 KB': [431, get(`X-A: ${'a'.repeat(900)}\r\n`.repeat(22))],
};

describe('a request that can be read in two ways is refused', () => {
  for (const [what, [status, text]] of Object.entries(REFUSALS)) {
    it(`${what}: ${status}`, async () => {
      const result = await refused(text);
      assert.equal(result.status, status);
      assert.equal(result.reached, false, 'a backend was reached');
      if (status === 405) assert.match(result.head, /\r\nAllow: GET/);
    });
  }

  it('limits hold while the head is still arriving', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write(`GET / HTTP/1.1\r\nHost: example.com\r\nX: ${'a'.repeat(17_000)}`);
      assert.equal((await client.readMessage()).status, 431);
    }));

  it('a bare LF is refused before the head is complete', () =>
    withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('GET / HTTP/1.1\r\nHost: example.com\nX');
      assert.equal((await client.readMessage()).status, 400);
    }));

  const badChunks: Record<string, string> = {
    'size in no hexadecimal': 'g\r\nabc\r\n0\r\n\r\n',
    'negative size': '-3\r\nabc\r\n0\r\n\r\n',
    'prefixed size': '0x3\r\nabc\r\n0\r\n\r\n',
    'size with a leading space': ' 3\r\nabc\r\n0\r\n\r\n',
    'size with a trailing space': '3 \r\nabc\r\n0\r\n\r\n',
    'size with an underscore': '0_3\r\nabc\r\n0\r\n\r\n',
    'no size': '\r\nabc\r\n0\r\n\r\n',
    'size that overflows': 'fffffffffffffffff\r\nabc\r\n0\r\n\r\n',
    'size above 2^53': 'ffffffffffffffff\r\nabc\r\n0\r\n\r\n',
    'LF after the size': '3\nabc\r\n0\r\n\r\n',
    'CR X after the size': '3\rXabc\r\n0\r\n\r\n',
    'LF after the data': '3\r\nabc\n0\r\n\r\n',
    'more data than the size': '3\r\nabcd\r\n0\r\n\r\n',
    'LF in an extension': '3;a\nb\r\nabc\r\n0\r\n\r\n',
    'CR in an extension': '3;a\rb\r\nabc\r\n0\r\n\r\n',
    'NUL in an extension': '3;a\0b\r\nabc\r\n0\r\n\r\n',
    'an extension of 2 KB': `3;${'a'.repeat(2_000)}\r\nabc\r\n0\r\n\r\n`,
    'many extensions': `${`1;${'a'.repeat(1_000)}\r\nx\r\n`.repeat(20)}0\r\n\r\n`,
    'bare LF in the trailers': '0\r\nX: a\n\r\n',
    'obs-fold in the trailers': '0\r\nX: a\r\n b\r\n\r\n',
    'space before a colon in the trailers': '0\r\nX : a\r\n\r\n',
    'trailers of 20 KB': `0\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`,
  };
  for (const [what, body] of Object.entries(badChunks)) {
    it(`a chunked body with ${what} is refused and ends both connections`, () =>
      withProxy({}, async (proxy) => {
        const client = await proxy.client();
        client.write(post('Transfer-Encoding: chunked\r\n'));
        const backend = await proxy.backend.connection();
        await backend.readHead();
        client.write(body + SMUGGLED);
        const answer = await client.readMessage();
        assert.equal(answer.status, 400);
        assert.equal(await client.readToEnd(), '');
        await backend.readToEnd();
        assert.doesNotMatch(backend.received, /smuggled/);
        assert.equal((await proxy.record()).cause, 'bad_request');
        assert.equal(proxy.records.length, 1);
        await proxy.idle();
      }));
  }
});
