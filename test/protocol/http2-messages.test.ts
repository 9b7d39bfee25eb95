import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as h2 from '../../proxy/http2/protocol.ts';
import { labels } from './harness.ts';
import { block, type Fields, frame, GET, type H2Client, POST, withHttp2 } from './http2-wire.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

describe('HTTP/2: requests', () => {
  it('a request reaches the backend as HTTP/1.1, and its answer comes back', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, [...GET, ['accept', '*/*'], ['cookie', 'a=1'], ['x-a', 'b'], ['cookie', 'b=2']]);
      const { wire, head } = await request();
      assert.match(head, /^GET \/ HTTP\/1\.1\r\nHost: a\.test\r\n/);
      assert.match(head, /\r\nx-a: b\r\ncookie: a=1; b=2\r\n/);
      assert.match(head, /\r\nX-Forwarded-Proto: https\r\n/);
      assert.doesNotMatch(head, /:method|transfer-encoding/i);
      wire.write(
        'HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 5\r\n\r\nhello',
      );
      const answer = await client.answer(1);
      assert.equal(answer.status, 200);
      assert.equal(answer.body, 'hello');
      assert.equal(answer.fields.get('server'), 'x');
      assert.equal(answer.fields.get('set-cookie'), 'a=b, c=d');
      assert.equal(answer.fields.get('content-length'), '5');
      assert.ok(answer.fields.has('date'));
      for (const name of ['connection', 'keep-alive', 'x-hop', 'transfer-encoding']) {
        assert.ok(!answer.fields.has(name), name);
      }
      const record = await proxy.record();
      assert.equal(record.protocol, 'HTTP/2.0');
      assert.equal(record.status, 200);
      assert.equal(record.host, 'a.test');
      assert.equal(record.endedBy, 'complete');
    }));

  it('Host counts where there is no :authority, and may say the same beside it', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, [...GET.slice(0, 3), ['host', 'b.test:8443']]);
      assert.match((await request()).head, /^GET \/ HTTP\/1\.1\r\nHost: b\.test:8443\r\n/);
      assert.equal(proxy.lastView?.host, 'b.test');
      client.headers(3, [...GET, ['host', 'A.test']]);
      const { head } = await request();
      assert.equal(head.match(/host:/gi)?.length, 2, 'Host and X-Forwarded-Host');
    }));

  it('OPTIONS of the whole server goes on as such', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, [[':method', 'OPTIONS'], [':scheme', 'https'], [':path', '*'], GET[3]!]);
      assert.match((await request()).head, /^OPTIONS \* HTTP\/1\.1\r\n/);
    }));

  it('many streams run at once, and their answers come in any order', () =>
    withHttp2({}, async ({ connect, proxy }) => {
      const client = await connect();
      for (let i = 0; i < 20; i++)
        client.headers(2 * i + 1, [...GET.slice(0, 2), [':path', `/${i}`], GET[3]!]);
      await proxy.settled(() => proxy.backend.accepted.length === 20, '20 requests');
      const wires = [...proxy.backend.accepted].reverse();
      for (const wire of wires) {
        const path = /^GET (\S+)/.exec(await wire.readHead())?.[1] ?? '';
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`);
        const id = 2 * Number(path.slice(1)) + 1;
        assert.equal((await client.answer(id)).body, path);
      }
    }));

  it('a body with a length goes on with it, one without as chunks; the head leaves with what comes with it', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.write(
        frame(h2.HEADERS, h2.END_HEADERS, 1, block([...POST, ['content-length', '10']])),
        frame(h2.DATA, 0, 1, 'hello'),
      );
      const { wire, head } = await request();
      assert.match(head, /\r\ncontent-length: 10\r\n/);
      assert.equal(await wire.readBytes(5), 'hello');
      client.data(1, 'world', h2.END_STREAM);
      assert.equal(await wire.readBytes(5), 'world');
      wire.write(OK);
      assert.equal((await client.answer(1)).body, 'ok');
      client.headers(3, POST, 0);
      client.write(frame(h2.DATA, h2.PADDED, 3, '\x03abc\0\0\0'), frame(h2.DATA, h2.END_STREAM, 3, 'de'));
      assert.match(await wire.readHead(), /\r\ntransfer-encoding: chunked\r\n/);
      assert.equal(await wire.readUntil('0\r\n\r\n'), '3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n');
      wire.write(OK);
      assert.equal((await client.answer(3)).status, 200);
    }));

  it('trailers go both ways, without what they may not carry', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, [...POST, ['te', 'trailers']], 0);
      client.data(1, 'x');
      client.headers(
        1,
        [
          ['x-sum', '1'],
          ['host', 'evil'],
          ['content-length', '7'],
          ['x-more', '2'],
        ],
        h2.END_STREAM,
      );
      const { wire, head } = await request();
      assert.match(head, /\r\nConnection: TE\r\nTE: trailers\r\n/);
      assert.equal(await wire.readUntil('2\r\n\r\n'), '1\r\nx\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n');
      wire.write('HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n');
      wire.write('3\r\nabc\r\n0\r\nX-T: done\r\nContent-Length: 9\r\n\r\n');
      const answer = await client.answer(1);
      assert.equal(answer.body, 'abc');
      assert.equal(answer.fields.get('trailer'), 'X-T');
      assert.deepEqual([...answer.trailers], [['x-t', 'done']]);
    }));

  it('an answer without framing ends with its connection; HEAD, 204 and 304 have no body', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, GET);
      const first = await request();
      first.wire.write('HTTP/1.1 200 OK\r\n\r\nall');
      first.wire.end();
      assert.equal((await client.answer(1)).body, 'all');
      client.headers(3, [[':method', 'HEAD'], ...GET.slice(1)]);
      const { wire } = await request();
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n');
      const head = await client.answer(3);
      assert.equal(head.fields.get('content-length'), '99');
      assert.equal(head.body, '');
      for (const [index, status] of [204, 304].entries()) {
        client.headers(5 + 2 * index, GET);
        await wire.readHead();
        wire.write(`HTTP/1.1 ${status} X\r\nETag: "1"\r\n\r\n`);
        const answer = await client.answer(5 + 2 * index);
        assert.equal(answer.status, status);
        assert.equal(answer.body, '');
      }
    }));

  it('interim answers are relayed, and a 100 invites the body', () =>
    withHttp2({}, async ({ connect, request }) => {
      const client = await connect();
      client.headers(1, [...POST, ['expect', '100-continue']], 0);
      const { wire, head } = await request();
      assert.match(head, /\r\nexpect: 100-continue\r\n/i);
      wire.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n');
      await client.frameOf(h2.HEADERS, 1);
      client.data(1, 'b', h2.END_STREAM);
      await wire.readUntil('0\r\n\r\n');
      wire.write(OK);
      const answer = await client.answer(1);
      assert.deepEqual(answer.informational, [103]);
      assert.equal(answer.status, 200);
    }));

  it('an answer before the end of the request is complete, and the rest of the request is not wanted', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, POST, 0);
      client.data(1, 'abc');
      const { wire } = await request();
      wire.write('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno');
      const answer = await client.answer(1);
      assert.equal(answer.body, 'no');
      assert.equal(answer.reset, null);
      assert.equal(await client.resetOf(1), h2.NO_ERROR);
      // What was on its way is ignored, and the connection goes on.
      client.data(1, 'def', h2.END_STREAM);
      client.headers(3, [...POST, ['content-length', '0']]);
      await proxy.settled(() => proxy.backend.accepted.length === 2, 'the next request');
      await client.ping();
    }));

  it('a backend that dies mid-body resets the stream and nothing else', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, GET);
      const { wire } = await request();
      wire.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc');
      await client.frameOf(h2.DATA, 1);
      wire.reset();
      assert.equal(await client.resetOf(1), h2.INTERNAL_ERROR);
      assert.equal((await proxy.record()).cause, 'backend_cut');
      client.headers(3, GET);
      const next = await request();
      next.wire.write(OK);
      assert.equal((await client.answer(3)).body, 'ok');
    }));

  it('a client that resets its stream frees the backend at once, in every phase', () =>
    withHttp2({}, async ({ connect, request, proxy }) => {
      const client = await connect();
      const phases: (() => Promise<void>)[] = [
        async () => {},
        async () => {
          const { wire } = await request();
          wire.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc');
          await client.frameOf(h2.DATA);
        },
      ];
      for (const [index, phase] of phases.entries()) {
        const id = 2 * index + 1;
        client.headers(id, POST, 0);
        if (index === 0) await request();
        await phase();
        client.write(frame(h2.RST_STREAM, 0, id, '\0\0\0\x08'));
        const record = await proxy.record(index + 1);
        assert.equal(record.cause, 'client_gone');
        assert.equal(record.endedBy, 'client');
        await proxy.settled(() => proxy.activeRequests() === 0, 'the backend to be free');
      }
      await client.ping();
    }));

  it('answers of the proxy itself are complete, and a HEAD gets their head', () =>
    withHttp2(
      {
        service: {},
        decide: () =>
          ({ type: 'page', cause: 'host_unknown', labels, retryAfter: null, response: null }) as never,
      },
      async ({ connect, proxy }) => {
        const client = await connect();
        client.headers(1, GET);
        const page = await client.answer(1);
        assert.equal(page.status, 404);
        assert.equal(Number(page.fields.get('content-length')), page.body.length);
        client.headers(3, [[':method', 'HEAD'], ...GET.slice(1)]);
        const head = await client.answer(3);
        assert.equal(head.body, '');
        assert.equal(Number(head.fields.get('content-length')) > 0, true);
        assert.equal((await proxy.record(2)).status, 404);
      },
    ));

  it('changes of a route hold for the answer', () =>
    withHttp2(
      {
        decide: (_request, forward) => ({
          ...forward,
          response: { set: [['X-Set', 'a\r\nb']], add: [['X-Add', ' c ']], remove: new Set(['server']) },
        }),
      },
      async ({ connect, request }) => {
        const client = await connect();
        client.headers(1, GET);
        const { wire } = await request();
        wire.write('HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n');
        const { fields } = await client.answer(1);
        assert.equal(fields.get('x-set'), 'a  b');
        assert.equal(fields.get('x-add'), 'c');
        assert.ok(!fields.has('server'));
      },
    ));
});

const MALFORMED: Readonly<Record<string, Fields>> = {
  'an upper-case name': [...GET, ['X-A', 'b']],
  'an empty name': [...GET, ['', 'b']],
  'a space in a name': [...GET, ['x a', 'b']],
  'a colon in a name': [...GET, ['x:a', 'b']],
  'a line end in a value': [...GET, ['x-a', 'b\r\nx-evil: 1']],
  'a bare line feed in a value': [...GET, ['x-a', 'b\nx-evil: 1']],
  'NUL in a value': [...GET, ['x-a', 'b\0']],
  'white space before a value': [...GET, ['x-a', ' b']],
  'white space behind a value': [...GET, ['x-a', 'b\t']],
  connection: [...GET, ['connection', 'close']],
  'keep-alive': [...GET, ['keep-alive', '1']],
  'proxy-connection': [...GET, ['proxy-connection', 'x']],
  'transfer-encoding': [...POST, ['transfer-encoding', 'chunked']],
  upgrade: [...GET, ['upgrade', 'websocket']],
  'te other than trailers': [...GET, ['te', 'gzip']],
  'no :method': GET.slice(1),
  'no :scheme': [GET[0]!, ...GET.slice(2)],
  'no :path': [...GET.slice(0, 2), GET[3]!],
  'no authority at all': GET.slice(0, 3),
  'two :method': [GET[0]!, ...GET],
  'two :path': [...GET, [':path', '/x']],
  'two :authority': [...GET, [':authority', 'b.test']],
  'an empty :path': [...GET.slice(0, 2), [':path', ''], GET[3]!],
  'an empty :authority': [...GET.slice(0, 3), [':authority', '']],
  'an unknown pseudo-field': [...GET, [':protocol', 'websocket']],
  'a pseudo-field of answers': [...GET, [':status', '200']],
  'a pseudo-field behind an ordinary one': [...GET.slice(0, 3), ['x-a', 'b'], GET[3]!],
  'a path that is an address': [...GET.slice(0, 2), [':path', 'https://b.test/'], GET[3]!],
  'a path without slash': [...GET.slice(0, 2), [':path', 'x'], GET[3]!],
  'a path with a space': [...GET.slice(0, 2), [':path', '/ HTTP/1.1'], GET[3]!],
  '* without OPTIONS': [...GET.slice(0, 2), [':path', '*'], GET[3]!],
  'a method with a space': [[':method', 'GET /x'], ...GET.slice(1)],
  'another scheme': [GET[0]!, [':scheme', 'ftp'], ...GET.slice(2)],
  'the scheme of plain connections': [GET[0]!, [':scheme', 'http'], ...GET.slice(2)],
  'an authority with userinfo': [...GET.slice(0, 3), [':authority', 'a@b.test']],
  'a host that differs': [...GET, ['host', 'b.test']],
  'two hosts': [...GET.slice(0, 3), ['host', 'a.test'], ['host', 'a.test']],
  'two lengths': [...POST, ['content-length', '1'], ['content-length', '1']],
  'a length that is none': [...POST, ['content-length', '+1']],
  'a length without a body': [...POST, ['content-length', '1']],
  'CONNECT with a path': [[':method', 'CONNECT'], ...GET.slice(1)],
  'CONNECT with a protocol (RFC 8441)': [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)],
};

describe('HTTP/2: malformed requests are stream errors and reach no backend', () => {
  for (const [name, fields] of Object.entries(MALFORMED)) {
    it(name, () =>
      withHttp2({}, async ({ connect, proxy }) => {
        const client = await connect();
        client.headers(1, fields);
        assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
        assert.equal(proxy.decisions, 0);
        const record = await proxy.record();
        assert.equal(record.cause, 'bad_request');
        assert.equal(record.status, 400);
        await client.ping();
      }),
    );
  }

  const WRONG_BODIES: Readonly<Record<string, (client: H2Client) => void>> = {
    longer: (client) => client.data(1, 'abcd'),
    shorter: (client) => client.data(1, 'a', h2.END_STREAM),
    'shorter, with trailers': (client) => client.headers(1, [['x-a', 'b']], h2.END_STREAM),
  };
  for (const [name, send] of Object.entries(WRONG_BODIES)) {
    it(`a body ${name} than its length`, () =>
      withHttp2({}, async ({ connect, request, proxy }) => {
        const client = await connect();
        client.headers(1, [...POST, ['content-length', '3']], 0);
        client.data(1, 'x'.repeat(name === 'longer' ? 0 : 1));
        const { wire } = await request();
        send(client);
        assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
        // It does not look complete to the backend.
        assert.ok((await wire.readToEnd()).length < 3);
        assert.equal((await proxy.record()).cause, 'bad_request');
      }));
  }

  it('trailers with a pseudo-field, or that do not end the stream', () =>
    withHttp2({}, async ({ connect }) => {
      const client = await connect();
      client.headers(1, POST, 0);
      client.headers(1, [[':path', '/']], h2.END_STREAM);
      assert.equal(await client.resetOf(1), h2.PROTOCOL_ERROR);
      client.headers(3, POST, 0);
      client.headers(3, [['x-a', 'b']], 0);
      assert.equal(await client.resetOf(3), h2.PROTOCOL_ERROR);
    }));
});

describe('HTTP/2: refused with a status', () => {
  const REFUSED: Readonly<Record<string, [status: number, fields: Fields]>> = {
    CONNECT: [
      405,
      [
        [':method', 'CONNECT'],
        [':authority', 'a.test:443'],
      ],
    ],
    TRACE: [405, [[':method', 'TRACE'], ...GET.slice(1)]],
    'another expectation': [417, [...GET, ['expect', 'x']]],
    'fields larger than the limit': [431, [...GET, ['x-a', 'b'.repeat(16_380)]]],
    'more fields than the limit': [
      431,
      [...GET, ...Array.from({ length: 101 }, () => ['x-a', 'b'] as const)],
    ],
  };
  for (const [name, [status, fields]] of Object.entries(REFUSED)) {
    it(`${name}: ${status}`, () =>
      withHttp2({}, async ({ connect, proxy }) => {
        const client = await connect();
        const bytes = block(fields);
        client.write(frame(h2.HEADERS, h2.END_STREAM, 1, bytes.subarray(0, 16_384)));
        client.write(frame(h2.CONTINUATION, h2.END_HEADERS, 1, bytes.subarray(16_384)));
        const answer = await client.answer(1);
        assert.equal(answer.status, status);
        assert.equal(Number(answer.fields.get('content-length')), answer.body.length);
        assert.equal(proxy.decisions, 0);
        assert.equal((await proxy.record()).status, status);
        client.headers(3, GET);
        await proxy.settled(() => proxy.decisions === 1, 'the next request');
      }));
  }

  it('a trusted peer may name the scheme of its client, and say who that is', () =>
    withHttp2({ trusts: () => true }, async ({ connect, request, proxy }) => {
      const client = await connect();
      client.headers(1, [GET[0]!, [':scheme', 'http'], ...GET.slice(2), ['x-forwarded-for', '192.0.2.7']]);
      await request();
      assert.equal(proxy.lastView?.address, '192.0.2.7');
    }));

  it('a body over the limit: 413', () =>
    withHttp2({ limits: { body: 10 } }, async ({ connect, proxy }) => {
      const client = await connect();
      client.headers(1, [...POST, ['content-length', '11']], 0);
      assert.equal((await client.answer(1)).status, 413);
      client.headers(3, POST, 0);
      client.data(3, 'x'.repeat(11));
      assert.equal((await client.answer(3)).status, 413);
      assert.equal(await client.resetOf(3), h2.NO_ERROR);
      assert.equal((await proxy.record(2)).cause, 'body_too_large');
    }));
});
