import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { certificateFor } from '../../../proxy/tls/testing.ts';
import { Cluster } from '../../cluster.ts';
import { type Answer, type Asking, ask, causeOf } from './asking.ts';
import { Backend, type Heard, Nginx } from './backends.ts';
import { FORMS, type Visit } from './routing-cases.ts';

let cluster: Cluster;
const backends: Backend[] = [];
const backend = async (name: string): Promise<string> => {
  const started = await Backend.start(name);
  backends.push(started);
  return started.address;
};
const get = (host: string, path = '/', asking: Asking = {}): Promise<Answer> =>
  ask(cluster.nodes[0]!.http, host, path, asking);
const heard = (answer: Answer): Heard => {
  assert.equal(answer.status, 200, `${answer.status} ${answer.body.slice(0, 200)}`);
  return JSON.parse(answer.body) as Heard;
};

before(async () => {
  cluster = await Cluster.start(1);
});
after(async () => {
  await cluster.close();
  await Promise.all(backends.map((each) => each.close()));
});

test('a proxy without any site answers 404 and says how to get one', async () => {
  const answer = await get('shop.example.com');
  assert.deepEqual([answer.status, causeOf(answer)], [404, 'no_routes']);
  assert.match(answer.body, /kontrol set domain/);
});

test('every form of host, path, target and change', async (t) => {
  const service = (name: string, keys: Record<string, unknown>, more: object = {}) => ({
    kind: 'service',
    name,
    keys,
    ...more,
  });
  const one = async (name: string) => ({ '1': { backends: [{ address: await backend(name) }] } });
  const builds = {
    '40': { backends: [{ address: await backend('build 40') }] },
    '41': { enabled: false, backends: [{ address: '127.0.0.1:1' }] },
    '42': { backends: [{ address: await backend('build 42') }] },
    '43': { backends: [] },
  };
  await cluster.apply(
    service('a', await one('a')),
    service('b', await one('b')),
    service('c', await one('c')),
    service('own-host', await one('own-host'), { host: 'inner.example.net' }),
    service('off', await one('off'), { enabled: false }),
    service('dead', { '1': { backends: [{ address: '127.0.0.1:1' }] } }),
    service('empty', {}),
    service('builds', builds),
    service('pinned', builds, { latest: 40 }),
    ...FORMS.flatMap(({ domains }) => domains.map((domain) => ({ kind: 'domain', ...domain }))),
  );
  for (const { what, visits } of FORMS) {
    await t.test(what, async () => {
      for (const visit of visits) await check(visit);
    });
  }
});

async function check(visit: Visit): Promise<void> {
  const { host, path = '/', asking = {}, to, status = 200, cause = null } = visit;
  const said = `${asking.method ?? 'GET'} ${host}${path}`;
  const answer = await get(host, path, asking);
  assert.equal(answer.status, status, `${said}: ${answer.body.slice(0, 200)}`);
  assert.equal(causeOf(answer), cause, said);
  if (to !== undefined) {
    const { name, url } = heard(answer);
    assert.equal(`${name} ${url}`, to, said);
  }
  if (visit.body !== undefined) assert.equal(answer.body, visit.body, said);
  for (const [name, value] of Object.entries(visit.headers ?? {}))
    assert.equal(answer.headers[name] ?? null, value, `${said}: ${name}`);
  for (const [name, value] of Object.entries(visit.got ?? {}))
    assert.equal(heard(answer).headers[name] ?? null, value, `${said}: backend's ${name}`);
}

test('header fields go through route changes both ways, repeats and all', async () => {
  const address = await Backend.start('fields', {
    handler: (request, response) => {
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('x-powered-by', 'secret');
      response.setHeader('x-frame-options', 'SAMEORIGIN');
      response.end(JSON.stringify(request.rawHeaders));
    },
  });
  backends.push(address);
  await cluster.apply(
    { kind: 'service', name: 'fields', backends: [address.address] },
    {
      kind: 'domain',
      name: 'fields.example.com',
      routes: [
        {
          service: 'fields',
          request: { set: { 'x-from': 'proxy' }, add: { accept: 'text/x' }, remove: ['x-secret', 'cookie'] },
          response: {
            set: { 'x-frame-options': 'DENY' },
            add: { 'set-cookie': 'c=3' },
            remove: ['x-powered-by'],
          },
        },
      ],
    },
  );
  const answer = await get('fields.example.com', '/', {
    headers: { 'X-From': 'me', 'X-Secret': '1', cookie: 'x=y', accept: '*/*', 'X-Kept': 'yes' },
  });
  const raw = JSON.parse(answer.body) as string[];
  const values = (name: string) =>
    raw.flatMap((text, index) => (index % 2 === 0 && text.toLowerCase() === name ? [raw[index + 1]] : []));
  assert.deepEqual(values('x-from'), ['proxy']);
  assert.deepEqual(values('accept'), ['*/*', 'text/x']);
  assert.deepEqual([values('x-secret'), values('cookie'), values('x-kept')], [[], [], ['yes']]);
  assert.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2', 'c=3']);
  assert.equal(answer.headers['x-frame-options'], 'DENY');
  assert.equal(answer.headers['x-powered-by'], undefined);
});

test('latest follows a new build once it has a backend, and never goes back by itself', async () => {
  const host = 'latest.example.com';
  const put = (keys: Record<string, string[]>, more: object = {}) =>
    cluster.apply({
      kind: 'service',
      name: 'moving',
      keys: Object.fromEntries(
        Object.entries(keys).map(([key, list]) => [key, { backends: list.map((address) => ({ address })) }]),
      ),
      ...more,
    });
  const [seven, eight] = [await backend('7'), await backend('8')];
  await put({ '7': [seven] });
  await cluster.apply({ kind: 'domain', name: host, service: 'moving' });
  assert.equal(heard(await get(host)).name, '7');
  await put({ '7': [seven], '8': [] });
  assert.equal(heard(await get(host)).name, '7');
  await put({ '7': [seven], '8': [eight] });
  assert.equal(heard(await get(host)).name, '8');
  // What had a ready backend is remembered within seconds.
  await cluster.until('an empty newest build stays the newest', async () => {
    await put({ '7': [seven], '8': [] });
    if (causeOf(await get(host)) === 'no_backend') return true;
    await put({ '7': [seven], '8': [eight] });
    return false;
  });
  await put({ '7': [seven], '8': [eight] }, { latest: 7 });
  assert.equal(heard(await get(host)).name, '7');
});

test('a change is seen by the next request, a deletion too', async () => {
  await cluster.apply({ kind: 'domain', name: 'brief.example.org', service: 'a' });
  assert.equal(heard(await get('brief.example.org')).name, 'a');
  await cluster.apply({ kind: 'domain', name: 'brief.example.org', service: 'b' });
  assert.equal(heard(await get('brief.example.org')).name, 'b');
  await cluster.ok('DELETE', '/v1/domains/brief.example.org?wait=all&timeout=10s');
  assert.equal(causeOf(await get('brief.example.org')), 'host_unknown');
});

test('a default domain takes every host that no other claims', async () => {
  await cluster.apply({ kind: 'domain', name: '*', routes: [{ answer: { body: 'default' } }] });
  for (const host of ['nobody.example.org', '192.0.2.1', '[2001:db8::1]', 'constructor'])
    assert.equal((await get(host)).body, 'default', host);
  assert.equal(heard(await get('exact.example.com')).name, 'a');
  await cluster.ok('DELETE', '/v1/domains/*?wait=all&timeout=10s');
});

test('maintenance of everything goes before any domain, and whoever may pass does', async () => {
  const bypass = { cookie: { name: 'pass', value: 'let-me' } };
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { maintenance: { bypass } });
  const answer = await get('exact.example.com');
  assert.deepEqual([answer.status, causeOf(answer)], [503, 'maintenance']);
  assert.equal(heard(await get('exact.example.com', '/', { headers: { cookie: 'pass=let-me' } })).name, 'a');
  await cluster.ok('PATCH', '/v1/settings?wait=all&timeout=10s', { maintenance: false });
  assert.equal(heard(await get('exact.example.com')).name, 'a');
});

test('https: allowed, redirected to, or the only way; HSTS over https alone, also on answers of the proxy', async () => {
  const [node] = cluster.nodes;
  const { certificate, key } = await certificateFor(['*.https.example.com']);
  const site = (name: string, more: object) => ({
    kind: 'domain',
    name: `${name}.https.example.com`,
    routes: [
      { path: '/', service: 'a' },
      { path: '/own', service: 'a', response: { set: { 'strict-transport-security': 'max-age=1' } } },
      { path: '/gone', answer: { status: 410, body: 'gone' } },
      { path: '/missing', service: 'missing' },
    ],
    ...more,
  });
  await cluster.apply(
    { kind: 'certificate', name: 'https', certificate, key },
    site('allow', { hsts: { maxAge: '1d' } }),
    site('redirect', { https: 'redirect', hsts: { maxAge: '365d', includeSubDomains: true, preload: true } }),
    site('only', { https: 'only' }),
  );
  const port = node!.https;
  const secure = async (host: string, path = '/') => {
    await cluster.until('https answers', () => ask(port, host, '/', { serverName: host }).then(() => true));
    return ask(port, host, path, { serverName: host });
  };

  const allow = 'allow.https.example.com';
  assert.equal((await get(allow)).headers['strict-transport-security'], undefined);
  const over = await secure(allow);
  assert.equal(over.headers['strict-transport-security'], 'max-age=86400');
  assert.equal(heard(over).headers['x-forwarded-proto'], 'https');
  assert.equal(heard(over).headers['x-forwarded-port'], String(port));
  assert.equal((await secure(allow, '/own')).headers['strict-transport-security'], 'max-age=1');
  for (const path of ['/gone', '/missing'])
    assert.equal((await secure(allow, path)).headers['strict-transport-security'], 'max-age=86400', path);

  const redirect = 'redirect.https.example.com';
  const sent = await get(redirect, '/a%20b?x=1', { method: 'POST', body: 'x' });
  assert.equal(sent.status, 308);
  assert.equal(sent.headers.location, `https://${redirect}:${port}/a%20b?x=1`);
  assert.equal(sent.headers['strict-transport-security'], undefined);
  const there = await secure(redirect);
  assert.equal(heard(there).name, 'a');
  assert.equal(there.headers['strict-transport-security'], 'max-age=31536000; includeSubDomains; preload');

  const only = 'only.https.example.com';
  const refused = await get(only);
  assert.deepEqual([refused.status, causeOf(refused)], [403, 'https_only']);
  assert.equal(heard(await secure(only)).name, 'a');
});

test('answers of a real server pass untouched: statuses, ranges, conditions, redirects, HEAD', async (t) => {
  const nginx = await Nginx.start(`
    location = /text { default_type text/plain; add_header ETag '"v1"'; return 200 "0123456789"; }
    location = /page { add_header X-Repeated one; add_header X-Repeated two; alias /etc/hostname; }
    location = /moved { return 301 https://elsewhere.example.com/; }
    location = /teapot { return 418 "short and stout"; }
    location = /limited { add_header Retry-After 7 always; return 503 "mine"; }`);
  // Where nginx is missing another real server stands in for it.
  const other = nginx === null ? await Backend.start('stand-in') : null;
  t.after(() => nginx?.close() ?? other?.close());
  const address = nginx?.address ?? other!.address;
  await cluster.apply(
    { kind: 'service', name: 'nginx', backends: [address] },
    { kind: 'domain', name: 'nginx.example.com', service: 'nginx' },
  );
  const cases: [path: string, asking?: Asking][] = [
    ['/text'],
    ['/page'],
    ['/page', { method: 'HEAD' }],
    ['/page', { headers: { range: 'bytes=0-2' } }],
    ['/page', { headers: { 'if-modified-since': new Date(Date.now() + 60_000).toUTCString() } }],
    ['/moved'],
    ['/teapot'],
    ['/limited'],
    ['/nowhere'],
    ['/page', { method: 'DELETE' }],
  ];
  const essence = ({ status, rawHeaders, body }: Answer) => {
    const fields = rawHeaders.flatMap((name, index) =>
      index % 2 === 1 || /^(date|connection|keep-alive)$/i.test(name)
        ? []
        : [`${name}: ${rawHeaders[index + 1]}`],
    );
    return { status, fields, body };
  };
  for (const [path, asking] of cases) {
    const direct = await ask(Number(address.split(':')[1]), 'nginx.example.com', path, asking);
    const through = await get('nginx.example.com', path, asking);
    if (nginx === null) assert.equal(through.status, direct.status);
    else assert.deepEqual(essence(through), essence(direct), `${asking?.method ?? 'GET'} ${path}`);
  }
});
