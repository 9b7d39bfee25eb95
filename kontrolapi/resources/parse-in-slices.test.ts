import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObject } from '../../shared/model/kinds.ts';
import { parseInSlices } from './parse-in-slices.ts';

const routes = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ path: `/r${n}`, service: `s${n % 7}`, key: '1' as unknown }));

function domain(count: number, more: object = {}) {
  const list = routes(count).map(({ key, ...route }) => route);
  return { name: 'Big.test', routes: list as object[], labels: { a: 'b' }, ...more };
}

test('a domain is read in slices as it is read at once', async () => {
  const large = domain(1_001);
  const mistaken = domain(1_001, { mode: 'sideways', htps: 'only', service: 'x' });
  mistaken.routes[0] = { path: 'no', service: 's' };
  mistaken.routes[250] = { path: '/a', service: 's', key: -1 };
  mistaken.routes[1_000] = { path: '/a', service: 's', sevice: 's' };
  const cases = [
    large,
    mistaken,
    domain(3),
    { name: 'a' },
    { name: 7, routes: routes(600) },
    { ...domain(900), name: undefined },
  ];
  for (const input of cases) {
    const whole = parseObject('domain', input);
    const sliced = await parseInSlices('domain', input);
    if (whole.ok || !sliced.ok) assert.deepEqual(sorted(sliced), sorted(whole));
    else assert.fail('it was accepted');
  }
  // The order of the fields is what people see.
  const sliced = await parseInSlices('domain', large);
  const whole = parseObject('domain', large);
  assert.equal(JSON.stringify(sliced), JSON.stringify(whole));
});

test('more routes than a domain may have are refused without looking at them', async () => {
  const parsed = await parseInSlices('domain', { name: 'a.test', routes: Array(10_001).fill({}) });
  assert.deepEqual(parsed, {
    ok: false,
    problems: [{ path: 'routes', message: 'must have at most 10000 entries, has 10001' }],
  });
});

test('while thousands of routes are validated other work has its turns', async () => {
  let turns = 0;
  let over = false;
  const others = () => {
    turns++;
    if (!over) setImmediate(others);
  };
  setImmediate(others);
  await parseInSlices('domain', domain(10_000));
  over = true;
  assert.ok(turns >= 30, `${turns} turns`);
});

/** Problems in one order. A missing name is told by the first slice alone. */
function sorted(parsed: ReturnType<typeof parseObject>) {
  if (parsed.ok) return parsed.value;
  return parsed.problems
    .map(({ path, message }) => `${path}: ${message}`)
    .sort()
    .slice(0, 50);
}
