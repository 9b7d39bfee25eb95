import assert from 'node:assert/strict';
import test from 'node:test';
import { AddressLimit } from './address-limit.ts';

test('an address gets as many places as the limit says, and one back for each it gives', () => {
  const limit = new AddressLimit();
  const first = limit.take('192.0.2.1', 2);
  assert.notEqual(first, null);
  assert.notEqual(limit.take('::ffff:192.0.2.1', 2), null);
  assert.equal(limit.take('192.0.2.1', 2), null);
  assert.notEqual(limit.take('192.0.2.2', 2), null);
  limit.give(first!);
  assert.notEqual(limit.take('192.0.2.1', 2), null);
});

test('an IPv6 network of 64 bits counts as one address', () => {
  const limit = new AddressLimit();
  assert.notEqual(limit.take('2001:db8:1:2:3::4', 1), null);
  assert.equal(limit.take('2001:db8:1:2::1', 1), null);
  assert.notEqual(limit.take('2001:db8:1:3::1', 1), null);
  assert.notEqual(limit.take('::1', 1), null);
});

test('an address without connections is forgotten', () => {
  const limit = new AddressLimit();
  limit.give(limit.take('192.0.2.1', 1)!);
  assert.equal(limit.size, 0);
});
