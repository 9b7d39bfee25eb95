import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObject } from '../../shared/model/kinds.ts';
import { State } from '../revisions/view.ts';
import { uncoveredHosts } from './certificates.ts';

test('thousands of certificates are read in slices; until all were read nothing is said of hosts', (t) => {
  const state = new State();
  for (let n = 0; n < 10; n++) state.put('certificate', `c${n}`, { rev: 1, doc: { certificate: 'none' } });
  const parsed = parseObject('domain', { name: 'shop.test', service: 'shop', https: 'redirect' });
  assert.ok(parsed.ok);
  const warnings = () => uncoveredHosts(parsed.value, state).length;
  let now = 0;
  const slow = t.mock.method(performance, 'now', () => (now += 10));
  assert.deepEqual([warnings(), warnings()], [0, 0]);
  slow.mock.restore();
  assert.equal(warnings(), 1);
});
