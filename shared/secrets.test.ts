import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEncrypted, open, seal } from './secrets.ts';

test('a sealed value opens with its secret only, and says what to do otherwise', () => {
  const text = seal('-----BEGIN PRIVATE KEY-----', 'correct horse');
  assert.equal(open(text, 'correct horse'), '-----BEGIN PRIVATE KEY-----');
  assert.ok(isEncrypted(text));
  assert.ok(!text.includes('PRIVATE'));
  assert.throws(() => open(text, 'other'), /KONTROL_SECRET the same/);
  assert.throws(() => open(text, null), /set KONTROL_SECRET/);
});

test('without a secret the value is readable, and stays so after a secret was set', () => {
  const text = seal('key ü', null);
  assert.ok(!isEncrypted(text));
  assert.equal(open(text, null), 'key ü');
  assert.equal(open(text, 'set later'), 'key ü');
});

test('two seals of one value differ; a changed, cut or foreign text never opens', () => {
  const text = seal('v', 's');
  assert.notEqual(seal('v', 's'), text);
  const flipped = text.slice(0, -1) + (text.endsWith('A') ? 'B' : 'A');
  assert.throws(() => open(flipped, 's'));
  assert.throws(() => open(text.slice(0, 40), 's'), /cut short/);
  assert.throws(() => open('-----BEGIN', 's'), /does not know/);
});

test('a thousand values cost one derivation of the key', () => {
  const salts = new Set<string>();
  for (let i = 0; i < 1_000; i++) {
    const text = seal(`v${i}`, 'one secret');
    salts.add(Buffer.from(text.split('.')[2]!, 'base64url').subarray(0, 16).toString('hex'));
    assert.equal(open(text, 'one secret'), `v${i}`);
  }
  assert.equal(salts.size, 1);
});
