import assert from 'node:assert/strict';
import test from 'node:test';
import type { RequestView } from '../../shared/routing/decision.ts';
import type { TableEntry } from '../../shared/routing/entry.ts';
import { AppliedTable } from './apply.ts';

function applied() {
  const services = new Map<string, unknown>();
  const brands = new Map<string, unknown>();
  const table = new AppliedTable(
    {},
    {
      setService(name, service) {
        if (service === null) services.delete(name);
        else services.set(name, service);
      },
      serviceNames: () => [...services.keys()],
      setBrand: (name, templates) => brands.set(name, templates),
      certificatesChanged: () => [],
    },
  );
  return { table, services, brands };
}

function request(host: string): RequestView {
  return {
    secure: false,
    host,
    port: 80,
    method: 'GET',
    rawPath: '/',
    query: '',
    address: '192.0.2.1',
    websocket: false,
    now: 0,
    header: () => undefined,
  };
}

const service = (name: string, port: number): TableEntry => ({
  kind: 'service',
  name,
  doc: { name, keys: { 1: { backends: [{ address: `127.0.0.1:${port}` }] } } },
});
const domain = (name: string, to: string): TableEntry => ({
  kind: 'domain',
  name,
  doc: { name, routes: [{ path: ['/'], service: to, key: 'latest' }] },
});

test('without a table everything is answered no_table', () => {
  const decision = applied().table.decide(request('a.test'));
  assert.equal(decision.type === 'page' && decision.cause, 'no_table');
});

test('a load takes over in one step, when its last entries are there', () => {
  const { table, services } = applied();
  table.load(1);
  assert.equal(table.entries(1, [service('one', 1)], false), null);
  assert.equal(services.size, 0);
  assert.deepEqual(table.entries(1, [domain('a.test', 'one')], true), []);
  assert.deepEqual([...services.keys()], ['one']);
  assert.equal(table.decide(request('a.test')).type, 'forward');
});

test('entries of a load that a newer one replaced are ignored', () => {
  const { table } = applied();
  table.load(1);
  table.load(2);
  assert.equal(table.entries(1, [service('one', 1)], true), null);
  assert.deepEqual(table.entries(2, [], true), []);
  assert.equal(table.current?.service('one'), undefined);
});

test('a load drops the services and brands that are not in it', () => {
  const { table, services, brands } = applied();
  const page: TableEntry = { kind: 'page', name: 'shop', doc: { name: 'shop', templates: { 404: 'gone' } } };
  table.change([service('one', 1), service('two', 2), page]);
  assert.deepEqual(brands.get('shop'), { 404: 'gone' });
  table.load(1);
  table.entries(1, [service('two', 2)], true);
  assert.deepEqual([...services.keys()], ['two']);
  assert.equal(brands.get('shop'), null);
});

test('of a change only what cannot be used is rejected', () => {
  const { table, services } = applied();
  const bad: TableEntry = { kind: 'domain', name: 'b.test', doc: { name: 'b.test', mode: 'sideways' } };
  const rejected = table.change([bad, service('one', 1)]);
  assert.deepEqual(
    rejected.map(({ kind, name }) => [kind, name]),
    [['domain', 'b.test']],
  );
  assert.equal(services.has('one'), true);
});

test('a connection to a listener ends without a byte for its idle time; 0 is no such time', () => {
  const { table } = applied();
  const ends = { remoteAddress: '192.0.2.1', remotePort: 1, localAddress: '192.0.2.2', localPort: 2 };
  const tcp: TableEntry = { ...service('one', 1), doc: { ...service('one', 1).doc, protocol: 'tcp' } };
  for (const [idle, idleMs] of [
    [undefined, null],
    [0, null],
    [5, 5],
  ] as const) {
    const doc = { name: 'db', port: 3_306, service: 'one', ...(idle === undefined ? {} : { idle }) };
    assert.deepEqual(table.change([tcp, { kind: 'listener', name: 'db', doc }]), []);
    const decision = table.routeTcp('db', ends, null);
    assert.equal(decision.type === 'forward' ? decision.idleMs : 'refused', idleMs);
  }
});
