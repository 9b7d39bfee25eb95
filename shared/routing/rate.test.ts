import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide } from './decide.ts';
import { decideConnection } from './decide-connection.ts';
import {
  domainEntry,
  type RequestGiven,
  request,
  ruleEntry,
  serviceEntry,
  settingsEntry,
  tableOf,
} from './fixtures.ts';
import { clientPrefix } from './rate.ts';

const HOST = 'shop.example.com';
const rate = (more: Record<string, unknown> = {}, rest: Record<string, unknown> = {}) => ({
  list: 'limit',
  type: 'rate',
  rate: { requests: 10, per: 'minute', ...more },
  ...rest,
});

function guarded(rules: Record<string, Record<string, unknown>>, global: readonly string[] = []) {
  const names = Object.keys(rules).filter((name) => !global.includes(name));
  return tableOf([
    serviceEntry('web'),
    { kind: 'listener', name: 'db', doc: { name: 'db', port: 5_432, service: 'web' } },
    ...Object.entries(rules).map(([name, doc]) => ruleEntry(name, doc)),
    settingsEntry({ firewall: global }),
    domainEntry(HOST, {
      firewall: names.filter((name) => !name.startsWith('route')),
      routes: [{ path: '/', service: 'web', firewall: names.filter((name) => name.startsWith('route')) }],
    }),
  ]);
}

/** The names of the rules that a request is counted by. */
function countedBy(table: ReturnType<typeof guarded>, given: RequestGiven = {}): string[] {
  return (decide(table, request('/', { address: '192.0.2.7', ...given })).counts ?? []).map(
    ({ rule }) => rule,
  );
}

function keyOf(more: Record<string, unknown>, given: RequestGiven): string {
  const [count] = decide(guarded({ slow: rate(more) }), request('/', { address: '192.0.2.7', ...given }))
    .counts!;
  return count!.key;
}

test('what is to be counted comes in the order of the rules: global, domain, route', () => {
  const table = guarded({ everywhere: rate(), domain: rate(), 'route-1': rate(), 'route-2': rate() }, [
    'everywhere',
  ]);
  assert.deepEqual(countedBy(table), ['everywhere', 'domain', 'route-1', 'route-2']);
});

test('a refusal before a rate rule counts nothing, one after it does; allow ends the list', () => {
  const blocked = { list: 'blacklist', type: 'ip', match: ['192.0.2.7'] };
  assert.deepEqual(countedBy(guarded({ a: blocked, b: rate() })), []);
  assert.deepEqual(countedBy(guarded({ a: rate(), b: blocked })), ['a']);
  assert.deepEqual(countedBy(guarded({ a: { ...blocked, list: 'allow' }, b: rate() })), []);
  assert.deepEqual(
    countedBy(guarded({ a: { ...blocked, list: 'allow' }, b: rate() }), { address: '192.0.2.8' }),
    ['b'],
  );
});

test('a rule that several lists name counts a request once', () => {
  const table = tableOf([
    serviceEntry('web'),
    ruleEntry('calm', rate()),
    settingsEntry({ firewall: ['calm'] }),
    domainEntry(HOST, { firewall: ['calm'], routes: [{ path: '/', service: 'web', firewall: ['calm'] }] }),
  ]);
  assert.deepEqual(countedBy(table), ['calm']);
});

test('a disabled or expired rate rule counts nothing, a dry one says that it is', () => {
  assert.deepEqual(countedBy(guarded({ a: rate({}, { enabled: false }) })), []);
  assert.deepEqual(countedBy(guarded({ a: rate({}, { expires: '2001-01-01T00:00:00Z' }) })), []);
  const decision = decide(guarded({ a: rate({}, { dryRun: true }) }), request('/'));
  assert.deepEqual(
    decision.counts?.map(({ dryRun }) => dryRun),
    [true],
  );
});

test('without rate rules a decision is the one that was made long before', () => {
  const table = guarded({});
  const first = decide(table, request('/'));
  assert.equal(first.counts, undefined);
  assert.equal(decide(table, request('/')), first);
});

test('clients are told apart by address, IPv6 by /64', () => {
  const key = (address: string) => keyOf({}, { address });
  assert.notEqual(key('192.0.2.7'), key('192.0.2.8'));
  assert.equal(key('2001:db8:1:2::1'), key('2001:db8:1:2:ffff::9'));
  assert.notEqual(key('2001:db8:1:2::1'), key('2001:db8:1:3::1'));
  assert.equal(clientPrefix('2001:db8::1'), '2001:db8:0:0');
  for (const text of ['', 'unix', '1:2', '::zz']) assert.equal(clientPrefix(text), text);
});

test('by domain all clients count together, by a field those with the same value', () => {
  assert.equal(
    keyOf({ by: 'domain' }, { address: '192.0.2.7' }),
    keyOf({ by: 'domain' }, { address: '::1' }),
  );
  const by = { by: 'header:X-Key' };
  const value = (text: string) => keyOf(by, { headers: { 'x-key': text } });
  assert.equal(value('a'), keyOf(by, { headers: { 'x-key': 'a' }, address: '::1' }));
  assert.notEqual(value('a'), value('b'));
  assert.ok(value('x'.repeat(8_192)).length < 100);
  assert.doesNotMatch(value('secret'), /secret/);
});

test('whoever leaves the field out is told apart by address', () => {
  const by = { by: 'header:X-Key' };
  assert.notEqual(keyOf(by, { address: '192.0.2.7' }), keyOf(by, { address: '192.0.2.8' }));
});

test('a rule that changes how many keeps its counts, one that changes the period or the key does not', () => {
  const base = keyOf({}, {});
  assert.equal(keyOf({ requests: 99 }, {}), base);
  assert.equal(keyOf({ per: 60_000 }, {}), base);
  assert.notEqual(keyOf({ per: 'hour' }, {}), base);
  assert.notEqual(keyOf({ by: 'domain' }, {}), base);
});

test('a global rate rule lets TCP connections pass', () => {
  const table = guarded({ everywhere: rate() }, ['everywhere']);
  const view = { listener: 'db', address: '192.0.2.7', now: 0, serverName: null };
  const decision = decideConnection(table, view);
  assert.ok(decision.type === 'forward' || decision.cause !== 'rule_blocked');
});

test('a field that does not stand once, or does not reach a backend, counts as left out', () => {
  const by = { by: 'header:X-Key' };
  const asked = { headers: { 'x-key': 'K, random' } };
  const told = request('/', { address: '192.0.2.7', ...asked });
  const table = guarded({ slow: rate(by) });
  const key = (single: string | undefined) =>
    decide(table, Object.assign(Object.create(told), { single: () => single })).counts![0]!.key;
  assert.equal(key(undefined), keyOf(by, {}));
  assert.equal(key('K'), keyOf(by, { headers: { 'x-key': 'K' } }));
});
