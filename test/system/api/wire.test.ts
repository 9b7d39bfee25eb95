import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { generate } from 'selfsigned';
import { type ApiUnderTest, listOf, startApiUnderTest, TOKEN } from './api-under-test.ts';
import { until } from './until.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
});
after(() => api.close());

const raw = (method: string, path: string, body: string | Uint8Array, type = 'application/json') =>
  fetch(api.url + path, {
    method,
    body: body as RequestInit['body'],
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': type },
  });

test('every answer carries a request id and refuses to be framed, sniffed, cached or read by other origins', async () => {
  const reply = await api.get('/v1/services', { headers: { origin: 'https://evil.example' } });
  assert.match(reply.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(reply.headers.get('x-content-type-options'), 'nosniff');
  assert.equal(reply.headers.get('cache-control'), 'no-store');
  assert.match(reply.headers.get('content-security-policy') ?? '', /default-src 'none'/);
  assert.equal(reply.headers.get('access-control-allow-origin'), null);
  assert.equal(reply.headers.get('x-powered-by'), null);
  const preflight = await api.call('OPTIONS', '/v1/services');
  assert.equal(preflight.status, 405);
  assert.equal(preflight.headers.get('access-control-allow-origin'), null);
});

test('an unknown path is 404, an unknown method 405 with Allow, a broken path 400, all as problems', async () => {
  const unknown = await api.get('/v1/planets');
  assert.deepEqual([unknown.status, unknown.body.code], [404, 'not_found']);
  const method = await api.post('/v1/services/x', {});
  assert.deepEqual([method.status, method.headers.get('allow')], [405, 'DELETE, GET, HEAD, PATCH, PUT']);
  const broken = await api.get('/v1/services/%ff');
  assert.equal(broken.status, 400);
  for (const { headers, body } of [unknown, method, broken]) {
    assert.equal(headers.get('content-type'), 'application/problem+json');
    assert.equal(body.requestId, headers.get('x-request-id'));
  }
  assert.equal((await fetch(`${api.url}/healthz`, { method: 'HEAD' })).status, 200);
});

test('bodies are JSON objects in UTF-8, and nothing else', async () => {
  const cases: [string, string | Uint8Array, string, number, string][] = [
    ['form', 'a=b', 'application/x-www-form-urlencoded', 415, 'media_type'],
    ['text', '{}', 'text/plain', 415, 'media_type'],
    ['broken', '{', 'application/json', 400, 'not_json'],
    ['latin-1', new Uint8Array([0x22, 0xe4, 0x22]), 'application/json', 400, 'not_json'],
    ['list', '[]', 'application/json', 400, 'invalid'],
    ['null', 'null', 'application/json', 400, 'invalid'],
  ];
  for (const [name, body, type, status, code] of cases) {
    const reply = await raw('PUT', '/v1/services/wire', body, type);
    assert.equal(reply.status, status, name);
    assert.equal(((await reply.json()) as { code: string }).code, code, name);
  }
  assert.equal(
    (await raw('PATCH', '/v1/settings', '{}', 'application/merge-patch+json; charset=utf-8')).status,
    200,
  );
  assert.equal((await api.put('/v1/services/wire', undefined)).status, 400);
  assert.equal((await api.delete('/v1/services/wire', { body: { force: true } })).status, 400);
});

test('whose token is revoked while the body comes does not get what it asks for', async () => {
  const made = await api.post('/v1/tokens', { name: 'slow', role: 'operator' });
  const body = JSON.stringify({ labels: { a: 'b' } });
  const call = plainRequest(`${api.url}/v1/services/slow`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${made.body.token}`,
      'content-type': 'application/json',
      'content-length': body.length,
    },
  });
  const answered = once(call, 'response');
  call.write(body.slice(0, 5));
  const used = async () => {
    const tokens = listOf((await api.get('/v1/tokens')).body.items);
    return tokens.some(({ name, lastUsed }) => String(name) === 'slow' && lastUsed !== null);
  };
  await until(used);
  await api.delete('/v1/tokens/slow');
  call.end(body.slice(5));
  const [response] = (await answered) as [IncomingMessage];
  response.resume();
  assert.equal(response.statusCode, 401);
  assert.equal((await api.get('/v1/services/slow')).status, 404);
});

test('a body beyond its limit is 413, and its sender gets to read that', async () => {
  const filler = (bytes: number) => JSON.stringify({ name: 'x', filler: 'y'.repeat(bytes) });
  for (const [method, path, bytes] of [
    ['PUT', '/v1/services/big', 1_100_000],
    ['POST', '/v1/apply', 17_000_000],
  ] as const) {
    const reply = await raw(method, path, filler(bytes));
    assert.equal(reply.status, 413, path);
    assert.equal(((await reply.json()) as { code: string }).code, 'too_large');
  }
  // Without a declared length: the limit is on what arrives.
  const stream = new ReadableStream({
    start(controller) {
      for (let piece = 0; piece < 40; piece++)
        controller.enqueue(new TextEncoder().encode(' '.repeat(65_536)));
      controller.close();
    },
  });
  const chunked = await fetch(`${api.url}/v1/services/big`, {
    method: 'PUT',
    body: stream,
    duplex: 'half',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
  } as RequestInit);
  assert.equal(chunked.status, 413);
  assert.equal((await raw('POST', '/v1/apply', filler(2_000_000))).status, 400, 'apply may be larger');
});

test('depth is bounded, names of prototypes are harmless, operators are no strings', async () => {
  const deep = `{"labels":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`;
  const refused = await raw('PUT', '/v1/services/deep', deep);
  assert.equal(refused.status, 400);
  assert.match(((await refused.json()) as { detail: string }).detail, /nested deeper than 32 levels/);
  for (const body of ['{"__proto__":{"enabled":false}}', '{"labels":{"__proto__":{"x":"y"}}}']) {
    assert.equal((await raw('PATCH', '/v1/settings', body)).status, 400, body);
  }
  const labels = { constructor: 'a', prototype: 'b', toString: 'c' };
  const put = await api.put('/v1/services/proto', { labels });
  assert.equal(put.status, 201);
  assert.deepEqual((await api.get('/v1/services/proto')).body.labels, labels);
  assert.equal(({} as Record<string, unknown>).enabled, undefined);
  const operator = { $gt: '' };
  assert.equal(
    (await api.post('/v1/session', { user: operator, password: operator }, { token: null })).status,
    400,
  );
  assert.equal((await api.put('/v1/services/op', { name: operator })).status, 400);
  assert.equal((await api.put('/v1/domains/op.test', { service: operator })).status, 400);
  assert.equal((await api.post('/v1/tokens', { name: operator, role: 'admin' })).status, 400);
  assert.equal((await api.get('/v1/services?q[$gt]=')).status, 400);
});

test('what a worker tells of itself is bounded, since every kontrolapi keeps and lists it', async () => {
  const worker = (entries: number) => ({
    service: 'bounded',
    port: 3_000,
    meta: Object.fromEntries(Array.from({ length: entries }, (_, index) => [`m${index}`, 'x'])),
  });
  assert.equal((await api.post('/v1/workers', worker(64))).status, 201);
  const refused = await api.post('/v1/workers', worker(65));
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body), /meta has at most 64 entries/);
});

test('the OpenAPI document describes every path with its parameters, roles and bodies', async () => {
  const { body } = await api.get('/openapi.json');
  assert.equal(body.openapi, '3.1.0');
  const put = body.paths?.['/v1/domains/{name}']?.put;
  const schema = put?.requestBody?.content?.['application/json']?.schema;
  assert.ok(schema?.properties?.routes);
  assert.equal(schema?.additionalProperties, false);
  assert.deepEqual(
    listOf(put?.parameters).map(({ name }) => String(name)),
    ['name', 'dryRun', 'wait', 'timeout', 'confirmWithin', 'message'],
  );
  assert.deepEqual(body.paths?.['/v1/users']?.get?.['x-roles'], ['admin']);
  assert.ok(
    body.paths?.['/v1/apply'] && body.paths?.['/v1/services/{service}/keys/{key}/backends/{address}'],
  );
});

test('readyz and metrics tell the state of the API', async () => {
  const ready = await api.get('/readyz', { token: null });
  assert.deepEqual([ready.status, ready.body.ready, ready.body.store], [200, true, 'up']);
  const text = await (await fetch(`${api.url}/metrics`)).text();
  assert.match(text, /^kontrol_api_requests_total\{method="GET",status="2xx"\} \d+$/m);
  assert.match(text, /^kontrol_api_store_up 1$/m);
});

test('with --api-cert and --api-key the API speaks TLS and its cookie is Secure', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-tls-'));
  const pems = await generate([{ name: 'commonName', value: 'localhost' }]);
  const [apiCert, apiKey] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  await writeFile(apiCert, pems.cert);
  await writeFile(apiKey, pems.private);
  const secure = await startApiUnderTest({ apiCert, apiKey });
  assert.match(secure.url, /^https:/);
  const call = (method: string, path: string, token: string, body?: object) =>
    new Promise<{ status: number; cookie: string }>((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body);
      const outgoing = request(
        secure.url + path,
        {
          method,
          ca: pems.cert,
          servername: 'localhost',
          checkServerIdentity: () => undefined,
          headers: {
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            'content-length': text.length,
          },
          agent: false,
        },
        (answer) => {
          answer.resume();
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, cookie: String(answer.headers['set-cookie']) }),
          );
        },
      );
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  assert.equal((await call('GET', '/v1/services', TOKEN)).status, 200);
  await call('PUT', '/v1/users/eve', TOKEN, { role: 'viewer', password: 'long enough for it' });
  const session = await call('POST', '/v1/session', '', { user: 'eve', password: 'long enough for it' });
  assert.match(session.cookie, /; Secure/);
  await secure.close();
  await rm(folder, { recursive: true });
});

test('what cannot start says so in one line', async () => {
  const port = Number(new URL(api.url).port);
  const starts: [Parameters<typeof startApiUnderTest>[0], RegExp][] = [
    [{ api: { host: '127.0.0.1', port } }, /is in use/],
    [{ apiCert: '/nonexistent/cert.pem', apiKey: '/nonexistent/key.pem' }, /--api-cert: cannot read/],
    [{ apiCert: '/nonexistent/cert.pem' }, /go together/],
  ];
  for (const [settings, expected] of starts) {
    await assert.rejects(startApiUnderTest(settings), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'cannot_start');
      assert.match(error.message, expected);
      assert.ok(!error.message.includes('\n'));
      return true;
    });
  }
});
