import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Change } from '../../shared/model/revision.ts';
import { Draft, State } from '../revisions/view.ts';
import { listenerRules } from './listeners.ts';

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
    const { problems } = listenerRules().check?.(doc ?? {}, draft, name) ?? {};
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
