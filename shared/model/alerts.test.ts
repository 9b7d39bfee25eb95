import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alertsSchema } from './alerts.ts';

function takes(from: string): boolean {
  const smtp = { host: 'mail.example', from, to: ['ops@example.com'] };
  return alertsSchema.safeParse({ smtp }).success;
}

test('one address with or without a name', () => {
  for (const good of [
    'ops@example.com',
    "o'hara+kontrol@mail.example.com",
    'Ops <ops@example.com>',
    'Ops (Berlin) <ops@example.com>',
    'Bérénice Löwe <löwe@example.com>',
    ' <ops@example.com>',
  ]) {
    assert.ok(takes(good), good);
  }
});

test('nothing that is sent as something else: lists, comments, quotes, control characters, half of the brackets', () => {
  for (const bad of [
    'ops',
    'ops@example.com, boss@example.com',
    'a(b)c@example.com',
    'ops@exam[ple].com',
    'o\\ps@example.com',
    '"ops"@example.com',
    'x\u0000y <ops@example.com>',
    'x\u001by <ops@example.com>',
    'x\u0085y <ops@example.com>',
    'ops\u0000@example.com',
    'Ops\r\nBcc: b@example.com <ops@example.com>',
    'Ops <ops@example.com',
    'ops@example.com>',
    'Ops <ops@example.com> more',
  ]) {
    assert.ok(!takes(bad), JSON.stringify(bad));
  }
});
