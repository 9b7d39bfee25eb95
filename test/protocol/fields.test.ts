import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Forward } from '../../shared/routing/decision.ts';
import { type ProxyOptions, withProxy } from './harness.ts';
import type { Message } from './wire.ts';

const GET = 'GET / HTTP/1.1\r\nHost: example.com\r\n';

/** What the backend gets for a head. */
async function forwarded(head: string, options: ProxyOptions = {}, body = ''): Promise<Message> {
  let message: Message | null = null;
  await withProxy(options, async (proxy) => {
    const client = await proxy.client();
    client.write(`${head}\r\n${body}`);
    const backend = await proxy.backend.connection();
    message = await backend.readMessage();
    backend.write('HTTP/1.1 204 No Content\r\n\r\n');
    assert.equal((await client.readMessage()).status, 204);
  });
  assert.ok(message !== null);
  return message;
}

/** What the client gets for a response head. */
async function answered(response: string, options: ProxyOptions = {}, request = GET): Promise<Message> {
  let message: Message | null = null;
  await withProxy(options, async (proxy) => {
    const client = await proxy.client();
    client.write(`${request}\r\n`);
    const backend = await proxy.backend.connection();
    await backend.readHead();
    backend.write(response);
    message = await client.readMessage();
  });
  assert.ok(message !== null);
  return message;
}

const change = (changes: Partial<Forward>): ProxyOptions => ({
  decide: (_view, forward) => ({ ...forward, ...changes }),
});

describe('fields of a request', () => {
  it('keep their order, case, repeats and bytes', async () => {
    const fields = 'accept: a\r\nX-ONE:1\r\nCookie: a=1\r\nx-one: 2\r\nX-Utf: \xc3\xa4\tb\r\nCookie: b=2\r\n';
    const { head } = await forwarded(GET + fields);
    assert.ok(head.includes(`\r\n${fields}`), head);
  });

  it('hop-by-hop fields and those named by Connection stay on their hop', async () => {
    const { fields, head } = await forwarded(
      `${GET}Connection: close, X-Secret\r\nConnection: X-Other\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n` +
        'TE: gzip\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nProxy-Authorization: Basic eA==\r\n' +
        'X-SECRET: 1\r\nx-other: 2\r\nX-Kept: 3\r\n',
    );
    for (const name of [
      'connection',
      'keep-alive',
      'proxy-connection',
      'te',
      'trailer',
      'upgrade',
      'http2-settings',
      'proxy-authorization',
      'x-secret',
      'x-other',
    ]) {
      assert.equal(fields.has(name), false, `${name} in ${head}`);
    }
    assert.equal(fields.get('x-kept'), '3');
  });

  it('Connection cannot remove framing, routing or what the proxy sets', async () => {
    const message = await forwarded(
      'POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\n' +
        'Connection: Host, Content-Length, X-Forwarded-For, X-Real-IP, X-Request-Id\r\n',
      {},
      'abc',
    );
    assert.equal(message.fields.get('host'), 'example.com');
    assert.equal(message.fields.get('content-length'), '3');
    assert.equal(message.body, 'abc');
    assert.equal(message.fields.get('x-forwarded-for'), '127.0.0.1');
    assert.equal(message.fields.get('x-real-ip'), '127.0.0.1');
    assert.ok(message.fields.has('x-request-id'));
  });

  it('TE: trailers is passed on with its connection option', async () => {
    const { fields } = await forwarded(`${GET}TE: gzip;q=0.5, trailers\r\nConnection: TE\r\n`);
    assert.equal(fields.get('te'), 'trailers');
    assert.equal(fields.get('connection'), 'TE');
  });

  it('forwarding fields of an untrusted peer are replaced', async () => {
    const { fields, head } = await forwarded(
      `${GET}X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n` +
        'X-Forwarded-User: admin\r\nForwarded: for=1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Request-Id: mine\r\n',
    );
    assert.equal(fields.get('x-forwarded-for'), '127.0.0.1');
    assert.equal(fields.get('x-forwarded-proto'), 'http');
    assert.equal(fields.get('x-forwarded-host'), 'example.com');
    assert.equal(fields.get('x-forwarded-port'), '80');
    assert.equal(fields.get('x-real-ip'), '127.0.0.1');
    assert.equal(fields.has('forwarded'), false);
    assert.equal(fields.has('x-forwarded-user'), false);
    assert.match(fields.get('x-request-id')!, /^[a-zA-Z0-9]{19}$/);
    assert.equal(fields.get('via'), '1.1 kontrol');
    assert.doesNotMatch(head, /1\.2\.3\.4|evil|mine/);
  });

  it('forwarding fields of a trusted peer are believed and added to', async () => {
    const { fields } = await forwarded(
      `${GET}X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n` +
        'X-Forwarded-Host: shop.example.com\r\nX-Forwarded-User: admin\r\nX-Request-Id: given-1\r\n',
      { trusts: (address) => address === '127.0.0.1' || address.startsWith('10.') },
    );
    assert.equal(fields.get('x-forwarded-for'), '6.6.6.6, 1.2.3.4, 10.0.0.9, 127.0.0.1');
    assert.equal(fields.get('x-real-ip'), '1.2.3.4');
    assert.equal(fields.get('x-forwarded-proto'), 'https');
    assert.equal(fields.get('x-forwarded-port'), '443');
    assert.equal(fields.get('x-forwarded-host'), 'shop.example.com');
    assert.equal(fields.get('x-forwarded-user'), 'admin');
    assert.equal(fields.get('x-request-id'), 'given-1');
  });

  it('Proxy and underscore twins of what the proxy vouches for are dropped, other underscores are not', async () => {
    const { fields } = await forwarded(
      `${GET}Proxy: http://evil\r\nX_Forwarded_For: 1.2.3.4\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n` +
        'X_Real-IP: 1.2.3.4\r\nX_Own: 1\r\nHost_: a\r\n',
    );
    for (const name of ['proxy', 'x_forwarded_for', 'content_length', 'transfer_encoding', 'x_real-ip']) {
      assert.equal(fields.has(name), false, name);
    }
    assert.equal(fields.get('x_own'), '1');
    assert.equal(fields.get('host_'), 'a');
  });

  it('traceparent and authorization are passed on', async () => {
    const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { fields } = await forwarded(`${GET}traceparent: ${trace}\r\nAuthorization: Basic eA==\r\n`);
    assert.equal(fields.get('traceparent'), trace);
    assert.equal(fields.get('authorization'), 'Basic eA==');
  });

  it('Via is added to what is there, and left out when it is switched off', async () => {
    assert.equal((await forwarded(`${GET}Via: 1.1 cdn\r\n`)).fields.get('via'), '1.1 cdn, 1.1 kontrol');
    assert.equal((await forwarded(GET, { via: false })).fields.has('via'), false);
  });

  it('a service may set its own Host, the original goes on as X-Forwarded-Host', async () => {
    const { fields } = await forwarded(GET, { service: { host: 'inner.local' } });
    assert.equal(fields.get('host'), 'inner.local');
    assert.equal(fields.get('x-forwarded-host'), 'example.com');
  });

  it('the changes of a route win, but not over framing', async () => {
    const { fields, body } = await forwarded(
      `POST / HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nContent-Length: 2\r\n`,
      change({
        request: {
          set: [
            ['x-a', 'new'],
            ['x-real-ip', '9.9.9.9'],
            ['content-length', '99'],
            ['transfer-encoding', 'chunked'],
            ['x-evil', 'a\r\nX-Injected: 1'],
          ],
          add: [['x-b', 'more']],
          remove: new Set(['x-c', 'via', 'content-length']),
        },
      }),
      'ab',
    );
    assert.equal(fields.get('x-a'), 'new');
    assert.equal(fields.get('x-b'), '2, more');
    assert.equal(fields.has('x-c'), false);
    assert.equal(fields.has('via'), false);
    assert.equal(fields.get('x-real-ip'), '9.9.9.9');
    assert.equal(fields.get('content-length'), '2');
    assert.equal(fields.has('x-injected'), false);
    assert.equal(body, 'ab');
  });
});

describe('targets', () => {
  const targets: Record<string, [target: string, line: string, host: string]> = {
    'quotes, doubled slashes, dots and escapes': [
      "/a//b/../c/%2e%2E/'x'?q=%00&|{}",
      "/a//b/../c/%2e%2E/'x'?q=%00&|{}",
      'example.com',
    ],
    'an absolute form': ['http://Other.example:81/a?b', '/a?b', 'Other.example:81'],
    'an absolute form without path': ['http://other.example', '/', 'other.example'],
    'an absolute form with a query only': ['HTTP://other.example?x=1', '/?x=1', 'other.example'],
    'an IPv6 authority': ['http://[::1]:80/x', '/x', '[::1]:80'],
  };
  for (const [what, [target, line, host]] of Object.entries(targets)) {
    it(`${what} go on byte for byte`, async () => {
      const message = await forwarded(`GET ${target} HTTP/1.1\r\nHost: example.com\r\n`);
      assert.equal(message.line, `GET ${line} HTTP/1.1`);
      assert.equal(message.fields.get('host'), host);
    });
  }

  it('a new path keeps the query, and what a target cannot hold is encoded', async () => {
    const message = await forwarded(
      'GET /old?a=1 HTTP/1.1\r\nHost: a\r\n',
      change({ path: '/n w/\u00e9?#' }),
    );
    assert.equal(message.line, 'GET /n%20w/%C3%A9%3F%23?a=1 HTTP/1.1');
  });

  it('unknown methods pass', async () => {
    assert.equal((await forwarded('BREW / HTTP/1.1\r\nHost: a\r\n')).line, 'BREW / HTTP/1.1');
  });

  it('the view says what routing needs', () =>
    withProxy({ secure: true }, async (proxy) => {
      const client = await proxy.client();
      client.write(
        'GET /a/b?c HTTP/1.1\r\nHost: Sub.EXAMPLE.com.:8443\r\nCookie: a=1\r\nX-A: 1\r\nCookie: b=2\r\nx-a: 2\r\n\r\n',
      );
      const backend = await proxy.backend.connection();
      await backend.readHead();
      const view = proxy.lastView!;
      assert.equal(view.host, 'sub.example.com');
      assert.equal(view.rawPath, '/a/b');
      assert.equal(view.query, '?c');
      assert.equal(view.secure, true);
      assert.equal(view.address, '127.0.0.1');
      assert.equal(view.header('cookie'), 'a=1; b=2');
      assert.equal(view.header('x-a'), '1, 2');
      assert.equal(view.header('x-b'), undefined);
    }));

  it('OPTIONS * is forwarded as *, or answered when there is no site', async () => {
    const message = await forwarded('OPTIONS * HTTP/1.1\r\nHost: a\r\n');
    assert.equal(message.line, 'OPTIONS * HTTP/1.1');
    for (const cause of ['host_unknown', 'route_unknown', 'no_routes'] as const) {
      await withProxy(
        {
          decide: ({ rawPath }, { labels }) => {
            assert.equal(rawPath, '*');
            return { type: 'page', cause, retryAfter: null, labels, response: null };
          },
        },
        async (proxy) => {
          const client = await proxy.client();
          client.write('OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n');
          const answer = await client.readMessage();
          assert.equal(answer.status, 204, cause);
          assert.ok(answer.fields.has('allow'));
          assert.equal(answer.fields.has('content-length'), false);
        },
      );
    }
  });

  it('Max-Forwards counts down on OPTIONS, and 0 is answered here', async () => {
    const message = await forwarded('OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n');
    assert.equal(message.fields.get('max-forwards'), '1');
    assert.equal((await forwarded(`${GET}Max-Forwards: 2\r\n`)).fields.get('max-forwards'), '2');
    await withProxy({}, async (proxy) => {
      const client = await proxy.client();
      client.write('OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n');
      assert.equal((await client.readMessage()).status, 204);
      assert.equal(proxy.backend.accepted.length, 0);
    });
  });
});

describe('fields of an answer', () => {
  it('keep their order, case, repeats and reason phrase', async () => {
    const fields = 'Set-Cookie: a=1\r\nx-one:1\r\nSET-COOKIE: b=2\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\n';
    const { head, line } = await answered(
      `HTTP/1.1 299 Very Fine \xe4\r\n${fields}Content-Length: 0\r\n\r\n`,
    );
    assert.ok(head.includes(`\r\n${fields}`), head);
    assert.equal(line, 'HTTP/1.1 299 Very Fine \xe4');
  });

  it('hop-by-hop fields stay, the version is ours, Date comes once', async () => {
    const { fields, line } = await answered(
      'HTTP/1.0 200 OK\r\nConnection: keep-alive, X-Secret\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n' +
        'Upgrade: h2c\r\nX-Secret: 1\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\nDate: Wed, 16 Nov 1994 08:12:31 GMT\r\n' +
        'Content-Length: 0\r\n\r\n',
    );
    assert.equal(line, 'HTTP/1.1 200 OK');
    assert.equal(fields.get('date'), 'Tue, 15 Nov 1994 08:12:31 GMT');
    for (const name of ['connection', 'keep-alive', 'proxy-authenticate', 'upgrade', 'x-secret']) {
      assert.equal(fields.has(name), false, name);
    }
  });

  it('Date is added when it is missing, and space before a colon removed', async () => {
    const { fields, head } = await answered('HTTP/1.1 200 OK\r\nX-A \t: 1\r\nContent-Length: 0\r\n\r\n');
    assert.match(fields.get('date')!, /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
    assert.ok(head.includes('\r\nX-A: 1\r\n'), head);
  });

  it('an empty reason phrase gets its space', async () => {
    assert.equal((await answered('HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n')).line, 'HTTP/1.1 200 ');
  });

  it('the changes of a route are made, but not to framing', async () => {
    const changes = {
      set: [
        ['x-a', 'new'],
        ['content-length', '99'],
      ],
      add: [['set-cookie', 'c=3']],
      remove: new Set(['server', 'transfer-encoding']),
    } as const;
    const { fields, body } = await answered(
      'HTTP/1.1 200 OK\r\nServer: x\r\nX-A: 1\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok',
      change({ response: changes }),
    );
    assert.equal(fields.get('x-a'), 'new');
    assert.equal(fields.get('set-cookie'), 'a=1, c=3');
    assert.equal(fields.has('server'), false);
    assert.equal(fields.get('content-length'), '2');
    assert.equal(body, 'ok');
  });
});

describe('answers of the proxy', () => {
  const own = (
    decision: (forward: Forward) => ReturnType<NonNullable<ProxyOptions['decide']>>,
  ): ProxyOptions => ({
    decide: (_view, forward) => decision(forward),
  });

  it('redirects say where, carry the request id, and cannot be split', () =>
    withProxy(
      own(({ labels }) => ({
        type: 'redirect',
        status: 308,
        location: 'https://a.example/\r\nX-Evil: 1',
        labels,
        response: { set: [['strict-transport-security', 'max-age=1']], add: [], remove: new Set() },
      })),
      async (proxy) => {
        const client = await proxy.client();
        client.write(`${GET}\r\n`);
        const answer = await client.readMessage();
        assert.equal(answer.line, 'HTTP/1.1 308 Permanent Redirect');
        assert.equal(answer.fields.get('location'), 'https://a.example/  X-Evil: 1');
        assert.equal(answer.fields.get('strict-transport-security'), 'max-age=1');
        assert.equal(answer.fields.get('x-request-id'), (await proxy.record()).id);
        assert.equal(answer.fields.get('content-length'), '0');
      },
    ));

  it('fixed answers have the same head for HEAD', () =>
    withProxy(
      own(({ labels }) => ({
        type: 'answer',
        status: 200,
        contentType: 'text/plain',
        body: 'gr\u00fc\u00df',
        labels,
        response: null,
      })),
      async (proxy) => {
        const client = await proxy.client();
        client.write(`${GET}\r\n`);
        const answer = await client.readMessage();
        assert.equal(Buffer.from(answer.body, 'latin1').toString(), 'gr\u00fc\u00df');
        client.write(`${GET.replace('GET', 'HEAD')}\r\n`);
        const head = await client.readMessage({ bodiless: true });
        const strip = (text: string) => text.replace(/(X-Request-Id|Date): .*\r\n/g, '');
        assert.equal(strip(head.head), strip(answer.head));
        client.write(`${GET}\r\n`);
        assert.equal((await client.readMessage()).status, 200);
      },
    ));

  it('a date that the route sets is the only one', () =>
    withProxy(
      own(({ labels }) => ({
        type: 'answer',
        status: 200,
        contentType: 'text/plain',
        body: 'ok',
        labels,
        response: { set: [['date', 'Thu, 01 Jan 1970 00:00:00 GMT']], add: [], remove: new Set() },
      })),
      async (proxy) => {
        const client = await proxy.client();
        client.write(`${GET}\r\n`);
        const { head } = await client.readMessage();
        assert.deepEqual(head.match(/^date: .*$/gim), ['date: Thu, 01 Jan 1970 00:00:00 GMT']);
      },
    ));

  it('a body that was announced to an own answer is read and dropped when it is short', () =>
    withProxy(
      own(({ labels }) => ({ type: 'page', cause: 'route_unknown', retryAfter: 7, labels, response: null })),
      async (proxy) => {
        const client = await proxy.client();
        client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n');
        const answer = await client.readMessage();
        assert.equal(answer.status, 404);
        assert.equal(answer.fields.get('retry-after'), '7');
        assert.equal(answer.fields.has('connection'), false);
        client.write(
          `${'GET /smuggled HTTP/1.1\r\nHost: a\r\n'.padEnd(40, 'x')}GET /next HTTP/1.1\r\nHost: a\r\n\r\n`,
        );
        assert.equal((await client.readMessage()).status, 404);
        assert.deepEqual(
          proxy.records.map((record) => record.target),
          ['/', '/next'],
        );
      },
    ));

  it('a long or chunked body that nobody wants ends the connection', () =>
    withProxy(
      own(({ labels }) => ({
        type: 'page',
        cause: 'route_unknown',
        retryAfter: null,
        labels,
        response: null,
      })),
      async (proxy) => {
        for (const framing of ['Content-Length: 1000000', 'Transfer-Encoding: chunked']) {
          const client = await proxy.client();
          client.write(`POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n`);
          const answer = await client.readMessage();
          assert.equal(answer.status, 404);
          assert.equal(answer.fields.get('connection'), 'close');
          assert.equal(await client.readToEnd(), '');
        }
      },
    ));
});
