import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { generate } from 'selfsigned';
import { openBus } from '../../../shared/bus/open.ts';
import { silentLog } from '../../../shared/log.ts';
import { openStore } from '../../../shared/store/open.ts';
import { type ApiUnderTest, listOf, type Reply, startApiUnderTest } from './api-under-test.ts';
import { until } from './until.ts';

let api: ApiUnderTest;
before(async () => {
  api = await startApiUnderTest();
  await api.put('/v1/services/shop', { backends: ['10.0.0.1:80'] });
});
after(() => api.close());

const warningsOf = ({ body }: Reply) =>
  listOf(body.warnings).map(({ path, message }) => `${path}: ${message}`);
const dry = (path: string, body: unknown) => api.put(`${path}?dryRun=1`, body);

/** Asserts that one warning of the reply matches, and that a second reply has none like it. */
function warns(reply: Reply, pattern: RegExp, without: Reply): void {
  assert.ok(reply.status < 300, JSON.stringify(reply.body));
  assert.ok(
    warningsOf(reply).some((text) => pattern.test(text)),
    warningsOf(reply).join('\n'),
  );
  assert.ok(!warningsOf(without).some((text) => pattern.test(text)), warningsOf(without).join('\n'));
}

test('a route that another one takes everything from is told, one with conditions before it is not', async () => {
  const domain = (first: object) => ({
    routes: [
      { path: '/a', service: 'shop', priority: 5, ...first },
      { path: ['/a/b', '=/a/c'], service: 'shop' },
      { path: '/ab', service: 'shop' },
    ],
  });
  const shadowed = await dry('/v1/domains/routes.test', domain({}));
  warns(
    shadowed,
    /^routes\.1\.path: \/a\/b is never reached.*route 0/,
    await dry('/v1/domains/routes.test', domain({ methods: ['GET'] })),
  );
  assert.deepEqual(
    warningsOf(shadowed).map((text) => text.split(' is ')[0]),
    ['routes.1.path: =/a/c', 'routes.1.path: /a/b'],
  );
});

test('a host that is sent to https without a certificate is told', async () => {
  const domain = (https: string) => ({ service: 'shop', aliases: ['www.tls.test'], https });
  const before = await dry('/v1/domains/tls.test', domain('redirect'));
  warns(
    before,
    /^https: no stored certificate covers tls\.test and 1 more/,
    await dry('/v1/domains/tls.test', domain('allow')),
  );
  const soon = new Date(Date.now() + 5 * 86_400_000);
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'tls.test' }], {
    keySize: 2048,
    notAfterDate: soon,
    extensions: [
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'tls.test' },
          { type: 2, value: '*.tls.test' },
        ],
      },
    ],
  });
  const saved = await api.put('/v1/certificates/tls', { certificate: cert, key });
  assert.ok(
    warningsOf(saved).some((text) => /expires in [45] day/.test(text)),
    warningsOf(saved).join(),
  );
  warns(before, /no stored certificate/, await dry('/v1/domains/tls.test', domain('redirect')));
});

test('marks that no template knows are told', async () => {
  const templates = (text: string) => ({ templates: { 404: text } });
  warns(
    await dry('/v1/pages/p', templates('{{host}} {{ hots }} {{hots}}')),
    /^templates\.404: \{\{hots\}\} stay/,
    await dry('/v1/pages/p', templates('{{host}} {{ requestId }}')),
  );
});

test('two whitelists that nobody can meet are told by whichever is saved last', async () => {
  const rule = (...match: string[]) => ({ list: 'whitelist', type: 'ip', match });
  await api.put('/v1/rules/here', rule('10.0.0.0/8'));
  await api.put('/v1/rules/there', rule('10.1.0.0/16'));
  await api.put('/v1/domains/both.test', { service: 'shop', firewall: ['here', 'there'] });
  warns(
    await dry('/v1/rules/there', rule('192.168.0.0/16')),
    /^match: domain both\.test: nobody can meet/,
    await dry('/v1/rules/there', rule('10.2.0.0/16')),
  );
});

test('a dry run says which fields change, whom that concerns, and writes nothing', async () => {
  await api.put('/v1/domains/uses.test', { service: 'shop', aliases: ['also.test'] });
  const { body } = await dry('/v1/services/shop', { backends: ['10.0.0.2:80'] });
  assert.deepEqual(listOf(body.changes)[0]?.fields, [
    { path: 'keys.1.backends.0.address', from: '10.0.0.1:80', to: '10.0.0.2:80' },
  ]);
  assert.deepEqual(body.effect?.hosts, ['also.test', 'both.test', 'uses.test']);
  const everything = await api.patch('/v1/settings?dryRun=1', { via: false });
  assert.deepEqual(everything.body.effect?.hosts, ['*']);
  assert.equal((await api.get('/v1/settings')).body.via, undefined);
});

test('a dry run tells of keys that nothing serves, and of backends that the nodes have dead', async () => {
  await api.put('/v1/services/empty', {});
  warns(
    await dry('/v1/domains/dead.test', { service: 'empty' }),
    /^routes\.0\.service: service empty has no backend/,
    await dry('/v1/domains/dead.test', { service: 'shop' }),
  );
  const store = await openStore(api.settings, silentLog);
  const bus = openBus(api.settings, silentLog);
  if (!bus.connected) await new Promise<void>((resolve) => bus.onConnected(resolve));
  let alive = false;
  bus.subscribe('kontrol:ask', (message) => {
    if (message?.ask !== 'backends') return;
    const backends = [{ process: 1, key: 1, address: '10.0.0.1:80', alive }];
    bus.publish('kontrol:answer', { id: message.id, node: 'n', backends });
  });
  await store.live.put('nodes', 'n', { beat: 1, seq: 0, hash: '' });
  await until(async () => listOf((await api.get('/v1/nodes')).body.items).length === 1);
  const dead = await dry('/v1/domains/dead.test', { service: 'shop' });
  alive = true;
  warns(
    dead,
    /every backend of key 1 of service shop is dead/,
    await dry('/v1/domains/dead.test', { service: 'shop' }),
  );
  await bus.close();
  await store.close();
});
