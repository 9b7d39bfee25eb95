import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Domain } from '../../shared/model/domain.ts';
import { parseObject } from '../../shared/model/kinds.ts';
import type { Service } from '../../shared/model/service.ts';
import { latestGivenUp, withoutRoutes } from './lint.ts';

function domain(fields: Record<string, unknown>): Domain {
  const parsed = parseObject('domain', { name: 'shop.test', ...fields });
  if (!parsed.ok) assert.fail(JSON.stringify(parsed.problems));
  return parsed.value;
}

test('a domain that is on and goes nowhere is warned of; one in maintenance, off, or with a route is not', () => {
  for (const fields of [{}, { mode: 'on' }, { mode: 'on', routes: [] }, { maintenance: false }])
    assert.equal(withoutRoutes(domain(fields)).length, 1, JSON.stringify(fields));
  for (const fields of [{ service: 'shop' }, { mode: 'maintenance' }, { mode: 'off' }, { maintenance: true }])
    assert.deepEqual(withoutRoutes(domain(fields)), [], JSON.stringify(fields));
});

test('a number of latest that is not named any more is warned of, since everybody would move on', () => {
  const service = (latest?: Service['latest']) => ({ name: 'shop', latest }) as Service;
  assert.match(latestGivenUp(service(41), service())[0]?.message ?? '', /it was key 41 and is "auto" again/);
  for (const [before, after] of [
    [undefined, service()],
    [service(), service()],
    [service('auto'), service()],
    [service(41), service(42)],
    [service(41), service('auto')],
  ] as const)
    assert.deepEqual(latestGivenUp(before, after), []);
});
