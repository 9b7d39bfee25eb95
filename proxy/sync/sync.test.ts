import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from './scripted-primary.ts';
import { domain, service, World } from './sync-world.ts';

test('an empty store gives an empty table; a revision is served, reported and recorded', async (t) => {
  const world = await World.make(t);
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  assert.equal(process.noTable, false);
  const seq = await world.append(service('shop'), domain('shop.example.com'));
  await until('the revision is served', () => process.seq === seq);
  assert.deepEqual(process.names('domain'), ['shop.example.com']);
  await until('it is reported', () => world.bus.on('kontrol:applied').some((said) => said['seq'] === seq));
  const record = () => world.store.live.get('nodes', 'n1');
  await until('the node says so', async () => (await record())?.['seq'] === seq);
  const { ready, store, bus, processes, hash } = (await record())!;
  assert.deepEqual({ ready, store, bus }, { ready: true, store: 'up', bus: 'up' });
  assert.deepEqual(
    (processes as { role: string }[]).map(({ role }) => role),
    ['primary', 'sync', 'serving'],
  );
  assert.equal(world.bus.on('kontrol:applied').at(-1)?.['hash'], hash);
});

test('without the store a node begins with its copy, and takes up what changed when the store is back', async (t) => {
  const world = await World.make(t);
  const seq = await world.append(service('shop'), domain('shop.example.com'), domain('old.example.com'));
  const first = await world.start();
  const one = first.primary.spawn();
  await until('it is served', () => one.seq === seq);
  await until('it is applied', () => world.bus.on('kontrol:applied').length > 0);
  await first.stop();

  world.unopened = true;
  const second = await world.start();
  const two = second.primary.spawn();
  await until('the copy is served', () => two.seq === seq);
  assert.deepEqual(two.names('domain'), ['old.example.com', 'shop.example.com']);
  assert.equal(second.sync.confirm(), 0);

  await world.append({ kind: 'domain', name: 'old.example.com', doc: null });
  const newest = await world.append(domain('new.example.com'));
  world.unopened = false;
  await until('the newer table is served', () => two.seq === newest);
  assert.deepEqual(two.names('domain'), ['new.example.com', 'shop.example.com']);
  assert.ok(!second.codes.includes('deletions_held'));
});

test('a copy that is written while a change is on its way says what was served, not what was read', async (t) => {
  const world = await World.make(t);
  const first = await world.start();
  const one = first.primary.spawn();
  await until('it is loaded', () => one.seq === 0);
  // The second within a second of the first, so that the copy of it is still to be written.
  for (const name of ['a', 'b']) {
    const seq = await world.append(service(name));
    await until('it is applied', () => world.bus.on('kontrol:applied').at(-1)?.['seq'] === seq);
  }
  one.answers = false;
  await world.append(service('c'));
  await until('the third is on its way', () => one.table.has('service/c'));
  await first.stop();

  world.unopened = true;
  const second = await world.start();
  const two = second.primary.spawn();
  await until('the copy is served', () => two.seq > 0);
  assert.deepEqual([two.seq, two.names('service')], [2, ['a', 'b']]);
  world.unopened = false;
  await until('the third is served', () => two.seq === 3);
  assert.deepEqual(two.names('service'), ['a', 'b', 'c']);
});

test('with neither copy nor store a node says that there is no table, and serves it when the store comes', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'));
  world.away = true;
  const { primary, sync } = await world.start({ internal: { host: '127.0.0.1', port: 0 } });
  const process = primary.spawn();
  await until('it knows', () => process.noTable);
  await until('the port is open', () => sync.internalPort !== null);
  const readyz = await fetch(`http://127.0.0.1:${sync.internalPort}/readyz`);
  assert.equal(readyz.status, 503);
  assert.match(await readyz.text(), /the store does not answer/);
  world.away = false;
  world.bus.hear('updateProxy', { seq: 1 });
  await until('it is served', () => process.seq === 1);
});

test('a default certificate alone is no table: the node still says that there is none', async (t) => {
  const world = await World.make(t);
  const { generate } = await import('selfsigned');
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], { keySize: 2048 });
  await mkdir(join(world.data, 'certs'));
  await writeFile(join(world.data, 'certs', 'cert.pem'), pems.cert);
  await writeFile(join(world.data, 'certs', 'key.pem'), pems.private);
  world.away = true;
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('it knows', () => process.noTable);
  assert.deepEqual(
    process.received.map(({ type }) => type),
    ['no-table'],
  );
  world.away = false;
  await until('it comes with the table', () => process.table.has('defaultCertificate/default'));
  const end = Date.parse(new X509Certificate(pems.cert).validTo);
  await until('the record says how long it is valid', async () => {
    return (await world.store.live.get('nodes', 'n1'))?.['certificateValidTo'] === end;
  });
  await until('HTTPS may open', () => JSON.stringify(primary.heard).includes('"type":"https"'));
});

test('the store may go away at any moment: what is in force stays, and changes follow when it is back', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'));
  const { primary, codes } = await world.start();
  const process = primary.spawn();
  await until('it is served', () => process.seq === 1);
  world.away = true;
  await until('that is noticed', () => codes.includes('store_down'));
  await world.append(service('later'));
  assert.deepEqual(process.names('service'), ['shop']);
  const respawned = primary.spawn();
  await until('a new process gets the table all the same', () => respawned.names('service').length === 1);
  world.away = false;
  await until('the change is served', () => process.names('service').length === 2);
  assert.equal(codes.filter((code) => code === 'store_down').length, 1);
});

test('a storm of hints, most of them garbage, costs a few looks', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'));
  const { primary } = await world.start({ redisUrl: 'redis://unused' });
  const process = primary.spawn();
  await until('it is served', () => process.seq === 1);
  await until('nothing is left to do', () => world.bus.on('kontrol:applied').length > 0);
  const before = world.heads;
  const began = performance.now();
  while (performance.now() - began < 500) {
    for (let i = 0; i < 100; i++) world.bus.hear('updateProxy', i % 2 === 0 ? undefined : { seq: -i, x: [] });
    await new Promise((resolve) => setImmediate(resolve));
  }
  const seq = await world.append(service('next'));
  world.bus.hear('updateProxy', { seq });
  await until('the change is served', () => process.seq === seq);
  const allowed = 2 + Math.ceil((performance.now() - began) / 50);
  // Each look asks for the head once, and once more when documents are read.
  assert.ok(world.heads - before <= 2 * allowed, `${world.heads - before} looks`);
});

test('hints that never come are made up for by the bus coming back and by the tick', async (t) => {
  const world = await World.make(t);
  const { primary } = await world.start({ redisUrl: 'redis://unused', ttlMs: 300 });
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const first = await world.append(service('one'));
  world.bus.reconnect();
  await until('it is served', () => process.seq === first);
  const second = await world.append(service('two'));
  await until('it is served at the tick', () => process.seq === second);
});

test('a bad object is quarantined and its last good version stays; the rest of the revision is served', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'), domain('a.example.com'));
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('it is served', () => process.seq === 1);
  const bad = { name: 'a.example.com', routes: [{ path: ['nonsense'], service: 'shop' }] };
  const seq = await world.append({ kind: 'domain', name: 'a.example.com', doc: bad }, service('other'));
  await until('it is served', () => process.seq === seq);
  assert.deepEqual(process.names('service'), ['other', 'shop']);
  const kept = process.table.get('domain/a.example.com');
  assert.deepEqual(kept?.doc?.['routes'], [{ path: ['/'], service: 'shop' }]);
  const quarantined = async () =>
    ((await world.store.live.get('nodes', 'n1'))?.['quarantined'] ?? []) as Record<string, unknown>[];
  await until('the node says so', async () => (await quarantined()).length === 1);
  const [entry] = await quarantined();
  assert.equal(entry?.['name'], 'a.example.com');
  assert.equal(entry?.['lastGood'], true);
  assert.match(String(entry?.['reason']), /routes\.0\.path/);
  await world.append(domain('a.example.com', { mode: 'off' }));
  await until('a good version ends it', async () => (await quarantined()).length === 0);
});

test('a bad object without a good version fails closed: it claims its hosts and answers for them', async (t) => {
  const world = await World.make(t);
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const doc = { name: 'new.example.com', aliases: ['www.example.com', 7], routes: 'none' };
  const seq = await world.append({ kind: 'domain', name: 'new.example.com', doc });
  await until('it is served', () => process.seq === seq);
  const entry = process.table.get('domain/new.example.com');
  assert.equal(entry?.doc, null);
  assert.deepEqual(entry?.broken?.claims, ['new.example.com', 'www.example.com']);
});

test('an absurd document costs its own rejection and nothing else', async (t) => {
  const world = await World.make(t);
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  const backends = Array.from({ length: 50_000 }, (_, i) => ({ address: `10.0.${i >> 8}.${i & 255}:80` }));
  let deep: Record<string, unknown> = {};
  for (let i = 0; i < 1_000; i++) deep = { deep };
  const seq = await world.append(
    service('huge', { keys: { '1': { backends } } }),
    service('deep', { labels: deep }),
    service('fine'),
  );
  await until('it is served', () => process.seq === seq);
  assert.deepEqual(
    process.names('service').map((name) => [name, process.table.get(`service/${name}`)?.doc === null]),
    [
      ['deep', true],
      ['fine', false],
      ['huge', true],
    ],
  );
});

test('an object that kills serving processes is quarantined; changes after it are served', async (t) => {
  const world = await World.make(t);
  await world.append(service('shop'), domain('a.example.com'));
  const { primary } = await world.start();
  primary.spawn();
  primary.spawn();
  await until('both serve', () => [...primary.serving.values()].every((process) => process.seq === 1));
  primary.deadly = (entry) => entry.doc?.['mode'] === 'off';
  await world.append(domain('a.example.com', { mode: 'off' }));
  const seq = await world.append(service('next'));
  await until('the later change is served', () =>
    [...primary.serving.values()].every(
      (process) => process.seq === seq && process.table.has('service/next'),
    ),
  );
  for (const process of primary.serving.values()) {
    assert.equal(process.table.get('domain/a.example.com')?.doc?.['mode'], undefined);
  }
  const said = primary.heard.findLast((message) => message.type === 'quarantine');
  assert.match(JSON.stringify(said), /a\.example\.com.*died/);
});

test('keys that all nodes share and that were made after the start come with the next revision', async (t) => {
  const { SEALED_FIELD, seal } = await import('../../shared/secrets.ts');
  const world = await World.make(t);
  const { primary } = await world.start();
  const process = primary.spawn();
  await until('the empty table is loaded', () => process.seq === 0);
  await world.store.live.put('secrets', 'cookie-key', { [SEALED_FIELD]: seal('later', null) });
  const seq = await world.append(service('shop'));
  await until('the revision is served', () => process.seq === seq);
  assert.equal(process.table.get('secret/cookie-key')?.doc?.['value'], 'later');
});

test('the copy on disk never holds a readable secret when KONTROL_SECRET is set', async (t) => {
  const { open, SEALED_FIELD, seal } = await import('../../shared/secrets.ts');
  const world = await World.make(t);
  await world.store.live.put('secrets', 'cookie-key', { [SEALED_FIELD]: seal('very secret', null) });
  await world.append(service('shop'));
  const first = await world.start({ secret: 'pass' });
  const one = first.primary.spawn();
  await until(
    'the key is served',
    () => one.table.get('secret/cookie-key')?.doc?.['value'] === 'very secret',
  );
  await until('it is applied', () => world.bus.on('kontrol:applied').length > 0);
  await first.stop();
  const text = await readFile(join(world.data, 'n1', 'last-known-good.json'), 'utf8');
  assert.ok(!text.includes('very secret'));
  const [secret] = JSON.parse(text.slice(text.indexOf('\n'))).secrets;
  assert.ok(!secret.sealed.includes(Buffer.from('very secret').toString('base64url')));
  assert.equal(open(secret.sealed, 'pass'), 'very secret');

  world.unopened = true;
  const second = await world.start({ secret: 'pass' });
  const two = second.primary.spawn();
  await until('the key is served from the copy', () => two.table.has('secret/cookie-key'));
});
