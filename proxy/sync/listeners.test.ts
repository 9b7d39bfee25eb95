import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wantedListeners } from './listeners.ts';

test('a port of the control plane is not wanted, though a copy of an earlier build has a listener for it', () => {
  const settings = {
    http: [],
    https: [],
    proxyProtocol: [],
    api: { host: '127.0.0.1', port: 7_000 },
    internal: { host: '127.0.0.1', port: 42_007 },
    mongoUrl: null,
    redisUrl: null,
  };
  const entry = (name: string, port: number, address = '') =>
    ({ kind: 'listener', name, doc: { name, port, address, service: 's' } }) as const;
  const entries = [
    entry('api', 7_000),
    entry('internal', 42_007, '127.0.0.1'),
    entry('elsewhere', 7_000, '10.0.0.1'),
    entry('mysql', 3_306),
  ];
  assert.deepEqual(
    wantedListeners(entries, settings).map(({ listener }) => listener),
    ['elsewhere', 'mysql'],
  );
});
