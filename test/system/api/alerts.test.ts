import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { HttpSink, MailSink } from '../../../kontrolapi/alerts/sinks-for-test.ts';
import { signatureOf } from '../../../kontrolapi/alerts/webhook.ts';
import { Cluster } from '../../cluster.ts';
import { freePort } from '../../services/process.ts';

const SECRET = 'a secret of the webhook';
const PASSWORD = 'the password of the mail server';

let cluster: Cluster;
let hook: HttpSink;
let mail: MailSink;

before(async () => {
  cluster = await Cluster.start(1, { processes: 1 });
  [hook, mail] = await Promise.all([HttpSink.start(), MailSink.start()]);
});
after(async () => {
  await cluster?.close();
  await hook?.close();
  await mail?.close();
});

const settings = () => ({
  alerts: {
    group: 0,
    webhooks: [{ url: hook.url(), secret: SECRET }],
    smtp: {
      host: '127.0.0.1',
      port: mail.port,
      security: 'none',
      user: 'kontrol',
      password: PASSWORD,
      from: 'kontrol@example.com',
      to: ['ops@example.com'],
    },
  },
});

/** Titles of all alerts that came, with what became of them; tests left out. */
const came = () =>
  hook.posted
    .map(({ body }) => JSON.parse(body))
    .filter(({ test: isTest }) => !isTest)
    .flatMap(({ alerts }) =>
      alerts.map(({ key, state }: { key: string; state: string }) => `${key} ${state}`),
    );

test('secrets of alerts are in no answer, revision or export, and sending them again changes nothing', async () => {
  const first = await cluster.ok('PATCH', '/v1/settings', settings());
  assert.match(JSON.stringify(first.body), /stored unencrypted/);
  const again = await cluster.ok('PATCH', '/v1/settings', settings());
  assert.equal(again.headers.get('kontrol-seq'), first.headers.get('kontrol-seq'));
  const seq = first.headers.get('kontrol-seq');
  for (const path of ['/v1/settings', '/v1/export', '/v1/revisions', `/v1/revisions/${seq}`]) {
    const text = JSON.stringify((await cluster.ok('GET', path)).body);
    assert.doesNotMatch(text, /a secret of|the password of/, path);
  }
  const kept = (await cluster.ok('GET', '/v1/settings')).body;
  assert.match(kept.alerts.webhooks[0].secretRef, /^[0-9a-f]{32}$/);
  // What was read may be sent back, and still names its secrets.
  const { webhooks } = kept.alerts;
  await cluster.ok('PATCH', '/v1/settings', { alerts: { webhooks } });
  const unknown = [{ ...webhooks[0], secretRef: 'f'.repeat(32) }];
  const refused = await cluster.call('PATCH', '/v1/settings', { alerts: { webhooks: unknown } });
  assert.equal(refused.status, 400);
  assert.match(JSON.stringify(refused.body), /send it again/);
});

test('a stored password goes to no other server, and no stored secret to another purpose', async () => {
  await cluster.ok('PATCH', '/v1/settings', settings());
  const { smtp, webhooks } = (await cluster.ok('GET', '/v1/settings')).body.alerts;
  await cluster.ok('PATCH', '/v1/settings', { alerts: { smtp: { from: 'other@example.com' } } });
  const [{ secretRef }] = webhooks;
  const attempts = [
    { smtp: { host: 'evil.example' } },
    { smtp: { ...smtp, passwordRef: secretRef } },
    { webhooks: [{ url: hook.url(), secretRef: smtp.passwordRef }] },
  ];
  for (const alerts of attempts) {
    const reply = await cluster.call('PATCH', '/v1/settings', { alerts });
    assert.equal(reply.status, 400, JSON.stringify(alerts));
    assert.match(JSON.stringify(reply.body), /for another server/);
  }
  const sent = { smtp: { host: 'mail.example', password: 'of the new one' } };
  await cluster.ok('PATCH', '/v1/settings?dryRun=1', { alerts: sent });
});

test('webhooks and mail servers at refused addresses are refused when saved', async () => {
  const urls = ['http://169.254.169.254/latest', `http://127.0.0.1:${cluster.apiPort}/`, 'http://[fe80::1]/'];
  for (const url of urls) {
    const reply = await cluster.call('PATCH', '/v1/settings?dryRun=1', { alerts: { webhooks: [{ url }] } });
    assert.equal(reply.status, 400, url);
    assert.match(JSON.stringify(reply.body), /backendAddresses/);
  }
  for (const url of ['ftp://x.example/', 'http://user:pw@x.example/', 'nonsense']) {
    const reply = await cluster.call('PATCH', '/v1/settings?dryRun=1', { alerts: { webhooks: [{ url }] } });
    assert.equal(reply.status, 400, url);
  }
});

test('a test alert reaches everyone and says what became of each', async () => {
  await cluster.ok('PATCH', '/v1/settings', settings());
  const { body } = await cluster.ok('POST', '/v1/alerts/test');
  assert.deepEqual(
    body.items.map(({ ok, error }: { ok: boolean; error: string | null }) => [ok, error]),
    [
      [true, null],
      [true, null],
    ],
  );
  const posted = hook.posted.at(-1)!;
  const timestamp = String(posted.headers['kontrol-timestamp']);
  assert.equal(posted.headers['kontrol-signature'], signatureOf(SECRET, timestamp, posted.body));
  assert.equal(mail.mails.at(-1)?.login, `kontrol ${PASSWORD}`);
  hook.status = 500;
  const failing = await cluster.ok('POST', '/v1/alerts/test');
  hook.status = 204;
  assert.equal(failing.body.items[0].error, 'it answered 500');
});

test('a service that loses its last backend is told once, by one of two kontrolapi, and so is its end', async () => {
  const other = await freePort();
  const second = cluster.run(['api', '--api', `127.0.0.1:${other}`, '--data', cluster.data]);
  await cluster.until(
    'the second API answers',
    async () => (await fetch(`http://127.0.0.1:${other}/readyz`)).ok,
  );
  const port = await freePort();
  const backend = net.createServer((socket) => socket.on('error', () => {}).end());
  backend.listen(port, '127.0.0.1');
  await once(backend, 'listening');
  await cluster.apply({
    kind: 'service',
    name: 'shop',
    backends: [`127.0.0.1:${port}`],
    health: { type: 'tcp', interval: '200ms', rise: 1, fall: 1 },
  });
  backend.close();
  await once(backend, 'close');
  await cluster.until('it is told', () => came().includes('service_down/shop raised'));
  await cluster.until('the mail is there', () =>
    mail.mails.some(({ text }) => text.includes('Subject: [kontrol] service shop has no backend left')),
  );
  const again = net.createServer((socket) => socket.on('error', () => {}).end());
  again.listen(port, '127.0.0.1');
  await once(again, 'listening');
  await cluster.until('its end is told', () => came().includes('service_down/shop recovered'), 60_000);
  again.close();
  assert.deepEqual(came(), ['service_down/shop raised', 'service_down/shop recovered']);
  await second.end();
});
