import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { country } from './geo.ts';

const loaded = () =>
  Object.keys(createRequire(import.meta.url).cache).some((file) => file.includes('geoip-lite'));

test('country data is read at the first look-up, the country files only', () => {
  assert.equal(loaded(), false);
  const before = process.memoryUsage().rss;
  assert.equal(country('8.8.8.8'), 'US');
  assert.equal(loaded(), true);
  // City data alone would be 106 MB.
  assert.ok(process.memoryUsage().rss - before < 60_000_000);
  assert.equal(process.env['GEODATADIR'], undefined);
  assert.deepEqual(
    readdirSync(tmpdir()).filter((name) => name.startsWith(`kontrol-geo-${process.pid}-`)),
    [],
    'the folder of links is gone',
  );
});

test('mapped and IPv6 addresses are found, local ones and garbage are not', () => {
  assert.equal(country('::ffff:8.8.8.8'), 'US');
  assert.equal(country('::ffff:808:808'), 'US');
  assert.equal(country('2001:4860:4860::8888'), 'US');
  for (const address of ['10.0.0.1', '127.0.0.1', '::1', 'fd00::1', '192.0.2.1', 'garbage', '']) {
    assert.equal(country(address), null, address);
  }
});
