import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { programName } from './program-name.ts';

test('a program is called by its package, its script or itself, never by what runs all of them', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-name-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'shop', 'src'), { recursive: true });
  writeFileSync(join(folder, 'shop', 'package.json'), '{ "name": "@acme/shop" }');
  writeFileSync(join(folder, 'shop', 'src', 'package.json'), '{ "type": "module" }');
  for (const file of ['server.js', 'preload.js', 'app.py', 'app.jar', 'start.sh', 'shop/src/main.js'])
    writeFileSync(join(folder, file), '');
  const shop = join(folder, 'shop');
  for (const [line, name, where] of [
    ['node server.js', 'server.js'],
    ['/usr/bin/node --require ./preload.js --max-old-space-size=100 server.js --port 1', 'server.js'],
    ['node -e 1 server.js', 'node'],
    ['node', 'node'],
    ['node gone.js', 'node'],
    ['node src/main.js', '@acme/shop', shop],
    [`node ${join(shop, 'src', 'main.js')}`, '@acme/shop'],
    ['npm start', '@acme/shop', join(shop, 'src')],
    ['npm start', 'npm'],
    ['python3.11 -u app.py', 'app.py'],
    ['python3 -m http.server', 'http.server'],
    ['java -cp lib -jar app.jar', 'app.jar'],
    ['sh -c app.py', 'sh'],
    ['bash start.sh', 'start.sh'],
    ['deno run --allow-net server.js', 'server.js'],
    ['/srv/bin/catalog server.js', 'catalog'],
  ] as const)
    assert.equal(programName(line.split(' '), where ?? folder), name, line);
  assert.equal(programName([`/srv/${'a'.repeat(300)}`]).length, 256);
  assert.equal(programName([]), '');
});

test('arguments that cannot be looked for as files keep no worker from starting', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'kontrol-name-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  assert.equal(programName(['python3', 'x'.repeat(5_000)], folder), 'python3');
});
