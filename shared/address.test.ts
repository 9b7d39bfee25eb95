import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { AddressSet, canonicalAddress, LOCAL_ADDRESSES, parseAddress } from './address.ts';

test('an address has one canonical text', () => {
  const cases: [string, string | null][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::FFFF:C000:0207', '192.0.2.7'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::', '::'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['192.0.2.07', null],
    ['192.0.2.256', null],
    ['192.0.2', null],
    ['192.0.2.1.', null],
    ['.192.0.2.1', null],
    ['0x7f.1.1.1', null],
    ['3221225985', null],
    ['1..2.3', null],
    ['', null],
    ['example.com', null],
    ['2001:db8::1::2', null],
  ];
  for (const [text, expected] of cases) assert.equal(parseAddress(text), expected, text);
});

test('text that is no address stays what it is', () => {
  assert.equal(canonicalAddress(''), '');
  assert.equal(canonicalAddress('unix:/run/x'), 'unix:/run/x');
});

test('a set holds addresses and ranges of both families', () => {
  const set = new AddressSet(['10.0.0.0/8', '192.0.2.7', '2001:db8::/33', '::1', '198.51.100.9/24']);
  for (const address of [
    '10.0.0.0',
    '10.255.255.255',
    '192.0.2.7',
    '2001:db8:7fff:ffff::1',
    '::1',
    '198.51.100.0',
  ])
    assert.equal(set.has(address), true, address);
  for (const address of ['9.255.255.255', '11.0.0.0', '192.0.2.8', '2001:db8:8000::', '::2', '::', '', 'x'])
    assert.equal(set.has(address), false, address);
});

test('a range within the mapped addresses counts as IPv4', () => {
  const set = new AddressSet(['::ffff:10.0.0.0/104']);
  assert.equal(set.has('10.200.0.1'), true);
  assert.equal(set.has('11.0.0.1'), false);
  assert.equal(new AddressSet(['::ffff:0:0/96']).has('192.0.2.7'), true);
});

test('ranges that swallow each other are one', () => {
  const set = new AddressSet(['10.0.0.0/8', '10.1.0.0/16', '10.0.0.1', '0.0.0.0/0', '255.255.255.255']);
  for (const address of ['0.0.0.0', '10.1.2.3', '255.255.255.255']) assert.equal(set.has(address), true);
  assert.equal(set.has('::'), false, 'IPv6 is not in 0.0.0.0/0');
});

test('what is neither address nor range is refused by name', () => {
  for (const entry of [
    'x',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/',
    '::/129',
    '10.0.0.1/8/8',
    'fe80::1%eth0',
    '',
  ])
    assert.throws(
      () => new AddressSet([entry]),
      (error: Error) => error.message.includes(`"${entry}"`),
      entry,
    );
});

test('the empty set holds nothing', () => {
  const set = new AddressSet([]);
  assert.equal(set.empty, true);
  assert.equal(set.has('10.0.0.1'), false);
});

test('local addresses are those that never leave a site', () => {
  for (const address of ['127.0.0.1', '10.1.1.1', '172.31.0.1', '192.168.3.4', '::1', 'fd00::1', 'fe80::1'])
    assert.equal(LOCAL_ADDRESSES.has(address), true, address);
  for (const address of ['8.8.8.8', '172.32.0.1', '2001:db8::1', '100.64.0.1'])
    assert.equal(LOCAL_ADDRESSES.has(address), false, address);
});

const v4 = fc.ipV4();
const v6 = fc.ipV6().filter((text) => ipaddr.IPv6.isValid(text));
const anyRange = fc.oneof(
  fc.tuple(v4, fc.integer({ min: 0, max: 32 })),
  fc.tuple(v6, fc.integer({ min: 0, max: 128 })),
);

test('sets agree with ipaddr.js on random ranges', () => {
  fc.assert(
    fc.property(fc.array(anyRange, { maxLength: 12 }), fc.array(fc.oneof(v4, v6)), (ranges, addresses) => {
      const set = new AddressSet(ranges.map(([address, bits]) => `${address}/${bits}`));
      // The ranges' own first addresses and their neighbours are the interesting ones.
      const asked = [...addresses, ...ranges.map(([address]) => address)];
      for (const text of asked) {
        const address = canonicalAddress(text);
        const parsed = ipaddr.parse(address);
        const expected = ranges.some(([low, bits]) => {
          let range = ipaddr.parse(low);
          let length = bits;
          if (range instanceof ipaddr.IPv6 && range.isIPv4MappedAddress() && bits >= 96) {
            range = range.toIPv4Address();
            length = bits - 96;
          }
          return range.kind() === parsed.kind() && parsed.match(range, length);
        });
        assert.equal(set.has(address), expected, address);
      }
    }),
  );
});

test('the canonical text is stable and is the one of ipaddr.js', () => {
  fc.assert(
    fc.property(fc.oneof(v4, v6), (text) => {
      const address = canonicalAddress(text);
      assert.equal(canonicalAddress(address), address);
      assert.equal(address, ipaddr.process(text).toString());
    }),
  );
});
