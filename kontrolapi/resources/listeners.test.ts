import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Change } from '../../shared/model/revision.ts';
import type { SettingsOfProcess } from '../../shared/settings.ts';
import { Draft, State } from '../revisions/view.ts';
import { listenerRules } from './listeners.ts';

const SETTINGS = {
  api: { host: '127.0.0.1', port: 7_000 },
  internal: { host: '::', port: 42_007 },
  mongoUrl: 'mongodb://localhost,db.example.com:27018/kontrol',
  redisUrl: null,
  http: [{ host: '', port: 8_080 }],
  https: [],
} as unknown as SettingsOfProcess;

const listener = (name: string, port: number, address = ''): Change => ({
  kind: 'listener',
  name,
  doc: { name, port, address, service: 's' },
});

test('of the listeners of a list each is compared with those of its port, and all are looked through once', () => {
  const changes = [
    listener('a', 4_000, '127.0.0.1'),
    listener('b', 4_000, '127.0.0.2'),
    listener('c', 4_001, '127.0.0.1'),
    listener('d', 4_001),
  ];
  const draft = new Draft(new State(), changes);
  let looks = 0;
  const entries = draft.entries.bind(draft);
  draft.entries = (kind) => {
    looks++;
    return entries(kind);
  };
  const told = changes.map(({ name, doc }) => {
    const { problems } = listenerRules(SETTINGS).check?.(doc ?? {}, draft, name) ?? {};
    return (problems ?? []).map(({ message }) => message);
  });
  assert.deepEqual(told, [
    [],
    [],
    ['listener d has port 4001 already'],
    ['listener c has port 4001 already'],
  ]);
  assert.equal(looks, 1);
});

test('a port of the control plane is refused where the addresses overlap; one of --http is told', () => {
  const told = (port: number, address?: string) => {
    const change = listener('a', port, address);
    const draft = new Draft(new State(), [change]);
    const { problems = [], warnings = [] } =
      listenerRules(SETTINGS).check?.(change.doc ?? {}, draft, 'a') ?? {};
    return [...problems, ...warnings].map(({ path, message }) => `${path}: ${message}`);
  };
  for (const address of ['', '0.0.0.0', '::', '127.0.0.1'])
    assert.deepEqual(told(7_000, address), [
      'port: this is the port of the API of Kontrol; take another one',
    ]);
  assert.deepEqual(told(7_000, '10.0.0.1'), []);
  assert.deepEqual(told(42_007, '10.0.0.1'), [
    'port: this is the internal port of Kontrol; take another one',
  ]);
  assert.deepEqual(told(27_017), ['port: this is the port of the store of Kontrol; take another one']);
  assert.deepEqual(told(27_018), []);
  assert.match(String(told(8_080)), /^port: nodes take visitors of --http/);
  assert.deepEqual(told(3_306), []);
});
