import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BackendAddresses, controlPorts } from './backend-addresses.ts';
import type { SettingsOfProcess } from './settings.ts';

const addresses = new BackendAddresses(
  controlPorts({
    api: { host: '127.0.0.1', port: 7_000 },
    internal: { host: '127.0.0.1', port: 42_007 },
    mongoUrl:
      'mongodb://user:p%40ss@db1.example.com:27018,[2001:db8::5],127.0.0.1:27019/kontrol?replicaSet=r',
    redisUrl: 'rediss://:secret@cache.example.com',
    data: '/var/lib/kontrol/data',
  } as SettingsOfProcess),
);

const REFUSED: readonly (readonly [address: string, why: RegExp])[] = [
  ['169.254.169.254:80', /metadata/],
  ['[fd00:ec2::254]:80', /metadata/],
  ['metadata.google.internal:80', /metadata/],
  ['169.254.7.7:80', /link-local/],
  ['[fe80::1]:80', /link-local/],
  ['[::ffff:169.254.169.254]:80', /metadata/],
  ['[64:ff9b::a9fe:a9fe]:80', /metadata/],
  ['[64:ff9b::169.254.7.7]:80', /link-local/],
  ['unix:/var/lib/kontrol/data/bus.sock', /data folder/],
  ['unix:/var/lib/x/../kontrol//data/./node/handover.sock', /data folder/],
  ['127.0.0.1:7000', /the API/],
  ['127.9.9.9:7000', /the API/],
  ['localhost:42007', /internal port/],
  ['[::1]:7000', /the API/],
  ['0.0.0.0:7000', /the API/],
  ['db1.example.com:27018', /the store/],
  ['[2001:db8::5]:27017', /the store/],
  ['localhost:27019', /the store/],
  ['cache.example.com:6379', /the bus/],
];
for (const [address, why] of REFUSED) {
  test(`${address} is refused`, () => assert.match(addresses.refusal(address) ?? 'allowed', why));
}

for (const address of [
  '127.0.0.1:3000',
  'unix:/run/app.sock',
  'unix:/var/lib/kontrol/data-of-others/app.sock',
  '[64:ff9b::10.0.0.1]:80',
  '10.0.0.1:7000',
  '192.168.1.1:80',
  '[::1]:3000',
  'unix:/run/x.sock',
  'db1.example.com:27017',
  'db2.example.com:27018',
]) {
  test(`${address} is allowed`, () => assert.equal(addresses.refusal(address), null));
}

test('each class is refused only where the settings say so', () => {
  assert.equal(addresses.refusal('169.254.169.254:80', []), null);
  assert.match(addresses.refusal('169.254.169.254:80', ['link-local']) ?? '', /link-local/);
  assert.equal(addresses.refusal('127.0.0.1:7000', ['metadata']), null);
});

test('a socket of the data folder is refused under every name that leads to it', async (context) => {
  const folder = await mkdtemp(join(tmpdir(), 'kontrol-sockets-'));
  context.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, 'data'));
  await writeFile(join(folder, 'data', 'bus.sock'), '');
  await symlink(join(folder, 'data'), join(folder, 'link'));
  const linked = new BackendAddresses(
    controlPorts({
      api: { host: '', port: 1 },
      internal: null,
      data: join(folder, 'data'),
    } as SettingsOfProcess),
  );
  assert.match(linked.refusal(`unix:${folder}/link/bus.sock`) ?? 'allowed', /data folder/);
  assert.equal(linked.refusal(`unix:${folder}/app.sock`), null);
});
