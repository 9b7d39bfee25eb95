import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KontrolError } from '../../shared/errors.ts';
import { type AddressRules, workerAddress } from './worker-address.ts';

const anywhere: AddressRules = { loopbackAllowed: () => true, refusal: () => null };
const elsewhere: AddressRules = { loopbackAllowed: () => false, refusal: () => null };

function refused(host: string, rules: AddressRules = elsewhere): string {
  try {
    workerAddress(host, 80, rules);
  } catch (error) {
    assert.ok(error instanceof KontrolError && error.code === 'invalid');
    assert.equal(error.problems[0]?.path, 'host');
    return error.problems[0]?.message ?? '';
  }
  return '';
}

test('an address has one form, however it was written', () => {
  const forms: readonly [string, string][] = [
    ['10.0.0.5', '10.0.0.5:80'],
    ['::ffff:10.0.0.5', '10.0.0.5:80'],
    ['2001:DB8:0:0::1', '[2001:db8::1]:80'],
    ['[2001:db8::1]', '[2001:db8::1]:80'],
    ['App-1.Example.COM', 'app-1.example.com:80'],
  ];
  for (const [host, address] of forms) assert.equal(workerAddress(host, 80, elsewhere), address);
});

test('loopback in any spelling is refused unless every node is on this machine', () => {
  for (const host of [
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '::ffff:127.0.0.1',
    'localhost',
    'LOCALHOST',
    'a.localhost',
  ]) {
    assert.match(refused(host), /settings\.workers\.loopback/, host);
    assert.equal(refused(host, anywhere), '', host);
  }
});

test('what is no address of one machine is refused, also where loopback is fine', () => {
  for (const host of [
    '0.0.0.0',
    '::',
    '255.255.255.255',
    '224.0.0.1',
    'ff02::1',
    '',
    'a b',
    'unix:/run/x',
    '10.0.0.5:80',
  ])
    assert.notEqual(refused(host, anywhere), '', host);
});

test('what no backend may be no worker may be', () => {
  const rules = {
    ...anywhere,
    refusal: (address: string) => (address === '169.254.169.254:80' ? 'metadata' : null),
  };
  assert.match(refused('169.254.169.254', rules), /metadata; settings\.backendAddresses/);
});
