import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type ApiUnderTest, listOf, startApiUnderTest } from './api-under-test.ts';

let api: ApiUnderTest;
before(async () => {
  // Nothing listens there; it only has to be known as ours.
  api = await startApiUnderTest({ internal: { host: '127.0.0.1', port: 42_007 } });
});
after(() => api.close());

const paths = (body: { readonly errors?: unknown }) =>
  (body.errors as { path: string }[]).map(({ path }) => path).sort();

test('an object is created, read with its revision as ETag, replaced and deleted', async () => {
  const created = await api.put('/v1/services/shop', { backends: ['10.0.0.5:3000'] });
  assert.equal(created.status, 201);
  const seq = created.headers.get('kontrol-seq');
  assert.equal(created.headers.get('etag'), `"${seq}"`);
  assert.deepEqual(created.body.keys, { '1': { backends: [{ address: '10.0.0.5:3000' }] } });

  const read = await api.get('/v1/services/shop');
  assert.equal(read.status, 200);
  assert.equal(read.headers.get('etag'), `"${seq}"`);
  assert.deepEqual(read.body, { name: 'shop', keys: { '1': { backends: [{ address: '10.0.0.5:3000' }] } } });

  const replaced = await api.put('/v1/services/shop', { backends: ['10.0.0.6:3000'] });
  assert.equal(replaced.status, 200);
  assert.ok(Number(replaced.headers.get('kontrol-seq')) > Number(seq));

  assert.equal((await api.delete('/v1/services/shop')).status, 200);
  assert.equal((await api.get('/v1/services/shop')).status, 404);
  assert.equal((await api.delete('/v1/services/shop')).status, 404);
});

test('every kind is written and read back in its long form', async () => {
  const objects = {
    rules: { list: 'blacklist', type: 'ip', match: ['192.0.2.0/24'] },
    pages: { templates: { '404': '<p>{{host}}</p>' } },
    services: { latest: 'auto', timeouts: { connect: '250ms' } },
    listeners: { port: 3306, service: 'kind' },
    domains: { service: 'kind', key: 'latest' },
  };
  for (const [collection, object] of Object.entries(objects)) {
    const put = await api.put(`/v1/${collection}/kind`, object);
    assert.equal(put.status, 201, collection);
    const { body } = await api.get(`/v1/${collection}/kind`);
    assert.equal(body.name, 'kind');
    assert.equal((await api.put(`/v1/${collection}/kind`, body)).status, 200, 'what is read can be put back');
  }
  assert.deepEqual((await api.get('/v1/services/kind')).body.timeouts, { connect: 250 });
  assert.deepEqual((await api.get('/v1/domains/kind')).body.routes, [
    { path: ['/'], service: 'kind', key: 'latest' },
  ]);
});

test('a PUT that changes nothing writes no revision', async () => {
  const first = await api.put('/v1/services/same', { backends: ['10.0.0.1:80'] });
  const again = await api.put('/v1/services/same', {
    keys: { 1: { backends: [{ address: '10.0.0.1:80' }] } },
  });
  assert.equal(again.status, 200);
  assert.equal(again.headers.get('etag'), first.headers.get('etag'));
  assert.equal(again.headers.get('kontrol-seq'), first.headers.get('kontrol-seq'));
});

test('If-Match refuses a change of what the client has not seen, also for a delete', async () => {
  const seen = (await api.put('/v1/services/guarded', {})).headers.get('etag') ?? '';
  await api.put('/v1/services/guarded', { enabled: false });
  const headers = { 'if-match': seen };
  for (const call of [
    api.put('/v1/services/guarded', { enabled: true }, { headers }),
    api.patch('/v1/services/guarded', { enabled: true }, { headers }),
    api.delete('/v1/services/guarded', { headers }),
    api.put('/v1/services/unborn', {}, { headers: { 'if-match': '*' } }),
    api.put('/v1/services/guarded', {}, { headers: { 'if-none-match': '*' } }),
  ]) {
    const { status, body } = await call;
    assert.equal(status, 412);
    assert.equal(body.code, 'precondition_failed');
  }
  const newest = (await api.get('/v1/services/guarded')).headers.get('etag') ?? '';
  assert.equal((await api.delete('/v1/services/guarded', { headers: { 'if-match': newest } })).status, 200);
});

test('a read with the newest ETag is 304 without a body', async () => {
  const etag = (await api.put('/v1/services/cached', {})).headers.get('etag') ?? '';
  const reply = await api.get('/v1/services/cached', { headers: { 'if-none-match': etag } });
  assert.equal(reply.status, 304);
  assert.deepEqual(reply.body, {});
});

test('PATCH merges: null removes a field, lists are replaced, the rest stays', async () => {
  await api.put('/v1/services/merged', {
    labels: { a: '1', b: '2' },
    balance: 'random',
    backends: ['10.0.0.1:80'],
  });
  const { status, body } = await api.patch('/v1/services/merged', {
    labels: { a: null, c: '3' },
    balance: null,
  });
  assert.equal(status, 200);
  assert.deepEqual(body.labels, { b: '2', c: '3' });
  assert.equal(body.balance, undefined);
  assert.deepEqual(body.keys, { '1': { backends: [{ address: '10.0.0.1:80' }] } });
  assert.equal((await api.patch('/v1/services/nobody', {})).status, 404);
});

test('unknown fields are refused with the path of each, at any depth and inside lists', async () => {
  const reply = await api.put('/v1/domains/typo.example.com', {
    rout: [],
    routes: [
      { path: '/', service: 'shop' },
      { path: '/x', service: 'shop', stripprefix: true, request: { sett: {} } },
    ],
    labels: {},
  });
  assert.equal(reply.status, 400);
  assert.equal(reply.headers.get('content-type'), 'application/problem+json');
  assert.equal(reply.body.code, 'invalid');
  assert.deepEqual(paths(reply.body), ['rout', 'routes.1.request.sett', 'routes.1.stripprefix']);
});

test('a short form beside its long form is refused', async () => {
  const domain = await api.put('/v1/domains/both.example.com', { service: 'a', routes: [] });
  assert.deepEqual([domain.status, paths(domain.body)], [400, ['service']]);
  const service = await api.put('/v1/services/both', { backends: ['10.0.0.1:80'], keys: {} });
  assert.deepEqual([service.status, paths(service.body)], [400, ['backends']]);
});

test('names are canonical: case, IDNA, trailing dot, patterns; the path and the body must agree', async () => {
  assert.equal((await api.put('/v1/domains/B%C3%BCcher.Example.COM.', { service: 'kind' })).status, 201);
  assert.equal((await api.get('/v1/domains/xn--bcher-kva.example.com')).status, 200);
  assert.equal((await api.put('/v1/services/UPPER', {})).body.name, 'upper');
  for (const pattern of ['*.wild.example.com', '**.deep.example.com', '~^a[0-9]+/?x$', '*']) {
    const path = `/v1/domains/${encodeURIComponent(pattern)}`;
    assert.equal((await api.put(path, { service: 'kind' })).status, 201, pattern);
    assert.equal((await api.get(path)).body.name, pattern);
    assert.equal((await api.delete(path)).status, 200);
  }
  const differs = await api.put('/v1/services/one', { name: 'two' });
  assert.deepEqual([differs.status, paths(differs.body)], [400, ['name']]);
  assert.equal((await api.put('/v1/services/one', { name: 'ONE' })).status, 201);
  assert.equal((await api.put('/v1/domains/not_a..host', {})).status, 400);
});

test('a host claimed twice is 409 host_taken, as name or as alias', async () => {
  await api.put('/v1/domains/a.example.org', { aliases: ['www.a.example.org'], service: 'kind' });
  const asAlias = await api.put('/v1/domains/b.example.org', {
    aliases: ['WWW.a.example.org.'],
    service: 'kind',
  });
  assert.deepEqual(
    [asAlias.status, asAlias.body.code, paths(asAlias.body)],
    [409, 'host_taken', ['aliases.0']],
  );
  const asName = await api.put('/v1/domains/www.a.example.org', { service: 'kind' });
  assert.deepEqual([asName.status, asName.body.code, paths(asName.body)], [409, 'host_taken', ['name']]);
  const twice = await api.put('/v1/domains/c.example.org', { aliases: ['c.example.org'] });
  assert.deepEqual([twice.status, paths(twice.body)], [400, ['aliases.0']]);
});

test('deleting what others name is 409 with the list', async () => {
  await api.put('/v1/rules/office', { list: 'whitelist', type: 'ip', match: ['10.0.0.0/8'] });
  await api.put('/v1/services/named', {});
  await api.put('/v1/domains/named.example.org', {
    routes: [{ path: '/admin', service: 'named', firewall: ['office'] }],
  });
  await api.put('/v1/listeners/named', { port: 4406, service: 'named', firewall: ['office'] });
  const service = await api.delete('/v1/services/named');
  assert.deepEqual([service.status, service.body.code], [409, 'still_referenced']);
  assert.deepEqual(paths(service.body), ['domains/named.example.org', 'listeners/named']);
  assert.equal((await api.delete('/v1/rules/office')).status, 409);
  await api.delete('/v1/listeners/named');
  await api.delete('/v1/domains/named.example.org');
  assert.equal((await api.delete('/v1/services/named')).status, 200);
});

test('a missing service is a warning; a missing rule, page or certificate is refused', async () => {
  const early = await api.put('/v1/domains/early.example.org', { service: 'comes-later' });
  assert.equal(early.status, 201);
  assert.deepEqual(early.body.warnings, [
    {
      kind: 'domain',
      name: 'early.example.org',
      path: 'routes.0.service',
      message: 'there is no service comes-later yet; until then it answers 503',
    },
  ]);
  const open = await api.put('/v1/domains/open.example.org', {
    pages: 'no-brand',
    routes: [{ path: '/', service: 'kind', firewall: ['no-rule'] }],
  });
  assert.deepEqual([open.status, paths(open.body)], [400, ['pages', 'routes.0.firewall.0']]);
  const tls = await api.put('/v1/services/tls', { tls: { certificate: 'none' } });
  assert.deepEqual([tls.status, paths(tls.body)], [400, ['tls.certificate']]);
});

test('authorities that nobody can read are refused: no backend would be trusted', async () => {
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
  for (const ca of ['', 'no PEM', broken]) {
    const reply = await api.put('/v1/services/trusting', { protocol: 'https', tls: { ca } });
    assert.deepEqual([reply.status, paths(reply.body)], [400, ['tls.ca']], ca);
  }
});

test('disabling a whitelist in use, and whitelists that nobody can meet, are warnings', async () => {
  await api.put('/v1/rules/ten', { list: 'whitelist', type: 'ip', match: ['10.0.0.0/8'] });
  await api.put('/v1/rules/lan', { list: 'whitelist', type: 'ip', match: ['192.168.0.0/16', '10.1.2.3'] });
  await api.put('/v1/rules/far', { list: 'whitelist', type: 'ip', match: ['2001:db8::/32'] });
  const fine = await api.put('/v1/domains/lists.example.org', { service: 'kind', firewall: ['ten', 'lan'] });
  assert.deepEqual(fine.body.warnings, []);
  const shut = await api.put('/v1/domains/lists.example.org', { service: 'kind', firewall: ['ten', 'far'] });
  assert.match(String(shut.body.warnings?.[0]?.message), /nobody can meet both whitelists ten and far/);
  const disabled = await api.patch('/v1/rules/ten', { enabled: false });
  assert.equal(disabled.status, 200);
  assert.match(String(disabled.body.warnings?.[0]?.message), /in use by domain lists.example.org/);
});

test('addresses of cloud metadata, link-local ones and our own API are no backends; loopback is', async () => {
  assert.equal(
    (await api.put('/v1/services/local', { backends: ['127.0.0.1:3000', '[::1]:3000'] })).status,
    201,
  );
  for (const address of [
    '169.254.169.254:80',
    '[fe80::1]:80',
    '[::ffff:169.254.169.254]:80',
    '100.100.100.200:80',
  ]) {
    const { status, body } = await api.put('/v1/services/bad', { backends: ['10.0.0.1:80', address] });
    assert.deepEqual([status, paths(body)], [400, ['keys.1.backends.1.address']], address);
  }
  await api.patch('/v1/settings', { backendAddresses: { refuse: ['control'] } });
  assert.equal((await api.put('/v1/services/bad', { backends: ['169.254.1.1:80'] })).status, 201);
  await api.patch('/v1/settings', { backendAddresses: null });
});

test('settings are one object that is there from the start', async () => {
  const empty = await api.get('/v1/settings');
  assert.equal(empty.status, 200);
  const patched = await api.patch('/v1/settings', { via: false, limits: { headSize: '32KB' } });
  assert.equal(patched.status < 300, true);
  assert.deepEqual((await api.get('/v1/settings')).body, { via: false, limits: { headSize: 32_768 } });
  assert.equal((await api.delete('/v1/settings')).status, 405);
  assert.deepEqual(paths((await api.patch('/v1/settings', { limits: { heads: 1 } })).body), ['limits.heads']);
});

test('a dry run answers difference and warnings and writes nothing', async () => {
  await api.put('/v1/services/dry', { balance: 'random', labels: { a: '1' } });
  const before = await api.get('/v1/revisions?limit=1');
  const dry = await api.put('/v1/services/dry?dryRun=1', { balance: 'naive', latest: 7 });
  assert.equal(dry.status, 200);
  assert.deepEqual(listOf(dry.body.changes), [
    {
      kind: 'service',
      name: 'dry',
      change: 'change',
      fields: [
        { path: 'balance', from: 'random', to: 'naive' },
        { path: 'labels', from: { a: '1' } },
        { path: 'latest', to: 7 },
      ],
    },
  ]);
  assert.equal(listOf(dry.body.warnings).length, 1);
  assert.equal((await api.delete('/v1/services/dry?dryRun=1')).status, 200);
  assert.equal((await api.put('/v1/services/dry?dryRun=1', { nope: 1 })).status, 400);
  assert.deepEqual((await api.get('/v1/revisions?limit=1')).body, before.body);
});

test('a misspelt or unsupported parameter never writes', async () => {
  for (const query of [
    'dryrun=1',
    'confirmWithin=0s',
    'wait=some',
    'dryRun=maybe',
    'dryRun=1&dryRun=0',
    'timeout=1y',
  ]) {
    assert.equal((await api.put(`/v1/services/misspelt?${query}`, {})).status, 400, query);
  }
  assert.equal((await api.get('/v1/services/misspelt')).status, 404);
});

test('lists are filtered by text and label and paged in order of name', async () => {
  const names = ['l1', 'l2', 'l3', 'l4', 'l5'];
  for (const [index, name] of names.entries()) {
    await api.put(`/v1/pages/${name}`, {
      templates: {},
      labels: { list: 'yes', parity: index % 2 ? 'odd' : 'even' },
    });
  }
  const page = async (query: string) => {
    const { body } = await api.get(`/v1/pages?${query}`);
    return { names: listOf(body.items).map(({ name }) => String(name)), next: body.next };
  };
  assert.deepEqual((await page('label=list%3Dyes')).names, names);
  assert.deepEqual((await page('label=list&label=parity%3Dodd')).names, ['l2', 'l4']);
  assert.deepEqual((await page('q=L3')).names, ['l3']);
  const walked: string[] = [];
  for (let cursor = ''; ; ) {
    const { names: some, next } = await page(`label=list&limit=2${cursor}`);
    assert.ok(some.length <= 2);
    walked.push(...some);
    if (next === null) break;
    cursor = `&cursor=${next}`;
  }
  assert.deepEqual(walked, names);
  assert.equal((await api.get('/v1/pages?limit=0')).status, 400);
  assert.equal((await api.get('/v1/pages?cursor=%00')).status, 400);
});

test('listeners share no port and need somewhere to go', async () => {
  await api.put('/v1/listeners/first', { port: 5432, service: 'kind' });
  assert.deepEqual(paths((await api.put('/v1/listeners/second', { port: 5432, service: 'kind' })).body), [
    'port',
  ]);
  assert.deepEqual(paths((await api.put('/v1/listeners/third', { port: 5433 })).body), ['service']);
});
