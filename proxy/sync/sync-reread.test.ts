/** What the periodic re-read of the documents finds: edits by hand, lagging projections, suspicious emptiness. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SEALED_FIELD, seal } from '../../shared/secrets.ts';
import { type ScriptedServing, until } from './scripted-primary.ts';
import { service, World } from './sync-world.ts';

async function served(t: Parameters<typeof World.make>[0], ...names: string[]) {
  const world = await World.make(t);
  if (names.length > 0) await world.append(...names.map((name) => service(name)));
  const started = await world.start();
  const process = started.primary.spawn();
  await until('it is served', () => process.seq === Math.min(1, names.length));
  return { world, process, ...started };
}

/** Whether the service is enabled, as far as the process knows. */
function enabled(process: ScriptedServing, name: string): unknown {
  return process.table.get(`service/${name}`)?.doc?.['enabled'];
}

const record = async (world: World) => (await world.store.live.get('nodes', 'n1')) ?? { _id: '', v: 0 };

test('an edit by hand goes live at once, is shown as drift, and a revision ends it', async (t) => {
  const { world, process, sync } = await served(t, 'shop');
  const edited = { ...service('shop').doc, enabled: false };
  world.edit('service', 'shop', edited, 1);
  sync.reload();
  await until('it is live', () => enabled(process, 'shop') === false);
  await until(
    'it is shown',
    async () => JSON.stringify((await record(world))['drift']) === '["service/shop"]',
  );
  world.byHand.clear();
  const seq = await world.append(service('shop', { enabled: true }));
  await until('the revision is live', () => process.seq === seq && enabled(process, 'shop') === true);
  await until('no drift is left', async () => JSON.stringify((await record(world))['drift']) === '[]');
});

test('a document written by hand without rev is served when it is good and quarantined when it is not', async (t) => {
  const { world, process, sync } = await served(t, 'shop');
  world.edit('service', 'good', { keys: {} }, null);
  world.edit('service', 'bad', { keys: 7 }, null);
  sync.reload();
  await until('the good one is live', () => process.table.get('service/good')?.doc !== undefined);
  await until('the bad one fails closed', () => process.table.get('service/bad')?.broken !== undefined);
  assert.equal(process.table.get('service/good')?.doc?.['name'], 'good');
});

test('a projection that lags behind is not taken for an edit, nor for a deletion', async (t) => {
  const { world, process, sync } = await served(t, 'shop', 'gone');
  const seq = await world.append(service('shop', { enabled: true }), service('unprojected'), {
    kind: 'service',
    name: 'gone',
    doc: null,
  });
  await until('the revision is live', () => process.seq === seq);
  // As the documents were before it.
  world.mark = 1;
  world.edit('service', 'shop', { ...service('shop').doc }, 1);
  world.edit('service', 'gone', { ...service('gone').doc }, 1);
  world.removeByHand('service', 'unprojected');
  world.edit('service', 'marker', { balance: 'random' }, null);
  sync.reload();
  await until('everything found is live', () => process.table.has('service/marker'));
  assert.equal(enabled(process, 'shop'), true);
  assert.deepEqual(process.names('service'), ['marker', 'shop', 'unprojected']);
});

test('a document removed by hand is deleted, and comes back when it is restored', async (t) => {
  const { world, process, sync } = await served(t, 'one', 'two', 'three');
  world.removeByHand('service', 'two');
  sync.reload();
  await until('it is gone', () => process.names('service').join() === 'one,three');
  world.byHand.clear();
  sync.reload();
  await until('it is back', () => process.names('service').join() === 'one,three,two');
});

test('a kind that is suddenly empty is not believed until it is confirmed', async (t) => {
  const names = ['a', 'b', 'c'];
  const { world, process, sync, codes } = await served(t, ...names);
  for (const name of names) world.removeByHand('service', name);
  sync.reload();
  await until('the alarm is up', () => codes.includes('deletions_held'));
  await until(
    'the node says so',
    async () => (await record(world))['held']?.toString() === 'service/a,service/b,service/c',
  );
  await world.append(service('d'));
  await until('changes go on', () => process.table.has('service/d'));
  assert.deepEqual(process.names('service'), ['a', 'b', 'c', 'd']);
  world.bus.hear('kontrol:ask', { ask: 'confirm', node: 'another' });
  world.bus.hear('kontrol:ask', { ask: 'confirm' });
  await until('they are gone', () => process.names('service').join() === 'd');
  await until('the alarm is over', async () => (await record(world))['held']?.toString() === '');
});

test('losing more than half and more than five holds just those deletions; what comes back is released', async (t) => {
  const names = Array.from({ length: 10 }, (_, i) => `s${i}`);
  const { world, process, sync, codes } = await served(t, ...names);
  for (const name of names.slice(0, 6)) world.removeByHand('service', name);
  world.edit('service', 's9', { ...service('s9').doc, enabled: false }, 1);
  sync.reload();
  await until('the edit is live', () => enabled(process, 's9') === false);
  assert.equal(process.names('service').length, 10);
  assert.ok(codes.includes('deletions_held'));
  world.byHand.delete('service/s0');
  sync.reload();
  await until(
    'one is released',
    async () => ((await record(world))['held'] as string[] | undefined)?.length === 5,
  );
  const seq = await world.append({ kind: 'service', name: 's1', doc: null });
  await until('a revision may delete', () => process.seq === seq && !process.table.has('service/s1'));
  await until('it is held no more', async () => ((await record(world))['held'] as string[]).length === 4);
  assert.equal(process.names('service').length, 9);
});

test('another store in the place of this one is taken over under the same guard', async (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `s${i}`);
  const { world, process, sync, codes } = await served(t, ...names);
  await world.replaceStore();
  await world.append(service('s0', { enabled: false }), service('new'));
  sync.reload();
  await until('what is new is live', () => process.table.has('service/new'));
  await until('the alarm is up', () => codes.includes('deletions_held'));
  assert.equal(enabled(process, 's0'), false);
  assert.deepEqual(process.names('service'), ['new', ...names]);
  sync.confirm();
  await until('the rest is gone', () => process.names('service').join() === 'new,s0');
});

test('a revision that deletes everything is meant', async (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `s${i}`);
  const { world, process, codes } = await served(t, ...names);
  const seq = await world.append(...names.map((name) => ({ kind: 'service' as const, name, doc: null })));
  await until('it is live', () => process.seq === seq);
  assert.deepEqual(process.names('service'), []);
  assert.ok(!codes.includes('deletions_held'));
});

test('members follow hints, the counter, and the tick; their loss is guarded too', async (t) => {
  const { world, process, sync, codes } = await served(t, 'shop');
  const { live } = world.store;
  const member = (port: number) => ({
    worker: `w${port}`,
    key: 1,
    address: `127.0.0.1:${port}`,
    weight: 1,
    state: 'ready',
    since: port,
    name: '',
    mode: 'many',
    version: '',
  });
  const backends = () =>
    (process.table.get('members/shop')?.doc?.['backends'] as unknown[] | undefined)?.length;
  await live.insert('members', 'shop', { current: 1, backends: [member(1)] });
  await live.insert('counters', 'membership', {});
  await until('the counter tells', () => backends() === 1);
  await live.replace('members', 'shop', 1, { current: 1, backends: [member(1), member(2)] });
  world.bus.hear('updateProxy', { members: 'shop' });
  await until('the hint tells', () => backends() === 2);
  await live.replace('members', 'shop', 2, { current: 1, backends: [] });
  sync.reload();
  await until('the tick tells', () => backends() === 0);
  await live.delete('members', 'shop');
  sync.reload();
  await until('the loss of all is held', () => codes.includes('deletions_held'));
  assert.ok(process.table.has('members/shop'));
  sync.confirm();
  await until('it is confirmed', () => !process.table.has('members/shop'));
});

test('a certificate is served with its key; without the right one the version before stays', async (t) => {
  const { generate } = await import('selfsigned');
  const { createHash } = await import('node:crypto');
  const { world, process, primary } = await served(t);
  const make = async () => {
    const { cert, private: key } = await generate([{ name: 'commonName', value: 'x' }], { keySize: 2048 });
    return { cert, key, digest: createHash('sha256').update(key).digest('hex') };
  };
  const [one, two] = await Promise.all([make(), make()]);
  const certificate = (pair: typeof one) =>
    ({
      kind: 'certificate',
      name: 'c',
      doc: { name: 'c', certificate: pair.cert, keyDigest: pair.digest },
    }) as const;
  const put = (pair: typeof one) =>
    world.store.live.put('secrets', `certificate/${pair.digest}`, { [SEALED_FIELD]: seal(pair.key, null) });
  await put(one);
  await world.append(certificate(one));
  await until('it is served', () => process.table.has('certificate/c'));
  assert.equal(process.table.get(`secret/certificate/${one.digest}`)?.doc?.['value'], one.key);
  await until('HTTPS may open', () =>
    primary.heard.some(
      (said) => said.type === 'listeners' && said.specs.some((spec) => spec.type === 'https'),
    ),
  );
  const seq = await world.append(certificate(two));
  await until('the number is served', () => process.seq === seq);
  assert.equal(process.table.get('certificate/c')?.doc?.['keyDigest'], one.digest);
  assert.ok(process.table.has(`secret/certificate/${one.digest}`));
  await put(two);
  world.bus.reconnect();
  await until(
    'the new pair is served',
    () => process.table.get('certificate/c')?.doc?.['keyDigest'] === two.digest,
  );
  await until('the old key is forgotten', () => !process.table.has(`secret/certificate/${one.digest}`));
});

test('a node that lost KONTROL_SECRET says which certificates it cannot serve, and serves the rest', async (t) => {
  const { generate } = await import('selfsigned');
  const { createHash } = await import('node:crypto');
  const world = await World.make(t);
  const pems = await generate([{ name: 'commonName', value: 'x' }], { keySize: 2048 });
  const keyDigest = createHash('sha256').update(pems.private).digest('hex');
  await world.store.live.put('secrets', `certificate/${keyDigest}`, {
    [SEALED_FIELD]: seal(pems.private, 's'),
  });
  const doc = { name: 'c', certificate: pems.cert, keyDigest };
  await world.append(service('shop'), { kind: 'certificate', name: 'c', doc });
  const first = await world.start({ secret: 's' });
  const one = first.primary.spawn();
  await until('the key is served', () => one.table.has(`secret/certificate/${keyDigest}`));
  await until('it is applied', () => world.bus.on('kontrol:applied').length > 0);
  await first.stop();
  const { primary } = await world.start({ secret: null });
  const two = primary.spawn();
  await until('the rest is served', () => two.table.has('service/shop'));
  await until('it is said', () =>
    /certificate.*KONTROL_SECRET/.test(
      JSON.stringify(primary.heard.filter((said) => said.type === 'quarantine')),
    ),
  );
});

test('a port that the node cannot open is reported as quarantined until it opens', async (t) => {
  const { world, process, primary, sync } = await served(t);
  await world.append({
    kind: 'listener',
    name: 'mysql',
    doc: { name: 'mysql', port: 3306, service: 'mysql' },
  });
  await until('it is served', () => process.table.has('listener/mysql'));
  const wanted = () => primary.heard.findLast((said) => said.type === 'listeners');
  await until('it is wanted', () => wanted() !== undefined);
  const said = wanted();
  const key = said?.type === 'listeners' ? said.specs[0]!.key : '';
  sync.receive({ type: 'listen-failed', key, reason: 'EADDRINUSE' });
  const quarantined = () =>
    JSON.stringify(primary.heard.findLast((message) => message.type === 'quarantine'));
  await until('it is reported', () => /mysql.*EADDRINUSE/.test(quarantined()));
  sync.receive({ type: 'listening', key, port: 3306 });
  await until('it is over', () => !quarantined().includes('mysql'));
  await world.append({ kind: 'listener', name: 'mysql', doc: null });
  await until('it is not wanted any more', () => JSON.stringify(wanted()).includes('"specs":[]'));
});

test('a listener on a port of the control plane is quarantined and never opened', async (t) => {
  const { world, primary, process } = await served(t);
  const listener = (name: string, port: number) =>
    ({ kind: 'listener', name, doc: { name, port, service: 'shop' } }) as const;
  // The API of this world has port 1.
  await world.append(listener('mysql', 3_306), listener('taking-over', 1));
  await until('the other one is served', () => process.table.has('listener/mysql'));
  const quarantined = () => JSON.stringify(primary.heard.filter(({ type }) => type === 'quarantine'));
  await until('it is reported', () => /taking-over.*the port of the API/.test(quarantined()));
  const wanted = JSON.stringify(primary.heard.filter(({ type }) => type === 'listeners'));
  assert.ok(wanted.includes('mysql') && !wanted.includes('taking-over'));
});
