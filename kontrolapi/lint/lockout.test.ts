import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kind } from '../../shared/model/kinds.ts';
import { type Doc, State } from '../revisions/view.ts';
import { lockout } from './lockout.ts';

function stateOf(...objects: readonly [Kind, string, Doc][]): State {
  const state = new State();
  for (const [kind, name, doc] of objects) state.put(kind, name, { rev: 1, doc: { name, ...doc } });
  return state;
}
const OFFICE: [Kind, string, Doc] = [
  'rule',
  'office',
  { list: 'whitelist', type: 'ip', match: ['192.0.2.0/24'] },
];
const VISITOR = '198.51.100.7';

test('whoever saves a firewall that refuses their own address is told by which rule', () => {
  const domain = { name: 'a.test', routes: [{ path: '/x', firewall: ['office'] }] };
  const state = stateOf(OFFICE, ['domain', 'a.test', domain]);
  assert.match(lockout('domain', 'a.test', domain, state, VISITOR, 0)?.message ?? '', /rule office refuses/);
  assert.equal(lockout('domain', 'a.test', domain, state, VISITOR, 0)?.path, 'routes.0.firewall');
  assert.equal(lockout('domain', 'a.test', domain, state, '192.0.2.9', 0), null);
  assert.match(
    lockout('settings', 'settings', { firewall: ['office'] }, state, VISITOR, 0)?.path ?? '',
    /firewall/,
  );
});

test('a rule that nobody uses, or that is tried only, locks nobody out', () => {
  const unused = stateOf(OFFICE);
  assert.equal(lockout('rule', 'office', OFFICE[2], unused, VISITOR, 0), null);
  const [kind, name, doc] = OFFICE;
  const tried = stateOf(
    [kind, name, { ...doc, dryRun: true }],
    ['domain', 'a.test', { firewall: ['office'] }],
  );
  assert.equal(lockout('rule', 'office', { ...doc, dryRun: true }, tried, VISITOR, 0), null);
  const used = stateOf(OFFICE, ['domain', 'a.test', { firewall: ['office'] }]);
  assert.notEqual(lockout('rule', 'office', doc, used, VISITOR, 0), null);
});

test('callers on this machine or in private networks, and those without an address, are not judged', () => {
  const state = stateOf(OFFICE, ['domain', 'a.test', { firewall: ['office'] }]);
  for (const address of [null, '127.0.0.1', '10.1.2.3', '::1'])
    assert.equal(lockout('domain', 'a.test', { firewall: ['office'] }, state, address, 0), null);
});
