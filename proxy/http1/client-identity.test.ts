import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClientIdentity, hopAddress, identifyForwarded, peerAddress } from './client-identity.ts';
import { RequestHead } from './request-head.ts';

const DIRECT: ClientIdentity = { address: '10.0.0.1', secure: false, port: 80 };
const trusts = (address: string) => address.startsWith('10.');

function identify(fields: string): ClientIdentity {
  const head = new RequestHead();
  const text = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`);
  head.parse(text, 0, text.length, { headSize: 16_384, fields: 100 });
  return identifyForwarded(head.fields, DIRECT, trusts);
}

describe('the address of a client behind trusted proxies', () => {
  const cases: Readonly<Record<string, readonly [fields: string, address: string]>> = {
    'no field': ['', '10.0.0.1'],
    'one address': ['X-Forwarded-For: 1.2.3.4\r\n', '1.2.3.4'],
    'a forged one on the left': ['X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n', '1.2.3.4'],
    'trusted hops on the right': ['X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.0.0.3, 10.0.0.2\r\n', '1.2.3.4'],
    'several lines': ['X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.0.0.2\r\n', '1.2.3.4'],
    'only trusted hops': ['X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n', '10.0.0.3'],
    'what is no address': ['X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2\r\n', '10.0.0.2'],
    'a port': ['X-Forwarded-For: 1.2.3.4:5678\r\n', '1.2.3.4'],
    'IPv6 with port, upper case and zeros': ['X-Forwarded-For: [2001:DB8:0:0::1]:443\r\n', '2001:db8::1'],
    'a mapped address': ['X-Forwarded-For: ::ffff:1.2.3.4\r\n', '1.2.3.4'],
    'X-Real-IP alone': ['X-Real-IP: 1.2.3.4\r\n', '1.2.3.4'],
    'X-Real-IP beside a chain': ['X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 6.6.6.6\r\n', '1.2.3.4'],
    Forwarded: [
      'Forwarded: for=6.6.6.6, for="[2001:db8::1]:80";proto=https, for=10.0.0.2\r\n',
      '2001:db8::1',
    ],
    'an obfuscated Forwarded': ['Forwarded: for=_hidden\r\n', '10.0.0.1'],
  };
  for (const [what, [fields, address]] of Object.entries(cases)) {
    it(`${what}: ${address}`, () => assert.equal(identify(fields).address, address));
  }

  it('a chain of thousands is cut, not walked', () => {
    const identity = identify(`X-Forwarded-For: 1.2.3.4${', 10.0.0.9'.repeat(1_000)}\r\n`);
    assert.equal(identity.address, '10.0.0.9');
  });

  it('scheme and port are what the proxy says', () => {
    assert.deepEqual(identify('X-Forwarded-Proto: https\r\n'), {
      address: '10.0.0.1',
      secure: true,
      port: 443,
    });
    assert.deepEqual(identify('X-Forwarded-Proto: http\r\n'), DIRECT);
    assert.equal(identify('X-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n').port, 8443);
    assert.equal(identify('X-Forwarded-Port: 99999\r\n').port, 80);
    assert.equal(identify('Forwarded: proto=https\r\n').secure, true);
  });

  it('addresses have one text', () => {
    assert.equal(peerAddress('::ffff:127.0.0.1'), '127.0.0.1');
    assert.equal(peerAddress('fe80::1%eth0'), 'fe80::1');
    assert.equal(peerAddress(''), '');
    assert.equal(hopAddress('1.2.3'), null);
    assert.equal(hopAddress('[::1'), null);
  });
});
