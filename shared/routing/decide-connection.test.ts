import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideConnection } from './decide-connection.ts';
import { NOW, ruleEntry, serviceEntry, settingsEntry, tableOf } from './fixtures.ts';
import type { Table } from './table.ts';

const listener = (doc: Record<string, unknown>) =>
  ({ kind: 'listener', name: 'db', doc: { name: 'db', port: 3306, ...doc } }) as const;

function outcome(table: Table, serverName: string | null = null, address = '203.0.113.7'): string {
  const decision = decideConnection(table, { listener: 'db', address, now: NOW, serverName });
  return decision.type === 'forward'
    ? `${decision.service.name}/${decision.key.key}`
    : `${decision.cause} ${decision.labels.rule}`;
}

test('a connection goes to the latest key of its listener’s service', () => {
  const mysql = serviceEntry('mysql', {
    protocol: 'tcp',
    keys: { '1': {}, '2': { backends: [{ address: 'h:1' }] } },
  });
  const table = tableOf([mysql, listener({ service: 'mysql' })]);
  assert.equal(outcome(table), 'mysql/2');
  table.apply([serviceEntry('mysql', { enabled: false })]);
  assert.equal(outcome(table), 'service_disabled null');
  table.apply([{ kind: 'service', name: 'mysql', doc: null }]);
  assert.equal(outcome(table), 'service_missing null');
  table.apply([{ kind: 'listener', name: 'db', doc: null }]);
  assert.equal(outcome(table), 'host_unknown null');
});

test('TLS that is passed through is told apart by host, else by the listener', () => {
  const hosts = { 'db.example.com': 'one', '*.example.com': 'two' };
  const table = tableOf([
    serviceEntry('one'),
    serviceEntry('two'),
    serviceEntry('rest'),
    listener({ tls: 'passthrough', hosts, service: 'rest' }),
  ]);
  assert.equal(outcome(table, 'db.example.com'), 'one/1');
  assert.equal(outcome(table, 'x.example.com'), 'two/1');
  assert.equal(outcome(table, 'x.example.org'), 'rest/1');
  assert.equal(outcome(table, null), 'rest/1');
  table.apply([listener({ tls: 'passthrough', hosts })]);
  assert.equal(outcome(table, null), 'host_unknown null');
});

test('global rules and those of the listener hold for connections; the interstitial does not', () => {
  const rules = [
    ruleEntry('office', { list: 'whitelist', type: 'ip', match: ['203.0.113.0/24'] }),
    ruleEntry('global', { list: 'blacklist', type: 'ip', match: ['203.0.113.9'] }),
    ruleEntry('ask', { list: 'securepage', type: 'all' }),
  ];
  const entries = [serviceEntry('mysql'), settingsEntry({ firewall: ['global'] }), ...rules];
  const table = tableOf([...entries, listener({ service: 'mysql', firewall: ['office', 'ask'] })]);
  assert.equal(outcome(table, null, '203.0.113.7'), 'mysql/1');
  assert.equal(outcome(table, null, '192.0.2.1'), 'rule_blocked office');
  assert.equal(outcome(table, null, '203.0.113.9'), 'rule_blocked global');
  table.apply([{ kind: 'rule', name: 'office', doc: null }]);
  assert.equal(outcome(table, null, '203.0.113.7'), 'rule_unloadable office');
});
